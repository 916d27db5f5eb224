"""Score against energy in the reports of searches: the front, its growth, and its knee."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from joulelab import formats
from joulelab.analysis.front import undominated
from joulelab.kinds.searching.keys import RETURNED
from joulelab.kinds.searching.report import SEARCH, in_words, searches, sign, steps
from joulelab.present import (
    Axis,
    Column,
    Figure,
    Table,
    Unavailable,
    curves,
    figure,
    scatter,
    table,
    words,
)
from joulelab.report.effects import STRATEGY
from joulelab.report.experiment import Experiment
from joulelab.report.search import other_factors
from joulelab.tuning.front import Front, knee

LABELLED = 12
"""Longest front whose points have names in the figure."""


def trials(experiment: Experiment) -> pd.DataFrame:
    """A row for every trial of every search.

    ``second`` is the second goal: the energy of a full training, or what trainings returned.
    """
    rows = steps(experiment)
    rows = rows[rows["metric"] == SEARCH].copy()
    by = rows.groupby(["run_id", "trial"], sort=False)
    furthest = by["end"].transform("max")
    scores = rows[rows["end"] == furthest].groupby(["run_id", "trial"])["value"].mean()
    made = by.agg(
        values=("values", "last"),
        end=("end", "max"),
        epochs=("epochs", "sum"),
        state=("state", "last"),
        reason=("reason", "last"),
        energy_j=("energy_j", lambda one: one.sum(skipna=False)),
        duration_s=("duration_s", "sum"),
        spent_j=("spent_j", "max"),
    )
    made = made.join(scores.rename("score"))
    made["each_j"] = made["energy_j"] / made["epochs"] * made["end"]
    made["second"] = by["second"].mean() if "second" in rows else made["each_j"]
    found: pd.DataFrame = made.reset_index()
    return found


def _two_goals(experiment: Experiment) -> bool:
    return "second" in searches(experiment)


def finished(experiment: Experiment) -> pd.DataFrame:
    """The trials that were trained to the end, with a score and a second goal.

    Raises:
        Unavailable: there is none.
    """
    rows = trials(experiment)
    rows = rows[rows["end"] == rows["end"].max()].dropna(subset=["score", "second"])
    rows = rows[rows["second"] > 0]
    if not len(rows):
        raise Unavailable("no trial has both a score and an energy.")
    runs = searches(experiment).set_index("run_id")
    factors = {
        name: rows["run_id"].map(runs[name])
        for name in (STRATEGY, *other_factors(experiment))
        if name in runs
    }
    found: pd.DataFrame = rows.assign(**factors)
    return found


def problems(experiment: Experiment, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each problem, with its name; the name is empty where there is one."""
    by = [name for name in other_factors(experiment) if name in rows and rows[name].nunique() > 1]
    if not by:
        yield "", rows
        return
    for key, some in rows.groupby(by, sort=False):
        yield ", ".join(map(str, key)), some


