"""The architecture experiment: energy and accuracy of each type of layer, or way of training.

After Yarally et al., CAIN 2023, section V-B and Table II: a full factorial design over the layers
of one network, each configuration trained with several sets of hyperparameters. Settings of the
training and single hyperparameters may be factors too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from joulelab.errors import quoted
from joulelab.kinds.training.settings import RESERVED
from joulelab.kinds.training.spec import Levels, SearchingConfiguration, SearchingExperimentSpec
from joulelab.learning.networks import networks as known_networks
from joulelab.study.design import Factor, Level, derive_seed
from joulelab.study.spec import Count, Kind, StudySpec
from joulelab.study.validation import known
from joulelab.tuning.strategy import strategies as known_strategies

T = TypeVar("T")


class ArchitectureSpec(SearchingExperimentSpec):
    """Keys of an experiment of kind ``architecture``.

    Attributes:
        network: registered name.
        vary: keyword arguments of the network, settings and hyperparameters that are varied; each
            is a factor.
        network_options: keyword arguments that stay the same.
        strategy: registered name; chooses the hyperparameters of each round. All configurations are
            trained with the same sets, so they differ only in what is varied.
        rounds: number of hyperparameter sets; one if nothing is searched.
        space: searched hyperparameters, in order; may be empty.
    """

    varies_network: ClassVar[bool] = True

    kind: Literal["architecture"]
    network: str
    vary: Annotated[dict[str, Levels], Field(min_length=1)]
    network_options: dict[str, Any] = Field(default_factory=dict)
    strategy: str = "random"
    rounds: Count = 1
    space: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("network")
    @classmethod
    def _known_network(cls, name: str) -> str:
        return known(known_networks, name)

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, name: str) -> str:
        return known(known_strategies, name)

    @model_validator(mode="after")
    def _consistent(self) -> ArchitectureSpec:
        for name in self.network_arguments(self.vary):
            if name in self.network_options:
                raise ValueError(f"{quoted(name)} is in both vary and network_options")
        if self.rounds > 1 and not self.space:
            raise ValueError("rounds = 1 is enough without a search; use more repetitions")
        return self

    def factors(self) -> Sequence[Factor]:
        """What is varied."""
        return self.varied()

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> SearchingConfiguration:
        """The network with these arguments, trained with these settings."""
        return SearchingConfiguration(
            **self.searching(experiment, levels, study),
            network=self.network,
            network_options={**self.network_options, **self.network_arguments(levels)},
            strategy=self.strategy,
            strategy_seed=derive_seed(study.seed, "strategy", experiment),
            space=self.search_space(),
        )

    @staticmethod
    def network_arguments(varied: Mapping[str, T]) -> dict[str, T]:
        """Those of the varied names that are arguments of the network."""
        return {name: value for name, value in varied.items() if name not in RESERVED}


ARCHITECTURE = Kind(
    ArchitectureSpec,
    "joulelab.kinds.training.workload:TrainingWorkload",
    "joulelab.kinds.training.report:ARCHITECTURE",
)
