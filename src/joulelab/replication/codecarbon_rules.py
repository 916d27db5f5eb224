"""Which of CodeCarbon's readings are cumulative, decided row by row.

A row i has a duration d_i, an energy e_i, and a time t_i at which it was written; j is the previous
row of the same tracker. This is what CodeCarbon 3.3.2 was observed to write::

    called                          duration of a row          energy of a row
    start, flush, flush, stop       since start                since start
    start, stop, start, stop        since the last start       since the first start
    start_task, flush, stop_task    since the last start_task  since the first start_task
    task file (task_name)           of the task                of the task

So a row that is neither the first of its tracker nor a task can be read in three ways::

    GOES_ON    took e_i - e_j in d_i - d_j     needs e_i >= e_j and d_i >= d_j
    TIME_ANEW  took e_i - e_j in d_i           needs e_i >= e_j and d_i <= t_i - t_j
    ITS_OWN    took e_i in d_i                 needs              d_i <= t_i - t_j

Of the possible ones, those remain whose mean power is near the power stated in the row (else that
of the previous row); of these, those whose time is exactly t_i - t_j. If several remain,
unambiguous rows of the same tracker decide; if there are none, CodeCarbon's rule applies: energy is
cumulative within a run_id. Without a run_id, or in a table that may be of unnamed tasks, the row is
refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

STAMP_SLACK_S = 1.2
"""Timestamps are truncated to whole seconds, and rows are written slightly after their reading."""
HOUR_S = 3600.0
NEAR = math.log(1.5)
"""Tolerance between a mean power and the stated one, and between two equally plausible powers."""
NEAR_BEFORE = math.log(3.0)
"""The same tolerance if only the power of the previous row is known."""
MOST_TIMES = 20.0
"""Factor by which a computer's power may rise from one row to the next."""
SAME = 1e-9
APART = "import them separately, or give each tracker's rows their own run_id"


class Rule(StrEnum):
    """Interpretation of a row."""

    FIRST = "first"
    GOES_ON = "goes on"
    TIME_ANEW = "time anew"
    ITS_OWN = "its own"
    TASK = "task"


@dataclass(frozen=True)
class Reading:
    """The readings of a row.

    Attributes:
        duration_s: d.
        energy_j: e.
        stated_w: power stated in the row itself; ``None`` if there is none.
        at_s: t, seconds since 1970.
        has_offset: whether t was written with its offset, so that clock changes do not affect it.
    """

    duration_s: float
    energy_j: float
    stated_w: float | None
    at_s: float
    has_offset: bool


class UndecidedError(Exception):
    """An ambiguous row: its position, the reason, and a hint."""

    def __init__(self, place: int, reason: str, remedy: str) -> None:
        super().__init__(place, reason, remedy)
        self.place = place
        self.reason = reason
        self.remedy = remedy


def rules(readings: Sequence[Reading], *, by_design: bool) -> list[Rule]:
    """Interpret each row of a tracker.

    Args:
        readings: in order of writing.
        by_design: whether undecided rows follow CodeCarbon's own rule and are cumulative.

    Raises:
        UndecidedError: a row has no interpretation, or several.
    """
    found: list[Rule] = [Rule.FIRST]
    possible: list[list[Rule]] = [[Rule.FIRST]]
    power_w = _ratio(readings[0].energy_j, readings[0].duration_s)
    for place in range(1, len(readings)):
        before, row = readings[place - 1], readings[place]
        left = _possible(place, before, row, power_w)
        possible.append(left)
        if len(left) == 1:
            power_w = _power_w(left[0], before, row) or power_w
    certain = {left[0] for left in possible[1:] if len(left) == 1}
    for place, left in enumerate(possible[1:], 1):
        found.append(_chosen(place, left, certain, by_design=by_design))
    return found


def _chosen(place: int, left: Sequence[Rule], certain: set[Rule], *, by_design: bool) -> Rule:
    if len(left) == 1:
        return left[0]
    if certain == {Rule.ITS_OWN} and Rule.ITS_OWN in left:
        return Rule.ITS_OWN
    goes_on = [rule for rule in left if rule is not Rule.ITS_OWN]
    if goes_on and Rule.ITS_OWN not in certain and (certain or by_design):
        return goes_on[0]
    raise UndecidedError(
        place, "it may continue from the previous row, or start a new count", APART
    )


