"""Search strategies: what each has found, in how many rounds, and which of them differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.analysis.claims.search import SUBSTANTIAL, WITHIN
from joulelab.analysis.convergence import (
    convergence,
    optimum_uncertainty,
    running_best,
    score_rounds,
    winners,
)
from joulelab.analysis.frames import ENERGY
from joulelab.analysis.ranking import Ranking, rank_treatments
from joulelab.present import (
    Column,
    Figure,
    Table,
    Unavailable,
    cached_per_subject,
    figure,
    table,
    words,
)
from joulelab.present.axes import Axis
from joulelab.present.curve_plot import curves
from joulelab.present.parts import Width
from joulelab.present.ranks import critical_difference_figure
from joulelab.report.effects import RESAMPLES, SIGNIFICANT_P, STRATEGY, sentence
from joulelab.report.experiment import Experiment


def other_factors(experiment: Experiment) -> list[str]:
    """The factors beside the strategy."""
    return [factor for factor in experiment.factors if factor != STRATEGY]


@cached_per_subject
def rounds(experiment: Experiment) -> pd.DataFrame:
    """Score and mean energy of every round, with a column for each factor."""
    runs, energy = experiment.runs, experiment.energy.column or ENERGY
    return score_rounds(
        # A table from elsewhere may have no energy at all.
        runs if energy in runs else runs.assign(**{energy: np.nan}),
        by=list(experiment.factors),
        score=experiment.score,
        energy=energy,
    )


@table("optima", "Optimum accuracy and round of each strategy (Table III)")
def optima(experiment: Experiment) -> Table:
    """Table III: optimum accuracy, and the round in which each strategy reached it."""
    others = other_factors(experiment)
    if not len(experiment.runs):
        raise Unavailable("no run has finished yet.")
    if STRATEGY not in experiment.factors:
        raise Unavailable("strategies are not compared in this experiment.")
    rows = convergence(rounds(experiment), by=[*others, STRATEGY]).dropna(subset=["optimum_round"])
    if not len(rows):
        raise Unavailable("no round has a score yet.")
    near = convergence(rounds(experiment), by=[*others, STRATEGY], tolerance=SUBSTANTIAL)
    rows["optimum_round_near"] = near["optimum_round"]
    rows = rows.reset_index(drop=True)
    shown = rows.assign(
        most_accurate=_is_extreme(rows, others, "optimum_accuracy", "max"),
        quickest=_is_extreme(rows, others, "optimum_round", "min"),
    )
    columns = [
        *(words(name) for name in _named(experiment)),
        Column("accuracy", "optimum_accuracy", formats.accuracy, bold="most_accurate"),
        Column("round", ("optimum_round", "rounds"), "{} of {}".format, bold="quickest"),
        Column("nearly", "optimum_round_near", str, wide=True),
    ]
    if rows["energy_to_optimum_j"].notna().any():
        columns.append(Column("energy", "energy_to_optimum_j", formats.joules))
    counted = "a round's accuracy is the " + {"mean": "mean", "max": "best"}[experiment.score]
    note = (
        "The best accuracy that each strategy found and the first round in which it had it; rounds "
        f"count from 1, {counted} of its repetitions. Bold: the highest accuracy and the fewest "
        f"rounds among the strategies. Nearly: the round after which nothing substantial "
        f"({100 * SUBSTANTIAL:g} points) is gained. Energy ({experiment.energy.status}): one "
        "repetition of every round up to the optimum."
    )
    return Table(rows, columns, note, shown=shown)


def _named(experiment: Experiment) -> list[str]:
    """The columns that name a search: factors that vary, or else the first, and the strategy."""
    others = other_factors(experiment)
    return [*([name for name in others if name in experiment.varied] or others[:1]), STRATEGY]


def _is_extreme(
    rows: pd.DataFrame, by: Sequence[str], column: str, which: Literal["min", "max"]
) -> pd.Series[bool]:
    """Which rows have the highest or lowest value among those with the same levels."""
    setting_of = [rows[name] for name in by] or [pd.Series(0, index=rows.index)]
    best = rows[column].groupby(setting_of, dropna=False).transform(which)
    extreme: pd.Series[bool] = rows[column] == best
    return extreme


@figure("convergence", "Convergence of the strategies")
def convergence_curves(experiment: Experiment) -> Figure:
    """Best accuracy so far, round by round."""
    optima(experiment)
    panels = convergence_panels(
        experiment, rounds(experiment), lambda levels: ", ".join(setting(experiment, levels))
    )
    note = (
        "Best accuracy up to each round; the marker is the round in which a strategy first had its "
        "optimum. A line that rises early has found good hyperparameters at little cost."
    )
    return Figure(
        lambda width: convergence_figure(panels, experiment.score, width),
        note,
        f"Best accuracy by round. {convergence_words(panels)}.",
    )


def convergence_panels(
    experiment: Experiment, found: pd.DataFrame, title: Callable[[dict[str, Any]], str]
) -> dict[str, pd.DataFrame]:
    """Best score so far by round of each strategy, by the title of its panel.

    Args:
        experiment: with strategies.
        found: its scored rounds, or some of them.
        title: of a panel, from the levels of the factors that its lines have in common.
    """
    others = [name for name in other_factors(experiment) if name in found]
    by = [*others, STRATEGY]
    reached = convergence(found, by=by).dropna(subset=["optimum_round"])
    best = reached[[*by, "optimum_round"]].merge(running_best(found, by=by), on=by)
    panels: dict[str, list[pd.DataFrame]] = {}
    for levels, rows in best.groupby(by, sort=False, dropna=False):
        at = dict(zip(by, levels, strict=True))
        panels.setdefault(title({name: at[name] for name in others}), []).append(
            rows.assign(line=str(at[STRATEGY]), place=range(1, len(rows) + 1))
        )
    return {
        name: pd.concat(lines).assign(marked=lambda rows: rows["place"] == rows["optimum_round"])
        for name, lines in panels.items()
    }


def convergence_figure(panels: Mapping[str, pd.DataFrame], score: str, width: Width) -> Drawing:
    """Draw what `convergence_panels` gives, the optimum marked."""
    last = max(int(rows["place"].max()) for rows in panels.values())
    return curves(
        panels,
        Axis("place", "round", whole=True, limits=(1, max(last, 2))),
        Axis("running_best", f"best accuracy so far\n({score} of the repetitions)"),
        step="post",
        width=width,
    )


def convergence_words(panels: Mapping[str, pd.DataFrame]) -> str:
    """What the panels of a convergence figure show, in words."""
    ends = {name: rows.groupby("line", sort=False).tail(1) for name, rows in panels.items()}
    return "; ".join(
        f"{name}: "
        + ", ".join(
            f"{row['line']} {formats.accuracy(row['running_best'])} in round {row['optimum_round']}"
            for row in rows.to_dict("records")
        )
        for name, rows in ends.items()
    )


def setting(
    experiment: Experiment, levels: Mapping[str, Any], varied: Collection[str] | None = None
) -> list[str]:
    """Levels in words, without factors that do not vary: ``SimpleCNN``, ``5 hyperparameters``.

    Args:
        experiment: has the factors.
        levels: by factor.
        varied: the factors that vary; default: among the finished runs.
    """
    of = experiment.varied if varied is None else varied
    said = [name for name in levels if name in of] or list(levels)[:1]
    return [
        str(levels[name])
        if isinstance(levels[name], str)
        else f"{formats.level(levels[name])} {name}"
        if name == "hyperparameters"
        else f"{name} = {formats.level(levels[name])}"
        for name in said
    ]


def ranking(experiments: Sequence[Experiment]) -> Ranking:
    """Strategies ranked by optimum accuracy over the configurations of one experiment or several.

    Args:
        experiments: each compares strategies.

    Raises:
        Unavailable: they cannot be ranked.
    """
    parts = []
    for one in experiments:
        others = other_factors(one)
        found = convergence(rounds(one), by=[*others, STRATEGY])
        levels = found[others].to_dict("records")
        blocks = [", ".join([one.dataset, *map(str, row.values())]) for row in levels]
        parts.append(found.assign(block=blocks))
    whole = pd.concat(parts, ignore_index=True)
    made = rank_treatments(whole, STRATEGY, "block", "optimum_accuracy")
    if made.reason:
        raise Unavailable(f"{made.reason}.")
    return made


@cached_per_subject
def own_ranking(experiment: Experiment) -> Ranking:
    """The strategies of one experiment, ranked."""
    return ranking([experiment])


@table("ranks", "Strategies compared over configurations: Friedman, Nemenyi, Wilcoxon")
def ranks(experiment: Experiment) -> Table:
    """Which strategies differ over the configurations."""
    return rank_table(own_ranking(experiment))


def rank_table(made: Ranking, block: str = "configuration") -> Table:
    """The pairs of a ranking, with Friedman's test in the note.

    Args:
        made: the ranking.
        block: what a block is.
    """
    columns = [
        words("one", "first"),
        words("other", "second"),
        Column("wins", ("wins_first", "wins_second"), "{} : {}".format),
        Column("mean ranks apart", "mean_rank_difference", lambda d: f"{abs(d):.2f}", wide=True),
        *(
            Column(
                f"{test} p",
                of,
                formats.p_value,
                bold=lambda row, of=of: row[of] < SIGNIFICANT_P,  # type: ignore[misc]
            )
            for test, of in (("Nemenyi", "nemenyi_p"), ("Wilcoxon", "wilcoxon_p_holm"))
        ),
        Column("r", "effect", formats.effect),
        words("interval", ("effect_low", "effect_high"), form=formats.between(formats.effect)),
    ]
    note = (
        f"{friedman_words(made, block)} Wilcoxon's p are adjusted by Holm; r is the rank-biserial "
        "correlation, above 0 where the first is better."
    )
    return Table(made.pairs, columns, note)


def friedman_words(made: Ranking, block: str = "configuration") -> str:
    """Friedman's test, its effect size and Nemenyi's critical difference, in two sentences."""
    w = formats.interval(made.w_low, made.w_high, formats.effect)
    left_out = f", {made.dropped} left out" if made.dropped else ""
    return (
        f"Friedman over {formats.count(made.blocks, block)}{left_out}: "
        f"\N{GREEK SMALL LETTER CHI}\N{SUPERSCRIPT TWO}({made.df}) = "
        f"{formats.statistic(made.chi2)}, p {formats.p_value(made.p_exact)} ({made.p_method}); "
        f"Kendall's W = {formats.effect(made.kendalls_w)} ({w}). Mean ranks differ from "
        f"{made.critical_difference:.2f} on (Nemenyi)."
    )


@figure("ranks-diagram", "Mean ranks of the strategies")
def rank_diagram(experiment: Experiment) -> Figure:
    """The critical-difference diagram of the strategies."""
    return rank_figure(own_ranking(experiment))


def rank_figure(made: Ranking, block: str = "configuration") -> Figure:
    """Mean ranks, those that do not differ joined by a bar."""
    treatments = made.treatments
    mean_ranks = dict(
        zip(treatments["treatment"].astype(str), treatments["mean_rank"], strict=True)
    )
    test = f"Nemenyi, {formats.count(made.blocks, block)}, p < 0.05"
    listed = formats.listing([f"{name} {rank:.2f}" for name, rank in mean_ranks.items()])
    return Figure(
        lambda width: critical_difference_figure(
            mean_ranks, made.critical_difference, _alike(made), test, width
        ),
        "Rank 1 is best; a bar joins strategies whose ranks do not differ.",
        f"Mean ranks: {listed}.",
    )


def _alike(made: Ranking) -> list[list[str]]:
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


@table("optimum-uncertainty", "How sure the optima are: repetitions drawn again", folded=True)
def optimum_certainty(experiment: Experiment) -> Table:
    """How far optimum round and accuracy would move with other repetitions."""
    others = other_factors(experiment)
    whole = optimum_uncertainty(
        experiment.runs,
        by=[*others, STRATEGY],
        score=experiment.score,
        within=WITHIN,
        resamples=RESAMPLES,
    )
    rows = whole[whole["round_low"].notna()].reset_index(drop=True)
    if not len(rows):
        raise Unavailable(sentence(whole["reason"], "no round has a score"))
    best = winners(experiment.runs, STRATEGY, others, experiment.score, RESAMPLES)
    rows = rows.merge(best[[*others, STRATEGY, "share_best"]], "left", [*others, STRATEGY])
    columns = [
        *(words(name) for name in _named(experiment)),
        Column("round", "optimum_round", str),
        words(
            "95 % of resamples", ("round_low", "round_high"), form=formats.between("{:.0f}".format)
        ),
        Column(f"within {WITHIN}", "share_within", lambda share: formats.percent(share, 0)),
        Column("accuracy", "optimum_accuracy", formats.accuracy),
        words(
            "95 % interval",
            ("accuracy_low", "accuracy_high"),
            form=formats.between(formats.accuracy),
        ),
        Column("best", "share_best", lambda share: formats.percent(share, 0)),
    ]
    note = (
        f"The repetitions of every round were drawn again {RESAMPLES:,} times, and the search read "
        f"anew. Within {WITHIN}: in how many of these the optimum lies in the first {WITHIN} "
        "rounds; best: in how many the strategy reaches the highest accuracy of its setting. The "
        "proposals of a strategy stay as they were, so that this is the uncertainty of the "
        "reading and not of the search. A best of noisy rounds lies above what it would reach "
        "again."
    )
    return Table(rows, columns, note)


def search_finding(experiment: Experiment) -> str:
    """Which strategy finds the best accuracy, and where the best of all is.

    Raises:
        Unavailable: strategies are not compared, or no round has a score.
    """
    rows = optima(experiment).frame
    others = other_factors(experiment)
    settings = rows.groupby(others, dropna=False) if others else [((), rows)]
    wins: dict[str, int] = {}
    for _, found in settings:
        first = found["optimum_accuracy"] == found["optimum_accuracy"].max()
        for strategy in found.loc[first, STRATEGY]:
            wins[str(strategy)] = wins.get(str(strategy), 0) + 1
    best = rows.iloc[int(rows["optimum_accuracy"].to_numpy().argmax())]
    where = ", ".join(setting(experiment, {name: best[name] for name in others}))
    reached = (
        f"{formats.accuracy(best['optimum_accuracy'])} by {best[STRATEGY]}"
        f"{f' on {where}' if where else ''} in round {best['optimum_round']}"
    )
    if rows[STRATEGY].nunique() == 1 or len(settings) == 1:
        return f"In {experiment.name}, the best accuracy is {reached}."
    winner, *others = sorted(wins, key=lambda name: -wins[name])
    rest = "".join(f", {name} in {wins[name]}" for name in others)
    tied = " (ties count for each)" if sum(wins.values()) > len(settings) else ""
    return (
        f"In {experiment.name}, {winner} found the best accuracy in {wins[winner]} of "
        f"{len(settings)} settings{rest}{tied}; the best of all is {reached}."
    )
