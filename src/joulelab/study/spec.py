"""The keys of a study file, what a kind of experiment is, and the registry of kinds.

::

    StudySpec ── EnergySpec
       └ ExperimentSpec, of a kind
           Kind ─┬─ spec       the keys of its table: factors and configurations
                 ├─ workload   how configurations are carried out and measured
                 └─ report     what is shown of its results

A kind from outside is registered as the shipped ones are: as an entry point in the group
``joulelab.kinds``, or from a plug-in file by ``register("name")(Kind(...))``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator

from joulelab.energy.meter import meters as known_meters
from joulelab.plain import as_path, expanded, is_there
from joulelab.registry import Registry, imported
from joulelab.study.design import Configuration, Factor, Level, configuration_name
from joulelab.study.miniature import Miniature, miniature, miniature_in_words
from joulelab.study.validation import known

Count = Annotated[int, Field(gt=0, strict=True)]


MOST_THREADS = 1024
"""More than any machine has use for; told to make a billion, a library ends the process."""


class ExperimentSpec(BaseModel, ABC):
    """The table ``[experiment.<name>]`` of a study file; each kind adds its own keys.

    Attributes:
        kind: registered name of the kind.
        repetitions: of the same thing, each with its own seed.
        exclude: combinations of levels to leave out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study_keys: ClassVar[type[BaseModel] | None] = None
    """Keys that the whole study file has once an experiment of this kind is in it."""

    data_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys whose values name data and never code, even where they contain a colon."""

    noun: ClassVar[str] = "run"
    """What one run is called in plans, in the ledger and in reports."""

    kind: str
    repetitions: Count
    exclude: list[dict[str, Level]] = Field(default_factory=list)

    @abstractmethod
    def factors(self) -> Sequence[Factor]:
        """What this experiment varies."""

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> Configuration:
        """What one combination of levels means.

        Args:
            experiment: name of the experiment.
            levels: level of each factor.
            study: the whole study, with `study_keys`.
        """
        return Configuration(**self.identity(experiment, levels))

    def identity(self, experiment: str, levels: Mapping[str, Level]) -> dict[str, Any]:
        """Arguments that every `Configuration` takes.

        Args:
            experiment: name of the experiment.
            levels: level of each factor.
        """
        return {
            "experiment": experiment,
            "kind": self.kind,
            "name": configuration_name(levels),
            "levels": levels,
            "repetitions": self.repetitions,
        }

    def check(self, study: StudySpec) -> None:
        """Check what depends on keys of the whole study; most kinds have nothing to check.

        Args:
            study: in which the experiment stands.

        Raises:
            UsageError: says what is wrong with the study.
        """

    def excluded(self) -> Sequence[Mapping[str, Level]]:
        """Combinations of levels that are left out: those of the file, and impossible ones."""
        return self.exclude

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """Make the paths in an unchecked table absolute, in place; most kinds have none.

        Args:
            table: unchanged in the study file.
            folder: of the study file.
        """

    @staticmethod
    def miniature(
        study: Mapping[str, Any],
        configurations: Mapping[str, int],
        scale: float,
        overridden: Collection[tuple[str, ...]],
    ) -> dict[str, Any]:
        """A study with a share of its work; kinds that share this function may share a study.

        Arguments and errors are those of `joulelab.study.miniature.miniature`.
        """
        return miniature(study, configurations, scale, overridden)

    def counts(self) -> Mapping[str, int]:
        """How often each configuration is run, by what is counted: rounds, repetitions."""
        return {"repetitions": self.repetitions}


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
        plugins: Python files with parts of the user; a path counts from the study file's folder.
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
        return [kinds.get(name) for name in names]

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


@dataclass(frozen=True)
class Kind:
    """One kind of experiment.

    `workload` and `report` may be given as ``"module:attribute"``, which is imported when it is
    first needed: planning needs neither, and both import heavy libraries.

    Attributes:
        spec: keys in a study file.
        workload: carries the configurations out.
        report: what is shown, a `joulelab.report.report.Report`; a general report where ``None``.
    """

    spec: type[ExperimentSpec]
    workload: type[Any] | str
    report: object = None

    @property
    def described_by(self) -> type[ExperimentSpec]:
        """The class whose docstring and file the registry shows."""
        return self.spec

    def load_workload(self) -> Any:  # noqa: ANN401 - `joulelab.study.workload` says what it is
        """The class of the workload."""
        return imported(self.workload) if isinstance(self.workload, str) else self.workload

    def load_report(self) -> Any:  # noqa: ANN401 - the report room says what it is
        """What is shown; ``None`` for the general report."""
        return imported(self.report) if isinstance(self.report, str) else self.report


def located_path(path: str, folder: Path) -> Path:
    """An absolute path that counts from the study file's folder, or else from the current one."""
    given = expanded(path)
    beside = folder / given
    return as_path(beside if is_there(beside) else given)


kinds: Registry[Kind] = Registry(
    "kind of experiment",
    "joulelab.kinds",
    {
        "tuning": (
            "joulelab.kinds.tuning:TUNING",
            "strategies x networks x numbers of hyperparameters: which strategy is best, and at "
            "what cost?",
        ),
        "architecture": (
            "joulelab.kinds.architecture:ARCHITECTURE",
            "a full factorial design over a network's layers: what does each layer cost?",
        ),
        "training-cost": (
            "joulelab.kinds.training_cost.spec:TRAINING_COST",
            "networks x frozen or trained base x data sets: what does a training cost, and where?",
        ),
        "batching": (
            "joulelab.kinds.batching.spec:BATCHING",
            "models x batching policies x arrival processes: how should a server batch?",
        ),
        "timeline": (
            "joulelab.kinds.timeline.spec:TIMELINE",
            "networks by year x batch sizes: what does an image cost, for what accuracy?",
        ),
    },
)


register = kinds.register
"""Registers a kind from outside: ``register("name")(Kind(...))``."""


def kind_of(table: Any) -> type[ExperimentSpec]:  # noqa: ANN401 - unchecked data
    """The spec of the kind that a table of an experiment names.

    Raises:
        UnknownNameError: nothing of that name is registered.
    """
    kind = table.get("kind") if isinstance(table, dict) else None
    return kinds.get(kind).spec if isinstance(kind, str) else ExperimentSpec


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
