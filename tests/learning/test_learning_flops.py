"""FLOPs of a training, against counts by hand: 2 m k n for a product, twice that backward."""

import doctest
import time
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from joulelab.learning import flops as module
from joulelab.learning.flops import FlopCount, count_flops, count_forward, images_seen
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import build_network, networks
from joulelab.learning.zoo import build_classifier

SHAPE = ImageShape(1, 28, 28)
calls = {"count": 0}


@networks.register("flops-linear")
class OneLinear(nn.Sequential):
    def __init__(self, shape, classes):
        calls["count"] += 1
        super().__init__(nn.Flatten(), nn.Linear(shape.size, classes))


@networks.register("flops-conv")
class OneConvolution(nn.Sequential):
    """5 x 5, stride 2, no padding; then the mean over all pixels, which has no product."""

    def __init__(self, shape, classes):
        pool = nn.AdaptiveAvgPool2d(1)
        super().__init__(nn.Conv2d(shape.channels, classes, 5, stride=2), pool, nn.Flatten())


@networks.register("flops-not-on-meta")
class NotOnMeta(OneLinear):
    def forward(self, images):
        if images.is_meta:
            raise NotImplementedError("needs numbers")
        return super().forward(images)


@networks.register("flops-nowhere")
class Nowhere(OneLinear):
    def forward(self, images):
        raise ZeroDivisionError("by design")


@networks.register("flops-no-products")
class NoProducts(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, images):
        return images.mean(dim=(1, 2, 3))[:, None] + self.bias


@networks.register("flops-between-images")
class BetweenImages(OneLinear):
    """Every image is compared with every other: quadratic in the batch."""

    def forward(self, images):
        logits = super().forward(images)
        return logits + (logits @ logits.T).mean()


@networks.register("flops-half-frozen")
class HalfFrozen(nn.Sequential):
    """The first layer is not trained, so nothing of it is computed backward."""

    def __init__(self, shape, classes):
        first = nn.Linear(shape.size, 20).requires_grad_(False)
        super().__init__(nn.Flatten(), first, nn.Linear(20, classes))


@networks.register("flops-frozen-above")
class FrozenAbove(nn.Sequential):
    def __init__(self, shape, classes):
        last = nn.Linear(20, classes).requires_grad_(False)
        super().__init__(nn.Flatten(), nn.Linear(shape.size, 20), last)


