"""Columns of somebody's table as seconds, watts and what else a sensor says.

Texts such as ``220.31 W``, ``[N/A]`` and ``2023/03/21 12:34:56.789`` become numbers, or NaN where
the sensor had none to give. A text that ought to be a number and is not, ``12,5`` for instance, is
refused: half of it would be a number too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.summary import STATE_COLUMNS
from joulelab.energy.tape import Floats
from joulelab.energy.traces.recorded_table import RecordedTable, listed
from joulelab.errors import TraceError

SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0}
WATTS = {"w": 1.0, "watt": 1.0, "watts": 1.0, "mw": 1e-3, "kw": 1e3}
EPOCH_S = 1e8
"""Later than any recording is long: such a time is a moment, and not seconds since the opening."""
MOSTLY = 0.9
_EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""From which value on a moment is in nanoseconds, microseconds, milliseconds."""
_STATE = {
    "utilization.gpu": ("utilisation", 0.01),
    "utilisation_pct": ("utilisation", 0.01),
    "utilization_pct": ("utilisation", 0.01),
    "temperature.gpu": ("temperature_c", 1.0),
    "clocks.current.sm": ("clock_mhz", 1.0),
    "clocks.sm": ("clock_mhz", 1.0),
    "power.limit": ("power_limit_w", 1.0),
    "enforced.power.limit": ("power_limit_w", 1.0),
    **{name: (name, 1.0) for name in STATE_COLUMNS},
}
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s.,:]*)\s*")
_UNREADABLE = re.compile(r"\s*\[.*\]\s*|\D*")
_ZONE = re.compile(r"(?:[zZ]|[+-]\d{2}:?\d{2})\s*$")


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    Attributes:
        values: (n,), NaN where there is none.
        unreadable: what stands there instead, the last of it; empty where nothing is missing.
    """

    values: Floats
    unreadable: str = ""


def watts(table: RecordedTable, name: str) -> Numbers:
    """A column of power, in watts.

    Args:
        table: where it is.
        name: of the column.

    Raises:
        TraceError: it is in another unit, or a text in it is no number.
    """
    factor = _factor(table, name, WATTS, "power")
    return _numbers(table, name, factor, WATTS)


def seconds(table: RecordedTable, name: str) -> tuple[Floats, float | None]:
    """A column of times, in seconds.

    Args:
        table: where it is.
        name: of the column: seconds, milliseconds, or moments as ISO 8601 and nvidia-smi write
            them. Moments without a zone are taken as local time of this machine.

    Returns:
        Seconds (n,) since the first moment in the column, or as they are; and that moment in
        seconds since the epoch, ``None`` where the column does not say.

    Raises:
        TraceError: it is neither, or a time is missing.
    """
    import pandas as pd

    column = table.frame[name]
    if pd.api.types.is_timedelta64_dtype(column):
        return np.asarray(column.dt.total_seconds(), float), None
    if pd.api.types.is_datetime64_any_dtype(column):
        return _moments(table, name)
    if not pd.api.types.is_numeric_dtype(column):
        as_numbers = pd.to_numeric(column, errors="coerce")
        if 2 * int(as_numbers.notna().sum()) <= len(column):
            return _moments(table, name)
    times = _numbers(table, name, _factor(table, name, SECONDS, "time"), SECONDS).values
    if np.isnan(times).all():
        return times, None
    first = float(np.nanmin(times))
    scale = next((scale for least, scale in _EPOCHS if first >= least), 1.0)
    times, first = times * scale, first * scale
    if first < EPOCH_S:
        return times, None
    return times - first, first


def states(table: RecordedTable) -> dict[str, Floats]:
    """What the sensors said beside power: temperature, clocks, utilisation ...

    Args:
        table: where it is; columns nobody knows are left out.
    """
    found: dict[str, Floats] = {}
    for column in table.frame.columns:
        name, factor = _STATE.get(str(column).casefold(), ("", 1.0))
        if not name or name in found:
            continue
        try:
            values = _numbers(table, str(column), factor, None).values
        except TraceError:
            continue  # it is not what the recording is about
        if name == "utilisation":
            values = np.where((values >= 0) & (values <= 1), values, math.nan)
        if not np.isnan(values).all():
            found[name] = values
    return found


def _moments(table: RecordedTable, name: str) -> tuple[Floats, float | None]:
    import pandas as pd

    column = table.frame[name]
    if pd.api.types.is_datetime64_any_dtype(column):
        zone = getattr(column.dtype, "tz", None) is not None
    else:
        zone = bool(_ZONE.search(str(column.iloc[0])[len("2023-03-21") :]))
    try:
        moments = pd.to_datetime(column, utc=True, format="ISO8601")
    except (ValueError, TypeError):
        bad = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce").isna()
        position = int(np.argmax(bad.to_numpy()))
        raise TraceError(
            f"{table.path}, {table.line(position)}: {name} is "
            f"{str(column.iloc[position])[:40]!r}, neither seconds nor a moment",
            "write seconds, 2023-03-21T12:34:56.789, or 2023/03/21 12:34:56.789",
        ) from None
    if moments.isna().all():
        return np.full(len(moments), math.nan), None
    first = moments.min()
    times = np.asarray((moments - first).dt.total_seconds(), float)
    began = first.to_pydatetime().astimezone(UTC)
    if not zone:
        began = began.replace(tzinfo=None)
    return times, datetime.timestamp(began)


def _factor(table: RecordedTable, name: str, units: Mapping[str, float], what: str) -> float:
    """Of the unit that a column's header, or the end of its name, speaks of."""
    unit = table.units.get(name)
    if unit is None:
        return units.get(name.casefold().rpartition("_")[2], 1.0)
    if unit.casefold() not in units:
        raise TraceError(
            f"{table.path}: {name} is in {unit!r}, which is no unit of {what} known here",
            f"known are {', '.join(units)}",
        )
    return units[unit.casefold()]


