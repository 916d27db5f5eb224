"""The small networks of Yarally et al., CAIN 2023, section IV-A and Table II.

Symbols: N linear layers, numbered d = 0 ... N-1; C channels, D = C * H * W values in an image;
K classes. The last layer goes to K units; the width of a hidden layer never falls below C. Linear
layers follow each other without activation, as in the published code: dense networks are linear.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, get_args

from torch import nn

from joulelab.errors import TrainingError, UsageError, quoted, suggestion
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import check_count

Pooling = Literal["every-block", "while-possible"]


class DensePolyNN(nn.Sequential):
    """N linear layers; hidden layer d has max(floor(D / 2^(d+1)), C) units.

    Args:
        shape: of one image.
        classes: K, the units of the last layer.
        linear_layers: N, at least 1.
    """

    def __init__(self, shape: ImageShape, classes: int, *, linear_layers: int = 3) -> None:
        hidden = _halving_widths(shape.size, linear_layers, at_least=shape.channels)
        super().__init__(nn.Flatten(), _linear_stack(shape.size, hidden, classes))


class DenseLinearNN(nn.Sequential):
    """N linear layers; hidden layer d has max(floor(D - (d+1) * D / N), C) units.

    Args:
        shape: of one image.
        classes: K, the units of the last layer.
        linear_layers: N, at least 1.
    """

    def __init__(self, shape: ImageShape, classes: int, *, linear_layers: int = 3) -> None:
        layers = check_count("linear_layers", linear_layers)
        # D - (d+1) * D / N is D * (N-d-1) / N, computed in integers to avoid rounding errors.
        hidden = [
            max(shape.size * (layers - d - 1) // layers, shape.channels) for d in range(layers - 1)
        ]
        super().__init__(nn.Flatten(), _linear_stack(shape.size, hidden, classes))


def _halving_widths(features: int, linear_layers: int, at_least: int) -> list[int]:
    """Widths of the hidden layers of DensePolyNN: max(floor(D / 2^(d+1)), C), d = 0 ... N-2.

    Args:
        features: D, values that go into the first layer.
        linear_layers: N, at least 1.
        at_least: C, the smallest width.

    Raises:
        UsageError: N is not a whole number of at least 1.
    """
    layers = check_count("linear_layers", linear_layers)
    return [max(features // 2 ** (d + 1), at_least) for d in range(layers - 1)]


def _linear_stack(features: int, hidden: list[int], classes: int) -> nn.Sequential:
    """Linear layers with these widths between `features` inputs and `classes` outputs."""
    return nn.Sequential(*(nn.Linear(i, o) for i, o in pairwise([features, *hidden, classes])))


class SimpleCNN(nn.Sequential):
    """M convolution blocks, then N linear layers as in DensePolyNN on the flattened features.

    Block d, counted from 0: Conv2d (kernel 3, stride 1, padding 1) to C * 3^(d+1) channels,
    BatchNorm2d, ReLU unless it is left out, MaxPool2d(2). C is the number of channels of the image,
    and also the least width of a hidden linear layer.

    **Small images.** With ``pooling="every-block"``, which is the paper's, each block halves the
    image (rounded down), so M blocks need 2^M pixels a side; an image that would shrink below one
    pixel is an error. With ``pooling="while-possible"`` a block pools only while both sides have at
    least 2 pixels; on images that are large enough the two are the same network.

    Args:
        shape: of one image.
        classes: K, the units of the last layer.
        linear_layers: N, at least 1.
        conv_layers: M, at least 1.
        relu: put a ReLU into each block.
        pooling: ``"every-block"`` or ``"while-possible"``.

    Raises:
        UsageError: an impossible value of an option.
        TrainingError: ``every-block``, and the images are too small for M blocks.
    """

    def __init__(
        self,
        shape: ImageShape,
        classes: int,
        *,
        linear_layers: int = 3,
        conv_layers: int = 2,
        relu: bool = True,
        pooling: Pooling = "every-block",
    ) -> None:
        _check_options(relu, pooling)
        blocks: list[nn.Module] = []
        channels, height, width = shape
        for block in range(check_count("conv_layers", conv_layers)):
            pools = pooling == "every-block" or min(height, width) >= 2  # noqa: PLR2004 - the rule
            if pools:
                height, width = height // 2, width // 2
            if min(height, width) == 0:
                raise _too_small(shape, conv_layers, block)
            blocks.append(_block(channels, channels * 3, relu=relu, pools=pools))
            channels *= 3
        features = channels * height * width
        hidden = _halving_widths(features, linear_layers, at_least=shape.channels)
        super().__init__(*blocks, nn.Flatten(), _linear_stack(features, hidden, classes))


def _block(inputs: int, outputs: int, *, relu: bool, pools: bool) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel_size=3, stride=1, padding=1),
        nn.BatchNorm2d(outputs),
    ]
    if relu:
        layers.append(nn.ReLU())
    if pools:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _check_options(relu: object, pooling: str) -> None:
    if not isinstance(relu, bool):
        raise UsageError(f"relu = {quoted(relu)} is not possible", "relu is true or false")
    if pooling not in get_args(Pooling):
        near = suggestion(str(pooling), get_args(Pooling))
        raise UsageError(f"pooling = {quoted(pooling)} is not possible", near)


def _too_small(shape: ImageShape, conv_layers: int, block: int) -> TrainingError:
    return TrainingError(
        f"images of {shape.height}x{shape.width} pixels are too small for the {conv_layers} "
        f"poolings of SimpleCNN: block {block + 1} would leave less than 1 pixel",
        'pooling = "while-possible" in the network\'s options pools only while both sides have at '
        "least 2 pixels",
    )
