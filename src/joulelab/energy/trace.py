r"""Integration of a channel's samples: joules over a window, and the error bound.

Symbols: samples (t_i, p_i) with t in seconds of the monotonic clock and p in watts; a sensor that
updates every u, averages over the last w, and samples the share s of the time.

::

    power     ______|^^^^^^^^^|____________
    w = u     ______|^^^^^^^^^|____________   as it is, up to u late
    w >> u    ______/^^^^^^^^^^\___________   smeared over w

Power is integrated by holding the last value, E = sum p_i (t_{i+1} - t_i): a value holds until the
next one is read, and repeated values are values. Three things are uncertain:

sampling
    Power between two samples. It is assumed to stay within the range of these samples:
    |p_{i+1} - p_i| (t_{i+1} - t_i). For the part that the sensor does not sample, 1 - s w / dt of a
    step longer than w, the range also includes the two neighbouring steps, or six if the step is
    longer than w + u and the window has few steps. In a window of many steps, where misses even
    out, half of the range is the bound; in a window of one step, all of it from the sample on, up
    or down. A sensor that samples only part of each u adds half of the rest.
edges
    A mean over the last w lags by w / 2, and by up to u more. If power is P before the opening a
    and Q before the closing b, the integral is short by (w / 2 + u) (Q - P). With A(t) the energy
    until t, b's share is A(b) - mean of A over (b - w, b), which is between -w/8 and +w/8 of the
    range of power there around w / 2 Q.
range
    A mean hides the range of its values. If it changes by d in u, power a w ago and now differ by
    d w / u, which is used as the range unless it exceeds three times the highest value: a mean over
    w cannot change that fast, so the sensor stood still for a while. Then the jump may belong to
    all of the time, at most w + u, in which the old value was shown. If the sensor is unknown and
    this happens more than once, it is not an averaging sensor.

No such bound covers a load that repeats in step with the sensor or the sampling: a sensor that
samples 25 of every 100 ms cannot distinguish a square wave of 100 ms from a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Series = Sequence[float] | Floats
HIGHEST = 3.0
"""Largest accepted ratio of a power to the highest mean over a second."""
STILL = 1
"""Largest number of standstills of a sensor in a window."""
TWO = 2
FEW, FAR = 4, 3
"""In a window of few steps, neighbours on each side that give the range of an unsampled step."""


@dataclass(frozen=True)
class Sensor:
    """How a power sensor samples its device.

    Attributes:
        update_s: update interval in seconds, the largest delay of a value.
        averaging_s: averaging time before a value, in seconds.
        seen: the share of time that it samples.
        idle_error: bound of its error at idle, as a fraction of the reading.
        idle_below_w: highest idle reading; at higher power the error in watts is at least as large.
        known: whether the sensor is known, rather than assumed as the worst case.
    """

    update_s: float = 0.0
    averaging_s: float = 0.0
    seen: float = 1.0
    idle_error: float = 0.0
    idle_below_w: float = 0.0
    known: bool = True

    @property
    def lag_s(self) -> float:
        """Time after which a value is independent of the last one, in seconds."""
        return self.update_s + self.averaging_s

    @property
    def behind_s(self) -> float:
        """Largest lag of its values in seconds."""
        return self.update_s + self.averaging_s / 2

    def unseen(self, step_s: Floats) -> Floats:
        """The share of the time between samples that the sensor did not sample, 0 to 1."""
        seen_s = self.seen * max(self.averaging_s, self.update_s)
        longest = np.maximum(step_s, max(self.update_s, 1e-9))
        return np.clip(1 - seen_s / longest, 0.0, 1.0)


IDEAL = Sensor()


@dataclass(frozen=True)
class Integral:
    """Energy over a window, and the bound of the error from sampling and lag, in joules."""

    energy_j: float
    error_j: float


def integrate(
    times_s: Series, power_w: Series, start_s: float, end_s: float, sensor: Sensor = IDEAL
) -> Integral | None:
    """Energy of a power trace between two times.

    Args:
        times_s: (n,), increasing. Samples outside the window show power near its edges.
        power_w: (n,). The first and the last value hold up to the edges.
        start_s: start of the window.
        end_s: end of the window.
        sensor: the sensor of the samples.

    Returns:
        ``None`` without samples or for an empty window.
    """
    if not len(times_s) or end_s < start_s:
        return None
    times, power = np.asarray(times_s, float), np.asarray(power_w, float)
    if len(times) <= TWO:
        # The ordinary case of a short window, without array arithmetic.
        return _of_two(times.tolist(), power.tolist(), start_s, end_s, sensor)
    held_s = np.diff(np.clip(times, start_s, end_s))
    steps_s = np.diff(times)
    moved_w = np.abs(np.diff(power))
    edges_s, hidden_w = (start_s, end_s), np.zeros(len(moved_w))
    error_j = 0.0
    if sensor.averaging_s > sensor.update_s:
        hidden_w = moved_w / np.maximum(steps_s, sensor.update_s) * sensor.averaging_s
        jumps = np.flatnonzero(hidden_w > HIGHEST * power.max())
        hidden_w[jumps] = 0.0
        if not sensor.known and len(jumps) > STILL:
            sensor, hidden_w = _quicker(sensor), np.zeros(len(moved_w))
        else:
            error_j = _still_j(times, moved_w, jumps.tolist(), edges_s, sensor)
    error_j += _sampling_j(power, moved_w, steps_s, held_s, sensor)
    error_j += _edges_j(times, power, hidden_w, edges_s, sensor)
    return Integral(held_j(times, power, start_s, end_s), error_j)


def held_j(times_s: Floats, power_w: Floats, start_s: float, end_s: float) -> float:
    """The sum of values that each hold until the next, in joules for watts.

    Args:
        times_s: (n,), increasing.
        power_w: (n,). The first and the last value hold up to the edges.
        start_s: start of the window.
        end_s: end of the window.
    """
    clipped = np.clip(times_s, start_s, end_s)
    inner_j = float(np.dot(power_w[:-1], np.diff(clipped)))
    outer_j = power_w[0] * (clipped[0] - start_s) + power_w[-1] * (end_s - clipped[-1])
    return inner_j + float(outer_j)


def _of_two(
    times: list[float], power: list[float], start_s: float, end_s: float, sensor: Sensor
) -> Integral:
    between_s = min(max(times[-1], start_s), end_s)
    whole_j = power[0] * (between_s - start_s) + power[-1] * (end_s - between_s)
    moved_w, step_s = abs(power[-1] - power[0]), times[-1] - times[0]
    if not moved_w:
        return Integral(whole_j, 0.0)
    swing_w = moved_w
    if sensor.averaging_s > sensor.update_s:
        swing_w = moved_w / max(step_s, sensor.update_s, 1e-9) * sensor.averaging_s
        if swing_w > HIGHEST * max(power):
            swing_w = moved_w
    unseen_s = (1 - sensor.seen) / 2 * sensor.update_s
    around_s = sensor.averaging_s / 8 + sensor.update_s / 2
    sampling_j = moved_w * (min(step_s, end_s - start_s) + unseen_s)
    return Integral(
        whole_j, sampling_j + moved_w * sensor.behind_s + 2 * max(swing_w, moved_w) * around_s
    )


def _quicker(sensor: Sensor) -> Sensor:
    return Sensor(sensor.update_s, 0.0, sensor.seen)


def _still_j(
    times: Floats,
    moved_w: Floats,
    jumps: Sequence[int],
    edges_s: tuple[float, float],
    sensor: Sensor,
) -> float:
    """Energy missed by a sensor while it stood still, before the steps at which it jumped."""
    error_j = 0.0
    for jump in jumps:
        moves = np.flatnonzero(moved_w[:jump])
        stood_s = float(times[moves[-1] + 1]) if len(moves) else float(times[0])
        woke_s = float(times[jump + 1])
        stood_s = max(stood_s, woke_s - sensor.lag_s)
        still_s = max(0.0, min(woke_s, edges_s[1]) - max(stood_s, edges_s[0]))
        # Meanwhile its reading at an edge is the old value.
        edges = sum(stood_s < edge_s < woke_s for edge_s in edges_s)
        error_j += float(moved_w[jump]) * (still_s + edges * sensor.behind_s)
    return error_j


def _sampling_j(
    power: Floats, moved_w: Floats, steps_s: Floats, held_s: Floats, sensor: Sensor
) -> float:
    """Error bound for power between the samples."""
    unseen = sensor.unseen(steps_s)
    allowed_w = moved_w
    if unseen.any():
        steps = np.maximum(held_s.sum() / np.maximum(steps_s, 1e-9), 1)
        reach = np.where((steps_s > sensor.lag_s) & (steps < FEW), FAR, 1)
        up_w = _near(np.maximum(power[:-1], power[1:]), reach) - power[:-1]
        down_w = power[:-1] + _near(-np.minimum(power[:-1], power[1:]), reach)
        half_w = (up_w + down_w) / 2
        alone_w = np.maximum(up_w, down_w) - half_w
        allowed_w = np.maximum(moved_w, unseen * (half_w + alone_w / steps))
    within_s = (1 - sensor.seen) / 2 * sensor.update_s
    share = held_s / np.maximum(steps_s, 1e-9)
    return float(np.dot(allowed_w, held_s) + within_s * np.dot(moved_w, share))


def _near(values: Floats, reach: NDArray[np.int_]) -> Floats:
    """The maximum of each value and its neighbours on each side."""
    highest = values.copy()
    for apart in range(1, min(FAR, len(values) - 1) + 1):
        wide = reach >= apart
        np.maximum(highest[apart:], values[:-apart], out=highest[apart:], where=wide[apart:])
        np.maximum(highest[:-apart], values[apart:], out=highest[:-apart], where=wide[:-apart])
    return highest


def _edges_j(
    times: Floats, power: Floats, hidden_w: Floats, edges_s: tuple[float, float], sensor: Sensor
) -> float:
    """Error bound of late or averaged values at both edges."""
    lag_s, at_edge_w, swings_w = sensor.lag_s, [], 0.0
    for edge_s in edges_s:
        after = int(np.searchsorted(times, edge_s, "right"))
        at_edge_w.append(float(power[max(after - 1, 0)]))
        first = min(int(np.searchsorted(times, edge_s - lag_s)), max(after - 1, 0))
        last = max(int(np.searchsorted(times, edge_s + lag_s, "right")), after + 1)
        near = power[first:last]
        swing_w = float(near.max() - near.min())
        swing_w = max(swing_w, float(hidden_w[first : last - 1].max(initial=0.0)))
        swings_w += swing_w
    around_s = sensor.averaging_s / 8 + sensor.update_s / 2
    return sensor.behind_s * abs(at_edge_w[1] - at_edge_w[0]) + around_s * swings_w


def longest_gap_s(times_s: Series) -> float:
    """The longest time between consecutive samples; 0 for fewer than two."""
    times = np.asarray(times_s, float)
    return float((times[1:] - times[:-1]).max()) if len(times) > 1 else 0.0


def power_of_counter(times_s: Series, energy_j: Series) -> Floats:
    """Mean power of a counter since the previous sample; NaN for the first sample.

    Args:
        times_s: (n,), increasing.
        energy_j: (n,), cumulative.
    """
    times, energy = np.asarray(times_s, float), np.asarray(energy_j, float)
    steps_s = times[1:] - times[:-1]
    power = np.full(len(times), np.nan)
    np.divide(energy[1:] - energy[:-1], steps_s, out=power[1:], where=steps_s > 0)
    return power
