"""When to look at the meters: at most a share of the time is for that.

Looks are paid from a purse. It fills with time, and holds enough for the first steps of a loop::

    purse    CAPACITY_S + SHARE * time - what looks took, at most CAPACITY_S
    look     as soon as it holds what the last look took, or earlier if a budget may be spent
"""

from __future__ import annotations

import math

SHARE = 0.0025
CAPACITY_S = 0.01
"""With the start and the end of a measurement, that is less than half a percent of ten seconds."""


class Looks:
    """Says when the next look is due, on the monotonic clock.

    Attributes:
        due_s: time of the next look; the first is due at once.
    """

    def __init__(self) -> None:
        self.due_s = 0.0
        self._purse_s = CAPACITY_S
        self._paid_s = 0.0
        self._cost_s = 0.0

    def took(self, began_s: float, ended_s: float) -> None:
        """A look was taken.

        Args:
            began_s: when it began.
            ended_s: when it ended.
        """
        filled_s = SHARE * (ended_s - (self._paid_s or began_s))
        self._purse_s = min(self._purse_s + filled_s, CAPACITY_S)
        self._paid_s, self._cost_s = ended_s, ended_s - began_s
        self.pay(self._cost_s)

    def pay(self, cost_s: float) -> None:
        """Pay for what was seen: for the look, or for a logger that has written it."""
        self._purse_s -= cost_s
        missing_s = min(self._cost_s, CAPACITY_S) - self._purse_s
        self.due_s = self._paid_s + max(missing_s, 0.0) / SHARE

    def never(self) -> None:
        """Do not look: another process does."""
        self.due_s = math.inf

    def not_later_than(self, due_s: float) -> None:
        """Look then at the latest."""
        self.due_s = min(self.due_s, due_s)
