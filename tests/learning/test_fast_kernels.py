"""Kernels for the CPU: BatchNorm, pooling and linear layers give what torch gives."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import max_pool2d, relu

from joulelab.learning.fast.kernels import batch_norm, linear, max_pool_2x2, onednn_available
from joulelab.learning.fast.layers import Arithmetic, BatchNorm, Pass

NORMALISATION_TOLERANCE = 3e-6
"""Against double precision, of values of order 1: some rounding errors of float32 (1.2e-7)."""

BF16_TOLERANCE = 0.04
"""Of values of order 1 to 4: bfloat16 has 8 bits, a rounding error is up to 0.8 % of a value."""

OWN = Arithmetic(own_kernels=True, channels_last=True)
EPS = 1e-5


def _images_to_normalise(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = 2 * torch.randn(shape, generator=generator) + 0.7
    weight = torch.rand(shape[1], generator=generator) + 0.5
    bias = torch.randn(shape[1], generator=generator)
    upstream = torch.randn(shape, generator=generator)
    return images, weight, bias, upstream


def _normalised(images, weight, bias):
    return batch_norm(images, weight, bias, EPS)[0]


def _torchs_normalisation(images, weight, bias):
    return functional.batch_norm(images, None, None, weight, bias, True, eps=EPS)


def _with_gradients(function, tensors, upstream):
    """The values of a function and the gradients of its tensors, of which some may be missing."""
    leaves = [None if tensor is None else tensor.detach().requires_grad_() for tensor in tensors]
    values = function(*leaves)
    torch.autograd.backward(values, upstream.to(values.dtype))
    return [values.detach(), *(leaf.grad for leaf in leaves if leaf is not None)]


def _expected(images, weight, bias, upstream):
    doubles = [tensor.double() for tensor in (images, weight, bias)]
    return _with_gradients(_torchs_normalisation, doubles, upstream.double())


def _worst(got, expected):
    """Largest difference, in units of the largest expected number of each tensor."""
    return max(
        ((one.double() - other).abs().max() / other.abs().max()).item()
        for one, other in zip(got, expected, strict=True)
    )


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(16, 6, 8, 8), (5, 3, 7, 4), (64, 9, 1, 1), (1, 2, 3, 3)])
def test_values_and_gradients_are_torchs_in_double_precision(shape, memory):
    images, weight, bias, upstream = _images_to_normalise(shape)
    got = _with_gradients(
        _normalised, (images.contiguous(memory_format=memory), weight, bias), upstream
    )
    assert _worst(got, _expected(images, weight, bias, upstream)) < NORMALISATION_TOLERANCE


def test_gradients_are_the_slopes_of_the_function():
    """Measured by differences, since sums are float32: wide steps, and a tolerance to match."""
    images, weight, bias, upstream = _images_to_normalise((4, 2, 3, 3))
    gradients = _with_gradients(_normalised, (images, weight, bias), upstream)[1:]
    generator = torch.Generator().manual_seed(5)
    for index, gradient in enumerate(gradients):
        tensors = [images, weight, bias]
        direction = torch.randn(tensors[index].shape, generator=generator)

        def along(step, index=index, direction=direction):
            moved = [images, weight, bias]
            moved[index] = moved[index] + step * direction
            return (_normalised(*moved).double() * upstream).sum().item()

        slope = (along(0.01) - along(-0.01)) / 0.02
        assert slope == pytest.approx((gradient * direction).sum().item(), rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("mean", [100.0, -1000.0])
def test_a_large_mean_beside_a_small_variance_is_accurate(mean):
    """E[x^2] - mu^2 in float32 would leave nothing of the variance."""
    deviations = 0.5 * torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    images = (mean + deviations).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.ones(3), torch.zeros(3)
    normalised, batch_mean, variance = batch_norm(images, weight, bias, EPS)
    expected = _torchs_normalisation(images.double(), weight.double(), bias.double())
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
    images, weight, bias, upstream = _images_to_normalise((32, 4, 6, 6))
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
    got = _with_gradients(_normalised, (rounded, weight, bias), upstream)
    assert got[2].dtype == got[3].dtype == torch.float32
    assert _worst(got, _expected(exact, weight, bias, upstream)) < BF16_TOLERANCE


def test_normalised_members_do_not_meet():
    """Channels of another member may be NaN."""
    images, weight, bias, upstream = _images_to_normalise((8, 4, 4, 4))
    sick = images.clone()
    sick[:, 2:] = torch.nan
    healthy = _with_gradients(_normalised, (images, weight, bias), upstream)
    got = _with_gradients(_normalised, (sick, weight, bias), upstream)
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
        images = _images_to_normalise((2, members * channels, 2, 2), seed=step)[0]
        got = layer(run, images)
        for index, module in enumerate(modules):
            own = slice(index * channels, (index + 1) * channels)
            torch.testing.assert_close(got[:, own], module(images[:, own]), rtol=1e-5, atol=1e-5)
    for index, module in enumerate(modules):
        for ours, theirs in (("mean", module.running_mean), ("variance", module.running_var)):
            torch.testing.assert_close(state[ours][index], theirs, rtol=1e-5, atol=1e-6)
    evaluated = Pass(state, arithmetic, training=False, members=members)
    images = _images_to_normalise((1, members * channels, 2, 2), seed=9)[0]
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
    images = _images_to_normalise((4, 6, 3, 3))[0]
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


MEMORY = [torch.contiguous_format, torch.channels_last]


def _pooled(pool, images, upstream=None):
    """Values, and the gradient of the images for an upstream gradient that tells windows apart."""
    leaf = images.detach().requires_grad_()
    values = pool(leaf)
    if upstream is None:
        upstream = torch.arange(1.0, values.numel() + 1).view(values.shape).to(values.dtype)
    torch.autograd.backward(values, upstream)
    return values.detach(), leaf.grad


def _torchs_pooling(images):
    return max_pool2d(images, 2)


def _windows(*windows):
    """One image of windows side by side, each given as (a, b, c, d), a b above c d."""
    rows = torch.tensor(windows, dtype=torch.float32).view(len(windows), 2, 2)
    return rows.permute(1, 0, 2).reshape(1, 1, 2, 2 * len(windows))


def _assert_same(images, of=lambda values: values):
    for got, expected in zip(
        _pooled(lambda x: max_pool_2x2(of(x)), images),
        _pooled(lambda x: _torchs_pooling(of(x)), images),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("sides", [(8, 8), (7, 8), (8, 7), (5, 3), (2, 2), (3, 3)])
def test_pooled_values_and_gradients_are_torchs(sides, dtype, memory):
    images = torch.randn(3, 4, *sides, generator=torch.Generator().manual_seed(0))
    _assert_same(images.to(dtype).contiguous(memory_format=memory))


def test_whole_windows_of_one_value_give_the_gradient_to_the_first_pixel():
    images = torch.full((2, 3, 4, 6), 0.5)
    _assert_same(images)
    _, gradient = _pooled(max_pool_2x2, images)
    assert (gradient[:, :, 0::2, 0::2] > 0).all()
    assert gradient.count_nonzero() == 2 * 3 * 2 * 3


@pytest.mark.parametrize("memory", MEMORY)
def test_zeros_behind_a_relu_are_ties_as_in_torch(memory):
    """Of every window half the pixels or more are zeros; ties at the maximum are those of zeros."""
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.7
    zeros = relu(images).contiguous(memory_format=memory)
    assert (_torchs_pooling(zeros) == 0).float().mean() > 0.1
    _assert_same(zeros)
    _assert_same(images.contiguous(memory_format=memory), of=relu)


def test_all_ties_but_the_documented_one_are_torchs():
    """All orders of up to three different values in a window: 81 windows."""
    for window in itertools.product([0.0, 1.0, 2.0], repeat=4):
        a, b, c, d = window
        values, gradient = _pooled(max_pool_2x2, _windows(window))
        expected_values, expected = _pooled(_torchs_pooling, _windows(window))
        assert torch.equal(values, expected_values), window
        if b == c > a and b >= d:
            assert gradient.flatten().tolist() == [0, 0, 1, 0], window
            assert expected.flatten().tolist() == [0, 1, 0, 0], window
        else:
            assert torch.equal(gradient, expected), window


def test_nan_stays_in_its_window():
    nan = float("nan")
    images = _windows((nan, 1, 2, 3), (1, 2, 3, 4), (1, nan, 2, 3), (1, 2, nan, 4), (1, 2, 3, nan))
    values, gradient = _pooled(max_pool_2x2, images, torch.ones(1, 1, 1, 5))
    assert values.flatten().isnan().tolist() == [True, False, True, True, True]
    assert torch.equal(values.isnan(), _torchs_pooling(images).isnan())
    assert gradient[..., 2:4].flatten().tolist() == [0, 0, 0, 1]


def test_a_nan_gradient_stays_in_its_channel():
    images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    upstream = torch.ones(2, 3, 2, 2)
    upstream[:, 1] = torch.nan
    _, gradient = _pooled(max_pool_2x2, images, upstream)
    _, expected = _pooled(_torchs_pooling, images, torch.ones(2, 3, 2, 2))
    assert torch.equal(gradient[:, [0, 2]], expected[:, [0, 2]])


def test_the_result_lies_in_channels_last_memory():
    pooled = max_pool_2x2(torch.randn(2, 3, 4, 4))
    assert pooled.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("pool", [max_pool_2x2, _torchs_pooling])
def test_relu_behind_the_pooling_is_relu_before_it(pool):
    """Ties among negative pixels and at zero included: there the gradient is 0 either way."""
    generator = torch.Generator().manual_seed(2)
    random = torch.randint(-2, 3, (50, 2, 6, 6), generator=generator).float()
    behind = _pooled(lambda x: relu(pool(x)), random)
    before = _pooled(lambda x: pool(relu(x)), random)
    for one, other in zip(behind, before, strict=True):
        assert torch.equal(one, other)


needs_onednn = pytest.mark.skipif(not onednn_available(), reason="this torch has no oneDNN")
LIBRARIES = [
    pytest.param(False, id="torch"),
    pytest.param(True, id="oneDNN", marks=needs_onednn),
]
PRODUCT_TOLERANCE = 1e-5
"""Relative and absolute, of float32 sums of some 40 products of order 1."""


def _factors(members, bias=True):
    generator = torch.Generator().manual_seed(members)
    inputs = torch.randn(members, 19, 37, generator=generator)
    weight = torch.randn(members, 11, 37, generator=generator)
    biases = torch.randn(members, 11, generator=generator) if bias else None
    upstream = torch.randn(members, 19, 11, generator=generator)
    return inputs, weight, biases, upstream


def _by_member(inputs, weight, bias):
    """torch's own linear layer, member by member, in double precision."""
    rows = []
    for index in range(len(inputs)):
        own = None if bias is None else bias[index].double()
        product = torch.nn.functional.linear(inputs[index].double(), weight[index].double(), own)
        rows.append(product)
    return torch.stack(rows).float()


