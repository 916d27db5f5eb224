"""The time and power columns of a foreign table, by heading or as named by the user.

The options have the same names everywhere: ``--time``, ``--power``,
``--device``, ``--timezone``, ``--interval``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any

import numpy as np

from joulelab.energy.traces import devices
from joulelab.energy.traces.json_logs import LOGGED
from joulelab.energy.traces.power_columns import PowerColumn, power_columns, read_heading
from joulelab.energy.traces.program_logs import HEADLESS, Log
from joulelab.errors import TraceError, UsageError
from joulelab.tabular.moments import Moments, read_moments
from joulelab.tabular.table import Table

TIMES = (
    *("t_s", "time_s", "seconds", "timestamp", "time_of_day_seconds", "datetime", "date_time"),
    *("date time", "time", "date", "date/time", "date/time utc", "t_ms", "time_ms", "ts", "epoch"),
    *("unixtime", "unix_time", "unix", "elapsed", "elapsed_s", "elapsed_time", "relative time"),
    *("system_time", "t", "last_changed", LOGGED, "minute_ts"),
)
"""Usual names of a time column; the first that a table has counts."""
HARDLY_S = 100.0
"""Power logs have shorter intervals than this, or whole minutes."""
MINUTES = 1 / 60
BACKWARDS = 3
"""Steps back, with none forward, that mean reverse order; a single one may be a clock change."""


@dataclass(frozen=True)
class TableOptions:
    """The user's options for a foreign table.

    Attributes:
        time: time column; empty to search for a usual name.
        power: power columns; empty for the usual names.
        device: a column that identifies the device, or the name of the only device.
        zone: of times without one; ``None`` for this machine's.
        interval_s: interval between rows without times.
        domain: domain of power, if the table does not give it.
    """

    time: str = ""
    power: tuple[str, ...] = ()
    device: str = ""
    zone: tzinfo | None = None
    interval_s: float | None = None
    domain: str = "gpu:0"

    @property
    def any(self) -> bool:
        """Whether a column was named, so the table is not read as joulelab's own."""
        return bool(self.time or self.power or self.device)


def moments_of(log: Log, options: TableOptions) -> tuple[Moments, str]:
    """The times of the rows, and why they are an assumption, if they are."""
    table = log.table
    name = table.column(options.time) if options.time else _time_column(table)
    if name is not None:
        if options.interval_s is not None:
            raise UsageError(
                f"{table.path} has times in {name}", "--interval is for a table without them"
            )
        moments = read_moments(table, name, options.zone, any_day=True)
        _check_unit(table, name, moments)
        return moments, ""
    if options.time:
        raise _no_column(table, options.time, "time")
    interval_s = options.interval_s or log.interval_s
    if interval_s is None:
        raise _no_column(table, "", "time")
    column = options.device if devices.is_column(table, options.device) else ""
    found = devices.devices(table, column, np.arange(len(table), dtype=float))
    seconds = np.empty(len(table))
    for device in found:
        seconds[device.rows] = interval_s * np.arange(len(device.rows))
    if options.interval_s is not None:
        return Moments(seconds), ""
    return Moments(seconds), (
        f"it has no times: rows are assumed to be {interval_s:g} s apart, the default of "
        f"{log.program}; --interval SECONDS overrides it, -o DT records times"
    )


def _check_unit(table: Table, name: str, moments: Moments) -> None:
    """Refuse times without a unit that are unlikely to be seconds: rows 100, 500 or 1000 apart."""
    if moments.has_unit:
        return
    steps = np.abs(np.diff(moments.seconds))
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    minutes = abs(usual / 60 - round(usual / 60)) <= MINUTES
    if usual < HARDLY_S or minutes:
        return
    raise table.error(
        f"rows are {usual:g} apart in an unknown unit: seconds, milliseconds?",
        f"add the unit to the heading: {name}_ms, {name}_ns, {name}_s",
        0,
        name,
    )


