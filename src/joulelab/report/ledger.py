"""The study as a whole: its experiments, the states of its runs, and where its energy went."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from joulelab import formats
from joulelab.energy.reading import Status
from joulelab.present import Column, Figure, Table, Unavailable, figure, table, words
from joulelab.present.axes import Axis
from joulelab.present.bar_plots import stacked_bars
from joulelab.present.parts import Row, Tone
from joulelab.report.experiment import Experiment, experiments
from joulelab.study.results import Results

LONG = 10
AROUND = ("setup", "idle", "calibration", "between", "waiting", "tuner")
"""What a study books that is not a run."""
TONES: dict[str, Tone] = {
    "measured": "good",
    "estimated": "doubtful",
    "partly estimated": "doubtful",
    "replayed": "doubtful",
    "missing": "bad",
}
"""Colours of the statuses of energy."""
STATES = ("finished", "failed", "running", "planned")


@dataclass(frozen=True)
class StudyEnergy:
    """The sum of the ledger.

    Attributes:
        gross_j: joules, over the entries that have a figure; ``None`` where none has.
        error_j: sum of their error bounds, or ``None`` where one is unknown.
        status: measured, estimated, partly estimated or missing.
        duration_s: seconds, over all entries.
        unknown: number of entries without a figure.
        parts: one row per kind of work, most energy first: ``kind``, ``kept_j``, ``lost_j`` (failed
            or interrupted), ``duration_s``, ``entries``, ``unknown``, and how many of these are
            lost, ``lost_unknown``.
    """

    gross_j: float | None
    error_j: float | None
    status: str
    duration_s: float
    unknown: int
    parts: pd.DataFrame

    @property
    def words(self) -> str:
        """``12,345 J ± 617 J gross (estimated)``, with what is not in it."""
        bound = f" ± {formats.joules(self.error_j)}" if formats.known(self.error_j) else ""
        if self.gross_j is None:
            return "unknown: no entry of the ledger has a figure of energy"
        return f"{formats.joules(self.gross_j)}{bound} gross ({self.status}{without(self.unknown)})"


@dataclass(frozen=True, eq=False)
class ReportedStudy:
    """A study unchanged when a report begins.

    Attributes:
        results: its folder.
    """

    results: Results

    @property
    def name(self) -> str:
        """As the study file has it."""
        return str(self.results.spec.get("name", self.results.folder.name))

    @cached_property
    def experiments(self) -> list[Experiment]:
        """In the order of the study file."""
        return experiments(self.results)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run."""
        return self.results.to_frame()

    @cached_property
    def energy(self) -> StudyEnergy:
        """The sum of its ledger."""
        return study_energy(self.results.ledger_frame())


def without(unknown: int) -> str:
    """What is not in a sum: ``; 1 booked interval without a figure not included``.

    Args:
        unknown: number of entries without a figure.
    """
    if not unknown:
        return ""
    return f"; {formats.count(unknown, 'booked interval')} without a figure not included"


def study_energy(ledger: pd.DataFrame) -> StudyEnergy:
    """Add up the ledger; what is unknown is counted, not taken for 0.

    Moments between two runs are too short for a sensor, and together they are not: see
    `Status.within_sum`. A row that does not say why it is estimated stays an estimate.

    Args:
        ledger: one row per booked interval.
    """
    columns = ["kind", "kept_j", "lost_j", "duration_s", "entries", "unknown", "lost_unknown"]
    if not len(ledger):
        return StudyEnergy(None, None, "missing", 0.0, 0, pd.DataFrame(columns=columns))
    energy = ledger["energy_gross_j"].astype(float)
    lost = ledger["state"].isin(["failed", "interrupted"])
    rows = pd.DataFrame(
        {
            "kind": ledger["kind"],
            "kept_j": energy.where(~lost),
            "lost_j": energy.where(lost),
            "duration_s": ledger["duration_s"].astype(float),
            "entries": 1,
            "unknown": energy.isna().astype(int),
            "lost_unknown": (energy.isna() & lost).astype(int),
        }
    )
    parts = rows.groupby("kind", as_index=False, sort=False).sum()
    order = (parts["kept_j"] + parts["lost_j"]).sort_values(ascending=False, kind="stable").index
    known = energy.notna()
    gross_j = float(energy.sum()) if known.any() else None
    error_j = None
    if "energy_error_j" in ledger and ledger.loc[known, "energy_error_j"].notna().all():
        error_j = float(ledger.loc[known, "energy_error_j"].astype(float).sum())
    short = ledger["too_short"].eq(True).fillna(False) if "too_short" in ledger else False
    states = rows.assign(status=ledger["energy_status"], short=short)[known]
    parts_of_sum = states[["status", "short"]].drop_duplicates().itertuples(index=False)
    return StudyEnergy(
        gross_j=gross_j,
        error_j=error_j,
        status=Status.of_set(Status.within_sum(parts_of_sum, gross_j, error_j)),
        duration_s=float(rows["duration_s"].sum()),
        unknown=int((~known).sum()),
        parts=parts.loc[order, columns].reset_index(drop=True),
    )


