"""Time of the planner: a million simulated requests through each kind of queue, plans, fleets.

    python benchmarks/planner.py [--requests 1000000] [--repeats 3]

Costs of batches are those of a made-up server, s(b) = 2 ms + 0.5 ms b: the time of a simulation
follows from how many batches there are and how often the policy is asked, not from what they cost.
Times are of the processor: the simulation has one thread and waits for nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from figures import machine, spread, table, verdict, versions

from joulelab.serving.arrivals import ArrivalProcess, parse_arrivals
from joulelab.serving.planning.comparison import ResponseLimit
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.fleet import fleet
from joulelab.serving.planning.plan import plan
from joulelab.serving.planning.simulation import Simulated, simulate
from joulelab.serving.policies import parse_policy

TARGET_S = 5.0
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
COSTS = BatchCosts(
    SIZES,
    tuple(0.002 + 0.0005 * size for size in SIZES),
    tuple(0.1 + 0.02 * size for size in SIZES),
    idle_w=20.0,
)
SCATTERED = BatchCosts(COSTS.sizes, COSTS.seconds, COSTS.joules, 20.0, (0.1,) * len(SIZES))
LIMIT = ResponseLimit(99, 0.2)
ARRIVALS = {
    "plan": ("poisson(20)", "poisson(300)", "bursty(300)"),
    "fleet": ("poisson(1000)", "poisson(1000000)"),
}
CASES = {
    "greedy, low load": ("greedy(128)", 20.0, 1, "shared", COSTS, None),
    "greedy, high load": ("greedy(128)", 1600.0, 1, "shared", COSTS, None),
    "greedy, high load, scatter": ("greedy(128)", 1600.0, 1, "shared", SCATTERED, None),
    "fixed(1)": ("fixed(1)", 300.0, 1, "shared", COSTS, None),
    "fixed(32)": ("fixed(32)", 1000.0, 1, "shared", COSTS, None),
    "fixed(32, 50)": ("fixed(32, wait_ms=50)", 500.0, 1, "shared", COSTS, None),
    "fixed(32, 50), few at a time": ("fixed(32, wait_ms=50)", 20.0, 1, "shared", COSTS, None),
    "greedy, saturated, 1,024 places": ("greedy(128)", 3000.0, 1, "shared", COSTS, 1024),
    "100 replicas, one queue": ("greedy(128)", 100_000.0, 100, "shared", COSTS, None),
    "100 replicas, a queue each": ("greedy(128)", 100_000.0, 100, "split", COSTS, None),
}


def main() -> None:
    """Time each case and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    rows = []
    for name, case in CASES.items():
        simulated, durations_s = timed(case, args.requests, args.repeats)
        rows.append(
            (
                name,
                f"{args.requests:,}",
                f"{len(simulated.batch_sizes):,}",
                f"{spread(durations_s, '.2f')} s",
                verdict(max(durations_s), TARGET_S),
            )
        )
    head = ("queue", "requests", "batches", "time, median (least to greatest)", "under 5 s")
    print(table(head, rows))
    print(table(("question", "time, median (least to greatest)"), questions(args.repeats)))


def questions(repeats: int) -> list[tuple[str, str]]:
    """How long a whole plan and a whole fleet take, at several rates."""
    asked: list[tuple[str, Callable[[ArrivalProcess], object]]] = [
        ("plan", lambda arrivals: plan(COSTS, arrivals, LIMIT)),
        ("fleet", lambda arrivals: fleet(COSTS, arrivals, LIMIT)),
    ]
    rows = []
    for name, ask in asked:
        for text in ARRIVALS[name]:
            durations_s = []
            for _ in range(repeats):
                began_s = time.process_time()
                ask(parse_arrivals(text))
                durations_s.append(time.process_time() - began_s)
            rows.append((f"{name}, {text}, {LIMIT}", f"{spread(durations_s, '.1f')} s"))
    return rows


def timed(case: tuple, requests: int, repeats: int) -> tuple[Simulated, list[float]]:
    """The result of a case, and how long each repeat took, arrivals not included."""
    policy, rate_per_s, replicas, dispatch, costs, capacity = case
    arrivals = parse_arrivals(f"poisson({rate_per_s})")
    durations_s = []
    for seed in range(repeats):
        times_s = arrivals.times_s(requests, np.random.default_rng(seed))
        began_s = time.process_time()
        simulated = simulate(
            times_s, parse_policy(policy), costs, replicas, dispatch, capacity, seed
        )
        durations_s.append(time.process_time() - began_s)
    return simulated, durations_s


if __name__ == "__main__":
    main()