def _on_front(experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the front, by ascending second goal; scores with the sign of the search."""
    score = sign(experiment) * rows["score"].to_numpy(float)
    second = rows["second"].to_numpy(float)
    front = rows.assign(good=score)[undominated(second, score)]
    return front.sort_values(["second", "trial"]).drop_duplicates(["second", "good"])


def _energy_words(experiment: Experiment) -> str:
    if "second" in steps(experiment):
        return "second goal, as returned"
    return f"gross energy of a training, {{unit}} ({experiment.energy.status})"


@table("front-table", "The front of score and energy")
def front_table(experiment: Experiment) -> Table:
    """A row for every trial that no other beats in both goals."""
    if not _two_goals(experiment):
        raise Unavailable("")
    rows = finished(experiment)
    parts = []
    for name, some in problems(experiment, rows):
        front = _on_front(experiment, some)
        best = front.iloc[-1]
        at = knee(front["second"].to_numpy(float), front["good"].to_numpy(float))
        marks = ["best" if n == len(front) - 1 else "knee" * (n == at) for n in range(len(front))]
        parts.append(
            front.assign(
                problem=name,
                mark=marks,
                of_best=front["score"] / best["score"] if best["good"] > 0 else np.nan,
                of_energy=front["second"] / best["second"],
                values=[in_words(json.loads(one)) for one in front["values"]],
            )
        )
    shown = pd.concat(parts, ignore_index=True)
    returned = "second" in steps(experiment)
    judged = "knee_judged" in searches(experiment)
    columns = [
        *([words("problem")] if shown["problem"].nunique() > 1 else []),
        words("values"),
        *([words(STRATEGY)] if rows[STRATEGY].nunique() > 1 else []),
        words("", "mark"),
        Column("score", form=formats.number),
        Column("of the best score", "of_best", formats.or_dash(formats.percent)),
        Column("second goal", "second", formats.number)
        if returned
        else Column("energy of a training", "second", formats.joules),
        Column(
            "of its energy" if not returned else "of its second goal", "of_energy", formats.percent
        ),
    ]
    note = (
        "Of all trials that were trained to the end, those that no other beats in both; as the "
        "searches saw them. The knee is the trial furthest above the chord between the ends of "
        "the front, over the logarithm of the energy."
        + (" The findings compare best and knee as judged by fresh trainings." * judged)
    )
    return Table(shown, columns, note)


@figure("front", "Score against energy of a training")
def score_front(experiment: Experiment) -> Figure:
    """Every trial that was trained to the end: its score, and the energy of a full training."""
    rows = finished(experiment)
    panels, said = {}, []
    for name, some in problems(experiment, rows):
        front = _on_front(experiment, some)
        named = some["trial"].map("trial {}".format)
        on = some.index.isin(front.index)
        points = some.assign(front=on, name=named.where(on & (len(front) <= LABELLED), ""))
        if rows[STRATEGY].nunique() > 1:
            points = points.assign(group=points[STRATEGY], name="")
        panels[name] = points
        said.append(formats.listing([named[one] for one in front.index]))
    units = None if "second" in steps(experiment) else formats.ENERGY
    x = Axis("second", _energy_words(experiment), units=units, reversed=True, scale="auto")
    y = Axis("score", "score", reversed=sign(experiment) < 0)
    drawn = panels[""] if list(panels) == [""] else panels
    return Figure(
        lambda width: scatter(drawn, x, y, width=width),
        "Better is up and to the right. No other trial beats those on the front in both.",
        f"Scatter. Front: {'; '.join(said)}.",
    )


@figure("hypervolume", "How the front grew over the energy spent")
def hypervolume_curve(experiment: Experiment) -> Figure:
    """The hypervolume of each strategy's front over the energy of its search."""
    if not _two_goals(experiment):
        raise Unavailable("")
    rows = finished(experiment)
    if not rows["spent_j"].notna().all() or not (rows["spent_j"] > 0).any():
        raise Unavailable("the energy that the searches have spent is unknown.")
    lines, references = [], []
    for name, some in problems(experiment, rows):
        score = sign(experiment) * some["score"].to_numpy(float)
        log_second = np.log(some["second"].to_numpy(float))
        end, least = float(log_second.max()), float(np.quantile(score, 0.25))
        whole = Front.of(log_second, score, end, least).hypervolume
        if whole <= 0:
            continue
        of = f" of {name}" if name else ""
        references.append(f"{formats.number(sign(experiment) * least)}{of}")
        measured = some.assign(good=score, log_second=log_second)
        for strategy, mine in measured.groupby(STRATEGY, sort=False):
            grid = np.sort(mine["spent_j"].unique())
            shares = [
                _grown(one.sort_values("spent_j"), end, least, grid) / whole
                for _, one in mine.groupby("run_id")
            ]
            line = ", ".join(part for part in (str(strategy), name) if part)
            median = np.median(shares, axis=0)
            lines.append(pd.DataFrame({"spent_j": grid, "share": median, "line": line}))
    if not lines:
        raise Unavailable("all trials have the same score.")
    drawn = pd.concat(lines, ignore_index=True)
    x = Axis(
        "spent_j",
        f"gross energy of the search, {{unit}} ({experiment.energy.status})",
        units=formats.ENERGY,
        from_zero=True,
    )
    y = Axis("share", "hypervolume, share of all trials' front", bounds=(0.0, 1.0))
    several = searches(experiment).groupby(STRATEGY).size().max() > 1
    return Figure(
        lambda width: curves(drawn, x, y, step="post", width=width),
        "Area under the front over the logarithm of the energy of a training. Reference point: "
        "the highest energy of any trial, and the lower quartile of scores, "
        f"{formats.listing(references)}." + (" Medians over searches." if several else ""),
        "A line for every strategy.",
    )


def _grown(
    rows: pd.DataFrame, end: float, least: float, grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The hypervolume of one search at some amounts of energy spent."""
    log_second, score = rows["log_second"].to_numpy(), rows["good"].to_numpy()
    volumes = np.array(
        [0.0]
        + [
            Front.of(log_second[:n], score[:n], end, least).hypervolume
            for n in range(1, len(rows) + 1)
        ]
    )
    return volumes[np.searchsorted(rows["spent_j"].to_numpy(), grid, side="right")]


def front_finding(experiment: Experiment) -> list[str]:
    """The knee of each search's front: its share of the best score, for which share of the energy.

    On fresh seeds where both were judged or confirmed; nothing for a search with one goal.
    """
    said = []
    runs = searches(experiment)
    if "knee" not in runs:
        return []
    for run in runs.dropna(subset=["knee"]).to_dict("records"):
        judged = _known(run, "accuracy", "knee_judged")
        confirmed = _known(run, "confirmed", "knee_confirmed")
        score = judged or confirmed or (run["score"], run["knee_score"])
        energy = _known(run, "judged_j", "knee_judged_j") or (run["second"], run["knee_second"])
        what = "accuracy" if judged else "score"
        returned = run["second_goal"] == RETURNED
        goal, form = ("second goal", formats.number) if returned else ("energy", formats.joules)
        # Of a score that is minimised, a share of the best would be above 1, and no share.
        if score[0] > 0 and (judged or score[1] <= score[0]):
            head = f"{formats.percent(score[1] / score[0])} of the best {what}"
        else:
            head = f"a {what} of {formats.number(score[1])}"
        where = ", ".join(
            str(run[name]) for name in ("network", STRATEGY) if name in runs and run.get(name)
        )
        basis = "on fresh seeds" if judged or confirmed else "as the search saw them"
        said.append(
            f"{where}, at the knee of its front: {head} for "
            f"{formats.percent(energy[1] / energy[0])} of the {goal}: "
            f"{formats.number(score[1])} against {formats.number(score[0])} ({basis}), "
            f"{form(energy[1])} against {form(energy[0])}{'' if returned else ' a training'}, with "
            f"{in_words(json.loads(str(run['knee'])))}."
        )
    return said


def _known(run: Mapping[Hashable, Any], *names: str) -> tuple[float, float] | None:
    """Two values of a run; None where one is missing."""
    found = [run.get(name) for name in names]
    if any(one is None or one != one for one in found):  # noqa: PLR0124 - NaN
        return None
    return float(found[0] or 0.0), float(found[1] or 0.0)
