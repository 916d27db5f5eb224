"""The training of one stack: its members step by step together, on one device.

::

    weights of each member, drawn as by the reference engine ─ stacked ─►  state
    order of each member's images, drawn likewise (N, images)
        for each step:  rows (N, B) ─ gathered on the device ─ losses (N,) ─ gradients ─ step
    losses stay on the device until all epochs are queued

The loss that is differentiated is the sum of the members' mean losses: no member's gradient depends
on another.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.fast.capture import Capture
from joulelab.learning.fast.layers import Arithmetic, State
from joulelab.learning.fast.stacking import StackedNetwork
from joulelab.learning.learning_rate import learning_rate_factor
from joulelab.learning.networks import build_network
from joulelab.learning.optimisers import OPTIMISERS, Optimiser
from joulelab.learning.placement import PlacedImages, PlacedSplit, sent
from joulelab.learning.protocol import Protocol, protocols
from joulelab.learning.training_loop import (
    ImageOrder,
    evaluated,
    failures_explained,
    seeded,
)


@dataclass(frozen=True)
class MemberState:
    """A member between two epochs, outside any stack; nothing in it is shared with a stack.

    Attributes:
        member: its seed and hyperparameters.
        weights: parameters and buffers.
        moments: what the optimiser keeps, of each trained parameter in their order.
        order: of its images.
        steps: optimiser steps taken, which is also the position in the learning-rate schedule.
    """

    member: Member
    weights: State
    moments: tuple[Mapping[str, Tensor], ...]
    order: ImageOrder
    steps: int


_STEP = "step"
"""What torch's optimisers call the number of steps of a parameter, the same for a whole stack."""

_drawing = threading.Lock()
"""Weights come from torch's global generators, shared by the stacks of all threads."""


