"""What every kind of experiment has in its table of the study file, and the registry of kinds."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from joulelab.errors import UsageError
from joulelab.learning.hyperparameters import check_hyperparameters
from joulelab.registry import Registry
from joulelab.study.design import Configuration, Factor, Level
from joulelab.tuning.space import SearchSpace

Count = Annotated[int, Field(gt=0, strict=True)]


class ExperimentSpec(BaseModel, ABC):
    """The table ``[experiment.<name>]`` of a study file; each kind adds its own keys.

    Attributes:
        kind: registered name of the kind.
        rounds: sets of hyperparameters that each configuration is trained with.
        repetitions: trainings of each round, each with its own seed.
        space: hyperparameters that are searched, in order.
        fixed: hyperparameters that are not searched; PyTorch's defaults where not given.
        exclude: combinations of levels to leave out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    rounds: Count
    repetitions: Count
    space: dict[str, dict[str, Any]]
    fixed: dict[str, float] = Field(default_factory=dict)
    exclude: list[dict[str, Level]] = Field(default_factory=list)

    @field_validator("fixed")
    @classmethod
    def _possible(cls, fixed: dict[str, float]) -> dict[str, float]:
        with _as_value_error():
            check_hyperparameters(fixed)
        return fixed

    @field_validator("space")
    @classmethod
    def _searchable(cls, space: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        with _as_value_error():
            for name, variable in SearchSpace.from_dict(space).variables.items():
                for value in variable.attained_bounds():
                    check_hyperparameters({name: value})
        return space

    def search_space(self) -> SearchSpace:
        """What is searched."""
        return SearchSpace.from_dict(self.space)

    @abstractmethod
    def factors(self) -> Sequence[Factor]:
        """What this experiment varies."""

    @abstractmethod
    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study_seed: int
    ) -> Configuration:
        """What one combination of levels means."""


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


@contextlib.contextmanager
def _as_value_error() -> Iterator[None]:
    """Let pydantic report an error of another room with its own."""
    try:
        yield
    except UsageError as error:
        raise ValueError(str(error).replace("\n", "; ")) from error
