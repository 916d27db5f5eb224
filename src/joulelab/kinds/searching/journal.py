"""The journal of a search: what every step gave, one line of JSON each.

::

    {"header": {...}}                            what is searched, and how
    {"step": {...}, "scores": [...], ...}        a step, with what it and the tuner before it spent
    {"lost": {...}, "entry": 7}                  a step that was interrupted
    {"stopped": "..."}                           the search is over; the best is confirmed

A line is on disk before the next step begins. A killed process leaves at most half a line, which
is cut. A search that goes on asks for the same steps again and is given the stored results.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulelab.errors import StoreCorruptError, StoreMismatchError, StoreWriteError, quoted

STEPS = "steps.jsonl"
LOST = "lost"


class Journal:
    """The lines of a search, read and then continued.

    Args:
        path: of the file, created with the first line; None to keep the lines in memory alone,
            where a search that was interrupted may as well begin again.

    Attributes:
        lines: all lines.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lines = [] if path is None else read_journal(path, cut=True)
        self._at = 0

    def peek(self) -> dict[str, Any] | None:
        """The next stored line that is not about lost work; None at the end."""
        while self._at < len(self.lines) and LOST in self.lines[self._at]:
            self._at += 1
        return self.lines[self._at] if self._at < len(self.lines) else None

    def take(self, key: str, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        """The next stored line, which must be about the same; None at the end.

        Args:
            key: of the line.
            wanted: what this search has under the key.

        Raises:
            StoreMismatchError: another search wrote the journal; says what differs.
        """
        line = self.peek()
        if line is None:
            return None
        stored = line.get(key)
        plain = json.loads(json.dumps(wanted))
        if stored != plain:
            raise StoreMismatchError(
                f"{self.path}, line {self._at + 1}, is of another search: "
                f"{_difference(stored, plain)}",
                "choose another folder with --out",
            )
        self._at += 1
        return line

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line; one about lost work may come before stored lines have been taken.

        Raises:
            StoreWriteError: it cannot be written.
        """
        text = f"{json.dumps(line)}\n"
        if self.path is not None:
            _write(self.path, text)
        over = self.peek() is None
        self.lines.append(json.loads(text))
        if over:
            self._at = len(self.lines)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreWriteError(
            f"{path} cannot be written: {error.strerror or error}",
            "free disk space, then run the same command again: nothing is lost",
        ) from error


def read_journal(path: Path, *, cut: bool = False) -> list[dict[str, Any]]:
    """The whole lines of a journal; none where there is no file.

    Args:
        path: of the file.
        cut: whether to remove half a line at the end.

    Raises:
        StoreCorruptError: a line is not JSON.
    """
    if not path.is_file():
        return []
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if cut and len(whole) < len(raw):
        os.truncate(path, len(whole))
    lines = []
    for number, text in enumerate(whole.splitlines(), start=1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            raise StoreCorruptError(
                f"{path}, line {number}, cannot be read", "restore the folder from a copy"
            )
        lines.append(line)
    return lines


def _difference(stored: object, wanted: Mapping[str, Any]) -> str:
    if isinstance(stored, dict):
        for key, value in wanted.items():
            if stored.get(key) != value:
                return f"{key} is {quoted(stored.get(key))} there and {quoted(value)} here"
    return f"{quoted(stored)} there and {quoted(dict(wanted))} here"
