"""The figure of a power trace: watts over time, a line a domain.

::

    few samples     one line, in steps: a value stands until the next one, as it is integrated
    many samples    a band from the lowest to the highest of each span of time, and its mean
    none            a gap; what is unknown is not zero, nor what it was before
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from joulelab import formats
from joulelab.energy.figure import longest_step_s
from joulelab.energy.sample_buffer import Floats
from joulelab.errors import TraceError, UsageError
from joulelab.present.axes import Axis
from joulelab.present.curve_plot import curves
from joulelab.present.panels import Panel
from joulelab.present.style import write

MOST_STEPS = 3000
"""More samples than that cannot be distinguished in the width of a page."""
COLUMNS = 700
TIME_UNITS = ((3 * 3600.0, 3600.0, "h"), (600.0, 60.0, "min"), (0.0, 1.0, "s"))
"""From how many seconds on a unit is used, seconds in it, and its name."""


@dataclass(frozen=True)
class _Line:
    """One domain by one source.

    Attributes:
        domain: which.
        source: by which means.
        counter: whether its power is the mean since the sample before.
        times_s: (n,) in order.
        power_w: (n,), NaN where unknown.
    """

    domain: str
    source: str
    counter: bool
    times_s: Floats
    power_w: Floats

    @property
    def known(self) -> bool:
        """Whether there is anything to draw."""
        return not bool(np.isnan(self.power_w).all())

    @property
    def steps(self) -> tuple[Floats, Floats]:
        """How long each value stood, and the value: (n - 1,) seconds and watts."""
        return np.diff(self.times_s), self.power_w[1:] if self.counter else self.power_w[:-1]

    @property
    def mean_w(self) -> float | None:
        """Mean power over the time in which it is known."""
        steps_s, stood = self.steps
        known = ~np.isnan(stood)
        total_s = float(steps_s[known].sum())
        return float(np.dot(stood[known], steps_s[known])) / total_s if total_s > 0 else None


def power_trace(columns: Mapping[str, Any], title: str = "") -> Figure:
    """Power by domain over time.

    Where a domain has a counter and power, power is drawn: it is finer. Of several channels of
    power the first is drawn, and of a counter the mean power since the sample before.

    Args:
        columns: as of `joulelab.energy.summary.trace_columns`.
        title: above the figure.
    """
    lines = _lines(columns)
    ends_s = [float(line.times_s[-1]) for line in lines]
    starts_s = [float(line.times_s[0]) for line in lines]
    length_s = max(ends_s, default=0.0) - min(starts_s, default=0.0)
    unit_s, unit = next((size, name) for least, size, name in TIME_UNITS if length_s >= least)
    limits = (min(starts_s) / unit_s, max(ends_s) / unit_s) if length_s > 0 else None
    parts = [_points(line, unit_s) for line in lines]
    nothing = pd.DataFrame(math.nan, [0], ["time", "power_w", "low_w", "high_w"])
    return curves(
        [Panel(pd.concat(parts) if parts else nothing, title, height=0.8)],
        Axis("time", f"time since the opening ({unit})", limits=limits),
        Axis(
            "power_w",
            "power (W)",
            "low_w" if parts else "",
            "high_w" if parts else "",
            from_zero=True,
        ),
        step={
            str(rows["line"].iloc[0]): "pre" if line.counter else "post"
            for line, rows in zip(lines, parts, strict=True)
            if len(line.times_s) <= MOST_STEPS
        },
    )


def write_power_trace(path: Path, columns: Mapping[str, Any], title: str = "") -> None:
    """Draw a power trace into a file, as PNG, SVG or PDF by the suffix of its name.

    Args:
        path: output file.
        columns: as for `power_trace`.
        title: above the figure.

    Raises:
        TraceError: another suffix, or the file cannot be written.
    """
    try:
        write(power_trace(columns, title), path)
    except UsageError as error:
        raise TraceError(str(error.message), error.hint) from error


def _lines(columns: Mapping[str, Any]) -> list[_Line]:
    """The channel of each domain that is drawn."""
    best: dict[str, _Line] = {}
    for (domain, source), rows in pd.DataFrame(columns).groupby(["domain", "source"], sort=False):
        ordered = rows.sort_values("t_s", kind="stable")
        times_s, power_w = ordered["t_s"].to_numpy(float), ordered["power_w"].to_numpy(float)
        counter = bool(ordered["energy_j"].notna().any())
        # A counter goes on counting over a hole: what it drew in it is known on average.
        shown = (times_s, power_w) if counter else _with_holes(times_s, power_w)
        line = _Line(str(domain), str(source), counter, *shown)
        other = best.get(line.domain)
        if other is None or (line.known, not line.counter) > (other.known, not other.counter):
            best[line.domain] = line
    return list(best.values())


def _with_holes(times_s: Floats, power_w: Floats) -> tuple[Floats, Floats]:
    """Samples of power; times that were not sampled are gaps."""
    steps_s = np.diff(times_s)
    if not (steps_s > 0).any():
        return times_s, power_w
    usual_s, length_s = float(np.median(steps_s[steps_s > 0])), float(times_s[-1] - times_s[0])
    before = np.flatnonzero(steps_s > longest_step_s(usual_s, length_s))
    return (
        np.insert(times_s, before + 1, times_s[before]),
        np.insert(power_w, before + 1, math.nan),
    )


def _points(line: _Line, unit_s: float) -> pd.DataFrame:
    """A line as it is drawn: its samples, or of very many the columns of `_columns`."""
    told = f"mean {formats.watts(line.mean_w)}" if line.known else "not readable"
    label = f"{line.domain} ({line.source}), {told}"
    times_s, power_w = line.times_s, line.power_w
    low_w = high_w = power_w
    if len(times_s) > MOST_STEPS:
        edges_s, low_w, power_w, high_w = _columns(line)
        times_s = (edges_s[:-1] + edges_s[1:]) / 2
        within = formats.duration(float(edges_s[1] - edges_s[0]))
        label += f"; band: lowest to highest within {within}"
    values = {"time": times_s / unit_s, "power_w": power_w, "low_w": low_w, "high_w": high_w}
    return pd.DataFrame(values).assign(line=label, marked=False)


def _columns(line: _Line) -> tuple[Floats, Floats, Floats, Floats]:
    """A long trace in as many columns as can be distinguished.

    Returns:
        Edges in seconds, (columns + 1,); and the lowest, the mean over time and the highest power
        in each column, NaN where nothing is known.
    """
    steps_s, stood = line.steps
    begins = line.times_s[:-1]
    edges = np.linspace(line.times_s[0], line.times_s[-1], COLUMNS + 1)
    column = np.clip(np.searchsorted(edges, begins, "right") - 1, 0, COLUMNS - 1)
    known = ~np.isnan(stood) & (steps_s > 0)
    column, stood, steps_s = column[known], stood[known], steps_s[known]
    low, high = np.full(COLUMNS, math.inf), np.full(COLUMNS, -math.inf)
    np.minimum.at(low, column, stood)
    np.maximum.at(high, column, stood)
    seconds = np.bincount(column, steps_s, COLUMNS)
    joules = np.bincount(column, steps_s * stood, COLUMNS)
    mean = np.divide(joules, seconds, out=np.full(COLUMNS, math.nan), where=seconds > 0)
    empty = np.isnan(mean)
    return edges, np.where(empty, math.nan, low), mean, np.where(empty, math.nan, high)
