"""Common parts of inference experiments, and their runs: windows of requests, or batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from joulelab.kinds.inference.images import FOLDER, PHOTOGRAPHS
from joulelab.kinds.inference.models import CROP, RESIZE, Model
from joulelab.serving.policies import parse_policy
from joulelab.serving.tasks import BatchTask, ImageSource, ServingTask
from joulelab.study.design import Configuration
from joulelab.study.miniature import LEAST_REPETITIONS, IsSet, miniature, thinned_count
from joulelab.study.spec import ExperimentSpec, located_path
from joulelab.study.validation import unique

Task = ServingTask | BatchTask
CHANNELS, FLOAT_BYTES = 3, 4
REQUEST_BYTES = 100
"""Bytes recorded per request: due, sent, taken and answered times, and image."""
REPETITIONS = 0.2
"""Exponent of the share of the repetitions that a miniature keeps."""
LEAST_REQUESTS, LEAST_SECONDS, LEAST_WARM_UP = 64, 0.5, 2


@dataclass(frozen=True)
class ImagesSetting:
    """The images of requests, and their preparation.

    Attributes:
        name: ``"photographs"``, ``"folder:<path>"``, or a data set with its argument.
        resize: length of the shorter side before cropping, in pixels; ``None`` for the network's
            published value.
        crop: side of the network's input, in pixels; likewise.
        prepare: where images are decoded, resized, cropped and normalised.
    """

    name: str
    resize: int | None = None
    crop: int | None = None
    prepare: Literal["server", "producer"] = "server"

    def memory_bytes(self, batch: int) -> int:
        """Memory of a batch's images, and of one image during preparation.

        Args:
            batch: images in it.
        """
        crop = self.crop or CROP
        resize = max(self.resize or RESIZE, crop)
        return CHANNELS * (FLOAT_BYTES * batch * crop**2 + resize**2)

    def source(self, model: Model, files: Sequence[str]) -> ImageSource:
        """The images for a task, given their files.

        Args:
            model: model that gets the images.
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
        images: its input images.
    """

    model: str
    weights: str
    images: ImagesSetting

    @abstractmethod
    def task(self, model: Model, files: Sequence[str], seed: int) -> Task:
        """The server's task for one run.

        Args:
            model: as it was found.
            files: the images.
            seed: of the run.
        """


@dataclass(frozen=True, kw_only=True)
class WindowConfiguration(InferenceConfiguration):
    """A window of requests: they arrive, are queued, batched, and answered.

    Attributes:
        policy: batching policy.
        arrivals: arrival process.
        requests: number of requests.
        capacity: places in the queue.
        warm_up_batches: before the window.
        warm_up_size: images in each of them.
        limit_s: limit on response time, if any.
        limit_percentile: percentile of requests that must meet it; 100 for all.
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
        """Memory of its largest batch, and of the records of requests."""
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
    """Back-to-back batches of one size with prepared images.

    Attributes:
        batch_size: images in a batch.
        seconds: duration.
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


class WindowSpec(ExperimentSpec):
    """An experiment whose runs are windows: of images, or of text."""

    noun: ClassVar[str] = "window"

    @staticmethod
    def miniature(
        study: Mapping[str, Any],
        configurations: Mapping[str, int],
        scale: float,
        overridden: Collection[tuple[str, ...]],
    ) -> dict[str, Any]:
        """Scale a study of windows down to a share of its work."""
        return miniature(study, configurations, scale, overridden, _thinned_window)


class InferenceSpec(WindowSpec):
    """Keys of an experiment on inference.

    Attributes:
        models: networks of torchvision by name, or ``"module:factory"``, called without arguments,
            returns an ``nn.Module``; levels of the factor ``model``.
        weights: of networks of torchvision: ``"auto"`` (pretrained if the file is on this machine,
            else random), ``"random"``, ``"pretrained"``, or a name.
        images: ``"photographs"`` (the two that come with scikit-learn), ``"folder:<path>"``, or a
            data set by name.
    """

    data_keys: ClassVar[frozenset[str]] = frozenset({"images", "arrivals"})

    models: Annotated[list[str], Field(min_length=1)]
    weights: str = "auto"
    images: str = PHOTOGRAPHS

    @field_validator("models")
    @classmethod
    def _models(cls, names: list[str]) -> list[str]:
        return unique(names)

    def needs(self) -> tuple[str, ...]:
        """PyTorch."""
        return ("torch", "torchvision")

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """Make the path of an image folder relative to the study file's folder."""
        kind, _, path = str(table.get("images", "")).partition(":")
        if kind == FOLDER and path:
            table["images"] = f"{FOLDER}:{located_path(path, folder)}"


def _thinned_window(table: dict[str, Any], scale: float, is_set: IsSet) -> tuple[float, float]:
    """Keep fewer repetitions, and shorter windows of fewer requests or seconds.

    The work of an experiment is its windows x requests (of a timeline: x seconds). A miniature at
    scale S keeps the share S^(1/5) of the repetitions, but at least two, and the remaining share of
    the requests, but at least 64, or of the seconds, but at least half of one. The warm-up is
    reduced like the requests, but not below two batches.
    """
    length = "requests" if "requests" in table else "seconds"
    whole = table["repetitions"] * table[length]
    _thin(table, length, scale, is_set)
    return whole, table["repetitions"] * table[length]


def _thin(table: dict[str, Any], length: str, scale: float, is_set: IsSet) -> None:
    left = scale
    if not is_set("repetitions"):
        repetitions = table["repetitions"]
        share = 1.0 if is_set(length) else REPETITIONS
        kept = thinned_count(repetitions, LEAST_REPETITIONS, scale**share)
        table["repetitions"] = kept
        left = min(1.0, scale * repetitions / kept)
    if is_set(length):
        return
    if length == "seconds":
        table["seconds"] = min(table["seconds"], max(LEAST_SECONDS, table["seconds"] * left))
        return
    before = table["requests"]
    table["requests"] = thinned_count(before, LEAST_REQUESTS, left)
    if not is_set("warm_up_batches"):
        batches, share = table["warm_up_batches"], table["requests"] / before
        table["warm_up_batches"] = thinned_count(batches, LEAST_WARM_UP, share)
