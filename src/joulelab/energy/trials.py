"""Repeated and compared commands: order randomised in blocks, a cool-down between runs.

::

    block 1   B A      each command once in each block, in an order of the seed's
    block 2   A B      before each run: wait until measured devices are back at idle power
    block 3   A B
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulelab.energy.command import CommandRun, run_command
from joulelab.energy.idle import wait_until_idle
from joulelab.energy.monitor import Monitor, devices

Command = str | Sequence[str]

IDLE_TICKS = 20
SHORTEST_IDLE_S, LONGEST_IDLE_S = 1.0, 10.0


@dataclass(frozen=True)
class Trial:
    """One run of one command.

    Attributes:
        number: of the command, from 0.
        block: from 0.
        run: what came of it.
        warmed_up: whether it was only to warm up, and does not count.
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
        warmup: runs of each command before, that do not count.
        seed: of the order within blocks.
        cool_down_s: the longest wait for idle power before each run.
        label: of the measurements.
        stdout: file descriptor for what commands print; that of this process where ``None``.
    """

    repeat: int = 1
    warmup: int = 0
    seed: int = 0
    cool_down_s: float = 30.0
    label: str = ""
    stdout: int | None = None

    def blocks(self, commands: int) -> list[list[int]]:
        """The order of commands in each block, those to warm up with first.

        Args:
            commands: how many there are.
        """
        shuffle = random.Random(self.seed)
        return [shuffle.sample(range(commands), commands) for _ in range(self.warmup + self.repeat)]


def run_trials(
    commands: Sequence[Command],
    monitor: Monitor,
    design: Design,
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> list[Trial]:
    """Run commands as designed; the first that fails is the last.

    Args:
        commands: lines for the shell, or programs with their arguments.
        monitor: whose meters measure them.
        design: how they are repeated.
        on_trial: told of each run that has ended.

    Returns:
        Every run, those to warm up with among them.
    """
    trials: list[Trial] = []
    for block, order in enumerate(design.blocks(len(commands))):
        for number in order:
            if trials and design.cool_down_s:
                cool_down(monitor, design.cool_down_s)
            run = run_command(commands[number], monitor, design.label, stdout=design.stdout)
            trial = Trial(number, block - design.warmup, run, block < design.warmup)
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
        Whether all of them were in time.
    """
    waited = [
        wait_until_idle(monitor.recorder, device, limit_s=limit_s)
        for device in devices(monitor.recorder)
    ]
    return all(waited)


def idle_duration_s(monitor: Monitor) -> float:
    """How long idle power needs to be measured: 20 ticks of the slowest sensor, within bounds.

    Args:
        monitor: whose channels say how often they tick.
    """
    slowest_s = max((channel.tick_s for channel in monitor.recorder.channels), default=0.0)
    return min(max(IDLE_TICKS * slowest_s, SHORTEST_IDLE_S), LONGEST_IDLE_S)
