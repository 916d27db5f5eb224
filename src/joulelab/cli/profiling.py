"""``joulelab profile``: which functions and phases of a Python program take its energy."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from joulelab.cli.measuring import carbon_notes, caveats
from joulelab.cli.options import check_seconds
from joulelab.cli.output import check_file, say, show
from joulelab.energy.command import idle_duration_s
from joulelab.energy.monitor import Monitor
from joulelab.energy.options import Options
from joulelab.errors import UsageError
from joulelab.present import Part, View
from joulelab.profiling.profiler import Profiling
from joulelab.profiling.program import Program, ending_early
from joulelab.profiling.result import Profile
from joulelab.profiling.shown import (
    profile_answer,
    profile_data,
    profile_remarks,
    profile_tables,
)

if TYPE_CHECKING:
    from joulelab.cli import energy_commands

_profiled: list[Program] = []
"""The program that is being profiled in this process."""


def run_profile(asked: energy_commands.Profile) -> int:
    """Run a Python program in this process, and show where its energy went.

    Args:
        asked: what the user has written.

    Returns:
        The exit code of the program.

    Raises:
        CommandError: it does not exist, or is not a Python program.
        MeterError: the meters cannot be opened.
        StoreWriteError: a file cannot be written.
        UsageError: a profile in a profile, or an impossible option.
    """
    if _profiled:
        raise UsageError(
            f"{_profiled[0].name} is being profiled already", "leave out one joulelab profile"
        )
    check_seconds(asked.idle, "--idle", zero=True)
    program = Program.parse(asked.command or [], module=asked.module)
    _check_files(program, [path for path in (asked.html, asked.speedscope) if path is not None])
    options: Options = {**asked.monitor, "busy": asked.busy.value, "on_wait": say}
    run = _Run(program, Monitor(**options), asked)
    _profiled.append(program)
    try:
        return run.code()
    finally:
        _profiled.clear()
        # Not in a process that the program has forked, which ends here, too.
        if run.profiling.is_of_this_process:
            run.monitor.close()


def _check_files(program: Program, files: Sequence[Path]) -> None:
    """Refuse files that cannot be written, or would replace each other or the program.

    Args:
        program: what will run.
        files: that will be written after it.
    """
    taken = {Path(program.what).resolve()} if program.kind == "file" else set()
    for path in files:
        check_file(path)
        if path.resolve() in taken:
            of = (
                "the program" if path.resolve() == Path(program.what).resolve() else "written twice"
            )
            raise UsageError(f"{path} is {of}", "give another file")
        taken.add(path.resolve())


class _Run:
    """A profiled run of a program.

    Args:
        program: what is run.
        monitor: measures it.
        asked: what the user has written.
    """

    def __init__(self, program: Program, monitor: Monitor, asked: energy_commands.Profile) -> None:
        self.monitor = monitor
        self._program = program
        self._asked = asked
        label = " ".join([program.name, *program.arguments])
        self.profiling = Profiling(lambda: monitor, asked.label or label, asked.rate, program.below)
        self._streams = ExitStack()

    def code(self) -> int:
        """Run the program and show its profile; its exit code."""
        idle_s = idle_duration_s(self.monitor) if self._asked.idle is None else self._asked.idle
        if idle_s:
            self.monitor.recorder.measure_idle(idle_s)
        with ending_early(self.profiling, self._tell_early), self._streams:
            self._streams.enter_context(_kept_streams(aside=self._asked.json))
            self.profiling.start()
            code = self._program.run()
            if self.profiling.is_of_this_process:
                self.profiling.stop()
        if self.profiling.is_of_this_process:
            self._show(code)
        return code

    def _tell_early(self, code: int) -> None:
        self._streams.close()
        self._show(code)

    def _show(self, code: int) -> None:
        found = self.profiling.result
        try:
            show(self._view(found, code), as_json=self._asked.json, aside=True)
        finally:  # also where nobody reads the answer any more: `2>&1 | head`
            if self._asked.speedscope is not None:
                self.profiling.save_speedscope(self._asked.speedscope)
            if self._asked.html is not None:
                self.profiling.save_html(self._asked.html)

    def _view(self, found: Profile, code: int) -> View:
        measurements = [found.measurement]
        parts: list[Part] = [
            profile_answer(found),
            *caveats(measurements),
            *profile_tables(found),
            *profile_remarks(found),
            *carbon_notes(measurements),
        ]
        said = {"command": self._program.name, "exit_code": code}
        return View(parts, lambda: said | profile_data(found))


@contextmanager
def _kept_streams(*, aside: bool) -> Iterator[None]:
    """Keep standard output and error for the profile: a program may replace or close them.

    Args:
        aside: let the program write all that it prints to standard error.
    """
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}
    kept: dict[int, int] = {}
    for number in (1, 2):
        with suppress(OSError):
            kept[number] = os.dup(number)
    if aside:
        sys.stdout.flush()
        sys.stdout = sys.stderr
        with suppress(OSError):
            os.dup2(2, 1)
    try:
        yield
    finally:
        for stream in (sys.stdout, *streams.values()):
            with suppress(ValueError, AttributeError):  # closed, or gone
                stream.flush()
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        for number, (name, stream) in enumerate(streams.items(), start=1):
            again = open(number, "w", closefd=False) if stream.closed else stream  # noqa: SIM115
            setattr(sys, name, again)
