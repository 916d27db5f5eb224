"""How long it takes to import a tool, and to open and close a window.

    python benchmarks/windows.py [--imports 10] [--windows 1000] [--without-peers]

Imports are timed in fresh processes, whose Python has been compiled before, the tools in turn.
Windows are empty, and open and close as the tool's users do it: the time is that of both together.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

import simulated
import tools
from figures import machine, quantile, spread, table, verdict, versions

IMPORT_TARGET_S = 0.1
WINDOW_TARGET_S = 200e-6
IMPORTS = {
    "joulelab": "import joulelab",
    "joulelab and its first window": (
        "import joulelab\nwith joulelab.measure(meters=['nvml', 'rapl']):\n    pass"
    ),
}
PEER_IMPORTS = {
    "zeus": "from zeus.monitor import ZeusMonitor",
    "codecarbon": "from codecarbon import OfflineEmissionsTracker",
}
PEER_WINDOWS_SHARE = 20
"""Windows of CodeCarbon cost that much more than ours, so that many fewer are taken."""


TURNS = 5
Settings = dict[str, tuple[Callable[[int], list[float]], int]]
"""By name, what times a number of windows, and how many in all."""


def main() -> None:
    """Time both and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--imports", type=int, default=10)
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--without-peers", action="store_true")
    args = parser.parse_args()
    peers = set() if args.without_peers else {e.package for e in tools.installed(True).values()}
    print(f"{machine()}; {versions()}\n")
    print_imports(args.imports, peers)
    print_windows(args.windows, peers)


def print_imports(times: int, peers: set[str]) -> None:
    """Print the table of imports."""
    programs = IMPORTS | {k: v for k, v in PEER_IMPORTS.items() if k in peers}
    taken_s: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(times + 1):
        for name, program in programs.items():
            seconds = import_s(program)
            # The first turn has compiled what there is.
            if turn:
                taken_s[name].append(seconds)
    print(f"### Imports, {times} fresh processes each: median (least to greatest)\n")
    rows = [[name, f"{spread(seconds, '.3f')} s"] for name, seconds in taken_s.items()]
    print(table(["import", "time"], rows))
    median_s = quantile(taken_s["joulelab"], 0.5)
    judged = verdict(median_s, IMPORT_TARGET_S)
    print(f"Target for `import joulelab`, {IMPORT_TARGET_S:g} s: {judged}.\n")


def import_s(program: str) -> float:
    """How long a program of a few lines takes in a fresh process, its start left out."""
    timed = f"import time\nbegan = time.perf_counter()\n{program}\n"
    timed += "print(time.perf_counter() - began)"
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_windows(count: int, peers: set[str]) -> None:
    """Print the table of windows."""
    settings: Settings = {
        "joulelab, one RAPL counter": (one_zone, count),
        "joulelab, four RAPL counters": (four_zones, count),
        "joulelab, GPU counter and power": (gpu, count),
        "joulelab.measure, GPU and four RAPL counters": (measured, count),
    }
    if "zeus" in peers:
        settings["zeus begin_window and end_window, GPU counter"] = (zeus, count)
    if "codecarbon" in peers:
        few = max(2, count // PEER_WINDOWS_SHARE)
        settings["codecarbon start_task and stop_task, GPU counter"] = (codecarbon, few)
    taken = in_turns(settings)
    print("### Opening and closing a window\n")
    rows = []
    for name, us in taken.items():
        middle = quantile(us, 0.5)
        target = 1e6 * WINDOW_TARGET_S
        judged = f"{target:g} us: {verdict(middle, target)}" if "joulelab," in name else ""
        rows.append(
            [name, f"{middle:.0f} us", f"{quantile(us, 0.95):.0f} us", f"{len(us)}", judged]
        )
    print(table(["window", "median", "95 % within", "windows", "target"], rows))


def in_turns(settings: Settings) -> dict[str, list[float]]:
    """Time all settings in turn, some windows each, so that slow moments of the machine meet all.

    Returns:
        Microseconds of each window.
    """
    taken: dict[str, list[float]] = {name: [] for name in settings}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            for name in settings
        }
        for _ in range(TURNS):
            for name, (timed, times) in settings.items():
                seconds = workers[name].submit(timed, max(1, times // TURNS)).result()
                taken[name] += [1e6 * one for one in seconds]
    return taken


# What follows runs in processes of their own.


def one_zone(times: int) -> list[float]:
    """Windows over one RAPL counter."""
    from joulelab.energy.meters.rapl import RaplMeter, find_zones, powercap_root

    return recorded(RaplMeter(zones=find_zones(powercap_root())[:1]), times)


def four_zones(times: int) -> list[float]:
    """Windows over four RAPL counters."""
    from joulelab.energy.meters.rapl import RaplMeter

    return recorded(RaplMeter(), times)


def gpu(times: int) -> list[float]:
    """Windows over a GPU's counter and power."""
    from joulelab.energy.meters.nvml import NvmlMeter

    simulated.draw(simulated.Trace("noise"), simulated.H100)
    return recorded(NvmlMeter(), times)


def recorded(meter: object, times: int) -> list[float]:
    """Windows of a recorder."""
    from joulelab.energy.meter import Meter
    from joulelab.energy.recorder import Recorder

    if not isinstance(meter, Meter):
        raise TypeError(f"{meter!r} is no meter")
    with Recorder([meter]) as recorder:
        return durations(lambda: recorder.open("window").close(), times)


def measured(times: int) -> list[float]:
    """Windows as our users open them, with the locks of the devices and all domains."""
    import joulelab

    simulated.draw(simulated.Trace("noise"), simulated.H100)

    def window() -> None:
        with joulelab.measure("window", meters=["nvml", "rapl"]):
            pass

    return durations(window, times)


def zeus(times: int) -> list[float]:
    """Windows of Zeus."""
    simulated.draw(simulated.Trace("noise"), simulated.H100)
    tool = tools.ZeusCounter()
    tool.prepare()

    def window() -> None:
        tool.begin()
        tool.end()

    return durations(window, times)


def codecarbon(times: int) -> list[float]:
    """Tasks of a tracker that runs."""
    simulated.draw(simulated.Trace("noise"), simulated.H100)
    tools.CodeCarbon().load()
    tracker = tools.tracker(1.0)
    tracker.start()

    def window() -> None:
        tracker.start_task("task")
        tracker.stop_task("task")

    found = durations(window, times)
    tracker.stop()
    return found


def durations(window: Callable[[], object], times: int) -> list[float]:
    """How long each of many windows takes, in seconds, after some that are not counted."""
    found = []
    for number in range(times + times // 10):
        began_ns = time.perf_counter_ns()
        window()
        took_ns = time.perf_counter_ns() - began_ns
        if number >= times // 10:
            found.append(took_ns / 1e9)
    return found


if __name__ == "__main__":
    simulated.run(main)
