"""Trainings of one network that stay in memory and are continued, whichever are asked for.

::

    population.train([Segment("a", member, to_epoch=1), ...])       all begin, stacked together
    population.train([Segment("a", member, to_epoch=9), ...])       some go on
    population.drop("b")                                            others are forgotten

    members by key ─ of one age and aim ─► stacks ─ epoch by epoch: train, evaluate ─► members

Between two calls each training is a `MemberState`: weights, moments of the optimiser, order of its
images, steps. A call copies the states into stacks and replaces them when all have been trained: an
exception or an interruption leaves every training as it was before the call.

Results are those of the fast engine: pieces of any length give bit for bit the training in one
piece as long as a member has the same place in stacks of the same size, and differ by rounding
otherwise. Evaluation leaves the training unchanged, also in train mode, so the last accuracy of a
whole training is the engine's.

Only the fast engine has this interface: a network that cannot be stacked raises
`NotStackableError`, and has to be trained from the start by the reference engine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby

import torch

from joulelab.errors import UsageError
from joulelab.learning.engine import Hyperparameters, Member, TrainingTask, check_hyperparameters
from joulelab.learning.fast.group_training import OnStep, Plan
from joulelab.learning.fast.schedule import Schedule, ScheduleFile
from joulelab.learning.fast.scheduling import Schedules, stacked
from joulelab.learning.fast.stack_training import MemberState, StackTraining
from joulelab.learning.images import Images, Split
from joulelab.learning.placement import Shelf, place_split, synchronize
from joulelab.learning.training_loop import checked_device, until_divergence

MOST_ON_CPU, MOST_ON_GPU = 32, 512
"""Largest number of members for which a schedule is tried; more are trained one such number after
the other. On the CPU a larger stack saves nothing more."""


@dataclass(frozen=True)
class Segment:
    """Epochs to train.

    Attributes:
        key: of the training.
        member: its seed and hyperparameters; always the same for a key.
        to_epoch: number of the last epoch of this segment.
    """

    key: Hashable
    member: Member
    to_epoch: int


@dataclass(frozen=True)
class Epoch:
    """One epoch of one member.

    Attributes:
        epoch: its number, from 1.
        accuracy: share of the test images that are classified correctly after it, 0 to 1.
        f1: macro F1 after it, 0 to 1.
        loss: mean cross entropy over the epoch, in nats; NaN once the training diverged.
        training_s: wall-clock seconds of training; the members that share the machine share its
            time, so seconds of training and of evaluation of all members add up to a call's.
        evaluation_s: the same of the evaluation after it.
        stack_size: members of its stack.
    """

    epoch: int
    accuracy: float
    f1: float
    loss: float
    training_s: float
    evaluation_s: float
    stack_size: int


@dataclass(frozen=True)
class _Training:
    """A training between two calls."""

    state: MemberState
    epoch: int
    diverged: bool


class Population:
    """Trainings of one network, continued for some epochs at a time.

    Args:
        task: network, options, protocol, batch size, precision, optimiser, schedule of the learning
            rate, and epochs of a whole training; its members and ``max_steps`` are not used.
        images: the data set; scores are of its test images, see `Images.validation_split`.
        device: ``"cpu"`` or ``"cuda:<index>"``.
        shelf: holds the images; a new one where ``None``.
        schedules: store of schedules; ``None`` for the user's file.

    Raises:
        NotStackableError: the network has a layer that cannot be stacked.
        TrainingError: the network cannot be built for these images.
        UsageError: a device or precision that does not exist here.
    """

    def __init__(
        self,
        task: TrainingTask,
        images: Images,
        device: str = "cpu",
        *,
        shelf: Shelf | None = None,
        schedules: ScheduleFile | None = None,
    ) -> None:
        self.task = replace(task, members=(), max_steps=None)
        self._images = images
        self._device = checked_device(device)
        self._network = stacked(task, images, self._device)
        self._shelf = shelf or Shelf()
        self._schedules = Schedules(self._shelf, schedules)
        self._trainings: dict[Hashable, _Training] = {}
        # A GPU's captured steps are kept for the next call, if it has the same members; not longer,
        # since each capture has memory of its own, as much as its stack needs to train.
        self._keeps_stacks = self._device.type == "cuda"
        self._stacks: dict[tuple[Hashable, ...], StackTraining] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._trainings

    def __len__(self) -> int:
        return len(self._trainings)

    def epoch(self, key: Hashable) -> int:
        """Epochs that a training has had; 0 for an unknown key."""
        return self._trainings[key].epoch if key in self._trainings else 0

    def drop(self, key: Hashable) -> None:
        """Forget a training and free its memory; an unknown key has no effect."""
        self._trainings.pop(key, None)
        self._stacks = {keys: stack for keys, stack in self._stacks.items() if key not in keys}

    def size(self, key: Hashable) -> int:
        """Bytes of the weights and moments of a training; 0 for an unknown key."""
        if key not in self._trainings:
            return 0
        state = self._trainings[key].state
        tensors = [*state.weights.values(), *(one for m in state.moments for one in m.values())]
        return sum(one.numel() * one.element_size() for one in tensors)

    def prepare(self, members: int) -> bool:
        """Find the fastest schedule for a number of members, unless known for this machine.

        `train` does it where needed; called before, it can be measured separately.

        Returns:
            Whether anything was done.
        """
        return self._schedules.prepare(self._tried(members), self._images, self._device)

    def prepare_for(self, segments: Sequence[Segment]) -> bool:
        """The same for all stacks that `train` makes of some segments."""
        done = [self.prepare(len(group)) for group in self._groups(segments)]
        return any(done)

    def train(self, segments: Sequence[Segment]) -> dict[Hashable, tuple[Epoch, ...]]:
        """Begin or continue trainings.

        Members of the same age that are trained to the same epoch are stacked.

        Args:
            segments: one for each key.

        Returns:
            The epochs of each segment, by key.

        Raises:
            TrainingError: the network fails on a batch, or one member does not fit into memory.
            UsageError: hyperparameters that no optimiser takes, a key with two segments or with
                another member than before, or an epoch that is past or after the last.
        """
        self._check(segments)
        asked = {segment.key for segment in segments}
        self._stacks = {keys: one for keys, one in self._stacks.items() if asked.issuperset(keys)}
        trained: dict[Hashable, _Training] = {}
        curves: dict[Hashable, tuple[Epoch, ...]] = {}
        for group in self._groups(segments):
            alike = _equals_together(group)
            self.prepare(len(alike))
            most = len(self._tried(len(alike)).members)
            for start in range(0, len(alike), most):
                some = alike[start : start + most]
                for segment, (state, epochs) in zip(some, self._train(some), strict=True):
                    before = self._trainings.get(segment.key)
                    lost = before is not None and before.diverged
                    losses = until_divergence([math.nan] * lost + [one.loss for one in epochs])
                    trained[segment.key] = _Training(
                        state, epochs[-1].epoch, math.isnan(losses[-1])
                    )
                    curves[segment.key] = tuple(
                        replace(one, loss=loss)
                        for one, loss in zip(epochs, losses[lost:], strict=True)
                    )
        self._trainings.update(trained)
        self._stacks = {
            keys: stack
            for keys, stack in self._stacks.items()
            if all(self._trainings[key].state.steps == stack.steps for key in keys)
        }
        return {segment.key: curves[segment.key] for segment in segments}

    def scores(self, keys: Sequence[Hashable], split: Split) -> list[tuple[float, float]]:
        """Accuracy and macro F1 of trainings on other images; the trainings are unchanged.

        Args:
            keys: of trainings that have begun.
            split: images to evaluate.
        """
        placed = self._shelf.place(self._images, self._device)
        other = place_split(split, self._device, placed.placement)
        self.prepare(len(keys))

        def run(schedule: Schedule) -> list[tuple[float, float]]:
            arithmetic = schedule.arithmetic(self.task.precision, self._device)

            def evaluate(key: Hashable, _: OnStep) -> tuple[float, float]:
                states = [self._trainings[key].state]
                stack = StackTraining(
                    self._network, self.task, placed, arithmetic, continued=states
                )
                accuracy, f1 = stack.scores(other)[0].tolist()
                return accuracy, f1

            plan = Plan.of(schedule, len(keys), placed)
            return replace(plan, size=1).run(keys, evaluate)

        return self._schedules.run(self._tried(len(keys)), self._images, self._device, run)

    def _groups(self, segments: Sequence[Segment]) -> list[list[Segment]]:
        """Segments of one age that are trained to the same epoch."""

        def age_and_aim(segment: Segment) -> tuple[int, int]:
            return self.epoch(segment.key), segment.to_epoch

        ordered = sorted(segments, key=age_and_aim)
        return [list(group) for _, group in groupby(ordered, key=age_and_aim)]

    def _train(self, segments: Sequence[Segment]) -> list[_Trained]:
        """Train segments of one age and aim under one schedule; their trainings, in order."""
        placed = self._shelf.place(self._images, self._device)
        epochs = segments[0].to_epoch - self.epoch(segments[0].key)

        def run(schedule: Schedule) -> list[_Trained]:
            arithmetic = schedule.arithmetic(self.task.precision, self._device)
            plan = Plan.of(schedule, len(segments), placed)
            stacks = plan.stacks(segments)

            def train_stack(of_stack: Sequence[Segment], on_step: OnStep) -> list[_Trained]:
                keys = tuple(segment.key for segment in of_stack)
                stack = self._stacks.pop(keys, None) or StackTraining(
                    self._network,
                    self.task.with_members([segment.member for segment in of_stack]),
                    placed,
                    arithmetic,
                    continued=self._states(of_stack),
                )
                curves = _curves(stack, len(of_stack), epochs, self._device, on_step)
                if self._keeps_stacks and len(stacks) == 1:
                    self._stacks[keys] = stack
                return list(zip(stack.taken_apart(), curves, strict=True))

            began_s = time.perf_counter()
            try:
                trained = plan.run(stacks, train_stack)
            except BaseException:
                self._stacks.clear()
                raise
            wall_s = time.perf_counter() - began_s
            members = [one for of_stack in trained for one in of_stack]
            busy_s = sum(one.training_s + one.evaluation_s for _, curve in members for one in curve)
            return [(state, _scaled(curve, wall_s / busy_s)) for state, curve in members]

        task = self._tried(len(segments))
        return self._schedules.run(task, self._images, self._device, run)

    def _states(self, segments: Sequence[Segment]) -> list[MemberState] | None:
        """Their states; ``None`` before the first epoch, which all of a stack have in common."""
        if self.epoch(segments[0].key) == 0:
            return None
        return [self._trainings[segment.key].state for segment in segments]

    def _tried(self, members: int) -> TrainingTask:
        """The task whose schedule is used for a number of members: of the next power of two.

        Each number would need a trial of its own otherwise.
        """
        most = MOST_ON_CPU if self._device.type == "cpu" else MOST_ON_GPU
        return self.task.with_members([Member(0)] * min(1 << (members - 1).bit_length(), most))

    def _check(self, segments: Sequence[Segment]) -> None:
        keys = [segment.key for segment in segments]
        for segment in segments:
            check_hyperparameters(asdict(segment.member.hyperparameters))
            known = self._trainings.get(segment.key)
            if keys.count(segment.key) > 1:
                raise UsageError(
                    f"the training {segment.key} has more than one segment", "give one a call"
                )
            if known is not None and known.state.member != segment.member:
                raise UsageError(
                    f"the training {segment.key} began with another seed or hyperparameters",
                    "choose another key, or drop the training first",
                )
            first, last = self.epoch(segment.key) + 1, self.task.epochs
            if not first <= segment.to_epoch <= last:
                raise UsageError(
                    f"the training {segment.key} cannot be trained to epoch {segment.to_epoch}",
                    f"it has had {first - 1} of {last} epochs",
                )


_Trained = tuple[MemberState, list[Epoch]]


def _equals_together(segments: Sequence[Segment]) -> list[Segment]:
    """Members with the same hyperparameters, which are updated together, next to each other."""
    first: dict[Hyperparameters, int] = {}
    for segment in segments:
        first.setdefault(segment.member.hyperparameters, len(first))
    return sorted(segments, key=lambda one: first[one.member.hyperparameters])


def _curves(
    stack: StackTraining, members: int, epochs: int, device: torch.device, on_step: OnStep
) -> list[list[Epoch]]:
    """Train a stack for some epochs, and evaluate it after each: the epochs of each member.

    Seconds are those of the stack, shared equally.
    """
    curves: list[list[Epoch]] = [[] for _ in range(members)]
    for _ in range(epochs):
        began_s = time.perf_counter()
        losses = stack.train_epoch(on_step=on_step)
        synchronize(device)
        trained_s = time.perf_counter()
        scores = stack.scores().tolist()
        evaluated_s = time.perf_counter()
        number = stack.steps // stack.steps_an_epoch
        for curve, loss, (accuracy, f1) in zip(curves, losses.tolist(), scores, strict=True):
            curve.append(
                Epoch(
                    number,
                    accuracy,
                    f1,
                    loss,
                    training_s=(trained_s - began_s) / members,
                    evaluation_s=(evaluated_s - trained_s) / members,
                    stack_size=members,
                )
            )
    return curves


def _scaled(curve: Sequence[Epoch], factor: float) -> list[Epoch]:
    """The same with seconds multiplied: stacks that are trained at the same time share the time."""
    return [
        replace(one, training_s=one.training_s * factor, evaluation_s=one.evaluation_s * factor)
        for one in curve
    ]
