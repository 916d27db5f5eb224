"""What a study tells while it runs; the command line draws it, a program may ignore it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joulelab.energy.reading import Total
    from joulelab.study.executor import Heartbeat
    from joulelab.study.plan import Plan
    from joulelab.study.prediction import Prediction
    from joulelab.study.spec import StudySpec
    from joulelab.study.store import PlannedRun


@dataclass(frozen=True)
class WorkloadSummary:
    """What a session will work with, in words and as data.

    Attributes:
        means: for the title of a plan: ``fast engine, fp32``.
        noun: what a run is: ``training``.
        extent: what all runs have in common: ``of 25 epochs on digits (1,500 training ...)``.
        basis: what a prediction is made from: ``a few steps of each network``.
        remark: where something is not as it was asked for; ``None`` where it is.
        train_images: how many training images are used and how many there are; ``None`` where
            nothing is trained.
        data: for JSON.
        by_configuration: for JSON, by experiment and configuration.
    """

    means: str
    noun: str
    extent: str
    basis: str
    remark: str | None = None
    train_images: tuple[int, int] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    by_configuration: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)


class Listener:
    """Hears what happens and does nothing; override what is of interest.

    `progress` is called from another thread than the rest.
    """

    def laid_out(self, spec: StudySpec, plan: Plan, states: Mapping[str, str]) -> None:
        """The plan is made; `states` says what earlier sessions have done of it."""

    def loaded(self, summaries: Sequence[WorkloadSummary]) -> None:
        """Everything is loaded; each workload says what it works with."""

    def doing(self, what: str) -> None:
        """Something other than a run goes on, in words."""

    def predicted(self, prediction: Prediction) -> None:
        """Time and energy have been predicted."""

    def started(self, runs: Sequence[PlannedRun]) -> None:
        """A part has begun."""

    def progress(self, heartbeat: Heartbeat, total: Total) -> None:
        """The part that runs has used so much so far."""

    def finished(self, rows: Sequence[Mapping[str, Any]], total: Total) -> None:
        """A part has ended and is stored; the rows are those of its runs."""
