"""What experiments that train have in common, and those that search hyperparameters as well.

::

    TrainingConfiguration     network, data set, fixed hyperparameters: each repetition by itself
      SearchingConfiguration  and a strategy, which proposes rounds: the repetitions of one together
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, field_validator

from joulelab.learning.engine import check_hyperparameters
from joulelab.study.design import Configuration, Level, Place
from joulelab.study.experiment import Count, ExperimentSpec
from joulelab.study.validation import as_value_error
from joulelab.tuning.space import SearchSpace
from joulelab.tuning.strategy import Strategy, strategies


@dataclass(frozen=True, kw_only=True)
class TrainingConfiguration(Configuration):
    """One combination of levels, and what it means for the training.

    Attributes:
        network: registered name.
        network_options: keyword arguments for the network.
        fixed: hyperparameters that are not searched.
        dataset: name of the data set; that of the study where empty.
    """

    network: str
    network_options: Mapping[str, Any]
    fixed: Mapping[str, float]
    dataset: str = ""

    @property
    def members(self) -> int:
        """How many trainings the largest of its groups has."""
        return 1

    def blocks(self) -> Sequence[Sequence[Sequence[Place]]]:
        """A repetition of every configuration in each block, trained by itself."""
        return [[[(0, repetition)]] for repetition in range(self.repetitions)]

    def strategy_at_work(self) -> Strategy | None:
        """A new strategy that proposes the rounds; ``None`` where nothing is searched."""
        return None


@dataclass(frozen=True, kw_only=True)
class SearchingConfiguration(TrainingConfiguration):
    """A configuration whose hyperparameters are searched, round by round.

    Attributes:
        strategy: registered name.
        strategy_seed: what all proposals follow from.
        space: what the strategy searches.
        rounds: proposals of the strategy; each is trained `repetitions` times.
        rounds_together: rounds of a block, and of a group where the strategy proposes ahead;
            another strategy has its rounds one by one, in their order.
    """

    strategy: str
    strategy_seed: int
    space: SearchSpace
    rounds: int
    rounds_together: int = 1

    @property
    def rounds_at_once(self) -> int:
        """How many rounds are trained as one group."""
        ahead = strategies.get(self.strategy).proposes_ahead
        return min(self.rounds_together, self.rounds) if ahead else 1

    @property
    def members(self) -> int:
        """The repetitions of the rounds that are trained together."""
        return self.rounds_at_once * self.repetitions

    def blocks(self) -> Sequence[Sequence[Sequence[Place]]]:
        """Some rounds of every configuration in each block; their repetitions stay together."""
        starts = range(0, self.rounds, self.rounds_together)
        return [self._groups(range(self.rounds)[i : i + self.rounds_together]) for i in starts]

    def check(self) -> None:
        """Ask for the last round, where it does not depend on the others: a grid may be small."""
        if not strategies.get(self.strategy).proposes_ahead:
            return
        strategy = self.strategy_at_work()
        if strategy.most is None or self.rounds > strategy.most:
            strategy.propose(self.rounds - 1)

    def strategy_at_work(self) -> Strategy:
        """A new strategy that has seen no round yet."""
        make = strategies.get(self.strategy)
        return make(self.space, seed=self.strategy_seed, rounds=self.rounds)

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
        fixed: hyperparameters that are not searched; PyTorch's defaults where not given.
    """

    trains: ClassVar[bool] = True

    fixed: dict[str, float] = Field(default_factory=dict)

    @field_validator("fixed")
    @classmethod
    def _possible(cls, fixed: dict[str, float]) -> dict[str, float]:
        with as_value_error():
            check_hyperparameters(fixed)
        return fixed

    @property
    def names_data(self) -> bool:
        """Whether it says itself what is trained on, and not the study."""
        return False

    @abstractmethod
    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study_seed: int
    ) -> TrainingConfiguration:
        """What one combination of levels means."""


class SearchingExperimentSpec(TrainingExperimentSpec):
    """Keys of an experiment that searches hyperparameters.

    Attributes:
        rounds: sets of hyperparameters that each configuration is trained with.
        space: hyperparameters that are searched, in order.
    """

    rounds: Count
    space: dict[str, dict[str, Any]]

    @field_validator("space")
    @classmethod
    def _searchable(cls, space: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        with as_value_error():
            for name, variable in SearchSpace.from_dict(space).variables.items():
                for value in variable.attained_bounds():
                    check_hyperparameters({name: value})
        return space

    def search_space(self) -> SearchSpace:
        """What is searched."""
        return SearchSpace.from_dict(self.space)

    def counts(self) -> Mapping[str, int]:
        """Rounds, and repetitions of each."""
        return {"rounds": self.rounds, "repetitions": self.repetitions}
