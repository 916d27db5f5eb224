"""The workload of green tuning: searches over trainings in memory, each a run of the study.

::

    search ─ steps ─► segments trained together ─► accuracy of every epoch ─► search
      └ outputs/00001/steps.jsonl, the journal
    best values ─► fresh trainings, judged on the test images ─► run
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from joulelab.energy.measurement import Measurement
from joulelab.errors import SpecError
from joulelab.kinds.green_tuning.executor import PopulationExecutor, SegmentsJob, Trained
from joulelab.kinds.green_tuning.spec import TEST, GreenTuningConfiguration, GreenTuningSpec
from joulelab.kinds.searching.journal import STEPS, Journal
from joulelab.kinds.searching.loop import Asked, Outcome, run_search
from joulelab.kinds.searching.spent import Spent
from joulelab.kinds.searching.steps import Limit, PlainSearcher, Purpose, Result
from joulelab.kinds.searching.tables import curve_columns
from joulelab.kinds.training.data_sets import DataSets
from joulelab.kinds.training.executor import ImagesRequest
from joulelab.kinds.training.spec import TrainingKeys
from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.fast.population import Segment
from joulelab.learning.fast.scheduling import stacked
from joulelab.learning.fast.stacking import NotStackableError
from joulelab.learning.images import Images
from joulelab.learning.training_loop import checked_device
from joulelab.study.call_workload import NOT_COUNTED
from joulelab.study.design import Configuration, derive_seed
from joulelab.study.listener import WorkloadSummary
from joulelab.study.plan import Group
from joulelab.study.prediction import Estimate, Prediction
from joulelab.study.runner import Calibrator, Row, RunRecorder
from joulelab.study.session import Session
from joulelab.study.store import PlannedRun, Store
from joulelab.study.store_reading import CURVES
from joulelab.study.workload import Workload
from joulelab.tuning.budget import parse_budget
from joulelab.tuning.search import Step, make_search

OUTPUTS = "outputs"
KIND = "trial"
JUDGING = "judging"
SEED_BITS = 31
JUDGED_TOGETHER = 8
GUESSED_S = 60.0


class GreenTuningWorkload(Workload):
    """Searches over trainings of the fast engine."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._keys = cast(TrainingKeys, session.spec)
        self._specs = {
            name: cast(GreenTuningSpec, spec) for name, spec in session.spec.experiments().items()
        }
        self._data: DataSets
        self._seen: dict[tuple[str, str], Images] = {}
        self._executor: PopulationExecutor = session.executor(PopulationExecutor)

    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Load the images, hold some out, and check that every network can be stacked."""
        mine = cast(Sequence[GreenTuningConfiguration], configurations)
        self._data = DataSets(self._keys, self.session.spec.seed, self.session.data_dir)
        for name in dict.fromkeys(one.dataset for one in mine):
            self.session.listener.doing(f"loading the data set {name}")
            request: ImagesRequest = self._data.request(name)
            self._data.add(name, request.part_of(request.load_whole()))
        for one in mine:
            try:
                stacked(
                    self._task(one), self._images(one), checked_device(self.session.device.name)
                )
            except NotStackableError as error:
                raise SpecError(
                    f"{one.title}: {error.message}",
                    "trainings are continued by the fast engine; choose a network, a protocol and "
                    "an augmentation that it can stack",
                ) from error
        budgets = dict.fromkeys(self._specs[one.experiment].budget for one in mine)
        return WorkloadSummary(
            means="the fast engine",
            noun="search",
            extent=f"of {' or '.join(budgets)} on {self._data.words}",
            basis="the budget of a search",
            remark="; ".join(self._data.notes) or None,
            train_images=self._data.train_images,
            data={**self._data.counts, "data_notes": self._data.notes},
        )

    def conditions(self) -> dict[str, Any]:
        """The data sets with their checksums."""
        return {"data_sets": self._data.described}

    def check_unchanged(self, manifest: Mapping[str, Any], store: Store) -> None:
        """Refuse changed data."""
        self._data.check_unchanged(manifest)

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """A budget of time is the time of a search; others are not predicted."""
        estimates = {}
        for one in configurations:
            budget = parse_budget(self._specs[one.experiment].budget)
            known_s = budget.amount if budget.unit == "seconds" else GUESSED_S
            estimates[one.title] = Estimate.unknown(known_s)
        return Prediction({one.key: one.title for one in configurations}, estimates, 0.0)

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Run, or go on with, each search, and judge what it chose."""
        for run in pending:
            self._search(cast(GreenTuningConfiguration, group.configuration), run, recorder)

    def _search(
        self, one: GreenTuningConfiguration, run: PlannedRun, recorder: RunRecorder
    ) -> None:
        spec = self._specs[one.experiment]
        self._executor.forget()
        folder = (self.session.folder or Path()) / OUTPUTS / f"{run.position + 1:05d}"
        journal = Journal(folder / STEPS)
        search = make_search(one.strategy, one.space, run.seed, one.settings.epochs)
        trainer = PopulationTrainer(self, one, run, recorder)
        asked = Asked(
            header={
                "strategy": one.strategy,
                "seed": run.seed,
                "space": one.space.to_dict(),
                "epochs": one.settings.epochs,
                "target": spec.target,
                "together": spec.together,
            },
            budget=parse_budget(spec.budget),
            confirm=0,
            target=spec.target,
        )
        started_at = time.time()
        recorder.ledger.switch("between")
        listen = self.session.listener.searching
        outcome = run_search(PlainSearcher(search), trainer, journal, asked, listen)
        judged = trainer.judge(outcome.values, spec.judged) if outcome.values else []
        self._store(run, outcome, judged, journal, recorder, started_at)

    def _store(
        self,
        run: PlannedRun,
        outcome: Outcome,
        judged: Sequence[float],
        journal: Journal,
        recorder: RunRecorder,
        started_at: float,
    ) -> None:
        """Store the run: its energy is the sum over the journal, without the judging."""
        window = self.session.recorder.open("end")
        entry = recorder.ledger.begin("between", started_at, [run])
        spent = outcome.spent
        values = {
            "score": outcome.score,
            "judged_sd": statistics.stdev(judged) if len(judged) > 1 else None,
            "judged": len(judged),
            "best_trial": outcome.trial,
            "best": json.dumps(dict(outcome.values)),
            "stopped": outcome.stopped,
            "epochs": spent.epochs,
            **{f"{kind}_j": part.joules for kind, part in outcome.parts.items()},
            **{f"{kind}_s": part.seconds for kind, part in outcome.parts.items()},
        }
        row: Row = {
            "run_id": run.run_id,
            "state": "failed" if outcome.failure else "finished",
            "error": outcome.failure or None,
            "attempts": max(recorder.ledger.session, 1),
            "device": self.session.device.name,
            "scale": self.session.spec.scale,
            "group_size": 1,
            "accuracy": statistics.fmean(judged) if judged else None,
            "hyperparameters": json.dumps(dict(outcome.values)) if outcome.values else None,
            "energy_gross_j": spent.joules,
            "energy_error_j": spent.error_j,
            "energy_status": spent.status,
            "duration_s": spent.seconds,
            "started_at": started_at,
            "metrics": json.dumps({"flops_reason": NOT_COUNTED, "values": values}),
        }
        columns = curve_columns(journal.lines, 1.0)
        if columns is not None:
            recorder.store.write_table(CURVES, entry, run.run_id, columns)
        recorder.ledger.end(
            entry, str(row["state"]), window.close(), outcome.failure or None, [row]
        )

    def _images(self, one: GreenTuningConfiguration) -> Images:
        """The training images, and as test images those whose accuracy a search sees."""
        spec = self._specs[one.experiment]
        whole = self._data.images[one.dataset]
        if spec.tune_on == TEST:
            return whole
        key = (one.experiment, one.dataset)
        if key not in self._seen:
            self._seen[key] = whole.validation_split(spec.held_out, self.session.spec.seed)
        return self._seen[key]

    def _task(self, one: GreenTuningConfiguration) -> TrainingTask:
        settings = one.settings
        return TrainingTask(
            network=one.network,
            network_options=one.network_options,
            protocol=settings.protocol,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            members=(),
            precision=settings.precision,
            optimiser=settings.optimiser,
            schedule=settings.schedule,
            augmentation=settings.augmentation,
        )


