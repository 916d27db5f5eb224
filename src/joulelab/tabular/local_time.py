"""Local time: names of zones, and summer time in the times of a table.

Local time jumps by an hour where summer time begins or ends. Rows are assumed to be in the order of
writing, so the repeated hour is resolved::

    01:59  02:00 ... 02:59  02:00 ... 02:59  03:00
           summer time      standard time
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError
from joulelab.tabular.table import Floats, Table

HOUR_S = 3600.0
_ZONES = {
    "utc": "UTC",
    "gmt": "UTC",
    "cet": "Europe/Brussels",
    "cest": "Europe/Brussels",
    "eet": "Europe/Athens",
    "eest": "Europe/Athens",
    "wet": "Europe/Lisbon",
    "west": "Europe/Lisbon",
}
"""Zone names in headings; those with summer time by a place with these rules."""
ABBREVIATED_H = {
    **{"z": 0, "utc": 0, "gmt": 0, "wet": 0, "west": 1, "cet": 1, "cest": 2, "eet": 2, "eest": 3},
    **{"est": -5, "edt": -4, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7},
}
"""Hours from UTC; ambiguous names such as CST are excluded."""
_OFFSETS = re.compile(r"([+-])(\d{2}):?(\d{2})")


def read_zone(text: str) -> tzinfo:
    """Parse a user's time zone.

    Args:
        text: ``Europe/Berlin``, ``UTC``, ``+02:00``, or ``local`` for this machine's.

    Raises:
        UsageError: the zone does not exist.
    """
    offset = _OFFSETS.fullmatch(text.strip())
    if offset:
        return timezone(_offset(offset))
    if text.casefold() in ("local", ""):
        return local_zone()
    try:
        return ZoneInfo(_ZONES.get(text.casefold(), text))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"unknown time zone {text[:40]!r}", "write Europe/Berlin, UTC, +02:00 or local"
        ) from None


def local_zone() -> tzinfo:
    """The zone of this machine, with summer time if known."""
    for name in (os.environ.get("TZ", "").lstrip(":"), _link_of(Path("/etc/localtime"))):
        if name:
            try:
                return ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                continue
    return datetime.now().astimezone().tzinfo or UTC


def _link_of(path: Path) -> str:
    try:
        return str(path.resolve()).partition("zoneinfo/")[2]
    except OSError:
        return ""


def zone_of_heading(text: str) -> tzinfo | None:
    """The zone that a heading names, as in ``Datetime (UTC)``.

    Args:
        text: the whole heading.
    """
    words = re.findall(r"[a-z]+", text.casefold())
    return next((ZoneInfo(_ZONES[word]) for word in words if word in _ZONES), None)


def offsets_s(
    table: Table,
    name: str,
    naive_s: Floats,
    good: NDArray[np.intp],
    zone: tzinfo,
    *,
    asked: bool,
) -> Floats:
    """Offsets of local time from UTC; in the repeated hour by the order of rows.

    Args:
        table: where the times are from.
        name: of their column.
        naive_s: (n,) local time in seconds since 1970, as if it were UTC; NaN where there is none.
        good: positions of those that are there.
        zone: of all of them.
        asked: whether the user has named it.

    Returns:
        (n,) seconds.

    Raises:
        JoulelabError: there was no such time in the zone that the user has named.
    """
    offsets = np.zeros(len(naive_s))
    hours = np.floor(naive_s[good] / (HOUR_S / 4))  # no zone changes within a quarter of an hour
    first_of = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
    early = np.empty(len(good))
    late = np.empty(len(good))
    for start, end in pairwise([*first_of.tolist(), len(good)]):
        moment = _naive(float(naive_s[good[start]]))
        early[start:end] = _utc_offset_s(moment, zone, fold=0)
        late[start:end] = _utc_offset_s(moment, zone, fold=1)
        if asked and early[start] < late[start]:
            raise table.error(
                f"{moment:%Y-%m-%d %H:%M} does not exist in {zone}: summer time began",
                "name the zone in which the times were written",
                int(good[start]),
                name,
            )
    chosen = np.minimum(early, late)
    for begin, stop in _runs(early > late):
        chosen[begin:stop] = _twice_hour(naive_s[good], early, late, begin, stop)
    offsets[good] = chosen
    return offsets


def _runs(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _twice_hour(naive_s: Floats, early: Floats, late: Floats, start: int, end: int) -> Floats:
    """Offsets within a repeated hour: summer time until the clock goes back.

    If it does not go back within the rows: summer time if the row before the hour is close, else
    standard time if the row after is.
    """
    # Rows an hour apart repeat their time where the clock goes back.
    hourly = len(naive_s) > 1 and float(np.median(np.diff(naive_s))) > HOUR_S / 2
    back = np.flatnonzero(np.diff(naive_s[start:end]) < (1.0 if hourly else -HOUR_S / 4))
    offsets = early[start:end].copy()
    if len(back):
        offsets[back[0] + 1 :] = late[start + back[0] + 1 : end]
        return offsets
    before_s = naive_s[start] - naive_s[start - 1] if start else math.inf
    after_s = naive_s[end] - naive_s[end - 1] if end < len(naive_s) else math.inf
    return late[start:end].copy() if after_s < before_s else offsets


def unnamed_changes(
    naive_s: Floats, good: NDArray[np.intp], offsets: Floats
) -> tuple[Floats, list[str]]:
    """Jumps of an hour where some zone changes, which the assumed zone does not explain.

    Args:
        naive_s: (n,) as for `offsets_s`.
        good: likewise.
        offsets: (n,) from `offsets_s`.

    Returns:
        (n,) offsets that explain them, and a sentence about each.
    """
    steps = np.diff((naive_s - offsets)[good])
    usual_s = float(np.percentile(np.abs(steps), 50, method="lower")) if len(steps) else 0.0
    # Rows of several devices come in bursts: the time between bursts is the usual one here.
    longest_s = float(np.percentile(np.abs(steps), 95)) if len(steps) else 0.0
    tolerance_s = min(max(3 * longest_s, 1.0), HOUR_S / 4)
    remarks = []
    offsets = offsets.copy()
    # If rows are an hour apart, a step of an hour is not a jump.
    jumps = np.abs(np.abs(steps - usual_s) - HOUR_S) <= tolerance_s
    for position in np.flatnonzero(jumps).tolist():
        before = _naive(float(naive_s[good[position]]))
        after = _naive(float(naive_s[good[position + 1]]))
        change_s = HOUR_S if steps[position] > usual_s else -HOUR_S
        zone = _changes_there(before, after, change_s)
        if zone:
            offsets[good[position + 1 :]] += change_s
            kind = "begins" if change_s > 0 else "ends"
            remarks.append(
                f"times jump by an hour at {after:%Y-%m-%d %H:%M}, where summer time {kind} in "
                f"{zone}: accepted"
            )
    return offsets, remarks


@cache
def _changes_there(before: datetime, after: datetime, change_s: float) -> str:
    """A zone whose clocks change by exactly this between two times, or nothing."""
    likely = ("Europe/Berlin", "Europe/London", "America/New_York", "America/Chicago")
    for name in dict.fromkeys((*likely, *sorted(available_timezones()))):
        zone = ZoneInfo(name)
        fold = 0 if change_s > 0 else 1
        later_s = _utc_offset_s(after, zone, fold=fold)
        # A moment just before, of the same side, tells the change from one elsewhere that day.
        if later_s - _utc_offset_s(before, zone, fold=0) == change_s:
            return name
    return ""


def _naive(seconds: float) -> datetime:
    return datetime(1970, 1, 1) + timedelta(seconds=seconds)


def _utc_offset_s(moment: datetime, zone: tzinfo, *, fold: int) -> float:
    offset = moment.replace(tzinfo=zone, fold=fold).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


def _offset(match: re.Match[str]) -> timedelta:
    size = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -size if match[1] == "-" else size


def offset_s(text: str) -> float:
    """Seconds from UTC of an offset such as ``+01:00``, or of a zone such as ``CET``.

    Args:
        text: ``+HH:MM``, ``-HHMM``, or a key of `ABBREVIATED_H`.
    """
    match = _OFFSETS.fullmatch(text)
    if match is None:
        return HOUR_S * ABBREVIATED_H[text.casefold()]
    return _offset(match).total_seconds()
