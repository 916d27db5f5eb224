"""The tuning experiment: hyperparameter search strategies and their energy.

After Yarally et al., CAIN 2023, section V-A and Table I: strategies x networks x numbers of
hyperparameters, each tuned for a number of rounds with several repetitions of each round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from joulelab.errors import quoted
from joulelab.kinds.training.spec import SearchingConfiguration, SearchingExperimentSpec
from joulelab.learning.networks import networks as known_networks
from joulelab.study.design import Factor, Level, configuration_name, derive_seed
from joulelab.study.spec import Count, Kind, StudySpec
from joulelab.study.validation import known, unique
from joulelab.tuning.space import SearchSpace
from joulelab.tuning.strategy import strategies as known_strategies

Names = Annotated[list[str], Field(min_length=1)]


class TuningSpec(SearchingExperimentSpec):
    """Keys of an experiment of kind ``tuning``.

    Attributes:
        strategies: registered names; levels of the factor ``strategy``.
        networks: registered names; levels of the factor ``network``.
        hyperparameters: numbers of searched variables, in the order of the file; levels of the
            factor of the same name. Default: all.
        network_options: for a network's name, its keyword arguments.
    """

    kind: Literal["tuning"]
    strategies: Names
    networks: Names
    hyperparameters: Annotated[list[Count], Field(min_length=1)] | None = None
    network_options: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("strategies")
    @classmethod
    def _known_strategies(cls, names: list[str]) -> list[str]:
        return [known(known_strategies, name) for name in unique(names)]

    @field_validator("networks")
    @classmethod
    def _known_networks(cls, names: list[str]) -> list[str]:
        return [known(known_networks, name) for name in unique(names)]

    @model_validator(mode="after")
    def _consistent(self) -> TuningSpec:
        most = len(self.space)
        if self.hyperparameters and max(unique(self.hyperparameters)) > most:
            raise ValueError(
                f"hyperparameters requests {max(self.hyperparameters)} variables, but the space "
                f"has {most}"
            )
        for name in self.network_options:
            if name not in self.networks:
                raise ValueError(f"network_options names {quoted(name)}, which is not in networks")
        return self

    def factors(self) -> Sequence[Factor]:
        """Strategy, network, number of hyperparameters, and what is varied."""
        return (
            Factor("strategy", tuple(self.strategies)),
            Factor("network", tuple(self.networks)),
            Factor("hyperparameters", tuple(self.hyperparameters or [len(self.space)])),
            *self.varied(),
        )

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> SearchingConfiguration:
        """One strategy on one network; each search has its own seed."""
        network = str(levels["network"])
        return SearchingConfiguration(
            **self.searching(experiment, levels, study),
            network=network,
            network_options=self.network_options.get(network, {}),
            strategy=str(levels["strategy"]),
            strategy_seed=derive_seed(
                study.seed, "strategy", experiment, configuration_name(levels)
            ),
            space=SearchSpace.from_dict(self.space).first(int(levels["hyperparameters"])),
        )


TUNING = Kind(
    TuningSpec,
    "joulelab.kinds.training.workload:TrainingWorkload",
    "joulelab.kinds.training.report:TUNING",
)
