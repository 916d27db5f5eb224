"""Measuring a command: any program, with its output, its exit code and its signals left alone.

::

    joulelab  | open .................................... close | reading
    command        start ... children, threads ... end
    Ctrl-C              the terminal sends it to both; joulelab waits for the command to end
    kill joulelab       passed on to the command, once
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from joulelab.energy.command_environment import environments_of
from joulelab.energy.measuring import Measuring
from joulelab.energy.monitor import Monitor
from joulelab.energy.reading import Measurement
from joulelab.energy.recorder import Window
from joulelab.errors import CommandError

NOT_EXECUTABLE = 126
NOT_FOUND = 127
KILLED = 128
POLL_S = 0.1
PASSED_ON = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)
)
SI_KERNEL = 0x80
"""The code of a signal that the terminal has sent, to every process of its foreground group."""


@dataclass(frozen=True)
class CommandRun:
    """A command that was measured.

    Attributes:
        command: what was run, a line for the shell or a program with its arguments.
        exit_code: its own, or 128 and the number of the signal that ended it.
        measurement: of the time from its start to its end.
        window: that it was measured in, with the power trace.
    """

    command: str | Sequence[str]
    exit_code: int
    measurement: Measurement
    window: Window


def run_command(
    command: str | Sequence[str], monitor: Monitor, label: str, *, stdout: int | None = None
) -> CommandRun:
    """Run a command to its end and measure it.

    Args:
        command: a line for the shell, or a program with its arguments.
        monitor: whose meters measure it.
        label: of the measurement.
        stdout: file descriptor for what it prints; that of this process where not given.

    Raises:
        CommandError: there is no such program, or it cannot be started.
        DeviceBusyError: another program measures on a device, and it is to be refused.
    """
    measuring = Measuring(lambda: monitor, label, environments_of(command))
    with _passing_signals_on() as passer, measuring:
        try:
            process = subprocess.Popen(command, shell=isinstance(command, str), stdout=stdout)
        except OSError as error:
            name = command if isinstance(command, str) else command[0]
            missing = isinstance(error, FileNotFoundError)
            raise CommandError(
                f"{name} cannot be started: {error.strerror}",
                "joulelab measure -- PROGRAM ARGUMENTS",
                NOT_FOUND if missing else NOT_EXECUTABLE,
            ) from error
        passer.wait(process)
    code = process.returncode
    return CommandRun(
        command, KILLED - code if code < 0 else code, measuring.result, measuring.window
    )


class _Passer:
    """Waits for a process and passes on what was sent to this one alone."""

    def __init__(self) -> None:
        self.caught: list[int] = []

    def catch(self, number: int, _: FrameType | None) -> None:
        self.caught.append(number)

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        if not hasattr(signal, "sigtimedwait"):
            self._wait_without_senders(process)
            return
        # Blocked, a signal can be asked who has sent it. The end of a child is a signal, too.
        waited = {*PASSED_ON, signal.SIGCHLD}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
        try:
            while process.poll() is None:
                info = signal.sigtimedwait(waited, POLL_S)
                self._pass_on(process)
                from_terminal = info is not None and info.si_code == SI_KERNEL
                if info is not None and info.si_signo != signal.SIGCHLD and not from_terminal:
                    process.send_signal(info.si_signo)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _wait_without_senders(self, process: subprocess.Popen[bytes]) -> None:
        """Where nobody says who has sent a signal, an interrupt is taken for the terminal's."""
        while process.poll() is None:
            time.sleep(POLL_S / 10)
            self.caught = [number for number in self.caught if number != signal.SIGINT]
            self._pass_on(process)

    def _pass_on(self, process: subprocess.Popen[bytes]) -> None:
        """What another thread was given, which cannot be asked for its sender."""
        while self.caught:
            process.send_signal(self.caught.pop(0))


@contextmanager
def _passing_signals_on() -> Iterator[_Passer]:
    passer = _Passer()
    # Handlers, not SIG_IGN: the command would inherit that and be deaf to Ctrl-C.
    before = {number: signal.signal(number, passer.catch) for number in PASSED_ON}
    try:
        yield passer
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
