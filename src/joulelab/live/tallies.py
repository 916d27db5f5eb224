"""The runs of a study, added up by configuration and by round; a changed run changes two sums.

::

    run ─► Tally of its configuration     runs by state, mean energy, mean of the main metric
        └► Point of its round             one point of the figure: energy against the metric
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from joulelab.analysis.front import undominated
from joulelab.energy.reading import Status
from joulelab.errors import PluginError, UnknownNameError
from joulelab.live.following import RUN_COLUMNS, Row
from joulelab.study.design import MainMetric
from joulelab.study.spec import kinds

DURATION = "duration_s"


@dataclass
class Sums:
    """Sums over finished runs, each with the number of runs in it.

    Attributes:
        runs: number of finished runs.
        gross_j: gross energies.
        net_j: net energies.
        metric: main metrics.
    """

    runs: int = 0
    gross_j: float = 0.0
    gross_runs: int = 0
    net_j: float = 0.0
    net_runs: int = 0
    metric: float = 0.0
    metric_runs: int = 0

    def add(self, run: _Run, sign: int, parts: float | None = 1.0) -> None:
        """Add a run, or take it away.

        Args:
            run: finished.
            sign: 1 or -1.
            parts: that its energy is divided by; ``None`` if there is none.
        """
        self.runs += sign
        if run.gross_j is not None and parts:
            self.gross_j += sign * run.gross_j / parts
            self.gross_runs += sign
        if run.net_j is not None and parts:
            self.net_j += sign * run.net_j / parts
            self.net_runs += sign
        if run.metric is not None:
            self.metric += sign * run.metric
            self.metric_runs += sign

    def mean_j(self, *, net: bool) -> float | None:
        """Mean energy; ``None`` where unknown."""
        if net:
            return self.net_j / self.net_runs if self.net_runs else None
        return self.gross_j / self.gross_runs if self.gross_runs else None

    @property
    def mean_metric(self) -> float | None:
        """Mean of the main metric; ``None`` where unknown."""
        return self.metric / self.metric_runs if self.metric_runs else None

    @property
    def net(self) -> bool:
        """Whether net energies count: every run has one, or else gross energies do."""
        return bool(self.runs) and self.net_runs == self.runs


@dataclass
class Tally(Sums):
    """The runs of a configuration.

    Attributes:
        number: of the configuration, in the order of the plan.
        experiment: its name.
        name: of the configuration.
        states: number of runs in each state.
        version: of its last change.
    """

    number: int = 0
    experiment: str = ""
    name: str = ""
    states: Counter[str] = field(default_factory=Counter)
    version: int = 0

    @property
    def planned(self) -> int:
        """Number of all of its runs."""
        return self.states.total()

    @property
    def left(self) -> int:
        """Number of runs that have not ended."""
        return self.states["planned"] + self.states["running"]


@dataclass
class Point(Sums):
    """The finished runs of a round of a configuration.

    Attributes:
        number: of the point, in the order of the plan.
        tally: number of its configuration.
        round: its number, from 0.
        version: of its last change.
        front: whether no other takes less energy and has a better metric.
    """

    number: int = 0
    tally: int = 0
    round: int = 0
    version: int = 0
    front: bool = False


@dataclass
class Experiment:
    """What the runs of an experiment are judged by.

    Attributes:
        name: in the study file.
        kind: registered name.
        metric: beside energy; chosen with the first finished run.
        sums: over its finished runs.
        states: number of runs in each state.
        statuses: number of finished runs by the status of their energy.
        points: by configuration and round.
        rounds: whether a configuration has several.
        drawn_net: whether its points had net energies at the last change.
    """

    name: str
    kind: str
    metric: MainMetric
    chosen: bool = False
    sums: Sums = field(default_factory=Sums)
    states: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    points: dict[tuple[int, int], Point] = field(default_factory=dict)
    rounds: bool = False
    drawn_net: bool = False

    @property
    def net(self) -> bool:
        """Whether net energies count."""
        return self.sums.net

    @property
    def status(self) -> str:
        """Of the energies of its finished runs."""
        return Status.of_set(+self.statuses)

    def best(self) -> Point | None:
        """The round with the best mean metric."""
        known = [one for one in self.points.values() if one.metric_runs]
        if not known or not self.metric.better:
            return None
        sign = 1 if self.metric.better == "max" else -1
        return max(known, key=lambda one: sign * one.metric / one.metric_runs)


class _Run(NamedTuple):
    """What is kept of a run; `began_at` only of one that has ended."""

    state: str
    tally: int
    round: int
    status: str | None = None
    gross_j: float | None = None
    net_j: float | None = None
    metric: float | None = None
    parts: float | None = 1.0
    error: str | None = None
    began_at: float | None = None


class Tallies:
    """The runs of a study, added up.

    Args:
        study: its resolved study file.

    Attributes:
        experiments: by name.
        tallies: one per configuration, in the order of the plan.
        values_needed: whether more than the columns of the runs is needed for the main metrics.
        errors: by message: number of failed runs, one of them, and the version of its last change.
    """

    def __init__(self, study: Mapping[str, Any]) -> None:
        self.experiments = {
            name: Experiment(name, str(table.get("kind", "")), main_metric(table))
            for name, table in study["experiment"].items()
        }
        self.tallies: list[Tally] = []
        columns = {*RUN_COLUMNS, ""}
        self.values_needed = any(
            not {one.metric.name, one.metric.per} <= columns for one in self.experiments.values()
        )
        self.errors: dict[str, _Failure] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._runs: dict[str, _Run] = {}
        self._points = 0

    def add(self, rows: Sequence[Row], version: int) -> None:
        """Take new or changed runs.

        Args:
            rows: of `following.RUN_COLUMNS`.
            version: of this change.
        """
        touched: set[str] = set()
        for row in rows:
            experiment = self.experiments.get(row["experiment"])
            if experiment is None:
                continue
            tally = self._tally(row)
            run = self._run(row, experiment, tally.number)
            before = self._runs.get(row["run_id"])
            if run == before:
                continue
            self._runs[row["run_id"]] = run
            if before is not None:
                self._count(before, row, experiment, -1, version)
            self._count(run, row, experiment, 1, version)
            touched.add(experiment.name)
        for name in touched:
            _mark_front(self.experiments[name], version)

    def ended_since(self, moment: float) -> tuple[Counter[int], float]:
        """Runs that have begun since a moment and have ended: their numbers, and the first start.

        Args:
            moment: seconds since the epoch.
        """
        ended = [
            run
            for run in self._runs.values()
            if run.began_at is not None and run.began_at >= moment
        ]
        first = min((run.began_at or 0.0 for run in ended), default=0.0)
        return Counter(run.tally for run in ended), first

    def _tally(self, row: Row) -> Tally:
        key = (row["experiment"], row["configuration"])
        number = self._numbers.setdefault(key, len(self.tallies))
        if number == len(self.tallies):
            self.tallies.append(Tally(number=number, experiment=key[0], name=key[1]))
        return self.tallies[number]

    def _run(self, row: Row, experiment: Experiment, tally: int) -> _Run:
        state, number = row["state"], row["round"]
        if state == "failed":
            return _Run(
                state,
                tally,
                number,
                error=row["error"] or "no message",
                began_at=row["started_at"],
            )
        if state != "finished":
            return _Run(state, tally, number)
        if not experiment.chosen:
            self._choose(experiment, row)
        per = experiment.metric.per
        return _Run(
            state,
            tally,
            number,
            row["energy_status"],
            row["energy_gross_j"],
            row["energy_net_j"],
            value_of(row, experiment.metric.name),
            value_of(row, per) if per else 1.0,
            began_at=row["started_at"],
        )

    def _choose(self, experiment: Experiment, row: Row) -> None:
        """The main metric, or where a run lacks it, the first number that it has."""
        experiment.chosen = True
        if value_of(row, experiment.metric.name) is not None:
            return
        if "metrics" not in row:
            self.values_needed = True
            return
        experiment.metric = MainMetric(DURATION, "min")
        for name in _values(row):
            if value_of(row, name) is not None and not name.startswith("phase."):
                experiment.metric = MainMetric(name, "")
                break

    def _count(self, run: _Run, row: Row, experiment: Experiment, sign: int, version: int) -> None:
        tally = self.tallies[run.tally]
        tally.states[run.state] += sign
        tally.version = version
        experiment.states[run.state] += sign
        experiment.rounds |= run.round > 0
        if run.state == "failed":
            failure = self.errors.setdefault(str(run.error), _Failure())
            failure.runs += sign
            failure.run_id, failure.version = row["run_id"], version
        if run.state != "finished":
            return
        experiment.statuses[str(run.status)] += sign
        key = (run.tally, run.round)
        if key not in experiment.points:
            experiment.points[key] = Point(number=self._points, tally=run.tally, round=run.round)
            self._points += 1
        point = experiment.points[key]
        point.version = version
        tally.add(run, sign)
        experiment.sums.add(run, sign)
        point.add(run, sign, run.parts)


@dataclass
class _Failure:
    runs: int = 0
    run_id: str = ""
    version: int = 0


def main_metric(table: Mapping[str, Any]) -> MainMetric:
    """What the runs of an experiment are judged by; of an unknown kind, by their accuracy.

    Args:
        table: of the experiment, in the study file of a results folder.
    """
    try:
        return kinds.get(str(table.get("kind", ""))).spec.main_metric(table)
    except (UnknownNameError, PluginError):
        return MainMetric()


def value_of(row: Row, name: str) -> float | None:
    """A number among the results of a run; ``None`` if there is none.

    Args:
        row: of a run.
        name: of a column, or of a value that its kind has stored.
    """
    value = row[name] if name in row else _values(row).get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _values(row: Row) -> Mapping[str, Any]:
    return (row.get("metrics") or {}).get("values") or {}


def _mark_front(experiment: Experiment, version: int) -> None:
    points, net = list(experiment.points.values()), experiment.net
    if net != experiment.drawn_net:
        experiment.drawn_net = net
        for point in points:
            point.version = version
    if not experiment.metric.better:
        return
    sign = 1 if experiment.metric.better == "max" else -1

    def column(values: Sequence[float | None]) -> Any:  # noqa: ANN401 - an array
        return np.array([np.nan if one is None else one for one in values], float)

    energies = column([one.mean_j(net=net) for one in points])
    front = undominated(energies, sign * column([one.mean_metric for one in points]))
    for point, now in zip(points, front.tolist(), strict=True):
        if point.front != now:
            point.front, point.version = now, version
