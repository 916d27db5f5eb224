"""The workload of training: images, engines and strategies, from a group of a plan to its rows.

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
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

from joulelab.errors import JoulelabError, SpecError, TrainingError
from joulelab.kinds.training.data_sets import DataSets, check_same_data
from joulelab.kinds.training.engine_choice import EngineChoice, check_same_engine, choose_engines
from joulelab.kinds.training.executor import (
    Trained,
    TrainingExecutor,
    TrainingJob,
)
from joulelab.kinds.training.prediction import PLAN_LONG_S, RUN_LONG_S, predict
from joulelab.kinds.training.settings import span
from joulelab.kinds.training.spec import TrainingConfiguration, TrainingKeys
from joulelab.learning.engine import Member, TrainingResult, TrainingTask
from joulelab.learning.images import Images
from joulelab.learning.memory import count_memory
from joulelab.learning.networks import network_key, verify_buildable
from joulelab.learning.optimisers import OPTIMISERS
from joulelab.learning.zoo import RANDOM, training_weights
from joulelab.study.design import Configuration
from joulelab.study.device import available_threads
from joulelab.study.executor import Outcome
from joulelab.study.listener import WorkloadSummary
from joulelab.study.manifest import check_same_weights
from joulelab.study.plan import Group, check_memory
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Prediction
from joulelab.study.runner import Calibrator, Row, RunRecorder
from joulelab.study.session import Session
from joulelab.study.store import Store
from joulelab.study.workload import Begun, Workload
from joulelab.tuning.strategy import Strategy

BYTES_OF_A_NUMBER = 4
"""In fp32: values and gradients of parameters, and the optimiser's moments."""
MANY_VALUES = 1_000_000
"""Batch size below which the activations fit into any machine."""
PROCESSOR = "cpu"
KIND = "training"
"""Kind of its entries in the ledger, and noun for a run."""

Values = Mapping[int, Mapping[str, Any]]
"""The proposed hyperparameters of each round of a group."""


