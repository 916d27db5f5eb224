"""Checks for custom networks, data sets and engines. They need no test framework.

    >>> from joulelab.learning.conformance import check_network
    >>> check_network("DensePolyNN")

Each returns nothing if all is well, else raises an ``AssertionError`` with the problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from joulelab.learning.engine import (
    Engine,
    Hyperparameters,
    Member,
    TrainingResult,
    TrainingTask,
)
from joulelab.learning.images import Images, ImageShape, Split, load_images
from joulelab.learning.networks import build_network, verify_buildable
from joulelab.learning.protocol import protocols
from joulelab.learning.training_loop import seeded

SHAPES = (ImageShape(1, 28, 28), ImageShape(3, 32, 32))
"""Fashion-MNIST's and CIFAR-10's."""

_CPU = torch.device("cpu")
_BATCH = 4
_IMAGE_DIMENSIONS = 4
_CHANGED: Mapping[str, Any] = {"optimiser": "sgd", "schedule": "cosine", "augmentation": "flip"}
"""Another value than the default of everything that an engine may follow."""


def check_network(
    name: str,
    shapes: Iterable[ImageShape] = SHAPES,
    classes: int = 10,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Check that a network can be planned, trained, and repeated from its seed.

    Args:
        name: registered name.
        shapes: of images that it must accept.
        classes: number of logits.
        options: keyword arguments of the network.

    Raises:
        AssertionError: a property does not hold.
        JoulelabError: it cannot be built at all.
    """
    for shape in shapes:
        planned = verify_buildable(name, shape, classes, options)
        with seeded(1, _CPU):
            network = build_network(name, shape, classes, options)
            images = torch.rand(_BATCH, *shape)
            logits = network(images)
            torch.autograd.backward(cross_entropy(logits, torch.arange(_BATCH) % classes))
        where = f"{name} on {shape.words}"
        _require(
            tuple(logits.shape) == (_BATCH, classes),
            f"{where}: logits have shape {tuple(logits.shape)}, not {(_BATCH, classes)}",
        )
        _require(bool(logits.isfinite().all()), f"{where}: a logit is not finite")
        trainable = {n: p for n, p in network.named_parameters() if p.requires_grad}
        _require(bool(trainable), f"{where}: nothing to train")
        _require(
            sum(p.numel() for p in trainable.values()) == planned,
            f"{where}: not the {planned} parameters that were planned",
        )
        without = [n for n, p in trainable.items() if p.grad is None]
        _require(not without, f"{where}: no gradient reaches {', '.join(without)}")
        _check_weights_follow_from_seed(
            where, partial(build_network, name, shape, classes, options)
        )


def check_dataset(name: str, data_dir: Path | None = None) -> None:
    """Check that a data set has the types that engines expect, and is the same on every load.

    Args:
        name: as in a study.
        data_dir: the folder with data.

    Raises:
        AssertionError: a property does not hold.
        JoulelabError: it cannot be loaded.
    """
    images = load_images(name, data_dir)
    for part, split in (("train", images.train), ("test", images.test)):
        pixels, labels = split.images, split.labels
        _require(pixels.dtype == torch.uint8, f"{part} images are {pixels.dtype}, not uint8")
        _require(labels.dtype == torch.int64, f"{part} labels are {labels.dtype}, not int64")
        _require(
            pixels.ndim == _IMAGE_DIMENSIONS,
            f"{part} images have shape {tuple(pixels.shape)}, not (N, C, H, W)",
        )
        _require(
            tuple(labels.shape) == (len(pixels),),
            f"{len(pixels)} {part} images and labels of shape {tuple(labels.shape)}",
        )
        _require(not pixels.is_cuda and not labels.is_cuda, f"{part} tensors are not on the host")
    _require(
        images.train.images.shape[1:] == images.test.images.shape[1:],
        f"train images are {tuple(images.train.images.shape[1:])}, "
        f"test images {tuple(images.test.images.shape[1:])}",
    )
    present = set(images.train.labels.tolist())
    missing = sorted(set(range(images.classes)) - present)
    _require(not missing, f"no training image has the labels {missing}")
    _require(images.name == name, f"its name is {images.name!r}, not {name!r}")
    again = load_images(name, data_dir)
    _require(images.checksum() == again.checksum(), "a second load gives different images")


def check_engine(make: Callable[[], Engine], device: str = "cpu", tolerance: float = 0.0) -> None:
    """Check that an engine fulfils the contract of the interface.

    Args:
        make: creates an engine.
        device: to train on.
        tolerance: allowed relative difference of losses with the same seed: an engine that trains
            seeds together sums in a different order.

    Raises:
        AssertionError: a property does not hold.
    """
    images = _made_up_images()
    for protocol in protocols.names():
        task = TrainingTask(
            "SimpleCNN", {}, protocol, 2, 20, tuple(Member(seed) for seed in (1, 2, 3))
        )
        augments = protocols.get(protocol).augmentation is not None
        if augments and make().obstacle(task, images, device) is not None:
            continue  # an engine may refuse augmentation, if it says so
        random_state = torch.random.get_rng_state()
        results = _run(make(), task, images, device)
        _require(
            torch.equal(torch.random.get_rng_state(), random_state),
            "training changes torch's global generator",
        )
        _require(len({r.train_losses for r in results}) == len(results), "seeds change nothing")
        engine = make()
        _check_same(results, _run(engine, task, images, device), tolerance, "run twice")
        alone = _run(make(), task.with_members(task.members[1:2]), images, device)
        _check_same([results[1]], alone, tolerance, "with and without other seeds")
        _check_limits(engine, task, images, device, results)
        _check_follows(engine, task, images, device, results)
        _check_divergence(engine, task, images, device, tolerance, results)


