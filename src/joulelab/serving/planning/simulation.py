"""Simulate a serving window from measured costs, with the real policy object.

::

    dispatch="shared"   all requests ──> one queue ──> whichever of N servers is free
    dispatch="split"    each request ──> a queue drawn at random ──> the one server behind it

Requests are split at random, not round-robin: round-robin makes the arrivals at each replica more
regular than the whole stream, which needs a single dispatcher, and improves the tail. Split at
random, a Poisson stream of rate r becomes N independent Poisson streams of rate r / N.

A window lasts from its start to the last answer. With idle power P_0, batches of b_1 ... b_B
requests and N servers

    net    = c(b_1) + ... + c(b_B)
    gross  = net + N P_0 (duration)

If times scatter, energies stay at their means: the sum over a window hardly changes.

One queue and the servers behind it, event by event, by the rules of the real server.

::

    queue empty ──> the next arrival, or the time a server is free, whichever is later
    requests wait ──> the time a server is free; then the policy is asked
      it takes n     ──> a batch of the n oldest occupies that server for s(n) seconds
      it takes 0     ──> asked again at the next arrival, or when its patience ends
    after the last request ──> without the policy: min(waiting, largest) at a time

Between two events the queue only grows, so arrivals are processed in bulk: those up to now join it
until it is full, the others are dropped. Time advances from batch to batch, not from request to
request; only a waiting policy is asked at each arrival, as in the server.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapreplace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.policies import SHORTEST_PATIENCE_S, Fixed, Policy, ask, wrong_answer

Dispatch = Literal["shared", "split"]

_LONG_QUEUE = 1000
_LONG_WAIT_S = 1e9


@dataclass(frozen=True)
class Simulated:
    """One window.

    Attributes:
        policy: as text.
        replicas: servers.
        arrived_s: (n,) arrivals.
        response_s: (n,) from arrival to answer; NaN for a request that was dropped.
        batch_sizes: (b,) in the order in which batches were started.
        batch_started_s: (b,).
        batch_answered_s: (b,).
        net_j: energy above idle; ``None`` where no energy was measured.
        idle_w: of one server; ``None`` where it is not known.
        most_per_s: capacity of all servers in requests per second with a long queue.
    """

    policy: str
    replicas: int
    arrived_s: NDArray[np.float64]
    response_s: NDArray[np.float64]
    batch_sizes: NDArray[np.int64]
    batch_started_s: NDArray[np.float64]
    batch_answered_s: NDArray[np.float64]
    net_j: float | None
    idle_w: float | None
    most_per_s: float

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return int(self.batch_sizes.sum())

    @property
    def duration_s(self) -> float:
        """From the start of the window to the last answer."""
        return float(self.batch_answered_s.max())

    @property
    def busy_s(self) -> float:
        """Seconds of work, over all servers."""
        return float((self.batch_answered_s - self.batch_started_s).sum())

    @property
    def utilisation(self) -> float:
        """Busy share of the servers' time."""
        return self.busy_s / (self.replicas * self.duration_s)

    @property
    def batch_mean(self) -> float:
        """Mean size of a batch."""
        return self.answered / len(self.batch_sizes)

    @property
    def response_mean_s(self) -> float:
        """Mean response time of the answered."""
        return float(np.nanmean(self.response_s))

    @property
    def gross_j(self) -> float | None:
        """Energy with the idle power of all servers over the whole window."""
        if self.net_j is None or self.idle_w is None:
            return None
        return self.net_j + self.idle_w * self.replicas * self.duration_s

    @property
    def net_j_per_request(self) -> float | None:
        """Energy above idle of an answered request."""
        return None if self.net_j is None else self.net_j / self.answered

    @property
    def gross_j_per_request(self) -> float | None:
        """Energy of an answered request, including its share of idle power."""
        return None if self.gross_j is None else self.gross_j / self.answered

    @property
    def busy_s_per_request(self) -> float:
        """Seconds of a server for an answered request."""
        return self.busy_s / self.answered


