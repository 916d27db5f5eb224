"""Power over time as arrays: its energy, and its mean over bins of equal length.

::

    E(a, b) = integral of P dt           trapezoid between the samples
    P_i     = (E(t_i+1) - E(t_i)) / h    mean power of bin i, of length h

A gap between two samples is bridged by a straight line, as any other pair of neighbours is: nothing
is invented beyond what the two ends say, and no time is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulelab.errors import UsageError

Values = npt.NDArray[np.float64]

FEWEST_SAMPLES = 2
LONGEST_BIN_S = 1.0
FEWEST_BINS = 400
"""Bins that the whole of a run should have at least, as far as its samples go."""


@dataclass(frozen=True)
class PowerTrace:
    """Samples of power in the order of time.

    Attributes:
        time_s: seconds, ascending, shape (samples,).
        power_w: watts, shape (samples,).
    """

    time_s: Values
    power_w: Values

    @classmethod
    def of(cls, time_s: npt.ArrayLike, power_w: npt.ArrayLike) -> PowerTrace:
        """A trace of raw samples; what has no time or power, or steps back in time, is left out.

        Args:
            time_s: seconds, shape (samples,).
            power_w: watts, the same shape; NaN where unknown.

        Raises:
            UsageError: shapes differ, or fewer than two samples are left.

        >>> trace = PowerTrace.of([0, 1, 2], [100.0, 200.0, float("nan")])
        >>> trace.duration_s, trace.energy_j
        (1.0, 150.0)
        """
        time, power = np.asarray(time_s, dtype=float), np.asarray(power_w, dtype=float)
        if time.ndim != 1 or time.shape != power.shape:
            raise UsageError(
                f"times have the shape {time.shape} and powers {power.shape}",
                "give one power for each time",
            )
        known = np.isfinite(time) & np.isfinite(power)
        time, power = time[known], power[known]
        latest = np.maximum.accumulate(time)
        forward = np.r_[True, time[1:] > latest[:-1]] if len(time) else np.zeros(0, dtype=bool)
        if forward.sum() < FEWEST_SAMPLES:
            raise UsageError(
                f"a power trace with {int(forward.sum())} usable samples",
                "a prediction needs at least two samples with a time and a power",
            )
        return cls(time[forward], power[forward])

    @property
    def duration_s(self) -> float:
        """From the first sample to the last."""
        return float(self.time_s[-1] - self.time_s[0])

    @property
    def energy_j(self) -> float:
        """The integral of the whole trace."""
        return float(self._cumulative_j[-1])

    @property
    def mean_w(self) -> float:
        """Energy over duration."""
        return self.energy_j / self.duration_s

    @property
    def _cumulative_j(self) -> Values:
        steps = np.diff(self.time_s) * (self.power_w[1:] + self.power_w[:-1]) / 2
        return np.concatenate([[0.0], np.cumsum(steps)])

    def between(self, begin_s: float, end_s: float) -> PowerTrace:
        """The part between two times since the first sample; its ends are interpolated.

        Args:
            begin_s: seconds since the first sample.
            end_s: after it; what lies beyond the trace is cut off.

        Raises:
            UsageError: nothing lies between the two.
        """
        first = float(self.time_s[0])
        begin = first + max(begin_s, 0.0)
        end = first + min(end_s, self.duration_s)
        if not begin < end:
            raise UsageError(
                f"there is no power between {begin_s:g} s and {end_s:g} s of the trace",
                f"it has {self.duration_s:g} s",
            )
        inside = (self.time_s > begin) & (self.time_s < end)
        time = np.concatenate([[begin], self.time_s[inside], [end]])
        return PowerTrace(time, np.interp(time, self.time_s, self.power_w))

    def binned_w(self, bin_s: float) -> Values:
        """Mean power of bins of equal length; the last bin ends with the trace.

        Args:
            bin_s: length of a bin; what does not fill one at the beginning is left out.

        Returns:
            Watts, shape (bins,).
        """
        bins = max(1, int(self.duration_s / bin_s + 1e-9))
        edges = self.time_s[-1] - bin_s * np.arange(bins, -1, -1)
        edges[0] = max(edges[0], self.time_s[0])
        energy_j = np.interp(edges, self.time_s, self._cumulative_j)
        return np.asarray(np.diff(energy_j) / np.diff(edges), dtype=float)


def bin_length_s(trace: PowerTrace, duration_s: float) -> float:
    """How long a bin is: a second, or less for a short run, but not less than a sample takes.

    Args:
        trace: what was seen of the run.
        duration_s: of the whole run.
    """
    between_samples_s = float(np.median(np.diff(trace.time_s)))
    return max(between_samples_s, min(LONGEST_BIN_S, duration_s / FEWEST_BINS))
