"""Train segments of a search's trainings together, and measure them as one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from joulelab.learning.engine import TrainingTask
from joulelab.learning.fast.population import Epoch, Population, Segment
from joulelab.learning.images import Images
from joulelab.learning.placement import Shelf
from joulelab.study.executor import Executor, Job, Progress


@dataclass(frozen=True)
class SegmentsJob(Job):
    """Segments that are trained together.

    Attributes:
        task: network, protocol, epochs of a full training; without members.
        images: the training images, and those that a search sees.
        segments: of the population of this task.
        judge: evaluate on these test images afterwards; None for none.
    """

    task: TrainingTask
    images: Images
    segments: tuple[Segment, ...]
    judge: Images | None = None


@dataclass(frozen=True)
class Trained:
    """What segments gave, by their key.

    Attributes:
        curves: every epoch.
        judged: accuracy on the test images.
    """

    curves: Mapping[Hashable, tuple[Epoch, ...]]
    judged: Mapping[Hashable, float]


class PopulationExecutor(Executor[SegmentsJob, Trained]):
    """Trains on this machine; arguments as for `Executor`."""

    def __init__(self, *about: Any) -> None:  # noqa: ANN401 - those of `Executor`
        super().__init__(*about)
        self._shelf = Shelf()
        self._population: Population | None = None
        self._of: tuple[TrainingTask, int] | None = None

    def epoch(self, job: SegmentsJob, key: Hashable) -> int:
        """Epochs that a training has had, in this process."""
        return self._population_of(job).epoch(key)

    def forget(self) -> None:
        """Free all trainings."""
        self._population = self._of = None

    def _get_ready(self, job: SegmentsJob) -> None:
        import torch

        torch.set_num_threads(job.threads)

    def _prepare(self, job: SegmentsJob) -> bool:
        return self._population_of(job).prepare(len(job.segments))

    def _carry_out(self, job: SegmentsJob, progress: Progress) -> Trained:
        population = self._population_of(job)
        curves = population.train(job.segments)
        judged: dict[Hashable, float] = {}
        if job.judge is not None:
            keys = [segment.key for segment in job.segments]
            scores = population.scores(keys, job.judge.test)
            judged = {key: accuracy for key, (accuracy, _) in zip(keys, scores, strict=True)}
            for key in keys:
                population.drop(key)
        return Trained(curves, judged)

    def _population_of(self, job: SegmentsJob) -> Population:
        of = (job.task, id(job.images))
        if self._population is None or self._of != of:
            self._population = Population(job.task, job.images, job.device, shelf=self._shelf)
            self._of = of
        return self._population
