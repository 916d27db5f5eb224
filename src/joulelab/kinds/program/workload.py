"""The workloads of commands and functions: predict, run and store their runs.

Every run has a folder of its own, ``outputs/<position>`` in the results folder, for its output, its
events and what it writes to ``{out}``. A run that is repeated after an interruption begins with an
empty folder. A program that joulelab had to leave behind, because it was killed itself, is ended
when the study goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from joulelab import formats
from joulelab.energy.phases import phase_energies
from joulelab.errors import CommandError, SpecError
from joulelab.kinds.program.command_line import fill
from joulelab.kinds.program.executor import (
    CommandExecutor,
    Finished,
    FunctionExecutor,
    ProgramError,
    ProgramExecutor,
    ProgramJob,
)
from joulelab.kinds.program.process import end_all, left_behind, not_started
from joulelab.kinds.program.spec import (
    OUT,
    REPETITION,
    SEED,
    CommandSpec,
    FunctionSpec,
    ProgramSpec,
)
from joulelab.kinds.program.worker import INSIDE
from joulelab.study.call_workload import ACCURACY, NOT_COUNTED
from joulelab.study.design import Configuration
from joulelab.study.executor import Outcome
from joulelab.study.listener import WorkloadSummary
from joulelab.study.plan import Group
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Prediction
from joulelab.study.runner import Calibrator, Row, RunRecorder, Table
from joulelab.study.session import Session
from joulelab.study.store_reading import CURVES
from joulelab.study.timing import predict_by_timing
from joulelab.study.workload import Workload

OUTPUTS = "outputs"


class ProgramWorkload(Workload):
    """Programs of the user, one run after another."""

    uses_gpu: ClassVar[bool] = False
    may_use_gpu: ClassVar[bool] = True
    executor: ClassVar[type[ProgramExecutor]]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._specs = {
            name: cast(ProgramSpec, spec) for name, spec in session.spec.experiments().items()
        }
        self._temporary = Path(tempfile.mkdtemp(prefix="joulelab-"))
        self._folder = (session.folder or self._temporary).absolute()
        self._executor = session.executor(self.executor)

    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Check that the programs exist."""
        self._end_left_behind()
        for name in dict.fromkeys(one.experiment for one in configurations):
            first = next(one for one in configurations if one.experiment == name)
            self._check(self._specs[name], first)
        names = dict.fromkeys(self._means(self._specs[one.experiment]) for one in configurations)
        return WorkloadSummary(
            means=formats.listing(list(names)),
            noun="run",
            extent=f"of {formats.count(len(configurations), 'configuration')}",
            basis="one run of each configuration, while time allows",
        )

    def conditions(self) -> dict[str, Any]:
        """Nothing more by default."""
        return {}

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Run the program of each configuration until time is up.

        A run that takes longer is ended: its time is then a guess.
        """
        self.session.listener.doing("timing one run of each configuration")
        told: set[str] = set()

        def program(one: Configuration, seed: int, left_s: float) -> Outcome[Any]:
            job = self._job(one, seed, 0, self._temporary / "calibration")
            limits = [limit for limit in (job.limit_s, left_s) if limit is not None]
            began_s = time.monotonic()
            outcome = calibrator.calibrate(self._executor, replace(job, limit_s=min(limits)))
            took_s = time.monotonic() - began_s - outcome.locked_out_s
            if outcome.error and took_s < left_s and outcome.error not in told:
                told.add(outcome.error)
                self.session.listener.doing(
                    f"going on without the timing of {one.title}: {outcome.error}"
                )
            return outcome

        return predict_by_timing(self.session, configurations, program, brief=brief)

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Run the program for each run."""
        for run in pending:
            place = self._folder / OUTPUTS / f"{run.position + 1:05d}"
            job = self._job(group.configuration, run.seed, run.repetition, place)
            recorder.attempt("run", self._executor, job, [run], self._rows, CURVES_TABLE)

    def close(self) -> None:
        """Remove temporary files."""
        shutil.rmtree(self._temporary, ignore_errors=True)

    @abstractmethod
    def _check(self, spec: Any, first: Configuration) -> None:  # noqa: ANN401 - of its kind
        """Check that the program can be run.

        Raises:
            SpecError: it cannot.
        """

    @abstractmethod
    def _means(self, spec: Any) -> str:  # noqa: ANN401 - of its kind
        """What is run, in words."""

    def _job(self, one: Configuration, seed: int, repetition: int, folder: Path) -> ProgramJob:
        spec = self._specs[one.experiment]
        return ProgramJob(
            label=one.title,
            device=self.session.device.name,
            threads=self.session.threads,
            spec=spec,
            levels=one.levels,
            seed=seed,
            repetition=repetition,
            folder=folder.absolute(),
            study=self._folder,
            limit_s=spec.timeout_s,
        )

    def _rows(self, outcome: Outcome[Finished]) -> list[Row]:
        if outcome.result is None:
            return [{}]
        result = outcome.result.result
        values: dict[str, Any] = dict(result.values)
        accuracy = values.pop(ACCURACY, None)
        total = self.session.counted(outcome.measurement)
        phases = phase_energies(
            outcome.result.events.phases, outcome.measurement, total, outcome.samples
        )
        for name, one in phases.items():
            values[f"phase.{name}.duration_s"] = one.duration_s
            values[f"phase.{name}.energy_j"] = one.energy_j
            values[f"phase.{name}.status"] = str(one.status)
        if result.remarks:
            values["remarks"] = "; ".join(result.remarks.values())
        metrics = {"flops_reason": NOT_COUNTED, "values": values}
        return [{"accuracy": accuracy, "diverged": result.diverged, "metrics": json.dumps(metrics)}]

    def _end_left_behind(self) -> None:
        """End the program that a killed session has left running."""
        if not self.session.alone or not (self._folder / OUTPUTS).is_dir():
            return
        left = left_behind(INSIDE, str(self._folder))
        if left:
            self.session.listener.doing("ending the program of an interrupted run")
            end_all(left)


