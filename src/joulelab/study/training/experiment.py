"""What experiments that train have in common: rounds, a search space, and their configurations."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, field_validator

from joulelab.errors import UsageError
from joulelab.learning.hyperparameters import check_hyperparameters
from joulelab.study.design import Configuration, Level, Place
from joulelab.study.experiment import Count, ExperimentSpec
from joulelab.tuning.space import SearchSpace
from joulelab.tuning.strategy import strategies


@dataclass(frozen=True, kw_only=True)
class TrainingConfiguration(Configuration):
    """One combination of levels, and what it means for the training and the tuning.

    Attributes:
        network: registered name.
        network_options: keyword arguments for the network.
        strategy: registered name.
        strategy_seed: what all proposals follow from.
        space: what the strategy searches.
        fixed: hyperparameters that are not searched.
        rounds: proposals of the strategy; each is trained `repetitions` times.
        rounds_together: rounds of a block, and of a group where the strategy proposes ahead;
            another strategy has its rounds one by one, in their order.
    """

    network: str
    network_options: Mapping[str, Any]
    strategy: str
    strategy_seed: int
    space: SearchSpace
    fixed: Mapping[str, float]
    rounds: int
    rounds_together: int = 1

    @property
    def rounds_at_once(self) -> int:
        """How many rounds are trained as one group."""
        ahead = strategies.get(self.strategy).proposes_ahead
        return min(self.rounds_together, self.rounds) if ahead else 1

    def blocks(self) -> Sequence[Sequence[Sequence[Place]]]:
        """Some rounds of every configuration in each block; their repetitions stay together."""
        starts = range(0, self.rounds, self.rounds_together)
        return [self._groups(range(self.rounds)[i : i + self.rounds_together]) for i in starts]

    def check(self) -> None:
        """Ask for the last round, where it does not depend on the others: a grid may be small."""
        strategy = strategies.get(self.strategy)
        if strategy.proposes_ahead:
            strategy(self.space, self.strategy_seed, self.rounds).propose(self.rounds - 1)

    def _groups(self, block: range) -> list[list[Place]]:
        size = self.rounds_at_once
        return [
            [(number, rep) for number in block[start : start + size] for rep in self._repeated]
            for start in range(0, len(block), size)
        ]

    @property
    def _repeated(self) -> range:
        return range(self.repetitions)


class TrainingExperimentSpec(ExperimentSpec):
    """Keys of an experiment whose runs are trainings.

    Attributes:
        rounds: sets of hyperparameters that each configuration is trained with.
        space: hyperparameters that are searched, in order.
        fixed: hyperparameters that are not searched; PyTorch's defaults where not given.
    """

    trains: ClassVar[bool] = True

    rounds: Count
    space: dict[str, dict[str, Any]]
    fixed: dict[str, float] = Field(default_factory=dict)

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
    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study_seed: int
    ) -> TrainingConfiguration:
        """What one combination of levels means."""

    def counts(self) -> Mapping[str, int]:
        """Rounds, and repetitions of each."""
        return {"rounds": self.rounds, "repetitions": self.repetitions}


@contextlib.contextmanager
def _as_value_error() -> Iterator[None]:
    """Let pydantic report an error of another room with its own."""
    try:
        yield
    except UsageError as error:
        raise ValueError(str(error).replace("\n", "; ")) from error
