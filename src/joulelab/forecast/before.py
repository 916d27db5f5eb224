"""Predict the energy of a training before it starts: a regression on stored runs, and two formulas.

==================  ================================================================================
method              energy
==================  ================================================================================
linear regression   ridge on logarithms (`joulelab.analysis.prediction.before`)
kernel regression   kernel ridge on the same
TDP x time          design power times duration (Lacoste et al., arXiv 1910.09700)
Green Algorithms    (design power x usage + 0.3725 W/GB x memory) x duration (Lannelongue et al.)
==================  ================================================================================

The regression with the smaller cross-validation error is used. Both formulas need a duration: the
given one, or the regression's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from joulelab.analysis.prediction.before import (
    CATEGORIES,
    FEWEST_GROUPS,
    KERNEL,
    LINEAR,
    Learnt,
    Outside,
    Row,
    StoredRuns,
    learn,
    stored_runs,
)
from joulelab.analysis.prediction.scores import green_algorithms_j, tdp_j
from joulelab.forecast.hardware import DesignPower
from joulelab.forecast.history import Selection
from joulelab.forecast.training_request import TrainingRequest
from joulelab.learning.memory import MemoryCount

WORDS = {LINEAR: "linear regression", KERNEL: "kernel regression"}
TDP, GREEN = "TDP x time", "Green Algorithms"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One method's prediction of a training.

    Attributes:
        method: its name.
        energy_j: energy of a single run.
        low_j: lower end of the 95 % interval; ``None`` if there is none.
        high_j: upper end.
        duration_s: duration of a single run.
        mape: mean absolute error for held-out configurations, as a fraction; ``None`` if unknown.
    """

    method: str
    energy_j: float
    low_j: float | None = None
    high_j: float | None = None
    duration_s: float
    mape: float | None


@dataclass(frozen=True)
class SeenBefore:
    """Stored runs of the very same training.

    Attributes:
        runs: number of runs.
        energy_j: geometric mean.
        duration_s: geometric mean.
    """

    runs: int
    energy_j: float
    duration_s: float


@dataclass(frozen=True)
class BeforePrediction:
    """All predictions of a training before it starts.

    Attributes:
        request: the training.
        flops: operations of the whole training.
        memory: bytes of a step.
        selection: the stored runs of the hardware.
        stored: usable stored runs.
        estimates: one per applicable method.
        taken: the method whose estimate is the prediction; ``None`` if there is none.
        duration_s: duration of a single run, with an interval if from the regression.
        duration_low_s: lower end.
        duration_high_s: upper end.
        outside: features outside the seen range.
        seen: stored runs of the very same training.
        power: design power of the hardware.
        usage: assumed share of the power that is used, for Green Algorithms.
    """

    request: TrainingRequest
    flops: float
    memory: MemoryCount
    selection: Selection
    stored: StoredRuns
    estimates: tuple[Estimate, ...]
    taken: str | None
    duration_s: float | None
    duration_low_s: float | None
    duration_high_s: float | None
    outside: tuple[Outside, ...]
    seen: SeenBefore | None
    power: DesignPower | None
    usage: float

    @property
    def prediction(self) -> Estimate | None:
        """The selected estimate."""
        return next((one for one in self.estimates if one.method == self.taken), None)

    @property
    def left_out(self) -> Mapping[str, int]:
        """Number of stored runs by reason of exclusion."""
        faults = {f"whose {reason}": n for reason, n in self.stored.left_out.items()}
        return {**self.selection.left_out, **faults}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        memory = asdict(self.memory)
        return {
            "training": self.request.group,
            "network": self.request.network,
            "network_options": dict(self.request.options),
            "dataset": self.request.dataset,
            "train_images": self.request.data.train_images,
            "epochs": self.request.epochs,
            "batch_size": self.request.batch_size,
            "engine": self.request.engine,
            "precision": self.request.precision,
            "protocol": self.request.protocol,
            "steps": self.request.steps,
            "flops": self.flops,
            "bytes": {**memory, "total": self.memory.total},
            "hardware": str(self.selection.hardware),
            "counts": self.selection.counts,
            "net": self.selection.net,
            "runs": self.stored.runs,
            "configurations": self.stored.groups,
            "left_out": dict(self.left_out),
            "taken": self.taken,
            "estimates": [asdict(one) for one in self.estimates],
            "duration_s": self.duration_s,
            "duration_low_s": self.duration_low_s,
            "duration_high_s": self.duration_high_s,
            "outside": [str(one) for one in self.outside],
            "seen_before": asdict(self.seen) if self.seen else None,
            "tdp_w": self.power.power_w if self.power else None,
            "tdp_source": self.power.source if self.power else None,
            "usage": self.usage,
        }


