"""Power over time: its energy, its rhythm, and the stable part of a training.

Energy, and means over bins of equal length
-------------------------------------------

::

    E(a, b) = integral of P dt           trapezoid between the samples
    P_i     = (E(t_i+1) - E(t_i)) / h    mean power of bin i, of length h

A gap between two samples is bridged by a straight line, like any other pair of neighbours, so no
time is left out.

Rhythm: the length of an epoch, from the power alone
----------------------------------------------------

Between two epochs the power dips or rises: validation, a checkpoint, the first batch of the next.
With x_i the power of bin i minus its mean, the rhythm is the lag of the first high peak of::

    r(l) = sum_i x_i x_(i+l) / (n - l)  /  (sum_i x_i^2 / n)          autocorrelation

A mean over whole periods does not depend on the position within an epoch at which the window ends.

Stable point: where a training reaches its final level
------------------------------------------------------

::

    power
      |                           ____   ____   ____   ____
      |            ______        |    |_|    |_|    |_|    |      epochs, with dips between
      |   ________|      |       |
      |  |  first phase  |       |
      |  | (frozen base) |_      |
      |__|                 |_____| <- trough: the network is rebuilt
      +--+---------------+-------+----------------------------+--> time
       start-up        change   stable point                  now

The steps imitate what one does by eye.

1. Start-up ends where the power first comes near that of the following minute.
2. A trough is a time at which the power falls well below the low of what was seen, and below all of
   it: training has stopped as it has not before, and what follows may be another phase. del Rey et
   al. use a matrix profile of the trace, the distance of each stretch to the most similar stretch;
   the first trough of its kind stands out there too, as the discord. Dips between epochs recur, and
   do not count as troughs.
3. The trace after the last trough is cut, backwards from now, into blocks of whole epochs
   (`period`); they belong to the stable part as long as their means agree. A single block that does
   not, while those before it do, was an interruption, and is ignored.

A phase has changed if there was a trough, or if the stable part is at another level than the time
before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulelab.analysis.rounding import Values
from joulelab.errors import UsageError

SHORTEST = 4
FEWEST_PERIODS = 2.5
LEAST_CORRELATION = 0.3
NEAR_THE_HIGHEST = 0.85
"""A peak counts as high from this share of the highest; its multiples come later."""
USUAL = 0.75
MINUTE = 60
"""Start-up is over at this share of the median power of the following bins, this many."""
SETTLED = 20
"""Bins after start-up without a search for troughs: first batches, first validation."""
LOW = 5.0
"""The low of the trace seen is this percentile of its power."""
TROUGH, RECORD = 0.85, 0.95
"""A trough is below this share of the low, and below this share of the minimum so far."""
LEAST_BLOCK = 15
"""Bins of the shortest block, and of the shortest phase that has a level."""
FEWEST, MANY = 4, 10
"""Fewest blocks for a tolerance from their own scatter; most blocks without a rhythm."""
BEHIND = 2
"""Blocks needed to tell an interruption from a change of level."""
TOGETHER, FAR, SCALE_OF_MAD = 0.03, 4.0, 1.4826
"""Blocks agree within this share of their median, or this many times their scatter."""
ANOTHER_LEVEL, FEW = 0.1, 0.25
"""Another level is this far from the median of the blocks before, and beyond most of them."""
FEWEST_SAMPLES = 2
LONGEST_BIN_S = 1.0
FEWEST_BINS = 400
"""Minimum bins in a whole run, as far as its samples allow."""


@dataclass(frozen=True)
class PowerTrace:
    """Samples of power over time.

    Attributes:
        time_s: seconds, ascending, shape (samples,).
        power_w: watts, shape (samples,).
    """

    time_s: Values
    power_w: Values

    @classmethod
    def of(cls, time_s: npt.ArrayLike, power_w: npt.ArrayLike) -> PowerTrace:
        """Build a trace from raw samples; unknown ones and steps back in time are dropped.

        Args:
            time_s: seconds, shape (samples,).
            power_w: watts, same shape; NaN if unknown.

        Raises:
            UsageError: shapes differ, or fewer than two samples remain.

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
        """Time from the first sample to the last."""
        return float(self.time_s[-1] - self.time_s[0])

    @property
    def energy_j(self) -> float:
        """The integral of the whole trace."""
        return float(self._cumulative_j[-1])

    @property
    def mean_w(self) -> float:
        """Energy divided by duration."""
        return self.energy_j / self.duration_s

    @property
    def _cumulative_j(self) -> Values:
        steps = np.diff(self.time_s) * (self.power_w[1:] + self.power_w[:-1]) / 2
        return np.concatenate([[0.0], np.cumsum(steps)])

    def between(self, begin_s: float, end_s: float) -> PowerTrace:
        """The part between two times since the first sample, with interpolated ends.

        Args:
            begin_s: seconds since the first sample.
            end_s: after it; times beyond the trace are cut off.

        Raises:
            UsageError: the trace has no power between the two.
        """
        first = float(self.time_s[0])
        begin = first + max(begin_s, 0.0)
        end = first + min(end_s, self.duration_s)
        if not begin < end:
            raise UsageError(
                f"the trace has no power between {begin_s:g} s and {end_s:g} s",
                f"it has {self.duration_s:g} s",
            )
        inside = (self.time_s > begin) & (self.time_s < end)
        time = np.concatenate([[begin], self.time_s[inside], [end]])
        return PowerTrace(time, np.interp(time, self.time_s, self.power_w))

    def binned_w(self, bin_s: float) -> Values:
        """Mean power of bins of equal length; the last bin ends with the trace.

        Args:
            bin_s: length of a bin; an incomplete bin at the beginning is left out.

        Returns:
            Watts, shape (bins,).
        """
        bins = max(1, int(self.duration_s / bin_s + 1e-9))
        edges = self.time_s[-1] - bin_s * np.arange(bins, -1, -1)
        edges[0] = max(edges[0], self.time_s[0])
        energy_j = np.interp(edges, self.time_s, self._cumulative_j)
        return np.asarray(np.diff(energy_j) / np.diff(edges), dtype=float)


