"""Trainings that stay in memory: whatever the pieces, they are those of the fast engine."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from fast_training import (
    DIVERSE,
    engine_with,
    made_up_images,
    task_of,
    threads,
    threads_of,
    worst_difference,
)

from joulelab.errors import TrainingError, UsageError
from joulelab.learning.engine import Hyperparameters, Member
from joulelab.learning.fast import population as population_module
from joulelab.learning.fast.population import Population, Segment
from joulelab.learning.fast.schedule import Arrangement, Schedule, ScheduleFile, circumstances
from joulelab.learning.fast.stack_training import StackTraining
from joulelab.learning.fast.stacking import NotStackableError, stack_layers
from joulelab.learning.images import load_images, thinned

EPOCHS = 6
WHOLE = (6,)
PIECES = (1, 2, 5, 6)
ROUNDING = 1e-3
"""Relative difference of losses where a member changes to a stack of another size, which sums in
another order. The engine's own tests allow 4e-3 between the fast and the reference engine."""

FIRST_EPOCH = 1e-5
"""The same over the first epoch, where differences have had no time to grow."""


@pytest.fixture(scope="module")
def digits():
    return thinned(load_images("digits"), 150, 60, seed=0)


def population_with(schedule, task, images, path):
    """A population that has this schedule for every number of members up to 8."""
    file = ScheduleFile(path)
    network = stack_layers(task.network, images.shape, images.classes, task.network_options)
    key = circumstances(network, images.shape, task.batch_size, task.precision, torch.device("cpu"))
    for members in (1, 2, 4, 8):
        file.put(key, members, schedule)
    return Population(task, images, schedules=file)


def segments_of(task, to_epoch, keys=None):
    keys = range(len(task.members)) if keys is None else keys
    return [Segment(key, task.members[key], to_epoch) for key in keys]


def trained_to(population, task, ends, keys=None):
    """The whole curve of each member, trained up to these epochs one after the other."""
    curves = {}
    for to_epoch in ends:
        for key, epochs in population.train(segments_of(task, to_epoch, keys)).items():
            curves.setdefault(key, []).extend(epochs)
    return curves


def numbers(curve):
    """What of a curve does not depend on the clock; NaN as text, which equals itself."""
    return [(one.epoch, one.accuracy, one.f1, str(one.loss), one.stack_size) for one in curve]


def random_walk_of(network, options, **others):
    """Four members, of which two have the same hyperparameters."""
    return task_of(network, options, 4, epochs=EPOCHS, **others)


TASKS = [
    random_walk_of("SimpleCNN", None, protocol="yarally2023", schedule="cosine"),
    random_walk_of("SimpleCNN", None, schedule="step(2, 0.5)", optimiser="adamw"),
    random_walk_of("DensePolyNN", None, schedule="warmup-cosine(0.3)"),
    random_walk_of("DensePolyNN", None, optimiser="sgd"),
]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.network}-{task.schedule}")
@pytest.mark.parametrize("arrangement", [Arrangement.TOGETHER, Arrangement.SHARES])
def test_any_pieces_give_the_engines_training_bit_for_bit(task, arrangement, digits, tmp_path):
    if task.optimiser == "sgd":
        values = Hyperparameters(learning_rate=0.05, momentum=0.9, nesterov=True)
        task = task.with_members([*task.members[:3], Member(4, values)])
    schedule = Schedule(arrangement)
    path = tmp_path / "schedules.json"
    with threads_of(schedule):
        expected = engine_with(schedule, task, digits, path).train(task, digits, "cpu")
        whole = trained_to(population_with(schedule, task, digits, path), task, WHOLE)
        pieces = trained_to(population_with(schedule, task, digits, path), task, PIECES)
    for key, result in enumerate(expected):
        assert numbers(whole[key]) == numbers(pieces[key])
        assert [one.epoch for one in whole[key]] == list(range(1, EPOCHS + 1))
        assert tuple(one.loss for one in whole[key]) == result.train_losses
        assert (whole[key][-1].accuracy, whole[key][-1].f1) == (result.accuracy, result.f1)
        assert {one.stack_size for one in whole[key]} == {result.extra["stack_size"]}


