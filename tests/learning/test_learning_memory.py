"""Bytes of a training step, by hand and against what torch keeps on a real device."""

import doctest

import pytest
import torch
from torch import nn

from joulelab.errors import JoulelabError, UnknownNameError
from joulelab.learning import memory as module
from joulelab.learning.images import ImageShape
from joulelab.learning.memory import count_memory, counted
from joulelab.learning.networks import build_network, networks

SHAPE = ImageShape(1, 8, 8)


@networks.register("memory-by-hand")
class ByHand(nn.Sequential):
    """64 -> 32 -> 10 with a ReLU between."""

    def __init__(self, shape, classes):
        super().__init__(nn.Flatten(), nn.Linear(shape.size, 32), nn.ReLU(), nn.Linear(32, classes))


@networks.register("memory-frozen")
class Frozen(ByHand):
    def __init__(self, shape, classes):
        super().__init__(shape, classes)
        self[1].requires_grad_(False)


@networks.register("memory-not-on-meta")
class NotOnMeta(ByHand):
    def forward(self, images):
        if images.is_meta:
            raise NotImplementedError("needs numbers")
        return super().forward(images)


def test_the_worked_example_holds():
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_a_small_network_by_hand():
    """Saved are the ReLU's output (which the second layer's input is), and the log-softmax."""
    found = count_memory("memory-by-hand", {}, SHAPE, 10, 16)
    parameters = 64 * 32 + 32 + 32 * 10 + 10
    assert found.parameters == parameters
    assert (found.weights, found.gradients, found.moments) == (
        4 * parameters,
        4 * parameters,
        8 * parameters,
    )
    assert found.images == 4 * 16 * 64
    # The loss keeps its total weight as well, one float.
    assert found.activations == 4 * 16 * 32 + 4 * 16 * 10 + 4


def test_a_frozen_layer_keeps_nothing_and_has_no_gradient():
    frozen, whole = (count_memory(f"memory-{n}", {}, SHAPE, 10, 16) for n in ("frozen", "by-hand"))
    assert frozen.weights == whole.weights
    assert frozen.parameters == 32 * 10 + 10
    assert frozen.gradients == 4 * frozen.parameters
    assert frozen.activations <= whole.activations


def test_activations_grow_with_the_batch_and_parameters_do_not():
    small, large = (count_memory("SimpleCNN", {}, SHAPE, 10, batch) for batch in (8, 16))
    assert small.parameters == large.parameters
    assert large.activations == pytest.approx(2 * small.activations, rel=0.02)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("SimpleCNN", ImageShape(3, 16, 16)), ("DensePolyNN", ImageShape(1, 28, 28))],
)
def test_what_is_counted_is_what_torch_keeps_on_a_real_device(name, shape):
    on_meta = count_memory(name, {}, shape, 10, 4)
    network = build_network(name, shape, 10).train()
    images = torch.rand(4, shape.channels, shape.height, shape.width)
    on_cpu, addresses = counted(network, images), {}

    def keep(tensor):
        addresses[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        loss = nn.functional.cross_entropy(network(images), torch.zeros(4, dtype=torch.int64))
    own = {one.untyped_storage().data_ptr() for one in [*network.parameters(), images]}
    own |= {one.untyped_storage().data_ptr() for one in network.buffers()}
    seen = sum(one.nbytes() for place, one in addresses.items() if place not in own)
    assert loss.requires_grad
    # The labels, 4 x 8 bytes, are not counted.
    assert on_cpu.activations == seen - 4 * 8
    # A convolution's kernel on the CPU may keep what it has laid out anew.
    assert on_meta.activations == pytest.approx(on_cpu.activations, rel=0.05)
    assert on_meta.weights == on_cpu.weights


def test_counting_leaves_torchs_random_numbers_as_they_were():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    count_memory("DensePolyNN", {"linear_layers": 2}, ImageShape(1, 9, 9), 5, 3)
    assert torch.rand(1) == expected


def test_a_network_that_cannot_be_counted_is_explained():
    with pytest.raises(JoulelabError, match=r"memory-not-on-meta.*needs numbers"):
        count_memory("memory-not-on-meta", {}, SHAPE, 10, 4)
    with pytest.raises(UnknownNameError):
        count_memory("nobody", {}, SHAPE, 10, 4)
