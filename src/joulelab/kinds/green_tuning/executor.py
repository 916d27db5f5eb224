"""Train segments of a search's trainings together, and measure them as one.

There is a population for each network with its options, batch size and precision.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from joulelab.learning.engine import TrainingTask
from joulelab.learning.fast.population import Epoch, Population, Segment
from joulelab.learning.images import Images
from joulelab.learning.placement import Shelf
from joulelab.study.executor import Executor, Job, Progress

Curves = Mapping[Hashable, tuple[Epoch, ...]]
"""Every epoch of segments, by their key."""
MEMORY = 4 * 2**30
"""Bytes of paused trainings that are kept."""


@dataclass(frozen=True)
class SegmentsJob(Job):
    """Segments that are trained together.

    Attributes:
        task: network, protocol, epochs of a full training; without members.
        images: the training images, and those whose accuracy counts, as test images.
        segments: of the population of this task.
    """

    task: TrainingTask
    images: Images
    segments: tuple[Segment, ...]


class PopulationExecutor(Executor[SegmentsJob, Curves]):
    """Trains on this machine; arguments as for `Executor`."""

    def __init__(self, *about: Any) -> None:  # noqa: ANN401 - those of `Executor`
        super().__init__(*about)
        self._shelf = Shelf()
        self._populations: list[tuple[TrainingTask, Images, Population]] = []
        self._held: dict[tuple[int, Hashable], int] = {}

    def epoch(self, job: SegmentsJob, key: Hashable) -> int:
        """Epochs that a training has had, in this process."""
        return self._population_of(job).epoch(key)

    def forget(self) -> None:
        """Free all trainings."""
        self._populations, self._held = [], {}

    def _get_ready(self, job: SegmentsJob) -> None:
        import torch

        torch.set_num_threads(job.threads)

    def _prepare(self, job: SegmentsJob) -> bool:
        return self._population_of(job).prepare_for(job.segments)

    def _carry_out(self, job: SegmentsJob, progress: Progress) -> Curves:
        population = self._population_of(job)
        curves = population.train(job.segments)
        self._hold(job, population)
        return curves

    def _hold(self, job: SegmentsJob, population: Population) -> None:
        """Forget trainings that are finished, and, beyond `MEMORY`, those not trained for longest.

        If one of the latter goes on, it is trained from the start again, and that is booked.
        """
        place = next(n for n, (_, _, one) in enumerate(self._populations) if one is population)
        for segment in job.segments:
            self._held.pop((place, segment.key), None)
            if segment.to_epoch == job.task.epochs:
                population.drop(segment.key)
            else:
                self._held[place, segment.key] = population.size(segment.key)
        while len(self._held) > 1 and sum(self._held.values()) > MEMORY:
            oldest, key = next(iter(self._held))
            del self._held[oldest, key]
            self._populations[oldest][2].drop(key)

    def _population_of(self, job: SegmentsJob) -> Population:
        for task, images, population in self._populations:
            if task == job.task and images is job.images:
                return population
        population = Population(job.task, job.images, job.device, shelf=self._shelf)
        self._populations.append((job.task, job.images, population))
        return population
