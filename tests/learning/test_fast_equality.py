"""The fast engine trains as the reference does: the loss of every step, and the accuracies.

What is compared with is the loop of the paper, written out in `fast_training.trained_plainly`, and
the reference engine itself.
"""

import math
from dataclasses import replace
from itertools import cycle

import pytest
import torch
from fast_training import (
    ARITHMETICS,
    DIVERSE,
    engine_with,
    made_up_images,
    stack_of,
    task_of,
    threads,
    threads_of,
    trained_in_a_stack,
    trained_plainly,
    worst_difference,
)
from torch import nn

from joulelab.errors import TrainingError
from joulelab.learning.engine import Hyperparameters, Member
from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.fast.kernels import onednn_available
from joulelab.learning.fast.schedule import Arrangement, Schedule, ScheduleFile
from joulelab.learning.images import load_images, thinned
from joulelab.learning.networks import networks
from joulelab.learning.placement import Placement, Shelf
from joulelab.learning.reference import ReferenceEngine

FIRST_STEP = 1e-6
"""Relative difference of the losses of the first step, which no update has touched: sums in another
order. Measured: up to 2.4e-7, which is two rounding errors."""

LATER_STEPS = 4e-3
"""The same for the steps of two epochs. Measured: mostly 1e-6, up to 4e-4 where a network of many
linear layers is trained fast enough that its losses rise: each step multiplies the differences of
the step before."""

ACCURACY = 0.05
"""Of 100 test images. Measured: equal, but for SimpleCNN in eval mode, up to 3 images. A bias
before BatchNorm has a gradient of exactly 0 but for rounding errors, whose signs alone Adam
follows; the running mean is some steps behind it."""

SHAPES = {"1x28x28": (1, 28, 28), "3x32x32": (3, 32, 32)}


def _long(*values):
    return pytest.param(*values, marks=pytest.mark.long)


NETWORKS = [  # network, options, protocol
    ("DensePolyNN", {"linear_layers": 3}, "yarally2023"),
    ("DenseLinearNN", {"linear_layers": 3}, "default"),
    ("SimpleCNN", {"conv_layers": 1}, "default"),
    (
        "SimpleCNN",
        {"conv_layers": 4, "pooling": "while-possible", "linear_layers": 1},
        "yarally2023",
    ),
]
MORE_NETWORKS = [
    ("DensePolyNN", {"linear_layers": 1}, "default"),
    ("DensePolyNN", {"linear_layers": 3}, "default"),
    ("DensePolyNN", {"linear_layers": 7}, "yarally2023"),
    ("DenseLinearNN", {"linear_layers": 1}, "yarally2023"),
    ("SimpleCNN", {"conv_layers": 1}, "yarally2023"),
    ("SimpleCNN", {"relu": False}, "default"),
]
IN_COLOUR = [  # network, options, protocol
    ("DensePolyNN", {"linear_layers": 1}, "yarally2023"),
    ("SimpleCNN", {"conv_layers": 1, "relu": False}, "yarally2023"),
    ("SimpleCNN", {"conv_layers": 2}, "default"),
]
LARGE_NETWORKS = [
    ("1x28x28", "DenseLinearNN", {"linear_layers": 7}),
    ("1x28x28", "SimpleCNN", {"conv_layers": 4, "pooling": "every-block"}),
    ("3x32x32", "DensePolyNN", {"linear_layers": 3}),
    ("3x32x32", "DenseLinearNN", {"linear_layers": 3}),
    ("3x32x32", "SimpleCNN", {"conv_layers": 4, "pooling": "every-block"}),
]


def _in_turn(rows):
    """Each row with one arithmetic: the first with the first, the second with the second, ..."""
    return [(*row, [name]) for row, name in zip(rows, cycle(ARITHMETICS), strict=False)]


def _in_all(rows):
    """Each row with all arithmetics."""
    return [_long(*row, list(ARITHMETICS)) for row in rows]


