"""Time of the live page's server for a study of 25,000 runs, and what the page costs while it runs.

    python benchmarks/live.py [--runs 25000] [--updates 30] [--seconds 20] [--folder DIR]

The folder is written by the store's own functions: 500 configurations, a run at a time, each with
its entries in the ledger, energies and accuracies drawn by a seed, and a forecast in the manifest.
First view: from the request of a first viewer to the end of the first message, of a server that has
read nothing yet. Update: the time in which the server has read a changed run and made the message
about it; every time the next run has begun and ended. Processor time: of a server with one viewer
while a run ends every second, with one viewer while nothing changes, and without viewers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status, total
from joulelab.live.beside import page_beside
from joulelab.live.server import event
from joulelab.live.study_source import StudySource
from joulelab.study.plan import Plan, make_plan
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Estimate, Prediction, record
from joulelab.study.store import Store
from joulelab.study.stored_ledger import Ending
from joulelab.study.study_file import check_spec

CONFIGURATIONS = 500
Took = tuple[float, float]
"""Seconds of wall time, and of processor time."""
LEFT = 1000
"""Runs that are left to be run while the page is looked at."""


class Runner:
    """Writes runs as the runner does.

    Args:
        store: with the plan.
        began_at: when the first begins.
    """

    def __init__(self, store: Store, began_at: float) -> None:
        self.store = store
        self.at = began_at
        self._drawn = np.random.default_rng(0)

    def run(self, planned: PlannedRun) -> None:
        """Begin and end a run, with the wait before it and the time after it."""
        width = int(planned.factors["width"])
        seconds, power_w = 0.5 + width / 500, 40 + 10 * self._drawn.random()
        entry = self.store.begin(1, "run", self.at, [planned])
        reading = Reading(
            "cpu:0", "rapl", Status.MEASURED, power_w * seconds, power_w, 8.0, seconds
        )
        measured = Measurement("run", self.at, seconds, (reading,), 10, 0.1)
        sums = total(measured.readings)
        accuracy = 1 - 0.5 / (1 + width / 50) + 0.01 * self._drawn.standard_normal()
        row = {
            "run_id": planned.run_id,
            "state": "finished",
            "accuracy": float(np.clip(accuracy, 0, 1)),
            "metrics": json.dumps({"values": {"loss": float(1 - accuracy)}}),
            "energy_gross_j": sums.gross_j,
            "energy_net_j": sums.net_j,
            "energy_status": str(sums.status),
            "measurement": json.dumps(measured.to_dict()),
            "duration_s": seconds,
            "started_at": self.at,
        }
        self.store.end(entry, Ending("finished", measured, sums, rows=[row]))
        around = Measurement("around", self.at, 0.01, (), 2, 0.1)
        for kind in ("waiting", "between"):
            self.store.book(1, kind, around, total(()), "finished")
        self.at += seconds + 0.05


def planned(runs: int) -> tuple[str, Plan]:
    """The study file and the plan."""
    table = {
        "kind": "command",
        "command": "true {width}",
        "repetitions": runs // CONFIGURATIONS,
        "metrics": {"accuracy": "max"},
        "vary": {"width": list(range(CONFIGURATIONS))},
    }
    spec = check_spec({"name": "many", "experiment": {"width": table}})
    return spec.to_toml(), make_plan(spec)


def written(folder: Path, runs: int) -> list[PlannedRun]:
    """Write the study up to its last runs; returns these."""
    toml, plan = planned(runs)
    every = plan.runs
    estimates = {
        one.title: Estimate.assumed(
            0.5 + int(one.levels["width"]) / 500, 0.05, 20.0, None, Status.MEASURED
        )
        for one in plan.configurations
    }
    prediction = Prediction({one.key: one.title for one in plan.configurations}, estimates, 0.1)
    began_at = time.time() - runs
    with Store.open(folder, toml) as store:
        store._connection.execute("PRAGMA synchronous = OFF")
        store.plan(every)
        runner = Runner(store, began_at)
        for one in every[:-LEFT]:
            runner.run(one)
        session = {
            "session": 1,
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(began_at)),
            "prediction": record(prediction, every, ["drawn"], began_at),
        }
        store.write_manifest({"sessions": [session]})
    return every[-LEFT:]


def first_view(folder: Path) -> tuple[Took, int]:
    """Seconds, and bytes of the first message."""
    began = now()
    source = StudySource(folder)
    source.update()
    text = event("change", source.message("") or {})
    return since(began), len(text)


def updates(folder: Path, left: list[PlannedRun], count: int) -> tuple[list[Took], int]:
    """Seconds of each update, and bytes of the last message."""
    source = StudySource(folder)
    source.update()
    seen = (source.message("") or {})["id"]
    times_s, size = [], 0
    with Store.open(folder, (folder / "study.toml").read_text()) as store:
        runner = Runner(store, time.time())
        for one in left[:count]:
            runner.run(one)
            began = now()
            source.update()
            message = source.message(seen) or {}
            size = len(event("change", message))
            times_s.append(since(began))
            seen = message["id"]
    return times_s, size


def costs(folder: Path, left: list[PlannedRun], seconds: float) -> list[tuple[str, float, float]]:
    """Processor seconds per minute of a server, and its memory in MiB, in each case."""
    found = []
    with (
        page_beside(folder, "127.0.0.1", 0, ["command"]) as url,
        Store.open(folder, (folder / "study.toml").read_text()) as store,
    ):
        server = psutil.Process().children()[0]
        runner = Runner(store, time.time())

        def spent(what: str, work: list[PlannedRun]) -> None:
            time.sleep(2)
            began_s, before = time.monotonic(), sum(server.cpu_times()[:2])
            while time.monotonic() < began_s + seconds:
                if work:
                    runner.run(work.pop())
                time.sleep(1)
            used = (sum(server.cpu_times()[:2]) - before) / (time.monotonic() - began_s)
            found.append((what, 60 * used, server.memory_info().rss / 2**20))

        spent("no viewer, a run every second", left[: int(seconds) + 1])
        viewer = threading.Thread(target=view, args=(url,), daemon=True)
        viewer.start()
        spent("one viewer, a run every second", left[int(seconds) + 1 : 2 * int(seconds) + 2])
        spent("one viewer, nothing changes", [])
    return found


def view(url: str) -> None:
    """Look at a page until it ends."""
    with suppress(OSError), urllib.request.urlopen(f"{url}events") as stream:
        for _ in stream:
            pass


def main() -> None:
    """Print the figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=25_000)
    parser.add_argument("--updates", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, help="of an earlier call, or for a later one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch) / "many"
        left = written(folder, args.runs) if not folder.exists() else planned(args.runs)[1].runs
        left = left[-LEFT:]
        print(f"load before: {os.getloadavg()[0]:.1f}\n")
        views = [first_view(folder) for _ in range(5)]
        seconds = [one for one, _ in views]
        print("| what | time, median (range) | processor time | message |")
        print("|---|---|---|---|")
        print(f"| first view | {spread(seconds)} | {views[0][1] / 1000:,.0f} kB |")
        times_s, size = updates(folder, left, args.updates)
        print(f"| update | {spread(times_s)} | {size / 1000:,.1f} kB |\n")
        print("| server | processor time | memory |")
        print("|---|---|---|")
        for what, cpu_s, memory in costs(folder, left[args.updates :], args.seconds):
            print(f"| {what} | {cpu_s:.2f} s a minute | {memory:.0f} MiB |")


def now() -> Took:
    """Wall time and processor time."""
    return time.perf_counter(), time.process_time()


def since(began: Took) -> Took:
    """What has passed."""
    return now()[0] - began[0], now()[1] - began[1]


def spread(took: list[Took]) -> str:
    """The medians and the ranges, in milliseconds, as two cells."""
    cells = []
    for times_s in zip(*took, strict=True):
        low, middle, high = (1000 * f(times_s) for f in (min, statistics.median, max))
        cells.append(f"{middle:.0f} ms ({low:.0f} to {high:.0f})")
    return " | ".join(cells)


if __name__ == "__main__":
    main()
