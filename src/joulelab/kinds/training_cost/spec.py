"""The cost of training: energy and accuracy of networks on data sets.

After Xu et al., HICSS 2023: image classifiers with a frozen or a trained base x data sets, trained
with the same hyperparameters, several times each; CO2e is evaluated for several places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from joulelab.energy.carbon.footprint import TIMEZONE, carbon_intensity, checked_pue, names_series
from joulelab.errors import UnknownNameError, quoted
from joulelab.kinds.training.spec import (
    TrainingConfiguration,
    TrainingExperimentSpec,
    known_dataset,
)
from joulelab.learning.networks import TORCHVISION
from joulelab.learning.zoo import network_source
from joulelab.study.design import Factor, Level
from joulelab.study.spec import Kind, StudySpec, located_path
from joulelab.study.validation import as_value_error, names_are_free, unique

NETWORK, BASE, DATASET = "network", "base", "dataset"
FROZEN = "frozen"

Names = Annotated[list[str], Field(min_length=1)]


class TrainingCostSpec(TrainingExperimentSpec):
    """Keys of an experiment of kind ``training-cost``.

    Attributes:
        networks: torchvision's classifiers, registered networks, and the user's functions as
            ``module:function``; levels of the factor ``network``.
        bases: ``"trained"`` and ``"frozen"``: whether everything but the head of torchvision's
            networks is trained; levels of the factor ``base``. Other networks are trained only.
        head: of torchvision's networks: ``"linear"``, or ``"xu2023"``, the paper's.
        weights: of torchvision's networks: ``"auto"`` (published ones if the file is on this
            machine, else random), ``"pretrained"``, ``"random"``, or a name.
        datasets: registered names; levels of the factor ``dataset``. Default: the study's.
        network_options: for a name in `networks`, keyword arguments.
        places: places for CO2e in the report: countries, regions, g/kWh, or files with intensity
            over time, relative to the study file's folder.
        pue: power usage effectiveness there.
    """

    data_keys: ClassVar[frozenset[str]] = TrainingExperimentSpec.data_keys | {"datasets", "places"}

    kind: Literal["training-cost"]
    networks: Names
    bases: Annotated[list[Literal["trained", "frozen"]], Field(min_length=1)] = ["trained"]  # noqa: RUF012
    head: Literal["linear", "xu2023"] = "linear"
    weights: str = "auto"
    datasets: Names | None = None
    network_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    places: list[float | str] = Field(default_factory=list)
    pue: float = 1.0

    @field_validator("networks")
    @classmethod
    def _known_networks(cls, names: list[str]) -> list[str]:
        with as_value_error():
            for name in unique(names):
                _source(name)
        return names

    @field_validator("bases")
    @classmethod
    def _bases(cls, bases: list[str]) -> list[str]:
        return unique(bases)

    @field_validator("datasets")
    @classmethod
    def _known_datasets(cls, names: list[str] | None) -> list[str] | None:
        return None if names is None else [known_dataset(name) for name in unique(names)]

    @field_validator("places")
    @classmethod
    def _known_places(cls, places: list[float | str]) -> list[float | str]:
        with as_value_error():
            for place in unique(places):
                if not names_are_free():  # a place may be a file
                    carbon_intensity(place)
        return places

    @field_validator("pue")
    @classmethod
    def _possible_pue(cls, pue: float) -> float:
        with as_value_error():
            return checked_pue(pue)

    @model_validator(mode="after")
    def _consistent(self) -> TrainingCostSpec:
        for name in self.network_options:
            if name not in self.networks:
                raise ValueError(f"network_options names {quoted(name)}, which is not in networks")
        if self.datasets and DATASET in self.levels:
            raise ValueError("the data set is in both vary and datasets; remove one of them")
        if self.bases == [FROZEN] and (without := self._without_base()):
            raise ValueError(
                f"{without[0]} is not a torchvision network and has no base to freeze; "
                'remove it, or add "trained" to bases'
            )
        return self

    def _without_base(self) -> list[str]:
        """Networks that cannot be split into a base and a head."""
        return [name for name in self.networks if _source(name)[0] != TORCHVISION]

    def excluded(self) -> Sequence[Mapping[str, Level]]:
        """Those of the file, and frozen networks without a base."""
        frozen = [{NETWORK: name, BASE: FROZEN} for name in self._without_base()]
        return [*self.exclude, *(frozen if FROZEN in self.bases else [])]

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """Make the paths of intensity files absolute."""
        if isinstance(places := table.get("places"), list):
            table["places"] = [_located(place, folder) for place in places]

    def factors(self) -> Sequence[Factor]:
        """Network, base, data set if given, and what is varied."""
        data = (Factor(DATASET, tuple(self.datasets)),) if self.datasets else ()
        return (
            Factor(NETWORK, tuple(self.networks)),
            Factor(BASE, tuple(self.bases)),
            *data,
            *self.varied(),
        )

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> TrainingConfiguration:
        """One network, frozen or not, on one data set."""
        name = str(levels[NETWORK])
        network, options = _source(name)
        if network == TORCHVISION:
            options |= {"weights": self.weights, "base": levels[BASE], "head": self.head}
        return TrainingConfiguration(
            **self.training(experiment, levels, study),
            network=network,
            network_options={**options, **self.network_options.get(name, {})},
        )


def _source(name: str) -> tuple[str, dict[str, Any]]:
    """As `network_source`, but accepts names of plug-ins that are not loaded, if allowed."""
    try:
        return network_source(name)
    except UnknownNameError:
        if names_are_free():
            return name, {}
        raise


def _located(place: Any, folder: Path) -> Any:  # noqa: ANN401 - unchecked data
    if names_series(place):
        file, mark, zone = place.partition(TIMEZONE)
        return f"{located_path(file, folder)}{mark}{zone}"
    return place


TRAINING_COST = Kind(
    TrainingCostSpec,
    "joulelab.kinds.training.workload:TrainingWorkload",
    "joulelab.kinds.training_cost.report:TRAINING_COST",
)
