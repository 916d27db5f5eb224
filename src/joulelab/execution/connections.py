"""How lines travel between runner and workers: through pipes, or files in a shared folder."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from joulelab.execution.relay import Line, encoded

if TYPE_CHECKING:
    from joulelab.execution.worker import Connection


class Pipes:
    """A worker's side of two pipes.

    Args:
        read: file descriptor of the runner's lines.
        write: file descriptor of the worker's.
    """

    def __init__(self, read: int, write: int) -> None:
        self._lines = os.fdopen(read, encoding="utf-8")
        self._write = write
        self._lock = threading.Lock()

    def send(self, line: Line) -> None:
        """Send a line."""
        content = memoryview(encoded(line).encode("utf-8"))
        with self._lock:
            try:
                while content:
                    content = content[os.write(self._write, content) :]
            except OSError:  # the runner is gone, and `receive` says so
                return

    def receive(self) -> Line | None:
        """The next line; None at the end."""
        text = self._lines.readline()
        return json.loads(text) if text.endswith("\n") else None


def connect(arguments: Sequence[str]) -> Connection:
    """The connection that a worker was started with.

    Args:
        arguments: ``pipes READ WRITE``.
    """
    name, *rest = arguments
    return {"pipes": lambda: Pipes(*map(int, rest))}[name]()
