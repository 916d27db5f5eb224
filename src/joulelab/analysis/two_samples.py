"""Two samples compared by rank: which is larger, how often, and by how much?

Cliff's delta: unpaired samples
-------------------------------

For samples x of n runs and y of m runs, with d_ij = sign(y_j - x_i)::

    delta   = mean of all d_ij                        P(y > x) - P(y < x), -1 to 1
    s^2     = ((m - 1) s_x^2 + (n - 1) s_y^2 + s_d^2) / (n m)
    s_x^2   = sum_i (d_i. - delta)^2 / (n - 1)        d_i. mean of row i
    s_y^2   = sum_j (d_.j - delta)^2 / (m - 1)        d_.j mean of column j
    s_d^2   = sum_ij (d_ij - delta)^2 / ((n - 1) (m - 1))

    delta - delta^3 +- t s sqrt((1 - delta^2)^2 + t^2 s^2)
    ------------------------------------------------------      the interval
               1 - delta^2 + t^2 s^2

with t the quantile of Student's distribution with n + m - 2 degrees of freedom. Cliff, "Dominance
statistics", Psychological Bulletin 114 (1993), with his consistent variance; the asymmetric
interval is from Feng and Cliff, "Monte Carlo evaluation of ordinal d with improved confidence
interval", Journal of Modern Applied Statistical Methods 3 (2004). Magnitude, of the absolute
value: small from 0.147, medium from 0.33, large from 0.474 (Romano et al., "Appropriate statistics
for ordinal level data", Florida Association of Institutional Research, 2006). The
consistent variance is never negative and is conservative in small samples (simulated: the interval
for 20 and 15 normal runs covers in 97.5 % of cases); R's effsize uses Cliff's unbiased variance by
default, with a slightly narrower interval.

If no two runs overlap, delta is 1 or -1 and s is 0, so the formula would give an interval without
length after only two runs. Then the interval reaches from (b - z^2) / (b + z^2), with b the smaller
of n and m and z the normal quantile, to 1 (Feng and Cliff); this is Wilson's bound of b successes
out of b, transformed to the scale from -1 to 1. Runs are assumed to be independent and, within a
level, identically distributed.

Wilcoxon's signed-rank test, exact, and its effect size: pairs
--------------------------------------------------------------

Over n differences d_i, without those of 0, with r_i the rank of |d_i| (ties get their mean rank)::

    W+  = sum of r_i where d_i > 0            W- = sum of r_i where d_i < 0
    p   = P(|W+ - W-| at least as large)      all sign patterns equally likely
    r   = (W+ - W-) / (W+ + W-)               matched-pairs rank-biserial correlation
    h_i = mean over j of sign(d_i + d_j)      r is the mean of those signs over pairs i <= j
    s^2 = 4 sum_i (h_i - mean of h)^2 / (n (n - 1))

    r - r^3 +- t s sqrt((1 - r^2)^2 + t^2 s^2)
    ------------------------------------------    its interval, t with n - 1 degrees of freedom
               1 - r^2 + t^2 s^2

Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945); r: Kerby, "The
simple difference formula", Comprehensive Psychology 3 (2014). r is a U-statistic of the signs, s^2
its variance (Hoeffding, Annals of Mathematical Statistics 19, 1948), and the asymmetric interval
is the one of Feng and Cliff for unpaired samples. For normal differences its coverage is 91 to 99 %
from 6 to 60 pairs; the interval of JASP and of R's effectsize, tanh(atanh(r) +- 1.96 s) with the s
without effect, has 77 to 95 %, less for larger r (``benchmarks/coverage.py``). The p is exact up to
200 differences, with and without ties: the distribution of W+ is built up rank by rank. Above, it
is scipy's normal approximation.

If all differences have one sign, the interval of r would have no length, which is overconfident
with few blocks; it then reaches from (n - z^2) / (n + z^2) to 1, as for Cliff's delta.

Hodges-Lehmann shift, the estimate that belongs to Wilcoxon's test
------------------------------------------------------------------

::

    shift   median of the Walsh averages (d_i + d_j) / 2, i <= j
    bounds  the c-th smallest and the c-th largest of them, with the largest c for which
            P(W+ <= c - 1) <= (1 - confidence) / 2

with W+ the sum of the ranks of |d_i| over the positive differences, all sign patterns equally
likely. Hodges and Lehmann, "Estimates of location based on rank tests", Annals of Mathematical
Statistics 34 (1963). Except for ties and zeros, the bounds exclude 0 exactly when the test
(`wilcoxon_p`) rejects it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import stats

from joulelab.analysis.comparison import CONFIDENCE, Interval, t_quantile, z_quantile
from joulelab.analysis.frames import ENERGY, complete, levels, results
from joulelab.analysis.resampling import require_chance
from joulelab.analysis.rounding import Values, sample_std, without_noise
from joulelab.errors import UsageError

EXACT_TO = 200
COLUMNS = "first second delta low high magnitude n_first n_second dropped reason"
THRESHOLDS = ((0.474, "large"), (0.33, "medium"), (0.147, "small"))
FEWEST = 2


@dataclass(frozen=True)
class Dominance:
    """Cliff's delta of two samples.

    Attributes:
        value: delta; above 0 if the second sample tends to be larger.
        low: lower end of the interval.
        high: upper end.
        n_first: size of the first sample.
        n_second: size of the second sample.
        magnitude: negligible, small, medium or large; empty if delta is undefined.
        reason: why delta or its interval is NaN; otherwise empty.
    """

    value: float
    low: float
    high: float
    n_first: int
    n_second: int
    magnitude: str
    reason: str


def cliffs_delta(
    first: Sequence[float] | Values,
    second: Sequence[float] | Values,
    confidence: float = CONFIDENCE,
) -> Dominance:
    """Cliff's delta: how much more often the second sample is larger than smaller.

    The values are sorted rather than compared pair by pair, so thousands take milliseconds.

    Args:
        first: (n,), finite.
        second: (m,), finite.
        confidence: of the interval, between 0 and 1.

    Raises:
        UsageError: a value is not finite, or the confidence is outside 0 to 1.

    Worked example by Hogarty and Kromrey (SAS Users Group International 24, 1999): of 60
    pairs the control is larger in 32, smaller in 17 and equal in 11, so delta = 15 / 60.

    >>> treated = [10, 10, 20, 20, 20, 30, 30, 30, 40, 50]
    >>> found = cliffs_delta(treated, [10, 20, 30, 40, 40, 50])
    >>> found.value, found.magnitude
    (0.25, 'small')
    """
    require_chance(0, confidence)
    x, y = np.asarray(first, float), np.asarray(second, float)
    n, m = len(x), len(y)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UsageError("Cliff's delta needs finite values", "leave out the missing ones")
    if not n or not m:
        return Dominance(np.nan, np.nan, np.nan, n, m, "", "a sample has no value")
    both = without_noise(np.concatenate([x, y]))
    x, y = np.sort(both[:n]), np.sort(both[n:])
    below, upto = np.searchsorted(y, x, "left"), np.searchsorted(y, x, "right")
    rows = (m - upto - below) / m  # d_i.: number above x_i minus number below it
    columns = (np.searchsorted(x, y, "left") + np.searchsorted(x, y, "right") - n) / n
    delta = int((m - upto - below).sum()) / (n * m)
    untied = n * m - int((upto - below).sum())
    low, high = _delta_interval(rows, columns, delta, untied, confidence)
    reason = "" if min(n, m) >= FEWEST else f"a sample has fewer than {FEWEST} values"
    return Dominance(delta, low, high, n, m, magnitude(delta), reason)


def dominance(runs: pd.DataFrame, by: str, energy: str = ENERGY) -> pd.DataFrame:
    """Cliff's delta of every pair of levels of one column.

    Args:
        runs: one row per run.
        by: column of the levels.
        energy: column in joules, or any other measure.

    Returns:
        One row per pair of levels, in order: ``first``, ``second``, ``delta`` (above 0 if
        `second` takes more energy than `first`), ``low``, ``high``, ``magnitude``, ``n_first``,
        ``n_second``, ``dropped`` (runs without an energy or a level, over all levels) and
        ``reason``. No rows with fewer than two levels.

    Raises:
        UsageError: a column is absent, or the energies are not numbers.

    >>> runs = pd.DataFrame({"conv_layers": [1, 1, 1, 4, 4, 4],
    ...     "energy_net_j": [850.0, 860.0, 1655.0, 1650.0, 1660.0, 1670.0]})
    >>> dominance(runs, "conv_layers")[["first", "second", "delta", "magnitude"]].round(3)
       first  second  delta magnitude
    0      1       4  0.778     large
    """
    whole = complete(runs, [energy], [by])
    samples = {
        level: whole.rows.loc[whole.rows[by] == level, energy].to_numpy(dtype=float)
        for level in levels(whole.rows[by])
    }
    rows = []
    for first, second in itertools.combinations(samples, 2):
        found = cliffs_delta(samples[first], samples[second])
        row = {"first": first, "second": second, "delta": found.value, "dropped": whole.dropped}
        rows.append(asdict(found) | row)
    return results(rows, COLUMNS)


def magnitude(delta: float) -> str:
    """The word for a delta of either sign; empty for NaN.

    >>> magnitude(-0.5), magnitude(0.33), magnitude(0.0)
    ('large', 'medium', 'negligible')
    """
    if math.isnan(delta):
        return ""
    return next((word for least, word in THRESHOLDS if abs(delta) >= least), "negligible")


def separated_bound(n: int, confidence: float = CONFIDENCE) -> float:
    """The far end of the interval if n of n comparisons go one way, on the scale of -1 to 1.

    >>> round(separated_bound(10), 3), round(separated_bound(1000), 3)
    (0.445, 0.992)
    """
    z_squared = z_quantile(confidence) ** 2
    return (n - z_squared) / (n + z_squared)


def sign_interval(
    value: float, n: int, variance: float, df: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of Feng and Cliff for a share of signs on the scale of -1 to 1.

    Args:
        value: from -1 to 1; at either end the interval is from `separated_bound`.
        n: number of comparisons, used if all go one way.
        variance: estimated variance of the value.
        df: degrees of freedom of t, above 0.
        confidence: of the interval.

    >>> [round(end, 3) for end in sign_interval(0.25, 15, 0.0, 14)]
    [0.25, 0.25]
    """
    if abs(value) == 1:
        bound = separated_bound(n, confidence)
        return (bound, 1.0) if value > 0 else (-1.0, -bound)
    spread = t_quantile(df, confidence) ** 2 * variance
    reach = math.sqrt(spread * ((1 - value**2) ** 2 + spread))
    middle, scale = value - value**3, 1 - value**2 + spread
    return (middle - reach) / scale, (middle + reach) / scale