def test_members_that_change_stacks_differ_by_rounding(digits, tmp_path):
    """Half of them go on alone, then all together: ages and stack sizes change on the way."""
    task = TASKS[0]
    population = population_with(Schedule(), task, digits, tmp_path / "schedules.json")
    curves = trained_to(population, task, (1,))
    for key, epochs in population.train(segments_of(task, 3, [1, 2])).items():
        curves[key].extend(epochs)
    assert [population.epoch(key) for key in range(5)] == [1, 3, 3, 1, 0]
    both = population.train(segments_of(task, EPOCHS))
    for key, epochs in both.items():
        curves[key].extend(epochs)
    assert {key: epochs[0].epoch for key, epochs in both.items()} == {0: 2, 1: 4, 2: 4, 3: 2}
    assert {one.stack_size for epochs in both.values() for one in epochs} == {2}
    whole = population_with(Schedule(), task, digits, tmp_path / "schedules.json")
    for key, expected in trained_to(whole, task, WHOLE).items():
        losses = [[one.loss for one in curve] for curve in (curves[key], expected)]
        assert worst_difference(*losses) < ROUNDING
        assert abs(curves[key][-1].accuracy - expected[-1].accuracy) <= 0.05


def test_a_stack_that_is_kept_is_used_by_the_same_members_at_the_same_age_alone(digits, tmp_path):
    """As on a GPU, where a stack has its captured steps."""
    task = TASKS[0]
    path = tmp_path / "schedules.json"
    keeping, other = (population_with(Schedule(), task, digits, path) for _ in range(2))
    keeping._keeps_stacks = True
    calls = [  # keys, to epoch
        ([0, 1, 2, 3], 1),
        ([0, 1, 2, 3], 2),
        ([0, 1], 3),
        ([2, 3], 3),
        ([0, 1, 2, 3], 5),
        ([1], 6),
    ]
    for keys, to_epoch in calls:
        segments = segments_of(task, to_epoch, keys)
        curves, expected = keeping.train(segments), other.train(segments)
        assert {key: numbers(curve) for key, curve in curves.items()} == {
            key: numbers(curve) for key, curve in expected.items()
        }
        assert list(keeping._stacks) == [tuple(keys)], "those of other calls would fill the memory"
    assert not other._stacks
    keeping.drop(1)
    assert not keeping._stacks


def test_every_order_of_segments_gives_the_same_curves_by_key(digits, tmp_path):
    """In a stack, members with the same hyperparameters are moved next to each other."""
    values = (DIVERSE[0], DIVERSE[1], DIVERSE[0])
    members = tuple(Member(seed, value) for seed, value in zip((5, 6, 7), values, strict=True))
    task = replace(task_of("DensePolyNN", epochs=1), members=members)
    expected = None
    for order in itertools.permutations(range(3)):
        population = population_with(Schedule(), task, digits, tmp_path / "schedules.json")
        curves = trained_to(population, task, (1,), order)
        assert list(curves) == list(order)
        losses = [curves[key][0].loss for key in range(3)]
        expected = expected or losses
        assert worst_difference(losses, expected) < FIRST_EPOCH
    assert worst_difference(expected[:1], expected[2:]) > 10 * FIRST_EPOCH


def test_a_member_that_diverges_stays_and_its_loss_stays_nan(digits, tmp_path):
    wild = Member(1, Hyperparameters(learning_rate=1e30))
    task = replace(task_of("SimpleCNN", epochs=4), members=(wild, Member(2)))
    path = tmp_path / "schedules.json"
    population = population_with(Schedule(), task, digits, path)
    curves = trained_to(population, task, (1, 2, 4))
    expected = engine_with(Schedule(), task, digits, path).train(task, digits, "cpu")
    for key, result in enumerate(expected):
        assert [str(one.loss) for one in curves[key]] == [str(x) for x in result.train_losses]
        assert curves[key][-1].accuracy == result.accuracy
    assert math.isnan(curves[0][-1].loss)
    assert math.isfinite(curves[1][-1].loss)


def test_scores_on_other_images_change_nothing(digits, tmp_path):
    task = TASKS[0]
    path = tmp_path / "schedules.json"
    images = digits.validation_split(0.3)
    population = population_with(Schedule(), task, images, path)
    curves = trained_to(population, task, (2,))
    own = population.scores([3, 0], images.test)
    assert own == [(curves[key][-1].accuracy, curves[key][-1].f1) for key in (3, 0)]
    assert population.scores([3, 0], digits.test) != own
    rest = population.train(segments_of(task, EPOCHS))
    whole = trained_to(population_with(Schedule(), task, images, path), task, WHOLE)
    for key, epochs in rest.items():
        assert numbers(epochs) == numbers(whole[key][2:])


