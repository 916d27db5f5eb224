"""Floating-point operations of a training, or of one forward pass, as torch counts them.

Symbols: f FLOPs of one image forward and backward, of which z in frozen layers, N training images,
B images per batch, s steps.

A matrix product of (m, k) and (k, n) is 2 m k n operations, a multiplication and an addition each;
so is a convolution of m output pixels, n output channels and k weights an output channel. torch
counts nothing else: no normalisation, pooling, activation, loss, or step of the optimiser. The
backward pass has twice the products of the forward pass, less the gradient by the input of the
first layer, which is not needed.

    training = f * (N * floor(s / S) + B * (s mod S)),  S = ceil(N / B) steps an epoch

because only the last batch of an epoch is smaller than B. It excludes evaluation and
engine-specific work: the count belongs to the network, equal for all engines and precisions.

A layer is **frozen** if it has parameters and none of them is trained. Of f, z is the forward pass
of frozen layers, and f - z everything else, including all backward passes. If a frozen layer is
above a trained one, the gradients through it are in f - z, because they serve the trained one.

Two errors of torch's counter are corrected here. For the backward pass of a convolution with g
groups it counts g times the gradient by its weights: a training of MobileNetV2 on 64x64 pixels
would be 7 times too high. And in evaluation mode torch has an attention path that its counter does
not know; it is disabled while counting.

A forward pass is counted on a single image in evaluation mode, so work done once per batch (Swin
V2's position table) is included once.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joulelab.errors import JoulelabError
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import Builder, build_network, network_key

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

BATCHES = (2, 4)
"""Batch sizes used for counting; BatchNorm needs at least two images."""


@dataclass(frozen=True)
class FlopCount:
    """FLOPs of one image in a training of a network, or in a forward pass.

    Attributes:
        per_image: floating-point operations; ``None`` where unknown.
        reason: why it is unknown.
        frozen: FLOPs of the forward pass of frozen layers; 0 if nothing is frozen, ``None`` where
            unknown.
    """

    per_image: int | None
    reason: str = ""
    frozen: int | None = None

    def of_training(self, train_images: int, batch_size: int, steps: int) -> float | None:
        """All steps of a training; ``None`` where unknown.

        Args:
            train_images: N, in an epoch.
            batch_size: B.
            steps: s, steps taken.
        """
        if self.per_image is None:
            return None
        return float(self.per_image * images_seen(train_images, batch_size, steps))

    def trainable_of_training(self, train_images: int, batch_size: int, steps: int) -> float | None:
        """FLOPs of a training without the forward pass of frozen layers; ``None`` where unknown.

        Args:
            train_images: N, in an epoch.
            batch_size: B.
            steps: s, steps taken.
        """
        if self.per_image is None or self.frozen is None:
            return None
        return float((self.per_image - self.frozen) * images_seen(train_images, batch_size, steps))


def images_seen(train_images: int, batch_size: int, steps: int) -> int:
    """The number of images in some steps, counted in every epoch.

    Ten images in batches of four are three steps, of 4, 4 and 2 images; the fourth step has 4:

    >>> images_seen(10, 4, 3), images_seen(10, 4, 4)
    (10, 14)

    Args:
        train_images: N, in an epoch.
        batch_size: B.
        steps: s.
    """
    steps_an_epoch = -(-train_images // batch_size)
    epochs, more = divmod(steps, steps_an_epoch)
    return epochs * train_images + more * batch_size


def count_flops(
    name: str, options: Mapping[str, Any], shape: ImageShape, classes: int
) -> FlopCount:
    """Count one image's operations in a training of a network; each network is counted once.

    Nothing is computed: the network and its images are on torch's meta device, where tensors have
    shapes and no contents. A network that cannot be trained there is tried with a few real images
    on the CPU.

    Args:
        name: registered name of the network.
        options: its keyword arguments.
        shape: of one image.
        classes: number of logits.
    """
    key = (*network_key(name, options), shape, classes)
    if key not in _counted:
        _counted[key] = _count(name, options, shape, classes)
    return _counted[key]


_counted: dict[tuple[Builder, str, ImageShape, int], FlopCount] = {}


def count_forward(build: Callable[[], nn.Module], shape: ImageShape) -> FlopCount:
    """Count the operations of the forward pass of one image, in evaluation mode.

    Args:
        build: creates the network; on the meta device or, if that fails, on the CPU.
        shape: of the image.

    >>> from torch import nn
    >>> network = lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> count_forward(network, ImageShape(1, 28, 28)).per_image      # 2 * 784 * 10
    15680
    """
    import torch

    def on(device: str) -> FlopCount:
        with _counting_on(device) as counter:
            network, images = build().eval(), torch.zeros(1, *shape)
            with counter:
                network(images)
        return _known(counter.get_total_flops())

    return _first_counted(on)


def _count(name: str, options: Mapping[str, Any], shape: ImageShape, classes: int) -> FlopCount:
    def on(device: str) -> FlopCount:
        def build() -> nn.Module:
            return build_network(name, shape, classes, options).train()

        small, large = (_step(build, shape, n, device) for n in BATCHES)
        if any(
            few * BATCHES[1] != many * BATCHES[0] for few, many in zip(small, large, strict=True)
        ):
            return FlopCount(None, "its operations are not proportional to the batch size")
        operations, frozen = small
        return _known(operations // BATCHES[0], frozen // BATCHES[0])

    return _first_counted(on)


def _first_counted(count: Callable[[str], FlopCount]) -> FlopCount:
    """The count on the meta device or, if the network does not run there, on the CPU."""
    reasons = []
    for device in ("meta", "cpu"):
        try:
            return count(device)
        except Exception as error:  # a network of the user's may raise anything
            told = error.message if isinstance(error, JoulelabError) else repr(error)
            reasons.append(f"on {device}: {told}")
    return FlopCount(None, "a step could not be counted; " + "; ".join(reasons))


def _known(operations: int, frozen: int | None = None) -> FlopCount:
    if not operations:
        return FlopCount(None, "torch's counter knows none of its operations")
    return FlopCount(operations, frozen=frozen)


def _step(
    build: Callable[[], nn.Module], shape: ImageShape, size: int, device: str
) -> tuple[int, int]:
    """Operations of one training step on `size` images, and those of its frozen layers forward."""
    import torch
    from torch.nn.functional import cross_entropy

    with _counting_on(device) as counter:
        network, images = build(), torch.zeros(size, *shape)
        frozen = _watch_frozen(network, counter)
        labels = torch.zeros(size, dtype=torch.int64)
        with counter:
            torch.autograd.backward(cross_entropy(network(images), labels))
    return counter.get_total_flops(), sum(frozen)


@contextlib.contextmanager
def _counting_on(device: str) -> Iterator[FlopCounterMode]:
    """A FLOP counter as a context manager; it restores the random state.

    Gradients are enabled for a forward pass too: the uncounted attention path needs them disabled.

    Args:
        device: where new tensors go, ``"meta"`` or ``"cpu"``.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    shortcut = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device), torch.enable_grad():
            own = {torch.ops.aten.convolution_backward: _convolution_backward}
            yield FlopCounterMode(display=False, custom_mapping=own)
    finally:
        torch.backends.mha.set_fastpath_enabled(shortcut)


