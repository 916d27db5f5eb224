"""What tests of the fast engine share: images, the plain loop, engines with a given schedule."""

import math
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler

from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.fast.kernels import onednn_available
from joulelab.learning.fast.layers import Arithmetic
from joulelab.learning.fast.schedule import Schedule, ScheduleFile, circumstances
from joulelab.learning.fast.stack_training import StackTraining
from joulelab.learning.fast.stacking import stack_layers
from joulelab.learning.images import Images, Split
from joulelab.learning.networks import build_network
from joulelab.learning.placement import place_images
from joulelab.learning.protocol import protocols
from joulelab.learning.training_loop import ImageOrder, seeded

CPU = torch.device("cpu")

DIVERSE = (
    Hyperparameters(),
    Hyperparameters(3e-3, 0.8, 0.95, 1e-7, 0.01),
    Hyperparameters(5e-4, 0.95, 0.99, 1e-6, 0.1),
)
"""All five values differ."""

ARITHMETICS = {
    name: arithmetic
    for name, arithmetic in {
        "torch": Arithmetic(),
        "oneDNN": Arithmetic(onednn=True),
        "channels last": Arithmetic(own_kernels=True, channels_last=True),
        "channels last, oneDNN": Arithmetic(onednn=True, own_kernels=True, channels_last=True),
    }.items()
    if onednn_available() or not arithmetic.onednn
}
"""All ways in which layers compute on this processor."""


@contextmanager
def threads(count):
    """torch computes with so many; two only for workers, which use one each.

    Two that share a layer wait for each other, for very long where another process wants a core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def made_up_images(shape, train=200, test=100, classes=10, seed=0):
    """Learnable images: each class has a pattern of its own, under noise.

    Args:
        shape: channels, height, width.
        train: training images.
        test: test images.
        classes: how many.
        seed: patterns and noise follow from it.
    """
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(classes, *shape, generator=generator)

    def split(size):
        labels = torch.arange(size) % classes
        noise = torch.rand(size, *shape, generator=generator)
        pixels = 255 * (0.4 * patterns[labels] + 0.6 * noise)
        return Split(pixels.to(torch.uint8), labels)

    return Images(f"made-up {shape}", split(train), split(test), classes, "a test")


@dataclass(frozen=True)
class Trained:
    """One member: the loss of every step, and the accuracy at the end."""

    losses: list[float]
    accuracy: float


def plain_optimiser(name, parameters, values):
    """An optimiser of torch, its arguments written out."""
    rate, decay = values.learning_rate, values.weight_decay
    if name == "sgd":
        return torch.optim.SGD(
            parameters, rate, values.momentum, weight_decay=decay, nesterov=values.nesterov
        )
    make = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    return make(parameters, rate, (values.beta1, values.beta2), values.epsilon, decay)


def plain_scheduler(task, optimiser, steps_an_epoch):
    """torch's own scheduler for the schedules that tests use, stepped after every step."""
    if task.schedule == "constant":
        return None
    if task.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimiser, steps_an_epoch * task.epochs)
    assert task.schedule == "step(1, 0.5)"
    return lr_scheduler.StepLR(optimiser, steps_an_epoch, 0.5)


def trained_plainly(task, images, member):
    """The loop of the paper for one member, written out."""
    protocol = protocols.get(task.protocol)
    values = protocol.adjusted(member.hyperparameters)
    with seeded(member.seed, CPU):
        network = build_network(task.network, images.shape, images.classes, task.network_options)
    optimiser = plain_optimiser(task.optimiser, network.parameters(), values)
    scheduler = plain_scheduler(task, optimiser, math.ceil(len(images.train) / task.batch_size))
    order = ImageOrder(
        len(images.train),
        task.batch_size,
        member.seed,
        reshuffle_each_epoch=protocol.reshuffle_each_epoch,
    )
    losses = []
    for _ in range(task.epochs):
        for rows in order.next_epoch(CPU):
            if len(losses) == task.max_steps:
                break
            optimiser.zero_grad()
            logits = network(images.train.images[rows] / 255)
            loss = cross_entropy(logits, images.train.labels[rows])
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            if scheduler is not None:
                scheduler.step()
    network.train(protocol.evaluation_mode == "train")
    with torch.no_grad():
        right = network(images.test.images / 255).argmax(1) == images.test.labels
    return Trained(losses, right.double().mean().item())


def stack_of(task, images, arithmetic=None, device=CPU):
    """A stack of all members of a task, before its first step."""
    network = stack_layers(task.network, images.shape, images.classes, task.network_options)
    placed = place_images(images, device)
    return StackTraining(network, task, placed, arithmetic or Arithmetic())


def trained_in_a_stack(task, images, arithmetic=None, device=CPU):
    """All members of a task in one stack."""
    stack = stack_of(task, images, arithmetic, device)
    losses = []
    for _ in range(task.epochs):
        left = None if task.max_steps is None else task.max_steps - stack.steps
        stack.train_epoch(left, lambda of_step: losses.append(of_step.tolist()))
        if stack.steps == task.max_steps:
            break
    accuracies = stack.scores()[:, 0].tolist()
    return [
        Trained(list(own), accuracy)
        for own, accuracy in zip(zip(*losses, strict=True), accuracies, strict=True)
    ]


def worst_difference(losses, expected):
    """Largest relative difference of two lists of losses."""
    return max(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True))


def task_of(network, options=None, members=3, **others):
    """A task with diverse members: seeds from 1, the hyperparameters of `DIVERSE` in turn."""
    conventions = {"protocol": "default", "epochs": 2, "batch_size": 32, **others}
    trained = tuple(Member(seed, DIVERSE[(seed - 1) // 2 % 3]) for seed in range(1, members + 1))
    return TrainingTask(network, options or {}, members=trained, **conventions)


def key_of(task, images):
    """What the schedule of a task on the CPU is remembered by."""
    network = stack_layers(task.network, images.shape, images.classes, task.network_options)
    return circumstances(network, images.shape, task.batch_size, task.precision, CPU)


def threads_of(schedule):
    """Two where a schedule has workers."""
    return threads(2 if schedule.arrangement in {"workers", "shares"} else 1)


def engine_with(schedule: Schedule, task: TrainingTask, images: Images, path: Path) -> FastEngine:
    """An engine that remembers this schedule for a task on the CPU."""
    file = ScheduleFile(path)
    file.put(key_of(task, images), len(task.members), schedule)
    engine = FastEngine(schedules=file)
    assert engine.schedule(task, images, "cpu") == schedule
    return engine
