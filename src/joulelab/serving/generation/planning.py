"""Choose how many sequences to decode together, within limits on first token and time per token.

Every candidate, a largest number of sequences, is simulated with the same arrivals
(`simulation`). It qualifies if it is not saturated and both limits hold over all windows together.
Of those that qualify the one with the fewest joules per output token is chosen or, among those that
cannot be told from it, the one with the quickest first token. By default joules are gross: an idle
server also uses power, which the tokens have to pay.

A choice with a load above `BUSY` is simulated again in longer windows, since a queue near
saturation takes long to reach its length (`joulelab.serving.planning.comparison`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulelab.serving.arrivals import ArrivalProcess
from joulelab.serving.generation.costs import TokenCosts
from joulelab.serving.generation.simulation import Lengths, most_per_s, simulate_tokens
from joulelab.serving.planning.comparison import (
    BUSY,
    TIE,
    Account,
    ResponseLimit,
    Trials,
)
from joulelab.serving.planning.simulation import response_percentile_s

LONGER = 5
REQUESTS = 1000
WINDOWS = 3
NO_LIMIT = ResponseLimit(99, 1e9)
"""A limit that always holds; its percentile is shown."""


@dataclass(frozen=True)
class TokenLimits:
    """Limits on the first token and on the time per token.

    Attributes:
        first: of the time to the first token; ``None`` for none.
        token: of the mean time of the other tokens of a request; ``None`` for none.
    """

    first: ResponseLimit | None = None
    token: ResponseLimit | None = None


@dataclass(frozen=True)
class TokenOutcome:
    """Results of a candidate, over all windows.

    Attributes:
        most: the largest number of sequences decoded together.
        first_s: time to the first token at its limit's percentile; infinite if saturated.
        per_token_s: time per token at its limit's percentile.
        first_median_s: median time to the first token.
        per_token_median_s: median time per token.
        net_j_per_token: above idle, per output token; ``None`` where unknown.
        gross_j_per_token: with idle power; ``None`` where unknown.
        busy_s_per_token: seconds of the server.
        tokens_per_s: output tokens per second.
        batch_mean: mean number of sequences in a step.
        load: offered rate over capacity.
        holds: whether it keeps up and both limits hold.
    """

    most: int
    first_s: float
    per_token_s: float
    first_median_s: float
    per_token_median_s: float
    net_j_per_token: float | None
    gross_j_per_token: float | None
    busy_s_per_token: float
    tokens_per_s: float
    batch_mean: float
    load: float
    holds: bool

    @property
    def saturated(self) -> bool:
        """Whether requests arrive faster than they are answered."""
        return self.load >= 1

    def cost(self, account: Account) -> float | None:
        """Joules, or server seconds, per output token; ``None`` where unknown."""
        if account == "time":
            return self.busy_s_per_token
        return self.net_j_per_token if account == "net" else self.gross_j_per_token

    def to_dict(self) -> dict[str, Any]:
        """Plain data; infinite values are ``None``."""
        finite = {
            name: value if value is None or math.isfinite(value) else None
            for name, value in vars(self).items()
        }
        return {**finite, "saturated": self.saturated}


@dataclass(frozen=True)
class TokenPlan:
    """A comparison of numbers of sequences under the same arrivals.

    Attributes:
        arrivals: as text.
        rate_per_s: mean offered rate.
        lengths: of every request.
        limits: on first token and time per token.
        account: the minimised cost.
        outcomes: of every candidate, the smallest first.
        best: the choice; ``None`` if no candidate qualifies.
    """

    arrivals: str
    rate_per_s: float
    lengths: Lengths
    limits: TokenLimits
    account: Account
    outcomes: tuple[TokenOutcome, ...]
    best: TokenOutcome | None

    @property
    def baseline(self) -> TokenOutcome:
        """One sequence at a time."""
        return self.outcomes[0]

    @property
    def saving(self) -> float | None:
        """Share of the baseline's cost that the best saves; ``None`` where unknown."""
        if self.best is None:
            return None
        after, before = self.best.cost(self.account), self.baseline.cost(self.account)
        return None if after is None or not before else 1 - after / before

    @property
    def most_per_s(self) -> float:
        """Requests per second that the best candidate could answer."""
        return max(self.rate_per_s / one.load for one in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the choice, and every candidate."""
        limits = {
            name: None if one is None else {"percentile": one.percentile, "seconds": one.seconds}
            for name, one in (("first", self.limits.first), ("token", self.limits.token))
        }
        return {
            "arrivals": self.arrivals,
            "rate_per_s": self.rate_per_s,
            "input_tokens": self.lengths.prompt,
            "output_tokens": self.lengths.output,
            "limits": limits,
            "account": self.account,
            "best": None if self.best is None else self.best.most,
            "saving": self.saving,
            "most_per_s": self.most_per_s,
            "candidates": [one.to_dict() for one in self.outcomes],
        }


def plan_tokens(
    costs: TokenCosts,
    arrivals: ArrivalProcess,
    lengths: Lengths,
    limits: TokenLimits,
    trials: Trials | None = None,
    spread: float = 0.0,
) -> TokenPlan:
    """Compare every measured batch size as the largest, and choose.

    Args:
        costs: of prefills and steps.
        arrivals: at the planned rate.
        lengths: of every request.
        limits: on first token and time per token.
        trials: windows, requests and seed; the rest is ignored.
        spread: relative spread of repeated measurements; candidates within it of the least cost
            cannot be told from it.
    """
    trials = trials or Trials(WINDOWS)
    account = _account(costs)
    outcomes = {
        most: _try(most, costs, arrivals, lengths, limits, trials) for most in costs.batches
    }
    confirmed: set[int] = set()
    while True:
        best = _best(list(outcomes.values()), account, spread)
        doubtful = best is not None and best.load > BUSY and arrivals.most is None
        if best is None or not doubtful or best.most in confirmed:
            break
        confirmed.add(best.most)
        outcomes[best.most] = _try(best.most, costs, arrivals, lengths, limits, trials, LONGER)
    return TokenPlan(
        str(arrivals),
        arrivals.rate_per_s,
        lengths,
        limits,
        account,
        tuple(outcomes.values()),
        best,
    )


def _account(costs: TokenCosts) -> Account:
    if not costs.energy_known:
        return "time"
    return "net" if costs.idle_w is None else "gross"


def _best(outcomes: Sequence[TokenOutcome], account: Account, spread: float) -> TokenOutcome | None:
    """The quickest of those that qualify and cannot be told from the cheapest."""
    known = [(cost, one) for one in outcomes if one.holds and (cost := one.cost(account))]
    if not known:
        return None
    most = min(cost for cost, _ in known) * (1 + max(spread, TIE))
    alike = [one for cost, one in known if cost <= most]
    quickest_s = min(one.first_s for one in alike)
    return next(one for one in alike if one.first_s <= quickest_s * (1 + TIE))


def _try(
    most: int,
    costs: TokenCosts,
    arrivals: ArrivalProcess,
    lengths: Lengths,
    limits: TokenLimits,
    trials: Trials,
    longer: int = 1,
) -> TokenOutcome:
    """Simulate a candidate in each window."""
    count = arrivals.most or longer * (trials.requests or REQUESTS)
    tried = [
        simulate_tokens(
            arrivals.times_s(count, np.random.default_rng((trials.seed, number))),
            most,
            lengths,
            costs,
        )
        for number in range(trials.windows)
    ]
    load = arrivals.rate_per_s / most_per_s(most, lengths, costs)
    first_s = np.concatenate([one.first_s for one in tried])
    per_token_s = np.concatenate([one.per_token_s for one in tried])
    first, token = limits.first or NO_LIMIT, limits.token or NO_LIMIT
    first_tail_s = response_percentile_s(first_s, first.percentile) if load < 1 else math.inf
    token_tail_s = response_percentile_s(per_token_s, token.percentile)
    tokens = sum(one.tokens for one in tried)

    def per_token(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return math.fsum(known) / len(known) if len(known) == len(values) else None

    return TokenOutcome(
        most,
        first_tail_s,
        token_tail_s,
        float(np.median(first_s)) if load < 1 else math.inf,
        float(np.median(per_token_s)),
        per_token([one.net_j_per_token for one in tried]),
        per_token([one.gross_j_per_token for one in tried]),
        math.fsum(one.busy_s for one in tried) / tokens,
        tokens / math.fsum(one.duration_s for one in tried),
        math.fsum(one.batch_mean for one in tried) / len(tried),
        load,
        load < 1 and first_tail_s <= first.seconds and token_tail_s <= token.seconds,
    )
