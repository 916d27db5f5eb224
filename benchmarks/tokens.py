"""Joules per token on simulated servers whose costs are known: how often the intervals hold them.

    python benchmarks/tokens.py [--repeats 200]

Requests arrive as a Poisson process, with lengths from lognormal distributions. The server batches
continuously; it costs joules for each prompt token and each output token, beside power at idle
(``tests/serving/token_loads.py``). A counter ticks every 100 ms and is read 10 times a second, with
white noise of 2 % on the power of a tick.

What a token costs in the long run is then known in closed form:

    R = P_idle / (rate * E[o]) + e_p E[p] / E[o] + e_o

A last server also pays for each step, as real ones do, for which a batch shares the cost; its truth
is of one load a hundred times as long.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from figures import machine, table

from joulelab.serving.tokens.costs import TokenEnergy
from joulelab.serving.tokens.energy import token_energy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "serving"))
from token_loads import IDLE_W, Load, mean_length, net_truth_j, served

LOADS = {
    "1/s, 2 min": Load(1.0, 120.0),
    "2/s, 2 min": Load(2.0, 120.0),
    "4/s, 1 min": Load(4.0, 60.0),
    "4/s, 5 min": Load(4.0, 300.0),
    "2/s, 2 min, 1 J a step": Load(2.0, 120.0, step_j=1.0),
}
LEAST, MOST = 0.90, 0.99
SPLITS = {"10 min at 4/s": Load(4.0, 600.0), "5 min at 2/s": Load(2.0, 300.0)}


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


def coverage(name: str, load: Load, repeats: int) -> list[str]:
    """How often the interval of joules per output token holds what is known."""
    truth = known(load) if not load.step_j else long_run(load)
    net_truth = truth - IDLE_W / (load.rate_per_s * mean_length("output"))
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


def split(name: str, load: Load, repeats: int) -> list[list[str]]:
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


def known(load: Load) -> float:
    """Gross joules per output token in the long run."""
    return IDLE_W / (load.rate_per_s * mean_length("output")) + net_truth_j(load)


def long_run(load: Load) -> float:
    """The same, of one load a hundred times as long."""
    cost = found(replace(load, duration_s=100 * load.duration_s), seed=10**6).per_output_token
    assert cost is not None
    return cost.gross.value


def found(load: Load, seed: int) -> TokenEnergy:
    """What is measured of one simulated load."""
    flow, course = served(load, seed)
    return token_energy(flow, [course], 0.0)


if __name__ == "__main__":
    main()
