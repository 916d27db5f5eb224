"""The work of training: images, engines and strategies, from a group of a plan to its rows.

::

    strategy.propose ─ rounds table ─ executor.prepare, .split ─┐
        ▲                                                       │
        │                  runs table ◄─ executor.run (a part at a time)
        │                      │
        └── strategy.observe(score of the round)
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import Any, cast

from joulelab.errors import SpecError, StoreMismatchError, TrainingError
from joulelab.learning.engine import Hyperparameters, Member, TrainingResult, TrainingTask
from joulelab.learning.flops import FlopCount
from joulelab.learning.images import Images
from joulelab.learning.networks import verify_buildable
from joulelab.study.bench import Bench
from joulelab.study.design import Configuration
from joulelab.study.executor import Outcome
from joulelab.study.plan import Group
from joulelab.study.prediction import Prediction
from joulelab.study.store import PlannedRun, Store
from joulelab.study.training.engine_choice import EngineChoice, check_same_engine, choose_engines
from joulelab.study.training.executor import (
    ImagesRequest,
    LocalTrainingExecutor,
    Trained,
    TrainingExecutor,
    TrainingJob,
)
from joulelab.study.training.experiment import TrainingConfiguration
from joulelab.study.training.prediction import PLAN_LONG_S, RUN_LONG_S, predict
from joulelab.study.training.spec import TrainingStudySpec
from joulelab.study.work import Bookkeeper, Briefing, Calibrator, Row, Work
from joulelab.tuning.strategy import Strategy, strategies

KIND = "training"
"""Of its entries in the ledger, and what a run is called."""

Values = Mapping[int, Mapping[str, Any]]
"""The proposed hyperparameters of each round of a group."""


class TrainingWork(Work):
    """Trains the groups of a study.

    Args:
        spec: the study.
        bench: of this session.
    """

    images: Images
    engines: EngineChoice

    def __init__(self, spec: TrainingStudySpec, bench: Bench) -> None:
        self._spec = spec
        self._bench = bench
        self._executor: TrainingExecutor
        self._strategies: dict[tuple[str, str], Strategy] = {}
        self._request = ImagesRequest(
            spec.dataset,
            str(bench.data_dir) if bench.data_dir else None,
            None if spec.train_images == "all" else spec.train_images,
            None if spec.test_images == "all" else spec.test_images,
            spec.seed,
        )

    def load(self, configurations: Sequence[Configuration]) -> Briefing:
        """Load the images, see that every network fits, and choose the engines.

        Raises:
            DatasetError: the images cannot be had.
            SpecError: a network that does not fit these images, or a precision that is not
                possible.
        """
        mine = _trainings(configurations)
        self._bench.listener.doing(f"loading the data set {self._spec.dataset}")
        executor = self._bench.executor(LocalTrainingExecutor)
        self._executor = executor
        self.images = executor.images(self._request)
        for one in mine:
            try:
                verify_buildable(
                    one.network, self.images.shape, self.images.classes, one.network_options
                )
            except TrainingError as error:
                where = f"{one.experiment}: {one.name}"
                raise SpecError(f"{where}: {error.message}", error.hint) from error
        self.engines = choose_engines(
            mine,
            self._spec.engine,
            self._spec.precision,
            lambda one: executor.obstacle(self._group_job(one, self._spec.engine)),
            mix=self._spec.mix_engines,
        )
        return self._briefing(mine)

    def _briefing(self, configurations: Sequence[TrainingConfiguration]) -> Briefing:
        train, test, epochs = len(self.images.train), len(self.images.test), self._spec.epochs
        return Briefing(
            means=self.engines.words,
            noun=KIND,
            extent=f"of {epochs:,} epoch{'s' * (epochs != 1)} on {self._spec.dataset} "
            f"({train:,} training and {test:,} test images)",
            basis="a few steps of each network",
            remark=self.engines.remark,
            train_images=(train, self.images.available[0]),
            data={
                "train_images": train,
                "test_images": test,
                "precision": self.engines.precision,
                "engine_remark": self.engines.remark,
            },
            by_configuration={one.key: {"engine": self.engines.of(one)} for one in configurations},
        )

    def conditions(self) -> dict[str, Any]:
        """The data set with its checksum, and the engines."""
        return {"data": self._data, "engines": self.engines.to_dict()}

    @cached_property
    def _data(self) -> dict[str, Any]:
        shape = self.images.shape
        return {
            "name": self._spec.dataset,
            "source": self.images.source,
            "train_images": len(self.images.train),
            "test_images": len(self.images.test),
            "train_images_of": self.images.available[0],
            "test_images_of": self.images.available[1],
            "shape": [shape.channels, shape.height, shape.width],
            "classes": self.images.classes,
            "checksum": self.images.checksum(),
        }

    def check_unchanged(self, manifest: Mapping[str, Any], store: Store) -> None:
        """Refuse other data, and other engines where the study does not mix them."""
        before, now = manifest.get("data"), self._data
        if before and before["checksum"] != now["checksum"]:
            raise StoreMismatchError(
                f"the data set {now['name']} from {now['source']} is not the one that the study "
                f"began with ({before['source']})",
                "go on with the same data, or give another folder with --out",
            )
        if not self._spec.mix_engines:
            check_same_engine(store.folder, manifest, store.engines(), self.engines)

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Train a few steps of every network, and extrapolate."""
        self._bench.listener.doing(
            "training a few steps of every network, to predict time and energy"
        )
        return predict(
            _trainings(configurations),
            lambda one: self._group_job(one, self.engines.of(one)),
            lambda job: self._parts(job, calibrator),
            lambda job: calibrator.calibrate(self._executor, job),
            (len(self.images.train), len(self.images.test)),
            self._bench.domains,
            self._bench.device.domain,
            RUN_LONG_S if brief else PLAN_LONG_S,
        )

    def run(self, group: Group, pending: Sequence[PlannedRun], keeper: Bookkeeper) -> None:
        """Propose, train what is left, and let the strategy observe."""
        one = cast(TrainingConfiguration, group.configuration)
        values = {number: self._proposal(one, number, keeper) for number in group.rounds}
        if pending:
            self._train(one, pending, values, keeper)
        for number in group.rounds:
            self._observe(one, number, values[number], keeper.store)

    def _proposal(
        self, one: TrainingConfiguration, number: int, keeper: Bookkeeper
    ) -> dict[str, Any]:
        values = keeper.store.proposal(*one.key, number)
        if values is None:
            strategy = self._strategy(one)
            keeper.ledger.switch("tuner")
            values = dict(strategy.propose(number))
            keeper.ledger.switch("between")
            keeper.store.propose(*one.key, number, values)
        return values

    def _observe(
        self, one: TrainingConfiguration, number: int, values: Mapping[str, Any], store: Store
    ) -> None:
        score = _score(store.accuracies(*one.key, number), self._spec.score)
        store.score(*one.key, number, score)
        self._strategy(one).observe(number, values, score)

    def _strategy(self, one: TrainingConfiguration) -> Strategy:
        if one.key not in self._strategies:
            make = strategies.get(one.strategy)
            self._strategies[one.key] = make(one.space, seed=one.strategy_seed, rounds=one.rounds)
        return self._strategies[one.key]

    def _train(
        self,
        one: TrainingConfiguration,
        pending: Sequence[PlannedRun],
        values: Values,
        keeper: Bookkeeper,
    ) -> None:
        numbers = sorted({run.round for run in pending})
        rounds = "-".join(str(number + 1) for number in sorted({numbers[0], numbers[-1]}))
        members = [_member(one, values[run.round], run.seed) for run in pending]
        label = f"{one.experiment}: {one.name}, {rounds}"
        job = self._job(one, members, label, self.engines.of(one))
        by_seed = {run.seed: run for run in pending}
        for task in self._parts(job, keeper):
            runs = [by_seed[member.seed] for member in task.members]
            part = replace(job, task=task)
            rows = _Rows(self._spec, part, runs, values)
            keeper.attempt(KIND, self._executor, part, runs, rows)

    def _parts(self, job: TrainingJob, calibrator: Calibrator) -> Sequence[TrainingTask]:
        """Let the engine prepare for a group, and split the group."""
        if self._executor.prepares(job):
            prepared = calibrator.prepare(self._executor, job)
            if prepared.error is not None:
                self._bench.listener.doing(
                    f"the engine could not prepare: {prepared.error}; going on"
                )
        return self._executor.split(job)

    def _group_job(self, one: TrainingConfiguration, engine: str) -> TrainingJob:
        """A job as large as the groups of a configuration, which belongs to no run."""
        seeds = range(one.rounds_at_once * one.repetitions)
        members = [_member(one, {}, seed) for seed in seeds]
        return self._job(one, members, "calibration", engine)

    def _job(
        self, one: TrainingConfiguration, members: Sequence[Member], label: str, engine: str
    ) -> TrainingJob:
        task = TrainingTask(
            network=one.network,
            network_options=dict(one.network_options),
            protocol=self._spec.protocol,
            epochs=self._spec.epochs,
            batch_size=self._spec.batch_size,
            members=tuple(members),
            precision=self._spec.precision,
        )
        device, threads = self._bench.device.name, self._bench.threads
        return TrainingJob(label, device, threads, task, self._request, engine)


