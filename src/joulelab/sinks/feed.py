"""Send what is measured to sinks, without waiting for them.

::

    the measuring program    step ── step ── step ── end      0.3 ms each; waits ENDING_S
    ticker                   .  .  .  .  .  .  .  .           looks every second, first sooner
    outlet, one a sink       ── put ── put ──── put ──        its own thread and queue

The longer the window, the longer a look at it takes; looks are spaced so that they take at most
`SHARE` of the time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from joulelab.energy.measurement import Measurement
from joulelab.energy.phases import PhaseEnergy
from joulelab.errors import MeterError
from joulelab.sinks.outlet import Outlet
from joulelab.sinks.sink import Seen, Sink, State
from joulelab.sinks.tally import Tally

TICK_S = 1.0
FIRST_S = 0.1
"""The first look for live sinks, which show what they know from then on: counters have moved."""
SHARE = 0.002
LEAST_STEP_S = 0.5
"""Steps of a loop are looked at no more often."""
ENDING_S = 3.0
"""How long the end waits for all sinks together."""
TOLERANCE_S = 0.05


class _Timed(Outlet[Seen]):
    """The outlet of a sink, with its rate."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink, sink.kept)
        self._sink = sink
        self._next_s = 0.0

    def wants(self, *, at_step: bool, has_steps: bool) -> bool:
        """Whether the sink takes a value now."""
        if has_steps and not self._sink.live:
            return at_step
        return time.monotonic() >= self._next_s

    def begin(self) -> None:
        """Measuring has begun: only a live sink takes a value soon."""
        if not self._sink.live:
            self._next_s = time.monotonic() + TICK_S - FIRST_S - TOLERANCE_S

    def offer(self, item: Seen) -> None:
        """Give a value; does not wait."""
        self._next_s = time.monotonic() + self._sink.every_s - TOLERANCE_S
        super().offer(item)