def predict_before(
    request: TrainingRequest,
    selection: Selection,
    power: DesignPower | None,
    *,
    duration_s: float | None = None,
    usage: float = 1.0,
) -> BeforePrediction:
    """Predict the energy of a training before it starts.

    Args:
        request: the training.
        selection: stored runs of the target hardware.
        power: design power of that hardware; ``None`` if unknown.
        duration_s: known duration; default: the regression's.
        usage: share of the design power that is used, for Green Algorithms.

    Raises:
        JoulelabError: operations or bytes of the network cannot be counted.
    """
    features = request.features()
    asked = pd.DataFrame([features])
    stored = stored_runs(selection.runs)
    learnt = learn(stored) if stored.enough else None
    rows: dict[str, Row] = {}
    estimates: list[Estimate] = []
    taken = low_s = high_s = None
    if learnt is not None:
        rows = {method: learnt.predict(asked, method)[0] for method in learnt.mape}
        estimates = _regressed(learnt, rows)
        taken, by_duration = learnt.regression.method
        if duration_s is None:
            best = rows[by_duration]
            duration_s, low_s, high_s = best.duration_s, best.duration_low_s, best.duration_high_s
    if duration_s is not None and power is not None:
        memory_gb = selection.hardware.memory_gb or request.memory().total / 1e9
        estimates += _formulas(power, usage, memory_gb, duration_s, learnt)
    return BeforePrediction(
        request=request,
        flops=features["flops"],
        memory=request.memory(),
        selection=selection,
        stored=stored,
        estimates=tuple(estimates),
        taken=WORDS[taken] if taken else None,
        duration_s=duration_s,
        duration_low_s=low_s,
        duration_high_s=high_s,
        outside=rows[taken].outside if taken else (),
        seen=_seen(stored, features),
        power=power,
        usage=usage,
    )


def too_few(stored: StoredRuns) -> str:
    """Why there is no regression."""
    if not stored.runs:
        return "no stored run can be used"
    have = "configuration is" if stored.groups == 1 else "configurations are"
    return f"{stored.groups} {have} too few for a regression; it needs {FEWEST_GROUPS}"


def _regressed(learnt: Learnt, rows: Mapping[str, Row]) -> list[Estimate]:
    """The interval belongs to the selected method; the other one has none."""
    taken = learnt.regression.method[0]
    return [
        Estimate(
            method=WORDS[method],
            energy_j=row.energy_j,
            low_j=row.energy_low_j if method == taken else None,
            high_j=row.energy_high_j if method == taken else None,
            duration_s=row.duration_s,
            mape=learnt.mape[method][0],
        )
        for method, row in rows.items()
    ]


def _formulas(
    power: DesignPower, usage: float, memory_gb: float, duration_s: float, learnt: Learnt | None
) -> list[Estimate]:
    energies_j = {
        TDP: tdp_j(power.power_w, duration_s),
        GREEN: green_algorithms_j(power.power_w, usage, memory_gb, duration_s),
    }
    return [
        Estimate(
            method=name,
            energy_j=energy_j,
            duration_s=duration_s,
            mape=learnt.baseline_mape(energy_j / duration_s) if learnt else None,
        )
        for name, energy_j in energies_j.items()
    ]


def _seen(stored: StoredRuns, features: Mapping[str, Any]) -> SeenBefore | None:
    rows = stored.of_group(features["group"])
    for name in (*CATEGORIES, "together"):
        rows = rows[rows[name] == features[name]]
    if rows.empty:
        return None
    one = rows.iloc[0]
    return SeenBefore(
        int(one["runs"]),
        math.exp(float(one["log_energy"])),
        math.exp(float(one["log_duration"])),
    )
