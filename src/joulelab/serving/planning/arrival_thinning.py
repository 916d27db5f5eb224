"""Arrivals at one of N replicas when requests are split at random: the whole stream, thinned.

Each arrival of the whole stream stays with probability 1 / N, independent of the others. A Poisson
process stays Poisson, at rate / N; so does an interrupted Poisson process, with the same on and off
periods. The arrivals of any other process are drawn for the whole stream and thinned, if there are
not too many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulelab.formats import significant
from joulelab.serving.arrivals import ArrivalProcess, Bursty, Poisson, UniformJitter

MOST_DRAWN = 5_000_000
"""Most arrivals of the whole stream drawn for one window of one replica."""

_LEAST_LEFT = 1000
_SIGMAS = 5


@dataclass(frozen=True)
class Thinned(ArrivalProcess):
    """The share of one replica in a process.

    Args:
        whole: the process that is split.
        replicas: number of replicas.
    """

    whole: ArrivalProcess
    replicas: int

    @property
    def rate_per_s(self) -> float:
        """The share of the rate."""
        return self.whole.rate_per_s / self.replicas

    @property
    def most(self) -> int | None:
        """Minimum share of a finite process for a replica, except with probability 10^-6."""
        if self.whole.most is None:
            return None
        mean = self.whole.most / self.replicas
        return max(0, math.floor(mean - _SIGMAS * math.sqrt(mean)))

    def times_s(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(count,) arrival times in seconds."""
        # Between two arrivals of this replica, the number in the whole stream is geometric.
        places = np.cumsum(rng.geometric(1 / self.replicas, count))
        if not count:
            return np.empty(0)
        times_s: NDArray[np.float64] = self.whole.times_s(int(places[-1]), rng)[places - 1]
        return times_s

    def at_rate(self, rate_per_s: float) -> Thinned:
        """The share of the same process at another rate."""
        return Thinned(self.whole.at_rate(rate_per_s * self.replicas), self.replicas)

    def __str__(self) -> str:
        return f"{self.whole} split among {self.replicas:,}"


def thinned(whole: ArrivalProcess, replicas: int, requests: int) -> tuple[ArrivalProcess, str]:
    """The arrivals at one of several replicas.

    Args:
        whole: the process that is split at random.
        replicas: number of replicas, at least 1.
        requests: number to simulate for one replica.

    Returns:
        The process, and a description of the approximation; empty if exact.
    """
    share_per_s = whole.rate_per_s / replicas
    if replicas == 1:
        return whole, ""
    if type(whole) in (Poisson, Bursty):
        return whole.at_rate(share_per_s), ""
    share = Thinned(whole, replicas)
    if share.most is None and replicas * requests <= MOST_DRAWN:
        return share, ""
    if share.most is not None and share.most >= _LEAST_LEFT:
        return share, ""
    if type(whole) is UniformJitter:
        return Poisson(share_per_s), (
            f"{whole} split among {replicas:,} is approximated by Poisson arrivals, which it "
            "approaches when split among many"
        )
    return whole.at_rate(share_per_s), (
        f"each of {replicas:,} replicas gets {whole} slowed down to "
        f"{significant(share_per_s)}/s: a random split would give each too few arrivals"
    )
