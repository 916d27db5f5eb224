"""Kruskal-Wallis test: effect of a factor on energy.

For a factor with k levels and n runs, all energies ranked together (ties get their mean rank)::

    H     = (12 / (n (n + 1)) * sum_i R_i^2 / n_i  -  3 (n + 1)) / C
    C     = 1 - sum_t (t^3 - t) / (n^3 - n)          t runs share an energy
    df    = k - 1                                    p from the chi-square distribution
    eta^2 = (H - k + 1) / (n - k)                    epsilon^2 = H / ((n^2 - 1) / (n + 1))

with R_i the sum of the ranks of level i and n_i its number of runs. Kruskal and Wallis, "Use of
ranks in one-criterion variance analysis", JASA 47 (1952); eta^2 and epsilon^2, which is H / (n - 1)
and lies between 0 and 1: Tomczak and Tomczak, "The need to report effect size estimates revisited",
Trends in Sport Sciences 21 (2014). Magnitude, of eta^2: small from 0.01, medium from 0.06, large
from 0.14; below that negligible. eta^2 is below 0 if the levels differ less than expected by
chance.

The intervals are from a percentile bootstrap that resamples the runs of each level. Differences
cannot be below zero, so chance in a resample mostly increases an effect: near 0 the resamples are
too high by about (k - 1) / (n - k), the interval can be above the effect itself, and need not
contain 0 for a factor without effect. Then use p, not the interval. A resample contains some runs
twice: H and C include these ties, like R's ``boot`` of ``kruskal.test``. Levels that do not overlap
have the same order in every resample, and only such ties would change the interval: then there is
no interval, because ranks cannot show the distance.

The k of eta^2 is the number of levels of the factor. Yarally et al. (CAIN 2023, Table IV) used 8,
the number of their configurations, and print .155, .749 and .055 where the two levels of each
factor give .157, .750 and .057. ``eta_k=8`` reproduces their values.

The order of factors: effect sizes compared on the same resamples
-----------------------------------------------------------------

Overlapping intervals of two effects do not mean that the effects may be equal: both vary together
between resamples. So the rounds of every configuration are resampled, eta squared of all factors is
computed on the same resample, and their differences are evaluated::

    gap = eta^2 of the factor before - eta^2 of the factor after

The unit is a round of a configuration, the mean of its repetitions, because repetitions with the
same hyperparameters are not independent. If configurations have a single round, the unit is the
run.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from joulelab.analysis.frames import ENERGY, complete, levels, names, results
from joulelab.analysis.resampling import batches, draw_counts, percentile_interval, require_chance
from joulelab.analysis.rounding import ROUNDING, Values, constant, without_noise

COLUMNS = (
    "factor h df p n k eta_k eta_squared magnitude epsilon_squared eta_low eta_high epsilon_low "
    "epsilon_high separate dropped reason"
)
THRESHOLDS = ((0.14, "large"), (0.06, "medium"), (0.01, "small"))


def kruskal(
    runs: pd.DataFrame,
    factors: str | Sequence[str],
    energy: str = ENERGY,
    eta_k: int | None = None,
    resamples: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Kruskal-Wallis test and effect size of every factor on energy.

    Args:
        runs: one row per run.
        factors: columns with the levels.
        energy: column in joules.
        eta_k: the k of eta squared if different from the number of levels, to reproduce a
            publication. H, df and p do not depend on it.
        resamples: of the bootstrap, for instance 1000; 0 for no intervals.
        seed: of the bootstrap.

    Returns:
        One row per factor, in the order given: ``factor``, ``h``, ``df``, ``p`` (0 if below the
        smallest float), ``n``, ``k`` (levels), ``eta_k``, ``eta_squared``, ``magnitude``,
        ``epsilon_squared``, ``eta_low``, ``eta_high``, ``epsilon_low`` and ``epsilon_high`` (95 %;
        missing without resamples, and for levels that are separate), ``separate`` (whether no
        levels overlap), ``dropped`` (runs without an energy or a level) and ``reason``. With a
        single level, or equal energies, the statistics are missing and the reason is given.

    Raises:
        UsageError: a column is absent, the energies are not numbers, or the resamples are negative.

    Worked example: the ranks are 1, 2, 3 and 4, 5, 6, so R = 6, 15 and
    H = 12 / 42 * (36 / 3 + 225 / 3) - 21 = 3.857; eta^2 = (3.857 - 1) / 4 = 0.714.

    >>> runs = pd.DataFrame({"conv_layers": [1, 1, 1, 4, 4, 4],
    ...     "energy_net_j": [850.0, 860.0, 870.0, 1650.0, 1660.0, 1670.0]})
    >>> kruskal(runs, "conv_layers")[["factor", "h", "df", "eta_squared", "magnitude"]].round(3)
            factor      h  df  eta_squared magnitude
    0  conv_layers  3.857   1        0.714     large
    """
    require_chance(resamples)
    # Each factor gets the same random numbers, whatever other factors are requested.
    rows = (_test(runs, factor, energy, eta_k, resamples, seed) for factor in names(factors))
    return results(rows, COLUMNS, whole=["df"])