def _numbers(
    table: RecordedTable, name: str, factor: float, units: Mapping[str, float] | None
) -> Numbers:
    """Numbers with or without a unit of their own, which counts more than that of the header.

    Where `units` is ``None``, units are not looked at.
    """
    import pandas as pd

    column = table.frame[name]
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(float, na_value=math.nan) * factor
        values = np.where(np.isfinite(values), values, math.nan)
        return Numbers(values, "no value" if np.isnan(values).any() else "")
    # A log has the same texts over and over: each is understood once.
    codes, texts = pd.factorize(column, use_na_sentinel=True)
    known = [_number(str(text), factor, units) for text in texts]
    if None in known:
        text = texts[known.index(None)]
        position = int(np.argmax(codes == known.index(None)))
        raise TraceError(
            f"{table.path}, {table.line(position)}: {name} is {str(text)[:40]!r}, and no number",
            "write 12.5; units may be left out",
        )
    values = np.array([*known, math.nan], float)[codes]  # -1, no text at all, is the last
    lost = np.flatnonzero(np.isnan(values))
    last = codes[lost[-1]] if len(lost) else -1
    told = str(texts[last]).strip() if last >= 0 else "no value"
    return Numbers(values, told if len(lost) else "")


def _number(text: str, factor: float, units: Mapping[str, float] | None) -> float | None:
    """The number in a text; NaN where it says that there is none, ``None`` where it is odd."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return math.nan if _UNREADABLE.fullmatch(text) else None
    unit = match[2].casefold()
    if units and unit:
        return float(match[1]) * units[unit] if unit in units else None
    return float(match[1]) * factor


def check_order(table: RecordedTable, times: Floats) -> None:
    """Refuse times that are missing or go back.

    Args:
        table: where they are from.
        times: (n,) seconds, one for each of its rows.

    Raises:
        TraceError: with a hint at what it may be.
    """
    if not np.isfinite(times).all():
        row = table.line(int(np.argmin(np.isfinite(times))))
        raise TraceError(f"{table.path}, {row}: there is no time", "mend that row, or take it out")
    back = np.flatnonzero(np.diff(times) < 0) + 1
    if not len(back):
        return
    hint = "was the clock set, or summer time over? Cut the file in two there, and read each part"
    if name := _recordings(table, back):
        column = table.frame[name]
        hint = (
            f"it holds {column.nunique()} recordings: name one of them, where={name}=VALUE, of "
            f"{listed(column)}"
        )
    step_s = times[back[0] - 1] - times[back[0]]
    raise TraceError(f"{table.path}, {table.line(int(back[0]))}: time goes back {step_s:g} s", hint)


def _recordings(table: RecordedTable, back: NDArray[np.intp]) -> str:
    """The column that says which of several recordings a row is of; empty where none does.

    It changes where time goes back, and hardly elsewhere; the finest of such columns is meant.
    """
    best, most = "", 0
    for name in table.frame.columns:
        column = table.frame[name]
        changes = np.flatnonzero((column != column.shift()).to_numpy())[1:]
        everywhere = len(changes) == len(column) - 1
        if not everywhere and len(changes) > most and np.isin(changes, back).mean() >= MOSTLY:
            best, most = str(name), len(changes)
    return best
