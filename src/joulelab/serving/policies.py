"""Batching policies: how many of the waiting requests are served together, and when.

::

    server free, requests wait ──> take(waiting, oldest_wait_s)
         ▲                             │ n > 0: the n oldest are served together
         │                             │ 0: wait for the next arrival, or for patience_s(...) if
         └─────────────────────────────┘    that is earlier, and ask again

After the last request of a window has arrived the policy is no longer asked: batches of
``min(waiting, largest)`` are served until the queue is empty, so every request is served.

A policy decides only from its two arguments and keeps no state, so the same object works in the
server and in the simulation.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from joulelab.errors import PluginError
from joulelab.registry import Registry
from joulelab.serving.call_syntax import BuiltFromCall, build, call_text, require

SHORTEST_PATIENCE_S = 1e-6
"""Shortest time until a policy is asked again."""

_ROUNDING_S = 1e-9
_MS_IN_S = 1e3


class Policy(BuiltFromCall, ABC):
    """Decides, whenever the server is free and requests wait, how many to serve together."""

    @property
    @abstractmethod
    def largest(self) -> int:
        """The largest batch."""

    @abstractmethod
    def take(self, waiting: int, oldest_wait_s: float) -> int:
        """How many of the waiting requests to serve now, oldest first; 0 to wait for more.

        Args:
            waiting: requests in the queue, at least 1.
            oldest_wait_s: how long the first of them has waited, in seconds.

        Returns:
            At most `waiting` and at most `largest`.
        """

    def patience_s(self, waiting: int, oldest_wait_s: float) -> float:
        """Seconds until asking again, if no request arrives before; called after a `take` of 0.

        Args:
            waiting: as for `take`.
            oldest_wait_s: as for `take`.
        """
        return math.inf


@dataclass(frozen=True)
class Fixed(Policy):
    """Waits for n requests and serves them; with wait_ms, at most that long.

    Args:
        n: requests a batch.
        wait_ms: longest wait of the oldest request for the batch to fill, in milliseconds.

    Raises:
        UsageError: n is not a whole number of at least 1, or the wait is not above 0.
    """

    n: int
    wait_ms: float | None = None

    def __post_init__(self) -> None:
        _require_whole(self, "n", self.n)
        wait = self.wait_ms
        require(
            wait is None or (math.isfinite(wait) and wait > 0),
            self,
            "wait_ms must be a number above 0",
            "to serve waiting requests at once, write greedy",
        )

    @property
    def largest(self) -> int:
        """Requests a batch."""
        return self.n

    def take(self, waiting: int, oldest_wait_s: float) -> int:
        """A full batch, or all waiting requests once the oldest has waited long enough."""
        if waiting >= self.n:
            return self.n
        if self.wait_ms is None:
            return 0
        return waiting if self.patience_s(waiting, oldest_wait_s) <= _ROUNDING_S else 0

    def patience_s(self, waiting: int, oldest_wait_s: float) -> float:
        """The rest of the longest wait."""
        return math.inf if self.wait_ms is None else self.wait_ms / _MS_IN_S - oldest_wait_s

    def __str__(self) -> str:
        if self.wait_ms is None:
            return call_text("fixed", self.n)
        return call_text("fixed", self.n, wait_ms=self.wait_ms)


@dataclass(frozen=True)
class Greedy(Policy):
    """Serves all waiting requests as soon as the server is free, up to a maximum.

    Args:
        most: the largest batch.

    Raises:
        UsageError: it is not a whole number of at least 1.
    """

    most: int = 128

    def __post_init__(self) -> None:
        _require_whole(self, "most", self.most)

    @property
    def largest(self) -> int:
        """The largest batch."""
        return self.most

    def take(self, waiting: int, oldest_wait_s: float) -> int:
        """All waiting requests, up to the largest batch."""
        return min(waiting, self.most)

    def __str__(self) -> str:
        return call_text("greedy", self.most)


policies: Registry[type[Policy]] = Registry(
    "policy",
    "joulelab.policies",
    {
        "fixed": (
            "joulelab.serving.policies:Fixed",
            "fixed(n): batches of n; fixed(n, wait_ms): smaller ones after that wait",
        ),
        "greedy": (
            "joulelab.serving.policies:Greedy",
            "greedy(most=128): all waiting requests as soon as the server is free",
        ),
    },
)


def parse_policy(text: str) -> Policy:
    """Parse a policy, for instance ``fixed(32, wait_ms=50)``.

    Raises:
        UnknownNameError: the policy is unknown.
        UsageError: its arguments are missing, of the wrong type or impossible.
    """
    return build(policies, text)


def ask(policy: Policy, waiting: int, oldest_wait_s: float) -> int:
    """The checked result of `Policy.take`: a user's policy may return anything.

    Args:
        policy: is asked.
        waiting: requests in the queue, at least 1.
        oldest_wait_s: how long the first of them has waited.

    Raises:
        PluginError: the result is not a whole number from 0 to the allowed maximum.
    """
    taken = policy.take(waiting, oldest_wait_s)
    if type(taken) is int and 0 <= taken <= waiting and taken <= policy.largest:
        return taken
    raise wrong_answer(policy, waiting, oldest_wait_s, taken)


def wrong_answer(policy: Policy, waiting: int, oldest_wait_s: float, taken: object) -> PluginError:
    """The error for a result of `Policy.take` that cannot be served."""
    return PluginError(
        f"{policy}: take({waiting}, {oldest_wait_s:.6g}) gave {taken!r}, with {waiting} "
        f"waiting and batches of at most {policy.largest}",
        f"it must return a whole number from 0 to {min(waiting, policy.largest)}",
    )


def _require_whole(policy: Policy, name: str, value: int) -> None:
    whole = type(value) is int and value >= 1
    require(whole, policy, f"{name} must be a whole number of at least 1")
