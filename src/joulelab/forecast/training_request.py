"""A training as it is asked for, and what is known of it before it has begun: the features.

::

    S = epochs * ceil(N / B)      steps           F    operations of all of them
    epochs * N                    images          F/S  operations of a step
    P                             parameters      M    bytes of a step, B images

with N training images in batches of B. The operations are those of `joulelab.learning.flops`, the
bytes those of `joulelab.learning.memory`; both are counted and not computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joulelab.errors import JoulelabError
from joulelab.forecast.data_shape import DataShape
from joulelab.learning.flops import count_flops
from joulelab.learning.memory import MemoryCount, count_memory

FEWEST_IMAGES = 2
"""In a batch, for BatchNorm."""


@dataclass(frozen=True)
class TrainingRequest:
    """One training.

    Attributes:
        network: registered name.
        options: keyword arguments of the network.
        dataset: its name.
        data: size and shape of the data set.
        epochs: passes over the training images.
        batch_size: images in a step.
        engine: registered name.
        precision: the arithmetic.
        protocol: registered name of the training conventions.
        together: trainings that share one group, and its cost.
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
        """S."""
        return self.epochs * -(-self.data.train_images // self.batch_size)

    @property
    def group(self) -> str:
        """The configuration, whatever engine, precision and protocol train it."""
        options = json.dumps(dict(self.options), sort_keys=True, default=repr)
        images = self.data.train_images
        return (
            f"{self.network} {options} on {self.dataset}, {self.epochs} x {images} images, "
            f"batches of {self.batch_size}"
        )

    def memory(self) -> MemoryCount:
        """Bytes of a step.

        Raises:
            JoulelabError: as `count_memory`.
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
            flops: of the whole training, where they were counted before.

        Raises:
            JoulelabError: a count cannot be had.
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
