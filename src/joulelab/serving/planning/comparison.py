"""Policies under the same arrivals, and the choice among them.

All meet the same windows (common random numbers), so that their differences are not those of
chance. Two that differ by less than `TIE` cost the same, since no measured table of costs is better
than that; the simpler one, which comes first, is taken. Costs that were measured again differ by
more, and policies whose costs lie within that spread of the least cannot be distinguished. The
quickest of them is the choice: a saving that cannot be shown is not worth a wait.

A window begins with an empty queue, and near saturation the queue takes long to reach its usual
length: the more so the larger the batches. Where arrivals come in bursts, few of them may lie in a
window. So a choice with a load above `BUSY`, or from windows of unlike rates, is simulated again in
windows `LONGER` times as long, and dropped if it does not hold the limit there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError
from joulelab.formats import duration, significant
from joulelab.serving.arrivals import ArrivalProcess
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.simulation import (
    Dispatch,
    most_per_s,
    response_percentile_s,
    simulate,
)
from joulelab.serving.policies import Policy

Account = Literal["gross", "net", "time"]
"""What a plan saves: joules with the idle power, joules above it, or seconds of a server."""

TIE = 1e-3
"""Relative difference of costs below which two policies are alike."""

BUSY = 0.7
"""Load, offered over what can be answered, from which on a choice is confirmed."""

LONGER = 20

_REQUESTS = 5000
_BEYOND_PERCENTILE = 50
_UNLIKE_RATES = 1.25


@dataclass(frozen=True)
class ResponseLimit:
    """So many percent of the requests are answered within so many seconds.

    Args:
        percentile: above 0 and below 100.
        seconds: above 0.

    Raises:
        UsageError: a number is impossible.
    """

    percentile: float
    seconds: float

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:  # noqa: PLR2004
            raise UsageError(
                f"a limit for p{self.percentile:g}: the percentile must be above 0 and below 100",
                "a maximum cannot be guaranteed; write 99 or 99.9",
            )
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise UsageError(
                f"a limit of {self.seconds:g} s: it must be above 0", "write seconds: 0.2"
            )

    @property
    def name(self) -> str:
        """The percentile: ``p99``."""
        return f"p{self.percentile:g}"

    def __str__(self) -> str:
        return f"{self.name} within {duration(self.seconds)}"


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
        """Response time at the limit's percentile; infinite where the queue grows without bound."""
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
            "gross_j_per_request_by_window": self.gross_j_per_request,
            "busy_s_per_request": self.mean_per_request("time"),
            "utilisation": self.utilisation,
            "batch_mean": self.batch_mean,
            "dropped_share": self.dropped_share,
        }


