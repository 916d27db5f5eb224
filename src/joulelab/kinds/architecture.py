"""The architecture experiment: energy and accuracy of each type of layer.

After Yarally et al., CAIN 2023, section V-B and Table II: a full factorial design over the layers
of one network, each configuration trained with several sets of hyperparameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from joulelab.errors import quoted
from joulelab.kinds.training.spec import SearchingConfiguration, SearchingExperimentSpec
from joulelab.learning.networks import networks as known_networks
from joulelab.study.design import Factor, Level, derive_seed
from joulelab.study.schema import RUN_COLUMNS
from joulelab.study.spec import Kind, StudySpec
from joulelab.study.validation import known, unique
from joulelab.tuning.strategy import strategies as known_strategies

Levels = Annotated[list[Level], Field(min_length=1)]


class ArchitectureSpec(SearchingExperimentSpec):
    """Keys of an experiment of kind ``architecture``.

    Attributes:
        network: registered name.
        vary: keyword arguments of the network that are varied; each is a factor.
        network_options: keyword arguments that stay the same.
        strategy: registered name; chooses the hyperparameters of each round. All configurations are
            trained with the same sets, so they differ only in their layers.
    """

    kind: Literal["architecture"]
    network: str
    vary: Annotated[dict[str, Levels], Field(min_length=1)]
    network_options: dict[str, Any] = Field(default_factory=dict)
    strategy: str = "random"

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
        for name, levels in self.vary.items():
            unique(levels)
            if name in RUN_COLUMNS:
                raise ValueError(
                    f"{quoted(name)} is a column of the results and cannot be a factor"
                )
            if name in self.network_options:
                raise ValueError(f"{quoted(name)} is in both vary and network_options")
        return self

    def factors(self) -> Sequence[Factor]:
        """The layers that are varied."""
        return tuple(Factor(name, tuple(levels)) for name, levels in self.vary.items())

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> SearchingConfiguration:
        """The network with these layers."""
        return SearchingConfiguration(
            **self.searching(experiment, levels, study),
            network=self.network,
            network_options={**self.network_options, **levels},
            strategy=self.strategy,
            strategy_seed=derive_seed(study.seed, "strategy", experiment),
            space=self.search_space(),
        )


ARCHITECTURE = Kind(
    ArchitectureSpec,
    "joulelab.kinds.training.workload:TrainingWorkload",
    "joulelab.kinds.training.report:ARCHITECTURE",
)
