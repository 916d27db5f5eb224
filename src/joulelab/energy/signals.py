"""Forward the signals of one process to another, as if the first did not exist.

::

    to joulelab only        kill PID                        forwarded
    to the process group    Ctrl-C, Ctrl-Z, kill -- -PGID,  the command has had it already
                            timeout, a cluster's scheduler

A signal does not say which of the two it was. So a **witness** runs in the same group, a ``cat``
that blocks signals: signals pending for it were sent to the group. The kernel signals a group from
its youngest process on, so a signal that reached this process has reached the witness.

On a stop (Ctrl-Z), if the command has stopped, this process stops too, so that the shell takes the
terminal back; if the command ignores it, so does this process. What continues one continues the
other.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_CHUNK = 4096
_POLL_S = 1.0
"""Time without signals after which to check whether the command has ended."""
_HAS_STATES = hasattr(os, "waitid")
_NOT_PASSED_ON = (
    # Signals that cannot be caught,
    *("SIGKILL", "SIGSTOP"),
    # are about this process or its child,
    *("SIGCHLD", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS"),
    # are ignored by Python and caused by writes of this process,
    *("SIGPIPE", "SIGXFSZ"),
    # or stop a background process that uses the terminal: each process by itself.
    *("SIGTTIN", "SIGTTOU"),
)
_BY_TERMINAL = ("SIGINT", "SIGQUIT", "SIGTSTP", "SIGWINCH")
"""Signals of a terminal to its foreground process group."""


def _numbers(names: tuple[str, ...]) -> set[int]:
    return {int(getattr(signal, name)) for name in names if hasattr(signal, name)}


PASSED_ON = frozenset({int(one) for one in signal.valid_signals()} - _numbers(_NOT_PASSED_ON))
"""All signals that can be forwarded to a command."""
SURVIVED = PASSED_ON - _numbers(
    ("SIGHUP", "SIGINT", "SIGQUIT", "SIGABRT", "SIGTERM", "SIGXCPU", "SIGTSTP", "SIGCONT")
)
"""Signals meant for the command, even if they arrive just after its end."""
CHILD = int(getattr(signal, "SIGCHLD", 0))
STOP, CONTINUE = (int(getattr(signal, name, 0)) for name in ("SIGTSTP", "SIGCONT"))


class Passer:
    """Waits for a process and forwards to it signals sent to this process only.

    Args:
        heard: file descriptor that delivers the numbers of caught signals, one byte each.
    """

    def __init__(self, heard: int) -> None:
        self._heard = heard
        self._witness = _Witness()
        self._asked_to_stop = False
        self._stopped = False

    def wait(
        self,
        process: subprocess.Popen[Any],
        look: Callable[[subprocess.Popen[Any]], float] | None = None,
    ) -> None:
        """Wait until the process has ended.

        Args:
            process: a child of this one.
            look: called again and again; returns the seconds until the next time.
        """
        while process.poll() is None:
            until_s = _POLL_S if look is None else look(process)
            select.select([self._heard], [], [], until_s)
            if numbers := self._caught():
                self._pass_on(numbers, process)
            if self._asked_to_stop and self._has_stopped(process):
                self._asked_to_stop = False
                os.kill(os.getpid(), signal.SIGSTOP)

    def close(self) -> None:
        """End the witness."""
        self._witness.close()

    def _caught(self) -> list[int]:
        """Signals since the last call, in order."""
        caught = bytearray()
        with suppress(BlockingIOError):
            while more := os.read(self._heard, _CHUNK):
                caught += more
        return [number for number in caught if number != CHILD]

    def _pass_on(self, numbers: list[int], process: subprocess.Popen[Any]) -> None:
        # First start the next witness, then read the signals so far, so none is lost in between.
        witness, self._witness = self._witness, _Witness()
        numbers += self._caught()
        with_command = witness.seen()
        witness.close()
        for number in numbers:
            if number in (STOP, CONTINUE):
                self._asked_to_stop = number == STOP
            if number not in with_command:
                process.send_signal(number)

    def _has_stopped(self, process: subprocess.Popen[Any]) -> bool:
        if not _HAS_STATES:
            return False
        what = os.WSTOPPED | os.WCONTINUED | os.WNOHANG
        with suppress(ChildProcessError):
            while (change := os.waitid(os.P_PID, process.pid, what)) is not None:
                self._stopped = change.si_code == os.CLD_STOPPED
        return self._stopped


class _Witness:
    """A process in this process's group that blocks signals and ends with this process."""

    def __init__(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                ["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except OSError:
            self._process = None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def seen(self) -> set[int]:
        """Signals sent to its group during its life.

        On systems that do not list pending signals, those that terminals send.
        """
        if self._process is not None:
            with suppress(OSError, KeyError, ValueError):
                lines = Path(f"/proc/{self._process.pid}/status").read_text("ascii").splitlines()
                fields = dict(line.split(":", 1) for line in lines)
                waiting = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
                return {number for number in PASSED_ON if waiting >> (number - 1) & 1}
        return _numbers(_BY_TERMINAL)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@contextmanager
def signals_passed_on() -> Iterator[Passer]:
    """Catch all signals that can be forwarded, while the command is started and waited for.

    Signals that this process ignores, as under ``nohup``, the command ignores too.
    """
    heard, told = os.pipe()
    os.set_blocking(heard, False)
    os.set_blocking(told, False)
    with signals_survived({*PASSED_ON, CHILD}):
        wakeup = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        passer = Passer(heard)
        try:
            yield passer
        finally:
            signal.set_wakeup_fd(wakeup)
            passer.close()
            os.close(heard)
            os.close(told)


@contextmanager
def signals_survived(numbers: Iterable[int]) -> Iterator[None]:
    """Make these signals have no effect; ignored ones and non-Python handlers stay as they are.

    Args:
        numbers: of the signals.
    """
    # Handlers, not SIG_IGN: the command would inherit SIG_IGN and ignore Ctrl-C.
    before = {
        number: signal.signal(number, lambda *_: None)
        for number in numbers
        if signal.getsignal(number) not in (signal.SIG_IGN, None) or number == CHILD
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
