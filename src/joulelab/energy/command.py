"""Measure commands: any program, with its output, exit code and signals unchanged.

::

    joulelab  | open .................................... close | reading
    command        start ... children, threads ... end
    Ctrl-C              the terminal sends it to both; joulelab waits for the command to end
    kill joulelab       passed on to the command, whatever the signal, once
    Ctrl-Z, fg          both stop, both go on; the time between is in the window

Commands can be repeated and compared, in randomised blocks::

    block 1   B A      each command once per block, in an order drawn from the seed
    block 2   A B      before each run: wait until measured devices are back at idle power
    block 3   A B

The environment of a started program tells which GPUs it can use. It is read from the command line;
what a script sets internally is not seen::

    env A=1 python train.py             A is 1
    nice -n 5 env -u A python train.py  A is not set
    A=1 python train.py                 of a shell: A is 1
    export A=1; python train.py         A is 1
    A=1 python x.py && python y.py      two environments
    sh -c "A=1 python train.py"         as the line
"""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import PurePath
from string import Template
from typing import Any

from joulelab.budget import Budget
from joulelab.energy.ending import GRACE_S, Ender
from joulelab.energy.measured_block import Measuring
from joulelab.energy.measurement import Measurement
from joulelab.energy.monitor import Monitor
from joulelab.energy.open_meters import devices
from joulelab.energy.recorder import Window, wait_until_idle
from joulelab.energy.signals import signals_passed_on
from joulelab.errors import CommandError

NOT_EXECUTABLE = 126
NOT_FOUND = 127
KILLED = 128
SHELLS = {"sh", "bash", "dash", "zsh", "ksh"}
STARTERS = {
    *("chrt", "exec", "ionice", "nice", "nohup", "numactl", "setsid", "srun", "stdbuf", "sudo"),
    *("taskset", "time", "timeout"),
}
"""Programs that start the program in their arguments."""
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_WITH_VALUE = {"-u", "--unset", "-C", "--chdir"}
_SEPARATORS = set("();<>|&")
BUILT_IN = {
    *("[", ":", "cd", "echo", "exit", "false", "printf", "pwd", "set", "test", "true", "ulimit"),
    *("umask", "wait"),
}
"""Shell builtins."""
SMALL = {
    *("awk", "cat", "cp", "cut", "date", "grep", "head", "ls", "mkdir", "mv", "rm", "sed", "sleep"),
    *("sort", "tail", "tee", "touch", "tr", "uniq", "wc"),
}
"""Programs that use no GPU: their environment does not matter."""
Environment = Mapping[str, str]
Command = str | Sequence[str]
Beside = Callable[[Callable[[], Measurement]], AbstractContextManager[Any]]
"""What goes on while a command runs, given what measures until now."""
IDLE_TICKS = 20
SHORTEST_IDLE_S, LONGEST_IDLE_S = 1.0, 10.0


@dataclass(frozen=True)
class CommandRun:
    """A command that was measured.

    Attributes:
        command: what was run, a line for the shell or a program with its arguments.
        exit_code: of the command, or 128 plus the number of the signal that ended it.
        measurement: of the time from its start to its end.
        window: the measured window, with the power trace.
        ended_by: the signal that ended it because its budget was spent; empty if none did.
    """

    command: str | Sequence[str]
    exit_code: int
    measurement: Measurement
    window: Window
    ended_by: str = ""


def run_command(
    command: str | Sequence[str],
    monitor: Monitor,
    label: str,
    *,
    stdout: int | None = None,
    budget: Budget | None = None,
    grace_s: float = GRACE_S,
    beside: Beside = nullcontext,
) -> CommandRun:
    """Run a command to its end and measure it.

    Args:
        command: a line for the shell, or a program with its arguments.
        monitor: the monitor that measures it.
        label: of the measurement.
        stdout: file descriptor for its output; default: standard output of this process.
        budget: once it is spent the command is ended; None for no limit.
        grace_s: time between SIGTERM and SIGKILL then.
        beside: around the command.

    Raises:
        CommandError: the program does not exist or cannot be started.
        DeviceBusyError: another program measures on a device and ``busy`` is ``"refuse"``.
        MeterError: there is a budget, and what is spent is unknown.
    """
    measuring = Measuring(lambda: monitor, label, environments_of(command))
    with signals_passed_on() as passer, measuring, beside(measuring.so_far):
        process = _started(command, stdout)
        ender = None if budget is None else Ender(budget, measuring.so_far, grace_s)
        passer.wait(process, ender.look if ender else None)
    return CommandRun(
        command,
        _exit_code(process),
        measuring.result,
        measuring.window,
        ender.ended_by if ender else "",
    )