class Comparison:
    """Tries each policy under the same arrivals.

    Args:
        policies: the simplest first.
        costs: of batches by size.
        arrivals: windows are drawn from it; a recorded trace is the same in each.
        limit: its percentile says how many requests a window needs.
        trials: number of windows and of requests, seed, replicas.

    Attributes:
        outcomes: one for each policy.
        remarks: what a reader should know of the windows.

    Raises:
        UsageError: there are fewer arrivals than were asked for, or no costs of a size.
        PluginError: a policy answers what cannot be served.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        costs: BatchCosts,
        arrivals: ArrivalProcess,
        limit: ResponseLimit,
        trials: Trials,
    ) -> None:
        self._policies = policies
        self._costs = costs
        self._arrivals = arrivals
        self._limit = limit
        self._trials = trials
        self._count = requests_in_window(arrivals, limit, trials)
        windows_s = self._draw(self._count)
        self.outcomes = [self._try(policy, windows_s) for policy in policies]
        rates_per_s = [len(times_s) / float(times_s[-1]) for times_s in windows_s]
        self._uneven = max(rates_per_s) > _UNLIKE_RATES * min(rates_per_s)
        self.remarks = _remarks(windows_s, rates_per_s if self._uneven else [])

    def choose(
        self, account: Account, spread: float = 0.0
    ) -> tuple[Outcome | None, Outcome | None]:
        """The policy to run, and the one with the least cost, among those that hold the limit.

        Args:
            account: what costs.
            spread: share by which costs differ when they are measured again.

        Returns:
            The quickest of those that cost at most so much more than the least, and that with the
            least; twice ``None`` where no policy holds the limit.
        """
        confirmed: set[int] = set()
        while True:
            number = self._cheapest(account)
            if number is None:
                return None, None
            best = self._quickest(number, account, spread)
            doubtful = (
                one for one in (number, best) if self._doubtful(one) and one not in confirmed
            )
            again = next(doubtful, None)
            if again is None:
                return self.outcomes[best], self.outcomes[number]
            windows_s = self._draw(LONGER * self._count)
            self.outcomes[again] = self._try(self._policies[again], windows_s)
            confirmed.add(again)

    def _doubtful(self, number: int) -> bool:
        """Whether longer windows may say otherwise; a trace has no longer ones."""
        busy = self.outcomes[number].load > BUSY
        return (busy or self._uneven) and self._arrivals.most is None

    def _quickest(self, cheapest: int, account: Account, spread: float) -> int:
        """The quickest of those that hold the limit and cannot be told from the cheapest."""
        if not spread:
            return cheapest  # of costs that are taken to be exact
        least = self.outcomes[cheapest].mean_per_request(account) or 0.0
        alike = [cheapest] + [
            number
            for number, one in enumerate(self.outcomes)
            if one.holds
            and (cost := one.mean_per_request(account)) is not None
            and cost - least < spread * cost
        ]
        return min(alike, key=lambda number: self.outcomes[number].response_s)

    def _cheapest(self, account: Account) -> int | None:
        """The first of those that hold the limit whose cost is the least, but for a tie."""
        costs = {
            number: cost
            for number, one in enumerate(self.outcomes)
            if one.holds and (cost := one.mean_per_request(account)) is not None
        }
        most = min(costs.values(), default=0.0) * (1 + TIE)
        return next((number for number, cost in costs.items() if cost <= most), None)

    def _try(self, policy: Policy, windows_s: Sequence[NDArray[np.float64]]) -> Outcome:
        """Simulate a policy in each window."""
        trials, percentile = self._trials, self._limit.percentile
        tried = [
            simulate(
                times_s,
                policy,
                self._costs,
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
            limit=self._limit,
            percentiles_s=tuple(response_percentile_s(one.response_s, percentile) for one in tried),
            pooled_percentile_s=response_percentile_s(pooled_s, percentile),
            response_means_s=tuple(one.response_mean_s for one in tried),
            net_j_per_request=_known([one.net_j_per_request for one in tried]),
            gross_j_per_request=_known([one.gross_j_per_request for one in tried]),
            busy_s_per_request=tuple(one.busy_s_per_request for one in tried),
            utilisation=sum(one.utilisation for one in tried) / len(tried),
            batch_mean=sum(one.batch_mean for one in tried) / len(tried),
            dropped_share=float(np.isnan(pooled_s).mean()),
            offered_per_s=self._arrivals.rate_per_s,
            most_per_s=trials.replicas * most_per_s(policy, self._costs),
        )

    def _draw(self, count: int) -> list[NDArray[np.float64]]:
        return [
            self._arrivals.times_s(count, np.random.default_rng((self._trials.seed, number)))
            for number in range(self._trials.windows)
        ]


def requests_in_window(arrivals: ArrivalProcess, limit: ResponseLimit, trials: Trials) -> int:
    """As many as were asked for; else all of a trace, or enough to lie beyond the percentile.

    Args:
        arrivals: that windows are drawn from.
        limit: whose percentile is of interest.
        trials: where the number may be given.
    """
    if trials.requests is not None:
        return trials.requests
    if arrivals.most is not None:
        return arrivals.most
    return max(_REQUESTS, math.ceil(_BEYOND_PERCENTILE / (1 - limit.percentile / 100)))


def _remarks(windows_s: Sequence[NDArray[np.float64]], unlike_per_s: Sequence[float]) -> list[str]:
    remarks = []
    if unlike_per_s:
        least, greatest = significant(min(unlike_per_s)), significant(max(unlike_per_s))
        remarks.append(
            f"windows came at {least} to {greatest}/s by chance: a window holds few bursts; the "
            f"choice was confirmed in windows {LONGER} times as long, the other numbers were not"
        )
    if len(windows_s) > 1 and all((one == windows_s[0]).all() for one in windows_s[1:]):
        remarks.append("all windows have the same arrivals: their spread is meaningless")
    return remarks


def _known(values: Sequence[float | None]) -> tuple[float, ...] | None:
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else None


def _mean(values: Sequence[float] | None) -> float | None:
    return None if values is None else sum(values) / len(values)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