def _check_steps(task, images, arithmetics=("torch",)):
    """Every member in these arithmetics, step by step."""
    expected = [trained_plainly(task, images, member) for member in task.members]
    for name in arithmetics:
        got = trained_in_a_stack(task, images, ARITHMETICS[name])
        for seed, (one, other) in enumerate(zip(got, expected, strict=True), 1):
            first = worst_difference(one.losses[:1], other.losses[:1])
            worst = worst_difference(one.losses, other.losses)
            assert first < FIRST_STEP, (name, seed)
            assert worst < LATER_STEPS, (name, seed, one.losses, other.losses)
            assert abs(one.accuracy - other.accuracy) <= ACCURACY, (name, seed)


@pytest.mark.parametrize(
    ("network", "options", "protocol", "arithmetics"),
    [*_in_turn(NETWORKS), *_in_all([*NETWORKS, *MORE_NETWORKS])],
)
def test_losses_of_every_step_are_those_of_the_plain_loop(network, options, protocol, arithmetics):
    """Two epochs, of which the last batch is short: 100 = 2 * 40 + 20."""
    images = made_up_images(SHAPES["1x28x28"], train=100)
    task = task_of(network, options, 3, protocol=protocol, batch_size=40)
    _check_steps(task, images, arithmetics)


@pytest.mark.parametrize(
    ("network", "options", "protocol", "arithmetics"),
    [*_in_turn(IN_COLOUR[-1:]), *_in_all(IN_COLOUR)],
)
def test_losses_of_every_step_in_colour(network, options, protocol, arithmetics):
    images = made_up_images(SHAPES["3x32x32"], train=70)
    task = task_of(network, options, 3, protocol=protocol, batch_size=30, epochs=1)
    _check_steps(task, images, arithmetics)


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["default", "yarally2023"])
@pytest.mark.parametrize(("shape", "network", "options"), LARGE_NETWORKS)
def test_losses_of_every_step_of_large_networks(shape, network, options, protocol):
    images = made_up_images(SHAPES[shape], train=100)
    task = task_of(network, options, 3, protocol=protocol, batch_size=40)
    _check_steps(task, images, ARITHMETICS)


ON_REAL_IMAGES = [  # data set, network
    ("digits", "SimpleCNN"),
    ("fashion-mnist", "DensePolyNN"),
    ("digits", "DensePolyNN"),
    ("fashion-mnist", "SimpleCNN"),
]


@pytest.mark.parametrize(
    ("dataset", "network", "arithmetics"),
    [*_in_turn(ON_REAL_IMAGES[:2]), *_in_all(ON_REAL_IMAGES)],
)
def test_losses_of_every_step_on_real_images(dataset, network, arithmetics, request):
    folder = None if dataset == "digits" else request.getfixturevalue("data_dir")
    images = thinned(load_images(dataset, folder), 200, 100, seed=0)
    _check_steps(task_of(network, None, 2, batch_size=64), images, arithmetics)


@pytest.mark.long
@pytest.mark.parametrize("network", ["DensePolyNN", "DenseLinearNN", "SimpleCNN"])
def test_losses_of_every_step_on_cifar10(data_dir, network):
    images = thinned(load_images("cifar10", data_dir), 300, 100, seed=0)
    _check_steps(task_of(network, None, 2, batch_size=128), images, ARITHMETICS)


def test_the_batches_of_the_papers_protocol_come_again():
    """Losses alone would not tell: an epoch in another order has nearly the same mean."""
    images = made_up_images((1, 8, 8), train=64)
    still = Hyperparameters(learning_rate=1e-12)
    for protocol, same in (("yarally2023", True), ("default", False)):
        task = replace(task_of("DensePolyNN", protocol=protocol), members=(Member(1, still),))
        (trained,) = trained_in_a_stack(task, images)
        assert len(trained.losses) == 4
        assert (worst_difference(trained.losses[:2], trained.losses[2:]) < FIRST_STEP) == same


def test_a_limit_of_steps_stops_inside_an_epoch(tmp_path):
    images = made_up_images((1, 8, 8), train=100)
    task = task_of("SimpleCNN", max_steps=5)
    _check_steps(task, images, ["torch", "channels last"])
    engine = engine_with(Schedule(), task, images, tmp_path / "schedules.json")
    results = engine.train(task, images, "cpu")
    expected = ReferenceEngine().train(task, images, "cpu")
    for one, other in zip(results, expected, strict=True):
        assert one.steps == 5
        assert len(one.train_losses) == 2
        assert worst_difference(one.train_losses, other.train_losses) < LATER_STEPS


