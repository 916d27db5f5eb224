"""Files of the user that a command or a function needs, found without running anything.

A command names files among its arguments; a Python file imports modules beside it, which are found
by reading its import statements, also those inside functions.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Any

from joulelab.errors import UsageError
from joulelab.kinds.program.command_line import fill, placeholders, split
from joulelab.plain import expanded, is_there

MOST_WORDS = 1000
"""Most arguments that one argument with placeholders stands for."""
MOST_BYTES = 2_000_000
"""Largest Python file whose imports are read."""
NOT_OWN = {"site-packages", "dist-packages"}
BEFORE_OUTPUT = {"-o", "--out", "--output", ">", ">>"}
"""Arguments before a file that the command writes."""
SOURCE = re.compile(
    r"\.(awk|bash|c|cc|cpp|cu|f90|go|h|hpp|jar|java|jl|js|kt|lua|m|mjs|mk|php|pl|ps1|py|r|rb|rs|"
    r"scala|sh|sql|swift|ts|wasm|zsh)",
    re.IGNORECASE,
)
"""Suffixes of code."""
COMPILED = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""First bytes of programs for Linux, Windows and macOS."""


def command_files(
    command: str | Sequence[str],
    cwd: Path,
    levels: Mapping[str, Sequence[Any]],
    *,
    shell: bool = False,
) -> dict[Path, bool]:
    """Files among the arguments of a command, and the Python modules that they import.

    Programs of the system are not files of the user.

    Args:
        command: with placeholders.
        cwd: working folder.
        levels: of each factor.
        shell: a shell runs it, perhaps a compiler and then what it has made, so that compiled
            programs may change.

    Returns:
        For each whether it is code.

    Raises:
        UsageError: the command cannot be split.
    """
    words = split(command)
    found: dict[Path, bool] = {}
    for before, word in pairwise(["", *words]):
        for one in _filled(word, levels):
            if (file := _file(one, cwd)) is not None:
                code = before not in BEFORE_OUTPUT and is_code(file, compiled=not shell)
                found[file] = code or found.get(file, False)
            if before == "-m" and Path(words[0]).name.startswith("python"):
                run = [*module_files(one, [cwd]), *module_files(f"{one}.__main__", [cwd])]
                found.update(dict.fromkeys(run, True))
    return found | dict.fromkeys(imported_files(found), True)


def is_code(path: Path, *, compiled: bool) -> bool:
    """Whether a file is a script or source code.

    Args:
        path: of the file.
        compiled: or a compiled program.
    """
    if SOURCE.fullmatch(path.suffix):
        return True
    try:
        with path.open("rb") as file:
            first = file.read(4)
    except OSError:
        return False
    return first.startswith(b"#!") or (compiled and first.startswith(COMPILED))


def imported_files(files: Iterable[Path], folders: Sequence[Path] = ()) -> list[Path]:
    """Python files that files import, directly or not, from their own folder or from others.

    Args:
        files: of Python; others are skipped.
        folders: in which modules are looked for as well.
    """
    found: dict[Path, None] = {}
    for start in files:
        beside = [start.parent, *folders]
        waiting = [start]
        while waiting:
            file = waiting.pop()
            for level, module in _imports(file):
                where = [file.parents[level - 1]] if 0 < level <= len(file.parents) else beside
                new = [one for one in module_files(module, where) if one not in found]
                found.update(dict.fromkeys(new))
                waiting += new
    return list(found)


def module_files(module: str, folders: Sequence[Path]) -> list[Path]:
    """The file of a module with those of its packages; empty if it is not in these folders.

    Args:
        module: its name with dots.
        folders: in which it is looked for, one after another.
    """
    *packages, name = module.split(".")
    for folder in folders:
        place, files = folder, []
        for package in packages:
            place /= package
            files.append(place / "__init__.py")
        options = (place / f"{name}.py", place / name / "__init__.py")
        last = [one for one in options if is_there(one)] if name.isidentifier() else []
        if last and not NOT_OWN & set(place.parts):
            return [one for one in (*files, last[-1]) if one.is_file()]
    return []


def _filled(word: str, levels: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """An argument with every combination of the levels in it; none, if it has other values."""
    try:
        names = list(dict.fromkeys(placeholders(word)))
    except UsageError:  # told when the command is checked
        return
    if not set(names) <= set(levels):
        return
    for one in islice(product(*(levels[name] for name in names)), MOST_WORDS):
        yield fill(word, dict(zip(names, one, strict=True)))


def _file(word: str, cwd: Path) -> Path | None:
    """The file of the user that an argument names."""
    path = cwd / expanded(word)
    if not is_there(path) or not path.is_file() or shutil.which(word) == str(path):
        return None
    return Path(*_without_dots(path))


def _without_dots(path: Path) -> list[str]:
    """The parts of a path, each ``..`` taken as written."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and len(parts) > 1:
            parts.pop()
        else:
            parts.append(part)
    return parts


def _imports(file: Path) -> list[tuple[int, str]]:
    """The modules that a Python file imports, each with the number of dots before its name."""
    try:
        about = file.stat()
        if file.suffix != ".py" or about.st_size > MOST_BYTES or not file.is_file():
            return []
        return _read_imports(file, about.st_mtime_ns, about.st_size)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # told when it is run


@lru_cache(maxsize=4096)
def _read_imports(
    file: Path,
    changed_ns: int,
    size: int,
) -> list[tuple[int, str]]:
    named: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            named += [(0, one.name) for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module or ''}.{one.name}".lstrip(".") for one in node.names]
            named += [(node.level, name) for name in inner]
    found: dict[tuple[int, str], None] = {}
    for level, name in named:
        parts = name.split(".")
        for count in range(len(parts), 0, -1):  # with the packages that it is in
            found[level, ".".join(parts[:count])] = None
    return [one for one in found if one[0] or one[1].split(".")[0] != "joulelab"]
