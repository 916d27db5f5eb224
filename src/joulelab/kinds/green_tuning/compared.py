"""The searches of an experiment side by side: what each had reached at which cost.

A problem is what is tuned: a combination of the levels of every factor but the strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.analysis.search_cost import best_so_far
from joulelab.kinds.searching.report import search_steps, searches, steps
from joulelab.present import Axis, Unavailable, cached_per_subject
from joulelab.report.effects import STRATEGY
from joulelab.report.experiment import Experiment
from joulelab.report.search import other_factors, setting

PROBLEM = "problem"
TUNE_ON = "tune_on"
SEEN = {"validation": "held-out images", "test": "the test images"}
"""What a search sees, in words."""
MOST_PANELS = 2
"""Panels side by side."""


@dataclass(frozen=True)
class Cost:
    """What searches are charged: energy where it is known for all, else time.

    Attributes:
        of: column of the steps, cumulative.
        whole: column of the runs.
        label: for an axis.
        units: for an axis.
        words: of one amount.
        range: of two amounts.
        name: in a heading.
    """

    of: str
    whole: str
    label: str
    units: formats.Units | None
    words: Callable[[float | None], str]
    range: Callable[[float | None, float | None], str]
    name: str

    def axis(self, **more: Any) -> Axis:  # noqa: ANN401 - fields of an axis
        """A horizontal axis of it, in the column ``cost``."""
        return Axis("cost", self.label, units=self.units, **more)


@dataclass(frozen=True, eq=False)
class Compared:
    """Finished searches side by side.

    Attributes:
        runs: a row each, with the column ``problem``, in words.
        best: of all, as from `best_so_far`.
        spent: by search, in the unit of `cost`.
        known: by search, the best score on its problem: of all trials at the end of a search.
        cost: what counts.
    """

    runs: pd.DataFrame
    best: pd.DataFrame
    spent: pd.Series[float]
    known: pd.Series[float]
    cost: Cost

    @property
    def groups(self) -> list[tuple[str, str, pd.DataFrame]]:
        """Problem, strategy and their searches."""
        return [
            (str(problem), str(strategy), rows)
            for (problem, strategy), rows in self.runs.groupby([PROBLEM, STRATEGY], sort=False)
        ]

    def best_of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The best scores so far of some searches."""
        return self.best[self.best["run_id"].isin(rows["run_id"])]


@cached_per_subject
def compared(experiment: Experiment) -> Compared:
    """The finished searches side by side.

    Raises:
        Unavailable: none has trained a trial to the end.
    """
    runs = with_problem(experiment)
    rows = search_steps(steps(experiment))
    energy = bool(rows["energy_j"].notna().all() and runs["energy_gross_j"].notna().all())
    cost = _energy(experiment) if energy else TIME
    best = best_so_far(rows, cost.of)
    if not len(best):
        raise Unavailable("no search has trained a trial to the end.")
    by_run = runs.set_index("run_id")
    last = best.groupby("run_id")["now"].last().reindex(by_run.index)
    return Compared(
        runs=runs,
        best=best,
        spent=by_run[cost.whole].astype(float),
        known=last.groupby(by_run[PROBLEM]).transform("max"),
        cost=cost,
    )


def with_problem(experiment: Experiment) -> pd.DataFrame:
    """The finished searches with the column ``problem``; problem by problem.

    Raises:
        Unavailable: there is none.
    """
    runs = searches(experiment)
    others = other_factors(experiment)
    rows = runs.assign(problem=problem_names(experiment, runs[others]))
    # In the order of the study file, not in the random order of the runs.
    orders = [_place(experiment, name, rows[name]) for name in (*others, STRATEGY)]
    keys = pd.concat([*orders, rows["repetition"]], axis=1, keys=range(len(orders) + 1))
    order = keys.sort_values([*keys.columns]).index
    return rows.loc[order].reset_index(drop=True)


def problem_names(experiment: Experiment, levels: pd.DataFrame) -> list[str]:
    """The problem of each row of levels, in words."""
    rows = levels.to_dict("records")
    return [problem_words(experiment, {str(k): v for k, v in row.items()}) for row in rows]


def problem_words(experiment: Experiment, levels: Mapping[str, Any]) -> str:
    """``DensePolyNN, 3 hyperparameters, tuned on the test images``."""
    levels, varied = dict(levels), _varied(experiment)
    seen = levels.pop(TUNE_ON, None)
    said = setting(experiment, levels, varied) if levels else []
    seen = seen if TUNE_ON in varied else None
    return ", ".join([*said, *([f"tuned on {SEEN[str(seen)]}"] if seen else [])])


@cached_per_subject
def _varied(experiment: Experiment) -> list[str]:
    """Factors with more than one level in the plan, and the first beside the strategy."""
    first = other_factors(experiment)[:1]
    parts = [rows for rows in (experiment.runs, experiment.pending) if len(rows)]
    return [
        name
        for name in experiment.factors
        if name in first
        or len({level for rows in parts if name in rows for level in rows[name]}) > 1
    ]


def _place(experiment: Experiment, factor: str, levels: pd.Series[Any]) -> pd.Series[Any]:
    """The place of each level in the list of the study file; otherwise as they appear."""
    table = experiment.table
    listed = table.get({"strategy": "strategies", "network": "networks"}.get(factor, factor))
    listed = listed if isinstance(listed, list) else (table.get("vary") or {}).get(factor, [])
    order = {level: at for at, level in enumerate(dict.fromkeys([*listed, *levels.unique()]))}
    return levels.map(order)


def _energy(experiment: Experiment) -> Cost:
    status = experiment.energy.status
    return Cost(
        of="spent_j",
        whole="energy_gross_j",
        label=f"gross energy, {{unit}} ({status})",
        units=formats.ENERGY,
        words=formats.joules,
        range=formats.joules_range,
        name="energy",
    )


TIME = Cost(
    of="t_s",
    whole="duration_s",
    label="time, s",
    units=None,
    words=formats.duration,
    range=formats.duration_range,
    name="time",
)
