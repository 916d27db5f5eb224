"""Names for experiments that would otherwise share one.

A study may hold two searches on one data set, and two studies may be the same one run twice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from joulelab.report.experiment import Experiment


def told_apart(
    experiments: Sequence[Experiment], name: Callable[[Experiment], Hashable]
) -> list[Experiment]:
    """The experiments, in order; those with the same name get longer names of their data sets.

    Args:
        experiments: of one study or of several.
        name: what must not occur twice, for instance the name of the data set.

    Returns:
        Of ``digits`` twice ``digits (first)`` and ``digits (second)`` by the names of the
        experiments, and ``digits (1)`` and ``digits (2)`` where these are the same too.
    """
    named = [name(one) for one in experiments]
    found = []
    for at, one in enumerate(experiments):
        alike = [other for other, its in zip(experiments, named, strict=True) if its == named[at]]
        if len(alike) == 1:
            found.append(one)
            continue
        distinct = len({other.name for other in alike}) == len(alike)
        which = one.name if distinct else str(named[: at + 1].count(named[at]))
        found.append(replace(one, dataset=f"{one.dataset} ({which})".strip()))
    return found