@dataclass
class _Thinking:
    spent: Spent = field(default_factory=Spent)


class PopulationTrainer:
    """Trains the steps of a search together.

    Args:
        workload: has the images, and executes.
        one: the configuration.
        run: the search.
        recorder: books.
    """

    def __init__(
        self,
        workload: GreenTuningWorkload,
        one: GreenTuningConfiguration,
        run: PlannedRun,
        recorder: RunRecorder,
    ) -> None:
        self._workload = workload
        self._one = one
        self._run = run
        self._recorder = recorder
        self._spec = workload._specs[one.experiment]
        self.most = self._spec.together

    def train(
        self, steps: Sequence[Step], purpose: Purpose, limit: Limit | None
    ) -> Sequence[Result]:
        """Train steps together; after an interruption, from the start where memory is lost."""
        segments = [self._segment(step) for step in steps]
        job = self._job(segments)
        had = [self._workload._executor.epoch(job, segment.key) for segment in segments]
        trained, measurement = self._carried_out(job, KIND)
        parts = [
            [one for one in trained.curves[segment.key] if one.epoch > step.start]
            for step, segment in zip(steps, segments, strict=True)
        ]
        seconds = [
            sum(epoch.training_s + epoch.evaluation_s for epoch in trained.curves[segment.key])
            for segment in segments
        ]
        whole = sum(seconds)
        return [
            Result(
                state="finished" if step.end == self._one.settings.epochs else "paused",
                scores=[one.accuracy for one in part],
                spent=self._spent(measurement, own / whole, step.end - before),
                started_at=measurement.started_at or time.time(),
                values=step.values,
            )
            for step, part, own, before in zip(steps, parts, seconds, had, strict=True)
        ]

    @contextmanager
    def thinking(self) -> Iterator[_Thinking]:
        """Measure the search's own work; the ledger has it as the tuner's."""
        measured = _Thinking()
        self._recorder.ledger.switch("tuner")
        window = self._workload.session.recorder.open("tuner")
        try:
            yield measured
        finally:
            measured.spent = self._spent(window.close(), 1.0, 0)
            self._recorder.ledger.switch("between")

    def judge(self, values: Mapping[str, Any], count: int) -> list[float]:
        """Accuracies on the test images of trainings with fresh seeds."""
        found: list[float] = []
        for start in range(0, count, JUDGED_TOGETHER):
            numbers = range(start, min(start + JUDGED_TOGETHER, count))
            segments = [
                Segment(
                    (JUDGING, number),
                    self._member(values, derive_seed(self._run.seed, JUDGING, number)),
                    self._one.settings.epochs,
                )
                for number in numbers
            ]
            whole = self._workload._data.images[self._one.dataset]
            trained, _ = self._carried_out(self._job(segments, judge=whole), JUDGING)
            found += [trained.judged[segment.key] for segment in segments]
        return found

    def _segment(self, step: Step) -> Segment:
        seed = derive_seed(self._run.seed, "trial", step.trial, step.repetition)
        return Segment((step.trial, step.repetition), self._member(step.values, seed), step.end)

    def _member(self, values: Mapping[str, Any], seed: int) -> Member:
        return Member(
            seed >> (63 - SEED_BITS), Hyperparameters(**{**self._one.fixed, **dict(values)})
        )

    def _job(self, segments: Sequence[Segment], judge: Images | None = None) -> SegmentsJob:
        session = self._workload.session
        return SegmentsJob(
            label=self._one.title,
            device=session.device.name,
            threads=session.threads,
            task=self._workload._task(self._one),
            images=self._workload._images(self._one),
            segments=tuple(segments),
            judge=judge,
        )

    def _carried_out(self, job: SegmentsJob, kind: str) -> tuple[Trained, Measurement]:
        """Carry out a job, and book it in the ledger.

        Raises:
            KeyboardInterrupt: after booking.
            JoulelabError: the training failed.
        """
        recorder, ledger = self._recorder, self._recorder.ledger
        recorder.prepare(self._workload._executor, job)
        entry = ledger.begin(kind, time.time(), [self._run])
        ledger.pause()
        outcome = self._workload._executor.run(
            job, lambda heartbeat: ledger.progress(entry, heartbeat.measurement)
        )
        ledger.switch("between")
        ledger.end(entry, outcome.state, outcome.measurement, outcome.details or outcome.error, [])
        ledger.book("waiting", outcome.waiting)
        if outcome.after is not None:
            ledger.book("between", outcome.after)
        if outcome.state == "interrupted":
            raise KeyboardInterrupt
        if outcome.result is None:
            raise SpecError(f"{self._one.title}: {outcome.error}", "see the ledger")
        return outcome.result, outcome.measurement

    def _spent(self, measurement: Measurement, share: float, epochs: int) -> Spent:
        total = self._workload.session.counted(measurement)
        known = total.gross_j is not None
        return Spent(
            seconds=share * measurement.duration_s,
            epochs=epochs,
            joules=share * total.gross_j if total.gross_j is not None else None,
            error_j=share * total.error_j if total.error_j is not None else None,
            grams=None,
            status=str(total.status),
            reason="" if known else "no meter reads this machine",
        )
