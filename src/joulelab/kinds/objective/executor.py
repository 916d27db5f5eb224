"""Carry out and measure steps of an objective in a process that imports it once.

::

    out folder, checkpoint as it was ─ process, import ─ [ call ─ report ─ go on? ... ─ end ]
      └ not measured                                       └ measured
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from joulelab import formats
from joulelab.energy.measurement import Measurement
from joulelab.energy.recorder import Window
from joulelab.errors import CommandError, SpecError
from joulelab.kinds.objective.curve import Curve, Spacing
from joulelab.kinds.program.executor import (
    LOADING_LIMIT_S,
    FunctionProcess,
    ProcessExecutor,
    ProgramError,
    ProgramJob,
    check_ended,
)
from joulelab.kinds.searching.steps import SPENT, Limit
from joulelab.study.executor import Progress
from joulelab.tuning.space import Value

LOOK_S = 0.1
TINY = 1e-9
BEFORE = "checkpoint-at-"
HALF = f"{BEFORE}half"
CHECKPOINT = "checkpoint"


class ObjectiveTimeoutError(ProgramError):
    """A call took longer than it may."""


class Meter:
    """What a running step has used of its budget, read at most every `LOOK_S`.

    Args:
        window: of the step.
        job: the step.
    """

    def __init__(self, window: Window, job: ObjectiveJob) -> None:
        self._window = window
        self._job = job
        self._began_s = self._read_s = time.monotonic()
        self._amount = 0.0

    @property
    def seconds(self) -> float:
        """Since the call began."""
        return time.monotonic() - self._began_s

    def over(self) -> str:
        """Why the call shall be ended now; empty if it shall not."""
        limit_s, limit = self._job.limit_s, self._job.limit
        if limit_s is not None and self.seconds > limit_s:
            return f"it took longer than {formats.duration(limit_s)} and was ended"
        return SPENT if limit is not None and self.spent(limit.slack) else ""

    def spent(self, slack: float = 0.0) -> bool:
        """Whether what was left of the budget is spent, and some slack."""
        limit, curve = self._job.limit, self._job.curve
        if limit is None:
            return False
        left = limit.left + slack
        if limit.unit == "epochs":
            return curve.trained >= left + TINY
        if limit.unit == "evaluations":
            return curve.trained / limit.evaluation >= left + TINY
        if limit.unit == "seconds":
            return self.seconds >= left
        if time.monotonic() - self._read_s > LOOK_S:
            self._amount = self._job.used(self._window.so_far()) or 0.0
            self._read_s = time.monotonic()
        return self._amount >= left


@dataclass(frozen=True)
class ObjectiveJob(ProgramJob):
    """A step of a training.

    Attributes:
        trial: its number.
        proposed: its values.
        curve: takes its reports; of the job alone.
        training: folder of this training, with its checkpoint.
        limit: what is left of the budget.
        used: gives what an energy so far is in the unit of the budget.
        heard: the values that it has asked for, as of its last report; of the job alone.
    """

    trial: int = 0
    proposed: Mapping[str, Value] = field(default_factory=dict)
    curve: Curve = field(default_factory=lambda: Curve(0, 1, 1, Spacing(), 1.0))
    training: Path = Path()
    limit: Limit | None = None
    used: Callable[[Measurement], float | None] = lambda _: None
    heard: dict[str, Value] = field(default_factory=dict)

    def as_request(self) -> dict[str, Any]:
        """What the process is asked to do."""
        about = {
            "number": self.trial,
            "values": dict(self.proposed),
            "seed": self.seed,
            "repetition": self.repetition,
            "epoch": self.curve.start,
            "given": list(self.spec.space),  # type: ignore[attr-defined]
            "checkpoint": str(self.training / CHECKPOINT),
        }
        return {
            "trial": about,
            "events": str(self.events),
            "two_goals": bool(self.spec.two_goals),  # type: ignore[attr-defined]
            "direction": self.spec.direction,  # type: ignore[attr-defined]
        }


class ObjectiveProcess(FunctionProcess):
    """A process that calls an objective."""

    module = "joulelab.kinds.objective.worker"

    def tell(self, said: Mapping[str, Any]) -> None:
        """Send it something."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.asking, f"{json.dumps(said)}\n".encode())

    def hear(self, over: Callable[[], str]) -> dict[str, Any]:
        """What it says next.

        Args:
            over: why waiting shall end; empty if it shall not.

        Raises:
            ObjectiveTimeoutError: waiting ended.
            ProgramError: the process ended.
        """
        if why := over():
            raise ObjectiveTimeoutError(why)
        while (answer := self.child.answer(LOOK_S)) is None:
            if self.child.process.poll() is not None:
                self.child.end()
                check_ended(self.child.process.returncode, True, None, self.child.stderr.end)
                raise ProgramError("the process of the objective ended", "see its stderr.txt")
            if why := over():
                raise ObjectiveTimeoutError(why)
        told: dict[str, Any] = json.loads(answer)
        return told


