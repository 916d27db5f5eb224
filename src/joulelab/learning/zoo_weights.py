"""Published weights of torchvision's classifiers: their figures, and whether their files lie here.

Nothing is ever downloaded. torchvision ships the figures of all weights with the package; a weights
file is used where it lies already, in ``checkpoints`` of torch's folder for hub files, which is
``~/.cache/torch/hub`` unless ``TORCH_HOME`` says otherwise.

Which weights a request stands for::

    auto         IMAGENET1K_V1, else IMAGENET1K_V2, whichever lies here; else random
    pretrained   the same, but an error where neither lies here
    random       none
    a name       those weights, for instance IMAGENET1K_V2; an error where they do not lie here
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from joulelab.errors import DatasetError, MissingDependencyError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

AUTO, PRETRAINED, RANDOM = "auto", "pretrained", "random"
FIRST, SECOND = "IMAGENET1K_V1", "IMAGENET1K_V2"
"""The first weights that torchvision published of a network, and those of its later recipe."""
DATA = "ImageNet-1K"


@dataclass(frozen=True)
class PublishedWeights:
    """What torchvision says of weights.

    Attributes:
        name: of the weights, for instance ``IMAGENET1K_V1``.
        top1: share of ImageNet-1K's validation images whose class came first, 0 to 1; ``None``
            where the weights are no classifier's.
        resize_px: shorter side an image is resized to; 256 where torchvision does not say.
        crop_px: side of the square that is cropped from it, and that the network sees.
        multiply_adds: of one image's forward pass, as torchvision counts them.
        parameters: as torchvision counts them, heads that only training uses among them.
        is_default: whether torchvision recommends these.
    """

    name: str
    top1: float | None
    resize_px: int
    crop_px: int
    multiply_adds: float
    parameters: int
    is_default: bool


def classifier_names() -> list[str]:
    """Every image classifier of the installed torchvision."""
    models = _torchvision_models()
    return list(models.list_models(module=models))


def published_weights(name: str) -> dict[str, PublishedWeights]:
    """Every set of weights of a network by its name, in torchvision's order.

    Args:
        name: as torchvision has it, for instance ``resnet50``.

    Raises:
        UnknownNameError: torchvision has no such network.
    """
    return {one.name: _published(one) for one in _entries(name)}


def weights_used(name: str, weights: str = AUTO) -> str:
    """Which weights a network would be built with: their name, or ``random``.

    Args:
        name: of the network.
        weights: what is asked for; the table at the top says what it stands for.

    Raises:
        UnknownNameError: torchvision has no such network, or the network no such weights.
        DatasetError: the weights asked for do not lie in torch's folder.
    """
    found = find_weights(name, weights)
    return found.name if found is not None else RANDOM


def find_weights(name: str, weights: str = AUTO) -> WeightsEnum | None:
    """The entry of torchvision for the weights to use; ``None`` for random ones.

    Args:
        name: of the network.
        weights: what is asked for.

    Raises:
        UnknownNameError: torchvision has no such network, or the network no such weights.
        DatasetError: the weights asked for do not lie in torch's folder.
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
            f"{name} has no weights {FIRST} or {SECOND}", f"name one of {', '.join(entries)}"
        )
    raise DatasetError(
        f"weights {wanted[0].name} of {name} are not on this machine: no {weights_file(wanted[0])}",
        "put the file there (joulelab never downloads weights), or ask for weights random",
    )


def weights_file(entry: WeightsEnum) -> Path:
    """Where torch keeps the file of these weights, whether it lies there or not."""
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
    except Exception as error:  # what is raised depends on where two versions do not fit
        raise MissingDependencyError(
            f"torchvision cannot be imported: {type(error).__name__}: {error}",
            "install the torchvision that belongs to your torch",
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
        multiply_adds=1e9 * float(meta["_ops"]),
        parameters=int(meta["num_params"]),
        is_default=_is_default(entry),
    )


def _is_default(entry: Any) -> bool:  # noqa: ANN401
    return bool(entry == type(entry).DEFAULT)
