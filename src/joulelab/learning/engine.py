"""The interface of an engine: what it is asked to train, and what it gives back.

::

    TrainingTask        a group: one configuration, one round, all repetitions (a seed each)
      │ engine.split(task)
      ▼
    parts               what the engine trains together; each is measured, stored and resumed whole
      │ engine.train(part, images, device, progress)
      ▼
    TrainingResult...   one for each seed, in the order of the seeds

Tasks and results are plain data: they cross to other processes and machines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from joulelab.learning.images import Images
from joulelab.registry import Registry

Progress = Callable[[int, int], None]
"""``progress(epochs done, epochs in all)``, called after every epoch of a part."""


@dataclass(frozen=True)
class Hyperparameters:
    """The five values that Adam is given, with PyTorch's defaults.

    Symbols of the paper: learning rate alpha, beta1, beta2, epsilon, weight decay w.
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True)
class TrainingTask:
    """A group of repetitions of one training, which differ in their seeds alone.

    Attributes:
        network: registered name.
        network_options: keyword arguments for the network, for instance ``{"linear_layers": 3}``.
        protocol: registered name of the training conventions.
        hyperparameters: for Adam.
        epochs: passes over the training images.
        batch_size: images a step; the last batch of an epoch may be smaller.
        seeds: one for each repetition; initial weights and order of images follow from it.
        max_steps: stop after so many optimiser steps, at least 1, and evaluate (a calibration);
            ``None`` for no limit.
    """

    network: str
    network_options: Mapping[str, Any]
    protocol: str
    hyperparameters: Hyperparameters
    epochs: int
    batch_size: int
    seeds: tuple[int, ...]
    max_steps: int | None = None

    def with_seeds(self, seeds: Sequence[int]) -> TrainingTask:
        """The same training for other repetitions."""
        return replace(self, seeds=tuple(seeds))


@dataclass(frozen=True)
class TrainingResult:
    """One repetition, trained and evaluated.

    Attributes:
        seed: of this repetition.
        accuracy: share of the test images that are classified correctly, 0 to 1.
        train_losses: mean cross entropy over each epoch, in nats; NaN once the training diverged.
        diverged: a loss was NaN or infinite.
        steps: optimiser steps taken.
        parameters: trainable parameters of the network.
        placement: ``"resident"`` (all images on the device), ``"resident-uint8"`` (the same, scaled
            batch by batch) or ``"streamed"`` (copied to the device batch by batch).
        extra: whatever else an engine reports, plain numbers by name.
    """

    seed: int
    accuracy: float
    train_losses: tuple[float, ...]
    diverged: bool
    steps: int
    parameters: int
    placement: str
    extra: Mapping[str, float] = field(default_factory=dict)


class Engine(ABC):
    """Trains groups of repetitions."""

    name: str

    @abstractmethod
    def split(self, task: TrainingTask) -> Sequence[TrainingTask]:
        """The parts of a group that are trained together, in order; their seeds add up to it."""

    @abstractmethod
    def train(
        self,
        task: TrainingTask,
        images: Images,
        device: str,
        progress: Progress | None = None,
    ) -> Sequence[TrainingResult]:
        """Train and evaluate one part; the device has finished all work on return.

        Args:
            task: one of the parts that `split` gave.
            images: the data set; an engine may keep it on the device between calls.
            device: ``"cpu"`` or ``"cuda:<index>"``.
            progress: called after every epoch.

        Returns:
            One result for each seed, in order. A diverged training is a result, not an error.

        Raises:
            TrainingError: the network cannot be built for these images.
        """


engines: Registry[type[Engine]] = Registry(
    "engine",
    "joulelab.engines",
    {
        "reference": (
            "joulelab.learning.reference:ReferenceEngine",
            "one repetition after the other, the loop of the paper, plain and readable",
        ),
    },
)
