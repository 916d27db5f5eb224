"""Networks of linear layers, after Yarally et al., CAIN 2023, section IV-A.

Symbols: N linear layers, numbered d = 0 ... N-1; C channels, D = C * H * W values in an image;
K classes. The last layer goes to K units; the width of a hidden layer never falls below C. There
is no activation between the layers, as in the published code: the networks are linear maps.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from joulelab.learning.images import ImageShape
from joulelab.learning.networks import check_count


class DensePolyNN(nn.Sequential):
    """N linear layers; hidden layer d has max(floor(D / 2^(d+1)), C) units.

    Args:
        shape: of one image.
        classes: K, the units of the last layer.
        linear_layers: N, at least 1.
    """

    def __init__(self, shape: ImageShape, classes: int, *, linear_layers: int = 3) -> None:
        hidden = halving_widths(shape.size, linear_layers, at_least=shape.channels)
        super().__init__(nn.Flatten(), linear_stack(shape.size, hidden, classes))


class DenseLinearNN(nn.Sequential):
    """N linear layers; hidden layer d has max(floor(D - (d+1) * D / N), C) units.

    Args:
        shape: of one image.
        classes: K, the units of the last layer.
        linear_layers: N, at least 1.
    """

    def __init__(self, shape: ImageShape, classes: int, *, linear_layers: int = 3) -> None:
        layers = check_count("linear_layers", linear_layers)
        # D - (d+1) * D / N is D * (N-d-1) / N, which whole numbers floor without rounding errors.
        hidden = [
            max(shape.size * (layers - d - 1) // layers, shape.channels) for d in range(layers - 1)
        ]
        super().__init__(nn.Flatten(), linear_stack(shape.size, hidden, classes))


def halving_widths(features: int, linear_layers: int, at_least: int) -> list[int]:
    """Widths of the hidden layers of DensePolyNN: max(floor(D / 2^(d+1)), C), d = 0 ... N-2.

    Args:
        features: D, values that go into the first layer.
        linear_layers: N, at least 1.
        at_least: C, the least width.

    Raises:
        UsageError: N is not a whole number of at least 1.
    """
    layers = check_count("linear_layers", linear_layers)
    return [max(features // 2 ** (d + 1), at_least) for d in range(layers - 1)]


def linear_stack(features: int, hidden: list[int], classes: int) -> nn.Sequential:
    """Linear layers with these widths between `features` inputs and `classes` outputs."""
    return nn.Sequential(*(nn.Linear(i, o) for i, o in pairwise([features, *hidden, classes])))
