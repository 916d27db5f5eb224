"""From a network of one's own to a stack: what can be stacked, and what is said of the rest."""

import logging

import pytest
import torch
from fast_training import (
    ARITHMETICS,
    engine_with,
    made_up_images,
    stack_of,
    task_of,
    trained_in_a_stack,
    trained_plainly,
    worst_difference,
)
from torch import nn
from torch.nn import functional

from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.fast.schedule import Schedule, ScheduleFile
from joulelab.learning.fast.stacking import NotStackableError, stack_layers, stack_module
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import networks
from joulelab.learning.reference import ReferenceEngine

pytestmark = pytest.mark.usefixtures("own_parts")

SHAPE = ImageShape(4, 8, 8)
IMAGES = made_up_images((4, 8, 8), train=50, test=40, classes=3)
TOLERANCE = 2e-5
"""Relative difference of losses; measured: up to 2e-6."""


class Network(nn.Module):
    """A base that only says where layers are made."""

    def __init__(self, shape, classes):
        super().__init__()
        self.classes = classes
        self.make()


class Residual(Network):
    """Sums in three spellings, functional activations, the image itself in a sum."""

    def make(self):
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding="same", bias=False)
        self.head = nn.Linear(4 * 8 * 8, self.classes)

    def forward(self, images):
        values = images + functional.relu(self.norm(self.first(images)))
        values = torch.add(torch.tanh(self.second(values)), values)
        inner = self.second(values.relu())
        inner += values
        return self.head((inner + inner).flatten(1))


class InPlace(Network):
    """In-place activations whose inputs nobody else reads."""

    def make(self):
        self.convolution = nn.Conv2d(4, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.activation = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(6 * 3 * 3, self.classes)

    def forward(self, images):
        values = self.activation(self.norm(self.convolution(images)))
        values = functional.relu(self.pool(values), inplace=True)
        return self.head(torch.flatten(values, 1))


class Strided(Network):
    """Strides, dilation, groups, rectangles, padding, other poolings."""

    def make(self):
        self.grouped = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
        self.depthwise = nn.Conv2d(8, 16, (3, 1), padding=(2, 0), dilation=(2, 1), groups=8)
        self.average = nn.AvgPool2d(2, stride=1)
        self.largest = nn.MaxPool2d(3, stride=2, padding=1)
        self.all = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(16, self.classes)

    def forward(self, images):
        values = functional.silu(self.grouped(images))
        values = self.largest(self.average(torch.sigmoid(self.depthwise(values))))
        values = self.all(values)
        return self.head(values.view(values.size(0), -1))


class Rows(Network):
    """BatchNorm1d, reshape, a layer without bias, BatchNorm of images before any other layer."""

    def make(self):
        self.images = nn.BatchNorm2d(4)
        self.first = nn.Linear(256, 16, bias=False)
        self.norm = nn.BatchNorm1d(16, momentum=0.3, eps=1e-3)
        self.bare = nn.BatchNorm1d(16, affine=False)
        self.unkept = nn.BatchNorm1d(16, track_running_stats=False)
        self.head = nn.Linear(16, self.classes)

    def forward(self, images):
        rows = self.images(images).reshape(images.shape[0], -1)
        rows = functional.gelu(self.norm(self.first(rows)))
        return self.head(self.unkept(self.bare(rows)))


class Shared(Network):
    """One layer called twice has one weight with both gradients."""

    def make(self):
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(256, 16))
        self.again = nn.Linear(16, 16)
        self.head = nn.Linear(16, self.classes)

    def forward(self, images):
        values = torch.relu(self.again(self.first(images)))
        return self.head(torch.relu(self.again(values)))


class Frozen(Network):
    """A frozen layer before and behind what is trained, and one that nothing reads."""

    def make(self):
        self.before = nn.Conv2d(4, 4, 3).requires_grad_(False)
        self.between = nn.Conv2d(4, 4, 3)
        self.norm = nn.BatchNorm2d(4).requires_grad_(False)
        self.unread = nn.Linear(5, 5)
        self.behind = nn.Linear(64, 8).requires_grad_(False)
        self.head = nn.Linear(8, self.classes)
        self.head.bias.requires_grad_(False)

    def forward(self, images):
        values = self.norm(self.between(self.before(images)))
        return self.head(self.behind(values.flatten(start_dim=1)))


