"""Simulate continuous batching from measured costs of tokens.

One server decodes up to B sequences together. Between two steps, sequences that have their last
token leave, and waiting requests join: their prompts are prefilled together, and the sequences that
are being decoded wait meanwhile::

    requests ──> wait ──> prefill of k prompts ──> step ─ step ─ step ─ prefill of 2 ─ step ─ ...
                          k <= B - decoding        every sequence gets a token at each step

    first token      from the arrival to the end of its prefill
    time per token   (last token - first token) / (T - 1), prefills of others included

A step costs what it costs at the mean length of the caches. Between two events (a sequence leaves,
a request arrives and can join) the batch is the same, so that its steps are done at once; in a cell
of the grid the cost is linear in the length, and their sum is that of the middle length.

All prompts have the same length, and all answers too. Times are the measured means, without the
scatter of single steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError
from joulelab.serving.generation.costs import TokenCosts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lengths:
    """Lengths of all requests, in tokens.

    Attributes:
        prompt: of each prompt; at least 1.
        output: of each answer; at least 2.
    """

    prompt: int
    output: int

    def __post_init__(self) -> None:
        if self.prompt < 1 or self.output < 2:  # noqa: PLR2004 - the first one has no step
            raise UsageError(
                f"{self.prompt} prompt and {self.output} output tokens are impossible",
                "give at least 1 and 2",
            )

    def __str__(self) -> str:
        return f"{self.prompt} + {self.output} tokens"


@dataclass(frozen=True)
class SimulatedTokens:
    """One window.

    Attributes:
        most: the largest number of sequences decoded together.
        lengths: of the requests.
        first_s: (n,) from the arrival to the first token.
        per_token_s: (n,) mean time of the tokens after the first.
        duration_s: from the start of the window to the last token.
        busy_s: seconds of prefills and steps.
        sequence_steps: sum over the steps of the sequences in them.
        steps: number of steps.
        net_j: above idle; ``None`` where unknown.
        idle_w: of the server; ``None`` where unknown.
    """

    most: int
    lengths: Lengths
    first_s: Floats
    per_token_s: Floats
    duration_s: float
    busy_s: float
    sequence_steps: int
    steps: int
    net_j: float | None
    idle_w: float | None

    @property
    def tokens(self) -> int:
        """Output tokens of all requests."""
        return len(self.first_s) * self.lengths.output

    @property
    def tokens_per_s(self) -> float:
        """Output tokens per second of the window."""
        return self.tokens / self.duration_s

    @property
    def batch_mean(self) -> float:
        """Mean number of sequences in a step."""
        return self.sequence_steps / self.steps

    @property
    def net_j_per_token(self) -> float | None:
        """Joules above idle of an output token."""
        return None if self.net_j is None else self.net_j / self.tokens

    @property
    def gross_j_per_token(self) -> float | None:
        """Joules of an output token with its share of the idle power of the whole window."""
        if self.net_j is None or self.idle_w is None:
            return None
        return (self.net_j + self.idle_w * self.duration_s) / self.tokens


def simulate_tokens(
    times_s: Floats, most: int, lengths: Lengths, costs: TokenCosts
) -> SimulatedTokens:
    """Serve arrivals by continuous batching.

    Args:
        times_s: (n,) arrivals in seconds, never decreasing; at least one.
        most: the largest number of sequences decoded together.
        lengths: of every request.
        costs: of prefills and steps up to `most`.

    Raises:
        UsageError: there is no arrival, or `most` was not measured.
    """
    if not len(times_s):
        raise UsageError("simulation: at least one arrival is needed", "give arrivals")
    server = _Server(times_s, most, lengths, costs)
    while server.unfinished:
        server.join()
        server.decode()
    return server.result()


def most_per_s(most: int, lengths: Lengths, costs: TokenCosts) -> float:
    """Requests per second that a server can answer with a long queue.

    While many wait, each sequence that leaves is replaced: a request costs a share of T - 1 steps
    of the full batch, and its prompt a prefill of its own.

    Args:
        most: the largest number of sequences decoded together.
        lengths: of every request.
        costs: of prefills and steps.
    """
    middle = lengths.prompt + lengths.output / 2
    step_s = costs.step.seconds_of(most, middle)
    alone_s = costs.prefill.seconds_of(1, lengths.prompt)
    together_s = costs.prefill.seconds_of(most, lengths.prompt) / most
    return 1 / (max(alone_s, together_s) + (lengths.output - 1) * step_s / most)


class _Server:
    """The state of the server; see the top of this module."""

    def __init__(self, times_s: Floats, most: int, lengths: Lengths, costs: TokenCosts) -> None:
        self._times: list[float] = [*times_s.tolist(), math.inf]
        self._most, self._lengths, self._costs = most, lengths, costs
        self._now_s = 0.0
        self._arrived = 0  # requests that have joined
        self._left: dict[int, int] = {}  # steps to do by request, in the order of joining
        self._first_s = np.full(len(times_s), math.nan)
        self._last_s = np.full(len(times_s), math.nan)
        self._busy_s, self._joules = 0.0, 0.0
        self._steps, self._sequence_steps = 0, 0

    @property
    def unfinished(self) -> bool:
        """Whether requests are decoded, or still to come."""
        return bool(self._left) or self._times[self._arrived] < math.inf

    def join(self) -> None:
        """Prefill the waiting requests for which there is room."""
        if not self._left:
            self._now_s = max(self._now_s, self._times[self._arrived])
        room = self._most - len(self._left)
        joining = []
        while room and self._times[self._arrived] <= self._now_s:
            joining.append(self._arrived)
            self._arrived += 1
            room -= 1
        if not joining:
            return
        self._spend(
            self._costs.prefill.seconds_of(len(joining), self._lengths.prompt),
            self._costs.prefill.joules_of(len(joining), self._lengths.prompt),
        )
        self._first_s[joining] = self._now_s
        self._left |= dict.fromkeys(joining, self._lengths.output - 1)

    def decode(self) -> None:
        """Do the steps until a sequence leaves, or a request can join."""
        batch, grid = len(self._left), self._costs.step
        fewest = min(self._left.values())
        before = self._lengths.output - 1 - sum(self._left.values()) / batch
        length = self._lengths.prompt + before
        steps, next_s = fewest, self._times[self._arrived]
        if batch < self._most and next_s < math.inf:
            each_s = grid.seconds_of(batch, length + fewest / 2)
            steps = min(fewest, max(1, math.ceil((next_s - self._now_s) / each_s)))
        middle = length + (steps - 1) / 2
        joules = grid.joules_of(batch, middle)
        self._spend(
            steps * grid.seconds_of(batch, middle), None if joules is None else steps * joules
        )
        self._steps += steps
        self._sequence_steps += steps * batch
        for request in [one for one, left in self._left.items() if left == steps]:
            self._last_s[request] = self._now_s
            del self._left[request]
        for request in self._left:
            self._left[request] -= steps

    def result(self) -> SimulatedTokens:
        arrived_s = np.array(self._times[:-1])
        return SimulatedTokens(
            self._most,
            self._lengths,
            self._first_s - arrived_s,
            (self._last_s - self._first_s) / (self._lengths.output - 1),
            self._now_s,
            self._busy_s,
            self._sequence_steps,
            self._steps,
            self._joules if self._costs.energy_known else None,
            self._costs.idle_w,
        )

    def _spend(self, seconds: float, joules: float | None) -> None:
        self._now_s += seconds
        self._busy_s += seconds
        self._joules += joules or 0.0
