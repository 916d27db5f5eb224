"""Networks of torchvision of which all or a part has shapes and no contents.

torch's meta device has such tensors: they take no time and no memory. A network is built there to
find out what it gives for images of a size, and weights that will be replaced are left there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from joulelab.learning.zoo import build_classifier, damage_explained, random_options
from joulelab.learning.zoo_weights import RANDOM, find_weights

WORTH_LEAVING = 10_000_000
"""Values in weights that are not read: AlexNet and VGG have more, all others less."""


def on_meta() -> bool:
    """Whether new tensors go to the meta device."""
    return torch.empty(0).is_meta


def meta_classifier(name: str, weights: str) -> nn.Module:
    """What `build_classifier` gives, in evaluation mode, on the meta device; no weights are read.

    Args:
        name: as torchvision has it.
        weights: that it would get; some of ViT's are for larger images, and have another shape.

    Raises:
        UnknownNameError, DatasetError: as `build_classifier`.
    """
    entry = find_weights(name, weights)
    options = random_options(name)
    if entry is not None and name.startswith("vit_"):
        options["image_size"] = entry.meta["min_size"][0]
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _NumbersOnCpu():
        network: nn.Module = models.get_model(name, weights=None, **options)
    return network.to("meta").eval()


def classifier_without(name: str, weights: str, shapes: frozenset[tuple[int, ...]]) -> nn.Module:
    """What `build_classifier` gives, but for weights of some shapes, which are left on meta.

    The classifier of VGG16 holds 124 of its 138 million weights; drawing them only to replace them
    takes most of the time in which the network is built.

    Args:
        name: as torchvision has it.
        weights: of the network. Where there are published ones, and what is left out is small, the
            whole network is built by torchvision, which knows how to read old files.
        shapes: of the weights that are left out.

    Raises:
        UnknownNameError, DatasetError: as `build_classifier`.
    """
    entry = find_weights(name, weights)
    if entry is not None and sum(map(math.prod, shapes)) < WORTH_LEAVING:
        return build_classifier(name, weights)
    with _LeftOnMeta(shapes):
        network = build_classifier(name, RANDOM)
    if entry is not None:
        with damage_explained(name, entry):
            _load_rest(network, entry.get_state_dict(progress=False))
    return network


def _load_rest(network: nn.Module, published: Mapping[str, torch.Tensor]) -> None:
    """Give published weights to whatever is not on the meta device.

    Raises:
        KeyError: some of them are not published.
    """
    wanted = [name for name, value in network.state_dict().items() if not value.is_meta]
    network.load_state_dict({name: published[name] for name in wanted}, strict=False)


class _NumbersOnCpu(TorchFunctionMode):
    """Keeps on the CPU what torchvision computes with while it builds a RegNet."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        given = dict(kwargs or {})
        if func in (torch.arange, torch.tensor):
            given.setdefault("device", "cpu")
        return func(*args, **given)


class _LeftOnMeta(TorchFunctionMode):
    """Puts new tensors of some shapes on the meta device."""

    def __init__(self, shapes: Iterable[tuple[int, ...]]) -> None:
        super().__init__()
        self._shapes = frozenset(shapes)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        given = dict(kwargs or {})
        if func is torch.empty and isinstance(args[0], tuple) and args[0] in self._shapes:
            given["device"] = "meta"
        return func(*args, **given)
