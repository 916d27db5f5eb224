"""The guard of every counter of energy: what it has counted, through wraps, and not over a reset.

::

    range   |--------------.------.--------|      a step back that the domain can have drawn in
                          last   wrap -> value    that time is a wrap and is undone;
    range   |----.---------------.---------|      one that it cannot is a reset: what the counter
               value           last               lost is unknown, for good

A counter is believed for steps of at most ``limit_w * HEADROOM`` times the time since the sample
before, and for `LEAST_STEP_J` whatever the time: `limit_w` is what the domain can draw, its power
limit where it says one, else `PACKAGE_LIMIT_W`. So it does not matter where in its range a counter
was when it began anew, and a jump ahead is not energy either.

Whoever reads a counter of ``range_j`` joules more seldom than every ``range_j / limit_w`` seconds
cannot know how often it has wrapped in between. That is not a fault of a sample, and the guard says
nothing of it: `joulelab.energy.standstill` looks for such gaps in windows, by the same figures in
the channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from joulelab.energy.meter import Sample

PACKAGE_LIMIT_W = 1500.0
"""More than any processor package or accelerator card draws."""
SOCKET_LIMIT_W = 4000.0
"""What a socket gives: 16 A at 250 V."""
_BEHIND_A_SOCKET = ("wall", "psys")
LEAST_STEP_J = 100.0
"""So much any counter may move at once: some tick late, at full power."""
HEADROOM = 1.2
"""A device at its power limit overshoots it, and its counter may be 13 % off."""


def highest_possible_w(domain: str) -> float:
    """More than a domain draws of which nobody says how much that is, in watts.

    >>> highest_possible_w("gpu:0"), highest_possible_w("wall")
    (1500.0, 4000.0)
    """
    behind_a_socket = domain.partition(":")[0] in _BEHIND_A_SOCKET
    return SOCKET_LIMIT_W if behind_a_socket else PACKAGE_LIMIT_W


class Counter:
    """What a counter of energy says, unwrapped; once it was reset, why it says nothing more.

    Args:
        name: of the counter, for its reasons.
        limit_w: the highest power of what it counts, in watts; a function that says it now, where
            it can be set. That is asked when a step looks impossible.
        range_j: after how many joules it begins again at 0; infinite where it never does.
        tick_s: for how long its value may have stood before it was read, in seconds.
        step_j: its smallest step in joules.
    """

    def __init__(
        self,
        name: str,
        *,
        limit_w: float | Callable[[], float] = PACKAGE_LIMIT_W,
        range_j: float = math.inf,
        tick_s: float = 0.0,
        step_j: float = 0.0,
    ) -> None:
        self._name = name
        self._limit_now = limit_w if callable(limit_w) else None
        self._limit_w = limit_w() if callable(limit_w) else limit_w
        self._range_j = range_j
        self._tick_s = tick_s
        self._step_j = step_j
        self._last: tuple[float, float] | None = None
        self._wrapped_j = 0.0
        self._lost = ""

    def take(self, value_j: float, at_s: float) -> Sample:
        """Take a new value.

        Args:
            value_j: what the counter says, in joules.
            at_s: the moment on the monotonic clock.

        Returns:
            The value with all wraps since the first one added, which never falls. Without a value,
            and from then on always, where it was reset: its reason says from what to what.
        """
        if self._lost:
            return Sample(None, self._lost)
        if not math.isfinite(value_j) or value_j < 0:
            return Sample(None, f"{self._name} says {value_j:g} J, which is impossible")
        last_j, last_s = self._last or (value_j, at_s)
        step_j = value_j - last_j
        wraps = step_j < 0 and math.isfinite(self._range_j)
        if wraps:
            step_j += self._range_j
        passed_s = at_s - last_s
        if step_j > self._allowed_j(passed_s) and self._limit_now is not None:
            self._limit_w = max(self._limit_w, self._limit_now())
        if step_j < 0 or step_j > self._allowed_j(passed_s):
            self._lost = self._reset(last_j, value_j, passed_s)
            return Sample(None, self._lost)
        if wraps:
            self._wrapped_j += self._range_j
        self._last = (value_j, at_s)
        return Sample(self._wrapped_j + value_j)

    def _allowed_j(self, passed_s: float) -> float:
        drawn_j = HEADROOM * self._limit_w * (passed_s + self._tick_s)
        return max(LEAST_STEP_J, drawn_j) + self._step_j

    def _reset(self, last_j: float, value_j: float, passed_s: float) -> str:
        how = "fell" if value_j < last_j else "jumped"
        return (
            f"{self._name} {how} from {last_j:.6g} to {value_j:.6g} J within {passed_s:.2g} s, "
            f"which {self._limit_w:.4g} W cannot explain: it was restarted or reset, and lost an "
            "unknown amount"
        )
