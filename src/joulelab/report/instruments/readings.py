"""The table run x instrument of a study, or of several: gross energy in joules.

A run whose instrument could not be read, or was lost on the way, has no energy there. Runs that
were trained together share one measurement and are one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.energy.reading import instrument_of
from joulelab.errors import UnknownNameError
from joulelab.report.instruments.instrument import Instrument, instruments_of, with_instrument
from joulelab.study.results import Results

RUN = "run"
LOST = "lost on the way"


@dataclass(frozen=True, eq=False)
class RunsRead:
    """What the instruments of one or several studies have read.

    Attributes:
        instruments: each once, by name.
        energies: one row per measurement: ``run``, and a column an instrument, in joules. An
            instrument of several parts has a column for each as well, named by `part_column`.
        unread: runs and reasons by instrument, of those that it has no energy of.
        remarks: what to know before reading, in sentences.
    """

    instruments: tuple[Instrument, ...]
    energies: pd.DataFrame
    unread: Mapping[str, Mapping[str, str]]
    remarks: tuple[str, ...]

    def same(self, other: RunsRead) -> bool:
        """Whether the other says the same, to the last digit."""
        one, two = ((r.instruments, r.unread, r.remarks) for r in (self, other))
        return one == two and self.energies.equals(other.energies)

    def __getitem__(self, name: str) -> Instrument:
        return next(one for one in self.instruments if one.name == name)


def part_column(instrument: Instrument, part: tuple[str, str]) -> str:
    """The column of one part of an instrument: ``codecarbon cpu:0``, of a sum with its source."""
    source, domain = part
    return " ".join(dict.fromkeys((instrument.name, source, domain)))


def part_columns(instrument: Instrument) -> list[str]:
    """The columns of the parts of an instrument that is a sum."""
    several = len(instrument.parts) > 1
    return [part_column(instrument, part) for part in instrument.parts] if several else []


def read_runs(
    studies: Sequence[Results],
    sums: Mapping[str, Sequence[str]] | None = None,
    domains: Sequence[str] | None = None,
) -> RunsRead:
    """What every instrument has read of every finished run.

    Args:
        studies: at least one.
        sums: sources by the name of their sum, beside every source by itself.
        domains: only these; ``None`` for all.

    Raises:
        UnknownNameError: there is no such domain, or a sum names a source that has read nothing.
        UsageError: a sum would count a joule twice.
    """
    if domains is not None:
        known = sorted({name for one in studies for name in one.energy_frame()["domain"]})
        for name in domains:
            if name not in known:
                raise UnknownNameError("domain", name, known)
    found = [_read(one, sums or {}, domains, several=len(studies) > 1) for one in studies]
    if len(found) == 1:
        return found[0]
    by_name: dict[str, Instrument] = {}
    remarks = [remark for one in found for remark in one.remarks]
    for one in (instrument for read in found for instrument in read.instruments):
        before = by_name.setdefault(one.name, one)
        if before.parts != one.parts:
            remarks.append(
                f"{one.name} reads {formats.listing(before.domains)} in one study and "
                f"{formats.listing(one.domains)} in another."
            )
        if before.calibration != one.calibration:
            remarks.append(f"{one.name} is calibrated differently in the studies.")
    return RunsRead(
        tuple(by_name.values()),
        pd.concat([one.energies for one in found], ignore_index=True),
        {
            name: {run: why for one in found for run, why in one.unread.get(name, {}).items()}
            for name in by_name
        },
        tuple(dict.fromkeys(remarks)),
    )


def calibrations(manifest: Mapping[str, Any]) -> tuple[dict[tuple[str, str], float], list[str]]:
    """Factors that readings were multiplied by, by source and domain, and where they changed."""
    factors: dict[tuple[str, str], float] = {}
    changed = []
    for channel in _channels(manifest):
        key = (instrument_of(str(channel.get("source", ""))), str(channel.get("domain", "")))
        factor = float(channel.get("calibration", 1.0))
        if factors.setdefault(key, factor) != factor:
            changed.append(
                f"{key[0]} of {key[1]} was calibrated by {factors[key]:g} in one session and by "
                f"{factor:g} in another."
            )
    return factors, list(dict.fromkeys(changed))


def _channels(manifest: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The channels of all sessions; the oldest manifests have them once."""
    sessions = [session.get("conditions") or {} for session in manifest.get("sessions", [])]
    for conditions in (manifest, *sessions):
        yield from (conditions.get("energy") or {}).get("channels", [])


