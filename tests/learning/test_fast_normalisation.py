"""BatchNorm of our own: accurate to float32, with torch's running statistics."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from joulelab.learning.fast.kernels import batch_norm
from joulelab.learning.fast.layers import Arithmetic, BatchNorm, Pass

TOLERANCE = 3e-6
"""Against double precision, of values of order 1: some rounding errors of float32 (1.2e-7)."""

BF16_TOLERANCE = 0.04
"""Of values of order 1 to 4: bfloat16 has 8 bits, a rounding error is up to 0.8 % of a value."""

OWN = Arithmetic(own_kernels=True, channels_last=True)
EPS = 1e-5


def _numbers(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = 2 * torch.randn(shape, generator=generator) + 0.7
    weight = torch.rand(shape[1], generator=generator) + 0.5
    bias = torch.randn(shape[1], generator=generator)
    upstream = torch.randn(shape, generator=generator)
    return images, weight, bias, upstream


def _own(images, weight, bias):
    return batch_norm(images, weight, bias, EPS)[0]


def _torchs(images, weight, bias):
    return functional.batch_norm(images, None, None, weight, bias, True, eps=EPS)


def _with_gradients(function, tensors, upstream):
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    values = function(*leaves)
    torch.autograd.backward(values, upstream.to(values.dtype))
    return [values.detach(), *(leaf.grad for leaf in leaves)]


def _expected(images, weight, bias, upstream):
    doubles = [tensor.double() for tensor in (images, weight, bias)]
    return _with_gradients(_torchs, doubles, upstream.double())


def _worst(got, expected):
    """Largest difference, in units of the largest expected number of each tensor."""
    return max(
        ((one.double() - other).abs().max() / other.abs().max()).item()
        for one, other in zip(got, expected, strict=True)
    )


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(16, 6, 8, 8), (5, 3, 7, 4), (64, 9, 1, 1), (1, 2, 3, 3)])
def test_values_and_gradients_are_torchs_in_double_precision(shape, memory):
    images, weight, bias, upstream = _numbers(shape)
    got = _with_gradients(_own, (images.contiguous(memory_format=memory), weight, bias), upstream)
    assert _worst(got, _expected(images, weight, bias, upstream)) < TOLERANCE


def test_gradients_are_the_slopes_of_the_function():
    """Measured by differences, since sums are float32: wide steps, and a tolerance to match."""
    images, weight, bias, upstream = _numbers((4, 2, 3, 3))
    gradients = _with_gradients(_own, (images, weight, bias), upstream)[1:]
    generator = torch.Generator().manual_seed(5)
    for index, gradient in enumerate(gradients):
        tensors = [images, weight, bias]
        direction = torch.randn(tensors[index].shape, generator=generator)

        def along(step, index=index, direction=direction):
            moved = [images, weight, bias]
            moved[index] = moved[index] + step * direction
            return (_own(*moved).double() * upstream).sum().item()

        slope = (along(0.01) - along(-0.01)) / 0.02
        assert slope == pytest.approx((gradient * direction).sum().item(), rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("mean", [100.0, -1000.0])
def test_a_large_mean_beside_a_small_variance_is_accurate(mean):
    """E[x^2] - mu^2 in float32 would leave nothing of the variance."""
    deviations = 0.5 * torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    images = (mean + deviations).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.ones(3), torch.zeros(3)
    normalised, batch_mean, variance = batch_norm(images, weight, bias, EPS)
    expected = _torchs(images.double(), weight.double(), bias.double())
    # A mean has a rounding error of 6e-8 of itself, here in units of a deviation of 0.5.
    assert (normalised - expected).abs().max() < 4e-7 * abs(mean)
    exact = images.double().var((0, 2, 3), correction=0)
    torch.testing.assert_close(variance.double(), exact, rtol=1e-4, atol=0)
    means = images.double().mean((0, 2, 3))
    torch.testing.assert_close(batch_mean.double(), means, rtol=1e-6, atol=0)


def test_a_constant_channel_is_its_bias():
    images = torch.full((4, 2, 3, 3), 0.25)
    bias = torch.tensor([1.0, -2.0])
    normalised, _, variance = batch_norm(images, torch.ones(2), bias, EPS)
    assert torch.equal(variance, torch.zeros(2))
    assert torch.equal(normalised, bias.view(1, 2, 1, 1).expand(4, 2, 3, 3))


def test_bfloat16_images_are_normalised_with_float32_statistics():
    images, weight, bias, upstream = _numbers((32, 4, 6, 6))
    rounded = images.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    normalised, mean, variance = batch_norm(rounded, weight, bias, EPS)
    assert (normalised.dtype, mean.dtype, variance.dtype) == (
        torch.bfloat16,
        torch.float32,
        torch.float32,
    )
    exact = rounded.double()
    torch.testing.assert_close(mean.double(), exact.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        variance.double(), exact.var((0, 2, 3), correction=0), rtol=0.005, atol=0
    )
    got = _with_gradients(_own, (rounded, weight, bias), upstream)
    assert got[2].dtype == got[3].dtype == torch.float32
    assert _worst(got, _expected(exact, weight, bias, upstream)) < BF16_TOLERANCE


def test_members_do_not_meet():
    """Channels of another member may be NaN."""
    images, weight, bias, upstream = _numbers((8, 4, 4, 4))
    sick = images.clone()
    sick[:, 2:] = torch.nan
    healthy = _with_gradients(_own, (images, weight, bias), upstream)
    got = _with_gradients(_own, (sick, weight, bias), upstream)
    assert torch.equal(got[0][:, :2], healthy[0][:, :2])
    assert torch.equal(got[1][:, :2], healthy[1][:, :2])
    assert torch.equal(got[2][:2], healthy[2][:2])
    assert torch.equal(got[3][:2], healthy[3][:2])


def _layer(momentum=0.1, eps=EPS):
    return BatchNorm("weight", "bias", "mean", "variance", momentum, eps)


def _state(members, channels):
    generator = torch.Generator().manual_seed(7)
    return {
        "weight": torch.rand(members, channels, generator=generator) + 0.5,
        "bias": torch.randn(members, channels, generator=generator),
        "mean": torch.zeros(members, channels),
        "variance": torch.ones(members, channels),
    }


def _modules(state, make, momentum, eps):
    """torch's own layer for each member, with the same numbers."""
    modules = []
    for index in range(len(state["weight"])):
        module = make(state["weight"].shape[1], momentum=momentum, eps=eps)
        with torch.no_grad():
            module.weight.copy_(state["weight"][index])
            module.bias.copy_(state["bias"][index])
        modules.append(module)
    return modules


