"""A child process of a run: its output kept within bounds, its time limited, nothing left behind.

::

    start ─ read output until it ends ─ end of the window
              │ too long: SIGTERM to its group, after a grace SIGKILL
              └ Ctrl-C: likewise
    what it has started and left running is ended with it

Output beyond `KEPT_BYTES` is read and dropped, so that a program that writes gigabytes neither
fills the disk nor waits for a reader. The end of the output is always kept: the result is there.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from joulelab.errors import CommandError

KEPT_BYTES = 10_000_000
"""Of each output stream, in its file."""
END_BYTES = 200_000
"""The end of a stream that is kept in memory, and searched for the result."""
CHUNK = 1 << 16
GRACE_S = 5.0
LOOK_S = 0.05


class Stream:
    """One output stream of a program.

    Args:
        path: of the file with its first `KEPT_BYTES`; written when there is output.
        on_line: called with every whole line of at most `END_BYTES`.
    """

    def __init__(self, path: Path, on_line: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._on_line = on_line
        self._file: IO[bytes] | None = None
        self._written = 0
        self._end = bytearray()
        self._line = bytearray()
        self.total = 0

    def feed(self, chunk: bytes) -> None:
        """Take what the program has written."""
        self.total += len(chunk)
        if self._written < KEPT_BYTES:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("wb")
            self._written += self._file.write(chunk[: KEPT_BYTES - self._written])
        self._end += chunk
        del self._end[:-END_BYTES]
        if self._on_line is not None:
            self._line += chunk
            *lines, self._line = self._line.split(b"\n")
            del self._line[:-END_BYTES]
            for line in lines:
                self._on_line(line.decode("utf-8", "replace"))

    def close(self) -> None:
        """End the last line and the file."""
        if self._on_line is not None and self._line:
            self._on_line(self._line.decode("utf-8", "replace"))
            self._line.clear()
        if self._file is not None:
            if self.total > self._written:
                dropped = self.total - self._written
                self._file.write(f"\n[joulelab dropped {dropped:,} more bytes]\n".encode())
            self._file.close()
            self._file = None

    @property
    def end(self) -> str:
        """The end of the output as text."""
        return self._end.decode("utf-8", "replace")


@dataclass
class Child:
    """A program that runs in a process group of its own.

    Attributes:
        process: the program.
        stdout: its standard output.
        stderr: its standard error.
        answers: file descriptor on which it answers, one line each; -1 for none.
    """

    process: subprocess.Popen[bytes]
    stdout: Stream
    stderr: Stream
    answers: int = -1
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _answered: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        for file, name in ((self.process.stdout, "stdout"), (self.process.stderr, "stderr")):
            if file is not None:
                os.set_blocking(file.fileno(), False)
                self._selector.register(file, selectors.EVENT_READ, name)
        if self.answers >= 0:
            os.set_blocking(self.answers, False)
            self._selector.register(self.answers, selectors.EVENT_READ, "")

    @classmethod
    def start(
        cls,
        command: str | Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        stdout: Stream,
        stderr: Stream,
    ) -> Child:
        """Start a program; a text is a line for the shell.

        Raises:
            CommandError: it cannot be started.
        """
        shell = isinstance(command, str)
        try:
            process = subprocess.Popen(
                command,
                shell=shell,
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            name = command if isinstance(command, str) else command[0]
            raise not_started(name, cwd, error) from error
        return cls(process, stdout, stderr)

    def wait(self, limit_s: float | None = None) -> bool:
        """Read the output until the program ends.

        Args:
            limit_s: longest time; then the program and all that it has started is ended.

        Returns:
            Whether it ended by itself.
        """
        ends_s = None if limit_s is None else time.monotonic() + limit_s
        in_time = True
        try:
            while self._selector.get_map():
                self._read(LOOK_S)
                if self.process.poll() is not None:
                    break
                if ends_s is not None and time.monotonic() > ends_s:
                    in_time = False
                    break
            if in_time:
                left_s = None if ends_s is None else max(ends_s - time.monotonic(), 0.0)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(left_s)
                in_time = self.process.returncode is not None
        finally:
            self.end()
        return in_time

    def answer(self, limit_s: float | None = None) -> str | None:
        """Read until it has answered; ``None`` if it ends first, or takes longer.

        Args:
            limit_s: longest time.
        """
        ends_s = None if limit_s is None else time.monotonic() + limit_s
        while b"\n" not in self._answered:
            ended = self.process.poll() is not None
            self._read(0.0 if ended else LOOK_S)
            if b"\n" not in self._answered and (
                ended or (ends_s is not None and time.monotonic() > ends_s)
            ):
                return None
        self._read(0.0)
        line, _, rest = self._answered.partition(b"\n")
        self._answered = bytearray(rest)
        return line.decode("utf-8")

    def end(self) -> None:
        """End the program and all that it has started; a second call has no effect."""
        end_group(self.process.pid, lambda: self.process.poll() is not None)
        self.process.wait()
        self._read(0.0)
        for key in list(self._selector.get_map().values()):
            self._forget(key)
        self.stdout.close()
        self.stderr.close()

    def _read(self, wait_s: float) -> None:
        """Read what there is, at most `wait_s` from now on."""
        ready = self._selector.select(wait_s) if self._selector.get_map() else []
        for key, _ in ready:
            for chunk in _chunks(key.fd):
                if not chunk:
                    self._forget(key)
                elif key.data:
                    getattr(self, key.data).feed(chunk)
                else:
                    self._answered += chunk

    def _forget(self, key: selectors.SelectorKey) -> None:
        """Read a stream no longer."""
        self._selector.unregister(key.fileobj)
        if not isinstance(key.fileobj, int):  # the answers are closed by who opened them
            key.fileobj.close()  # type: ignore[attr-defined]


def _chunks(number: int) -> Iterator[bytes]:
    """What can be read now; an empty chunk at the end of the file."""
    for _ in range(64):  # then look at the time and at the other stream
        try:
            chunk = os.read(number, CHUNK)
        except BlockingIOError:
            return
        yield chunk
        if not chunk:
            return


def end_group(leader: int, ended: Callable[[], bool], grace_s: float = GRACE_S) -> None:
    """End a process group: SIGTERM, and SIGKILL after a grace, or at once after another Ctrl-C.

    Args:
        leader: the process whose number the group has.
        ended: whether the leader has ended; its group may still have members.
        grace_s: time for it to end by itself.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            if not ended():
                os.killpg(leader, signal.SIGTERM)
                patience_s = time.monotonic() + grace_s
                while not ended() and time.monotonic() < patience_s:
                    time.sleep(LOOK_S / 5)
        finally:
            os.killpg(leader, signal.SIGKILL)


