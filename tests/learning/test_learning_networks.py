"""The three networks: layers and parameter counts by hand, small images, options, errors."""

import pytest
import torch
from torch import nn

from joulelab.errors import TrainingError, UnknownNameError, UsageError
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import (
    build_network,
    count_parameters,
    networks,
    verify_buildable,
)

DIGITS = ImageShape(1, 8, 8)
FASHION = ImageShape(1, 28, 28)
CIFAR = ImageShape(3, 32, 32)

# Parameters of a linear layer from i to o units: i * o weights and o biases. Of a convolution from
# i to o channels: 9 * i * o weights and o biases. Of BatchNorm on o channels: 2 * o.
BY_HAND = [
    # DensePolyNN, D -> D/2 -> D/4 -> 10
    ("DensePolyNN", DIGITS, {}, (64 * 32 + 32) + (32 * 16 + 16) + (16 * 10 + 10)),
    ("DensePolyNN", FASHION, {}, (784 * 392 + 392) + (392 * 196 + 196) + (196 * 10 + 10)),
    ("DensePolyNN", CIFAR, {}, (3072 * 1536 + 1536) + (1536 * 768 + 768) + (768 * 10 + 10)),
    ("DensePolyNN", DIGITS, {"linear_layers": 1}, 64 * 10 + 10),
    # DenseLinearNN, hidden widths floor(D - D/3) and floor(D - 2 D/3)
    ("DenseLinearNN", DIGITS, {}, (64 * 42 + 42) + (42 * 21 + 21) + (21 * 10 + 10)),
    ("DenseLinearNN", FASHION, {}, (784 * 522 + 522) + (522 * 261 + 261) + (261 * 10 + 10)),
    ("DenseLinearNN", CIFAR, {}, (3072 * 2048 + 2048) + (2048 * 1024 + 1024) + (1024 * 10 + 10)),
    # SimpleCNN, two blocks: 8x8 -> 4x4 -> 2x2, 9 channels, 36 features -> 18 -> 9 -> 10
    (
        "SimpleCNN",
        DIGITS,
        {},
        (9 * 3 + 3 + 6) + (27 * 9 + 9 + 18) + (36 * 18 + 18) + (18 * 9 + 9) + (9 * 10 + 10),
    ),
    # 28x28 -> 14x14 -> 7x7, 9 channels, 441 features -> 220 -> 110 -> 10
    (
        "SimpleCNN",
        FASHION,
        {},
        (9 * 3 + 3 + 6)
        + (27 * 9 + 9 + 18)
        + (441 * 220 + 220)
        + (220 * 110 + 110)
        + (110 * 10 + 10),
    ),
    # 32x32 -> 16x16 -> 8x8, 3 -> 9 -> 27 channels, 1728 features -> 864 -> 432 -> 10
    (
        "SimpleCNN",
        CIFAR,
        {},
        (27 * 9 + 9 + 18)
        + (81 * 27 + 27 + 54)
        + (1728 * 864 + 864)
        + (864 * 432 + 432)
        + (432 * 10 + 10),
    ),
    # one block: 28x28 -> 14x14, 3 channels, 588 features -> 294 -> 147 -> 10
    (
        "SimpleCNN",
        FASHION,
        {"conv_layers": 1, "relu": False},
        (9 * 3 + 3 + 6) + (588 * 294 + 294) + (294 * 147 + 147) + (147 * 10 + 10),
    ),
]


@pytest.mark.parametrize(("name", "shape", "options", "parameters"), BY_HAND)
def test_parameters_are_those_counted_by_hand(name, shape, options, parameters):
    assert count_parameters(build_network(name, shape, 10, options)) == parameters
    assert verify_buildable(name, shape, 10, options) == parameters


def _widths(network):
    return [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]


def test_hidden_layers_are_never_narrower_than_the_channels():
    deep = build_network("DensePolyNN", CIFAR, 10, {"linear_layers": 13})
    # 3072 / 2^10 is 3; 3072 / 2^11 is 1.5 and 3072 / 2^12 is 0.75, and both become 3, the channels.
    assert _widths(deep)[-5:] == [6, 3, 3, 3, 10]
    linear = build_network("DenseLinearNN", ImageShape(3, 1, 1), 10, {"linear_layers": 4})
    assert _widths(linear) == [3, 3, 3, 10]


@pytest.mark.parametrize("name", ["DensePolyNN", "DenseLinearNN"])
def test_dense_networks_have_no_activation(name):
    network = build_network(name, DIGITS, 10, {"linear_layers": 4})
    kinds = {type(layer) for layer in network.modules() if not list(layer.children())}
    assert kinds == {nn.Flatten, nn.Linear}
    images = torch.rand(2, 1, 8, 8)
    zero = network(torch.zeros_like(images))
    torch.testing.assert_close(network(2 * images) - zero, 2 * (network(images) - zero))


