"""Find, read, override and check study files.

A study file is TOML. Everything is checked before anything runs; a mistake is a `SpecError` that
names the file, the line and the key, and suggests the closest valid name.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from joulelab.errors import SpecError, UnknownNameError, UsageError
from joulelab.plain import (
    PlainDataError,
    as_path,
    check_plain,
    expanded,
    is_there,
    parse_toml,
    read_text,
)
from joulelab.registry import load_plugin
from joulelab.study.code_copies import CODE, plugins_of, put_back, run_from_root, sha256
from joulelab.study.database import DATABASE
from joulelab.study.key_locations import KeyLocations, override_key
from joulelab.study.miniature import check_scale
from joulelab.study.plan import check_size, configurations_of
from joulelab.study.spec import ExperimentSpec, StudySpec, kind_of, study_class
from joulelab.study.trust import STUDY, Code, approve, check_approved, code_of
from joulelab.study.validation import any_name

SUFFIX = ".toml"


def shipped_studies() -> dict[str, Path]:
    """The shipped study files by name."""
    folder = Path(str(resources.files("joulelab") / "studies"))
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def study_path(study: str | Path) -> Path:
    """Find a study file by a shipped name, a file, or a results folder.

    Raises:
        UnknownNameError: neither a shipped study nor a file.
        SpecError: a folder without a study in it.
    """
    shipped = shipped_studies()
    if str(study) in shipped:
        return shipped[str(study)]
    path = expanded(study)
    if is_there(path) and path.is_dir():
        if not (path / "study.toml").is_file():
            raise SpecError(f"{path} is a folder without a study.toml", "give a study file")
        return path / "study.toml"
    if path.suffix == SUFFIX or is_there(path):
        return path
    raise UnknownNameError("study", str(study), shipped)


def load_spec(
    study: str | Path,
    overrides: Sequence[str] = (),
    plugins: Sequence[str | Path] = (),
    scale: float | None = None,
    *,
    trust: bool = False,
    manifest: Mapping[str, Any] | None = None,
) -> StudySpec:
    """Read a study file, apply overrides, import its plug-ins, and check everything.

    A study file given by the user is trusted. The study of a results folder may be foreign: its
    code is imported only if the user has run it before or names it now.

    Args:
        study: a shipped name, the path of a study file, or a results folder.
        overrides: ``"key=value"``, the key with dots between tables, the value as in TOML (a bare
            word is a string).
        plugins: additional files with the user's parts, relative to the current folder.
        scale: scale the study down to this share of the work, between 0 and 1; `overrides` are not
            changed. ``None`` for the full study.
        trust: run whatever code the study of a results folder names.
        manifest: of a results folder, as it will be; default: as it is.

    Raises:
        UntrustedCodeError: a results folder names code that the user has not run yet.
        SpecError: an unknown key, a wrong type, an impossible value; says where.
        UnknownNameError: the study is unknown.
        PluginError: a plug-in cannot be imported.
        UsageError: the scale is not between 0 and 1, or the study cannot be scaled down.
    """
    if scale is not None:
        check_scale(scale)
    path = study_path(study)
    text, data = _read(path)
    data.setdefault("name", path.stem)
    overridden = [override_key(data, override) for override in overrides]
    locations = KeyLocations(path, text, overridden)
    try:
        check_plain(data)
    except PlainDataError as error:
        place = locations.place(error.keys)
        raise SpecError(f"{place}: {error.message}", "change that key") from None
    if isinstance(listed := data.get("plugins", []), list):
        named = [str(as_path(file)) for file in plugins]
        stored = _is_of_results(study, path)
        if stored:
            put_back(path.parent, named)
            run_from_root(data, path.parent, manifest)
        data["plugins"] = plugins_of(list(map(str, listed)), path.parent, named, stored=stored)
        _locate(data, path.parent)
        code = code_of(data)
        if not trust and stored:
            check_approved([one for one in code if not _given(one, path.parent, named)], path)
        for one in code:
            if one.name in data["plugins"]:
                load_plugin(Path(one.name), one.sha256 or None)
        approve(code)
    _locate(data, path.parent)
    spec = check_spec(data, locations)  # refuses other plug-ins than a list
    if scale is None:
        return spec
    if spec.miniature is not None or expanded(study).is_dir():
        made = "a miniature already" if spec.miniature is not None else "a study in progress"
        raise UsageError(
            f"{path} is {made}, and cannot be scaled down",
            "omit --scale to continue it, or scale the study file it was made from",
        )
    return _thinned(spec, scale, overridden, locations)


def _is_of_results(study: str | Path, path: Path) -> bool:
    """Whether a study file belongs to a results folder, given as folder or file."""
    return path == expanded(study) / path.name or (
        path.name == STUDY and (path.parent / DATABASE).exists()
    )


def _given(code: Code, folder: Path, named: Sequence[str]) -> bool:
    """Whether code is a file that the user has named, or a copy of one in a results folder."""
    is_copy = code.path is not None and code.path.is_relative_to(as_path(folder / CODE))
    return code.name in named or (is_copy and code.sha256 in {sha256(Path(one)) for one in named})


def results_folder(study: str | Path) -> Path | None:
    """The results folder that a study is loaded from; ``None`` for a study file."""
    path = study_path(study)
    return path.parent if _is_of_results(study, path) else None


def stored_code(data: Mapping[str, Any], folder: Path) -> list[Code]:
    """The code of a study with paths relative to its results folder.

    Args:
        data: of its study file.
        folder: with results.
    """
    located = copy.deepcopy(dict(data))
    located["plugins"] = plugins_of(located["plugins"], folder, (), stored=False)
    _locate(located, folder)
    return code_of(located)


def stored_spec(
    data: Mapping[str, Any], wanted: type[ExperimentSpec] = ExperimentSpec
) -> StudySpec | None:
    """The part of a stored study with known kinds, without running its code.

    Names registered by its plug-ins are accepted unchecked, and its files are not read.

    Args:
        data: the resolved study file of a results folder.
        wanted: only experiments of this class.

    Returns:
        ``None`` if no experiment is.

    Raises:
        SpecError: it is not a study.
    """
    tables = data.get("experiment")
    kept = {
        name: table
        for name, table in (tables.items() if isinstance(tables, dict) else ())
        if (spec := _known_kind(table)) is not None and issubclass(spec, wanted)
    }
    if not kept:
        return None
    with any_name():
        return check_spec({**data, "experiment": kept})


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a study file, and its unchecked tables."""
    text = ""
    try:
        text = read_text(path)
        return text, parse_toml(text)
    except PlainDataError as error:
        place = KeyLocations(path, text, ()).place(error.keys)
        if text:
            raise SpecError(f"{place}: {error.message}", "fix that line") from None
        message = f"the study file {path} cannot be read: {error.message}"
        raise SpecError(message, "give a study file, which is TOML in UTF-8") from None


