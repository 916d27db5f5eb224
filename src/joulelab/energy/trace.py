r"""Integration of what one channel said: joules over a window, and how far they may be off.

Symbols: samples (t_i, p_i) with t in seconds of the monotonic clock and p in watts; a sensor that
is new every u, whose value is the mean over the last w, and that sees the share s of the time.

::

    power     ______|^^^^^^^^^|____________
    w = u     ______|^^^^^^^^^|____________   as it is, up to u late
    w >> u    ______/^^^^^^^^^^\___________   smeared over w

Power is integrated by holding the last value, E = sum p_i (t_{i+1} - t_i): a sensor's value stands
until the next one is read, and repeated values are values. Three things are not known:

sampling
    What power did between two samples. It is taken to have stayed within the range of the samples
    there: |p_{i+1} - p_i| (t_{i+1} - t_i). Of a part that the sensor does not see, 1 - s w / dt of
    a step that is longer than w, the range is that of the two steps beside it as well, and half of
    it is allowed. A sensor that sees a part of each u has half of the rest beside that.
edges
    A mean over the last w is behind by w / 2, and by up to u more. Where power is P before the
    opening a and Q before the closing b, the integral is short by (w / 2 + u) (Q - P). With A(t)
    the energy until t, b's share is A(b) - mean of A over (b - w, b), which is between -w/8 and
    +w/8 of the range of power there around w / 2 Q.
range
    A mean hides the range of what it is a mean of. Where it moves by d in u, power a w ago and now
    differ by d w / u; so much is taken as the range, unless it is more than three times the highest
    value: no mean over w moves so, and the sensor is taken to be quicker than was said.

What no bound of this kind can cover is a load that repeats itself in step with the sensor, or with
the sampling: a sensor that sees 25 of every 100 ms cannot tell a square wave of 100 ms from a
constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Series = Sequence[float] | Floats
HIGHEST = 3.0
"""How many times the highest mean over a second a power may be, for its jump to be believed."""
TWO = 2


@dataclass(frozen=True)
class Sensor:
    """How a power sensor looks at its device.

    Attributes:
        update_s: time between two values in seconds; so late a value may be.
        averaging_s: over how long before it a value is a mean, in seconds.
        seen: the share of the time that it sees.
        idle_error: bound of its error at idle, as a fraction of what it says.
        idle_below_w: what it says at idle at the most; its error is no less at more power.
    """

    update_s: float = 0.0
    averaging_s: float = 0.0
    seen: float = 1.0
    idle_error: float = 0.0
    idle_below_w: float = 0.0

    @property
    def lag_s(self) -> float:
        """After how long a value has nothing left of the one before, in seconds."""
        return self.update_s + self.averaging_s

    def unseen(self, step_s: Floats) -> Floats:
        """The share of steps between samples that the sensor has not seen, 0 to 1."""
        seen_s = self.seen * max(self.averaging_s, self.update_s)
        longest = np.maximum(step_s, max(self.update_s, 1e-9))
        return np.clip(1 - seen_s / longest, 0.0, 1.0)


IDEAL = Sensor()


@dataclass(frozen=True)
class Integral:
    """Energy over a window, and the bound of what sampling and lag may do to it, in joules."""

    energy_j: float
    error_j: float


def integrate(
    times_s: Series,
    power_w: Series,
    start_s: float,
    end_s: float,
    sensor: Sensor = IDEAL,
) -> Integral | None:
    """Energy of a power trace between two moments.

    Args:
        times_s: (n,), increasing. Samples outside the window say what power did near its edges.
        power_w: (n,). The first and the last value stand until the edge beyond them.
        start_s: the opening.
        end_s: the closing.
        sensor: what the samples are from.

    Returns:
        ``None`` where there is no sample, or no window.
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
    hidden_w = _hidden(moved_w / np.maximum(steps_s, max(sensor.update_s, 1e-9)), power, sensor)
    if hidden_w is None:
        sensor = _quicker(sensor)
    error_j = _sampling_j(power, moved_w, steps_s, held_s, sensor)
    error_j += _edges_j(times, power, hidden_w, (start_s, end_s), sensor)
    return Integral(held_j(times, power, start_s, end_s), error_j)


