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
from collections.abc import Mapping, Sequence
from typing import Any, cast

from joulelab.budget import parse_budget
from joulelab.energy.measurement import Measurement
from joulelab.errors import SpecError, TrainingError
from joulelab.kinds.green_tuning.executor import Curves, PopulationExecutor, SegmentsJob
from joulelab.kinds.green_tuning.forecast import Extent, middle, of_searches, training_job
from joulelab.kinds.green_tuning.spec import TEST, GreenTuningConfiguration, GreenTuningSpec
from joulelab.kinds.green_tuning.stacks import corners, hyperparameters, known_cost, task_of
from joulelab.kinds.searching.booked import JUDGING, KIND, BookedTrainer
from joulelab.kinds.searching.loop import Asked
from joulelab.kinds.searching.steps import Limit, PlainSearcher, Purpose, Result
from joulelab.kinds.searching.workload import SearchWorkload
from joulelab.kinds.training.data_sets import DataSets, check_same_data
from joulelab.kinds.training.executor import ImagesRequest, TrainingExecutor, TrainingJob
from joulelab.kinds.training.prediction import PLAN_LONG_S, RUN_LONG_S, predict
from joulelab.kinds.training.spec import TrainingKeys
from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.fast.population import Segment
from joulelab.learning.fast.scheduling import stacked
from joulelab.learning.fast.stacking import NotStackableError
from joulelab.learning.images import Images
from joulelab.learning.training_loop import checked_device
from joulelab.study.design import Configuration, derive_seed
from joulelab.study.listener import WorkloadSummary
from joulelab.study.plan import Group
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Prediction
from joulelab.study.runner import Calibrator, RunRecorder
from joulelab.study.session import Session
from joulelab.study.workload import Begun
from joulelab.tuning.search import Step, make_search

SEED_BITS = 31
JUDGED_TOGETHER = 8


class GreenTuningWorkload(SearchWorkload):
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
            self.check_budget(parse_budget(self._specs[one.experiment].budget))
            try:
                for values in corners(one.space):
                    stacked(
                        task_of(self._task(one), values),
                        self._images(one),
                        checked_device(self.session.device.name),
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
            basis="a few steps of each network",
            remark="; ".join(self._data.notes) or None,
            train_images=self._data.train_images,
            data={**self._data.counts, "data_notes": self._data.notes},
        )

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Train a few steps of every network, and extrapolate to the budget."""
        self.session.listener.doing(
            "training a few steps of every network, to predict time and energy"
        )
        mine = cast(Sequence[GreenTuningConfiguration], configurations)
        executor = self.session.executor(TrainingExecutor)
        trainings = predict(
            mine,
            lambda one: self._timed(cast(GreenTuningConfiguration, one)),
            executor.split,
            lambda job: calibrator.calibrate(executor, job),
            lambda one: self._counted(cast(GreenTuningConfiguration, one)),
            executor.flops,
            lambda outcome: self.session.counted(outcome.measurement),
            RUN_LONG_S if brief else PLAN_LONG_S,
        )
        return of_searches(trainings, {one.key: self._extent(one) for one in mine})

    def _timed(self, one: GreenTuningConfiguration) -> TrainingJob:
        values = middle(one.space)
        return training_job(
            one,
            task_of(self._task(one), values),
            member_of(one, values, 0),
            self._specs[one.experiment].together,
            self._data.request(one.dataset),
            self.session.device.name,
            self.session.threads,
        )

    def _counted(self, one: GreenTuningConfiguration) -> tuple[int, int]:
        images = self._images(one)
        return len(images.train), len(images.test)

    def _extent(self, one: GreenTuningConfiguration) -> Extent:
        spec = self._specs[one.experiment]
        judged = spec.judged * (2 if spec.two_goals else 1)
        return Extent(one.title, parse_budget(spec.budget), one.settings.epochs, judged)

    def conditions(self) -> dict[str, Any]:
        """The data sets with their checksums."""
        return {"data_sets": self._data.described}

    @classmethod
    def check_unchanged(cls, begun: Begun, now: Mapping[str, Any]) -> None:
        """Refuse changed data."""
        check_same_data(begun.manifest, now["data_sets"])

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Run, or go on with, each search, and judge what it chose."""
        for run in pending:
            self._search(cast(GreenTuningConfiguration, group.configuration), run, recorder)

    def _search(
        self, one: GreenTuningConfiguration, run: PlannedRun, recorder: RunRecorder
    ) -> None:
        spec = self._specs[one.experiment]
        self._executor.forget()
        search = make_search(
            one.strategy,
            one.space,
            run.seed,
            one.settings.epochs,
            known_cost(one.space, self._task(one), self._images(one)),
            seeds=spec.seeds,
            goals=2 if spec.two_goals else 1,
        )
        trainer = PopulationTrainer(self, one, run, recorder)
        asked = Asked(
            header={
                "strategy": one.strategy,
                "seed": run.seed,
                "space": one.space.to_dict(),
                "epochs": one.settings.epochs,
                "target": spec.target,
                "together": spec.together,
                **({} if spec.seeds is None else {"seeds": spec.seeds}),
                **({"goals": sorted(spec.goals)} if spec.goals and spec.two_goals else {}),
            },
            budget=parse_budget(spec.budget),
            confirm=0,
            target=spec.target,
            goals=2 if spec.two_goals else 1,
        )
        started_at = time.time()
        outcome, journal = self.searched(run, recorder, PlainSearcher(search), trainer, asked)
        judged, each_j = (
            trainer.judge(outcome.values, spec.judged) if outcome.values else ([], None)
        )
        values = {
            "judged_sd": statistics.stdev(judged) if len(judged) > 1 else None,
            "judged": len(judged),
            "seen": one.tune_on,
        }
        if spec.two_goals:
            values["judged_j"] = each_j
        if outcome.knee is not None:
            fresh, each_j = trainer.judge(outcome.knee.values, spec.judged, at=spec.judged)
            values["knee_judged"] = statistics.fmean(fresh) if fresh else None
            values["knee_judged_sd"] = statistics.stdev(fresh) if len(fresh) > 1 else None
            values["knee_judged_j"] = each_j
        chosen: dict[str, Any] = {
            "accuracy": statistics.fmean(judged) if judged else None,
            "hyperparameters": json.dumps(dict(outcome.values)) if outcome.values else None,
        }
        self.store(run, recorder, outcome, journal, started_at, values, **chosen)

    def _images(self, one: GreenTuningConfiguration) -> Images:
        """The training images, and as test images those whose accuracy a search sees."""
        spec = self._specs[one.experiment]
        whole = self._data.images[one.dataset]
        if one.tune_on == TEST:
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


