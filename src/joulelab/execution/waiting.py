"""The groups that are not given out, in the order in which they may be, and how long that takes.

A plan on n workers takes what list scheduling takes: whoever is free gets the next group that may
be given out. The groups of a configuration are one after the other::

    worker 1   a/1  b/1  c/1  a/3 ...
    worker 2   d/1  a/2  b/2 ...
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Sequence, Set

from joulelab.execution.engine import engine_of
from joulelab.study.plan import Plan
from joulelab.study.prediction import Prediction
from joulelab.study.spec import ExecutionSpec

Key = tuple[str, str]
"""Of a configuration: experiment and name."""


def workers_of(on: str, settings: ExecutionSpec | None) -> int:
    """Number of workers of an engine.

    Args:
        on: the engine: ``"local:2"``, ``"slurm"``.
        settings: of the study.

    Raises:
        UnknownNameError: there is no such engine.
        UsageError: what follows its name is not valid.
    """
    engine, address = engine_of(on)
    return engine.most_workers(address, settings or ExecutionSpec())


def at_once(on: str, settings: ExecutionSpec | None, devices: Sequence[str]) -> int:
    """Number of workers whose runs go on together.

    Args:
        on: the engine.
        settings: of the study.
        devices: whose sensors a run has for itself.
    """
    engine, address = engine_of(on)
    return engine.at_once(address, settings or ExecutionSpec(), devices)


def makespan_s(plan: Plan, prediction: Prediction, pending: Collection[str], workers: int) -> float:
    """Predicted time of what is left on some workers, in seconds; without their set-up.

    Args:
        plan: of the study.
        prediction: of its runs.
        pending: ids of the runs that are left.
        workers: their number.
    """
    left = {
        number: [run for run in group.runs if run.run_id in pending]
        for number, group in enumerate(plan.groups)
    }
    waiting = Waiting(plan, [number for number, runs in left.items() if runs])
    busy: list[tuple[float, int]] = []
    now_s = 0.0
    while len(waiting) or busy:
        while len(busy) < workers:
            block = waiting.first_block(lambda _: True)
            if block is None:
                break
            number = waiting.take(block, set())
            took_s = prediction.total(left[number]).duration_s
            heapq.heappush(busy, (now_s + took_s, number))
        now_s, number = heapq.heappop(busy)
        waiting.free(number)
    return now_s


class Waiting:
    """The groups that are not given out, and which may be: one of each configuration at a time.

    Args:
        plan: of the study.
        numbers: of the groups, in order.
    """

    def __init__(self, plan: Plan, numbers: Sequence[int]) -> None:
        self._groups = plan.groups
        self._queues: dict[Key, deque[int]] = {}
        self._free: dict[int, dict[Key, int]] = {}
        self._number = len(numbers)
        for number in numbers:
            self._queues.setdefault(self._key(number), deque()).append(number)
        for key in self._queues:
            self._offer(key)

    @property
    def numbers(self) -> list[int]:
        """The groups that are not given out."""
        return [number for queue in self._queues.values() for number in queue]

    def __len__(self) -> int:
        return self._number

    def first_block(self, allowed: Callable[[int], bool]) -> int | None:
        """The first block of which a group may be given out.

        Args:
            allowed: whether those of a block may be.
        """
        return min(filter(allowed, self._free), default=None)

    def take(self, block: int, known: Set[Key]) -> int:
        """Take a group of a block, of a known configuration if there is one.

        Args:
            block: of which one may be given out.
            known: configurations.
        """
        free = self._free[block]
        key = next(iter(known & free.keys()), None) or next(iter(free))
        number = free.pop(key)
        if not free:
            del self._free[block]
        self._queues[key].popleft()
        self._number -= 1
        return number

    def free(self, number: int) -> None:
        """A group is done: the next of its configuration may be given out."""
        self._offer(self._key(number))

    def put_back(self, number: int) -> None:
        """A group was not done: it may be given out again."""
        key = self._key(number)
        self._queues[key].appendleft(number)
        self._number += 1
        self._offer(key)

    def _offer(self, key: Key) -> None:
        if queue := self._queues[key]:
            self._free.setdefault(self._groups[queue[0]].runs[0].block, {})[key] = queue[0]

    def _key(self, number: int) -> Key:
        return self._groups[number].configuration.key
