"""Miniatures: a share of the work of a study, thinned so that its questions can still be asked.

The work of a study is its trainings x epochs x training images. A miniature at scale S does the
share S of it::

    share kept of      rounds        repetitions   epochs        images
    exponent x         0.1           0.2           0.2           0.5
    least              8             2             3             200 (test images: 500)

Rounds are thinned least, for what is compared is how accuracy grows with them. The quantities are
taken from left to right. Each keeps the share s ^ (x / sum of its own and the later exponents) of
what is then left to be kept, s (at first S), rounded to a whole number and never below its least
(or the whole, where that is less); then s is divided by the share that was kept. So what rounding
and the lower limits take or leave is made up by the next, and in the end by the images. What a user
has set stays, and drops out of the sum. Where even the fewest images are too many, a miniature does
more than S: `Miniature.share` says how much.

Test images keep the share of the training images, and batches become smaller where an epoch would
have fewer than 16 steps: the largest power of two that leaves so many, but not below 128. In
smaller batches the optimiser, whose work does not depend on the images, would cost more than the
layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from joulelab import formats
from joulelab.errors import UsageError, quoted

ROUNDS, REPETITIONS, EPOCHS, IMAGES = EXPONENTS = (0.1, 0.2, 0.2, 0.5)
LEAST_ROUNDS, LEAST_REPETITIONS, LEAST_EPOCHS = 8, 2, 3
LEAST_TRAIN_IMAGES, LEAST_TEST_IMAGES = 200, 500
LEAST_STEPS, LEAST_BATCH = 16, 128
TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000
"""What a whole data set is taken to have before it is loaded: as many as CIFAR-10."""

COUNTED = {
    "rounds": "rounds",
    "repetitions": "repetitions",
    "requests": "requests",
    "seconds": "seconds a window",
    "warm_up_batches": "batches of warm-up",
}
"""Keys of an experiment that a miniature may have less of, and what they are called."""

Number = int | float | str
IsSet = Callable[[str], bool]


class Miniature(BaseModel):
    """The table ``[miniature]`` of a study that was thinned.

    Attributes:
        scale: the share of the work that was asked for.
        share: the share that is really done.
        whole: what the whole study has of that which was thinned, by key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: Annotated[float, Field(gt=0, lt=1)]
    share: Annotated[float, Field(gt=0)]
    whole: dict[str, Number]


@dataclass(frozen=True)
class _Thinning:
    """What is left to be kept, and the sum of the exponents that share it."""

    left: float
    exponents: float

    def share(self, exponent: float) -> float:
        """What a quantity of this exponent keeps; 1 where there is no less to keep."""
        return min(1.0, math.pow(self.left, exponent / self.exponents))

    def after(self, exponent: float, kept: float) -> _Thinning:
        """The same once a quantity has kept so much."""
        return _Thinning(self.left / kept, self.exponents - exponent)


def check_scale(scale: float) -> float:
    """A scale that is one.

    Raises:
        UsageError: it is not between 0 and 1.
    """
    if not 0 < scale < 1:
        raise UsageError(
            f"a scale of {scale:g} is not possible: it is a share of the work, between 0 and 1",
            "try 0.001, or leave it out for the whole study",
        )
    return scale


def miniature(
    study: Mapping[str, Any],
    configurations: Mapping[str, int],
    scale: float,
    overridden: Collection[tuple[str, ...]] = (),
) -> dict[str, Any]:
    """A study with a share of its work.

    Args:
        study: every key with its value, as `StudySpec.to_dict` gives it.
        configurations: how many there are of each experiment.
        scale: the share, between 0 and 1.
        overridden: keys that stay as they are, or tables of such keys, each in its parts.

    Returns:
        The keys of the miniature, the table ``[miniature]`` among them.

    Raises:
        UsageError: the scale is not between 0 and 1, or nothing is left to be thinned.
    """
    check_scale(scale)

    def is_set(key: str) -> bool:
        parts = tuple(key.split("."))
        return any(parts[: len(one)] == one for one in overridden)

    thin: dict[str, Any] = deepcopy(dict(study))
    images_exponent = 0.0 if is_set("train_images") else IMAGES
    epochs_exponent = 0.0 if is_set("epochs") else EPOCHS
    later = epochs_exponent + images_exponent
    trainings = _thin_experiments(thin, configurations, scale, later, is_set)
    thinning = _Thinning(scale / trainings, later)
    share = trainings
    if epochs_exponent:
        kept = thinned_count(study["epochs"], LEAST_EPOCHS, thinning.share(EPOCHS))
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
    whole = {key: _at(study, key) for key in _keys(study) if _at(thin, key) != _at(study, key)}
    if not whole:
        raise UsageError(
            f"there is nothing to thin to a scale of {scale:g}",
            "leave out the scale, or what sets rounds, repetitions, epochs and images",
        )
    thin["miniature"] = miniature_table(scale, share, whole)
    return thin


