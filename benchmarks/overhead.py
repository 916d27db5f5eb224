"""What recording costs: processor time while nothing else runs, and the time of a busy program.

    python benchmarks/overhead.py [--seconds 20] [--pairs 60] [--without-peers]

1. Each tool in a process that sleeps in a window: processor time of the process and its children,
   per second, as a share of one core. All run at the same time; what a process uses is its own.
2. A compute-bound pure-Python program, with and without a recorder in the same process::

       without  A at 10 Hz  without  A at 100 Hz  without  B at 10 Hz ...   a cycle, many times

   Each piece of work with a recorder is compared with the mean of its two neighbours without, so
   that whatever else the machine does meets both; the figure is the median of all pairs. A pair
   in which other programs used more than a twentieth of a core is not used: two logical
   processors of one core slow each other down by half, a hundred times what is looked for.

Four domains are read in two settings: RAPL (package, core, dram, psys), and a GPU's counter and
power beside RAPL (package, core) and the estimate of memory.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context

import psutil
import simulated
import tools
from figures import machine, median_interval, quantile, table, verdict, versions

from joulelab.energy.recorder import Recorder

TARGETS = {0.1: (0.003, 0.005), 0.01: (0.03, 0.03)}
"""By interval: share of one core, and share of a busy program's time."""

PIECE_S = 0.25
ROUNDS_A_TRY = 100_000
FOREIGN_SHARE = 0.05
LEAST_PAIRS = 10
MOST_CYCLES = 3
"""Times the number of pairs that are wanted, while too few of them are undisturbed."""


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


def main() -> None:
    """Measure both and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--without-peers", action="store_true")
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    print_idle(args.seconds, peers=not args.without_peers)
    print_busy(args.pairs)


def print_idle(seconds: float, *, peers: bool) -> None:
    """Print the table of processor time."""
    settings: dict[str, tuple[Callable[..., Cost], object]] = {
        f"joulelab, {name} at {1 / interval_s:.0f} Hz": (idle_recorder, (name, interval_s))
        for name in METERS
        for interval_s in TARGETS
    }
    if peers and "codecarbon, counter" in (found := tools.installed(peers=True)):
        settings["codecarbon, every 1 s"] = (idle_tool, tools.CodeCarbon(1.0))
        settings["codecarbon, every 0.1 s"] = (idle_tool, tools.CodeCarbon(0.1))
    if peers and "zeus, counter" in found:
        settings["zeus, counter (asks at the edges only)"] = (idle_tool, tools.ZeusCounter())
        settings["zeus, power at 10 Hz"] = (idle_tool, tools.ZeusPower())
    costs = at_once(settings, seconds)
    if peers and "zeus, counter" in found:
        # Alone, because it takes all that it can get.
        alone: Mapping[str, tuple[Callable[..., Cost], object]] = {
            "zeus, power, interval of its own": (idle_tool, tools.ZeusPower(None))
        }
        costs |= at_once(alone, min(seconds, 5.0))
    print(f"### Processor time over {seconds:g} s\n")
    rows = []
    for name, cost in costs.items():
        thread = "" if cost.thread_share is None else f"{100 * cost.thread_share:.3f} %"
        each = f"{1e6 * cost.thread_share * cost.seconds / cost.samples:.0f}" if thread else ""
        target = _target(name, 0)
        judged = "" if target is None else f"{100 * target:g} %: {verdict(cost.share, target)}"
        rows.append([name, f"{100 * cost.share:.3f} %", thread, each, judged])
    head = ["tool", "of one core", "its thread", "us a sample", "target"]
    print(table(head, rows))


def at_once(
    settings: Mapping[str, tuple[Callable[..., Cost], object]], seconds: float
) -> dict[str, Cost]:
    """Run each setting in a process of its own, all at the same time."""
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            for name in settings
        }
        futures = {
            name: worker.submit(*settings[name], seconds) for name, worker in workers.items()
        }
        return {name: future.result() for name, future in futures.items()}


def print_busy(pairs: int) -> None:
    """Print the table of slowdowns.

    Args:
        pairs: undisturbed pairs that are wanted of each recorder.
    """
    settings = [(name, interval_s) for name in METERS for interval_s in TARGETS]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        found = worker.submit(slowdowns, settings, pairs).result()
    print(f"### Time of a busy program, pairs of pieces of about {PIECE_S:g} s\n")
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
                f"{target:g} %: {verdict(median, target)}",
            ]
        )
    head = ["recorder", "slower by (95 % interval of the median)", "80 % of pairs"]
    head += ["processor time more by (95 %)", "pairs used", "target"]
    print(table(head, rows))


def _range(edges: tuple[float, float]) -> str:
    return f"{edges[0]:+.2f} to {edges[1]:+.2f}"


def _target(name: str, which: int) -> float | None:
    for interval_s, both in TARGETS.items():
        if name.startswith("joulelab") and name.endswith(f" {1 / interval_s:.0f} Hz"):
            return both[which]
    return None


# What follows runs in processes of their own.


def rapl() -> Recorder:
    """RAPL alone: package, core, dram and psys."""
    from joulelab.energy.rapl import RaplMeter

    return Recorder([RaplMeter()])


def gpu_and_rapl() -> Recorder:
    """A GPU's counter and power, RAPL's package and core, and the estimate of memory."""
    from joulelab.energy.estimate import EstimateMeter
    from joulelab.energy.nvml import NvmlMeter
    from joulelab.energy.rapl import RaplMeter, find_zones, powercap_root

    zones = [zone for zone in find_zones(powercap_root()) if zone.name in ("package-0", "core")]
    return Recorder([NvmlMeter(), RaplMeter(zones=zones), EstimateMeter(measured=("cpu",))])


METERS = {"RAPL": rapl, "GPU, RAPL, estimate": gpu_and_rapl}


def recorder(name: str, interval_s: float) -> Recorder:
    """A started recorder over the meters of that name."""
    found = Recorder(METERS[name]().meters, interval_s=interval_s)
    if len({channel.domain for channel in found.channels}) != 4:  # noqa: PLR2004 - four domains
        raise RuntimeError(f"{name} has not four domains")
    found.start()
    return found


def idle_recorder(setting: tuple[str, float], seconds: float) -> Cost:
    """Sleep in a window of a recorder."""
    simulated.draw(simulated.Trace("noise"), simulated.H100)
    with recorder(*setting) as found:
        [thread] = [one for one in threading.enumerate() if one.name == "joulelab-recorder"]
        clock = time.pthread_getcpuclockid(thread.ident or 0)
        time.sleep(1.0)
        with found.open("idle") as window:
            begun_s, begun_thread_s = time.process_time(), time.clock_gettime(clock)
            time.sleep(seconds)
            used_s = time.process_time() - begun_s
            thread_s = time.clock_gettime(clock) - begun_thread_s
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


def slowdowns(settings: list[tuple[str, float]], pairs: int) -> dict[tuple[str, float], list[Pair]]:
    """How much longer a piece of work takes with a recorder.

    Args:
        settings: names and intervals of recorders.
        pairs: undisturbed ones that are wanted of each.
    """
    simulated.draw(simulated.Trace("noise"), simulated.H100)
    least_s = min(piece(ROUNDS_A_TRY).seconds for _ in range(5))
    rounds = round(ROUNDS_A_TRY * PIECE_S / least_s)
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