def test_a_batch_larger_than_the_data_set_is_the_data_set():
    images = made_up_images((1, 8, 8), train=50)
    task = task_of("SimpleCNN", batch_size=1000, epochs=3)
    _check_steps(task, images, ["torch", "channels last"])


def test_every_placement_gives_the_same_numbers(tmp_path):
    images = made_up_images((1, 8, 8), train=50)
    task = task_of("SimpleCNN", batch_size=20)
    path = tmp_path / "schedules.json"
    expected = engine_with(Schedule(), task, images, path).train(task, images, "cpu")
    for placement in Placement:
        engine = FastEngine(Shelf(placement), ScheduleFile(path))
        for one, other in zip(engine.train(task, images, "cpu"), expected, strict=True):
            assert one.placement == str(placement)
            assert worst_difference(one.train_losses, other.train_losses) < FIRST_STEP


SCHEDULES = [
    *(Schedule(one, onednn_available(), channels_last=True) for one in Arrangement),
    *(_long(Schedule(one, onednn_available(), channels_last=False)) for one in Arrangement),
    *(_long(Schedule(one, False, channels_last=True)) for one in Arrangement),
    Schedule(Arrangement.TOGETHER),
    *(_long(Schedule(one)) for one in Arrangement if one is not Arrangement.TOGETHER),
]


def _assert_equal_results(results, expected):
    for one, other in zip(results, expected, strict=True):
        assert one.seed == other.seed
        assert one.steps == other.steps
        assert one.parameters == other.parameters
        assert one.placement == other.placement
        assert not one.diverged
        assert worst_difference(one.train_losses, other.train_losses) < LATER_STEPS
        assert abs(one.accuracy - other.accuracy) <= ACCURACY


@pytest.fixture(scope="module")
def five_members():
    """A task, its images, and what the reference engine makes of it."""
    images = made_up_images((2, 9, 9), train=70)
    task = task_of("SimpleCNN", {"conv_layers": 2}, 5, batch_size=32)
    with threads(1):
        return task, images, ReferenceEngine().train(task, images, "cpu")


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_every_schedule_gives_the_results_of_the_reference(schedule, five_members, tmp_path):
    """Five members on two threads: shares are of three and of two members."""
    task, images, expected = five_members
    with threads_of(schedule):
        engine = engine_with(schedule, task, images, tmp_path / "schedules.json")
        results = engine.train(task, images, "cpu")
    assert [result.seed for result in results] == [1, 2, 3, 4, 5]
    assert {result.engine for result in results} == {"fast"}
    assert {result.precision for result in results} == {"fp32"}
    sizes = {"together": 5, "in-turn": 1, "workers": 1, "shares": 3}
    workers = {"together": 1, "in-turn": 1, "workers": 2, "shares": 2}
    arrangement = str(schedule.arrangement)
    for result in results:
        assert result.extra["stack_size"] == sizes[arrangement]
        assert result.extra["workers"] == workers[arrangement]
    _assert_equal_results(results, expected)


@pytest.mark.parametrize(
    ("members", "arrangement"),
    [
        (1, Arrangement.TOGETHER),
        _long(1, Arrangement.SHARES),
        _long(24, Arrangement.TOGETHER),
        (24, Arrangement.SHARES),
    ],
)
def test_one_member_and_a_round_of_24(arrangement, members, tmp_path):
    images = made_up_images((1, 8, 8), train=50)
    conventions = {"batch_size": 20, "protocol": "yarally2023", "epochs": 1}
    task = task_of("SimpleCNN", None, members, **conventions)
    schedule = Schedule(arrangement, onednn_available(), channels_last=True)
    with threads_of(schedule):
        engine = engine_with(schedule, task, images, tmp_path / "schedules.json")
        results = engine.train(task, images, "cpu")
    _assert_equal_results(results, ReferenceEngine().train(task, images, "cpu"))


