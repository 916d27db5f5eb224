"""Which chapter an experiment has."""

from __future__ import annotations

from collections.abc import Sequence

from joulelab.report.batching.chapter import BATCHING
from joulelab.report.chapter import Chapter
from joulelab.report.experiment import Experiment
from joulelab.report.timeline.chapter import TIMELINE
from joulelab.report.training_chapter import TRAINING
from joulelab.report.training_cost.chapter import TRAINING_COST

CHAPTERS = {"batching": BATCHING, "timeline": TIMELINE, "training-cost": TRAINING_COST}
"""By the kind of the experiment; any other is taken to train."""


def chapter(experiment: Experiment) -> Chapter:
    """What the report shows of an experiment."""
    return CHAPTERS.get(experiment.kind, TRAINING)


def trainings(experiments: Sequence[Experiment]) -> list[Experiment]:
    """Those whose runs are trainings."""
    return [one for one in experiments if chapter(one).trains]
