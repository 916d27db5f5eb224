"""Choose the batching policy with the lowest energy per request within a limit on response time.

::

    costs ──────┐
    arrivals ───┤ windows, the same for all ──> each candidate simulated in each
    candidates ─┘                                        │
                 not saturated, percentile within limit  ▼
          lowest energy per request ──> least            baseline: fixed(1)
    the fastest not distinguishable from it ──> best

Candidates, simplest first; of equal costs, the first wins:

    fixed(1)             the baseline: no batching
    fixed(n)             n waits for n, each measured size (Yarally et al., SEAA 2023)
    greedy(n)            the largest first: no parameters, and most room for bursts
    fixed(n, wait_ms)    for each size whose batch keeps the limit, shares of the time that the
                         limit leaves for waiting
    own                  as given

By default joules are gross: a waiting server also uses idle power, which has to be paid. For the
choice see `comparison`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from joulelab.formats import duration, joules, percent, significant
from joulelab.serving.arrivals import ArrivalProcess
from joulelab.serving.planning.comparison import Account, Comparison, Outcome, ResponseLimit, Trials
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.policies import Fixed, Greedy, Policy, parse_policy

BASELINE = "fixed(1)"

WAITING_SHARES = (0.125, 0.25, 0.5, 0.75)
"""Longest waits, as shares of the limit minus the time of a full batch."""

_MS_IN_S = 1e3


@dataclass(frozen=True)
class Plan:
    """A comparison of policies under the same arrivals.

    Attributes:
        arrivals: as text.
        rate_per_s: mean offered rate.
        limit: of the response time.
        account: the minimised cost: gross or net joules, or time if no energy was measured.
        outcomes: of every candidate, the simplest first.
        baseline: of one request at a time.
        best: the choice: the fastest of those not distinguishable from the lowest cost; ``None`` if
            no candidate meets the limit.
        least: the candidate with the lowest cost; `best` if distinguishable from all others.
        spread: relative spread of repeated cost measurements; 0 if unknown.
        remarks: what a reader should know.
    """

    arrivals: str
    rate_per_s: float
    limit: ResponseLimit
    account: Account
    outcomes: tuple[Outcome, ...]
    baseline: Outcome
    best: Outcome | None
    least: Outcome | None = None
    spread: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def quickest(self) -> Outcome | None:
        """The candidate with the shortest response time; ``None`` where all are saturated."""
        kept_up = [one for one in self.outcomes if not one.saturated]
        return min(kept_up, key=lambda one: one.response_s, default=None)

    @property
    def saving(self) -> float | None:
        """Share of the baseline's cost that the best saves."""
        return self._less(self.best, self.baseline)

    @property
    def undecided(self) -> float | None:
        """Share of the best's cost that `least` saves, perhaps by chance; ``None`` if none."""
        return None if self.least is self.best else self._less(self.least, self.best)

    def _less(self, one: Outcome | None, other: Outcome | None) -> float | None:
        """Share of the other's cost that the one saves."""
        if one is None or other is None:
            return None
        needed, before = (outcome.mean_per_request(self.account) for outcome in (one, other))
        return 1 - needed / before if needed is not None and before else None

    def in_words(self) -> str:
        """The choice, the baseline and the saving in one sentence."""
        at = f"at {significant(self.rate_per_s)}/s"
        if self.best is None:
            quickest = self.quickest
            if quickest is None:
                return f"{at} every policy is saturated: requests arrive faster than served"
            told = f"{at} no policy meets {self.limit}"
            return f"{told}; the quickest is {quickest.policy}: {self._figures(quickest)}"
        told = f"{at} {self.best.policy} needs {self._figures(self.best)}"
        if self.least is not None and self.undecided is not None:
            told += f"; {self.least.policy} {self._figures(self.least)}, perhaps by chance"
        elif self.best.policy == self.baseline.policy:
            return f"{told}: no batching that meets {self.limit} saves more"
        if self.best.policy == self.baseline.policy:
            return told
        told += f"; batch 1 {self._figures(self.baseline)}"
        return told if self.saving is None else f"{told}; saved: {percent(self.saving)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the choice, the baseline, and every candidate."""
        return {
            "arrivals": self.arrivals,
            "rate_per_s": self.rate_per_s,
            "limit": {"percentile": self.limit.percentile, "seconds": self.limit.seconds},
            "account": self.account,
            "best": None if self.best is None else self.best.policy,
            "least": None if self.least is None else self.least.policy,
            "undecided": self.undecided,
            "spread": self.spread,
            "baseline": self.baseline.policy,
            "saving": self.saving,
            "in_words": self.in_words(),
            "remarks": list(self.remarks),
            "candidates": [outcome.to_dict() for outcome in self.outcomes],
        }

    def _figures(self, outcome: Outcome) -> str:
        value = outcome.mean_per_request(self.account)
        cost = f"{duration(value)} of server time" if self.account == "time" else joules(value)
        if outcome.saturated:
            return f"{cost} a request, and cannot keep up"
        if not isfinite(outcome.response_s):
            return f"{cost} a request, and drops {percent(outcome.dropped_share)}"
        return f"{cost} a request ({self.limit.name} {duration(outcome.response_s)})"


