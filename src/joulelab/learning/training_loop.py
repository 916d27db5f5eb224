"""Shared by the training loops of all engines: seeds, order of images, evaluation, errors.

All randomness is determined by the seed of a repetition. Initial weights, and random numbers drawn
during training (dropout), come from torch's global generators, seeded for the training and restored
afterwards. Weights are drawn on the CPU, so that they do not depend on the device. The order of the
images comes from a separate generator, so that it does not depend on the network.

Evaluation counts for each class k: h_k hits, n_k images of the class, p_k predictions of the class.

    accuracy = sum_k h_k / sum_k n_k
    F1       = mean of 2 h_k / (n_k + p_k) over the classes with n_k + p_k > 0

2 h / (n + p) is the harmonic mean of precision h / p and recall h / n, so this is what
scikit-learn's ``f1_score(labels, predictions, average="macro")`` gives.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from joulelab.errors import TrainingError, UsageError
from joulelab.learning.engine import TrainingResult, TrainingTask
from joulelab.learning.placement import PlacedSplit
from joulelab.learning.protocol import Protocol

EVALUATION_BATCH = 1000
"""Test images evaluated at once, unless the protocol requires one batch."""


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators of the CPU and of one device; restore them on exit.

    Args:
        seed: of the repetition, at least 0.
        device: the one that trains; generators of other devices are unchanged.
    """
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        # torch.manual_seed would seed every device, also those not saved above.
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


class ImageOrder:
    """The mini-batches of each epoch.

    Args:
        images: N, number of images.
        batch_size: images in a batch; the last one of an epoch may be smaller.
        seed: of the repetition.
        reshuffle_each_epoch: a new order for every epoch; else the batches of the first are reused.
    """

    def __init__(
        self, images: int, batch_size: int, seed: int, *, reshuffle_each_epoch: bool
    ) -> None:
        self._images = images
        self._batch_size = batch_size
        self._reshuffle = reshuffle_each_epoch
        # Not the plain seed, which seeds the initial weights: the numbers must differ.
        digest = hashlib.sha256(f"order of images, seed {seed}".encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
        self._order: Tensor | None = None

    def next_order(self) -> Tensor:
        """The rows of all images in the order of the next epoch, int64, (images,), on the CPU."""
        if self._order is None or self._reshuffle:
            self._order = torch.randperm(self._images, generator=self._generator)
        return self._order

    def copy(self) -> ImageOrder:
        """The same order at the same epoch, which continues on its own."""
        other = copy.copy(self)
        other._generator = torch.Generator()
        other._generator.set_state(self._generator.get_state())
        return other

    def next_epoch(self, device: torch.device) -> tuple[Tensor, ...]:
        """The rows of each batch, int64, (batch_size,), on the device that is indexed."""
        return torch.split(self.next_order().to(device), self._batch_size)


class Evaluation:
    """Evaluation counts, on the device and without synchronisation.

    Args:
        device: the one that evaluates.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._counts: Tensor | None = None  # (3, K), int64: h, n, p

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch.

        Args:
            logits: (B, K).
            labels: (B,), int64.
        """
        if self._counts is None:
            shape = (3, logits.shape[1])
            self._counts = torch.zeros(shape, dtype=torch.int64, device=self._device)
        predicted = logits.argmax(dim=1)
        hits = (predicted == labels).to(torch.int64)
        once = torch.ones_like(labels)
        # bincount would read the largest label from the device, and wait.
        for counts, of, values in zip(
            self._counts, (labels, labels, predicted), (hits, once, once), strict=True
        ):
            counts.index_add_(0, of, values)

    def scores(self) -> Tensor:
        """Accuracy and macro F1, each 0 to 1, float64, (2,), still on the device.

        >>> evaluation = Evaluation(torch.device("cpu"))
        >>> evaluation.add(torch.eye(3)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 0]))
        >>> accuracy, f1 = evaluation.scores().tolist()
        >>> accuracy, round(f1, 4)          # (2*2/(3+2) + 2*1/(1+2)) / 2: nothing is of class 2
        (0.75, 0.7333)

        Raises:
            ValueError: nothing has been counted.
        """
        if self._counts is None:
            raise ValueError("no batch has been counted")
        hits, labels, predicted = self._counts.double()  # (K,) each
        either = labels + predicted
        f1 = 2 * hits / either.clamp(min=1)
        return torch.stack([hits.sum() / labels.sum(), f1.sum() / (either > 0).sum()])


@torch.no_grad()
def evaluated(
    logits_of: Callable[[Tensor], Tensor], test: PlacedSplit, protocol: Protocol
) -> Tensor:
    """Accuracy and macro F1 on the test images, (2,), still on the device.

    Args:
        logits_of: the network in the mode of the protocol; gives (B, K) for (B, C, H, W).
        test: the images.
        protocol: says how many are evaluated at once.
    """
    size = len(test) if protocol.evaluate_as_one_batch else EVALUATION_BATCH
    evaluation = Evaluation(test.device)
    for start in range(0, len(test), size):
        images, labels = test.batch(slice(start, start + size))
        evaluation.add(logits_of(images), labels)
    return evaluation.scores()


@contextmanager
def failures_explained(shape: tuple[int, ...]) -> Iterator[None]:
    """Turn an exception of a network on a batch into an error with a hint.

    Args:
        shape: of the batch.

    Raises:
        TrainingError: the network fails on the batch, like BatchNorm on a single value per channel.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise TrainingError(
            f"the network fails on a batch of shape {shape}: {error}",
            "choose a larger batch_size if the batch is too small, else check the network",
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device is out of memory."""
    # On the CPU torch raises a plain RuntimeError, and so do CUDA's libraries.
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error) for words in ("can't allocate memory", "ALLOC_FAILED"))


def does_not_fit(task: TrainingTask, device: str) -> TrainingError:
    """The error for a network that does not fit into memory."""
    return TrainingError(
        f"the network {task.network} does not fit into the memory of {device}",
        "choose a smaller batch_size or network, or fewer test_images where the "
        "protocol evaluates them as one batch",
    )


def until_divergence(losses: Sequence[float]) -> tuple[float, ...]:
    """Losses up to the first non-finite one, NaN from there on."""
    finite = list(takewhile(math.isfinite, losses))
    return (*finite, *[math.nan] * (len(losses) - len(finite)))


def training_result(
    seed: int,
    scores: Sequence[float],
    losses: Sequence[float],
    **others: Any,  # noqa: ANN401 - of any field
) -> TrainingResult:
    """The result of one member.

    Args:
        seed: of the member.
        scores: accuracy and macro F1.
        losses: of every epoch, unchanged.
        others: the other fields of a result.
    """
    accuracy, f1 = scores
    train_losses = until_divergence(losses)
    return TrainingResult(
        seed=seed,
        accuracy=accuracy,
        f1=f1,
        train_losses=train_losses,
        diverged=any(math.isnan(loss) for loss in train_losses),
        **others,
    )


def checked_device(name: str) -> torch.device:
    """The device with a name.

    Raises:
        UsageError: it does not exist.
    """
    device = torch.device(name)
    if device.type == "cuda":
        index = device.index or 0
        if index >= torch.cuda.device_count():
            raise UsageError(f"this machine has no device {name}", 'choose another, such as "cpu"')
        return torch.device("cuda", index)
    return torch.device("cpu")