class Feed:
    """Sends one measurement to some sinks.

    Args:
        sinks: of the user's choice; none is open.
        label: of what is measured.
    """

    def __init__(self, sinks: Sequence[Sink], label: str = "") -> None:
        self._sinks = list(sinks)
        self._label = label
        self._outlets: list[_Timed] = []
        self._tally = Tally()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None
        self._step: int | None = None
        self._has_steps = False
        self._forecast: Mapping[str, float] = {}
        self._next_s = 0.0
        self._process = os.getpid()

    @property
    def live(self) -> bool:
        """Whether a sink shows what is so now."""
        return any(one.live for one in self._sinks)

    def open(self) -> None:
        """Open all sinks, or none; a second call has no effect.

        Raises:
            UsageError: one cannot be opened.
        """
        if self._outlets and self._process == os.getpid():
            return
        self._tally, self._step, self._forecast = Tally(), None, {}
        self._process, self._next_s = os.getpid(), 0.0
        opened: list[Sink] = []
        try:
            for sink in self._sinks:
                sink.open(self._label)
                opened.append(sink)
        except BaseException:
            for sink in opened:
                sink.close()
            raise
        self._outlets = [_Timed(sink) for sink in opened]

    def __enter__(self) -> Feed:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end(failed=kind is not None)

    def begin(self, so_far: Callable[[], Measurement], *, steps: bool = False) -> None:
        """Look at a measurement now and then, until `pause`.

        Args:
            so_far: measures the time since the start.
            steps: whether there are steps, each of which is told with `step`.
        """
        self._stop.clear()
        self._has_steps = steps
        for outlet in self._outlets:
            outlet.begin()
        self._ticker = threading.Thread(
            target=self._tick, args=(so_far,), name="joulelab-ticker", daemon=True
        )
        self._ticker.start()

    def pause(self) -> None:
        """Look no longer, because the window closes."""
        self._stop.set()
        if self._ticker is not None and self._process == os.getpid():
            self._ticker.join()
        self._ticker = None

    @contextmanager
    def during(self, so_far: Callable[[], Measurement]) -> Iterator[None]:
        """Look at a measurement now and then within the block."""
        self.begin(so_far)
        try:
            yield
        finally:
            self.pause()

    def step(
        self,
        number: int,
        so_far: Callable[[], Measurement],
        forecast: Mapping[str, float] | None = None,
    ) -> None:
        """A step has ended.

        Args:
            number: of steps until now.
            so_far: measures the time since the start; it is not called where steps are too short.
            forecast: values of it, by name.
        """
        self._step, self._forecast = number, forecast or {}
        if time.monotonic() >= self._next_s and self._wanted(at_step=True):
            self._look(so_far, at_step=True)

    def lap(self, measurement: Measurement, *, first: bool = False) -> None:
        """Send a measurement of the time since the last one.

        Args:
            measurement: of that time.
            first: measuring has just begun: for live sinks alone.
        """
        with self._lock:
            for outlet in self._outlets if first else ():
                outlet.begin()
            self._tally.add(measurement)
            self._send(at_step=False)

    def end(
        self,
        measurement: Measurement | None = None,
        phases: Mapping[str, PhaseEnergy] | None = None,
        *,
        step: int | None = None,
        forecast: Mapping[str, float] | None = None,
        failed: bool = False,
    ) -> None:
        """Send the last value, and wait for the sinks a moment; a second call has no effect.

        Args:
            measurement: of the whole; None where there were laps.
            phases: of the whole.
            step: number of steps, where there were such.
            forecast: values of it, by name; default: those of the last step.
            failed: whether what was measured has failed.
        """
        if not self._outlets or self._process != os.getpid():
            return  # a forked process has none of the threads
        self.pause()
        with self._lock:
            self._step = self._step if step is None else step
            self._forecast = self._forecast if forecast is None else forecast
            if measurement is not None:
                self._tally.reach(measurement)
            self._send(
                at_step=True,
                state="failed" if failed else "finished",
                phases=phases or {},
                measurement=measurement,
            )
        deadline_s = time.monotonic() + ENDING_S
        for outlet in self._outlets:
            outlet.end(deadline_s)
        self._outlets = []

    def _tick(self, so_far: Callable[[], Measurement]) -> None:
        pause_s = FIRST_S if self.live else TICK_S
        while not self._stop.wait(pause_s):
            pause_s = TICK_S
            if self._wanted(at_step=False):
                pause_s = max(pause_s, self._look(so_far, at_step=False) / SHARE)

    def _wanted(self, *, at_step: bool) -> bool:
        return any(one.wants(at_step=at_step, has_steps=self._has_steps) for one in self._outlets)

    def _look(self, so_far: Callable[[], Measurement], *, at_step: bool) -> float:
        """Measure until now and send it; returns the time that took, in seconds."""
        began_s = time.thread_time()
        with self._lock:
            try:
                self._tally.reach(so_far())
            except MeterError:
                return 0.0  # the window has just closed; the end is sent
            self._send(at_step=at_step)
        took_s = time.thread_time() - began_s
        if at_step:  # the ticker's looks do not take the place of a step's
            self._next_s = time.monotonic() + max(LEAST_STEP_S, took_s / SHARE)
        return took_s

    def _send(
        self,
        *,
        at_step: bool,
        state: State = "running",
        phases: Mapping[str, PhaseEnergy] | None = None,
        measurement: Measurement | None = None,
    ) -> None:
        tally = self._tally
        seen = Seen(
            self._label,
            tally.ended_at or time.time(),
            tally.duration_s,
            self._step,
            at_step,
            tally.status,
            {**tally.values, **self._forecast},
            tally.domains,
            tally.counters(),
            phases or {},
            state,
            measurement,
        )
        for outlet in self._outlets:
            if seen.last or outlet.wants(at_step=at_step, has_steps=self._has_steps):
                outlet.offer(seen)
