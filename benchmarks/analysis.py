"""Time and memory of the analysis: published data recomputed, and a report on many stored runs.

    python benchmarks/analysis.py [--data DIR] [--rounds 125] [--many 100000] [--repeats 3]
    python benchmarks/analysis.py --many 100000 --keep FOLDER

The store holds both experiments of Yarally et al. (CAIN 2023) with more rounds, as many runs as the
paper has trainings on both data sets; energies and accuracies are drawn by a seed. A second store
holds --many runs of the architecture experiment, each in a round of its own, so that whatever goes
with the square of the runs or of the rounds shows; --keep only writes that one, and leaves it. Each
command runs in a process of its own, imports included; memory is the most that it had resident.
Without --data the raw data that are recomputed are drawn as well, in the authors' format.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status, total
from joulelab.study.design import Configuration
from joulelab.study.plan import Group, Plan, make_plan
from joulelab.study.store import Store
from joulelab.study.stored_ledger import Ending
from joulelab.study.study_file import check_spec, load_spec

BASE_J = {"DensePolyNN": 200.0, "DenseLinearNN": 260.0, "SimpleCNN": 850.0}
FACTOR = {"conv_layers": {4: 1.95}, "linear_layers": {7: 1.05}, "relu": {True: 1.03}}
POWER_W = 60.0
LAYERS_SHARE = 0.28
"""Rounds of the architecture experiment for each of the tuning experiment: 24,720 runs in all."""
CONFIGURATIONS = 8
"""Of the architecture experiment."""
KIB, MIB = 1024, 1024**2


def main() -> None:
    """Time the commands and print the figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the authors' files")
    parser.add_argument(
        "--rounds", type=int, default=125, help="of the tuning experiment, 125 at the most"
    )
    parser.add_argument("--many", type=int, default=100_000, help="runs of the second store")
    parser.add_argument("--keep", type=Path, help="folder for the second store; nothing is timed")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.keep:
        print(f"{many_runs(args.keep, args.many):,} runs in {args.keep}")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = args.data or drawn_data(folder / "data")
        runs = drawn_study(folder / "study", args.rounds)
        print("| command | time, median (range) | memory | load before |")
        print("|---|---|---|---|")
        print(
            line(
                f"replicate, {files(data)}",
                args.repeats,
                "replicate",
                "yarally2023",
                "--data",
                data,
            )
        )
        print(line(f"report, {runs:,} runs", args.repeats, "report", folder / "study"))
        many = many_runs(folder / "many", args.many)
        for command in (["status"], ["export", "--format", "csv"], ["report"]):
            name = f"{command[0]}, {many:,} runs"
            print(line(name, args.repeats, command[0], folder / "many", *command[1:]))
    print()


def line(name: str, repeats: int, *command: object) -> str:
    """A row of the table: a command, run some times."""
    load = os.getloadavg()[0]
    times_s, peak = zip(*(measured(list(map(str, command))) for _ in range(repeats)), strict=True)
    spread = f"{statistics.median(times_s):.1f} s ({min(times_s):.1f} to {max(times_s):.1f})"
    return f"| {name} | {spread} | {max(peak) / MIB:.0f} MiB | {load:.1f} |"


def measured(command: Sequence[str]) -> tuple[float, int]:
    """Seconds of wall time and the most bytes resident of one command of joulelab."""
    began_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "joulelab", *command], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"joulelab {' '.join(command)} failed")
    return time.monotonic() - began_s, usage.ru_maxrss * KIB


def files(data: Path) -> str:
    """The files of the raw data, in words."""
    return ", ".join(sorted(path.stem for path in data.glob("*.csv")))


def drawn_study(folder: Path, rounds: int) -> int:
    """Store a study whose every run is drawn; the number of runs."""
    tables = {}
    for name in ("tuning", "architecture"):
        tables |= load_spec(f"yarally2023-{name}").to_dict()["experiment"]
    tables["tuning"]["rounds"] = rounds
    tables["architecture"]["rounds"] = max(round(LAYERS_SHARE * rounds), 1)
    return drawn_runs(folder, tables)


