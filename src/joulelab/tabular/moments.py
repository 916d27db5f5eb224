"""Time columns of a foreign table: seconds since the first row, and when that was.

::

    0.25, 12 ms, t_us            seconds since something, as they are
    1772704800.1                 seconds since 1970; ms, us and ns are told by their size
    46086.4166667                days since 1900, as Excel saves moments as numbers
    2026-03-05T09:00Z            ISO 8601, also 2026/03/05 09:00:00.123 (nvidia-smi)
    20260305090000               the same without marks
    05.03.2026 09:00             the day first; also an interval, of which the beginning counts
    03/05/2026 9:00 AM           day or month first, as the column itself shows; else refused
    05/Mar/2026:09:00:00 +0100   a web server's log
    Thu Mar  5 09:00:00 2026     as C writes it
    09:00:00                     a time of day; midnight may pass

Written offsets are used. Times without one are in the user's zone, or the heading's (``Datetime
(UTC)``, ``MTU (CET/CEST)``), else in an assumed one, with a remark. Local time jumps by an hour
when summer time begins or ends; rows are assumed to be in the order of writing, so the repeated
hour is resolved. If the zone is unknown, a jump of exactly an hour at a time when some zone changes
is treated as such a change, with a remark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

import numpy as np

from joulelab.tabular.local_time import (
    ABBREVIATED_H,
    local_zone,
    offset_s,
    offsets_s,
    unnamed_changes,
    zone_of_heading,
)
from joulelab.tabular.table import Floats, Table

if TYPE_CHECKING:
    import pandas as pd

SECONDS = {
    name: seconds
    for seconds, names in (
        (1.0, "s sec secs second seconds"),
        (1e-3, "ms msec millis milliseconds"),
        (1e-6, "us usec microseconds"),
        (1e-9, "ns nanoseconds"),
        (60.0, "min minutes"),
        (3600.0, "h hours"),
    )
    for name in names.split()
}
EPOCH_S = 1e8
"""Longer than any recording: larger values are absolute times, not seconds since the start."""
_EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""From which value on a moment is in nanoseconds, microseconds, milliseconds."""
YEAR_2000_S, YEAR_2100_S = 946_684_800.0, 4_102_444_800.0
YEAR_2000_D, YEAR_2100_D, DAYS_TO_1970 = 36_526, 73_051, 25_569
"""In days, as Excel counts them."""
MINUTE_D = 1 / 1440 + 1e-6
"""The longest step, a minute, of days that seconds might be."""
DAY_S = 86400.0
FORMATS = (
    "ISO8601",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S.%f",
    "%d.%m.%y %H:%M",
    "%d.%m.%y %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%a %d %b %Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
)
SLASHED = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f")
"""Times after a day that stands as 03/05/2026, whichever of the two is the month."""
DAY_FIRST, MONTH_FIRST = "%d/%m/%Y", "%m/%d/%Y"
EXAMPLE = "write seconds, 2023-03-21T12:34:56.789, or 2023/03/21 12:34:56.789"
_OFFSET = re.compile(
    rf"^(?P<stamp>.*\d(?:\s?[ap]m)?)\s*(?P<zone>{'|'.join(ABBREVIATED_H)}|[+-]\d{{2}}:?\d{{2}})$",
    re.IGNORECASE,
)
_DATE_COMMAND = re.compile(r"^([A-Z]\w\w [A-Z]\w\w +\d+ \d\d:\d\d:\d\d) ([A-Z]{3,4}) (\d{4})$")
"""As date(1) prints it, the zone before the year."""
_HOURS_ONLY = re.compile(r"^(.*\d:\d\d(?:[.,]\d+)?)([+-]\d\d)$")
"""An offset as PostgreSQL writes it: 09:00:00+01."""
_INTERVAL = re.compile(r"\s+-\s+(?=\d{1,4}[-./])")
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}:\d{2}([.,]\d+)?")
_ISO_8601 = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d")
_DIGITS = re.compile(
    r"(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])([0-5]\d)([0-5]\d)?"
)
"""20260305090000, and the same without seconds: as milliseconds, of another century."""


