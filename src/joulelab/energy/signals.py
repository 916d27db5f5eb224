"""Signals of one process that another one is to have, as if the first were not there.

::

    to joulelab alone       kill PID                        passed on
    to the process group    Ctrl-C, Ctrl-Z, kill -- -PGID,  the command has had it already
                            timeout, a cluster's scheduler

Nothing in a signal says which of the two it was. So a **witness** runs in the same group, a ``cat``
that takes no signals: what waits for it was sent to the group. The kernel goes through a group from
its youngest process, so what this process hears of, the witness has.

A stop is not an end: where this process is to stop (Ctrl-Z) and the command has stopped, this
process stops too, so that the shell takes the terminal back; where the command does not mind, this
process does not either. What continues the one continues the other.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_CHUNK = 4096
_POLL_S = 1.0
"""How long nothing is heard before it is looked whether the command has ended all the same."""
_HAS_STATES = hasattr(os, "waitid")
_NOT_PASSED_ON = (
    # They cannot be caught,
    *("SIGKILL", "SIGSTOP"),
    # are about this process or its child,
    *("SIGCHLD", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS"),
    # are ignored by Python and come from what this process itself writes,
    *("SIGPIPE", "SIGXFSZ"),
    # or stop whoever is in the background and asks for the terminal: both, each by itself.
    *("SIGTTIN", "SIGTTOU"),
)
_BY_TERMINAL = ("SIGINT", "SIGQUIT", "SIGTSTP", "SIGWINCH")
"""What a terminal sends; to its whole foreground group."""


def _numbers(names: tuple[str, ...]) -> set[int]:
    return {int(getattr(signal, name)) for name in names if hasattr(signal, name)}


PASSED_ON = frozenset({int(one) for one in signal.valid_signals()} - _numbers(_NOT_PASSED_ON))
"""Numbers of all signals that a command can be given."""
SURVIVED = PASSED_ON - _numbers(
    ("SIGHUP", "SIGINT", "SIGQUIT", "SIGABRT", "SIGTERM", "SIGXCPU", "SIGTSTP", "SIGCONT")
)
"""Those that are meant for the command, also if they come just after its end."""
CHILD = int(getattr(signal, "SIGCHLD", 0))
STOP, CONTINUE = (int(getattr(signal, name, 0)) for name in ("SIGTSTP", "SIGCONT"))


class Passer:
    """Waits for a process and passes on to it what was sent to this one alone.

    Args:
        heard: descriptor from which the numbers of caught signals can be read, a byte each.
    """

    def __init__(self, heard: int) -> None:
        self._heard = heard
        self._witness = _Witness()
        self._asked_to_stop = False
        self._stopped = False

    def wait(self, process: subprocess.Popen[Any]) -> None:
        """Return when the process has ended.

        Args:
            process: a child of this one.
        """
        while process.poll() is None:
            select.select([self._heard], [], [], _POLL_S)
            if numbers := self._caught():
                self._pass_on(numbers, process)
            if self._asked_to_stop and self._has_stopped(process):
                self._asked_to_stop = False
                os.kill(os.getpid(), signal.SIGSTOP)

    def close(self) -> None:
        """Send the witness away."""
        self._witness.close()

    def _caught(self) -> list[int]:
        """Numbers of the signals since the last look, in their order."""
        caught = bytearray()
        with suppress(BlockingIOError):
            while more := os.read(self._heard, _CHUNK):
                caught += more
        return [number for number in caught if number != CHILD]

    def _pass_on(self, numbers: list[int], process: subprocess.Popen[Any]) -> None:
        # First the next witness, then whatever came until then: nothing falls between the two.
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
    """A process of this one's group that takes no signals and ends with this one."""

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
        """Signals that its group was sent while it was there.

        Where no system says which wait for a process, those that terminals send.
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
    """Catch every signal that a command could be given, while it is being started and waited for.

    What this process was told to ignore, as by ``nohup``, the command ignores too.
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
    """Nothing happens on these signals; those that are ignored, or not Python's, are left alone.

    Args:
        numbers: of the signals.
    """
    # Handlers, not SIG_IGN: the command would inherit that and be deaf to Ctrl-C.
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
