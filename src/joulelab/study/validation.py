"""Common checks for tables of a study file; they raise ``ValueError`` for pydantic."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

from joulelab.errors import UnknownNameError, UsageError, quoted
from joulelab.registry import Registry

T = TypeVar("T")


_any_name: ContextVar[bool] = ContextVar("any_name", default=False)


@contextlib.contextmanager
def any_name() -> Iterator[None]:
    """Context in which every name is valid, for plug-ins that must not be loaded."""
    token = _any_name.set(True)
    try:
        yield
    finally:
        _any_name.reset(token)


def names_are_free() -> bool:
    """Whether the code runs inside `any_name`."""
    return _any_name.get()


def known(registry: Registry[Any], name: str) -> str:
    """The name itself, if its registered part exists.

    The registered part is before the first colon, or before a question mark: ``digits?side=32``.
    """
    if names_are_free():
        return name
    if name.partition("?")[0].partition(":")[0] not in registry.names():
        error = UnknownNameError(registry.noun, name, registry.names())
        raise ValueError(f"{error.message}; {error.hint}")
    return name


def unique(values: list[T]) -> list[T]:
    """The list itself, if it has no duplicates; true is not 1."""
    seen: set[tuple[type, object]] = set()
    for value in values:
        if (one := (type(value), value)) in seen:
            raise ValueError(f"{quoted(value)} occurs twice")
        seen.add(one)
    return values


@contextlib.contextmanager
def as_value_error() -> Iterator[None]:
    """Convert errors of other packages to errors that pydantic reports."""
    try:
        yield
    except UsageError as error:
        raise ValueError(str(error).replace("\n", "; ")) from error
