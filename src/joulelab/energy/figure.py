"""The energy of one channel in a window: joules, error bound, and unseen time.

::

    power     . . . . .                    . . . . .      a gap: longer than three intervals,
              |measured|------ hole ------|measured|      and than a second
                        between idle power and the highest that is known
    counter   . . . . .                    . . . . .
              |-------------- measured -------------|     it has gone on counting

Gaps were not measured, whether samples are missing or unreadable. Their energy is bridged with the
mean of idle power (if unknown, the lowest seen) and the highest known power: the device's limit,
else the highest seen. The error bound covers both ends: down to 0 if idle power is unknown, and,
without a known limit, up to what no device of this kind exceeds.

A counter needs no samples in between. It is not used across a gap in which it counted more than the
device can draw, nor across a sleep of the machine: the clock of windows stops then, and what a
counter counts meanwhile is not part of the window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from joulelab import formats
from joulelab.energy.counter import LEAST_STEP_J, highest_possible_w
from joulelab.energy.meter import Channel
from joulelab.energy.reading import Status
from joulelab.energy.sample_buffer import IMPOSSIBLE, ChannelSamples, Floats
from joulelab.energy.trace import held_j, integrate

COARSE_TICKS = 20
GAP_INTERVALS = 3
GAP_S = 1.0
GAP_SHARE = 0.25
"""Share of a short window that counts as a gap if unseen."""
TWO = 2
EDGE_SHARE = 0.01
"""Share of a window that is extrapolated between an edge and the nearest counter sample."""
LEAST_SEEN_S = 1e-3
"""A shorter time around a sample is not a measurement."""


@dataclass(frozen=True)
class Surroundings:
    """What is known about a domain in a window besides the samples of one channel.

    Attributes:
        edges_s: start and end on the monotonic clock.
        channel_samples: samples of every channel of the domain.
        idle_w: power at idle in watts, or ``None``.
        idle_error_w: its error bound.
    """

    edges_s: tuple[float, float]
    channel_samples: Sequence[ChannelSamples]
    idle_w: float | None = None
    idle_error_w: float = 0.0

    @property
    def duration_s(self) -> float:
        """Length of the window in seconds."""
        return self.edges_s[1] - self.edges_s[0]


@dataclass(frozen=True)
class Figure:
    """The result of one channel for the window; `energy_j` is None if unknown.

    `lost_s` is the time without readings, and `seen_j` the energy in the rest. `short_j` is the
    part of `error_j` that a window of few ticks or samples leaves open, at its edges and between
    them; the rest is the sensor's own error, which a longer window does not mend. A counter is
    coarse if it made few steps or its sensor ticked only a few times; power is coarse if its values
    are means over more than the window. Energy below zero is impossible and treated as unknown.
    """

    channel: Channel
    energy_j: float | None
    error_j: float | None
    reason: str = ""
    lost_s: float = 0.0
    seen_j: float | None = None
    coarse: bool = False
    impossible: bool = False
    short_j: float = 0.0

    @property
    def too_short(self) -> bool:
        """Whether the window has so few ticks that they leave open more than the sensor says."""
        measured = self.channel.status is Status.MEASURED and not self.lost_s
        return measured and self.energy_j is not None and self.short_j > self.energy_j

    @property
    def rank(self) -> tuple[bool, bool, bool, bool, float]:
        """Sort key, best first: known, measured, without gaps, a counter; then smallest error."""
        counts = self.channel.kind == "counter" and not self.coarse
        return (
            self.energy_j is None,
            self.channel.status is not Status.MEASURED,
            self.lost_s > 0,
            not counts,
            0.0 if counts or self.error_j is None else self.error_j,
        )

    @property
    def status(self) -> Status:
        """Measured only if there are no gaps, and the window is not too short for the sensor."""
        if self.too_short:
            return Status.ESTIMATED
        if not self.lost_s or self.channel.status is not Status.MEASURED:
            return self.channel.status
        return Status.ESTIMATED if self.seen_j is None else Status.PARTLY_ESTIMATED


@dataclass(frozen=True)
class Seen:
    """The valid readings of a channel, and the parts of the window they cover.

    Attributes:
        times_s: (n,) of the readings.
        values: (n,), none of them NaN.
        edges_s: first and last time covered: of the window, or of the readings.
        blind: (n - 1,), the steps between readings that are gaps.
    """

    times_s: Floats
    values: Floats
    edges_s: tuple[float, float]
    blind: NDArray[np.bool_] | None = None

    @property
    def seen_s(self) -> float:
        """Covered time of the window in seconds."""
        whole_s = self.edges_s[1] - self.edges_s[0]
        return whole_s if self.blind is None else whole_s - self._blind_s

    def pieces(self) -> list[tuple[int, int, float, float]]:
        """First and last reading of each part without a gap, and its edges."""
        last = len(self.times_s) - 1
        if self.blind is None:
            return [(0, last, *self.edges_s)]
        breaks = [-1, *np.flatnonzero(self.blind).tolist(), last]
        found = []
        for before, end in pairwise(breaks):
            start_s = float(self.times_s[before + 1]) if before >= 0 else self.edges_s[0]
            end_s = float(self.times_s[end]) if end < last else self.edges_s[1]
            found.append((before + 1, end, start_s, end_s))
        return found

    @property
    def _blind_s(self) -> float:
        return float(np.diff(self.times_s)[self.blind].sum())


def longest_step_s(interval_s: float, duration_s: float) -> float:
    """The longest time between two samples that is not a gap, in seconds.

    Args:
        interval_s: intended time between two samples.
        duration_s: length of the window: in a short one, a large share is also a gap.
    """
    return max(GAP_INTERVALS * interval_s * (1 + 1e-9), min(GAP_S, GAP_SHARE * duration_s))


def in_seconds(duration_s: float) -> str:
    """A time for a remark: ``3600.0 s``, ``0.02 s``."""
    return f"{duration_s:.1f} s" if duration_s >= 0.1 else f"{duration_s:.1g} s"  # noqa: PLR2004


def readings_of(samples: ChannelSamples) -> tuple[Floats, Floats]:
    """Times and values of the valid samples."""
    if not samples.unreadable:
        return samples.times_s, samples.values
    good = ~np.isnan(samples.values)
    return samples.times_s[good], samples.values[good]


def seen(samples: ChannelSamples, around: Surroundings) -> Seen:
    """The parts of a window that a channel with at least two readings covers.

    Args:
        samples: samples of one channel.
        around: the window, and the other channels of the domain.
    """
    times, values = readings_of(samples)
    start_s, end_s = around.edges_s
    longest_s = longest_step_s(samples.interval_s, around.duration_s)
    first_s, last_s = float(times[0]), float(times[-1])
    edges_s = (
        start_s if first_s - start_s <= longest_s else first_s,
        end_s if end_s - last_s <= longest_s else last_s,
    )
    if last_s - first_s <= longest_s and not samples.sleeps:
        return Seen(times, values, edges_s)
    steps_s = np.diff(times)
    blind = steps_s > longest_s
    if samples.channel.kind == "counter" and blind.any():
        blind &= ~_believed(samples.channel, np.diff(values), steps_s, around)
    for woken_s, _ in samples.sleeps:
        after = int(np.searchsorted(times, woken_s))
        if 0 < after < len(times):
            blind[after - 1] = True
    return Seen(times, values, edges_s, blind if blind.any() else None)


def _believed(
    channel: Channel, counted_j: Floats, steps_s: Floats, around: Surroundings
) -> NDArray[np.bool_]:
    """Whether the device can have drawn what a counter counted in some steps."""
    highest_w = _highest(channel, around)[1]
    allowed_j = np.maximum(LEAST_STEP_J, highest_w * (steps_s + channel.tick_s))
    return (counted_j >= 0) & (counted_j <= allowed_j)


def figure(samples: ChannelSamples, around: Surroundings) -> Figure:
    """The result of a channel for the window: complete, with gaps, or missing.

    Args:
        samples: its samples.
        around: the window, and the other channels of the domain.
    """
    channel = samples.channel
    if samples.unreadable and np.count_nonzero(~np.isnan(samples.values)) < TWO:
        if IMPOSSIBLE in samples.unreadable:
            reason = f"{channel.source} {samples.unreadable}"
            return Figure(channel, None, None, reason, impossible=True)
        return Figure(channel, None, None, f"{channel.source}: {samples.unreadable}")
    if len(samples.values) < TWO:
        return Figure(channel, None, None, f"{channel.source}: fewer than two samples")
    shown = seen(samples, around)
    said = (_counted if channel.kind == "counter" else _integrated)(samples, shown, around)
    if said.energy_j is not None and said.energy_j < 0:
        reason = f"{channel.source} says {said.energy_j:.4g} J, and {IMPOSSIBLE}"
        return Figure(channel, None, None, reason, impossible=True)
    lost_s = around.duration_s - shown.seen_s
    # Edges are sums of floats: tiny differences are not gaps.
    if said.energy_j is None or lost_s <= 1e-9 * around.duration_s:
        return said
    return _bridged(said, samples, shown, around)


def _counted(samples: ChannelSamples, shown: Seen, around: Surroundings) -> Figure:
    channel, values = samples.channel, shown.values
    # Two samples are the usual case of a short window and need no arrays.
    if len(values) == TWO and shown.blind is None:
        backwards = bool(values[1] < values[0])
        energy_j = float(values[1] - values[0])
    else:
        steps_j = np.diff(values)
        if shown.blind is not None:
            steps_j = steps_j[~shown.blind]
        backwards, energy_j = bool((steps_j < 0).any()), float(steps_j.sum())
    if backwards:
        return Figure(channel, None, None, f"{channel.source}: the counter went backwards")
    duration_s = around.duration_s
    short_j = channel.resolution_j + _edges_j(shown, channel, _edge_power_w(around, energy_j))
    error_j = _own_error_j(channel, energy_j, shown.seen_s) + short_j
    coarse = (
        energy_j < COARSE_TICKS * channel.resolution_j or duration_s < COARSE_TICKS * channel.tick_s
    )
    said = Figure(channel, energy_j, error_j, coarse=coarse, short_j=short_j if coarse else 0.0)
    # An estimate counts this process's work, to which reading the edges does not belong.
    measured = channel.status is Status.MEASURED
    short = measured and shown.seen_s - _between_s(shown) > EDGE_SHARE * duration_s
    return _stretched(said, shown, around) if short else said


def _edges_j(shown: Seen, channel: Channel, power_w: float) -> float:
    """What a counter may have missed or counted too much at edges where it did not move."""
    stood_s = 0.0
    # Estimates use processor time, which stops with the process.
    if channel.status is Status.MEASURED and len(shown.values) > TWO:
        moved = np.flatnonzero(np.diff(shown.values))
        if len(moved):
            times = shown.times_s
            stood_s = float(max(times[moved[0]] - times[0], times[-1] - times[moved[-1] + 1]))
    return max(channel.tick_s * power_w, stood_s * power_w - channel.resolution_j)


def _lacks_an_edge(samples: ChannelSamples) -> bool:
    """Whether the first or the last sample is not a reading."""
    return bool(samples.unreadable) and bool(np.isnan(samples.values[[0, -1]]).any())


def _between_s(shown: Seen) -> float:
    """The time between the first and the last reading, blind steps left out."""
    return shown.seen_s - (
        max(0.0, float(shown.times_s[0]) - shown.edges_s[0])
        + max(0.0, shown.edges_s[1] - float(shown.times_s[-1]))
    )


def _stretched(said: Figure, shown: Seen, around: Surroundings) -> Figure:
    """A channel that was briefly unreadable at an edge: use its mean power there."""
    between_s, energy_j = _between_s(shown), said.energy_j or 0.0
    if between_s <= 0:
        return said
    mean_w, more_s = energy_j / between_s, shown.seen_s - between_s
    reach_w = max(mean_w, _highest(said.channel, around)[0] - mean_w)
    return replace(
        said, energy_j=energy_j + mean_w * more_s, error_j=(said.error_j or 0.0) + reach_w * more_s
    )


def _integrated(samples: ChannelSamples, shown: Seen, around: Surroundings) -> Figure:
    """The energy of the covered part of a power trace."""
    channel, sensor = samples.channel, samples.channel.looks
    energy_j = error_j = short_j = 0.0
    for first, last, start_s, end_s in _readable_pieces(samples, shown):
        times, values = shown.times_s[first : last + 1], shown.values[first : last + 1]
        times, values = _with_neighbours(samples, times, values, around.edges_s)
        part = integrate(times, values, start_s, end_s, sensor)
        if part is None:
            continue
        energy_j += part.energy_j
        if len(times) <= TWO or sensor.idle_error == 0:
            own_j = _own_error_j(channel, part.energy_j, end_s - start_s)
        else:
            # At lower power it is a larger share.
            own_j = held_j(times, channel.own_error_w(values), start_s, end_s)
        error_j += part.error_j + own_j
        short_j += part.error_j
    coarse = around.duration_s < sensor.averaging_s
    few = around.duration_s < COARSE_TICKS * max(samples.interval_s, sensor.lag_s)
    said = Figure(channel, energy_j, error_j, coarse=coarse, short_j=short_j if few else 0.0)
    return _stretched(said, shown, around) if _lacks_an_edge(samples) else said


def _readable_pieces(samples: ChannelSamples, shown: Seen) -> list[tuple[int, int, float, float]]:
    """The covered pieces, without edges at which the sensor was unreadable."""
    if not _lacks_an_edge(samples):
        return shown.pieces()
    first_s, last_s = float(shown.times_s[0]), float(shown.times_s[-1])
    return [
        (first, last, max(start_s, first_s), min(end_s, last_s))
        for first, last, start_s, end_s in shown.pieces()
    ]


def _with_neighbours(
    samples: ChannelSamples, times: Floats, values: Floats, edges_s: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Readings, plus those of a recording just outside the window if there is no gap between."""
    if samples.outside is None:
        return times, values
    longest_s = longest_step_s(samples.interval_s, edges_s[1] - edges_s[0])
    others_s, others_w = samples.outside
    before, after = others_s < edges_s[0], others_s > edges_s[1]
    if before.any() and times[0] - others_s[before][-1] <= longest_s:
        times = np.concatenate((others_s[before], times))
        values = np.concatenate((others_w[before], values))
    if after.any() and others_s[after][0] - times[-1] <= longest_s:
        times = np.concatenate((times, others_s[after]))
        values = np.concatenate((values, others_w[after]))
    # An edge that only holds the value of the sample before it is not a sample.
    held = np.zeros(len(times), bool)
    held[1:-1] = np.isin(times[1:-1], edges_s) & (values[1:-1] == values[:-2])
    return times[~held], values[~held]


