"""The best start time: when work of known duration causes the least CO2e.

Work at constant power from s to s + d causes CO2e proportional to the mean intensity over that
window::

    G(s) = integral of g over [s, s + d]          G'(s) = g(s + d) - g(s)

A series holds its intensity g in steps, so G' is constant while neither end of the window passes
the edge of a step: G is piecewise linear. Its minimum and maximum are at starts where the window
begins or ends at an edge, or at the first or last start allowed. All of these finitely many
candidates are tried, so the result is exact for the series, not limited to a grid.

::

    g      ‾‾‾‾‾‾|______|‾‾‾‾‾‾|__________________|‾‾‾‾‾
                 ^ window begins at an edge       ^ window ends at an edge

A start whose window includes unknown intensity is not a candidate.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from joulelab.energy.carbon.intensity import IntensitySeries, Span, moment
from joulelab.errors import UsageError

SLACK_S = 1e-3
"""Unknown seconds below this are rounding: floats of the epoch are more exact."""
SAME = 1e-9
"""Relative difference of means below this is rounding; the earliest start wins."""


@dataclass(frozen=True)
class BestStart:
    """The best start before a deadline, compared with other starts.

    Attributes:
        start_s: seconds since the epoch; the earliest of equal ones.
        g_per_kwh: mean intensity over the window of that start.
        at_once_g_per_kwh: mean intensity for the earliest start allowed; ``None`` where unknown.
        worst_start_s: the worst start, seconds since the epoch.
        worst_g_per_kwh: its mean intensity.
        earliest_s: first start that was allowed, seconds since the epoch.
        latest_s: last start that was allowed.
        duration_s: length of the work in seconds.
        unknown_share: share of the allowed starts, 0 to 1, that are unknown because their window
            includes unknown intensity.
        source: of the intensities, in words.
    """

    start_s: float
    g_per_kwh: float
    at_once_g_per_kwh: float | None
    worst_start_s: float
    worst_g_per_kwh: float
    earliest_s: float
    latest_s: float
    duration_s: float
    unknown_share: float
    source: str

    @property
    def saved(self) -> float | None:
        """Share of CO2e saved compared with starting at once; ``None`` where unknown.

        0 if starting at once causes 0 g.
        """
        if self.at_once_g_per_kwh is None:
            return None
        return _saved(self.g_per_kwh, self.at_once_g_per_kwh)

    @property
    def saved_of_worst(self) -> float:
        """Share of CO2e saved compared with the worst start."""
        return _saved(self.g_per_kwh, self.worst_g_per_kwh)


def best_start(
    series: IntensitySeries, duration_s: float, earliest_s: float, deadline_s: float
) -> BestStart:
    """The start with the least CO2e for work at constant power with a deadline.

    Args:
        series: intensity over time.
        duration_s: length of the work in seconds, above 0.
        earliest_s: earliest start, seconds since the epoch.
        deadline_s: latest end, seconds since the epoch.

    Raises:
        UsageError: the duration is impossible or does not fit before the deadline, or no start has
            a known intensity over its whole window.
    """
    _check(duration_s, earliest_s, deadline_s)
    latest_s = max(deadline_s - duration_s, earliest_s)
    course = _Course(series.spans(earliest_s, latest_s + duration_s), earliest_s)
    span_s = latest_s - earliest_s
    offsets = _candidates(course.edges_s, duration_s, span_s)
    windows = [(offset, course.mean(offset, duration_s)) for offset in offsets]
    found = [(offset, mean) for offset, mean in windows if mean is not None]
    if not found:
        raise UsageError(
            f"{series.source}: no start between {moment(earliest_s)} and {moment(latest_s)} has a "
            "known intensity throughout",
            f"it reaches from {moment(series.start_s)} to {moment(series.end_s)}and may have gaps; "
            "choose another time or a shorter duration",
        )
    least = min(mean for _, mean in found)
    most = max(mean for _, mean in found)
    best = next(offset for offset, mean in found if mean <= least + SAME * most)
    worst = next(offset for offset, mean in found if mean >= most - SAME * most)
    return BestStart(
        start_s=earliest_s + best,
        g_per_kwh=least,
        at_once_g_per_kwh=windows[0][1],
        worst_start_s=earliest_s + worst,
        worst_g_per_kwh=most,
        earliest_s=earliest_s,
        latest_s=latest_s,
        duration_s=duration_s,
        unknown_share=course.unknown_share(offsets, duration_s),
        source=series.source,
    )


class _Course:
    """Integrals of an intensity from a first time; times are seconds since then."""

    def __init__(self, spans: Sequence[Span], first_s: float) -> None:
        self.edges_s = [0.0, *(span.end_s - first_s for span in spans)]
        self._rates = [span.g_per_kwh or 0.0 for span in spans]
        self._gaps = [float(span.g_per_kwh is None) for span in spans]
        lengths = [span.end_s - span.start_s for span in spans]
        self._sums = _sums(self._rates, lengths)
        self._unknown_s = _sums(self._gaps, lengths)

    def mean(self, offset_s: float, duration_s: float) -> float | None:
        """The mean over a window in g/kWh; ``None`` where part of it is unknown."""
        end_s = offset_s + duration_s
        unknown_s = self._until(end_s, self._unknown_s, self._gaps)
        unknown_s -= self._until(offset_s, self._unknown_s, self._gaps)
        if unknown_s > SLACK_S:
            return None
        sums = self._until(end_s, self._sums, self._rates)
        return max((sums - self._until(offset_s, self._sums, self._rates)) / duration_s, 0.0)

    def unknown_share(self, offsets: Sequence[float], duration_s: float) -> float:
        """The share of unknown starts; between two candidates all or none are unknown."""
        if len(offsets) == 1:
            return 0.0
        unknown_s = sum(
            later - earlier
            for earlier, later in pairwise(offsets)
            if self.mean((earlier + later) / 2, duration_s) is None
        )
        return unknown_s / (offsets[-1] - offsets[0])

    def _until(self, at_s: float, sums: Sequence[float], rates: Sequence[float]) -> float:
        """The integral of `rates` from 0 to a time."""
        index = min(max(bisect_right(self.edges_s, at_s) - 1, 0), len(rates) - 1)
        return sums[index] + rates[index] * (at_s - self.edges_s[index])


def _candidates(edges_s: Sequence[float], duration_s: float, span_s: float) -> list[float]:
    """Starts whose window begins or ends at an edge, and the first and the last, in order."""
    aligned = (offset for edge in edges_s for offset in (edge, edge - duration_s))
    return sorted({0.0, span_s, *(offset for offset in aligned if 0 < offset < span_s)})


def _sums(rates: Sequence[float], lengths: Sequence[float]) -> list[float]:
    """Integral up to each edge."""
    parts = (rate * length for rate, length in zip(rates, lengths, strict=True))
    return list(accumulate(parts, initial=0.0))


def _saved(g_per_kwh: float, instead_g_per_kwh: float) -> float:
    return 1 - g_per_kwh / instead_g_per_kwh if instead_g_per_kwh > 0 else 0.0


def _check(duration_s: float, earliest_s: float, deadline_s: float) -> None:
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise UsageError(f"a duration of {duration_s:g} s is not possible")
    if not (math.isfinite(earliest_s) and math.isfinite(deadline_s)):
        raise UsageError("the first start and the deadline must be finite")
    if deadline_s - earliest_s < duration_s - SLACK_S:
        raise UsageError(
            f"work of {duration_s:,.0f} s does not finish within {deadline_s - earliest_s:,.0f} s "
            "after its first possible start",
            "give a later deadline or a shorter duration",
        )
