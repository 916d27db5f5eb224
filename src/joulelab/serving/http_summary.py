"""A load in figures and in sentences: rates, response times, what failed, whether a limit held.

    n        requests that were due          a     of them answered
    L(t)     requests under way at time t    T     from the first to the last due time

A server is called saturated where requests were turned away for it (none could be sent since as
many as allowed were under way, or it answered 429 or 503: more than 1 in 100 of n), or where the
backlog kept growing: at T more than 5 % of n were under way, and the mean of L over the last
quarter of T is more than 1.5 times that over the second, and 2 more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from joulelab import formats
from joulelab.serving.http_exchanges import LATE, NOT_SENT, Exchanges, Floats
from joulelab.serving.planning.limit import ResponseLimit

KEPT_RATE = 0.01
"""By how much of the rate a generator may be off and still have kept it."""
TURNED_AWAY = 0.01
BACKLOG = 0.05
GROWTH, GROWTH_REQUESTS = 1.5, 2.0
OVERLOADED = ("HTTP 429", "HTTP 503")
PAIR = 2


@dataclass(frozen=True)
class Spread:
    """Mean and quantiles of some times in seconds; ``None`` where there are none."""

    mean_s: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None

    @classmethod
    def of(cls, times_s: Floats) -> Spread:
        """Of (n,) seconds."""
        if not len(times_s):
            return cls()
        p50_s, p95_s, p99_s = np.quantile(times_s, (0.5, 0.95, 0.99)).tolist()
        return cls(float(times_s.mean()), p50_s, p95_s, p99_s, float(times_s.max()))


@dataclass(frozen=True)
class LimitCheck:
    """Whether a load kept a limit on response times, which count from the due time.

    Attributes:
        limit: so many percent of all requests within so many seconds; one that failed, or was not
            sent, was not answered in that time.
        share_within: of all requests, that were.
        requests: how many there were.
    """

    limit: ResponseLimit
    share_within: float
    requests: int

    @classmethod
    def of(cls, exchanges: Exchanges, limit: ResponseLimit) -> LimitCheck:
        """Check.

        Args:
            exchanges: what came of each request.
            limit: to be kept.
        """
        within = int((exchanges.response_s <= limit.seconds).sum())
        return cls(limit, within / max(len(exchanges), 1), len(exchanges))

    @property
    def held(self) -> bool:
        """Whether enough requests were answered in time."""
        return self.share_within >= self.limit.percentile / 100

    @property
    def in_words(self) -> str:
        """Whether the limit held, in a sentence."""
        seconds = self.limit.seconds
        limit = f"{seconds:g} s" if seconds >= 1 else f"{1e3 * seconds:g} ms"
        return (
            f"{self.limit.name} within {limit} {'held' if self.held else 'was missed'}: "
            f"{formats.percent(self.share_within)} of {formats.count(self.requests, 'request')} "
            "answered in that time"
        )


@dataclass(frozen=True)
class LoadSummary:
    """A load in figures.

    Attributes:
        requests: that were due.
        answered: of them.
        failed: sent, or tried to be, without an answer that counts.
        not_sent: held back by the generator.
        reasons: why requests failed or were not sent, and how many.
        offered_per_s: mean rate of the arrival process.
        due_per_s: rate of these arrivals, which were drawn from it; like the rates below ``None``
            for fewer than two requests.
        paced_per_s: rate at which the generator took requests up in time.
        sent_per_s: rate at which it sent: less what it held back, as too many were under way.
        throughput_per_s: answers per second from the first sending to the last answer.
        duration_s: of that time.
        late: how late the generator was.
        response: from due to answered, of what was answered.
        service: from sent to answered, of what was answered.
        saturation: in words; empty where there was none.
    """

    requests: int
    answered: int
    failed: int
    not_sent: int
    offered_per_s: float
    due_per_s: float | None
    paced_per_s: float | None
    sent_per_s: float | None
    throughput_per_s: float | None
    duration_s: float
    late: Spread
    response: Spread
    service: Spread
    saturation: str = ""
    reasons: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, exchanges: Exchanges, offered_per_s: float) -> LoadSummary:
        """Sum up.

        Args:
            exchanges: what came of each request.
            offered_per_s: mean rate of the arrival process.
        """
        answered = int(exchanges.answered.sum())
        not_sent = len(exchanges) - int(exchanges.sent.sum())
        duration_s = exchanges.duration_s
        throughput_per_s = answered / duration_s if duration_s else None
        return cls(
            requests=len(exchanges),
            answered=answered,
            failed=len(exchanges) - answered - not_sent,
            not_sent=not_sent,
            offered_per_s=offered_per_s,
            due_per_s=_rate_per_s(exchanges.due_s),
            paced_per_s=_rate_per_s(exchanges.begun_s[exchanges.in_time]),
            sent_per_s=_rate_per_s(exchanges.begun_s[exchanges.sent]),
            throughput_per_s=throughput_per_s,
            duration_s=duration_s,
            late=Spread.of(exchanges.begun_s - exchanges.due_s),
            response=Spread.of(exchanges.response_s),
            service=Spread.of(exchanges.service_s),
            saturation=_saturation(exchanges, offered_per_s, throughput_per_s),
            reasons=exchanges.reasons,
        )

    @property
    def kept_rate(self) -> bool:
        """Whether the generator sent within 1 % of the rate that was due."""
        if self.due_per_s is None:
            return True
        return abs((self.paced_per_s or 0.0) / self.due_per_s - 1) <= KEPT_RATE

    @property
    def generator_in_words(self) -> str:
        """That the generator did not keep its rate; empty where it did."""
        if self.kept_rate:
            return ""
        held_back = self.reasons.get(LATE, 0)
        why = f"; {formats.count(held_back, 'request')} held back as too late" if held_back else ""
        return (
            f"the generator did not keep its rate: {per_s(self.paced_per_s)} of "
            f"{per_s(self.due_per_s)} due, up to {formats.duration(self.late.max_s)} late{why}"
        )


def per_s(rate: float | None) -> str:
    """A rate: ``50.2/s``."""
    return f"{formats.significant(rate)}/s" if formats.known(rate) else formats.UNKNOWN


def _rate_per_s(times_s: Floats) -> float | None:
    if len(times_s) < PAIR or times_s[-1] <= times_s[0]:
        return None
    return float((len(times_s) - 1) / (times_s[-1] - times_s[0]))


def _saturation(exchanges: Exchanges, offered_per_s: float, served_per_s: float | None) -> str:
    count = len(exchanges)
    if not count:
        return ""
    rates = f"offered {per_s(offered_per_s)}, served {per_s(served_per_s)}"
    turned_away = sum(
        number
        for reason, number in exchanges.reasons.items()
        if reason in OVERLOADED or (reason.startswith(NOT_SENT) and reason != LATE)
    )
    if turned_away > TURNED_AWAY * count:
        return f"{rates}: saturated, {formats.count(turned_away, 'request')} turned away"
    end_s = float(exchanges.due_s[-1])
    backlog = int((exchanges.ended_s > end_s).sum())
    second, last = (_under_way(exchanges, k * end_s / 4, (k + 1) * end_s / 4) for k in (1, 3))
    if backlog > BACKLOG * count and last > GROWTH * second + GROWTH_REQUESTS:
        return f"{rates}: saturated, the queue grew as long as requests came"
    return ""


def _under_way(exchanges: Exchanges, from_s: float, to_s: float) -> float:
    """Mean number of requests under way between two moments."""
    overlap_s = np.minimum(exchanges.ended_s, to_s) - np.maximum(exchanges.begun_s, from_s)
    return float(overlap_s.clip(0).sum()) / (to_s - from_s) if to_s > from_s else 0.0
