"""What every kind of experiment has in its table of the study file, and the registry of kinds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

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

    def counts(self) -> Mapping[str, int]:
        """How often each configuration is run, by what is counted: rounds, repetitions."""
        return {"repetitions": self.repetitions}


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
    },
)