class StackTraining:
    """Trains the members of one stack.

    Args:
        network: its layers.
        task: what is trained; its members form this stack.
        placed: images on the device.
        arithmetic: how layers compute.
        weights: initial parameters and buffers of every member; ``None`` to draw them from the
            seeds.
        continued: the members, to be continued; all have taken the same number of steps. Their
            states are copied.

    Attributes:
        state: parameters and buffers, (N, ...) each.
        steps: optimiser steps taken.
    """

    def __init__(
        self,
        network: StackedNetwork,
        task: TrainingTask,
        placed: PlacedImages,
        arithmetic: Arithmetic,
        weights: State | None = None,
        continued: Sequence[MemberState] | None = None,
    ) -> None:
        if continued is not None:
            task = task.with_members([state.member for state in continued])
        self._network = network
        self._task = task
        self._placed = placed
        self._arithmetic = arithmetic
        self._protocol: Protocol = protocols.get(task.protocol)
        self.state: State = _stacked(
            [weights or weights_of(task, member, placed) for member in task.members]
            if continued is None
            else [state.weights for state in continued],
            placed.device,
        )
        self.steps = 0
        self._trained = [self.state[name].requires_grad_() for name in network.trained]
        self._factor = learning_rate_factor(task.schedule, self.steps_an_epoch, task.epochs)
        self._optimiser = StackedOptimiser(
            OPTIMISERS[task.optimiser],
            self._trained,
            [self._protocol.adjusted(member.hyperparameters) for member in task.members],
            scheduled=self._factor is not None,
        )
        if continued is None:
            self._orders = [self._new_order(member) for member in task.members]
        else:
            self._orders = [state.order.copy() for state in continued]
            self._optimiser.restore([state.moments for state in continued])
            (self.steps,) = {state.steps for state in continued}
        self._total = torch.zeros(len(task.members), dtype=torch.float64, device=placed.device)
        self._capture = Capture(self._step_on) if placed.device.type == "cuda" else None

    def taken_apart(self) -> list[MemberState]:
        """Each member as it is after the last epoch; the stack can go on independently."""
        moments = self._optimiser.moments()
        return [
            MemberState(
                member,
                {name: values[at].detach().clone() for name, values in self.state.items()},
                moments[at],
                self._orders[at].copy(),
                self.steps,
            )
            for at, member in enumerate(self._task.members)
        ]

    @property
    def steps_an_epoch(self) -> int:
        """Optimiser steps of a pass over all images."""
        return math.ceil(len(self._placed.train) / self._task.batch_size)

    def train_epoch(
        self, most_steps: int | None = None, on_step: Callable[[Tensor], None] | None = None
    ) -> Tensor:
        """One pass over the images.

        Args:
            most_steps: stop after so many optimiser steps, at least 1.
            on_step: given the losses of every step, (N,), on the device.

        Returns:
            The mean loss per image of each member, float64, (N,), still on the device.
        """
        images, batch = len(self._placed.train), self._task.batch_size
        steps = self.steps_an_epoch
        if most_steps is not None:
            steps = min(steps, most_steps)
        order = torch.stack([one.next_order() for one in self._orders])  # (N, images)
        order = sent(order, self._placed.train.index_device)
        self._total.zero_()
        if self._capture is not None and self._placed.train.index_device.type == "cuda":
            self._capture.run(order, batch, steps, self._learnt, on_step, self._before_step)
        else:
            for number in range(steps):
                self._before_step(number)
                start = number * batch
                losses = self._step_on(order[:, start : start + batch])
                if on_step is not None:
                    on_step(losses)
        self.steps += steps
        return self._total / min(steps * batch, images)

    def scores(self, split: PlacedSplit | None = None) -> Tensor:
        """Accuracy and macro F1 of each member, (N, 2), on the device.

        With the reference engine's batches, one member after the other. The training is unchanged:
        in train mode the running statistics of BatchNorm are restored.

        Args:
            split: images to evaluate; ``None`` for the test images.
        """
        training = self._protocol.evaluation_mode == "train"
        parameters = dict(self._network.shapes)
        buffers = {
            name: values.clone()
            for name, values in self.state.items()
            if training and name not in parameters
        }

        def scores_of(index: int) -> Tensor:
            state = {name: values[index : index + 1] for name, values in self.state.items()}

            def logits_of(images: Tensor) -> Tensor:
                return self._logits(state, images.unsqueeze(0), training=training)[0]

            return evaluated(logits_of, split or self._placed.test, self._protocol)

        scores = torch.stack([scores_of(index) for index in range(len(self._task.members))])
        for name, values in buffers.items():
            self.state[name].copy_(values)
        return scores

    def _new_order(self, member: Member) -> ImageOrder:
        return ImageOrder(
            len(self._placed.train),
            self._task.batch_size,
            member.seed,
            reshuffle_each_epoch=self._protocol.reshuffle_each_epoch,
        )

    def _before_step(self, number: int) -> None:
        """Set the learning rate of a step of this epoch."""
        if self._factor is not None:
            self._optimiser.scale_learning_rates(self._factor(self.steps + number))

    def _step_on(self, rows: Tensor) -> Tensor:
        """One optimiser step of every member on its own images.

        Args:
            rows: of the images, (N, B).

        Returns:
            Losses, (N,).
        """
        images, labels = self._placed.train.batch(rows)  # (N, B, C, H, W), (N, B)
        logits = self._logits(self.state, images, training=True)
        losses = functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), reduction="none"
        ).view(labels.shape)
        means = losses.mean(1)
        self._optimiser.step(torch.autograd.grad(means.sum(), self._trained, allow_unused=True))
        means = means.detach()
        # Finite float32 losses cannot overflow a float64 sum: it is finite unless a loss is not.
        self._total += means.double() * rows.shape[1]
        return means

    def _logits(self, state: State, images: Tensor, *, training: bool) -> Tensor:
        shape = tuple(images.shape[1:])
        with failures_explained(shape):
            return self._network(state, images, self._arithmetic, training=training)

    def _learnt(self) -> list[Tensor]:
        """Everything that a step changes."""
        return [*self.state.values(), *self._optimiser.state(), self._total]


