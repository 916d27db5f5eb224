"""Windows of one process that overlap on a device: each is told of the others.

::

    outer   [------------------------------]     contains the others: no fault, and it is told that
    a          [-----------]                     two within it overlap
    b                 [-----------]              overlaps a: the joules of that time are in both

A window within another one is its part: one that was opened inside the block of the other, or in a
task that was started there, and closed before it. All others that are open at the same time hold
the same joules twice, and so does the sum of their energies. Threads begin with no block around
them: windows of several threads overlap, that of the thread which has started them among them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextvars import ContextVar

NAMED = 3
"""So many windows are named in a remark, the rest is counted."""


class Span:
    """An open window of this process.

    Args:
        label: of the window.
        devices: on which it measures.
        outer: the window within which it was opened, if that is still open.
    """

    def __init__(self, label: str, devices: frozenset[str], outer: Span | None) -> None:
        self.label = label
        self.devices = devices
        self.outer = outer
        self.closed = False
        self._beside: dict[Span, None] = {}
        self._within: dict[Span, None] = {}

    @property
    def around(self) -> Iterator[Span]:
        """The windows that contain this one, the next one first."""
        span = self.outer
        while span is not None:
            yield span
            span = span.outer

    def overlaps(self, other: Span) -> None:
        """Two windows have found each other; those around both are told."""
        self._beside[other] = other._beside[self] = None
        both = set(self.around) & set(other.around)
        for outer in both:
            outer._within[self] = outer._within[other] = None

    @property
    def flags(self) -> list[str]:
        """What is to be said of it until now."""
        flags = []
        if self._beside:
            on = sorted(set().union(*(self.devices & other.devices for other in self._beside)))
            flags.append(
                f"overlaps {_named(list(self._beside))} on {', '.join(on)}: the energy of that "
                "time is in each of them, and they do not add up"
            )
        if self._within:
            flags.append(
                f"{_named(list(self._within))} within it overlap: their energies do not add up"
            )
        return flags


# Weak, so that a block which nobody can leave any more, of a generator that refused to be closed,
# is open no longer.
_OPEN: list[weakref.ref[Span]] = []
_GUARD = threading.Lock()
_INNERMOST: ContextVar[weakref.ref[Span] | None] = ContextVar("innermost window", default=None)


def begin(label: str, devices: frozenset[str]) -> Span:
    """A window opens.

    Args:
        label: of the window.
        devices: on which it measures.
    """
    outer = _innermost()
    while outer is not None and outer.closed:
        outer = outer.outer
    span = Span(label, devices, outer)
    with _GUARD:
        around = set(span.around)
        for other in _open():
            if other not in around and other.devices & devices:
                span.overlaps(other)
        _OPEN.append(weakref.ref(span))
    _INNERMOST.set(weakref.ref(span))
    return span


def end(span: Span) -> None:
    """A window closes; a second call does nothing.

    Args:
        span: as `begin` gave it.
    """
    with _GUARD:
        if span.closed:
            return
        span.closed = True
        for other in _open():
            # It was opened within this one, and goes on after it.
            if span in other.around and other.devices & span.devices:
                span.overlaps(other)
    if _innermost() is span:
        _INNERMOST.set(weakref.ref(span.outer) if span.outer is not None else None)


def _open() -> list[Span]:
    """The windows that are open now; called under the guard."""
    _OPEN[:] = [one for one in _OPEN if (span := one()) is not None and not span.closed]
    return [span for one in _OPEN if (span := one()) is not None]


def _innermost() -> Span | None:
    found = _INNERMOST.get()
    return None if found is None else found()


def _named(spans: list[Span]) -> str:
    labels = list(dict.fromkeys(span.label for span in spans))
    shown = ", ".join(repr(label) if label else "a window" for label in labels[:NAMED])
    rest = len(spans) - len(labels[:NAMED])
    return f"{shown} and {rest} more" if rest else shown


def _forget_after_fork() -> None:
    """The windows of the process that this one was forked from are not its own."""
    global _GUARD  # noqa: PLW0603 - the inherited one may be held by a thread that is gone
    _GUARD = threading.Lock()
    _OPEN.clear()
    _INNERMOST.set(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
