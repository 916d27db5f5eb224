"""Tables of the whole study: states of its runs, energy by domain, and where its energy went."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from joulelab import formats
from joulelab.energy.reading import Status
from joulelab.report.instruments.section import instrument_tables
from joulelab.report.tables import Omitted, Table
from joulelab.study.results import Results

LONG = 10
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
        parts: a row a kind of work, most energy first: ``kind``, ``kept_j``, ``lost_j`` (failed or
            interrupted), ``duration_s``, ``entries``, ``unknown``.
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
        rest = (
            f"; {formats.count(self.unknown, 'booked interval')} without a figure not included"
            if self.unknown
            else ""
        )
        return f"{formats.joules(self.gross_j)}{bound} gross ({self.status}{rest})"


def study_energy(ledger: pd.DataFrame) -> StudyEnergy:
    """Add up the ledger; what is unknown is counted, not taken for 0.

    Args:
        ledger: a row a booked interval.
    """
    columns = ["kind", "kept_j", "lost_j", "duration_s", "entries", "unknown"]
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
        }
    )
    parts = rows.groupby("kind", as_index=False, sort=False).sum()
    order = (parts["kept_j"] + parts["lost_j"]).sort_values(ascending=False, kind="stable").index
    known = energy.notna()
    errors = ledger["energy_error_j"].astype(float)[known] if "energy_error_j" in ledger else None
    return StudyEnergy(
        gross_j=float(energy.sum()) if known.any() else None,
        error_j=float(errors.sum()) if errors is not None and errors.notna().all() else None,
        status=Status.of_set(ledger.loc[known, "energy_status"]),
        duration_s=float(rows["duration_s"].sum()),
        unknown=int((~known).sum()),
        parts=parts.loc[order, columns].reset_index(drop=True),
    )


def ledger_table(energy: StudyEnergy) -> Table | Omitted:
    """Energy and time by kind of work."""
    key, title = "ledger", "Where the energy of the study went"
    raw = energy.parts
    if not len(raw):
        return Omitted(key, title, "nothing has been booked yet.")
    sums = raw["kept_j"] + raw["lost_j"]
    unknown = raw["unknown"] == raw["entries"]
    total_j = energy.gross_j or 0.0
    shown = pd.DataFrame(
        {
            "work": raw["kind"],
            "entries": raw["entries"].map("{:,}".format),
            "time": raw["duration_s"].map(formats.duration),
            "gross energy": sums.mask(unknown).map(formats.joules),
            "share": (sums / total_j if total_j > 0 else sums * float("nan")).map(formats.percent),
            "of it lost": raw["lost_j"].mask(raw["lost_j"] == 0).map(_lost),
        }
    )
    note = (
        f"Everything the study did is booked, and the sum is its energy: {energy.words} in "
        f"{formats.duration(energy.duration_s)}. Lost is what failed or interrupted attempts used."
    )
    return Table(key, title, note, raw, shown, ("work",))


def states_table(runs: pd.DataFrame) -> Table | Omitted:
    """How many runs are finished, failed, running and planned, by experiment."""
    key, title = "runs", "Runs by state"
    if not len(runs):
        return Omitted(key, title, "nothing has been planned yet.")
    raw = pd.crosstab(runs["experiment"], runs["state"]).reindex(columns=STATES, fill_value=0)
    raw = raw.loc[list(dict.fromkeys(runs["experiment"]))]
    raw["diverged"] = runs[runs["diverged"].astype(bool)].groupby("experiment").size()
    raw["diverged"] = raw["diverged"].fillna(0).astype(int)
    raw = raw.rename_axis(columns=None).reset_index()
    shown = raw.astype(object).map(lambda v: f"{v:,}" if isinstance(v, int) else str(v))
    note = "A diverged training is a finished run: its accuracy and its energy count."
    return Table(key, title, note, raw, shown, ("experiment",))


def domains_table(readings: pd.DataFrame) -> Table | Omitted:
    """Energy of the finished runs by domain, with source, status and error bound."""
    key, title = "domains", "Energy of the runs by domain"
    if not len(readings):
        return Omitted(key, title, "no run has been measured yet.")
    rows = readings.assign(known=readings["gross_j"].notna())
    for column in ("gross_j", "net_j", "error_j"):
        rows[column] = rows[column].astype(float)
    grouped = rows.groupby(["domain", "source", "status"], sort=False, dropna=False)
    raw = grouped.agg(
        runs=("known", "size"),
        known=("known", "sum"),
        gross_j=("gross_j", lambda v: v.sum(min_count=1)),
        net_j=("net_j", lambda v: v.sum(min_count=1) if v.notna().all() else float("nan")),
        error_j=("error_j", lambda v: v.sum(min_count=1)),
    ).reset_index()
    shown = pd.DataFrame(
        {
            "domain": raw["domain"],
            "source": raw["source"].replace("", formats.DASH).fillna(formats.DASH),
            "status": raw["status"],
            "runs": raw["runs"].map("{:,}".format),
            "gross": raw["gross_j"].map(formats.joules),
            "net": raw["net_j"].map(formats.joules),
            "error bound": (raw["error_j"] / raw["gross_j"]).map(_plus_minus),
        }
    )
    note = (
        "Domains may contain one another (a processor lies within the wall socket), so they must "
        "not be added up, and of several sources of a domain one counts. Net is gross less what "
        "the domain would have used at idle."
    )
    return Table(key, title, note, raw, shown, ("domain", "source", "status"))


def failed_table(runs: pd.DataFrame) -> Table | None:
    """Failed runs with their errors; ``None`` where none failed."""
    raw = (
        runs.loc[runs["state"] == "failed", ["run_id", "attempts", "error"]] if len(runs) else runs
    )
    if not len(raw):
        return None
    shown = pd.DataFrame(
        {"run": raw["run_id"], "error": raw["error"].fillna("no message").map(str)}
    )
    note = "They are left out of every statistic; the energy they used is in the ledger."
    title = f"Failed runs ({len(raw):,})"
    return Table("failed", title, note, raw, shown.reset_index(drop=True), ("run", "error"))


def diverged_table(runs: pd.DataFrame) -> Table | None:
    """Diverged runs; ``None`` where none diverged."""
    hit = runs[runs["diverged"].astype(bool)] if len(runs) else runs
    if not len(hit):
        return None
    raw = hit[["run_id", "learning_rate", "accuracy", "energy_gross_j"]].reset_index(drop=True)
    shown = pd.DataFrame(
        {
            "run": raw["run_id"],
            "learning rate": raw["learning_rate"].map(formats.number),
            "accuracy": raw["accuracy"].map(formats.accuracy),
            "gross energy": raw["energy_gross_j"].map(formats.joules),
        }
    )
    note = "A loss was not a finite number. Accuracy and energy stand and count in every table."
    title = f"Diverged runs ({len(raw):,})"
    return Table("diverged", title, note, raw, shown, ("run",), folded=len(raw) > LONG)


def study_tables(results: Results) -> list[Table | Omitted]:
    """All of the above, in the order of the report; without those that do not apply."""
    runs = results.to_frame()
    listed = [failed_table(runs), diverged_table(runs)]
    return [
        ledger_table(study_energy(results.ledger_frame())),
        domains_table(results.energy_frame()),
        states_table(runs),
        *[table for table in listed if table is not None],
        *instrument_tables(results),
    ]


def _lost(value: float) -> str:
    return formats.joules(value) if formats.known(value) else formats.DASH


def _plus_minus(value: float) -> str:
    return f"± {formats.percent(value)}" if formats.known(value) else formats.UNKNOWN
