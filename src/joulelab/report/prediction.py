"""How good the prediction at the start of each session was, now that runs have finished.

Time and energy each: in all, and one run of each configuration. What is compared with what is said
in `joulelab.study.predicted_runs`. The range of several sessions together is the sum of theirs, as
if they erred alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.analysis.prediction.scores import Hindsight, hindsight
from joulelab.energy.reading import Status
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
from joulelab.present.axes import Axis, Reference
from joulelab.present.parts import Width
from joulelab.present.scatter_plot import scatter
from joulelab.present.style import BLUE, VERMILLION, Look
from joulelab.report.ledger import ReportedStudy
from joulelab.study.predicted_runs import predicted_runs
from joulelab.study.prediction import Cost, SessionPrediction, session_predictions

MANY = 20
"""More configurations than that are not all shown."""
WORST = 10
LEAST, MOST_NAMED = 3, 6
"""Fewer configurations are not drawn, and of more that are off only the furthest are named."""
LOOKS = {"within its range": Look(BLUE, "o"), "outside its range": Look(VERMILLION, "D")}
MARGIN = 1.25
MUCH = 0.05
"""From this share of the time on, waiting for the device is worth a word."""
RANGE = "95 % range"
WORDS: Mapping[object, str] = {True: "yes", False: "no"}


@dataclass(frozen=True)
class Measure:
    """Time or energy.

    Attributes:
        name: in words.
        verb: what runs did with it.
        unit: at the end of the names of columns.
        actual: column with what it was.
        form: writes a value.
        form_range: writes a range.
        bounds: a value of a cost, and its range.
    """

    name: str
    verb: str
    unit: str
    actual: str
    form: Callable[[float | None], str]
    form_range: Callable[[float | None, float | None], str]
    bounds: Callable[[Cost], tuple[float | None, float | None, float | None]]


TIME = Measure(
    "time",
    "took",
    "s",
    "took_s",
    formats.duration,
    formats.duration_range,
    lambda cost: (cost.duration_s, cost.duration_low_s, cost.duration_high_s),
)
ENERGY = Measure(
    "energy",
    "used",
    "j",
    "used_j",
    formats.joules,
    formats.joules_range,
    lambda cost: (cost.energy_j, cost.energy_low_j, cost.energy_high_j),
)


@dataclass(frozen=True)
class InAll:
    """All runs compared, together; NaN where unknown."""

    runs: int
    predicted: float
    low: float
    high: float
    actual: float

    @property
    def ratio(self) -> float:
        """Of actual over predicted."""
        return self.actual / self.predicted if self.predicted > 0 else math.nan

    @property
    def within(self) -> bool | None:
        """Whether the range holds the actual value; ``None`` without a range."""
        if math.isnan(self.low) or math.isnan(self.high):
            return None
        return self.low <= self.actual <= self.high


@dataclass(frozen=True)
class Compared:
    """Time or energy, predicted and actual; of at least one run.

    Attributes:
        measure: which of the two.
        in_all: all runs together.
        configurations: one row per session and configuration: ``session``, ``experiment``,
            ``configuration``, ``runs``, and of one run ``predicted``, ``low``, ``high`` and the
            mean ``actual``.
    """

    measure: Measure
    in_all: InAll
    configurations: Hindsight


@dataclass(frozen=True)
class PredictionQuality:
    """What was predicted of a study, and what came of it.

    Attributes:
        sessions: that predicted runs which have finished since.
        runs: those runs.
        failed: runs that failed after they had been predicted.
        unpredicted: finished runs of sessions without a prediction.
        waited_s: of their time, waiting for the device or for it to cool down.
        basis: what the predictions were made from.
        status: of the energies.
        time: with what surrounds a run.
        energy: of the run itself, above idle; ``None`` where it was not predicted or is unknown.
    """

    sessions: int
    runs: int
    failed: int
    unpredicted: int
    waited_s: float
    basis: tuple[str, ...]
    status: str
    time: Compared
    energy: Compared | None


@cached_per_subject
def prediction_quality(study: ReportedStudy) -> PredictionQuality:
    """Compare what was predicted with what came of it.

    Raises:
        Unavailable: nothing was predicted, or nothing of it has finished.
        StoreCorruptError: a prediction in the manifest cannot be read.
    """
    results, runs = study.results, study.runs
    said = {one.session: one for one in session_predictions(results.manifest)}
    if not said:
        raise Unavailable("no session of this folder has kept its prediction.")
    every = predicted_runs(results.manifest, runs, results.ledger_frame())
    ended = every[every["state"] == "finished"]
    if not len(ended):
        raise Unavailable("no predicted run has finished yet.")
    finished = runs[runs["state"] == "finished"]
    known = ended.dropna(subset=["predicted_j", "used_j"])
    sessions = [said[number] for number in ended["session"].unique()]
    return PredictionQuality(
        sessions=len(sessions),
        runs=len(ended),
        failed=int((every["state"] == "failed").sum()),
        unpredicted=len(finished) - len(ended),
        waited_s=float(ended["waited_s"].sum()),
        basis=tuple(dict.fromkeys(basis for one in sessions for basis in one.basis)),
        status=Status.of_set(
            finished.loc[finished["run_id"].isin(known["run_id"]), "energy_status"]
        ),
        time=_compared(TIME, ended, said),
        energy=_compared(ENERGY, known, said) if len(known) else None,
    )


def _compared(
    measure: Measure, ended: pd.DataFrame, said: Mapping[int, SessionPrediction]
) -> Compared:
    return Compared(measure, _in_all(measure, ended, said), _by_configuration(measure, ended))


def _in_all(measure: Measure, ended: pd.DataFrame, said: Mapping[int, SessionPrediction]) -> InAll:
    """The runs that have ended, against the predictions of their sessions for just those runs."""
    bounds = []
    for session, rows in ended.groupby("session"):
        counts = Counter(zip(rows["experiment"], rows["configuration"], strict=True))
        cost = said[int(str(session))].by_same_meters.of_counts(counts)
        bounds.append(measure.bounds(cost))
    predicted, low, high = (_sum(values) for values in zip(*bounds, strict=True))
    return InAll(len(ended), predicted, low, high, float(ended[measure.actual].sum()))


def _sum(values: Sequence[float | None]) -> float:
    return math.fsum(math.nan if value is None else value for value in values)


def _by_configuration(measure: Measure, ended: pd.DataFrame) -> Hindsight:
    """Of one run of each configuration in each session, the mean of those that have ended."""
    grouped = ended.groupby(["session", "experiment", "configuration"], sort=False, as_index=False)
    return hindsight(
        grouped.agg(
            runs=("run_id", "size"),
            predicted=(f"predicted_{measure.unit}", "first"),
            low=(f"predicted_low_{measure.unit}", "first"),
            high=(f"predicted_high_{measure.unit}", "first"),
            actual=(measure.actual, "mean"),
        )
    )


@table("prediction", "How good the prediction was")
def prediction_in_all(study: ReportedStudy) -> Table:
    """A row for time and one for energy."""
    quality = prediction_quality(study)
    rows = pd.DataFrame(
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
            for one in _both(quality)
        ]
    )
    measures = {one.measure.name: one.measure for one in _both(quality)}
    columns = [
        words("in all", "measure"),
        Column("predicted", lambda row: measures[row["measure"]].form(row["predicted"])),
        words(RANGE, lambda row: measures[row["measure"]].form_range(row["low"], row["high"])),
        Column("actual", lambda row: measures[row["measure"]].form(row["actual"])),
        words("within", form=_yes, bold=lambda row: row["within"] is False),
        Column("median ratio", "median_ratio", _ratio),
        Column("mean error", "mape", formats.percent),
        Column("in range", ("covered", "ranged"), "{} of {}".format),
    ]
    return Table(rows, columns, _note(quality))


@table("prediction-energy", "Energy of a run, predicted and actual", folded=True)
def predicted_energies(study: ReportedStudy) -> Table:
    """Predicted and actual energy of one run of each configuration."""
    quality = prediction_quality(study)
    if quality.energy is None:
        raise Unavailable("")
    return _by_configuration_table(quality.energy, quality)


@table("prediction-time", "Time of a run, predicted and actual", folded=True)
def predicted_times(study: ReportedStudy) -> Table:
    """Predicted and actual time of one run of each configuration."""
    quality = prediction_quality(study)
    return _by_configuration_table(quality.time, quality)


@figure("prediction-picture", "Energy of a run, predicted and actual", folded=True)
def prediction_points(study: ReportedStudy) -> Figure:
    """Actual against predicted energy, of three configurations or more."""
    quality = prediction_quality(study)
    if quality.energy is None or quality.energy.configurations.n < LEAST:
        raise Unavailable("")
    found = quality.energy.configurations
    said = (
        f"Actual over predicted: median {_ratio(found.median_ratio)}; {found.covered} of "
        f"{found.ranged} configurations within their ranges"
    )
    note = (
        "A point a configuration: the mean of its runs, and what was predicted of one with its "
        f"range of 95 %. On the line both are equal. {said}."
    )
    label = f"net energy, {{unit}} ({quality.status})"
    return Figure(lambda width: _points(found.table, label, width), note, f"Scatter. {said}.")


def _points(table: pd.DataFrame, energy: str, width: Width) -> Drawing:
    """Draw actual against predicted energy; configurations far outside their range are named.

    Args:
        table: as of `joulelab.analysis.prediction.scores.hindsight`.
        energy: label of both axes, with ``{unit}`` in it.
        width: of the figure.
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
        width=width,
    )


