"""Copies of the user's code in a results folder, so that the folder can be moved and continued.

::

    /home/me/project/            the root: the nearest folder that holds all of the code
        own_kind.py              DIR/code/own_kind.py     plugins = ["code/own_kind.py"]
        nets/work.py             DIR/code/nets/work.py    function = "work.py:train"
                                                          cwd = "code/nets"

``study.toml`` in the folder names the copies by relative paths; ``manifest.json`` has the root and
the SHA-256 of each file. A study that goes on in its folder runs its programs at the root, if all
files are still there and unchanged, and otherwise the copies: in both cases the same code.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from joulelab.errors import StoreError, StoreMismatchError, StoreWriteError, UnknownNameError
from joulelab.files import links_within, write_whole
from joulelab.plain import as_path, expanded
from joulelab.study.database import DATABASE, explained
from joulelab.study.spec import StudySpec, kind_of
from joulelab.study.store_reading import read_manifest, read_study

CODE = "code"
"""Folder of the copies, and the key of the manifest about them."""
MOST_DATA_BYTES = 4_000_000
"""Largest file that is copied if it is not code."""


@dataclass
class CodeCopies:
    """The code of a study, and its copies in a results folder. Make it with `code_copies`.

    Attributes:
        folder: the results folder.
        root: the folder of the originals; ``None`` if there are none.
        base: the folder that the programs run from: `root`, or the folder of the copies.
        study: the resolved study file, with the copies named by relative paths.
        plugins: SHA-256 of each plug-in, by its name in `study`.
        sources: the file to copy from, by the path of the copy from the results folder.
        places: paths of working folders from the results folder.
    """

    folder: Path
    root: Path | None
    base: Path
    study: dict[str, Any]
    plugins: dict[str, str]
    sources: dict[str, Path]
    places: Sequence[str]
    _code: dict[str, str] = field(default_factory=dict)
    _states: dict[str, tuple[int, int] | None] = field(default_factory=dict)

    @property
    def toml(self) -> str:
        """The resolved study file."""
        return tomli_w.dumps(self.study)

    @property
    def conditions(self) -> dict[str, Any]:
        """What the manifest says about the code."""
        if self.root is None:
            return {"plugins": self.plugins}
        about = {
            "root": str(self.root),
            "root_from_here": _from(self.folder, self.root),
            "files": dict(sorted(self._code.items())),
        }
        return {"plugins": self.plugins, CODE: about}

    def check_unchanged(self, manifest: Mapping[str, Any]) -> None:
        """Refuse to continue with changed code.

        Args:
            manifest: of the results folder, empty before the first session.

        Raises:
            StoreMismatchError: names the changed file.
        """
        before = manifest.get("plugins")
        before = before if isinstance(before, dict) else self.plugins
        for name, digest in self.plugins.items():
            if digest not in before.values():
                path = self.sources.get(name, self.folder / name)
                raise self._changed(f"the plug-in {path}", self.folder / name, before.get(name))
        self._code = _recorded(manifest) or self._code
        self.check_programs()

    def check_programs(self) -> None:
        """Refuse to continue with changed programs; files as they were before are not read again.

        Raises:
            StoreMismatchError: names the changed file.
        """
        for name, digest in self._code.items():
            path = self.base / name
            state = _state(path)
            if state is None or self._states.get(name) != state:
                if sha256(path) != digest:
                    raise self._changed(str(path), self.folder / CODE / name, digest)
                self._states[name] = state

    def _changed(self, what: str, copy: Path, digest: str | None) -> StoreMismatchError:
        remedy = f"restore it from {copy}" if sha256(copy) == digest else "restore it"
        return StoreMismatchError(
            f"{what} has changed since the study began",
            f"{remedy}, or choose another folder with --out",
        )

    def write(self, *, begun: bool) -> None:
        """Copy the code into the folder.

        Args:
            begun: the study has begun: only add missing copies.

        Raises:
            StoreWriteError: a copy cannot be written.
        """
        with explained(self.folder):
            if links := links_within(self.folder / CODE):
                raise StoreWriteError(
                    f"{links[0]} is a link: writing would change its target",
                    "if the study is yours, replace the link with its target",
                )
            for place in self.places:
                (self.folder / place).mkdir(parents=True, exist_ok=True)
            for name, source in self.sources.items():
                if not (begun and (self.folder / name).exists()):
                    _copy(source, self.folder / name)
            self._name_copies()

    def add(self, files: Iterable[Path]) -> None:
        """Copy further code below the root, which has become known by running it.

        Args:
            files: of imported modules.
        """
        for file in files:
            name = _below(file, self.base)
            if name is not None and name not in self._code and self.root is not None:
                self._code[name] = sha256(file)
                with explained(self.folder):
                    _copy(file, self.folder / CODE / name)

    def _name_copies(self) -> None:
        """Name copies of plug-ins in a study file of an older joulelab, which names originals."""
        stored, named = read_study(self.folder), self.study["plugins"]
        if stored.get("plugins", []) != named:
            write_whole(self.folder / "study.toml", tomli_w.dumps({**stored, "plugins": named}))


def code_copies(spec: StudySpec, folder: Path) -> CodeCopies:
    """The code of a study, with the paths of its copies in a results folder.

    Args:
        spec: the study, its paths absolute.
        folder: of its results; need not exist.
    """
    folder = as_path(folder)
    stored, manifest = _stored(folder)
    experiments = spec.experiments()
    files: dict[Path, bool] = {}
    for one in experiments.values():
        for file, is_code in one.files().items():
            files[file] = is_code or files.get(file, False)
    code = [file for file, is_code in files.items() if is_code]
    places = [
        Path(spec.experiment[name][one.working_folder])
        for name, one in experiments.items()
        if one.working_folder
    ]
    plugins = [Path(file) for file in spec.plugins]
    root = _root(folder, manifest, [*places, *(one.parent for one in code)], plugins)

    def name_of(path: Path) -> str | None:
        """The path of a copy from the results folder."""
        below = _below(path, folder / CODE)
        if below is None and root is not None:
            below = _below(path, root)
        return None if below is None else f"{CODE}/{below}".removesuffix("/.")

    named = _plugin_names(stored, plugins, name_of)
    plain = spec.to_dict()
    plain["plugins"] = named
    for name, one in experiments.items():
        plain["experiment"][name].update(one.portable(name_of))
    data = [
        file
        for file, is_code in files.items()
        if not is_code and (state := _state(file)) is not None and state[0] <= MOST_DATA_BYTES
    ]
    sources = {copy: file for file in [*code, *data] if (copy := name_of(file)) is not None}
    moved = any(_below(place, folder / CODE) is not None for place in places)
    copies = CodeCopies(
        folder=folder,
        root=root,
        base=folder / CODE if moved or root is None else root,
        study=plain,
        plugins={name: sha256(file) for name, file in zip(named, plugins, strict=True)},
        sources={**sources, **dict(zip(named, plugins, strict=True))},
        places=[copy for place in places if (copy := name_of(place)) is not None],
    )
    copies._code = _recorded(manifest) or {
        name.removeprefix(f"{CODE}/"): sha256(file)
        for name, file in sources.items()
        if file in code
    }
    return copies


def run_from_root(
    data: Mapping[str, Any], folder: Path, manifest: Mapping[str, Any] | None = None
) -> None:
    """Let the programs of a stored study run from its root, if all code is there and unchanged.

    Args:
        data: unchecked, of the study file of a results folder; changed in place.
        folder: with results.
        manifest: of the folder, as it will be; default: as it is.
    """
    with suppress(StoreError):
        manifest = read_manifest(folder) if manifest is None else manifest
        recorded, tables = _recorded(manifest), data.get("experiment")
        for root in _recorded_roots(manifest, as_path(folder)):
            whole = all(sha256(root / name) == digest for name, digest in recorded.items())
            if whole and isinstance(tables, dict) and _relocated(tables, root):
                return


def _relocated(tables: Mapping[str, Any], root: Path) -> bool:
    """Let the programs of experiments run from a root; whether the root has their folders.

    Args:
        tables: unchecked, by name of the experiment; changed in place.
        root: instead of the folder of the copies.
    """
    moved: list[tuple[dict[str, Any], str, Path]] = []
    for table in tables.values():
        with suppress(UnknownNameError, AttributeError):  # reported when it is checked
            key = kind_of(table).working_folder
            place = Path(str(table.get(key)))
            if key and place.parts[:1] == (CODE,):
                moved.append((table, key, root.joinpath(*place.parts[1:])))
    if not all(place.is_dir() for _, _, place in moved):
        return False
    for table, key, place in moved:
        table[key] = str(place)
    return True


def put_back(folder: Path, given: Sequence[str]) -> None:
    """Copy given files to where a results folder lacks the file of a program with their content.

    Args:
        folder: with results.
        given: absolute paths.

    Raises:
        StoreWriteError: it cannot be written.
    """
    digests = {sha256(Path(file)): Path(file) for file in given}
    for name, digest in _recorded(_stored(folder)[1]).items():
        copy, file = folder / CODE / name, digests.get(digest)
        if file is not None and not copy.exists() and _below(as_path(copy), as_path(folder / CODE)):
            with explained(folder):
                _copy(file, copy)


def plugins_of(
    listed: Sequence[str], folder: Path, given: Sequence[str], *, stored: bool
) -> list[str]:
    """The plug-ins of a study, and those given beside it, as absolute paths.

    For a results folder, a given file takes the place of the plug-in with the same content.

    Args:
        listed: in the study file.
        folder: of the study file.
        given: absolute paths.
        stored: it is a results folder.

    Raises:
        StoreMismatchError: a given file is not part of the study in the folder.
    """
    paths = {name: str(as_path(folder / expanded(name))) for name in listed}
    manifest = _stored(folder)[1] if stored else {}
    before = manifest.get("plugins")
    if not isinstance(before, dict):
        return list(dict.fromkeys([*paths.values(), *given]))
    programs = set(_recorded(manifest).values())
    for file in given:
        digest = sha256(Path(file))
        same = [name for name in paths if before.get(name) == digest]
        if same:
            paths[same[0]] = file
        elif digest not in programs and file not in paths.values():
            known = ", ".join(Path(name).name for name in before) or "none"
            raise StoreMismatchError(
                f"{file} is not a plug-in of the study in {folder}, or has changed since the study "
                f"began; its plug-ins: {known}",
                "give the file as it was, or run the study file into another folder",
            )
    return list(dict.fromkeys(paths.values()))


def sha256(path: Path) -> str:
    """The SHA-256 of a regular file in hexadecimal; empty if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    except (OSError, ValueError):
        return ""


