"""What a run of a user's program costs around the program itself.

    python benchmarks/programs.py [--runs 200] [--repeats 3]

In turn, as often as asked: ``/bin/true`` measured in a row in one process, as `joulelab measure
--repeat` does; the same as a study of kind ``command``; and studies of a function that returns at
once, in one process and in fresh ones. Milliseconds from the start of one run to the start of the
next, by the estimate.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from figures import machine, table, versions

from joulelab.energy.command import Design, run_trials
from joulelab.energy.monitor import Monitor
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

ENERGY = {"meters": ["estimate"], "idle_s": 0, "cool_down_s": 0}
FUNCTION = "def nothing(level):\n    return 1.0\n"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    ways: dict[str, Callable[[int, Path], float]] = {
        "`joulelab measure` of `true`": measured_ms,
        "study of `true`": lambda runs, folder: study_ms(
            {"kind": "command", "command": "true {level}"}, runs, folder
        ),
        "study of a function, one process": lambda runs, folder: study_ms(
            {"kind": "function", "function": "work.py:nothing", "fresh_process": False},
            runs,
            folder,
        ),
        "study of a function, fresh processes": lambda runs, folder: study_ms(
            {"kind": "function", "function": "work.py:nothing"}, max(runs // 10, 2), folder
        ),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(way(args.runs, Path(folder)))
    base = statistics.median(found["`joulelab measure` of `true`"])
    rows = [
        [name, f"{statistics.median(ms):.1f}", f"{min(ms):.1f} to {max(ms):.1f}",
         f"{statistics.median(ms) - base:+.1f}"]
        for name, ms in found.items()
    ]  # fmt: skip
    print(table(["runs", "ms a run", "least to most", "beside `measure`, ms"], rows))


def measured_ms(runs: int, _: Path) -> float:
    """Milliseconds a run of a command that is measured in a row."""
    with Monitor(meters=["estimate"]) as monitor:
        began_s = time.perf_counter()
        run_trials([["true"]], monitor, Design(repeat=runs, cool_down_s=0))
        return 1000 * (time.perf_counter() - began_s) / runs


def study_ms(own: dict[str, object], runs: int, folder: Path) -> float:
    """Milliseconds a run of a study."""
    (folder / "work.py").write_text(FUNCTION)
    if "function" in own:
        own = {**own, "function": f"{folder / 'work.py'}:nothing", "metrics": {"value": "max"}}
    experiment = {**own, "vary": {"level": [1, 2]}, "repetitions": max(runs // 2, 1)}
    experiment["cwd"] = str(folder)
    spec = check_spec({"name": "many", "energy": ENERGY, "experiment": {"e": experiment}})
    frame = Study(spec).run(folder / "out").to_frame().sort_values("position")
    assert (frame["state"] == "finished").all()
    took_s = frame["started_at"].iloc[-1] - frame["started_at"].iloc[0]
    return float(1000 * took_s / (len(frame) - 1))


if __name__ == "__main__":
    main()
