"""Samples of meters as columns of numbers: 8 bytes per value.

A window of a week at ten samples a second has six million samples; as Python objects they would
not fit into memory, and as columns they are numpy arrays without a copy of each value.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.meter import Channel, Meter, Sample
from joulelab.energy.trace import power_of_counter

Floats = NDArray[np.float64]
IMPOSSIBLE = "an energy below 0 is impossible"
NO_STATE: Mapping[str, Floats] = {}
SLEPT_S = 0.5
"""If a clock stopped for this long between two samples, the machine slept."""


@dataclass(frozen=True)
class ChannelSamples:
    """The samples of one channel within one window, the edges included.

    Attributes:
        channel: the channel.
        times_s: (n,), times on the monotonic clock.
        values: (n,), joules of a counter or watts; NaN where unreadable.
        interval_s: intended time between two samples.
        unreadable: the last reason why a sample could not be read; empty if all could.
        state: other readings of the sensor by name, each (n,), NaN where unknown.
        doubt: why a counter may have counted more than it shows; empty if it cannot.
        unseen_j: upper bound of that extra energy.
        sleeps: sleeps of the machine: time of the first sample after each, and seconds.
        outside: for a recording: times and values just before and after the window.
    """

    channel: Channel
    times_s: Floats
    values: Floats
    interval_s: float
    unreadable: str = ""
    state: Mapping[str, Floats] = field(default_factory=dict)
    sleeps: tuple[tuple[float, float], ...] = ()
    outside: tuple[Floats, Floats] | None = None
    doubt: str = ""
    unseen_j: float = 0.0

    def power_w(self) -> Floats:
        """Power at each sample; for a counter the mean since the previous sample."""
        if self.channel.kind == "power":
            return self.values
        return power_of_counter(self.times_s, self.values)


class SampleBuffer:
    """The samples of one meter, from the oldest that an open window needs.

    Args:
        meter: the meter.
        interval_s: of the recorder; a slower meter is read less often.
    """

    def __init__(self, meter: Meter, interval_s: float) -> None:
        self.meter = meter
        self.channels = tuple(meter.channels)
        self.every = max(1, round(meter.interval_s / interval_s))
        self.interval_s = self.every * interval_s
        self.last_tick = 0
        self._first = 0
        self._times = array("d")
        self._tracks = [_Track(channel.kind == "power") for channel in self.channels]
        self._slept_s: float | None = None
        self._sleeps: list[tuple[int, float, float]] = []

    def __len__(self) -> int:
        return len(self._times)

    @property
    def last(self) -> int:
        """The number of the last sample; before the first one, -1."""
        return self._first + len(self._times) - 1

    def record(self, *, at_edge: bool = False, slept_s: float = 0.0) -> int:
        """Sample the meter and return the number of the sample.

        Args:
            at_edge: a window opens or closes with this sample.
            slept_s: total sleep of the machine since boot.
        """
        try:
            if at_edge:
                self.meter.approach_edge()
            samples = self.meter.sample()
            if len(samples) != len(self.channels):
                raise ValueError(f"{len(samples)} samples for {len(self.channels)} channels")
        except Exception as error:  # a broken meter must not end the recording
            reason = f"{self.meter.name}: {type(error).__name__}: {error}"
            samples = [Sample(None, reason) for _ in self.channels]
        number = self._first + len(self._times)
        now_s = time.monotonic()
        self._times.append(now_s)
        if self._slept_s is not None and slept_s - self._slept_s > SLEPT_S:
            self._sleeps.append((number, now_s, slept_s - self._slept_s))
        self._slept_s = slept_s
        for track, sample in zip(self._tracks, samples, strict=True):
            track.append(number, sample)
        return number

    def forget(self, before: int) -> None:
        """Drop samples that no open window needs."""
        if (count := before - self._first) > 0:
            del self._times[:count]
            for track in self._tracks:
                track.forget(count, before)
            self._first = before
            self._sleeps = [sleep for sleep in self._sleeps if sleep[0] > before]

    def channel_samples(self, start: int, end: int) -> list[ChannelSamples]:
        """The samples of each channel from one number to another, both included."""
        part = slice(start - self._first, end - self._first + 1)
        times_s = np.frombuffer(self._times[part])
        sleeps = tuple(
            (woken_s, slept_s) for number, woken_s, slept_s in self._sleeps if start < number <= end
        )
        return [
            track.samples(channel, times_s, self.interval_s, part, start, sleeps)
            for channel, track in zip(self.channels, self._tracks, strict=True)
        ]


class _Track:
    """The samples of one channel."""

    def __init__(self, is_power: bool) -> None:
        self._is_power = is_power
        self._values = array("d")
        self._reasons: list[tuple[int, str]] = []
        self._state: dict[str, array[float]] = {}

    def append(self, number: int, sample: Sample) -> None:
        value = sample.value
        if value is None or not math.isfinite(value) or (self._is_power and value < 0):
            reason = sample.reason if value is None else f"the sensor said {value:g}"
            if value is not None and math.isfinite(value):
                reason = f"says {value:.4g} W, and {IMPOSSIBLE}"
            # One entry per series of samples with the same reason, with its latest number.
            if self._reasons and self._reasons[-1][1] == reason:
                self._reasons.pop()
            self._reasons.append((number, reason or "not readable"))
            value = math.nan
        self._values.append(value)
        if sample.state or self._state:
            self._append_state(sample.state)

    def forget(self, count: int, before: int) -> None:
        del self._values[:count]
        for column in self._state.values():
            del column[:count]
        self._reasons = [entry for entry in self._reasons if entry[0] >= before]

    def samples(
        self,
        channel: Channel,
        times_s: Floats,
        interval_s: float,
        part: slice,
        start: int,
        sleeps: tuple[tuple[float, float], ...],
    ) -> ChannelSamples:
        return ChannelSamples(
            channel,
            times_s,
            np.frombuffer(self._values[part]),
            interval_s,
            self._reasons[-1][1] if self._reasons and self._reasons[-1][0] >= start else "",
            {name: np.frombuffer(column[part]) for name, column in self._state.items()}
            if self._state
            else NO_STATE,
            sleeps,
        )

    def _append_state(self, state: Mapping[str, float]) -> None:
        for name in state.keys() - self._state.keys():
            self._state[name] = array("d", [math.nan]) * (len(self._values) - 1)
        for name, column in self._state.items():
            column.append(state.get(name, math.nan))


def longest(channel_samples: Sequence[ChannelSamples]) -> int:
    """The number of readings of the channel with the most readings."""
    return max((_count(samples) for samples in channel_samples), default=0)


def _count(samples: ChannelSamples) -> int:
    lost = np.count_nonzero(np.isnan(samples.values)) if samples.unreadable else 0
    return len(samples.times_s) - int(lost)
