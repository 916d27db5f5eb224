"""The zoo: torchvision's image classifiers, with papers and weights.

``zoo.csv`` next to this file has one row per network. The **year** is that of the first public
paper on the family, as a preprint or in proceedings, not of the weights or the code.
``representative`` marks the small and large members of each family used by default in a comparison
over time.

Nothing is ever downloaded. torchvision ships the metadata of all weights; a weights file is used if
it already exists in ``checkpoints`` of torch's hub folder, ``~/.cache/torch/hub`` unless
``TORCH_HOME`` is set. Values of a request for weights::

    auto         IMAGENET1K_V1, else IMAGENET1K_V2, whichever file exists; else random
    pretrained   the same, but an error where neither file exists
    random       none
    a name       those weights, for instance IMAGENET1K_V2; an error where their file is missing

The published accuracy belongs to the size of image that the weights were evaluated with
(`ZooFigures.crop_px`): mostly 224 px, but 299 for Inception v3 and up to 600 for the EfficientNets.
Energy measured at another size does not match that accuracy, so the crop is reported with it, and
operations are counted at the served size.

`build_classifier` is a factory of the kind that serving takes: plain arguments in, a module out.
"""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from joulelab.errors import (
    DatasetError,
    MissingDependencyError,
    UnknownNameError,
    UsageError,
)
from joulelab.learning import networks

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum

FACTORY = "joulelab.learning.zoo:build_classifier"
TABLE = Path(__file__).with_name("zoo.csv")
AUTO, PRETRAINED, RANDOM = "auto", "pretrained", "random"
FIRST, SECOND = "IMAGENET1K_V1", "IMAGENET1K_V2"
"""The first published weights of a network in torchvision, and those of its later recipe."""
DATA = "ImageNet-1K"
# Networks with heads used only in training.
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class ZooEntry:
    """One network of the zoo.

    Attributes:
        name: name in torchvision.
        family: family of networks described by one paper.
        year: of that paper's first publication.
        representative: whether it is used by default in a comparison over time.
        authors: of the paper, by surname.
        title: of the paper.
        source: arXiv number or proceedings.
        remark: how torchvision's network differs from the paper's; mostly empty.
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
        entries = [
            ZooEntry(
                year=int(row.pop("year")),
                representative=row.pop("representative") == "yes",
                **row,
            )
            for row in csv.DictReader(file)
        ]
    return {one.name: one for one in sorted(entries, key=lambda one: one.year)}


def representatives() -> tuple[str, ...]:
    """Names of the networks used by default in a comparison over time."""
    return tuple(name for name, one in zoo().items() if one.representative)


def classifier_source(text: str, weights: str = AUTO) -> tuple[str, dict[str, Any]]:
    """A user's model name as a factory and its options.

    Args:
        text: a network of torchvision, or a factory of the user's own, ``module:attribute``.
        weights: of a network of torchvision.

    Raises:
        UnknownNameError: unknown network.
        UsageError: one half of ``module:attribute`` is missing.

    >>> classifier_source("models:small")
    ('models:small', {})
    >>> classifier_source("resnet18", "random")
    ('joulelab.learning.zoo:build_classifier', {'name': 'resnet18', 'weights': 'random'})
    """
    if ":" in text:
        networks.split_factory(text, "model", "models:small")
        return text, {}
    # Try the table first: torchvision takes seconds to load.
    if text not in zoo() and text not in (known := classifier_names()):
        nearest = UnknownNameError("torchvision classifier", text, known)
        own = "write your own factory as module:function"
        raise UsageError(nearest.message, f"{nearest.hint}; {own}")
    return FACTORY, {"name": text, "weights": weights}


def network_source(text: str) -> tuple[str, dict[str, Any]]:
    """The registered network for a text, and the options that select it.

    Args:
        text: a registered name, a classifier of torchvision, or ``module:attribute``.

    Raises:
        UnknownNameError: it is none of these; suggests the closest name.
        UsageError: one half of ``module:attribute`` is missing.

    >>> network_source("SimpleCNN")
    ('SimpleCNN', {})
    >>> network_source("vgg16")
    ('torchvision', {'model': 'vgg16'})
    >>> network_source("mymodels:small")
    ('factory', {'factory': 'mymodels:small'})
    """
    if text in networks.networks.names():
        return text, {}
    if ":" in text:
        networks.split_factory(text, "network", "mymodels:small")
        return networks.FACTORY, {"factory": text}
    # Try the table first: torchvision takes seconds to load.
    if text not in zoo() and text not in (known := classifier_names()):
        chosen_by_option = (networks.TORCHVISION, networks.FACTORY)
        registered = [name for name in networks.networks.names() if name not in chosen_by_option]
        raise UnknownNameError("network", text, [*registered, *known])
    return networks.TORCHVISION, {"model": text}


def build_classifier(name: str, weights: str = AUTO) -> nn.Module:
    """A network of torchvision in evaluation mode; nothing is downloaded.

    Random weights come from torch's global generator, which the caller seeds. Heads that only
    training uses are left out.

    Args:
        name: name in torchvision.
        weights: ``auto``, ``random``, ``pretrained`` or a name, as at the top of
            this file; `weights_used` resolves it.

    Raises:
        UnknownNameError: unknown network, or unknown weights of it.
        DatasetError: the weights are not in torch's folder, or their file is damaged.
    """
    from torchvision import models

    entry = find_weights(name, weights)
    if entry is not None:
        return _pretrained(name, entry)
    network: nn.Module = models.get_model(name, weights=None, **random_options(name))
    return network.eval()


def random_options(name: str) -> dict[str, Any]:
    """Options for torchvision for a network without weights: no training-only heads.

    Args:
        name: name in torchvision.
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
    """Turn an exception while reading a weights file into an error with a hint.

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
            "replace the file, or use random weights",
        ) from error


@dataclass(frozen=True)
class PublishedWeights:
    """torchvision's metadata of weights.

    Attributes:
        name: of the weights, for instance ``IMAGENET1K_V1``.
        top1: share of ImageNet-1K's validation images whose class came first, 0 to 1; ``None``
            where the weights are not for a classifier.
        resize_px: shorter side an image is resized to; 256 where torchvision does not say.
        crop_px: side of the square that is cropped from it, and that the network sees.
    """

    name: str
    top1: float | None
    resize_px: int
    crop_px: int


def classifier_names() -> list[str]:
    """Every image classifier of the installed torchvision."""
    models = _torchvision_models()
    return list(models.list_models(module=models))


def published_weights(name: str) -> dict[str, PublishedWeights]:
    """Every set of weights of a network by its name, in torchvision's order.

    Args:
        name: as torchvision has it, for instance ``resnet50``.

    Raises:
        UnknownNameError: unknown network.
    """
    return {one.name: _published(one) for one in _entries(name)}


def weights_used(name: str, weights: str = AUTO) -> str:
    """The weights that a network would be built with: their name, or ``random``.

    Args:
        name: of the network.
        weights: the request; see the table at the top.

    Raises:
        UnknownNameError: unknown network, or unknown weights of it.
        DatasetError: the requested weights are not in torch's folder.
    """
    found = find_weights(name, weights)
    return found.name if found is not None else RANDOM


def training_weights(network: str, options: Mapping[str, Any]) -> str:
    """The weights at the start of a training.

    Args:
        network: registered name.
        options: its keyword arguments.

    Returns:
        ``random`` or a name such as ``IMAGENET1K_V1``; empty for other networks.

    Raises:
        UnknownNameError, DatasetError: as `weights_used`.
    """
    if network != networks.TORCHVISION:
        return ""
    return weights_used(options["model"], options.get("weights", AUTO))


def find_weights(name: str, weights: str = AUTO) -> WeightsEnum | None:
    """The entry in torchvision of the weights to use; ``None`` for random ones.

    Args:
        name: of the network.
        weights: the request.

    Raises:
        UnknownNameError: unknown network, or unknown weights of it.
        DatasetError: the requested weights are not in torch's folder.
    """
    entries = {one.name: one for one in _entries(name)}
    if weights == RANDOM:
        return None
    if weights in (AUTO, PRETRAINED):
        wanted = [entries[one] for one in (FIRST, SECOND) if one in entries]
    elif weights in entries:
        wanted = [entries[weights]]
    else:
        raise UnknownNameError(
            f"set of weights of {name}", weights, [AUTO, PRETRAINED, RANDOM, *entries]
        )
    for one in wanted:
        if weights_file(one).is_file():
            return one
    if weights == AUTO:
        return None
    if not wanted:
        raise UsageError(
            f"{name} has no weights {FIRST} or {SECOND}", f"choose one of {', '.join(entries)}"
        )
    raise DatasetError(
        f"weights {wanted[0].name} of {name} are not on this machine: no {weights_file(wanted[0])}",
        "put the file there (joulelab never downloads weights), or use random weights",
    )


def weights_file(entry: WeightsEnum) -> Path:
    """Torch's path of the file of these weights, whether it exists or not."""
    from torch import hub

    return Path(hub.get_dir()) / "checkpoints" / Path(urlparse(entry.url).path).name


def _entries(name: str) -> list[WeightsEnum]:
    known = classifier_names()
    if name not in known:
        raise UnknownNameError("torchvision classifier", name, known)
    return list(_torchvision_models().get_model_weights(name))


def _torchvision_models() -> Any:  # noqa: ANN401 - torchvision has no types
    try:
        from torchvision import models
    except Exception as error:  # the exception depends on how two versions mismatch
        raise MissingDependencyError(
            f"torchvision cannot be imported: {type(error).__name__}: {error}",
            "install the torchvision version that matches your torch",
        ) from error
    return models


def _published(entry: WeightsEnum) -> PublishedWeights:
    meta, crop = entry.meta, entry.transforms.keywords
    percent = float(meta["_metrics"].get(DATA, {}).get("acc@1", math.nan))
    return PublishedWeights(
        name=entry.name,
        top1=percent / 100 if math.isfinite(percent) else None,
        resize_px=int(crop.get("resize_size", 256)),
        crop_px=int(crop["crop_size"]),
    )
