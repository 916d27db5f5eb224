"""The shipped checks find parts that break their promises."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from joulelab.learning.conformance import check_dataset, check_engine, check_network
from joulelab.learning.images import Images, Split, datasets
from joulelab.learning.networks import networks
from joulelab.learning.reference import ReferenceEngine

pytestmark = pytest.mark.usefixtures("own_parts")


@pytest.mark.parametrize("name", ["DensePolyNN", "DenseLinearNN", "SimpleCNN"])
def test_our_networks_pass(name):
    check_network(name)


def test_the_digits_pass():
    check_dataset("digits")


def test_a_parameter_that_is_never_used_is_found():
    @networks.register("idle-layer")
    class IdleLayer(nn.Module):
        def __init__(self, shape, classes):
            super().__init__()
            self.used = nn.Linear(shape.size, classes)
            self.idle = nn.Linear(3, 3)

        def forward(self, images):
            return self.used(images.flatten(1))

    with pytest.raises(AssertionError, match=r"no gradient reaches idle\.weight, idle\.bias"):
        check_network("idle-layer")


def test_weights_that_ignore_the_seed_are_found():
    @networks.register("always-zero")
    def zero(shape, classes):
        network = nn.Sequential(nn.Flatten(), nn.Linear(shape.size, classes))
        nn.init.zeros_(network[1].weight)
        nn.init.zeros_(network[1].bias)
        return network

    with pytest.raises(AssertionError, match="two seeds give the same weights"):
        check_network("always-zero")


GOOD = Images(
    "made",
    Split(torch.zeros(4, 1, 3, 3, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])),
    Split(torch.zeros(2, 1, 3, 3, dtype=torch.uint8), torch.tensor([0, 1])),
    2,
    "a test",
)


def test_a_correct_data_set_passes():
    datasets.register("made")(lambda argument, data_dir: GOOD)
    check_dataset("made")


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (replace(GOOD, train=replace(GOOD.train, images=torch.zeros(4, 1, 3, 3))), "not uint8"),
        (replace(GOOD, test=replace(GOOD.test, labels=torch.tensor([0.0, 1.0]))), "not int64"),
        (
            replace(GOOD, test=replace(GOOD.test, images=GOOD.test.images[:, 0])),
            r"not \(N, C, H, W\)",
        ),
        (replace(GOOD, test=replace(GOOD.test, labels=torch.tensor([1]))), "2 test images"),
        (replace(GOOD, test=replace(GOOD.test, images=GOOD.test.images[..., :2])), "test images"),
        (replace(GOOD, classes=3), r"no training image has the labels \[2\]"),
        (replace(GOOD, name="other"), "its name is 'other'"),
    ],
)
def test_a_broken_data_set_is_found(images, complaint):
    datasets.register("made")(lambda argument, data_dir: images)
    with pytest.raises(AssertionError, match=complaint):
        check_dataset("made")


def test_a_data_set_that_changes_between_loads_is_found():
    counter = itertools.count()

    @datasets.register("made")
    def made(argument, data_dir):
        pixels = GOOD.train.images + next(counter)
        return replace(GOOD, train=replace(GOOD.train, images=pixels))

    with pytest.raises(AssertionError, match="a second load gives different images"):
        check_dataset("made")


class _Forgetful(ReferenceEngine):
    def split(self, *args):
        return super().split(*args)[:-1]


class _Disturbing(ReferenceEngine):
    def train(self, *args):
        torch.rand(1)
        return super().train(*args)


class _Deaf(ReferenceEngine):
    def train(self, task, *args):
        return super().train(replace(task, max_steps=None), *args)


class _Mute(ReferenceEngine):
    def train(self, task, images, device, progress=None):
        return super().train(task, images, device)


class _Entangled(ReferenceEngine):
    """Seeds of one part influence each other."""

    def split(self, task, *args):
        return [task]

    def train(self, task, *args):
        offset = 1000 * len(task.members)
        members = [replace(member, seed=member.seed + offset) for member in task.members]
        results = super().train(task.with_members(members), *args)
        return [replace(r, seed=r.seed - offset) for r in results]


class _Optimistic(ReferenceEngine):
    def train(self, *args):
        return [replace(r, diverged=False) for r in super().train(*args)]


@pytest.mark.parametrize(
    ("engine", "complaint"),
    [
        (_Forgetful, "split gives"),
        (_Disturbing, "changes torch's global generator"),
        (_Deaf, "max_steps=3"),
        (_Mute, "progress is reported as"),
        (_Entangled, "with and without other seeds"),
        (_Optimistic, "is not called diverged"),
    ],
)
def test_an_engine_that_breaks_a_promise_is_found(engine, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_engine(engine)
