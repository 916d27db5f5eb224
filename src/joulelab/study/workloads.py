"""The workloads that a study has, each loaded once, and which one does which configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from joulelab.study.design import Configuration
from joulelab.study.inference.configuration import InferenceConfiguration
from joulelab.study.inference.workload import InferenceWorkload
from joulelab.study.prediction import Prediction, merged
from joulelab.study.session import Session
from joulelab.study.store import Store
from joulelab.study.training.experiment import TrainingConfiguration
from joulelab.study.training.spec import TrainingStudySpec
from joulelab.study.training.workload import TrainingWorkload
from joulelab.study.workload import Calibrator, Workload, WorkloadSummary


class Workloads:
    """The workloads that some configurations need; a context manager that closes them.

    Args:
        configurations: of the whole study.
        session: device, meters, data folder.
    """

    def __init__(self, configurations: Sequence[Configuration], session: Session) -> None:
        self._configurations = list(configurations)
        self._session = session
        self._workloads: dict[type[Configuration], Workload] = {}
        for one in configurations:
            if (kind := _kind(one)) not in self._workloads:
                self._workloads[kind] = _workload(kind, session)

    def __enter__(self) -> Workloads:
        return self

    def __exit__(self, *_: object) -> None:
        for workload in self._workloads.values():
            workload.close()

    def of(self, configuration: Configuration) -> Workload:
        """The workload of a configuration."""
        return self._workloads[_kind(configuration)]

    def load(self) -> list[WorkloadSummary]:
        """Load each, and tell the listener.

        Raises:
            JoulelabError: the study cannot be run here.
        """
        summaries = [workload.load(self._of(workload)) for workload in self._workloads.values()]
        self._session.listener.loaded(summaries)
        return summaries

    def conditions(self) -> dict[str, Any]:
        """What the results depend on, for the manifest."""
        return {
            key: value for workload in self._each() for key, value in workload.conditions().items()
        }

    def check_unchanged(self, manifest: Mapping[str, Any], store: Store) -> None:
        """Refuse to go on where results would not fit those of earlier sessions.

        Raises:
            StoreMismatchError: says what has changed.
        """
        for workload in self._each():
            workload.check_unchanged(manifest, store)

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Predict time and energy of the runs of some configurations, at least one."""
        kept = {one.key for one in configurations}
        return merged(
            [
                workload.predict(mine, calibrator, brief=brief)
                for workload in self._each()
                if (mine := [one for one in self._of(workload) if one.key in kept])
            ]
        )

    def _each(self) -> Sequence[Workload]:
        return list(self._workloads.values())

    def _of(self, workload: Workload) -> list[Configuration]:
        return [one for one in self._configurations if self.of(one) is workload]


def _kind(configuration: Configuration) -> type[Configuration]:
    """The kind of configuration that a workload knows."""
    for known in (TrainingConfiguration, InferenceConfiguration):
        if isinstance(configuration, known):
            return known
    raise TypeError(f"no workload is known for {type(configuration).__name__}")


def _workload(kind: type[Configuration], session: Session) -> Workload:
    if kind is InferenceConfiguration:
        return InferenceWorkload(session)
    if not isinstance(session.spec, TrainingStudySpec):
        raise TypeError("a study that trains has the keys of a training")
    return TrainingWorkload(session.spec, session)
