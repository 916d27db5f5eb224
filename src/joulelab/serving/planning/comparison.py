"""Compare policies under the same arrivals, and choose one.

All policies see the same windows (common random numbers), which removes chance from their
differences. Costs that differ by less than `TIE` are equal, because no measured table is more
accurate; the simpler policy, which comes first, wins. Repeated measurements differ by more, and
policies within that spread of the lowest cost cannot be distinguished. The fastest of them is
chosen: an unproven saving is not worth a wait.

A window starts with an empty queue, and near saturation the queue takes long to reach its steady
length, especially with large batches. With bursty arrivals a window may have few bursts. So a
choice with a load above `BUSY`, or from windows of different rates, is simulated again in windows
`LONGER` times as long, and rejected if it misses the limit there.
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
"""The cost that a plan minimises: gross joules, net joules, or server time."""

TIE = 1e-3
"""Relative difference below which two costs are equal."""

BUSY = 0.7
"""Load (offered rate over capacity) above which a choice is confirmed."""

LONGER = 20

_REQUESTS = 5000
_BEYOND_PERCENTILE = 50
_UNLIKE_RATES = 1.25


@dataclass(frozen=True)
class ResponseLimit:
    """A limit on response time: percentile and seconds.

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
    """Settings of the simulations.

    Args:
        windows: of different arrivals, the same for all policies; at least 1.
        requests: requests per window; default: 5,000, or more if the limit's percentile needs it.
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
    """Results of a policy; tuples have one value per window.

    Attributes:
        policy: as text.
        limit: the limit.
        percentiles_s: response time at the limit's percentile.
        pooled_percentile_s: the same over the requests of all windows.
        response_means_s: mean response time of the answered.
        net_j_per_request: above idle; ``None`` if no energy was measured.
        gross_j_per_request: with idle power; ``None`` if that or energy is unknown.
        busy_s_per_request: seconds of a server.
        utilisation: mean busy share of the servers' time.
        batch_mean: mean size of a batch.
        dropped_share: of the requests.
        offered_per_s: mean rate of arrivals.
        most_per_s: capacity in requests per second with a long queue.
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
        """Offered rate over capacity."""
        return self.offered_per_s / self.most_per_s if self.most_per_s else math.inf

    @property
    def saturated(self) -> bool:
        """Whether requests arrive faster than served, so that the queue grows without bound."""
        return self.load >= 1

    @property
    def response_s(self) -> float:
        """Response time at the limit's percentile; infinite if the queue grows without bound."""
        return math.inf if self.saturated else self.pooled_percentile_s

    @property
    def holds(self) -> bool:
        """Whether the limit is met, over all windows together."""
        return self.response_s <= self.limit.seconds

    @property
    def windows_within(self) -> int:
        """Number of windows that meet the limit."""
        within = sum(one_s <= self.limit.seconds for one_s in self.percentiles_s)
        return 0 if self.saturated else within

    def per_request(self, account: Account) -> tuple[float, ...] | None:
        """Cost per request by window, in joules or server seconds; ``None`` where unknown."""
        if account == "time":
            return self.busy_s_per_request
        return self.net_j_per_request if account == "net" else self.gross_j_per_request

    def mean_per_request(self, account: Account) -> float | None:
        """The mean over windows."""
        return _mean(self.per_request(account))

    def spread_per_request(self, account: Account) -> tuple[float, float] | None:
        """Minimum and maximum over the windows."""
        values = self.per_request(account)
        return None if values is None else (min(values), max(values))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; infinite and unknown values are ``None``."""
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
    """Simulates each policy under the same arrivals.

    Args:
        policies: the simplest first.
        costs: of batches by size.
        arrivals: source of the windows; a recorded trace is the same in each.
        limit: its percentile determines the requests per window.
        trials: number of windows and of requests, seed, replicas.

    Attributes:
        outcomes: one for each policy.
        remarks: what a reader should know of the windows.

    Raises:
        UsageError: there are fewer arrivals than requested, or no costs of a size.
        PluginError: a policy returns an invalid batch.
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
        """The policy to run, and the one with the lowest cost, among those that meet the limit.

        Args:
            account: the cost to minimise.
            spread: relative spread of repeated cost measurements.

        Returns:
            The fastest policy within the spread of the lowest cost, and the one with the lowest
            cost; both ``None`` if no policy meets the limit.
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
        """Whether longer windows may change the choice; a trace has none."""
        busy = self.outcomes[number].load > BUSY
        return (busy or self._uneven) and self._arrivals.most is None

    def _quickest(self, cheapest: int, account: Account, spread: float) -> int:
        """The fastest of those that meet the limit and are indistinguishable from the cheapest."""
        if not spread:
            return cheapest  # for costs assumed exact
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
        """The first of those that meet the limit with the lowest cost, up to ties."""
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
    """The requested number; else all of a trace, or enough for the percentile.

    Args:
        arrivals: source of the windows.
        limit: limit with the percentile.
        trials: settings that may give the number.
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
