"""Run commands and functions of the user, each within the measured window of its run.

::

    command    ── out folder ─ [ start ─ read its output ─ end ] ─ metrics
    function   ── out folder ─ process, import ─ [ call ─ result ] ─ metrics
                  └ not measured                 └ measured

Every run has a folder of its own, ``outputs/<position>`` in the results folder, for its output, its
events and what it writes to ``{out}``. A run that is repeated after an interruption begins with an
empty folder. A program that joulelab had to leave behind, because it was killed itself, is ended
when the study goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import psutil

from joulelab import formats
from joulelab.energy.phases import phase_energies
from joulelab.errors import CommandError, JoulelabError, SpecError
from joulelab.files import write_whole
from joulelab.kinds.program.command_line import fill
from joulelab.kinds.program.events import VARIABLE
from joulelab.kinds.program.metrics import Events, Patterns, Result, read_events, read_result
from joulelab.kinds.program.process import Child, Stream, end_group, not_started
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
from joulelab.study.design import Configuration, Level, derive_seed
from joulelab.study.executor import Executor, Job, Outcome, Progress
from joulelab.study.listener import WorkloadSummary
from joulelab.study.plan import Group
from joulelab.study.prediction import ASSUMED_SCATTER, BUDGET_S, Estimate, Prediction
from joulelab.study.runner import Calibrator, Row, RunRecorder, Table
from joulelab.study.session import Session
from joulelab.study.store import PlannedRun
from joulelab.study.store_reading import CURVES
from joulelab.study.workload import Workload

OUTPUTS = "outputs"
BRIEF_S = 10.0
"""Longest timing of programs at the beginning of a study."""
LOADING_LIMIT_S = 600.0
"""Longest import of a function's module."""
LEAST_S = 1e-9


class ProgramError(JoulelabError):
    """A program of the user failed, took too long, or gave no result."""


@dataclass(frozen=True)
class ProgramJob(Job):
    """A run of a program.

    Attributes:
        spec: its experiment.
        levels: of the configuration, by factor.
        seed: of the run.
        repetition: its number.
        folder: for its output.
        limit_s: longest duration; ``None`` for none.
    """

    spec: ProgramSpec
    levels: Mapping[str, Level]
    seed: int
    repetition: int
    folder: Path
    limit_s: float | None

    @property
    def events(self) -> Path:
        """The file of its events."""
        return self.folder / "events.jsonl"

    @property
    def values(self) -> dict[str, Any]:
        """What its placeholders and parameters stand for."""
        given = {SEED: self.seed, OUT: str(self.folder), REPETITION: self.repetition}
        return {**given, **self.levels}

    def environment(self) -> dict[str, str]:
        """The environment of the program."""
        own = {name: fill(text, self.values) for name, text in self.spec.environment.items()}
        inside = {VARIABLE: str(self.events), INSIDE: "1", "JOULELAB_OUT": str(self.folder)}
        return {**os.environ, **inside, **own}

    def streams(self, patterns: Patterns | None = None) -> tuple[Stream, Stream]:
        """Its standard output and standard error."""
        search = patterns.search if patterns else None
        return (
            Stream(self.folder / "stdout.txt", search),
            Stream(self.folder / "stderr.txt"),
        )


@dataclass(frozen=True)
class Finished:
    """What a run of a program gave."""

    result: Result
    events: Events


class _ProgramExecutor(Executor[ProgramJob, Finished]):
    """Runs programs; after the first argument, those of `Executor`."""

    def __init__(self, note: Path | None, *about: Any) -> None:  # noqa: ANN401 - of `Executor`
        super().__init__(*about)
        self._note = note

    def _get_ready(self, job: ProgramJob) -> None:
        if job.folder.exists():
            shutil.rmtree(job.folder)
        job.folder.mkdir(parents=True)

    def _prepare(self, job: ProgramJob) -> bool:
        return False

    def _started(self, child: Child) -> Child:
        """Leave a note of what runs, for the next session if this one is killed."""
        if self._note is not None:
            with contextlib.suppress(psutil.Error):
                about = {
                    "pid": child.process.pid,
                    "started_at": psutil.Process(child.process.pid).create_time(),
                }
                write_whole(self._note, json.dumps(about))
        return child


class CommandExecutor(_ProgramExecutor):
    """Runs a command for each run."""

    def _carry_out(self, job: ProgramJob, progress: Progress) -> Finished:
        spec = cast(CommandSpec, job.spec)
        words = [fill(text, job.values, quote=spec.shell) for text in spec.texts]
        patterns = Patterns(spec.declared)
        stdout, stderr = job.streams(patterns)
        began_at = time.time()
        child = self._started(
            Child.start(
                words[0] if spec.shell else words,
                cwd=Path(spec.cwd),
                environment=job.environment(),
                stdout=stdout,
                stderr=stderr,
            )
        )
        in_time = child.wait(job.limit_s)
        check_ended(child.process.returncode, in_time, job.limit_s, stderr.end or stdout.end)
        result, events = Result(), read_events(job.events)
        result.add(patterns.found)
        file = None if spec.metrics_file is None else fill(spec.metrics_file, job.values)
        at = read_result(
            result, stdout.end, None if file is None else Path(spec.cwd) / file, began_at
        )
        result.add(events.last)
        result.check(spec.metrics, at)
        return Finished(result, events)


