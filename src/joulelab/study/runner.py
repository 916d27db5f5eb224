"""The runner: takes the groups of a plan in order, and sees each through to the store.

::

    for each group:  strategy.propose ─ rounds table ─ executor.prepare, .split ─┐
                          ▲                                                      │
                          │                     runs table ◄─ executor.run (a part at a time)
                          │                         │
                          └── strategy.observe(score of the round)

A group whose runs are all stored is only observed. So going on after an interruption is nothing
but running the whole plan again.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from joulelab.energy.reading import Measurement
from joulelab.learning.engine import TrainingResult, TrainingTask
from joulelab.learning.flops import FlopCount
from joulelab.study.accounting import Ledger
from joulelab.study.bench import Bench
from joulelab.study.design import Configuration
from joulelab.study.executor import Executor, Job, Outcome, SignOfLife
from joulelab.study.listener import Listener
from joulelab.study.plan import Group, Plan
from joulelab.study.spec import StudySpec
from joulelab.study.store import PlannedRun, Store
from joulelab.tuning.strategy import Strategy, strategies

DONE = {"finished", "failed"}


class Runner:
    """Runs what is left of a plan.

    Args:
        spec: the study.
        plan: all of it.
        store: open for writing, the plan entered.
        ledger: of this session.
        bench: what this session works with, loaded.
        listener: hears what happens.
    """

    def __init__(
        self,
        spec: StudySpec,
        plan: Plan,
        store: Store,
        ledger: Ledger,
        bench: Bench,
        listener: Listener,
    ) -> None:
        self._spec = spec
        self._plan = plan
        self._store = store
        self._ledger = ledger
        self._bench = bench
        self._executor: Executor = bench.executor
        self._listener = listener
        self._strategies: dict[tuple[str, str], Strategy] = {}

    def run(self) -> None:
        """Run every group that is not stored yet.

        Raises:
            KeyboardInterrupt: after what was under way has been booked.
            StoreError: the store cannot be written; what was stored before is kept.
        """
        states = self._store.states()
        for group in self._plan.groups:
            pending = [run for run in group.runs if states[run.run_id] not in DONE]
            values = {number: self._proposal(group, number) for number in group.rounds}
            if pending:
                self._train(group, pending, values)
            for number in group.rounds:
                self._observe(group, number, values[number])

    def left(self) -> list[Configuration]:
        """The configurations that have runs left."""
        states = self._store.states()
        left = {
            (run.experiment, run.configuration)
            for run in self._plan.runs
            if states[run.run_id] not in DONE
        }
        return [one for one in self._plan.configurations if (one.experiment, one.name) in left]

    def parts(self, job: Job) -> Sequence[TrainingTask]:
        """Let the engine prepare for a group, book what that took, and split the group."""
        if self._executor.prepares(job):
            self._prepare(job)
        return self._executor.split(job)

    def _prepare(self, job: Job) -> None:
        self._ledger.pause()
        prepared = self._executor.prepare(replace(job, label="calibration"))
        self._ledger.switch("between")
        self._ledger.book("waiting", prepared.waiting)
        if prepared.measurement is not None:
            idle = prepared.state == "finished" and not prepared.done
            kind = "between" if idle else "calibration"
            self._ledger.book(kind, prepared.measurement, prepared.state)
        if prepared.state == "interrupted":
            raise KeyboardInterrupt
        if prepared.error is not None:
            self._listener.doing(f"the engine could not prepare: {prepared.error}; going on")

    def calibrate(self, job: Job) -> Outcome:
        """Carry out a job that belongs to no run, and book it."""
        self._ledger.pause()
        outcome = self._executor.run(job, lambda _: None)
        self._ledger.switch("between")
        self._ledger.book("waiting", outcome.waiting)
        self._ledger.book("calibration", outcome.measurement, outcome.state)
        if outcome.state == "interrupted":
            raise KeyboardInterrupt
        return outcome

    def _strategy(self, configuration: Configuration) -> Strategy:
        key = (configuration.experiment, configuration.name)
        if key not in self._strategies:
            make = strategies.get(configuration.strategy)
            self._strategies[key] = make(
                configuration.space, seed=configuration.strategy_seed, rounds=configuration.rounds
            )
        return self._strategies[key]

    def _proposal(self, group: Group, number: int) -> dict[str, Any]:
        key = (group.configuration.experiment, group.configuration.name, number)
        values = self._store.proposal(*key)
        if values is None:
            strategy = self._strategy(group.configuration)
            self._ledger.switch("tuner")
            values = dict(strategy.propose(number))
            self._ledger.switch("between")
            self._store.propose(*key, values)
        return values

    def _observe(self, group: Group, number: int, values: Mapping[str, Any]) -> None:
        key = (group.configuration.experiment, group.configuration.name, number)
        accuracies = self._store.accuracies(*key)
        score = _score(accuracies, self._spec.score)
        self._store.score(*key, score)
        self._strategy(group.configuration).observe(number, values, score)

    def _train(
        self, group: Group, pending: Sequence[PlannedRun], values: Mapping[int, Mapping[str, Any]]
    ) -> None:
        one = group.configuration
        rounds = "-".join(str(number + 1) for number in sorted({group.rounds[0], group.rounds[-1]}))
        members = [self._bench.member(one, values[run.round], run.seed) for run in pending]
        job = self._bench.job(one, members, f"{one.experiment}: {one.name}, {rounds}")
        by_seed = {run.seed: run for run in pending}
        for task in self.parts(job):
            runs = [by_seed[member.seed] for member in task.members]
            self._attempt(replace(job, task=task), runs, values)

    def _attempt(
        self, job: Job, runs: Sequence[PlannedRun], values: Mapping[int, Mapping[str, Any]]
    ) -> None:
        self._listener.started(runs)
        entry = self._ledger.begin("training", time.time(), runs)

        def on_sign(sign: SignOfLife) -> None:
            self._ledger.progress(entry, sign.measurement)
            self._listener.progress(sign, self._ledger.total(sign.measurement))

        self._ledger.pause()
        outcome = self._executor.run(job, on_sign)
        self._ledger.switch("between")
        rows = self._rows(job, runs, values, outcome)
        self._keep_trace(entry, outcome)
        error = outcome.details or outcome.error
        self._ledger.end(entry, outcome.state, outcome.measurement, error, rows)
        self._ledger.book("waiting", outcome.waiting)
        self._listener.finished(rows, self._ledger.total(outcome.measurement))
        if outcome.state == "interrupted":
            raise KeyboardInterrupt

    def _rows(
        self,
        job: Job,
        runs: Sequence[PlannedRun],
        values: Mapping[int, Mapping[str, Any]],
        outcome: Outcome,
    ) -> list[dict[str, Any]]:
        if outcome.state == "interrupted":
            return [{"run_id": run.run_id, "state": "planned"} for run in runs]
        common = {
            "state": outcome.state,
            "dataset": self._spec.dataset,
            "protocol": self._spec.protocol,
            "engine": job.engine,
            "precision": job.task.precision,
            "device": job.device,
            "scale": self._spec.scale,
            "group_size": len(runs),
            "error": outcome.error,
            "utilisation_mean": outcome.utilisation.mean,
            "utilisation": json.dumps(outcome.utilisation.to_dict()),
            **self._energy(outcome.measurement, len(runs)),
        }
        rows = [
            {
                "run_id": run.run_id,
                **common,
                "hyperparameters": json.dumps(dict(values[run.round])),
            }
            for run in runs
        ]
        if outcome.state == "failed":
            return rows
        results = zip(rows, outcome.results, strict=True)
        return [
            {**row, **_flops(job.task, result, outcome), **_metrics(result, outcome.flops)}
            for row, result in results
        ]

    def _energy(self, measurement: Measurement, parts: int) -> dict[str, Any]:
        """The columns for one of the runs that share a measurement equally."""
        readings = tuple(reading.shared(parts) for reading in measurement.readings)
        shared = replace(measurement, readings=readings, duration_s=measurement.duration_s / parts)
        sum_ = self._ledger.total(shared)
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

    def _keep_trace(self, entry: int, outcome: Outcome) -> None:
        if self._spec.energy.traces:
            self._store.write_trace(entry, outcome.trace, outcome.trace_about)


def _flops(task: TrainingTask, result: TrainingResult, outcome: Outcome) -> dict[str, float | None]:
    of_training = outcome.flops.of_training
    return {"flops": of_training(outcome.train_images, task.batch_size, result.steps)}


def _metrics(result: TrainingResult, flops: FlopCount) -> dict[str, Any]:
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
            }
        ),
    }


def _score(accuracies: Sequence[float], score: str) -> float | None:
    if not accuracies:
        return None
    return max(accuracies) if score == "max" else statistics.fmean(accuracies)
