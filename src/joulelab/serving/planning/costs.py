"""Measured costs of a batch by size: seconds, joules above idle, idle power.

    s(b)  seconds that a batch of b requests occupies the server, preparation included
    c(b)  joules of it above idle
    P_0   idle power in watts

Between measured sizes both are piecewise linear; no extrapolation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError


@dataclass(frozen=True)
class BatchCosts:
    """Time and energy of one batch by its size.

    Args:
        sizes: measured batch sizes, ascending.
        seconds: of a batch of each size.
        joules: of a batch of each size above idle; ``None`` where no energy was measured.
        idle_w: power of the idle server in watts; ``None`` if unknown.
        seconds_scatter: relative spread (standard deviation over mean) of single batches' times
            by size; empty where it was not measured.

    Raises:
        UsageError: the lengths differ, or a number is impossible.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    joules: tuple[float, ...] | None = None
    idle_w: float | None = None
    seconds_scatter: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.sizes, self.sizes[1:], strict=False))
        _require(bool(self.sizes) and rising and self.sizes[0] >= 1, "sizes must increase from 1")
        for name, values in (
            ("seconds", self.seconds),
            ("joules", self.joules),
            ("seconds_scatter", self.seconds_scatter or None),
        ):
            if values is None:
                continue
            _require(
                len(values) == len(self.sizes),
                f"{len(self.sizes)} sizes, and {len(values)} {name}",
            )
            _require(all(map(math.isfinite, values)), f"one of the {name} is not finite")
            least = min(values)
            _require(least > 0 or (name != "seconds" and least == 0), f"{name} of {least:g}")
        idle_w = self.idle_w
        _require(
            idle_w is None or (math.isfinite(idle_w) and idle_w >= 0),
            f"an idle power of {idle_w} W",
        )

    @property
    def largest(self) -> int:
        """The largest measured size."""
        return self.sizes[-1]

    def seconds_of(self, size: int) -> float:
        """Seconds of a batch.

        Raises:
            UsageError: the size is outside the measured range.
        """
        return self._at(size, self.seconds)

    def joules_of(self, size: int) -> float | None:
        """Joules of a batch above idle; ``None`` where no energy was measured.

        Raises:
            UsageError: the size is outside the measured range.
        """
        return None if self.joules is None else self._at(size, self.joules)

    def seconds_up_to(self, largest: int) -> NDArray[np.float64]:
        """(largest + 1,) seconds by size; NaN at size 0.

        Raises:
            UsageError: a size from 1 to `largest` is outside the measured range.
        """
        return self._table(largest, self.seconds)

    def joules_up_to(self, largest: int) -> NDArray[np.float64] | None:
        """(largest + 1,) joules by size, like `seconds_up_to`; ``None`` without energies."""
        return None if self.joules is None else self._table(largest, self.joules)

    def scatter_up_to(self, largest: int) -> NDArray[np.float64] | None:
        """(largest + 1,) relative spread by size, like `seconds_up_to`; ``None`` if unknown."""
        return self._table(largest, self.seconds_scatter) if self.seconds_scatter else None

    def _at(self, size: int, values: Sequence[float]) -> float:
        self._check(size)
        return float(np.interp(size, self.sizes, values))

    def _table(self, largest: int, values: Sequence[float]) -> NDArray[np.float64]:
        for size in (1, largest):
            self._check(size)
        table: NDArray[np.float64] = np.interp(np.arange(largest + 1), self.sizes, values)
        table[0] = math.nan
        return table

    def _check(self, size: int) -> None:
        if not self.sizes[0] <= size <= self.largest:
            raise UsageError(
                f"no measured costs for a batch of {size}: "
                f"{self.sizes[0]} to {self.largest} were measured",
                f"measure that size too, or use batches of at most {self.largest}",
            )


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise UsageError(f"costs of batches: {message}", "give measured costs of each size")
