"""Locations of the keys of a study, in a file or overrides, for error messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from joulelab.errors import SpecError, quoted, suggestion
from joulelab.plain import PlainDataError, parse_toml
from joulelab.study.spec import CALLABLE, DEVICE, NAME

PATTERNS = {
    NAME: "it may contain letters, digits, '.', '_' and '-', and starts with a letter or digit",
    DEVICE: "it must be auto, cpu or cuda:<index>",
    CALLABLE: "it must be a function in a file, file.py:name, or in a module, module:name",
}
"""What a text must look like, in words."""


class KeyLocations:
    """Locations of keys: lines of a file, or overrides.

    Args:
        path: of the file.
        text: of the file.
        overridden: the overridden keys, each split into parts.
    """

    def __init__(self, path: Path, text: str, overridden: Iterable[tuple[str, ...]]) -> None:
        self.path = path
        self.lines = text.splitlines()
        self.overridden = list(overridden)

    def place(self, keys: Sequence[str | int]) -> str:
        """The location of a key in words: ``quickstart.toml, line 12``."""
        names = tuple(str(key) for key in keys)
        for override in self.overridden:
            # An error of a table may come from an override inside it.
            if names[: len(override)] == override or override[: len(names)] == names:
                return f"--set {'.'.join(override)}"
        line = self._line(names)
        return f"{self.path}, line {line}" if line else str(self.path)

    def explain(
        self,
        details: ErrorDetails,
        prefix: tuple[str, ...],
        model: type[BaseModel],
        data: Any,  # noqa: ANN401 - unchecked data
    ) -> SpecError:
        """One error of pydantic as a message with place, key and remedy.

        Args:
            details: of the error.
            prefix: keys that lead to the checked data.
            model: the pydantic model.
            data: the checked data.
        """
        own = error_keys(details, data)
        keys = [*prefix, *own]
        dotted = ".".join(map(str, keys))
        place = self.place(keys)
        if details["type"] == "extra_forbidden":
            parent = _model_at(model, own[:-1])
            near = suggestion(str(keys[-1]), parent.model_fields if parent else ())
            if len(keys) == 1 and (within := _within_experiments(str(keys[0]), data)):
                near = f"did you mean {quoted(within)}?"
            return SpecError(f"{place}: unknown key {quoted(dotted)}", near)
        if details["type"] == "missing":
            message = f"{place}: the key {quoted(dotted)} is missing"
            return SpecError(message, "add it to the study file")
        message, _, hint = details["msg"].removeprefix("Value error, ").partition("; ")
        if details["type"] == "value_error":
            return SpecError(f"{place}: {dotted or 'study'}: {message}", hint or "change that key")
        lower = message[:1].lower() + message[1:]
        lower = PATTERNS.get(details.get("ctx", {}).get("pattern", ""), lower)
        return SpecError(
            f"{place}: {dotted} = {quoted(details['input'])} is not possible: {lower}",
            "joulelab help study-files lists every key and its values",
        )

    def _line(self, keys: tuple[str, ...]) -> int | None:
        """The line that sets the longest known prefix of the keys, counted from 1."""
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
    """Set one dotted key in place and return its path."""
    key, equals, text = override.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        message = f"--set {quoted(override)} is not of the form key=value"
        raise SpecError(message, "try --set epochs=5")
    table = data
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            message = f"--set {key}: {quoted(part)} is a value, not a table"
            raise SpecError(message, "check the key")
    table[path[-1]] = override_value(text, f"--set {key}")
    return path


def override_value(text: str, where: str) -> Any:  # noqa: ANN401 - any value of TOML
    """A value of the command line parsed as TOML; anything else is a string.

    Args:
        text: the user's text.
        where: the option, for messages.

    Raises:
        SpecError: a value that no key accepts.
    """
    try:
        return parse_toml(f"value = {text}")["value"]
    except PlainDataError as error:
        if not error.is_syntax:
            raise SpecError(f"{where}: {error.message}", "give another value") from None
    return text


def error_keys(details: ErrorDetails, data: Any) -> list[str | int]:  # noqa: ANN401
    """The keys that lead to an error, without the union alternatives that pydantic adds.

    An alternative cannot be found in the data; a missing key is still a key.

    Args:
        details: of the error.
        data: the checked data.
    """
    *leading, last = details["loc"] or ("",)
    keys: list[str | int] = []
    for key in (*leading, last):
        try:
            data = data[key]
        except (IndexError, KeyError, TypeError):
            continue
        keys.append(key)
    return [*keys, last] if details["type"] == "missing" else keys


def _within_experiments(key: str, data: object) -> str:
    """Where the first experiment has a key that stands at the top of a study; empty if none has."""
    experiments = data.get("experiment") if isinstance(data, Mapping) else None
    for name, table in experiments.items() if isinstance(experiments, Mapping) else ():
        if isinstance(table, Mapping) and key in table:
            return f"experiment.{name}.{key}"
    return ""


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
