"""When tokens were worked on, as amounts that grow with time, and the steady window of a load.

A request i is sent at s, its first token comes at f, its last at l, and it ends at e; it has p
prompt tokens and o output tokens. Until time t it has brought::

    output    o    at its chunks, each o / (number of chunks) tokens; without their times
                   [t >= f] + (o - 1) (t - f) / (l - f)     the first at once, the rest evenly
    prompt    p    (t - f + d) / d                          evenly over its prefill, (f - d, f)
    request   1    (t - s) / (e - s)                        evenly, so that the open ones count too

each between 0 and its whole. An answer in one piece has no f, nor has one without text, such as
the end of a text as its only token: its tokens grow evenly from s to e.

The prefill cannot be seen from outside: the time to the first token is mostly the time in the
queue. It is taken as the last ``d = min(f - s, p q)`` before the first token, where q is the 5 %
quantile of (f - s) / p: what a prompt token takes when nothing is in its way.

A request that failed has cost energy and brought nothing: only answered ones count, and they bear
it.

The steady window::

    first due    last of the first to end                     last due        last ended
    |-- ramp-up --|------------------- steady -------------------|---- drain ----|
    |<- 95 % of response times ->|

In an open system the number of open requests after a time t has reached its level but for the share
of their time that requests stay longer than t (M/G/infinity: Eick, Massey and Whitt, Operations
Research 41, 1993). So ramp-up ends after the 95 % quantile of the response times, and not before
the first request has ended. Drain begins when no more requests arrive. The window has to hold the
end of at least 20 requests, and 20 ticks of the sensor; else there is none, and the whole load
stands in, ramp-up and drain included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulelab import formats
from joulelab.serving.http_results import ANSWERED

Floats = NDArray[np.float64]
UNQUEUED = 0.05
"""Quantile of the time per prompt token that is taken for one without waiting."""
LEVEL = 0.95
"""Share of the requests whose response time passes before the load counts as steady."""
MOST_UNTIMED = 0.05
"""Share of the output tokens that may come without the time of a chunk."""
LEAST_ENDED = 20
LEAST_TICKS = 20


@dataclass(frozen=True)
class Flow:
    """The answered requests of a load; times in seconds from its first due time.

    Attributes:
        due_s: (n,) due times.
        sent_s: (n,) times of sending.
        first_s: (n,) first tokens; NaN where unknown.
        last_s: (n,) last tokens; NaN where unknown.
        ended_s: (n,) ends of the answers.
        prompt_tokens: (n,) NaN where unknown.
        output_tokens: (n,) NaN where unknown.
        last_due_s: when the last request of the load was due, answered or not.
        end_s: when the load ended.
        chunk_s: (c,) times of the chunks of all these requests; ``None`` where unknown.
        chunk_tokens: (c,) output tokens of each.
    """

    due_s: Floats
    sent_s: Floats
    first_s: Floats
    last_s: Floats
    ended_s: Floats
    prompt_tokens: Floats
    output_tokens: Floats
    last_due_s: float
    end_s: float
    chunk_s: Floats | None = None
    chunk_tokens: Floats | None = None

    @classmethod
    def of(
        cls, columns: Mapping[str, Any], chunk_s: Sequence[Sequence[float] | Floats] | None = None
    ) -> Flow:
        """The answered requests of a table of all m requests.

        Args:
            columns: (m,) each, as `TokenExchanges.columns` names them.
            chunk_s: (m,) the times of the chunks of each, as all times from the first due time.
        """
        answered = np.array([outcome == ANSWERED for outcome in columns["outcome"]], bool)
        names = ("due_s", "sent_s", "first_token_s", "last_token_s", "ended_s")
        times: list[Floats] = [np.asarray(columns[name], float) for name in names]
        prompt, output = (
            np.asarray(columns[f"{kind}_tokens"], float)[answered] for kind in ("prompt", "output")
        )
        last_due_s = float(times[0].max()) if len(answered) else 0.0
        end_s = float(np.nanmax(times[-1])) if len(answered) else 0.0
        due_s, sent_s, first_s, last_s, ended_s = (one[answered] for one in times)
        counted = prompt, output, last_due_s, end_s
        flow = cls(due_s, sent_s, first_s, last_s, ended_s, *counted)
        if chunk_s is None or not len(flow):
            return flow
        known = [np.asarray(chunk_s[number], float) for number in np.flatnonzero(answered).tolist()]
        counts = np.array([len(one) for one in known])
        if np.nansum(output[counts == 0]) > MOST_UNTIMED * np.nansum(output):
            return flow
        each = np.divide(output, counts, out=np.zeros(len(output)), where=counts > 0)
        return replace(flow, chunk_s=np.concatenate(known), chunk_tokens=np.repeat(each, counts))

    def __len__(self) -> int:
        return len(self.due_s)

    @property
    def output_unknown(self) -> str:
        """Why output tokens cannot be counted; empty where they can."""
        return self._missing("count of output tokens", self.output_tokens)

    @property
    def prompt_unknown(self) -> str:
        """Why prompt tokens cannot be counted; empty where they can."""
        return self._missing("count of prompt tokens", self.prompt_tokens)

    def _missing(self, name: str, values: Floats) -> str:
        if not len(self):
            return "no request was answered"
        missing = int(np.isnan(values).sum())
        if not missing:
            return ""
        whole = formats.count(len(self), "answered request")
        return f"{missing:,} of {whole} came without a {name}"

    def output_until(self, times_s: Floats) -> Floats:
        """Output tokens until some times.

        Args:
            times_s: (k,) in any order.

        Returns:
            (k,) tokens of all requests until then.
        """
        untimed = self._untimed_until(times_s, self.output_tokens)
        if self.chunk_s is not None and self.chunk_tokens is not None:
            return untimed + _ramps(times_s, self.chunk_s, self.chunk_s, self.chunk_tokens)
        some = (self.output_tokens > 0) & np.isfinite(self.first_s)
        first_s, last_s = self.first_s[some], self.last_s[some]
        rest = self.output_tokens[some] - 1
        first = _ramps(times_s, first_s, first_s, np.ones(len(first_s)))
        return untimed + first + _ramps(times_s, first_s, np.maximum(first_s, last_s), rest)

    def prompt_until(self, times_s: Floats) -> Floats:
        """Prompt tokens whose prefill has been done until some times: (k,) as for output."""
        untimed = self._untimed_until(times_s, self.prompt_tokens)
        some = (self.prompt_tokens > 0) & np.isfinite(self.first_s)
        if not some.any():
            return untimed
        first_s, prompts = self.first_s[some], self.prompt_tokens[some]
        waited_s = np.maximum(first_s - self.sent_s[some], 0.0)
        prefill_s = np.minimum(waited_s, np.quantile(waited_s / prompts, UNQUEUED) * prompts)
        return untimed + _ramps(times_s, first_s - prefill_s, first_s, prompts)

    def _untimed_until(self, times_s: Floats, tokens: Floats) -> Floats:
        """Tokens of answers whose first token has no time."""
        some = np.isnan(self.first_s) & (tokens > 0)
        return _ramps(times_s, self.sent_s[some], self.ended_s[some], tokens[some])

    def requests_until(self, times_s: Floats) -> Floats:
        """Requests, open ones by the share of their time that has passed: (k,) as for output."""
        return _ramps(times_s, self.sent_s, self.ended_s, np.ones(len(self)))


@dataclass(frozen=True)
class SteadyWindow:
    """The part of a load that its figures are of; times from the first due time.

    Attributes:
        start_s: its beginning.
        end_s: its end.
        ended: number of requests that ended in it.
        steady: whether ramp-up and drain are left out.
        reason: why there is no steady window; empty where there is one.
    """

    start_s: float
    end_s: float
    ended: int
    steady: bool
    reason: str = ""

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return self.end_s - self.start_s


def steady_window(flow: Flow, tick_s: float = 0.0) -> SteadyWindow:
    """The steady window of a load, or all of it with the reason.

    Args:
        flow: the answered requests.
        tick_s: the longest tick of the sensors.
    """
    whole = SteadyWindow(0.0, flow.end_s, len(flow), steady=False)
    if not len(flow):
        return SteadyWindow(0.0, flow.end_s, 0, steady=False, reason="no request was answered")
    response_s = flow.ended_s - flow.due_s
    start_s = max(float(np.quantile(response_s, LEVEL)), float(flow.ended_s.min()))
    end_s = flow.last_due_s
    ended = int(((flow.ended_s > start_s) & (flow.ended_s <= end_s)).sum())
    reason = ""
    if end_s <= start_s:
        reason = (
            f"requests arrived for {formats.duration(end_s)}, and the load takes "
            f"{formats.duration(start_s)} to become steady"
        )
    elif ended < LEAST_ENDED:
        reason = f"only {formats.count(ended, 'request')} ended between ramp-up and drain"
    elif end_s - start_s < LEAST_TICKS * tick_s:
        reason = (
            f"{formats.duration(end_s - start_s)} between ramp-up and drain are less than "
            f"{LEAST_TICKS} ticks of the sensor, {formats.duration(tick_s)} each"
        )
    if reason:
        return SteadyWindow(whole.start_s, whole.end_s, whole.ended, steady=False, reason=reason)
    return SteadyWindow(start_s, end_s, ended, steady=True)


def _ramps(times_s: Floats, begins_s: Floats, ends_s: Floats, amounts: Floats) -> Floats:
    """The sum over requests of what has grown evenly to `amounts`; at once if it has no time.

    With a_i, b_i and r_i = amount / (b_i - a_i): sum r_i ((t - a_i)+ - (t - b_i)+), from running
    sums over the sorted edges.
    """
    at_once = ends_s <= begins_s
    grown = np.zeros(len(times_s))
    if at_once.any():
        order = np.argsort(begins_s[at_once])
        sums = np.concatenate(([0.0], np.cumsum(amounts[at_once][order])))
        grown += sums[np.searchsorted(begins_s[at_once][order], times_s, "right")]
    begins_s, ends_s, amounts = begins_s[~at_once], ends_s[~at_once], amounts[~at_once]
    rates = amounts / (ends_s - begins_s)
    edges_s = np.concatenate((begins_s, ends_s))
    turns = np.concatenate((rates, -rates))
    order = np.argsort(edges_s)
    edges_s, turns = edges_s[order], turns[order]
    slope = np.concatenate(([0.0], np.cumsum(turns)))
    moment = np.concatenate(([0.0], np.cumsum(turns * edges_s)))
    passed = np.searchsorted(edges_s, times_s, "right")
    return np.asarray(grown + slope[passed] * times_s - moment[passed])