@dataclass(frozen=True)
class Moments:
    """A column of times.

    Attributes:
        seconds: (n,) since `epoch_s`, or since whatever the file counts from; NaN where there is
            none.
        epoch_s: time of second 0, in seconds since 1970; ``None`` if unknown.
        resolution_s: 1, or 60, where all of them are whole seconds, or minutes; else 0.
        zone: that was assumed for moments without an offset; empty where none was needed.
        remarks: assumptions, in words.
        changes: number of changes of summer time within times of an assumed zone.
        has_unit: whether the file gives their unit; bare numbers are read as seconds.
    """

    seconds: Floats
    epoch_s: float | None = None
    resolution_s: float = 0.0
    zone: str = ""
    remarks: tuple[str, ...] = ()
    changes: int = 0
    has_unit: bool = True

    @property
    def since_1970_s(self) -> Floats:
        """(n,) seconds since 1970, or since whatever the file counts from."""
        return self.seconds + (self.epoch_s or 0.0)


def read_moments(
    table: Table,
    name: str,
    zone: tzinfo | None = None,
    assumed: tzinfo | None = None,
    *,
    any_day: bool = False,
) -> Moments:
    """Read a column as times.

    Args:
        table: where it is.
        name: of the column.
        zone: of moments without an offset; that of the heading, else the assumed one, where
            ``None``.
        assumed: where neither is named; that of this machine where ``None``.
        any_day: where day and month cannot be told, their distances are enough: when it began is
            then unknown, and said.

    Raises:
        JoulelabError: a text in it is neither seconds nor a date and time, or may be read in two
            ways, or the time does not exist in the zone.
    """
    import pandas as pd

    column = table.frame[name]
    if pd.api.types.is_timedelta64_dtype(column):
        return Moments(np.asarray(column.dt.total_seconds(), float))
    if pd.api.types.is_datetime64_any_dtype(column):
        if column.dt.tz is not None:
            return _since_first(_epoch_s(column.dt.tz_convert("UTC").dt.tz_localize(None)))
        return _local(table, name, _epoch_s(column), zone, assumed)
    read = _of_one_form(table, name, zone, assumed)
    if read is not None:
        return read
    if not pd.api.types.is_numeric_dtype(column):
        as_numbers = pd.to_numeric(column, errors="coerce")
        texts = pd.Series(table.texts(name))
        said = texts != ""
        moments = said & as_numbers.isna().to_numpy() & texts.str.contains(r"\d[-/.:]\w").to_numpy()
        if moments.any() and 2 * int(moments.sum()) >= int(said.sum()):
            return _of_texts(table, name, texts, zone, assumed, any_day=any_day)
    return _of_numbers(table, name, zone, assumed)


def _of_one_form(
    table: Table, name: str, zone: tzinfo | None, assumed: tzinfo | None
) -> Moments | None:
    """Cells that are all written as ISO 8601 has it, or in digits only; else ``None``."""
    import pandas as pd

    first = str(table.frame[name].iloc[0]).strip()
    if not _ISO_8601.match(first) and not _DIGITS.fullmatch(first):
        return None
    texts = pd.Series(table.texts(name))
    if _DIGITS.fullmatch(first) and texts.str.fullmatch(_DIGITS).all():
        texts = texts.str.replace(_DIGITS, r"\1-\2-\3 \4:\5:\6", regex=True).str.rstrip(":")
    read = _iso_8601(texts)
    if read is None:
        return None
    moments_s, with_offsets = read
    return (
        _since_first(moments_s) if with_offsets else _local(table, name, moments_s, zone, assumed)
    )


