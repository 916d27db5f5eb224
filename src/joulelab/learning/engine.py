"""The interface of engines: training tasks and results.

::

    TrainingTask        a group: one configuration, a round or several, all their repetitions
      │ engine.split(task, images, device)
      ▼
    parts               trained together; each is measured, stored and resumed as a whole
      │ engine.prepare(part, images, device)     once for each kind of part; not part of a training
      │ engine.train(part, images, device, progress)
      ▼
    TrainingResult...   one for each member, in their order

Tasks and results are plain data: they cross to other processes and machines.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, ClassVar

from joulelab.errors import UsageError, quoted, suggestion
from joulelab.learning.images import Images
from joulelab.registry import Registry

Progress = Callable[[int, int], None]
"""``progress(epochs done, epochs in all)``, called after every epoch of a part."""


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of all optimisers, with PyTorch's defaults; each uses its own.

    Symbols of the paper: learning rate alpha, beta1, beta2, epsilon, weight decay w.
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False


_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "learning_rate": (lambda value: value > 0, "above 0"),
    "beta1": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "beta2": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "epsilon": (lambda value: value > 0, "above 0"),
    "weight_decay": (lambda value: value >= 0, "at least 0"),
    "momentum": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
}
NESTEROV = "nesterov"
HYPERPARAMETERS = tuple(one.name for one in fields(Hyperparameters))


def check_hyperparameters(values: Mapping[str, Any]) -> None:
    """Check some or all hyperparameters.

    Args:
        values: values by name, as in `Hyperparameters`.

    Raises:
        UsageError: an unknown name, or a value outside the optimisers' range (for Adam: Kingma and
            Ba, ICLR 2015, algorithm 1); says which.
    """
    for name, value in values.items():
        if name not in HYPERPARAMETERS:
            raise UsageError(
                f"no hyperparameter is called {quoted(name)}", suggestion(name, HYPERPARAMETERS)
            )
        if name == NESTEROV:
            if not isinstance(value, bool):
                raise UsageError(
                    f"{name} = {quoted(value)} is not possible", f"{name} is true or false"
                )
            continue
        possible, range_in_words = _RANGES[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and possible(value)):
            raise UsageError(
                f"{name} = {quoted(value)} is not possible", f"{name} is a number {range_in_words}"
            )


class Precision(StrEnum):
    """The arithmetic of matrix products and convolutions; parameters and Adam stay in float32.

    Attributes:
        FP32: float32 throughout.
        TF32: inputs rounded to 10 bits of mantissa, sums in float32; NVIDIA GPUs only.
        BF16: inputs and activations in bfloat16, sums in float32; on the CPU an engine may leave
            convolutions in float32 where that is faster.
        TORCH_DEFAULT: torch's default. On NVIDIA GPUs that is float32 for matrix products and TF32
            for convolutions. Only results have it; a task cannot request it.
    """

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"
    TORCH_DEFAULT = "torch-default"


@dataclass(frozen=True)
class Member:
    """One training of a group.

    Attributes:
        seed: determines initial weights, order of images and augmentation.
        hyperparameters: of the optimiser.
    """

    seed: int
    hyperparameters: Hyperparameters = Hyperparameters()


@dataclass(frozen=True)
class TrainingTask:
    """A group of trainings of one network, which differ only in seeds and hyperparameters.

    Attributes:
        network: registered name.
        network_options: keyword arguments for the network, for instance ``{"linear_layers": 3}``.
        protocol: registered name of the training conventions.
        epochs: passes over the training images.
        batch_size: images per step; the last batch of an epoch may be smaller.
        members: the trainings, at least one.
        precision: ``"fp32"``, ``"tf32"`` or ``"bf16"``.
        optimiser: name in `joulelab.learning.optimisers`.
        schedule: of the learning rate, as `joulelab.learning.learning_rate` reads it.
        augmentation: name in `joulelab.learning.augmentation`, or ``"protocol"``: the protocol's.
        max_steps: stop after this many optimiser steps, at least 1, and evaluate (a calibration);
            ``None`` for no limit.
    """

    network: str
    network_options: Mapping[str, Any]
    protocol: str
    epochs: int
    batch_size: int
    members: tuple[Member, ...]
    precision: str = Precision.FP32
    optimiser: str = "adam"
    schedule: str = "constant"
    augmentation: str = "protocol"
    max_steps: int | None = None

    def with_members(self, members: Sequence[Member]) -> TrainingTask:
        """The same task with other members."""
        return replace(self, members=tuple(members))


@dataclass(frozen=True)
class TrainingResult:
    """One member, trained and evaluated.

    Attributes:
        seed: of this member.
        accuracy: share of the test images that are classified correctly, 0 to 1.
        train_losses: mean cross entropy over each epoch, in nats; NaN once the training diverged.
        diverged: a loss was NaN or infinite.
        steps: optimiser steps taken.
        parameters: trainable parameters of the network.
        placement: ``"resident"`` (all images on the device), ``"resident-uint8"`` (the same, scaled
            batch by batch) or ``"streamed"`` (copied to the device batch by batch).
        engine: engine that trained it, which may differ from the requested one.
        precision: arithmetic of the training, one of `Precision`.
        extra: additional numbers reported by the engine, by name.
        f1: macro F1 on the test images, 0 to 1: the mean over the classes that occur among labels
            or predictions, as scikit-learn's ``f1_score(average="macro")``; ``None`` if the engine
            does not compute it.
        parameters_total: all parameters of the network, frozen ones included; ``None`` if the
            engine does not report it.
    """

    seed: int
    accuracy: float
    train_losses: tuple[float, ...]
    diverged: bool
    steps: int
    parameters: int
    placement: str
    engine: str
    precision: str
    extra: Mapping[str, float] = field(default_factory=dict)
    f1: float | None = None
    parameters_total: int | None = None


class Engine(ABC):
    """Trains groups of networks.

    Attributes:
        name: registered name.
        follows: those of ``"optimiser"``, ``"schedule"`` and ``"augmentation"`` that it reads from
            a task; otherwise the reference engine trains tasks in which they are not the default.
    """

    name: str
    follows: ClassVar[frozenset[str]] = frozenset()

    def obstacle(self, task: TrainingTask, images: Images, device: str) -> str | None:
        """Why this engine cannot train the network of a task; ``None`` if it can.

        This neither trains nor allocates anything.

        Raises:
            UsageError: the request is impossible for any network: an unsupported precision.
        """
        return None

    @abstractmethod
    def split(self, task: TrainingTask, images: Images, device: str) -> Sequence[TrainingTask]:
        """The parts of a group that are trained together, in order; a partition of its members."""

    def place(self, images: Images, device: str) -> None:  # noqa: B027 - an engine may hold none
        """Put images where the next training needs them.

        Called before every training, and not measured: otherwise, with alternating data sets, each
        copy to the device would count for the next training.

        Raises:
            UsageError: the device does not exist.
        """

    def prepare(self, task: TrainingTask, images: Images, device: str) -> bool:
        """One-time work for many tasks, such as finding the fastest schedule.

        Called before `split`, and measured separately.

        Returns:
            Whether anything was done.
        """
        return False

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
            One result for each member, in order. A diverged training is a result, not an error.

        Raises:
            TrainingError: the network cannot be built for these images.
        """


engines: Registry[type[Engine]] = Registry(
    "engine",
    "joulelab.engines",
    {
        "reference": (
            "joulelab.learning.reference:ReferenceEngine",
            "one repetition after the other: the training loop of the paper",
        ),
        "fast": (
            "joulelab.learning.fast.engine:FastEngine",
            "the repetitions of a round together, the fastest way on this machine",
        ),
    },
)