def _read(
    results: Results,
    sums: Mapping[str, Sequence[str]],
    domains: Sequence[str] | None,
    *,
    several: bool,
) -> RunsRead:
    runs, remarks = _measurements(results.to_frame())
    readings = with_instrument(results.energy_frame())
    readings = readings[readings["run_id"].isin(runs["run_id"])]
    factors, changed = calibrations(results.manifest)
    instruments = instruments_of(readings, sums, domains, factors)
    columns = {"run_id": runs["run_id"].to_numpy()}
    table = pd.DataFrame(columns, index=runs["run_id"])
    wide = _by_part(readings, instruments)
    unread: dict[str, dict[str, str]] = {}
    where = f"{results.folder.name}: " if several else ""
    for one in instruments:
        parts = [wide[part].reindex(table.index) for part in one.parts]
        joined = pd.concat(parts, axis=1, keys=range(len(parts)))
        table[one.name] = joined.sum(axis=1, skipna=False)
        for name, part in zip(part_columns(one), parts, strict=False):
            table[name] = part
        gone = table.index[table[one.name].isna()]
        reasons = _reasons(readings, one, set(gone))
        unread[one.name] = {f"{where}{run}": reasons.get(run, "not read at all") for run in gone}
    table = table.rename(columns={"run_id": RUN}).reset_index(drop=True)
    table[RUN] = where + table[RUN].astype(str)
    return RunsRead(tuple(instruments), table, unread, (*remarks, *changed))


def _measurements(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One finished run of each measurement."""
    if not len(runs):
        return runs.reindex(columns=["run_id"]), []
    done = runs[runs["state"] == "finished"]
    sizes = done["group_size"].fillna(1) if "group_size" in done else pd.Series(1, done.index)
    together = sizes > 1
    unit = done["experiment"].astype(str) + done["configuration"].astype(str)
    unit = (unit + done["started_at"].astype(str)).where(together, done["run_id"])
    kept = done[~unit.duplicated()]
    if len(kept) == len(done):
        return kept, []
    return kept, [
        f"Runs trained together are one measurement: {len(done):,} became {len(kept):,}, each with "
        "the energy of one training of its group."
    ]


def _by_part(
    readings: pd.DataFrame, instruments: Sequence[Instrument]
) -> dict[tuple[str, str], pd.Series[float]]:
    """Joules by run for every part of an instrument; NaN where it was lost."""
    whole = readings["gross_j"].astype(float).where(~(readings["lost_s"].astype(float) > 0))
    wanted = {part for one in instruments for part in one.parts}
    by_part = {}
    for part, rows in readings.groupby(["instrument", "domain"], sort=False):
        if part in wanted:
            joules = whole.loc[rows.index]
            joules.index = pd.Index(rows["run_id"])
            by_part[part] = joules[~joules.index.duplicated()]
    return by_part


def _reasons(readings: pd.DataFrame, one: Instrument, gone: set[str]) -> dict[str, str]:
    """Why an instrument has no energy of some runs."""
    if not gone:
        return {}
    rows = readings[readings["run_id"].isin(gone)]
    parts = list(zip(rows["instrument"], rows["domain"], strict=True))
    rows = rows[[part in one.parts for part in parts]]
    rows = rows[rows["gross_j"].isna() | (rows["lost_s"].astype(float) > 0)]
    return {
        str(run): str(reason or LOST)
        for run, reason in zip(rows["run_id"], rows["reason"].fillna(""), strict=True)
    }
