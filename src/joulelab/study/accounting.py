"""The ledger of a session: at any time exactly one kind of work is booked.

::

    setup | idle | calibration | between | tuner | between | training | between | training ... idle

Each switch closes one window and opens the next, so the entries of a session add up to its energy,
and the entries of all sessions to the energy of the study. One rule defines the energy of an entry:
`counted`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from joulelab.energy.lock import DeviceLocks, devices_of
from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Channel
from joulelab.energy.reading import Reading, Status, Total, family, total
from joulelab.energy.recorder import Recorder, Window
from joulelab.study.planned_run import PlannedRun
from joulelab.study.store import Store
from joulelab.study.stored_ledger import Ending

if TYPE_CHECKING:
    from joulelab.study.executor import Executor

CONTAINERS = ("psys", "wall")
"""Domains that contain the processor, and more."""


class Ledger:
    """Books the work of one session into the store.

    Args:
        store: store of the entries.
        recorder: measures what happens on this machine between the executor's jobs.
        domains: which domains count; ``None`` for the automatic choice.
        device: domain of the device that does the work: ``"gpu:<n>"`` or ``"cpu"``.
    """

    def __init__(
        self, store: Store, recorder: Recorder, domains: Sequence[str] | None, device: str
    ) -> None:
        self.store = store
        self.session = store.session()
        self._recorder = recorder
        self._domains = domains
        self._device = device
        self._devices = devices_read(recorder.channels, domains, device)
        self._open: tuple[str, Window] | None = None
        self._closed: list[tuple[str, Measurement]] = []

    def total(self, measurement: Measurement) -> Total:
        """The sum over the domains that count."""
        return counted(measurement, self._domains, self._device)

    def switch(self, kind: str) -> None:
        """Book the time until now, and from now on as `kind`."""
        if self._open is None:
            self._open = (kind, self._recorder.open(kind))
        elif self._open[0] != kind:
            before, ended = self._open
            self._open = (kind, ended.lap(kind))
            self._closed.append((before, ended.close()))
        self._write()

    @contextmanager
    def tuning(self) -> Iterator[None]:
        """Book the work of a strategy, under the locks of runs: those of others are not in it."""
        with DeviceLocks(self._devices, "tuner") as locks:
            locks.acquire(on_wait=lambda _: self.switch("waiting"))
            self.switch("tuner")
            try:
                yield
            finally:
                self.switch("between")

    def adopt(self, kind: str, window: Window) -> None:
        """Continue with a window that was opened before the store."""
        self._open = (kind, window)

    @property
    def open(self) -> tuple[str, Window] | None:
        """The kind of work that is done now, and its window; None while an executor measures."""
        return self._open

    @contextmanager
    def paused(self, executor: Executor[Any, Any]) -> Iterator[None]:
        """Stop measuring here while an executor works, which goes on from the window that is open.

        Afterwards the ledger goes on from the window that the executor has left open.
        """
        before, self._open = self._open, None
        executor.beside = before
        try:
            yield
        finally:
            if before is not None:
                self._closed.append((before[0], before[1].close()))
            if executor.beside is not None:
                self._open, executor.beside = executor.beside, None

    def pause(self) -> None:
        """Stop measuring here, because an executor takes over or the session ends.

        The measurement is written with the next `switch`, so that writing is measured too.
        """
        if self._open is not None:
            kind, window = self._open
            self._open = None
            self._closed.append((kind, window.close()))

    def close(self) -> None:
        """Book the time until now, at the end of a session."""
        self.pause()
        self._write()

    def book(self, kind: str, measurement: Measurement, state: str = "finished") -> None:
        """Enter a finished measurement that belongs to no run."""
        self.store.book(self.session, kind, measurement, self.total(measurement), state)

    def so_far(self, kind: str, measurement: Measurement) -> None:
        """Enter what work beside runs has taken so far, in case this process is killed."""
        self.store.so_far(self.session, kind, measurement, self.total(measurement))

    def _write(self) -> None:
        while self._closed:
            self.book(*self._closed.pop(0))

    def begin(self, kind: str, started_at: float, runs: Sequence[PlannedRun]) -> int:
        """Open an entry for an attempt at some runs."""
        return self.store.begin(self.session, kind, started_at, runs)

    def progress(self, entry: int, measurement: Measurement) -> None:
        """Store the energy of an attempt so far."""
        self.store.progress(entry, measurement, self.total(measurement))

    def end(
        self,
        entry: int,
        state: str,
        measurement: Measurement,
        error: str | None,
        rows: Sequence[Mapping[str, Any]],
        *,
        part: bool = False,
    ) -> None:
        """Close the entry of an attempt together with its runs, or of a part of a run."""
        total = self.total(measurement)
        self.store.end(entry, Ending(state, measurement, total, error, rows, part))


def counted(measurement: Measurement, domains: Sequence[str] | None, device: str) -> Total:
    """The sum over the domains that count as the energy of a run.

    Args:
        measurement: of one window.
        domains: domains that count; ``None`` for the automatic choice: measured ones except other
            GPUs; estimated ones only if nothing is measured on the training device. If that device
            cannot be read, the sum is missing, because the rest would be taken for the whole.
        device: domain of the device that does the work: ``"gpu:<n>"`` or ``"cpu"``.
    """
    readings = [_whole(reading) for reading in measurement.readings]
    if domains is not None:
        chosen = [reading for reading in readings if reading.domain in domains]
        return total(chosen if len(chosen) == len(set(domains)) else [])
    own = [
        reading
        for reading in readings
        if not reading.domain.startswith("gpu") or reading.domain == device
    ]
    covering = [reading for reading in own if _covers(reading.domain, device)]
    if not covering:
        return total([])
    lost = [reading for reading in covering if reading.status is Status.MISSING]
    known = [reading for reading in own if reading.status is not Status.MISSING]
    measured = [reading for reading in known if reading.sensed]
    if any(family(reading.domain) in CONTAINERS for reading in measured):
        lost = []
    sensed = any(_covers(reading.domain, device) for reading in measured)
    return total([*(measured if sensed else known), *lost])


def devices_read(
    channels: Sequence[Channel], domains: Sequence[str] | None, device: str
) -> list[str]:
    """The devices whose sensors are in the energy of a run: it holds the locks of all of them.

    A sensor of the whole node (processor, memory, wall plug) is one device, ``"cpu"``, for all
    GPUs. An estimate is none: it follows the processes of the run.

    Args:
        channels: of the meters.
        domains: domains that count; ``None`` for the automatic choice of `counted`.
        device: domain of the device that does the work.

    Returns:
        Sorted.
    """
    sensed = {
        one.domain for one in channels if one.status is Status.MEASURED and not one.comparison
    }
    if domains is None:
        sensed = {one for one in sensed if family(one) != "gpu"}
    else:
        sensed &= set(domains)
    return devices_of({device, *sensed})


def _whole(reading: Reading) -> Reading:
    """Runs are compared: if the sensor was lost, the energy is missing, not guessed."""
    if not reading.lost_s:
        return reading
    return replace(reading, status=Status.MISSING, gross_j=None, error_j=None)


def _covers(domain: str, device: str) -> bool:
    """Whether a domain contains the device that trains."""
    return domain == device or family(domain) in {device, *CONTAINERS}
