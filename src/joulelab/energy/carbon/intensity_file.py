"""Carbon intensity over time from a file: a table (`joulelab.tabular.reader`), or JSON.

::

    times         time, Datetime (UTC), datetime, timestamp, UTC time, MTU (CET/CEST), from ...
    intensities   g_per_kwh; Carbon intensity gCO2eq/kWh (Life cycle), (LCA) or (direct); Actual
                  Carbon Intensity (gCO2/kWh); carbon_intensity; MOER; else the one column whose
                  heading speaks of carbon intensity, or of an emission rate or factor
    unit          of the heading: g, kg, t or lb of CO2 for each kWh or MWh; g/kWh without one
    estimated     rows that their source marks as estimated, or that only have a forecast

Sources: Electricity Maps (CSV and API), WattTime (a *marginal* intensity, in lb/MWh if no unit is
given), ENTSO-E's Transparency Platform (intervals in CET/CEST), CarbonCast, and the Carbon
Intensity API and the data portal of Great Britain's system operator (CSV and JSON).

Times without an offset are in the given zone or the one in the heading, else UTC. An empty cell
means unknown. Rows may be in any order.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.carbon.intensity import IntensitySeries
from joulelab.errors import UsageError
from joulelab.tabular.moments import YEAR_2000_S, YEAR_2100_S, read_moments
from joulelab.tabular.reader import decode, parse_table, read_bytes, read_table
from joulelab.tabular.table import MISSING, Heading, Table, folded, with_dates

TIMES = (
    *("time", "datetime", "timestamp", "utc time", "datetime_utc", "timestamp_utc", "mtu", "from"),
    *("point_time", "start", "start time", "start date", "date"),
)
INTENSITIES = (
    "g_per_kwh",
    "carbon intensity gco2eq/kwh (life cycle)",
    "carbon intensity gco2eq/kwh (lca)",
    "carbon intensity gco2eq/kwh (direct)",
    "actual carbon intensity (gco2/kwh)",
    "actual carbon intensity",
    "intensity.actual",
    "intensity.forecast",
    "carbon_intensity",
    "carbonintensity",
    "carbon intensity",
    "moer",
)
FORECASTS = ("forecast carbon intensity (gco2/kwh)", "intensity.forecast")
"""Columns used where an actual value is missing."""
MARGINAL = ("moer", "marginal")
KINDS = ("units", "signal_type", "datatype")
"""WattTime's column that describes the column ``value``."""
PLACES = ("zone name", "zone id", "zone", "bidding zone", "region", "area")
ESTIMATED = ("data estimated", "isestimated", "is_estimated", "estimated")
METHODS = ("data estimation method", "estimationmethod", "estimation_method")
MEASURED = frozenset({"", "none", "null", "nan", "measured", "false", "no", "0", "n/a", "-"})
"""Values of an estimation column for rows that are not estimated."""
LEAST_G_PER_KWH, MOST_G_PER_KWH = 2.0, 3000.0
"""No grid is always below, no power station above: lignite has about 1200 g/kWh."""
GRAMS = {
    **dict.fromkeys(("mg", "milligrams"), 1e-3),
    **dict.fromkeys(("g", "gram", "grams"), 1.0),
    **dict.fromkeys(("kg", "kilogram", "kilograms"), 1e3),
    **dict.fromkeys(("t", "tonne", "tonnes"), 1e6),
    **dict.fromkeys(("lb", "lbs", "pound", "pounds"), 453.59237),
}
KWH = {"wh": 1e-3, "kwh": 1.0, "mwh": 1e3, "gwh": 1e6, "mj": 1 / 3.6, "gj": 1e3 / 3.6}
POUNDS_PER_MWH = GRAMS["lb"] / KWH["mwh"]
_UNIT = re.compile(
    rf"(?:^|[^a-z])({'|'.join(sorted(GRAMS, key=len, reverse=True))})[\s_-]*(?:of[\s_-]*)?"
    r"(?:co2|carbon)?[\s_-]*(?:eq?|equivalents?)?[\s_]*(?:/|\bper\b|_per_|_)[\s_]*"
    rf"({'|'.join(KWH)})(?:[^a-z]|$)"
)
_SOME_UNIT = re.compile(r"(?:/|per[\s_]|_)[\s_]*[kmgt]?(?:wh|j)(?:[^a-z]|$)")
_CELL_UNIT = re.compile(r"[-+\d.,\s]+(?:e[-+]?\d+)?\s*(\D.*)", re.IGNORECASE)
_SPEAKS_OF_IT = re.compile(
    r"carbon.*intensity|emissions?[\s_.-]*(rate|factor|intensity)|co2.*(wh|intensity)|(^|_)ci($|_)"
)
_NO_INTENSITY = re.compile(r"percent|%|cost|price|total|index")
_HINT = (
    "columns time (ISO 8601) and g_per_kwh are needed; `joulelab help carbon` lists the other names"
)


