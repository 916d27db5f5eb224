"""Predict a whole study from stored runs: the regression for every configuration, and the sum.

Similar configurations have similar errors, so the ends of the interval are summed as if all errors
had the same sign: possibly too wide, never too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from joulelab.analysis.prediction.before import Learnt, Row, learn, stored_runs
from joulelab.errors import JoulelabError
from joulelab.forecast.before import WORDS, too_few
from joulelab.forecast.history import Selection
from joulelab.forecast.training_request import data_shape, request_of
from joulelab.kinds.training.spec import TrainingConfiguration, TrainingKeys
from joulelab.study.plan import Plan
from joulelab.study.spec import StudySpec

Key = tuple[str, str]
NOT_TRAINED = "not all of its runs are trainings; the regression needs trainings"


@dataclass(frozen=True)
class Totals:
    """Energy and time of several runs, with the ends of their 95 % intervals."""

    energy_j: float
    energy_low_j: float
    energy_high_j: float
    duration_s: float
    duration_low_s: float
    duration_high_s: float


@dataclass(frozen=True)
class StudyForecast:
    """The prediction of a study from stored runs.

    Attributes:
        selection: the stored runs of the hardware.
        by_configuration: prediction of a single run, by experiment and configuration; empty if
            there is none.
        total: prediction of all runs; ``None`` if there is no prediction.
        learnt: the regression.
        reason: why there is no prediction.
    """

    selection: Selection
    by_configuration: Mapping[Key, Row]
    total: Totals | None
    learnt: Learnt | None
    reason: str = ""

    @property
    def outside(self) -> tuple[str, ...]:
        """Names of features outside the seen range in some configuration."""
        rows = self.by_configuration.values()
        return tuple(dict.fromkeys(one.feature for row in rows for one in row.outside))

    @property
    def mape(self) -> float | None:
        """Mean absolute error of the energy for held-out configurations, as a fraction."""
        return self.learnt.mape[self.learnt.regression.method[0]][0] if self.learnt else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        stored = self.learnt.stored if self.learnt else None
        return {
            "hardware": str(self.selection.hardware),
            "counts": self.selection.counts,
            "net": self.selection.net,
            "runs": stored.runs if stored else 0,
            "configurations": stored.groups if stored else 0,
            "left_out": dict(self.selection.left_out),
            "method": WORDS[self.learnt.regression.method[0]] if self.learnt else None,
            "mape": self.mape,
            "reason": self.reason,
            "outside": list(self.outside),
            "total": asdict(self.total) if self.total else None,
            "by_configuration": [
                {"experiment": key[0], "configuration": key[1], **row.to_dict()}
                for key, row in self.by_configuration.items()
            ],
        }


def study_forecast(
    spec: StudySpec,
    plan: Plan,
    selection: Selection,
    data_dir: Path | None = None,
    engines: Mapping[Key, str] | None = None,
) -> StudyForecast:
    """Predict all runs of a study from stored runs, without timing anything.

    Args:
        spec: the study.
        plan: the whole plan.
        selection: stored runs of the target hardware.
        data_dir: the folder with data sets.
        engines: engines that train each configuration, if known.
    """
    trained = [one for one in plan.configurations if isinstance(one, TrainingConfiguration)]
    if not isinstance(spec, TrainingKeys) or len(trained) < len(plan.configurations):
        return StudyForecast(selection, {}, None, None, NOT_TRAINED)
    stored = stored_runs(selection.runs)
    if not stored.enough:
        return StudyForecast(selection, {}, None, None, too_few(stored))
    try:
        features = [
            _features(spec, one, data_dir, (engines or {}).get(one.key, "")) for one in trained
        ]
    except JoulelabError as error:
        return StudyForecast(selection, {}, None, None, error.message)
    learnt = learn(stored)
    rows = dict(
        zip((one.key for one in trained), learnt.predict(pd.DataFrame(features)), strict=True)
    )
    return StudyForecast(selection, rows, _total(plan, rows), learnt)


def _features(
    spec: TrainingKeys, one: TrainingConfiguration, data_dir: Path | None, engine: str
) -> dict[str, Any]:
    train = None if spec.train_images == "all" else spec.train_images
    data = data_shape(one.dataset, data_dir).with_images(train)
    return request_of(one, data, engine).features()


def _total(plan: Plan, rows: Mapping[Key, Row]) -> Totals:
    runs = [rows[run.experiment, run.configuration] for run in plan.runs]
    return Totals(
        energy_j=math.fsum(one.energy_j for one in runs),
        energy_low_j=math.fsum(one.energy_low_j for one in runs),
        energy_high_j=math.fsum(one.energy_high_j for one in runs),
        duration_s=math.fsum(one.duration_s for one in runs),
        duration_low_s=math.fsum(one.duration_low_s for one in runs),
        duration_high_s=math.fsum(one.duration_high_s for one in runs),
    )
