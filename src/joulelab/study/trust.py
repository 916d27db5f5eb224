"""Code used by a study file, and the user's approval of it.

A study file given on the command line is trusted with its code. A results folder may be foreign:
the code of its study (plug-ins, functions of modules, meters at an address) runs only if the user
approves it or has used it before. Used code, and the study file of each results folder, are
recorded as lines ``sha256 path name`` in ``~/.local/state/joulelab/approved-code`` or the file in
``JOULELAB_APPROVED``. A changed file needs a new approval.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from joulelab.errors import PluginError, UnknownNameError, UntrustedCodeError
from joulelab.files import open_regular, state_folder
from joulelab.registry import load_plugin
from joulelab.study.spec import kind_of

VARIABLE = "JOULELAB_APPROVED"
STUDY = "study.toml"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Code:
    """Code used by a study file.

    Attributes:
        name: name in the study file.
        path: of the file that would be imported; ``None`` if there is none.
        sha256: of that file; empty if unreadable.
    """

    name: str
    path: Path | None
    sha256: str

    def __str__(self) -> str:
        where = "" if self.path is None or str(self.path) == self.name else f" ({self.path})"
        # The author of the study chose the name: escape control characters.
        return "".join(c if c.isprintable() else "?" for c in f"{self.name}{where}")

    @property
    def line(self) -> str:
        """As recorded."""
        return "  ".join((self.sha256 or "-", str(self.path or "-"), self.name))


def code_of(data: Mapping[str, Any]) -> list[Code]:
    """All code used by the unchecked data of a study, without importing.

    Args:
        data: of the study file, the paths of its plug-ins absolute.
    """
    plugins = [Path(file) for file in data.get("plugins", []) if isinstance(file, str)]
    experiments = data.get("experiment")
    tables = experiments.values() if isinstance(experiments, dict) else ()
    energy = data.get("energy")
    meters = energy.get("meters") if isinstance(energy, dict) else None
    addresses = [name for name in meters if ":" in str(name)] if isinstance(meters, list) else []
    found = [
        *map(code_in, dict.fromkeys(plugins)),
        *(
            one
            for table in tables
            if isinstance(table, dict)
            for one in (*functions_of(table), *programs_of(table))
        ),
        *(Code(str(name), None, "") for name in addresses),
    ]
    return list(dict.fromkeys(found))


def code_in(file: Path) -> Code:
    """The current state of a file: a plug-in, or the study file of a results folder."""
    file = file.resolve()
    return Code(str(file), file, _sha256(file))


def functions_of(table: Mapping[str, Any]) -> list[Code]:
    """The functions ``module:attribute`` anywhere in the table of an experiment.

    A module may have any file name, so every text with a colon counts.
    """
    data = _data_keys(table)
    code = [
        {name: one for name, one in value.items() if f"{key}.{name}" not in data}
        if isinstance(value, dict)
        else value
        for key, value in table.items()
        if key not in data
    ]
    names = {text for text in _texts(code) if ":" in text}
    return [_of_function(name) for name in sorted(names)]


def programs_of(table: Mapping[str, Any]) -> list[Code]:
    """Commands and files that the table of an experiment runs, as its kind says."""
    try:
        named = kind_of(table).code(table)
    except UnknownNameError:
        return []
    return [
        Code(repr(text), path, hashlib.sha256(text.encode()).hexdigest())
        if path is None
        else code_in(path)
        for text, path in named
    ]


def _data_keys(table: Mapping[str, Any]) -> frozenset[str]:
    """Keys that hold data names; for an unknown kind, every key may hold code."""
    try:
        return kind_of(table).data_keys
    except UnknownNameError:
        return frozenset()


def check_approved(code: Iterable[Code], study: Path) -> None:
    """Check that the user has used or approved all code of a results folder.

    Raises:
        UntrustedCodeError: lists the other code.
    """
    if new := unapproved(code):
        raise UntrustedCodeError(study, new)


def unapproved(code: Iterable[Code]) -> list[Code]:
    """The code that the user has neither used nor approved."""
    named = list(code)
    kept = _kept() if named else set()
    return [one for one in named if one.line not in kept]


def load_approved(files: Iterable[str]) -> None:
    """Load plug-ins that the user has run in their current state; the others stay unknown.

    Args:
        files: as in a results folder.
    """
    for code in (code_in(Path(file)) for file in files):
        if code.path is not None and not unapproved([code]):
            with suppress(PluginError):
                load_plugin(code.path, code.sha256)


def approve_refused(error: UntrustedCodeError) -> None:
    """Record the user's approval of refused code, in its refused state."""
    approve([one for one in error.code if isinstance(one, Code)])


def approve(code: Iterable[Code]) -> None:
    """Record that the user has used it; if that fails, the user is asked again."""
    lines = [f"{one.line}\n" for one in unapproved(code) if one.line.isprintable()]
    if not lines:
        return
    try:
        path = _file()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(number, "a", encoding="utf-8") as file:
            file.write("".join(lines))
    except OSError as error:
        log.info("the list of trusted code cannot be saved: %s", error)


def _file() -> Path:
    if own := os.environ.get(VARIABLE):
        return Path(own).expanduser()
    return state_folder() / "joulelab" / "approved-code"


def _kept() -> set[str]:
    try:
        return set(_file().read_text("utf-8").split("\n"))
    except (OSError, UnicodeDecodeError):
        return set()


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - unchecked data
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value.values()])
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _of_function(name: str) -> Code:
    """The file of a function ``module:attribute``, found without importing."""
    try:
        path = _module_file(name.partition(":")[0])
    except (ImportError, OSError, ValueError):  # not a possible module name
        path = None
    return Code(name, path, "" if path is None else _sha256(path))


def _module_file(module: str) -> Path | None:
    where: list[str] | None = [str(Path.cwd()), *sys.path]
    whole = ""
    origin = None
    for part in module.split("."):
        whole = f"{whole}.{part}".lstrip(".")
        found = PathFinder.find_spec(whole, where)
        if found is None:
            return None
        origin, where = found.origin, list(found.submodule_search_locations or ())
    return Path(origin).resolve() if origin is not None and Path(origin).is_file() else None


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError):
        return ""
