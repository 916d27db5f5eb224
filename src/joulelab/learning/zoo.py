"""The zoo: torchvision's image classifiers, when each was published and by whom, and how to build.

``zoo.csv`` beside this file has a row a network. The **year** is that of the first public paper
that describes the family, as a preprint or in proceedings, whichever came first: not the year of
the weights, nor of the code. ``representative`` marks the small and the large members of every
family that a comparison over time takes unless it is told otherwise.

`build_classifier` is a factory of the kind that serving takes: plain arguments in, a module out.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab.errors import DatasetError, UnknownNameError, UsageError, quoted
from joulelab.learning.zoo_weights import AUTO, classifier_names, find_weights, weights_file

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum

FACTORY = "joulelab.learning.zoo:build_classifier"
TABLE = Path(__file__).with_name("zoo.csv")
# Networks with heads that only training uses.
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class ZooEntry:
    """One network of the zoo.

    Attributes:
        name: as torchvision has it.
        family: of the networks that one paper describes.
        year: of that paper's first publication.
        representative: whether a comparison over time takes it unless told otherwise.
        authors: of the paper, by surname.
        title: of the paper.
        source: where it is: the arXiv number, or the proceedings.
        remark: in what torchvision's network differs from the paper's; mostly empty.
    """

    name: str
    family: str
    year: int
    representative: bool
    authors: str
    title: str
    source: str
    remark: str

    @property
    def citation(self) -> str:
        """Authors and source: ``Simonyan, Zisserman, arXiv:1409.1556``."""
        return f"{self.authors}, {self.source}"


@cache
def zoo() -> Mapping[str, ZooEntry]:
    """Every network of the table by its name, the oldest first."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        entries = [_entry(row) for row in csv.DictReader(file)]
    return {one.name: one for one in sorted(entries, key=lambda one: one.year)}


def zoo_entry(name: str) -> ZooEntry:
    """The row of a network.

    Raises:
        UnknownNameError: the table has no such network.
    """
    if name not in zoo():
        raise UnknownNameError("network of the zoo", name, zoo())
    return zoo()[name]


def representatives() -> tuple[str, ...]:
    """Names of the networks that a comparison over time takes unless it is told otherwise."""
    return tuple(name for name, one in zoo().items() if one.representative)


def classifier_source(text: str, weights: str = AUTO) -> tuple[str, dict[str, Any]]:
    """What a user calls a model, as a factory and its options.

    Args:
        text: a network of torchvision, or a factory of the user's own, ``module:attribute``.
        weights: of a network of torchvision.

    Raises:
        UnknownNameError: no such network.
        UsageError: half of ``module:attribute`` is missing.

    >>> classifier_source("models:small")
    ('models:small', {})
    >>> classifier_source("resnet18", "random")
    ('joulelab.learning.zoo:build_classifier', {'name': 'resnet18', 'weights': 'random'})
    """
    if ":" in text:
        module, _, attribute = text.partition(":")
        if not (module.strip() and attribute.strip()):
            raise UsageError(
                f"the model {quoted(text)} names no factory",
                "write module:function, as in models:small",
            )
        return text, {}
    # The table answers for what it has without torchvision, which takes seconds to load.
    if text not in zoo() and text not in (known := classifier_names()):
        nearest = UnknownNameError("torchvision classifier", text, known)
        own = "a factory of your own is written module:function"
        raise UsageError(nearest.message, f"{nearest.hint}; {own}")
    return FACTORY, {"name": text, "weights": weights}


def build_classifier(name: str, weights: str = AUTO) -> nn.Module:
    """A network of torchvision in evaluation mode; nothing is downloaded.

    Random weights come from torch's global generator, which the caller seeds. Heads that only
    training uses are left out.

    Args:
        name: as torchvision has it.
        weights: ``auto``, ``random``, ``pretrained`` or a name, as `joulelab.learning.zoo_weights`
            explains; `weights_used` there says what it comes to.

    Raises:
        UnknownNameError: torchvision has no such network, or the network no such weights.
        DatasetError: the weights do not lie in torch's folder, or their file is damaged.
    """
    from torchvision import models

    entry = find_weights(name, weights)
    if entry is not None:
        return _pretrained(name, entry)
    network: nn.Module = models.get_model(name, weights=None, **random_options(name))
    return network.eval()


def random_options(name: str) -> dict[str, Any]:
    """What torchvision is told where a network gets no weights: no heads that only training uses.

    Args:
        name: as torchvision has it.
    """
    # Without options these two warn, and take a minute for weights from a truncated normal.
    if name in _WITH_AUXILIARY_HEADS:
        return {"aux_logits": False, "init_weights": False, "transform_input": True}
    return {}


def _pretrained(name: str, entry: WeightsEnum) -> nn.Module:
    from torchvision import models

    with damage_explained(name, entry):
        network: nn.Module = models.get_model(name, weights=entry, progress=False)
    if name in _WITH_AUXILIARY_HEADS:
        network.aux_logits = False  # type: ignore[assignment]
        for head in ("AuxLogits", "aux1", "aux2"):
            if hasattr(network, head):
                setattr(network, head, None)
    return network.eval()


@contextlib.contextmanager
def damage_explained(name: str, entry: WeightsEnum) -> Iterator[None]:
    """Turn whatever is raised while a file of weights is read into an error that says what to do.

    Args:
        name: of the network.
        entry: its weights.

    Raises:
        DatasetError: the file is damaged.
    """
    try:
        yield
    except Exception as error:  # what torch raises depends on where the file is damaged
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise DatasetError(
            f"the weights {weights_file(entry)} of {name} cannot be read: {first}",
            "replace the file with a whole one, or ask for weights random",
        ) from error


def _entry(row: Mapping[str, str]) -> ZooEntry:
    return ZooEntry(
        name=row["name"],
        family=row["family"],
        year=int(row["year"]),
        representative=row["representative"] == "yes",
        authors=row["authors"],
        title=row["title"],
        source=row["source"],
        remark=row["remark"],
    )