def bin_length_s(trace: PowerTrace, duration_s: float) -> float:
    """Length of a bin: a second, or less for a short run, but at least the sampling interval.

    Args:
        trace: the part of the run seen.
        duration_s: duration of the whole run.
    """
    between_samples_s = float(np.median(np.diff(trace.time_s)))
    return max(between_samples_s, min(LONGEST_BIN_S, duration_s / FEWEST_BINS))


def period(power_w: Values) -> int | None:
    """The length of the rhythm in bins; None if there is none, or fewer than 2.5 periods.

    Args:
        power_w: mean power of bins of equal length, shape (bins,).

    Epochs of 20 bins, with a dip in each:

    >>> bins = np.arange(200)
    >>> period(np.where(bins % 20 < 4, 80.0, 140.0))
    20
    """
    longest = int(len(power_w) / FEWEST_PERIODS)
    if longest <= SHORTEST:
        return None
    correlation = autocorrelation(power_w, longest + 1)
    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner >= correlation[:-2]) & (inner > correlation[2:]))
    peaks = peaks[(peaks >= SHORTEST) & (correlation[peaks] >= LEAST_CORRELATION)]
    if not len(peaks):
        return None
    high = correlation[peaks] >= NEAR_THE_HIGHEST * correlation[peaks].max()
    return int(peaks[high][0])


def autocorrelation(values: Values, lags: int) -> Values:
    """The correlation of values with themselves, shifted by 0 to ``lags`` - 1 places.

    Args:
        values: shape (n,).
        lags: at most n.

    Returns:
        Shape (lags,); all 0 if the values do not vary.
    """
    centred = values - values.mean()
    size = len(centred)
    # Zero padding keeps the end from being correlated with the beginning.
    spectrum = np.fft.rfft(centred, 2 * size)
    products = np.fft.irfft(spectrum * np.conj(spectrum), 2 * size)[:lags]
    variance = products[0] / size
    if variance <= np.finfo(float).tiny:
        return np.zeros(lags)
    return np.asarray(products / (size - np.arange(lags)) / variance, dtype=float)


@dataclass(frozen=True)
class StablePart:
    """The part of a trace at its last level.

    Attributes:
        start: its first bin: the stable point.
        block: length of a block in bins: whole epochs if a rhythm was found.
        levels_w: mean power of its blocks, the latest first; empty if it is shorter than one.
        before_w: level of the previous phase; NaN if there was only start-up.
        changed: whether a phase has ended before it.
        rhythm: bins of an epoch; None if no rhythm was found.
    """

    start: int
    block: int
    levels_w: Values
    before_w: float
    changed: bool
    rhythm: int | None

    @property
    def shows_rhythm(self) -> bool:
        """Whether it is long enough for the rhythm to be its own, not the previous phase's."""
        if self.rhythm is None:
            return False
        return len(self.levels_w) * self.block >= FEWEST_PERIODS * self.rhythm


