"""Untrusted plain data, TOML or JSON, read with limits.

Refused are files above a size limit, nesting deeper than `DEEPEST`, integers beyond 64 bits, and
text that file names and terminals cannot hold (NUL, half of a surrogate pair); the error names the
keys that lead there. Later code never meets a value that Python, SQLite or a C library cannot hold.
"""

from __future__ import annotations

import datetime
import json
import math
import tomllib
from pathlib import Path
from typing import Any

from joulelab.errors import quoted

MOST_BYTES = 4 << 20
"""Size limit of files written by hand, with all defaults written out."""
DEEPEST = 32
_LARGEST = 2**63
_SURROGATES = range(0xD800, 0xE000)
_MEGA = 1e6


class PlainDataError(ValueError):
    """The text is not valid data, or contains a value that is refused.

    Attributes:
        message: what is wrong, without the place.
        keys: that lead to the value; empty for the text as a whole.
        is_syntax: whether the syntax of the text is wrong.
    """

    def __init__(
        self, message: str, keys: tuple[str, ...] = (), *, is_syntax: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.keys = keys
        self.is_syntax = is_syntax


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a file, without a byte order mark.

    Args:
        path: of the file.
        most: largest size in bytes.

    Raises:
        PlainDataError: it cannot be read, is longer, or is not UTF-8; says so in words.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise PlainDataError(getattr(error, "strerror", None) or str(error)) from None
    if len(raw) > most:
        raise PlainDataError(f"it is longer than {most / _MEGA:.1f} MB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PlainDataError(f"line {line} is not UTF-8") from None


def expanded(path: str | Path) -> Path:
    """A path with ``~`` expanded; unchanged if that home does not exist."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def as_path(path: str | Path) -> Path:
    """A user's path made absolute, whether or not it can exist.

    Args:
        path: ``~`` stands for the home folder.
    """
    given = expanded(path)
    try:
        return given.resolve()
    except (OSError, RuntimeError):  # a name too long, or a circle of links
        return given.absolute()


def is_there(path: Path) -> bool:
    """Whether a path exists; false if it is impossible or not accessible."""
    try:
        return path.exists()
    except OSError:
        return False


def parse_toml(text: str, *, finite: bool = True) -> dict[str, Any]:
    """The tables of a TOML text.

    Args:
        text: of a file.
        finite: whether numbers must be.

    Raises:
        PlainDataError: it is not valid or contains refused values, which include dates.
    """
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise PlainDataError("it nests too deep") from None
    except tomllib.TOMLDecodeError as error:
        raise PlainDataError(f"it is not valid TOML: {error}", is_syntax=True) from None
    except ValueError:  # Python reads no number of thousands of digits
        raise PlainDataError("a number in it has too many digits") from None
    check_plain(tables, finite=finite)
    return tables


def parse_json(text: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """The value of a JSON text.

    Args:
        text: of a file, or of a cell.

    Raises:
        PlainDataError: it is not valid or contains refused values.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise PlainDataError("it nests too deep") from None
    except ValueError as error:
        raise PlainDataError(f"it is not valid JSON: {error}", is_syntax=True) from None
    check_plain(value, finite=False)
    return value


def check_plain(value: Any, keys: tuple[str, ...] = (), *, finite: bool = True) -> None:  # noqa: ANN401
    """Refuse values that later code cannot hold.

    Args:
        value: plain data of any shape.
        keys: that lead to it.
        finite: whether numbers must be.

    Raises:
        PlainDataError: names the keys that lead to the refused value.
    """
    if len(keys) > DEEPEST:
        raise PlainDataError(f"it nests deeper than {DEEPEST} tables", keys[:1])
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key, "the key", keys)
            check_plain(inner, (*keys, key), finite=finite)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            check_plain(inner, (*keys, str(number)), finite=finite)
    elif isinstance(value, str):
        _check_text(value, "the text", keys)
    elif isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise PlainDataError("a whole number has at most 64 bits", keys)
    elif isinstance(value, float) and finite and not math.isfinite(value):
        raise PlainDataError(f"{value} is not a finite number", keys)
    elif isinstance(value, datetime.date | datetime.time):
        raise PlainDataError(f"{value.isoformat()} is a date or a time, which no key accepts", keys)


def storable(text: str) -> str:
    """A text without what cannot be stored: NUL characters and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _check_text(text: str, noun: str, keys: tuple[str, ...]) -> None:
    if "\0" in text:
        raise PlainDataError(f"{noun} {quoted(text)} contains a NUL character", keys)
    if not text.isascii() and any(ord(one) in _SURROGATES for one in text):
        said = f"{noun} {quoted(text)} is not valid text: it has half of a surrogate pair"
        raise PlainDataError(said, keys)
