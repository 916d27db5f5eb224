"""Policies under the same arrivals, and the choice among them.

All meet the same windows (common random numbers), so that their differences are not those of
chance. Two that differ by less than `TIE` cost the same, since no measured table of costs is better
than that; the simpler one, which comes first, is taken. Costs that were measured again differ by
more, and policies whose costs lie within that spread of the least cannot be told apart. The
quickest of them is the choice, for joules that nobody can show are no reason to let requests wait.

A window begins with an empty queue, and near saturation the queue takes long to reach its usual
length: the more so the larger the batches. Where arrivals come in bursts, few of them may lie in a
window. So a choice with a load above `BUSY`, or from windows of unlike rates, is simulated again in
windows `LONGER` times as long, and dropped if it does not hold the limit there.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from joulelab.formats import significant
from joulelab.serving.arrivals import ArrivalProcess
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.limit import ResponseLimit
from joulelab.serving.planning.outcome import Account, Outcome, Trials, try_policy
from joulelab.serving.policies import Policy

TIE = 1e-3
"""Relative difference of costs below which two policies are alike."""

BUSY = 0.7
"""Load, offered over what can be answered, from which on a choice is confirmed."""

LONGER = 20

_REQUESTS = 5000
_BEYOND_PERCENTILE = 50
_UNLIKE_RATES = 1.25


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
        offered_per_s = self._arrivals.rate_per_s
        return try_policy(policy, windows_s, offered_per_s, self._costs, self._limit, self._trials)

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
    return max(_REQUESTS, ceil(_BEYOND_PERCENTILE / (1 - limit.percentile / 100)))


def _remarks(windows_s: Sequence[NDArray[np.float64]], unlike_per_s: Sequence[float]) -> list[str]:
    remarks = []
    if unlike_per_s:
        least, greatest = significant(min(unlike_per_s)), significant(max(unlike_per_s))
        remarks.append(
            f"windows came at {least} to {greatest}/s by chance: few bursts lie in a window; the "
            f"choice was confirmed in windows {LONGER} times as long, the other figures were not"
        )
    if len(windows_s) > 1 and all((one == windows_s[0]).all() for one in windows_s[1:]):
        remarks.append("every window has the same arrivals: their spread says nothing")
    return remarks
