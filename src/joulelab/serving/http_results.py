"""Results of a load: outcomes of requests, summary numbers and sentences.

    n        requests that were due          a     of them answered
    L(t)     open requests at time t    T     from the first to the last due time

A server is saturated if requests were turned away (not sent because the maximum number was open, or
answered with 429 or 503: more than 1 in 100 of n), or if the backlog kept growing: at T more than 5
% of n were open, and the mean of L over the last quarter of T exceeds 1.5 times the mean over the
second quarter, and this mean plus 2.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulelab import formats
from joulelab.serving.http_connection import Answer
from joulelab.serving.planning.comparison import ResponseLimit
from joulelab.serving.results import Times
from joulelab.serving.summary import KEPT, Spread, mean_rate_per_s

ANSWERED = "answered"
INTERRUPTED = "interrupted"
NOT_SENT = "not sent"
LATE = f"{NOT_SENT}: the generator was late"

TURNED_AWAY = 0.01
BACKLOG = 0.05
GROWTH, GROWTH_REQUESTS = 1.5, 2.0
OVERLOADED = ("HTTP 429", "HTTP 503")


@dataclass(frozen=True)
class Exchanges:
    """Requests in order of due time; times in seconds since the first due time.

    Attributes:
        due_s: (n,) due time of each.
        begun_s: (n,) time when the generator started it.
        sent_s: (n,) time when it was passed to the system on an open connection; NaN if never.
        ended_s: (n,) time of the complete answer, or of the failure.
        status: (n,) of HTTP; 0 without an answer.
        outcome: (n,) index of the outcome in `outcomes`; 0 for answered.
        outcomes: ``"answered"``, then the reasons for which requests failed or were not sent.
        location: target of the first redirect; empty without one.
        details: what the server said about the first failure of a kind, by outcome.
        start_s: the first due time on the monotonic clock; NaN if unknown.
    """

    due_s: Times
    begun_s: Times
    sent_s: Times
    ended_s: Times
    status: NDArray[np.int16]
    outcome: NDArray[np.int32]
    outcomes: tuple[str, ...]
    location: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    start_s: float = math.nan

    def __len__(self) -> int:
        return len(self.due_s)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(n,) whether it got a valid answer."""
        return np.equal(self.outcome, 0)

    @property
    def sent(self) -> NDArray[np.bool_]:
        """(n,) whether the generator did not hold it back, with or without a connection."""
        sent = np.array([not name.startswith(NOT_SENT) for name in self.outcomes])
        return sent[self.outcome]

    @property
    def in_time(self) -> NDArray[np.bool_]:
        """(n,) whether the generator started it in time."""
        return np.array([name != LATE for name in self.outcomes])[self.outcome]

    @property
    def response_s(self) -> Times:
        """(answered,) from due to answered."""
        return (self.ended_s - self.due_s)[self.answered]

    @property
    def service_s(self) -> Times:
        """(answered,) from sent to answered."""
        return (self.ended_s - self.sent_s)[self.answered]

    @property
    def duration_s(self) -> float:
        """From the first beginning to the last end in seconds; 0 without requests."""
        return float(self.ended_s.max() - self.begun_s.min()) if len(self) else 0.0

    @property
    def reasons(self) -> dict[str, int]:
        """Reasons for failed and unsent requests with counts, most frequent first."""
        counts = Counter(self.outcome[~self.answered].tolist())
        return {self.outcomes[number]: count for number, count in counts.most_common()}

    def columns(self) -> dict[str, Any]:
        """The requests as columns of equal length, one row per request."""
        response_s = np.where(self.answered, self.ended_s - self.due_s, np.nan)
        return {
            "request": np.arange(len(self)),
            "due_s": self.due_s,
            "begun_s": self.begun_s,
            "sent_s": self.sent_s,
            "ended_s": self.ended_s,
            "response_s": response_s,
            "status": self.status,
            "outcome": [self.outcomes[number] for number in self.outcome],
        }


