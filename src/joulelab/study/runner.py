"""Recorders for workloads: carry out, measure, book and store jobs.

::

    workload.run ─┬─ calibrate, prepare ──────────────────────────► ledger
                  └─ attempt ─ executor.run ─ rows ─► runs table, ledger, trace
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from joulelab.energy.measurement import Measurement
from joulelab.study.accounting import Ledger
from joulelab.study.executor import Executor, Heartbeat, Job, Outcome, Preparation, State
from joulelab.study.listener import Listener
from joulelab.study.planned_run import PlannedRun
from joulelab.study.spec import StudySpec
from joulelab.study.store import Store

JobT = TypeVar("JobT", bound=Job)
Result = TypeVar("Result")
Row = dict[str, Any]


@dataclass(frozen=True)
class Table(Generic[Result]):
    """A table that is stored with a run: its requests, or its curves.

    Attributes:
        folder: name of the folder in the store.
        columns: from the result one value per row each; ``None`` if there is no table.
    """

    folder: str
    columns: Callable[[Result], Mapping[str, Any] | None]


EDGES = 2
"""Samples of a window at its ends."""


class Calibrator:
    """Carries out jobs outside runs, and books them if there is a ledger.

    Args:
        ledger: of the session; ``None`` to store nothing.
    """

    def __init__(self, ledger: Ledger | None = None) -> None:
        self._books = ledger

    def prepare(self, executor: Executor[JobT, Result], job: JobT) -> Preparation:
        """Let an executor prepare for a job.

        Raises:
            KeyboardInterrupt: after booking the work in progress.
        """
        with self._paused(executor):
            prepared = executor.prepare(replace(job, label="calibration"))
        idle = prepared.state == "finished" and not prepared.done
        kind = "between" if idle else "calibration"
        self._book(prepared.state, [("waiting", prepared.waiting), (kind, prepared.measurement)])
        return prepared

    def calibrate(self, executor: Executor[JobT, Result], job: JobT) -> Outcome[Result]:
        """Carry out a job outside runs.

        Raises:
            KeyboardInterrupt: after booking the work in progress.
        """
        with self._paused(executor):
            outcome = executor.run(job, self._on_heartbeat)
        self._book(
            outcome.state,
            [
                ("waiting", outcome.waiting),
                ("calibration", outcome.measurement),
            ],
        )
        return outcome

    def _on_heartbeat(self, heartbeat: Heartbeat) -> None:
        if self._books is not None:
            self._books.so_far("calibration", heartbeat.measurement)

    def _paused(self, executor: Executor[JobT, Result]) -> AbstractContextManager[None]:
        return nullcontext() if self._books is None else self._books.paused(executor)

    def _book(self, state: State, parts: Sequence[tuple[str, Measurement | None]]) -> None:
        """Book the parts of an executor's work; only the work itself may have failed."""
        if self._books is not None:
            self._books.switch("between")
            for kind, measurement in parts:
                if measurement is not None:
                    became = state if kind == "calibration" else "finished"
                    self._books.book(kind, measurement, became)
        if state == "interrupted":
            raise KeyboardInterrupt


class RunRecorder(Calibrator):
    """Carries out jobs for runs: books them, stores the runs, and notifies the listener.

    Args:
        spec: the study.
        store: open for writing, the plan entered.
        ledger: of this session.
        listener: hears what happens.
    """

    def __init__(self, spec: StudySpec, store: Store, ledger: Ledger, listener: Listener) -> None:
        super().__init__(ledger)
        self.store = store
        self.ledger = ledger
        self._spec = spec
        self._listener = listener

    def attempt(
        self,
        kind: str,
        executor: Executor[JobT, Result],
        job: JobT,
        runs: Sequence[PlannedRun],
        rows: Callable[[Outcome[Result]], Sequence[Row]],
        table: Table[Result] | None = None,
    ) -> None:
        """Carry out a job for some runs, and store the outcome.

        Args:
            kind: of the entry in the ledger.
            executor: of the job.
            job: for all of the runs together.
            runs: at least one.
            rows: the additional columns of each run, from the outcome of a finished or failed job.
            table: of the result, stored with the run.
        """
        self._listener.started(runs)
        entry = self.ledger.begin(kind, time.time(), runs)

        def on_heartbeat(heartbeat: Heartbeat) -> None:
            self.ledger.progress(entry, heartbeat.measurement)
            self._listener.progress(heartbeat, self.ledger.total(heartbeat.measurement))

        with self.ledger.paused(executor):
            outcome = executor.run(job, on_heartbeat)
        self.ledger.switch("between")
        stored = self._rows(job, runs, outcome, rows)
        self._keep_trace(entry, outcome)
        if table is not None and outcome.result is not None:
            columns = table.columns(outcome.result)
            if columns is not None:
                self.store.write_table(table.folder, entry, runs[0].run_id, columns)
        error = outcome.details or outcome.error
        self.ledger.end(entry, outcome.state, outcome.measurement, error, stored)
        self.ledger.book("waiting", outcome.waiting)
        self._listener.finished(stored, self.ledger.total(outcome.measurement))
        if outcome.state == "interrupted":
            raise KeyboardInterrupt

    def _rows(
        self,
        job: Job,
        runs: Sequence[PlannedRun],
        outcome: Outcome[Result],
        rows: Callable[[Outcome[Result]], Sequence[Row]],
    ) -> list[Row]:
        if outcome.state == "interrupted":
            return [{"run_id": run.run_id, "state": "planned"} for run in runs]
        common = {
            "state": outcome.state,
            "device": job.device,
            "scale": self._spec.scale,
            "group_size": len(runs),
            "error": outcome.error,
            "utilisation_mean": outcome.utilisation.mean,
            "utilisation": json.dumps(outcome.utilisation.to_dict()),
            **self._energy(outcome.measurement, len(runs)),
        }
        return [
            {"run_id": run.run_id, **common, **own}
            for run, own in zip(runs, rows(outcome), strict=True)
        ]

    def _energy(self, measurement: Measurement, parts: int) -> dict[str, Any]:
        """The columns of one of the runs that share a measurement equally."""
        shared = measurement.shared(parts)
        sum_ = self.ledger.total(shared)
        return {
            "energy_gross_j": sum_.gross_j,
            "energy_idle_j": sum_.idle_j,
            "energy_net_j": sum_.net_j,
            "energy_error_j": sum_.error_j,
            "energy_status": str(sum_.status),
            "energy_source": "+".join(sum_.sources),
            "energy_domains": "+".join(sum_.domains),
            "measurement": json.dumps(shared.to_dict()),
            "duration_s": shared.duration_s,
            "started_at": shared.started_at,
        }

    def _keep_trace(self, entry: int, outcome: Outcome[Result]) -> None:
        # Without a sample between its edges a window has no course over time.
        if self._spec.energy.traces and outcome.measurement.samples > EDGES:
            self.store.write_trace(entry, outcome.trace, outcome.trace_about)
