"""Studies to report on: one drawn at random by a seed, and the published one of Yarally et al."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MANIFEST = {
    "joulelab": "0.1.0",
    "commit": "0123456789ab",
    "python": "3.12.1",
    "libraries": {"torch": "2.11.0", "numpy": "2.1.0"},
    "system": "Linux-6.1",
    "processor": "Some Processor <7>",
    "cores": 8,
    "memory_gb": 32.0,
    "device": {"name": "cpu", "domain": "cpu", "model": "Some Processor"},
    "threads": 8,
    "data": {
        "name": "digits",
        "source": "scikit-learn",
        "train_images": 1500,
        "test_images": 297,
        "shape": [1, 8, 8],
        "classes": 10,
        "checksum": "c0ffee" * 8,
    },
    "energy": {
        "channels": [
            {
                "domain": "cpu:0",
                "source": "estimate",
                "kind": "power",
                "status": "estimated",
                "relative_error": 0.4,
                "tick_s": 0.1,
                "remark": "processor time x 65 W of the table",
            }
        ],
        "missing": [
            {"domain": "gpu", "reason": "no NVIDIA driver", "remedy": "install the driver"},
        ],
    },
    "sessions": [
        {
            "session": 1,
            "started_at": "2026-01-02T03:04:05+0000",
            "ended_at": "2026-01-02T03:14:05+0000",
            "idle_before_w": {"cpu:0": 11.2},
            "idle_after_w": {"cpu:0": 11.4},
        }
    ],
}
COLUMNS = """
run_id position block experiment kind configuration round repetition seed state attempts
dataset protocol engine precision group_size device learning_rate beta1 beta2 epsilon weight_decay
accuracy train_loss diverged steps parameters placement energy_gross_j energy_idle_j
energy_net_j energy_error_j energy_status energy_source energy_domains duration_s started_at
error
"""


@dataclass
class FakeResults:
    """What `joulelab.study.results.Results` offers, over frames in memory."""

    folder: Path
    runs: pd.DataFrame
    readings: pd.DataFrame
    ledger: pd.DataFrame
    by_experiment: dict[str, list[str]]
    protocol: str = "default"
    manifest: dict[str, Any] = field(default_factory=lambda: dict(MANIFEST))

    @property
    def spec(self) -> dict[str, Any]:
        kinds = dict(zip(self.runs["experiment"], self.runs["kind"], strict=True))
        return {
            "name": "trial",
            "summary": "a <small> study",
            "dataset": "digits",
            "protocol": self.protocol,
            "engine": "reference",
            "epochs": 2,
            "batch_size": 64,
            "seed": 7,
            "score": "mean",
            "experiment": {name: {"kind": kinds.get(name, name)} for name in self.by_experiment},
        }

    def curves_frame(self) -> pd.DataFrame:
        return pd.DataFrame({"run_id": []})

    def to_frame(self) -> pd.DataFrame:
        return self.runs.copy()

    def energy_frame(self) -> pd.DataFrame:
        return self.readings.copy()

    def ledger_frame(self) -> pd.DataFrame:
        return self.ledger.copy()

    def factors(self, experiment: str) -> list[str]:
        return list(self.by_experiment[experiment])


TUNING = ["strategy", "network", "hyperparameters"]
ARCHITECTURE = ["linear_layers", "conv_layers", "relu"]


def whole(rows: pd.DataFrame, **common: Any) -> pd.DataFrame:
    """Rows with all columns of the contract."""
    rows = rows.assign(**common)
    given = {
        "state": "finished",
        "attempts": 1,
        "diverged": False,
        "energy_status": "estimated",
        "energy_source": "estimate",
        "energy_domains": "cpu:0",
        "error": None,
    }
    for name, value in given.items():
        if name not in rows:
            rows[name] = value
    return rows.reindex(columns=[*dict.fromkeys([*rows.columns, *COLUMNS.split()])])


def readings_of(runs: pd.DataFrame) -> pd.DataFrame:
    done = runs[runs["state"] == "finished"]
    return pd.DataFrame(
        {
            "run_id": done["run_id"],
            "experiment": done["experiment"],
            "configuration": done["configuration"],
            "domain": "cpu:0",
            "source": done["energy_source"],
            "status": done["energy_status"],
            "gross_j": done["energy_gross_j"],
            "idle_j": done["energy_idle_j"],
            "net_j": done["energy_net_j"],
            "error_j": done["energy_error_j"],
            "reason": "",
        }
    )


def ledger_of(runs: pd.DataFrame) -> pd.DataFrame:
    trainings = runs[runs["state"].isin(["finished", "failed"])]
    booked = pd.DataFrame(
        {
            "kind": "training",
            "state": trainings["state"],
            "experiment": trainings["experiment"],
            "configuration": trainings["configuration"],
            "round": trainings["round"],
            "started_at": 0.0,
            "duration_s": 2.0,
            "energy_gross_j": trainings["energy_gross_j"],
            "energy_error_j": trainings["energy_error_j"],
            "energy_status": trainings["energy_status"],
        }
    )
    other = {"state": "finished", "started_at": 0.0, "duration_s": 3.0}
    other |= {"energy_gross_j": 30.0, "energy_error_j": 3.0, "energy_status": "estimated"}
    extra = pd.DataFrame([{"kind": kind, **other} for kind in ("setup", "idle", "between")])
    return pd.concat([extra, booked], ignore_index=True)


def with_energy(rows: pd.DataFrame, net_j: Any) -> pd.DataFrame:
    return rows.assign(
        energy_net_j=net_j,
        energy_idle_j=20.0,
        energy_gross_j=net_j + 20.0,
        energy_error_j=0.1 * (net_j + 20.0),
        duration_s=2.0,
    )


def drawn(folder: Path, rounds: int = 3, repetitions: int = 2, seed: int = 5) -> FakeResults:
    """Both kinds of experiment, with effects of known sign and noise by the seed."""
    random = np.random.default_rng(seed)
    levels = itertools.product(
        ["grid", "random"], ["DensePolyNN", "SimpleCNN"], [3], range(rounds), range(repetitions)
    )
    tuning = pd.DataFrame(levels, columns=[*TUNING, "round", "repetition"])
    net_j = np.where(tuning["network"] == "SimpleCNN", 90.0, 30.0)
    tuning = with_energy(tuning, net_j * random.normal(1, 0.02, len(tuning)))
    tuning["configuration"] = tuning["strategy"] + ", " + tuning["network"] + ", hyperparameters=3"
    tuning = whole(tuning, experiment="tuning", kind="tuning")
    levels = itertools.product([3, 7], [1, 4], [False, True], range(rounds), range(repetitions))
    layers = pd.DataFrame(levels, columns=[*ARCHITECTURE, "round", "repetition"])
    net_j = 40.0 + 20 * layers["conv_layers"] + layers["linear_layers"]
    layers = with_energy(layers, net_j * random.normal(1, 0.01, len(layers)))
    layers["configuration"] = [
        f"linear_layers={a}, conv_layers={b}, relu={'on' if c else 'off'}"
        for a, b, c in layers[ARCHITECTURE].itertuples(index=False)
    ]
    layers = whole(layers, experiment="layers", kind="architecture")
    runs = pd.concat([tuning.astype(object), layers.astype(object)], ignore_index=True)
    runs = runs.infer_objects()
    runs["accuracy"] = random.uniform(0.6, 0.9, len(runs))
    runs["learning_rate"] = random.uniform(1e-5, 1e-1, len(runs))
    runs["run_id"] = [f"run-{number}" for number in range(len(runs))]
    runs["position"] = range(len(runs))
    runs["started_at"] = 2.0 * runs["position"]
    factors = {"tuning": TUNING, "layers": ARCHITECTURE}
    return FakeResults(folder, runs, readings_of(runs), ledger_of(runs), factors)


def as_published(source: Path, folder: Path) -> FakeResults:
    """Both experiments of Yarally et al. on Fashion-MNIST, as if joulelab had run them."""
    tuning = pd.read_csv(source / "tuning-fashion-mnist.csv")
    tuning = with_energy(tuning, tuning["energy_j"]).assign(repetition=0)
    levels = tuning[TUNING].astype(str)
    tuning["configuration"] = levels.agg(", ".join, axis=1)
    tuning = whole(tuning, experiment="tuning", kind="tuning")
    layers = pd.read_csv(source / "architecture-fashion-mnist.csv")
    layers = with_energy(layers, layers["energy_j"])
    layers["relu"] = layers["relu_layers"] > 0
    layers["round"] = layers.groupby(["learning_rate", "beta1", "beta2"], sort=False).ngroup()
    layers["configuration"] = [
        f"linear_layers={a}, conv_layers={b}, relu={'on' if c else 'off'}"
        for a, b, c in layers[ARCHITECTURE].itertuples(index=False)
    ]
    layers = whole(layers, experiment="layers", kind="architecture")
    runs = pd.concat([tuning.astype(object), layers.astype(object)], ignore_index=True)
    runs = runs.infer_objects()
    runs["run_id"] = [f"run-{number}" for number in range(len(runs))]
    runs["position"] = range(len(runs))
    runs["energy_status"], runs["energy_source"] = "measured", "nvml-power"
    runs["energy_domains"] = "gpu:0"
    factors = {"tuning": TUNING, "layers": ARCHITECTURE}
    ledger = ledger_of(runs).assign(energy_status="measured")
    return FakeResults(folder, runs, readings_of(runs), ledger, factors, "yarally2023")
