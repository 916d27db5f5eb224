"""What a batch costs on this machine by its size: time and energy of batches, one after the other.

For a size b, n batches are computed within one measured window of T seconds with energy E:

    s(b) = T_1 + ... + T_n / n        the mean of the batches' own times
    c(b) = E_net / n                  joules above idle, so that what lies between batches counts

Several windows of one size are pooled as if they had been one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from joulelab.energy.reading import Status, Total
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.results import Batches

LOAD = 0.5
"""Share of the time that batches take where those of a queue are timed: a batch after a wait takes
longer than one that follows another, for caches are cold and threads asleep."""


@dataclass(frozen=True)
class SizeProfile:
    """Batches of one size.

    Attributes:
        size: images in a batch, after halving where they did not fit in memory.
        asked: images that a batch should have had.
        batches: how many.
        seconds: mean time of a batch.
        scatter: relative standard deviation of the times of single batches; 0 of a single one.
        duration_s: of the window.
        energy: of the window.
        remarks: what happened on the way.
    """

    size: int
    asked: int
    batches: int
    seconds: float
    scatter: float
    duration_s: float
    energy: Total
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, batches: Batches, duration_s: float, energy: Total) -> SizeProfile:
        """What a window with batches says."""
        times = [float(one) for one in batches.durations_s]
        mean = statistics.fmean(times)
        return cls(
            batches.size,
            batches.asked,
            len(times),
            mean,
            statistics.stdev(times) / mean if len(times) > 1 else 0.0,
            duration_s,
            energy,
            batches.remarks,
        )

    @classmethod
    def pooled(cls, profiles: Sequence[SizeProfile]) -> SizeProfile:
        """Several windows with batches of one size as one.

        Args:
            profiles: of the same size, at least one.
        """
        batches = sum(one.batches for one in profiles)
        mean_s = sum(one.seconds * one.batches for one in profiles) / batches
        squares = sum(
            (one.batches - 1) * (one.scatter * one.seconds) ** 2
            + one.batches * (one.seconds - mean_s) ** 2
            for one in profiles
        )
        return cls(
            profiles[0].size,
            max(one.asked for one in profiles),
            batches,
            mean_s,
            math.sqrt(squares / (batches - 1)) / mean_s if batches > 1 else 0.0,
            math.fsum(one.duration_s for one in profiles),
            _added([one.energy for one in profiles], joint_status(profiles)),
            tuple(dict.fromkeys(remark for one in profiles for remark in one.remarks)),
        )

    @property
    def images(self) -> int:
        """Images that were computed."""
        return self.size * self.batches

    @property
    def net_j(self) -> float | None:
        """Joules of a batch above idle; ``None`` where they are unknown."""
        return None if self.energy.net_j is None else max(self.energy.net_j, 0.0) / self.batches

    @property
    def gross_j_per_image(self) -> float | None:
        """Joules of an image, idle power included, while the server is never without work.

        What the server draws at idle between two batches is not in it; where idle power is unknown,
        it is.
        """
        if self.energy.gross_j is None:
            return None
        waited_s = max(self.duration_s - self.batches * self.seconds, 0.0)
        return (self.energy.gross_j - (self.idle_w or 0.0) * waited_s) / self.images

    @property
    def net_j_per_image(self) -> float | None:
        """Joules of an image above idle."""
        return None if self.net_j is None else self.net_j / self.size

    @property
    def error_j_per_image(self) -> float | None:
        """Bound of the error of `gross_j_per_image` that the sensors are good for."""
        return None if self.energy.error_j is None else self.energy.error_j / self.images

    @property
    def idle_w(self) -> float | None:
        """Idle power of the domains that count, in watts; ``None`` where it is unknown."""
        if self.energy.idle_j is None or self.duration_s <= 0:
            return None
        return self.energy.idle_j / self.duration_s


def batch_costs(profiles: Sequence[SizeProfile]) -> BatchCosts:
    """The costs that the planner takes.

    Args:
        profiles: of different sizes, at least one.
    """
    ordered = sorted(profiles, key=lambda one: one.size)
    joules = [one.net_j for one in ordered]
    known = [value for value in joules if value is not None]
    idle = [one.idle_w for one in ordered if one.idle_w is not None]
    return BatchCosts(
        tuple(one.size for one in ordered),
        tuple(one.seconds for one in ordered),
        tuple(known) if len(known) == len(joules) else None,
        statistics.fmean(idle) if idle else None,
        tuple(one.scatter for one in ordered),
    )


def joint_status(profiles: Sequence[SizeProfile]) -> Status:
    """Of the energies together; measured where there is none."""
    return Status.of_sum([Status.MEASURED, *(one.energy.status for one in profiles)])


def _added(energies: Sequence[Total], status: Status) -> Total:
    """The energies of windows that follow each other; the bounds may err in one direction."""

    def total(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return math.fsum(known) if len(known) == len(values) else None

    return Total(
        status,
        total([one.gross_j for one in energies]),
        total([one.idle_j for one in energies]),
        total([one.error_j for one in energies]),
        tuple(dict.fromkeys(name for one in energies for name in one.domains)),
        tuple(dict.fromkeys(name for one in energies for name in one.sources)),
        total([one.idle_error_j for one in energies]),
    )
