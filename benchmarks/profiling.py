"""How accurate a profile is, and what it costs.

    python benchmarks/profiling.py [--runs 12] [--pairs 16] [--piece 2.5] [--rate 100]

1. A program with three functions that use known shares of its processor time, profiled many times
   with the estimate, which is processor time: the difference of each share from the known one.

2. Pieces of the same work are done in turn without and with `joulelab.profile`, in random order
   within each pair, and compared within it; figures are medians of all pairs with their 95 %
   interval, of the time within the block: to open and close it takes some milliseconds more. A
   piece is longer than the time after which the sampler works out what it has seen. The
   first figure is the additional processor time of the whole process, with that of the sampler and
   the recorder, for each second that passed. The second, how much longer the work took, depends on
   what else the machine does: where other programs compete for the processor it may be anything.

    loop       pure Python, which holds the interpreter's lock
    calls      a hundred functions deep
    arrays     small operations of NumPy, most of the time in calls
    threads    two threads that take turns at the lock
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from figures import machine, median_interval, table, verdict, versions

import joulelab

TARGET = 0.02
MOST_OFF = 3
DEEP = 100
METERS = ["estimate"]


@dataclass(frozen=True)
class Taken:
    """What a piece of work took, in seconds: passed, and of the processors."""

    passed_s: float
    used_s: float


def loop(rounds: int) -> None:
    """Arithmetic in Python."""
    total = 0
    for number in range(rounds):
        total += number * number % 7


def calls(rounds: int, depth: int = DEEP) -> None:
    """The same, many calls deep."""
    # Two functions in turn: a function that calls itself is one entry of a stack.
    if depth:
        calls_too(rounds, depth - 1)
    else:
        loop(rounds)


def calls_too(rounds: int, depth: int) -> None:
    """See `calls`."""
    if depth:
        calls(rounds, depth - 1)
    else:
        loop(rounds)


def arrays(rounds: int) -> None:
    """Operations on arrays of a few thousand numbers."""
    values = np.ones((64, 64))
    for _ in range(rounds // 50):
        values = np.tanh(values @ values / 64.0)


def threads(rounds: int) -> None:
    """Two threads."""
    both = [threading.Thread(target=loop, args=(rounds // 2,)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()


SHARES = {"half": 0.5, "third": 0.3, "fifth": 0.2}
KNOWN_S = 0.8


def burn(seconds: float) -> None:
    """Use processor time, however busy the machine is."""
    end_s = time.thread_time() + seconds
    while time.thread_time() < end_s:
        pass


def half() -> None:
    """Use half of the time."""
    burn(SHARES["half"] * KNOWN_S)


def third() -> None:
    """Use 30 %."""
    burn(SHARES["third"] * KNOWN_S)


def fifth() -> None:
    """Use 20 %."""
    burn(SHARES["fifth"] * KNOWN_S)


def errors(rate: float) -> list[float]:
    """The error of each share in one profile, in points."""
    with joulelab.profile(rate=rate, meters=METERS) as p:
        half()
        third()
        fifth()
    found = {one.function.name: one.total_share for one in p.functions}
    return [100 * (found.get(name, 0.0) - share) for name, share in SHARES.items()]


LOADS: dict[str, Callable[[int], None]] = {
    "loop": loop,
    "calls": calls,
    "arrays": arrays,
    "threads": threads,
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--piece", type=float, default=2.5, help="of work, in seconds")
    parser.add_argument("--rate", type=float, default=100.0, help="samples in a second")
    parser.add_argument("--loads", nargs="+", default=list(LOADS), choices=LOADS)
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    off = [abs(error) for _ in range(args.runs) for error in errors(args.rate)]
    if off:
        print(f"{args.runs} profiles of {KNOWN_S:g} s, {len(SHARES)} known shares in each\n")
        judged = verdict(max(off), MOST_OFF)
        worst = [f"{statistics.median(off):.1f} points", f"{max(off):.1f} points"]
        print(
            table(["median error", "largest error", "target"], [[*worst, f"{MOST_OFF}: {judged}"]])
        )
    print(f"{args.pairs} pairs of pieces of {args.piece:g} s, {args.rate:g} samples a second\n")
    rows = []
    for name in args.loads if args.pairs else ():
        pairs = compare(LOADS[name], args.pairs, args.piece, args.rate)
        passed = [100 * (with_.passed_s / without.passed_s - 1) for without, with_ in pairs]
        used = [100 * (with_.used_s - without.used_s) / with_.passed_s for without, with_ in pairs]
        judged = "met" if median_interval(used)[1] <= 100 * TARGET else "not shown"
        rows.append([name, _median(used), _median(passed), f"under {TARGET:.0%}: {judged}"])
    head = ["work", "processor time, of one core (95 %)", "longer by (95 %)", "target"]
    print(table(head, rows))


def compare(
    work: Callable[[int], None], pairs: int, piece_s: float, rate: float
) -> list[tuple[Taken, Taken]]:
    """Do pieces of work without and with a profile."""
    rounds = _rounds(work, piece_s)
    order, found = random.Random(0), []
    for _ in range(pairs):
        first = order.random() < 0.5  # noqa: PLR2004 - either is as likely
        one = piece(work, rounds, rate if first else None)
        other = piece(work, rounds, None if first else rate)
        found.append((other, one) if first else (one, other))
    return found


def piece(work: Callable[[int], None], rounds: int, rate: float | None) -> Taken:
    """Do a piece of work, in a profile if there is a rate."""
    if rate is None:
        return timed(work, rounds)
    with joulelab.profile(rate=rate, meters=METERS):
        return timed(work, rounds)


def timed(work: Callable[[int], None], rounds: int) -> Taken:
    """Do it, and take the time."""
    begun_s, used_s = time.perf_counter(), time.process_time()
    work(rounds)
    return Taken(time.perf_counter() - begun_s, time.process_time() - used_s)


def _rounds(work: Callable[[int], None], piece_s: float) -> int:
    rounds = 1000
    while (used_s := timed(work, rounds).used_s) < piece_s / 4:
        rounds *= 2
    return max(1, round(rounds * piece_s / used_s))


def _median(percent: list[float]) -> str:
    low, high = median_interval(percent)
    return f"{statistics.median(percent):+.2f} % ({low:+.2f} to {high:+.2f})"


if __name__ == "__main__":
    sys.exit(main())