def _delta_interval(
    rows: Values, columns: Values, delta: float, untied: int, confidence: float
) -> tuple[float, float]:
    """Interval, from the row and column means of d and the number of nonzero d."""
    n, m = len(rows), len(columns)
    if min(n, m) < FEWEST:
        return np.nan, np.nan
    of_rows = float(((rows - delta) ** 2).sum()) / (n - 1)
    of_columns = float(((columns - delta) ** 2).sum()) / (m - 1)
    of_all = (untied - n * m * delta**2) / ((n - 1) * (m - 1))
    variance = ((m - 1) * of_rows + (n - 1) * of_columns + of_all) / (n * m)
    return sign_interval(delta, min(n, m), variance, n + m - 2, confidence)


def wilcoxon_p(differences: Values) -> float:
    """The two-sided p of Wilcoxon's signed-rank test; 1 if all differences are 0.

    Args:
        differences: (n,), finite.

    Six of six in one direction: 2 of 2^6 sign patterns.

    >>> wilcoxon_p(np.array([0.01, 0.02, 0.03, 0.03, 0.05, 0.04]))
    0.03125
    """
    nonzero = _nonzero(differences)
    n = len(nonzero)
    if not n:
        return 1.0
    if n > EXACT_TO:
        return float(stats.wilcoxon(nonzero, method="approx").pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(nonzero))).astype(int)  # mean ranks end in .5
    chances = _rank_sum_chances(doubled)
    total = int(doubled.sum())
    off = abs(2 * int(doubled[nonzero > 0].sum()) - total)
    return min(1.0, float(chances[np.abs(2 * np.arange(total + 1) - total) >= off].sum()))


