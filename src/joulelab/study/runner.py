"""The runner: takes the groups of a plan in order, and sees each through to the store.

::

    for each group:  workload.run ─┬─ calibrate, prepare ──────────────────────► ledger
                               └─ attempt ─ executor.run ─ rows ─► runs table, ledger, trace

A group whose runs are all stored is handed to its workload as well, which may have to replay it.
Going on after an interruption is therefore the same as running the whole plan again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from joulelab.energy.measurement import Measurement
from joulelab.study.accounting import Ledger
from joulelab.study.design import Configuration
from joulelab.study.executor import Executor, Heartbeat, Job, Outcome, Preparation
from joulelab.study.listener import Listener
from joulelab.study.plan import Plan
from joulelab.study.spec import StudySpec
from joulelab.study.store import PlannedRun, Store
from joulelab.study.workload import Row, RunRecorder, Workload

DONE = {"finished", "failed"}

JobT = TypeVar("JobT", bound=Job)
Result = TypeVar("Result")


class Runner(RunRecorder):
    """Runs what is left of a plan.

    Args:
        spec: the study.
        plan: all of it.
        store: open for writing, the plan entered.
        ledger: of this session.
        listener: hears what happens.
    """

    def __init__(
        self, spec: StudySpec, plan: Plan, store: Store, ledger: Ledger, listener: Listener
    ) -> None:
        self.store = store
        self.ledger = ledger
        self._spec = spec
        self._plan = plan
        self._listener = listener

    def run(self, workload_of: Callable[[Configuration], Workload]) -> None:
        """Run every group that is not stored yet.

        Args:
            workload_of: what does the runs of a configuration, loaded.

        Raises:
            KeyboardInterrupt: after what was under way has been booked.
            StoreError: the store cannot be written; what was stored before is kept.
        """
        states = self.store.states()
        for group in self._plan.groups:
            pending = [run for run in group.runs if states[run.run_id] not in DONE]
            workload_of(group.configuration).run(group, pending, self)

    def left(self) -> list[Configuration]:
        """The configurations that have runs left."""
        states = self.store.states()
        left = {
            (run.experiment, run.configuration)
            for run in self._plan.runs
            if states[run.run_id] not in DONE
        }
        return [one for one in self._plan.configurations if one.key in left]

    def prepare(self, executor: Executor[JobT, Result], job: JobT) -> Preparation:
        """Let an executor prepare for a job, and book what that took."""
        self.ledger.pause()
        prepared = executor.prepare(replace(job, label="calibration"))
        self.ledger.switch("between")
        self.ledger.book("waiting", prepared.waiting)
        if prepared.measurement is not None:
            idle = prepared.state == "finished" and not prepared.done
            kind = "between" if idle else "calibration"
            self.ledger.book(kind, prepared.measurement, prepared.state)
        if prepared.state == "interrupted":
            raise KeyboardInterrupt
        return prepared

    def calibrate(self, executor: Executor[JobT, Result], job: JobT) -> Outcome[Result]:
        """Carry out a job that belongs to no run, and book it."""
        self.ledger.pause()
        outcome = executor.run(job, lambda _: None)
        self.ledger.switch("between")
        self._book_around(outcome)
        self.ledger.book("calibration", outcome.measurement, outcome.state)
        if outcome.state == "interrupted":
            raise KeyboardInterrupt
        return outcome

    def attempt(
        self,
        kind: str,
        executor: Executor[JobT, Result],
        job: JobT,
        runs: Sequence[PlannedRun],
        rows: Callable[[Outcome[Result]], Sequence[Row]],
        requests: Callable[[Result], Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Carry out a job for some runs, and store what became of it."""
        self._listener.started(runs)
        entry = self.ledger.begin(kind, time.time(), runs)

        def on_heartbeat(heartbeat: Heartbeat) -> None:
            self.ledger.progress(entry, heartbeat.measurement)
            self._listener.progress(heartbeat, self.ledger.total(heartbeat.measurement))

        self.ledger.pause()
        outcome = executor.run(job, on_heartbeat)
        self.ledger.switch("between")
        stored = self._rows(job, runs, outcome, rows)
        self._keep_trace(entry, outcome)
        if requests is not None and outcome.result is not None:
            self._keep_requests(entry, runs[0], requests(outcome.result))
        error = outcome.details or outcome.error
        self.ledger.end(entry, outcome.state, outcome.measurement, error, stored)
        self._book_around(outcome)
        self._listener.finished(stored, self.ledger.total(outcome.measurement))
        if outcome.state == "interrupted":
            raise KeyboardInterrupt

    def _book_around(self, outcome: Outcome[Result]) -> None:
        """Book what an executor measured before and after a job."""
        self.ledger.book("waiting", outcome.waiting)
        if outcome.after is not None:
            self.ledger.book("between", outcome.after)

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
        """The columns for one of the runs that share a measurement equally."""
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
        if self._spec.energy.traces:
            self.store.write_trace(entry, outcome.trace, outcome.trace_about)

    def _keep_requests(
        self, entry: int, run: PlannedRun, columns: Mapping[str, Any] | None
    ) -> None:
        if columns is not None:
            self.store.write_requests(entry, run.run_id, columns)