def run_unmeasured(command: Command, stdout: int | None = None) -> int:
    """Run a command to its end on a rank that does not measure.

    Args:
        command: as of `run_command`.
        stdout: likewise.

    Returns:
        Its exit code.

    Raises:
        CommandError: as of `run_command`.
    """
    with signals_passed_on() as passer:
        process = _started(command, stdout)
        passer.wait(process, None)
    return _exit_code(process)


def _started(command: Command, stdout: int | None) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, shell=isinstance(command, str), stdout=stdout)
    except OSError as error:
        name = command if isinstance(command, str) else command[0]
        missing = isinstance(error, FileNotFoundError)
        hint = "joulelab measure -- PROGRAM ARGUMENTS"
        if len(command) == 1 and " " in name:
            hint = f"without the quotes: joulelab measure -- {name}"
        elif name.endswith(".py") and not isinstance(command, str):
            hint = f"did you mean python {shlex.join(command)}?"
        raise CommandError(
            f"{name} cannot be started: {error.strerror}",
            hint,
            NOT_FOUND if missing else NOT_EXECUTABLE,
        ) from error


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    code = process.returncode
    return KILLED - code if code < 0 else code


def environments_of(
    command: str | Sequence[str], environment: Environment | None = None
) -> list[Environment]:
    """The distinct environments of the programs that a command starts.

    Args:
        command: a line for the shell, or a program with its arguments.
        environment: of the command; default: that of this process.
    """
    given = dict(os.environ) if environment is None else dict(environment)
    found = _of_line(command, given) if isinstance(command, str) else _of_words(command, given)
    return found or [given]


def _of_line(line: str, environment: Environment) -> list[Environment]:
    """The environments of the simple commands of a line, in order; exported variables last."""
    if "$(" in line or "`" in line:  # only the shell can evaluate it
        return [{name: own for name, own in environment.items() if f"{name}=" not in line}]
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return []  # an open quotation: the shell will refuse it
    exported, variables = dict(environment), dict(environment)
    found: list[Environment] = []
    small: list[Environment] = []
    for simple in _split(words):
        own, rest = _assigned(simple, exported, variables)
        if not rest:
            variables |= own
            exported |= {name: own[name] for name in own if name in exported}
        elif rest[0] == "export":
            own, names = _assigned(rest[1:], exported, variables)
            exported = own | {name: variables[name] for name in names if name in variables}
            variables |= exported
        elif rest[0] == "unset":
            exported = {name: value for name, value in exported.items() if name not in rest[1:]}
        elif rest[0] not in BUILT_IN:
            kind = small if PurePath(rest[0]).name in SMALL else found
            kind += [one for one in _of_words(rest, own) if one not in kind]
    return found or small


def _of_words(words: Sequence[str], environment: Environment) -> list[Environment]:
    """The environment of a program, through wrappers that only start another program."""
    for position, word in enumerate(words):
        name = PurePath(word).name
        if name == "env":
            own, rest = _through_env(list(words[position + 1 :]), environment)
            return _of_words(rest, own)
        if name in SHELLS:
            after = list(words[position + 1 :])
            lines = [n for n, one in enumerate(after[:-1]) if re.fullmatch(r"-[a-z]*c", one)]
            return _of_line(after[lines[0] + 1], environment) if lines else [environment]
        if position == 0 and name not in STARTERS:
            break
    return [environment]


def _through_env(words: list[str], environment: Environment) -> tuple[Environment, list[str]]:
    """The environment that env sets, and the program that it starts."""
    own = dict(environment)
    while words:
        word = words.pop(0)
        if word in ("-i", "-", "--ignore-environment"):
            own = {}
        elif word in _WITH_VALUE and words:
            value = words.pop(0)
            if word in ("-u", "--unset"):
                own.pop(value, None)
        elif word.startswith("--unset="):
            own.pop(word.removeprefix("--unset="), None)
        elif word.startswith("-u") and word != "-u":
            own.pop(word.removeprefix("-u"), None)
        elif match := _ASSIGNMENT.fullmatch(word):
            own[match[1]] = match[2]
        elif not word.startswith("-"):
            return own, [word, *words]
    return own, []


