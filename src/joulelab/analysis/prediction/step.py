"""STEP: predict the energy of a whole training from its first part, after del Rey et al.

With t the time seen of the duration T, E(t) its energy, and L the future level of power::

    E = E(t) + L (T - t)

del Rey et al. (SEAA 2023) take L from a window after the tenth epoch. Here the window is the stable
part (`joulelab.analysis.prediction.traces`): k blocks of whole epochs with means b_i. With relative
scatter s of the blocks (shrunk towards a scatter s_0 with the weight of nu_0 degrees of freedom, as
few blocks say little about their own), and d a minimum for the drift that no window shows::

    L    = mean b_i                                  s^2 = (nu_0 s_0^2 + (k-1) s_b^2) / (nu_0 + k-1)
    v^2  = s^2 / k + d^2                             relative variance of L

If a phase has just ended at the level L_0 (`PhaseChange`), the prior of the new level is
ln L ~ N(ln L_0 + mu, tau^2); observation and prior are weighted by their precisions 1/v^2 and
1/tau^2. If no change was noticed, one is still ahead with probability q, and L is a mixture::

    L ~ (1 - q) N(L, v^2 L^2)  +  q N(L e^mu, (tau^2 + v^2) (L e^mu)^2)

The prediction is its mean, the interval has equal tails. The block means follow the method of
batch means (Law, Simulation Modeling and Analysis, chapter 9); whole epochs make neighbouring
blocks nearly independent. d is 0.005, about the root mean square of the errors on 40 runs of
del Rey et al. that s / sqrt(k) does not explain. The interval cannot include events that have not
happened before: another program on the device, a longer pause.

The quantiles of a mixture of normal distributions are found by bisection::

    F(x) = sum_i w_i Phi((x - m_i) / s_i)          F(low) = (1 - c) / 2,  F(high) = (1 + c) / 2

Prior of a change of phase that is still ahead
----------------------------------------------

Fine-tuning trains the new head first, with the base frozen, and the whole network after some
epochs. The second phase draws more power, because the backward pass runs through the whole network,
unless the device was already at its limit. With u the position of the change as a share of the run,
r the ratio of the levels after and before, f the share seen, and m the probability that a change
which has happened was not noticed::

    ln u ~ N(ln u_0, s_u^2)        ln r ~ N(mu, tau^2)
    S(f) = P(u > f)                                             the change is ahead
    q(f) = S(f) / (S(f) + m (1 - S(f)))                         Bayes, if none was noticed

`FINE_TUNING` is fitted to the traces of del Rey et al. (SEAA 2023, arXiv 2307.05520): a phase with
the base frozen in each of 40 runs, of five networks on two machines. The levels differ by a factor
of 0.92 to 1.5; ln r has a mean of 0.13 and a standard deviation of 0.12; the change comes after 4
to 22 % of a run. m is (0 + 1/2) / (40 + 1), Jeffreys' estimate if none of 40 changes was missed.
A training in one phase has no such prior.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulelab.analysis.comparison import CONFIDENCE
from joulelab.analysis.prediction.traces import (
    PowerTrace,
    StablePart,
    bin_length_s,
    find_stable_part,
)
from joulelab.errors import UsageError

DRIFT = 0.005
SCATTER, SCATTER_WITHOUT_RHYTHM = 0.03, 0.1
"""s_0 for blocks of whole epochs, and for blocks of any length."""
SCATTER_FREEDOM = 2.0
UNKNOWN_LEVEL = 0.3
"""v if no phase has a complete block."""
WIDEST = 10.0
HALVINGS = 60
"""Bisections of the span, WIDEST deviations to each side, to find a quantile of a mixture."""


@dataclass(frozen=True)
class PhaseChange:
    """A single change of level during a training, as a prior.

    Attributes:
        place: median of u, the share of the run at which the change comes.
        place_spread: s_u, standard deviation of ln u.
        log_ratio: mu, mean of ln r.
        log_ratio_spread: tau, its standard deviation.
        missed: m, probability that a change in the part seen is not noticed.
    """

    place: float
    place_spread: float
    log_ratio: float
    log_ratio_spread: float
    missed: float

    def ahead(self, fraction: float) -> float:
        """The probability q that the change is still ahead, if none was noticed.

        Args:
            fraction: share of the run seen, above 0.

        >>> round(FINE_TUNING.ahead(0.1), 2), round(FINE_TUNING.ahead(0.5), 2)
        (0.98, 0.0)
        """
        later = (math.log(fraction) - math.log(self.place)) / self.place_spread
        survival = 0.5 * math.erfc(later / math.sqrt(2.0))
        return survival / (survival + self.missed * (1.0 - survival))


FINE_TUNING = PhaseChange(
    place=0.085, place_spread=0.45, log_ratio=0.13, log_ratio_spread=0.12, missed=0.012
)


@dataclass(frozen=True)
class StepPrediction:
    """The energy of a whole training, predicted from its first part.

    Attributes:
        energy_j: energy of the whole training.
        low_j: lower end of its 95 % interval.
        high_j: upper end.
        seen_j: energy of the part seen.
        level_w: expected power of the rest.
        stable_s: start of the stable part, in seconds since the first sample; None if it is shorter
            than a block.
        epoch_s: length of an epoch found in the power; None if there is no rhythm.
        change_ahead: probability that the level still changes.
    """

    energy_j: float
    low_j: float
    high_j: float
    seen_j: float
    level_w: float
    stable_s: float | None
    epoch_s: float | None
    change_ahead: float


def predict_step(
    seen: PowerTrace, duration_s: float, change: PhaseChange | None = None
) -> StepPrediction:
    """Predict the energy of a whole training from the part seen so far.

    Args:
        seen: the trace so far, from the beginning of the training.
        duration_s: total duration: for instance seconds so far times epochs over epochs done.
        change: prior of a change of phase; None for a training in one phase.

    Raises:
        UsageError: the total is shorter than the part seen.

    Five minutes at 100 W, of a thousand seconds:

    >>> seen = PowerTrace.of(np.arange(301.0), np.full(301, 100.0))
    >>> found = predict_step(seen, duration_s=1000.0)
    >>> round(found.energy_j), found.low_j < found.energy_j < found.high_j
    (100000, True)
    """
    left_s = duration_s - seen.duration_s
    if not (math.isfinite(duration_s) and left_s >= -1e-9 * duration_s):
        raise UsageError(
            f"a run of {duration_s:g} s, of which {seen.duration_s:g} s were observed",
            "give the duration of the whole run",
        )
    bin_s = bin_length_s(seen, duration_s)
    power_w = seen.binned_w(bin_s)
    part = find_stable_part(power_w)
    ahead = 0.0
    if change is not None and not part.changed:
        ahead = change.ahead(seen.duration_s / duration_s)
    levels = levels_to_come(part, float(power_w.mean()), change, ahead)
    level_w = mixture_mean(levels)
    low_w, high_w = mixture_interval(levels, CONFIDENCE)
    offset_s = seen.duration_s - len(power_w) * bin_s
    return StepPrediction(
        energy_j=seen.energy_j + level_w * left_s,
        low_j=seen.energy_j + max(low_w, 0.0) * left_s,
        high_j=seen.energy_j + high_w * left_s,
        seen_j=seen.energy_j,
        level_w=level_w,
        stable_s=offset_s + part.start * bin_s if len(part.levels_w) else None,
        epoch_s=part.rhythm * bin_s if part.rhythm else None,
        change_ahead=ahead,
    )


def levels_to_come(
    part: StablePart, mean_w: float, change: PhaseChange | None, ahead: float
) -> list[Normal]:
    """The distribution of the power of the rest, as a mixture.

    Args:
        part: the stable part of what was seen.
        mean_w: mean power so far, used if there is no better level.
        change: prior of a change of phase.
        ahead: probability that the change is still ahead.
    """
    level_w, relative = observed_level(part, mean_w)
    if part.changed and change is not None and math.isfinite(part.before_w):
        # Without a block of the new phase, only the prior is known.
        seen = relative if len(part.levels_w) else math.inf
        level_w, relative = _with_prior(level_w, seen, part.before_w, change)
    relative = math.hypot(relative, DRIFT)
    stays = Normal(1.0 - ahead, level_w, relative * level_w)
    if change is None or not ahead:
        return [stays]
    after_w = level_w * math.exp(change.log_ratio)
    return [stays, Normal(ahead, after_w, math.hypot(relative, change.log_ratio_spread) * after_w)]


def observed_level(part: StablePart, mean_w: float) -> tuple[float, float]:
    """The level of the stable part in watts, and its relative standard error s / sqrt(k).

    Args:
        part: the stable part of what was seen.
        mean_w: mean power so far, used if the part is shorter than a block.
    """
    blocks = len(part.levels_w)
    if not blocks:
        return (part.before_w if math.isfinite(part.before_w) else mean_w), UNKNOWN_LEVEL
    level_w = float(part.levels_w.mean())
    expected = SCATTER if part.shows_rhythm else SCATTER_WITHOUT_RHYTHM
    squares = float(np.sum((part.levels_w / level_w - 1.0) ** 2)) if level_w > 0 else 0.0
    variance = (SCATTER_FREEDOM * expected**2 + squares) / (SCATTER_FREEDOM + blocks - 1)
    return level_w, math.sqrt(variance / blocks)


def _with_prior(
    level_w: float, relative: float, before_w: float, change: PhaseChange
) -> tuple[float, float]:
    """Level and relative error, combined by precision with the prior from the previous phase."""
    prior, seen = change.log_ratio_spread**-2, relative**-2
    expected = math.log(before_w) + change.log_ratio
    log_level = (prior * expected + seen * math.log(level_w)) / (prior + seen)
    return math.exp(log_level), (prior + seen) ** -0.5


@dataclass(frozen=True)
class Normal:
    """A component of a mixture of normal distributions.

    Attributes:
        weight: its probability.
        mean: in any unit.
        deviation: standard deviation in the same unit; 0 for a certain value.
    """

    weight: float
    mean: float
    deviation: float

    def below(self, value: float) -> float:
        """Weight times the probability of less than a value."""
        if not self.deviation:
            return self.weight * (value >= self.mean)
        standard = (value - self.mean) / self.deviation
        return self.weight * 0.5 * math.erfc(-standard / math.sqrt(2.0))


STANDARD = Normal(1.0, 0.0, 1.0)


def mixture_mean(parts: Sequence[Normal]) -> float:
    """The mean of a mixture whose weights sum to 1."""
    return sum(part.weight * part.mean for part in parts)


def mixture_interval(parts: Sequence[Normal], confidence: float) -> tuple[float, float]:
    """The equal-tailed interval of a mixture.

    Args:
        parts: components; their weights sum to 1.
        confidence: probability inside the interval, for instance 0.95.

    >>> low, high = mixture_interval([Normal(1.0, 10.0, 2.0)], 0.95)
    >>> round(low, 2), round(high, 2)
    (6.08, 13.92)
    >>> mixture_interval([Normal(1.0, 0.0, 0.0)], 0.95)
    (0.0, 0.0)
    """
    tail = (1.0 - confidence) / 2
    return mixture_quantile(parts, tail), mixture_quantile(parts, 1.0 - tail)


@functools.cache
def standard_quantile(probability: float) -> float:
    """The quantile of the standard normal distribution."""
    return mixture_quantile([STANDARD], probability)


def mixture_quantile(parts: Sequence[Normal], probability: float) -> float:
    """The quantile of a mixture, by bisection; of one component, from the standard normal.

    Args:
        parts: components; their weights sum to 1.
        probability: above 0 and below 1.
    """
    if len(parts) == 1 and parts[0] != STANDARD:
        return parts[0].mean + parts[0].deviation * standard_quantile(probability)
    low = min(part.mean - WIDEST * part.deviation for part in parts)
    high = max(part.mean + WIDEST * part.deviation for part in parts)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if sum(part.below(middle) for part in parts) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2
