"""The interface of executors, and the work around each job.

The runner hands over a `Job` and gets an `Outcome`; both are plain data, so that an executor may
send them to another machine, where the meters are. An executor never touches the store.

::

    lock the devices ─ prepare ─ unlock                                   once a group
      └ Preparation.waiting └ Preparation.measurement
    get ready ─ lock the devices ─ wait until idle ─ carry out ─ see who else measured, unlock
      └ Outcome.waiting                                └ Outcome.measurement

Windows follow each other without gaps: the first goes on from `Executor.beside`, and there the last
goes on, for whoever books the time between jobs.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from joulelab.energy.lock import DeviceLocks
from joulelab.energy.measurement import Measurement
from joulelab.energy.overlap import Presence
from joulelab.energy.recorder import Recorder, Window, wait_until_idle
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.traces.trace_file import TraceAbout
from joulelab.energy.utilisation import Utilisation, utilisation
from joulelab.errors import JoulelabError, StoreError
from joulelab.plain import storable

HEARTBEAT_INTERVAL_S = 2.0

State = Literal["finished", "failed", "interrupted"]
Progress = Callable[[int, int], None]
"""``progress(done, of)``: epochs of a training, or requests of a window."""


@dataclass(frozen=True)
class Job:
    """A job to carry out and measure; each workload adds its fields.

    Attributes:
        label: of the window.
        device: ``"cpu"`` or ``"cuda:<index>"``.
        threads: torch's threads on the CPU.
    """

    label: str
    device: str
    threads: int


@dataclass(frozen=True)
class Heartbeat:
    """Progress of a job: epochs of a training or requests of a window, and energy so far."""

    done: int
    of: int
    measurement: Measurement


JobT = TypeVar("JobT", bound=Job)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """The outcome of a job.

    Attributes:
        state: ``"interrupted"`` after Ctrl-C; the measurement ends then.
        result: of the work; ``None`` unless finished.
        measurement: energy and duration of the work.
        waiting: measurement of the time before it, spent on the lock and on cooling down.
        trace: columns of the power trace.
        trace_about: metadata of the trace.
        utilisation: utilisation of the device in the same window.
        error: type and message, if it failed.
        details: the traceback.
        locked_out_s: time that others held the device; part of `waiting`.
        samples: of every channel within the measurement.
    """

    state: State
    result: Result | None
    measurement: Measurement
    waiting: Measurement
    trace: Mapping[str, Any]
    trace_about: TraceAbout
    utilisation: Utilisation
    error: str | None = None
    details: str | None = None
    locked_out_s: float = 0.0
    samples: Sequence[ChannelSamples] = ()


@dataclass(frozen=True)
class Preparation:
    """The outcome of a preparation.

    Attributes:
        state: ``"interrupted"`` after Ctrl-C.
        done: whether anything was done.
        waiting: measurement of the wait for the lock.
        measurement: of the rest; ``None`` if interrupted before it had the lock.
        error: the message, if it failed.
    """

    state: State
    done: bool
    waiting: Measurement
    measurement: Measurement | None
    error: str | None = None


class Executor(ABC, Generic[JobT, Result]):
    """Carries out jobs of one workload on this machine, one measured job at a time on a device.

    Args:
        recorder: started; its meters read the device that does the work.
        domain: energy domain of that device, ``"cpu"`` or ``"gpu:<n>"``.
        cool_down_s: longest wait for idle power before a job.
        on_wait: called with a description of what is waited for.
        on_cool_down: likewise, before a wait for idle power, which may come before each job.
        devices: whose sensors are in the energy of a job, and whose locks it holds; default: the
            device that does the work.

    Attributes:
        beside: kind and window of what is done around jobs; None within one.
    """

    def __init__(
        self,
        recorder: Recorder,
        domain: str,
        cool_down_s: float,
        on_wait: Callable[[str], None],
        on_cool_down: Callable[[str], None] = lambda _: None,
        devices: Sequence[str] | None = None,
    ) -> None:
        self._recorder = recorder
        self._domain = domain
        self._cool_down_s = cool_down_s
        self._on_wait = on_wait
        self._on_cool_down = on_cool_down
        self._devices = [domain] if devices is None else devices
        self.beside: tuple[str, Window] | None = None

    def _get_ready(self, job: JobT) -> None:
        """Work without the device: done before taking the lock, not measured."""

    def _lay_out(self, job: JobT) -> None:
        """Place data on the device: done under the lock, not measured."""

    def _lay_out_if_possible(self, job: JobT) -> None:
        # A failure here fails again in the work itself, where it is booked as a failed run.
        with contextlib.suppress(Exception):
            self._lay_out(job)

    @abstractmethod
    def _prepare(self, job: JobT) -> bool:
        """Prepare on the device; returns whether there was anything to do."""

    @abstractmethod
    def _carry_out(self, job: JobT, progress: Progress) -> Result:
        """The work itself, inside the window."""

    def prepare(self, job: JobT) -> Preparation:
        """Prepare a job; exceptions become an outcome."""
        waiting = self._wait()
        self._get_ready(job)
        state: State = "finished"
        done, error = False, None
        window = None
        try:
            with DeviceLocks(self._devices) as locks:
                locks.acquire(on_wait=self._on_wait)
                self._lay_out_if_possible(job)
                window = waiting.lap(job.label)
                self.beside = ("calibration", window)
                done = self._prepare(job)
        except KeyboardInterrupt:
            state = "interrupted"
        except Exception as raised:
            state, error = "failed", _message(raised)
        self.beside = ("between", (window or waiting).lap("between"))
        measurement = window.close() if window is not None else None
        return Preparation(state, done, waiting.close(), measurement, error)

    def run(self, job: JobT, on_heartbeat: Callable[[Heartbeat], None]) -> Outcome[Result]:
        """Carry out and measure a job; exceptions become an outcome.

        Args:
            job: what to do.
            on_heartbeat: called every two seconds from a separate thread.
        """
        waiting = self._wait()
        self._get_ready(job)
        with DeviceLocks(self._devices) as locks:
            asked_s = time.monotonic()
            locks.acquire(on_wait=self._on_wait)
            locked_out_s = time.monotonic() - asked_s
            self._lay_out_if_possible(job)
            if self._cool_down_s:
                self._cool_down()
            with Presence(self._devices, job.label) as presence:
                began_s = time.monotonic()
                outcome = self._measured(job, waiting, on_heartbeat)
                measurement = presence.flagged(outcome.measurement, began_s)
        return replace(outcome, measurement=measurement, locked_out_s=locked_out_s)

    def _wait(self) -> Window:
        """The window before a job."""
        before = self.beside
        window = self._recorder.open("waiting") if before is None else before[1].lap("waiting")
        self.beside = ("waiting", window)
        return window

    def _cool_down(self) -> None:
        wait_until_idle(
            self._recorder,
            self._domain,
            limit_s=self._cool_down_s,
            on_wait=lambda: self._on_cool_down(
                f"cooling down {self._domain} to idle power, for at most {self._cool_down_s:g} s"
            ),
        )

    def _measured(
        self, job: JobT, waiting: Window, on_heartbeat: Callable[[Heartbeat], None]
    ) -> Outcome[Result]:
        """The work itself; `beside` is then the window after it."""
        state: State = "finished"
        result: Result | None = None
        error = details = None
        window = waiting.lap(job.label)
        self.beside = None
        try:
            with _heartbeats(window, on_heartbeat) as progress:
                result = self._carry_out(job, progress)
        except KeyboardInterrupt:
            state = "interrupted"
        except StoreError:
            window.close()
            raise
        except Exception as raised:
            state = "failed"
            error = _message(raised)
            details = storable(traceback.format_exc())
        self.beside = ("between", window.lap("between"))
        about = TraceAbout.of(self._recorder, job.label, window.started_at)
        return Outcome(
            state,
            result if state == "finished" else None,
            window.close(),
            waiting.close(),
            window.trace_columns(),
            about,
            utilisation(window.channel_samples, self._domain),
            error,
            details,
            samples=window.channel_samples,
        )


def _message(raised: Exception) -> str:
    return storable(raised.message if isinstance(raised, JoulelabError) else repr(raised))


@contextlib.contextmanager
def _heartbeats(window: Window, on_heartbeat: Callable[[Heartbeat], None]) -> Iterator[Progress]:
    """Report every two seconds from a thread; yields the progress callback of the work."""
    so_far = (0, 0)
    stop = threading.Event()
    failed: list[Exception] = []

    def pulse() -> None:
        while not stop.wait(HEARTBEAT_INTERVAL_S):
            try:
                on_heartbeat(Heartbeat(*so_far, window.so_far()))
            except Exception as error:
                failed.append(error)
                return

    def progress(done: int, of: int) -> None:
        nonlocal so_far
        so_far = (done, of)

    thread = threading.Thread(target=pulse, name="joulelab-heartbeat", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]