@pytest.mark.parametrize("arithmetic", [OWN, Arithmetic()], ids=["own", "torch"])
@pytest.mark.parametrize(("momentum", "eps"), [(0.1, 1e-5), (0.4, 1e-2)])
@pytest.mark.parametrize("members", [1, 3])
def test_running_statistics_are_torchs_after_some_steps(arithmetic, momentum, eps, members):
    """Unbiased variances, of 2 x 2 x 2 values a batch, where that makes a seventh."""
    channels = 3
    state = _state(members, channels)
    modules = _modules(state, nn.BatchNorm2d, momentum, eps)
    layer = _layer(momentum, eps)
    run = Pass(state, arithmetic, training=True, members=members)
    for step in range(5):
        images = _numbers((2, members * channels, 2, 2), seed=step)[0]
        got = layer(run, images)
        for index, module in enumerate(modules):
            own = slice(index * channels, (index + 1) * channels)
            torch.testing.assert_close(got[:, own], module(images[:, own]), rtol=1e-5, atol=1e-5)
    for index, module in enumerate(modules):
        for ours, theirs in (("mean", module.running_mean), ("variance", module.running_var)):
            torch.testing.assert_close(state[ours][index], theirs, rtol=1e-5, atol=1e-6)
    evaluated = Pass(state, arithmetic, training=False, members=members)
    images = _numbers((1, members * channels, 2, 2), seed=9)[0]
    kept = {name: values.clone() for name, values in state.items()}
    got = layer(evaluated, images)
    for index, module in enumerate(modules):
        own = slice(index * channels, (index + 1) * channels)
        expected = module.eval()(images[:, own])
        torch.testing.assert_close(got[:, own], expected, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(state[name], values) for name, values in kept.items())


@pytest.mark.parametrize("arithmetic", [OWN, Arithmetic()], ids=["own", "torch"])
def test_rows_are_normalised_as_by_batch_norm_1d(arithmetic):
    state = _state(2, 5)
    modules = _modules(state, nn.BatchNorm1d, 0.1, EPS)
    rows = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    got = _layer()(Pass(state, arithmetic, training=True, members=2), rows)
    for index, module in enumerate(modules):
        torch.testing.assert_close(got[index], module(rows[index]), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(state["variance"][index], module.running_var)


@pytest.mark.parametrize("arithmetic", [OWN, Arithmetic()], ids=["own", "torch"])
def test_without_weights_or_statistics_it_is_torchs(arithmetic):
    images = _numbers((4, 6, 3, 3))[0]
    bare = BatchNorm(None, None, None, None, 0.1, EPS)
    expected = functional.batch_norm(images, None, None, training=True, eps=EPS)
    for training in (True, False):  # without running statistics eval mode has none to use
        got = bare(Pass({}, arithmetic, training, members=2), images)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arithmetic", [OWN, Arithmetic()], ids=["own", "torch"])
@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (2, 1, 2)], ids=["images", "rows"])
def test_one_value_in_a_channel_is_refused_in_train_mode(arithmetic, shape):
    run = Pass(_state(2, 2), arithmetic, training=True, members=2)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        _layer()(run, torch.ones(shape))
    evaluated = Pass(_state(2, 2), arithmetic, training=False, members=2)
    assert _layer()(evaluated, torch.ones(shape)).isfinite().all()
