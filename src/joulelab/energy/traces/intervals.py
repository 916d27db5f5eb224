"""Energies as samples: joules of single intervals, and counters that were written as they stand.

::

    begins   |----- J1 -----|----- J2 -----|           |----- J3 -----|
    counter  0              J1          J1 + J2            whole, and nothing in between: a counter
    power    J1/d1          J2/d2          nothing     J3/d3           else power, with its holes
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import numpy as np

from joulelab.energy.sample_buffer import Floats

RANGES_J = (65_536.0, 262_144.0)
"""After so many joules the 32 bits of AMD's and of Intel's processors begin anew."""
LIMIT_W = 1500.0
LEAST_STEP_J = 100.0
HEADROOM = 1.2
MEETING = 0.5
"""Intervals meet where less than this part of one lies between them."""

Kind = Literal["counter", "power"]


def of_intervals(ends_s: Floats, lengths_s: Floats, joules: Floats) -> tuple[Kind, Floats, Floats]:
    """Energies of intervals as a counter where they meet and are all known, else as power.

    Args:
        ends_s: (n,) when each was over, in order.
        lengths_s: (n,).
        joules: (n,), NaN where unknown.

    Returns:
        What it is, the moments, and the values at them.
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
            # What was known stands until its interval is over, and no longer.
            times += [ends_s[at - 1]] * 2
            values += [power_w[at - 1], math.nan]
        times.append(ends_s[at - 1] if goes_on else begins_s[at])
        values.append(power_w[at])
    return "power", np.array([*times, ends_s[-1]]), np.array([*values, power_w[-1]])


def unwrapped(times_s: Floats, joules: Floats) -> tuple[Floats, int, int]:
    """What a counter has counted, through wraps; NaN from a reset on, of which nobody knows.

    A step back is a wrap where what was used is no more than the processor can draw in that time.

    Args:
        times_s: (n,).
        joules: (n,), as they stand there; NaN where there is none.

    Returns:
        The values, how many wraps there were, and the position of the first reset, or -1.
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
