"""Measuring a command: any program, with its output, its exit code and its signals left alone.

::

    joulelab  | open .................................... close | reading
    command        start ... children, threads ... end
    Ctrl-C              the terminal sends it to both; joulelab waits for the command to end
    kill joulelab       passed on to the command, whatever the signal, once
    Ctrl-Z, fg          both stop, both go on; the time between is in the window
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from joulelab.energy.command_environment import environments_of
from joulelab.energy.measuring import Measuring
from joulelab.energy.monitor import Monitor
from joulelab.energy.reading import Measurement
from joulelab.energy.recorder import Window
from joulelab.energy.signals import signals_passed_on
from joulelab.errors import CommandError

NOT_EXECUTABLE = 126
NOT_FOUND = 127
KILLED = 128


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
    with signals_passed_on() as passer, measuring:
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
