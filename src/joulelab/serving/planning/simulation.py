"""A window of serving, simulated from measured costs by the policy object that also serves.

::

    dispatch="shared"   all requests ──> one queue ──> whichever of N servers is free
    dispatch="split"    each request ──> a queue drawn at random ──> the one server behind it

Requests are split at random, not in turn: taking turns makes the arrivals at each replica more even
than the whole stream, which holds for a single dispatcher only, and flatters the tail. Split at
random, a Poisson stream of rate r is N independent Poisson streams of rate r / N.

A window lasts from its start to the last answer. With idle power P_0, batches of b_1 ... b_B
requests and N servers

    net    = c(b_1) + ... + c(b_B)
    gross  = net + N P_0 (duration)

Where time scatters, energies stay those of the mean: their sum over a window hardly changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError
from joulelab.formats import significant
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.queue import QueueLog, run_queue
from joulelab.serving.policies import Policy, ask

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
        most_per_s: requests per second that all servers answer while the queue is long.
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
    def requests(self) -> int:
        """Requests that arrived."""
        return len(self.arrived_s)

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return int(self.batch_sizes.sum())

    @property
    def dropped(self) -> int:
        """Requests that found the queue full."""
        return self.requests - self.answered

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
        """Share of the servers' time that was work."""
        return self.busy_s / (self.replicas * self.duration_s)

    @property
    def batch_mean(self) -> float:
        """Mean size of a batch."""
        return self.answered / len(self.batch_sizes)

    @property
    def offered_per_s(self) -> float:
        """Arrivals over the time of the last."""
        return self.requests / float(self.arrived_s[-1])

    @property
    def throughput_per_s(self) -> float:
        """Answers over the duration."""
        return self.answered / self.duration_s

    @property
    def response_mean_s(self) -> float:
        """Mean response time of the answered."""
        return float(np.nanmean(self.response_s))

    def percentile_s(self, percentile: float) -> float:
        """Response time that so many percent of all requests kept; a dropped one never did.

        Args:
            percentile: from 0 to 100.
        """
        return response_percentile_s(self.response_s, percentile)

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
        """Energy of an answered request, its share of the idle power included."""
        return None if self.gross_j is None else self.gross_j / self.answered

    @property
    def busy_s_per_request(self) -> float:
        """Seconds of a server for an answered request."""
        return self.busy_s / self.answered

    @property
    def saturated(self) -> bool:
        """More arrives than can be answered: without a limit the queue grows without bound."""
        return self.offered_per_s >= self.most_per_s

    def saturation_in_words(self) -> str:
        """What saturation does here; empty where there is none."""
        if not self.saturated:
            return ""
        rates = (
            f"offered {significant(self.offered_per_s)}/s, "
            f"at most {significant(self.most_per_s)}/s can be answered"
        )
        if self.dropped:
            return f"{rates}: {self.dropped:,} of {self.requests:,} requests were dropped"
        return f"{rates}: the queue grows without bound"


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
        costs: of batches; where they have a scatter, single batches take lognormal times.
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
    """Requests per second that one server answers while the queue is long.

    The queue is stable below it and grows without bound above: while many wait, the policy takes
    b and the queue falls by b every s(b) seconds.

    Args:
        policy: is asked what it takes of a very long queue.
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
        The smallest response time that so many percent of the requests do not exceed; infinite
        where more were dropped than the percentile leaves out.
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
        "there must be at least one arrival": len(times_s) > 0,
        "arrivals must be 0 or later, finite and never decrease, and not all be at 0": bool(
            len(times_s)
            and np.isfinite(times_s).all()
            and (np.diff(times_s, prepend=0.0) >= 0).all()
            and times_s[-1] > 0
        ),
        f"{replicas} replicas: there must be at least one": replicas >= 1,
        f"dispatch {dispatch!r} must be shared or split": dispatch in ("shared", "split"),
        f"a queue of {capacity} places must have at least one": capacity is None or capacity >= 1,
    }
    for rule, holds in rules.items():
        if not holds:
            raise UsageError(f"simulation: {rule}", "mend the argument")