def test_members_without_equals_as_neighbours_have_their_own_hyperparameters():
    """a, b, c, a: the first and the last are equal, and are two blocks of Adam's."""
    images = made_up_images((1, 8, 8), train=64)
    values = (*DIVERSE, DIVERSE[0])
    members = tuple(Member(7, one) for one in values)
    task = replace(task_of("DensePolyNN"), members=members)
    first, second, third, last = trained_in_a_stack(task, images)
    assert worst_difference(first.losses, last.losses) < FIRST_STEP
    assert worst_difference(first.losses, second.losses) > 0.01
    assert worst_difference(second.losses, third.losses) > 0.01
    _check_steps(task, images)


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 3e-3},
        {"beta1": 0.5},
        {"beta2": 0.5},
        {"epsilon": 1e-2},
        {"weight_decay": 0.5},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_each_hyperparameter_reaches_its_own_member_alone(changed):
    images = made_up_images((1, 8, 8), train=64)
    members = (Member(1), Member(2, replace(Hyperparameters(), **changed)), Member(3))
    task = replace(task_of("DensePolyNN"), members=members)
    _check_steps(task, images)
    plain = replace(task, members=(Member(1), Member(2), Member(3)))
    differences = [
        worst_difference(one.losses, other.losses)
        for one, other in zip(
            trained_in_a_stack(task, images), trained_in_a_stack(plain, images), strict=True
        )
    ]
    assert max(differences[0], differences[2]) < FIRST_STEP
    assert differences[1] > 100 * FIRST_STEP


OPTIMISERS = [  # optimiser, schedule, hyperparameters
    ("sgd", "constant", {"learning_rate": 0.05}),
    ("sgd", "step(1, 0.5)", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True}),
    ("sgd", "cosine", {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.1}),
    ("adamw", "cosine", {"weight_decay": 0.5}),
    ("adam", "step(1, 0.5)", {"beta1": 0.5}),
]


@pytest.mark.parametrize(("optimiser", "schedule", "values"), OPTIMISERS)
def test_every_optimiser_and_schedule_is_torchs(optimiser, schedule, values, tmp_path):
    """In a stack whose members differ, and in the reference engine."""
    images = made_up_images((1, 8, 8), train=70)
    members = (Member(1), Member(2, Hyperparameters(**values)), Member(3))
    task = replace(
        task_of("SimpleCNN", epochs=3), members=members, optimiser=optimiser, schedule=schedule
    )
    _check_steps(task, images)
    results = ReferenceEngine().train(task, images, "cpu")
    for result, member in zip(results, members, strict=True):
        steps = trained_plainly(task, images, member).losses
        sizes = (32, 32, 6)
        by_epoch = [
            sum(loss * n for loss, n in zip(steps[at : at + 3], sizes, strict=True)) / 70
            for at in (0, 3, 6)
        ]
        assert result.train_losses == pytest.approx(by_epoch, rel=1e-6)


def test_adam_itself_is_the_references():
    """Parameters after some steps, not only losses."""
    images = made_up_images((1, 8, 8), train=64)
    task = task_of("DensePolyNN", {"linear_layers": 2})
    stack = stack_of(task, images)
    before = {name: values.detach().clone() for name, values in stack.state.items()}
    stack.train_epoch()
    for index, member in enumerate(task.members):
        alone = stack_of(task.with_members([member]), images)
        for name, values in alone.state.items():
            assert torch.equal(values[0], before[name][index])
        alone.train_epoch()
        for name, values in alone.state.items():
            torch.testing.assert_close(values[0], stack.state[name][index], rtol=1e-4, atol=1e-6)


WILD = Hyperparameters(learning_rate=1e30)


@pytest.fixture
def fragile(own_parts):
    """A network whose initial weights are NaN for some seeds; two of either kind."""

    class Fragile(nn.Module):
        def __init__(self, shape, classes):
            super().__init__()
            self.convolution = nn.Conv2d(shape.channels, 4, 3)
            self.norm = nn.BatchNorm2d(4)
            self.linear = nn.Linear(4 * (shape.height - 2) * (shape.width - 2), classes)
            lost = torch.where(torch.rand(()) < 0.5, torch.nan, 0.0)
            self.convolution.weight.data += lost

        def forward(self, images):
            return self.linear(self.norm(self.convolution(images)).flatten(1))

    networks.register("fragile")(Fragile)
    images = made_up_images((1, 8, 8), train=50)
    task = task_of("fragile", None, 12, batch_size=20)
    lost = stack_of(task, images).state["convolution.weight"].isnan().flatten(1).any(1).tolist()
    seeds = [member.seed for member in task.members]
    return (
        [seed for seed, nan in zip(seeds, lost, strict=True) if nan][:2],
        [seed for seed, nan in zip(seeds, lost, strict=True) if not nan][:2],
    )


