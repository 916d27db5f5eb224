"""Carbon intensity over time from a CSV file.

The file has a column of times (ISO 8601) and a column of intensities, by one of these names, first
come first taken; spelling of letters, spaces and the small 2 does not matter:

===========  ================================================================================
times        ``time``, ``Datetime (UTC)``, ``datetime``, ``timestamp``
intensities  ``g_per_kwh``; ``Carbon intensity gCO2eq/kWh (Life cycle)``, in older files
             ``(LCA)``, or ``(direct)`` (Electricity Maps); ``Actual Carbon Intensity
             (gCO2/kWh)`` or ``CARBON_INTENSITY`` (National Energy System Operator, Great
             Britain)
===========  ================================================================================

An empty cell is a moment of which nothing is known. Rows may stand in any order.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from joulelab.energy.carbon.intensity import IntensitySeries
from joulelab.errors import UsageError

_TIMES = ("time", "datetime (utc)", "datetime", "timestamp")
_INTENSITIES = (
    "g_per_kwh",
    "carbon intensity gco2eq/kwh (life cycle)",
    "carbon intensity gco2eq/kwh (lca)",
    "carbon intensity gco2eq/kwh (direct)",
    "actual carbon intensity (gco2/kwh)",
    "carbon_intensity",
)
_ZONES = ("zone name", "zone id")
_COLUMNS = "columns time (ISO 8601) and g_per_kwh are needed; docs/carbon.md has the other names"


class _Row(NamedTuple):
    time_s: float
    g_per_kwh: float | None
    line: int
    has_offset: bool
    zone: str


class _Columns(NamedTuple):
    """The columns that matter, by their number."""

    names: Sequence[str]
    time: int
    intensity: int
    zone: int | None


def read_intensity(path: Path) -> IntensitySeries:
    """Read a carbon intensity over time.

    Args:
        path: of the CSV file. Times with an offset or ``Z`` are taken as they are, others as UTC.

    Raises:
        UsageError: the file cannot be read, has no such columns, or has a row that cannot be right;
            the message has its line.
    """
    rows: list[_Row] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            columns = _columns(path, next(reader, []))
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    rows.append(_row(columns, cells, path, reader.line_num))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}", "a CSV file is expected") from error
    rows.sort(key=lambda row: row.time_s)
    _check(path, rows)
    return IntensitySeries(
        times_s=tuple(row.time_s for row in rows),
        g_per_kwh=tuple(row.g_per_kwh for row in rows),
        place=rows[0].zone or path.stem,
        source=_source(path, columns, rows),
    )


def _columns(path: Path, header: Sequence[str]) -> _Columns:
    if not any(name.strip() for name in header):
        raise UsageError(f"{path} is empty", _COLUMNS)
    names = [_plain(name) for name in header]

    def first(wanted: Sequence[str]) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    time, intensity = first(_TIMES), first(_INTENSITIES)
    if time is None or intensity is None:
        missing = "times" if time is None else "carbon intensities"
        seen = ", ".join(name.strip() for name in header)
        raise UsageError(f"{path} has no column of {missing}; it has: {seen}", _COLUMNS)
    return _Columns([name.strip() for name in header], time, intensity, first(_ZONES))


def _plain(name: str) -> str:
    return re.sub(r"\s+", " ", name.strip().casefold().replace("\N{SUBSCRIPT TWO}", "2"))


def _row(columns: _Columns, cells: Sequence[str], path: Path, line: int) -> _Row:
    def cell(column: int | None) -> str:
        return cells[column].strip() if column is not None and column < len(cells) else ""

    try:
        moment = datetime.fromisoformat(cell(columns.time))
    except ValueError:
        raise UsageError(
            f"{path}, line {line}: {cell(columns.time)!r} is no time",
            "write it as 2024-05-01T13:00Z",
        ) from None
    has_offset = moment.tzinfo is not None
    time_s = (moment if has_offset else moment.replace(tzinfo=UTC)).timestamp()
    g_per_kwh = _intensity(cell(columns.intensity), path, line)
    return _Row(time_s, g_per_kwh, line, has_offset, cell(columns.zone))


def _intensity(text: str, path: Path, line: int) -> float | None:
    if not text:
        return None
    try:
        g_per_kwh = float(text)
    except ValueError:
        g_per_kwh = math.nan
    if not (math.isfinite(g_per_kwh) and g_per_kwh >= 0):
        raise UsageError(
            f"{path}, line {line}: {text!r} is no carbon intensity",
            "write a number of at least 0, in g/kWh; leave the cell empty where it is unknown",
        )
    return g_per_kwh


def _check(path: Path, rows: Sequence[_Row]) -> None:
    if all(row.g_per_kwh is None for row in rows):
        raise UsageError(f"{path} has no row with a carbon intensity", _COLUMNS)
    zones = sorted({row.zone for row in rows})
    if len(zones) > 1:
        raise UsageError(
            f"{path} has {len(zones)} zones: {zones[0]!r}, {zones[1]!r} ...",
            "one file is for one zone; leave the rows of the others out",
        )
    for earlier, later in pairwise(rows):
        if earlier.time_s == later.time_s:
            moment = datetime.fromtimestamp(later.time_s, UTC).isoformat()
            raise UsageError(
                f"{path}, lines {earlier.line} and {later.line}: both are for {moment}",
                "each moment may stand there once; times in local time need their offset",
            )


def _source(path: Path, columns: _Columns, rows: Sequence[_Row]) -> str:
    """The file, the column, and what was taken for granted about its times."""
    source = f"{path.name}, column {columns.names[columns.intensity]!r}"
    says_utc = "utc" in columns.names[columns.time].casefold()
    if says_utc or all(row.has_offset for row in rows):
        return source
    return f"{source}, times without an offset taken as UTC"
