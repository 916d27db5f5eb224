"""The tuning experiment: hyperparameter search strategies and their energy.

After Yarally et al., CAIN 2023, section V-A and Table I: strategies x networks x numbers of
hyperparameters, each tuned for a number of rounds with several repetitions of each round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import field_validator, model_validator

from joulelab.kinds.training.grid import GridKeys
from joulelab.kinds.training.spec import SearchingConfiguration, SearchingExperimentSpec
from joulelab.study.design import Factor, Level, configuration_name, derive_seed
from joulelab.study.spec import Kind, StudySpec
from joulelab.study.validation import known, unique
from joulelab.tuning.strategy import strategies as known_strategies


class TuningSpec(GridKeys, SearchingExperimentSpec):
    """Keys of an experiment of kind ``tuning``, beside those of `GridKeys`."""

    kind: Literal["tuning"]

    @field_validator("strategies")
    @classmethod
    def _known_strategies(cls, names: list[str]) -> list[str]:
        return [known(known_strategies, name) for name in unique(names)]

    @model_validator(mode="after")
    def _consistent(self) -> TuningSpec:
        self.check_grid(self.space)
        return self

    def factors(self) -> Sequence[Factor]:
        """Strategy, network, number of hyperparameters, and what is varied."""
        return (*self.grid(self.space), *self.varied())

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> SearchingConfiguration:
        """One strategy on one network; each search has its own seed."""
        return SearchingConfiguration(
            **self.searching(experiment, levels, study),
            **self.place(levels, self.space),
            strategy_seed=derive_seed(
                study.seed, "strategy", experiment, configuration_name(levels)
            ),
        )


TUNING = Kind(
    TuningSpec,
    "joulelab.kinds.training.workload:TrainingWorkload",
    "joulelab.kinds.training.report:TUNING",
)
