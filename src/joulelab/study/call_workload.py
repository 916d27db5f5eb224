"""A workload that calls a function within the measured window of every run.

For simple kinds of experiment: a custom kind is a spec with factors, and a `CallWorkload` with
`prepare`; see ``examples/own_kind.py``.

::

    prepare(levels, seed) ─ wait for idle power ─ open window ─ call() ─ close window
      └ not measured                                              └ numbers, stored with the run
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from joulelab.errors import UsageError, quoted
from joulelab.study.column_names import COLUMNS, NUMBERS, VALUES
from joulelab.study.design import Configuration, Level
from joulelab.study.executor import Executor, Job, Outcome, Progress
from joulelab.study.listener import WorkloadSummary
from joulelab.study.plan import Group
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Prediction
from joulelab.study.runner import Calibrator, Row, RunRecorder
from joulelab.study.session import Session
from joulelab.study.spec import kinds
from joulelab.study.timing import predict_by_timing
from joulelab.study.workload import Workload

ACCURACY = "accuracy"
NOT_COUNTED = "this kind of experiment does not count them"
LARGEST = 2**63 - 1

Number = str | bool | int | float | None
Call = Callable[[], Mapping[str, Any] | None]


class CallWorkload(Workload):
    """Calls a function for each run, in this process, and stores the numbers that it returns.

    The function works on the processor unless the study names a GPU.
    """

    uses_gpu: ClassVar[bool] = False

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._executor = session.executor(partial(_CallExecutor, self.prepare))

    @abstractmethod
    def prepare(self, levels: Mapping[str, Level], seed: int) -> Call:
        """Prepare a run, and return the function to measure.

        Args:
            levels: of the configuration, by factor.
            seed: of the run; it must determine all randomness.

        Returns:
            A function without arguments, which is called once. It returns numbers or short texts by
            name, which become columns of the results, or ``None``. Reports compare energy with the
            column ``accuracy`` (0 to 1). Names of other columns, such as ``duration_s``, are
            refused.
        """

    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Nothing is loaded."""
        several = "s" * (len(configurations) != 1)
        return WorkloadSummary(
            means=f"called on {self.session.device.name}",
            noun=_noun(configurations[0]),
            extent=f"of {len(configurations):,} configuration{several}",
            basis="one call of each configuration, while time allows",
        )

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Call the function of each configuration until time is up.

        The others are assumed to cost the mean of these, plus or minus 100 %.
        """
        self.session.listener.doing("timing one call of each configuration")

        def called(one: Configuration, seed: int, left_s: float) -> Outcome[Any]:
            return calibrator.calibrate(self._executor, self._job(one, seed))

        return predict_by_timing(self.session, configurations, called, brief=brief)

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Call the function for each run."""
        for run in pending:
            job = self._job(group.configuration, run.seed)
            recorder.attempt(_noun(group.configuration), self._executor, job, [run], _rows)

    def _job(self, one: Configuration, seed: int) -> CallJob:
        return CallJob(one.title, self.session.device.name, self.session.threads, one.levels, seed)


@dataclass(frozen=True)
class CallJob(Job):
    """A call for one run.

    Attributes:
        levels: of the configuration, by factor.
        seed: of the run.
    """

    levels: Mapping[str, Level]
    seed: int


class _CallExecutor(Executor[CallJob, dict[str, Number]]):
    """Calls in this process; after the first argument, those of `Executor`."""

    def __init__(
        self,
        prepare: Callable[[Mapping[str, Level], int], Call],
        *about: Any,  # noqa: ANN401 - those of `Executor`
    ) -> None:
        super().__init__(*about)
        self._make = prepare
        self._ready: Call | None = None

    def _lay_out(self, job: CallJob) -> None:
        self._ready = None
        self._ready = self._made(job)

    def _prepare(self, job: CallJob) -> bool:
        return False

    def _carry_out(self, job: CallJob, progress: Progress) -> dict[str, Number]:
        # A failed preparation fails again here, and the run counts as failed.
        call, self._ready = self._ready or self._made(job), None
        with _apart("the call"):
            found: object = call()
        if not isinstance(found, Mapping | None):
            raise UsageError(
                f"the call has returned {quoted(found)}; return numbers by name, such as "
                '{"accuracy": 0.9}, or None'
            )
        return {str(name): _number(str(name), value) for name, value in (found or {}).items()}

    def _made(self, job: CallJob) -> Call:
        with _apart("prepare"):
            call = self._make(job.levels, job.seed)
        if not callable(call):
            raise UsageError(
                f"prepare has returned {quoted(call)}; return the function to measure, without "
                "calling it"
            )
        return call


@contextlib.contextmanager
def _apart(what: str) -> Iterator[None]:
    """Send what is printed to standard error, and turn the end of the program into an error.

    Standard output has the results, perhaps as JSON.

    Args:
        what: is called, for the message.
    """
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        with contextlib.suppress(OSError):  # without standard streams
            # Programs that are started write to the descriptor.
            output = os.dup(1)
            stack.callback(os.close, output)
            stack.callback(os.dup2, output, 1)
            os.dup2(2, 1)
        try:
            yield
        except SystemExit as error:
            raise UsageError(
                f"{what} has ended the program (SystemExit: {error.code}); return or raise an "
                "error instead"
            ) from error


def _number(name: str, value: Any) -> Number:  # noqa: ANN401 - whatever a function returns
    """A value for the store; for numpy and torch arrays of one element, the number."""
    if name in COLUMNS - VALUES:
        raise UsageError(f"{quoted(name)} is a column of the results; return it under another name")
    plain = value.item() if hasattr(value, "item") else value
    if name in NUMBERS and isinstance(plain, str):
        raise UsageError(f"{name} = {quoted(plain)} is not a number; return a number")
    if isinstance(plain, float):
        plain = plain if math.isfinite(plain) else None
    elif isinstance(plain, int) and abs(plain) > LARGEST:
        plain = float(plain)
    if not name or not (plain is None or isinstance(plain, str | bool | int | float)):
        kind = type(value).__name__
        raise UsageError(
            f"{quoted(name)} is of type {kind}; return a mapping of names to numbers and short "
            "strings"
        )
    if name == ACCURACY and not (plain is None or 0 <= float(plain) <= 1):
        raise UsageError(f"an accuracy of {plain} is not possible: it is between 0 and 1")
    return plain.replace("\0", "") if isinstance(plain, str) else plain


def _rows(outcome: Outcome[dict[str, Number]]) -> list[Row]:
    if outcome.result is None:
        return [{}]
    values = dict(outcome.result)
    accuracy = values.pop(ACCURACY, None)
    metrics = {"flops_reason": NOT_COUNTED, "values": values}
    return [{"accuracy": accuracy, "metrics": json.dumps(metrics)}]


def _noun(one: Configuration) -> str:
    """Noun for a run of its kind."""
    return kinds.get(one.kind).spec.noun
