"""The guard of energy counters: it corrects wraps and detects resets.

::

    range   |--------------.------.--------|      a step back that the domain can have drawn in
                          last   wrap -> value    that time is a wrap and is undone;
    range   |----.---------------.---------|      one that it cannot is a reset: what the counter
               value           last               lost is unknown, for good

Steps are accepted up to ``limit_w * HEADROOM`` times the time since the last sample, and up to
`LEAST_STEP_J` in any time. `limit_w` is the highest power of the domain: its power limit if known,
else `PACKAGE_LIMIT_W`. So resets are detected wherever in its range the counter was, and jumps
ahead do not count as energy.

If a counter of ``range_j`` joules is read less often than every ``range_j / limit_w`` seconds, the
number of wraps is unknown. The guard does not check that: `joulelab.energy.standstill` looks for
such gaps in windows, with the same numbers of the channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from joulelab.energy.meter import Sample

PACKAGE_LIMIT_W = 1500.0
"""Above the power of any processor package or accelerator card."""
SOCKET_LIMIT_W = 4000.0
"""Maximum of a wall socket: 16 A at 250 V."""
_BEHIND_A_SOCKET = ("wall", "psys")
LEAST_STEP_J = 100.0
"""Step always accepted: some counters tick late, at full power."""
HEADROOM = 1.2
"""A device can overshoot its power limit, and its counter may be 13 % off."""


def highest_possible_w(domain: str) -> float:
    """Upper bound of the power of a domain without a known limit, in watts.

    >>> highest_possible_w("gpu:0"), highest_possible_w("wall")
    (1500.0, 4000.0)
    """
    behind_a_socket = domain.partition(":")[0] in _BEHIND_A_SOCKET
    return SOCKET_LIMIT_W if behind_a_socket else PACKAGE_LIMIT_W


class Counter:
    """An energy counter without wraps; after a reset it only gives the reason.

    Args:
        name: of the counter, for its reasons.
        limit_w: the highest power of the domain in watts, or a function that returns the current
            limit; called when a step looks impossible.
        range_j: joules after which it wraps to 0; infinite if never.
        tick_s: how old its value may be when read, in seconds.
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
            value_j: reading of the counter in joules.
            at_s: time on the monotonic clock.

        Returns:
            The value with all wraps added, which never falls. After a reset all samples have no
            value but a reason.
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
