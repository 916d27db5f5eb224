"""What a kind of experiment is, and the registry of kinds.

::

    Kind ─┬─ spec       the keys of its table in a study file: factors and configurations
          ├─ workload   how configurations are carried out and measured
          └─ report     what is shown of its results

A kind from outside is registered as the shipped ones are: as an entry point in the group
``joulelab.kinds``, or from a plug-in file by ``kinds.register("name")(Kind(...))``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, Field

from joulelab.plain import as_path, expanded, is_there
from joulelab.registry import Registry, imported
from joulelab.study.design import Configuration, Factor, Level, configuration_name
from joulelab.study.miniature import miniature

if TYPE_CHECKING:
    from joulelab.study.spec import StudySpec
    from joulelab.study.workload import Workload

Count = Annotated[int, Field(gt=0, strict=True)]


class ExperimentSpec(BaseModel, ABC):
    """The table ``[experiment.<name>]`` of a study file; each kind adds its own keys.

    Attributes:
        kind: registered name of the kind.
        repetitions: of the same thing, each with its own seed.
        exclude: combinations of levels to leave out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study_keys: ClassVar[type[BaseModel] | None] = None
    """Keys that the whole study file has once an experiment of this kind is in it."""

    data_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys whose values name data and never code, even where they contain a colon."""

    kind: str
    repetitions: Count
    exclude: list[dict[str, Level]] = Field(default_factory=list)

    @abstractmethod
    def factors(self) -> Sequence[Factor]:
        """What this experiment varies."""

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> Configuration:
        """What one combination of levels means.

        Args:
            experiment: name of the experiment.
            levels: level of each factor.
            study: the whole study, with `study_keys`.
        """
        return Configuration(**self.identity(experiment, levels))

    def identity(self, experiment: str, levels: Mapping[str, Level]) -> dict[str, Any]:
        """Arguments that every `Configuration` takes.

        Args:
            experiment: name of the experiment.
            levels: level of each factor.
        """
        return {
            "experiment": experiment,
            "kind": self.kind,
            "name": configuration_name(levels),
            "levels": levels,
            "repetitions": self.repetitions,
        }

    def check(self, study: StudySpec) -> None:
        """Check what depends on keys of the whole study; most kinds have nothing to check.

        Args:
            study: in which the experiment stands.

        Raises:
            UsageError: says what is wrong with the study.
        """

    def excluded(self) -> Sequence[Mapping[str, Level]]:
        """Combinations of levels that are left out: those of the file, and impossible ones."""
        return self.exclude

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """Make the paths in an unchecked table absolute, in place; most kinds have none.

        Args:
            table: as it stands in the study file.
            folder: of the study file.
        """

    @staticmethod
    def miniature(
        study: Mapping[str, Any],
        configurations: Mapping[str, int],
        scale: float,
        overridden: Collection[tuple[str, ...]],
    ) -> dict[str, Any]:
        """A study with a share of its work; kinds that share this function may share a study.

        Arguments and errors are those of `joulelab.study.miniature.miniature`.
        """
        return miniature(study, configurations, scale, overridden)

    def counts(self) -> Mapping[str, int]:
        """How often each configuration is run, by what is counted: rounds, repetitions."""
        return {"repetitions": self.repetitions}


@dataclass(frozen=True)
class Kind:
    """One kind of experiment.

    `workload` and `report` may be given as ``"module:attribute"``, which is imported when it is
    first needed: planning needs neither, and both import heavy libraries.

    Attributes:
        spec: keys in a study file.
        workload: carries the configurations out.
        report: what is shown, a `joulelab.report.report.Report`; a general report where ``None``.
    """

    spec: type[ExperimentSpec]
    workload: type[Workload] | str
    report: object = None

    @property
    def described_by(self) -> type[ExperimentSpec]:
        """The class whose docstring and file the registry shows."""
        return self.spec

    def load_workload(self) -> type[Workload]:
        """The class of the workload."""
        if isinstance(self.workload, str):
            return cast("type[Workload]", imported(self.workload))
        return self.workload

    def load_report(self) -> Any:  # noqa: ANN401 - the report room says what it is
        """What is shown; ``None`` for the general report."""
        return imported(self.report) if isinstance(self.report, str) else self.report


def located_path(path: str, folder: Path) -> Path:
    """An absolute path that counts from the study file's folder, or else from the current one."""
    given = expanded(path)
    beside = folder / given
    return as_path(beside if is_there(beside) else given)


kinds: Registry[Kind] = Registry(
    "kind of experiment",
    "joulelab.kinds",
    {
        "tuning": (
            "joulelab.kinds.tuning:TUNING",
            "strategies x networks x numbers of hyperparameters: which strategy is best, and at "
            "what cost?",
        ),
        "architecture": (
            "joulelab.kinds.architecture:ARCHITECTURE",
            "a full factorial design over a network's layers: what does each layer cost?",
        ),
        "training-cost": (
            "joulelab.kinds.training_cost:TRAINING_COST",
            "networks x frozen or trained base x data sets: what does a training cost, and where?",
        ),
        "batching": (
            "joulelab.kinds.batching:BATCHING",
            "models x batching policies x arrival processes: how should a server batch?",
        ),
        "timeline": (
            "joulelab.kinds.timeline:TIMELINE",
            "networks by year x batch sizes: what does an image cost, for what accuracy?",
        ),
    },
)


def kind_of(table: Any) -> type[ExperimentSpec]:  # noqa: ANN401 - unchecked data
    """The spec of the kind that a table of an experiment names.

    Raises:
        UnknownNameError: nothing of that name is registered.
    """
    kind = table.get("kind") if isinstance(table, dict) else None
    return kinds.get(kind).spec if isinstance(kind, str) else ExperimentSpec
