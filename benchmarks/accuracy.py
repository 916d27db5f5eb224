"""Energy of a simulated GPU by several tools at the same time, against what it truly drew.

    python benchmarks/accuracy.py [--seconds 12] [--repeats 3] [--without-peers]

Each tool has a process of its own. All load the same simulated GPU (`simulated`), which draws a
synthetic trace in real time, and open a window at one moment::

    start ------------------------------------------------- a trace, since the start of the run
             [ window 1 ]   [ window 2 ]   [ window 3 ]     each tool, at the same moments

The error is (tool - exact) / exact, with the exact energy between the tool's own edges. It is taken
twice: with sensors that hide nothing (new every millisecond), where an error is the tool's, and
with those of an H100 (new every 100 ms), where it is also the sensor's: a counter that moves every
100 ms knows each edge of a window only so well, whoever reads it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import simulated
import tools
from figures import machine, spread, table, verdict, versions
from integration import print_integration
from simulated import H100, IDEAL, NO_COUNTER, SHAPES, Shape, Trace, exact_energy_j

COUNTER_TARGET = 0.001
POWER_TARGET = 0.005
SENSORS = {"ideal sensors": IDEAL, "sensors of an H100": H100}
LEAD_S = 0.3
"""From the order to the moment of opening: every process must be ready by then."""

Runs = dict[tuple[str, str, str], list["Window"]]
"""By kind of sensors, tool and trace."""


@dataclass(frozen=True)
class Window:
    """One window of one tool: its relative error, and its longest gap where it says that."""

    error: float
    longest_gap_s: float | None


def main() -> None:
    """Run all tools over all traces and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--traces", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--without-peers", action="store_true")
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    print("### Integration alone\n")
    print_integration(args.draws, 5 * args.seconds)

    names = list(tools.installed(not args.without_peers))
    traces = {shape: trace_of(shape, args.seconds) for shape in args.traces}
    runs = compare(names, traces, args.seconds, args.repeats)
    for kind in SENSORS:
        print(f"### With {kind}\n")
        print(f"{args.repeats} windows of {args.seconds:g} s for each trace; error in %, median")
        print("(least to greatest), between the tool's own edges.\n")
        print_errors(runs, kind, names, list(traces))
    print_targets(runs, names)


def trace_of(shape: Shape, seconds: float) -> Trace:
    """A trace for windows of a length.

    Ramp and plateau pass about once in a window. The steps of the wave and of the noise are longer
    than some intervals by 0.618 of one, so that they fall evenly on all moments between two
    samples, as those of a real load do.
    """
    steps_s = {"square": 2 * 1.3618, "noise": 8 * 0.4618}
    period_s = steps_s.get(shape, 1.1 * seconds)
    return Trace(shape, period_ms=round(period_s * 1e3), seed=7)


def compare(names: list[str], traces: Mapping[Shape, Trace], seconds: float, repeats: int) -> Runs:
    """Let every tool measure every trace, all at the same time.

    Args:
        names: of `tools.ENTRIES`.
        traces: one after the other.
        seconds: length of a window.
        repeats: windows of each trace.
    """
    runs: Runs = {}
    with ExitStack() as stack:
        workers = {
            (kind, name): stack.enter_context(
                ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            )
            for kind in SENSORS
            for name in names
        }
        _finish({key: worker.submit(load, key[1]) for key, worker in workers.items()})
        for shape, trace in traces.items():
            drawn = replace(trace, started_ns=time.monotonic_ns())
            _finish(
                {
                    (kind, name): worker.submit(prepare, name, drawn, SENSORS[kind])
                    for (kind, name), worker in workers.items()
                }
            )
            for _ in range(repeats):
                at_s = time.monotonic() + LEAD_S
                found = _finish(
                    {k: w.submit(measure, drawn, at_s, seconds) for k, w in workers.items()}
                )
                for (kind, name), window in found.items():
                    runs.setdefault((kind, name, shape), []).append(window)
            _finish({key: worker.submit(release) for key, worker in workers.items()})
    return runs


def print_errors(runs: Runs, kind: str, names: list[str], shapes: list[Shape]) -> None:
    """Print a table, tools by traces."""
    rows = []
    for name in names:
        errors = [[100 * one.error for one in runs[kind, name, shape]] for shape in shapes]
        rows.append([name, *(spread(values, "+.3f") for values in errors)])
    print(table(["tool", *shapes], rows))
    gaps_s = [
        one.longest_gap_s
        for (k, _, _), windows in runs.items()
        for one in windows
        if k == kind and one.longest_gap_s is not None
    ]
    print(f"Longest gap between two of our samples, in any of these: {1e3 * max(gaps_s):.0f} ms.\n")


def print_targets(runs: Runs, names: list[str]) -> None:
    """Print whether our own errors are within their targets."""
    kind, rows = next(iter(SENSORS)), []
    for name in names:
        if name.startswith("joulelab"):
            target = COUNTER_TARGET if tools.ENTRIES[name].counter else POWER_TARGET
            by_trace = [
                [abs(one.error) for one in windows]
                for (k, n, _), windows in runs.items()
                if (k, n) == (kind, name)
            ]
            median = max(statistics.median(errors) for errors in by_trace)
            worst = max(max(errors) for errors in by_trace)
            figures = [f"{100 * value:.3f} %" for value in (target, median, worst)]
            rows.append([name, *figures, verdict(median, target), verdict(worst, target)])
    head = ["our error", "target", "worst trace, median", "worst window"]
    print(f"### Targets, with {kind}\n")
    print(table([*head, "by the median", "by every window"], rows))


def _finish(futures: Mapping[tuple[str, str], Future[Any]]) -> dict[tuple[str, str], Any]:
    return {key: future.result() for key, future in futures.items()}


# What follows runs in the process of one tool.

_tools: list[tools.Tool] = []


def load(name: str) -> bool:
    """Import the tool, so that nothing is imported while others measure."""
    tools.ENTRIES[name].make().load()
    return True


def prepare(name: str, trace: Trace, sensors: Mapping[str, str]) -> bool:
    """Let the GPU draw a trace, and open the tool's sensors."""
    entry = tools.ENTRIES[name]
    simulated.draw(trace, {**sensors, **({"STUB_ENERGY": ""} if entry.counter else NO_COUNTER)})
    tool = entry.make()
    tool.prepare()
    _tools[:] = [tool]
    return True


def measure(trace: Trace, at_s: float, seconds: float) -> Window:
    """Open a window at a moment, and close it after some time.

    Args:
        trace: what the GPU draws.
        at_s: moment on the monotonic clock.
        seconds: until it is closed.
    """
    tool = _tools[0]
    time.sleep(max(0.0, at_s - time.monotonic()))
    tool.begin()
    time.sleep(max(0.0, at_s + seconds - time.monotonic()))
    span = tool.end()
    exact_j = exact_energy_j(trace, span.start_s, span.end_s)
    return Window(span.energy_j / exact_j - 1, span.longest_gap_s)


def release() -> bool:
    """Close the tool's sensors."""
    _tools.pop().release()
    return True


if __name__ == "__main__":
    simulated.run(main)