@networks.register("flops-frozen-twice")
class FrozenTwice(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.inner = nn.Linear(shape.size, shape.size).requires_grad_(False)
        self.last = nn.Linear(shape.size, classes)

    def forward(self, images):
        return self.last(self.inner(self.inner(images.flatten(1))))


@networks.register("flops-grouped")
class Grouped(nn.Sequential):
    def __init__(self, shape, classes, *, groups, transposed):
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        channels = shape.channels
        first = nn.Conv2d(channels, channels, 1)
        second = kind(channels, classes, 3, stride=2, padding=1, groups=groups)
        super().__init__(first, second, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_the_worked_example_holds():
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried > 0


def test_a_linear_layer_is_two_products():
    # Forward x W, backward the gradient by W; that by the image is not computed.
    assert count_flops("flops-linear", {}, SHAPE, 10).per_image == 2 * (2 * 784 * 10)


def test_a_convolution_is_two_products():
    shape = ImageShape(3, 32, 32)
    pixels = ((32 - 5) // 2 + 1) ** 2
    wanted = 2 * (2 * pixels * (3 * 5 * 5) * 10)
    assert count_flops("flops-conv", {}, shape, 10).per_image == wanted


@pytest.mark.parametrize("relu", [True, False])
def test_simple_cnn_by_hand(relu):
    # 28 x 28 pixels to 3 channels, pooled to 14 x 14; to 9 channels, pooled to 7 x 7: 441 features.
    first = 2 * (28 * 28) * (1 * 9) * 3
    second = 2 * (14 * 14) * (3 * 9) * 9
    linear = [2 * 441 * 220, 2 * 220 * 110, 2 * 110 * 10]
    wanted = 2 * first + 3 * second + 3 * sum(linear)
    assert count_flops("SimpleCNN", {"relu": relu}, SHAPE, 10).per_image == wanted


@pytest.mark.parametrize(
    ("name", "widths"),
    [("DensePolyNN", [784, 392, 196, 10]), ("DenseLinearNN", [784, 522, 261, 10])],
)
def test_dense_networks_by_hand(name, widths):
    first, *others = [2 * i * o for i, o in pairwise(widths)]
    assert count_flops(name, {}, SHAPE, 10).per_image == 2 * first + 3 * sum(others)


@pytest.mark.parametrize("name", ["DensePolyNN", "DenseLinearNN", "SimpleCNN"])
def test_the_meta_device_counts_what_the_processor_does(name):
    for shape in (SHAPE, ImageShape(3, 32, 32)):
        build = partial(build_network, name, shape, 10)
        on_meta, on_cpu = (module._step(build, shape, 3, device) for device in ("meta", "cpu"))
        assert on_meta == on_cpu
        assert on_meta == (3 * count_flops(name, {}, shape, 10).per_image, 0)


def test_what_is_not_trained_has_no_backward_pass():
    wanted = 2 * 784 * 20 + 2 * (2 * 20 * 10)
    count = count_flops("flops-half-frozen", {}, SHAPE, 10)
    assert count.per_image == wanted
    assert count.frozen == 2 * 784 * 20


def test_a_frozen_layer_above_a_trained_one_still_passes_gradients_on():
    first, second = 2 * 784 * 20, 2 * 20 * 10
    count = count_flops("flops-frozen-above", {}, SHAPE, 10)
    # Forward of both, by the weights of the first, by the input of the second.
    assert count.per_image == 2 * first + 2 * second
    assert count.frozen == second


def test_a_frozen_layer_that_is_used_twice_counts_twice():
    inner, last = 2 * 784 * 784, 2 * 784 * 10
    count = count_flops("flops-frozen-twice", {}, SHAPE, 10)
    assert (count.per_image, count.frozen) == (2 * inner + 2 * last, 2 * inner)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("transposed", [False, True])
def test_the_backward_pass_of_a_convolution_is_twice_its_forward_pass(groups, transposed):
    shape = ImageShape(6, 8, 8)
    options = {"groups": groups, "transposed": transposed}
    # Transposed: every pixel of the input meets every weight of its group; else of the output.
    pixels = 8 * 8 if transposed else 4 * 4
    first = 2 * (8 * 8) * 6 * 6  # 1 x 1, not differentiated by the image
    second = 2 * pixels * (3 * 3 * (6 // groups)) * 12
    assert count_flops("flops-grouped", options, shape, 12).per_image == 2 * first + 3 * second


def vgg16_operations(side_px):
    """2 * pixels * 9 * channels in * channels out, layer by layer; pooled after each block."""
    channels, operations = 3, 0
    for block in ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3):
        for wider in block:
            operations += 2 * side_px**2 * (3 * 3 * channels) * wider
            channels = wider
        side_px //= 2
    return operations, channels * side_px**2


def test_frozen_vgg16_with_the_papers_head_by_hand():
    convolutions, features = vgg16_operations(32)
    assert features == 512
    first, *others = [2 * 512 * 4096, 2 * 4096 * 4096, 2 * 4096 * 10]
    options = {"model": "vgg16", "base": "frozen", "head": "xu2023", "weights": "random"}
    count = count_flops("torchvision", options, ImageShape(3, 32, 32), 10)
    # The first layer of the head has no gradient by its input, for nothing below is trained.
    head = 2 * first + 3 * sum(others)
    assert count.frozen == convolutions
    assert count.per_image == convolutions + head
    seen = 10 * 50 + 3  # 10 epochs of 50 images in batches of 3, and one batch more
    assert count.trainable_of_training(50, 3, 171) == head * seen
    assert count.of_training(50, 3, 171) == (convolutions + head) * seen


def test_trained_vgg16_by_hand():
    convolutions, _ = vgg16_operations(32)
    image = 2 * 32**2 * (3 * 3 * 3) * 64
    linear = [2 * 25088 * 4096, 2 * 4096 * 4096, 2 * 4096 * 10]
    count = count_flops("torchvision", {"model": "vgg16"}, ImageShape(3, 32, 32), 10)
    assert count.frozen == 0
    assert count.per_image == 3 * (convolutions + sum(linear)) - image


def test_training_shufflenet_takes_three_times_its_forward_pass():
    shape = ImageShape(3, 32, 32)
    trained, frozen = (
        count_flops("torchvision", {"model": "shufflenet_v2_x0_5", "base": base}, shape, 10)
        for base in ("trained", "frozen")
    )
    image, head = 2 * 16**2 * 27 * 24, 2 * 1024 * 10
    assert frozen.per_image == frozen.frozen + 2 * head
    assert trained.per_image == 3 * (frozen.frozen + head) - image


def test_attention_in_a_frozen_base_is_counted_in_full():
    shape = ImageShape(3, 224, 224)
    options = {"model": "vit_b_32", "base": "frozen", "weights": "random"}
    frozen = count_flops("torchvision", options, shape, 1000)
    forward = count_forward(lambda: build_classifier("vit_b_32", "random"), shape)
    assert frozen.frozen == forward.per_image - 2 * 768 * 1000
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_network_that_needs_numbers_is_counted_on_the_processor():
    linear = count_flops("flops-linear", {}, SHAPE, 10)
    assert count_flops("flops-not-on-meta", {}, SHAPE, 10) == linear


def test_what_cannot_be_counted_is_unknown_and_says_why():
    for name, words in (
        ("flops-nowhere", "by design"),
        ("flops-no-products", "none of its operations"),
        ("flops-between-images", "proportional to the batch"),
    ):
        count = count_flops(name, {}, SHAPE, 10)
        assert count.per_image is None
        assert words in count.reason
        assert count.of_training(100, 10, 5) is None


def test_counting_draws_no_random_numbers():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    count_flops("flops-not-on-meta", {}, ImageShape(2, 8, 8), 3)
    assert torch.equal(torch.rand(3), wanted)


def test_a_network_is_counted_once_and_quickly():
    count_flops("SimpleCNN", {"conv_layers": 3}, SHAPE, 10)  # torch's own imports
    before = calls["count"]
    began_s = time.perf_counter()
    counts = [count_flops("flops-linear", {}, ImageShape(1, 9, 9), 7) for _ in range(100)]
    assert time.perf_counter() - began_s < 1.0
    assert calls["count"] - before == len(module.BATCHES)
    assert len(set(counts)) == 1


def test_the_options_of_a_network_are_told_apart():
    shallow, deep = (
        count_flops("SimpleCNN", {"conv_layers": count}, SHAPE, 10) for count in (1, 4)
    )
    assert shallow != deep


def test_the_last_batch_of_an_epoch_is_short():
    assert [images_seen(10, 4, steps) for steps in range(8)] == [0, 4, 8, 10, 14, 18, 20, 24]
    assert images_seen(3, 100, 2) == 6
    assert images_seen(8, 4, 3) == 12


def test_a_training_is_the_images_it_has_seen():
    assert FlopCount(7).of_training(10, 4, 6) == 7.0 * 20
    assert FlopCount(7, frozen=2).trainable_of_training(10, 4, 6) == 5.0 * 20
    assert FlopCount(7).trainable_of_training(10, 4, 6) is None
    assert FlopCount(None, "a reason").trainable_of_training(10, 4, 6) is None
