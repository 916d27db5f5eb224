"""Layers of several members at once.

Values that pass between layers have one of three forms:

========  =================  ====================================================
form      shape              held by
========  =================  ====================================================
members   (N, B, C, H, W)    the images of a batch, before the first layer
spatial   (B, N * C, H, W)   convolution, BatchNorm2d, pooling
flat      (N, B, F)          linear layers
========  =================  ====================================================

A layer takes its parameters from a *state*: tensors by name, each with the members along its first
dimension. Sums never mix members, so NaN in one does not affect others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from joulelab.learning.fast.kernels import batch_norm, linear, max_pool_2x2

State = Mapping[str, Tensor]
"""Stacked parameters and buffers by name, (N, ...)."""

_FLAT, _SPATIAL, _MEMBERS = 3, 4, 5


@dataclass(frozen=True)
class Arithmetic:
    """How layers compute.

    Attributes:
        dtype: of linear layers: of their inputs, and of weights during multiplication.
        convolutions: the same for convolutions and everything between them.
        onednn: float32 products of linear layers go to oneDNN; CPU only.
        own_kernels: BatchNorm and pooling as in `kernels`; CPU only.
        channels_last: images are kept with their channels side by side.
    """

    dtype: torch.dtype = torch.float32
    convolutions: torch.dtype = torch.float32
    onednn: bool = False
    own_kernels: bool = False
    channels_last: bool = False


@dataclass(frozen=True)
class Pass:
    """One forward pass: state, mode, number of members."""

    state: State
    arithmetic: Arithmetic
    training: bool
    members: int


class Layer(ABC):
    """A layer of all members."""

    @abstractmethod
    def __call__(self, run: Pass, *inputs: Tensor) -> Tensor:
        """The output for the inputs, in one of the three forms."""


@dataclass(frozen=True)
class Linear(Layer):
    """A linear layer.

    Attributes:
        weight: name of (N, O, F).
        bias: name of (N, O), or none.
    """

    weight: str
    bias: str | None

    def __call__(self, run: Pass, *inputs: Tensor) -> Tensor:
        """Flat to flat."""
        dtype = run.arithmetic.dtype
        bias = None if self.bias is None else run.state[self.bias].to(dtype)
        weight = run.state[self.weight].to(dtype)
        return linear(flat(inputs[0]).to(dtype), weight, bias, onednn=run.arithmetic.onednn)


@dataclass(frozen=True)
class Convolution(Layer):
    """A two-dimensional convolution, of all members as one with N times the groups.

    Attributes:
        weight: name of (N, O, I / groups, height, width).
        bias: name of (N, O), or none.
        stride: rows, columns.
        padding: rows, columns; zeros.
        dilation: rows, columns.
        groups: of one member.
    """

    weight: str
    bias: str | None
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int

    def __call__(self, run: Pass, *inputs: Tensor) -> Tensor:
        """Spatial to spatial."""
        arithmetic = run.arithmetic
        weight = run.state[self.weight]
        kernels = weight.flatten(0, 1).to(arithmetic.convolutions)
        if arithmetic.channels_last:
            kernels = kernels.contiguous(memory_format=torch.channels_last)
        bias = None
        if self.bias is not None:
            bias = run.state[self.bias].flatten().to(arithmetic.convolutions)
        return functional.conv2d(
            spatial(inputs[0], arithmetic).to(arithmetic.convolutions),
            kernels,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups * run.members,
        )


@dataclass(frozen=True)
class BatchNorm(Layer):
    """BatchNorm1d or BatchNorm2d; each member has its own channels, and so its own statistics.

    Attributes:
        weight: name of (N, C), or none.
        bias: name of (N, C), or none.
        running_mean: name of (N, C), or none where no statistics are kept.
        running_var: the same.
        momentum: weight of a new batch in the running statistics.
        eps: added to the variance.
    """

    weight: str | None
    bias: str | None
    running_mean: str | None
    running_var: str | None
    momentum: float
    eps: float

    def __call__(self, run: Pass, *inputs: Tensor) -> Tensor:
        """Spatial to spatial, or flat to flat."""
        if inputs[0].ndim == _FLAT:
            members, batch, features = inputs[0].shape
            columns = inputs[0].transpose(0, 1).reshape(batch, members * features)
            normalised = self._normalised(run, columns)
            return normalised.view(batch, members, features).transpose(0, 1)
        return self._normalised(run, spatial(inputs[0], run.arithmetic))

    def _normalised(self, run: Pass, values: Tensor) -> Tensor:
        weight, bias = self._flattened(run, self.weight), self._flattened(run, self.bias)
        mean = self._flattened(run, self.running_mean)
        variance = self._flattened(run, self.running_var)
        by_batch = run.training or mean is None
        own = run.arithmetic.own_kernels and by_batch and values.ndim == _SPATIAL
        count = values.numel() // values.shape[1]
        if not own or weight is None or bias is None or count == 1:
            return functional.batch_norm(
                values, mean, variance, weight, bias, by_batch, self.momentum, self.eps
            )
        normalised, batch_mean, batch_variance = batch_norm(values, weight, bias, self.eps)
        if mean is not None and variance is not None:
            mean.lerp_(batch_mean, self.momentum)
            variance.lerp_(batch_variance * (count / (count - 1)), self.momentum)
        return normalised

    @staticmethod
    def _flattened(run: Pass, name: str | None) -> Tensor | None:
        # A view, because running statistics are changed in place.
        return None if name is None else run.state[name].view(-1)


@dataclass(frozen=True)
class MaxPool2x2(Layer):
    """Maximum over 2x2 windows, stride 2."""

    def __call__(self, run: Pass, *inputs: Tensor) -> Tensor:
        """Spatial to spatial."""
        images = spatial(inputs[0], run.arithmetic)
        if run.arithmetic.own_kernels:
            return max_pool_2x2(images)
        return functional.max_pool2d(images, 2)


@dataclass(frozen=True)
class ByChannel(Layer):
    """Channel-wise operations: pooling.

    Attributes:
        apply: of a batch of images (B, C, H, W).
    """

    apply: Callable[[Tensor], Tensor]

    def __call__(self, run: Pass, *inputs: Tensor) -> Tensor:
        """Spatial to spatial."""
        return self.apply(spatial(inputs[0], run.arithmetic))


@dataclass(frozen=True)
class ByElement(Layer):
    """Element-wise operations: activations, sums of two inputs.

    Attributes:
        apply: of tensors of any shape.
    """

    apply: Callable[..., Tensor]

    def __call__(self, run: Pass, *inputs: Tensor) -> Tensor:
        """The form of the inputs."""
        if len(inputs) > 1 and any(value.ndim == _SPATIAL for value in inputs):
            inputs = tuple(spatial(value, run.arithmetic) for value in inputs)
        return self.apply(*inputs)


@dataclass(frozen=True)
class Flatten(Layer):
    """All channels and pixels of an image in one row."""

    def __call__(self, run: Pass, *inputs: Tensor) -> Tensor:
        """Members or spatial to flat."""
        values = inputs[0]
        if values.ndim == _SPATIAL:
            return values.reshape(len(values), run.members, -1).transpose(0, 1)
        return flat(values)


def flat(values: Tensor) -> Tensor:
    """Images of members as rows, (N, B, F); flat values are unchanged."""
    return values.flatten(2) if values.ndim == _MEMBERS else values


def spatial(values: Tensor, arithmetic: Arithmetic) -> Tensor:
    """Images of members side by side, (B, N * C, H, W); spatial values are unchanged."""
    if values.ndim == _MEMBERS:
        values = values[0] if len(values) == 1 else values.transpose(0, 1).flatten(1, 2)
    if arithmetic.channels_last:
        return values.contiguous(memory_format=torch.channels_last)
    return values