def _own_error_j(channel: Channel, energy_j: float, duration_s: float) -> float:
    """The sensor's error at the mean power of a period."""
    error_j = channel.relative_error * abs(energy_j)
    sensor = channel.sensor
    if sensor is None or not sensor.idle_error:
        return error_j
    return max(error_j, sensor.idle_error * min(abs(energy_j), sensor.idle_below_w * duration_s))


def _bridged(said: Figure, samples: ChannelSamples, shown: Seen, around: Surroundings) -> Figure:
    """The result with gaps bridged by the mean of idle power and the highest known power."""
    channel, lost_s = said.channel, around.duration_s - shown.seen_s
    highest_w, most_w, most = _highest(channel, around)
    powers = _powers(around)
    if not len(powers) and around.idle_w is None:
        return Figure(channel, None, None, f"{channel.source}: {samples.unreadable or 'no power'}")
    lowest_w = around.idle_w if around.idle_w is not None else float(powers.min())
    lowest_w = min(lowest_w, highest_w)
    least_w, least = 0.0, "0 W (idle power is unknown)"
    if around.idle_w is not None:
        least_w = max(0.0, around.idle_w - around.idle_error_w)
        least = f"idle power, {around.idle_w:.4g} W,"
    power_w = (lowest_w + highest_w) / 2
    reach_w = max(power_w - least_w, most_w - power_w)
    part = shown.seen_s > LEAST_SEEN_S
    measured = "nothing was measured"
    if part:
        measured = f"measured: {formats.joules(said.energy_j or 0.0)} in {in_seconds(shown.seen_s)}"
    why = [samples.unreadable] if samples.unreadable else []
    why += [f"the machine slept for {slept_s:.1f} s" for _, slept_s in samples.sleeps]
    taken = f"taken as {power_w:.4g} W: between {least} and {most}"
    why += [f"no reading for {in_seconds(lost_s)}, {taken}", measured]
    return replace(
        said,
        energy_j=(said.energy_j or 0.0) + power_w * lost_s,
        error_j=(said.error_j or 0.0) + reach_w * lost_s,
        reason=f"{channel.source}: {'; '.join(why)}",
        lost_s=lost_s,
        seen_j=said.energy_j if part else None,
    )


