"""Checks that tables of a study file share; they raise ``ValueError``, as pydantic wants."""

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
    """Within it every name is known: that of what a plug-in registers which is not to be loaded."""
    token = _any_name.set(True)
    try:
        yield
    finally:
        _any_name.reset(token)


def names_are_free() -> bool:
    """Whether it is within `any_name`."""
    return _any_name.get()


def known(registry: Registry[Any], name: str) -> str:
    """The name itself, if something is registered under what it begins with.

    That is what stands before the first colon, or before a question mark where settings follow:
    ``digits?side=32``.
    """
    if names_are_free():
        return name
    if name.partition("?")[0].partition(":")[0] not in registry.names():
        error = UnknownNameError(registry.noun, name, registry.names())
        raise ValueError(f"{error.message}; {error.hint}")
    return name


def unique(values: list[T]) -> list[T]:
    """The list itself, if nothing stands in it twice; true is not 1."""
    seen: set[tuple[type, object]] = set()
    for value in values:
        if (one := (type(value), value)) in seen:
            raise ValueError(f"{quoted(value)} occurs twice")
        seen.add(one)
    return values


@contextlib.contextmanager
def as_value_error() -> Iterator[None]:
    """Let pydantic report an error of another room with its own."""
    try:
        yield
    except UsageError as error:
        raise ValueError(str(error).replace("\n", "; ")) from error
