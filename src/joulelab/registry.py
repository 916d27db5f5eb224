"""Registries of named parts: networks, data sets, strategies, meters, engines, study kinds.

A part is registered in one of three ways; the lookup is the same:

- built in: named in the registry's own table, imported only when it is asked for;
- from an installed package: an entry point in the group ``joulelab.<plural>``;
- from a user's file: ``@networks.register("wide-mlp")`` in a Python file that a study names under
  ``plugins``, or that ``--plugin`` names.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from joulelab.errors import PluginError, UnknownNameError, UsageError, one_line, quoted

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """One registered part: its name, one line about it, and where it comes from."""

    name: str
    summary: str
    origin: str


class Registry(Generic[T]):
    """Parts of one kind by name.

    Args:
        noun: what a part is called in messages, for instance ``"data set"``.
        group: the entry point group for parts from installed packages.
        builtin: for each name of ours, ``("module:attribute", "one line about it")``.
    """

    def __init__(self, noun: str, group: str, builtin: Mapping[str, tuple[str, str]]) -> None:
        self.noun = noun
        self.group = group
        self._builtin = dict(builtin)
        self._registered: dict[str, tuple[T, str]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that enters the decorated object under `name`.

        Raises:
            PluginError: the name is taken by another object.
        """

        def enter(part: T) -> T:
            taken = name in self._builtin or name in self._entry_points()
            if taken or self._registered.get(name, (part, ""))[0] is not part:
                raise PluginError(
                    f"a {self.noun} called {quoted(name)} exists already", "choose another name"
                )
            self._registered[name] = (part, _origin(part))
            return part

        return enter

    def names(self) -> list[str]:
        """All names, ours first, in the order in which they were entered."""
        return [*self._builtin, *self._entry_points(), *self._registered]

    def get(self, name: str) -> T:
        """The part called `name`, imported now if it was not yet.

        Raises:
            UnknownNameError: nothing has that name; the message suggests the nearest.
            PluginError: an entry point of that name exists and cannot be imported.
        """
        if name in self._registered:
            return self._registered[name][0]
        if name in self._builtin:
            part: T = imported(self._builtin[name][0])
            return part
        outside = self._entry_points().get(name)
        if outside is None:
            raise UnknownNameError(self.noun, name, self.names())
        return self._load(outside)

    def parts(self) -> list[Part]:
        """Every part with its line; only parts from outside are imported for it."""
        ours = [Part(name, line, "joulelab") for name, (_, line) in self._builtin.items()]
        outside = [self._outside_part(point) for point in self._entry_points().values()]
        own = [
            Part(name, _first_line(part), origin)
            for name, (part, origin) in self._registered.items()
        ]
        return [*ours, *outside, *own]

    def _entry_points(self) -> dict[str, EntryPoint]:
        return _installed().get(self.group, {})

    def _load(self, point: EntryPoint) -> T:
        try:
            part: T = point.load()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"the {self.noun} {point.name!r} from {point.value} cannot be imported: {error}",
                "fix or uninstall the package that provides it",
            ) from error
        return part

    def _outside_part(self, point: EntryPoint) -> Part:
        origin = point.dist.name if point.dist else point.value
        try:
            return Part(point.name, _first_line(self._load(point)), origin)
        except PluginError as error:
            return Part(point.name, f"broken: {error.message}", origin)


def load_plugin(path: Path, sha256: str | None = None) -> str:
    """Import a Python file that registers parts; a second call has no effect.

    Args:
        path: the file.
        sha256: expected hash, if the user approved the file in that state.

    Returns:
        The SHA-256 of the file, in hexadecimal, so that a study can tell whether it has changed.

    Raises:
        PluginError: the file is missing, has changed, or raises when it is imported.
    """
    path = path.expanduser().resolve()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PluginError(
            f"the plug-in {path} cannot be read: {error.strerror}",
            "give an existing Python file; a path in a study file is relative to that file's "
            "folder",
        ) from error
    digest = hashlib.sha256(source).hexdigest()
    if sha256 not in (None, digest):
        raise PluginError(f"the plug-in {path} has just changed", "read it and try again")
    module_name = f"joulelab_plugin_{digest[:16]}"
    if module_name in sys.modules:
        return digest
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None:
        raise PluginError(f"the plug-in {path} is not a Python file", "its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        # Run what was hashed, not a stale file from __pycache__.
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        if isinstance(error, PluginError):
            raise
        raise PluginError(
            f"the plug-in {path} cannot be imported: {type(error).__name__}: {error}",
            f"run python {path} to see where",
        ) from error
    return digest


def imported(reference: str) -> Any:  # noqa: ANN401 - whatever stands there
    """The object of ``"module:attribute"``, imported now."""
    module, attribute = reference.split(":")
    return getattr(importlib.import_module(module), attribute)


def imported_from_user(module: str, attribute: str, what: str) -> Any:  # noqa: ANN401
    """An object of a user's module, imported now; None if the module has no such attribute.

    Args:
        module: its name; its folder must be on the path.
        attribute: may be dotted.
        what: stands for it in the error, such as ``"the network 'mine:small'"``.

    Raises:
        UsageError: the module cannot be imported.
    """
    importlib.invalidate_caches()
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # a user's module may raise anything on import
        raise UsageError(
            f"{what}: {module} cannot be imported: {type(error).__name__}: {one_line(error)}",
            f"run python -c 'import {module}' in its folder",
        ) from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    return found


def _described(part: object) -> object:
    """The object that documents a part: itself, or the class in its ``described_by``."""
    return getattr(part, "described_by", part)


@cache
def _installed() -> dict[str, dict[str, EntryPoint]]:
    """Our groups of entry points by name, from the metadata of all packages, read once."""
    found = entry_points()
    ours = [group for group in found.groups if group.startswith("joulelab.")]
    return {group: {one.name: one for one in found.select(group=group)} for group in ours}


def _first_line(part: object) -> str:
    return (getattr(_described(part), "__doc__", None) or "no description").strip().splitlines()[0]


def _origin(part: object) -> str:
    module = sys.modules.get(getattr(_described(part), "__module__", ""))
    return getattr(module, "__file__", None) or "this program"
