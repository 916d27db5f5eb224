"""The study file: its keys, how it is found, overridden and checked.

A study file is TOML. Everything is checked before anything runs; a mistake is a `SpecError` that
names the file, the line and the key, and suggests the nearest right name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from joulelab.energy.meter import meters as known_meters
from joulelab.errors import SpecError, UnknownNameError, UsageError
from joulelab.learning.engine import Precision
from joulelab.learning.engine import engines as known_engines
from joulelab.learning.images import datasets as known_datasets
from joulelab.learning.protocol import protocols as known_protocols
from joulelab.registry import load_plugin
from joulelab.study.design import full_factorial
from joulelab.study.experiment import Count, ExperimentSpec, kinds
from joulelab.study.miniature import Miniature, check_scale, miniature, miniature_in_words
from joulelab.study.origin import Origin, override_key
from joulelab.study.validation import known

SUFFIX = ".toml"

Share = Annotated[float, Field(gt=0, lt=1)]
HowMany = Count | Share | Literal["all"]
"""Of images: a number, a share of those that there are, or all of them."""


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
    """A whole study file.

    Attributes:
        name: of the study; the name of the file where not given.
        summary: one line for ``joulelab list``.
        dataset: registered name, with an argument after a colon where it takes one.
        train_images: how many training images are used, drawn by the seed; a share of them, between
            0 and 1; or ``"all"``.
        test_images: the same for the test images.
        protocol: registered name of the training conventions.
        engine: registered name.
        precision: the arithmetic of a training: ``"fp32"``, ``"tf32"`` or ``"bf16"``.
        rounds_together: how many rounds of a configuration are trained as one group, where its
            strategy proposes them ahead of any result.
        mix_engines: whether configurations that the engine cannot train are trained by the
            reference engine beside the others; otherwise one engine trains the whole study.
        device: ``"auto"`` (a GPU if there is one), ``"cpu"`` or ``"cuda:<index>"``.
        threads: threads that torch computes with on the CPU, or ``"auto"``: one for each core.
        epochs: passes over the training images.
        batch_size: images in an optimiser step.
        seed: everything random follows from it.
        score: of a round: ``"mean"`` or ``"max"`` accuracy of its repetitions.
        plugins: Python files with parts of one's own; a path counts from the study file's folder.
        energy: how joules are read.
        experiment: the experiments by name.
        miniature: what a whole study has, where this one was thinned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    summary: str = ""
    dataset: str
    train_images: HowMany = "all"
    test_images: HowMany = "all"
    protocol: str = "default"
    engine: str = "reference"
    precision: Literal["fp32", "tf32", "bf16"] = Precision.FP32.value
    rounds_together: Count = 1
    mix_engines: Annotated[bool, Field(strict=True)] = False
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    threads: Count | Literal["auto"] = "auto"
    epochs: Count
    batch_size: Count = 512
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    score: Literal["mean", "max"] = "mean"
    plugins: list[str] = Field(default_factory=list)
    energy: EnergySpec = EnergySpec()
    experiment: Annotated[dict[str, Any], Field(min_length=1)]
    miniature: Miniature | None = None

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, name: str) -> str:
        return known(known_datasets, name)

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, name: str) -> str:
        return known(known_protocols, name)

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, name: str) -> str:
        return known(known_engines, name)

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
        return {name: _typed(table) for name, table in self.experiment.items()}

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


def shipped_studies() -> dict[str, Path]:
    """The study files that come with joulelab, by name."""
    folder = Path(str(resources.files("joulelab") / "studies"))
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def study_path(study: str | Path) -> Path:
    """Where a study file is: a shipped name, a file, or a results folder.

    Raises:
        UnknownNameError: neither a shipped study nor a file.
        SpecError: a folder without a study in it.
    """
    shipped = shipped_studies()
    if str(study) in shipped:
        return shipped[str(study)]
    path = Path(study).expanduser()
    if path.is_dir():
        if not (path / "study.toml").is_file():
            raise SpecError(f"{path} is a folder without a study.toml", "name a study file")
        return path / "study.toml"
    if path.suffix == SUFFIX or path.exists():
        return path
    raise UnknownNameError("study", str(study), shipped)


def load_spec(
    study: str | Path,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    scale: float | None = None,
) -> StudySpec:
    """Read a study file, apply overrides, import its plug-ins, and check everything.

    Args:
        study: a shipped name, the path of a study file, or a results folder.
        overrides: ``"key=value"``, the key with dots between tables, the value as in TOML (a bare
            word is a string).
        plugins: further files with parts of one's own, from the current folder.
        scale: the share of the work that a miniature does, between 0 and 1; what `overrides` set
            is not thinned. ``None`` for the study as it stands.

    Raises:
        SpecError: an unknown key, a wrong type, an impossible value; says where.
        UnknownNameError: no such study.
        PluginError: a plug-in cannot be imported.
        UsageError: the scale is not between 0 and 1, or the study cannot be thinned.
    """
    if scale is not None:
        check_scale(scale)
    path = study_path(study)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"the study file {path} cannot be read: {error}"
        raise SpecError(message, "check the path") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is not valid TOML: {error}", "mend that line") from None
    data.setdefault("name", path.stem)
    overridden = [override_key(data, override) for override in overrides]
    origin = Origin(path, text, overridden)
    if isinstance(listed := data.get("plugins", []), list):
        own = [str((path.parent / Path(str(file)).expanduser()).resolve()) for file in listed]
        data["plugins"] = [*own, *(str(Path(file).expanduser().resolve()) for file in plugins)]
        for file in data["plugins"]:
            load_plugin(Path(file))
    spec = check_spec(data, origin)
    if scale is None:
        return spec
    if spec.miniature is not None or Path(study).expanduser().is_dir():
        made = "a miniature already" if spec.miniature is not None else "a study that was begun"
        raise UsageError(
            f"{path} is {made}, and cannot be thinned",
            "leave out --scale to go on with it, or thin the study file it was made from",
        )
    return _thinned(spec, scale, overridden, origin)


def _thinned(
    spec: StudySpec, scale: float, overridden: Sequence[tuple[str, ...]], origin: Origin
) -> StudySpec:
    configurations = {
        name: len(full_factorial(experiment.factors(), experiment.exclude))
        for name, experiment in spec.experiments().items()
    }
    return check_spec(miniature(spec.to_dict(), configurations, scale, overridden), origin)


def check_spec(data: Mapping[str, Any], origin: Origin | None = None) -> StudySpec:
    """Check plain data against the keys of a study file.

    Raises:
        SpecError: as in `load_spec`.
    """
    origin = origin or Origin(Path("the study"), "", [])
    try:
        spec = StudySpec.model_validate(data)
    except ValidationError as error:
        raise origin.explain(error.errors()[0], (), StudySpec) from None
    for name, table in spec.experiment.items():
        try:
            _typed(table)
        except ValidationError as error:
            prefix = ("experiment", name)
            raise origin.explain(error.errors()[0], prefix, _kind_of(table)) from None
        except UnknownNameError as error:
            where = origin.place(("experiment", name, "kind"))
            raise SpecError(f"{where}: {error.message}", error.hint) from None
    return spec


def _kind_of(table: Any) -> type[ExperimentSpec]:  # noqa: ANN401 - unchecked data
    kind = table.get("kind") if isinstance(table, dict) else None
    return kinds.get(kind) if isinstance(kind, str) else ExperimentSpec


def _typed(table: Any) -> ExperimentSpec:  # noqa: ANN401 - unchecked data
    return _kind_of(table).model_validate(table)


def _without_none(value: Any) -> Any:  # noqa: ANN401 - plain data of any shape
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value