@dataclass(frozen=True)
class _Column:
    """A column of intensities: its name, its unit in g/kWh, and whether the unit was given."""

    name: str
    factor: float
    has_unit: bool
    marginal: bool


def read_intensity(path: Path, zone: tzinfo | None = None) -> IntensitySeries:
    """Read a carbon intensity over time.

    Args:
        path: of the file.
        zone: of times without an offset; ``None`` for the zone in the heading, else UTC.

    Raises:
        UsageError: the file cannot be read, has no such columns, has an invalid row, or values that
            cannot be in the unit; the message gives the line.
    """
    content = read_bytes(path, UsageError)
    table, about = _table(path, content)
    table = with_dates(table)
    time = table.column("date time", *TIMES)
    column = _intensity_column(table, about)
    if time is None or column is None:
        missing = "times" if time is None else "carbon intensities"
        raise UsageError(f"{path} has no column of {missing}; {table.known()}", _HINT)
    place = _place(table, about)
    table = _with_days_first(table, time)
    moments = read_moments(table, time, zone, assumed=UTC)
    if moments.changes:
        raise UsageError(
            f"{path}, column {time}: {moments.remarks[-1].removesuffix(': accepted')}: "
            "they are not UTC",
            f"name the time zone: {_zoned(path)}",
        )
    _check_years(table, time, moments.since_1970_s)
    values = _values(table, column)
    estimated = _estimated(table)
    source = f"{path.name}, column {column.name!r}" + ", marginal" * column.marginal
    values, forecast = _with_forecasts(table, column, values)
    if moments.zone:
        source += ", times without an offset taken as UTC"
    return _series(
        table,
        times_s=moments.since_1970_s,
        values=values,
        estimated=estimated | forecast,
        place=place or path.stem,
        source=source,
        marginal=column.marginal,
    )


def _zoned(path: Path) -> str:
    """How to give the zone of a series; the --timezone of a trace is not for its place."""
    return f"--place {path.name}?timezone=Europe/Berlin; beside --start, --timezone Europe/Berlin"


def _check_years(table: Table, name: str, since_1970_s: NDArray[np.float64]) -> None:
    """Refuse numbers that are not seconds since 1970, such as 20260305, or days."""
    wrong = np.isfinite(since_1970_s) & ~(
        (since_1970_s >= YEAR_2000_S) & (since_1970_s < YEAR_2100_S)
    )
    if wrong.any():
        row = int(np.argmax(wrong))
        raise table.error(
            f"{table.texts(name)[row][:40]!r} is not a time of this century",
            "write it as 2024-05-01T13:00Z",
            row,
            name,
        )


def _table(path: Path, content: bytes) -> tuple[Table, Mapping[str, Any]]:
    """The rows of a file, and other information of a JSON file."""
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        if content.startswith(b"PAR1"):
            return read_table(path, UsageError), {}
        return parse_table(path, content, UsageError), {}
    import pandas as pd

    text, _ = decode(path, content, UsageError)
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "download it again") from None
    rows = _rows(loaded)
    if not rows:
        raise UsageError(f"{path} has no list of rows with a time", _HINT)
    frame = pd.json_normalize(rows).dropna(axis=1, how="all").astype(object)
    frame = frame.where(frame.isna(), frame.astype(str))
    headings = {str(name): Heading.of(str(name)) for name in frame.columns}
    about = loaded if isinstance(loaded, dict) else {}
    return Table(path, frame, headings, error_class=UsageError), about


