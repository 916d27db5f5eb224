"""Miniatures of studies of searches.

They are scaled down as studies that train are, to no fewer than nine epochs, so that a search has
rungs to stop at (after 1, 3 and 9 epochs), and three searches of a configuration, so that their
scores have a range. A budget shrinks with the cost of a full training, so that a search may do as
many of them as in the full study.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from joulelab.budget import parse_budget
from joulelab.kinds.training.miniature import training_miniature
from joulelab.study.miniature import is_overridden, value_at

LEAST_EPOCHS, LEAST_SEARCHES = 9, 3
WRITTEN = {"epochs": "epochs", "seconds": "s", "joules": "J", "grams": "gCO2e"}
"""Units of budgets that shrink; one in evaluations shrinks by itself."""


def search_miniature(
    study: Mapping[str, Any],
    configurations: Mapping[str, int],
    scale: float,
    overridden: Collection[tuple[str, ...]],
) -> dict[str, Any]:
    """Scale a study of searches down to a share of its work; arguments as `training_miniature`."""
    thin = training_miniature(
        study,
        configurations,
        scale,
        overridden,
        least_repetitions=LEAST_SEARCHES,
        least_epochs=LEAST_EPOCHS,
    )
    whole = thin["miniature"]["whole"]
    epochs = thin["epochs"] / study["epochs"]
    repetitions = [
        thin["experiment"][name]["repetitions"] / table["repetitions"]
        for name, table in study["experiment"].items()
    ]
    # What is left of the work after searches and epochs is that of the images.
    images = thin["miniature"]["share"] / epochs / max(repetitions)
    for name, table in study["experiment"].items():
        key = ("experiment", name, "budget")
        budget = parse_budget(table["budget"])
        if is_overridden(overridden, *key) or budget.unit not in WRITTEN:
            continue
        share = epochs if budget.unit == "epochs" else epochs * images
        amount = f"{budget.amount * share:.4g}"
        if budget.unit == "epochs":
            amount = f"{math.ceil(budget.amount * share)}"
        text = f"{amount} {WRITTEN[budget.unit]}"
        if text != table["budget"]:
            thin["experiment"][name]["budget"] = text
            whole[".".join(key)] = value_at(study, ".".join(key))
    return thin