def test_a_block_is_convolution_batch_norm_relu_pooling():
    network = build_network("SimpleCNN", CIFAR, 10, {"conv_layers": 3})
    assert [[type(layer) for layer in network[block]] for block in range(3)] == [
        [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d]
    ] * 3
    assert [network[block][0].out_channels for block in range(3)] == [9, 27, 81]


def test_relu_can_be_left_out():
    network = build_network("SimpleCNN", CIFAR, 10, {"relu": False})
    assert not [layer for layer in network.modules() if isinstance(layer, nn.ReLU)]


@pytest.mark.parametrize(
    ("shape", "blocks"), [(FASHION, 4), (CIFAR, 5), (ImageShape(1, 4, 31), 2), (DIGITS, 3)]
)
def test_as_many_blocks_as_the_image_can_be_halved(shape, blocks):
    assert verify_buildable("SimpleCNN", shape, 10, {"conv_layers": blocks}) > 0
    with pytest.raises(TrainingError) as caught:
        verify_buildable("SimpleCNN", shape, 10, {"conv_layers": blocks + 1})
    assert f"{shape.height}x{shape.width}" in caught.value.message
    assert 'pooling = "while-possible"' in caught.value.hint


def test_while_possible_stops_pooling_at_one_pixel():
    options = {"conv_layers": 4, "linear_layers": 1, "pooling": "while-possible"}
    network = build_network("SimpleCNN", DIGITS, 10, options)
    assert len([layer for layer in network.modules() if isinstance(layer, nn.MaxPool2d)]) == 3
    # 8 -> 4 -> 2 -> 1 -> 1 pixel, 3^4 channels
    assert network[-1][0].in_features == 81
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_while_possible_needs_two_pixels_on_both_sides():
    options = {"conv_layers": 2, "linear_layers": 1, "pooling": "while-possible"}
    network = build_network("SimpleCNN", ImageShape(1, 2, 9), 10, options)
    # 2x9 -> 1x4 -> 1x4, 9 channels
    assert network[-1][0].in_features == 9 * 1 * 4


def test_while_possible_changes_nothing_on_large_images():
    ours = build_network("SimpleCNN", FASHION, 10, {"conv_layers": 4, "pooling": "while-possible"})
    papers = build_network("SimpleCNN", FASHION, 10, {"conv_layers": 4})
    assert str(ours) == str(papers)


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'conv_layers'"):
        verify_buildable("SimpleCNN", FASHION, 10, {"conv_layer": 2})


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'SimpleCNN'"):
        build_network("simplecnn", FASHION, 10)


@pytest.mark.parametrize(
    "options",
    [
        {"linear_layers": 0},
        {"conv_layers": -1},
        {"conv_layers": 1.5},
        {"linear_layers": True},
        {"relu": 1},
        {"pooling": "never"},
    ],
)
def test_an_impossible_option_is_named_with_its_value(options):
    with pytest.raises(UsageError) as caught:
        verify_buildable("SimpleCNN", FASHION, 10, options)
    ((key, value),) = options.items()
    assert f"{key} = {value!r}" in caught.value.message
    assert caught.value.hint


@pytest.mark.usefixtures("own_parts")
def test_whatever_an_own_network_raises_becomes_a_training_error():
    @networks.register("bad-constructor")
    def bad(shape, classes):
        raise KeyError("no such layer")

    with pytest.raises(TrainingError, match=r"bad-constructor.*KeyError"):
        verify_buildable("bad-constructor", FASHION, 10)


@pytest.mark.usefixtures("own_parts")
def test_an_own_network_that_needs_an_option_says_so():
    @networks.register("needs-width")
    def needs_width(shape, classes, *, width):
        return nn.Sequential(nn.Flatten(), nn.Linear(shape.size, width), nn.Linear(width, classes))

    with pytest.raises(UsageError, match="needs the option 'width'"):
        verify_buildable("needs-width", FASHION, 10)
    assert verify_buildable("needs-width", FASHION, 10, {"width": 3}) > 0


@pytest.mark.usefixtures("own_parts")
def test_a_wrong_number_of_logits_is_found_without_training():
    @networks.register("always-eleven")
    def eleven(shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(shape.size, 11))

    with pytest.raises(TrainingError, match=r"\(2, 11\)"):
        verify_buildable("always-eleven", FASHION, 10)


@pytest.mark.usefixtures("own_parts")
def test_a_network_that_cannot_process_the_images_is_found_without_training():
    @networks.register("only-digits")
    def only_digits(shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

    assert verify_buildable("only-digits", DIGITS, 10) == 650
    with pytest.raises(TrainingError, match="cannot process images of 1x28x28"):
        verify_buildable("only-digits", FASHION, 10)


def test_verifying_allocates_nothing_and_leaves_the_random_generator_alone():
    before = torch.random.get_rng_state()
    # Weights of 3 * 10^15 bytes, which no machine has.
    huge = ImageShape(3, 3000, 3000)
    assert verify_buildable("DensePolyNN", huge, 10) > 4e14
    assert torch.equal(torch.random.get_rng_state(), before)
