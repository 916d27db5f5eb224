"""Training jobs, and the executor that trains and measures them on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from joulelab.errors import quoted
from joulelab.learning.engine import Engine, TrainingResult, TrainingTask, engines
from joulelab.learning.flops import FlopCount, count_flops
from joulelab.learning.images import Images, load_images, thinned
from joulelab.study.executor import Executor, Job, Progress

OPTIONAL = {"optimiser": "adam", "schedule": "constant", "augmentation": "protocol"}
"""Parts of a task that an engine may not follow, with their defaults."""


@dataclass(frozen=True)
class ImagesRequest:
    """A request for images: data set, folder, and number or share."""

    name: str
    data_dir: str | None
    train_images: float | None
    test_images: float | None
    seed: int

    def load_whole(self) -> Images:
        """The whole data set.

        Raises:
            DatasetError: it cannot be loaded.
        """
        return load_images(self.name, Path(self.data_dir) if self.data_dir else None)

    def part_of(self, whole: Images) -> Images:
        """The requested images of the whole data set."""
        return thinned(whole, self.train_images, self.test_images, self.seed)


@dataclass(frozen=True)
class TrainingJob(Job):
    """One part of a group, to be trained and measured.

    Attributes:
        task: what is trained.
        images: request for the images.
        engine: registered name.
    """

    task: TrainingTask
    images: ImagesRequest
    engine: str


@dataclass(frozen=True)
class Trained:
    """The results of a part of a group.

    Attributes:
        results: one for each member.
        flops: of one image in a training of the network.
        train_images: number of images per epoch.
    """

    results: tuple[TrainingResult, ...]
    flops: FlopCount
    train_images: int


class TrainingExecutor(Executor[TrainingJob, Trained]):
    """Trains on this machine; arguments as for `Executor`."""

    def __init__(self, *about: Any) -> None:  # noqa: ANN401 - those of `Executor`
        super().__init__(*about)
        self._engines: dict[str, Engine] = {}
        self._images: dict[ImagesRequest, Images] = {}

    def images(self, request: ImagesRequest) -> Images:
        """The images of a request; images and data sets are cached."""
        if request not in self._images:
            source = replace(request, train_images=None, test_images=None)
            if source not in self._images:
                self._images[source] = source.load_whole()
            self._images[request] = request.part_of(self._images[source])
        return self._images[request]

    def obstacle(self, job: TrainingJob) -> str | None:
        """Why the engine cannot train this; ``None`` if it can.

        Raises:
            UsageError: the request is impossible for any network.
        """
        engine = self._engine(job)
        for name, default in OPTIONAL.items():
            value = getattr(job.task, name)
            if name not in engine.follows and value != default:
                return f"it does not read {name} = {quoted(value)}"
        return engine.obstacle(job.task, self.images(job.images), job.device)

    def prepares(self, job: TrainingJob) -> bool:
        """Whether the engine overrides `prepare`."""
        return type(self._engine(job)).prepare is not Engine.prepare

    def split(self, job: TrainingJob) -> Sequence[TrainingTask]:
        """The parts of a group that the engine trains together; `prepare` comes before."""
        return self._engine(job).split(job.task, self.images(job.images), job.device)

    def _get_ready(self, job: TrainingJob) -> None:
        import torch

        torch.set_num_threads(job.threads)
        self.flops(job)

    def _lay_out(self, job: TrainingJob) -> None:
        self._engine(job).place(self.images(job.images), job.device)

    def _prepare(self, job: TrainingJob) -> bool:
        return self._engine(job).prepare(job.task, self.images(job.images), job.device)

    def _carry_out(self, job: TrainingJob, progress: Progress) -> Trained:
        images = self.images(job.images)
        results = self._engine(job).train(job.task, images, job.device, progress)
        return Trained(tuple(results), self.flops(job), len(images.train))

    def flops(self, job: TrainingJob) -> FlopCount:
        """Operations of one image; counted once for each network, and before any window."""
        images = self.images(job.images)
        return count_flops(job.task.network, job.task.network_options, images.shape, images.classes)

    def _engine(self, job: TrainingJob) -> Engine:
        if job.engine not in self._engines:
            self._engines[job.engine] = engines.get(job.engine)()
        return self._engines[job.engine]