def rank_biserial(
    differences: Values, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """The matched-pairs rank-biserial correlation and the ends of its interval.

    Args:
        differences: (n,), finite.
        confidence: of the interval, between 0 and 1.

    Returns:
        Value, low and high: 1 if every difference is above 0; NaN if all are 0.

    Worked example: ranks 1, 2, 3 and 4 of which the first is negative, (9 - 1) / 10.

    >>> rank_biserial(np.array([-0.1, 0.2, 0.3, 0.4]))[0]
    0.8
    """
    nonzero = _nonzero(differences)
    n = len(nonzero)
    if not n:
        return np.nan, np.nan, np.nan
    ranks = stats.rankdata(np.abs(nonzero))
    value = float((ranks * np.sign(nonzero)).sum() / ranks.sum())
    return value, *sign_interval(value, n, _variance(nonzero), n - 1, confidence)


def _variance(nonzero: Values) -> float:
    """Variance of the correlation, from the share of signs that each difference decides."""
    n, ordered = len(nonzero), np.sort(nonzero)
    below = np.searchsorted(ordered, -nonzero, "left")
    upto = np.searchsorted(ordered, -nonzero, "right")
    decided = (n - upto - below) / n  # h_i: number of d_j above -d_i minus number below
    return 4 * sample_std(decided) ** 2 / n


def _nonzero(differences: Values) -> Values:
    rounded = without_noise(differences)
    return np.asarray(rounded[rounded != 0])


def shift(differences: Values, confidence: float = CONFIDENCE) -> Interval:
    """The Hodges-Lehmann estimate of the differences, with its interval.

    Args:
        differences: of pairs, shape (n,), finite, at least one.
        confidence: of the interval; if n is too small for it, the bounds are NaN.

    Raises:
        ValueError: no differences given.

    Walsh averages of 1, 2, 6: 1, 1.5, 2, 3.5, 4, 6; W+ <= 0 has probability 1/8, so the outermost
    are the bounds at a confidence of 0.75.

    >>> found = shift(np.array([1.0, 2.0, 6.0]), confidence=0.75)
    >>> found.low, found.value, found.high
    (1.0, 2.75, 6.0)
    """
    n = len(differences)
    if not n:
        raise ValueError("no differences given")
    first, second = np.triu_indices(n)
    at_most = np.cumsum(_rank_sum_chances(range(1, n + 1)))  # P(W+ <= w), w from 0
    walsh = np.sort((differences[first] + differences[second]) / 2)
    cut = int(np.searchsorted(at_most, (1 - confidence) / 2 + 1e-12, side="right"))
    low, high = (walsh[cut - 1], walsh[-cut]) if cut else (math.nan, math.nan)
    std = float(differences.std(ddof=1)) if n > 1 else math.nan
    return Interval(float(np.median(walsh)), float(low), float(high), std, n, confidence)


def _rank_sum_chances(ranks: Iterable[int]) -> Values:
    """The probability of each sum from 0, if each rank counts with probability one half."""
    chances = np.ones(1)
    for rank in ranks:
        none = np.zeros(rank)
        chances = (np.append(chances, none) + np.append(none, chances)) / 2
    return chances
