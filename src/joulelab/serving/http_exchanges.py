"""What came of the requests of a load, a number each, whatever happened to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulelab.serving.http_connection import Answer

Floats = NDArray[np.float64]

ANSWERED = "answered"
TIMED_OUT = "timed out"
INTERRUPTED = "interrupted"
NOT_SENT = "not sent"
LATE = f"{NOT_SENT}: the generator was late"


@dataclass(frozen=True)
class Exchanges:
    """Requests in the order in which they were due; seconds since the first of them was.

    Attributes:
        due_s: (n,) when each was to be sent.
        begun_s: (n,) when the generator took it up.
        sent_s: (n,) when it was handed to the system, on an open connection; NaN where it never
            was.
        ended_s: (n,) when its answer was complete, or it had failed.
        status: (n,) of HTTP; 0 without an answer.
        outcome: (n,) number of the outcome in `outcomes`; 0 for answered.
        outcomes: ``"answered"``, then the reasons for which requests failed or were not sent.
        location: where the first redirect led to; empty without one.
    """

    due_s: Floats
    begun_s: Floats
    sent_s: Floats
    ended_s: Floats
    status: NDArray[np.int16]
    outcome: NDArray[np.int32]
    outcomes: tuple[str, ...]
    location: str = ""

    def __len__(self) -> int:
        return len(self.due_s)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(n,) which got an answer that counts."""
        answered: NDArray[np.bool_] = self.outcome == 0
        return answered

    @property
    def sent(self) -> NDArray[np.bool_]:
        """(n,) which the generator did not hold back, whether or not a connection was to be had."""
        held_back = [number for number, name in enumerate(self.outcomes) if _held_back(name)]
        return np.isin(self.outcome, held_back, invert=True)

    @property
    def in_time(self) -> NDArray[np.bool_]:
        """(n,) which the generator took up soon enough to be sent."""
        late = [number for number, name in enumerate(self.outcomes) if name == LATE]
        return np.isin(self.outcome, late, invert=True)

    @property
    def response_s(self) -> Floats:
        """(answered,) from due to answered."""
        return (self.ended_s - self.due_s)[self.answered]

    @property
    def service_s(self) -> Floats:
        """(answered,) from sent to answered."""
        return (self.ended_s - self.sent_s)[self.answered]

    @property
    def duration_s(self) -> float:
        """From the first beginning to the last end in seconds; 0 without requests."""
        return float(self.ended_s.max() - self.begun_s.min()) if len(self) else 0.0

    @property
    def reasons(self) -> dict[str, int]:
        """Why requests failed or were not sent, and how many; the commonest first."""
        counts = Counter(self.outcome[~self.answered].tolist())
        return {self.outcomes[number]: count for number, count in counts.most_common()}

    def columns(self) -> dict[str, Any]:
        """The requests as columns of equal length, a row a request."""
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
    """The making of `Exchanges`: each request enters what happens to it when it does.

    Args:
        due_s: (n,) seconds after `start_s`.
        start_s: on the clock whose times are entered.
    """

    due_s: Floats
    start_s: float
    location: str = ""
    _outcomes: dict[str, int] = field(default_factory=lambda: {ANSWERED: 0})

    def __post_init__(self) -> None:
        count = len(self.due_s)
        self._begun_s, self._sent_s, self._ended_s = np.full((3, count), np.nan)
        self._status = np.zeros(count, np.int16)
        self._outcome = np.zeros(count, np.int32)

    def begin(self, number: int, now_s: float) -> float:
        """The generator takes up a request; gives by how many seconds it is late."""
        self._outcome[number] = self._code(INTERRUPTED)
        self._begun_s[number] = now_s - self.start_s
        return float(self._begun_s[number] - self.due_s[number])

    def sent(self, number: int, at_s: float) -> None:
        """It was handed to the system."""
        self._sent_s[number] = at_s - self.start_s

    def answered(self, number: int, answer: Answer) -> None:
        """The server has said something."""
        self._ended_s[number] = answer.at_s - self.start_s
        self._status[number] = answer.status
        self._outcome[number] = self._code(answer.failure or ANSWERED)
        self.location = self.location or answer.location

    def failed(self, number: int, reason: str, at_s: float) -> None:
        """It was begun, and came to nothing."""
        self._ended_s[number] = at_s - self.start_s
        self._outcome[number] = self._code(reason)

    def not_sent(self, number: int, reason: str) -> None:
        """It was due and was held back."""
        self._ended_s[number] = self._begun_s[number]
        self._outcome[number] = self._code(reason)

    def exchanges(self, begun: int, now_s: float) -> Exchanges:
        """What there is of the first `begun` requests; those that have not ended end now."""
        part = slice(0, begun)
        open_still = np.isnan(self._ended_s[part])
        self._ended_s[part][open_still] = now_s - self.start_s
        return Exchanges(
            self.due_s[part],
            self._begun_s[part],
            self._sent_s[part],
            self._ended_s[part],
            self._status[part],
            self._outcome[part],
            tuple(self._outcomes),
            self.location,
        )

    def _code(self, name: str) -> int:
        return self._outcomes.setdefault(name, len(self._outcomes))


def _held_back(outcome: str) -> bool:
    return outcome.startswith(NOT_SENT)
