"""What a policy does over several windows of the same arrivals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.limit import ResponseLimit
from joulelab.serving.planning.simulation import (
    Dispatch,
    most_per_s,
    response_percentile_s,
    simulate,
)
from joulelab.serving.policies import Policy

Account = Literal["gross", "net", "time"]
"""What a plan saves: joules with the idle power, joules above it, or seconds of a server."""


@dataclass(frozen=True)
class Trials:
    """How each policy is tried.

    Args:
        windows: of different arrivals, the same for all policies; at least 1.
        requests: in a window; not given, 5,000, or more where the percentile of the limit needs it.
        seed: of arrivals, splitting and scatter.
        replicas: servers.
        dispatch: one queue for all, or one each; see `simulation`.
        capacity: places in a queue; ``None`` without a limit.

    Raises:
        UsageError: a number is impossible.
    """

    windows: int = 5
    requests: int | None = None
    seed: int = 0
    replicas: int = 1
    dispatch: Dispatch = "shared"
    capacity: int | None = None

    def __post_init__(self) -> None:
        if self.windows < 1 or (self.requests is not None and self.requests < 1):
            raise UsageError(
                f"{self.windows} windows of {self.requests} requests cannot be simulated",
                "give at least one of each",
            )


@dataclass(frozen=True)
class Outcome:
    """A policy's figures; a tuple has one figure for each window.

    Attributes:
        policy: as text.
        limit: that it is held against.
        percentiles_s: response time at the limit's percentile.
        pooled_percentile_s: the same over all windows' requests.
        response_means_s: mean response time of the answered.
        net_j_per_request: above idle; ``None`` where no energy was measured.
        gross_j_per_request: with idle power; ``None`` where that or energy is unknown.
        busy_s_per_request: seconds of a server.
        utilisation: mean share of the servers' time that was work.
        batch_mean: mean size of a batch.
        dropped_share: of the requests.
        offered_per_s: mean rate of arrivals.
        most_per_s: requests per second that can be answered while the queue is long.
    """

    policy: str
    limit: ResponseLimit
    percentiles_s: tuple[float, ...]
    pooled_percentile_s: float
    response_means_s: tuple[float, ...]
    net_j_per_request: tuple[float, ...] | None
    gross_j_per_request: tuple[float, ...] | None
    busy_s_per_request: tuple[float, ...]
    utilisation: float
    batch_mean: float
    dropped_share: float
    offered_per_s: float
    most_per_s: float

    @property
    def load(self) -> float:
        """What is offered over what can be answered while the queue is long."""
        return self.offered_per_s / self.most_per_s if self.most_per_s else math.inf

    @property
    def saturated(self) -> bool:
        """More arrives than can be answered: the queue grows without bound."""
        return self.load >= 1

    @property
    def response_s(self) -> float:
        """Response time at the limit's percentile; infinite where the queue grows for ever."""
        return math.inf if self.saturated else self.pooled_percentile_s

    @property
    def holds(self) -> bool:
        """Whether the limit is kept, over all windows together."""
        return self.response_s <= self.limit.seconds

    @property
    def windows_within(self) -> int:
        """In how many windows the limit is kept."""
        within = sum(one_s <= self.limit.seconds for one_s in self.percentiles_s)
        return 0 if self.saturated else within

    def per_request(self, account: Account) -> tuple[float, ...] | None:
        """Joules, or seconds of a server, of a request by window; ``None`` where unknown."""
        if account == "time":
            return self.busy_s_per_request
        return self.net_j_per_request if account == "net" else self.gross_j_per_request

    def mean_per_request(self, account: Account) -> float | None:
        """The mean over windows."""
        return _mean(self.per_request(account))

    def spread_per_request(self, account: Account) -> tuple[float, float] | None:
        """Least and greatest of the windows."""
        values = self.per_request(account)
        return None if values is None else (min(values), max(values))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; a response time that has no end is ``None``, as is what is not known."""
        return {
            "policy": self.policy,
            "holds": self.holds,
            "saturated": self.saturated,
            "load": _finite(self.load),
            "percentile": self.limit.percentile,
            "response_s": _finite(self.response_s),
            "response_s_by_window": [_finite(one_s) for one_s in self.percentiles_s],
            "response_mean_s": _finite(_mean(self.response_means_s)),
            "windows_within": self.windows_within,
            "net_j_per_request": self.mean_per_request("net"),
            "gross_j_per_request": self.mean_per_request("gross"),
            "gross_j_per_request_by_window": _listed(self.gross_j_per_request),
            "busy_s_per_request": self.mean_per_request("time"),
            "utilisation": self.utilisation,
            "batch_mean": self.batch_mean,
            "dropped_share": self.dropped_share,
        }


def try_policy(
    policy: Policy,
    windows_s: Sequence[NDArray[np.float64]],
    offered_per_s: float,
    costs: BatchCosts,
    limit: ResponseLimit,
    trials: Trials,
) -> Outcome:
    """Simulate a policy in each window.

    Args:
        policy: to try.
        windows_s: the arrivals of each window.
        offered_per_s: mean rate of the process that they were drawn from.
        costs: of batches.
        limit: whose percentile is of interest.
        trials: replicas, dispatch, capacity and seed.

    Raises:
        UsageError: batches of a size may occur whose costs are not known.
        PluginError: the policy answers what cannot be served.
    """
    tried = [
        simulate(
            times_s,
            policy,
            costs,
            trials.replicas,
            trials.dispatch,
            trials.capacity,
            seed=trials.seed + number,
        )
        for number, times_s in enumerate(windows_s)
    ]
    pooled_s = np.concatenate([one.response_s for one in tried])
    return Outcome(
        policy=str(policy),
        limit=limit,
        percentiles_s=tuple(one.percentile_s(limit.percentile) for one in tried),
        pooled_percentile_s=response_percentile_s(pooled_s, limit.percentile),
        response_means_s=tuple(one.response_mean_s for one in tried),
        net_j_per_request=_known([one.net_j_per_request for one in tried]),
        gross_j_per_request=_known([one.gross_j_per_request for one in tried]),
        busy_s_per_request=tuple(one.busy_s_per_request for one in tried),
        utilisation=sum(one.utilisation for one in tried) / len(tried),
        batch_mean=sum(one.batch_mean for one in tried) / len(tried),
        dropped_share=float(np.isnan(pooled_s).mean()),
        offered_per_s=offered_per_s,
        most_per_s=trials.replicas * most_per_s(policy, costs),
    )


def _known(values: Sequence[float | None]) -> tuple[float, ...] | None:
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else None


def _mean(values: Sequence[float] | None) -> float | None:
    return None if values is None else sum(values) / len(values)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _listed(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
