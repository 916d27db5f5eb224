"""Matrix products of linear layers, through the faster of two libraries on the CPU.

Notation: x (N, B, F) inputs, w (N, O, F) weights, b (N, O) biases, y = x w' + b (N, B, O).

torch hands float32 products to MKL. oneDNN, which torch has for its convolutions and its compiler,
is more than twice as fast on AMD's processors with AVX-512 (measured on a Zen 5: 95 and 207 10^9
operations a second on a core). Which one is faster here is tried, see
`joulelab.learning.fast.schedule`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
        # For one member a plain product is faster than a batch of one.
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
        # Strides other than those of a matrix or its transpose make oneDNN a hundred times slower.
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
