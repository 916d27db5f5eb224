"""How much longer a compute-bound Python program takes while a recorder runs beside it.

    python benchmarks/slowdown.py [--busy 60]

::

    without  A at 10 Hz  without  A at 100 Hz  without  B at 10 Hz ...   a cycle, many times

Each piece of work with a recorder is compared with the mean of its two neighbours without, so that
whatever else the machine does meets both; the figure is the median of all pairs. Pairs in which
other programs used more than a twentieth of a core are left out: two busy processors of one
machine slow each other down by more than what is looked for.

On a virtual machine even the same piece of work takes now longer, now shorter, by tens of percent.
So the time in which the working thread did not run is taken as well, its duration less its own
processor time: that is where a recorder in the same interpreter stands in its way, and how fast
the processor is at the moment does not matter.
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
from recorders import METERS, TARGETS, recorder, thread_time_s

BUSY_S = 60.0
PIECE_S = 0.25
ROUNDS_A_TRY = 100_000
FOREIGN_SHARE = 0.05
LEAST_PAIRS = 10


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--busy", type=float, default=BUSY_S, help="how long, in seconds")
    parser.add_argument("--piece", type=float, default=PIECE_S, help="of work, in seconds")
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    print_busy(args.busy, args.piece)


def print_busy(seconds: float, piece_s: float) -> None:
    """Print the table of slowdowns.

    Args:
        seconds: how long to go on.
        piece_s: length of a piece of work.
    """
    settings = [(name, interval_s) for name in METERS for interval_s in TARGETS]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        found = worker.submit(slowdowns, settings, seconds, piece_s).result()
    print(f"### Time of a busy program, pairs of pieces of about {piece_s:g} s\n")
    rows = []
    for (name, interval_s), taken in found.items():
        quiet = [pair for pair in taken if pair.foreign_share <= FOREIGN_SHARE]
        used = quiet if len(quiet) >= LEAST_PAIRS else taken
        slower = [100 * (pair.ratio - 1) for pair in used]
        waiting = [100 * pair.waiting for pair in used]
        target = 100 * TARGETS[interval_s][1]
        rows.append(
            [
                f"{name} at {1 / interval_s:.0f} Hz",
                _median(slower),
                f"{quantile(slower, 0.1):+.1f} to {quantile(slower, 0.9):+.1f} %",
                _median(waiting),
                f"{100 * statistics.median(pair.thread_share for pair in used):.2f} %",
                f"{len(used)} of {len(taken)}" + ("" if used is quiet else ", disturbed"),
                f"{target:g} %: {_judged(slower, waiting, target)}"
                if used is quiet
                else "not judged",
            ]
        )
    head = ["recorder", "slower by (95 % interval of the median)", "80 % of pairs"]
    head += ["waits more by (95 %)", "its thread runs for", "pairs used", "target"]
    print(table(head, rows))


def _judged(slower: list[float], waiting: list[float], target: float) -> str:
    by_clock, by_waiting = (
        interval_verdict(median_interval(percent), target) for percent in (slower, waiting)
    )
    return f"{by_clock} by the clock, {by_waiting} by waiting"


def _median(percent: list[float]) -> str:
    low, high = median_interval(percent)
    return f"{statistics.median(percent):+.2f} % ({low:+.2f} to {high:+.2f})"


# What follows runs in a process of its own.


@dataclass(frozen=True)
class Piece:
    """A piece of work: its duration, how much of that its thread waited, and what others used."""

    seconds: float
    waited_s: float
    foreign_s: float


@dataclass(frozen=True)
class Pair:
    """A piece of work with a recorder, against the mean of its two neighbours without.

    Attributes:
        ratio: of the durations.
        waiting: how much more of its time the working thread waited, as a share.
        thread_share: processor time of the recording thread, as a share of the duration.
        foreign_share: of one core, what other programs used in the worst of the three.
    """

    ratio: float
    waiting: float
    thread_share: float
    foreign_share: float


def slowdowns(
    settings: list[tuple[str, float]], seconds: float, piece_s: float
) -> dict[tuple[str, float], list[Pair]]:
    """How much longer a piece of work takes with a recorder.

    Args:
        settings: names and intervals of recorders.
        seconds: how long to go on; each is measured at least once.
        piece_s: length of a piece of work.
    """
    simulated.draw(simulated.Trace("noise"), simulated.H100)
    least_s = min(piece(ROUNDS_A_TRY).seconds for _ in range(5))
    rounds = round(ROUNDS_A_TRY * piece_s / least_s)
    found: dict[tuple[str, float], list[Pair]] = {setting: [] for setting in settings}
    before = piece(rounds)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s or not found[settings[-1]]:
        for setting in settings:
            with recorder(*setting) as recording:
                # A piece begins anywhere between two samples.
                time.sleep(random.uniform(0.0, setting[1]))
                with recording.open("busy"):
                    began_s = thread_time_s()
                    during = piece(rounds)
                    thread_s = thread_time_s() - began_s
            after = piece(rounds)
            found[setting].append(_pair(before, during, after, thread_s))
            before = after
    return found


def _pair(before: Piece, during: Piece, after: Piece, thread_s: float) -> Pair:
    without = [one.waited_s / one.seconds for one in (before, after)]
    return Pair(
        during.seconds / statistics.mean((before.seconds, after.seconds)),
        during.waited_s / during.seconds - statistics.mean(without),
        thread_s / during.seconds,
        max(one.foreign_s / one.seconds for one in (before, during, after)),
    )


def piece(rounds: int) -> Piece:
    """Do a piece of work in pure Python."""
    machine_s, own_s = machine_time_s(), time.process_time()
    ran_s, began_s, total = time.thread_time(), time.perf_counter(), 0
    for number in range(rounds):
        total += number * number % 7
    seconds, ran_s = time.perf_counter() - began_s, time.thread_time() - ran_s
    used_s = time.process_time() - own_s
    return Piece(seconds, seconds - ran_s, machine_time_s() - machine_s - used_s)


def machine_time_s() -> float:
    """Processor time of everything that runs here, in steps of 10 ms."""
    times = psutil.cpu_times()
    return sum(getattr(times, part, 0.0) for part in ("user", "nice", "system", "irq", "softirq"))


if __name__ == "__main__":
    simulated.run(main)
