"""Maximum over 2x2 windows: torch's values, and torch's choice of where a gradient goes."""

import itertools

import pytest
import torch
from torch.nn.functional import max_pool2d, relu

from joulelab.learning.fast.kernels import max_pool_2x2

MEMORY = [torch.contiguous_format, torch.channels_last]


def _pooled(pool, images, upstream=None):
    """Values, and the gradient of the images for an upstream gradient that tells windows apart."""
    leaf = images.detach().requires_grad_()
    values = pool(leaf)
    if upstream is None:
        upstream = torch.arange(1.0, values.numel() + 1).view(values.shape).to(values.dtype)
    torch.autograd.backward(values, upstream)
    return values.detach(), leaf.grad


def _torchs(images):
    return max_pool2d(images, 2)


def _windows(*windows):
    """One image of windows side by side, each given as (a, b, c, d), a b above c d."""
    rows = torch.tensor(windows, dtype=torch.float32).view(len(windows), 2, 2)
    return rows.permute(1, 0, 2).reshape(1, 1, 2, 2 * len(windows))


def _assert_same(images, of=lambda values: values):
    for got, expected in zip(
        _pooled(lambda x: max_pool_2x2(of(x)), images),
        _pooled(lambda x: _torchs(of(x)), images),
        strict=True,
    ):
        torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("sides", [(8, 8), (7, 8), (8, 7), (5, 3), (2, 2), (3, 3)])
def test_values_and_gradients_are_torchs(sides, dtype, memory):
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
    assert (_torchs(zeros) == 0).float().mean() > 0.1
    _assert_same(zeros)
    _assert_same(images.contiguous(memory_format=memory), of=relu)


def test_all_ties_but_the_documented_one_are_torchs():
    """All orders of up to three different values in a window: 81 windows."""
    for window in itertools.product([0.0, 1.0, 2.0], repeat=4):
        a, b, c, d = window
        values, gradient = _pooled(max_pool_2x2, _windows(window))
        expected_values, expected = _pooled(_torchs, _windows(window))
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
    assert torch.equal(values.isnan(), _torchs(images).isnan())
    assert gradient[..., 2:4].flatten().tolist() == [0, 0, 0, 1]


def test_a_nan_gradient_stays_in_its_channel():
    images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    upstream = torch.ones(2, 3, 2, 2)
    upstream[:, 1] = torch.nan
    _, gradient = _pooled(max_pool_2x2, images, upstream)
    _, expected = _pooled(_torchs, images, torch.ones(2, 3, 2, 2))
    assert torch.equal(gradient[:, [0, 2]], expected[:, [0, 2]])


def test_the_result_lies_in_channels_last_memory():
    pooled = max_pool_2x2(torch.randn(2, 3, 4, 4))
    assert pooled.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("pool", [max_pool_2x2, _torchs])
def test_relu_behind_the_pooling_is_relu_before_it(pool):
    """Ties among negative pixels and at zero included: there the gradient is 0 either way."""
    generator = torch.Generator().manual_seed(2)
    random = torch.randint(-2, 3, (50, 2, 6, 6), generator=generator).float()
    behind = _pooled(lambda x: relu(pool(x)), random)
    before = _pooled(lambda x: pool(relu(x)), random)
    for one, other in zip(behind, before, strict=True):
        assert torch.equal(one, other)