class ObjectiveExecutor(ProcessExecutor[ObjectiveProcess]):
    """Calls an objective for each step, in one process for all."""

    def check(self, job: ObjectiveJob) -> dict[str, Any]:
        """Import the objective; the files that it imports.

        Raises:
            SpecError: it cannot be imported or called.
        """
        try:
            told = self._ready(job).ask({"check": True}, LOADING_LIMIT_S)
        except (ProgramError, CommandError) as error:
            raise SpecError(error.message, error.hint) from error
        if "error" in told:
            raise SpecError(told["error"], told.get("hint", ""))
        return told

    def _get_ready(self, job: ProgramJob) -> None:
        super()._get_ready(job)
        restore(cast(ObjectiveJob, job).training, cast(ObjectiveJob, job).curve.start)

    def _lay_out(self, job: ProgramJob) -> None:
        process = self._ready(job)
        if not process.loaded:
            process.ask({"check": True}, LOADING_LIMIT_S)

    def _carry_out(self, job: ProgramJob, progress: Progress) -> Any:  # noqa: ANN401 - plain data
        one = cast(ObjectiveJob, job)
        process = self._ready(one)
        process.child.stdout, process.child.stderr = streams = job.streams()
        window = self._recorder.open("budget")
        meter = Meter(window, one)
        try:
            process.tell(one.as_request())
            told = process.hear(meter.over)
            while "report" in told:
                score, step = told["report"]
                one.heard.update(told["used"])
                stop = one.curve.report(float(score), int(step))
                progress(one.curve.reached, one.curve.end)
                process.tell({"stop": stop or meter.spent()})
                told = process.hear(meter.over)
        except BaseException:
            self.close()
            raise
        finally:
            window.close()
            for stream in streams:
                stream.close()
        return told

    def _start(self, of: tuple[Any, ...], job: ProgramJob) -> ObjectiveProcess:
        return ObjectiveProcess(of, job)


def restore(training: Path, start: int) -> None:
    """Make the checkpoint of a training as it was at the beginning of a step.

    A step that was interrupted has changed it; a copy of before is named for where the step began.

    Args:
        training: folder of the training.
        start: epochs before the step.
    """
    now, before = training / CHECKPOINT, training / f"{BEFORE}{start}"
    if start == 0:
        forget_copies(training)
        shutil.rmtree(now, ignore_errors=True)
    elif before.is_dir():
        shutil.rmtree(now, ignore_errors=True)
        shutil.copytree(before, now)
    elif now.is_dir():
        forget_copies(training)
        half = training / HALF
        shutil.copytree(now, half)
        half.rename(before)


def forget_copies(training: Path) -> None:
    """Remove the copies of a training's checkpoint; its last step is in the journal."""
    for copy in training.glob(f"{BEFORE}*"):
        shutil.rmtree(copy, ignore_errors=True)
