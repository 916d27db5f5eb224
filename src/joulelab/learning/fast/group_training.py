"""Training of a group under a schedule: stacks in sequence or in worker threads.

torch releases the GIL while it computes, so threads work as well as processes, and share the
images. Each sets its own number of torch threads to 1: two trainings on one core each are faster
than one training on two cores, which waits for the slower half of every layer.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import torch
from torch import Tensor

from joulelab.learning.engine import Member, Progress, TrainingResult, TrainingTask
from joulelab.learning.fast.schedule import Schedule
from joulelab.learning.fast.stack_training import StackTraining
from joulelab.learning.fast.stacking import StackedNetwork
from joulelab.learning.placement import PlacedImages, synchronize
from joulelab.learning.training_loop import training_result

NAME = "fast"
"""Type of the engine's progress callback."""

OnStep = Callable[[Tensor], None] | None

T = TypeVar("T")
R = TypeVar("R")


def train_group(
    network: StackedNetwork,
    task: TrainingTask,
    placed: PlacedImages,
    schedule: Schedule,
    progress: Progress | None = None,
) -> list[TrainingResult]:
    """Train a group, from the first weight to the last accuracy.

    Args:
        network: the layers.
        task: what is trained.
        placed: images on the device.
        schedule: how.
        progress: called after each epoch completed by all members.

    Raises:
        RuntimeError, MemoryError: out of memory.
    """
    members = task.members
    arithmetic = schedule.arithmetic(task.precision, placed.device)
    sizes = {name: math.prod(shape) for name, shape in network.shapes}
    epochs = _EpochsOfAll(len(members), task.epochs, progress)
    plan = Plan.of(schedule, len(members), placed)

    def train_stack(of_stack: Sequence[Member], on_step: OnStep) -> list[TrainingResult]:
        stack = StackTraining(network, task.with_members(of_stack), placed, arithmetic)
        losses: list[Tensor] = []
        for _ in range(task.epochs):
            left = None if task.max_steps is None else task.max_steps - stack.steps
            losses.append(stack.train_epoch(left, on_step))
            epochs.count(len(of_stack))
            if stack.steps == task.max_steps:
                break
        scores = stack.scores().tolist()
        # Only now does the host read a number: until here it queued work.
        by_member = torch.stack(losses).T.tolist()
        return [
            training_result(
                member.seed,
                own_scores,
                own_losses,
                steps=stack.steps,
                parameters=sum(sizes[name] for name in network.trained),
                placement=str(placed.placement),
                engine=NAME,
                precision=task.precision,
                extra={
                    "stack_size": plan.size,
                    "workers": plan.workers,
                    "wide_convolutions": int(schedule.wide_convolutions),
                },
                parameters_total=sum(sizes.values()),
            )
            for member, own_scores, own_losses in zip(of_stack, scores, by_member, strict=True)
        ]

    results = plan.run(plan.stacks(members), train_stack)
    synchronize(placed.device)
    return [result for of_stack in results for result in of_stack]


@dataclass(frozen=True)
class Plan:
    """Stacks of some members on this machine, and who trains them.

    Attributes:
        size: members of a stack; the last stack may be smaller.
        workers: stacks trained at the same time.
    """

    size: int
    workers: int

    @classmethod
    def of(cls, schedule: Schedule, members: int, placed: PlacedImages) -> Plan:
        """The plan of a schedule for a number of members."""
        threads = torch.get_num_threads() if placed.device.type == "cpu" else 1
        return cls(schedule.stack_size(members, threads), schedule.workers(members, threads))

    def stacks(self, members: Sequence[T]) -> list[Sequence[T]]:
        """The members of each stack, in order."""
        return [members[start : start + self.size] for start in range(0, len(members), self.size)]

    def run(self, stacks: Sequence[T], train: Callable[[T, OnStep], R]) -> list[R]:
        """Train the stacks.

        Args:
            stacks: whatever `train` takes.
            train: trains one stack; its second argument is for `StackTraining.train_epoch`.

        Returns:
            What `train` returned, in order.
        """
        pool = Workers(self.workers)
        # A worker must check whether to stop; the main thread is interrupted directly.
        on_step = None if pool.count == 1 else lambda _: pool.check()
        with pool:
            return pool.map(lambda stack: train(stack, on_step), stacks)


class _EpochsOfAll:
    """Reports an epoch of a group once all members have completed it, in any thread."""

    def __init__(self, members: int, epochs: int, progress: Progress | None) -> None:
        self._members = members
        self._epochs = epochs
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def count(self, members: int) -> None:
        """Count an epoch of some members."""
        with self._lock:
            before = self._done // self._members
            self._done += members
            after = self._done // self._members
            if self._progress is not None and after > before:
                self._progress(after, self._epochs)


class _StoppedError(Exception):
    """Another worker has failed, or the user has interrupted."""


class Workers:
    """Worker threads of one core each; with one worker, the calling thread with all cores.

    Args:
        count: number of workers.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        if self.count > 1:
            self._pool = ThreadPoolExecutor(
                self.count, "joulelab-worker", lambda: torch.set_num_threads(1)
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """The results of a function for each item, in order.

        Raises:
            BaseException: the exception of the first failed call; the others are stopped.
        """
        if self._pool is None:
            return [function(item) for item in items]
        futures = [self._pool.submit(function, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = [future.exception() for future in done if future.exception() is not None]
        except BaseException:
            self._stop.set()
            raise
        if failed:
            self._stop.set()
            wait(futures)
            assert failed[0] is not None
            raise failed[0]
        return [future.result() for future in futures]

    def check(self) -> None:
        """Called by the function between steps: stops if another call has failed."""
        if self._stop.is_set():
            raise _StoppedError
