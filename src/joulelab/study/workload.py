"""The interface of workloads: training networks, or serving requests.

::

    load ─ (predict) ─ run(group) ─ run(group) ─ ... ─ close          one session
      └ may refuse the study       └ books with the runner: calibrate, attempt
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from joulelab.study.design import Configuration
from joulelab.study.listener import WorkloadSummary
from joulelab.study.plan import Group
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Prediction, merged
from joulelab.study.runner import Calibrator, RunRecorder
from joulelab.study.session import Session
from joulelab.study.spec import StudySpec, kinds


@dataclass(frozen=True)
class Begun:
    """What earlier sessions of a study have done, and those of other workers that are at work.

    Attributes:
        folder: of the results.
        spec: the study.
        manifest: as they have left it.
        engines: of the runs that have finished or may be under way, each once.
    """

    folder: Path
    spec: StudySpec
    manifest: Mapping[str, Any]
    engines: Sequence[str] = ()


class Workload(ABC):
    """The workload of some kinds of experiment, on this machine, in one session.

    Args:
        session: device, meters, data folder.
    """

    uses_gpu: ClassVar[bool] = True
    """Whether it uses a GPU if the study does not set the device."""

    may_use_gpu: ClassVar[bool] = False
    """Whether it uses one where a meter reads one, by a program of the user."""

    may_change: ClassVar[tuple[str, ...]] = ()
    """Keys of `conditions` for which the manifest shows the latest session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @abstractmethod
    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Load what all runs need, and check that every configuration can run here.

        Args:
            configurations: all configurations of the study for this workload.

        Raises:
            JoulelabError: the study cannot be run here; nothing has been stored.
        """

    def conditions(self) -> dict[str, Any]:
        """The conditions of the results, for the manifest."""
        return {}

    @classmethod  # noqa: B027 - nothing need be checked
    def check_unchanged(cls, begun: Begun, now: Mapping[str, Any]) -> None:
        """Refuse to continue if the conditions of earlier sessions have changed.

        It is asked of the class: a session may be that of a worker on another machine.

        Args:
            begun: what earlier sessions have done.
            now: the conditions of a session that begins, as `conditions` gives them.

        Raises:
            StoreMismatchError: names the change.
        """

    def files(self) -> Sequence[Path]:
        """Files of the user that have become known by loading; the results folder keeps copies."""
        return ()

    @abstractmethod
    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Predict time and energy of the runs of some configurations.

        Args:
            configurations: configurations with remaining runs.
            calibrator: carries out timed work.
            brief: short version, at the beginning of a run.
        """

    @abstractmethod
    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Carry out and book a group; a finished group may have to be replayed.

        Args:
            group: all runs that stay together.
            pending: unfinished runs.
            recorder: books and stores.

        Raises:
            KeyboardInterrupt: after what was under way has been booked.
        """

    def close(self) -> None:  # noqa: B027 - most workloads hold nothing
        """Release what was loaded."""


def check_unchanged(
    configurations: Sequence[Configuration], begun: Begun, now: Mapping[str, Any]
) -> None:
    """Refuse a session whose conditions are not those of earlier ones; see `Workload`.

    Args:
        configurations: of the whole study.
        begun: what earlier sessions have done.
        now: the conditions of the session.

    Raises:
        StoreMismatchError: names the change.
    """
    names = dict.fromkeys(one.kind for one in configurations)
    for workload in dict.fromkeys(kinds.get(name).load_workload() for name in names):
        workload.check_unchanged(begun, now)


class Workloads:
    """One instance of each workload that a study needs; a context manager that closes them.

    Args:
        configurations: of the whole study.
        session: device, meters, data folder.
    """

    def __init__(self, configurations: Sequence[Configuration], session: Session) -> None:
        self._session = session
        self._class_of = cache(lambda kind: kinds.get(kind).load_workload())
        self._configurations: dict[type[Workload], list[Configuration]] = {}
        for one in configurations:
            self._configurations.setdefault(self._class_of(one.kind), []).append(one)
        self._workloads = {one: one(session) for one in self._configurations}

    def __enter__(self) -> Workloads:
        return self

    def __exit__(self, *_: object) -> None:
        for workload in self._workloads.values():
            workload.close()

    def of(self, configuration: Configuration) -> Workload:
        """The workload of a configuration."""
        return self._workloads[self._class_of(configuration.kind)]

    def load(self) -> list[WorkloadSummary]:
        """Load each, and notify the listener.

        Raises:
            JoulelabError: the study cannot be run here.
        """
        summaries = [
            workload.load(self._configurations[type(workload)])
            for workload in self._workloads.values()
        ]
        self._session.listener.loaded(summaries)
        return summaries

    def conditions(self) -> dict[str, Any]:
        """What the results depend on, for the manifest; merged over workloads."""
        united: dict[str, Any] = {}
        for workload in self._workloads.values():
            for key, value in workload.conditions().items():
                other = united.get(key)
                if isinstance(value, dict) and isinstance(other, dict):
                    united[key] = {**other, **value}
                elif isinstance(value, list) and isinstance(other, list):
                    united[key] = [*other, *(one for one in value if one not in other)]
                else:
                    united[key] = value
        return united

    def files(self) -> list[Path]:
        """Files of the user that have become known by loading."""
        return [file for workload in self._workloads.values() for file in workload.files()]

    def latest(self, conditions: Mapping[str, Any]) -> dict[str, Any]:
        """Those conditions that may change from session to session."""
        names = {name for workload in self._workloads for name in workload.may_change}
        return {name: value for name, value in conditions.items() if name in names}

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Predict time and energy of the runs of some configurations, at least one."""
        mine: dict[Workload, list[Configuration]] = {}
        for one in configurations:
            mine.setdefault(self.of(one), []).append(one)
        return merged(
            [
                workload.predict(mine[workload], calibrator, brief=brief)
                for workload in self._workloads.values()
                if workload in mine
            ]
        )
