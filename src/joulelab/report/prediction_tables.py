"""What the report shows of how good the prediction was: tables, a figure, a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from joulelab import formats
from joulelab.present.axes import Axis, Reference
from joulelab.present.scatter import scatter
from joulelab.present.style import BLUE, VERMILLION, Look
from joulelab.report.chapter import Shown
from joulelab.report.pictures import Picture
from joulelab.report.prediction_quality import (
    ENERGY,
    Compared,
    PredictionQuality,
    prediction_quality,
)
from joulelab.report.tables import Omitted, Table
from joulelab.study.results import Results

MANY = 20
"""More configurations than that are not all shown."""
WORST = 10
LEAST, MOST_NAMED = 3, 6
"""Fewer configurations are not drawn, and of more that are off only the furthest are named."""
LOOKS = {"within its range": Look(BLUE, "o"), "outside its range": Look(VERMILLION, "D")}
MARGIN = 1.25
MUCH = 0.05
"""From this share of the time on, waiting for the device is worth a word."""
RANGE, WITHIN = "95 % range", "within"
WORDS: Mapping[object, str] = {True: "yes", False: "no"}
TITLE = "How good the prediction was"


def prediction_tables(results: Results) -> list[Table | Omitted]:
    """The comparison in all, and by configuration for energy and for time."""
    quality = prediction_quality(results)
    if isinstance(quality, str):
        return [Omitted("prediction", TITLE, quality)]
    return [
        _summary_table(quality),
        *(_configurations_table(one, quality) for one in _both(quality)[::-1]),
    ]


def prediction_contents(results: Results) -> list[Shown]:
    """The tables, with the figure after the first."""
    first, *others = prediction_tables(results)
    return [first, prediction_picture(results), *others]


def prediction_picture(results: Results) -> Picture | None:
    """Actual against predicted energy; ``None`` for fewer than three configurations."""
    quality = prediction_quality(results)
    if isinstance(quality, str) or quality.energy is None:
        return None
    found = quality.energy.configurations
    if found.n < LEAST:
        return None
    figure = prediction_figure(found.table, f"net energy, {{unit}} ({quality.status})")
    said = (
        f"Actual over predicted: median {_ratio(found.median_ratio)}; {found.covered} of "
        f"{found.ranged} configurations within their ranges"
    )
    note = (
        "A point a configuration: the mean of its runs, and what was predicted of one with its "
        f"range of 95 %. On the line both are equal. {said}."
    )
    title = "Energy of a run, predicted and actual"
    return Picture("prediction-picture", title, note, f"Scatter. {said}.", figure)


def prediction_figure(table: pd.DataFrame, energy: str) -> Figure:
    """Draw actual against predicted energy; configurations far outside their range are named.

    Args:
        table: as of `joulelab.analysis.prediction.hindsight`.
        energy: label of both axes, with ``{unit}`` in it.
    """
    rows = table[table["ratio"].notna()]
    outside = ~rows["covered"].fillna(True).astype(bool)
    furthest = np.log(rows["ratio"][outside]).abs().nlargest(MOST_NAMED).index
    group = [list(LOOKS)[int(off)] for off in outside]
    name = rows["configuration"].where(rows.index.isin(furthest), "")
    values = rows[["predicted", "actual"]].to_numpy(float)
    ends = (float(values.min()) / MARGIN, float(values.max()) * MARGIN)
    return scatter(
        rows.assign(group=group, name=name),
        Axis(
            "predicted",
            f"predicted {energy}",
            units=formats.ENERGY,
            low="low",
            high="high",
            scale="log",
            limits=ends,
        ),
        Axis("actual", f"actual {energy}", units=formats.ENERGY, scale="log", limits=ends),
        looks=LOOKS,
        references=[Reference("as predicted", at=lambda predicted: predicted)],
        height_in=5.2,
    )


def prediction_finding(results: Results) -> str:
    """How good the prediction was, in one sentence; empty where nothing can be said."""
    quality = prediction_quality(results)
    if isinstance(quality, str):
        return ""
    predicted, came = [], []
    for one in _both(quality):
        form, total = one.measure.form, one.in_all
        between = one.measure.form_range(total.low, total.high)
        predicted.append(f"{form(total.predicted)} ({between})")
        where = {None: "", True: " (within the range)", False: " (outside the range)"}
        came.append(f"{one.measure.verb} {form(total.actual)}{where[total.within]}")
    waited = _waited(quality)
    return (
        f"Predicted at {_start(quality)}: {formats.listing(predicted)} for the "
        f"{formats.count(quality.runs, 'run')} that finished; they {formats.listing(came)}."
        f"{f' {waited}' if waited else ''}"
    )


def _both(quality: PredictionQuality) -> list[Compared]:
    return [one for one in (quality.time, quality.energy) if one is not None]


def _summary_table(quality: PredictionQuality) -> Table:
    """A row for time and one for energy."""
    parts = _both(quality)
    raw = pd.DataFrame(
        [
            {
                "measure": one.measure.name,
                **asdict(one.in_all),
                "ratio": one.in_all.ratio,
                "within": one.in_all.within,
                "sessions": quality.sessions,
                "configurations": one.configurations.n,
                "median_ratio": one.configurations.median_ratio,
                "mape": one.configurations.mape,
                "ranged": one.configurations.ranged,
                "covered": one.configurations.covered,
            }
            for one in parts
        ]
    )
    shown = pd.DataFrame(
        [
            {
                "in all": one.measure.name,
                "predicted": one.measure.form(one.in_all.predicted),
                RANGE: one.measure.form_range(one.in_all.low, one.in_all.high),
                "actual": one.measure.form(one.in_all.actual),
                WITHIN: _yes(one.in_all.within),
                "median ratio": _ratio(one.configurations.median_ratio),
                "mean error": formats.percent(one.configurations.mape),
                "in range": f"{one.configurations.covered} of {one.configurations.ranged}",
            }
            for one in parts
        ]
    )
    text = ("in all", RANGE, WITHIN)
    bold = _outside(pd.Series([one.in_all.within for one in parts], dtype="boolean"))
    return Table("prediction", TITLE, _note(quality), raw, shown, text, bold)


def _note(quality: PredictionQuality) -> str:
    """What was compared with what, and what was not."""
    parts = [
        f"{formats.count(quality.runs, 'run')} against what was predicted at {_start(quality)} "
        f"from {formats.listing(quality.basis)}. Time is that of a run with what surrounds it, "
        "energy that of the run itself above idle. The ranges are without the error of the meters, "
        "which both share. Median ratio (actual over predicted), mean error (as a share of "
        "the actual) and how many are in their range: of the configurations."
    ]
    if quality.failed:
        parts.append(f"{formats.count(quality.failed, 'failed run')} left out.")
    if quality.unpredicted:
        runs = formats.count(quality.unpredicted, "finished run")
        parts.append(f"{runs} of sessions that kept no prediction left out.")
    parts.append(_waited(quality))
    for one in _both(quality):
        if dropped := one.configurations.dropped:
            which = formats.count(dropped, "configuration")
            parts.append(f"{which} with {one.measure.name} not above 0 left out of the last three.")
    if quality.energy is None:
        parts.append("Energy could not be predicted, or is unknown.")
    elif without := quality.runs - quality.energy.in_all.runs:
        parts.append(f"The energy of {formats.count(without, 'run')} is unknown.")
    return " ".join(part for part in parts if part)


def _waited(quality: PredictionQuality) -> str:
    """How much of the time was spent waiting; empty where it hardly matters."""
    if quality.waited_s < MUCH * quality.time.in_all.actual:
        return ""
    waited = formats.duration(quality.waited_s)
    return f"Of the time {waited} passed waiting for the device, or for it to cool down."


def _configurations_table(one: Compared, quality: PredictionQuality) -> Table:
    """One run of each configuration; of many those that are furthest off."""
    raw = one.configurations.table
    many = len(raw) > MANY
    off = np.log(raw["ratio"]).abs().sort_values(ascending=False, kind="stable")
    rows = raw.loc[off.index[:WORST]] if many else raw
    name = rows["configuration"]
    if raw["experiment"].nunique() > 1:
        name = rows["experiment"] + ": " + name
    shown = pd.DataFrame(
        {
            "configuration": name,
            **({"session": rows["session"].map(str)} if quality.sessions > 1 else {}),
            "runs": rows["runs"].map("{:,}".format),
            "predicted": rows["predicted"].map(one.measure.form),
            RANGE: [
                one.measure.form_range(low, high)
                for low, high in zip(rows["low"], rows["high"], strict=True)
            ],
            "actual": rows["actual"].map(one.measure.form),
            "ratio": rows["ratio"].map(_ratio),
            WITHIN: rows["covered"].map(_yes),
        }
    ).reset_index(drop=True)
    is_energy = one.measure is ENERGY
    title = f"{one.measure.name.capitalize()} of a run, predicted and actual"
    if many:
        title += f": the {WORST} furthest off of {len(raw):,}"
    note = (
        f"Means of {f'net energy ({quality.status})' if is_energy else 'time'} over the runs of a "
        "configuration. Ratio: actual over predicted."
    )
    text = ("configuration", RANGE, WITHIN)
    key = f"prediction-{one.measure.name}"
    bold = _outside(rows["covered"])
    return Table(key, title, note, raw, shown, text, bold, wide=(RANGE,))


def _outside(covered: pd.Series[bool]) -> frozenset[tuple[int, str]]:
    """The cells that say that a range did not hold."""
    places = np.flatnonzero(~covered.fillna(True).to_numpy(bool))
    return frozenset((int(place), WITHIN) for place in places)


def _start(quality: PredictionQuality) -> str:
    if quality.sessions == 1:
        return "the start"
    return f"the start of {quality.sessions} sessions"


def _ratio(value: float | None) -> str:
    return f"{value:.2f}" if formats.known(value) else formats.DASH


def _yes(within: object) -> str:
    return WORDS.get(within, formats.DASH)