class Activations(nn.Sequential):
    def __init__(self, shape, classes):
        super().__init__(
            nn.Conv2d(shape.channels, 4, 3),
            nn.LeakyReLU(0.2, inplace=True),
            nn.AdaptiveMaxPool2d(3),
            nn.ELU(inplace=True),
            nn.Flatten(),
            nn.Linear(36, 12),
            nn.Identity(),
            nn.GELU("tanh"),
            nn.Linear(12, classes),
            nn.Softplus(),
        )


class ChannelsLast(Network):
    """Weights that do not lie in memory in the order of their dimensions."""

    def make(self):
        self.convolution = nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
        self.head = nn.Linear(6 * 6 * 6, self.classes)
        turned = self.head.weight.detach().t().contiguous().t()
        self.head.weight = nn.Parameter(turned)

    def forward(self, images):
        return self.head(self.convolution(images).flatten(1))


STACKABLE = [
    Residual,
    InPlace,
    Strided,
    Rows,
    Shared,
    Frozen,
    Activations,
    ChannelsLast,
]


@pytest.mark.parametrize("network", STACKABLE, ids=lambda network: network.__name__)
def test_a_network_of_ones_own_is_trained_as_by_the_plain_loop(network):
    """In every arithmetic, step by step, the accuracy in eval mode included."""
    networks.register("own")(network)
    task = task_of("own", None, 3, batch_size=20)
    assert FastEngine(schedules=ScheduleFile(None)).obstacle(task, IMAGES, "cpu") is None
    expected = [trained_plainly(task, IMAGES, member) for member in task.members]
    for name, arithmetic in ARITHMETICS.items():
        got = trained_in_a_stack(task, IMAGES, arithmetic)
        for one, other in zip(got, expected, strict=True):
            assert worst_difference(one.losses, other.losses) < TOLERANCE, name
            assert one.accuracy == pytest.approx(other.accuracy, abs=1.5 / 40), name


@pytest.mark.parametrize("network", STACKABLE, ids=lambda network: network.__name__)
def test_the_engine_trains_it_and_counts_its_parameters(network, tmp_path):
    networks.register("own")(network)
    task = task_of("own", None, 2, batch_size=20, epochs=1)
    engine = engine_with(Schedule(), task, IMAGES, tmp_path / "schedules.json")
    results = engine.train(task, IMAGES, "cpu")
    expected = ReferenceEngine().train(task, IMAGES, "cpu")
    for one, other in zip(results, expected, strict=True):
        assert one.engine == "fast"
        assert one.parameters == other.parameters
        assert worst_difference(one.train_losses, other.train_losses) < TOLERANCE


def test_what_is_frozen_stays_as_it_was():
    networks.register("own")(Frozen)
    stack = stack_of(task_of("own", None, 3, batch_size=20), IMAGES)
    before = {name: values.detach().clone() for name, values in stack.state.items()}
    stack.train_epoch()
    changed = {
        name for name, values in stack.state.items() if not torch.equal(values, before[name])
    }
    assert changed == {
        "between.weight",
        "between.bias",
        "norm.running_mean",
        "norm.running_var",
        "head.weight",
    }


@pytest.mark.parametrize("protocol", ["default", "yarally2023"])
def test_evaluation_leaves_the_running_statistics_as_they_were(protocol):
    networks.register("own")(Residual)
    stack = stack_of(task_of("own", None, 2, batch_size=20, protocol=protocol), IMAGES)
    stack.train_epoch()
    before = {name: values.detach().clone() for name, values in stack.state.items()}
    stack.scores()
    assert "norm.running_mean" in before
    for name, values in stack.state.items():
        assert torch.equal(values, before[name]), name