class TrainingWorkload(Workload):
    """Trains the groups of a study, which has `TrainingKeys`."""

    may_change = ("engines",)

    engines: EngineChoice

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._spec = cast(TrainingKeys, session.spec)
        self._executor: TrainingExecutor
        self._strategies: dict[tuple[str, str], Strategy | None] = {}
        self._data: DataSets
        self._weights: dict[str, str] = {}

    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Load the images, check that every network fits, and choose the engines.

        Raises:
            DatasetError: the images cannot be loaded.
            SpecError: a network that does not fit these images, or an impossible precision.
        """
        mine = cast(Sequence[TrainingConfiguration], configurations)
        executor = self.session.executor(TrainingExecutor)
        self._executor = executor
        self._data = DataSets(self._spec, self.session.spec.seed, self.session.data_dir)
        for name in dict.fromkeys(one.dataset for one in mine):
            self.session.listener.doing(f"loading the data set {name}")
            self._data.add(name, executor.images(self._data.request(name)))
        built: dict[object, int] = {}  # a network is built once, however it is trained
        for one in mine:
            images = self._data.images[one.dataset]
            network = (*network_key(one.network, one.network_options), one.dataset)
            try:
                if network not in built:
                    built[network] = verify_buildable(
                        one.network, images.shape, images.classes, one.network_options
                    )
            except TrainingError as error:
                raise SpecError(f"{one.title}: {error.message}", error.hint) from error
            parameters = built[network]
            if self.session.device.name == PROCESSOR:
                self._check_memory(one, images, parameters)
            if weights := training_weights(one.network, one.network_options):
                self._weights[_network_in_words(one)] = weights
        self.engines = choose_engines(
            mine,
            lambda one: executor.obstacle(self._group_job(one, one.settings.engine)),
            mix=self._spec.mix_engines,
        )
        return self._summary(mine)

    def _check_memory(self, one: TrainingConfiguration, images: Images, parameters: int) -> None:
        """Refuse a step that does not fit into this machine's memory; a GPU reports that itself.

        Counting takes a second for a large network, so it is only done if it may matter.

        Raises:
            SpecError: it takes more than the limit.
        """
        batch = max(2, min(one.settings.batch_size, len(images.train)))
        moments = OPTIMISERS[one.settings.optimiser].moments
        needed = BYTES_OF_A_NUMBER * (2 + moments) * parameters
        if batch * images.shape.size > MANY_VALUES:
            # The memory of a network that does not run on the meta device is unknown.
            with suppress(JoulelabError):
                counted = count_memory(
                    one.network, one.network_options, images.shape, images.classes, batch
                )
                needed = counted.total - counted.moments + moments * counted.gradients
        check_memory(one, needed)

    def _summary(self, configurations: Sequence[TrainingConfiguration]) -> WorkloadSummary:
        epochs = [one.settings.epochs for one in configurations]
        remarks = [self.engines.remark, self._random(), *self._data.notes]
        return WorkloadSummary(
            means=self.engines.words,
            noun=KIND,
            extent=f"of {span(epochs)} epoch{'s' * (max(epochs) != 1)} on {self._data.words}",
            basis="a few steps of each network",
            remark="; ".join(remark for remark in remarks if remark) or None,
            train_images=self._data.train_images,
            data={
                **self._data.counts,
                "precision": self.engines.precision,
                "engine_remark": self.engines.remark,
                "data_notes": self._data.notes,
                **self._weights_data,
            },
            by_configuration={one.key: {"engine": self.engines.of(one)} for one in configurations},
        )

    def _random(self) -> str | None:
        """Networks that start with random weights although published ones exist."""
        random = [name for name, weights in self._weights.items() if weights == RANDOM]
        if not random:
            return None
        which = "all networks" if len(random) == len(self._weights) else ", ".join(random)
        return (
            f"random weights: {which}; published ones are not on this machine or were not "
            "requested. Time and energy do not depend on the weights, accuracy does"
        )

    def conditions(self) -> dict[str, Any]:
        """The data sets with their checksums, the engines, and the weights of networks."""
        return {
            "data_sets": self._data.described,
            "engines": self.engines.to_dict(),
            **self._weights_data,
        }

    @property
    def _weights_data(self) -> dict[str, Any]:
        return {"weights": self._weights} if self._weights else {}

    @classmethod
    def check_unchanged(cls, begun: Begun, now: Mapping[str, Any]) -> None:
        """Refuse changed data or weights, and changed engines if the study does not mix them."""
        check_same_data(begun.manifest, now["data_sets"])
        check_same_weights(begun.manifest, now.get("weights", {}))
        if not cast(TrainingKeys, begun.spec).mix_engines:
            check_same_engine(begun, now["engines"])

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Train a few steps of every network, and extrapolate."""
        self.session.listener.doing(
            "training a few steps of every network, to predict time and energy"
        )
        return predict(
            cast(Sequence[TrainingConfiguration], configurations),
            lambda one: self._group_job(one, self.engines.of(one)),
            lambda job: self._parts(job, calibrator),
            lambda job: calibrator.calibrate(self._executor, job),
            lambda one: self._data.counted(one.dataset),
            self._executor.flops,
            lambda outcome: self.session.counted(outcome.measurement),
            RUN_LONG_S if brief else PLAN_LONG_S,
        )

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Propose, train remaining runs, and let the strategy observe."""
        one = cast(TrainingConfiguration, group.configuration)
        strategy = self._strategy(one)
        if strategy is None:
            self._train(one, pending, {run.round: {} for run in pending}, recorder)
            return
        rounds = {
            number: recorder.store.proposed(*one.key, number)
            or (self._propose(strategy, one, number, recorder), None)
            for number in group.rounds
        }
        values = {number: proposed for number, (proposed, _) in rounds.items()}
        self._train(one, pending, values, recorder)
        for number, (proposed, stored) in rounds.items():
            score = self._score(one, number, recorder.store) if stored is None else stored
            strategy.observe(number, proposed, score)

    def _strategy(self, one: TrainingConfiguration) -> Strategy | None:
        if one.key not in self._strategies:
            self._strategies[one.key] = one.strategy_at_work()
        return self._strategies[one.key]

    def _propose(
        self, strategy: Strategy, one: TrainingConfiguration, number: int, recorder: RunRecorder
    ) -> dict[str, Any]:
        with recorder.ledger.tuning():
            values = dict(strategy.propose(number))
        recorder.store.propose(*one.key, number, values)
        return values

    def _score(self, one: TrainingConfiguration, number: int, store: Store) -> float | None:
        """Compute and store the score of a round that has just ended."""
        accuracies = store.finished_values("accuracy", (*one.key, number))
        score = None
        if accuracies:
            score = max(accuracies) if self._spec.score == "max" else statistics.fmean(accuracies)
        store.score(*one.key, number, score)
        return score

    def _train(
        self,
        one: TrainingConfiguration,
        pending: Sequence[PlannedRun],
        values: Values,
        recorder: RunRecorder,
    ) -> None:
        if not pending:
            return
        numbers = sorted({run.round for run in pending})
        rounds = "-".join(str(number + 1) for number in sorted({numbers[0], numbers[-1]}))
        members = [_member(one, values[run.round], run.seed) for run in pending]
        label = f"{one.title}, {rounds}"
        job = self._job(one, members, label, self.engines.of(one))
        runs_of: dict[Member, list[PlannedRun]] = {}
        for member, run in zip(members, pending, strict=True):
            runs_of.setdefault(member, []).append(run)
        for task in self._parts(job, recorder):
            runs = [runs_of[member].pop(0) for member in task.members]
            part = replace(job, task=task)
            rows = partial(_rows, part, runs, values)
            recorder.attempt(KIND, self._executor, part, runs, rows)

    def _parts(self, job: TrainingJob, calibrator: Calibrator) -> Sequence[TrainingTask]:
        """Let the engine prepare for a group, and split the group."""
        if self._executor.prepares(job):
            prepared = calibrator.prepare(self._executor, job)
            if prepared.error is not None:
                self.session.listener.doing(
                    f"the engine could not prepare: {prepared.error}; continuing"
                )
        return self._executor.split(job)

    def _group_job(self, one: TrainingConfiguration, engine: str) -> TrainingJob:
        """A job outside runs, as large as the groups of a configuration."""
        members = [_member(one, {}, seed) for seed in range(one.members)]
        return self._job(one, members, "calibration", engine)

    def _job(
        self, one: TrainingConfiguration, members: Sequence[Member], label: str, engine: str
    ) -> TrainingJob:
        settings = one.settings
        task = TrainingTask(
            network=one.network,
            network_options=dict(one.network_options),
            protocol=settings.protocol,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            members=tuple(members),
            precision=settings.precision,
            optimiser=settings.optimiser,
            schedule=settings.schedule,
            augmentation=settings.augmentation,
        )
        device = self.session.device.name
        threads = available_threads() if settings.threads == "auto" else settings.threads
        return TrainingJob(label, device, threads, task, self._data.request(one.dataset), engine)


def _network_in_words(one: TrainingConfiguration) -> str:
    """The network's name in the study."""
    return str(one.levels.get("network", one.network))


