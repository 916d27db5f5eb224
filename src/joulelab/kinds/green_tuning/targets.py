"""What a search spends until it has 95, 99 and 100 % of the best known score."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

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
            came, why = _why_not(whole, own, there)
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
                    "came": came,
                    "why_not": why,
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
        f"{name}_least": found.at_least,
    }


def _why_not(whole: Compared, own: pd.DataFrame, there: pd.DataFrame) -> tuple[float, str]:
    """How far the searches came that did not reach a target, and why they ended."""
    missed = own[~own["run_id"].map(there["reached"]).astype(bool)]
    last = whole.best_of(missed).groupby("run_id")["best"].last()
    came = float((last / whole.known[last.index]).max()) if len(last) else math.nan
    return came, "; ".join(dict.fromkeys(missed["stopped"]))


def median_words(
    median: float, least: float, form: Callable[[float | None], str] = formats.joules
) -> str:
    """A median, or that it is above what was spent: ``1.2 kJ``, ``more than 4.8 kJ``."""
    return form(median) if formats.known(median) else f"more than {form(least)}"


@table("targets", "Energy until a search has 95, 99 and 100 % of the best known score")
def target_table(experiment: Experiment) -> Table:
    """Energy, or time where it is unknown, until a search had a share of the best known score."""
    cost = compared(experiment).cost
    made = _table(experiment, "cost", cost.words)
    note = (
        "Best known: the highest score of all trials that were trained to the end, over all "
        "searches on the problem. Medians over searches, by Kaplan and Meier: a search that ended "
        "before it was there counts as not there at what it had spent; where fewer than half got "
        "there, the median is above that of all costs. In brackets the 95 % interval by Brookmeyer "
        "and Crowley; of fewer than six searches, the lowest and the highest. The tuner's own "
        f"{cost.name} is counted in, judging is not."
    )
    title = "" if cost.name == "energy" else "Time until a search has the best known score"
    return replace(made, note=note, title=title)


@table("target-epochs", "Epochs until a search has 95, 99 and 100 % of the best known score")
def target_epochs(experiment: Experiment) -> Table:
    """The same in epochs."""
    return _table(experiment, "epochs", lambda value: f"{value:,.0f}")


def _table(experiment: Experiment, cost: str, form: Callable[[float | None], str]) -> Table:
    rows = reached(experiment)
    index = [PROBLEM, STRATEGY]
    shown = rows[index].drop_duplicates()
    columns = [words(PROBLEM), words(STRATEGY)]

    def median(value: float, low: float, high: float, least: float) -> str:
        if not formats.known(value) or not formats.known(low) or low == high:
            return median_words(value, least, form)
        ends = f"{form(low)} to {form(high)}" if formats.known(high) else f"from {form(low)}"
        return f"{form(value)} ({ends})"

    for name, of_target in rows.groupby("target", sort=False):
        renamed = {one: f"{name} {one}" for one in of_target if one not in index}
        shown = shown.merge(of_target.rename(columns=renamed), on=index, how="left")
        wide = name != f"{100 * MAIN:g} %"
        of = tuple(f"{name} {cost}{end}" for end in ("", "_low", "_high", "_least"))
        counts = (f"{name} reached", f"{name} searches")
        columns += [
            Column("reached", counts, "{} of {}".format, group=str(name), wide=wide),
            words("median", of, form=median, group=str(name), wide=wide),
        ]
    return Table(rows, columns, shown=shown)


@figure("survival", "Searches that are not there yet")
def survival_curves(experiment: Experiment) -> Figure:
    """Share of the searches without 99 % of the best known score, over what they spent."""
    whole = compared(experiment)
    if max(len(own) for _, _, own in whole.groups) == 1:
        raise Unavailable("there is one search of each strategy on a problem.")
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