class StackedOptimiser:
    """An optimiser of stacked parameters, in torch's fused kernels.

    Members with the same hyperparameters are updated together.

    Args:
        optimiser: which.
        parameters: (N, ...) each.
        hyperparameters: of each member.
        scheduled: whether learning rates change.
    """

    def __init__(
        self,
        optimiser: Optimiser,
        parameters: Sequence[Tensor],
        hyperparameters: Sequence[Hyperparameters],
        *,
        scheduled: bool = False,
    ) -> None:
        self._blocks = blocks_of_equals(hyperparameters)
        self._slices = [
            [parameter.detach()[block] for parameter in parameters] for block in self._blocks
        ]
        distinct = [hyperparameters[block.start] for block in self._blocks]
        self._learning_rates = [values.learning_rate for values in distinct]
        groups: list[dict[str, Any]] = [
            {"params": slices, **optimiser.arguments(values)}
            for slices, values in zip(self._slices, distinct, strict=True)
        ]
        on_gpu = parameters[0].is_cuda
        if scheduled and on_gpu:
            # A captured step reads the learning rate from an address.
            for group in groups:
                group["lr"] = torch.tensor(group["lr"], device=parameters[0].device)
        counts_steps = {"capturable": on_gpu} if optimiser.counts_steps else {}
        self._optimiser = optimiser.torch_class()(groups, fused=True, **counts_steps)

    def scale_learning_rates(self, factor: float) -> None:
        """Set the learning rates to a multiple of their initial values."""
        for group, rate in zip(self._optimiser.param_groups, self._learning_rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """Update the parameters; those without a gradient are unchanged.

        Args:
            gradients: of each parameter, (N, ...).
        """
        for block, slices in zip(self._blocks, self._slices, strict=True):
            for gradient, part in zip(gradients, slices, strict=True):
                # The fused kernels access both in memory order.
                part.grad = None if gradient is None else gradient[block].contiguous()
        self._optimiser.step()

    def moments(self) -> list[tuple[dict[str, Tensor], ...]]:
        """Copies of moments and step counts: for each member, of each parameter."""
        return [
            tuple(
                {
                    name: (value if name == _STEP else value[at]).clone()
                    for name, value in self._optimiser.state[part].items()
                    if isinstance(value, Tensor)
                }
                for part in slices
            )
            for block, slices in zip(self._blocks, self._slices, strict=True)
            for at in range(block.stop - block.start)
        ]

    def restore(self, moments: Sequence[Sequence[Mapping[str, Tensor]]]) -> None:
        """Continue with these moments and step counts, as `moments` gives them."""
        for block, slices in zip(self._blocks, self._slices, strict=True):
            for number, part in enumerate(slices):
                of_members = [one[number] for one in moments[block]]
                if of_members[0]:
                    self._optimiser.state[part] = {
                        name: value.clone()
                        if name == _STEP
                        else torch.stack([one[name] for one in of_members]).contiguous()
                        for name, value in of_members[0].items()
                    }

    def state(self) -> list[Tensor]:
        """Moments and step counts, if steps have been taken."""
        return [
            value
            for values in self._optimiser.state.values()
            for value in values.values()
            if isinstance(value, Tensor)
        ]


def blocks_of_equals(values: Sequence[Hyperparameters]) -> list[slice]:
    """Consecutive equal values, as slices that cover all.

    >>> one, other = Hyperparameters(1e-3), Hyperparameters(1e-2)
    >>> blocks_of_equals([one, one, other])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    starts = [i for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
    ends = [*starts[1:], len(values)]
    return [slice(start, end) for start, end in zip(starts, ends, strict=True)]


def weights_of(task: TrainingTask, member: Member, placed: PlacedImages) -> State:
    """Initial parameters and buffers of one member, as the reference engine draws them."""
    images = placed.images
    with _drawing, seeded(member.seed, placed.device):
        network = build_network(task.network, images.shape, images.classes, task.network_options)
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return {name: tensor.detach() for name, tensor in tensors}


def _stacked(members: Sequence[State], device: torch.device) -> State:
    # The optimisers' fused kernels access parameters and gradients in memory order.
    return {
        name: torch.stack([state[name] for state in members]).contiguous().to(device)
        for name in members[0]
    }
