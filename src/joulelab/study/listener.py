"""Callbacks of a running study; the command line shows them, programs may ignore them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from joulelab.energy.reading import Total
    from joulelab.study.executor import Heartbeat
    from joulelab.study.plan import Plan
    from joulelab.study.planned_run import PlannedRun
    from joulelab.study.prediction import Prediction
    from joulelab.study.spec import StudySpec


@dataclass(frozen=True)
class WorkloadSummary:
    """The setup of a session, in words and as data.

    Attributes:
        means: for the title of a plan: ``fast engine, fp32``.
        noun: noun for a run: ``training``.
        extent: common properties of all runs: ``of 25 epochs on digits (1,500 training ...)``.
        basis: basis of a prediction: ``a few steps of each network``.
        remark: if something differs from the request, else ``None``.
        train_images: numbers of used and of all training images; ``None`` if nothing is trained.
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


NAMED = 3
"""Runs of a worker that are named."""


@dataclass(frozen=True)
class WorkerNow:
    """What a worker of a study does.

    Attributes:
        session: its number.
        name: for people: ``"worker 2"``, ``"worker 2, job 4711"``.
        node: its node; empty before it has begun.
        doing: in words, or what it waits for; empty during a run.
        since: when that began, seconds since the epoch.
        runs: ids of its runs under way.
        done: epochs of these, requests ...
        of: their number in all; 0 where unknown.
    """

    session: int
    name: str
    node: str = ""
    doing: str = ""
    since: float = 0.0
    runs: tuple[str, ...] = ()
    done: int = 0
    of: int = 0

    @property
    def words(self) -> str:
        """What it does: ``e/a=1/0/0, 3 of 5``."""
        runs = ", ".join(self.runs[:NAMED])
        if len(self.runs) > NAMED:
            runs += f" and {len(self.runs) - NAMED} more"
        share = f", {self.done:,} of {self.of:,}" if self.of and runs else ""
        return f"{runs}{share}{': ' if runs and self.doing else ''}{self.doing}"


class Listener:
    """Receives events and does nothing; override methods as needed.

    `progress` is called from a different thread.
    """

    def laid_out(self, spec: StudySpec, plan: Plan, states: Mapping[str, str]) -> None:
        """The plan is ready; `states` has the results of earlier sessions."""

    def measuring(self, devices: Sequence[str]) -> None:
        """The meters are open; a run has the sensors of these devices for itself."""

    def loaded(self, summaries: Sequence[WorkloadSummary]) -> None:
        """Everything is loaded; with the setup of each workload."""

    def doing(self, what: str) -> None:
        """Work other than a run, in words."""

    def waiting(self, what: str) -> None:
        """A wait that comes before many runs, in words."""

    def workers(self, workers: Sequence[WorkerNow], waiting: int) -> None:
        """What the workers of a study do, and how many runs have not been given out."""

    def predicted(self, prediction: Prediction) -> None:
        """Time and energy have been predicted."""

    def started(self, runs: Sequence[PlannedRun]) -> None:
        """A part has started."""

    def progress(self, heartbeat: Heartbeat, total: Total) -> None:
        """Progress and energy of the running part."""

    def finished(self, rows: Sequence[Mapping[str, Any]], total: Total) -> None:
        """A part has ended and is stored; the rows are those of its runs."""

    def searching(self, so_far: Any) -> None:  # noqa: ANN401 - `joulelab.kinds.searching` says what
        """A search has gone on: see `joulelab.kinds.searching.so_far.SoFar`."""


class Listeners(Listener):
    """Passes each event on to several listeners.

    Args:
        listeners: in this order.
    """

    def __init__(self, *listeners: Listener) -> None:
        for name in (one for one in vars(Listener) if not one.startswith("_")):
            setattr(self, name, partial(_pass_on, name, listeners))


def _pass_on(name: str, listeners: Sequence[Listener], *told: Any) -> None:  # noqa: ANN401
    for one in listeners:
        getattr(one, name)(*told)
