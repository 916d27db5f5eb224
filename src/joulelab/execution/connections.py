"""How lines travel between runner and workers: through pipes, or files in a shared folder."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from joulelab.execution.relay import Line, encoded

POLL_S = 0.1
VARIABLE = "JOULELAB_LOST_S"
LOST_S = 120.0
"""Time without a sign of life after which the other side is taken for gone; or `VARIABLE`."""
SIGNS = 10
"""Signs of life in that time."""
RETRY_S = 60.0
"""How long writing to a shared folder is tried again."""
RETRY_EVERY_S = 1.0
ALIVE = "alive"


class Connection(Protocol):
    """The lines between a worker and its runner, from the worker's side."""

    def send(self, line: Line) -> None:
        """Send a line; from any thread. Nothing happens where the runner is gone."""

    def receive(self) -> Line | None:
        """The next line of the runner, after waiting; None where the runner is gone."""


class Sending:
    """Sends lines from a thread of its own; a context manager that sends all that is left.

    Ctrl-C interrupts the main thread alone, so it leaves no half line.

    Args:
        connection: that sends.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lines: queue.SimpleQueue[tuple[Line, threading.Event] | None] = queue.SimpleQueue()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="joulelab-sending", daemon=True)
        self._thread.start()

    def send(self, line: Line) -> None:
        """Send a line, and wait until it is sent; interrupted, it is sent all the same.

        Raises:
            OSError: it cannot be written, or one before it could not.
        """
        sent = threading.Event()
        self._lines.put((line, sent))
        sent.wait()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Sending:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (asked := self._lines.get()) is not None:
            line, sent = asked
            try:
                if self._error is None:
                    self._connection.send(line)
            except OSError as error:
                self._error = error
            finally:
                sent.set()


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


class Mailbox:
    """Two files of lines in a shared folder, one for each direction; either side appends to one.

    A file is opened anew for every look and every line: a network file system shows what others
    have written when a file is opened, and writes when it is closed. What cannot be written is
    tried again for a minute.

    Args:
        read: lines of the other side.
        write: lines of this one.
    """

    def __init__(self, read: Path, write: Path) -> None:
        self._read = read
        self._write = write
        self._at = 0
        self._text = self._unsent = b""
        self._whole = 0
        self._failing_since_s: float | None = None
        self._lock = threading.Lock()
        self._heard_s = self._sent_s = time.monotonic()
        self._patience_s = float(os.environ.get(VARIABLE, LOST_S))

    def append(self, line: Line) -> None:
        """Write a line, and wait until it is written.

        Raises:
            OSError: it cannot be written: the disk is full, or the folder is gone.
        """
        self.post(line)
        while self._unsent:
            time.sleep(RETRY_EVERY_S)
            self._flush()

    def post(self, line: Line) -> None:
        """Write a line, now or at one of the next looks.

        Raises:
            OSError: nothing could be written for a minute.
        """
        with self._lock:
            self._unsent += encoded(line).encode("utf-8")
        self._flush()

    def look(self) -> list[Line]:
        """The lines that have come since the last look; a sign of life is sent now and then.

        Raises:
            OSError: nothing could be written for a minute.
        """
        lines = self._look()
        if self._unsent:
            self._flush()
        elif time.monotonic() - self._sent_s > self._patience_s / SIGNS:
            self.post({ALIVE: True})
        return [line for line in lines if ALIVE not in line]

    @property
    def lost(self) -> bool:
        """Whether the other side has given no sign of life for two minutes."""
        return time.monotonic() - self._heard_s > self._patience_s

    def _flush(self) -> None:
        with self._lock:
            try:
                with self._write.open("ab") as file:
                    if file.tell() > self._whole:  # half a line, of a try that has failed
                        file.truncate(self._whole)
                    file.write(self._unsent)
            except OSError:
                now_s = time.monotonic()
                self._failing_since_s = self._failing_since_s or now_s
                if now_s - self._failing_since_s > RETRY_S:
                    raise
                return
            self._whole += len(self._unsent)
            self._unsent, self._failing_since_s = b"", None
            self._sent_s = time.monotonic()

    def _look(self) -> list[Line]:
        try:
            with self._read.open("rb") as file:
                file.seek(self._at)
                part = file.read()
        except OSError:  # not there yet, or the folder is away for a moment
            return []
        self._at += len(part)
        *whole, self._text = (self._text + part).split(b"\n")
        if part:
            self._heard_s = time.monotonic()
        return [json.loads(line) for line in whole]


class Files:
    """A worker's side of a mailbox.

    Args:
        folder: of the worker.
    """

    def __init__(self, folder: Path) -> None:
        self._mailbox = Mailbox(folder / "to.jsonl", folder / "from.jsonl")
        self._come: list[Line] = []

    def send(self, line: Line) -> None:
        """Send a line.

        Raises:
            OSError: it cannot be written.
        """
        self._mailbox.append(line)

    def receive(self) -> Line | None:
        """The next line; None where the runner is gone."""
        while not self._come:
            if self._mailbox.lost:
                return None
            time.sleep(POLL_S)
            try:
                self._come = self._mailbox.look()
            except OSError:
                return None
        return self._come.pop(0)


def connect(arguments: Sequence[str]) -> Connection:
    """The connection that a worker was started with.

    Args:
        arguments: ``pipes READ WRITE``, or ``files FOLDER``.
    """
    name, *rest = arguments
    return Pipes(int(rest[0]), int(rest[1])) if name == "pipes" else Files(Path(rest[0]))