class _Rows:
    """The columns of the runs of one part, from what became of it."""

    def __init__(
        self,
        spec: TrainingStudySpec,
        job: TrainingJob,
        runs: Sequence[PlannedRun],
        values: Values,
    ) -> None:
        self._spec, self._job, self._runs, self._values = spec, job, runs, values

    def __call__(self, outcome: Outcome[Trained]) -> list[Row]:
        common = {
            "dataset": self._spec.dataset,
            "protocol": self._spec.protocol,
            "engine": self._job.engine,
            "precision": self._job.task.precision,
        }
        rows = [
            {**common, "hyperparameters": json.dumps(dict(self._values[run.round]))}
            for run in self._runs
        ]
        trained = outcome.result
        if trained is None:
            return rows
        return [
            {**row, **_flops(self._job.task, result, trained), **_metrics(result, trained.flops)}
            for row, result in zip(rows, trained.results, strict=True)
        ]


def _trainings(configurations: Sequence[Configuration]) -> list[TrainingConfiguration]:
    return [one for one in configurations if isinstance(one, TrainingConfiguration)]


def _member(one: TrainingConfiguration, values: Mapping[str, Any], seed: int) -> Member:
    """One training of a configuration with these values of what is searched."""
    known = {field.name for field in fields(Hyperparameters)}
    given = {**one.fixed, **values}
    return Member(seed, Hyperparameters(**{k: v for k, v in given.items() if k in known}))


def _flops(task: TrainingTask, result: TrainingResult, trained: Trained) -> dict[str, float | None]:
    of_training = trained.flops.of_training
    return {"flops": of_training(trained.train_images, task.batch_size, result.steps)}


def _metrics(result: TrainingResult, flops: FlopCount) -> Row:
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