def _assigned(
    words: Sequence[str], environment: Environment, variables: Environment
) -> tuple[dict[str, str], list[str]]:
    """The environment with the assignments before a command, and the command.

    A variable whose value only the shell can evaluate is removed as unknown.
    """
    own, rest = dict(environment), list(words)
    while rest and (match := _ASSIGNMENT.fullmatch(rest[0])):
        rest.pop(0)
        value = Template(match[2]).safe_substitute(variables)
        if "$" in value or "`" in value:
            own.pop(match[1], None)
        else:
            own[match[1]] = value
    return own, rest


def _split(words: Iterable[str]) -> list[list[str]]:
    """The simple commands between shell separators, without redirections."""
    commands: list[list[str]] = [[]]
    opens = False
    for word in words:
        separates = set(word) <= _SEPARATORS
        if separates and not set(word) & set("<>"):
            commands.append([])
        elif not separates and not opens:
            commands[-1].append(word)
        opens = separates and bool(set(word) & set("<>"))
    return [one for one in commands if one]


@dataclass(frozen=True)
class Trial:
    """One run of one command.

    Attributes:
        number: of the command, from 0.
        block: from 0.
        run: the result.
        warmed_up: whether it is a warm-up run, which does not count.
    """

    number: int
    block: int
    run: CommandRun
    warmed_up: bool = False


@dataclass(frozen=True)
class Design:
    """How commands are repeated.

    Attributes:
        repeat: how often each command counts.
        warmup: number of warm-up runs of each command, not counted.
        seed: for the order within blocks.
        cool_down_s: the longest wait for idle power before each run.
        label: of the measurements.
        stdout: file descriptor for the commands' output; ``None`` for standard output of this
            process.
        budget: of a run.
        grace_s: as of `run_command`.
        beside: from the number of a command to what is around each run of it that counts; None for
            nothing.
    """

    repeat: int = 1
    warmup: int = 0
    seed: int = 0
    cool_down_s: float = 30.0
    label: str = ""
    stdout: int | None = None
    budget: Budget | None = None
    grace_s: float = GRACE_S
    beside: Callable[[int], Beside] | None = None

    def blocks(self, commands: int) -> list[list[int]]:
        """The order of commands in each block, warm-up blocks first.

        Args:
            commands: number of commands.
        """
        shuffle = random.Random(self.seed)
        return [shuffle.sample(range(commands), commands) for _ in range(self.warmup + self.repeat)]


def run_trials(
    commands: Sequence[Command],
    monitor: Monitor,
    design: Design,
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> list[Trial]:
    """Run commands as designed; stop at the first failure.

    Args:
        commands: lines for the shell, or programs with their arguments.
        monitor: the monitor that measures them.
        design: how they are repeated.
        on_trial: called after each run.

    Returns:
        All runs, warm-up runs included.
    """
    trials: list[Trial] = []
    for block, order in enumerate(design.blocks(len(commands))):
        for number in order:
            if trials and design.cool_down_s:
                cool_down(monitor, design.cool_down_s)
            counts = block >= design.warmup
            run = run_command(
                commands[number],
                monitor,
                design.label,
                stdout=design.stdout,
                budget=design.budget,
                grace_s=design.grace_s,
                beside=design.beside(number) if design.beside and counts else nullcontext,
            )
            trial = Trial(number, block - design.warmup, run, not counts)
            trials.append(trial)
            on_trial(trial)
            if run.exit_code:
                return trials
    return trials


def cool_down(monitor: Monitor, limit_s: float) -> bool:
    """Wait until every measured device is back at idle power.

    Args:
        monitor: with idle power measured.
        limit_s: the longest wait for each device.

    Returns:
        Whether all devices got there in time.
    """
    waited = [
        wait_until_idle(monitor.recorder, device, limit_s=limit_s)
        for device in devices(monitor.recorder)
    ]
    return all(waited)


def idle_duration_s(monitor: Monitor) -> float:
    """Time needed to measure idle power: 20 ticks of the slowest sensor, within bounds.

    Args:
        monitor: whose channels give their tick.
    """
    slowest_s = max((channel.tick_s for channel in monitor.recorder.channels), default=0.0)
    return min(max(IDLE_TICKS * slowest_s, SHORTEST_IDLE_S), LONGEST_IDLE_S)