@table("ledger", "Where the energy of the study went")
def ledger_by_work(study: ReportedStudy) -> Table:
    """Energy and time by kind of work."""
    energy = study.energy
    if not len(energy.parts):
        raise Unavailable("nothing has been booked yet.")
    total_j = energy.gross_j or 0.0

    def energy_of(row: Row) -> str:
        known = row["unknown"] < row["entries"]
        return formats.joules(row["kept_j"] + row["lost_j"] if known else None)

    def share_of(row: Row) -> str:
        return formats.percent((row["kept_j"] + row["lost_j"]) / total_j if total_j > 0 else None)

    def time_of(row: Row) -> str:
        known = row["duration_s"] > 0 or row["unknown"] < row["entries"]
        return formats.duration(row["duration_s"] if known else None)

    columns = [
        words("work", "kind"),
        Column("entries", form="{:,}".format),
        Column("time", time_of),
        Column("gross energy", energy_of),
        Column("share", share_of),
        Column("of it lost", ("lost_j", "lost_unknown"), _lost),
    ]
    note = (
        f"Everything the study did is booked, and the sum is its energy: {energy.words} in "
        f'{formats.duration(energy.duration_s)}. "Lost" is the energy of what failed or was '
        "interrupted."
    )
    return Table(energy.parts, columns, note)


@figure("ledger", "Energy of the study by kind of work")
def ledger_bars(study: ReportedStudy) -> Figure:
    """Where the energy of the study went."""
    energy = study.energy
    total_j = energy.gross_j
    if total_j is None or total_j <= 0:
        raise Unavailable("")
    parts = energy.parts[energy.parts["unknown"] < energy.parts["entries"]]
    said = ", ".join(
        f"{row['kind']} {formats.percent((row['kept_j'] + row['lost_j']) / total_j, 0)}"
        for row in parts.to_dict("records")
    )
    bars = parts.assign(row=parts["kind"], sum_j=parts["kept_j"] + parts["lost_j"])
    axis = Axis("sum_j", f"gross energy, {{unit}} ({energy.status})", units=formats.ENERGY)
    return Figure(
        lambda width: stacked_bars(
            bars,
            axis,
            {"kept": "kept_j", "failed or interrupted": "lost_j"},
            lambda sum_j: f"{formats.joules(sum_j)}, {formats.percent(sum_j / total_j, 0)}",
            width=width,
        ),
        "Gross energy by kind of work, idle power included.",
        f"Bars: {said}.",
    )


@table("runs", "Runs by state")
def runs_by_state(study: ReportedStudy) -> Table:
    """How many runs are finished, failed, running and planned, by experiment."""
    runs = study.runs
    if not len(runs):
        raise Unavailable("nothing has been planned yet.")
    rows = pd.crosstab(runs["experiment"], runs["state"]).reindex(columns=STATES, fill_value=0)
    rows = rows.loc[list(dict.fromkeys(runs["experiment"]))]
    rows["diverged"] = runs[runs["diverged"].astype(bool)].groupby("experiment").size()
    rows["diverged"] = rows["diverged"].fillna(0).astype(int)
    rows = rows.rename_axis(columns=None).reset_index()
    columns = [
        words("experiment"),
        *(Column(state, form="{:,}".format) for state in (*STATES, "diverged")),
    ]
    note = ""
    if rows["diverged"].any():
        note = "Diverged runs are finished runs: their accuracy and energy count."
    return Table(rows, columns, note)


