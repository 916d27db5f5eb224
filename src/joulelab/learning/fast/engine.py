"""The fast engine; the package's docstring draws its parts.

Where a network has a layer that cannot be stacked, the reference engine trains it, and the log says
why. Where the members of a stack do not fit into the device's memory together, half of them are
tried, and so on; that is said once and remembered.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import torch
from torch import Tensor

from joulelab.errors import UsageError
from joulelab.learning.engine import (
    Engine,
    Member,
    Precision,
    Progress,
    TrainingResult,
    TrainingTask,
)
from joulelab.learning.fast.processor import has_bf16
from joulelab.learning.fast.schedule import (
    Schedule,
    ScheduleFile,
    arithmetics,
    arrangements,
    circumstances,
)
from joulelab.learning.fast.stack_training import StackTraining, weights_of
from joulelab.learning.fast.stacking import NotStackableError, StackedNetwork, stack_layers
from joulelab.learning.fast.workers import Workers
from joulelab.learning.hyperparameters import check_hyperparameters
from joulelab.learning.images import Images
from joulelab.learning.placement import PlacedImages, Placement, place_images
from joulelab.learning.reference import (
    ReferenceEngine,
    checked_device,
    does_not_fit,
    is_out_of_memory,
    until_divergence,
)

log = logging.getLogger("joulelab")

TRIAL_STEPS = 3
"""Optimiser steps of a trial that are timed, after one that is not; the fastest counts."""

TRIALS = 2
"""How often each candidate is timed."""

HOPELESS = 4.0
"""A candidate that is slower than the best by so much is not timed any further."""

AMPERE = (8, 0)
"""The first compute capability with TF32 and bfloat16."""


class FastEngine(Engine):
    """Trains the members of a task together.

    The last data set stays on the device between calls.

    Args:
        placement: where images lie; where ``None``, what fits (see `place_images`).
        schedules: where schedules are remembered; where ``None``, in the user's file.
    """

    name = "fast"

    def __init__(
        self, placement: Placement | None = None, schedules: ScheduleFile | None = None
    ) -> None:
        self._placement = placement
        self._schedules = ScheduleFile.of_user() if schedules is None else schedules
        self._known: dict[tuple[str, int], Schedule] = {}
        self._placed: PlacedImages | None = None
        self._reference = ReferenceEngine(placement)

    def obstacle(self, task: TrainingTask, images: Images, device: str) -> str | None:
        """The layer that cannot be stacked, in words; ``None`` where all can.

        Raises:
            UsageError: a precision that the device does not have.
        """
        _check_precision(task.precision, checked_device(device))
        try:
            _layers(task, images)
        except NotStackableError as error:
            return error.message
        return None

    def split(self, task: TrainingTask, images: Images, device: str) -> Sequence[TrainingTask]:
        """The whole task; what the reference engine has to train, member by member."""
        if self.obstacle(task, images, device) is not None:
            return self._reference.split(task, images, device)
        return [task]

    def prepare(self, task: TrainingTask, images: Images, device: str) -> bool:
        """Find the fastest schedule, unless it is known for this machine."""
        on = checked_device(device)
        if self.obstacle(task, images, device) is not None:
            return False
        network = _layers(task, images)
        key = self._key(network, task, images, on)
        if self._recalled(key, len(task.members)) is not None:
            return False
        self._remember(key, len(task.members), self._choose(network, task, images, on))
        return True

    def train(
        self,
        task: TrainingTask,
        images: Images,
        device: str,
        progress: Progress | None = None,
    ) -> Sequence[TrainingResult]:
        """Train and evaluate every member of the task; see `Engine.train`.

        Raises:
            TrainingError: the network cannot be built for these images, fails on a batch, or
                does not fit into the memory of the device.
            UsageError: hyperparameters that Adam is not defined for, an unknown protocol or
                network, a precision that the device does not have, or a device that is not there.
        """
        for member in task.members:
            check_hyperparameters(asdict(member.hyperparameters))
        obstacle = self.obstacle(task, images, device)
        if obstacle is not None:
            log.warning(
                "the fast engine cannot train %s: %s; the reference engine does",
                task.network,
                obstacle,
            )
            return self._reference.train(task, images, device, progress)
        self.prepare(task, images, device)
        on = checked_device(device)
        network = _layers(task, images)
        placed = self._on_device(images, on)
        key = self._key(network, task, images, on)
        while True:
            schedule = self._recalled(key, len(task.members)) or Schedule()
            try:
                with _arithmetic_of(task.precision, on):
                    return _Training(network, task, placed, schedule, progress).run()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                halved = schedule.halved(len(task.members), torch.get_num_threads())
                if halved is None:
                    raise does_not_fit(task, device) from error
            if on.type == "cuda":
                torch.cuda.empty_cache()
            self._say_halved(task, device, halved)
            self._remember(key, len(task.members), halved)

    def _choose(
        self, network: StackedNetwork, task: TrainingTask, images: Images, device: torch.device
    ) -> Schedule:
        placed = self._on_device(images, device)
        threads = torch.get_num_threads()
        trial = _Trial(network, task, placed)
        ways = arithmetics(network, task.precision, device)
        chosen = ways[0]
        with _arithmetic_of(task.precision, device):
            if len(ways) > 1:
                chosen = trial.fastest(ways, members=1, threads=1)
            choices = [
                replace(chosen, arrangement=arrangement)
                for arrangement in arrangements(len(task.members), threads, device)
            ]
            chosen = trial.fastest(choices, members=len(task.members), threads=threads)
        log.info("%s x %d on %s: %s", task.network, len(task.members), device, chosen)
        return chosen

    def _key(
        self, network: StackedNetwork, task: TrainingTask, images: Images, device: torch.device
    ) -> str:
        shape = (images.shape.channels, images.shape.height, images.shape.width)
        return circumstances(network, shape, task.batch_size, task.precision, device)

    def _recalled(self, key: str, members: int) -> Schedule | None:
        if (key, members) not in self._known:
            remembered = self._schedules.get(key, members)
            if remembered is None:
                return None
            self._known[key, members] = remembered
        return self._known[key, members]

    def _remember(self, key: str, members: int, schedule: Schedule) -> None:
        self._known[key, members] = schedule
        self._schedules.put(key, members, schedule)

    def _say_halved(self, task: TrainingTask, device: str, schedule: Schedule) -> None:
        log.warning(
            "%d trainings of %s do not fit into the memory of %s together: from now on %d are "
            "trained at a time",
            len(task.members),
            task.network,
            device,
            schedule.largest_stack,
        )

    def _on_device(self, images: Images, device: torch.device) -> PlacedImages:
        held = self._placed
        if held is None or held.images is not images or held.device != device:
            held = self._placed = None  # free the memory before looking how much there is
            self._placed = place_images(images, device, self._placement)
        assert self._placed is not None
        return self._placed


class _Training:
    """One group, from the first weight to the last accuracy."""

    def __init__(
        self,
        network: StackedNetwork,
        task: TrainingTask,
        placed: PlacedImages,
        schedule: Schedule,
        progress: Progress | None = None,
    ) -> None:
        self._network = network
        self._task = task
        self._placed = placed
        self._arithmetic = schedule.arithmetic(task.precision, placed.device)
        threads = torch.get_num_threads() if placed.device.type == "cpu" else 1
        self._stack_size = schedule.stack_size(len(task.members), threads)
        self._workers = schedule.workers(len(task.members), threads)
        self._progress = progress
        self._epochs_done = 0
        self._lock = threading.Lock()
        self._pool = Workers(self._workers)

    def run(self) -> list[TrainingResult]:
        """Train every stack.

        Raises:
            RuntimeError, MemoryError: out of memory.
        """
        members = self._task.members
        stacks = [
            members[start : start + self._stack_size]
            for start in range(0, len(members), self._stack_size)
        ]
        with self._pool:
            results = self._pool.map(self._train, stacks)
        synchronize(self._placed.device)
        return [result for of_stack in results for result in of_stack]

    def _train(self, members: Sequence[Member]) -> list[TrainingResult]:
        task = self._task
        stack = StackTraining(
            self._network, task.with_members(members), self._placed, self._arithmetic
        )
        losses: list[Tensor] = []
        for _ in range(task.epochs):
            left = None if task.max_steps is None else task.max_steps - stack.steps
            losses.append(stack.train_epoch(left, lambda _: self._pool.check()))
            self._report(len(members))
            if stack.steps == task.max_steps:
                break
        accuracies = stack.accuracies().tolist()
        # The first time that the host asks for a number: until here it only queued work.
        by_member = torch.stack(losses).T.tolist()
        parameters = sum(stack.state[name][0].numel() for name in self._network.trained)
        return [
            self._result(member.seed, accuracy, until_divergence(own), stack.steps, parameters)
            for member, accuracy, own in zip(members, accuracies, by_member, strict=True)
        ]

    def _result(
        self, seed: int, accuracy: float, losses: tuple[float, ...], steps: int, parameters: int
    ) -> TrainingResult:
        return TrainingResult(
            seed=seed,
            accuracy=accuracy,
            train_losses=losses,
            diverged=any(math.isnan(loss) for loss in losses),
            steps=steps,
            parameters=parameters,
            placement=str(self._placed.placement),
            engine=FastEngine.name,
            precision=self._task.precision,
            extra={"stack_size": self._stack_size, "workers": self._workers},
        )

    def _report(self, members: int) -> None:
        """Count an epoch of so many members; epochs of the group are those that all have done."""
        with self._lock:
            before = self._epochs_done // len(self._task.members)
            self._epochs_done += members
            after = self._epochs_done // len(self._task.members)
            if self._progress is not None and after > before:
                self._progress(after, self._task.epochs)


class _Trial:
    """Times candidates on the real images."""

    def __init__(self, network: StackedNetwork, task: TrainingTask, placed: PlacedImages) -> None:
        self._network = network
        self._task = task
        self._placed = placed
        self._weights = weights_of(task, task.members[0], placed)

    def fastest(self, candidates: Sequence[Schedule], members: int, threads: int) -> Schedule:
        """The candidate with the shortest step, among those that fit into memory."""
        if len(candidates) == 1:
            return candidates[0]
        times: dict[Schedule, float] = {}
        with _threads(threads):
            for _ in range(TRIALS):
                for candidate in candidates:
                    best = min(times.values(), default=math.inf)
                    if times.get(candidate, 0.0) > HOPELESS * best:
                        continue
                    with contextlib.suppress(torch.OutOfMemoryError, MemoryError):
                        seconds = self._seconds(candidate, members, best)
                        log.debug("%.4f s a step: %s", seconds, candidate)
                        times[candidate] = min(seconds, times.get(candidate, math.inf))
        return min(times, key=lambda candidate: times[candidate]) if times else candidates[-1]

    def _seconds(self, schedule: Schedule, members: int, best: float) -> float:
        """Time of a step of all members: one stack for each worker, times the waves it takes."""
        device = self._placed.device
        threads = torch.get_num_threads() if device.type == "cpu" else 1
        size, workers = schedule.stack_size(members, threads), schedule.workers(members, threads)
        waves = math.ceil(math.ceil(members / size) / workers)
        arithmetic = schedule.arithmetic(self._task.precision, device)
        task = self._task.with_members([self._task.members[0]] * size)
        stacks = [
            StackTraining(self._network, task, self._placed, arithmetic, self._weights)
            for _ in range(workers)
        ]
        with Workers(workers) as pool:

            def step() -> float:
                began_s = time.perf_counter()
                pool.map(lambda stack: stack.train_epoch(1), stacks)
                synchronize(device)
                return (time.perf_counter() - began_s) * waves

            step()  # threads start, memory is fetched, steps are captured
            least = step()
            for _ in range(TRIAL_STEPS - 1):
                if least < HOPELESS * best:
                    least = min(least, step())
            return least


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _arithmetic_of(precision: str, device: torch.device) -> Iterator[None]:
    """Let CUDA's libraries round as the precision says, and choose their algorithms by trying."""
    if device.type != "cuda":
        yield
        return
    rounding = "tf32" if precision == Precision.TF32 else "ieee"
    products = torch.backends.cuda.matmul
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = products.fp32_precision, convolutions.fp32_precision, torch.backends.cudnn.benchmark
    products.fp32_precision = convolutions.fp32_precision = rounding
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        products.fp32_precision, convolutions.fp32_precision = before[:2]
        torch.backends.cudnn.benchmark = before[2]


def _layers(task: TrainingTask, images: Images) -> StackedNetwork:
    return stack_layers(task.network, images.shape, images.classes, dict(task.network_options))


def _check_precision(precision: str, device: torch.device) -> None:
    """Raise a UsageError for a precision that is unknown, or that the device does not have."""
    if precision not in {Precision.FP32, Precision.TF32, Precision.BF16}:
        raise UsageError(f"precision = {precision!r} is not possible", "choose fp32, tf32 or bf16")
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if precision != Precision.FP32 and capability < AMPERE:
            raise UsageError(
                f"{torch.cuda.get_device_name(device)} has no {precision} arithmetic",
                'set precision = "fp32"',
            )
    elif precision == Precision.TF32:
        raise UsageError("tf32 is a mode of NVIDIA GPUs", 'set precision = "fp32" or "bf16"')
    elif precision == Precision.BF16 and not has_bf16():
        raise UsageError("this processor has no bf16 arithmetic", 'set precision = "fp32"')


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
