"""Green tuning as an experiment: strategies x networks, each run a whole search on a budget.

::

    [experiment.tuning]
    kind = "green-tuning"
    strategies = ["green", "asha", "random"]
    networks = ["DensePolyNN"]
    budget = "270 epochs"
    repetitions = 3                             # searches, each with its own seed
    [experiment.tuning.space]
    learning_rate = { type = "continuous", low = 1e-5, high = 1e-1 }

A search sees the accuracy on a part of the training images that is held out, or, where the paper
did so, on the test images. What it chose is judged afterwards: trained on all training images with
fresh seeds, and evaluated on the test images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from joulelab.budget import parse_budget
from joulelab.kinds.green_tuning.miniature import search_miniature
from joulelab.kinds.green_tuning.stacks import check_options, check_variable
from joulelab.kinds.searching.keys import Goals, check_target, known_strategies
from joulelab.kinds.training.grid import GridKeys
from joulelab.kinds.training.spec import TrainingConfiguration, TrainingExperimentSpec
from joulelab.learning.protocol import protocols
from joulelab.study.design import Factor, Level
from joulelab.study.spec import Count, Kind, StudySpec
from joulelab.study.validation import as_value_error, unique
from joulelab.tuning.search import check_seeds
from joulelab.tuning.space import SearchSpace

Seen = Literal["validation", "test"]
VALIDATION: Seen = "validation"
TEST: Seen = "test"


@dataclass(frozen=True, kw_only=True)
class GreenTuningConfiguration(TrainingConfiguration):
    """A strategy on a network.

    Attributes:
        strategy: name of a search or a strategy.
        space: what is searched.
        tune_on: what a search sees.
    """

    strategy: str
    space: SearchSpace
    tune_on: str


class GreenTuningSpec(GridKeys, TrainingExperimentSpec):
    """Keys of an experiment of kind ``green-tuning``, beside those of `GridKeys`.

    Attributes:
        space: searched hyperparameters, in order; also ``batch_size``, ``precision`` and options
            of the networks, such as ``linear_layers``.
        goals: ``["score"]``, or ``["score", "energy"]`` for the front of accuracy and energy of a
            full training, evaluations included, as measured in the search.
        budget: of each search: ``"270 epochs"``, ``"20kJ"``, ``"1h"``.
        seeds: most trainings of a trial, each with its own seed; a trial gets another one only
            while it may still beat the best. Default: 8 for ``green``, else 1.
        target: accuracy that ends a search.
        tune_on: what a search sees: the accuracy on held-out training images (``validation``), or
            on the test images that also judge it (``test``). Default: the protocol's, of which
            ``yarally2023`` tunes on the test images, as the paper did. A list makes it a factor.
        held_out: number or share of the training images that are held out.
        judged: fresh trainings of what a search chose, evaluated on the test images; their cost
            is not part of the budget.
        together: at most so many trainings are stacked.
    """

    noun = "search"

    space: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    budget: str
    goals: Goals | None = None
    seeds: Count | None = None
    target: Annotated[float, Field(gt=0, le=1)] | None = None
    tune_on: Seen | Annotated[list[Seen], Field(min_length=1)] | None = None
    held_out: Annotated[float, Field(gt=0)] = 0.1
    judged: Annotated[int, Field(ge=0, strict=True)] = 8
    together: Count = 8

    @field_validator("strategies")
    @classmethod
    def _known_strategies(cls, names: list[str]) -> list[str]:
        return known_strategies(names)

    @field_validator("tune_on")
    @classmethod
    def _each_once(cls, seen: Seen | list[Seen] | None) -> Seen | list[Seen] | None:
        return unique(seen) if isinstance(seen, list) else seen

    @field_validator("budget")
    @classmethod
    def _possible_budget(cls, text: str) -> str:
        with as_value_error():
            parse_budget(text)
        return text

    @field_validator("space")
    @classmethod
    def _searchable(cls, space: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        with as_value_error():
            for name, variable in SearchSpace.from_dict(space).variables.items():
                check_variable(name, variable)
        return space

    @property
    def two_goals(self) -> bool:
        """Whether there is a second goal."""
        return self.goals is not None and len(self.goals) > 1

    @model_validator(mode="after")
    def _consistent(self) -> GreenTuningSpec:
        with as_value_error():
            for name in self.strategies:
                check_seeds(name, self.seeds)
            for name in self.networks:
                check_options(name, self.network_options.get(name, {}), list(self.space))
        check_target(self.target, self.two_goals)
        if twice := set(self.space) & set(self.levels):
            raise ValueError(f"{min(twice)} is in the space and in vary: leave it out of one")
        self.check_grid(self.space)
        return self

    def factors(self) -> Sequence[Factor]:
        """Strategy, network, number of hyperparameters, and what is varied."""
        return (
            *self.grid(self.space),
            *([Factor("tune_on", tuple(self.tune_on))] if isinstance(self.tune_on, list) else []),
            *self.varied(),
        )

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> GreenTuningConfiguration:
        """One strategy on one network."""
        of_training = self.training(experiment, levels, study)
        protocol = of_training["settings"].protocol
        # A plug-in may be missing where results are read.
        on_test = protocol in protocols.names() and protocols.get(protocol).tunes_on_test
        usual = TEST if on_test else VALIDATION
        return GreenTuningConfiguration(
            **of_training,
            **self.place(levels, self.space),
            tune_on=str(levels.get("tune_on", self.tune_on or usual)),
        )

    @staticmethod
    def miniature(
        study: Mapping[str, Any],
        configurations: Mapping[str, int],
        scale: float,
        overridden: Collection[tuple[str, ...]],
    ) -> dict[str, Any]:
        """Scale a study of searches down to a share of its work."""
        return search_miniature(study, configurations, scale, overridden)


GREEN_TUNING = Kind(
    GreenTuningSpec,
    "joulelab.kinds.green_tuning.workload:GreenTuningWorkload",
    "joulelab.kinds.green_tuning.report:GREEN_TUNING",
)