@pytest.mark.parametrize(
    ("arrangement", "channels_last"),
    [
        (Arrangement.TOGETHER, True),
        _long(Arrangement.TOGETHER, False),
        (Arrangement.IN_TURN, False),
        _long(Arrangement.IN_TURN, True),
        (Arrangement.WORKERS, True),
        _long(Arrangement.WORKERS, False),
        (Arrangement.SHARES, False),
        _long(Arrangement.SHARES, True),
    ],
)
def test_what_diverges_leaves_the_others_bit_for_bit(arrangement, channels_last, fragile, tmp_path):
    """One member overflows, one is NaN before its first step; each in the middle of its share."""
    nan, sound = fragile
    images = made_up_images((1, 8, 8), train=50)
    diverging = (
        Member(sound[0]),
        Member(sound[1], WILD),
        Member(sound[1]),
        Member(nan[0]),
        Member(sound[0], DIVERSE[1]),
    )
    harmless = tuple(
        replace(
            member,
            seed=sound[0] if member.seed in nan else member.seed,
            # Another value than its neighbours': members with the same are updated together.
            hyperparameters=DIVERSE[2]
            if member.hyperparameters == WILD
            else member.hyperparameters,
        )
        for member in diverging
    )
    schedule = Schedule(arrangement, channels_last=channels_last)
    results = []
    for members in (diverging, harmless):
        task = replace(task_of("fragile", batch_size=20, epochs=2), members=members)
        with threads_of(schedule):
            engine = engine_with(schedule, task, images, tmp_path / "schedules.json")
            results.append(engine.train(task, images, "cpu"))
    for index in (0, 2, 4):
        assert results[0][index] == results[1][index]
    wild, lost = results[0][1], results[0][3]
    assert wild.diverged
    assert math.isfinite(results[1][1].train_losses[-1])
    assert lost.diverged
    assert all(math.isnan(loss) for loss in lost.train_losses)
    assert math.isnan(wild.train_losses[-1])
    assert wild.steps == lost.steps == 6
    assert [result.diverged for result in results[0]] == [False, True, False, True, False]


def test_losses_stay_nan_from_the_divergence_on(tmp_path):
    """An epoch with an infinite loss and then a finite one: as by the reference."""
    images = made_up_images((1, 8, 8), train=50)
    task = replace(task_of("SimpleCNN", epochs=3), members=(Member(1, WILD), Member(2)))
    engine = engine_with(Schedule(), task, images, tmp_path / "schedules.json")
    (wild, sound) = engine.train(task, images, "cpu")
    (expected, _) = ReferenceEngine().train(task, images, "cpu")
    assert wild.diverged
    assert [math.isnan(loss) for loss in wild.train_losses] == [
        math.isnan(loss) for loss in expected.train_losses
    ]
    assert all(math.isfinite(loss) for loss in sound.train_losses)


def test_one_value_per_channel_in_the_last_batch_is_the_references_error():
    images = made_up_images((1, 8, 8), train=33)
    options = {"conv_layers": 4, "pooling": "while-possible"}
    task = task_of("SimpleCNN", options, 2, batch_size=32)
    with pytest.raises(TrainingError, match=r"batch of shape \(1, 1, 8, 8\)") as expected:
        ReferenceEngine().train(task, images, "cpu")
    with pytest.raises(TrainingError) as caught:
        FastEngine(schedules=ScheduleFile(None)).train(task, images, "cpu")
    # torch's own words, behind the colon, count the channels of all members.
    assert caught.value.message.split(": ")[0] == expected.value.message.split(": ")[0]
    assert caught.value.hint == expected.value.hint
