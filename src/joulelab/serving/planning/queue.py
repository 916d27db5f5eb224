"""One queue and the servers behind it, event by event, by the rules of the real server.

::

    nobody waits     ──> the next arrival, or the time a server is free, whichever is later
    somebody waits   ──> the time a server is free; then the policy is asked
      it takes n     ──> a batch of the n oldest occupies that server for s(n) seconds
      it takes 0     ──> asked again at the next arrival, or when its patience ends
    the last request has come ──> nobody is asked: min(waiting, largest) at a time

Between two events the queue only grows, so arrivals are looked at in bulk: those up to now join
it until it is full, and the others are dropped. Time goes from batch to batch, not from request to
request; only a policy that waits is asked at each arrival, as it is in the server.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapreplace

import numpy as np
from numpy.typing import NDArray

from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.policies import SHORTEST_PATIENCE_S, Policy, ask


@dataclass(frozen=True)
class QueueLog:
    """What became of the requests of one queue.

    Attributes:
        admitted: (m,) which requests found a place, ascending; they are served in this order.
        sizes: (b,) size of each batch.
        started_s: (b,) when each began.
        answered_s: (b,) when each was answered.
    """

    admitted: NDArray[np.int64]
    sizes: NDArray[np.int64]
    started_s: NDArray[np.float64]
    answered_s: NDArray[np.float64]


def run_queue(
    times_s: NDArray[np.float64],
    policy: Policy,
    costs: BatchCosts,
    servers: int = 1,
    capacity: int | None = None,
    scatter: np.random.Generator | None = None,
) -> QueueLog:
    """Serve all requests of one queue.

    Args:
        times_s: (n,) arrivals, never decreasing.
        policy: is asked.
        costs: seconds by size.
        servers: behind the queue; a batch goes to whichever is free first.
        capacity: places in the queue; ``None`` without a limit.
        scatter: draws the time of single batches, lognormal around their mean; ``None``: all
            take their mean.

    Raises:
        PluginError: the policy answers what cannot be served.
        UsageError: it may serve batches whose costs are not known.
    """
    service = _ServiceTimes(policy, costs, len(times_s), scatter)
    line = _Line(times_s, capacity)
    free_s = [0.0] * servers  # a heap
    sizes: list[int] = []
    started_s: list[float] = []
    answered_s: list[float] = []
    largest, now_s = policy.largest, 0.0
    while line.waiting or line.next_s < math.inf:
        now_s = max(now_s, free_s[0])
        if not line.waiting:
            now_s = max(now_s, line.next_s)
        waiting = line.admit(now_s)
        if line.next_s == math.inf:
            size = min(waiting, largest)
        else:
            oldest_wait_s = now_s - line.oldest_s
            size = ask(policy, waiting, oldest_wait_s)
            if not size:
                patience_s = policy.patience_s(waiting, oldest_wait_s)
                now_s = min(line.next_s, now_s + max(patience_s, SHORTEST_PATIENCE_S))
                continue
        ends_s = now_s + service.draw_s(size)
        heapreplace(free_s, ends_s)
        line.leave(size)
        sizes.append(size)
        started_s.append(now_s)
        answered_s.append(ends_s)
    return QueueLog(line.admitted(), np.array(sizes), np.array(started_s), np.array(answered_s))


class _Line:
    """The queue: who waits, and who comes next.

    Args:
        times_s: (n,) arrivals.
        capacity: places; ``None`` without a limit.

    Attributes:
        waiting: number of requests in the queue.
        next_s: when the next request comes; infinite once all have come.
    """

    def __init__(self, times_s: NDArray[np.float64], capacity: int | None) -> None:
        self._times_s: list[float] = [*times_s.tolist(), math.inf]
        self._capacity = capacity
        self._seen = 0  # requests that have come
        self._joined_s: list[float] = []  # arrivals of all that found a place, also if served since
        self._served = 0
        self._places: list[tuple[int, int]] = []  # requests from, up to, that found a place
        self.waiting = 0
        self.next_s = self._times_s[0]

    @property
    def oldest_s(self) -> float:
        """When the request that has waited longest arrived."""
        return self._joined_s[self._served]

    def admit(self, now_s: float) -> int:
        """Let those who have come by now join, as far as there are places; how many wait then."""
        if self.next_s <= now_s:
            seen, come = self._seen, bisect_right(self._times_s, now_s, self._seen)
            until = come
            if self._capacity is not None:
                until = min(come, seen + self._capacity - self.waiting)
                self._places.append((seen, until))
            self._joined_s += self._times_s[seen:until]
            self.waiting += until - seen
            self._seen = come
            self.next_s = self._times_s[come]
        return self.waiting

    def leave(self, size: int) -> None:
        """Take the oldest out, to be served."""
        self._served += size
        self.waiting -= size

    def admitted(self) -> NDArray[np.int64]:
        """Which requests found a place, ascending."""
        if self._capacity is None:
            return np.arange(self._seen)
        return np.concatenate([np.arange(begin, end) for begin, end in self._places if end > begin])


class _ServiceTimes:
    """Seconds of one batch after the other: a lognormal with the mean and spread of its size."""

    def __init__(
        self,
        policy: Policy,
        costs: BatchCosts,
        batches: int,
        scatter: np.random.Generator | None,
    ) -> None:
        self._seconds: list[float] = costs.seconds_up_to(policy.largest).tolist()
        spread = costs.scatter_up_to(policy.largest)
        self._sigmas: list[float] = []
        if scatter is not None and spread is not None:
            self._sigmas = np.sqrt(np.log1p(spread**2)).tolist()
            self._normals: Iterator[float] = iter(scatter.standard_normal(batches).tolist())

    def draw_s(self, size: int) -> float:
        if not self._sigmas:
            return self._seconds[size]
        sigma = self._sigmas[size]
        return self._seconds[size] * math.exp(sigma * next(self._normals) - sigma**2 / 2)
