"""Energy over time of all that counts together: the sum over domains, however each is read.

A counter says joules and no watts, a power sensor the opposite, and each has its own moments. What
they have in common is the energy since the beginning, E(t). It is kept as points and made into
power at even steps h, of which the trapezoid is E again::

    P_i = (E((i+1) h) - E(i h)) / h          at the middle of step i, and at both ends of the trace

Where there are many points, every second one is dropped: that changes no energy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulelab.analysis.prediction.traces import PowerTrace
from joulelab.analysis.rounding import Values

MOST_POINTS = 20_000


class EnergyCurve:
    """Energy since the beginning, as points in the order of time."""

    def __init__(self) -> None:
        self._time_s: Values = np.zeros(1)
        self._energy_j: Values = np.zeros(1)

    @property
    def duration_s(self) -> float:
        """Of all that was added."""
        return float(self._time_s[-1])

    @property
    def energy_j(self) -> float:
        """Of all that was added."""
        return float(self._energy_j[-1])

    def add(
        self,
        duration_s: float,
        energy_j: float,
        moments_s: npt.ArrayLike = (),
        seen_j: npt.ArrayLike = (),
    ) -> None:
        """Go on with a part of which the energy is known, and its course where it was sampled.

        Args:
            duration_s: of the part, above 0.
            energy_j: of the part; the course is stretched to end there.
            moments_s: seconds since the beginning of the part, ascending, shape (points,).
            seen_j: joules since the beginning of the part, the same shape.
        """
        moments = np.clip(np.asarray(moments_s, dtype=float), 0.0, duration_s)
        course = np.asarray(seen_j, dtype=float)
        if len(course) and course[-1] > 0:
            inner = (moments > 0.0) & (moments < duration_s)
            time_s = np.append(moments[inner], duration_s)
            joules = np.append(course[inner] * (energy_j / course[-1]), energy_j)
        else:
            time_s, joules = np.array([duration_s]), np.array([energy_j])
        self._time_s = np.concatenate([self._time_s, self.duration_s + time_s])
        self._energy_j = np.concatenate([self._energy_j, self.energy_j + joules])
        while len(self._time_s) > MOST_POINTS:
            # From the end backwards, so that the latest moment stays.
            self._time_s = np.append(self._time_s[:1], self._time_s[:0:-2][::-1])
            self._energy_j = np.append(self._energy_j[:1], self._energy_j[:0:-2][::-1])

    def trace(self) -> PowerTrace:
        """Power at even steps, with the energy of the curve.

        Raises:
            UsageError: nothing was added.

        >>> curve = EnergyCurve()
        >>> curve.add(2.0, 200.0)
        >>> curve.add(2.0, 600.0, [0.0, 1.0, 2.0], [0.0, 100.0, 300.0])
        >>> trace = curve.trace()
        >>> trace.duration_s, trace.energy_j, trace.power_w.tolist()
        (4.0, 800.0, [100.0, 100.0, 100.0, 200.0, 400.0, 400.0])
        """
        if self.duration_s <= 0:
            return PowerTrace.of([], [])
        step_s = float(np.median(np.diff(self._time_s)))
        steps = int(min(max(round(self.duration_s / step_s), 1), MOST_POINTS))
        edges_s = np.linspace(0.0, self.duration_s, steps + 1)
        power_w = np.diff(np.interp(edges_s, self._time_s, self._energy_j)) / np.diff(edges_s)
        middles_s = (edges_s[1:] + edges_s[:-1]) / 2
        return PowerTrace(
            np.concatenate([edges_s[:1], middles_s, edges_s[-1:]]),
            np.concatenate([power_w[:1], power_w, power_w[-1:]]),
        )