class PopulationTrainer(BookedTrainer):
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
        super().__init__(workload.session, recorder, run, workload.booking)
        self._workload = workload
        self._one = one
        self.most = workload._specs[one.experiment].together

    def train(
        self, steps: Sequence[Step], purpose: Purpose, limit: Limit | None
    ) -> Sequence[Result]:
        """Train the first steps that can be stacked, measured as one.

        After an interruption, from the start where memory is lost.
        """
        values = steps[0].values
        steps = [step for step in steps if self.stack(step) == self.stack(steps[0])]
        segments = [self._segment(step) for step in steps]
        job = self._job(segments, values, self._workload._images(self._one))
        had = [self._workload._executor.epoch(job, segment.key) for segment in segments]
        trained, measurement = self._carried_out(job, KIND)
        parts = [
            [one for one in trained[segment.key] if one.epoch > step.start]
            for step, segment in zip(steps, segments, strict=True)
        ]
        seconds = [
            sum(epoch.training_s + epoch.evaluation_s for epoch in trained[segment.key])
            for segment in segments
        ]
        whole = sum(seconds)
        return [
            Result(
                state="finished" if step.end == self._one.settings.epochs else "paused",
                scores=[one.accuracy for one in part],
                spent=self.spent(measurement, step.end - before, own / whole),
                started_at=measurement.started_at or time.time(),
                values=step.values,
            )
            for step, part, own, before in zip(steps, parts, seconds, had, strict=True)
        ]

    def stack(self, step: Step) -> TrainingTask:
        """What the trainings of a stack have in common."""
        return task_of(self._workload._task(self._one), step.values)

    def judge(
        self, values: Mapping[str, Any], count: int, at: int = 0
    ) -> tuple[list[float], float | None]:
        """Trainings with fresh seeds on all training images: test accuracies, joules of one.

        Args:
            values: of all.
            count: so many.
            at: number of the first.
        """
        found: list[float] = []
        spent: list[float | None] = []
        for start in range(at, at + count, JUDGED_TOGETHER):
            numbers = range(start, min(start + JUDGED_TOGETHER, at + count))
            segments = [
                Segment(
                    (JUDGING, number),
                    member_of(self._one, values, derive_seed(self.run.seed, JUDGING, number)),
                    self._one.settings.epochs,
                )
                for number in numbers
            ]
            job = self._job(segments, values, self._workload._data.images[self._one.dataset])
            trained, measurement = self._carried_out(job, JUDGING)
            found += [trained[segment.key][-1].accuracy for segment in segments]
            spent.append(self.spent(measurement, 0.0).joules)
        known = [joules for joules in spent if joules is not None]
        return found, sum(known) / len(found) if known and len(known) == len(spent) else None

    def _segment(self, step: Step) -> Segment:
        # Common random numbers: a repetition has the same seed in every trial, so that trials pair.
        seed = derive_seed(self.run.seed, "trial", step.repetition)
        return Segment(
            (step.trial, step.repetition), member_of(self._one, step.values, seed), step.end
        )

    def _job(
        self,
        segments: Sequence[Segment],
        values: Mapping[str, Any],
        images: Images,
    ) -> SegmentsJob:
        return SegmentsJob(
            label=self._one.title,
            device=self.session.device.name,
            threads=self.session.threads,
            task=task_of(self._workload._task(self._one), values),
            images=images,
            segments=tuple(segments),
        )

    def _carried_out(self, job: SegmentsJob, kind: str) -> tuple[Curves, Measurement]:
        """Carry out a job, and book it in the ledger.

        Raises:
            KeyboardInterrupt: after booking.
            TrainingError: the training failed.
        """
        self.recorder.prepare(self._workload._executor, job)
        outcome = self.booked(self._workload._executor, job, kind)
        if outcome.result is None:
            raise TrainingError(f"{self._one.title}: {outcome.error}", "see the ledger")
        return outcome.result, outcome.measurement


def member_of(one: GreenTuningConfiguration, values: Mapping[str, Any], seed: int) -> Member:
    """A training with these values and a seed of 63 bits."""
    known = {**one.fixed, **hyperparameters(values)}
    return Member(seed >> (63 - SEED_BITS), Hyperparameters(**known))
