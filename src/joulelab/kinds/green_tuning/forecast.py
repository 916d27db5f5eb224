"""Predict searches from the cost of a training: how many trainings a budget pays for.

A few steps of trainings in the middle of the space are timed, stacked as in the study (see
`joulelab.kinds.training.prediction`). A search takes as many as its budget pays for, and the
trainings that judge what it chose. Spaces with several depths or batch sizes have trainings of
several costs, of which this is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from joulelab import formats
from joulelab.budget import TOLERANCE, Budget
from joulelab.errors import SpecError
from joulelab.kinds.training.executor import ImagesRequest, TrainingJob
from joulelab.kinds.training.spec import TrainingConfiguration
from joulelab.learning.engine import Member, TrainingTask
from joulelab.study.prediction import Cost, Estimate, Prediction
from joulelab.tuning.space import SearchSpace, Value

Key = tuple[str, str]


@dataclass(frozen=True)
class Extent:
    """How large a search is.

    Attributes:
        title: of the configuration.
        budget: of the search.
        epochs: of a full training.
        judged: trainings apart from the budget.
    """

    title: str
    budget: Budget
    epochs: int
    judged: int


def middle(space: SearchSpace) -> dict[str, Value]:
    """The values in the middle of every variable."""
    return space.decode(space.quantile(np.full((1, len(space.variables)), 0.5))[0])


def training_job(
    one: TrainingConfiguration,
    task: TrainingTask,
    member: Member,
    together: int,
    images: ImagesRequest,
    device: str,
    threads: int,
) -> TrainingJob:
    """A job of as many full trainings as a search trains together."""
    return TrainingJob(
        label="calibration",
        device=device,
        threads=threads,
        task=replace(task, members=(member,) * together),
        images=images,
        engine="fast",
    )


def of_searches(trainings: Prediction, extents: Mapping[Key, Extent]) -> Prediction:
    """The prediction of searches from that of their trainings.

    Args:
        trainings: a run is a full training.
        extents: of the searches, by configuration. One whose budget is in grams is left out: the
            intensity at the time of the search is unknown.

    Raises:
        SpecError: a budget is certainly below one evaluation.
    """
    keys: dict[Key, str] = {}
    estimates: dict[str, Estimate] = {}
    # The budget is kept by the same meters, so their error is in both.
    exact = {name: replace(one, error_w=0.0) for name, one in trainings.estimates.items()}
    as_metered = replace(trainings, estimates=exact)
    for one, extent in extents.items():
        cost = as_metered.of_counts({one: 1})
        _check_least(extent, cost)
        count = _evaluations(extent, cost)
        if count is None:
            continue
        name = trainings.keys[one]
        keys[one] = f"{name} x {count + extent.judged:g}"
        estimates[keys[one]] = _times(trainings.estimates[name], count + extent.judged)
    return Prediction(keys, estimates, trainings.drift)


def _evaluations(extent: Extent, cost: Cost) -> float | None:
    """Full trainings that a budget pays for; None where their cost in its unit is unknown."""
    each = {
        "epochs": float(extent.epochs),
        "evaluations": 1.0,
        "seconds": cost.duration_s,
        "joules": cost.energy_j,
    }.get(extent.budget.unit)
    return extent.budget.amount / each if each else None


def _check_least(extent: Extent, cost: Cost) -> None:
    low = {"seconds": cost.duration_low_s, "joules": cost.energy_low_j}.get(extent.budget.unit)
    if low is None or low <= extent.budget.amount * (1 + TOLERANCE):
        return
    likely = (
        formats.duration(cost.duration_s)
        if extent.budget.unit == "seconds"
        else formats.joules(cost.energy_j)
    )
    raise SpecError(
        f"{extent.title}: a budget of {extent.budget} is below one evaluation, which will take "
        f"about {likely}",
        "raise the budget, or train fewer epochs or images",
    )


def _times(one: Estimate, count: float) -> Estimate:
    return replace(
        one,
        duration_s=one.duration_s * count,
        duration_variance=one.duration_variance * count**2,
        powered_s=one.powered_s * count,
    )
