"""How sure is the optimum of a search, given how its repetitions scatter?

A round is scored over a handful of repetitions, and the optimum round is the first whose score
reaches the best (`joulelab.analysis.convergence`). Other repetitions would have given other scores.
Here the repetitions of every round are drawn again with replacement, the rounds scored, and the
optimum found again; the spread of those optima is the uncertainty::

    round        1              2              3
    accuracies   .80 .82 .84    .85 .86 .90    .84 .87 .87
    drawn        .80 .84 .84    .85 .85 .86    .87 .87 .84     score .827 .853 .860 -> round 3
    drawn again  .82 .82 .80    .90 .86 .90    .84 .84 .87     score .813 .887 .850 -> round 2

It is the scatter of the repetitions alone: the hyperparameters of the rounds stay as they are, so
that nothing is said of what another search would have proposed. Two things to know about it. The
best of several noisy scores is too high, in the data, and in the resamples once more, so that the
interval of the optimum accuracy lies high. And the mean of R values drawn again varies less than
that of R new ones, by the factor (R - 1) / R of its variance: the intervals are somewhat narrow
for few repetitions, and have no length for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from joulelab.analysis.levels import groups
from joulelab.analysis.missing import complete, names, require_columns
from joulelab.analysis.resampling import batches, percentile_interval, require_chance
from joulelab.analysis.rounding import ROUNDING
from joulelab.analysis.rounds import Score
from joulelab.errors import UsageError

COLUMNS = (
    "optimum_round",
    "round_low",
    "round_median",
    "round_high",
    "optimum_accuracy",
    "accuracy_low",
    "accuracy_high",
    "share_within",
    "repetitions",
    "dropped",
    "reason",
)
WINNERS = ("optimum_accuracy", "wins", "share_best", "repetitions", "dropped", "reason")
NO_ACCURACY = "no run has an accuracy"
ONE_REPETITION = "every round has a single repetition"
SOME_ONE_REPETITION = "a round has a single repetition: the intervals are too narrow"


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
        runs: a row a run, with a column ``round`` that counts from 0.
        by: the columns that make a configuration.
        score: the mean or the maximum of the accuracies of the repetitions of a round.
        tolerance: how far below the final best the optimum may lie, in accuracy (0 to 1).
        within: a round (from 1), for the share of resamples that have their optimum by then.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        accuracy: column of the accuracy, 0 to 1; missing where a run failed.

    Returns:
        A row a configuration: the columns of `by`, ``optimum_round`` (of the data, from 1),
        ``round_low``, ``round_median``, ``round_high``, ``optimum_accuracy`` (of the data),
        ``accuracy_low``, ``accuracy_high``, ``share_within`` (missing without `within`),
        ``repetitions`` (the smallest number of a round that has any), ``dropped`` (runs without an
        accuracy) and ``reason``. With a single repetition in every round nothing can be drawn
        again and what comes from resamples is missing; with one in some rounds it is there, and the
        reason says that the intervals are too narrow.

    Raises:
        UsageError: a column is absent, the score has another name, a tolerance or resamples below
            0, or `within` below 1.

    Worked example: round 2 is the better one by its mean, but only as long as its 0.90 is drawn.

    >>> runs = pd.DataFrame({"configuration": "a", "round": [0, 0, 1, 1],
    ...     "accuracy": [0.80, 0.80, 0.70, 0.96]})
    >>> found = optimum_uncertainty(runs, within=1)
    >>> found[["optimum_round", "round_low", "round_high", "share_within", "repetitions"]].round(1)
       optimum_round  round_low  round_high  share_within  repetitions
    0              2        1.0         2.0           0.3            2
    """
    _check(score, tolerance, resamples)
    if within is not None and within < 1:
        raise UsageError(f"there is no round {within}", "rounds are counted from 1")
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
    table = pd.DataFrame(rows, columns=[*columns, *COLUMNS])
    return table.astype({"optimum_round": "Int64"})


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
        runs: a row a run, with a column ``round`` that counts from 0.
        treatment: column of what is compared, for instance the strategy.
        blocks: the columns that make a block, for instance network and data set.
        score: the mean or the maximum of the accuracies of the repetitions of a round.
        resamples: of the bootstrap over the repetitions of each round.
        seed: of the bootstrap.
        accuracy: column of the accuracy, 0 to 1; missing where a run failed.

    Returns:
        A row a (block, treatment): the columns of `blocks`, that of `treatment`,
        ``optimum_accuracy`` (of the data), ``wins`` (whether it is the best of its block there,
        ties included), ``share_best`` (of the resamples; those with a tie are split evenly, so that
        the shares of a block add up to 1), ``repetitions``, ``dropped`` and ``reason``, as
        `optimum_uncertainty` gives them. Where a treatment has no accuracy, or no round of any of
        them has two repetitions, the block has no shares.

    Raises:
        UsageError: a column is absent, the score has another name, or the resamples are negative.

    >>> runs = pd.DataFrame({"network": "n", "strategy": ["grid"] * 2 + ["random"] * 2, "round": 0,
    ...     "accuracy": [0.80, 0.84, 0.81, 0.82]})
    >>> winners(runs, "strategy", "network")[["strategy", "wins", "share_best"]].round(1)
      strategy   wins  share_best
    0     grid   True         0.7
    1   random  False         0.3
    """
    _check(score, 0.0, resamples)
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
    return pd.DataFrame(rows, columns=[*columns, treatment, *WINNERS])


@dataclass(frozen=True)
class _Search:
    """The accuracies of one configuration.

    Attributes:
        rounds: (rounds,), the numbers, from 1, of the rounds that have an accuracy, ascending.
        accuracies: (rounds, most repetitions), each row filled up with NaN.
        sizes: (rounds,), how many accuracies there are.
        dropped: runs without one.
    """

    rounds: npt.NDArray[np.int64]
    accuracies: npt.NDArray[np.float64]
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


def _scores(search: _Search, score: Score) -> npt.NDArray[np.float64]:
    """The score of every round of the data, shape (rounds,)."""
    return _score(np.nan_to_num(search.accuracies), search.sizes, score)


def _drawn(
    search: _Search, score: Score, resamples: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """The score of every round in every resample, shape (resamples, rounds)."""
    shape = search.accuracies.shape
    row = np.arange(shape[0])[:, None]
    parts = [np.empty((0, shape[0]))]
    for batch in batches(resamples, search.accuracies.size):
        # Which repetition stands at each place; the places beyond a round's last count for nothing.
        chosen = (rng.random((batch, *shape)) * search.sizes[:, None]).astype(np.intp)
        parts.append(_score(search.accuracies[row, chosen], search.sizes, score))
    return np.concatenate(parts)


def _score(
    accuracies: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64], score: Score
) -> npt.NDArray[np.float64]:
    """Mean or maximum over the last axis, of which each round fills as many places as its size."""
    there = np.arange(accuracies.shape[-1]) < sizes[:, None]
    if score == "max":
        return np.asarray(np.where(there, accuracies, -np.inf).max(axis=-1, initial=-np.inf))
    return np.asarray(np.where(there, accuracies, 0.0).sum(axis=-1) / sizes)


def _optima(
    scores: npt.NDArray[np.float64], tolerance: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Which round is the optimum, as `convergence` defines it, and the final best, by resample.

    Args:
        scores: (resamples, rounds).
        tolerance: how far below the final best the optimum may lie.
    """
    if not scores.shape[1]:
        return np.zeros(len(scores), np.intp), np.full(len(scores), np.nan)
    best = np.maximum.accumulate(scores, axis=1)
    final = best[:, -1]
    return np.argmax(final[:, None] - best <= tolerance + ROUNDING, axis=1), final


def _uncertainty(
    search: _Search,
    score: Score,
    tolerance: float,
    within: int | None,
    drawn: npt.NDArray[np.float64],
) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(COLUMNS, np.nan)
    row |= {
        "optimum_round": None,
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


def _shares_of_best(optima: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """In what share of the resamples each treatment is best, from shape (resamples, treatments)."""
    if not len(optima):
        return np.full(optima.shape[1], np.nan)
    best = optima >= optima.max(axis=1, keepdims=True) - ROUNDING
    return np.asarray((best / np.maximum(best.sum(axis=1, keepdims=True), 1)).mean(axis=0))


def _no_shares(searches: Sequence[_Search]) -> str:
    reasons = [search.reason for search in searches]
    if NO_ACCURACY in reasons:
        return "a treatment of the block has no accuracy"
    return ONE_REPETITION if all(reason == ONE_REPETITION for reason in reasons) else ""


def _check(score: Score, tolerance: float, resamples: int) -> None:
    if score not in ("mean", "max"):
        raise UsageError(f"no score of a round is called {score!r}", "known: max, mean")
    if not tolerance >= 0:
        raise UsageError(f"a tolerance of {tolerance} is not possible", "give 0 or more")
    require_chance(resamples)
