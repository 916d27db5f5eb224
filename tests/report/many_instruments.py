"""Runs read by several instruments, whose relation to each other is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from reported_study import MANIFEST, FakeResults, ledger_of, whole

GPU_SHARE, SCATTER = 0.6, 0.02
CODECARBON = 0.55
"""What codecarbon sees of the wall, as a ratio."""


def read_by_many(folder: Path, runs: int = 12, seed: int = 3, **manifest: Any) -> FakeResults:
    """A plug at the wall, NVML, RAPL with a part, codecarbon, and an estimate beside it."""
    random = np.random.default_rng(seed)
    wall_j = random.uniform(500.0, 4000.0, runs)
    rows = whole(
        pd.DataFrame(
            {
                "run_id": [f"run-{number}" for number in range(runs)],
                "position": range(runs),
                "configuration": "c",
                "round": range(runs),
                "repetition": 0,
                "learning_rate": 0.1,
                "accuracy": 0.8,
                "network": "net",
                "duration_s": 10.0,
                "started_at": 100.0 * np.arange(runs),
                "energy_gross_j": wall_j,
                "energy_net_j": wall_j,
                "energy_idle_j": 0.0,
                "energy_error_j": 0.05 * wall_j,
                "group_size": 1,
            }
        ),
        experiment="one",
        kind="architecture",
        energy_status="measured",
        energy_source="shelly-power",
        energy_domains="wall",
    )

    def scattered(share: float) -> np.ndarray:
        return share * wall_j * np.exp(random.normal(0, SCATTER, runs))

    gpu_j, cpu_j = GPU_SHARE * wall_j, 0.2 * wall_j
    read = {
        ("wall", "shelly-power", "", False): ("measured", wall_j),
        ("gpu:0", "nvml-counter", "wall", False): ("measured", gpu_j),
        ("cpu:0", "rapl", "psys:0+wall", False): ("measured", cpu_j),
        ("core:0", "rapl", "cpu:0+psys:0+wall", False): ("measured", 0.5 * cpu_j),
        ("gpu:0", "codecarbon", "wall", True): ("measured", scattered(CODECARBON - 0.15)),
        ("cpu:0", "codecarbon", "psys:0+wall", True): ("estimated", scattered(0.15)),
        ("cpu:0", "estimate", "psys:0+wall", True): ("estimated", 0.1 * wall_j),
    }
    readings = pd.concat(
        [
            pd.DataFrame(
                {
                    "run_id": rows["run_id"],
                    "experiment": "one",
                    "configuration": "c",
                    "domain": domain,
                    "source": source,
                    "status": status,
                    "gross_j": joules,
                    "idle_j": 0.0,
                    "net_j": joules,
                    "error_j": 0.05 * joules,
                    "reason": "",
                    "within": within,
                    "lost_s": 0.0,
                    "beside": beside,
                }
            )
            for (domain, source, within, beside), (status, joules) in read.items()
        ],
        ignore_index=True,
    )
    study = FakeResults(folder, rows, readings, ledger_of(rows), {"one": ["network"]})
    study.manifest = {**MANIFEST, **manifest}
    return study


def changed(study: FakeResults, run: int, source: str, **values: Any) -> None:
    """Change what a source has read of a run, in all of its domains."""
    hit = (study.readings["run_id"] == f"run-{run}") & (study.readings["source"] == source)
    for name, value in values.items():
        study.readings.loc[hit, name] = value