def _check(members, onednn, bias=True, arrange=lambda tensor: tensor):
    inputs, weight, biases, upstream = _factors(members, bias)
    expected = _with_gradients(_by_member, (inputs, weight, biases), upstream)
    given = arrange(inputs), arrange(weight), biases
    got = _with_gradients(lambda x, w, b: linear(x, w, b, onednn=onednn), given, arrange(upstream))
    assert len(got) == len(expected) == (4 if bias else 3)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=PRODUCT_TOLERANCE, atol=PRODUCT_TOLERANCE)


@pytest.mark.parametrize("onednn", LIBRARIES)
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_products_and_their_gradients_are_torchs(members, onednn, bias):
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
def test_multiplied_members_do_not_meet(onednn):
    """Not even where one is NaN: 0 * NaN would be NaN."""
    inputs, weight, biases, upstream = _factors(3)
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
    inputs, weight, biases, upstream = _factors(2)
    free = biases.requires_grad_()
    torch.autograd.backward(linear(inputs, weight, free, onednn=onednn), upstream)
    assert inputs.grad is None
    assert weight.grad is None
    torch.testing.assert_close(free.grad, upstream.sum(1))


def test_onednn_is_not_offered_where_torch_lacks_it(monkeypatch):
    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    assert not onednn_available()