def miniature_table(scale: float, share: float, whole: Mapping[str, Number]) -> dict[str, Any]:
    """The table ``[miniature]``.

    Args:
        scale: the share of the work that was asked for.
        share: the share that is done.
        whole: what the whole study has of that which was thinned, by key.
    """
    # Rounded, so that the same command gives the same file on every machine.
    return {"scale": scale, "share": float(f"{share:.4g}"), "whole": dict(whole)}


def _thin_experiments(
    study: dict[str, Any],
    configurations: Mapping[str, int],
    scale: float,
    later: float,
    is_set: IsSet,
) -> float:
    """Thin rounds and repetitions in place; the share of the trainings that is kept.

    Args:
        study: changed.
        configurations: of each experiment.
        scale: what is to be kept.
        later: sum of the exponents of what is thinned afterwards.
        is_set: whether the user has set a key.
    """
    whole = kept = 0
    for name, table in study["experiment"].items():
        whole += configurations[name] * _trainings(table)
        free = [
            (key, exponent, least)
            for key, exponent, least in (
                ("rounds", ROUNDS, LEAST_ROUNDS),
                ("repetitions", REPETITIONS, LEAST_REPETITIONS),
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
    """Of each configuration; what is not searched has one round."""
    return int(table.get("rounds", 1)) * int(table["repetitions"])


def thinned_count(whole: int, least: int, share: float) -> int:
    """A share of a number, rounded, but no less than its least, or the whole if that is less."""
    return min(whole, max(least, round(whole * share)))


def _thinned_images(
    whole: float | str, assumed: int, least: int, share: float
) -> tuple[float | str, float]:
    """How many images, or which share of them, and the share of the whole study's that this is."""
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
    """The largest power of two that leaves enough steps an epoch; the whole batch if that does."""
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


def _at(study: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - plain data of any shape
    if key.startswith("experiment."):
        # A name may have dots of its own.
        name, _, last = key.removeprefix("experiment.").rpartition(".")
        return study["experiment"][name][last]
    return study[key]


def thinned_value(study: Mapping[str, Any], key: str, whole: Number) -> Number:
    """What a miniature has of that of which the whole study has so much.

    Args:
        study: as a results folder's ``study.toml`` has it.
        key: under ``[miniature]``, in the table ``whole``.
        whole: what stands there.

    Raises:
        ValueError: the study has no such key, or one of the two is no number where both must be.
    """
    try:
        value: Number = _at(study, key)
    except (KeyError, TypeError):
        raise ValueError(f"miniature names {quoted(key)}, which the study does not have") from None
    for one in (value, whole):
        if isinstance(one, bool) or not isinstance(one, int | float):
            if key in ("train_images", "test_images") and isinstance(one, str):
                continue
            raise ValueError(f"{quoted(key)} is {quoted(one)}, which is no number")
    return value


def miniature_in_words(
    study: Mapping[str, Any], train_images: tuple[int, int] | None = None
) -> str | None:
    """What was thinned, in words; ``None`` for a study that is whole.

    ``a miniature at scale 0.0005: 30 of 64 rounds, 2 of 8 repetitions, 5 of 25 epochs, 1,280 of
    60,000 images, batches of 128 instead of 512``

    Args:
        study: every key with its value, as a results folder's ``study.toml`` has it.
        train_images: how many training images there are in the miniature and in all, once they are
            loaded.
    """
    table = study.get("miniature")
    if not table:
        return None
    whole = table["whole"]
    several = len(study["experiment"]) > 1
    parts = []
    for name in study["experiment"]:
        of = [
            f"{_at(study, key):,} of {whole[key]:,} {words}"
            for what, words in COUNTED.items()
            if (key := f"experiment.{name}.{what}") in whole
        ]
        if of:
            parts.append(f"{', '.join(of)} in {name}" if several else ", ".join(of))
    if "epochs" in whole:
        parts.append(f"{study['epochs']:,} of {whole['epochs']:,} epochs")
    if "train_images" in whole:
        parts.append(_images_in_words(study["train_images"], whole["train_images"], train_images))
    if "batch_size" in whole:
        parts.append(f"batches of {study['batch_size']:,} instead of {whole['batch_size']:,}")
    return f"a miniature at scale {_scale_in_words(table)}: {', '.join(parts)}"


def _scale_in_words(table: Mapping[str, Any]) -> str:
    asked, done = formats.number(table["scale"]), formats.share(table["share"])
    near = math.isclose(table["scale"], table["share"], rel_tol=0.02)
    return asked if near else f"{asked} ({done} of the work, as little as possible)"


def _images_in_words(now: float, whole: Number, counted: tuple[int, int] | None) -> str:
    if isinstance(whole, int):
        return f"{now:,} of {whole:,} images"
    if counted is not None:
        return f"{counted[0]:,} of {counted[1]:,} images"
    of = "" if isinstance(whole, str) else f" instead of {formats.share(whole)}"
    return f"{formats.share(now)} of the images{of}"
