"""Runs of what training costs, made by a formula: no energy here was measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from joulelab.report.experiment import EnergyBasis, Experiment

# Name, GFLOPs of a training with a trained base, million parameters, accuracy, weights.
NETWORKS = (
    ("squeezenet1_1", 40.0, 1.2, 0.86, "random"),
    ("resnet18", 220.0, 11.7, 0.93, "random"),
    ("vgg16", 1900.0, 138.4, 0.95, "random"),
    ("SimpleCNN", 15.0, 0.3, 0.81, ""),
)
DATASETS = ("digits?channels=3&side=32", "torchvision:MNIST?channels=3&side=48")
FROZEN_SHARE = 0.4
"""Of the operations, and of the energy, with a trained base."""


@dataclass(frozen=True, eq=False)
class AskedExperiment(Experiment):
    """An experiment that knows its table in the study file."""

    table: Mapping[str, Any] = field(default_factory=dict)


def cost_runs(
    networks=NETWORKS,
    bases=("frozen", "trained"),
    datasets=DATASETS,
    repetitions=3,
    scatter=0.02,
    seed=0,
):
    """Joules are 3 GFLOPs^0.8, half as much again on the second data set; 2 % scatter."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, gflops, millions, accuracy, weights in networks:
        for base in bases:
            for number, dataset in enumerate(datasets):
                share = FROZEN_SHARE if base == "frozen" else 1.0
                joules = 3.0 * gflops**0.8 * share * (1 + number / 2)
                for repetition in range(repetitions):
                    net_j = joules * np.exp(rng.normal(0, scatter))
                    reached = accuracy - 0.05 * (base == "frozen") + rng.normal(0, 0.004)
                    rows.append(
                        {
                            "network": name,
                            "base": base,
                            "dataset": dataset,
                            "configuration": f"{name}, {base}, {dataset}",
                            "repetition": repetition,
                            "accuracy": reached,
                            "f1": reached - 0.01,
                            "energy_net_j": net_j,
                            "energy_gross_j": 1.3 * net_j,
                            "energy_status": "measured",
                            "duration_s": net_j / 50,
                            "started_at": 1.7e9 + len(rows),
                            "group_size": 1,
                            "flops": 1e9 * gflops * (0.35 if base == "frozen" else 1.0),
                            "flops_trainable": 1e9 * gflops * (0.01 if base == "frozen" else 1.0),
                            "parameters": 1e6 * millions * (0.02 if base == "frozen" else 1.0),
                            "parameters_total": 1e6 * millions,
                            "weights": weights,
                            "diverged": False,
                        }
                    )
    return pd.DataFrame(rows)


def cost_experiment(runs, column="energy_net_j", **table):
    remarks = () if column else ("No energy is known: no meter gave a value.",)
    return AskedExperiment(
        name="training-cost",
        kind="training-cost",
        protocol="xu2023",
        factors=("network", "base", "dataset"),
        runs=runs,
        planned=len(runs),
        failed=0,
        score="mean",
        energy=EnergyBasis(column, "measured" if column else "missing", remarks),
        table=table,
    )
