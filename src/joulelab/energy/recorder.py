"""The recorder: one thread that samples all meters, and windows that read its samples.

::

    samples   .    .    .    .    .    .    .    .    .      every interval, on the monotonic clock
    window a       [  .    .    .    .  ]                    an extra sample at each edge
    window b              [   .    .    .    .  ]            windows may overlap, nest, and come
                                                             from any thread

Deadlines do not drift: sample k is due at start + k * interval, and late ones are skipped. Opening
and closing a window samples all meters, so a counter is exact at the edges and the measuring
overhead is inside the window. A meter with a slower sensor is read at every second, third ...
deadline and at the edges.

All arithmetic is on the monotonic clock, which does not jump. It stops while the machine sleeps: a
window covers the time awake, and excludes energy used asleep. So counter steps across a sleep are
not used; the window is flagged, and *partly estimated*.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Channel, Meter, Missing
from joulelab.energy.polling import deadlines
from joulelab.energy.reading import Status, family, plain_data
from joulelab.energy.sample_buffer import SLEPT_S, ChannelSamples, SampleBuffer
from joulelab.energy.summary import Conditions, summarise, trace_columns
from joulelab.errors import MeterError

DEFAULT_INTERVAL_S = 0.1
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)
_OF_THE_PROCESS = ("recorder", "_closing")
_DESCRIBED = ("domain", "source", "kind", "status", "relative_error", "tick_s", "remark")
IDLE_LOOK_S = 1.0
IDLE_TOLERANCE = 0.1
IDLE_TOLERANCE_W = 2.0


class Recorder:
    """Samples meters in the background and measures windows.

    Args:
        meters: the meters; closed with the recorder.
        interval_s: time between two samples in seconds.
        missing: domains that cannot be read; listed in every measurement with their reason.

    Attributes:
        idle_w: idle power in watts by domain, from `measure_idle`.
        idle_error_w: its error bounds.
        when_unused: called from the recorder's thread at every deadline without an open window.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        *,
        interval_s: float = DEFAULT_INTERVAL_S,
        missing: Sequence[Missing] = (),
    ) -> None:
        self.meters = tuple(meters)
        self.missing = tuple(missing)
        self.interval_s = interval_s
        self.idle_w: dict[str, float] = {}
        self.idle_error_w: dict[str, float] = {}
        self.when_unused: Callable[[], None] = lambda: None
        self._buffers = [SampleBuffer(meter, interval_s) for meter in self.meters]
        self._windows: set[Window] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._process = os.getpid()

    def start(self) -> None:
        """Start sampling. A second call has no effect."""
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="joulelab-recorder", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Close open windows, stop sampling, close the meters. A second call has no effect."""
        for window in list(self._windows):
            window.close()
        self._closed = True
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            for meter in self.meters:
                meter.close()

    def __enter__(self) -> Recorder:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def channels(self) -> list[Channel]:
        """All channels of all meters."""
        return [channel for meter in self.meters for channel in meter.channels]

    def open(self, label: str) -> Window:
        """Open a window; it is measured until it is closed.

        Raises:
            MeterError: the recorder is closed, or belongs to the parent of this forked process.
        """
        self._check_process()
        if self._closed:
            raise MeterError("the recorder is closed", "open windows only while it records")
        started_at, slept_s, started_s = time.time(), _slept_s(), time.monotonic()
        with self._lock:
            starts = [buffer.record(at_edge=True, slept_s=slept_s) for buffer in self._buffers]
            window = Window(self, label, started_at, started_s, starts, slept_s)
            self._windows.add(window)
        return window

    def wait(self, duration_s: float) -> None:
        """Wait, at most until the recorder is closed.

        Args:
            duration_s: duration in seconds.
        """
        self._stop.wait(duration_s)

    def measure_idle(self, duration_s: float) -> Mapping[str, float]:
        """Measure power while the caller waits, and store it as idle power.

        Args:
            duration_s: duration in seconds.

        Returns:
            Mean power in watts by domain; domains of unknown energy are absent.
        """
        window = self.open("idle")
        self.wait(duration_s)
        readings = [one for one in window.close().readings if one.mean_power_w is not None]
        self.idle_w = {one.domain: one.mean_power_w or 0.0 for one in readings}
        self.idle_error_w = {
            one.domain: one.error_j / one.duration_s for one in readings if one.error_j is not None
        }
        return dict(self.idle_w)

    def described(self) -> dict[str, dict[str, str]]:
        """The description of each meter by name; equal names are numbered."""
        told: dict[str, dict[str, str]] = {}
        for meter in self.meters:
            same = sum(name.partition(" ")[0] == meter.name for name in told)
            told[f"{meter.name} {same + 1}" if same else meter.name] = dict(meter.describe())
        return told

    def describe(self) -> dict[str, Any]:
        """Meters, channels and missing domains as plain data for the manifest of a study."""
        return {
            "interval_s": self.interval_s,
            "meters": self.described(),
            "channels": [
                {
                    **{name: plain_data(getattr(channel, name)) for name in _DESCRIBED},
                    "meter": meter.name,
                    "comparison": channel.comparison,
                    "calibration": channel.calibration,
                }
                for meter in self.meters
                for channel in meter.channels
            ],
            "missing": plain_data(self.missing),
        }

    def _run(self) -> None:
        for tick in deadlines(self.interval_s, self._stop):
            self._at_deadline(tick)

    def _at_deadline(self, tick: int) -> None:
        with self._lock:
            used, slept_s = bool(self._windows), _slept_s()
            for buffer in self._buffers if used else ():
                if tick - buffer.last_tick >= buffer.every:
                    buffer.last_tick = tick
                    buffer.record(slept_s=slept_s)
        if not used:
            self.when_unused()

    def _measure(
        self, window: Window, *, close: bool, label: str | None = None
    ) -> tuple[Measurement, list[ChannelSamples], Window | None]:
        """The result of a window, its samples, and the next window if `label` is given."""
        self._check_process()
        with self._lock:
            slept_s = _slept_s()
            ends = [buffer.record(at_edge=True, slept_s=slept_s) for buffer in self._buffers]
            ended_at, ended_s = time.time(), time.monotonic()
            channel_samples = self._samples(window.starts, ends)
            following = None
            if label is not None:
                following = Window(self, label, ended_at, ended_s, ends, slept_s)
                self._windows.add(following)
            if close:
                self._windows.discard(window)
            for position, buffer in enumerate(self._buffers):
                needed = [open_.starts[position] for open_ in self._windows]
                buffer.forget(min(needed, default=ends[position] + 1))
        asleep_s = slept_s - window.slept_s
        conditions = Conditions(
            window.label,
            window.started_at,
            (window.started_s, ended_s),
            self.missing,
            self.idle_w,
            self.interval_s,
            (f"the machine slept for {asleep_s:.1f} s",) if asleep_s > SLEPT_S else (),
            self.idle_error_w,
        )
        return summarise(conditions, channel_samples), channel_samples, following

    def _samples(self, starts: Sequence[int], ends: Sequence[int]) -> list[ChannelSamples]:
        return [
            samples
            for buffer, start, end in zip(self._buffers, starts, ends, strict=True)
            for samples in buffer.channel_samples(start, end)
        ]

    def _last_numbers(self) -> list[int]:
        return [buffer.last for buffer in self._buffers]

    def _check_process(self) -> None:
        """The sampling thread does not exist in a forked process, and the lock may be held."""
        if os.getpid() != self._process:
            raise MeterError(
                "the recorder belongs to the parent process, from which this one was forked",
                "measure in one of the two processes only",
            )


@dataclass(eq=False)
class Window:
    """A measured interval, created by `Recorder.open`; also a context manager that closes it.

    Attributes:
        recorder: the recorder that measures it; a pickled window has none.
        label: what is measured.
        started_at: wall-clock time, seconds since the epoch.
        started_s: the same time on the monotonic clock.
        starts: number of the first sample of each meter.
        slept_s: total sleep of the machine since boot, at the opening.
        measurement: the result, once closed.
        channel_samples: its samples by channel, once closed.
    """

    recorder: Recorder = field(repr=False)
    label: str
    started_at: float
    started_s: float
    starts: list[int]
    slept_s: float
    measurement: Measurement | None = None
    channel_samples: Sequence[ChannelSamples] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        self._closing = threading.Lock()

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """A closed window can be pickled and copied: it no longer needs its recorder.

        Raises:
            MeterError: it is open.
        """
        if self.measurement is None:
            raise MeterError(
                f"the window {self.label!r} is open and cannot be pickled or copied",
                "close it first, or use so_far(), which can be",
            )
        return {key: value for key, value in vars(self).items() if key not in _OF_THE_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _closing=threading.Lock())

    def close(self) -> Measurement:
        """Close the window and return its result; a second call returns the same."""
        with self._closing:
            if self.measurement is None:
                measured = self.recorder._measure(self, close=True)
                self.measurement, self.channel_samples, _ = measured
            return self.measurement

    def lap(self, label: str | None = None) -> Window:
        """Close the window and open the next at the same time, without a gap.

        Args:
            label: of the next window; default: the label of this one.

        Raises:
            MeterError: the window is already closed.
        """
        with self._closing:
            if self.measurement is not None:
                raise MeterError("the window is already closed", "open a new one")
            self.measurement, self.channel_samples, following = self.recorder._measure(
                self, close=True, label=self.label if label is None else label
            )
        if following is None:
            raise AssertionError("only a window that is followed by another can end as a lap")
        return following

    def so_far(self) -> Measurement:
        """The result until now; the window stays open."""
        with self._closing:
            return self.measurement or self.recorder._measure(self, close=False)[0]

    def samples_since(
        self, numbers: Sequence[int] | None = None
    ) -> tuple[list[ChannelSamples], list[int]]:
        """The samples of an open window so far; no meter is read.

        Args:
            numbers: of the first sample of each meter; default: the first of the window.

        Returns:
            The samples of each channel, and the numbers of the last ones, with which to go on.
        """
        starts = self.starts if numbers is None else numbers
        with self.recorder._lock:
            return self.recorder._samples(starts, ends := self.recorder._last_numbers()), ends

    def trace_columns(self) -> dict[str, Any]:
        """The samples of a closed window as columns; see `summary.trace_columns`."""
        return trace_columns(self.channel_samples, self.started_s)


def _slept_s() -> float:
    """Total sleep of the machine since boot; 0 if no clock measures it."""
    if _BOOT_CLOCK is None:
        return 0.0
    return time.clock_gettime(_BOOT_CLOCK) - time.monotonic()


def wait_until_idle(
    recorder: Recorder,
    device: str,
    *,
    limit_s: float,
    tolerance: float = IDLE_TOLERANCE,
    on_wait: Callable[[], None] = lambda: None,
) -> bool:
    """Wait until a device is back near the idle power stored in the recorder.

    Estimated domains are ignored: an estimate follows this process, which is waiting, and does not
    reflect heat or other programs.

    Args:
        recorder: started, with idle power measured.
        device: ``"gpu:<n>"``, or ``"cpu"`` for every processor.
        limit_s: longest wait in seconds.
        tolerance: tolerance above idle power as a fraction (at least 2 W).
        on_wait: called once, if the power is not idle at the first look.

    Returns:
        Whether idle power was reached in time; true at once if nothing is measured.
    """
    measured = {
        channel.domain
        for channel in recorder.channels
        if channel.status is Status.MEASURED and device in {channel.domain, family(channel.domain)}
    }
    wanted_w = {domain: w for domain, w in recorder.idle_w.items() if domain in measured}
    deadline_s, told = time.monotonic() + limit_s, False
    while wanted_w:
        window = recorder.open("cooling down")
        time.sleep(IDLE_LOOK_S)
        readings = window.close().readings
        above = [
            reading.domain
            for reading in readings
            if reading.domain in wanted_w
            and reading.mean_power_w is not None
            and reading.mean_power_w - wanted_w[reading.domain]
            > max(IDLE_TOLERANCE_W, tolerance * wanted_w[reading.domain])
        ]
        if not above:
            return True
        if time.monotonic() >= deadline_s:
            return False
        if not told:
            told = True
            on_wait()
    return True