def many_runs(folder: Path, runs: int) -> int:
    """Store so many runs of the eight configurations of layers, a round each; their number."""
    tables = load_spec("yarally2023-architecture").to_dict()["experiment"]
    tables["architecture"] |= {"rounds": max(runs // CONFIGURATIONS, 1), "repetitions": 1}
    return drawn_runs(folder, tables)


def drawn_runs(folder: Path, tables: dict[str, Any]) -> int:
    """Store experiments whose every run is drawn; the number of runs."""
    base = load_spec("yarally2023-tuning").to_dict()
    spec = check_spec({**base, "name": "drawn", "experiment": tables})
    plan = make_plan(spec)
    generator = np.random.default_rng(0)
    with Store.open(folder, spec.to_toml()) as store:
        store.plan(plan.runs)
        for group in plan.groups:
            entry = store.begin(1, "training", 0.0, group.runs)
            rows = drawn_rows(group, generator)
            whole = Measurement("training", 0.0, 1.0, (), 10, 0.1, ())
            store.end(entry, Ending("finished", whole, total(()), rows=rows))
    return len(plan.runs)


def drawn_rows(group: Group, generator: np.random.Generator) -> list[dict[str, object]]:
    """What the runner would have stored of a group."""
    mean_j = mean_energy_j(group.configuration)
    accuracy = 0.5 + 0.35 * generator.random()
    sets = {name: float(generator.random()) for name in group.configuration.space.variables}
    return [drawn_row(run.run_id, mean_j, accuracy, sets, generator) for run in group.runs]


def mean_energy_j(configuration: Configuration) -> float:
    """The mean energy of a training, by its network and layers."""
    energy_j = BASE_J[configuration.network]
    for name, level in configuration.levels.items():
        energy_j *= FACTOR.get(name, {}).get(level, 1.0)
    return energy_j


def drawn_row(
    run_id: str,
    mean_j: float,
    accuracy: float,
    sets: dict[str, float],
    generator: np.random.Generator,
) -> dict[str, object]:
    """A finished run."""
    net_j = mean_j * (1 + 0.008 * generator.standard_normal())
    duration_s = mean_j / POWER_W * (1 + 0.01 * generator.standard_normal())
    idle_j = 10 * duration_s
    reading = Reading(
        "gpu:0", "nvml-counter", Status.MEASURED, net_j + idle_j, idle_j, 5.0, duration_s
    )
    measurement = Measurement(run_id, 0.0, duration_s, (reading,), 50, 0.1, ())
    sums = total(measurement.readings)
    return {
        "run_id": run_id,
        "state": "finished",
        "dataset": "fashion-mnist",
        "protocol": "yarally2023",
        "engine": "reference",
        "precision": "fp32",
        "device": "cuda:0",
        "group_size": 1,
        "scale": 1.0,
        "hyperparameters": json.dumps(sets),
        "accuracy": min(1.0, accuracy + 0.01 * generator.standard_normal()),
        "diverged": 0,
        "flops": 1e9 * mean_j,
        "energy_gross_j": sums.gross_j,
        "energy_idle_j": sums.idle_j,
        "energy_net_j": sums.net_j,
        "energy_error_j": sums.error_j,
        "energy_status": str(sums.status),
        "energy_source": "nvml-counter",
        "energy_domains": "gpu:0",
        "utilisation_mean": 0.5,
        "measurement": json.dumps(measurement.to_dict()),
        "duration_s": duration_s,
        "started_at": 0.0,
    }


def drawn_data(folder: Path) -> Path:
    """Files as the authors publish them, for both data sets."""
    folder.mkdir()
    for seed, dataset in enumerate(("fashion-mnist", "cifar10")):
        generator = np.random.default_rng(seed)
        layers(plan_of("architecture", 16), generator).to_csv(
            folder / f"architecture-{dataset}.csv", index=False
        )
        searches(plan_of("tuning", 64), generator).to_csv(
            folder / f"tuning-{dataset}.csv", index=False
        )
    return folder


def plan_of(experiment: str, rounds: int) -> Plan:
    """The plan of one shipped study."""
    override = f"experiment.{experiment}.rounds={rounds}"
    return make_plan(load_spec(f"yarally2023-{experiment}", [override]))


def layers(plan: Plan, generator: np.random.Generator) -> pd.DataFrame:
    """A row a training of the architecture experiment."""
    rows = []
    for group in plan.groups:
        levels = group.configuration.levels
        sets = {name: generator.random() for name in ("learning_rate", "beta1", "beta2")}
        for _ in group.runs:
            rows.append(
                {
                    "linear_layers": levels["linear_layers"],
                    "conv_layers": levels["conv_layers"],
                    "relu_layers": int(levels["relu"]) * int(levels["conv_layers"]),
                    **sets,
                    "energy_j": mean_energy_j(group.configuration) * generator.normal(1, 0.008),
                    "accuracy": round(float(generator.uniform(0.8, 0.9)), 4),
                }
            )
    return pd.DataFrame(rows)


def searches(plan: Plan, generator: np.random.Generator) -> pd.DataFrame:
    """A row a round of the tuning experiment."""
    rows = []
    for group in plan.groups:
        levels = dict(group.configuration.levels)
        levels["strategy"] = str(levels["strategy"]).removesuffix("-pi")
        sets = {name: generator.random() for name in group.configuration.space.variables}
        rows.append(
            {
                **levels,
                "round": group.rounds[0],
                **sets,
                "energy_j": mean_energy_j(group.configuration) * generator.normal(1, 0.008),
                "accuracy": round(float(generator.uniform(0.1, 0.85)), 6),
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
