"""Kruskal-Wallis: does a factor move energy, and how strongly?

For a factor with k levels and n runs, all energies ranked together (ties get their mean rank)::

    H     = (12 / (n (n + 1)) * sum_i R_i^2 / n_i  -  3 (n + 1)) / C
    C     = 1 - sum_t (t^3 - t) / (n^3 - n)          t runs share an energy
    df    = k - 1                                    p from the chi-square distribution
    eta^2 = (H - k + 1) / (n - k)                    epsilon^2 = H / ((n^2 - 1) / (n + 1))

with R_i the sum of the ranks of level i and n_i its number of runs. Kruskal and Wallis, "Use of
ranks in one-criterion variance analysis", JASA 47 (1952); eta^2 and epsilon^2, which is H / (n - 1)
and lies between 0 and 1: Tomczak and Tomczak, "The need to report effect size estimates revisited",
Trends in Sport Sciences 21 (2014). Magnitude, of eta^2: small from 0.01, medium from 0.06, large
from 0.14; below that negligible. eta^2 is below 0 when the levels differ less than chance would
have it.

The intervals are those of a percentile bootstrap that draws the runs of each level again. No level
can differ less than not at all, so that chance in a resample adds to an effect and hardly ever
takes from it: near 0 the resamples lie too high by about (k - 1) / (n - k), the interval can lie
above the effect itself, and it need not hold the 0 of a factor that does nothing. There p answers,
and not the interval. A resample holds some runs twice: H and its C are those of the values drawn,
these ties included, as R's ``boot`` of ``kruskal.test`` has it. Levels that do not overlap at all
are in the same order in every resample, and only such ties would move the interval: there is none
then, because ranks cannot say how far apart they are.

The k of eta^2 is the number of levels of the factor. Yarally et al. (CAIN 2023, Table IV) put in 8,
the number of their configurations, so that they print .155, .749 and .055 where the two levels of
each factor give .157, .750 and .057. ``eta_k=8`` gives their figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from joulelab.analysis.missing import ENERGY, complete, names
from joulelab.analysis.resampling import (
    batches,
    draw_counts,
    percentile_interval,
    require_chance,
)
from joulelab.analysis.rounding import ROUNDING, constant, without_noise

COLUMNS = (
    "factor",
    "h",
    "df",
    "p",
    "n",
    "k",
    "eta_k",
    "eta_squared",
    "magnitude",
    "epsilon_squared",
    "eta_low",
    "eta_high",
    "epsilon_low",
    "epsilon_high",
    "separate",
    "dropped",
    "reason",
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
        runs: a row a run.
        factors: columns with the levels.
        energy: column in joules.
        eta_k: the k of eta squared where it is to be another than the number of levels, to
            reproduce a publication. H, df and p never depend on it.
        resamples: of the bootstrap, 1000 for instance; with 0 there are no intervals.
        seed: of the bootstrap.

    Returns:
        A row a factor, in the order given: ``factor``, ``h``, ``df``, ``p`` (0 where it is below
        the smallest float), ``n``, ``k`` (levels), ``eta_k``, ``eta_squared``, ``magnitude``,
        ``epsilon_squared``, ``eta_low``, ``eta_high``, ``epsilon_low`` and ``epsilon_high`` (95 %;
        missing without resamples, and for levels that are separate), ``separate`` (whether no
        levels overlap), ``dropped`` (runs without an energy or a level) and ``reason``.
        With a single level, or energies that are all the same, the statistics are missing and the
        reason is given.

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
    # Each factor has the same chance, whatever other factors are asked for.
    rows = [
        _test(runs, factor, energy, eta_k, resamples, np.random.default_rng(seed))
        for factor in names(factors)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"df": "Int64"})


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
    samples: Sequence[npt.NDArray[np.float64]], resamples: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """H of resamples that draw each level again.

    Args:
        samples: the energies of each level.
        resamples: how many.
        rng: the source of chance.

    Returns:
        Shape (resamples,).

    >>> h = resampled_h([np.array([1.0, 2.0]), np.array([8.0, 9.0])], 200, np.random.default_rng(0))
    >>> np.unique(h.round(3))       # no value twice; one; one of each level
    array([2.4  , 2.667, 3.   ])
    """
    labels = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    values = np.concatenate(samples)
    return resampled_h_of_factors(values, [labels], labels, resamples, rng)[:, 0]


def resampled_h_of_factors(
    values: npt.NDArray[np.float64],
    levels_of: Sequence[npt.NDArray[np.intp]],
    strata: npt.NDArray[np.intp],
    resamples: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """H of several factors on the same resamples, which draw each stratum again.

    Args:
        values: energies, shape (n,).
        levels_of: for each factor the number of the level of every value, from 0, shape (n,). All
            values of a stratum have the same levels.
        strata: the number of the stratum of every value, shape (n,).
        resamples: how many.
        rng: the source of chance.

    Returns:
        Shape (resamples, factors).
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