@table("domains", "Energy of the runs by domain")
def energy_by_domain(study: ReportedStudy) -> Table:
    """Energy of the finished runs by domain, with source, status and error bound."""
    readings = study.results.energy_frame()
    if not len(readings):
        summed = len(study.runs) and study.runs["energy_gross_j"].notna().any()
        raise Unavailable(
            "the energy of a run is the sum over its steps, which are not told apart by domain."
            if summed
            else "no run has been measured yet."
        )
    read = readings.assign(known=readings["gross_j"].notna())
    for column in ("gross_j", "net_j", "error_j"):
        read[column] = read[column].astype(float)
    rows = (
        read.groupby(["domain", "source", "status"], sort=False, dropna=False)
        .agg(
            runs=("known", "size"),
            known=("known", "sum"),
            gross_j=("gross_j", lambda v: v.sum(min_count=1)),
            net_j=("net_j", lambda v: v.sum(min_count=1) if v.notna().all() else float("nan")),
            error_j=("error_j", lambda v: v.sum(min_count=1)),
        )
        .reset_index()
    )
    columns = [
        words("domain"),
        words("source", form=_known_word),
        words("status", tone=lambda row: TONES.get(str(row["status"]), "")),
        Column("runs", form="{:,}".format),
        Column("gross", "gross_j", formats.joules),
        Column("net", "net_j", formats.joules),
        Column("error bound", ("error_j", "gross_j"), _plus_minus),
    ]
    note = (
        "Domains may contain one another (a processor lies within the wall socket), so they must "
        "not be added up, and of several sources of a domain one counts. Net is gross less what "
        "the domain would have used at idle."
    )
    return Table(rows, columns, note)


@table("failed", "Failed runs")
def failed_runs(study: ReportedStudy) -> Table:
    """Failed runs with their errors."""
    runs = study.runs
    if not len(rows := runs[runs["state"] == "failed"] if len(runs) else runs):
        raise Unavailable("")
    columns = [
        words("run", "run_id"),
        words("error", form=lambda error: error if isinstance(error, str) else "no message"),
    ]
    note = "They are left out of every statistic; the energy they used is in the ledger."
    title = f"Failed runs ({len(rows):,})"
    return Table(rows[["run_id", "attempts", "error"]], columns, note, title=title)


@table("diverged", "Diverged runs")
def diverged_runs(study: ReportedStudy) -> Table:
    """Diverged runs."""
    runs = study.runs
    if not len(hit := runs[runs["diverged"].astype(bool)] if len(runs) else runs):
        raise Unavailable("")
    rows = hit[["run_id", "learning_rate", "accuracy", "energy_gross_j"]].reset_index(drop=True)
    columns = [
        words("run", "run_id"),
        Column("learning rate", "learning_rate", formats.number),
        Column("accuracy", form=formats.accuracy),
        Column("gross energy", "energy_gross_j", formats.joules),
    ]
    note = "A loss was not a finite number. Accuracy and energy stand and count in every table."
    title = f"Diverged runs ({len(rows):,})"
    return Table(rows, columns, note, title=title, folded=len(rows) > LONG)


def study_finding(study: ReportedStudy) -> str:
    """What the study used, and how much of it for its runs."""
    energy = study.energy
    if energy.gross_j is None:
        return f"The energy of the study is {energy.words}."
    sums = energy.parts.set_index("kind")
    share = ""
    for kind in sorted(set(sums.index) - {*AROUND}, reverse=True):
        known = sums["unknown"][kind] < sums["entries"][kind]
        if energy.gross_j > 0 and known:
            work_j = float(sums["kept_j"][kind] + sums["lost_j"][kind])
            work = "the runs" if kind == "run" else kind
            share += f", {formats.percent(work_j / energy.gross_j, 0)} of it for {work}"
    lost_j = float(energy.parts["lost_j"].sum())
    lost = f"; what failed or was interrupted used {formats.joules(lost_j)}" if lost_j else ""
    return f"The study used {energy.words} in all{share}{lost}."


def _lost(lost_j: float, unknown: int) -> str:
    if lost_j:
        return formats.joules(lost_j)
    return formats.UNKNOWN if unknown else formats.DASH


def _known_word(word: object) -> str:
    return word if isinstance(word, str) and word else formats.DASH


def _plus_minus(error_j: float, gross_j: float) -> str:
    return f"± {formats.percent(error_j / gross_j)}" if formats.known(error_j) else formats.UNKNOWN
