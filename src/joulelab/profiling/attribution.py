"""The energy between two readings of a meter, divided among the stacks seen in that time.

For each channel, E is its energy between two readings, P its idle power, t the time between them::

    E  =  min(E, P t)        the idle part: by time, among stacks that ran or waited
       +  the rest           by processor time, among stacks that ran

Without idle power all of the energy counts as idle, except in the estimate of the processor, which
is processor time and has no idle part. Devices with processors of their own (GPUs), and meters of
the whole machine, are divided by time: the first among the stacks that they worked for.

::

    readings    |-------------------|-------------------|        every 0.1 s
    intervals   |--|---|-|--|---|-|---|--|---|--|--|--|--|--|    kept until all channels passed
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from joulelab.energy.meter import Channel
from joulelab.energy.reading import Status, family
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.profiling.sampler import Interval, Part
from joulelab.profiling.stacks import Node

KEPT = 6000
"""Most intervals that wait for a reading; a meter that is silent for longer misses the first."""
STILL_TICKS = 2.0
"""A slow counter that stands still is expected to move within so many of its ticks."""
SLOW_S = 0.01
PROCESSORS = frozenset({"cpu", "cpus", "core", "dram", "uncore"})
"""Families of domains whose energy above idle follows processor time."""
Step = tuple[float, float, float]
"""Begin and end on the monotonic clock, and joules."""


@dataclass
class _Account:
    """How far one channel is divided.

    Attributes:
        channel: the channel.
        idle_w: its idle power; infinite if all of its energy is divided by time.
        last: time and value of the last reading that has ended a step.
        steps: steps that are read but not divided yet.
        next: number of the first interval that it is not past.
        carried_j: energy of steps in which there was no interval.
    """

    channel: Channel
    idle_w: float
    last: tuple[float, float] | None = None
    steps: deque[Step] = field(default_factory=deque)
    next: int = 0
    carried_j: float = 0.0

    @property
    def is_gpu(self) -> bool:
        """Whether it is of a device that works for the program beside the processor."""
        return family(self.channel.domain) == "gpu"

    def read(self, samples: ChannelSamples) -> None:
        """Add the steps between new readings."""
        for at_s, value in zip(samples.times_s.tolist(), samples.values.tolist(), strict=True):
            if not math.isnan(value) and (self.last is None or at_s > self.last[0]):
                self._step_to(at_s, value, samples.interval_s)

    def _step_to(self, at_s: float, value: float, interval_s: float) -> None:
        if self.last is not None:
            before_s, before = self.last
            if self.channel.kind == "power":
                energy_j = (before + value) / 2 * (at_s - before_s)
            else:
                energy_j = value - before
                # The next step of a slow counter is of all the time since the last one.
                tick_s = max(self.channel.tick_s, interval_s)
                still = energy_j == 0 and self.channel.tick_s > SLOW_S
                if still and at_s - before_s < STILL_TICKS * tick_s:
                    return
            self.steps.append((before_s, at_s, max(0.0, energy_j)))
        self.last = (at_s, value)


class Attribution:
    """Divides the energy of all channels of a window.

    Args:
        channels: in the order of the window's samples.
        idle_w: idle power by domain, in watts.
        root: of the tree of calls; takes what belongs to no stack.

    Attributes:
        phases_j: energy of each channel in each marked phase.
        last: the last interval.
    """

    def __init__(
        self, channels: Sequence[Channel], idle_w: Mapping[str, float], root: Node
    ) -> None:
        self.phases_j: dict[str, list[float]] = {}
        self.last: Interval | None = None
        self._accounts = [_Account(one, _idle_w(one, idle_w)) for one in channels]
        self._root = root
        self._waiting: deque[Interval] = deque()
        self._first = 0

    def add(self, interval: Interval) -> None:
        """Add an interval, which follows the last one."""
        for node, seconds in interval.ran:
            node.time_s += seconds
        for node, seconds in interval.waited:
            node.time_s += seconds
        self._waiting.append(interval)
        self.last = interval
        if len(self._waiting) > KEPT:
            self._drop_to(self._first + 1)

    def add_children(self, seconds: float) -> None:
        """Add processor time of child processes to the intervals that are not divided yet."""
        waiting = [one for one in self._waiting if one.waited] or list(self._waiting)
        all_s = sum(one.waited_s or one.ran_s for one in waiting)
        if all_s <= 0 or seconds <= 0:
            return
        for one in waiting:
            parts = one.waited or one.ran
            more = [(node, s / all_s * seconds) for node, s in parts]
            one.ran = one.ran + more
            one.ran_s += sum(s for _, s in more)

    def read(self, samples: Sequence[ChannelSamples], *, last: bool = False) -> None:
        """Divide what new readings tell.

        Args:
            samples: of each channel, from the last one of the call before on.
            last: whether the window has closed.
        """
        known_s = math.inf if last else self.last.end_s if self.last else -math.inf
        for number, (account, channel) in enumerate(zip(self._accounts, samples, strict=True)):
            account.read(channel)
            while account.steps and account.steps[0][1] <= known_s:
                self._divide(number, account, *account.steps.popleft())
        self._drop_to(min((one.next for one in self._accounts), default=self._first))
        if last:
            self._close()

    def _divide(
        self, number: int, account: _Account, begin_s: float, end_s: float, energy_j: float
    ) -> None:
        parts = list(self._overlaps(account, begin_s, end_s))
        energy_j += account.carried_j
        account.carried_j = 0.0
        if not parts:
            account.carried_j = energy_j
            return
        idle_j = min(energy_j, account.idle_w * (end_s - begin_s))
        all_s = sum(share * one.duration_s for one, share in parts)
        ran_s = sum(share * one.ran_s for one, share in parts)
        if ran_s <= 0:
            idle_j = energy_j
        idle_w, busy_w = idle_j / all_s, (energy_j - idle_j) / ran_s if ran_s > 0 else 0.0
        for one, share in parts:
            idle = idle_w * share * one.duration_s
            self._give(number, account, one, idle, busy_w * share * one.ran_s)

    def _overlaps(
        self, account: _Account, begin_s: float, end_s: float
    ) -> Iterator[tuple[Interval, float]]:
        """Intervals that overlap with a step, and the share of each that does."""
        while account.next - self._first < len(self._waiting):
            one = self._waiting[account.next - self._first]
            overlap_s = min(end_s, one.end_s) - max(begin_s, one.begin_s)
            if overlap_s > 0:
                yield one, overlap_s / one.duration_s
            if one.end_s > end_s:
                return
            account.next += 1

    def _give(
        self, number: int, account: _Account, one: Interval, idle_j: float, busy_j: float
    ) -> None:
        if account.is_gpu:
            _split(number, idle_j + busy_j, one.driving, 1.0)
        else:
            _split(number, busy_j, one.ran, one.ran_s)
            both = one.ran + one.waited if one.waited else one.ran
            _split(number, idle_j, both, one.ran_s + one.waited_s)
        for name, share in one.phases:
            phase = self.phases_j.setdefault(name, [0.0] * len(self._accounts))
            phase[number] += share * (idle_j + busy_j)

    def _drop_to(self, number: int) -> None:
        while self._first < number:
            self._waiting.popleft()
            self._first += 1
        for account in self._accounts:
            account.next = max(account.next, self._first)

    def _close(self) -> None:
        """What was read after the last interval belongs to it."""
        for number, account in enumerate(self._accounts):
            if account.carried_j and self.last is not None:
                self._give(number, account, self.last, account.carried_j, 0.0)
            elif account.carried_j:
                self._root.energy_j[number] += account.carried_j
            account.carried_j = 0.0


def _split(number: int, energy_j: float, parts: Sequence[Part], whole: float) -> None:
    if energy_j:
        for node, part in parts:
            node.energy_j[number] += energy_j * part / whole


def _idle_w(channel: Channel, idle_w: Mapping[str, float]) -> float:
    """The power of a channel that is divided by time; infinite for all of it."""
    if family(channel.domain) not in PROCESSORS:
        return math.inf
    if channel.status is Status.ESTIMATED:
        return 0.0 if family(channel.domain) == "cpu" else math.inf
    return idle_w.get(channel.domain, math.inf)
