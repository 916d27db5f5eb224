"""Convergence of a search: scores of rounds, the optimum, and its uncertainty.

The score of a round
--------------------

A strategy proposes a round; the round is trained in several repetitions. Yarally et al. (CAIN 2023,
section IV-C) log "the highest accuracy and the mean energy" of a round; in their published data the
accuracy is the mean of the repetitions. Both are supported.

The best accuracy so far, the optimum, and the energy to reach it
-----------------------------------------------------------------

::

    accuracy   0.70  0.82  0.79  0.85  0.85  0.80
    best       0.70  0.82  0.82  0.85  0.85  0.85     b_t = max(a_1, ..., a_t)
    round        1     2     3     4     5     6
                                   ^ optimum

The **optimum accuracy** is the final best b_T, the **optimum round** the first round t with
``b_T - b_t <= tolerance``. Yarally et al. (CAIN 2023, section IV-D and Table III) print both; they
also speak of "no substantial increase" after the optimum, which corresponds to a tolerance above 0.
On their Fashion-MNIST data this reproduces Table III except for two cells: DenseLinearNN with three
hyperparameters has its optimum in round 52 under grid search (printed: 54) and in round 48 under
Bayesian search (printed: 47).

Uncertainty of the optimum from the scatter of repetitions
----------------------------------------------------------

A round is scored over a handful of repetitions, and the optimum round is the first whose score
reaches the best. Other repetitions would have given other scores.
The repetitions of every round are resampled with replacement, the rounds scored, and the optimum
found again; the spread of these optima is the uncertainty::

    round        1              2              3
    accuracies   .80 .82 .84    .85 .86 .90    .84 .87 .87
    drawn        .80 .84 .84    .85 .85 .86    .87 .87 .84     score .827 .853 .860 -> round 3
    drawn again  .82 .82 .80    .90 .86 .90    .84 .84 .87     score .813 .887 .850 -> round 2

This covers only the scatter of repetitions: the hyperparameters of the rounds stay fixed, so it
does not cover what another search would have proposed. Two limitations: the best of several noisy
scores is biased upwards, in the data and again in the resamples, so the interval of the optimum
accuracy is too high; and the mean of R resampled values varies less than the mean of R new ones, by
the factor (R - 1) / R of its variance, so the intervals are somewhat narrow for few repetitions,
and have zero width for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from joulelab.analysis.frames import (
    ENERGY,
    complete,
    groups,
    names,
    numbers,
    require_columns,
    results,
)
from joulelab.analysis.resampling import batches, percentile_interval, require_chance
from joulelab.analysis.rounding import ROUNDING, Values
from joulelab.errors import UsageError

CONVERGENCE = (
    "optimum_accuracy optimum_round accuracy_at_optimum energy_to_optimum_j energy_total_j "
    "rounds dropped energy_dropped reason"
)
UNCERTAINTY = (
    "optimum_round round_low round_median round_high optimum_accuracy accuracy_low "
    "accuracy_high share_within repetitions dropped reason"
)
WINNERS = "optimum_accuracy wins share_best repetitions dropped reason"
NO_ACCURACY = "no run has an accuracy"
ONE_REPETITION = "every round has a single repetition"
SOME_ONE_REPETITION = "a round has a single repetition: the intervals are too narrow"
Score = Literal["mean", "max"]


def score_rounds(
    runs: pd.DataFrame,
    by: str | Sequence[str] = "configuration",
    score: Score = "mean",
    accuracy: str = "accuracy",
    energy: str = ENERGY,
) -> pd.DataFrame:
    """Score and mean energy of every round.

    Args:
        runs: one row per run, with a column ``round`` that counts from 0.
        by: the columns that identify a configuration.
        score: the mean or the maximum of the accuracies of the repetitions.
        accuracy: column of the accuracy, 0 to 1; missing if a run failed.
        energy: column in joules.

    Returns:
        One row per (configuration, round), sorted: the columns of `by`, ``round`` (from 0),
        ``score``, ``energy_mean_j`` (over the runs that did not fail), ``n`` (runs with an
        accuracy), ``energy_n`` (of these, with an energy) and ``dropped`` (runs without an
        accuracy). A round in which every run failed keeps its row, with a missing score.

    Raises:
        UsageError: a column is absent, or the score is unknown.

    >>> runs = pd.DataFrame({"configuration": "a", "round": [0, 0, 1, 1],
    ...     "accuracy": [0.80, 0.90, 0.70, None], "energy_net_j": [10.0, 12.0, 11.0, None]})
    >>> score_rounds(runs)[["round", "score", "energy_mean_j", "n", "dropped"]]
       round  score  energy_mean_j  n  dropped
    0      0   0.85           11.0  2        0
    1      1   0.70           11.0  1        1
    """
    _check(score)
    columns = names(by)
    require_columns(runs, [*columns, "round"])
    scores = numbers(runs, accuracy)
    finished = np.isfinite(scores)
    repetitions = runs[[*columns, "round"]].assign(
        score=scores,
        energy_mean_j=np.where(finished, numbers(runs, energy), np.nan),
        dropped=~finished,
    )
    grouped = repetitions.groupby([*columns, "round"], dropna=False, observed=True)
    table = grouped.agg(
        score=("score", score),
        energy_mean_j=("energy_mean_j", "mean"),
        n=("score", "count"),
        energy_n=("energy_mean_j", "count"),
        dropped=("dropped", "sum"),
    )
    return table.reset_index()


def running_best(
    rounds: pd.DataFrame, by: str | Sequence[str] = "configuration", score: str = "score"
) -> pd.DataFrame:
    """The best score up to and including each round.

    Args:
        rounds: one row per round, from `joulelab.analysis.convergence.score_rounds`.
        by: the columns that identify a configuration.
        score: column of the accuracy of a round; a missing one keeps the best.

    Returns:
        The rounds sorted by configuration and round, with the columns ``round_number`` (from 1) and
        ``running_best`` (missing until the first score).

    Raises:
        UsageError: a column is absent, or a round occurs twice.

    >>> rounds = pd.DataFrame({"configuration": "a", "round": [0, 1, 2], "score": [0.7, 0.6, 0.8]})
    >>> running_best(rounds)["running_best"].tolist()
    [0.7, 0.7, 0.8]
    """
    columns = names(by)
    require_columns(rounds, [*columns, "round"])
    if rounds.duplicated([*columns, "round"]).any():
        raise UsageError(
            "a round occurs twice within a configuration",
            "score the rounds over their repetitions first, or name more columns in `by`",
        )
    frame = rounds.assign(**{score: numbers(rounds, score)})
    parts = []
    for _, rows in groups(frame, columns):
        ordered = rows.sort_values("round")
        parts.append(
            ordered.assign(
                round_number=ordered["round"] + 1, running_best=ordered[score].cummax().ffill()
            )
        )
    if not parts:
        return frame.assign(round_number=frame["round"], running_best=frame[score])
    return pd.concat(parts, ignore_index=True)


def convergence(
    rounds: pd.DataFrame,
    by: str | Sequence[str] = "configuration",
    tolerance: float = 0.0,
    score: str = "score",
    energy: str = "energy_mean_j",
) -> pd.DataFrame:
    """Optimum accuracy, optimum round and the energy spent up to it, for every configuration.

    Args:
        rounds: one row per round, from `joulelab.analysis.convergence.score_rounds`.
        by: the columns that identify a configuration.
        tolerance: how far below the final best the optimum may be, in accuracy (0 to 1).
        score: column of the accuracy of a round.
        energy: column of the energy of a round in joules; with ``energy_mean_j`` the energies below
            are for one repetition of every round.

    Returns:
        One row per configuration: the columns of `by`, ``optimum_accuracy`` (the final best),
        ``optimum_round`` (from 1), ``accuracy_at_optimum`` (the best by then; lower than the
        optimum accuracy only with a tolerance), ``energy_to_optimum_j`` (the optimum round
        included), ``energy_total_j``, ``rounds``, ``dropped`` (rounds without a score),
        ``energy_dropped`` (rounds without an energy, excluded from both sums) and ``reason``.

    Raises:
        UsageError: a column is absent, a round occurs twice, or the tolerance is negative.

    >>> rounds = pd.DataFrame({"configuration": "a", "round": [0, 1, 2],
    ...     "score": [0.70, 0.84, 0.85], "energy_mean_j": [10.0, 11.0, 12.0]})
    >>> columns = ["optimum_accuracy", "optimum_round", "energy_to_optimum_j"]
    >>> convergence(rounds)[columns]
       optimum_accuracy  optimum_round  energy_to_optimum_j
    0              0.85              3                 33.0
    >>> convergence(rounds, tolerance=0.01)[columns]
       optimum_accuracy  optimum_round  energy_to_optimum_j
    0              0.85              2                 21.0
    """
    _check(tolerance=tolerance)
    columns = names(by)
    best = running_best(rounds, columns, score)
    best[energy] = numbers(best, energy)
    rows = [
        {**key, **_optimum(rows, tolerance, score, energy)} for key, rows in groups(best, columns)
    ]
    return results(rows, CONVERGENCE, columns, whole=["optimum_round"])


def _optimum(rows: pd.DataFrame, tolerance: float, score: str, energy: str) -> dict[str, object]:
    counts = {
        "rounds": len(rows),
        "dropped": int(rows[score].isna().sum()),
        "energy_dropped": int(rows[energy].isna().sum()),
        "energy_total_j": rows[energy].sum(min_count=1),
    }
    best = rows["running_best"].to_numpy()
    if not len(best) or np.isnan(best[-1]):
        return {**counts, "reason": "no round has a score"}
    # Differences of decimal accuracies are off by about 1e-17, which must not cost a round.
    at = int(np.argmax(best[-1] - best <= tolerance + ROUNDING))
    return {
        **counts,
        "optimum_accuracy": best[-1],
        "optimum_round": int(rows["round_number"].iloc[at]),
        "accuracy_at_optimum": best[at],
        "energy_to_optimum_j": rows[energy].iloc[: at + 1].sum(min_count=1),
        "reason": "",
    }


def optimum_uncertainty(
    runs: pd.DataFrame,
    by: str | Sequence[str] = "configuration",
    score: Score = "mean",
    tolerance: float = 0.0,
    within: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
    accuracy: str = "accuracy",
) -> pd.DataFrame:
    """Optimum round and accuracy of every configuration, with 95 % intervals over repetitions.

    Args:
        runs: one row per run, with a column ``round`` that counts from 0.
        by: the columns that identify a configuration.
        score: the mean or the maximum of the accuracies of the repetitions of a round.
        tolerance: how far below the final best the optimum may be, in accuracy (0 to 1).
        within: a round (from 1), to compute the share of resamples with their optimum by then.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        accuracy: column of the accuracy, 0 to 1; missing if a run failed.

    Returns:
        One row per configuration: the columns of `by`, ``optimum_round`` (of the data, from 1),
        ``round_low``, ``round_median``, ``round_high``, ``optimum_accuracy`` (of the data),
        ``accuracy_low``, ``accuracy_high``, ``share_within`` (missing without `within`),
        ``repetitions`` (the smallest number of a round that has any), ``dropped`` (runs without an
        accuracy) and ``reason``. With a single repetition in every round resampling is impossible
        and its columns are missing; with one in some rounds they are present, and the reason says
        that the intervals are too narrow.

    Raises:
        UsageError: a column is absent, the score is unknown, the tolerance or the resamples are
            below 0, or `within` is below 1.

    Worked example: round 2 is better by its mean, but only in resamples that draw its best value.

    >>> runs = pd.DataFrame({"configuration": "a", "round": [0, 0, 1, 1],
    ...     "accuracy": [0.80, 0.80, 0.70, 0.96]})
    >>> found = optimum_uncertainty(runs, within=1)
    >>> found[["optimum_round", "round_low", "round_high", "share_within", "repetitions"]].round(1)
       optimum_round  round_low  round_high  share_within  repetitions
    0              2        1.0         2.0           0.3            2
    """
    _check(score, tolerance, resamples)
    if within is not None and within < 1:
        raise UsageError(f"no such round: {within}", "rounds are counted from 1")
    columns = names(by)
    require_columns(runs, [*columns, "round"])
    rng = np.random.default_rng(seed)
    rows = []
    for key, group in groups(runs, columns):
        search = _search(group, accuracy)
        found = _uncertainty(
            search, score, tolerance, within, _drawn(search, score, resamples, rng)
        )
        rows.append({**key, **found})
    return results(rows, UNCERTAINTY, columns, whole=["optimum_round"])


def winners(
    runs: pd.DataFrame,
    treatment: str,
    blocks: str | Sequence[str],
    score: Score = "mean",
    resamples: int = 1000,
    seed: int = 0,
    accuracy: str = "accuracy",
) -> pd.DataFrame:
    """How often each treatment has the best optimum accuracy of its block.

    Args:
        runs: one row per run, with a column ``round`` that counts from 0.
        treatment: column of the compared treatments, for instance the strategy.
        blocks: the columns that identify a block, for instance network and data set.
        score: the mean or the maximum of the accuracies of the repetitions of a round.
        resamples: of the bootstrap over the repetitions of each round.
        seed: of the bootstrap.
        accuracy: column of the accuracy, 0 to 1; missing if a run failed.

    Returns:
        One row per (block, treatment): the columns of `blocks`, that of `treatment`,
        ``optimum_accuracy`` (of the data), ``wins`` (whether it is the best of its block there,
        ties included), ``share_best`` (of the resamples; those with a tie are split evenly, so that
        the shares of a block add up to 1), ``repetitions``, ``dropped`` and ``reason``, from
        `optimum_uncertainty`. If a treatment has no accuracy, or no round of any has two
        repetitions, the block has no shares.

    Raises:
        UsageError: a column is absent, the score is unknown, or the resamples are negative.

    >>> runs = pd.DataFrame({"network": "n", "strategy": ["grid"] * 2 + ["random"] * 2, "round": 0,
    ...     "accuracy": [0.80, 0.84, 0.81, 0.82]})
    >>> winners(runs, "strategy", "network")[["strategy", "wins", "share_best"]].round(1)
      strategy   wins  share_best
    0     grid   True         0.7
    1   random  False         0.3
    """
    _check(score, resamples=resamples)
    columns = names(blocks)
    require_columns(runs, [*columns, treatment, "round"])
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for key, block in groups(runs, columns):
        searches = {
            level[treatment]: _search(group, accuracy) for level, group in groups(block, treatment)
        }
        drawn = [_optima(_drawn(one, score, resamples, rng), 0.0)[1] for one in searches.values()]
        best = [_optima(_scores(one, score)[None], 0.0)[1][0] for one in searches.values()]
        reason = _no_shares(list(searches.values()))
        shares = _shares_of_best(np.stack(drawn, axis=1))  # (treatments,)
        for (level, search), optimum, share in zip(searches.items(), best, shares, strict=True):
            rows.append(
                {
                    **key,
                    treatment: level,
                    "optimum_accuracy": optimum,
                    "wins": bool(optimum >= np.fmax.reduce(best) - ROUNDING),
                    "share_best": np.nan if reason else share,
                    "repetitions": search.repetitions,
                    "dropped": search.dropped,
                    "reason": reason or search.reason,
                }
            )
    return results(rows, WINNERS, [*columns, treatment])


@dataclass(frozen=True)
class _Search:
    """The accuracies of one configuration.

    Attributes:
        rounds: (rounds,), the numbers, from 1, of rounds with an accuracy, ascending.
        accuracies: (rounds, most repetitions), each row filled up with NaN.
        sizes: (rounds,), number of accuracies.
        dropped: runs without an accuracy.
    """

    rounds: npt.NDArray[np.int64]
    accuracies: Values
    sizes: npt.NDArray[np.int64]
    dropped: int

    @property
    def repetitions(self) -> int:
        return int(self.sizes.min(initial=self.accuracies.shape[1]))

    @property
    def reason(self) -> str:
        if not len(self.rounds):
            return NO_ACCURACY
        if self.sizes.max() == 1:
            return ONE_REPETITION
        return SOME_ONE_REPETITION if self.repetitions == 1 else ""


def _search(runs: pd.DataFrame, accuracy: str) -> _Search:
    whole = complete(runs, [accuracy, "round"]).rows
    ordered = whole.sort_values("round", kind="stable")
    rounds, place, sizes = np.unique(
        ordered["round"].to_numpy(), return_inverse=True, return_counts=True
    )
    accuracies = np.full((len(rounds), sizes.max(initial=0)), np.nan)
    first = np.cumsum(sizes) - sizes
    accuracies[place, np.arange(len(place)) - first[place]] = ordered[accuracy]
    return _Search(rounds.astype(np.int64) + 1, accuracies, sizes, len(runs) - len(whole))


def _scores(search: _Search, score: Score) -> Values:
    """The score of every round of the data, shape (rounds,)."""
    return _score(np.nan_to_num(search.accuracies), search.sizes, score)


def _drawn(search: _Search, score: Score, resamples: int, rng: np.random.Generator) -> Values:
    """The score of every round in every resample, shape (resamples, rounds)."""
    shape = search.accuracies.shape
    row = np.arange(shape[0])[:, None]
    parts = [np.empty((0, shape[0]))]
    for batch in batches(resamples, search.accuracies.size):
        # Index of the repetition at each position; positions beyond a round's last are ignored.
        chosen = (rng.random((batch, *shape)) * search.sizes[:, None]).astype(np.intp)
        parts.append(_score(search.accuracies[row, chosen], search.sizes, score))
    return np.concatenate(parts)


def _score(accuracies: Values, sizes: npt.NDArray[np.int64], score: Score) -> Values:
    """Mean or maximum over the last axis, of which each round uses as many entries as its size."""
    there = np.arange(accuracies.shape[-1]) < sizes[:, None]
    if score == "max":
        return np.asarray(np.where(there, accuracies, -np.inf).max(axis=-1, initial=-np.inf))
    return np.asarray(np.where(there, accuracies, 0.0).sum(axis=-1) / sizes)


def _optima(scores: Values, tolerance: float) -> tuple[npt.NDArray[np.intp], Values]:
    """Which round is the optimum, as `convergence` defines it, and the final best, by resample.

    Args:
        scores: (resamples, rounds).
        tolerance: how far below the final best the optimum may be.
    """
    if not scores.shape[1]:
        return np.zeros(len(scores), np.intp), np.full(len(scores), np.nan)
    best = np.maximum.accumulate(scores, axis=1)
    final = best[:, -1]
    return np.argmax(final[:, None] - best <= tolerance + ROUNDING, axis=1), final


def _uncertainty(
    search: _Search, score: Score, tolerance: float, within: int | None, drawn: Values
) -> dict[str, object]:
    row: dict[str, object] = {
        "repetitions": search.repetitions,
        "dropped": search.dropped,
        "reason": search.reason,
    }
    if not len(search.rounds):
        return row
    at, final = _optima(_scores(search, score)[None], tolerance)
    row |= {"optimum_round": int(search.rounds[at[0]]), "optimum_accuracy": float(final[0])}
    if search.reason == ONE_REPETITION or not len(drawn):
        return row
    places, finals = _optima(drawn, tolerance)
    rounds = search.rounds[places].astype(float)
    row["round_low"], row["round_high"] = percentile_interval(rounds)
    row["round_median"] = float(np.median(rounds))
    row["accuracy_low"], row["accuracy_high"] = percentile_interval(finals)
    if within is not None:
        row["share_within"] = float((rounds <= within).mean())
    return row


def _shares_of_best(optima: Values) -> Values:
    """Share of resamples in which each treatment is best, from shape (resamples, treatments)."""
    if not len(optima):
        return np.full(optima.shape[1], np.nan)
    best = optima >= optima.max(axis=1, keepdims=True) - ROUNDING
    return np.asarray((best / np.maximum(best.sum(axis=1, keepdims=True), 1)).mean(axis=0))


def _no_shares(searches: Sequence[_Search]) -> str:
    reasons = [search.reason for search in searches]
    if NO_ACCURACY in reasons:
        return "a treatment of the block has no accuracy"
    return ONE_REPETITION if all(reason == ONE_REPETITION for reason in reasons) else ""


def _check(score: Score = "mean", tolerance: float = 0.0, resamples: int = 0) -> None:
    if score not in ("mean", "max"):
        raise UsageError(f"no score of a round is called {score!r}", "known: max, mean")
    if not tolerance >= 0:
        raise UsageError(f"a tolerance of {tolerance} is not possible", "give 0 or more")
    require_chance(resamples)
