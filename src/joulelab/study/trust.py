"""Code that a study file names: what it is, and whether the user has said that it may run.

A study file that somebody has written and names on the command line is his own, and runs with all
that it names. A results folder may come from anybody: what its study names (plug-ins, functions of
modules, meters at an address) runs once the user has said so, or has used the very same before.

What was used is kept, and so is the study file of each results folder, as lines of ``sha256  path
name`` in ``~/.local/state/joulelab/approved-code`` or where ``JOULELAB_APPROVED`` says. A file that
has changed since is another file.
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
    """Something that a study file names, and that would run.

    Attributes:
        name: as the study file has it.
        path: of the file that would be imported; ``None`` where there is none.
        sha256: of that file; empty where it cannot be read.
    """

    name: str
    path: Path | None
    sha256: str

    def __str__(self) -> str:
        where = "" if self.path is None or str(self.path) == self.name else f" ({self.path})"
        # Whoever wrote the study chose the name: it does not get to draw on the screen.
        return "".join(c if c.isprintable() else "?" for c in f"{self.name}{where}")

    @property
    def line(self) -> str:
        """As it is kept."""
        return "  ".join((self.sha256 or "-", str(self.path or "-"), self.name))


def code_of(data: Mapping[str, Any]) -> list[Code]:
    """All code that the unchecked data of a study names; nothing is imported.

    Args:
        data: of the study file, the paths of its plug-ins absolute.
    """
    plugins = [Path(file) for file in data.get("plugins", []) if isinstance(file, str)]
    experiments = data.get("experiment")
    tables = experiments.values() if isinstance(experiments, dict) else ()
    energy = data.get("energy")
    meters = energy.get("meters") if isinstance(energy, dict) else None
    addresses = [name for name in meters if ":" in str(name)] if isinstance(meters, list) else []
    return [
        *map(code_in, dict.fromkeys(plugins)),
        *(one for table in tables if isinstance(table, dict) for one in functions_of(table)),
        *(Code(str(name), None, "") for name in addresses),
    ]


def code_in(file: Path) -> Code:
    """A file as it is now: a plug-in, or the study file of a results folder."""
    file = file.resolve()
    return Code(str(file), file, _sha256(file))


def functions_of(table: Mapping[str, Any]) -> list[Code]:
    """The functions ``module:attribute`` that stand anywhere in the table of an experiment.

    A module may have any name that a file can have, so every text with a colon is taken for one.
    """
    code = [value for key, value in table.items() if key not in _data_keys(table)]
    names = {text for text in _texts(code) if ":" in text}
    return [_of_function(name) for name in sorted(names)]


def _data_keys(table: Mapping[str, Any]) -> frozenset[str]:
    """Keys that name data; of a kind that is not known here, every key may name code."""
    try:
        return kind_of(table).data_keys
    except UnknownNameError:
        return frozenset()


def check_approved(code: Iterable[Code], study: Path) -> None:
    """See that the user has used, or approved of, all code of a results folder.

    Raises:
        UntrustedCodeError: names what he has not.
    """
    if new := unapproved(code):
        raise UntrustedCodeError(study, new)


def unapproved(code: Iterable[Code]) -> list[Code]:
    """What of it the user has not used yet, nor approved of."""
    named = list(code)
    kept = _kept() if named else set()
    return [one for one in named if one.line not in kept]


def load_approved(files: Iterable[str]) -> None:
    """Load those plug-ins that the user has run as they are now; the others stay unknown.

    Args:
        files: as a results folder names them.
    """
    for code in (code_in(Path(file)) for file in files):
        if code.path is not None and not unapproved([code]):
            with suppress(PluginError):
                load_plugin(code.path, code.sha256)


def approve_refused(error: UntrustedCodeError) -> None:
    """Keep that the user approves of what was refused, as it was then."""
    approve([one for one in error.code if isinstance(one, Code)])


def approve(code: Iterable[Code]) -> None:
    """Keep that the user has used it; where that cannot be kept, he will be asked again."""
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
    """The file of a function ``module:attribute``, looked for as an import would, without one."""
    try:
        path = _module_file(name.partition(":")[0])
    except (ImportError, OSError, ValueError):  # no name that a module can have
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