def held_j(times_s: Floats, power_w: Floats, start_s: float, end_s: float) -> float:
    """The sum of values that each stand until the next, in joules for watts.

    Args:
        times_s: (n,), increasing.
        power_w: (n,). The first and the last value stand until the edge beyond them.
        start_s: the opening.
        end_s: the closing.
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
            sensor, swing_w = _quicker(sensor), moved_w
    unseen_s = (1 - sensor.seen) / 2 * sensor.update_s
    behind_s = sensor.averaging_s / 2 + sensor.update_s
    around_s = sensor.averaging_s / 8 + sensor.update_s / 2
    sampling_j = moved_w * (min(step_s, end_s - start_s) + unseen_s)
    return Integral(whole_j, sampling_j + moved_w * behind_s + 2 * max(swing_w, moved_w) * around_s)


def _quicker(sensor: Sensor) -> Sensor:
    return Sensor(sensor.update_s, 0.0, sensor.seen)


def _hidden(slopes: Floats, power: Floats, sensor: Sensor) -> Floats | None:
    """The range that a mean may hide at each step, in watts; ``None`` where it is no such mean."""
    if sensor.averaging_s <= sensor.update_s:
        return np.zeros(len(slopes))
    hidden_w = slopes * sensor.averaging_s
    return None if hidden_w.max() > HIGHEST * power.max() else hidden_w


def _sampling_j(
    power: Floats, moved_w: Floats, steps_s: Floats, held_s: Floats, sensor: Sensor
) -> float:
    """What power may have done between the samples."""
    unseen = sensor.unseen(steps_s)
    allowed_w = moved_w
    if unseen.any():
        highest, lowest = np.maximum(power[:-1], power[1:]), np.minimum(power[:-1], power[1:])
        allowed_w = np.maximum(moved_w, unseen / 2 * (_near(highest) + _near(-lowest)))
    within_s = (1 - sensor.seen) / 2 * sensor.update_s
    share = held_s / np.maximum(steps_s, 1e-9)
    return float(np.dot(allowed_w, held_s) + within_s * np.dot(moved_w, share))


def _near(values: Floats) -> Floats:
    """The highest of each value and its two neighbours."""
    highest = values.copy()
    np.maximum(highest[1:], values[:-1], out=highest[1:])
    np.maximum(highest[:-1], values[1:], out=highest[:-1])
    return highest


def _edges_j(
    times: Floats,
    power: Floats,
    hidden_w: Floats | None,
    edges_s: tuple[float, float],
    sensor: Sensor,
) -> float:
    """What a late value, or a mean, may do at both edges."""
    lag_s, at_edge_w, swings_w = sensor.lag_s, [], 0.0
    for edge_s in edges_s:
        after = int(np.searchsorted(times, edge_s, "right"))
        at_edge_w.append(float(power[max(after - 1, 0)]))
        first = min(int(np.searchsorted(times, edge_s - lag_s)), max(after - 1, 0))
        last = max(int(np.searchsorted(times, edge_s + lag_s, "right")), after + 1)
        near = power[first:last]
        swing_w = float(near.max() - near.min())
        if hidden_w is not None and last - first > 1:
            swing_w = max(swing_w, float(hidden_w[first : last - 1].max(initial=0.0)))
        swings_w += swing_w
    behind_s = sensor.averaging_s / 2 + sensor.update_s
    around_s = sensor.averaging_s / 8 + sensor.update_s / 2
    return behind_s * abs(at_edge_w[1] - at_edge_w[0]) + around_s * swings_w


def longest_gap_s(times_s: Series) -> float:
    """The longest time between two neighbouring samples; 0 for fewer than two."""
    times = np.asarray(times_s, float)
    return float((times[1:] - times[:-1]).max()) if len(times) > 1 else 0.0


def power_of_counter(times_s: Series, energy_j: Series) -> Floats:
    """Mean power of a counter since the sample before; NaN for the first sample.

    Args:
        times_s: (n,), increasing.
        energy_j: (n,), cumulative.
    """
    times, energy = np.asarray(times_s, float), np.asarray(energy_j, float)
    steps_s = times[1:] - times[:-1]
    power = np.full(len(times), np.nan)
    np.divide(energy[1:] - energy[:-1], steps_s, out=power[1:], where=steps_s > 0)
    return power
