"""The longest gap between two samples while the program that is measured keeps Python busy.

    python benchmarks/gaps.py [--seconds 6]

The recorder is a thread, and a thread waits for the interpreter's lock. Python hands it over every
5 ms where Python code runs, and not at all within a call into C that does not let go of it: then
nothing is sampled, and power in between is a guess. A counter knows nothing of gaps: the error of
its energy is shown beside that of integrated power, over a simulated GPU that draws a square wave.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
import simulated
from figures import machine, table, verdict, versions
from simulated import IDEAL, Trace, exact_energy_j

TARGET_S = 0.15
TARGET_HZ = 10.0
THREADS = 8
MATRIX = 1200
TRACE = Trace("square", period_ms=2724)


@dataclass(frozen=True)
class Gaps:
    """One window.

    Attributes:
        gap_s: longest time between two samples of the meter that is read at every deadline.
        seconds: length of the window.
        samples: in it.
        flagged: what the measurement says of it.
        counter_error: relative error of the GPU's counter.
        power_error: relative error of its integrated power.
    """

    gap_s: float
    seconds: float
    samples: int
    flagged: str
    counter_error: float
    power_error: float


def main() -> None:
    """Measure every load at both rates and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rates", nargs="+", type=float, default=[10.0, 100.0], help="in Hz")
    parser.add_argument("--loads", nargs="+", default=list(LOADS), choices=LOADS)
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    print(f"Windows of {args.seconds:g} s or the length of the call; a counter and power of a GPU")
    print("with ideal sensors, and four RAPL counters; the gap is that of the RAPL counters.\n")
    rows, at_10_hz = [], {}
    for rate in args.rates:
        for load in args.loads:
            name = LOADS[load][0]
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
                found = worker.submit(gaps, load, 1 / rate, args.seconds).result()
            if rate == TARGET_HZ:
                at_10_hz[name] = found.gap_s
            rows.append(
                [
                    f"{rate:g} Hz",
                    name,
                    f"{1e3 * found.gap_s:.0f} ms",
                    f"{found.samples} in {found.seconds:.1f} s",
                    found.flagged or "none",
                    f"{100 * found.counter_error:+.3f} %",
                    f"{100 * found.power_error:+.2f} %",
                ]
            )
    head = ["rate", "load", "longest gap", "samples", "flag", "counter's error", "power's error"]
    print(table(head, rows))
    judged = [f"{name} {verdict(gap_s, TARGET_S)}" for name, gap_s in at_10_hz.items()]
    print(f"Target at {TARGET_HZ:g} Hz, under {1e3 * TARGET_S:.0f} ms: {'; '.join(judged)}.\n")


# What follows runs in processes of their own.


def gaps(load: str, interval_s: float, seconds: float) -> Gaps:
    """Record while a load runs.

    Args:
        load: a key of `LOADS`.
        interval_s: between two samples.
        seconds: how long.
    """
    from joulelab.energy.meters.nvml import NvmlMeter
    from joulelab.energy.meters.rapl import RaplMeter
    from joulelab.energy.recorder import Recorder

    trace = replace(TRACE, started_ns=time.monotonic_ns())
    simulated.draw(trace, IDEAL)
    with Recorder([NvmlMeter(), RaplMeter()], interval_s=interval_s) as recorder:
        time.sleep(1.0)
        with recorder.open(load) as window:
            LOADS[load][1](seconds)
        measurement = window.close()
    reading = measurement["gpu:0"]
    if reading.gross_j is None or reading.check_j is None:
        raise RuntimeError(reading.reason)
    start_s = window.started_s
    exact_j = exact_energy_j(trace, start_s, start_s + measurement.duration_s)
    return Gaps(
        measurement.longest_gap_s,
        measurement.duration_s,
        measurement.samples,
        "; ".join(measurement.flags),
        reading.gross_j / exact_j - 1,
        reading.check_j / exact_j - 1,
    )


def idle(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


def loop(seconds: float) -> None:
    """Keep the interpreter busy in one thread."""
    end_s, total = time.monotonic() + seconds, 0
    while time.monotonic() < end_s:
        for number in range(1000):
            total += number * number % 7


def threads(seconds: float) -> None:
    """Keep it busy in eight."""
    all_of_them = [threading.Thread(target=loop, args=(seconds,)) for _ in range(THREADS)]
    for one in all_of_them:
        one.start()
    for one in all_of_them:
        one.join()


def matrices(seconds: float) -> None:
    """Multiply matrices; the library lets go of the lock and uses all processors."""
    end_s = time.monotonic() + seconds
    matrix = np.random.default_rng(1).random((MATRIX, MATRIX))
    while time.monotonic() < end_s:
        matrix = matrix @ matrix
        matrix /= matrix.max()


def one_call(seconds: float) -> None:
    """One `sum` of about that length, which never lets go of the lock."""
    count = 1_000_000
    began_s = time.perf_counter()
    sum(range(count))
    sum(range(round(count * seconds / (time.perf_counter() - began_s))))


LOADS: dict[str, tuple[str, Callable[[float], None]]] = {
    "idle": ("idle", idle),
    "loop": ("one busy thread", loop),
    "threads": (f"{THREADS} busy threads", threads),
    "matrices": ("matrix products", matrices),
    "call": ("one call into C", one_call),
}


if __name__ == "__main__":
    simulated.run(main)