def in_order(log: Log, moments: Moments, guessed: str) -> tuple[Log, Moments, str]:
    """The same, with newest-first rows reversed."""
    steps = np.diff(moments.seconds)
    if not (steps <= 0).all() or int((steps < 0).sum()) < BACKWARDS:
        return log, moments, guessed
    table = log.table.rows(slice(None, None, -1)).remarked("rows are newest first: reversed")
    backwards = replace(moments, seconds=moments.seconds[::-1])
    return replace(log, table=table), backwards, guessed


def _time_column(table: Table) -> str | None:
    usual = table.column(*TIMES)
    if usual is not None:
        return usual
    ends = [
        name
        for name in table.headings
        if name.casefold().endswith(("/timestamp", "/time", ".timestamp", "_timestamp"))
    ]
    return ends[0] if ends else None


def chosen_columns(log: Log, options: TableOptions) -> list[PowerColumn]:
    """The requested power columns, else those found by heading."""
    table = log.table
    if options.power:
        columns = []
        for one in options.power:
            name = table.column(one)
            if name is None:
                raise _no_column(table, one, "power")
            said = read_heading(name, table.headings[name])
            columns.append(said or PowerColumn(name, "power"))
        several = len({one.label for one in columns}) > 1
        return columns if several else [replace(one, label="") for one in columns]
    columns = power_columns(table)
    if not columns:
        raise _no_column(table, "", "power")
    for column in columns:
        if column.name in table.twice:
            table.column(column.name)  # raises, because there are two that differ
    columns = _numbered(columns)
    plain = [one for one in columns if not one.family and one.number is None]
    bare = [one for one in plain if not one.label]
    if bare:
        return _labelled(table, [one for one in columns if one not in plain or one in bare])
    if plain and (len(columns) > len(plain) or len({one.label for one in plain}) > 1):
        names = ", ".join(one.name for one in columns)
        raise TraceError(
            f"{table.path} has several power columns, and does not say of what: {names[:200]}",
            "select those that count with --power COLUMN (power=COLUMN), each as often as needed",
        )
    return [replace(one, label="") for one in plain] or _labelled(table, columns)


def _numbered(columns: Sequence[PowerColumn]) -> list[PowerColumn]:
    """The same; the first of columns numbered by pandas, such as ``power.1``, is number 0."""
    numbers = {one.number for one in columns if not one.family} - {None}
    if not numbers or 0 in numbers or any(one.family for one in columns):
        return list(columns)
    return [replace(one, number=0) if one.number is None else one for one in columns]


def _labelled(table: Table, columns: Sequence[PowerColumn]) -> list[PowerColumn]:
    """Columns of the same part with different headings: several machines, or refused."""
    by_part: dict[tuple[str, int | None], list[PowerColumn]] = {}
    for one in columns:
        by_part.setdefault((one.family, one.number), []).append(one)
    shown = len({one.label for one in columns}) > 1
    kept = []
    for parts in by_part.values():
        plain = [one for one in parts if not one.label]
        labels = {one.label for one in parts}
        if plain or len(labels) == 1:
            kept += plain or parts
            continue
        if not all(any(map(str.isdigit, label)) for label in labels):
            names = ", ".join(one.name for one in parts)
            raise TraceError(
                f"{table.path} has several power columns of the same part: {names}",
                "select those that count with --power COLUMN (power=COLUMN)",
            )
        kept += parts
    return kept if shown else [replace(one, label="") for one in kept]


def _no_column(table: Table, asked: str, what: str) -> TraceError:
    missing: Any = repr(asked) if asked else f"of {what}"
    hint = f"name it by --{what} COLUMN ({what}=COLUMN); {table.known()}"
    if not table.has_header:
        hint = HEADLESS
    elif what == "time" and not asked:
        hint += "; or give the interval between rows with --interval SECONDS"
    return TraceError(f"{table.path} has no column {missing}", hint)