class FunctionExecutor(_ProgramExecutor):
    """Calls a function for each run, in a fresh process or in one for all."""

    def __init__(self, note: Path | None, *about: Any) -> None:  # noqa: ANN401 - of `Executor`
        super().__init__(note, *about)
        self._process: FunctionProcess | None = None

    def check(self, job: ProgramJob) -> dict[str, Any]:
        """What the function takes, and the files that it imports.

        Raises:
            SpecError: it cannot be imported or called.
        """
        told = self._ready(job).ask({"check": list(job.levels)}, LOADING_LIMIT_S)
        if "error" in told:
            raise SpecError(f"{job.label.partition(':')[0]}: {told['error']}", told.get("hint", ""))
        return told

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _get_ready(self, job: ProgramJob) -> None:
        super()._get_ready(job)
        spec = cast(FunctionSpec, job.spec)
        if spec.fresh_process and self._process is not None and self._process.used:
            self.close()

    def _lay_out(self, job: ProgramJob) -> None:
        # Importing the module is not part of the run.
        self._ready(job).ask({"check": list(job.levels)}, LOADING_LIMIT_S)

    def _carry_out(self, job: ProgramJob, progress: Progress) -> Finished:
        process = self._ready(job)
        process.used = True
        process.child.stdout, process.child.stderr = streams = job.streams()
        call = {name: job.values[name] for name in self._wanted(process, job)}
        try:
            told = process.ask({"call": call, "events": str(job.events)}, job.limit_s)
        except BaseException:
            self.close()
            raise
        finally:
            for stream in streams:
                stream.close()
        if "error" in told:
            raise FunctionError(told["error"], told["details"])
        result, events = Result(), read_events(job.events)
        found, names = told["result"], list(job.spec.metrics)
        if isinstance(found, dict):
            result.add(found)
        elif found is not None and len(names) == 1:
            result.add({names[0]: found})
        result.add(events.last)
        result.check(names, "the function has returned none of them")
        return Finished(result, events)

    def _wanted(self, process: FunctionProcess, job: ProgramJob) -> list[str]:
        """The factors, and of the other values those that the function has a parameter for."""
        takes = process.parameters
        return [
            name
            for name in job.values
            if name in job.levels or (name == SEED if takes is None else name in takes)
        ]

    def _ready(self, job: ProgramJob) -> FunctionProcess:
        spec = cast(FunctionSpec, job.spec)
        wanted = (spec.function, spec.cwd, tuple(sorted(spec.environment.items())))
        if self._process is not None and (self._process.of != wanted or not self._process.alive):
            self.close()
        if self._process is None:
            self._process = FunctionProcess(wanted, job)
            self._started(self._process.child)
        return self._process


class FunctionError(JoulelabError):
    """A function of the user raised an exception; its traceback is among the details."""

    def __init__(self, message: str, details: str) -> None:
        super().__init__(message, "see stderr.txt of the run, and the ledger for the traceback")
        self.details = details


