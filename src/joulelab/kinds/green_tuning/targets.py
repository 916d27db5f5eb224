"""What a search spends until it has 95, 99 and 100 % of the best known score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from joulelab import formats
from joulelab.analysis.search_cost import Survival, cost_to, survival
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
from joulelab.report.effects import STRATEGY
from joulelab.report.experiment import Experiment

SHARES = (0.95, 0.99, 1.0)
MAIN = 0.99
"""The share in figures and findings."""


@dataclass(frozen=True)
class Target:
    """A score to reach.

    Attributes:
        name: ``99 %``.
        share: of the best known score; NaN for a score of the study file.
        scores: by search.
    """

    name: str
    share: float
    scores: pd.Series[float]


def targets(experiment: Experiment) -> list[Target]:
    """Shares of the best known score, and the target of the study file."""
    whole = compared(experiment)
    found = [Target(f"{100 * share:g} %", share, share * whole.known) for share in SHARES]
    own = experiment.table.get("target")
    if isinstance(own, float | int):
        scores = pd.Series(float(own), index=whole.known.index)
        found.append(Target(f"target {own:g}", math.nan, scores))
    return found


@cached_per_subject
def reached(experiment: Experiment) -> pd.DataFrame:
    """A row for each problem, strategy and target: how many reached it, at what cost."""
    whole = compared(experiment)
    rows = []
    for problem, strategy, own in whole.groups:
        for target in targets(experiment):
            there, of_cost = _survival(whole, own, target, "cost")
            _, of_epochs = _survival(whole, own, target, "epochs")
            rows.append(
                {
                    PROBLEM: problem,
                    STRATEGY: strategy,
                    "target": target.name,
                    "share": target.share,
                    "score": float(target.scores[own["run_id"]].iloc[0]),
                    "reached": of_cost.reached,
                    "searches": of_cost.searches,
                    **_median("cost", of_cost),
                    **_median("epochs", of_epochs),
                    "why_not": _why_not(whole, own, there),
                }
            )
    return pd.DataFrame(rows)


def _survival(
    whole: Compared, own: pd.DataFrame, target: Target, cost: str
) -> tuple[pd.DataFrame, Survival]:
    """What searches spent until they had a target, and the share that did not have it."""
    by_run = own.set_index("run_id")
    spent = whole.spent[by_run.index] if cost == "cost" else by_run["epochs"].astype(float)
    there = cost_to(whole.best_of(own), spent, target.scores, cost)
    return there, survival(there["cost"].to_numpy(), there["reached"].to_numpy())


def _median(name: str, found: Survival) -> dict[str, float]:
    return {
        name: found.median,
        f"{name}_low": found.median_low,
        f"{name}_high": found.median_high,
        f"{name}_most": found.longest,
    }


def _why_not(whole: Compared, own: pd.DataFrame, there: pd.DataFrame) -> str:
    """How far the searches came that did not reach a target, and why they ended."""
    missed = own[~own["run_id"].map(there["reached"]).astype(bool)]
    if not len(missed):
        return ""
    last = whole.best_of(missed).groupby("run_id")["best"].last()
    if len(last):
        best = f"at most {formats.percent(float((last / whole.known[last.index]).max()))}"
    else:
        best = "no trial trained to the end"
    return f"{best}: {'; '.join(dict.fromkeys(missed['stopped']))}"


def median_words(
    median: float, most: float, form: Callable[[float | None], str] = formats.joules
) -> str:
    """A median, or that it is above what was spent: ``1.2 kJ``, ``more than 4.8 kJ``."""
    return form(median) if formats.known(median) else f"more than {form(most)}"


@table("targets", "What it takes to reach the best known score")
def target_table(experiment: Experiment) -> Table:
    """Energy and epochs until a search had a share of the best known score."""
    whole, rows = compared(experiment), reached(experiment)
    names = list(dict.fromkeys(rows["target"]))
    index = [PROBLEM, STRATEGY]
    shown = rows[index].drop_duplicates()
    for name in names:
        own = rows[rows["target"] == name].drop(columns=["target", "share", "score"])
        own = own.rename(columns={one: f"{name} {one}" for one in own if one not in index})
        shown = shown.merge(own, on=index, how="left")
    main = f"{100 * MAIN:g} %"
    columns = [words(PROBLEM), words(STRATEGY)]
    for name in names:
        columns += _columns(whole, name, wide=name != main)
    columns.append(words("why not all", f"{main} why_not", wide=True))
    note = (
        "Best known: the highest mean score of a trial that was trained to the end, over all "
        "searches on the problem; a lucky score counts as it is. Medians over searches, by Kaplan and Meier: a search that ended "
        "before it was there counts as not there at what it had spent, and the median is above "
        "that where fewer than half got there. 95 % interval by Brookmeyer and Crowley; few "
        f"searches give no upper end. The tuner's own {whole.cost.name} is counted in, judging is "
        f"not. Why not all: of {main}."
    )
    return Table(rows, columns, note, shown=shown)


def _columns(whole: Compared, name: str, *, wide: bool) -> list[Column]:
    """Of one target: how many reached it, cost, its interval, epochs."""

    def of(*ends: str) -> tuple[str, ...]:
        return tuple(f"{name} {end}" for end in ends)

    def epochs(median: float, most: float) -> str:
        return median_words(median, most, lambda value: f"{value:,.0f}")

    def between(low: float, high: float) -> str:
        if formats.known(high) and formats.known(low):
            return whole.cost.range(low, high)
        return f"from {whole.cost.words(low)}" if formats.known(low) else formats.DASH

    def cost(median: float, most: float) -> str:
        return median_words(median, most, whole.cost.words)

    there = Column("reached", of("reached", "searches"), "{} of {}".format, group=name, wide=wide)
    return [
        there,
        Column(whole.cost.name, of("cost", "cost_most"), cost, group=name, wide=wide),
        Column("interval", of("cost_low", "cost_high"), between, group=name, wide=True),
        Column("epochs", of("epochs", "epochs_most"), epochs, group=name, wide=wide),
    ]


@figure("survival", "Searches that are not there yet")
def survival_curves(experiment: Experiment) -> Figure:
    """Share of the searches without 99 % of the best known score, over what they spent."""
    whole = compared(experiment)
    target = next(one for one in targets(experiment) if one.share == MAIN)
    panels: dict[str, list[pd.DataFrame]] = {}
    for problem, strategy, own in whole.groups:
        there, found = _survival(whole, own, target, "cost")
        ended = there.loc[~there["reached"], "cost"]
        line = pd.DataFrame(
            {"cost": [0.0, *found.at], "share": [1.0, *found.share], "line": strategy}
        )
        line["marked"] = line["cost"].isin(ended)
        line["hollow"] = line["marked"].map({True: "ended without it", False: ""})
        panels.setdefault(problem, []).append(line)
    if not (whole.best["best"] > 0).any():
        raise Unavailable("no score is above 0, so there are no shares of the best.")
    y = Axis("share", "share of searches\nnot there yet", from_zero=True, bounds=(0.0, 1.0))
    note = (
        f"The share of searches without {100 * MAIN:g} % of the best known score after what they "
        "spent (Kaplan and Meier); a line that falls early and to 0 is best."
    )
    return Figure(
        lambda width: curves(
            {name: pd.concat(lines) for name, lines in panels.items()},
            whole.cost.axis(from_zero=True),
            y,
            step="post",
            width=width,
            columns=MOST_PANELS if width == "screen" else None,
        ),
        note,
        f"Falling steps. {_ends(panels)}.",
    )


def _ends(panels: dict[str, list[pd.DataFrame]]) -> str:
    return "; ".join(
        f"{name or 'not there at the end'}: "
        + ", ".join(
            f"{line['line'].iloc[0]} {formats.percent(float(line['share'].iloc[-1]), 0)}"
            for line in lines
        )
        for name, lines in panels.items()
    )
