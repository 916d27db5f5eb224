"""A thread that hands things over to somebody who may be slow, absent or broken.

::

    offer ── queue ── put ── put ── raises: said once, and a pause ── put ...
    end   waits for the last to be put, but not for long
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Generic, Protocol, TypeVar

from joulelab.errors import JoulelabError

SLOW_S = 5.0
"""What takes longer to be put is said to be slow."""
LONGEST_PAUSE_S = 60.0
LONGEST = 300
"""Characters of an error that are said."""

SHORT = {
    "Connection refused": "connection refused",
    "timed out": "no answer in time",
    "due to timeout": "no answer in time",
}
"""Errors that libraries say at length."""


class Item(Protocol):
    """What is handed over."""

    @property
    def last(self) -> bool:
        """Whether nothing follows."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to put."""


ItemT = TypeVar("ItemT", bound=Item)
Taken_contra = TypeVar("Taken_contra", bound=Item, contravariant=True)


class Taker(Protocol[Taken_contra]):
    """Who takes it; ``put`` and ``close`` are called in the thread."""

    name: str

    def put(self, seen: Taken_contra, /) -> None:
        """Take one."""

    def close(self) -> None:
        """End."""


class Outlet(Generic[ItemT]):
    """Hands things over in a thread of its own.

    Args:
        taker: gets them in order.
        kept: most that wait; the oldest are dropped.
    """

    def __init__(self, taker: Taker[ItemT], kept: int) -> None:
        self._taker = taker
        self._waiting: deque[ItemT] = deque(maxlen=kept)
        self._changed = threading.Condition()
        self._pause_s = 0.0
        self._failed_s = 0.0
        self._busy_since_s: float | None = None
        self._said = False
        self._thread = threading.Thread(
            target=self._run, name=f"joulelab-{taker.name}", daemon=True
        )
        self._thread.start()

    def offer(self, item: ItemT) -> None:
        """Hand one over; does not wait."""
        since_s = self._busy_since_s
        if since_s is not None and (busy_s := time.monotonic() - since_s) > SLOW_S:
            self.say(f"no answer for {busy_s:.0f} s")
        with self._changed:
            self._waiting.append(item)
            self._changed.notify_all()

    @property
    def settled(self) -> bool:
        """Whether all was put."""
        with self._changed:
            return not self._waiting and self._busy_since_s is None

    def settle(self, longest_s: float) -> None:
        """Wait until all was put, or one could not be, but at most `longest_s`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._pause_s > 0 or (not self._waiting and self._busy_since_s is None),
                longest_s,
            )

    def end(self, deadline_s: float) -> None:
        """Wait until the last was put, but not longer than until then, on the monotonic clock."""
        self._thread.join(max(0.0, deadline_s - time.monotonic()))
        if self._thread.is_alive():
            self.say("it did not take the last values in time", "they may be lost")

    def say(self, what: str, so: str = "measuring goes on") -> None:
        """Say on standard error what is wrong, the first time."""
        if not self._said:
            self._said = True
            print(f"{self._taker.name}: {what}; {so}", file=sys.stderr, flush=True)

    def _run(self) -> None:
        with _unheard():
            while True:
                item = self._next()
                if not item.empty:
                    self._do(partial(self._taker.put, item))
                if item.last:
                    break
            self._do(self._taker.close)

    def _next(self) -> ItemT:
        """The oldest that waits; after a failure not before a pause, unless it all ends."""
        with self._changed:
            while not self._waiting or self._must_pause():
                left_s = self._failed_s + self._pause_s - time.monotonic()
                self._changed.wait(max(0.01, left_s) if self._waiting else None)
            self._busy_since_s = time.monotonic()
            return self._waiting.popleft()

    def _must_pause(self) -> bool:
        pausing = time.monotonic() < self._failed_s + self._pause_s
        return pausing and not self._waiting[-1].last

    def _do(self, what: Callable[[], None]) -> None:
        try:
            what()
            self._pause_s = 0.0
        except Exception as error:
            self._failed_s = time.monotonic()
            self._pause_s = min(max(1.0, 2 * self._pause_s), LONGEST_PAUSE_S)
            self.say(words(error))
        with self._changed:
            self._busy_since_s = None
            self._changed.notify_all()


def words(error: Exception) -> str:
    """An error in one line."""
    said = error.message if isinstance(error, JoulelabError) else str(error)
    for found, short in SHORT.items():
        if found in said:
            return short
    if isinstance(error, JoulelabError):
        return said
    said = said.strip().partition("\n")[0][:LONGEST]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class _Unheard(logging.Filter):
    """Drops what libraries log in our threads: it is said once, by us."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread not in self.threads


_FILTER = _Unheard()
_LOGGERS = ("mlflow", "alembic", "wandb")
"""Libraries that print their log themselves."""


@contextmanager
def _unheard() -> Iterator[None]:
    own = [handler for name in _LOGGERS for handler in logging.getLogger(name).handlers]
    for handler in (*own, *filter(None, [logging.lastResort])):
        if _FILTER not in handler.filters:
            handler.addFilter(_FILTER)
    _FILTER.threads.add(threading.get_ident())
    try:
        yield
    finally:
        _FILTER.threads.discard(threading.get_ident())