def _possible(place: int, before: Reading, row: Reading, power_w: float | None) -> list[Rule]:
    """The possible interpretations of a row, most likely first."""
    grown_s = row.duration_s - before.duration_s
    apart_s = _apart_s(before, row)
    if apart_s is not None and apart_s < 0 and abs(grown_s - apart_s) <= STAMP_SLACK_S:
        raise UndecidedError(
            place,
            "it was written before the row above it",
            "sort the rows by the time of writing, oldest first",
        )
    known = apart_s is not None and apart_s >= -STAMP_SLACK_S
    exact = known and apart_s is not None and abs(grown_s - apart_s) <= STAMP_SLACK_S
    fits = not known or apart_s is None or row.duration_s <= apart_s + STAMP_SLACK_S
    rises = row.energy_j >= before.energy_j * (1 - SAME)
    ways = []
    sound = _sound(before, row, power_w)
    if grown_s >= 0 and sound and (rises or (exact and not fits)):
        ways.append(Rule.GOES_ON)
    if rises and fits:
        ways.append(Rule.TIME_ANEW)
    if fits:
        ways.append(Rule.ITS_OWN)
    if not ways:
        raise UndecidedError(
            place,
            "the duration falls, and is longer than the time since the previous row"
            if grown_s < 0
            else "it does not continue from the previous row, and is longer than the time since",
            f"rows of different trackers are mixed: {APART}",
        )
    ways = _near(ways, before, row, power_w)
    if known and apart_s is not None and before.duration_s > 2 * STAMP_SLACK_S:
        just = [way for way in ways if abs(_time_s(way, before, row) - apart_s) <= STAMP_SLACK_S]
        ways = just or ways
    # The energy is the same in all other cases.
    return ways if Rule.ITS_OWN in ways else ways[:1]


def _sound(before: Reading, row: Reading, power_w: float | None) -> bool:
    """Whether the energy added since the previous row can have been used in that time."""
    added_j, grown_s = row.energy_j - before.energy_j, row.duration_s - before.duration_s
    known_w = max(row.stated_w or 0.0, power_w or 0.0)
    return added_j <= 0 or not known_w or added_j <= MOST_TIMES * known_w * grown_s


def _near(ways: list[Rule], before: Reading, row: Reading, power_w: float | None) -> list[Rule]:
    """The interpretations whose mean power is close to the known one, if any is."""
    wanted_w = row.stated_w or power_w
    if not wanted_w or len(ways) == 1:
        return ways
    off = {way: _off(_power_w(way, before, row), wanted_w) for way in ways}
    least = min(off.values())
    if least > (NEAR if row.stated_w else NEAR_BEFORE):
        return ways
    near = [way for way in ways if off[way] <= least + NEAR]
    if Rule.TIME_ANEW in near and not row.stated_w:
        # The power of the previous row is not enough to say that time was reset.
        near = [way for way in ways if way in near or way is Rule.GOES_ON]
    return near


def _apart_s(before: Reading, row: Reading) -> float | None:
    """The time from one row to the next; ``None`` if the clock was set back for an unknown reason.

    Local time without an offset goes back by an hour when summer time ends.
    """
    apart_s = row.at_s - before.at_s
    if apart_s >= -STAMP_SLACK_S:
        return apart_s
    grown_s = row.duration_s - before.duration_s
    if abs(grown_s - apart_s) <= STAMP_SLACK_S:
        return apart_s
    put_back = not before.has_offset and not row.has_offset and apart_s + HOUR_S >= 0
    return apart_s + HOUR_S if put_back else None


def _time_s(way: Rule, before: Reading, row: Reading) -> float:
    return row.duration_s - (before.duration_s if way is Rule.GOES_ON else 0.0)


def _power_w(way: Rule, before: Reading, row: Reading) -> float | None:
    energy_j = row.energy_j - (0.0 if way is Rule.ITS_OWN else before.energy_j)
    return _ratio(energy_j, _time_s(way, before, row))


def _ratio(energy_j: float, seconds: float) -> float | None:
    """A mean power; ``None`` if it is not possible."""
    return energy_j / seconds if seconds > 0 and energy_j > 0 else None


def _off(power_w: float | None, wanted_w: float) -> float:
    """Distance of a power from the wanted one, as a logarithm."""
    return abs(math.log(power_w / wanted_w)) if power_w else math.inf