def _run(engine: Engine, task: TrainingTask, images: Images, device: str) -> list[TrainingResult]:
    """Train all parts of a task, and check each result."""
    obstacle = engine.obstacle(task, images, device)
    _require(obstacle is None, f"it cannot train {task.network}: {obstacle}")
    engine.prepare(task, images, device)
    _require(not engine.prepare(task, images, device), "it prepares the same task twice")
    parts = list(engine.split(task, images, device))
    members = tuple(member for part in parts for member in part.members)
    _require(members == task.members, f"split gives {members} for {task.members}")
    results: list[TrainingResult] = []
    for part in parts:
        reported: list[tuple[int, int]] = []
        results += engine.train(part, images, device, lambda *done, r=reported: r.append(done))
        counts = [done for done, _ in reported]
        done, in_all = reported[-1] if reported else (0, 1)
        finished = done == in_all or (bool(reported) and part.max_steps is not None)
        _require(
            counts == sorted(counts) and finished,
            f"progress is reported as {reported}",
        )
    seeds = [member.seed for member in task.members]
    _require([r.seed for r in results] == seeds, "results are not in the order of the members")
    for result in results:
        _require(0 <= result.accuracy <= 1, f"an accuracy of {result.accuracy}")
        _require(result.parameters > 0, f"{result.parameters} parameters")
    return results


def _check_limits(
    engine: Engine, task: TrainingTask, images: Images, device: str, unlimited: list[TrainingResult]
) -> None:
    """A calibration stops as requested."""
    steps = task.epochs * math.ceil(len(images.train) / task.batch_size)
    limited = [
        (limit, min(limit, steps), _run(engine, replace(task, max_steps=limit), images, device))
        for limit in (3, steps + 1)
    ]
    for limit, expected, results in ((None, steps, unlimited), *limited):
        taken = {r.steps for r in results}
        _require(taken == {expected}, f"max_steps={limit} gives {taken} steps, not {expected}")


def _check_follows(
    engine: Engine, task: TrainingTask, images: Images, device: str, plain: list[TrainingResult]
) -> None:
    """What an engine says that it follows changes the training."""
    for name, value in _CHANGED.items():
        changed = replace(task, **{name: value})
        if name in engine.follows and engine.obstacle(changed, images, device) is None:
            results = _run(engine, changed, images, device)
            _require(
                results[0].train_losses != plain[0].train_losses,
                f"it does not follow {name} = {value!r}",
            )


def _check_divergence(
    engine: Engine,
    task: TrainingTask,
    images: Images,
    device: str,
    tolerance: float,
    healthy: list[TrainingResult],
) -> None:
    """A divergence is a result, and does not touch the other members."""
    _require(not any(r.diverged for r in healthy), "a harmless training is called diverged")
    wild = Hyperparameters(learning_rate=1e30)
    members = [task.members[0], replace(task.members[1], hyperparameters=wild), task.members[2]]
    first, diverged, last = _run(engine, task.with_members(members), images, device)
    _require(diverged.diverged, "a training with a learning rate of 1e30 is not called diverged")
    _require(math.isnan(diverged.train_losses[-1]), "its last loss is not NaN")
    _check_same([healthy[0], healthy[2]], [first, last], tolerance, "next to one that diverges")


def _check_same(
    first: Sequence[TrainingResult],
    second: Sequence[TrainingResult],
    tolerance: float,
    how: str,
) -> None:
    for one, other in zip(first, second, strict=True):
        pairs = zip(one.train_losses, other.train_losses, strict=True)
        _require(
            all(math.isclose(a, b, rel_tol=tolerance, abs_tol=0.0) for a, b in pairs),
            f"seed {one.seed} {how}: losses {one.train_losses} and {other.train_losses}",
        )
        _require(tolerance > 0 or one == other, f"seed {one.seed} {how}: results {one} and {other}")


def _check_weights_follow_from_seed(where: str, build: Callable[[], torch.nn.Module]) -> None:
    weights = []
    for seed in (7, 7, 8):
        with seeded(seed, _CPU):
            weights.append(torch.cat([p.detach().flatten() for p in build().parameters()]))
    _require(torch.equal(weights[0], weights[1]), f"{where}: one seed gives different weights")
    _require(not torch.equal(weights[0], weights[2]), f"{where}: two seeds give the same weights")


def _made_up_images() -> Images:
    """50 training and 20 test images of 1x8x8 in 3 learnable classes."""
    generator = torch.Generator().manual_seed(0)

    def split(size: int) -> Split:
        labels = torch.arange(size) % 3
        noise = torch.randint(0, 156, (size, 1, 8, 8), generator=generator)
        return Split((noise + 33 * labels[:, None, None, None]).to(torch.uint8), labels)

    return Images("made-up", split(50), split(20), 3, "joulelab.learning.conformance")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