def _thinned(
    spec: StudySpec, scale: float, overridden: Sequence[tuple[str, ...]], locations: KeyLocations
) -> StudySpec:
    check_size(spec)
    configurations = {
        name: len(configurations_of(spec, name, experiment))
        for name, experiment in spec.experiments().items()
    }
    ways = {type(experiment).miniature for experiment in spec.experiments().values()}
    if len(ways) > 1:
        raise UsageError(
            f"the experiments of {spec.name} are scaled down in different ways, so they cannot "
            "share a study",
            "write one study file for each kind",
        )
    return check_spec(ways.pop()(spec.to_dict(), configurations, scale, overridden), locations)


def check_spec(data: Mapping[str, Any], locations: KeyLocations | None = None) -> StudySpec:
    """Check plain data against the keys of a study file.

    Raises:
        SpecError: as for `load_spec`.
    """
    locations = locations or KeyLocations(Path("the study"), "", [])
    tables = data.get("experiment")
    specs = _specs(tables, locations) if isinstance(tables, dict) else {}
    keys = (one.study_keys for one in specs.values())
    whole = study_class(tuple(dict.fromkeys(one for one in keys if one is not None)))
    try:
        study = whole.model_validate(data)
    except ValidationError as error:
        raise locations.explain(error.errors()[0], (), whole, data) from None
    experiments = [
        _checked(spec, study.experiment[name], name, locations) for name, spec in specs.items()
    ]
    for name, experiment in zip(specs, experiments, strict=True):
        try:
            experiment.check(study)
        except UsageError as error:
            path: tuple[str, ...] = ()
            if isinstance(error, SpecError) and error.keys:
                path = ("experiment", name, *error.keys)
            where = ": ".join(filter(None, (locations.place(path), ".".join(path))))
            raise SpecError(f"{where}: {error.message}", error.hint) from None
    return study


def _specs(tables: Mapping[str, Any], locations: KeyLocations) -> dict[str, type[ExperimentSpec]]:
    """The class that checks each experiment.

    Raises:
        SpecError: an experiment has no kind, or an unknown one.
    """
    specs = {}
    for name, table in tables.items():
        try:
            specs[name] = kind_of(table)
        except UnknownNameError as error:
            where = locations.place(("experiment", name, "kind"))
            raise SpecError(f"{where}: {error.message}", error.hint) from None
        if specs[name] is ExperimentSpec:
            _checked(ExperimentSpec, table, name, locations)  # type: ignore[type-abstract]
    return specs


def _checked(
    spec: type[ExperimentSpec],
    table: Any,  # noqa: ANN401 - unchecked data
    name: str,
    locations: KeyLocations,
) -> ExperimentSpec:
    try:
        return spec.model_validate(table)
    except ValidationError as error:
        raise locations.explain(error.errors()[0], ("experiment", name), spec, table) from None


def _locate(data: Mapping[str, Any], folder: Path) -> None:
    """Make the paths in the tables of experiments absolute, in place."""
    experiments = data.get("experiment")
    for table in experiments.values() if isinstance(experiments, dict) else ():
        if isinstance(table, dict):
            with suppress(UnknownNameError):  # reported when it is checked
                kind_of(table).located(table, folder)


def _known_kind(table: Any) -> type[ExperimentSpec] | None:  # noqa: ANN401 - unchecked data
    """The class of an experiment of a known kind."""
    try:
        return kind_of(table)
    except UnknownNameError:
        return None
