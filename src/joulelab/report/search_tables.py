"""Tables on search strategies beyond Table III: their ranks, and how sure their optima are."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.search import WITHIN
from joulelab.analysis.convergence import convergence, optimum_uncertainty, winners
from joulelab.analysis.ranking import Ranking, rank_treatments
from joulelab.report.experiment import Experiment, once
from joulelab.report.tables import SIGNIFICANT_P, STRATEGY, Omitted, Table, rounds

RESAMPLES = 1000


def ranking(experiments: Sequence[Experiment]) -> Ranking | str:
    """Strategies ranked by optimum accuracy over the configurations of one experiment or several.

    Args:
        experiments: each compares strategies.

    Returns:
        The ranking, or why there is none.
    """
    parts = []
    for one in experiments:
        others = [factor for factor in one.factors if factor != STRATEGY]
        table = convergence(rounds(one), by=[*others, STRATEGY])
        rows = table[others].to_dict("records")
        blocks = [", ".join([one.dataset, *map(str, row.values())]) for row in rows]
        parts.append(table.assign(block=blocks))
    found = pd.concat(parts, ignore_index=True)
    made = rank_treatments(found, STRATEGY, "block", "optimum_accuracy")
    return made.reason or made


@once
def ranks(experiment: Experiment) -> Table | Omitted:
    """Which strategies differ over the configurations."""
    key, title = "ranks", "Strategies compared over configurations: Friedman, Nemenyi, Wilcoxon"
    made = ranking([experiment])
    if isinstance(made, str):
        return Omitted(key, title, f"{made}.")
    raw = made.pairs
    shown = pd.DataFrame(
        {
            "one": raw["first"],
            "other": raw["second"],
            "wins": raw["wins_first"].map(str) + " : " + raw["wins_second"].map(str),
            "mean ranks apart": raw["mean_rank_difference"].abs().map("{:.2f}".format),
            "Nemenyi p": raw["nemenyi_p"].map(formats.p_value),
            "Wilcoxon p": raw["wilcoxon_p_holm"].map(formats.p_value),
            "r": raw["effect"].map(formats.effect),
            "interval": formats.intervals(raw["effect_low"], raw["effect_high"], formats.effect),
        }
    )
    note = (
        f"{friedman_words(made)} Wilcoxon's p are adjusted by Holm; r is the rank-biserial "
        "correlation, above 0 where the first is better."
    )
    bold = {
        (int(row), f"{test} p")
        for test, column in (("Nemenyi", "nemenyi_p"), ("Wilcoxon", "wilcoxon_p_holm"))
        for row in raw.index[raw[column] < SIGNIFICANT_P]
    }
    text = ("one", "other", "interval")
    return Table(key, title, note, raw, shown, text, frozenset(bold), wide=("mean ranks apart",))


def friedman_words(made: Ranking) -> str:
    """Friedman's test, its effect size and Nemenyi's critical difference, in two sentences."""
    w = formats.interval(made.w_low, made.w_high, formats.effect)
    left_out = f", {made.dropped} left out" if made.dropped else ""
    return (
        f"Friedman over {formats.count(made.blocks, 'configuration')}{left_out}: "
        f"\N{GREEK SMALL LETTER CHI}\N{SUPERSCRIPT TWO}({made.df}) = "
        f"{formats.statistic(made.chi2)}, p {formats.p_value(made.p_exact)} ({made.p_method}); "
        f"Kendall's W = {formats.effect(made.kendalls_w)} ({w}). Mean ranks differ from "
        f"{made.critical_difference:.2f} on (Nemenyi)."
    )


def alike(made: Ranking) -> list[list[str]]:
    """Strategies whose mean ranks are within the critical difference, as few groups as possible."""
    order = made.treatments.sort_values("mean_rank")
    rank = dict(zip(order["treatment"].astype(str), order["mean_rank"], strict=True))
    names = list(rank)
    groups: list[list[str]] = []
    for first in range(len(names)):
        near = [
            n for n in names[first:] if rank[n] - rank[names[first]] <= made.critical_difference
        ]
        if len(near) > 1 and not (groups and near[-1] in groups[-1]):
            groups.append(near)
    return groups


@once
def uncertainty(experiment: Experiment) -> Table | Omitted:
    """How far optimum round and accuracy would move with other repetitions."""
    key, title = "optimum-uncertainty", "How sure the optima are: repetitions drawn again"
    others = [factor for factor in experiment.factors if factor != STRATEGY]
    whole = optimum_uncertainty(
        experiment.runs,
        by=[*others, STRATEGY],
        score=experiment.score,
        within=WITHIN,
        resamples=RESAMPLES,
    )
    raw = whole[whole["round_low"].notna()].reset_index(drop=True)
    if not len(raw):
        reasons = "; ".join(dict.fromkeys(reason for reason in whole["reason"] if reason))
        return Omitted(key, title, f"{reasons or 'no round has a score'}.")
    best = winners(experiment.runs, STRATEGY, others, experiment.score, RESAMPLES)
    raw = raw.merge(best[[*others, STRATEGY, "share_best"]], "left", [*others, STRATEGY])
    named = [*([name for name in others if name in experiment.varied] or others[:1]), STRATEGY]
    shown = pd.DataFrame({name: raw[name].map(formats.level) for name in named})
    shown["round"] = raw["optimum_round"].map(str)
    shown["95 % of resamples"] = formats.intervals(
        raw["round_low"], raw["round_high"], "{:.0f}".format
    )
    shown[f"within {WITHIN}"] = raw["share_within"].map(lambda share: formats.percent(share, 0))
    shown["accuracy"] = raw["optimum_accuracy"].map(formats.accuracy)
    shown["95 % interval"] = formats.intervals(
        raw["accuracy_low"], raw["accuracy_high"], formats.accuracy
    )
    shown["best"] = raw["share_best"].map(lambda share: formats.percent(share, 0))
    note = (
        f"The repetitions of every round were drawn again {RESAMPLES:,} times, and the search read "
        f"anew. Within {WITHIN}: in how many of these the optimum lies in the first {WITHIN} "
        "rounds; best: in how many the strategy reaches the highest accuracy of its setting. The "
        "proposals of a strategy stay as they were, so that this is the uncertainty of the "
        "reading and not of the search. A best of noisy rounds lies above what it would reach "
        "again."
    )
    text = (*named, "95 % of resamples", "95 % interval")
    return Table(key, title, note, raw, shown, text, folded=True)