class CommandWorkload(ProgramWorkload):
    """Commands in any language."""

    executor: ClassVar[type[ProgramExecutor]] = CommandExecutor

    def _check(self, spec: CommandSpec, first: Configuration) -> None:
        if spec.shell:
            return
        program = fill(spec.texts[0], {**dict.fromkeys((SEED, OUT, REPETITION), 0), **first.levels})
        beside = Path(spec.cwd) / program
        there = beside.is_file() if os.sep in program else shutil.which(program) is not None
        if not there or not Path(spec.cwd).is_dir():
            error = not_started(program, Path(spec.cwd), FileNotFoundError())
            raise SpecError(f"{first.experiment}: {error.message}", error.hint)

    def _means(self, spec: CommandSpec) -> str:
        return Path(spec.texts[0].split()[0] if spec.shell else spec.texts[0]).name


class FunctionWorkload(ProgramWorkload):
    """Python functions."""

    executor: ClassVar[type[ProgramExecutor]] = FunctionExecutor

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._files: list[Path] = []

    def _check(self, spec: FunctionSpec, first: Configuration) -> None:
        self.session.listener.doing(f"importing {self._means(spec)}")
        job = self._job(first, 0, 0, self._temporary / "check")
        try:
            told = cast(FunctionExecutor, self._executor).check(job)
        except (ProgramError, CommandError) as error:
            raise SpecError(f"{first.experiment}: {error.message}", error.hint) from error
        self._files += [Path(file) for file in told["files"]]

    def files(self) -> list[Path]:
        """The modules that the functions have imported from their folders."""
        return self._files

    def _means(self, spec: FunctionSpec) -> str:
        place, _, name = spec.function.rpartition(":")
        return f"{Path(place).name if place.endswith('.py') else place}:{name}"

    def close(self) -> None:
        """End the process, and remove temporary files."""
        cast(FunctionExecutor, self._executor).close()
        super().close()


def _curves(finished: Finished) -> Mapping[str, Any] | None:
    """The reported metrics of a run as a table: metric, step, value and time."""
    if not finished.events.curves:
        return None
    metric, step, value, time_s = zip(*finished.events.curves, strict=True)
    return {"metric": metric, "step": step, "value": value, "t_s": time_s}


CURVES_TABLE = Table(CURVES, _curves)