@dataclass
class Record:
    """Recorder of `Exchanges`: each request records its events.

    Args:
        due_s: (n,) seconds after `start_s`.
        start_s: on the clock whose times are entered.
    """

    due_s: Times
    start_s: float
    location: str = ""
    details: dict[str, str] = field(default_factory=dict)
    _outcomes: dict[str, int] = field(default_factory=lambda: {ANSWERED: 0})

    def __post_init__(self) -> None:
        count = len(self.due_s)
        self._begun_s, self._sent_s, self._ended_s = np.full((3, count), np.nan)
        self._status = np.zeros(count, np.int16)
        self._outcome = np.zeros(count, np.int32)

    def begin(self, number: int, now_s: float) -> float:
        """The generator starts a request; returns its delay in seconds."""
        self._outcome[number] = self._code(INTERRUPTED)
        self._begun_s[number] = now_s - self.start_s
        return float(self._begun_s[number] - self.due_s[number])

    def sent(self, number: int, at_s: float) -> None:
        """It was passed to the system."""
        self._sent_s[number] = at_s - self.start_s

    def answered(self, number: int, answer: Answer) -> None:
        """The server answered."""
        self._ended_s[number] = answer.at_s - self.start_s
        self._status[number] = answer.status
        self._outcome[number] = self._code(answer.failure or ANSWERED)
        self.location = self.location or answer.location
        if answer.failure and answer.detail:
            self.details.setdefault(answer.failure, answer.detail)

    def failed(self, number: int, reason: str, at_s: float) -> None:
        """It was started and failed."""
        self._ended_s[number] = at_s - self.start_s
        self._outcome[number] = self._code(reason)

    def not_sent(self, number: int, reason: str) -> None:
        """It was due but held back."""
        self._ended_s[number] = self._begun_s[number]
        self._outcome[number] = self._code(reason)

    def exchanges(self, begun: int, now_s: float) -> Exchanges:
        """The results of the first `begun` requests; open ones end now."""
        ended_s = self._ended_s[:begun]
        ended_s[np.isnan(ended_s)] = now_s - self.start_s
        return Exchanges(
            self.due_s[:begun],
            self._begun_s[:begun],
            self._sent_s[:begun],
            ended_s,
            self._status[:begun],
            self._outcome[:begun],
            tuple(self._outcomes),
            self.location,
            self.details,
            self.start_s,
        )

    def _code(self, name: str) -> int:
        return self._outcomes.setdefault(name, len(self._outcomes))


@dataclass(frozen=True)
class LimitCheck:
    """Whether a load met a limit on response times, measured from the due time.

    Attributes:
        limit: percentile and seconds; failed and unsent requests count as not answered in time.
        share_within: share of requests answered in time.
        requests: number of requests.
        of_what: which time, if not that of the whole response: ``"to the first token"``.
    """

    limit: ResponseLimit
    share_within: float
    requests: int
    of_what: str = ""

    @classmethod
    def of(cls, exchanges: Exchanges, limit: ResponseLimit) -> LimitCheck:
        """Check a load against a limit.

        Args:
            exchanges: what came of each request.
            limit: to be kept.
        """
        response_s = np.where(exchanges.answered, exchanges.ended_s - exchanges.due_s, np.nan)
        return cls.within(response_s, limit)

    @classmethod
    def within(cls, times_s: Times, limit: ResponseLimit, of_what: str = "") -> LimitCheck:
        """Check times against a limit.

        Args:
            times_s: (n,) one for each request; NaN for one that never came.
            limit: to be kept.
            of_what: as above.
        """
        within = int((times_s <= limit.seconds).sum())
        return cls(limit, within / max(len(times_s), 1), len(times_s), of_what)

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
            f"{' '.join(filter(None, (self.limit.name, self.of_what)))} within {limit} "
            f"{'held' if self.held else 'was missed'}: {formats.percent(self.share_within)} of "
            f"{formats.count(self.requests, 'request')} {'' if self.of_what else 'answered '}"
            "in that time"
        )


@dataclass(frozen=True)
class LoadSummary:
    """Summary of a load.

    Attributes:
        requests: number of due requests.
        answered: number of answered requests.
        failed: sent, or attempted, without a valid answer.
        not_sent: held back by the generator.
        reasons: reasons for failed and unsent requests, with counts.
        offered_per_s: mean rate of the arrival process.
        due_per_s: rate of the drawn arrivals; like the rates below ``None`` for fewer than two
            requests.
        paced_per_s: rate at which the generator started requests in time.
        sent_per_s: rate at which it sent, without requests held back because too many were open.
        throughput_per_s: answers per second from the first sending to the last answer.
        duration_s: of that time.
        late: how late the generator was.
        response: from due to answered, for answered requests.
        service: from sent to answered, for answered requests.
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
        """Summarise a load.

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
            due_per_s=mean_rate_per_s(exchanges.due_s),
            paced_per_s=mean_rate_per_s(exchanges.begun_s[exchanges.in_time]),
            sent_per_s=mean_rate_per_s(exchanges.begun_s[exchanges.sent]),
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
        return abs((self.paced_per_s or 0.0) / self.due_per_s - 1) <= KEPT

    @property
    def generator_in_words(self) -> str:
        """A remark if the generator did not keep its rate; else empty."""
        if self.kept_rate:
            return ""
        held_back = self.reasons.get(LATE, 0)
        why = f"; {formats.count(held_back, 'request')} held back as too late" if held_back else ""
        return (
            f"the load generator did not keep its rate: {per_s(self.paced_per_s)} of "
            f"{per_s(self.due_per_s)} due, up to {formats.duration(self.late.max_s)} late{why}"
        )


def per_s(rate: float | None) -> str:
    """A rate: ``50.2/s``."""
    return f"{formats.significant(rate)}/s" if formats.known(rate) else formats.UNKNOWN


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
        return f"{rates}: saturated, the queue grew while requests arrived"
    return ""


def _under_way(exchanges: Exchanges, from_s: float, to_s: float) -> float:
    """Mean number of open requests between two times."""
    overlap_s = np.minimum(exchanges.ended_s, to_s) - np.maximum(exchanges.begun_s, from_s)
    return float(overlap_s.clip(0).sum()) / (to_s - from_s) if to_s > from_s else 0.0