def _watch_frozen(network: nn.Module, counter: FlopCounterMode) -> list[int]:
    """A list that collects the operations of each forward pass of a frozen layer.

    Args:
        network: it gets hooks.
        counter: entered while the network runs.
    """
    begun: list[int] = []
    operations: list[int] = []

    def begin(*_: object) -> None:
        begun.append(counter.get_total_flops())

    def end(*_: object) -> None:
        operations.append(counter.get_total_flops() - begun.pop())

    for layer in _frozen_layers(network):
        layer.register_forward_pre_hook(begin)
        layer.register_forward_hook(end)
    return operations


def _frozen_layers(network: nn.Module) -> list[nn.Module]:
    """The outermost modules whose parameters are all frozen."""
    parameters = list(network.parameters())
    if parameters and not any(one.requires_grad for one in parameters):
        return [network]
    return [layer for child in network.children() for layer in _frozen_layers(child)]


def _convolution_backward(
    by_output: Sequence[int],
    inputs: Sequence[int],
    weights: Sequence[int],
    *others: Any,  # noqa: ANN401
    **_: object,
) -> int:
    """Operations of the gradients of a convolution, each as many as its forward pass has.

    Args:
        by_output: shape of the gradient by the output, (B, C, ...).
        inputs: shape of the input.
        weights: shape of the weights; within a group, so that groups are accounted for.
        others: biases, stride, padding, dilation, whether it is transposed, output padding, groups,
            and which gradients are asked for: by the input, by the weights, by the biases.
    """
    transposed, asked = others[4], others[7]
    positions = (inputs if transposed else by_output)[2:]
    forward = 2 * inputs[0] * math.prod(positions) * math.prod(weights)
    return forward * sum(map(bool, asked[:2]))
