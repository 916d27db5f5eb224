"""The workload of generation: models generate in a process of their own, one run at a time.

::

    load ─ per run:  prepare (load the model, warm it up) ─ attempt (prefills alone, generations)
                       └ booked as calibration               └ booked as generation
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from joulelab import formats
from joulelab.errors import SpecError, UsageError
from joulelab.kinds.generation.executor import GenerationExecutor, GenerationJob
from joulelab.kinds.generation.figures_of_run import run_figures
from joulelab.kinds.generation.prediction import Timed, predict, time_generation
from joulelab.kinds.generation.spec import GenerationConfiguration
from joulelab.learning.language_models import RANDOM, language_model_source
from joulelab.serving.generation.tasks import Generated
from joulelab.study.design import Configuration
from joulelab.study.executor import Outcome
from joulelab.study.listener import WorkloadSummary
from joulelab.study.manifest import check_same_weights
from joulelab.study.plan import Group
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Prediction
from joulelab.study.runner import Calibrator, Row, RunRecorder
from joulelab.study.session import Session
from joulelab.study.workload import Begun, Workload

KIND = "generation"
"""Kind of its entries in the ledger."""
FLOPS_REASON = "not counted for generation"


class GenerationWorkload(Workload):
    """Generates the runs of a study."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._executor = session.executor(GenerationExecutor)
        self._configurations: Sequence[GenerationConfiguration] = ()
        self._timed: dict[tuple[str, str], Timed | None] = {}

    def close(self) -> None:
        """End the processes."""
        self._executor.close()

    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Find every model, and check every precision on this device.

        Raises:
            SpecError: a model that does not exist, prompts that are too long, or a precision
                without operators on this device.
        """
        self._configurations = cast(Sequence[GenerationConfiguration], configurations)
        for one in self._configurations:
            try:
                one.check()
                one.task(0).check()
            except UsageError as error:
                raise SpecError(f"{one.title}: {error.message}", error.hint) from error
        self._check_precisions()
        return self._summary()

    def _check_precisions(self) -> None:
        from joulelab.serving.generation.generator import missing_precision
        from joulelab.serving.served_model import usable_device

        device = usable_device(self.session.device.name)
        for precision in dict.fromkeys(one.precision for one in self._configurations):
            if why := missing_precision(precision, device):
                raise SpecError(
                    f"precision {precision} cannot be used on {device}: {why}",
                    "leave it out, or run on another device",
                )

    def _summary(self) -> WorkloadSummary:
        weights = self._weights()
        random = [name for name, kind in weights.items() if kind == RANDOM]
        remark = None
        if random:
            which = "all models" if len(random) == len(weights) else ", ".join(random)
            remark = (
                f"{which} have random weights: with fixed lengths, energy and time do not depend "
                "on the weights"
            )
        seconds = {one.seconds + one.prefill_seconds for one in self._configurations}
        lengths = formats.listing([formats.duration(one) for one in sorted(seconds)])
        return WorkloadSummary(
            means=f"{formats.count(len(weights), 'model')} on {self.session.device.name}",
            noun="window",
            extent=f"of {lengths} of prefills and generations",
            basis="a prefill and a few tokens of the least and of the most work of each model",
            remark=remark,
        )

    def conditions(self) -> dict[str, Any]:
        """The weights of the models."""
        return {"weights": self._weights()}

    @classmethod
    def check_unchanged(cls, begun: Begun, now: Mapping[str, Any]) -> None:
        """Refuse changed weights."""
        check_same_weights(begun.manifest, now["weights"])

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Time a few tokens of every model, and compute the rest."""
        self.session.listener.doing("timing a few tokens of every model, to predict the rest")

        def timed(one: GenerationConfiguration) -> Timed | None:
            if one.key not in self._timed:
                self._timed[one.key] = time_generation(
                    self._job(one, 0), self._executor, calibrator, self.session.counted
                )
            return self._timed[one.key]

        return predict(cast(Sequence[GenerationConfiguration], configurations), timed)

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Load the model, warm it up, and generate."""
        one = cast(GenerationConfiguration, group.configuration)
        for run in pending:
            job = self._job(one, run.seed)
            recorder.prepare(self._executor, job)
            recorder.attempt(KIND, self._executor, job, [run], partial(self._rows, one))

    def _weights(self) -> dict[str, str]:
        models = dict.fromkeys(one.model for one in self._configurations)
        return {name: language_model_source(name)[2] for name in models}

    def _job(self, one: GenerationConfiguration, seed: int) -> GenerationJob:
        return GenerationJob(
            one.title, self.session.device.name, self.session.threads, one.task(seed)
        )

    def _rows(self, one: GenerationConfiguration, outcome: Outcome[Generated]) -> list[Row]:
        """The columns of one run."""
        common: Row = {"precision": one.precision}
        if outcome.result is None:
            return [common]
        total = self.session.counted(outcome.measurement)
        values = {
            "weights": self._weights()[one.model],
            **run_figures(outcome.result, outcome, total),
        }
        metrics = {"values": values, "flops_reason": FLOPS_REASON}
        return [
            {
                **common,
                "parameters": outcome.result.parameters,
                "metrics": json.dumps(metrics),
            }
        ]
