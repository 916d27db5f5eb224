"""Carbon intensity of electricity: a constant, or a series over time.

Intensity is grams of carbon dioxide equivalent per kilowatt-hour, g/kWh. A series is a step
function: a row holds until the next row, but at most for twice the usual step, so gaps in the data
stay gaps; the last row holds for one usual step. Elsewhere the intensity is unknown.

::

    rows           10:00  11:00  12:00                16:00  17:00
    stands for     |------|------|-------------|      |------|------|
    unknown   .....                            |......|             |.....
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from joulelab.errors import UsageError

if TYPE_CHECKING:
    from joulelab.energy.trace import Series  # imports numpy, which this module avoids

LONGEST_HOLD = 2.0
"""Number of usual steps for which a row holds if the next one is late."""


Profile: TypeAlias = "tuple[Series, Series]"
"""Course of energy: seconds since the start, (n,), and cumulative joules, (n,)."""


class Span(NamedTuple):
    """A span of time with one intensity.

    Attributes:
        start_s: seconds since the epoch.
        end_s: seconds since the epoch.
        g_per_kwh: intensity, or ``None`` where it is unknown.
        estimated: whether its source has estimated it.
    """

    start_s: float
    end_s: float
    g_per_kwh: float | None
    estimated: bool = False


@dataclass(frozen=True)
class Intensity:
    """A constant carbon intensity.

    Attributes:
        g_per_kwh: grams of CO2 equivalent per kilowatt-hour.
        place: for which place, in words.
        source: source of the number, in words.
        year: year of the data; ``None`` if the source does not state it.
        remark: what it includes and excludes, if the source says so.

    Raises:
        UsageError: the number is negative or not finite.
    """

    g_per_kwh: float
    place: str
    source: str
    year: int | None = None
    remark: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.g_per_kwh) and self.g_per_kwh >= 0):
            raise UsageError(
                f"a carbon intensity of {self.g_per_kwh:g} g/kWh is not possible",
                "write a number of at least 0, in g/kWh",
            )


@dataclass(frozen=True)
class IntensitySeries:
    """A carbon intensity over time, in steps.

    Attributes:
        times_s: start of each row, seconds since the epoch, (rows,), increasing.
        g_per_kwh: intensity from then on, (rows,); ``None`` where it is unknown.
        place: for which place, in words.
        source: source of the numbers, in words.
        remark: a note for readers of the result.
        estimated: which rows their source has estimated, (rows,); empty where none is.

    Raises:
        UsageError: there are fewer than two rows, they do not increase, or a number is impossible.
    """

    times_s: tuple[float, ...]
    g_per_kwh: tuple[float | None, ...]
    place: str
    source: str
    remark: str = ""
    estimated: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if len(self.times_s) != len(self.g_per_kwh):
            raise UsageError(
                f"{self.source}: {len(self.times_s)} times, {len(self.g_per_kwh)} intensities"
            )
        if len(self.times_s) < 2:  # noqa: PLR2004 - a step has two ends
            raise UsageError(
                f"{self.source}: a series needs at least two rows, not {len(self.times_s)}",
                "for a constant intensity pass the number itself, in g/kWh",
            )
        if any(later <= earlier for earlier, later in pairwise(self.times_s)):
            raise UsageError(f"{self.source}: the times of a series must increase")
        if any(g is not None and not (math.isfinite(g) and g >= 0) for g in self.g_per_kwh):
            raise UsageError(f"{self.source}: an intensity is negative or not finite")

    @cached_property
    def step_s(self) -> float:
        """The usual step: the median of the times between two rows, in seconds."""
        return statistics.median(later - earlier for earlier, later in pairwise(self.times_s))

    @property
    def start_s(self) -> float:
        """Start of the series, seconds since the epoch."""
        return self.times_s[0]

    @property
    def end_s(self) -> float:
        """End of the series, seconds since the epoch."""
        return self.times_s[-1] + self.step_s

    def estimated_share(self, start_s: float, end_s: float) -> float:
        """The share of a time span with estimated intensity.

        Args:
            start_s: seconds since the epoch.
            end_s: seconds since the epoch.
        """
        if not self.estimated:
            return 0.0
        if end_s <= start_s:
            return float(self._held(start_s)[2])
        spans = self.spans(start_s, end_s)
        marked_s = sum(span.end_s - span.start_s for span in spans if span.estimated)
        return marked_s / (end_s - start_s)

    def at(self, time_s: float) -> float | None:
        """The intensity at a time in g/kWh, ``None`` where unknown.

        Args:
            time_s: seconds since the epoch.
        """
        return self._held(time_s)[0]

    def spans(self, start_s: float, end_s: float) -> Sequence[Span]:
        """The contiguous steps from `start_s` to `end_s`, unknown ones included.

        Args:
            start_s: seconds since the epoch.
            end_s: seconds since the epoch.
        """
        found = []
        while start_s < end_s:
            g_per_kwh, until_s, estimated = self._held(start_s)
            until_s = min(until_s, end_s)
            found.append(Span(start_s, until_s, g_per_kwh, estimated))
            start_s = until_s
        return found

    def _held(self, time_s: float) -> tuple[float | None, float, bool]:
        """The intensity at a time, until when it holds, and whether it is estimated."""
        index = bisect_right(self.times_s, time_s) - 1
        if index < 0:
            return None, self.times_s[0], False
        is_last = index + 1 == len(self.times_s)
        next_s = math.inf if is_last else self.times_s[index + 1]
        longest_s = self.step_s * (1.0 if is_last else LONGEST_HOLD)
        stands_until_s = min(next_s, self.times_s[index] + longest_s)
        if time_s < stands_until_s:
            marked = bool(self.estimated) and self.estimated[index]
            return self.g_per_kwh[index], stands_until_s, marked
        return None, next_s, False


def mean_intensity(
    intensity: Intensity | IntensitySeries,
    started_at: float | None,
    duration_s: float,
    profile: Profile | None = None,
) -> tuple[float | None, str]:
    """Mean intensity of a window in g/kWh, or ``None`` and the reason.

    The steps of a series are weighted by the share of the energy used in them.

    Args:
        intensity: constant or over time.
        started_at: the opening of the window, seconds since the epoch; a constant needs none.
        duration_s: length of the window in seconds.
        profile: course of the energy over time; ``None`` for uniform. Only its shape matters.

    Raises:
        ValueError: a profile whose two parts differ in length, or whose energy falls.
    """
    if isinstance(intensity, Intensity):
        return intensity.g_per_kwh, ""
    if started_at is None:
        return None, "the intensity changes over time, but the time of the energy use is unknown"
    end_s = started_at + duration_s
    # A window of zero length is a point in time.
    spans = intensity.spans(started_at, end_s) or [
        Span(started_at, started_at, intensity.at(started_at))
    ]
    shares = _shares(spans, started_at, profile)
    mean = 0.0
    for span, share in zip(spans, shares, strict=True):
        if span.g_per_kwh is not None:
            mean += share * span.g_per_kwh
        elif share > 0:
            return None, _unknown(intensity, span)
    return mean, ""


def _shares(spans: Sequence[Span], started_at: float, profile: Profile | None) -> list[float]:
    """The share of each span in the total energy."""
    if profile is None:
        used = [span.end_s - span.start_s for span in spans]
    else:
        times_s, energy_j = profile
        falls = any(after < before for before, after in pairwise(energy_j))
        if not len(times_s) or len(times_s) != len(energy_j) or falls:
            raise ValueError(
                "a profile needs one energy for each time, and its energy must not fall"
            )
        edges = [spans[0].start_s, *(span.end_s for span in spans)]
        drawn = [_drawn_j(times_s, energy_j, edge - started_at) for edge in edges]
        used = [after - before for before, after in pairwise(drawn)]
        if sum(used) <= 0:
            return _shares(spans, started_at, None)
    total = sum(used)
    return [one / total for one in used] if total > 0 else [1 / len(used)] * len(used)


def _drawn_j(times_s: Series, energy_j: Series, at_s: float) -> float:
    """Cumulative joules at a time, linearly interpolated."""
    index = bisect_right(times_s, at_s)
    if index == 0 or index == len(times_s):
        return float(energy_j[0] if index == 0 else energy_j[-1])
    start_s, end_s = times_s[index - 1], times_s[index]
    share = (at_s - start_s) / (end_s - start_s)
    return float(energy_j[index - 1] + share * (energy_j[index] - energy_j[index - 1]))


def moment(time_s: float) -> str:
    """A time in words, in UTC: ``2024-05-01 12:30 UTC``; with seconds if not zero.

    Args:
        time_s: seconds since the epoch.
    """
    at = datetime.fromtimestamp(round(time_s), UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S UTC" if at.second else "%Y-%m-%d %H:%M UTC")


def _unknown(series: IntensitySeries, span: Span) -> str:
    if span.end_s <= series.start_s or span.start_s >= series.end_s:
        known = f"it reaches from {moment(series.start_s)} to {moment(series.end_s)}"
    else:
        known = "it has a gap"
    return f"{series.source}: no intensity for {moment(span.start_s)}; {known}"