PREDICTION = (prediction_in_all, prediction_points, predicted_energies, predicted_times)
"""What a report shows of it, in order."""


def prediction_finding(study: ReportedStudy) -> str:
    """How good the prediction was, in one sentence.

    Raises:
        Unavailable: nothing can be said.
    """
    quality = prediction_quality(study)
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


def _by_configuration_table(one: Compared, quality: PredictionQuality) -> Table:
    """One run of each configuration; of many those that are furthest off."""
    rows = one.configurations.table
    many = len(rows) > MANY
    off = np.log(rows["ratio"]).abs().sort_values(ascending=False, kind="stable")
    several = rows["experiment"].nunique() > 1
    form, form_range = one.measure.form, one.measure.form_range
    columns = [
        words("configuration", ("experiment", "configuration"), form="{}: {}".format)
        if several
        else words("configuration"),
        *([Column("session", form=str)] if quality.sessions > 1 else []),
        Column("runs", form="{:,}".format),
        Column("predicted", form=form),
        words(RANGE, ("low", "high"), form=form_range, wide=True),
        Column("actual", form=form),
        Column("ratio", form=_ratio),
        words("within", "covered", form=_yes, bold=lambda row: row["covered"] is False),
    ]
    is_energy = one.measure is ENERGY
    title = f"{one.measure.name.capitalize()} of a run, predicted and actual"
    if many:
        title += f": the {WORST} furthest off of {len(rows):,}"
    note = (
        f"Means of {f'net energy ({quality.status})' if is_energy else 'time'} over the runs of a "
        "configuration. Ratio: actual over predicted."
    )
    return Table(
        rows, columns, note, title=title, shown=rows.loc[off.index[:WORST]] if many else None
    )


def _start(quality: PredictionQuality) -> str:
    if quality.sessions == 1:
        return "the start"
    return f"the start of {quality.sessions} sessions"


def _ratio(value: float | None) -> str:
    return f"{value:.2f}" if formats.known(value) else formats.DASH


def _yes(within: object) -> str:
    return WORDS.get(within, formats.DASH)