def find_stable_part(power_w: Values) -> StablePart:
    """Find the stable part at the end of the trace so far.

    Args:
        power_w: mean power of bins of equal length, shape (bins,).
    """
    begin = end_of_start_up(power_w)
    troughs = find_troughs(power_w, begin)
    # A second trough with hardly anything after it counts as an interruption until more is seen.
    if len(troughs) > 1 and len(power_w) - troughs[-1][1] < 2 * LEAST_BLOCK:
        troughs.pop()
    after = troughs[-1][1] if troughs else begin
    rhythm = period(power_w[after + (len(power_w) - after) // 3 :])
    # Blocks of unknown rhythm differ because each holds another part of an epoch: after a trough
    # all of them count, elsewhere they are short, to find where the level changed.
    all_of_it = rhythm is None and bool(troughs)
    parts = FEWEST if all_of_it else MANY
    least = max(LEAST_BLOCK, (len(power_w) - after) // parts)
    block = least if rhythm is None else rhythm * -(-LEAST_BLOCK // rhythm)
    levels_w, start = _together(power_w, after, block, all_of_it=all_of_it)
    # The block next to the stable part has some of both levels.
    end = troughs[-1][0] if troughs else start - block
    before = power_w[begin + SETTLED : end]
    before_w = _level(before) if len(before) >= LEAST_BLOCK else np.nan
    changed = bool(troughs) or _is_another_level(levels_w, before, block)
    return StablePart(start, block, levels_w, before_w, changed, rhythm)


def end_of_start_up(power_w: Values) -> int:
    """The first bin whose power is close to the median of the following minute.

    Args:
        power_w: mean power of bins of equal length, shape (bins,).

    >>> end_of_start_up(np.repeat([20.0, 100.0], [5, 60]))
    5
    """
    for at, power in enumerate(power_w):
        if power >= USUAL * np.median(power_w[at : at + MINUTE]):
            return at
    return 0


def find_troughs(power_w: Values, begin: int) -> list[tuple[int, int]]:
    """The first bin of each trough and the bin at which training continues, in order.

    Args:
        power_w: mean power of bins of equal length, shape (bins,).
        begin: the bin at which start-up is over.
    """
    troughs: list[tuple[int, int]] = []
    settled = begin + SETTLED
    if len(power_w) <= settled:
        return troughs
    least = np.minimum.accumulate(power_w[settled:])
    records = settled + 1 + np.flatnonzero(power_w[settled + 1 :] < RECORD * least[:-1])
    for first in records.tolist():
        low = TROUGH * float(np.percentile(power_w[begin:first], LOW))
        known = troughs[-1][1] if troughs else settled + LEAST_BLOCK
        if first < known or power_w[first] >= low:
            continue
        back = np.flatnonzero(power_w[first:] >= low)
        troughs.append((first, first + int(back[0]) if len(back) else len(power_w)))
    return troughs


def _together(power_w: Values, after: int, block: int, *, all_of_it: bool) -> tuple[Values, int]:
    """The means of the blocks that agree, the latest first, and their first bin."""
    count = (len(power_w) - after) // block
    means = power_w[len(power_w) - count * block :].reshape(count, block).mean(axis=1)[::-1]
    if all_of_it:
        return means, len(power_w) - count * block
    number = 1 if _is_pause(means) else 0
    kept: list[float] = []
    while number < count:
        if kept and _apart(means[number], kept):
            behind = means[number + 1 : number + 1 + BEHIND]
            if len(behind) < BEHIND or any(_apart(one, kept) for one in behind):
                break
        else:
            kept.append(float(means[number]))
        number += 1
    return np.asarray(kept), len(power_w) - number * block


def _is_pause(means: Values) -> bool:
    """Whether the latest block is below two that agree: training pauses."""
    if len(means) <= BEHIND:
        return False
    behind = means[1 : 1 + BEHIND]
    return bool(means[0] < (1 - TOGETHER) * behind.min() and not _apart(behind[1], [behind[0]]))


def _apart(level_w: float, kept: list[float]) -> bool:
    middle = float(np.median(kept))
    allowed = TOGETHER * middle
    if len(kept) >= FEWEST:
        scatter = SCALE_OF_MAD * float(np.median(np.abs(np.asarray(kept) - middle)))
        allowed = max(allowed, FAR * scatter)
    return abs(level_w - middle) > allowed


def _is_another_level(levels_w: Values, before: Values, block: int) -> bool:
    """Whether the level of the blocks is beyond that of nearly every earlier block."""
    count = len(before) // block
    if not len(levels_w) or not count:
        return False
    earlier = before[len(before) % block :].reshape(count, block).mean(axis=1)
    ratios = float(np.median(levels_w)) / np.append(earlier, np.median(earlier))
    above = ratios[-1] > 1.0 + ANOTHER_LEVEL and np.quantile(ratios, FEW) > 1.0 + TOGETHER
    below = ratios[-1] < 1.0 - ANOTHER_LEVEL and np.quantile(ratios, 1.0 - FEW) < 1.0 - TOGETHER
    return bool(above or below)


def _level(power_w: Values) -> float:
    """The level of a phase: its mean over whole epochs, if there are some."""
    rhythm = period(power_w)
    return float(power_w[len(power_w) % (rhythm or 1) :].mean())
