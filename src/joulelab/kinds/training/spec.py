"""Common parts of training experiments, with and without hyperparameter search.

::

    TrainingKeys              keys of the whole study file: data set, epochs, engine ...
    TrainingConfiguration     network, data set, settings: repetitions are independent
      SearchingConfiguration  and a strategy, which proposes rounds: the repetitions of one together
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import (
    BaseModel,
    Field,
    StrictBool,
    ValidationError,
    field_validator,
    model_validator,
)

from joulelab.errors import SpecError, quoted, suggestion
from joulelab.kinds.training.miniature import training_miniature
from joulelab.kinds.training.settings import (
    DATASET,
    OPTIMISER,
    RESERVED,
    Settings,
    check_optimisers,
)
from joulelab.learning.engine import HYPERPARAMETERS, Precision, check_hyperparameters
from joulelab.learning.engine import engines as known_engines
from joulelab.learning.images import datasets, split_settings
from joulelab.learning.learning_rate import CONSTANT, parse_schedule
from joulelab.learning.protocol import protocols as known_protocols
from joulelab.study.design import Configuration, Factor, Level, Place
from joulelab.study.schema import RUN_COLUMNS
from joulelab.study.spec import Count, ExperimentSpec, StudySpec
from joulelab.study.validation import as_value_error, known, unique
from joulelab.tuning.space import SearchSpace
from joulelab.tuning.strategy import Strategy, strategies

Share = Annotated[float, Field(gt=0, lt=1)]
Levels = Annotated[list[Level], Field(min_length=1)]
HowMany = Count | Share | Literal["all"]
"""Images to use: a number, a share, or all."""


class TrainingKeys(BaseModel):
    """Keys of the whole study file if an experiment trains.

    Attributes:
        dataset: registered name, with an argument after a colon if needed; optional if every
            experiment has its own.
        train_images: number of training images, drawn by the seed; a share between 0 and 1; or
            ``"all"``.
        test_images: the same for the test images.
        protocol: registered name of the training conventions.
        engine: registered name.
        precision: the arithmetic of a training: ``"fp32"``, ``"tf32"`` or ``"bf16"``.
        rounds_together: number of rounds of a configuration trained as one group, if its strategy
            proposes ahead of results.
        mix_engines: whether the reference engine trains the configurations that the engine cannot;
            otherwise one engine trains the whole study.
        epochs: passes over the training images.
        batch_size: images in an optimiser step.
        optimiser: ``"adam"``, ``"adamw"`` or ``"sgd"``.
        schedule: of the learning rate, such as ``"step(30, 0.1)"`` or ``"cosine"``.
        augmentation: random changes of training images: the protocol's, or one by name.
        score: of a round: ``"mean"`` or ``"max"`` accuracy of its repetitions.
    """

    dataset: str | None = None
    train_images: HowMany = "all"
    test_images: HowMany = "all"
    protocol: str = "default"
    engine: str = "reference"
    precision: Literal["fp32", "tf32", "bf16"] = Precision.FP32.value
    rounds_together: Count = 1
    mix_engines: Annotated[bool, Field(strict=True)] = False
    epochs: Count
    batch_size: Count = 512
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    schedule: str = CONSTANT
    augmentation: Literal["protocol", "none", "flip", "xu2023"] = "protocol"
    score: Literal["mean", "max"] = "mean"

    @model_validator(mode="before")
    @classmethod
    def _varied_epochs(cls, data: Any) -> Any:  # noqa: ANN401 - unchecked data
        """If every experiment varies the epochs, the key may be missing."""
        if not isinstance(data, dict) or "epochs" in data:
            return data
        levels = [_varied_by(table, "epochs") for table in _tables(data)]
        if not levels or not all(levels):
            return data
        return {**data, "epochs": max(level for one in levels for level in one)}

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, name: str | None) -> str | None:
        return None if name is None else known_dataset(name)

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, name: str) -> str:
        return known(known_protocols, name)

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, name: str) -> str:
        return known(known_engines, name)

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, text: str) -> str:
        with as_value_error():
            parse_schedule(text)
        return text


@dataclass(frozen=True, kw_only=True)
class TrainingConfiguration(Configuration):
    """One combination of levels of a training experiment.

    Attributes:
        network: registered name.
        network_options: keyword arguments for the network.
        fixed: hyperparameters that are not searched, varied ones included.
        dataset: name of the data set.
        settings: how it is trained.
    """

    network: str
    network_options: Mapping[str, Any]
    fixed: Mapping[str, float]
    dataset: str
    settings: Settings

    @property
    def members(self) -> int:
        """Number of trainings in its largest group."""
        return 1

    def strategy_at_work(self) -> Strategy | None:
        """A new strategy for the rounds; ``None`` without a search."""
        return None


@dataclass(frozen=True, kw_only=True)
class SearchingConfiguration(TrainingConfiguration):
    """A configuration whose hyperparameters are searched, round by round.

    Attributes:
        strategy: registered name.
        strategy_seed: seed of all proposals.
        space: what the strategy searches; ``None`` if nothing.
        rounds: proposals of the strategy; each is trained `repetitions` times.
        rounds_together: rounds per block, and per group if the strategy proposes ahead; other
            strategies train rounds one by one.
    """

    strategy: str
    strategy_seed: int
    space: SearchSpace | None
    rounds: int
    rounds_together: int = 1

    @property
    def rounds_at_once(self) -> int:
        """Number of rounds trained as one group."""
        ahead = strategies.get(self.strategy).proposes_ahead
        return min(self.rounds_together, self.rounds) if ahead else 1

    @property
    def members(self) -> int:
        """The repetitions of the rounds trained together."""
        return self.rounds_at_once * self.repetitions

    def blocks(self) -> Sequence[Sequence[Sequence[Place]]]:
        """Some rounds of every configuration in each block; their repetitions stay together."""
        starts = range(0, self.rounds, self.rounds_together)
        return [self._groups(range(self.rounds)[i : i + self.rounds_together]) for i in starts]

    def check(self) -> None:
        """Request the last round, if independent of the others: a grid may be too small."""
        strategy = self.strategy_at_work()
        if strategy is None or not strategies.get(self.strategy).proposes_ahead:
            return
        if strategy.most is None or self.rounds > strategy.most:
            strategy.propose(self.rounds - 1)

    def strategy_at_work(self) -> Strategy | None:
        """A new strategy without observations; ``None`` if nothing is searched."""
        if self.space is None:
            return None
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
        fixed: fixed hyperparameters; default: PyTorch's.
        vary: settings and hyperparameters that are varied, with their levels; each is a factor.
    """

    noun: ClassVar[str] = "training"

    study_keys: ClassVar[type[BaseModel]] = TrainingKeys

    data_keys: ClassVar[frozenset[str]] = frozenset({f"vary.{DATASET}"})

    varies_network: ClassVar[bool] = False
    """Whether `vary` takes keyword arguments of the network too."""

    fixed: dict[str, StrictBool | float] = Field(default_factory=dict)
    vary: dict[str, Levels] | None = None

    @field_validator("fixed")
    @classmethod
    def _possible(cls, fixed: dict[str, float]) -> dict[str, float]:
        with as_value_error():
            check_hyperparameters(fixed)
        return fixed

    @field_validator("vary")
    @classmethod
    def _factors(cls, vary: dict[str, list[Level]] | None) -> dict[str, list[Level]] | None:
        for name, levels in (vary or {}).items():
            try:
                unique(levels)
                if name in RESERVED:
                    for level in levels:
                        _check_level(name, level)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
            if name not in RESERVED and not cls.varies_network:
                near = suggestion(name, RESERVED)
                raise ValueError(f"{quoted(name)} cannot be varied here; {near}")
            if name not in RESERVED and name in RUN_COLUMNS:
                raise ValueError(
                    f"{quoted(name)} is a column of the results and cannot be a factor"
                )
        return vary

    @model_validator(mode="after")
    def _separate(self) -> TrainingExperimentSpec:
        for key, given in self._values().items():
            for name in self.vary or ():
                if key != "vary" and name in given:
                    raise ValueError(
                        f"{quoted(name)} is in both vary and {key}; remove one of them"
                    )
        return self

    def _values(self) -> dict[str, dict[str, Sequence[Any]]]:
        """Possible values of hyperparameters by key."""
        varied = {name: all_of for name, all_of in self.levels.items() if name in HYPERPARAMETERS}
        return {"fixed": {name: [value] for name, value in self.fixed.items()}, "vary": varied}

    @property
    def levels(self) -> Mapping[str, Sequence[Level]]:
        """The varied names with their levels."""
        return self.vary or {}

    def varied(self) -> Sequence[Factor]:
        """The factors of `vary`."""
        return tuple(Factor(name, tuple(levels)) for name, levels in self.levels.items())

    def check(self, study: StudySpec) -> None:
        """The study has a data set, and optimisers have the hyperparameters that are given."""
        if not dataset_of(study) and DATASET not in {factor.name for factor in self.factors()}:
            raise SpecError("the key 'dataset' is missing", "add it to the study file")
        own = [cast(TrainingKeys, study).optimiser]
        check_optimisers(cast("list[str]", self.levels.get(OPTIMISER, own)), self._values())

    def needs(self) -> tuple[str, ...]:
        """PyTorch."""
        return ("torch", "torchvision")

    @abstractmethod
    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> TrainingConfiguration:
        """The configuration for one combination of levels."""

    def training(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> dict[str, Any]:
        """Common arguments of a `TrainingConfiguration`, besides the network."""
        varied = {name: level for name, level in levels.items() if name in HYPERPARAMETERS}
        return {
            **self.identity(experiment, levels),
            "fixed": {**self.fixed, **varied},
            "dataset": str(levels.get(DATASET, dataset_of(study))),
            "settings": Settings.of(study, levels),
        }

    @staticmethod
    def miniature(
        study: Mapping[str, Any],
        configurations: Mapping[str, int],
        scale: float,
        overridden: Collection[tuple[str, ...]],
    ) -> dict[str, Any]:
        """Scale a study of trainings down to a share of its work."""
        return training_miniature(study, configurations, scale, overridden)


class SearchingExperimentSpec(TrainingExperimentSpec):
    """Keys of an experiment that searches hyperparameters.

    Attributes:
        rounds: number of hyperparameter sets per configuration.
        space: searched hyperparameters, in order.
    """

    rounds: Count
    space: dict[str, dict[str, Any]]

    @field_validator("space")
    @classmethod
    def _searchable(cls, space: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if not space and not cls.model_fields["space"].is_required():
            return space
        with as_value_error():
            for name, variable in SearchSpace.from_dict(space).variables.items():
                for value in variable.attained_bounds():
                    check_hyperparameters({name: value})
        return space

    def _values(self) -> dict[str, dict[str, Sequence[Any]]]:
        """Possible values of hyperparameters by key; the bounds of searched ones."""
        space = self.search_space()
        variables = space.variables if space else {}
        searched: dict[str, Sequence[Any]] = {
            name: one.attained_bounds() for name, one in variables.items()
        }
        fixed, vary = super()._values().values()
        return {"fixed": fixed, "space": searched, "vary": vary}

    def search_space(self) -> SearchSpace | None:
        """The search space; ``None`` if nothing is searched."""
        return SearchSpace.from_dict(self.space) if self.space else None

    def searching(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> dict[str, Any]:
        """Common arguments of a `SearchingConfiguration`, besides network and search."""
        return {
            **self.training(experiment, levels, study),
            "rounds": self.rounds,
            "rounds_together": cast(TrainingKeys, study).rounds_together,
        }

    def counts(self) -> Mapping[str, int]:
        """Rounds, and repetitions of each."""
        return {"rounds": self.rounds, "repetitions": self.repetitions}


def dataset_of(study: StudySpec) -> str:
    """The data set of the whole study; empty if it has none."""
    return cast(TrainingKeys, study).dataset or ""


def _tables(data: Mapping[str, Any]) -> list[Any]:
    experiments = data.get("experiment")
    return list(experiments.values()) if isinstance(experiments, dict) else []


def _varied_by(table: Any, name: str) -> list[int]:  # noqa: ANN401 - unchecked data
    """The levels of a whole number that a table varies; empty if it does not, or is wrong."""
    vary = table.get("vary") if isinstance(table, dict) else None
    levels = vary.get(name) if isinstance(vary, dict) else None
    whole = isinstance(levels, list) and all(type(level) is int for level in levels)
    return levels if whole and isinstance(levels, list) else []


def _check_level(name: str, level: Level) -> None:
    """Check a level of a setting or hyperparameter.

    Raises:
        ValueError: it is impossible; says why.
    """
    if name in HYPERPARAMETERS:
        with as_value_error():
            check_hyperparameters({name: level})
        return
    try:
        if name in StudySpec.model_fields:
            StudySpec.model_validate({"name": "any", "experiment": {"any": {}}, name: level})
        else:
            TrainingKeys.model_validate({"epochs": 1, name: level})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        reason = f"{reason[:1].lower()}{reason[1:]}"
        raise ValueError(f"{quoted(level)} is not possible: {reason}") from None


def known_dataset(name: str) -> str:
    """The name itself, if it is a valid data set name with settings."""
    known(datasets, name)
    with as_value_error():
        split_settings(name)
    return name
