"""What recording costs: processor time while nothing else runs, and the time of a busy program.

    python benchmarks/overhead.py [--seconds 20] [--busy 60] [--without-peers]

1. Each tool in a process that sleeps in a window: processor time of the process and its children,
   per second, as a share of one core. All run at the same time; what a process uses is its own.
2. A compute-bound Python program, with and without a recorder beside it: see `slowdown`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import psutil
import simulated
import tools
from figures import machine, table, verdict, versions
from recorders import METERS, TARGETS, recorder, thread_time_s
from slowdown import BUSY_S, PIECE_S, print_busy


@dataclass(frozen=True)
class Cost:
    """What a process that does nothing but record has used.

    Attributes:
        share: processor time per second, of the process and its children.
        thread_share: that of the recording thread alone, where there is one.
        samples: in the window.
        seconds: length of the window.
    """

    share: float
    thread_share: float | None
    samples: int
    seconds: float


Settings = dict[str, Callable[[float], Cost]]
"""By name, what measures the cost over some seconds."""


def main() -> None:
    """Measure both and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--busy", type=float, default=BUSY_S, help="of that program, in seconds")
    parser.add_argument("--piece", type=float, default=PIECE_S, help="of work, in seconds")
    parser.add_argument("--without-peers", action="store_true")
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    print_idle(args.seconds, peers=not args.without_peers)
    print_busy(args.busy, args.piece)


def print_idle(seconds: float, *, peers: bool) -> None:
    """Print the table of processor time."""
    settings: Settings = {
        f"joulelab, {name} at {1 / interval_s:.0f} Hz": partial(idle_recorder, name, interval_s)
        for name in METERS
        for interval_s in TARGETS
    }
    if peers and "codecarbon, counter" in (found := tools.installed(peers=True)):
        settings["codecarbon, every 1 s"] = partial(idle_tool, tools.CodeCarbon(1.0))
        settings["codecarbon, every 0.1 s"] = partial(idle_tool, tools.CodeCarbon(0.1))
    if peers and "zeus, counter" in found:
        settings["zeus, counter (asks at the edges only)"] = partial(idle_tool, tools.ZeusCounter())
        settings["zeus, power at 10 Hz"] = partial(idle_tool, tools.ZeusPower())
    costs = at_once(settings, seconds)
    if peers and "zeus, counter" in found:
        # Alone, because it takes all that it can get.
        alone: Settings = {
            "zeus, power, interval of its own": partial(idle_tool, tools.ZeusPower(None))
        }
        costs |= at_once(alone, min(seconds, 5.0))
    print(f"### Processor time over {seconds:g} s\n")
    rows = []
    for name, cost in costs.items():
        thread = each = ""
        if cost.thread_share is not None:
            thread = f"{100 * cost.thread_share:.3f} %"
            each = f"{1e6 * cost.thread_share * cost.seconds / cost.samples:.0f}"
        target = _target(name, 0)
        judged = "" if target is None else f"{100 * target:g} %: {verdict(cost.share, target)}"
        rows.append([name, f"{100 * cost.share:.3f} %", thread, each, judged])
    head = ["tool", "of one core", "its thread", "us a sample", "target"]
    print(table(head, rows))


def at_once(settings: Settings, seconds: float) -> dict[str, Cost]:
    """Run each setting in a process of its own, all at the same time."""
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            for name in settings
        }
        futures = {name: worker.submit(settings[name], seconds) for name, worker in workers.items()}
        return {name: future.result() for name, future in futures.items()}


def _target(name: str, which: int) -> float | None:
    for interval_s, both in TARGETS.items():
        if name.startswith("joulelab") and name.endswith(f" {1 / interval_s:.0f} Hz"):
            return both[which]
    return None


# What follows runs in processes of their own.


def idle_recorder(name: str, interval_s: float, seconds: float) -> Cost:
    """Sleep in a window of a recorder."""
    simulated.draw(simulated.Trace("noise"), simulated.H100)
    with recorder(name, interval_s) as found:
        time.sleep(1.0)
        with found.open("idle") as window:
            begun_s, begun_thread_s = time.process_time(), thread_time_s()
            time.sleep(seconds)
            used_s = time.process_time() - begun_s
            thread_s = thread_time_s() - begun_thread_s
        measurement = window.close()
    length_s = measurement.duration_s
    return Cost(used_s / length_s, thread_s / length_s, measurement.samples, length_s)


def idle_tool(tool: tools.Tool, seconds: float) -> Cost:
    """Sleep in a window of another tool."""
    simulated.draw(simulated.Trace("noise"), {**simulated.H100, "STUB_ENERGY": ""})
    tool.load()
    tool.prepare()
    tool.begin()
    time.sleep(1.0)
    begun_s, began_s = processor_time_s(), time.monotonic()
    time.sleep(seconds)
    length_s = time.monotonic() - began_s
    used_s = processor_time_s() - begun_s
    tool.end()
    tool.release()
    return Cost(used_s / length_s, None, 0, length_s)


def processor_time_s() -> float:
    """Of this process, and in steps of 10 ms of its living children."""
    children = psutil.Process().children(recursive=True)
    return time.process_time() + sum(sum(child.cpu_times()[:2]) for child in children)


if __name__ == "__main__":
    simulated.run(main)
