"""The keys of a study file, kinds of experiment, and their registry.

::

    StudySpec ── EnergySpec
       └ ExperimentSpec, of a kind
           Kind ─┬─ spec       the keys of its table: factors and configurations
                 ├─ workload   carries out and measures configurations
                 └─ report     shows its results

A custom kind is registered like the built-in ones: as an entry point in the group
``joulelab.kinds``, or from a plug-in file by ``register("name")(Kind(...))``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator

from joulelab.energy.meter import meters as known_meters
from joulelab.plain import as_path, expanded, is_there
from joulelab.registry import Registry, imported
from joulelab.study.design import (
    Configuration,
    Factor,
    Level,
    MainMetric,
    configuration_name,
    full_factorial,
)
from joulelab.study.miniature import Miniature, miniature, miniature_in_words
from joulelab.study.validation import known

Count = Annotated[int, Field(gt=0, strict=True)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"
CALLABLE = r"^[^:]+:[A-Za-z_][\w.]*$"


MOST_THREADS = 1024
MOST_WORKERS = 10_000
"""Above any sensible number; asked for a billion, a library ends the process."""


class ExperimentSpec(BaseModel, ABC):
    """The table ``[experiment.<name>]`` of a study file; each kind adds its own keys.

    Attributes:
        kind: registered name of the kind.
        repetitions: of the same thing, each with its own seed.
        exclude: combinations of levels to leave out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study_keys: ClassVar[type[BaseModel] | None] = None
    """Keys that this kind adds to the whole study file."""

    data_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys whose values are data names and never code, even with a colon; ``a.b`` is b in a."""

    noun: ClassVar[str] = "run"
    """Noun for a run in plans, in the ledger and in reports."""

    working_folder: ClassVar[str] = ""
    """Key with the folder that its programs run in, if it runs any."""

    kind: str
    repetitions: Count
    exclude: list[dict[str, Level]] = Field(default_factory=list)

    @abstractmethod
    def factors(self) -> Sequence[Factor]:
        """The factors of this experiment."""

    def needs(self) -> tuple[str, ...]:
        """Libraries, of `joulelab.optional`, without which nothing can be run."""
        return ()

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> Configuration:
        """The configuration for one combination of levels.

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
        """Check against the keys of the whole study; most kinds have nothing to check.

        Args:
            study: the whole study.

        Raises:
            UsageError: the study is not valid; says why.
        """

    @classmethod
    def main_metric(cls, table: Mapping[str, Any]) -> MainMetric:
        """What its runs are judged by, beside their energy; most kinds have an accuracy.

        Args:
            table: of the study file of a results folder.
        """
        return MainMetric()

    def excluded(self) -> Sequence[Mapping[str, Level]]:
        """Excluded combinations of levels: those of the file, and impossible ones."""
        return self.exclude

    def combinations(self) -> Sequence[Mapping[str, Level]]:
        """The combinations of levels that are run; the full factorial design without exclusions.

        Raises:
            SpecError: an exclusion names an unknown factor or level, or nothing is left.
        """
        return full_factorial(self.factors(), self.excluded())

    def most_combinations(self) -> int:
        """An upper bound of their number, by arithmetic."""
        return math.prod(len(factor.levels) for factor in self.factors())

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """Make the paths in an unchecked table absolute, in place; most kinds have none.

        Args:
            table: from the study file.
            folder: of the study file.
        """

    @classmethod
    def code(cls, table: Mapping[str, Any]) -> Sequence[tuple[str, Path | None]]:
        """Programs that an unchecked table runs, beside functions ``module:attribute``.

        Args:
            table: from the study file, its paths absolute.

        Returns:
            Each in words, with its file, if there is one.
        """
        return ()

    def files(self) -> Mapping[Path, bool]:
        """Files of the user that its runs need, which a results folder keeps copies of.

        Returns:
            For each whether it is code, which must not change; the rest are data.
        """
        return {}

    def portable(
        self,
        name_of: Callable[[Path], str | None],
    ) -> dict[str, Any]:
        """The keys that name `files` or the working folder, with the names of the copies.

        Args:
            name_of: the path of a copy from the results folder; ``None`` if there is none.
        """
        return {}

    @staticmethod
    def miniature(
        study: Mapping[str, Any],
        configurations: Mapping[str, int],
        scale: float,
        overridden: Collection[tuple[str, ...]],
    ) -> dict[str, Any]:
        """Scale a study down; kinds with the same function may share a study.

        For arguments and errors see `joulelab.study.miniature.miniature`.
        """
        return miniature(study, configurations, scale, overridden)

    def counts(self) -> Mapping[str, int]:
        """Number of runs of each configuration: rounds, repetitions."""
        return {"repetitions": self.repetitions}


class EnergySpec(BaseModel):
    """The table ``[energy]``: how energy is measured.

    Attributes:
        meters: registered names, optionally with address and settings, as in
            ``"shelly:192.168.1.20"``; or ``"auto"`` for all that work on this machine.
        interval_s: time between two samples.
        idle_s: duration of the idle power measurement before and after the runs; 0 to skip.
        cool_down_s: the longest wait before a training for a measured device to return to idle
            power; 0 to skip.
        domains: domains in the energy of a run, or ``"auto"``: what is measured, or estimated if
            nothing is measured on the training device.
        tdp_w: the processor's thermal design power, if the estimate does not know it.
        traces: store the power trace of every training in ``traces/``.
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


class SlurmSpec(BaseModel):
    """The table ``[execution.slurm]``: what a worker asks SLURM for.

    Attributes:
        partition: of the jobs; default: the cluster's.
        account: that is charged.
        time: longest duration of a worker: ``"4h"``; default: the partition's.
        gpus: of a worker.
        cpus: of a worker; default: all of the node, if it is exclusive.
        exclusive: whether a worker has its node alone. Sensors read the whole node: with other jobs
            on it their energy would be counted too.
        directives: others, ``{qos = "high"}`` for ``--qos=high``.
        setup: shell commands before the worker starts, such as ``"module load cuda"``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: str | None = None
    account: str | None = None
    time: str | None = None
    gpus: Annotated[int, Field(ge=0)] = 0
    cpus: Annotated[int, Field(gt=0)] | None = None
    exclusive: bool = True
    directives: dict[str, str | int | bool] = Field(default_factory=dict)
    setup: list[str] = Field(default_factory=list)