class FunctionProcess:
    """A process that calls a function.

    Args:
        of: the function, its working folder and environment.
        job: the run that it is started for.

    Attributes:
        used: whether the function has been called.
        parameters: names of its parameters; ``None`` if it takes any.
    """

    def __init__(self, of: tuple[Any, ...], job: ProgramJob) -> None:
        self.of = of
        self.used = False
        self.parameters: list[str] | None = None
        spec = cast(FunctionSpec, job.spec)
        asked, self._asking = os.pipe()
        self._answers, answering = os.pipe()
        module = "joulelab.kinds.program.worker"
        command = [sys.executable, "-m", module, spec.function, str(asked), str(answering)]
        try:
            process = subprocess.Popen(
                command,
                cwd=spec.cwd,
                env={**job.environment(), "PYTHONHASHSEED": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(asked, answering),
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._asking)
            os.close(self._answers)
            raise not_started(sys.executable, Path(spec.cwd), error) from error
        finally:
            os.close(asked)
            os.close(answering)
        stdout, stderr = job.streams()
        self.child = Child(process, stdout, stderr, answers=self._answers)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.child.process.poll() is None

    def ask(self, request: Mapping[str, Any], limit_s: float | None) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            ProgramError: the process ended, or took too long.
        """
        with contextlib.suppress(BrokenPipeError):
            os.write(self._asking, f"{json.dumps(request)}\n".encode())
        answer = self.child.answer(limit_s)
        if answer is None:
            in_time = self.child.process.poll() is not None
            self.child.end()
            check_ended(self.child.process.returncode, in_time, limit_s, self.child.stderr.end)
            raise ProgramError("the process of the function ended", "see stderr.txt of the run")
        told: dict[str, Any] = json.loads(answer)
        if "parameters" in told:
            self.parameters = told["parameters"]
        return told

    def close(self) -> None:
        """End it."""
        os.close(self._asking)
        self.child.end()
        os.close(self._answers)


def check_ended(code: int | None, in_time: bool, limit_s: float | None, said: str) -> None:
    """Check that a program ended well.

    Args:
        code: its exit code.
        in_time: whether it ended by itself.
        limit_s: longest duration.
        said: the end of what it printed.

    Raises:
        ProgramError: it did not; with the last line that it printed.
    """
    if not in_time:
        raise ProgramError(
            f"it took longer than {formats.duration(limit_s)} and was ended", "raise timeout_s"
        )
    if code:
        lines = [line for line in said.splitlines() if line.strip()]
        last = f": {lines[-1].strip()}" if lines else ""
        how = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
        raise ProgramError(f"{how}{last}", "see stderr.txt and stdout.txt of the run")


class ProgramWorkload(Workload):
    """Programs of the user, one run after another."""

    uses_gpu: ClassVar[bool] = False
    may_use_gpu: ClassVar[bool] = True
    executor: ClassVar[type[_ProgramExecutor]]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._specs = {
            name: cast(ProgramSpec, spec) for name, spec in session.spec.experiments().items()
        }
        self._temporary = Path(tempfile.mkdtemp(prefix="joulelab-"))
        self._note = None if session.folder is None else session.folder / ".program"
        self._executor = session.executor(partial(self.executor, self._note))

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
        ends_s = time.monotonic() + (BRIEF_S if brief else BUDGET_S)
        estimates: dict[str, Estimate] = {}
        for one in configurations:
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                break
            seed = derive_seed(self.session.spec.seed, "calibration", *one.key)
            job = self._job(one, seed, 0, self._temporary / "calibration")
            limits = [limit for limit in (job.limit_s, left_s) if limit is not None]
            began_s = time.monotonic()
            outcome = calibrator.calibrate(self._executor, replace(job, limit_s=min(limits)))
            took_s = time.monotonic() - began_s - outcome.locked_out_s
            estimates[one.title] = self._estimate(outcome, took_s)
        known_s = [one.duration_s for one in estimates.values()]
        mean_s = sum(known_s) / len(known_s) if known_s else BUDGET_S
        for one in configurations:
            estimates.setdefault(one.title, Estimate.unknown(mean_s))
        return Prediction(
            {one.key: one.title for one in configurations}, estimates, ASSUMED_SCATTER
        )

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Run the program for each run."""
        folder = self.session.folder or self._temporary
        for run in pending:
            place = folder / OUTPUTS / f"{run.position + 1:05d}"
            job = self._job(group.configuration, run.seed, run.repetition, place)
            recorder.attempt("run", self._executor, job, [run], self._rows, CURVES_TABLE)
            with contextlib.suppress(OSError):
                place.rmdir()  # where the program has written nothing

    def close(self) -> None:
        """Remove temporary files."""
        shutil.rmtree(self._temporary, ignore_errors=True)
        if self._note is not None:
            self._note.unlink(missing_ok=True)

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
            limit_s=spec.timeout_s,
        )

    def _estimate(self, outcome: Outcome[Finished], took_s: float) -> Estimate:
        duration_s = outcome.measurement.duration_s
        if outcome.result is None or duration_s <= 0:
            return Estimate.unknown(max(took_s, LEAST_S))
        total = self.session.counted(outcome.measurement)
        energy_j = total.net_j if total.net_j is not None else total.gross_j
        error_w = None if total.error_j is None else total.error_j / duration_s
        around_s = max(took_s - duration_s, 0.0)
        return Estimate.assumed(duration_s, around_s, energy_j, error_w, total.status)

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
        diverged = any(" was " in remark for remark in result.remarks.values())
        return [{"accuracy": accuracy, "diverged": diverged, "metrics": json.dumps(metrics)}]

    def _end_left_behind(self) -> None:
        """End the program that a killed session has left running."""
        if self._note is None or not self._note.is_file():
            return
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, psutil.Error):
            about = json.loads(self._note.read_text("utf-8"))
            process = psutil.Process(about["pid"])
            if abs(process.create_time() - about["started_at"]) < 1:
                self.session.listener.doing("ending the program of an interrupted run")
                end_group(process.pid, lambda: not process.is_running())
        self._note.unlink(missing_ok=True)


class CommandWorkload(ProgramWorkload):
    """Commands in any language."""

    executor: ClassVar[type[_ProgramExecutor]] = CommandExecutor

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

    executor: ClassVar[type[_ProgramExecutor]] = FunctionExecutor

    def _check(self, spec: FunctionSpec, first: Configuration) -> None:
        self.session.listener.doing(f"importing {self._means(spec)}")
        job = self._job(first, 0, 0, self._temporary / "check")
        try:
            cast(FunctionExecutor, self._executor).check(job)
        except (ProgramError, CommandError) as error:
            raise SpecError(f"{first.experiment}: {error.message}", error.hint) from error

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
