"""Operations that are faster on the CPU than torch's: BatchNorm, 2x2 maximum, linear layers.

**BatchNorm** in train mode, with fewer passes over memory, accurate to float32.

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

**Maximum over 2x2 windows**, in a fraction of the time.

Notation: a window holds ``a b`` above ``c d``. Rows are compared before columns, because whole rows
of a channels-last image are contiguous in memory::

    r = max(upper row, lower row)           above = 1 where the upper is at least the lower
    y = max(left half of r, right half)     left  = 1 where the left is at least the right

    dr_left = dy * left,  dr_right = dy - dr_left;   dupper = dr * above,  dlower = dr - dupper

Masks have the type of the image, because multiplying by booleans costs more than everything else.
The gradient goes to one element of a window, as in torch: of equal ones to the first, row by row.
The one case in which the choice differs is b == c > a, where torch takes b and this takes c.

**Linear layers**, through the faster of two libraries.

Notation: x (N, B, F) inputs, w (N, O, F) weights, b (N, O) biases, y = x w' + b (N, B, O).

torch hands float32 products to MKL. oneDNN, which torch has for its convolutions and its compiler,
is more than twice as fast on AMD's processors with AVX-512 (measured on a Zen 5: 95 and 207 10^9
operations a second on a core). The faster one is found by trial, see
`joulelab.learning.fast.schedule`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

WINDOW = 2


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


def max_pool_2x2(images: Tensor) -> Tensor:
    """Maximum over windows of 2x2 pixels, stride 2; an odd last row or column is left out.

    Args:
        images: (B, C, H, W), in channels-last or contiguous memory.

    Returns:
        (B, C, H // 2, W // 2), in channels-last memory.
    """
    pooled: Tensor = _MaxPool.apply(images)
    return pooled


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        upper, lower = _rows(_channels_last(images))  # (B, h, W, C) each
        rows = torch.maximum(upper, lower)
        left, right = _columns(rows)  # (B, h, w, C) each
        pooled = torch.maximum(left, right)
        above = torch.ge(upper, lower, out=torch.empty_like(rows))
        leftmost = torch.ge(left, right, out=torch.empty_like(pooled))
        ctx.save_for_backward(above, leftmost)
        ctx.shape = images.shape
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        above, leftmost = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        dy = _channels_last(gradients[0])
        drows = torch.empty_like(above)
        left, right = _columns(drows)
        torch.mul(dy, leftmost, out=left)
        torch.sub(dy, left, out=right)
        whole = height % WINDOW == 0 and width % WINDOW == 0
        make = torch.empty if whole else torch.zeros
        dimages = make((batch, height, width, channels), dtype=dy.dtype, device=dy.device)
        upper, lower = _rows(dimages)
        torch.mul(drows, above, out=upper)
        torch.sub(drows, upper, out=lower)
        return dimages.permute(0, 3, 1, 2)


def _channels_last(images: Tensor) -> Tensor:
    """(B, H, W, C), contiguous; a view where the memory already is."""
    return images.permute(0, 2, 3, 1).contiguous()


def _rows(images: Tensor) -> tuple[Tensor, Tensor]:
    """Upper and lower rows of all windows, views, (B, H // 2, 2 * (W // 2), C)."""
    _, height, width, _ = images.shape
    inner = images[:, : height // WINDOW * WINDOW, : width // WINDOW * WINDOW]
    return inner[:, 0::WINDOW], inner[:, 1::WINDOW]


def _columns(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Left and right columns of all windows, views, (B, H // 2, W // 2, C)."""
    return rows[:, :, 0::WINDOW], rows[:, :, 1::WINDOW]


def onednn_available() -> bool:
    """Whether torch can hand a float32 product to oneDNN here."""
    return torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None, *, onednn: bool) -> Tensor:
    """A linear layer of each member.

    Args:
        inputs: x, (N, B, F).
        weight: w, (N, O, F).
        bias: b, (N, O), or none.
        onednn: use oneDNN; float32 on the CPU only.

    Returns:
        y, (N, B, O).
    """
    if onednn:
        products: Tensor = _OneDNNLinear.apply(inputs, weight, bias)
        return products
    if len(inputs) == 1:
        # For one member a plain product is faster than a batched one.
        one_bias = None if bias is None else bias[0]
        return torch.nn.functional.linear(inputs[0], weight[0], one_bias).unsqueeze(0)
    if bias is None:
        return torch.bmm(inputs, weight.transpose(1, 2))
    return torch.baddbmm(bias.unsqueeze(1), inputs, weight.transpose(1, 2))


class _OneDNNLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        # With strides other than a matrix or its transpose, oneDNN is a hundred times slower.
        inputs = inputs.contiguous()
        ctx.save_for_backward(inputs, weight)
        ctx.has_bias = bias is not None
        biases = [None] * len(inputs) if bias is None else list(bias)
        return _stacked([_product(x, w, b) for x, w, b in zip(inputs, weight, biases, strict=True)])

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's context
        *gradients: Tensor,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        dy = gradients[0].contiguous()  # (N, B, O)
        dinputs = dweight = dbias = None
        if ctx.needs_input_grad[0]:
            dinputs = _stacked([_product(d, w.t()) for d, w in zip(dy, weight, strict=True)])
        if ctx.needs_input_grad[1]:
            dweight = _stacked([_product(d.t(), x.t()) for d, x in zip(dy, inputs, strict=True)])
        if ctx.has_bias and ctx.needs_input_grad[2]:
            dbias = dy.sum(1)
        return dinputs, dweight, dbias


def _product(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """X (B, F) times w (O, F) transposed, plus b (O,)."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], "")
    return product


def _stacked(members: list[Tensor]) -> Tensor:
    return members[0].unsqueeze(0) if len(members) == 1 else torch.stack(members)
