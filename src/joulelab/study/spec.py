"""The keys that every study file has; what trains has more (`joulelab.kinds.training.spec`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, cast

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator

from joulelab.energy.meter import meters as known_meters
from joulelab.study.kind import ExperimentSpec, Kind, kind_of
from joulelab.study.kind import kinds as known_kinds
from joulelab.study.miniature import Miniature, miniature_in_words
from joulelab.study.validation import known

MOST_THREADS = 1024
"""More than any machine has use for; told to make a billion, a library ends the process."""


class EnergySpec(BaseModel):
    """The table ``[energy]``: how joules are read.

    Attributes:
        meters: registered names, with an address and settings where one takes them, as in
            ``"shelly:192.168.1.20"``; or ``"auto"`` for whatever works on this machine.
        interval_s: time between two samples.
        idle_s: how long idle power is measured before and after the runs; 0 for not at all.
        cool_down_s: the longest wait, before a training, for a measured device to come back to
            its idle power; 0 for not at all.
        domains: which domains the energy of a run adds up, or ``"auto"``: what is measured on the
            device that trains, and only where nothing is, what is estimated.
        tdp_w: the processor's thermal design power, where the estimate does not know it.
        traces: keep the power trace of every training in ``traces/``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    meters: list[str] | Literal["auto"] = "auto"
    interval_s: Annotated[float, Field(ge=0.005, le=60)] = 0.1
    idle_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    cool_down_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    domains: list[str] | Literal["auto"] = "auto"
    tdp_w: Annotated[float, Field(gt=0)] | None = None
    traces: bool = True

    @field_validator("meters")
    @classmethod
    def _known_meters(cls, names: list[str] | str) -> list[str] | str:
        if isinstance(names, str):
            return names
        for name in names:
            known(known_meters, name.partition("?")[0].partition(":")[0])
        return names


class StudySpec(BaseModel):
    """What every study file has; kinds of experiment add keys of their own (`study_class`).

    Attributes:
        name: of the study; the name of the file where not given.
        summary: one line for ``joulelab list``.
        device: ``"auto"`` (a GPU if there is one), ``"cpu"`` or ``"cuda:<index>"``.
        threads: threads that torch computes with on the CPU, or ``"auto"``: one for each core.
        seed: everything random follows from it.
        plugins: Python files with parts of one's own; a path counts from the study file's folder.
        energy: how joules are read.
        experiment: the experiments by name.
        miniature: what a whole study has, where this one was thinned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    summary: str = ""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    threads: Annotated[int, Field(gt=0, le=MOST_THREADS, strict=True)] | Literal["auto"] = "auto"
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    plugins: list[str] = Field(default_factory=list)
    energy: EnergySpec = EnergySpec()
    experiment: Annotated[dict[str, Any], Field(min_length=1)]
    miniature: Miniature | None = None

    @property
    def scale(self) -> float:
        """Share of the work of the whole study that this one does; 1 for a study that is whole."""
        return 1.0 if self.miniature is None else self.miniature.share

    def miniature_in_words(self, train_images: tuple[int, int] | None = None) -> str | None:
        """What was thinned, in a sentence; ``None`` for a study that is whole.

        Args:
            train_images: how many training images are used, and how many there are, once known.
        """
        return miniature_in_words(self.to_dict(), train_images)

    def experiments(self) -> Mapping[str, ExperimentSpec]:
        """The experiments, each checked by its kind."""
        return {name: typed(table) for name, table in self.experiment.items()}

    def kinds(self) -> Sequence[Kind]:
        """The kinds of the experiments, each once."""
        names = dict.fromkeys(table["kind"] for table in self.experiment.values())
        return [known_kinds.get(name) for name in names]

    def to_dict(self) -> dict[str, Any]:
        """Plain data with every default written out, as the store keeps it; no ``None``."""
        resolved = {
            name: experiment.model_dump(mode="json")
            for name, experiment in self.experiments().items()
        }
        plain: dict[str, Any] = _without_none(
            {**self.model_dump(mode="json"), "experiment": resolved}
        )
        return plain

    def to_toml(self) -> str:
        """The resolved study file."""
        return tomli_w.dumps(self.to_dict())


@cache
def study_class(keys: tuple[type[BaseModel], ...]) -> type[StudySpec]:
    """The class of a study file in which some kinds want keys of their own.

    Args:
        keys: models with these keys, each once.
    """
    if not keys:
        return StudySpec
    bases = cast("tuple[type[StudySpec], ...]", (*reversed(keys), StudySpec))
    return create_model("StudySpec", __base__=bases)


def typed(table: Any) -> ExperimentSpec:  # noqa: ANN401 - unchecked data
    """A table of an experiment, checked by its kind."""
    return kind_of(table).model_validate(table)


def _without_none(value: Any) -> Any:  # noqa: ANN401 - plain data of any shape
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value
