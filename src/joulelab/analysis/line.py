"""A line between two instruments, whichever way it was found, and what it says of them.

::

    measured = intercept + slope * reference

A slope whose interval leaves out 1 is a **proportional** error: a factor. An intercept whose
interval leaves out 0 is a **constant** error: a part of the machine that one of the two does not
see, or idle power that one of them subtracts. Only the first can be mended by a calibration factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy.typing as npt

from joulelab.analysis.rounding import constant

NAN = math.nan


@dataclass(frozen=True)
class Line:
    """A line with the intervals of its slope and intercept.

    Attributes:
        method: by which it was found.
        slope: NaN where `reason` says why.
        slope_low: lower end of its interval; NaN where so few runs give none.
        slope_high: upper end.
        intercept: in the unit of the readings.
        intercept_low: lower end of its interval.
        intercept_high: upper end.
        linearity_p: of the hypothesis that the points lie about a straight line; NaN without test.
        n: how many runs.
        reason: why there is no line; empty where there is one.

    >>> line = Line("Deming", 0.5, 0.45, 0.55, 3.0, -2.0, 8.0, NAN, 20, "")
    >>> line.proportional, line.constant
    (True, False)
    """

    method: str
    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    intercept_low: float
    intercept_high: float
    linearity_p: float
    n: int
    reason: str

    @property
    def proportional(self) -> bool | None:
        """Whether the slope differs from 1; None without an interval."""
        if math.isnan(self.slope_low) or math.isnan(self.slope_high):
            return None
        return not self.slope_low <= 1 <= self.slope_high

    @property
    def constant(self) -> bool | None:
        """Whether the intercept differs from 0; None without an interval."""
        if math.isnan(self.intercept_low) or math.isnan(self.intercept_high):
            return None
        return not self.intercept_low <= 0 <= self.intercept_high


def no_line(method: str, n: int, fewest: int, reason: str = "") -> Line:
    """A line that could not be drawn.

    Args:
        method: by which it was sought.
        n: how many runs there are.
        fewest: how many it needs, for the reason.
        reason: another one.
    """
    why = reason or f"{n} run{'s' if n != 1 else ''}; a line needs {fewest}"
    return Line(method, NAN, NAN, NAN, NAN, NAN, NAN, NAN, n, why)


def unvaried(reference: npt.ArrayLike, measured: npt.ArrayLike) -> str:
    """Why readings have neither a line nor a correlation; empty where both instruments vary.

    Args:
        reference: readings of the one, shape (n,).
        measured: of the other.

    >>> unvaried([1.0, 2.0, 3.0], [0.1 + 0.2, 0.3, 0.3])
    'the instrument reads the same in all runs'
    """
    same = [constant(reference), constant(measured)]
    if all(same):
        return "both instruments read the same in all runs"
    which = {0: "the reference", 1: "the instrument"}
    return f"{which[same.index(True)]} reads the same in all runs" if any(same) else ""
