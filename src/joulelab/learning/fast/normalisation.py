"""BatchNorm in train mode on the CPU: fewer passes over memory than torch's, accurate to float32.

Notation, per channel, over the M values of a batch:

==========  ====================================================================
x, y        input and output
mu, v       mean and (biased) variance of x
xc          x - mu
s           1 / sqrt(v + eps)
gamma, beta weight and bias
==========  ====================================================================

::

    y      = xc * (s * gamma) + beta
    dbeta  = sum(dy),   dgamma = s * sum(dy * xc)
    dx     = gamma * s * (dy - dbeta / M - xc * s * dgamma / M)

Ioffe and Szegedy, "Batch normalization", ICML 2015, algorithm 1 and section 3. The variance is
taken from x - mu in a second pass, never as E[x^2] - mu^2. Images are worked on as a matrix of
B * H rows and W * C columns, so that every pass runs through memory in order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def batch_norm(
    images: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise a batch with its own statistics.

    Args:
        images: (B, C, H, W); float32 or bfloat16.
        weight: gamma, (C,), float32.
        bias: beta, (C,), float32.
        eps: added to the variance.

    Returns:
        The normalised images, in channels-last memory, and their mean and biased variance, both
        (C,), float32, through which no gradient flows.
    """
    normalised, mean, variance = _BatchNorm.apply(images, weight, bias, eps)
    return normalised, mean, variance


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        channels = images.shape[1]
        x = _matrix(images)
        repeats = x.shape[1] // channels
        count = x.numel() // channels
        mean = _sums(x, channels) / count
        centred = x - mean.to(x.dtype).repeat(repeats)
        squares = centred * centred
        variance = _sums(squares, channels) / count
        scale = (variance + eps).rsqrt_()
        y = torch.mul(centred, (scale * weight).to(x.dtype).repeat(repeats), out=squares)
        y += bias.to(x.dtype).repeat(repeats)
        ctx.save_for_backward(centred, scale, weight)
        ctx.shape = images.shape
        ctx.mark_non_differentiable(mean, variance)
        return _images(y, images.shape), mean, variance

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's context
        *gradients: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        centred, scale, weight = ctx.saved_tensors
        channels = ctx.shape[1]
        dy = _matrix(gradients[0])
        repeats = dy.shape[1] // channels
        count = dy.numel() // channels
        dbias = _sums(dy, channels)
        products = dy * centred
        dweight = _sums(products, channels) * scale
        outer = weight * scale
        inner = -outer * scale * dweight / count
        offset = -outer * dbias / count
        dx = torch.mul(centred, inner.to(dy.dtype).repeat(repeats), out=products)
        dx += offset.to(dy.dtype).repeat(repeats)
        dx.addcmul_(dy, outer.to(dy.dtype).repeat(repeats))
        return _images(dx, ctx.shape), dweight, dbias, None


def _matrix(images: Tensor) -> Tensor:
    """Images (B, C, H, W) as (B * H, W * C); a view of channels-last memory."""
    batch, channels, height, width = images.shape
    return images.permute(0, 2, 3, 1).reshape(batch * height, width * channels)


def _images(matrix: Tensor, shape: torch.Size) -> Tensor:
    """A matrix of `_matrix` as images again, (B, C, H, W)."""
    batch, channels, height, width = shape
    return matrix.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _sums(matrix: Tensor, channels: int) -> Tensor:
    """Sum over each channel of a matrix (B * H, W * C), float32, (C,)."""
    return matrix.sum(0, dtype=torch.float32).view(-1, channels).sum(0)
