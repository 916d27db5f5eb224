"""Miniatures of studies that serve: fewer repetitions, and shorter windows.

The work of a study is its windows x requests (of a timeline: x seconds). A miniature at scale S
keeps the share S^(1/5) of the repetitions, but two at least, and what is then left to be kept of
the requests, but 64 at least, or of the seconds, but half of one. The warm-up is thinned as the
requests are, but not below two batches. What a user has set stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from typing import Any

from joulelab.errors import UsageError
from joulelab.study.miniature import check_scale, miniature_table, thinned_count

REPETITIONS = 0.2
LEAST_REPETITIONS, LEAST_REQUESTS, LEAST_SECONDS, LEAST_WARM_UP = 2, 64, 0.5, 2


def inference_miniature(
    study: Mapping[str, Any],
    configurations: Mapping[str, int],
    scale: float,
    overridden: Collection[tuple[str, ...]] = (),
) -> dict[str, Any]:
    """A study of windows with a share of its work.

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
    thin: dict[str, Any] = deepcopy(dict(study))
    whole_work = kept_work = 0.0
    whole: dict[str, float] = {}
    for name, table in thin["experiment"].items():
        before = dict(table)

        def is_set(key: str, name: str = name) -> bool:
            parts = ("experiment", name, key)
            return any(parts[: len(one)] == one for one in overridden)

        _thin(table, scale, is_set)
        windows = configurations[name] * before["repetitions"]
        length = _length(before)
        whole_work += windows * before[length]
        kept_work += configurations[name] * table["repetitions"] * table[length]
        whole |= {
            f"experiment.{name}.{key}": value
            for key, value in before.items()
            if table[key] != value
        }
    if not whole:
        raise UsageError(
            f"there is nothing to thin to a scale of {scale:g}",
            "leave out the scale, or what sets repetitions and requests",
        )
    thin["miniature"] = miniature_table(scale, kept_work / whole_work, whole)
    return thin


def _thin(table: dict[str, Any], scale: float, is_set: Callable[[str], bool]) -> None:
    length = _length(table)
    left = scale
    if not is_set("repetitions"):
        repetitions = table["repetitions"]
        share = 1.0 if is_set(length) else REPETITIONS
        kept = thinned_count(repetitions, LEAST_REPETITIONS, scale**share)
        table["repetitions"] = kept
        left = min(1.0, scale * repetitions / kept)
    if is_set(length):
        return
    if length == "seconds":
        table["seconds"] = min(table["seconds"], max(LEAST_SECONDS, table["seconds"] * left))
        return
    before = table["requests"]
    table["requests"] = thinned_count(before, LEAST_REQUESTS, left)
    if not is_set("warm_up_batches"):
        batches, share = table["warm_up_batches"], table["requests"] / before
        table["warm_up_batches"] = thinned_count(batches, LEAST_WARM_UP, share)


def _length(table: Mapping[str, Any]) -> str:
    """What says how long a window is."""
    return "requests" if "requests" in table else "seconds"