def eta_squared(h: float, n: int, k: int) -> float:
    """Effect size of a Kruskal-Wallis test, ``(h - k + 1) / (n - k)``; NaN unless n > k.

    Args:
        h: the statistic.
        n: number of runs.
        k: number of levels.

    >>> round(eta_squared(481.799, n=3072, k=2), 3), round(eta_squared(481.799, n=3072, k=8), 3)
    (0.157, 0.155)
    """
    return (h - k + 1) / (n - k) if n > k else np.nan


def epsilon_squared(h: float, n: int) -> float:
    """The other effect size, ``h / ((n^2 - 1) / (n + 1))``, 0 to 1; NaN unless n > 1.

    Args:
        h: the statistic.
        n: number of runs.

    >>> round(epsilon_squared(481.799, n=3072), 3)
    0.157
    """
    return h * (n + 1) / (n**2 - 1) if n > 1 else np.nan


def magnitude(effect: float) -> str:
    """The word for an eta squared; empty for NaN.

    >>> magnitude(0.057), magnitude(0.14), magnitude(-0.001)
    ('small', 'large', 'negligible')
    """
    if np.isnan(effect):
        return ""
    return next((word for threshold, word in THRESHOLDS if effect >= threshold), "negligible")


def resampled_h(
    values: Values,
    levels_of: Sequence[npt.NDArray[np.intp]],
    strata: npt.NDArray[np.intp],
    resamples: int,
    rng: np.random.Generator,
) -> Values:
    """H of several factors on the same resamples, stratified.

    Args:
        values: energies, shape (n,).
        levels_of: for each factor the level index of every value, from 0, shape (n,). All values of
            a stratum have the same levels.
        strata: the stratum index of every value, shape (n,).
        resamples: number of resamples.
        rng: the random generator.

    Returns:
        Shape (resamples, factors).

    >>> values, codes = np.array([1.0, 2.0, 8.0, 9.0]), np.array([0, 0, 1, 1])
    >>> h = resampled_h(values, [codes], codes, 200, np.random.default_rng(0))
    >>> np.unique(h.round(3))       # no value twice; one; one of each level
    array([2.4  , 2.667, 3.   ])
    """
    values = without_noise(values)
    order = np.argsort(values, kind="stable")
    place = np.empty(len(values), np.intp)  # of every value among the sorted ones
    place[order] = np.arange(len(values))
    ends = ends_of_ties(values[order])
    groups = [place[members] for members in members_of(strata)]
    of_level = [[place[members] for members in members_of(codes)] for codes in levels_of]
    parts = []
    for batch in batches(resamples, len(values)):
        counts = draw_counts(rng, batch, groups, len(values))
        ranks, correction = resampled_ranks(counts, ends)
        ranks *= counts
        parts.append(np.stack([_h_of_ranks(ranks, one, correction) for one in of_level], axis=1))
    return np.concatenate(parts) if parts else np.empty((0, len(levels_of)))