class ExecutionSpec(BaseModel):
    """The table ``[execution]``: where runs are carried out. It is not part of what a study is.

    Attributes:
        on: ``"local:2"``, ``"slurm"``, ``"ray"``, ``"ray:ADDRESS"``; default: this process.
        workers: at most; for ``local`` the number is in `on`.
        mix: with ``"block"`` a study may use machines of several kinds, each block on one;
            ``"refuse"`` refuses other machines than the first.
        slurm: what a worker asks SLURM for.
        ray: resources of a worker on Ray, such as ``{CPU = 2, GPU = 1}``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: str | None = None
    workers: Annotated[int, Field(gt=0, le=MOST_WORKERS)] = 4
    mix: Literal["refuse", "block"] = "refuse"
    slurm: SlurmSpec = SlurmSpec()
    ray: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)


class StudySpec(BaseModel):
    """The keys of every study file; kinds of experiment add more (`study_class`).

    Attributes:
        name: of the study; default: the name of the file.
        summary: one line for ``joulelab list``.
        device: ``"auto"`` (a GPU if there is one), ``"cpu"`` or ``"cuda:<index>"``.
        threads: torch threads on the CPU, or ``"auto"``: one per core.
        seed: determines all randomness.
        plugins: Python files with the user's parts; paths are relative to the study file's folder.
        energy: how energy is measured.
        execution: where runs are carried out; ``None`` for this process.
        experiment: the experiments by name.
        miniature: values of the full study, if this one was scaled down.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=NAME)]
    summary: str = ""
    device: Annotated[str, Field(pattern=DEVICE)] = "auto"
    threads: Annotated[int, Field(gt=0, le=MOST_THREADS, strict=True)] | Literal["auto"] = "auto"
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    plugins: list[str] = Field(default_factory=list)
    energy: EnergySpec = EnergySpec()
    execution: ExecutionSpec | None = None
    experiment: Annotated[dict[str, Any], Field(min_length=1)]
    miniature: Miniature | None = None

    @property
    def scale(self) -> float:
        """Share of the work of the full study; 1 for a full study."""
        return 1.0 if self.miniature is None else self.miniature.share

    def miniature_in_words(self, train_images: tuple[int, int] | None = None) -> str | None:
        """The reductions in a sentence; ``None`` for a full study.

        Args:
            train_images: numbers of used and of all training images, once known.
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
        """Plain data with all defaults, for the store; no ``None``."""
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

    `workload` and `report` may be ``"module:attribute"``, imported on first use: planning needs
    neither, and both import heavy libraries.

    Attributes:
        spec: its keys in a study file.
        workload: carries out the configurations.
        report: a `joulelab.report.report.Report`; ``None`` for a general report.
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
        """The report; ``None`` for the general report."""
        return imported(self.report) if isinstance(self.report, str) else self.report


def located_path(path: str, folder: Path) -> Path:
    """An absolute path, from the study file's folder if it exists there, else the current one."""
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
        "generation": (
            "joulelab.kinds.generation.spec:GENERATION_KIND",
            "language models x batch sizes x lengths x precisions: what does a token cost?",
        ),
        "command": (
            "joulelab.kinds.program.spec:COMMAND",
            "a command of your own, in any language: factors x repetitions",
        ),
        "function": (
            "joulelab.kinds.program.spec:FUNCTION",
            "a Python function of your own: factors x repetitions",
        ),
        "green-tuning": (
            "joulelab.kinds.green_tuning.spec:GREEN_TUNING",
            "strategies x networks on a budget: which reaches the accuracy with the fewest joules?",
        ),
        "replayed-tuning": (
            "joulelab.kinds.replayed_tuning.spec:REPLAYED_TUNING",
            "strategies x recorded trials: which strategy is best, in seconds and at no energy?",
        ),
        "objective": (
            "joulelab.kinds.objective.spec:OBJECTIVE",
            "a Python function of your own that is tuned: the best score for the least energy",
        ),
    },
)


register = kinds.register
"""Register a custom kind: ``register("name")(Kind(...))``."""


def kind_of(table: Any) -> type[ExperimentSpec]:  # noqa: ANN401 - unchecked data
    """The spec class of the kind in an experiment's table.

    Raises:
        UnknownNameError: the kind is not registered.
    """
    kind = table.get("kind") if isinstance(table, dict) else None
    return kinds.get(kind).spec if isinstance(kind, str) else ExperimentSpec


@cache
def study_class(keys: tuple[type[BaseModel], ...]) -> type[StudySpec]:
    """The class of a study file with additional keys of some kinds.

    Args:
        keys: models with these keys, each once.
    """
    if not keys:
        return StudySpec
    bases = cast("tuple[type[StudySpec], ...]", (*reversed(keys), StudySpec))
    return create_model("StudySpec", __base__=bases)


def typed(table: Any) -> ExperimentSpec:  # noqa: ANN401 - unchecked data
    """An experiment's table, checked by its kind."""
    return kind_of(table).model_validate(table)


def _without_none(value: Any) -> Any:  # noqa: ANN401 - plain data of any shape
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value