def ends_of_ties(
    ordered: npt.NDArray[np.float64], strata: npt.NDArray[np.intp] | int = 0
) -> npt.NDArray[np.intp]:
    """Where runs of equal values end, counted from 1, shape (distinct values,).

    Args:
        ordered: shape (n,), ascending within each stratum.
        strata: the number of the stratum of each; values of two are never tied.

    >>> ends_of_ties(np.array([3.0, 5.0, 5.0])).tolist()
    [1, 3]
    """
    differs = (np.diff(ordered) != 0) | (np.diff(np.broadcast_to(strata, ordered.shape)) != 0)
    return np.flatnonzero(np.append(differs, True)) + 1


def resampled_ranks(
    counts: npt.NDArray[np.float64], ends: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The mean rank of every value in each resample, and the correction C for its ties.

    Args:
        counts: how often each of the sorted values was drawn, shape (resamples, n); every row sums
            to the same.
        ends: as `ends_of_ties` gives them.

    Returns:
        Shapes (resamples, n) and (resamples,); C is 0 where all that was drawn is the same.

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
    ranks = upto - (alike - 1) / 2  # mean rank of equal values
    if len(ends) < n:
        ranks = np.repeat(ranks, np.diff(ends, prepend=0), axis=1)
    tied = np.einsum("rv,rv,rv->r", alike, alike, alike) - drawn
    return ranks, 1 - tied / (drawn**3 - drawn)


def _h_of_ranks(
    ranks: npt.NDArray[np.float64],
    of_level: Sequence[npt.NDArray[np.intp]],
    correction: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """H of each resample, from the ranks of what was drawn, summed by value: (resamples, n)."""
    n = ranks.shape[1]
    sums = np.stack([ranks[:, members].sum(axis=1) for members in of_level], axis=1)
    sizes = np.array([len(members) for members in of_level])
    h = 12 / (n * (n + 1)) * (sums**2 / sizes).sum(axis=1) - 3 * (n + 1)
    found = np.full(len(h), np.nan)
    np.divide(h, correction, out=found, where=correction > ROUNDING)
    return found


def _test(
    runs: pd.DataFrame,
    factor: str,
    energy: str,
    eta_k: int | None,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, object]:
    whole = complete(runs, [energy], [factor])
    values = pd.Series(without_noise(whole.rows[energy]))
    samples = [
        np.asarray(of_level, float)
        for _, of_level in values.groupby(whole.rows[factor], observed=True)
    ]
    n, k = len(whole.rows), len(samples)
    reason = _undefined(samples)
    apart = not reason and separate(samples)
    h = p = np.nan
    drawn = np.empty(0)
    if not reason:
        result = stats.kruskal(*samples)
        h, p = float(result.statistic), float(result.pvalue)
        drawn = resampled_h(samples, 0 if apart else resamples, rng)
    divisor_k = k if eta_k is None else eta_k
    effect = eta_squared(h, n, divisor_k)
    if not reason and np.isnan(effect):
        reason = f"eta squared needs more than {divisor_k} runs"
    eta_low, eta_high = (eta_squared(end, n, divisor_k) for end in percentile_interval(drawn))
    epsilon_low, epsilon_high = (epsilon_squared(end, n) for end in percentile_interval(drawn))
    return {
        "factor": factor,
        "h": h,
        "df": None if np.isnan(h) else k - 1,
        "p": p,
        "n": n,
        "k": k,
        "eta_k": divisor_k,
        "eta_squared": effect,
        "magnitude": magnitude(effect),
        "epsilon_squared": epsilon_squared(h, n),
        "eta_low": eta_low,
        "eta_high": eta_high,
        "epsilon_low": epsilon_low,
        "epsilon_high": epsilon_high,
        "separate": apart,
        "dropped": whole.dropped,
        "reason": reason,
    }


def separate(samples: Sequence[npt.NDArray[np.float64]]) -> bool:
    """Whether no two samples overlap, or touch, and some has two values.

    >>> separate([np.array([1.0, 2.0]), np.array([3.0])])
    True
    >>> separate([np.array([1.0, 2.0]), np.array([2.0])])
    False
    """
    ends = np.array(sorted((one.min(), one.max()) for one in samples))  # (samples, 2)
    return bool((ends[:-1, 1] < ends[1:, 0]).all()) and any(len(one) > 1 for one in samples)


def _undefined(samples: Sequence[npt.NDArray[np.float64]]) -> str:
    if not samples:
        return "no run has an energy and a level"
    if len(samples) == 1:
        return "the factor has a single level"
    if constant(np.concatenate(samples)):
        return "all energies are the same"
    return ""
