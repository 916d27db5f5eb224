"""What an inference run does: a window of requests, or batches of one size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from joulelab.serving.policies import parse_policy
from joulelab.serving.tasks import BatchTask, ImageSource, ServingTask
from joulelab.study.design import Configuration, Place
from joulelab.study.inference.models import CROP, RESIZE, Model

Task = ServingTask | BatchTask
CHANNELS, FLOAT_BYTES = 3, 4
REQUEST_BYTES = 100
"""What is noted of each request: when it was due, sent, taken and answered, and its image."""


@dataclass(frozen=True)
class ImagesSetting:
    """Which images requests carry, and how they are prepared.

    Attributes:
        name: ``"photographs"``, ``"folder:<path>"``, or a data set with its argument.
        resize: length of the shorter side before cropping, in pixels; ``None`` for what was
            published with the network.
        crop: side of what the network gets, in pixels; likewise.
        prepare: where images are decoded, resized, cropped and normalised.
    """

    name: str
    resize: int | None = None
    crop: int | None = None
    prepare: Literal["server", "producer"] = "server"

    def memory_bytes(self, batch: int) -> int:
        """What the images of a batch take, and one of them while it is prepared.

        Args:
            batch: images in it.
        """
        crop = self.crop or CROP
        resize = max(self.resize or RESIZE, crop)
        return CHANNELS * (FLOAT_BYTES * batch * crop**2 + resize**2)

    def source(self, model: Model, files: Sequence[str]) -> ImageSource:
        """For a task, once it is known which files these are.

        Args:
            model: that is given the images.
            files: their paths.
        """
        crop = self.crop or model.crop
        resize = self.resize or max(model.resize, crop)
        return ImageSource(tuple(files), resize, crop, self.prepare)


@dataclass(frozen=True, kw_only=True)
class InferenceConfiguration(Configuration):
    """One combination of levels of an experiment on inference.

    Attributes:
        model: a network of torchvision, or ``module:factory``.
        weights: of a network of torchvision.
        images: what it is given.
    """

    model: str
    weights: str
    images: ImagesSetting

    def blocks(self) -> Sequence[Sequence[Sequence[Place]]]:
        """A repetition of every configuration in each block, by itself."""
        return [[[(0, repetition)]] for repetition in range(self.repetitions)]

    @abstractmethod
    def task(self, model: Model, files: Sequence[str], seed: int) -> Task:
        """What the server is asked to do for one run.

        Args:
            model: as it was found.
            files: the images.
            seed: of the run.
        """


@dataclass(frozen=True, kw_only=True)
class WindowConfiguration(InferenceConfiguration):
    """A window of requests: they arrive, are queued, batched, and answered.

    Attributes:
        policy: how many are served together.
        arrivals: when they come.
        requests: how many.
        capacity: places in the queue.
        warm_up_batches: before the window.
        warm_up_size: images in each of them.
        limit_s: response time that must be held, if any.
        limit_percentile: by this share of the requests, in per cent; 100 for all.
    """

    policy: str
    arrivals: str
    requests: int
    capacity: int
    warm_up_batches: int
    warm_up_size: int
    limit_s: float | None
    limit_percentile: int

    def memory_bytes(self) -> int:
        """The images of its largest batch, and what is noted of each request."""
        largest = min(parse_policy(self.policy).largest, self.capacity, self.requests)
        batch = self.images.memory_bytes(max(largest, self.warm_up_size))
        return batch + REQUEST_BYTES * self.requests

    def task(self, model: Model, files: Sequence[str], seed: int) -> ServingTask:
        """A window of requests."""
        return ServingTask(
            model=model.source,
            policy=self.policy,
            arrivals=self.arrivals,
            requests=self.requests,
            images=self.images.source(model, files),
            seed=seed,
            capacity=self.capacity,
            warm_up_batches=self.warm_up_batches,
            warm_up_size=self.warm_up_size,
        )


@dataclass(frozen=True, kw_only=True)
class BatchConfiguration(InferenceConfiguration):
    """Batches of one size, one after the other, whose images lie ready.

    Attributes:
        batch_size: images in a batch.
        seconds: how long.
        warm_up_batches: before the window.
    """

    batch_size: int
    seconds: float
    warm_up_batches: int

    def memory_bytes(self) -> int:
        """The images of a batch."""
        return self.images.memory_bytes(self.batch_size)

    def task(self, model: Model, files: Sequence[str], seed: int) -> BatchTask:
        """Batches of one size."""
        return BatchTask(
            model=model.source,
            images=self.images.source(model, files),
            size=self.batch_size,
            seconds=self.seconds,
            with_images=False,
            warm_up_batches=self.warm_up_batches,
            seed=seed,
        )
