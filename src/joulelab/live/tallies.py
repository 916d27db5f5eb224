"""The runs of a study, added up by configuration and by round; a changed run changes two sums.

::

    run ─► Tally of its configuration     runs by state, mean energy, mean of the main metric
        └► Point of its round             one point of the figure: energy against the metric
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
        place: of the point within its experiment.
        tally: number of its configuration.
        round: its number, from 0.
        version: of its last change.
        front: whether no other takes less energy and has a better metric.
    """

    number: int = 0
    place: int = 0
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
        runs: number of finished runs.
        net_runs: of these, those with a net energy.
        states: number of runs in each state.
        statuses: number of finished runs by the status of their energy.
        points: by configuration and round.
        rounds: whether a configuration has several.
        best: the round with the best mean metric.
    """

    name: str
    kind: str
    metric: MainMetric
    chosen: bool = False
    runs: int = 0
    net_runs: int = 0
    states: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    points: dict[tuple[int, int], Point] = field(default_factory=dict)
    rounds: bool = False
    best: Point | None = None
    _energies: list[float] = field(default_factory=list)
    _metrics: list[float] = field(default_factory=list)
    _front: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    _drawn_net: bool = False

    @property
    def net(self) -> bool:
        """Whether net energies count: every run has one, or else gross energies do."""
        return bool(self.runs) and self.net_runs == self.runs

    @property
    def status(self) -> str:
        """Of the energies of its finished runs."""
        return Status.of_set(+self.statuses)

    def redraw(self, changed: Iterable[Point], version: int) -> None:
        """Find the front and the best again.

        Args:
            changed: points; new ones are the last of all.
            version: of this change.
        """
        net = self.net
        if net != self._drawn_net:  # all points move
            self._drawn_net, self._energies, self._metrics = net, [], []
            changed = self.points.values()
        for point in sorted(changed, key=lambda one: one.place):
            point.version = version
            if point.place == len(self._energies):
                self._energies.append(math.nan)
                self._metrics.append(math.nan)
            self._energies[point.place] = _or_nan(point.mean_j(net=net))
            self._metrics[point.place] = _or_nan(point.mean_metric)
        if self.metric.better:
            self._find_front(version)

    def _find_front(self, version: int) -> None:
        sign = 1 if self.metric.better == "max" else -1
        metrics = sign * np.array(self._metrics, float)
        front = undominated(np.array(self._energies, float), metrics)
        before = np.zeros(len(front), bool)
        before[: len(self._front)] = self._front
        points = list(self.points.values())
        for place in np.flatnonzero(front != before).tolist():
            points[place].front, points[place].version = bool(front[place]), version
        self._front = front
        known = not np.isnan(metrics).all()
        self.best = points[int(np.nanargmax(metrics))] if known else None


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
        ended: every run that has ended: the number of its configuration, and when it began.
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
        self.ended: list[tuple[int, float]] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._runs: dict[str, _Run] = {}
        self._points = 0

    def add(self, rows: Sequence[Row], version: int) -> set[int]:
        """Take new or changed runs.

        Args:
            rows: of `following.RUN_COLUMNS`.
            version: of this change.

        Returns:
            The numbers of the configurations that have changed.
        """
        touched: set[int] = set()
        moved: dict[str, dict[int, Point]] = {}
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
            touched.add(tally.number)
            if before is not None:
                self._count(before, row, experiment, -1, version)
            point = self._count(run, row, experiment, 1, version)
            if point is not None:
                moved.setdefault(experiment.name, {})[point.place] = point
            if run.began_at is not None:
                self.ended.append((run.tally, run.began_at))
        for name, points in moved.items():
            self.experiments[name].redraw(points.values(), version)
        return touched

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

    def _count(
        self, run: _Run, row: Row, experiment: Experiment, sign: int, version: int
    ) -> Point | None:
        """Count a run, or take it away; its point, if it has finished."""
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
            return None
        experiment.statuses[str(run.status)] += sign
        key = (run.tally, run.round)
        if key not in experiment.points:
            place = len(experiment.points)
            experiment.points[key] = Point(
                number=self._points, place=place, tally=run.tally, round=run.round
            )
            self._points += 1
        point = experiment.points[key]
        tally.add(run, sign)
        experiment.runs += sign
        experiment.net_runs += sign * (run.net_j is not None)
        point.add(run, sign, run.parts)
        return point


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


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