def _iso_8601(texts: pd.Series[str]) -> tuple[Floats, bool] | None:
    """Moments that are all written in one way, as most are, without a look at each of them.

    Returns:
        (n,) seconds since 1970, as if they were UTC where they have no offset, and whether they
        have; ``None`` where they need another look.
    """
    import pandas as pd

    offsets = {
        text[-1] in "Zz" or (text[-6:-5] in ("+", "-") and text[-3] == ":")
        for text in texts
        if text
    }
    if len(offsets) != 1:
        return None
    with_offsets = offsets.pop()
    try:
        moments = pd.to_datetime(texts, format="ISO8601", utc=with_offsets, errors="raise")
    except (ValueError, TypeError):
        return None
    if not pd.api.types.is_datetime64_any_dtype(moments):
        return None
    if (moments.dt.tz is not None) is not with_offsets or (moments.isna() & (texts != "")).any():
        return None
    return _epoch_s(moments.dt.tz_localize(None)), with_offsets


def _of_numbers(table: Table, name: str, zone: tzinfo | None, assumed: tzinfo | None) -> Moments:
    heading = table.headings[name]
    last = re.split(r"[\s_/]", heading.name.casefold())[-1]
    told = heading.unit.casefold() in SECONDS or (not heading.unit and last in SECONDS)
    values = table.numbers(name, SECONDS if told else None).values
    if np.isnan(values).all():
        return Moments(values)
    if not told and _are_days(values):
        return _local(table, name, (values - DAYS_TO_1970) * DAY_S, zone, assumed)
    # No recording lasts for thousands of years, whatever its heading says.
    first = float(np.nanmin(np.abs(values)))
    if not told or first >= _EPOCHS[-1][0]:
        scale = next((scale for least, scale in _EPOCHS if first >= least), 1.0)
        told |= scale == 1.0 and first >= YEAR_2000_S
        # Nanoseconds since a machine was started look like microseconds since 1970.
        values = values * (scale if told or first * scale >= YEAR_2000_S else 1.0)
    first = float(values[np.isfinite(values)][0])
    if first < EPOCH_S:
        return Moments(values, None, _resolution(values), has_unit=told)
    return Moments(values - first, first, _resolution(values), has_unit=told)


def _are_days(values: Floats) -> bool:
    """Whether numbers are Excel's days since 1900, judged by their steps."""
    steps = np.abs(np.diff(values[np.isfinite(values)]))
    first, last = np.nanmin(values), np.nanmax(values)
    within = first >= YEAR_2000_D and last < YEAR_2100_D and bool((values % 1 != 0).any())
    return bool(within and (steps > 0).any() and np.median(steps[steps > 0]) < MINUTE_D)


def _of_texts(
    table: Table,
    name: str,
    texts: pd.Series[str],
    zone: tzinfo | None,
    assumed: tzinfo | None,
    *,
    any_day: bool,
) -> Moments:
    import pandas as pd

    texts = texts.str.strip("[]").str.strip().str.replace(_DATE_COMMAND, r"\1 \3 \2", regex=True)
    texts = texts.str.replace(_HOURS_ONLY, r"\1\2:00", regex=True)
    if texts.str.contains(_INTERVAL).any():
        texts = texts.str.split(_INTERVAL, n=1).str[0]
    if _TIME_OF_DAY.fullmatch(next((text for text in texts if text), "")):
        return _times_of_day(table, name, texts)
    parts = texts.str.extract(_OFFSET)
    with_offset = parts["zone"].notna().to_numpy()
    stamps = parts["stamp"].where(with_offset, texts)
    undecided = _day_and_month(stamps) is None
    if undecided and not any_day:
        row = int(np.argmax(stamps.str.fullmatch(_SLASHED_DAY + ".*").to_numpy()))
        raise table.error(
            f"{str(stamps.iloc[row])[:40]!r} has day and month in an ambiguous order",
            "write 2026-03-05 for the fifth of March",
            row,
            name,
        )
    naive_s = _parsed(table, name, stamps, texts)
    if undecided:
        return _since_some_day(naive_s, str(stamps[stamps != ""].iloc[0]))
    if not with_offset.any():
        return _local(table, name, naive_s, zone, assumed)
    known = {text: offset_s(text) for text in parts["zone"].dropna().unique()}
    offsets_s = pd.Series(parts["zone"].map(known), dtype=float).to_numpy()
    if with_offset.all() or not (texts[~with_offset] != "").any():
        return _since_first(naive_s - np.nan_to_num(offsets_s))
    others = _local(table, name, np.where(with_offset, np.nan, naive_s), zone, assumed)
    epoch_s = np.where(with_offset, naive_s - np.nan_to_num(offsets_s), others.since_1970_s)
    mixed = _since_first(epoch_s)
    return replace(mixed, zone=others.zone, remarks=others.remarks, changes=others.changes)


