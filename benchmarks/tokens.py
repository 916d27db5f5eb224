"""Joules per token on simulated servers whose costs are known: how often the intervals hold them.

    python benchmarks/tokens.py [--repeats 200]

Requests arrive as a Poisson process, with lengths from lognormal distributions. The server batches
continuously: a step takes up the next prompt that waits, if any, and brings one token of every
request under way. A step takes `STEP_S`, and more for each token; it costs joules for each prompt
token and each output token, beside power at idle. The energy is read by a counter that ticks every
100 ms and is read 10 times a second, with white noise of 2 % on the power of a tick.

What a token costs in the long run is then known in closed form:

    R = P_idle / (rate * E[o]) + e_p E[p] / E[o] + e_o

A last server also pays for each step, as real ones do, for which a batch shares the cost; its truth
is of one load a hundred times as long.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace

import numpy as np
from figures import machine, table
from numpy.typing import NDArray

from joulelab.energy.phases import EnergyCurve
from joulelab.energy.reading import Status
from joulelab.serving.tokens.energy import TokenEnergy, token_energy
from joulelab.serving.tokens.flow import Flow

Floats = NDArray[np.float64]
IDLE_W = 60.0
STEP_S, PROMPT_S, TOKEN_S = 8e-3, 40e-6, 0.4e-3
TICK_S, NOISE = 0.1, 0.02
MOST_BATCHED = 32
LENGTHS = {"prompt": (200.0, 0.8), "output": (60.0, 0.6)}
"""Median, and standard deviation of the logarithm."""


@dataclass(frozen=True)
class Simulated:
    """A load on a server with known costs: seconds, joules."""

    rate_per_s: float
    duration_s: float
    prompt_j: float = 0.02
    output_j: float = 0.4
    step_j: float = 0.0


LOADS = {
    "1/s, 2 min": Simulated(1.0, 120.0),
    "2/s, 2 min": Simulated(2.0, 120.0),
    "4/s, 1 min": Simulated(4.0, 60.0),
    "4/s, 5 min": Simulated(4.0, 300.0),
    "2/s, 2 min, 1 J a step": Simulated(2.0, 120.0, step_j=1.0),
}
LEAST, MOST = 0.90, 0.99
SPLITS = {"10 min at 4/s": Simulated(4.0, 600.0), "5 min at 2/s": Simulated(2.0, 300.0)}


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--split-repeats", type=int, default=20)
    args = parser.parse_args()
    print(f"{machine()}\n")
    rows = [coverage(name, load, args.repeats) for name, load in LOADS.items()]
    head = ["load", "J per output token", "covered, gross", "net", "half the interval", "verdict"]
    print(table(head, rows))
    rows = [row for name, load in SPLITS.items() for row in split(name, load, args.split_repeats)]
    head = ["load", "cost of", "known", "found", "largest error", "covered"]
    print(table(head, rows))


def coverage(name: str, load: Simulated, repeats: int) -> list[str]:
    """How often the interval of joules per output token holds what is known."""
    truth = known(load) if not load.step_j else long_run(load)
    net_truth = truth - IDLE_W / (load.rate_per_s * mean("output"))
    held = net_held = 0
    widths = []
    for seed in range(repeats):
        cost = found(load, seed).per_output_token
        assert cost is not None
        assert cost.net is not None
        held += cost.gross.low is not None and cost.gross.low <= truth <= cost.gross.high
        net_held += cost.net.low is not None and cost.net.low <= net_truth <= cost.net.high
        widths.append((cost.gross.high - cost.gross.value) / truth if cost.gross.high else math.nan)
    shares = held / repeats, net_held / repeats
    met = all(LEAST <= share <= MOST for share in shares)
    return [
        name,
        f"{truth:.3f}",
        *(f"{100 * share:.1f} %" for share in shares),
        f"{100 * float(np.median(widths)):.1f} %",
        "met" if met else "missed",
    ]


def split(name: str, load: Simulated, repeats: int) -> list[list[str]]:
    """What regression finds for a prompt token and for an output token."""
    splits = [found(load, seed).split for seed in range(repeats)]
    rows = []
    for kind in ("prompt", "output"):
        costs = [getattr(one, kind) for one in splits]
        values = np.array([one.value for one in costs])
        truth = getattr(load, f"{kind}_j")
        covered = np.mean([one.low <= truth <= one.high for one in costs])
        worst = float(np.abs(values / truth - 1).max())
        rows.append(
            [
                name,
                f"{kind} token",
                f"{truth:g} J",
                f"{np.median(values):.4f} J",
                f"{100 * worst:.1f} %",
                f"{100 * covered:.0f} %",
            ]
        )
    return rows


def mean(which: str) -> float:
    """The mean of a lognormal distribution of lengths, rounded up to whole tokens."""
    middle, spread = LENGTHS[which]
    random = np.random.default_rng(1)
    return float(np.ceil(random.lognormal(math.log(middle), spread, 2_000_000)).mean())


def known(load: Simulated) -> float:
    """Gross joules per output token in the long run."""
    output = mean("output")
    return (
        IDLE_W / (load.rate_per_s * output)
        + load.prompt_j * mean("prompt") / output
        + load.output_j
    )


def long_run(load: Simulated) -> float:
    """The same, of one load a hundred times as long."""
    cost = found(replace(load, duration_s=100 * load.duration_s), seed=10**6).per_output_token
    assert cost is not None
    return cost.gross.value


def found(load: Simulated, seed: int) -> TokenEnergy:
    """What is measured of one simulated load."""
    flow, curve = simulate(load, seed)
    return token_energy(flow, [curve], 0.0)


def simulate(load: Simulated, seed: int) -> tuple[Flow, EnergyCurve]:
    """One load: its requests, and what the counter says of it."""
    random = np.random.default_rng(seed)
    count = int(load.rate_per_s * load.duration_s)
    due_s = np.cumsum(random.exponential(1 / load.rate_per_s, count))
    due_s -= due_s[0]
    prompt, output = (
        np.ceil(random.lognormal(math.log(middle), spread, count))
        for middle, spread in LENGTHS.values()
    )
    times_s, energy_j, first_s, last_s, chunks = served(load, due_s, prompt, output)
    ends_s = np.arange(times_s[0] - 1.0, times_s[-1] + 1.0, TICK_S)
    at_j = np.interp(ends_s, times_s, energy_j) + IDLE_W * (ends_s - ends_s[0])
    steps_j = np.diff(at_j) * (1 + NOISE * random.normal(size=len(ends_s) - 1))
    joules = np.concatenate(([0.0], np.cumsum(steps_j)))
    # The counter shows a tick when it is read next.
    read_s = ends_s + random.uniform(0, TICK_S)
    curve = EnergyCurve(
        "gpu:0", read_s, joules, Status.MEASURED, TICK_S, error_j=0.0, idle_w=IDLE_W
    )
    edges_s = due_s[-1], last_s.max()
    flow = Flow(due_s, due_s, first_s, last_s, last_s, prompt, output, *edges_s, times_s, chunks)
    return flow, curve


def served(
    load: Simulated, due_s: Floats, prompt: Floats, output: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Steps of a server with continuous batching.

    Returns:
        Times and joules above idle at the edges of its steps; (n,) first and last token of each
        request; output tokens at those edges.
    """
    now_s, spent_j, waiting, count = 0.0, 0.0, 0, len(due_s)
    first_s, last_s, left = np.zeros(count), np.zeros(count), output.copy()
    under_way: list[int] = []
    times_s, joules, chunks = [0.0], [0.0], [0.0]
    while waiting < count or under_way:
        if not under_way and due_s[waiting] > now_s:
            now_s = float(due_s[waiting])
            times_s.append(now_s)
            joules.append(spent_j)
            chunks.append(0.0)
        taken = -1
        if waiting < count and due_s[waiting] <= now_s and len(under_way) < MOST_BATCHED:
            taken, waiting = waiting, waiting + 1
            under_way.append(taken)
        tokens = prompt[taken] if taken >= 0 else 0.0
        now_s += STEP_S + PROMPT_S * tokens + TOKEN_S * len(under_way)
        spent_j += load.step_j + load.prompt_j * tokens + load.output_j * len(under_way)
        times_s.append(now_s)
        joules.append(spent_j)
        chunks.append(len(under_way))
        if taken >= 0:
            first_s[taken] = now_s
        for one in under_way:
            left[one] -= 1
            last_s[one] = now_s
        under_way = [one for one in under_way if left[one] > 0]
    return np.array(times_s), np.array(joules), first_s, last_s, np.array(chunks)


if __name__ == "__main__":
    main()
