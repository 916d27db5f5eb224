"""The number of replicas that serves a rate within a limit at the lowest power.

    R    rate of the whole fleet, requests per second
    N    replicas; each request goes to one of them at random
    P_0  idle power of a replica
    e    joules above idle of a request, under the best policy at rate R / N

    power        P = N P_0 + R e(R / N)
    a request    P / R

One replica represents all: with random splitting they are equal and, for Poisson arrivals,
independent. Fewer replicas are busier, batch more and use less idle power, until the limit is
missed; so the search starts at the smallest number with enough capacity, finds the first that meets
the limit, and then checks whether more replicas use less power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor, isfinite
from typing import Any

from joulelab.errors import UsageError
from joulelab.formats import duration, significant
from joulelab.serving.arrivals import ArrivalProcess, thinned
from joulelab.serving.planning.comparison import (
    Comparison,
    Outcome,
    ResponseLimit,
    Trials,
    requests_in_window,
)
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.plan import BASELINE, candidate_policies
from joulelab.serving.planning.simulation import most_per_s
from joulelab.serving.policies import Policy, parse_policy

JOULES_IN_KWH = 3.6e6
DAY_S = 86_400.0

_GROWTH = (1, 1.02, 1.05, 1.1, 1.25, 1.5, 2, 3, 5, 10, 30, 100, 1000)
_BEYOND = (1.1, 1.25, 1.5, 2)
_CLOSE = 0.01
_G_IN_KG = 1e3


@dataclass(frozen=True)
class Site:
    """The site of a fleet: carbon intensity and PUE.

    Args:
        g_per_kwh: carbon intensity of its electricity in g CO2e per kWh; ``None``: unknown.
        pue: power of the data centre over power of the machines, at least 1.

    Raises:
        UsageError: a number is impossible.
    """

    g_per_kwh: float | None = None
    pue: float = 1.0

    def __post_init__(self) -> None:
        g_per_kwh = self.g_per_kwh
        if g_per_kwh is not None and not (isfinite(g_per_kwh) and g_per_kwh >= 0):
            raise UsageError(
                f"{g_per_kwh:g} g/kWh is not a carbon intensity", "write grams CO2e per kWh"
            )
        if not (isfinite(self.pue) and self.pue >= 1):
            raise UsageError(f"a PUE of {self.pue:g} is below 1", "write 1.2, or omit it")


@dataclass(frozen=True)
class Fleet:
    """A fleet: replicas, policy and power.

    Attributes:
        rate_per_s: of the whole fleet.
        replicas: number of replicas.
        outcome: of one replica under the chosen policy.
        idle_w: of one replica; ``None`` where unknown.
        site: carbon intensity and PUE.
        remarks: what a reader should know.
        baseline: the fleet without batching; ``None`` if none meets the limit.
    """

    rate_per_s: float
    replicas: int
    outcome: Outcome
    idle_w: float | None
    site: Site
    remarks: tuple[str, ...] = ()
    baseline: Fleet | None = None

    @property
    def policy(self) -> str:
        """Of every replica."""
        return self.outcome.policy

    @property
    def power_w(self) -> float | None:
        """Of all machines, including idle power; ``None`` if partly unknown."""
        net_j = self.outcome.mean_per_request("net")
        if net_j is None or self.idle_w is None:
            return None
        return self.replicas * self.idle_w + self.rate_per_s * net_j

    @property
    def joules_per_request(self) -> float | None:
        """Of the machines, including idle power."""
        return None if self.power_w is None else self.power_w / self.rate_per_s

    @property
    def kwh_per_day(self) -> float | None:
        """Of the data centre: machines times PUE."""
        power_w = self.power_w
        return None if power_w is None else power_w * self.site.pue * DAY_S / JOULES_IN_KWH

    @property
    def co2e_kg_per_day(self) -> float | None:
        """From the data centre's electricity; ``None`` if power or intensity is unknown."""
        if self.kwh_per_day is None or self.site.g_per_kwh is None:
            return None
        return self.kwh_per_day * self.site.g_per_kwh / _G_IN_KG

    @property
    def saving(self) -> float | None:
        """Share of the baseline's power that this fleet saves."""
        before_w = None if self.baseline is None else self.baseline.power_w
        return 1 - self.power_w / before_w if self.power_w is not None and before_w else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the fleet without batching under ``baseline``."""
        return {
            "rate_per_s": self.rate_per_s,
            "replicas": self.replicas,
            "replica": self.outcome.to_dict(),
            "power_w": self.power_w,
            "joules_per_request": self.joules_per_request,
            "kwh_per_day": self.kwh_per_day,
            "co2e_kg_per_day": self.co2e_kg_per_day,
            "g_per_kwh": self.site.g_per_kwh,
            "pue": self.site.pue,
            "saving": self.saving,
            "remarks": list(self.remarks),
            "baseline": None if self.baseline is None else self.baseline.to_dict(),
        }


def fleet(
    costs: BatchCosts,
    arrivals: ArrivalProcess,
    limit: ResponseLimit,
    own: Sequence[str] = (),
    candidates: Sequence[str] | None = None,
    site: Site | None = None,
    trials: Trials | None = None,
) -> Fleet:
    """Find the number of replicas and their policy with the lowest power within a limit.

    Args:
        costs: of batches on one replica.
        arrivals: of the whole fleet, at its rate.
        limit: of the response time.
        own: additional policies, as text.
        candidates: the only policies to consider, as text.
        site: carbon intensity and PUE.
        trials: windows, requests and capacity of one replica; its replicas and dispatch are
            ignored. Default: 3 windows.

    Raises:
        UsageError: no number of replicas meets the limit, or an argument is impossible.
        PluginError: a policy answers what cannot be served.
    """
    if candidates is None:
        policies = candidate_policies(costs, limit, own)
    else:
        policies = [parse_policy(text) for text in dict.fromkeys((*candidates, *own))]
    trials = replace(trials or Trials(windows=3), replicas=1)
    site = site or Site()
    found = _Search(costs, arrivals, limit, policies, site, trials).fewest_watts()
    if found.policy == BASELINE:
        return replace(found, baseline=found)
    try:
        alone = [parse_policy(BASELINE)]
        before = _Search(costs, arrivals, limit, alone, site, trials).fewest_watts()
    except UsageError:
        remark = f"without batching, no number of replicas meets {limit}"
        return replace(found, remarks=(*found.remarks, remark))
    return replace(found, baseline=before)


@dataclass
class _Search:
    """Fleets by number of replicas; each number is simulated once."""

    costs: BatchCosts
    arrivals: ArrivalProcess
    limit: ResponseLimit
    policies: Sequence[Policy]
    site: Site
    trials: Trials
    _tried: dict[int, Fleet | None] = field(default_factory=dict)
    _quickest: Outcome | None = None

    def fewest_watts(self) -> Fleet:
        """The fleet that meets the limit with the lowest power; without energies, the smallest."""
        first = self._first_that_holds()
        beyond = [self._at(ceil(factor * first.replicas)) for factor in _BEYOND]
        fleets = [first, *(one for one in beyond if one is not None)]
        powers = [(one.power_w, number) for number, one in enumerate(fleets)]
        known = [(power_w, number) for power_w, number in powers if power_w is not None]
        return fleets[min(known)[1]] if known else first

    def _first_that_holds(self) -> Fleet:
        """The smallest number of replicas that meets the limit, within 1 %.

        This assumes that larger fleets meet it too; if some do not, the result still meets the
        limit.
        """
        rate_per_s = self.arrivals.rate_per_s
        answered_per_s = max(most_per_s(policy, self.costs) for policy in self.policies)
        least = floor(rate_per_s / answered_per_s) + 1
        too_few, enough = least - 1, None
        for factor in _GROWTH if min(self.costs.seconds) <= self.limit.seconds else ():
            enough = self._at(ceil(factor * least))
            if enough is not None:
                break
            too_few = ceil(factor * least)
        if enough is None:
            raise UsageError(
                f"no number of replicas meets {self.limit}: {self._why_not()}",
                "allow more time, or serve a faster model",
            )
        while enough.replicas - too_few > max(1, floor(_CLOSE * enough.replicas)):
            middle = (too_few + enough.replicas) // 2
            between = self._at(middle)
            if between is None:
                too_few = middle
            else:
                enough = between
        return enough

    def _at(self, replicas: int) -> Fleet | None:
        """The best fleet of a size; ``None`` if no policy meets the limit."""
        if replicas not in self._tried:
            self._tried[replicas] = self._try(replicas)
        return self._tried[replicas]

    def _try(self, replicas: int) -> Fleet | None:
        share_per_s = self.arrivals.rate_per_s / replicas
        able = [one for one in self.policies if most_per_s(one, self.costs) > share_per_s]
        requests = requests_in_window(self.arrivals, self.limit, self.trials)
        share, remark = thinned(self.arrivals, replicas, requests)
        comparison = Comparison(able, self.costs, share, self.limit, self.trials)
        # Idle power of the fleet does not depend on the policy.
        best, _ = comparison.choose("time" if self.costs.joules is None else "net")
        reached = [one for one in (self._quickest, *comparison.outcomes) if one is not None]
        self._quickest = min(reached, key=lambda one: one.response_s, default=None)
        if best is None:
            return None
        told = (*comparison.remarks, *([remark] if remark else []))
        idle_w = self.costs.idle_w
        return Fleet(self.arrivals.rate_per_s, replicas, best, idle_w, self.site, told)

    def _why_not(self) -> str:
        if self._quickest is None:
            return f"a batch takes at least {duration(min(self.costs.seconds))}"
        return (
            f"up to {max(self._tried):,} were tried, and the quickest policy, "
            f"{self._quickest.policy} at {significant(self._quickest.offered_per_s)}/s each, has "
            f"{self.limit.name} {duration(self._quickest.response_s)}"
        )
