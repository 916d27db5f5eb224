"""From rows to samples: order and interval of times, energies of intervals and counters.

::

    begins   |----- J1 -----|----- J2 -----|           |----- J3 -----|
    counter  0              J1          J1 + J2 complete and contiguous: a counter
    power    J1/d1 J2/d2 nothing J3/d3 else power, with gaps
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.sample_buffer import Floats
from joulelab.tabular.table import Table, listed

MOSTLY = 0.9
BURST = 0.1
"""Steps below this share of the usual one are rows written together."""
LONG_STEPS = 0.95
RANGES_J = (65_536.0, 262_144.0)
"""Joules after which the 32-bit counters of AMD's and Intel's processors wrap."""
LIMIT_W = 1500.0
LEAST_STEP_J = 100.0
HEADROOM = 1.2
MEETING = 0.5
"""Intervals are contiguous if the time between them is less than this share of one."""
Kind = Literal["counter", "power"]


def typical_s(times_s: Floats) -> float:
    """The usual interval between a channel's samples, in seconds; 0 if unknown.

    Repeated times and bursts do not shorten it, and gaps do not lengthen it: it is the median of
    the steps that are not much shorter than the long ones.

    Args:
        times_s: (n,), in order.
    """
    steps_s = np.diff(times_s)
    steps_s = steps_s[steps_s > 0]
    if not len(steps_s):
        return 0.0
    long_s = float(np.quantile(steps_s, LONG_STEPS))
    between = steps_s[steps_s >= BURST * long_s]
    # A few long steps are gaps; if they are a third of all, the short ones are bursts.
    usual = between if 3 * len(between) >= len(steps_s) else steps_s
    # The shorter of two steps: the other may be a gap.
    return float(np.quantile(usual, 0.5, method="lower"))


def check_order(table: Table, times_s: Floats) -> None:
    """Refuse times that are missing or go back.

    Args:
        table: the table of the times.
        times_s: (n,) seconds, one per row.

    Raises:
        TraceError: with a hint at the likely cause.
    """
    if not np.isfinite(times_s).all():
        row = int(np.argmin(np.isfinite(times_s)))
        raise table.error("the time is missing", "fix or remove that row", row)
    if len(times_s) > 1 and not np.ptp(times_s):
        raise table.error("all rows have the same time", "name another column: --time COLUMN", 0)
    back = np.flatnonzero(np.diff(times_s) < 0) + 1
    if not len(back):
        return
    hint = (
        "if summer time ended there, name the zone with --timezone; else split the file there and "
        "read each part"
    )
    if name := _recordings(table, back):
        column = table.frame[name]
        hint = (
            f"it holds {column.nunique()} recordings: select one with where={name}=VALUE, of "
            f"{listed(column)}"
        )
    step_s = times_s[back[0] - 1] - times_s[back[0]]
    raise table.error(f"time goes back {step_s:g} s", hint, int(back[0]))


def _recordings(table: Table, back: NDArray[np.intp]) -> str:
    """The column that identifies the recording of a row; empty if there is none.

    It changes where time goes back, and rarely elsewhere; the finest such column is used.
    """
    best, most = "", 0
    for name in table.frame.columns:
        column = table.frame[name]
        changes = np.flatnonzero((column != column.shift()).to_numpy())[1:]
        everywhere = len(changes) == len(column) - 1
        if not everywhere and len(changes) > most and np.isin(changes, back).mean() >= MOSTLY:
            best, most = str(name), len(changes)
    return best


def of_intervals(ends_s: Floats, lengths_s: Floats, joules: Floats) -> tuple[Kind, Floats, Floats]:
    """Energies of intervals as a counter if contiguous and all known, else as power.

    Args:
        ends_s: (n,) end of each interval, in order.
        lengths_s: (n,).
        joules: (n,), NaN where unknown.

    Returns:
        The kind, the times, and the values.
    """
    begins_s = ends_s - lengths_s
    apart_s = begins_s[1:] - ends_s[:-1]
    meet = np.abs(apart_s) <= MEETING * lengths_s[1:]
    if meet.all() and not np.isnan(joules).any():
        return (
            "counter",
            np.concatenate((begins_s[:1], ends_s)),
            np.concatenate(([0.0], np.cumsum(joules))),
        )
    power_w = joules / np.maximum(lengths_s, 1e-9)
    times: list[float] = []
    values: list[float] = []
    for at in range(len(ends_s)):
        goes_on = at and meet[at - 1]
        if at and not (goes_on and math.isfinite(power_w[at])):
            # A value holds until its interval ends.
            times += [ends_s[at - 1]] * 2
            values += [power_w[at - 1], math.nan]
        times.append(ends_s[at - 1] if goes_on else begins_s[at])
        values.append(power_w[at])
    return "power", np.array([*times, ends_s[-1]]), np.array([*values, power_w[-1]])


def unwrapped(times_s: Floats, joules: Floats) -> tuple[Floats, int, int]:
    """The energy of a counter, through wraps; NaN from a reset on.

    A step back is a wrap if the resulting energy is possible for the processor in that time.

    Args:
        times_s: (n,).
        joules: (n,), as in the file; NaN if missing.

    Returns:
        The values, the number of wraps, and the position of the first reset, or -1.
    """
    good = np.flatnonzero(np.isfinite(joules))
    values, wraps = joules.copy(), 0
    for before, at in pairwise(good.tolist()):
        if joules[at] >= joules[before]:
            continue
        allowed_j = max(LEAST_STEP_J, HEADROOM * LIMIT_W * (times_s[at] - times_s[before]))
        steps = [size - joules[before] + joules[at] for size in RANGES_J]
        likely = [
            size for size, step in zip(RANGES_J, steps, strict=True) if 0 <= step <= allowed_j
        ]
        if not likely:
            values[at:] = math.nan
            return values, wraps, int(at)
        values[at:] += likely[0]
        wraps += 1
    return values, wraps, -1
