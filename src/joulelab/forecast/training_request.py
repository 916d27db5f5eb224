"""A requested training, and its features known beforehand.

::

    S = epochs * ceil(N / B)      steps           F    operations of all of them
    epochs * N                    images          F/S  operations of a step
    P                             parameters      M    bytes of a step, B images

with N training images in batches of B. Operations are from `joulelab.learning.flops`, bytes from
`joulelab.learning.memory`; both are counted without computing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from joulelab.errors import JoulelabError
from joulelab.kinds.training.engine_choice import REFERENCE
from joulelab.kinds.training.spec import TrainingConfiguration
from joulelab.learning.flops import count_flops
from joulelab.learning.images import ImageShape, load_images, split_settings
from joulelab.learning.memory import MemoryCount, count_memory
from joulelab.study.plan import configurations_of
from joulelab.study.spec import StudySpec

FEWEST_IMAGES = 2
"""Smallest batch, for BatchNorm."""


@dataclass(frozen=True)
class DataShape:
    """The properties of a data set that determine the cost of training.

    Attributes:
        shape: shape of one image.
        classes: number of classes.
        train_images: training images per epoch.
        test_images: test images per evaluation.
    """

    shape: ImageShape
    classes: int
    train_images: int
    test_images: int

    def with_images(self, train: float | None, test: float | None = None) -> DataShape:
        """With fewer images, as for `joulelab.learning.images.thinned`.

        Args:
            train: a number, or a fraction below 1; ``None`` for all.
            test: the same for the test images.
        """
        return replace(
            self,
            train_images=self._taken(train, self.train_images),
            test_images=self._taken(test, self.test_images),
        )

    def _taken(self, wanted: float | None, there: int) -> int:
        if wanted is None or wanted >= there:
            return there
        return max(self.classes, round(wanted * there)) if wanted < 1 else int(wanted)


GREY, COLOUR = ImageShape(1, 28, 28), ImageShape(3, 32, 32)
KNOWN = {
    "digits": DataShape(ImageShape(1, 8, 8), 10, 1437, 360),
    "fashion-mnist": DataShape(GREY, 10, 60_000, 10_000),
    "cifar10": DataShape(COLOUR, 10, 50_000, 10_000),
    "torchvision:MNIST": DataShape(GREY, 10, 60_000, 10_000),
    "torchvision:FashionMNIST": DataShape(GREY, 10, 60_000, 10_000),
    "torchvision:KMNIST": DataShape(GREY, 10, 60_000, 10_000),
    "torchvision:CIFAR10": DataShape(COLOUR, 10, 50_000, 10_000),
    "torchvision:CIFAR100": DataShape(COLOUR, 100, 50_000, 10_000),
}
"""Data sets whose size is the same everywhere."""


def data_shape(name: str, data_dir: Path | None = None) -> DataShape:
    """Size and shape of a data set; loaded if not known.

    Args:
        name: as in a study, ``cifar10`` or ``digits?channels=3&side=32``.
        data_dir: the folder with data.

    Raises:
        UnknownNameError: no data set has that name.
        UsageError: an impossible setting.
        DatasetError: it must be loaded, but cannot be.

    >>> data_shape("digits?channels=3&side=32").shape
    ImageShape(channels=3, height=32, width=32)
    """
    base, settings = split_settings(name)
    if (known := KNOWN.get(base)) is None:
        images = load_images(name, data_dir)
        return DataShape(images.shape, images.classes, len(images.train), len(images.test))
    shape = known.shape
    return replace(
        known,
        shape=ImageShape(
            settings.channels or shape.channels,
            settings.side or shape.height,
            settings.side or shape.width,
        ),
    )


@dataclass(frozen=True)
class TrainingRequest:
    """A requested training.

    Attributes:
        network: registered name.
        options: keyword arguments of the network.
        dataset: name of the data set.
        data: size and shape of the data set.
        epochs: passes over the training images.
        batch_size: images in a step.
        engine: registered name.
        precision: arithmetic.
        protocol: registered name of the training conventions.
        together: number of trainings that share a group and its cost.
    """

    network: str
    options: Mapping[str, Any]
    dataset: str
    data: DataShape
    epochs: int
    batch_size: int
    engine: str = "reference"
    precision: str = "fp32"
    protocol: str = "default"
    together: int = 1

    @property
    def steps(self) -> int:
        """S, the optimiser steps."""
        return self.epochs * -(-self.data.train_images // self.batch_size)

    @property
    def group(self) -> str:
        """The configuration without engine, precision and protocol."""
        options = json.dumps(dict(self.options), sort_keys=True, default=repr)
        images = self.data.train_images
        return (
            f"{self.network} {options} on {self.dataset}, {self.epochs} x {images} images, "
            f"batches of {self.batch_size}"
        )

    def memory(self) -> MemoryCount:
        """Bytes of a step.

        Raises:
            JoulelabError: as for `count_memory`.
        """
        batch = max(min(self.batch_size, self.data.train_images), FEWEST_IMAGES)
        return count_memory(self.network, self.options, self.data.shape, self.data.classes, batch)

    def flops(self) -> float:
        """Operations of the whole training.

        Raises:
            JoulelabError: they cannot be counted.
        """
        count = count_flops(self.network, self.options, self.data.shape, self.data.classes)
        flops = count.of_training(self.data.train_images, self.batch_size, self.steps)
        if flops is None:
            raise JoulelabError(
                f"the FLOPs of the network {self.network} cannot be counted: {count.reason}",
                "a prediction before the training needs them; `joulelab plan` times steps instead",
            )
        return flops

    def features(self, flops: float | None = None) -> dict[str, Any]:
        """The features of `joulelab.analysis.prediction.before`, and the group.

        Args:
            flops: operations of the whole training, if already counted.

        Raises:
            JoulelabError: operations or bytes cannot be counted.
        """
        memory = self.memory()
        flops = self.flops() if flops is None else flops
        return {
            "group": self.group,
            "engine": self.engine,
            "precision": self.precision,
            "protocol": self.protocol,
            "flops": flops,
            "flops_per_step": flops / self.steps,
            "bytes": float(memory.total),
            "steps": float(self.steps),
            "images": float(self.epochs * self.data.train_images),
            "batch_size": float(self.batch_size),
            "parameters": float(memory.parameters),
            "together": float(self.together),
        }


def request_of(
    one: TrainingConfiguration,
    data: DataShape,
    engine: str = "",
    together: int | None = None,
) -> TrainingRequest:
    """One training of a configuration of a study.

    Args:
        one: the configuration.
        data: data set, with the images that the study uses.
        engine: engine that trains it; empty for the requested one.
        together: trainings in a group; default: as many as the engine trains together.
    """
    settings = one.settings
    engine = engine or settings.engine
    if together is None:
        # The reference engine trains one after the other.
        together = 1 if engine == REFERENCE else one.members
    return TrainingRequest(
        network=one.network,
        options=one.network_options,
        dataset=one.dataset,
        data=data,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        engine=engine,
        precision=settings.precision,
        protocol=settings.protocol,
        together=together,
    )


def trainings(spec: StudySpec) -> list[TrainingConfiguration]:
    """Every configuration of a study that trains."""
    return [
        one
        for name, experiment in spec.experiments().items()
        for one in configurations_of(spec, name, experiment)
        if isinstance(one, TrainingConfiguration)
    ]