def plan(
    costs: BatchCosts,
    arrivals: ArrivalProcess,
    limit: ResponseLimit,
    own: Sequence[str] = (),
    candidates: Sequence[str] | None = None,
    account: Account = "gross",
    trials: Trials | None = None,
    spread: float = 0.0,
) -> Plan:
    """Compare policies and choose.

    Args:
        costs: of batches by size.
        arrivals: at the planned rate.
        limit: of the response time.
        own: policies beside the usual ones, as text.
        candidates: the only policies to compare, the simplest first; the baseline joins them.
        account: the cost to minimise: ``"gross"`` joules, ``"net"`` joules or ``"time"``. If
            unknown, the next one is used, with a remark.
        trials: windows, requests, replicas; see `Trials`.
        spread: relative spread of repeated cost measurements; policies within it of the lowest cost
            cannot be distinguished, and the fastest of them is chosen.

    Raises:
        UsageError: a policy is impossible, or may serve batches of unknown cost.
        PluginError: a policy answers what cannot be served.
    """
    trials = trials or Trials()
    if candidates is None:
        policies = candidate_policies(costs, limit, own)
    else:
        policies = [parse_policy(text) for text in dict.fromkeys((BASELINE, *candidates, *own))]
    comparison = Comparison(policies, costs, arrivals, limit, trials)
    used, remarks = _known_account(account, costs)
    best, least = comparison.choose(used, spread)
    outcomes = tuple(comparison.outcomes)
    return Plan(
        arrivals=str(arrivals),
        rate_per_s=arrivals.rate_per_s,
        limit=limit,
        account=used,
        outcomes=outcomes,
        baseline=outcomes[0],
        best=best,
        least=least,
        spread=spread,
        remarks=(*remarks, *_baseline_remarks(outcomes[0]), *comparison.remarks),
    )


def plan_rates(
    costs: BatchCosts,
    arrivals: ArrivalProcess,
    rates_per_s: Sequence[float],
    limit: ResponseLimit,
    own: Sequence[str] = (),
    account: Account = "gross",
    trials: Trials | None = None,
) -> tuple[Plan, ...]:
    """A plan for each of several rates of the same kind of arrivals; arguments as of `plan`."""
    return tuple(
        plan(costs, arrivals.at_rate(rate_per_s), limit, own, account=account, trials=trials)
        for rate_per_s in rates_per_s
    )


def candidate_policies(
    costs: BatchCosts, limit: ResponseLimit, own: Sequence[str] = ()
) -> list[Policy]:
    """The policies that a plan compares, the baseline first.

    Args:
        costs: their sizes are those of the candidates.
        limit: of the response time.
        own: further policies as text.

    Raises:
        UsageError: a user's policy is impossible.
    """
    beyond_one = [size for size in costs.sizes if size > 1]
    waits = [
        Fixed(size, wait_ms=float(f"{share * room_s * _MS_IN_S:.3g}"))
        for size in beyond_one
        if (room_s := limit.seconds - costs.seconds_of(size)) > 0
        for share in WAITING_SHARES
    ]
    offered: list[Policy] = [
        Fixed(1),
        *map(Fixed, beyond_one),
        *map(Greedy, reversed(beyond_one)),
        *waits,
        *map(parse_policy, own),
    ]
    return list({str(policy): policy for policy in offered}.values())


def _known_account(account: Account, costs: BatchCosts) -> tuple[Account, list[str]]:
    if account != "time" and costs.joules is None:
        return "time", ["no energy was measured: policies are compared by seconds of server time"]
    if account == "gross" and costs.idle_w is None:
        return "net", ["idle power is unknown: policies are compared by energy above idle"]
    return account, []


def _baseline_remarks(baseline: Outcome) -> list[str]:
    if not baseline.saturated:
        return []
    return [
        f"batch 1 cannot keep up: offered {significant(baseline.offered_per_s)}/s, at most "
        f"{significant(baseline.most_per_s)}/s can be served; its joules are for a server that is "
        "always busy"
    ]
