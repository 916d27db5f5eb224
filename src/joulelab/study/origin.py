"""Where the keys of a study come from, lines of a file or overrides; mistakes in words."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from joulelab.errors import SpecError, suggestion


class Origin:
    """Where keys come from: lines of a file, or overrides.

    Args:
        path: of the file.
        text: of the file.
        overridden: the keys that overrides have set, each in its parts.
    """

    def __init__(self, path: Path, text: str, overridden: Iterable[tuple[str, ...]]) -> None:
        self.path = path
        self.lines = text.splitlines()
        self.overridden = list(overridden)

    def place(self, keys: Sequence[str | int]) -> str:
        """The place of a key in words: ``quickstart.toml, line 12``."""
        names = tuple(str(key) for key in keys)
        for override in self.overridden:
            # What is wrong with a table may be what was overridden within it.
            if names[: len(override)] == override or override[: len(names)] == names:
                return f"--set {'.'.join(override)}"
        line = self._line(names)
        return f"{self.path}, line {line}" if line else str(self.path)

    def explain(
        self, details: ErrorDetails, prefix: tuple[str, ...], model: type[BaseModel]
    ) -> SpecError:
        """One error of pydantic as a message with place, key and remedy."""
        # pydantic puts the tried alternative of a union into the location; it is no key.
        keys = [*prefix, *(k for k in details["loc"] if not _is_alternative(k))]
        dotted = ".".join(map(str, keys))
        place = self.place(keys)
        if details["type"] == "extra_forbidden":
            parent = _model_at(model, details["loc"][:-1])
            near = suggestion(str(keys[-1]), parent.model_fields if parent else ())
            return SpecError(f"{place}: unknown key {dotted!r}", near)
        if details["type"] == "missing":
            return SpecError(f"{place}: the key {dotted!r} is missing", "add it to the study file")
        message, _, hint = details["msg"].removeprefix("Value error, ").partition("; ")
        if details["type"] == "value_error":
            return SpecError(f"{place}: {dotted or 'study'}: {message}", hint or "change that key")
        lower = message[:1].lower() + message[1:]
        return SpecError(
            f"{place}: {dotted} = {details['input']!r} is not possible: {lower}",
            "docs/study-files.md lists every key and its values",
        )

    def _line(self, keys: tuple[str, ...]) -> int | None:
        """The line that sets the longest known beginning of the keys, counted from 1."""
        table: tuple[str, ...] = ()
        best, found = 0, None
        for number, line in enumerate(self.lines, 1):
            stripped = line.strip()
            if stripped.startswith("["):
                table = tuple(p.strip(" \"'") for p in stripped.strip("[] ").split("."))
                here = table
            elif "=" in stripped and not stripped.startswith("#"):
                left = stripped.split("=", 1)[0]
                here = (*table, *(p.strip(" \"'") for p in left.split(".")))
            else:
                continue
            if len(here) > best and keys[: len(here)] == here:
                best, found = len(here), number
        return found


def override_key(data: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set one dotted key in place and give its path."""
    key, equals, text = override.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise SpecError(f"--set {override!r} is not of the form key=value", "try --set epochs=5")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table = data
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SpecError(f"--set {key}: {part!r} is a value, not a table", "check the key")
    table[path[-1]] = value
    return path


def _is_alternative(key: str | int) -> bool:
    return isinstance(key, str) and (
        key in {"int", "float", "str", "bool"} or "[" in key or key.startswith("constrained")
    )


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    for key in location:
        field = model.model_fields.get(str(key))
        inner = field.annotation if field else None
        candidates = [c for c in (inner, *get_args(inner)) if isinstance(c, type)]
        nested = [c for c in candidates if issubclass(c, BaseModel)]
        if not nested:
            return None
        model = nested[0]
    return model
