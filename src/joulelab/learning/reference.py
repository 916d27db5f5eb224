"""The reference engine: the training loop of Yarally et al., CAIN 2023.

One repetition after the other; an optimiser of torch, cross entropy, inputs in [0, 1], images
resident on the device if they fit. It is the baseline for correctness and speed of other engines,
so it uses torch's defaults throughout.

A training that diverges (a loss that is NaN or infinite) continues to its last epoch, as in the
paper: stopping would save energy and make energies incomparable. Its accuracy is computed at the
end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from joulelab.errors import UsageError
from joulelab.learning.augmentation import AugmentationDraws, augmented
from joulelab.learning.engine import (
    Engine,
    Member,
    Precision,
    Progress,
    TrainingResult,
    TrainingTask,
    check_hyperparameters,
)
from joulelab.learning.images import Images
from joulelab.learning.learning_rate import learning_rate_factor
from joulelab.learning.networks import build_network, count_parameters
from joulelab.learning.optimisers import OPTIMISERS
from joulelab.learning.placement import PlacedImages, PlacedSplit, Shelf, sent, synchronize
from joulelab.learning.protocol import Protocol, protocols
from joulelab.learning.training_loop import (
    ImageOrder,
    checked_device,
    does_not_fit,
    evaluated,
    failures_explained,
    is_out_of_memory,
    seeded,
    training_result,
)


class ReferenceEngine(Engine):
    """Trains each repetition separately.

    The last data set stays on the device between calls.

    Args:
        shelf: holds the images; a new one where ``None``.
    """

    name = "reference"
    follows = frozenset({"optimiser", "schedule", "augmentation"})

    def __init__(self, shelf: Shelf | None = None) -> None:
        self._shelf = shelf or Shelf()

    def obstacle(self, task: TrainingTask, images: Images, device: str) -> str | None:
        """None: it trains any network, in torch's default precision.

        Raises:
            UsageError: another precision is requested.
        """
        _check_precision(task.precision)
        return None

    def split(self, task: TrainingTask, images: Images, device: str) -> Sequence[TrainingTask]:
        """One part for each member."""
        return [task.with_members([member]) for member in task.members]

    def place(self, images: Images, device: str) -> None:
        """Put images on the device, where they stay until others are placed."""
        self._shelf.place(images, checked_device(device))

    def train(
        self,
        task: TrainingTask,
        images: Images,
        device: str,
        progress: Progress | None = None,
    ) -> Sequence[TrainingResult]:
        """Train and evaluate every member of the task; see `Engine.train`.

        Raises:
            TrainingError: the network cannot be built for these images, fails on a batch, or
                does not fit into the memory of the device.
            UsageError: hyperparameters that no optimiser takes, an unknown protocol or
                network, a precision other than fp32, or a missing device.
        """
        _check_precision(task.precision)
        for member in task.members:
            check_hyperparameters(asdict(member.hyperparameters))
        protocol = protocols.get(task.protocol)
        placed = self._shelf.place(images, checked_device(device))
        results = []
        for number, member in enumerate(task.members):

            def after_epoch(epoch: int, earlier: int = number * task.epochs) -> None:
                if progress is not None:
                    progress(earlier + epoch, task.epochs * len(task.members))

            try:
                results.append(_train_one(task, protocol, placed, member, after_epoch))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise does_not_fit(task, device) from error
        synchronize(placed.device)
        return results


def _train_one(
    task: TrainingTask,
    protocol: Protocol,
    placed: PlacedImages,
    member: Member,
    after_epoch: Callable[[int], None],
) -> TrainingResult:
    device, images = placed.device, placed.images
    with seeded(member.seed, device):
        network = build_network(task.network, images.shape, images.classes, task.network_options)
        network = network.to(device)
        chosen = OPTIMISERS[task.optimiser]
        values = protocol.adjusted(member.hyperparameters)
        optimiser = chosen.torch_class()(network.parameters(), **chosen.arguments(values))
        steps_an_epoch = math.ceil(len(placed.train) / task.batch_size)
        factor = learning_rate_factor(task.schedule, steps_an_epoch, task.epochs)
        scheduler = None if factor is None else LambdaLR(optimiser, factor)
        order = ImageOrder(
            len(placed.train),
            task.batch_size,
            member.seed,
            reshuffle_each_epoch=protocol.reshuffle_each_epoch,
        )
        draws = None
        augmentation = protocol.augmentation_for(task.augmentation)
        if augmentation is not None:
            size = (images.shape.height, images.shape.width)
            draws = AugmentationDraws(augmentation, len(placed.train), size, member.seed)
        losses: list[Tensor] = []
        steps = 0
        for epoch in range(1, task.epochs + 1):
            batches = order.next_epoch(placed.train.index_device)
            if task.max_steps is not None:
                batches = batches[: task.max_steps - steps]
            maps = None if draws is None else sent(draws.next_epoch(), device)
            losses.append(_train_epoch(network, optimiser, scheduler, placed.train, batches, maps))
            steps += len(batches)
            after_epoch(epoch)
            if steps == task.max_steps:
                break
        # In train mode this changes BatchNorm's running statistics, so the network cannot be used
        # later.
        network.train(protocol.evaluation_mode == "train")
        scores = evaluated(partial(_forward, network), placed.test, protocol)
    # Only now does the host read a number: until here it queued work.
    return training_result(
        member.seed,
        scores.tolist(),
        [float(loss) for loss in losses],
        steps=steps,
        parameters=count_parameters(network),
        placement=str(placed.placement),
        engine=ReferenceEngine.name,
        precision=Precision.FP32 if device.type == "cpu" else Precision.TORCH_DEFAULT,
        parameters_total=sum(one.numel() for one in network.parameters()),
    )


def _train_epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    scheduler: LambdaLR | None,
    train: PlacedSplit,
    batches: Sequence[Tensor],
    maps: Tensor | None,
) -> Tensor:
    """One pass over the batches; the mean loss per image, float64, still on the device.

    Args:
        network: in any mode.
        optimiser: of its parameters.
        scheduler: of its learning rate, by step; ``None`` for a constant one.
        train: the images.
        batches: rows of each.
        maps: augmentation maps of the images, in order; ``None`` for no augmentation.
    """
    network.train()
    # Finite float32 losses cannot overflow a float64 sum: it is finite unless a loss is not.
    total = torch.zeros((), dtype=torch.float64, device=train.device)
    done = 0
    for rows in batches:
        images, labels = train.batch(rows)  # (batch, C, H, W), (batch,)
        if maps is not None:
            images = augmented(images, maps[done : done + len(rows)])
        done += len(rows)
        optimiser.zero_grad()
        loss = cross_entropy(_forward(network, images), labels)
        torch.autograd.backward(loss)
        optimiser.step()
        if scheduler is not None:
            scheduler.step()
        total += loss.detach().double() * len(rows)
    return total / done


def _forward(network: nn.Module, images: Tensor) -> Tensor:
    """Logits (batch, classes)."""
    with failures_explained(tuple(images.shape)):
        logits: Tensor = network(images)
    return logits


def _check_precision(precision: str) -> None:
    if precision != Precision.FP32:
        raise UsageError(
            f"the reference engine does not train in {precision}",
            'set precision = "fp32", or engine = "fast"',
        )
