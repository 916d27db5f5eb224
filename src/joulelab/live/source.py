"""What a page shows, in versions: everything at first, then what has changed since."""

from __future__ import annotations

import secrets
import threading
from abc import ABC, abstractmethod
from typing import Any


class Source(ABC):
    """What one page shows.

    A version is a number that grows with each change. A viewer names the last one it has seen, and
    gets what has changed since; one that has seen another server, or nothing, gets everything.
    """

    page: str
    """Name of its script."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = secrets.token_hex(4)
        self._version = 0
        self._since = 0

    def update(self) -> None:
        """Look for changes; it may take a while."""
        with self._lock:
            self._update()

    def message(self, seen: str) -> dict[str, Any] | None:
        """What a viewer has not seen; ``None`` if there is nothing.

        Args:
            seen: ``id`` of the last message that it got; empty if it got none.
        """
        with self._lock:
            begun, _, number = seen.partition("-")
            since = int(number) if begun == self._begun and number.isdecimal() else 0
            if since < self._since or since > self._version:
                since = 0
            if since == self._version:  # or nothing has been looked at
                return None
            identity = f"{self._begun}-{self._version}"
            return {"id": identity, "whole": since == 0, **self._changes(since)}

    def _begin_again(self) -> None:
        """What viewers have seen so far is void."""
        self._since = self._version + 1

    @abstractmethod
    def _update(self) -> None:
        """Look for changes, and raise `_version` if there are any."""

    @abstractmethod
    def _changes(self, since: int) -> dict[str, Any]:
        """What has changed since a version; everything for 0."""
