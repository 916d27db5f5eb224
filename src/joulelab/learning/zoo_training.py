"""The registered network ``torchvision``: an image classifier of the zoo, made ready for training.

::

    images in [0, 1] ─ normalised as for ImageNet ─ body ─ head ─ logits
                                                     │      └ new, for the data set's classes
                                                     └ trained, or frozen

Normalisation is a part of the network, with published weights or without: weights expect it, and
so what a training costs does not depend on whether they are there.

A **frozen** body has no gradients and computes none, and stays in evaluation mode while the head is
trained: its BatchNorm keeps its statistics, and its Dropout is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from joulelab.errors import TrainingError, UsageError, quoted, suggestion
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import TORCHVISION
from joulelab.learning.zoo_heads import HEADS, LINEAR, body_of, head_for, replaced_shapes
from joulelab.learning.zoo_meta import classifier_without, meta_classifier, on_meta
from joulelab.learning.zoo_weights import AUTO, RANDOM, weights_used

TRAINED, FROZEN = "trained", "frozen"
BASES = (TRAINED, FROZEN)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue, as torchvision's weights were trained with them."""
SIDES = (32, 48, 64, 96, 128, 192, 224, 256, 299, 384, 512)
"""Sides of images, in pixels, of which an error offers the smallest that a network takes."""

_CHANNELS = 3


class TorchvisionClassifier(nn.Module):
    """A body and a head of their own weights.

    Args:
        body: maps normalised images (B, 3, H, W) to features, (B, F) or (B, C, h, w).
        head: maps features to logits, (B, classes).
        frozen: whether the body stays as it is.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, body: nn.Module, head: nn.Module, *, frozen: bool) -> None:
        super().__init__()
        self.body = body.requires_grad_(not frozen)
        self.head = head
        self.frozen = frozen
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, _CHANNELS, 1, 1))
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, 3, H, W) in [0, 1]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.body((images - self.mean) / self.deviation)
        logits: Tensor = self.head(features)
        return logits

    def train(self, mode: bool = True) -> TorchvisionClassifier:
        """Training or evaluation mode; a frozen body stays in the latter."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self


def torchvision_classifier(
    shape: ImageShape,
    classes: int,
    *,
    model: str,
    weights: str = AUTO,
    base: str = TRAINED,
    head: str = LINEAR,
) -> nn.Module:
    """A network of torchvision with a head for other classes; nothing is downloaded.

    On the meta device no weights are read.

    Args:
        shape: of one image; the network's own three channels, and a side that it takes.
        classes: number of logits.
        model: as torchvision has it, for instance ``vgg16``.
        weights: ``auto``, ``random``, ``pretrained`` or a name, as `joulelab.learning.zoo_weights`
            explains; `training_weights` says what it comes to.
        base: ``trained``, or ``frozen``: everything but the head stays as it is.
        head: ``linear`` or ``xu2023``, as `joulelab.learning.zoo_heads` explains.

    Raises:
        UnknownNameError: torchvision has no such network, or the network no such weights.
        UsageError: an impossible value of an option.
        DatasetError: the weights do not lie in torch's folder, or their file is damaged.
        TrainingError: the network does not take images of this shape; says which it takes.
    """
    _check_choice("base", base, BASES)
    _check_choice("head", head, HEADS)
    used = weights_used(model, weights)
    features = _features(model, used, head, shape)
    replaced = _replaced(model, head)
    if on_meta():
        network = meta_classifier(model, used)
    else:
        network = classifier_without(model, used, replaced)
    top = head_for(network, head, features, classes)
    return TorchvisionClassifier(body_of(network, head), top, frozen=base == FROZEN)


def training_weights(network: str, options: Mapping[str, Any]) -> str:
    """Which weights a network begins its training with, in a word.

    Args:
        network: registered name.
        options: its keyword arguments.

    Returns:
        ``random`` or a name such as ``IMAGENET1K_V1``; empty for what is not torchvision's.

    Raises:
        UnknownNameError, DatasetError: as `torchvision_classifier`.
    """
    if network != TORCHVISION:
        return ""
    return weights_used(options["model"], options.get("weights", AUTO))


@cache
def _features(model: str, weights: str, head: str, shape: ImageShape) -> int:
    """How many features the body gives for one image, found without computing anything.

    Raises:
        TrainingError: the network does not take such images.
    """
    body = body_of(meta_classifier(model, weights), head)
    found, reason = _passed(body, shape) if shape.channels == _CHANNELS else (None, "")
    if found is not None:
        return found
    settings = [f"channels={_CHANNELS}"] if shape.channels != _CHANNELS else []
    if _passed(body, ImageShape(_CHANNELS, shape.height, shape.width))[0] is None:
        squares = (ImageShape(_CHANNELS, side, side) for side in SIDES)
        side = next((one.height for one in squares if _passed(body, one)[0] is not None), None)
        settings += [f"side={side}"] if side else []
    because = f": {reason}" if reason else f", only of {_CHANNELS} channels"
    raise TrainingError(
        f"the network {model} cannot process images of {shape.channels}x{shape.height}x"
        f"{shape.width}{because}",
        f"add ?{'&'.join(settings)} to the name of the data set",
    )


def _passed(body: nn.Module, shape: ImageShape) -> tuple[int | None, str]:
    """Features of one image, or why there are none."""
    images = torch.empty(2, shape.channels, shape.height, shape.width, device="meta")
    try:
        with torch.no_grad(), torch.device("meta"):
            features = body(images)
    except (RuntimeError, ValueError, AssertionError) as error:
        return None, " ".join(str(error).split())
    count = features[0].numel()
    return (count, "") if count else (None, "nothing is left of them")


@cache
def _replaced(model: str, head: str) -> frozenset[tuple[int, ...]]:
    return replaced_shapes(meta_classifier(model, RANDOM), head)


def _check_choice(option: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(
            f"{option} = {quoted(value)} is not possible", suggestion(str(value), known)
        )
