"""What a batch costs on this machine by its size: time and energy of batches, one after the other.

For a size b, n batches are computed within one measured window of T seconds with energy E:

    s(b) = T_1 + ... + T_n / n        the mean of the batches' own times
    c(b) = E_net / n                  joules above idle, so that what lies between batches counts
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from joulelab.energy.reading import Status, Total
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.results import Batches


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

    @property
    def images(self) -> int:
        """Images that were computed."""
        return self.size * self.batches

    @property
    def net_j(self) -> float | None:
        """Joules of a batch above idle; ``None`` where they are unknown."""
        return None if self.energy.net_j is None else max(self.energy.net_j, 0.0) / self.batches

    @property
    def idle_w(self) -> float | None:
        """Idle power of the domains that count, in watts; ``None`` where it is unknown."""
        known = self.energy.idle_j is not None and self.duration_s > 0
        return self.energy.idle_j / self.duration_s if known and self.energy.idle_j else None


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
    """Of the energies together: missing where one is, estimated where one is."""
    statuses = {one.energy.status for one in profiles}
    if Status.MISSING in statuses:
        return Status.MISSING
    return Status.ESTIMATED if Status.ESTIMATED in statuses else Status.MEASURED
