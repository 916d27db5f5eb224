"""The tuning experiment of Yarally et al. (CAIN 2023): tables I and III, section VI-A.

The optimum accuracy of a search is its best accuracy, the optimum round the first that reaches it,
counted from 1. A setting is a network with 3 or 5 hyperparameters; strategies are compared within a
setting, by their optimum accuracies.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.convergence import convergence, running_best, score_rounds
from joulelab.replication.published import (
    Cells,
    Recomputed,
    agree,
    cut_off,
    decimals,
    difference,
    joined,
    left_out,
)
from joulelab.replication.yarally2023_data import NETWORKS, SEARCH, STRATEGIES, RawData

SETTING = ["network", "hyperparameters"]
TEST_IMAGES = 10_000
"""For both Fashion-MNIST and CIFAR-10."""
MOST_REPETITIONS = 64
PART_OF_AN_IMAGE = 0.01
LOGGED = 1e-6
"""Tolerance between logged and recomputed accuracies, which are logged with few decimals."""
NARROWLY = 0.01
USUAL_ROUND = 27


def recompute_tuning(raw: RawData, printed: Mapping[tuple[str, str], str]) -> Cells:
    """Recompute every number that the paper prints about one data set.

    Args:
        raw: from `joulelab.replication.yarally2023_data.read_tuning`.
        printed: the printed numbers of this data set, by table and cell.
    """
    curves = _curves(raw.frame)
    cells = _design(raw.frame) | _optima(raw, curves, printed)
    return cells | _claims({"": curves}, "the paper's number is over both data sets")


def recompute_tuning_together(raws: Mapping[str, RawData]) -> Cells:
    """Recompute every number that the paper prints about both data sets together.

    Args:
        raws: the table of each data set, by name.
    """
    parts = [_design(raw.frame)["Table I", "trainings_per_configuration"] for raw in raws.values()]
    per_search = [part.value for part in parts]
    searches = [raw.frame.groupby(SEARCH).ngroups for raw in raws.values()]
    known = [count for count in per_search if isinstance(count, int)]
    trainings = Recomputed(None, parts[0].note or parts[-1].note)
    if len(known) == len(parts):
        total = sum(count * n for count, n in zip(known, searches, strict=True))
        trainings = Recomputed(total, "rounds and repetitions of every search, as in Table I")
    return {
        ("Table I", "trainings"): trainings,
        **_claims({f"{name} ": _curves(raw.frame) for name, raw in raws.items()}, ""),
        ("Section VI-A", "runtime_h"): Recomputed(None, "the raw data contain no times"),
    }


def repetitions_behind(accuracies: Sequence[float]) -> int | None:
    """Infer how many trainings the accuracies average, from the fractions of an image in them.

    An accuracy of one training is a whole number of the 10,000 test images; the mean of m of them
    is a multiple of 1 / (10,000 m). None if no m up to 64 fits all, or if m = 1 does: then they may
    be from one training, or maxima, or have been rounded.

    >>> repetitions_behind([0.2117125, 0.3257375]), repetitions_behind([0.21, 0.3258])
    (8, None)
    """
    images = TEST_IMAGES * np.asarray(accuracies, float)
    for m in range(1, MOST_REPETITIONS + 1):
        if np.all(np.abs(m * images - np.round(m * images)) < PART_OF_AN_IMAGE):
            return m if m > 1 else None
    return None


def _curves(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per round, with its score, the running best and the best logged by the authors."""
    rounds = score_rounds(frame, SEARCH, accuracy="accuracy", energy="energy_j")
    key = [*SEARCH, "round"]
    logged = frame.groupby(key)["best_accuracy"].max().reset_index()
    return running_best(rounds.merge(logged, on=key), SEARCH)


def _design(frame: pd.DataFrame) -> Cells:
    searches = frame.groupby(SEARCH)["round"].nunique()
    rows = frame.groupby([*SEARCH, "round"]).size()
    rounds = int(searches.mode().iloc[-1])
    uneven = (
        f"not the same for every search: {searches.min()} to {searches.max()}"
        if searches.nunique() > 1
        else ""
    )
    if rows.max() > 1:
        repetitions: int | None = int(rows.mode().iloc[-1])
        how = "rows per round"
    else:
        repetitions = repetitions_behind(frame["accuracy"].dropna().tolist())
        how = "inferred from the accuracies: means over that many test runs of 10,000 images"
    unknown = "the accuracies do not show how many trainings they average"
    return {
        ("Table I", "configurations"): Recomputed(len(searches)),
        ("Table I", "rounds"): Recomputed(rounds, uneven),
        ("Table I", "repetitions"): Recomputed(repetitions, how if repetitions else unknown),
        ("Table I", "trainings_per_configuration"): Recomputed(
            rounds * repetitions if repetitions else None, joined("" if repetitions else unknown)
        ),
    }


def _optima(raw: RawData, curves: pd.DataFrame, printed: Mapping[tuple[str, str], str]) -> Cells:
    found = {
        tuple(row[name] for name in SEARCH): row
        for row in convergence(curves, SEARCH).to_dict("records")
    }
    by_search = dict(list(curves.groupby(SEARCH)))
    cells: Cells = {}
    for network in NETWORKS.values():
        for strategy in STRATEGIES.values():
            for hyperparameters in (5, 3):
                search = (network, strategy, hyperparameters)
                names = [
                    ("Table III", f"{network}.{strategy}.{hyperparameters}.{what}")
                    for what in ("accuracy", "round")
                ]
                if search not in by_search:
                    none = "the file has no such search"
                    cells |= dict.fromkeys(names, Recomputed(None, none))
                    continue
                texts = [printed[name] for name in names]
                pair = _optimum(found[search], by_search[search], texts, raw.accuracy_note)
                cells |= dict(zip(names, pair, strict=True))
    return cells


