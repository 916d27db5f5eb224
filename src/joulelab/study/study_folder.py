"""What a folder has to be before a study is written into it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulelab import formats
from joulelab.errors import StoreMismatchError, StoreWriteError, quoted
from joulelab.study.database import DATABASE
from joulelab.study.schema import KEYS_SINCE_VERSION_1
from joulelab.study.store_reading import CURVES, REQUESTS, read_study
from joulelab.study.stored_files import TRACES


def check_no_links(folder: Path) -> None:
    """Check that writes stay in the folder and do not follow links.

    Raises:
        StoreWriteError: they would.
    """
    written = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", TRACES, "code", REQUESTS, CURVES)
    if links := [name for name in written if (folder / name).is_symlink()]:
        raise StoreWriteError(
            f"{folder / links[0]} is a link: writing would change its target",
            "if the study is yours, replace the link with its target",
        )


def check_empty(folder: Path) -> None:
    """Check that a folder without a study holds nothing that somebody may miss.

    Raises:
        StoreMismatchError: it does.
    """
    if others := sorted(p.name for p in folder.iterdir() if p.name not in {".lock", "study.toml"}):
        raise StoreMismatchError(
            f"{folder} holds other files ({', '.join(others[:3])} ...) but no study",
            "choose an empty or a new folder with --out",
        )


def check_same(folder: Path, study: str) -> None:
    """Check that a folder holds this study.

    Args:
        folder: with results.
        study: the resolved study file.

    Raises:
        StoreMismatchError: it holds another one; says where they differ.
        StoreCorruptError: its study file cannot be read.
    """
    stored = _comparable(read_study(folder))
    wanted = _comparable(tomllib.loads(study))
    if stored != wanted:
        raise StoreMismatchError(
            f"{folder} holds a different study: {_difference(stored, wanted)}",
            "run it with the same settings, or choose another folder with --out",
        )


def _comparable(study: Mapping[str, Any]) -> dict[str, Any]:
    """A study without the paths of its plug-ins, whose content is compared apart, and engine."""
    study = {key: value for key, value in study.items() if key != "execution"}
    plugins = study.get("plugins")
    count = {"plugins": formats.count(len(plugins), "file")} if isinstance(plugins, list) else {}
    return {**KEYS_SINCE_VERSION_1, **study, **count}


def _difference(stored: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> str:
    for key in [*stored, *(key for key in wanted if key not in stored)]:
        old, new = stored.get(key, "nothing"), wanted.get(key, "nothing")
        if isinstance(old, dict) and isinstance(new, dict):
            if old != new:
                return _difference(old, new, f"{prefix}{key}.")
        elif old != new:
            return f"{prefix}{key} is {quoted(old)} there and {quoted(new)} here"
    return ""
