"""Strategies at the same cost: best scores, anytime curves, ranks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.ranking import Ranking, rank_treatments
from joulelab.analysis.search_cost import INTERVAL, LEAST_BAND, anytime, middle, score_at
from joulelab.analysis.two_samples import shift, wilcoxon_p
from joulelab.kinds.green_tuning.compared import MOST_PANELS, PROBLEM, Compared, compared
from joulelab.present import (
    Axis,
    Column,
    Figure,
    Table,
    Unavailable,
    cached_per_subject,
    curves,
    figure,
    table,
    words,
)
from joulelab.report.effects import SIGNIFICANT_P, STRATEGY
from joulelab.report.experiment import Experiment
from joulelab.report.search import rank_figure, rank_table

PARTS = {"quarter": 0.25, "half": 0.5, "whole": 1.0}
LEAST_PAIRS = 6
"""Fewest pairs whose signed-rank test can fall below .05."""
BLOCK = "problem-seed pair"


def least_spent(whole: Compared) -> pd.Series[float]:
    """By problem, what the strategy that spent least took in the median."""
    runs = whole.runs
    medians = runs[whole.cost.whole].groupby([runs[PROBLEM], runs[STRATEGY]]).median()
    return medians.groupby(PROBLEM).min()


@cached_per_subject
def scores(experiment: Experiment) -> pd.DataFrame:
    """A row for each search: its best scores at a quarter, half and whole of equal cost."""
    whole = compared(experiment)
    rows = whole.runs[["run_id", PROBLEM, STRATEGY, "repetition"]].copy()
    for name, part in PARTS.items():
        rows[name] = np.nan
        for problem, cost in least_spent(whole).items():
            own = rows[rows[PROBLEM] == problem]
            found = score_at(whole.best, pd.Index(own["run_id"]), part * cost)
            rows.loc[own.index, name] = found.to_numpy()
    return rows


@table("equal", "Best score at equal cost")
def equal_table(experiment: Experiment) -> Table:
    """The best score so far where the cheapest strategy had spent all, half, and a quarter."""
    whole, found = compared(experiment), scores(experiment)
    least = least_spent(whole)
    rows: list[dict[str, Any]] = []
    for problem, strategy, own in whole.groups:
        mine = found[found["run_id"].isin(own["run_id"])]
        row: dict[str, Any] = {PROBLEM: problem, STRATEGY: strategy, "cost": least[problem]}
        for name in PARTS:
            one = middle(mine[name].to_numpy(float))
            row |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
            row |= {"interval_kind": one.kind, "searches": one.n}
        rows.append(row)
    frame = _differences(pd.DataFrame(rows), found)
    score = formats.or_dash("{:.4f}".format)
    columns = [
        words(PROBLEM),
        words(STRATEGY),
        Column(f"equal {whole.cost.name}", "cost", whole.cost.words),
        Column("at a quarter", "quarter", score, wide=True),
        Column("at half", "half", score, wide=True),
        Column("at all", "whole", score, bold="is_best"),
        words("interval", ("whole_low", "whole_high"), form=_ends, wide=True),
    ]
    if frame["difference"].notna().any():
        columns.append(Column("to the best", "difference", _signed))
    if frame["p"].notna().any():
        columns.append(Column("p", form=formats.p_value))
    return Table(frame, columns, _equal_note(frame, whole))


def _ends(low: float, high: float) -> str:
    """An interval; a search without a score is below all others."""
    if not formats.known(high):
        return formats.DASH
    return f"{f'{low:.4f}' if formats.known(low) else 'none'} to {high:.4f}"


def _signed(difference: float) -> str:
    return formats.signed(f"{difference:+.4f}") if formats.known(difference) else formats.DASH


def _differences(frame: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """With the difference of each strategy to the best on its problem, over paired seeds."""
    parts = []
    for problem, own in frame.groupby(PROBLEM, sort=False):
        best = own["whole"].max()
        of_best = own.loc[own["whole"] == best, STRATEGY]
        seeds = found[found[PROBLEM] == problem].pivot_table(
            values="whole", index="repetition", columns=STRATEGY
        )
        pairs = [
            _difference(seeds, str(strategy), str(of_best.iloc[0]) if len(of_best) else "")
            for strategy in own[STRATEGY]
        ]
        columns = pd.DataFrame(pairs, index=own.index)
        parts.append(pd.concat([own.assign(is_best=own["whole"] == best), columns], axis=1))
    return pd.concat(parts)


def _difference(seeds: pd.DataFrame, strategy: str, best: str) -> dict[str, float]:
    """The shift of a strategy from the best, and its p where there are enough pairs.

    Args:
        seeds: a row for each, a column for each strategy that has a score.
        strategy: its name.
        best: the best strategy.
    """
    apart = np.empty(0)
    if strategy != best and strategy in seeds and best in seeds:
        apart = (seeds[strategy] - seeds[best]).dropna().to_numpy(float)
    if not len(apart):
        return dict.fromkeys(("difference", "difference_low", "difference_high", "p"), np.nan)
    one = shift(apart)
    return {
        "difference": one.value,
        "difference_low": one.low,
        "difference_high": one.high,
        "p": wilcoxon_p(apart) if len(apart) >= LEAST_PAIRS else np.nan,
    }


def _equal_note(frame: pd.DataFrame, whole: Compared) -> str:
    kind = "95 % interval of the median" if _all(frame, INTERVAL) else "lowest to highest"
    few = int(frame["searches"].min())
    test = (
        "p: Wilcoxon's signed-rank test over seeds of the same number."
        if frame["p"].notna().any()
        else f"{formats.count(few, 'seed')} of a problem {'is' if few == 1 else 'are'} too few for "
        f"a test, which needs {LEAST_PAIRS}; the ranks compare over all problems."
    )
    return (
        f"The median over searches of the best score so far, where the strategy that spent least "
        f"had spent all of its {whole.cost.name}, half and a quarter. A dash: half of the searches "
        f"had trained nothing to the end. Interval: {kind}. To the best: Hodges and Lehmann's "
        f"shift from the strategy in bold, over seeds in which both have a score. {test}"
    )


def _all(frame: pd.DataFrame, kind: str) -> bool:
    return bool((frame["interval_kind"] == kind).all())


@figure("curve", "Best score so far")
def best_curve(experiment: Experiment) -> Figure:
    """The best score so far over what was spent: the median over searches, with a band."""
    whole = compared(experiment)
    panels: dict[str, list[pd.DataFrame]] = {}
    for problem, strategy, own in whole.groups:
        line = _line(whole, own).assign(line=strategy, marked=False)
        panels.setdefault(problem, []).append(line)
    panels = {name: lines for name, lines in panels.items() if any(map(len, lines))}
    if not panels:
        raise Unavailable("no strategy has a trial at the end in every search.")
    sizes = whole.runs.groupby([PROBLEM, STRATEGY]).size()
    band = "95 % interval of the median" if sizes.min() >= LEAST_PAIRS else "lowest to highest"
    note = (
        "The highest score so far of a trial that was trained to the end, on what the search sees. "
        + (
            f"Lines: medians over searches, from where each has such a trial; bands: {band}."
            if sizes.min() >= LEAST_BAND
            else "A line for every search where a strategy has fewer than three."
        )
    )
    return Figure(
        lambda width: curves(
            {name: pd.concat(lines) for name, lines in panels.items()},
            whole.cost.axis(scale="auto"),
            Axis("best", "best score so far", "low", "high"),
            step="post",
            width=width,
            columns=MOST_PANELS if width == "screen" else None,
        ),
        note,
        "Rising steps, a line for every strategy.",
    )


def _line(whole: Compared, own: pd.DataFrame) -> pd.DataFrame:
    """The median with its band; or, for fewer than three searches, each of them."""
    best, spent = whole.best_of(own), whole.spent[own["run_id"]]
    if len(own) >= LEAST_BAND:
        return anytime(best, spent)
    gap = pd.DataFrame({"cost": [math.nan], "best": [math.nan]})
    parts = []
    for name in own["run_id"]:
        mine = best[best["run_id"] == name]
        parts += [anytime(mine, spent[[name]]), gap]
    return pd.concat(parts, ignore_index=True).iloc[:-1]


@cached_per_subject
def ranking(experiment: Experiment) -> Ranking:
    """Strategies ranked by their best score at equal cost, over problems and seeds.

    Raises:
        Unavailable: they cannot be ranked.
    """
    rows = scores(experiment)
    # A search that has trained nothing to the end is behind all others.
    rows = rows.assign(whole=rows["whole"].fillna(rows["whole"].min() - 1.0))
    made = rank_treatments(rows, STRATEGY, [PROBLEM, "repetition"], "whole")
    if made.reason:
        raise Unavailable(f"{made.reason}.")
    return made


@table("ranks", "Strategies compared over problems and seeds: Friedman, Nemenyi, Wilcoxon")
def ranks(experiment: Experiment) -> Table:
    """Which strategies differ in their best score at equal cost."""
    return rank_table(ranking(experiment), BLOCK)


@figure("ranks-diagram", "Mean ranks of the strategies at equal cost")
def rank_diagram(experiment: Experiment) -> Figure:
    """The critical-difference diagram of the strategies."""
    return rank_figure(ranking(experiment), BLOCK)


def rank_finding(experiment: Experiment) -> str:
    """Which strategy ranks best over problems and seeds, and which do not differ from it.

    Raises:
        Unavailable: they cannot be ranked.
    """
    made = ranking(experiment)
    order = made.treatments
    best = order.iloc[0]
    near = order[order["mean_rank"] - best["mean_rank"] <= made.critical_difference].iloc[1:]
    alike = (
        f"; {formats.listing(list(near['treatment'].astype(str)))} "
        f"{'does' if len(near) == 1 else 'do'} not differ from it by more than chance"
        if len(near)
        else ", better than every other by more than chance"
    )
    p = made.p_exact
    return (
        f"At equal cost, {best['treatment']} has the best mean rank, {best['mean_rank']:.2f} of "
        f"{len(order)}, over {formats.count(made.blocks, BLOCK)} (Friedman's p "
        f"{formats.p_value(p)}){alike if p < SIGNIFICANT_P else '; the ranks may be chance'}."
    )
