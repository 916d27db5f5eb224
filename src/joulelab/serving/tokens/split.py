"""What a prompt token and an output token cost apart, by regression over parts of a window.

The window is cut into m parts of equal length h. With E_j the energy of part j, P_j and O_j the
prompt and output tokens worked on in it::

    E_j = a + b P_j + c O_j + noise          least squares; b and c in joules per token

The constant a is what the machine takes whether it works or not: idle power, and what is on because
a server runs. So b and c are what one more token adds, and b P + c O is less than the whole energy.

A sensor shows what was spent up to one tick ago, and what it shows is a mean of some ticks. A lag
of a tick in a part of 30 hides much of what is sought: energy goes with the tokens of the next
part. So E is taken with the lag, from 0 to 2 ticks, that leaves the least noise.

Parts are not independent: work at an edge falls on one side in E and on the other in P and O. The
covariance is that of Newey and West (Econometrica 55, 1987) with a lag of 4 (m / 100)^(2/9), times
m / (m - 3), and the interval that of Student's t with m - 3 degrees of freedom.

The two costs can be told apart only if requests differ in what they ask for. They are unknown, with
the reason, where ln (p / o) of the requests has a standard deviation below 0.1, or where the
correlation r of P and O over the parts makes the variance of both more than 10 times that of each
alone (the variance inflation factor, 1 / (1 - r^2); Belsley, Kuh and Welsch, Regression
Diagnostics, 1980).

Tokens have to be counted in the part in which they cost: the prefill of one request holds up the
tokens of the others. Spread evenly over their request, output tokens would be charged with a share
of the prompts. So the times of the chunks have to be known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import special

from joulelab.serving.tokens.batch_means import Ratio
from joulelab.serving.tokens.flow import Flow, SteadyWindow

Floats = NDArray[np.float64]
MOST_PARTS, LEAST_PARTS = 100, 30
TICKS = 40
"""A part is at least as many ticks of the sensor long, so that its edges weigh little ..."""
FEWER_TICKS = 4
"""... or as many as this, where the window is short."""
LAG_TICKS, LAGS = 2.0, 41
LEAST_SPREAD = 0.1
MOST_INFLATION = 10.0
COLUMNS = 3


@dataclass(frozen=True)
class TokenSplit:
    """The cost of a prompt token and of an output token.

    Attributes:
        prompt: joules per prompt token; ``None`` where unknown.
        output: joules per output token; likewise.
        base_w: the constant: power that no token is charged with; ``None`` likewise.
        parts: number of parts of the window.
        reason: why the costs are unknown; empty where they are known.
    """

    prompt: Ratio | None = None
    output: Ratio | None = None
    base_w: float | None = None
    parts: int = 0
    reason: str = ""

    @property
    def doubts(self) -> list[str]:
        """Costs that may as well be 0, in words."""
        return [
            f"the cost of {name} token may be 0: its interval includes it"
            for name, cost in (("a prompt", self.prompt), ("an output", self.output))
            if cost is not None and cost.low is not None and cost.low <= 0
        ]


def token_split(
    flow: Flow,
    window: SteadyWindow,
    energy_between: Callable[[Floats, Floats], Floats],
    tick_s: float,
) -> TokenSplit:
    """What a token of each kind costs, or why that is unknown.

    Args:
        flow: the answered requests.
        window: in which to look.
        energy_between: from (m,) beginnings and (m,) ends to joules between.
        tick_s: the longest tick of the sensors.
    """
    if not window.steady:
        return TokenSplit(reason="there is no steady window")
    inside = (flow.ended_s > window.start_s) & (flow.sent_s < window.end_s)
    if reason := _alike(flow.prompt_tokens[inside], flow.output_tokens[inside]):
        return TokenSplit(reason=reason)
    if flow.chunk_s is None:
        return TokenSplit(reason="the times of the chunks are unknown")
    parts = _parts(window.duration_s, tick_s)
    if parts < LEAST_PARTS:
        return TokenSplit(
            reason=f"the window is too short: {LEAST_PARTS} parts of {FEWER_TICKS} ticks of the "
            "sensor do not fit into it"
        )
    edges_s = np.linspace(window.start_s, window.end_s, parts + 1)
    prompt, output = np.diff(flow.prompt_until(edges_s)), np.diff(flow.output_until(edges_s))
    correlation = _correlation(prompt, output)
    if correlation**2 > 1 - 1 / MOST_INFLATION:
        return TokenSplit(
            parts=parts,
            reason="prompt and output tokens come and go together over the window (their "
            f"correlation is {correlation:.2f}): their costs cannot be told apart",
        )
    design = np.column_stack((np.ones(parts), prompt, output))
    lags_s = np.linspace(0.0, LAG_TICKS, LAGS) * tick_s
    late = [energy_between(edges_s[:-1] + one, edges_s[1:] + one) for one in lags_s]
    fitted, away = _regression(design, min(late, key=partial(_noise, design)))
    costs = [
        Ratio(value, value - half, value + half, parts)
        for value, half in zip(fitted[1:].tolist(), away[1:].tolist(), strict=True)
    ]
    base_w = float(fitted[0]) * parts / window.duration_s
    return TokenSplit(costs[0], costs[1], base_w, parts)


def _alike(prompt: Floats, output: Floats) -> str:
    """Why the lengths of the requests say nothing; empty where they vary."""
    both = (prompt > 0) & (output > 0)
    if both.sum() > 1 and float(np.std(np.log(prompt[both] / output[both]))) >= LEAST_SPREAD:
        return ""
    return (
        "the requests have prompts and outputs of nearly the same lengths, or in the same "
        "proportion: draw lengths that vary"
    )


def _parts(duration_s: float, tick_s: float) -> int:
    """The number of parts of a window."""
    if tick_s <= 0:
        return MOST_PARTS
    fitting = int(duration_s / (TICKS * tick_s))
    if fitting < LEAST_PARTS:
        fitting = min(LEAST_PARTS, int(duration_s / (FEWER_TICKS * tick_s)))
    return min(MOST_PARTS, fitting)


def _correlation(one: Floats, other: Floats) -> float:
    """0 to 1 in size; 1 where one of them never changes."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 1.0
    return float(np.corrcoef(one, other)[0, 1])


def _noise(design: Floats, values: Floats) -> float:
    """The sum of squares that least squares leaves."""
    scaled = design / np.abs(design).max(axis=0)
    fitted = np.linalg.lstsq(scaled, values, rcond=None)[0]
    return float(((values - scaled @ fitted) ** 2).sum())


def _regression(design: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Least squares, and half the 95 % interval of each coefficient."""
    count = len(values)
    scale = np.abs(design).max(axis=0)
    scaled = design / scale
    inverse = np.linalg.inv(scaled.T @ scaled)
    fitted = inverse @ scaled.T @ values
    scores = scaled * (values - scaled @ fitted)[:, None]  # (parts, columns)
    middle = scores.T @ scores
    lags = int(4 * (count / 100) ** (2 / 9))
    for lag in range(1, lags + 1):
        between = scores[lag:].T @ scores[:-lag]
        middle += (1 - lag / (lags + 1)) * (between + between.T)
    variance = np.diag(inverse @ middle @ inverse) * count / (count - COLUMNS)
    quantile = float(special.stdtrit(count - COLUMNS, 0.975))
    away = quantile * np.sqrt(np.maximum(variance, 0.0))
    return fitted / scale, away / scale if math.isfinite(quantile) else np.full(3, np.nan)