def simulate(
    times_s: NDArray[np.float64],
    policy: Policy,
    costs: BatchCosts,
    replicas: int = 1,
    dispatch: Dispatch = "shared",
    capacity: int | None = None,
    seed: int = 0,
) -> Simulated:
    """Serve arrivals by a policy, with the costs of batches as measured.

    Args:
        times_s: (n,) arrivals in seconds, never decreasing; at least one.
        policy: decides on batches.
        costs: of batches; with a scatter, single batches take lognormal times.
        replicas: servers.
        dispatch: one queue for all servers, or one for each and requests split at random.
        capacity: places in a queue, the batches in service not counted; ``None``: no limit.
        seed: of the split and of the scatter.

    Raises:
        UsageError: an argument is impossible, or batches of a size may occur whose costs are not
            known.
        PluginError: the policy answers what cannot be served.
    """
    _check(times_s, replicas, dispatch, capacity)
    splitting, *scatters = np.random.default_rng(seed).spawn(1 + replicas)
    queues = replicas if dispatch == "split" else 1
    split = _split(len(times_s), queues, splitting)
    servers = replicas // queues
    response_s = np.full(len(times_s), math.nan)
    served = []
    for mine, scatter in zip(split, scatters, strict=False):
        if len(mine):
            batches = run_queue(times_s[mine], policy, costs, servers, capacity, scatter)
            answered = mine[batches.admitted]
            response_s[answered] = np.repeat(batches.answered_s, batches.sizes) - times_s[answered]
            served.append(batches)
    sizes, started_s, answered_s = _in_order(served)
    joules = costs.joules_up_to(policy.largest)
    return Simulated(
        policy=str(policy),
        replicas=replicas,
        arrived_s=times_s,
        response_s=response_s,
        batch_sizes=sizes,
        batch_started_s=started_s,
        batch_answered_s=answered_s,
        net_j=None if joules is None else float(joules[sizes].sum()),
        idle_w=costs.idle_w,
        most_per_s=replicas * most_per_s(policy, costs),
    )


def most_per_s(policy: Policy, costs: BatchCosts) -> float:
    """Capacity of one server in requests per second with a long queue.

    The queue is stable below it and grows without bound above: while many wait, the policy takes
    b and the queue falls by b every s(b) seconds.

    Args:
        policy: the policy, asked with a very long queue.
        costs: of batches.
    """
    size = ask(policy, _LONG_QUEUE * policy.largest, _LONG_WAIT_S)
    return size / costs.seconds_of(size) if size else 0.0


def response_percentile_s(response_s: NDArray[np.float64], percentile: float) -> float:
    """A percentile of response times; requests that were dropped (NaN) count as never answered.

    Args:
        response_s: (n,) seconds.
        percentile: from 0 to 100.

    Returns:
        The percentile of response times; infinite if more requests were dropped than the percentile
        allows.
    """
    waits_s = np.where(np.isnan(response_s), math.inf, response_s)
    return float(np.percentile(waits_s, percentile, method="inverted_cdf"))