def members_of(codes: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """The positions of each code, by ascending code.

    >>> [one.tolist() for one in members_of(np.array([1, 0, 1]))]
    [[1], [0, 2]]
    """
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def ends_of_ties(ordered: Values, strata: npt.NDArray[np.intp] | int = 0) -> npt.NDArray[np.intp]:
    """Where runs of equal values end, counted from 1, shape (distinct values,).

    Args:
        ordered: shape (n,), ascending within each stratum.
        strata: the stratum index of each; values of different strata are never tied.

    >>> ends_of_ties(np.array([3.0, 5.0, 5.0])).tolist()
    [1, 3]
    """
    differs = (np.diff(ordered) != 0) | (np.diff(np.broadcast_to(strata, ordered.shape)) != 0)
    return np.flatnonzero(np.append(differs, True)) + 1


def resampled_ranks(counts: Values, ends: npt.NDArray[np.intp]) -> tuple[Values, Values]:
    """The mean rank of every value in each resample, and the correction C for its ties.

    Args:
        counts: how often each of the sorted values was drawn, shape (resamples, n); every row sums
            to the same.
        ends: from `ends_of_ties`.

    Returns:
        Shapes (resamples, n) and (resamples,); C is 0 if all drawn values are equal.

    >>> ranks, correction = resampled_ranks(np.array([[2.0, 0.0, 1.0]]), np.array([1, 2, 3]))
    >>> ranks[0, [0, 2]], correction        # 1 - (2^3 - 2) / (3^3 - 3)
    (array([1.5, 3. ]), array([0.75]))
    """
    n = counts.shape[1]
    drawn = counts[0].sum()
    upto = np.cumsum(counts, axis=1)
    alike = counts
    if len(ends) < n:
        upto = upto[:, ends - 1]  # (resamples, distinct values)
        alike = np.diff(upto, axis=1, prepend=0)
    # Mean rank of equal values, upto - (alike - 1) / 2; in place, or new memory takes ten times as
    # long as the arithmetic.
    ranks = alike - 1
    ranks /= 2
    np.subtract(upto, ranks, out=ranks)
    if len(ends) < n:
        ranks = np.repeat(ranks, np.diff(ends, prepend=0), axis=1)
    tied = np.einsum("rv,rv,rv->r", alike, alike, alike) - drawn
    return ranks, 1 - tied / (drawn**3 - drawn)


def _h_of_ranks(
    ranks: Values, of_level: Sequence[npt.NDArray[np.intp]], correction: Values
) -> Values:
    """H of each resample, from the ranks of the drawn values, summed by value: (resamples, n)."""
    n = ranks.shape[1]
    sums = np.stack([ranks[:, members].sum(axis=1) for members in of_level], axis=1)
    sizes = np.array([len(members) for members in of_level])
    h = 12 / (n * (n + 1)) * (sums**2 / sizes).sum(axis=1) - 3 * (n + 1)
    found = np.full(len(h), np.nan)
    np.divide(h, correction, out=found, where=correction > ROUNDING)
    return found


def _test(
    runs: pd.DataFrame, factor: str, energy: str, eta_k: int | None, resamples: int, seed: int
) -> dict[str, object]:
    whole = complete(runs, [energy], [factor])
    values = without_noise(whole.rows[energy])
    codes = pd.factorize(whole.rows[factor], sort=True)[0]
    samples = [values[members] for members in members_of(codes)] if len(values) else []
    n, k = len(values), len(samples)
    used_k = k if eta_k is None else eta_k
    row = {"factor": factor, "n": n, "k": k, "eta_k": used_k, "dropped": whole.dropped}
    row |= {"magnitude": "", "separate": False, "reason": _undefined(samples)}
    if row["reason"]:
        return row
    h, p = stats.kruskal(*samples)
    effect, apart = eta_squared(h, n, used_k), separate(samples)
    if np.isnan(effect):
        row["reason"] = f"eta squared needs more than {used_k} runs"
    rng = np.random.default_rng(seed)
    drawn = resampled_h(values, [codes], codes, 0 if apart else resamples, rng)[:, 0]
    low, high = percentile_interval(drawn)
    return row | {
        "h": h,
        "df": k - 1,
        "p": p,
        "eta_squared": effect,
        "magnitude": magnitude(effect),
        "epsilon_squared": epsilon_squared(h, n),
        "eta_low": eta_squared(low, n, used_k),
        "eta_high": eta_squared(high, n, used_k),
        "epsilon_low": epsilon_squared(low, n),
        "epsilon_high": epsilon_squared(high, n),
        "separate": apart,
    }


def separate(samples: Sequence[Values]) -> bool:
    """Whether no two samples overlap or touch, and at least one has two values.

    >>> separate([np.array([1.0, 2.0]), np.array([3.0])])
    True
    >>> separate([np.array([1.0, 2.0]), np.array([2.0])])
    False
    """
    ends = np.array(sorted((one.min(), one.max()) for one in samples))  # (samples, 2)
    return bool((ends[:-1, 1] < ends[1:, 0]).all()) and any(len(one) > 1 for one in samples)


def _undefined(samples: Sequence[Values]) -> str:
    if not samples:
        return "no run has an energy and a level"
    if len(samples) == 1:
        return "the factor has a single level"
    if constant(np.concatenate(samples)):
        return "all values are the same"
    return ""


@dataclass(frozen=True)
class Order:
    """Factors in order, and the gap of each to the next.

    Attributes:
        effects: one row per factor: ``factor``, ``eta_squared``, its ``low`` and ``high`` (95 %),
            ``h`` and ``p``.
        gaps: one row per pair of neighbours: ``before``, ``after``, ``gap``, ``low``, ``high``,
            which are equal if no two configurations overlap.
        n: number of units.
        dropped: runs without an energy, a level or a round.
        reason: why there is nothing to compare; otherwise empty.
    """

    effects: pd.DataFrame
    gaps: pd.DataFrame
    n: int
    dropped: int
    reason: str


def effect_order(
    runs: pd.DataFrame,
    factors: Sequence[str],
    configuration: str = "configuration",
    energy: str = ENERGY,
    resamples: int = 1000,
    seed: int = 0,
) -> Order:
    """The gaps between the effects of factors on energy, in a given order.

    Args:
        runs: one row per run, with a column ``round``.
        factors: columns with the levels, in the order to test.
        configuration: column of the configurations, whose rounds are resampled.
        energy: column in joules.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        UsageError: a column is absent, or the energies are not numbers.

    >>> runs = pd.DataFrame({"conv": [1, 1, 1, 1, 4, 4, 4, 4], "relu": [0, 0, 1, 1] * 2,
    ...     "round": [0, 1] * 4, "energy_net_j": [10.0, 11, 12, 13, 30, 31, 32, 33]})
    >>> runs["configuration"] = runs["conv"].astype(str) + runs["relu"].astype(str)
    >>> effect_order(runs, ["conv", "relu"]).gaps.round(2)
      before after   gap   low  high
    0   conv  relu  0.67  0.67  0.67
    """
    require_chance(resamples)
    whole = complete(runs, [energy], [*factors, configuration, "round"])
    rows = whole.rows
    if rows.groupby(configuration)["round"].nunique().max() > 1:
        by = list(dict.fromkeys([configuration, "round", *factors]))
        rows = rows.groupby(by, observed=True)[[energy]].mean().reset_index()
    table = kruskal(rows, factors, energy)
    n = len(rows)
    if table["h"].isna().any():
        reason = "; ".join(dict.fromkeys(why for why in table["reason"] if why))
        return Order(pd.DataFrame(), pd.DataFrame(), n, whole.dropped, reason)
    codes = [pd.factorize(rows[factor])[0] for factor in factors]
    strata = pd.factorize(rows[configuration])[0]
    rng = np.random.default_rng(seed)
    h = resampled_h(rows[energy].to_numpy(float), codes, strata, resamples, rng)
    sizes = np.array([len(levels(rows[factor])) for factor in factors])
    etas = (h - sizes + 1) / (n - sizes)  # (resamples, factors)
    found = [eta_squared(one["h"], n, one["k"]) for one in table.to_dict("records")]
    if separate([part.to_numpy(float) for _, part in rows.groupby(configuration)[energy]]):
        etas[:] = found  # the order is the same in every resample, except for runs drawn twice
    effects = pd.DataFrame({"factor": list(factors), "eta_squared": found})
    effects[["low", "high"]] = [percentile_interval(column) for column in etas.T]
    effects["h"], effects["p"] = table["h"], table["p"]
    gaps = []
    for at, (before, after) in enumerate(itertools.pairwise(factors)):
        low, high = percentile_interval(etas[:, at] - etas[:, at + 1])
        gap = found[at] - found[at + 1]
        gaps.append({"before": before, "after": after, "gap": gap, "low": low, "high": high})
    return Order(effects, pd.DataFrame(gaps), n, whole.dropped, "")