def _member(one: TrainingConfiguration, values: Mapping[str, Any], seed: int) -> Member:
    """One training of a configuration with these searched values."""
    optimiser = OPTIMISERS[one.settings.optimiser]
    return Member(seed, optimiser.values({**one.fixed, **values}))


def _rows(
    job: TrainingJob, runs: Sequence[PlannedRun], values: Values, outcome: Outcome[Trained]
) -> list[Row]:
    """The columns of the runs of one part of a group, from its outcome.

    Args:
        job: the part.
        runs: one for each of its members.
        values: the proposed hyperparameters of each round.
        outcome: of the part, finished or failed.
    """
    rows: list[Row] = [
        {
            "dataset": job.images.name,
            "protocol": job.task.protocol,
            "engine": job.engine,
            "precision": job.task.precision,
            "hyperparameters": json.dumps(dict(values[run.round])),
        }
        for run in runs
    ]
    if (trained := outcome.result) is None:
        return rows
    return [
        {**row, **_metrics(job.task, result, trained)}
        for row, result in zip(rows, trained.results, strict=True)
    ]


def _metrics(task: TrainingTask, result: TrainingResult, trained: Trained) -> Row:
    flops, images, batch = trained.flops, trained.train_images, task.batch_size
    values = {
        "f1": result.f1,
        "flops_trainable": flops.trainable_of_training(images, batch, result.steps),
        "parameters_total": result.parameters_total,
        "weights": training_weights(task.network, task.network_options) or None,
    }
    return {
        "flops": flops.of_training(images, batch, result.steps),
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
                "values": {name: value for name, value in values.items() if value is not None},
            }
        ),
    }