def _highest(channel: Channel, around: Surroundings) -> tuple[float, float, str]:
    """The highest known power, the highest possible power, and its description."""
    powers = _powers(around)
    seen_w = float(powers.max()) if len(powers) else 0.0
    limits = [samples.state.get("power_limit_w", np.empty(0)) for samples in around.channel_samples]
    known = [float(np.nanmax(one)) for one in limits if not np.isnan(one).all()]
    named = [one.channel.limit_w for one in around.channel_samples if one.channel.limit_w]
    if known or named:
        limit_w = max(known or named)
        words = f"the limit, {limit_w:.4g} W" if known else f"{limit_w:.4g} W, for such a device"
        highest_w = max(limit_w, seen_w)
        return highest_w, highest_w * (1 + channel.relative_error), words
    most_w = max(highest_possible_w(channel.domain), seen_w * (1 + channel.relative_error))
    words = f"{most_w:.4g} W (limit unknown; highest seen: {seen_w:.4g} W)"
    return seen_w, most_w, words


def _powers(around: Surroundings) -> Floats:
    """The known powers of a domain: samples, else steps of its counters."""
    of_power = [
        values
        for samples in around.channel_samples
        if samples.channel.kind == "power"
        for values in [readings_of(samples)[1]]
        if len(values)
    ]
    if of_power:
        return np.concatenate(of_power)
    found = [np.empty(0)]
    for samples in around.channel_samples:
        times, values = readings_of(samples)
        steps_s, steps_j = np.diff(times), np.diff(values)
        # A step across a sleep includes the energy of the sleep; a too short one has hardly a tick.
        usual = (steps_s >= samples.interval_s / 2) & (steps_j >= 0)
        usual &= steps_s <= longest_step_s(samples.interval_s, around.duration_s)
        for woken_s, _ in samples.sleeps:
            usual &= ~((times[:-1] < woken_s) & (times[1:] >= woken_s))
        found.append(steps_j[usual] / steps_s[usual])
    return np.concatenate(found)


def _edge_power_w(around: Surroundings, energy_j: float) -> float:
    """The sum of the power at both edges, or twice the mean if power is not sampled."""
    for samples in around.channel_samples:
        if samples.channel.kind == "power":
            both_w = float(samples.values[0] + samples.values[-1])
            if not math.isnan(both_w):
                return both_w
    return 2 * energy_j / around.duration_s if around.duration_s > 0 else 0.0