def left_behind(variable: str, value: str) -> list[psutil.Process]:
    """Processes of this user whose environment has a variable with this value."""
    found = []
    for one in psutil.process_iter():
        # A process may end, and those of other users cannot be read.
        with contextlib.suppress(psutil.Error, OSError):
            if one.environ().get(variable) == value and one.pid != os.getpid():
                found.append(one)
    return found


def end_all(processes: Sequence[psutil.Process], grace_s: float = GRACE_S) -> None:
    """End processes that others have started: SIGTERM, and SIGKILL after a grace."""
    for one in processes:
        with contextlib.suppress(psutil.Error):
            one.terminate()
    patience_s = time.monotonic() + grace_s
    while time.monotonic() < patience_s and not all(has_ended(one.pid) for one in processes):
        time.sleep(LOOK_S / 5)
    for one in processes:
        with contextlib.suppress(psutil.Error):
            one.kill()


def has_ended(number: int) -> bool:
    """Whether a process has ended, also if nobody has asked for its exit code."""
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def not_started(name: str, cwd: Path, error: Exception) -> CommandError:
    """Why a program cannot be started, and what to do."""
    if not cwd.is_dir():
        return CommandError(f"the working folder {cwd} does not exist", "change the key 'cwd'", 1)
    if isinstance(error, FileNotFoundError):
        if os.sep in name and (cwd / name).is_file():
            return CommandError(
                f"{name} cannot be started: the interpreter in its first line does not exist",
                "install it, or change that line",
                1,
            )
        install = (
            f"install it, or give its path; a file of your own is found from {cwd} as ./{name}"
        )
        hint = f"check its path, which counts from {cwd}" if os.sep in name else install
        return CommandError(f"the program {name} was not found", hint, 1)
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return CommandError(
        f"{name} cannot be started: {reason}", f"check that {name} is an executable program", 1
    )
