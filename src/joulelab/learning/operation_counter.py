"""torch's counter of floating-point operations, set right where it goes wrong.

- The backward pass of a convolution is counted here. For one of g groups torch counts g times the
  gradient by its weights: a training of MobileNetV2 on 64x64 pixels becomes 7 times what it is.
- In evaluation mode torch has a way through attention that its counter does not know; it is shut
  while operations are counted.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode


@contextlib.contextmanager
def counting_on(device: str) -> Iterator[FlopCounterMode]:
    """A counter, to be entered around what is counted; random numbers go on as if never drawn.

    Gradients are on for a forward pass too: attention has its uncounted way only without them.

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


def watch_frozen(network: nn.Module, counter: FlopCounterMode) -> list[int]:
    """A list to which every forward pass of a frozen layer adds its operations, when it ends.

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

    for layer in frozen_layers(network):
        layer.register_forward_pre_hook(begin)
        layer.register_forward_hook(end)
    return operations


def frozen_layers(network: nn.Module) -> list[nn.Module]:
    """The outermost modules that have parameters and none that is trained."""
    parameters = list(network.parameters())
    if parameters and not any(one.requires_grad for one in parameters):
        return [network]
    return [layer for child in network.children() for layer in frozen_layers(child)]


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