def test_a_call_that_fails_leaves_every_training_as_it_was(digits, tmp_path, monkeypatch):
    """Memory runs out in the second epoch of a stack: halved, from where the call began."""
    task = TASKS[2]
    path = tmp_path / "schedules.json"
    population = population_with(Schedule(), task, digits, path)
    first = trained_to(population, task, (1,))
    train_epoch, calls = StackTraining.train_epoch, []

    def fails(error):
        def failing(stack, *args, **kwargs):
            calls.append(len(stack._task.members))
            if len(calls) == 2:
                raise error
            return train_epoch(stack, *args, **kwargs)

        return failing

    monkeypatch.setattr(StackTraining, "train_epoch", fails(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        population.train(segments_of(task, 4))
    assert [population.epoch(key) for key in range(4)] == [1, 1, 1, 1]
    calls.clear()
    monkeypatch.setattr(StackTraining, "train_epoch", fails(MemoryError()))
    rest = population.train(segments_of(task, 4))
    assert calls == [4, 4, 2, 2, 2, 2, 2, 2]
    monkeypatch.undo()
    whole = trained_to(population_with(Schedule(), task, digits, path), task, (4,))
    for key in range(4):
        losses = [[one.loss for one in [*first[key], *rest[key]]], [o.loss for o in whole[key]]]
        assert worst_difference(*losses) < ROUNDING


def test_more_members_than_a_schedule_is_tried_for_are_trained_in_turns(
    digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(population_module, "MOST_ON_CPU", 2)
    task = replace(TASKS[2], epochs=1)
    population = population_with(Schedule(), task, digits, tmp_path / "schedules.json")
    curves = trained_to(population, task, (1,))
    assert list(curves) == [0, 1, 2, 3]
    assert {one.stack_size for curve in curves.values() for one in curve} == {2}


def test_the_schedule_is_found_once_for_numbers_up_to_the_next_power_of_two(digits, tmp_path):
    task = replace(TASKS[2], epochs=2)
    population = Population(task, digits, schedules=ScheduleFile(tmp_path / "schedules.json"))
    assert population.prepare(3)
    assert not population.prepare(4)
    assert population.prepare(1)
    again = Population(task, digits, schedules=ScheduleFile(tmp_path / "schedules.json"))
    assert not again.prepare(4)


def test_seconds_of_all_members_are_those_of_the_call(digits, tmp_path):
    """Two workers at a time share the clock; each phase has its part."""
    task = TASKS[0]
    schedule = Schedule(Arrangement.WORKERS)
    with threads(2):
        population = population_with(schedule, task, digits, tmp_path / "schedules.json")
        curves = trained_to(population, task, (2,))
    all_epochs = [one for curve in curves.values() for one in curve]
    assert all(one.training_s > 0 and one.evaluation_s > 0 for one in all_epochs)
    assert {one.stack_size for one in all_epochs} == {1}


def test_dropped_trainings_begin_anew(digits, tmp_path):
    task = TASKS[2]
    population = population_with(Schedule(), task, digits, tmp_path / "schedules.json")
    first = trained_to(population, task, (1,))
    population.drop(1)
    population.drop("never seen")
    assert 1 not in population
    assert len(population) == 3
    (again,) = population.train(segments_of(task, 1, [1])).values()
    assert again[0].epoch == 1
    assert worst_difference([again[0].loss], [first[1][0].loss]) < ROUNDING


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (Segment(0, Member(9), 2), "training 0 began with another seed or hyperparameters"),
        (Segment(0, TASKS[2].members[0], 1), "training 0 cannot be trained to epoch 1"),
        (Segment(7, Member(7), EPOCHS + 1), f"training 7 cannot be trained to epoch {EPOCHS + 1}"),
        (Segment(7, Member(7, Hyperparameters(beta1=1.0)), 1), "beta1 = 1.0 is not possible"),
    ],
)
def test_impossible_segments_are_refused(segment, message, digits, tmp_path):
    task = TASKS[2]
    population = population_with(Schedule(), task, digits, tmp_path / "schedules.json")
    population.train(segments_of(task, 1, [0]))
    with pytest.raises(UsageError, match=message):
        population.train([segment])
    twice = segments_of(task, 2, [0, 0])
    with pytest.raises(UsageError, match="more than one segment"):
        population.train(twice)
    assert population.epoch(0) == 1


def test_what_cannot_be_stacked_is_an_obstacle(digits):
    with pytest.raises(NotStackableError, match="changes training images at random"):
        Population(task_of("SimpleCNN", protocol="xu2023"), digits)


def test_a_batch_that_the_network_cannot_take_is_the_engines_error(tmp_path):
    images = made_up_images((1, 8, 8), train=33)
    task = task_of("SimpleCNN", {"conv_layers": 4, "pooling": "while-possible"}, 2)
    population = population_with(Schedule(), task, images, tmp_path / "schedules.json")
    with pytest.raises(TrainingError, match=r"batch of shape"):
        population.train(segments_of(task, 1))
    assert len(population) == 0