def _split(requests: int, queues: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """For each queue the requests that go to it, ascending."""
    if queues == 1:
        return [np.arange(requests)]
    queue = rng.integers(queues, size=requests)
    order = np.argsort(queue, kind="stable")
    return np.split(order, np.cumsum(np.bincount(queue, minlength=queues))[:-1])


def _in_order(
    served: list[QueueLog],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Sizes, starts and ends of all queues' batches by their start."""
    started_s = np.concatenate([batches.started_s for batches in served])
    order = np.argsort(started_s, kind="stable")
    sizes = np.concatenate([batches.sizes for batches in served])
    answered_s = np.concatenate([batches.answered_s for batches in served])
    return sizes[order], started_s[order], answered_s[order]


def _check(
    times_s: NDArray[np.float64], replicas: int, dispatch: str, capacity: int | None
) -> None:
    rules = {
        "at least one arrival is needed": len(times_s) > 0,
        "arrivals must be finite, 0 or later, never decrease, and not all be 0": bool(
            len(times_s)
            and np.isfinite(times_s).all()
            and (np.diff(times_s, prepend=0.0) >= 0).all()
            and times_s[-1] > 0
        ),
        f"{replicas} replicas: at least one is needed": replicas >= 1,
        f"dispatch {dispatch!r} must be shared or split": dispatch in ("shared", "split"),
        f"a queue of {capacity} places: at least one is needed": capacity is None or capacity >= 1,
    }
    for rule, holds in rules.items():
        if not holds:
            raise UsageError(f"simulation: {rule}", "correct the argument")


@dataclass(frozen=True)
class QueueLog:
    """Results of the requests of one queue.

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
    service_s = _service_times(policy, costs, len(times_s), scatter)
    if type(policy) is Fixed and policy.wait_ms is None and capacity is None:
        return _run_full_batches(times_s, policy.n, service_s, servers)
    arrivals_s: list[float] = [*times_s.tolist(), math.inf]
    places = len(times_s) if capacity is None else capacity
    free_s = [0.0] * servers  # a heap
    arrived = served = 0
    joined_s: list[float] = []  # arrivals of requests that found a place, served ones included
    dropped: list[int] = []
    sizes: list[int] = []
    started_s: list[float] = []
    answered_s: list[float] = []
    largest, now_s, next_s, waiting = policy.largest, 0.0, arrivals_s[0], 0
    while waiting or next_s < math.inf:
        # This loop decides how long a plan takes: a comparison instead of max(), and the check of
        # `ask` without its call.
        if now_s < free_s[0]:  # noqa: PLR1730
            now_s = free_s[0]
        if not waiting and now_s < next_s:
            now_s = next_s
        if next_s <= now_s:
            until = bisect_right(arrivals_s, now_s, arrived)
            full = arrived + places - waiting
            if full < until:
                dropped += range(full, until)
            else:
                full = until
            joined_s += arrivals_s[arrived:full]
            waiting += full - arrived
            arrived, next_s = until, arrivals_s[until]
        if next_s == math.inf:
            size = min(waiting, largest)
        else:
            oldest_wait_s = now_s - joined_s[served]
            size = policy.take(waiting, oldest_wait_s)
            if type(size) is not int or not 0 <= size <= waiting or size > largest:
                raise wrong_answer(policy, waiting, oldest_wait_s, size)
            if not size:
                patience_s = policy.patience_s(waiting, oldest_wait_s)
                now_s = min(next_s, now_s + max(patience_s, SHORTEST_PATIENCE_S))
                continue
        ends_s = now_s + service_s(size)
        heapreplace(free_s, ends_s)
        served += size
        waiting -= size
        sizes.append(size)
        started_s.append(now_s)
        answered_s.append(ends_s)
    admitted = np.delete(np.arange(arrived), dropped) if dropped else np.arange(arrived)
    return QueueLog(admitted, np.array(sizes), np.array(started_s), np.array(answered_s))


def _run_full_batches(
    times_s: NDArray[np.float64], size: int, service_s: Callable[[int], float], servers: int
) -> QueueLog:
    """`run_queue` for full batches without a longest wait: the arrivals alone make the batches."""
    requests = len(times_s)
    sizes = np.diff(np.arange(0, requests + size, size).clip(max=requests))
    free_s = [0.0] * servers  # a heap
    started_s: list[float] = []
    answered_s: list[float] = []
    filled_s = times_s[np.cumsum(sizes) - 1].tolist()
    for at_s, takes_s in zip(filled_s, map(service_s, sizes.tolist()), strict=True):
        starts_s = at_s if at_s > free_s[0] else free_s[0]
        ends_s = starts_s + takes_s
        heapreplace(free_s, ends_s)
        started_s.append(starts_s)
        answered_s.append(ends_s)
    return QueueLog(np.arange(requests), sizes, np.array(started_s), np.array(answered_s))


def _service_times(
    policy: Policy, costs: BatchCosts, batches: int, scatter: np.random.Generator | None
) -> Callable[[int], float]:
    """A function of the size of a batch: its duration, lognormal with the mean and spread of it."""
    seconds: list[float] = costs.seconds_up_to(policy.largest).tolist()
    spread = costs.scatter_up_to(policy.largest)
    if scatter is None or spread is None:
        return seconds.__getitem__
    sigmas: list[float] = np.sqrt(np.log1p(spread**2)).tolist()
    normals: Iterator[float] = iter(scatter.standard_normal(batches).tolist())

    def draw_s(size: int) -> float:
        sigma = sigmas[size]
        return seconds[size] * math.exp(sigma * next(normals) - sigma**2 / 2)

    return draw_s
