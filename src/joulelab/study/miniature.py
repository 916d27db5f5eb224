"""Miniatures: studies scaled down to a share of the work, with the same structure.

Each kind of experiment defines its scaling (`ExperimentSpec.miniature`). This module has the common
parts, and `miniature`, which scales experiment by experiment and by default reduces repetitions.
Keys set by the user stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from joulelab import formats
from joulelab.errors import UsageError, quoted

LEAST_REPETITIONS = 2

COUNTED = {
    "rounds": "rounds",
    "repetitions": "repetitions",
    "requests": "requests",
    "seconds": "seconds a window",
    "warm_up_batches": "batches of warm-up",
}
"""Display names of keys that a miniature may reduce; other keys are shown by name."""

Number = int | float | str
IsSet = Callable[[str], bool]
"""Whether the user has set a key."""
Thin = Callable[[dict[str, Any], float, IsSet], tuple[float, float]]
"""Scales the table of an experiment down in place; returns the work of one configuration before and
after. Its last argument tells which keys the user has set."""


class Miniature(BaseModel):
    """The table ``[miniature]`` of a scaled-down study.

    Attributes:
        scale: the requested share of the work.
        share: the actual share.
        whole: original values of the reduced keys.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: Annotated[float, Field(gt=0, lt=1)]
    share: Annotated[float, Field(gt=0)]
    whole: dict[str, Number]


def check_scale(scale: float) -> float:
    """Check a scale.

    Raises:
        UsageError: it is not between 0 and 1.
    """
    if not 0 < scale < 1:
        raise UsageError(
            f"a scale of {scale:g} is not possible: the scale is a share of the work, between 0 "
            "and 1",
            "try 0.001, or omit it to run the whole study",
        )
    return scale


def is_overridden(overridden: Collection[tuple[str, ...]], *key: str) -> bool:
    """Whether a key, or a table that contains it, is among those that the user has set."""
    return any(key[: len(one)] == one for one in overridden)


def fewer_repetitions(table: dict[str, Any], scale: float, is_set: IsSet) -> tuple[float, float]:
    """Reduce repetitions; see `Thin` for arguments and result."""
    before = table["repetitions"]
    if not is_set("repetitions"):
        table["repetitions"] = thinned_count(before, LEAST_REPETITIONS, scale)
    return before, table["repetitions"]


def miniature(
    study: Mapping[str, Any],
    configurations: Mapping[str, int],
    scale: float,
    overridden: Collection[tuple[str, ...]] = (),
    thin: Thin = fewer_repetitions,
) -> dict[str, Any]:
    """Scale a study down to a share of its work.

    Args:
        study: every key with its value, from `StudySpec.to_dict`.
        configurations: number of configurations of each experiment.
        scale: the share, between 0 and 1.
        overridden: keys, or tables, that stay unchanged, each split into parts.
        thin: scales one experiment.

    Returns:
        The keys of the miniature, including the table ``[miniature]``.

    Raises:
        UsageError: the scale is not between 0 and 1, or nothing can be reduced.
    """
    check_scale(scale)
    small: dict[str, Any] = deepcopy(dict(study))
    whole_work = kept_work = 0.0
    whole: dict[str, Number] = {}
    for name, table in small["experiment"].items():
        before = dict(table)

        def is_set(key: str, name: str = name) -> bool:
            return is_overridden(overridden, "experiment", name, key)

        work, kept = thin(table, scale, is_set)
        whole_work += configurations[name] * work
        kept_work += configurations[name] * kept
        whole |= {
            f"experiment.{name}.{key}": value
            for key, value in before.items()
            if table[key] != value
        }
    if not whole:
        raise UsageError(
            f"this study is too small for scale {scale:g}",
            "use a larger scale, or omit --scale",
        )
    small["miniature"] = miniature_table(scale, kept_work / whole_work, whole)
    return small


def miniature_table(scale: float, share: float, whole: Mapping[str, Number]) -> dict[str, Any]:
    """The table ``[miniature]``.

    Args:
        scale: the requested share of the work.
        share: the actual share.
        whole: original values of the reduced keys.
    """
    # Rounded, so that the same command writes the same file on every machine.
    return {"scale": scale, "share": float(f"{share:.4g}"), "whole": dict(whole)}


def thinned_count(whole: int, least: int, share: float) -> int:
    """A share of a number, rounded, but at least its minimum, or the whole if smaller."""
    return min(whole, max(least, round(whole * share)))


def value_at(study: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - plain data of any shape
    """The value of a dotted key of a study."""
    if key.startswith("experiment."):
        # A name may contain dots.
        name, _, last = key.removeprefix("experiment.").rpartition(".")
        return study["experiment"][name][last]
    return study[key]


def thinned_value(study: Mapping[str, Any], key: str, whole: Number) -> Number:
    """The value of a reduced key in a miniature.

    Args:
        study: as in a results folder's ``study.toml``.
        key: under ``[miniature]``, in the table ``whole``.
        whole: its value there.

    Raises:
        ValueError: the study has no such key, or one of the two is not a number as required.
    """
    try:
        value: Number = value_at(study, key)
    except (KeyError, TypeError):
        raise ValueError(
            f"miniature has {quoted(key)}, a key that the study does not have"
        ) from None
    for one in (value, whole):
        if isinstance(one, bool) or not isinstance(one, int | float):
            if _may_be_text(key) and isinstance(one, str):
                continue
            raise ValueError(f"{quoted(key)} is {quoted(one)}, which is not a number")
    return value


def _may_be_text(key: str) -> bool:
    """Whether a key may have words: ``"all"`` images, a budget of ``"270 epochs"``."""
    return key in ("train_images", "test_images") or key.endswith(".budget")


def miniature_in_words(
    study: Mapping[str, Any], train_images: tuple[int, int] | None = None
) -> str | None:
    """The reductions in words; ``None`` for a full study.

    ``a miniature at scale 0.0005: 30 of 64 rounds, 2 of 8 repetitions, 5 of 25 epochs, 1,280 of
    60,000 images, batches of 128 instead of 512``

    Args:
        study: every key with its value, as in a results folder's ``study.toml``.
        train_images: numbers of training images in the miniature and in all, once loaded.
    """
    table = study.get("miniature")
    if not table:
        return None
    whole = table["whole"]
    several = len(study["experiment"]) > 1
    parts = []
    for name in study["experiment"]:
        of = [
            _reduced_in_words(value_at(study, key), whole[key], what)
            for what in _by_words(study["experiment"][name])
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


def _reduced_in_words(now: Number, whole: Number, what: str) -> str:
    if isinstance(now, str) or isinstance(whole, str):
        return f"a {what} of {now} instead of {whole}"
    return f"{now:,} of {whole:,} {COUNTED.get(what, what)}"


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


def _by_words(table: Mapping[str, Any]) -> list[str]:
    """The keys of an experiment, those with display names first."""
    return [*COUNTED, *(key for key in table if key not in COUNTED)]
