"""The two kinds of experiment of the paper: searches, and designs of layers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from joulelab.report.experiment import Experiment
from joulelab.report.tables import STRATEGY
from joulelab.report.told_apart import told_apart

COUNT = "hyperparameters"
"""The factor that says how many of them a search tunes."""


def of_both_kinds(
    experiments: Sequence[Experiment],
) -> tuple[list[Experiment], list[Experiment]]:
    """Those with finished runs that compare strategies, and those that compare layers.

    No two of a kind have the same name of the data set.
    """
    known = [one for one in experiments if len(one.runs)]
    searches = [one for one in known if STRATEGY in one.factors]
    layers = [one for one in known if one.factors and STRATEGY not in one.factors]
    return (
        told_apart(searches, lambda one: one.dataset),
        told_apart(layers, lambda one: one.dataset),
    )


def factors_of(experiments: Sequence[Experiment], first: Sequence[str] = ()) -> list[str]:
    """The factors of all of them, some before the others."""
    there = dict.fromkeys(name for one in experiments for name in one.factors)
    return [*(name for name in first if name in there), *(n for n in there if n not in first)]


def records(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """A mapping a row."""
    return frame.to_dict("records")