def _optimum(
    row: Mapping[Hashable, Any], curve: pd.DataFrame, texts: Sequence[str], about: str
) -> tuple[Recomputed, Recomputed]:
    """Optimum accuracy and optimum round of one search, with notes."""
    accuracy_text, round_text = texts
    dropped = left_out(int(row["dropped"]), "round")
    if row["reason"]:
        none = Recomputed(None, joined(str(row["reason"]), dropped))
        return none, none
    accuracy, at = float(row["optimum_accuracy"]), int(row["optimum_round"])
    off = "" if agree(accuracy_text, accuracy) else difference(accuracy_text, accuracy)
    if cut_off(accuracy_text, accuracy):
        off = f"{formats.decimals(accuracy, decimals(accuracy_text) + 3)} is {off}"
    return (
        Recomputed(accuracy, joined(off, dropped, _otherwise_logged(curve), about)),
        Recomputed(at, joined(_other_round(curve, at, accuracy_text, int(round_text)), dropped)),
    )


def _other_round(curve: pd.DataFrame, at: int, accuracy_text: str, printed_round: int) -> str:
    """Why the optimum round differs from the printed one, as far as the running best shows."""
    if at == printed_round:
        return ""
    best = curve.set_index("round_number")["running_best"]
    first = (
        f"the maximum, {formats.decimals(float(best.loc[at]), 6)}, is first reached in round {at}"
    )
    if printed_round not in best.index:
        return f"{first}; the file has no round {printed_round}"
    there = float(best.loc[printed_round])
    if printed_round > at:
        return f"{first}; round {printed_round} does not raise it"
    since = int(best.index[int((best == there).to_numpy().argmax())])
    shown = formats.decimals(there, 6)
    places = decimals(accuracy_text)
    alike = formats.decimals(there, places) == formats.decimals(float(best.loc[at]), places)
    return (
        f"{first}; by round {printed_round} the best is {shown}, reached in round {since}, "
        f"{'the same' if alike else 'not the same'} at the printed precision"
    )


def _otherwise_logged(curve: pd.DataFrame) -> str:
    """A note if the authors' column best_accuracy is not the running best."""
    known = curve.dropna(subset=["best_accuracy", "running_best"])
    off = known[(known["best_accuracy"] - known["running_best"]).abs() > LOGGED]
    if not len(off):
        return ""
    first = off.iloc[0]
    return (
        f"best_accuracy in the file is not the running best in {formats.count(len(off), 'round')}, "
        f"first in round {int(first['round_number'])}: "
        f"{formats.decimals(float(first['best_accuracy']), 6)} for "
        f"{formats.decimals(float(first['running_best']), 6)}"
    )


def _claims(curves: Mapping[str, pd.DataFrame], about: str) -> Cells:
    """The claims of section VI-A; the keys of `curves` are prefixes of the settings."""
    optima = pd.concat([_by_setting(one, name) for name, one in curves.items()])
    bests, rounds = (_by_strategy(optima, what) for what in ("optimum_accuracy", "optimum_round"))
    bayesian = rounds["bayesian"].dropna()
    mean_round = float(bayesian.mean()) if len(bayesian) else None
    late = [f"{setting} in round {int(at)}" for setting, at in bayesian.items() if at > USUAL_ROUND]
    marks = "" if not late else "the paper does not say how far from 27 an outlier is; counted: "
    return {
        ("Section VI-A", "random_beats_grid.settings"): _count(bests, "random", "grid"),
        ("Section VI-A", "bayesian.overtaken_by_grid.settings"): _count(bests, "grid", "bayesian"),
        ("Section VI-A", "bayesian.matched_by_random.settings"): _count(
            bests, "random", "bayesian", NARROWLY
        ),
        ("Section VI-A", "bayesian.mean_round"): Recomputed(
            mean_round, about if mean_round is not None else "no Bayesian search in the file"
        ),
        ("Section VI-A", "bayesian.outliers"): Recomputed(
            len(late) if len(bayesian) else None,
            marks + "; ".join(late) if len(bayesian) else "no Bayesian search in the file",
        ),
    }


def _by_setting(curves: pd.DataFrame, name: str) -> pd.DataFrame:
    """One row per search: its optimum, and its ``setting`` in words."""
    optima = convergence(curves, SEARCH)
    settings = name + optima["network"] + " " + optima["hyperparameters"].astype(str)
    return optima.assign(setting=settings)


def _by_strategy(optima: pd.DataFrame, what: str) -> pd.DataFrame:
    """One row per setting, one column per strategy."""
    wide = optima.pivot_table(index="setting", columns="strategy", values=what, sort=False)
    return wide.reindex(columns=list(STRATEGIES.values())).astype(float)


def _count(bests: pd.DataFrame, one: str, other: str, margin: float = 0.0) -> Recomputed:
    """Number of settings in which one strategy is above another, or within a margin below it."""
    both = bests[[one, other]].dropna()
    if not len(both):
        return Recomputed(None, f"no setting with {one} and {other} search")
    gaps = both[one] - both[other]
    where = gaps[gaps > -margin]
    listed = "; ".join(f"{name} {formats.points(float(gap))}" for name, gap in where.items())
    measure = (
        f"less than {formats.percent(margin, 0)} below, as the paper does not define near; "
        if margin
        else ""
    )
    return Recomputed(len(where), f"{measure}of {len(both)} settings: {listed or 'none'}")