def test_relu_comes_behind_the_pooling_where_nothing_else_reads_it():
    network = stack_layers("SimpleCNN", SHAPE, 3, {})
    kinds = [type(step.layer).__name__ for step in network.steps[:4]]
    assert kinds == ["Convolution", "BatchNorm", "MaxPool2x2", "ByElement"]

    class ReadTwice(Network):
        def make(self):
            self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)
            self.head, self.other = nn.Linear(64, self.classes), nn.Linear(256, self.classes)

        def forward(self, images):
            positive = self.relu(images)
            pooled = self.pool(positive)
            return self.head(pooled.flatten(1)) + self.other(positive.flatten(1))

    networks.register("own")(ReadTwice)
    kinds = [type(step.layer).__name__ for step in stack_layers("own", SHAPE, 3, {}).steps[:2]]
    assert kinds == ["ByElement", "MaxPool2x2"]
    task = task_of("own", None, 2, batch_size=20)
    for one, member in zip(trained_in_a_stack(task, IMAGES), task.members, strict=True):
        assert worst_difference(one.losses, trained_plainly(task, IMAGES, member).losses) < 1e-6


class Refused(Network):
    """A base for networks that each have one thing that cannot be stacked."""

    def make(self):
        self.linear = nn.Linear(256, self.classes)
        self.activation = nn.ReLU(inplace=True)
        self.extra()

    def extra(self):
        pass


class DependsOnData(Refused):
    def forward(self, images):
        rows = images.flatten(1)
        return self.linear(rows if rows.sum() > 0 else -rows)


class BareParameter(Refused):
    def extra(self):
        self.scale = nn.Parameter(torch.ones(256))

    def forward(self, images):
        return self.linear(images.flatten(1) * self.scale)


class TwoInputs(Refused):
    def forward(self, images, labels=None):
        return self.linear(images.flatten(1))


class TwoOutputs(Refused):
    def forward(self, images):
        return self.linear(images.flatten(1)), images


class FunctionalDropout(Refused):
    def forward(self, images):
        return self.linear(functional.dropout(images.flatten(1), 0.5, training=True))


class OtherInEvalMode(Refused):
    def forward(self, images):
        logits = self.linear(images.flatten(1))
        return logits if self.training else torch.relu(logits)


class OwnTrain(Refused):
    def extra(self):
        self.norm = nn.BatchNorm2d(4)

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, images):
        return self.linear(self.norm(images).flatten(1))


class Hooked(Refused):
    def extra(self):
        self.linear.register_forward_hook(lambda module, inputs, output: 2 * output)

    def forward(self, images):
        return self.linear(images.flatten(1))


class ClippedGradient(Refused):
    def extra(self):
        self.linear.weight.register_hook(lambda gradient: gradient.clamp(-1e-3, 1e-3))

    def forward(self, images):
        return self.linear(images.flatten(1))


class Tied(Refused):
    def extra(self):
        self.first, self.second = nn.Linear(256, 256), nn.Linear(256, 256)
        self.second.weight = self.first.weight

    def forward(self, images):
        return self.linear(torch.relu(self.second(torch.relu(self.first(images.flatten(1))))))


class ChangedInPlace(Refused):
    """The sum reads what the activation has overwritten."""

    def extra(self):
        self.first, self.second = nn.Linear(256, 256), nn.Linear(256, 256)

    def forward(self, images):
        rows = self.first(images.flatten(1))
        return self.linear(self.second(self.activation(rows)) + rows)


class ChangedThroughAView(Refused):
    def extra(self):
        self.convolution = nn.Conv2d(4, 4, 1)

    def forward(self, images):
        values = self.convolution(images)
        rows = self.activation(values.flatten(1))
        return self.linear(rows) + self.linear(values.flatten(1))


class LinearOfImages(Refused):
    def extra(self):
        self.across = nn.Linear(8, 8)

    def forward(self, images):
        return self.linear(self.across(images).flatten(1))


def _on_images(*layers):
    class OnImages(Refused):
        def extra(self):
            self.own = nn.Sequential(*[layer() for layer in layers])

        def forward(self, images):
            return self.linear(self.own(images).flatten(1))

    return OnImages


