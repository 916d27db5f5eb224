"""Carry out and measure runs of programs: a command, or a call of a function.

::

    command    ── out folder ─ [ start ─ read its output ─ end ] ─ metrics
    function   ── out folder ─ process, import ─ [ call ─ result ] ─ metrics
                  └ not measured                 └ measured
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

from joulelab import formats
from joulelab.errors import JoulelabError, SpecError, StoreWriteError
from joulelab.kinds.program.command_line import fill
from joulelab.kinds.program.events import VARIABLE
from joulelab.kinds.program.metrics import (
    Events,
    Patterns,
    Result,
    read_events,
    read_result,
    version,
)
from joulelab.kinds.program.process import Child, Stream, end_all, left_behind, not_started
from joulelab.kinds.program.spec import (
    OUT,
    REPETITION,
    SEED,
    CommandSpec,
    FunctionSpec,
    ProgramSpec,
)
from joulelab.kinds.program.worker import INSIDE
from joulelab.plain import storable
from joulelab.study.design import Level
from joulelab.study.executor import Executor, Job, Progress

LOADING_LIMIT_S = 600.0
"""Longest import of a function's module."""


ProcessT = TypeVar("ProcessT", bound="FunctionProcess")


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
        study: the results folder, which the environment of the program names; so a program that a
            killed session has left is found.
        limit_s: longest duration; ``None`` for none.
    """

    spec: ProgramSpec
    levels: Mapping[str, Level]
    seed: int
    repetition: int
    folder: Path
    study: Path
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
        inside = {VARIABLE: str(self.events), INSIDE: str(self.study)}
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


class ProgramExecutor(Executor[ProgramJob, Finished]):
    """Runs programs."""

    def _get_ready(self, job: ProgramJob) -> None:
        try:
            make_empty(job.folder)
        except OSError as error:
            raise StoreWriteError(
                f"{job.folder} cannot be emptied for the next run: {error.strerror}",
                "free disk space or fix the permissions, then run the same command again",
            ) from error

    def _prepare(self, job: ProgramJob) -> bool:
        return False


class CommandExecutor(ProgramExecutor):
    """Runs a command for each run."""

    def _carry_out(self, job: ProgramJob, progress: Progress) -> Finished:
        spec = cast(CommandSpec, job.spec)
        words = [fill(text, job.values, quote=spec.shell) for text in spec.texts]
        patterns = Patterns(spec.metrics)
        stdout, stderr = job.streams(patterns)
        file = None
        if spec.metrics_file is not None:
            file = Path(spec.cwd) / fill(spec.metrics_file, job.values)
        before = version(file) if file else None
        try:
            child = Child.start(
                words[0] if spec.shell else words,
                cwd=Path(spec.cwd),
                environment=job.environment(),
                stdout=stdout,
                stderr=stderr,
            )
            in_time = child.wait(job.limit_s)
        except KeyboardInterrupt:  # perhaps before the child was known
            end_all(left_behind(VARIABLE, str(job.events)))
            raise
        check_ended(child.process.returncode, in_time, job.limit_s, stderr.end or stdout.end)
        result, events = Result(), read_events(job.events)
        result.add(patterns.found)
        at = read_result(result, stdout.end, file, before)
        result.add(events.last)
        result.check(spec.metrics, at)
        return Finished(result, events)


class ProcessExecutor(ProgramExecutor, Generic[ProcessT]):
    """Asks a process that has imported what it runs."""

    def __init__(self, *about: Any) -> None:  # noqa: ANN401 - of `Executor`
        super().__init__(*about)
        self._process: ProcessT | None = None

    @abstractmethod
    def _start(self, of: tuple[Any, ...], job: ProgramJob) -> ProcessT:
        """A process for a function, its working folder and environment."""

    def _ready(self, job: ProgramJob) -> ProcessT:
        """The process that calls the function of a run; another one if it has ended."""
        spec = cast(FunctionSpec, job.spec)
        wanted = (spec.function, spec.cwd, tuple(sorted(spec.environment.items())))
        if self._process is not None and (self._process.of != wanted or not self._process.alive):
            self.close()
        if self._process is None:
            self._process = self._start(wanted, job)
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()
            self._process = None


class FunctionExecutor(ProcessExecutor["FunctionProcess"]):
    """Calls a function for each run, in a fresh process or in one for all."""

    def check(self, job: ProgramJob) -> dict[str, Any]:
        """What the function takes, and the files that it imports.

        Raises:
            SpecError: it cannot be imported or called.
        """
        told = self._ready(job).ask({"check": list(job.levels)}, LOADING_LIMIT_S)
        if "error" in told:
            raise SpecError(f"{job.label.partition(':')[0]}: {told['error']}", told.get("hint", ""))
        return told

    def _get_ready(self, job: ProgramJob) -> None:
        super()._get_ready(job)
        spec = cast(FunctionSpec, job.spec)
        if spec.fresh_process and self._process is not None and self._process.used:
            self.close()

    def _lay_out(self, job: ProgramJob) -> None:
        # Importing the module is not part of the run.
        process = self._ready(job)
        if not process.loaded:
            process.ask({"check": list(job.levels)}, LOADING_LIMIT_S)

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
            failed = ProgramError(told["error"], "the traceback is in the ledger")
            failed.add_note(told["details"])
            raise failed
        result, events = Result(), read_events(job.events)
        found, names = told["result"], list(job.spec.metrics)
        for name, reason in told["left_out"].items():
            result.remarks[storable(name)] = storable(reason)
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

    def _start(self, of: tuple[Any, ...], job: ProgramJob) -> FunctionProcess:
        return FunctionProcess(of, job)


def make_empty(folder: Path) -> None:
    """Make an empty folder, whatever a program has made of it.

    Raises:
        OSError: it cannot be made or emptied.
    """
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
    else:
        try:
            shutil.rmtree(folder)
        except PermissionError:  # of folders that are read only, such as the cache of Go
            for place, _, _ in os.walk(folder):
                Path(place).chmod(0o700)
            shutil.rmtree(folder)
    folder.mkdir(parents=True)


class FunctionProcess:
    """A process that calls a function.

    Args:
        of: the function, its working folder and environment.
        job: the run that it is started for.

    Attributes:
        loaded: whether its module has been imported.
        used: whether the function has been called.
        parameters: names of its parameters; ``None`` if it takes any.
        asking: file descriptor of the requests.
    """

    module: ClassVar[str] = "joulelab.kinds.program.worker"
    """What it runs."""

    def __init__(self, of: tuple[Any, ...], job: ProgramJob) -> None:
        self.of = of
        self.loaded = self.used = False
        self.parameters: list[str] | None = None
        spec = cast(FunctionSpec, job.spec)
        asked, self.asking = os.pipe()
        self._answers, answering = os.pipe()
        command = [sys.executable, "-m", self.module, spec.function, str(asked), str(answering)]
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
            os.close(self.asking)
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
            os.write(self.asking, f"{json.dumps(request)}\n".encode())
        answer = self.child.answer(limit_s)
        if answer is None:
            in_time = self.child.process.poll() is not None
            self.child.end()
            check_ended(self.child.process.returncode, in_time, limit_s, self.child.stderr.end)
            raise ProgramError("the process of the function ended", "see stderr.txt of the run")
        told: dict[str, Any] = json.loads(answer)
        if "parameters" in told:
            self.loaded, self.parameters = True, told["parameters"]
        return told

    def close(self) -> None:
        """End it."""
        os.close(self.asking)
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