def _rows(loaded: object) -> list[dict[str, Any]]:
    """The first list of objects with a time, however deep."""
    if isinstance(loaded, list) and all(isinstance(one, dict) for one in loaded):
        known = {folded(name) for name in TIMES}
        if loaded and any(folded(str(name)) in known for name in loaded[0]):
            return loaded
    inner: Iterable[object] = ()
    if isinstance(loaded, dict | list):
        inner = loaded.values() if isinstance(loaded, dict) else loaded
    for one in inner:
        if found := _rows(one):
            return found
    return []


def _with_days_first(table: Table, time: str) -> Table:
    """ENTSO-E's market time units, which start with the day, in ISO 8601 order."""
    if folded(table.headings[time].name) != "mtu":
        return table
    days = table.frame[time].str.replace(r"(\d\d)/(\d\d)/(\d{4})", r"\3-\2-\1", regex=True)
    return replace(table, frame=table.frame.assign(**{time: days}))


def _intensity_column(table: Table, about: Mapping[str, Any]) -> _Column | None:
    name = table.column(*INTENSITIES)
    meta = about.get("meta")
    said = [str(meta.get(one, "")) for one in KINDS] if isinstance(meta, dict) else []
    said += [table.texts(found)[0] for one in KINDS if (found := table.column(one))]
    if name is None and any(said):
        name = table.column("value")
    if name is None:
        those = [
            one
            for one, text in ((one, _spelt(one)) for one in table.headings)
            if (_SPEAKS_OF_IT.search(text) or _UNIT.search(text)) and not _NO_INTENSITY.search(text)
        ]
        if len(those) > 1:
            raise UsageError(
                f"{table.path} has {len(those)} columns that may hold the carbon intensity: "
                f"{', '.join(those)[:200]}",
                "rename the right one to g_per_kwh, or remove the others",
            )
        name = those[0] if those else None
    if name is None:
        return None
    text = _spelt(f"{name} {table.headings[name].unit} {' '.join(said)}")
    marginal = any(word in text for word in MARGINAL)
    factor = unit_g_per_kwh(text)
    if factor is None and _SOME_UNIT.search(text):
        raise UsageError(
            f"{table.path}: the unit of {name!r} is not known",
            "write g, kg, t or lb per kWh or MWh: carbon_intensity (kg/MWh)",
        )
    if factor is None and marginal and "moer" in text:
        return _Column(name, POUNDS_PER_MWH, has_unit=True, marginal=True)
    return _Column(name, factor or 1.0, factor is not None, marginal)


def unit_g_per_kwh(text: str) -> float | None:
    """The unit in a heading, in g/kWh; ``None`` if there is none.

    >>> unit_g_per_kwh("Carbon intensity (kg CO2e/MWh)"), unit_g_per_kwh("carbon_intensity")
    (1.0, None)
    """
    found = _UNIT.search(_spelt(text))
    return GRAMS[found[1]] / KWH[found[2]] if found else None


def _spelt(text: str) -> str:
    return text.strip().casefold().replace("\N{SUBSCRIPT TWO}", "2")


