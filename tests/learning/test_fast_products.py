"""Products of stacked linear layers: both libraries give what torch gives member by member."""

import pytest
import torch

from joulelab.learning.fast.kernels import linear, onednn_available

needs_onednn = pytest.mark.skipif(not onednn_available(), reason="this torch has no oneDNN")
LIBRARIES = [
    pytest.param(False, id="torch"),
    pytest.param(True, id="oneDNN", marks=needs_onednn),
]
TOLERANCE = 1e-5
"""Relative and absolute, of float32 sums of some 40 products of order 1."""


def _numbers(members, bias=True):
    generator = torch.Generator().manual_seed(members)
    inputs = torch.randn(members, 19, 37, generator=generator)
    weight = torch.randn(members, 11, 37, generator=generator)
    biases = torch.randn(members, 11, generator=generator) if bias else None
    upstream = torch.randn(members, 19, 11, generator=generator)
    return inputs, weight, biases, upstream


def _with_gradients(function, tensors, upstream):
    """The values of a function and the gradients of its tensors."""
    leaves = [None if t is None else t.detach().requires_grad_() for t in tensors]
    values = function(*leaves)
    torch.autograd.backward(values, upstream)
    return [values.detach(), *(leaf.grad for leaf in leaves if leaf is not None)]


def _by_member(inputs, weight, bias):
    """torch's own linear layer, member by member, in double precision."""
    rows = []
    for index in range(len(inputs)):
        own = None if bias is None else bias[index].double()
        product = torch.nn.functional.linear(inputs[index].double(), weight[index].double(), own)
        rows.append(product)
    return torch.stack(rows).float()


def _check(members, onednn, bias=True, arrange=lambda tensor: tensor):
    inputs, weight, biases, upstream = _numbers(members, bias)
    expected = _with_gradients(_by_member, (inputs, weight, biases), upstream)
    given = arrange(inputs), arrange(weight), biases
    got = _with_gradients(lambda x, w, b: linear(x, w, b, onednn=onednn), given, arrange(upstream))
    assert len(got) == len(expected) == (4 if bias else 3)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("onednn", LIBRARIES)
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_torchs(members, onednn, bias):
    _check(members, onednn, bias)


@pytest.mark.parametrize("onednn", LIBRARIES)
@pytest.mark.parametrize("members", [1, 3])
def test_memory_may_be_in_any_order(members, onednn):
    def swapped(tensor):
        other = tensor.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        assert other.shape == tensor.shape
        return other

    _check(members, onednn, arrange=swapped)


@pytest.mark.parametrize("onednn", LIBRARIES)
def test_members_do_not_meet(onednn):
    """Not even where one is NaN: 0 * NaN would be NaN."""
    inputs, weight, biases, upstream = _numbers(3)
    healthy = _with_gradients(
        lambda x, w, b: linear(x, w, b, onednn=onednn), (inputs, weight, biases), upstream
    )
    sick = inputs.clone()
    sick[1] = torch.nan
    got = _with_gradients(
        lambda x, w, b: linear(x, w, b, onednn=onednn), (sick, weight, biases), upstream
    )
    for one, other in zip(got, healthy, strict=True):
        assert torch.equal(one[[0, 2]], other[[0, 2]])
    assert got[0][1].isnan().all()


@pytest.mark.parametrize("onednn", LIBRARIES)
def test_what_needs_no_gradient_gets_none(onednn):
    """The images need none, and a frozen layer's weight neither."""
    inputs, weight, biases, upstream = _numbers(2)
    free = biases.requires_grad_()
    torch.autograd.backward(linear(inputs, weight, free, onednn=onednn), upstream)
    assert inputs.grad is None
    assert weight.grad is None
    torch.testing.assert_close(free.grad, upstream.sum(1))


def test_onednn_is_not_offered_where_torch_lacks_it(monkeypatch):
    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    assert not onednn_available()
