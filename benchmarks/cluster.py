"""What the runner of a study on workers takes for a run, and how well workers are used.

    python benchmarks/cluster.py [--runs 24576] [--repetitions 40] [--json FILE]

The nodes are simulated: a worker answers as a real one does, and takes random times; 5 % of them
are killed in the second part. Then real worker processes carry out runs that wait.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "execution"))

from simulated import SimulatedEngine  # noqa: E402

from joulelab.execution.local import LocalEngine  # noqa: E402
from joulelab.execution.pool import Pool  # noqa: E402
from joulelab.study.code_copies import code_copies  # noqa: E402
from joulelab.study.listener import Listener  # noqa: E402
from joulelab.study.results import Results  # noqa: E402
from joulelab.study.spec import ExecutionSpec  # noqa: E402
from joulelab.study.store import Store  # noqa: E402
from joulelab.study.study import Study  # noqa: E402
from joulelab.study.study_file import check_spec  # noqa: E402

ENERGY = {"meters": ["estimate"], "idle_s": 0, "cool_down_s": 0}
REPETITIONS = 8


def main() -> None:
    """Print each part as a line of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=24_576)
    parser.add_argument("--waits", type=int, default=12, help="runs of a worker that wait a second")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JOULELAB_LOCK_DIR"] = folder
        found = {
            "dispatch": dispatch(Path(folder) / "dispatch", asked.runs),
            "killed": killed(Path(folder) / "killed"),
            "efficiency": efficiency(Path(folder) / "efficiency", asked.waits),
        }
    for name, values in found.items():
        print(f"- {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


def dispatch(folder: Path, runs: int) -> dict[str, float]:
    """Plan, give out and store runs that take no time."""
    began_s, cpu_s = time.monotonic(), time.process_time()
    carried_out(folder, SimulatedEngine(["H200"] * 8), runs // REPETITIONS, REPETITIONS)
    took_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    return {
        "runs": runs,
        "seconds": took_s,
        "ms a run": 1e3 * took_s / runs,
        "processor ms a run": 1e3 * cpu_s / runs,
        "MB at most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def killed(folder: Path) -> dict[str, float]:
    """1,000 jobs of random length on 8 nodes with a meter each; 5 % of workers are killed."""
    engine = SimulatedEngine(
        ["H200"] * 8, lambda chance: chance.expovariate(1 / 0.02), killed=0.05, seed=1
    )
    results = carried_out(folder, engine, 125, REPETITIONS)
    overlaps = sum(
        begin < end
        for windows in engine.windows.values()
        for (_, end), (begin, _) in pairwise(sorted(windows))
    )
    ledger = results.ledger_frame()
    return {
        "jobs": len(results.to_frame()),
        "not finished": int((results.to_frame()["state"] != "finished").sum()),
        "workers killed": engine.started - 8,
        "interrupted attempts booked": int((ledger["state"] == "interrupted").sum()),
        "overlaps on a meter": overlaps,
    }


def efficiency(folder: Path, waits: int) -> dict[str, float]:
    """Four real workers against one, on runs that wait for a second.

    Each worker has a meter of its own: a folder of locks for each.
    """
    rates = {}
    for workers in (1, 4):
        engine = OwnLocks(workers, folder / f"locks-{workers}")
        began = carried_out(
            folder / f"waits-{workers}", engine, 4, waits * workers // 4, "sleep 1"
        ).ledger_frame()
        runs = began[began["kind"] == "run"]
        span_s = (runs["started_at"] + runs["duration_s"]).max() - runs["started_at"].min()
        rates[workers] = len(runs) / span_s
    return {
        "one worker, runs a second": rates[1],
        "four workers": rates[4],
        "share of four times": rates[4] / rates[1] / 4,
    }


class OwnLocks(LocalEngine):
    """Worker processes that are nodes of their own: each has its own meter.

    Args:
        workers: their number.
        folder: for their locks.
    """

    def __init__(self, workers: int, folder: Path) -> None:
        super().__init__(str(workers), ExecutionSpec())
        self._folder = folder

    def start(self, number: int, folder: Path):  # noqa: ANN201 - as of the engine
        """Start a process with locks of its own."""
        locks = self._folder / str(number)
        locks.mkdir(parents=True)
        os.environ["JOULELAB_LOCK_DIR"] = str(locks)
        return super().start(number, folder)


def carried_out(
    folder: Path,
    engine: SimulatedEngine | LocalEngine,
    levels: int,
    repetitions: int,
    command: str = "true",
) -> Results:
    """A study on an engine."""
    folder.mkdir(parents=True)
    table = {
        "kind": "command",
        "command": f"{command} {{a}}" if command == "true" else command,
        "environment": {"LEVEL": "{a}"},
        "vary": {"a": list(range(levels))},
        "repetitions": repetitions,
        "cwd": str(folder),
    }
    study = Study(check_spec({"name": "s", "energy": ENERGY, "experiment": {"e": table}}))
    plan, out = study.plan(), folder / "out"
    copies = code_copies(study.spec, out)
    with Store.open(out, copies.toml) as store, closing(engine):
        copies.write(begun=False)
        store.plan(plan.runs)
        Pool(engine, study, plan, store, copies, Listener()).run()
    return Results.open(out)


if __name__ == "__main__":
    main()