def _values(table: Table, column: _Column) -> NDArray[np.float64]:
    """(n,) g/kWh, NaN where a cell is empty."""
    cells = {
        found[1].strip().casefold()
        for text in set(table.texts(column.name))
        if (found := _CELL_UNIT.fullmatch(text))
    }
    units = {text: factor for text in cells if (factor := unit_g_per_kwh(text)) is not None}
    if units:
        units[table.headings[column.name].unit.casefold()] = column.factor
        values = table.numbers(column.name, units, MISSING).values
    else:
        values = table.numbers(column.name, missing=MISSING).values * column.factor
    known = values[np.isfinite(values)]
    if not len(known):
        raise UsageError(f"{table.path} has no row with a carbon intensity", _HINT)
    below = np.flatnonzero(values < 0)
    if len(below):
        raise table.error(
            f"{values[below[0]]:g} g/kWh is not a carbon intensity",
            "write a number of at least 0; leave the cell empty where it is unknown",
            int(below[0]),
            column.name,
        )
    if known.max() < LEAST_G_PER_KWH and not column.has_unit and not units:
        raise table.error(
            f"all values are at most {known.max():g} g/kWh, which no grid reaches",
            f"they are probably kg/kWh (or t/MWh): rename the column to {column.name} (kg/kWh)",
            column=column.name,
        )
    if known.max() > MOST_G_PER_KWH:
        raise table.error(
            f"{known.max():,.0f} g/kWh is more than any power station emits",
            f"the unit is probably different: rename the column to {column.name} (mg/kWh) or "
            "(g/MWh), or "
            "mend the row",
            int(np.nanargmax(values)),
            column.name,
        )
    return values


def _with_forecasts(
    table: Table, column: _Column, values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Forecasts where the actual value is missing, and which rows these are."""
    other = table.column(*FORECASTS)
    if other == column.name or "forecast" in _spelt(column.name):
        return values, np.isfinite(values)
    if other is None or "actual" not in _spelt(column.name):
        return values, np.zeros(len(values), bool)
    forecasts = table.numbers(other, missing=MISSING).values * (unit_g_per_kwh(other) or 1.0)
    filled = np.isnan(values) & np.isfinite(forecasts)
    return np.where(filled, forecasts, values), filled


def _estimated(table: Table) -> NDArray[np.bool_]:
    """(n,) which rows their source marks as estimated."""
    name = table.column(*ESTIMATED) or table.column(*METHODS)
    if name is None:
        return np.zeros(len(table), bool)
    return np.array([text.casefold() not in MEASURED for text in table.texts(name)])


def _place(table: Table, about: Mapping[str, Any]) -> str:
    """The zone of all rows; empty if not given."""
    for wanted in PLACES:
        name = table.column(wanted)
        if name is None:
            continue
        zones = sorted(set(table.texts(name)))
        if len(zones) > 1:
            raise UsageError(
                f"{table.path} has {len(zones)} zones: {zones[0]!r}, {zones[1]!r} ...",
                "keep the rows of one zone only",
            )
        return zones[0]
    meta = about.get("meta")
    for said in (about, meta if isinstance(meta, dict) else {}):
        for wanted in ("zone", "region"):
            if isinstance(said.get(wanted), str):
                return str(said[wanted])
    return ""


def _series(
    table: Table,
    times_s: NDArray[np.float64],
    values: NDArray[np.float64],
    estimated: NDArray[np.bool_],
    place: str,
    source: str,
    *,
    marginal: bool,
) -> IntensitySeries:
    """The rows in order of time."""
    without = np.flatnonzero(~np.isfinite(times_s))
    if len(without):
        raise table.error("the time is missing", "write it as 2024-05-01T13:00Z", int(without[0]))
    order = np.argsort(times_s, kind="stable")
    same = np.flatnonzero(np.diff(times_s[order]) == 0)
    if len(same):
        first, second = sorted((int(order[same[0]]), int(order[same[0] + 1])))
        moment = datetime.fromtimestamp(float(times_s[first]), UTC).isoformat()
        raise UsageError(
            f"{table.path}, {table.line(first)} and {table.line(second)}: both have the time "
            f"{moment}",
            "each time may occur once; if times are local, name their time zone: "
            f"{_zoned(table.path)}",
        )
    remark = "marginal intensity (emissions of one more kWh), not the average" if marginal else ""
    return IntensitySeries(
        times_s=tuple(times_s[order].tolist()),
        g_per_kwh=tuple(None if math.isnan(g) else g for g in values[order].tolist()),
        place=place,
        source=source,
        remark=remark,
        estimated=tuple(estimated[order].tolist()) if estimated.any() else (),
    )
