"""Miniatures of studies that train.

The work of a study is its trainings x epochs x training images. A miniature at scale S does the
share S of it::

    share kept of      rounds        repetitions   epochs        images
    exponent x         0.1           0.2           0.2           0.5
    least              8             2             3             200 (test images: 500)

Rounds are reduced least, because studies compare how accuracy grows with them. Quantities are
processed from left to right. Each keeps the share s ^ (x / sum of its own and the later exponents)
of the remaining share s (initially S), rounded to a whole number and never below its minimum (or
the whole, if smaller); then s is divided by the kept share. So later quantities, finally the
images, compensate for rounding and lower limits. Keys set by the user stay, and varied ones; they
are excluded from the sum. If even the minimum of images is too many, a miniature does more than S:
see `Miniature.share`.

Test images are reduced like training images, and batches become smaller if an epoch would have
fewer than 16 steps: the largest power of two with enough steps, but not below 128. In smaller
batches the optimiser, whose work does not depend on the images, would cost more than the layers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from joulelab.errors import UsageError
from joulelab.study.miniature import (
    IsSet,
    check_scale,
    is_overridden,
    miniature_table,
    thinned_count,
    value_at,
)

ROUNDS, REPETITIONS, EPOCHS, IMAGES = 0.1, 0.2, 0.2, 0.5
LEAST_ROUNDS, LEAST_REPETITIONS, LEAST_EPOCHS = 8, 2, 3
LEAST_TRAIN_IMAGES, LEAST_TEST_IMAGES = 200, 500
LEAST_STEPS, LEAST_BATCH = 16, 128
TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000
"""Assumed size of a data set before loading: that of CIFAR-10."""


@dataclass(frozen=True)
class _Thinning:
    """The remaining share, and the sum of the remaining exponents."""

    left: float
    exponents: float

    def share(self, exponent: float) -> float:
        """The share that a quantity with this exponent keeps; at most 1."""
        return min(1.0, math.pow(self.left, exponent / self.exponents))

    def after(self, exponent: float, kept: float) -> _Thinning:
        """The budget after a quantity has kept a share."""
        return _Thinning(self.left / kept, self.exponents - exponent)


def training_miniature(
    study: Mapping[str, Any],
    configurations: Mapping[str, int],
    scale: float,
    overridden: Collection[tuple[str, ...]] = (),
    *,
    least_repetitions: int = LEAST_REPETITIONS,
    least_epochs: int = LEAST_EPOCHS,
) -> dict[str, Any]:
    """Scale a study down to a share of its work.

    Args:
        study: every key with its value, from `StudySpec.to_dict`.
        configurations: number of configurations of each experiment.
        scale: the share, between 0 and 1.
        overridden: keys, or tables, that stay unchanged, each split into parts.
        least_repetitions: fewest repetitions that are kept.
        least_epochs: fewest epochs.

    Returns:
        The keys of the miniature, including the table ``[miniature]``.

    Raises:
        UsageError: the scale is not between 0 and 1, or nothing can be reduced.
    """
    check_scale(scale)
    varied = {name for table in study["experiment"].values() for name in table.get("vary", ())}

    def is_set(key: str) -> bool:
        return key in varied or is_overridden(overridden, *key.split("."))

    thin: dict[str, Any] = deepcopy(dict(study))
    images_exponent = 0.0 if is_set("train_images") else IMAGES
    epochs_exponent = 0.0 if is_set("epochs") else EPOCHS
    later = epochs_exponent + images_exponent
    trainings = _thin_experiments(
        thin, configurations, scale, later, is_set, least_repetitions=least_repetitions
    )
    thinning = _Thinning(scale / trainings, later)
    share = trainings
    if epochs_exponent:
        kept = thinned_count(study["epochs"], least_epochs, thinning.share(EPOCHS))
        thin["epochs"] = kept
        share *= kept / study["epochs"]
        thinning = thinning.after(EPOCHS, kept / study["epochs"])
    if images_exponent:
        kept_images = min(1.0, thinning.left)
        thin["train_images"], kept_images = _thinned_images(
            study["train_images"], TRAIN_IMAGES, LEAST_TRAIN_IMAGES, kept_images
        )
        share *= kept_images
        if not is_set("test_images"):
            thin["test_images"], _ = _thinned_images(
                study["test_images"], TEST_IMAGES, LEAST_TEST_IMAGES, kept_images
            )
        if not is_set("batch_size"):
            thin["batch_size"] = _batch(study["batch_size"], thin["train_images"])
    whole = {
        key: value_at(study, key)
        for key in _keys(study)
        if value_at(thin, key) != value_at(study, key)
    }
    if not whole:
        raise UsageError(
            f"the study cannot be scaled down to {scale:g}: it is as small as it can be",
            "omit the scale, or the keys that set rounds, repetitions, epochs and images",
        )
    thin["miniature"] = miniature_table(scale, share, whole)
    return thin


def _thin_experiments(
    study: dict[str, Any],
    configurations: Mapping[str, int],
    scale: float,
    later: float,
    is_set: IsSet,
    *,
    least_repetitions: int,
) -> float:
    """Reduce rounds and repetitions in place; returns the kept share of trainings.

    Args:
        study: changed.
        configurations: of each experiment.
        scale: the share to keep.
        later: sum of the exponents of later quantities.
        is_set: whether the user has set a key.
        least_repetitions: fewest that are kept.
    """
    whole = kept = 0
    for name, table in study["experiment"].items():
        whole += configurations[name] * _trainings(table)
        free = [
            (key, exponent, least)
            for key, exponent, least in (
                ("rounds", ROUNDS, LEAST_ROUNDS),
                ("repetitions", REPETITIONS, least_repetitions),
            )
            if key in table and not is_set(f"experiment.{name}.{key}")
        ]
        thinning = _Thinning(scale, later + math.fsum(exponent for _, exponent, _ in free))
        for key, exponent, least in free:
            before = table[key]
            table[key] = thinned_count(before, least, thinning.share(exponent))
            thinning = thinning.after(exponent, table[key] / before)
        kept += configurations[name] * _trainings(table)
    return kept / whole


def _trainings(table: Mapping[str, Any]) -> int:
    """Rounds of each configuration; one without a search."""
    return int(table.get("rounds", 1)) * int(table["repetitions"])


def _thinned_images(
    whole: float | str, assumed: int, least: int, share: float
) -> tuple[float | str, float]:
    """The number or share of images, and their share of the full study's."""
    if share >= 1:
        return whole, 1.0
    if isinstance(whole, int):
        kept = thinned_count(whole, least, share)
        return kept, kept / whole
    before = 1.0 if isinstance(whole, str) else whole
    after = min(before, max(before * share, least / assumed))
    if after >= before:
        return whole, 1.0
    after = float(f"{after:.4g}")
    return after, after / before


def _batch(whole: int, train_images: float | str) -> int:
    """The largest power of two with enough steps per epoch, or the original batch size."""
    if isinstance(train_images, str):
        images = float(TRAIN_IMAGES)
    else:
        images = train_images if isinstance(train_images, int) else train_images * TRAIN_IMAGES
    if images / whole >= LEAST_STEPS:
        return whole
    fitting = 1 << math.floor(math.log2(max(images / LEAST_STEPS, 1.0)))
    return min(whole, max(LEAST_BATCH, fitting))


def _keys(study: Mapping[str, Any]) -> list[str]:
    experiments = [
        f"experiment.{name}.{key}"
        for name, table in study["experiment"].items()
        for key in ("rounds", "repetitions")
        if key in table
    ]
    return [*experiments, "epochs", "train_images", "test_images", "batch_size"]
