"""Integration of what one channel said: joules over a window, and how far they may be off.

Symbols: samples (t_i, p_i) with t in seconds of the monotonic clock and p in watts.

Power is integrated by holding the last value, E = sum p_i (t_{i+1} - t_i): a sensor's value stands
until the next one is read, and repeated values are values. At the edges of a window that lie
between two samples the power is interpolated linearly. Whatever the power did between two samples,
as long as it did not leave the range between them, the integral lies within
sum |p_{i+1} - p_i| (t_{i+1} - t_i) of E: this is the bound that is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Series = Sequence[float] | Floats


@dataclass(frozen=True)
class Integral:
    """Energy over a window, and the bound of the error that sampling makes, both in joules."""

    energy_j: float
    error_j: float


def integrate(
    times_s: Series,
    power_w: Series,
    start_s: float,
    end_s: float,
) -> Integral | None:
    """Energy of a power trace between two moments.

    Args:
        times_s: (n,), increasing.
        power_w: (n,).
        start_s: not before the first sample.
        end_s: not after the last sample.

    Returns:
        ``None`` where fewer than two samples, or an edge outside them, leave the energy unknown.
    """
    times, power = np.asarray(times_s, float), np.asarray(power_w, float)
    if len(times) < 2 or start_s < times[0] or end_s > times[-1] or end_s < start_s:  # noqa: PLR2004
        return None
    inside = (times > start_s) & (times < end_s)
    edges = np.interp([start_s, end_s], times, power)
    moments = np.concatenate(([start_s], times[inside], [end_s]))
    values = np.concatenate((edges[:1], power[inside], edges[1:]))
    steps_s = np.diff(moments)
    held_j = float(np.dot(values[:-1], steps_s))
    return Integral(held_j, float(np.dot(np.abs(np.diff(values)), steps_s)))


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