REFUSED = {
    "dropout": (_on_images(lambda: nn.Dropout(0.5)), r"the layer own\.0, Dropout\(p=0\.5"),
    "dropout of channels": (_on_images(nn.Dropout2d), r"own\.0, Dropout2d"),
    "layer norm": (_on_images(lambda: nn.LayerNorm(8)), r"own\.0, LayerNorm\(\(8,\)"),
    "softmax": (_on_images(lambda: nn.Softmax(1)), r"own\.0, Softmax\(dim=1\)"),
    "circular": (
        _on_images(nn.Identity, lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")),
        r"own\.1, Conv2d\(4, 4.*padding_mode=circular",
    ),
    "momentum": (
        _on_images(lambda: nn.BatchNorm2d(4, momentum=None)),
        r"own\.0, BatchNorm2d\(4.*momentum=None",
    ),
    "indices": (
        _on_images(lambda: nn.MaxPool2d(2, return_indices=True), nn.Identity),
        r"own\.0, MaxPool2d",
    ),
    "flatten of a part": (_on_images(lambda: nn.Flatten(2)), r"own\.0, Flatten\(start_dim=2"),
    "parametrised": (
        _on_images(lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1))),
        r"own\.0, ParametrizedConv2d, is not supported",
    ),
    "data": (DependsOnData, "its forward cannot be traced: symbolically traced variables"),
    "bare parameter": (BareParameter, "the parameter scale outside a layer"),
    "two inputs": (TwoInputs, "more than one input"),
    "two outputs": (TwoOutputs, "more than one output"),
    "functional dropout": (FunctionalDropout, "the call of dropout"),
    "other in eval mode": (OtherInEvalMode, "differs in eval mode"),
    "own train": (OwnTrain, r"the network overrides train\(\)"),
    "hook": (Hooked, "the layer linear has a hook"),
    "hook of a parameter": (ClippedGradient, r"the parameter linear\.weight has a hook"),
    "tied": (Tied, r"second\.weight and first\.weight are the same parameter"),
    "in place": (ChangedInPlace, "activation changes in place a tensor that is read again"),
    "in place through a view": (ChangedThroughAView, "activation changes in place"),
    "linear of images": (LinearOfImages, r"across takes a tensor of shape \(2, 4, 8, 8\)"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_stacked_is_named(what):
    network, words = REFUSED[what]
    networks.register("own")(network)
    with pytest.raises(NotStackableError, match=words):
        stack_layers("own", SHAPE, 3, {})


# Networks that the reference engine trains; the others are errors for it too.
TRAINED_BY_THE_REFERENCE = [
    what for what in REFUSED if what not in {"two outputs", "indices", "flatten of a part"}
]


@pytest.mark.parametrize("what", TRAINED_BY_THE_REFERENCE)
def test_the_reference_trains_what_cannot_be_stacked(what, caplog):
    """Bit for bit, in parts of one member, and the log has one line that says why."""
    networks.register("own")(REFUSED[what][0])
    task = task_of("own", None, 2, batch_size=20, epochs=1)
    engine = FastEngine(schedules=ScheduleFile(None))
    assert [part.members for part in engine.split(task, IMAGES, "cpu")] == [
        (member,) for member in task.members
    ]
    assert not engine.prepare(task, IMAGES, "cpu")
    assert engine.schedule(task, IMAGES, "cpu") is None
    with caplog.at_level(logging.WARNING, logger="joulelab"):
        results = engine.train(task, IMAGES, "cpu")
    assert results == ReferenceEngine().train(task, IMAGES, "cpu")
    assert {result.engine for result in results} == {"reference"}
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the fast engine cannot train own: ")
    assert line.endswith("; the reference engine trains it")
    assert engine.obstacle(task, IMAGES, "cpu") in line


def test_a_stackable_group_is_one_part():
    task = task_of("SimpleCNN", None, 5)
    assert list(FastEngine(schedules=ScheduleFile(None)).split(task, IMAGES, "cpu")) == [task]


def test_tracing_takes_nothing_from_torchs_generator():
    before = torch.random.get_rng_state()
    stack_layers("SimpleCNN", SHAPE, 3, {})
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_without_layers_is_its_input():
    with torch.device("meta"):
        stacked = stack_module(nn.Sequential(nn.Flatten()), torch.empty(2, 1, 2, 2))
    images = torch.rand(3, 5, 1, 2, 2)
    logits = stacked({}, images, ARITHMETICS["torch"], training=True)
    assert torch.equal(logits, images.flatten(2))