def _parsed(table: Table, name: str, stamps: pd.Series[str], texts: pd.Series[str]) -> Floats:
    """Naive moments in seconds since 1970, as if they were UTC; NaN where a cell is empty."""
    said = (texts != "").to_numpy()
    best, most = np.full(len(texts), math.nan), -1
    for form in _formats(stamps):
        parsed = _epoch_s(_to_datetime(stamps, form))
        count = int(np.isfinite(parsed).sum())
        if count > most:
            best, most = parsed, count
        if count == int(said.sum()):
            break
    wrong = said & ~np.isfinite(best)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise table.error(
            f"{str(texts.iloc[row])[:40]!r} is neither seconds nor a date and time",
            EXAMPLE,
            row,
            name,
        )
    return best


_SLASHED_DAY = r"(\d{1,2})/(\d{1,2})/\d{4}"


def _day_and_month(stamps: pd.Series[str]) -> str | None:
    """How a day with slashes is written, as the column itself shows.

    Returns:
        `DAY_FIRST`, `MONTH_FIRST`, empty where no day is written so, or ``None`` where it may be
        either.
    """
    slashed = stamps.str.extract("^" + _SLASHED_DAY)
    if slashed[0].isna().all() or stamps.str.contains(r"[ap]m$", case=False).any():
        return ""
    first, second = (slashed[one].dropna().astype(int) for one in (0, 1))
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())  # noqa: PLR2004
    if not day_first and not month_first and not first.equals(second):
        # A recording that goes on over midnight moves the day more than the month.
        day_first, month_first = first.nunique() > 1, second.nunique() > 1
    if day_first == month_first:
        return DAY_FIRST if first.equals(second) else None
    return DAY_FIRST if day_first else MONTH_FIRST


def _since_some_day(naive_s: Floats, first: str) -> Moments:
    """Seconds since the first of times with ambiguous day and month."""
    known = _since_first(naive_s)
    remark = f"{first.split(maxsplit=1)[0]} may be either of two days: the start is unknown"
    return replace(known, epoch_s=None, remarks=(remark,))


def _formats(stamps: pd.Series[str]) -> Iterator[str]:
    """The forms to try; a slashed day only in the order that the column itself shows."""
    day = _day_and_month(stamps)
    if day == "":
        yield from FORMATS
    else:
        yield from (f"{day or DAY_FIRST} {time}" for time in SLASHED)


def _to_datetime(stamps: pd.Series[str], form: str) -> pd.Series[Any]:
    import pandas as pd

    try:
        moments = pd.to_datetime(stamps, format=form, errors="coerce")
    except ValueError:  # several offsets, in places where none should be
        moments = pd.Series(pd.NaT, index=stamps.index)
    return moments if moments.dt.tz is None else moments.dt.tz_localize(None)


