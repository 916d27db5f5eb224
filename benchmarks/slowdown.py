"""How much longer a compute-bound Python program takes while a recorder runs beside it.

    python benchmarks/slowdown.py [--pairs 60]

::

    without  A at 10 Hz  without  A at 100 Hz  without  B at 10 Hz ...   a cycle, many times

Each piece of work with a recorder is compared with the mean of its two neighbours without, so that
whatever else the machine does meets both; the figure is the median of all pairs. Pairs in which
other programs used more than a twentieth of a core are left out: two busy processors of one
machine slow each other down by more than what is looked for.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import psutil
import simulated
from figures import interval_verdict, machine, median_interval, quantile, table, versions
from recorders import METERS, TARGETS, recorder

PIECE_S = 0.25
ROUNDS_A_TRY = 100_000
FOREIGN_SHARE = 0.05
LEAST_PAIRS = 10
MOST_CYCLES = 3
"""Times the number of pairs that are wanted, while too few of them are undisturbed."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--piece", type=float, default=PIECE_S, help="of work, in seconds")
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    print_busy(args.pairs, args.piece)


def print_busy(pairs: int, piece_s: float) -> None:
    """Print the table of slowdowns.

    Args:
        pairs: undisturbed pairs that are wanted of each recorder.
        piece_s: length of a piece of work.
    """
    settings = [(name, interval_s) for name in METERS for interval_s in TARGETS]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        found = worker.submit(slowdowns, settings, pairs, piece_s).result()
    print(f"### Time of a busy program, pairs of pieces of about {piece_s:g} s\n")
    rows = []
    for (name, interval_s), taken in found.items():
        quiet = [pair for pair in taken if pair.foreign_share <= FOREIGN_SHARE]
        used = quiet if len(quiet) >= min(pairs, LEAST_PAIRS) else taken
        slower = [100 * (pair.ratio - 1) for pair in used]
        costlier = [100 * (pair.processor_ratio - 1) for pair in used]
        median, target = statistics.median(slower), 100 * TARGETS[interval_s][1]
        rows.append(
            [
                f"{name} at {1 / interval_s:.0f} Hz",
                f"{median:+.2f} % ({_range(median_interval(slower))})",
                _range((quantile(slower, 0.1), quantile(slower, 0.9))),
                f"{statistics.median(costlier):+.2f} % ({_range(median_interval(costlier))})",
                f"{len(used)} of {len(taken)}" + ("" if used is quiet else ", disturbed"),
                f"{target:g} %: {interval_verdict(median_interval(slower), target)}",
            ]
        )
    head = ["recorder", "slower by (95 % interval of the median)", "80 % of pairs"]
    head += ["processor time more by (95 %)", "pairs used", "target"]
    print(table(head, rows))


def _range(edges: tuple[float, float]) -> str:
    return f"{edges[0]:+.2f} to {edges[1]:+.2f}"


# What follows runs in a process of its own.


@dataclass(frozen=True)
class Piece:
    """A piece of work: duration, processor time of this process, and that of all others."""

    seconds: float
    processor_s: float
    foreign_s: float


@dataclass(frozen=True)
class Pair:
    """A piece of work with a recorder, against the mean of its two neighbours without.

    Attributes:
        ratio: of the durations.
        processor_ratio: of the processor times.
        foreign_share: of one core, what other programs used in the worst of the three.
    """

    ratio: float
    processor_ratio: float
    foreign_share: float


def slowdowns(
    settings: list[tuple[str, float]], pairs: int, piece_s: float
) -> dict[tuple[str, float], list[Pair]]:
    """How much longer a piece of work takes with a recorder.

    Args:
        settings: names and intervals of recorders.
        pairs: undisturbed ones that are wanted of each.
        piece_s: length of a piece of work.
    """
    simulated.draw(simulated.Trace("noise"), simulated.H100)
    least_s = min(piece(ROUNDS_A_TRY).seconds for _ in range(5))
    rounds = round(ROUNDS_A_TRY * piece_s / least_s)
    found: dict[tuple[str, float], list[Pair]] = {setting: [] for setting in settings}
    before = piece(rounds)
    for cycle in range(MOST_CYCLES * pairs):
        enough = [sum(p.foreign_share <= FOREIGN_SHARE for p in taken) for taken in found.values()]
        if cycle >= pairs and min(enough) >= pairs:
            break
        for setting in settings:
            with recorder(*setting) as recording:
                # A piece begins anywhere between two samples.
                time.sleep(random.uniform(0.0, setting[1]))
                with recording.open("busy"):
                    during = piece(rounds)
            after = piece(rounds)
            found[setting].append(_pair(before, during, after))
            before = after
    return found


def _pair(before: Piece, during: Piece, after: Piece) -> Pair:
    return Pair(
        during.seconds / statistics.mean((before.seconds, after.seconds)),
        during.processor_s / statistics.mean((before.processor_s, after.processor_s)),
        max(one.foreign_s / one.seconds for one in (before, during, after)),
    )


def piece(rounds: int) -> Piece:
    """Do a piece of work in pure Python."""
    machine_s, own_s, began_s = machine_time_s(), time.process_time(), time.perf_counter()
    total = 0
    for number in range(rounds):
        total += number * number % 7
    seconds = time.perf_counter() - began_s
    used_s = time.process_time() - own_s
    return Piece(seconds, used_s, machine_time_s() - machine_s - used_s)


def machine_time_s() -> float:
    """Processor time of everything that runs here, in steps of 10 ms."""
    times = psutil.cpu_times()
    return sum(getattr(times, part, 0.0) for part in ("user", "nice", "system", "irq", "softirq"))


if __name__ == "__main__":
    simulated.run(main)
