"""The interface between the runner and a workload: training networks, or serving requests.

::

    load ─ (predict) ─ run(group) ─ run(group) ─ ... ─ close          one session
      └ may refuse the study       └ books with the runner: calibrate, attempt
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from joulelab.study.design import Configuration
from joulelab.study.executor import Executor, Job, Outcome, Preparation
from joulelab.study.plan import Group
from joulelab.study.prediction import Prediction
from joulelab.study.store import PlannedRun, Store

if TYPE_CHECKING:
    from joulelab.study.accounting import Ledger

JobT = TypeVar("JobT", bound=Job)
Result = TypeVar("Result")
Row = dict[str, Any]


@dataclass(frozen=True)
class WorkloadSummary:
    """What a session will work with, in words and as data.

    Attributes:
        means: for the title of a plan: ``fast engine, fp32``.
        noun: what a run is: ``training``.
        extent: what all runs have in common: ``of 25 epochs on digits (1,500 training ...)``.
        basis: what a prediction is made from: ``a few steps of each network``.
        remark: where something is not as it was asked for; ``None`` where it is.
        train_images: how many training images are used and how many there are; ``None`` where
            nothing is trained.
        data: for JSON.
        by_configuration: for JSON, by experiment and configuration.
    """

    means: str
    noun: str
    extent: str
    basis: str
    remark: str | None = None
    train_images: tuple[int, int] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    by_configuration: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)


class Calibrator(ABC):
    """Carries out jobs that belong to no run, and books them where there is a ledger."""

    @abstractmethod
    def prepare(self, executor: Executor[JobT, Result], job: JobT) -> Preparation:
        """Let an executor prepare for a job.

        Raises:
            KeyboardInterrupt: after what was under way has been booked.
        """

    @abstractmethod
    def calibrate(self, executor: Executor[JobT, Result], job: JobT) -> Outcome[Result]:
        """Carry out a job that belongs to no run.

        Raises:
            KeyboardInterrupt: after what was under way has been booked.
        """


class RunRecorder(Calibrator):
    """What the runner is to a workload: it books, stores, and tells the listener.

    Attributes:
        store: of the study.
        ledger: of the session.
    """

    store: Store
    ledger: Ledger

    @abstractmethod
    def attempt(
        self,
        kind: str,
        executor: Executor[JobT, Result],
        job: JobT,
        runs: Sequence[PlannedRun],
        rows: Callable[[Outcome[Result]], Sequence[Row]],
        requests: Callable[[Result], Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Carry out a job for some runs, and store what became of it.

        Args:
            kind: of the entry in the ledger.
            executor: of the job.
            job: for all of the runs together.
            runs: at least one.
            rows: the columns of each run besides those that every run has, from the outcome of a
                job that finished or failed.
            requests: from the result a table with a row a request, as columns, to be kept beside
                the run; ``None`` where there is none.
        """


class Workload(ABC):
    """The workload of some kinds of experiment, on this machine, in one session."""

    @abstractmethod
    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Load what all runs need, and see that every configuration can be run here.

        Args:
            configurations: all of the study that are of this workload.

        Raises:
            JoulelabError: the study cannot be run here; nothing has been stored.
        """

    @abstractmethod
    def conditions(self) -> dict[str, Any]:
        """What the results depend on, for the manifest."""

    @abstractmethod
    def check_unchanged(self, manifest: Mapping[str, Any], store: Store) -> None:
        """Refuse to go on where results would not fit those of earlier sessions.

        Raises:
            StoreMismatchError: says what has changed.
        """

    @abstractmethod
    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Predict time and energy of the runs of some configurations.

        Args:
            configurations: those that have runs left.
            calibrator: carries out what is timed.
            brief: at the beginning of a run, where predicting is not the purpose.
        """

    @abstractmethod
    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Carry out a group, and book it; one of which nothing is left may have to be replayed.

        Args:
            group: all runs that stay together.
            pending: those that have not ended yet.
            recorder: books and stores.

        Raises:
            KeyboardInterrupt: after what was under way has been booked.
        """

    def close(self) -> None:  # noqa: B027 - most workloads hold nothing
        """Let go of what was loaded."""