def _epoch_s(moments: pd.Series[Any]) -> Floats:
    """Seconds since 1970 of naive moments; NaN where there is none."""
    counts = moments.to_numpy("datetime64[ns]")
    whole = counts.astype("datetime64[s]")
    seconds = whole.astype(np.int64) + (counts - whole).astype(np.int64) / 1e9
    return np.where(np.isnat(counts), math.nan, seconds)


def _since_first(epoch_s: Floats, zone: str = "", remarks: Sequence[str] = ()) -> Moments:
    known = epoch_s[np.isfinite(epoch_s)]
    if not len(known):
        return Moments(epoch_s)
    first = float(known[0])
    return Moments(epoch_s - first, first, _resolution(epoch_s), zone, tuple(remarks))


def _resolution(seconds: Floats) -> float:
    known = seconds[np.isfinite(seconds)]
    if not len(known) or (known % 1).any():
        return 0.0
    return 60.0 if not (known % 60).any() and len(np.unique(known)) < len(known) else 1.0


def _times_of_day(table: Table, name: str, texts: pd.Series[str]) -> Moments:
    """Times of day without a date; they restart at midnight."""
    import pandas as pd

    seconds = pd.to_timedelta(texts.str.replace(",", "."), errors="coerce")
    of_day = np.asarray(seconds.dt.total_seconds(), float)
    wrong = (texts != "").to_numpy() & ~np.isfinite(of_day)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise table.error(f"{texts.iloc[row][:40]!r} is not a time of day", EXAMPLE, row, name)
    steps = np.diff(of_day, prepend=of_day[:1])
    days = np.cumsum(np.where(steps < -DAY_S / 2, 1, np.where(steps > DAY_S / 2, -1, 0)))
    return Moments(of_day + DAY_S * days - of_day[0], None, _resolution(of_day))


def _local(
    table: Table, name: str, naive_s: Floats, zone: tzinfo | None, assumed: tzinfo | None
) -> Moments:
    """Moments without an offset, in a zone that is given, or assumed."""
    named = zone or zone_of_heading(table.headings[name].text)
    used = named or assumed or local_zone()
    told = "" if named is not None else str(used)
    taken = str(used) if assumed is not None else f"local time ({used})"
    remarks = [] if named is not None else [f"times without a zone are read as {taken}"]
    changes: list[str] = []
    good = np.flatnonzero(np.isfinite(naive_s))
    if not len(good):
        return Moments(naive_s)
    offsets = offsets_s(table, name, naive_s, good, used, asked=zone is not None)
    if named is None:
        offsets, changes = unnamed_changes(naive_s, good, offsets)
    read = _since_first(naive_s - offsets, told, remarks + changes)
    return replace(read, changes=len(changes))


def spread(seconds: Floats, resolution_s: float) -> Floats:
    """Times that were cut to whole seconds, spread over their second in equal steps.

    Where k rows have one time t, they are taken to be at t, t + r/k, t + 2r/k ... The first and the
    last time may have fewer rows than the others, because the recording began, or ended, within
    them: their steps are those of the others.

    Args:
        seconds: (n,) in order.
        resolution_s: r, to which they were cut; 0 for not at all.
    """
    if not resolution_s or len(seconds) < 2 or not (np.diff(seconds) == 0).any():  # noqa: PLR2004
        return seconds
    starts = np.flatnonzero(np.diff(seconds, prepend=seconds[0] - 1) != 0)
    counts = np.diff([*starts, len(seconds)])
    usual = float(np.median(counts[1:-1])) if len(counts) > 2 else float(counts.max())  # noqa: PLR2004
    steps = resolution_s / np.maximum(counts, 1)
    steps[0], steps[-1] = (resolution_s / max(usual, counts[at]) for at in (0, -1))
    place = np.arange(len(seconds)) - np.repeat(starts, counts)
    spread_s = seconds + place * np.repeat(steps, counts)
    # The first second was entered in its middle: its rows are the last of it.
    spread_s[: counts[0]] += resolution_s - counts[0] * steps[0]
    return np.asarray(spread_s, float)