def _copy(source: Path, copy: Path) -> None:
    if source != copy and source.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_whole(copy, source.read_bytes())
        shutil.copymode(source, copy)


def _stored(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The study and the manifest of a folder; empty if there are none, or damaged ones."""
    with suppress(StoreError):
        if (folder / DATABASE).exists():
            return read_study(folder), read_manifest(folder)
    return {}, {}


def _recorded(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of the files of programs, by their paths from the root."""
    about = manifest.get(CODE)
    return dict(about["files"]) if isinstance(about, dict) else {}


def _recorded_roots(manifest: Mapping[str, Any], folder: Path) -> list[Path]:
    """Where the originals were, and where they are if they were moved with the results folder."""
    about = manifest.get(CODE)
    if not isinstance(about, dict):
        return []
    beside = [as_path(folder / about["root_from_here"])] if about["files"] else []
    return [root for root in (Path(about["root"]), *beside) if root.is_absolute()]


def _root(
    folder: Path, manifest: Mapping[str, Any], programs: Sequence[Path], plugins: Sequence[Path]
) -> Path | None:
    """The folder of the originals: that of the earlier sessions, or the nearest with all code."""
    outside = [one for one in programs if _below(one, folder / CODE) is None]
    for root in _recorded_roots(manifest, folder):
        if all(_below(one, root) is not None for one in outside):
            return root
    plugged = [one.parent for one in plugins if _below(one, folder / CODE) is None]
    if not outside and not plugged:
        return None
    try:
        return Path(os.path.commonpath([*outside, *plugged]))
    except ValueError:  # on several drives
        return None


def _plugin_names(
    stored: Mapping[str, Any], plugins: Sequence[Path], name_of: Callable[[Path], str | None]
) -> list[str]:
    """The paths of the copies of plug-ins: those of the folder, also where files were renamed."""
    before = stored.get("plugins")
    if isinstance(before, list) and len(before) == len(plugins):
        places = [Path(name) for name in before]
        if all(one.parts[:1] == (CODE,) and ".." not in one.parts for one in places):
            return list(before)
        if len({one.name for one in places}) == len(places):  # originals, of an older joulelab
            return [f"{CODE}/{one.name}" for one in places]
    return [name_of(file) or f"{CODE}/{file.name}" for file in plugins]


def _from(folder: Path, path: Path) -> str:
    """A path from a folder; the path itself on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return str(path)


def _below(path: Path, folder: Path) -> str | None:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else None


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of the last change; ``None`` if there is no such file."""
    with suppress(OSError):
        about = path.stat()
        return about.st_size, about.st_mtime_ns
    return None
