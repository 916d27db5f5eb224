"""The training of a group under a schedule: its stacks one after the other, or in workers."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from joulelab.learning.engine import Member, Progress, TrainingResult, TrainingTask
from joulelab.learning.fast.schedule import Schedule
from joulelab.learning.fast.stack_training import StackTraining
from joulelab.learning.fast.stacking import StackedNetwork
from joulelab.learning.fast.workers import Workers
from joulelab.learning.placement import PlacedImages, synchronize
from joulelab.learning.reference import until_divergence

NAME = "fast"
"""Of the engine."""


class GroupTraining:
    """One group, from the first weight to the last accuracy.

    Args:
        network: the layers.
        task: what is trained.
        placed: images on the device.
        schedule: how.
        progress: called after every epoch that all members have done.
    """

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
        self._wide_convolutions = schedule.wide_convolutions
        self._progress = progress
        self._epochs_done = 0
        self._lock = threading.Lock()
        self._pool = Workers(self._workers)
        # A worker has to look whether it should stop; the main thread is interrupted by itself.
        self._on_step = None if self._workers == 1 else lambda _: self._pool.check()

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
            losses.append(stack.train_epoch(left, self._on_step))
            self._report(len(members))
            if stack.steps == task.max_steps:
                break
        scores = stack.scores().tolist()
        # The first time that the host asks for a number: until here it only queued work.
        by_member = torch.stack(losses).T.tolist()
        return [
            self._result(member.seed, own_scores, until_divergence(own), stack.steps)
            for member, own_scores, own in zip(members, scores, by_member, strict=True)
        ]

    def _result(
        self, seed: int, scores: Sequence[float], losses: tuple[float, ...], steps: int
    ) -> TrainingResult:
        accuracy, f1 = scores
        sizes = {name: math.prod(shape) for name, shape in self._network.shapes}
        return TrainingResult(
            seed=seed,
            accuracy=accuracy,
            train_losses=losses,
            diverged=any(math.isnan(loss) for loss in losses),
            steps=steps,
            parameters=sum(sizes[name] for name in self._network.trained),
            placement=str(self._placed.placement),
            engine=NAME,
            precision=self._task.precision,
            extra={
                "stack_size": self._stack_size,
                "workers": self._workers,
                "wide_convolutions": int(self._wide_convolutions),
            },
            f1=f1,
            parameters_total=sum(sizes.values()),
        )

    def _report(self, members: int) -> None:
        """Count an epoch of so many members; epochs of the group are those that all have done."""
        with self._lock:
            before = self._epochs_done // len(self._task.members)
            self._epochs_done += members
            after = self._epochs_done // len(self._task.members)
            if self._progress is not None and after > before:
                self._progress(after, self._task.epochs)
