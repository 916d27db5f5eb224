"""Time that passes only where a test waits, for recorders whose thread need not run."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from joulelab.energy import recorder as recorder_module
from joulelab.energy import sample_buffer
from joulelab.energy.recorder import Recorder

READING_S = 1e-6


@dataclass
class _Schedule:
    recorder: Recorder
    start_s: float
    tick: int = 1

    @property
    def due_s(self) -> float:
        return self.start_s + self.tick * self.recorder.interval_s


class SimulatedTime:
    """Stands for the module `time`: to wait takes no time, to look at the clock a microsecond.

    Recorders that are started have their deadlines meanwhile, as `polling.deadlines` has them.
    """

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._schedules: list[_Schedule] = []
        self._at_deadline = False

    def monotonic(self) -> float:
        self.now_s += READING_S
        return self.now_s

    def time(self) -> float:
        return 1.7e9 + self.monotonic()

    def sleep(self, duration_s: float) -> None:
        until_s = self.now_s + duration_s
        while not self._at_deadline and (due := self._due(until_s)) is not None:
            self.now_s = max(self.now_s, due.due_s)
            self._at_deadline = True
            due.recorder._at_deadline(due.tick)
            self._at_deadline = False
            passed = int((self.now_s - due.start_s) / due.recorder.interval_s)
            due.tick = max(due.tick, passed) + 1
        self.now_s = max(self.now_s, until_s)

    def start(self, recorder: Recorder) -> None:
        self._schedules.append(_Schedule(recorder, self.now_s))

    def _due(self, until_s: float) -> _Schedule | None:
        due = [one for one in self._schedules if not one.recorder._closed and one.due_s <= until_s]
        return min(due, key=lambda one: one.due_s, default=None)


def simulate_time(monkeypatch, *modules: str) -> SimulatedTime:
    """Recorders without a thread, and simulated time in their modules and in those named."""
    simulated = SimulatedTime()

    def start(recorder: Recorder) -> None:
        simulated.start(recorder)

    def wait(_: Recorder, duration_s: float) -> None:
        simulated.sleep(duration_s)

    for module in (recorder_module, sample_buffer, *(sys.modules[name] for name in modules)):
        monkeypatch.setattr(module, "time", simulated, raising=False)
    monkeypatch.setattr(recorder_module, "_BOOT_CLOCK", None)
    monkeypatch.setattr(Recorder, "start", start)
    monkeypatch.setattr(Recorder, "wait", wait)
    return simulated
