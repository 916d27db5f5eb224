"""What became of trainings, as columns of their rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from joulelab.learning.engine import TrainingResult, TrainingTask
from joulelab.learning.flops import FlopCount
from joulelab.study.executor import Outcome
from joulelab.study.store import PlannedRun
from joulelab.study.training.executor import Trained, TrainingJob
from joulelab.study.workload import Row

Values = Mapping[int, Mapping[str, Any]]
"""The proposed hyperparameters of each round of a group."""


class Rows:
    """The columns of the runs of one part of a group, from what became of it.

    Args:
        job: the part.
        runs: one for each of its members.
        values: the proposed hyperparameters of each round.
    """

    def __init__(
        self,
        job: TrainingJob,
        runs: Sequence[PlannedRun],
        values: Values,
    ) -> None:
        self._job, self._runs, self._values = job, runs, values

    def __call__(self, outcome: Outcome[Trained]) -> list[Row]:
        """A row for each run.

        Args:
            outcome: of the part, finished or failed.
        """
        common = {
            "dataset": self._job.images.name,
            "protocol": self._job.task.protocol,
            "engine": self._job.engine,
            "precision": self._job.task.precision,
        }
        rows = [
            {**common, "hyperparameters": json.dumps(dict(self._values[run.round]))}
            for run in self._runs
        ]
        trained = outcome.result
        if trained is None:
            return rows
        return [
            {**row, **_flops(self._job.task, result, trained), **self._metrics(result, trained)}
            for row, result in zip(rows, trained.results, strict=True)
        ]

    def _metrics(self, result: TrainingResult, trained: Trained) -> Row:
        from joulelab.learning.zoo_training import training_weights

        task, flops = self._job.task, trained.flops
        images, batch = trained.train_images, task.batch_size
        values = {
            "f1": result.f1,
            "flops_trainable": flops.trainable_of_training(images, batch, result.steps),
            "parameters_total": result.parameters_total,
            "weights": training_weights(task.network, task.network_options) or None,
        }
        return _metrics(result, flops, values)


def _flops(task: TrainingTask, result: TrainingResult, trained: Trained) -> dict[str, float | None]:
    of_training = trained.flops.of_training
    return {"flops": of_training(trained.train_images, task.batch_size, result.steps)}


def _metrics(result: TrainingResult, flops: FlopCount, values: Mapping[str, Any]) -> Row:
    return {
        "accuracy": result.accuracy,
        "train_loss": result.train_losses[-1] if result.train_losses else None,
        "diverged": int(result.diverged),
        "steps": result.steps,
        "parameters": result.parameters,
        "placement": result.placement,
        "engine": result.engine,
        "precision": str(result.precision),
        # JSON has no NaN: a loss that is not finite is null.
        "metrics": json.dumps(
            {
                "train_losses": [x if math.isfinite(x) else None for x in result.train_losses],
                **result.extra,
                **({"flops_reason": flops.reason} if flops.reason else {}),
                "values": {name: value for name, value in values.items() if value is not None},
            }
        ),
    }
