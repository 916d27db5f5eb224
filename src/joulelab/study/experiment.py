"""What every kind of experiment has in its table of the study file, and the registry of kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from joulelab.plain import as_path, expanded, is_there
from joulelab.registry import Registry
from joulelab.study.design import Configuration, Factor, Level

Count = Annotated[int, Field(gt=0, strict=True)]


class ExperimentSpec(BaseModel, ABC):
    """The table ``[experiment.<name>]`` of a study file; each kind adds its own keys.

    Attributes:
        kind: registered name of the kind.
        repetitions: of the same thing, each with its own seed.
        exclude: combinations of levels to leave out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trains: ClassVar[bool] = False
    """Whether its runs are trainings: the study file then has the keys of a training."""

    kind: str
    repetitions: Count
    exclude: list[dict[str, Level]] = Field(default_factory=list)

    @abstractmethod
    def factors(self) -> Sequence[Factor]:
        """What this experiment varies."""

    @abstractmethod
    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study_seed: int
    ) -> Configuration:
        """What one combination of levels means."""

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

    def counts(self) -> Mapping[str, int]:
        """How often each configuration is run, by what is counted: rounds, repetitions."""
        return {"repetitions": self.repetitions}


def located_path(path: str, folder: Path) -> Path:
    """An absolute path that counts from the study file's folder, or else from the current one."""
    given = expanded(path)
    beside = folder / given
    return as_path(beside if is_there(beside) else given)


kinds: Registry[type[ExperimentSpec]] = Registry(
    "kind of experiment",
    "joulelab.kinds",
    {
        "tuning": (
            "joulelab.study.kinds.tuning:TuningSpec",
            "strategies x networks x numbers of hyperparameters: which strategy, at what cost?",
        ),
        "architecture": (
            "joulelab.study.kinds.architecture:ArchitectureSpec",
            "a full factorial design over a network's layers: which layer costs what?",
        ),
        "training-cost": (
            "joulelab.study.kinds.training_cost:TrainingCostSpec",
            "networks x frozen or trained x data sets: what does a training cost, and where?",
        ),
        "batching": (
            "joulelab.study.kinds.batching:BatchingSpec",
            "models x batching policies x arrival processes: how should a server batch?",
        ),
        "timeline": (
            "joulelab.study.kinds.timeline:TimelineSpec",
            "networks by year x batch sizes: what does an image cost, and what is it worth?",
        ),
    },
)
