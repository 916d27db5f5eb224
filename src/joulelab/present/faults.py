"""Errors in a user's functions for a report: the reason why something is left out, not a crash.

Errors in joulelab's own functions are defects of joulelab and are raised.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from inspect import unwrap
from pathlib import Path
from types import CodeType
from typing import ParamSpec, TypeVar

from joulelab.errors import JoulelabError, fitted

Given = ParamSpec("Given")
Made = TypeVar("Made")

LONGEST_REASON = 200
"""In characters."""


class Unavailable(Exception):  # noqa: N818 - it is a signal, not a failure
    """A table or figure is unavailable; the reason is a sentence, or empty.

    An empty reason means that it does not apply (failed runs, if none failed) and is not reported.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Fault(Unavailable):
    """Unavailable because of an error in a user's function."""


def is_own(function: Callable[..., object]) -> bool:
    """Whether a function is joulelab's."""
    return str(getattr(function, "__module__", "")).partition(".")[0] == "joulelab"


def guarded(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """The function; if it is a user's, its errors become a `Fault` with type and line."""
    if is_own(function):
        return function

    @wraps(function)
    def tried(*arguments: Given.args, **settings: Given.kwargs) -> Made:
        try:
            return function(*arguments, **settings)
        except Unavailable:
            raise
        except Exception as error:
            raise Fault(reason(error, function)) from error

    return tried


def reason(error: Exception, function: Callable[..., object]) -> str:
    """An error in a line: ``ValueError: early (odd.py:52)``.

    Args:
        error: as caught.
        function: the user's function; the last line of its file is named, or its first line.
    """
    said = error.message if isinstance(error, JoulelabError) else str(error)
    named = said if isinstance(error, JoulelabError) else f"{type(error).__name__}: {said}"
    text = fitted(" ".join(named.split()).removesuffix(":"), LONGEST_REASON)
    code = getattr(unwrap(function), "__code__", None)
    if not isinstance(code, CodeType):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    lines = [one.lineno for one in frames if one.filename == code.co_filename]
    return f"{text} ({Path(code.co_filename).name}:{lines[-1] if lines else code.co_firstlineno})"
