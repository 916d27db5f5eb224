"""Profile a block of code: which functions and phases take its energy.

::

    with joulelab.profile() as p:
        train()
    print(p)                            the answer, functions, phases
    p.functions[0].self_j, p.phases["evaluation"].energy_j
    p.save_html("profile.html"), p.save_speedscope("profile.json")

The window of the meters is open for all the time in which stacks are sampled.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Unpack

from joulelab.energy.measured_block import Measuring
from joulelab.energy.measurement import Measurement
from joulelab.energy.open_meters import OpenMeters
from joulelab.energy.options import Options
from joulelab.energy.order import Block
from joulelab.energy.phases import PhaseEnergy
from joulelab.energy.reading import Status
from joulelab.energy.shared_meters import shared_meters
from joulelab.errors import MeterError, UsageError
from joulelab.profiling.attribution import Attribution
from joulelab.profiling.clocks import Children
from joulelab.profiling.result import Divided, FunctionEnergy, Profile
from joulelab.profiling.sampler import Interval, Sampler
from joulelab.profiling.shown import profile_parts
from joulelab.profiling.stacks import CallTree

RATE_HZ = 100.0
HIGHEST_HZ = 1000.0


def profile(label: str = "", *, rate: float = RATE_HZ, **options: Unpack[Options]) -> Profiling:
    """Profile a block of code: ``with joulelab.profile() as p: ...``.

    Args:
        label: what is profiled, for the result.
        rate: samples of the stacks in a second, 1 to 1000.
        options: see `joulelab.energy.options.Options`.

    Raises:
        MeterError: on entry, if meters cannot be opened or, with ``strict=True``, nothing can be
            measured.
        UsageError: the rate is not possible.
    """
    return Profiling(partial(shared_meters, **options), label, rate)


class Profiling(Block):
    """A profiled block of code, running or finished; made by `profile`.

    After the block it has what a `joulelab.profiling.result.Profile` has.

    Args:
        meters: returns those that measure it.
        label: what is profiled.
        rate: samples in a second.
        below: the function that starts the program, if that is to be left out of the stacks.

    Raises:
        UsageError: the rate is not possible.
    """

    does = "profiling"

    def __init__(
        self,
        meters: Callable[[], OpenMeters],
        label: str,
        rate: float = RATE_HZ,
        below: CodeType | None = None,
    ) -> None:
        if not (math.isfinite(rate) and 1 <= rate <= HIGHEST_HZ):
            raise UsageError(
                f"a rate of {rate:g} samples in a second is not possible",
                f"1 to {HIGHEST_HZ:g}; {RATE_HZ:g} is usual",
            )
        self.label = label
        self._meters = meters
        self._rate = rate
        self._below = below
        self._measuring = Measuring(meters, label)
        self._result: Profile | None = None
        self._running: _Running | None = None
        self._process = os.getpid()

    def start(self) -> None:
        """Begin, for use without ``with``.

        Raises:
            MeterError: it has begun already, or meters cannot be opened.
        """
        self._measuring.start()
        self._result, self._process = None, os.getpid()
        try:
            idle_w = self._meters().recorder.idle_w
            self._running = _Running(self._measuring, self._rate, self._below, idle_w)
        except BaseException:
            self._measuring.stop()
            raise

    def stop(self) -> Profile:
        """End, and return the result; a second call returns the same.

        Raises:
            MeterError: it has not begun, or began in the process from which this one was forked.
        """
        if self._running is None:
            return self.result
        if not self.is_of_this_process:
            raise MeterError(
                "the profile belongs to the parent process, from which this one was forked",
                "leave the forked process with os._exit()",
            )
        running, self._running = self._running, None
        self._result = running.stop()
        return self._result

    @property
    def is_of_this_process(self) -> bool:
        """Whether it did not begin in a process from which this one was forked."""
        return self._process == os.getpid()

    @property
    def result(self) -> Profile:
        """The result of the finished block.

        Raises:
            MeterError: the block has not finished.
        """
        if self._result is None:
            raise MeterError("nothing has been profiled yet", "leave the block first")
        return self._result

    @property
    def functions(self) -> tuple[FunctionEnergy, ...]:
        """What each function took, those with most energy in themselves first."""
        return self.result.functions

    @property
    def phases(self) -> Mapping[str, PhaseEnergy]:
        """What each `joulelab.phase` took."""
        return self.result.phases

    @property
    def measurement(self) -> Measurement:
        """The measurement of the whole block."""
        return self.result.measurement

    @property
    def energy_j(self) -> float | None:
        """Energy of the whole block in joules; None where unknown."""
        return self.result.energy_j

    @property
    def status(self) -> Status:
        """Of the energy of the whole block; how it is divided is an estimate."""
        return self.measurement.total.status

    def save_speedscope(self, path: str | Path) -> None:
        """Write the chains of calls for https://www.speedscope.app, in joules.

        Raises:
            StoreWriteError: the file cannot be written.
        """
        from joulelab.profiling.speedscope import write_speedscope

        write_speedscope(self.result, Path(path))

    def save_html(self, path: str | Path) -> None:
        """Write a flame graph, a page that needs no other file.

        Raises:
            StoreWriteError: the file cannot be written.
        """
        from joulelab.profiling.flame_graph import write_flame_graph

        write_flame_graph(self.result, Path(path))

    def __str__(self) -> str:
        from joulelab.present.terminal import to_text

        return to_text(*profile_parts(self._result)) if self._result else repr(self)

    def __repr__(self) -> str:
        state = "open" if self._running else "finished" if self._result else "not begun"
        return f"<joulelab.profile({self.label!r}): {state}>"

    def _repr_html_(self) -> str:
        """HTML for a notebook."""
        from joulelab.present.html import fragment

        return fragment(*profile_parts(self._result)) if self._result else f"<code>{self!r}</code>"


class _Running:
    """A profile while its window is open."""

    def __init__(
        self,
        measuring: Measuring,
        rate: float,
        below: CodeType | None,
        idle_w: Mapping[str, float],
    ) -> None:
        self._measuring = measuring
        self._rate = rate
        samples, self._numbers = measuring.open_window.samples_since()
        self._tree = CallTree(len(samples), below)
        channels = [one.channel for one in samples]
        self._attribution = Attribution(channels, idle_w, self._tree.root)
        self._attribution.read(samples)
        self._children = Children()
        self._sampler = Sampler(self._tree, rate, self._take)
        self._sampler.start()

    def stop(self) -> Profile:
        self._sampler.stop()
        measurement = self._measuring.stop()
        samples = self._measuring.window.channel_samples
        self._attribution.read(samples, last=True)
        divided = Divided(
            self._tree.root,
            self._attribution.phases_j,
            self._sampler.phases,
            self._sampler.samples,
            self._rate,
        )
        return divided.profile(measurement, samples)

    def _take(self, intervals: list[Interval]) -> None:
        for one in intervals:
            self._attribution.add(one)
        self._attribution.add_children(self._children.since_last())
        samples, self._numbers = self._measuring.open_window.samples_since(self._numbers)
        self._attribution.read(samples)
