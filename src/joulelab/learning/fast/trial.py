"""Trials that find the fastest schedule on the real images."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Sequence

import torch

from joulelab.learning.engine import TrainingTask
from joulelab.learning.fast.group_training import Workers
from joulelab.learning.fast.schedule import Schedule
from joulelab.learning.fast.stack_training import StackTraining, weights_of
from joulelab.learning.fast.stacking import StackedNetwork
from joulelab.learning.placement import PlacedImages, synchronize
from joulelab.learning.training_loop import is_out_of_memory

log = logging.getLogger("joulelab")

STEPS = 3
"""Minimum number of timed optimiser steps of a trial, after two untimed ones, ..."""

MOST_STEPS = 20
"""... and maximum; in between, as many as take ..."""

TRIAL_S = 0.3
"""... this long."""

TRIALS = 2
"""How often each candidate is timed."""

HOPELESS = 4.0
"""A candidate slower than the best by this factor is dropped."""

LONG_STEP_S = 0.02
"""On the CPU a stack saves call overhead, about 2 ms per step: for longer steps it is not tried."""


class Trial:
    """Times candidates.

    Args:
        network: the layers.
        task: what is trained.
        placed: images on the device.
    """

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
                    stacks = candidate.stack_size(members, threads) > 1
                    if stacks and self._in_vain(best / members):
                        continue
                    try:
                        seconds = self._seconds(candidate, members, best)
                    except (RuntimeError, MemoryError) as error:
                        if not is_out_of_memory(error):
                            raise
                        continue
                    log.debug("%.4f s a step: %s", seconds, candidate)
                    times[candidate] = min(seconds, times.get(candidate, math.inf))
        return min(times, key=lambda candidate: times[candidate]) if times else candidates[-1]

    def _in_vain(self, step_s: float) -> bool:
        """Whether a step of one member is so long that a stack saves nothing."""
        return self._placed.device.type == "cpu" and LONG_STEP_S < step_s < math.inf

    def _seconds(self, schedule: Schedule, members: int, best: float) -> float:
        """Time of a step of all members: one stack per worker, times the number of waves."""
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

            def seconds(steps: int) -> float:
                began_s = time.perf_counter()
                pool.map(lambda stack: stack.train_epoch(steps), stacks)
                synchronize(device)
                return (time.perf_counter() - began_s) * waves / steps

            seconds(1)  # threads start, memory is fetched, steps are captured
            first_s = seconds(1)
            if first_s > HOPELESS * best:
                return first_s
            enough = min(max(STEPS, math.ceil(TRIAL_S * waves / first_s)), MOST_STEPS)
            # Without the last batch of an epoch, which may be smaller and is captured separately.
            return seconds(max(1, min(enough, stacks[0].steps_an_epoch - 1)))


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Temporarily set torch's number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
