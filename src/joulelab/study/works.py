"""The kinds of work that a study has, each loaded once, and which one does which configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from joulelab.study.bench import Bench
from joulelab.study.design import Configuration
from joulelab.study.inference.configuration import InferenceConfiguration
from joulelab.study.inference.work import InferenceWork
from joulelab.study.prediction import Prediction, merged
from joulelab.study.store import Store
from joulelab.study.training.experiment import TrainingConfiguration
from joulelab.study.training.spec import TrainingStudySpec
from joulelab.study.training.work import TrainingWork
from joulelab.study.work import Briefing, Calibrator, Work


class Works:
    """Every kind of work that some configurations need; a context manager that closes them.

    Args:
        configurations: of the whole study.
        bench: of this session.
    """

    def __init__(self, configurations: Sequence[Configuration], bench: Bench) -> None:
        self._configurations = list(configurations)
        self._bench = bench
        self._works: dict[type[Configuration], Work] = {}
        for one in configurations:
            if (kind := _kind(one)) not in self._works:
                self._works[kind] = _work(kind, bench)

    def __enter__(self) -> Works:
        return self

    def __exit__(self, *_: object) -> None:
        for work in self._works.values():
            work.close()

    def of(self, configuration: Configuration) -> Work:
        """The work that a configuration is of."""
        return self._works[_kind(configuration)]

    def load(self) -> list[Briefing]:
        """Load each, and tell the listener.

        Raises:
            JoulelabError: the study cannot be run here.
        """
        briefings = [work.load(self._of(work)) for work in self._works.values()]
        self._bench.listener.loaded(briefings)
        return briefings

    def conditions(self) -> dict[str, Any]:
        """What the results depend on, for the manifest."""
        return {key: value for work in self._each() for key, value in work.conditions().items()}

    def check_unchanged(self, manifest: Mapping[str, Any], store: Store) -> None:
        """Refuse to go on where results would not fit those of earlier sessions.

        Raises:
            StoreMismatchError: says what has changed.
        """
        for work in self._each():
            work.check_unchanged(manifest, store)

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Predict time and energy of the runs of some configurations, at least one."""
        kept = {one.key for one in configurations}
        return merged(
            [
                work.predict(mine, calibrator, brief=brief)
                for work in self._each()
                if (mine := [one for one in self._of(work) if one.key in kept])
            ]
        )

    def _each(self) -> Sequence[Work]:
        return list(self._works.values())

    def _of(self, work: Work) -> list[Configuration]:
        return [one for one in self._configurations if self.of(one) is work]


def _kind(configuration: Configuration) -> type[Configuration]:
    """The kind of configuration that a kind of work knows."""
    for known in (TrainingConfiguration, InferenceConfiguration):
        if isinstance(configuration, known):
            return known
    raise TypeError(f"no work is known for {type(configuration).__name__}")


def _work(kind: type[Configuration], bench: Bench) -> Work:
    if kind is InferenceConfiguration:
        return InferenceWork(bench)
    if not isinstance(bench.spec, TrainingStudySpec):
        raise TypeError("a study that trains has the keys of a training")
    return TrainingWork(bench.spec, bench)
