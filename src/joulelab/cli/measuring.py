"""``joulelab measure``: the energy of a command, once, repeated, or against another command."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from joulelab import formats
from joulelab.budget import Budget
from joulelab.cli.comparing import NAMES, QUANTITIES, Compared, interval_data, swept
from joulelab.cli.options import check_seconds
from joulelab.cli.output import check_figure, check_file, say, show
from joulelab.energy.command import (
    Beside,
    Command,
    CommandRun,
    Design,
    Trial,
    cool_down,
    environments_of,
    idle_duration_s,
    run_trials,
    run_unmeasured,
)
from joulelab.energy.ending import window_budget
from joulelab.energy.gathering import gathering
from joulelab.energy.measurement import (
    Measurement,
    answer,
    measurement_data,
    measurement_parts,
    measurement_remarks,
    measurement_table,
    node_table,
)
from joulelab.energy.monitor import Monitor
from joulelab.energy.options import Options
from joulelab.energy.rank_notes import leave_note
from joulelab.energy.ranks import Rank, here, nodes_started
from joulelab.energy.reading import Status
from joulelab.energy.signals import SURVIVED, signals_survived
from joulelab.energy.traces.trace_file import TraceAbout, check_suffix, write_trace
from joulelab.errors import UsageError
from joulelab.present import Column, Part, Remark, Table, View, words
from joulelab.sinks.feed import Feed
from joulelab.sinks.named import named_sinks
from joulelab.sinks.sink import Sink

if TYPE_CHECKING:
    from joulelab.cli.energy_commands import Measure
    from joulelab.energy.recorder import Window

NOT_MEASURED = 4
BUDGET_SPENT = 5
LEAST_IDLE_S = 1.0
"""A budget that idle power spends in less is refused."""
CAVEAT = "No sensor measured this: good for comparing, not for quoting (joulelab doctor)"


def run_measure(asked: Measure) -> int:
    """Run, measure and report commands.

    Args:
        asked: what the user has written.

    Returns:
        The exit code of the command that failed, or of the last; 4 where ``strict`` was asked for
        and a sensor was lost; 5 where the budget has ended the command.

    Raises:
        MeterError: there is a budget, and what is spent is unknown.
        UsageError: no command is named, too few or too many to compare, an unknown suffix, or
            several runs for one trace.
    """
    commands = _commands(asked)
    check_seconds(asked.idle, "--idle", zero=True)
    check_seconds(asked.cool_down, "--cool-down", zero=True)
    design = Design(
        repeat=asked.repeat,
        warmup=asked.warmup,
        seed=asked.seed,
        cool_down_s=asked.cool_down,
        label=asked.label or ", ".join(commands),
        stdout=sys.stderr.fileno() if asked.json else None,
        budget=_budget(asked, runs=len(commands) * (asked.repeat + asked.warmup)),
        grace_s=asked.grace,
    )
    feeds = _feeds(asked, commands)
    rank = here()
    options: Options = {
        **asked.monitor,
        "strict": asked.strict,
        # A rank that waited for a device would keep the others waiting.
        "busy": "share" if rank.of_several and asked.busy.value == "wait" else asked.busy.value,
        "on_wait": say,
    }
    if asked.trace is not None:
        check_suffix(asked.trace)
        check_file(asked.trace, replaced=True)
    check_figure(asked.plot)
    several = len(commands) * (asked.repeat + asked.warmup) > 1
    if several and (asked.trace or asked.plot):
        raise UsageError(
            "--trace and --plot are for a single run",
            "leave out --repeat, --warmup, --compare and --sweep",
        )
    if several and rank.nodes > 1:
        raise UsageError(
            "several runs cannot be measured over nodes",
            "leave out --repeat, --warmup, --compare and --sweep",
        )
    if not rank.records:
        return _run_unmeasured(list(commands.values()), design, asked, rank)
    with signals_survived(SURVIVED):
        return _measure(commands, options, design, asked, feeds)


def _run_unmeasured(commands: Sequence[Command], design: Design, asked: Measure, rank: Rank) -> int:
    """Run the commands on a rank that leaves measuring to the first of its node."""
    leave_note(rank, [one for command in commands for one in environments_of(command)])
    if asked.idle:
        time.sleep(asked.idle)  # while the first measures idle power
    code = 0
    for order in design.blocks(len(commands)):
        for number in order:
            code = code or run_unmeasured(commands[number], design.stdout)
    return code


def _feeds(asked: Measure, commands: Mapping[str, Command]) -> list[Feed]:
    """What sends the runs of each command to the sinks, under its name; empty without sinks."""
    if not asked.to:
        return []
    sinks, label = _sinks(asked), f"{asked.label}: " if asked.label else ""
    if len(commands) == 1:
        return [Feed(sinks, asked.label or next(iter(commands)))]
    return [
        Feed(sinks, f"{label}{name if asked.sweep else _line(command)}")
        for name, command in commands.items()
    ]


def _sinks(asked: Measure) -> list[Sink]:
    """The sinks, none of which writes to a file of another option."""
    sinks = named_sinks(asked.to)
    taken = {str(path.absolute()) for path in (asked.trace, asked.plot) if path is not None}
    if twice := [one.name for one in sinks if one.target in taken]:
        raise UsageError(f"{twice[0]} is written by another option too", "give another file")
    return sinks


def _commands(asked: Measure) -> dict[str, Command]:
    """The commands by name."""
    given = asked.command or []
    if not given:
        raise UsageError(
            "no command is named", "joulelab measure -- python train.py, or --compare A B"
        )
    if asked.compare and asked.sweep:
        raise UsageError("--compare and --sweep both say what is compared", "leave one of them out")
    if asked.sweep:
        return swept(given, asked.sweep)
    if not asked.compare:
        return {shlex.join(given): given}
    if options := [one for one in given if one.startswith("-")]:
        raise UsageError(
            f"{options[0]} comes after the command lines of --compare",
            f"put it before: joulelab measure {options[0]} ... --compare A B",
        )
    if not 1 < len(given) <= len(NAMES):
        raise UsageError(
            f"--compare is for 2 to {len(NAMES)} command lines, and not for {len(given)}",
            'quote each: --compare "python a.py" "python b.py"',
        )
    return dict(zip(NAMES, given, strict=False))


def _budget(asked: Measure, runs: int) -> Budget | None:
    if asked.budget is None:
        return None
    check_seconds(asked.grace, "--grace", zero=True)
    budget = window_budget(asked.budget, asked.place)
    if runs > 1:
        raise UsageError(
            "--budget is for a single run", "leave out --repeat, --warmup, --compare and --sweep"
        )
    return budget


def _check_budget(budget: Budget | None, monitor: Monitor) -> None:
    """Refuse a budget that is spent by doing nothing."""
    idle_w = sum(monitor.recorder.idle_w.values())
    if budget is None or budget.unit != "joules" or idle_w * LEAST_IDLE_S < budget.amount:
        return
    raise UsageError(
        f"--budget {budget}: idle power alone, {formats.watts(idle_w)}, spends it in "
        f"{formats.duration(budget.amount / idle_w)}",
        "give more",
    )


def _measure(
    commands: Mapping[str, Command],
    options: Options,
    design: Design,
    asked: Measure,
    feeds: Sequence[Feed],
) -> int:
    measured = _Measured(commands, design, asked.label, asked.verbose)
    rank = here()
    gathered = gathering(rank, "joulelab measure", sure=True)  # commands may differ by rank
    feeds = feeds if rank.node == 0 else []
    with ExitStack() as ended:
        for feed in feeds:
            ended.callback(feed.end, failed=True)
        if feeds:
            feeds[design.blocks(len(commands))[design.warmup][0]].open()
            design = replace(design, beside=lambda number: _sent(feeds[number]))
        monitor = ended.enter_context(Monitor(**options))
        if gathered is not None:
            gathered.begin()
        idle_s = asked.idle
        if idle_s is None:  # other ranks do not wait meanwhile
            idle_s = 0.0 if rank.of_several else idle_duration_s(monitor)
        if idle_s:
            monitor.recorder.measure_idle(idle_s)
        _check_budget(design.budget, monitor)

        def tell(trial: Trial) -> None:
            measured.tell(trial)
            if feeds and measured.several and not trial.warmed_up:
                run = trial.run
                feeds[trial.number].end(run.measurement, failed=run.exit_code != 0)

        trials = run_trials(list(commands.values()), monitor, design, tell)
        if idle_s:
            cool_down(monitor, design.cool_down_s)
        last = trials[-1].run
        before_w, before_error_w = dict(monitor.recorder.idle_w), monitor.recorder.idle_error_w
        after_w = dict(monitor.recorder.measure_idle(idle_s)) if idle_s else {}
        errors_w = (before_error_w, monitor.recorder.idle_error_w)
        measured.trials = [
            (trial, trial.run.measurement.with_idle(before_w, after_w, *errors_w))
            for trial in trials
            if not trial.warmed_up
        ]
        measured.trials = [
            (trial, _with_nodes(one, trial.run.command, rank)) for trial, one in measured.trials
        ]
        about = TraceAbout.of(monitor.recorder, design.label, last.window.started_at)
        if feeds and not measured.several:
            whole = next((one for _, one in measured.trials), None)
            feeds[0].end(whole, failed=last.exit_code != 0)
        if gathered is not None:
            measured.trials = [
                (trial, gathered.end(one, monitor.uuids)) for trial, one in measured.trials
            ]
    if rank.node:
        return BUDGET_SPENT if last.ended_by else last.exit_code  # rank 0 says the sum
    try:
        show(measured.view(last.exit_code), as_json=asked.json, aside=True)
    finally:  # also where nobody reads the answer any more: `2>&1 | head`
        _write_files(asked, last.window, about)
    if last.ended_by:
        return BUDGET_SPENT
    if last.exit_code == 0 and asked.strict and (why := measured.not_measured()):
        say(f"--strict: {why}")
        return NOT_MEASURED
    return last.exit_code


def _sent(feed: Feed) -> Beside:
    """What is around a run that a feed sends."""
    feed.open()
    return feed.during


def _with_nodes(measurement: Measurement, command: Command, rank: Rank) -> Measurement:
    """The same with a remark if the command starts processes on nodes that are not measured."""
    nodes = nodes_started(command.split() if isinstance(command, str) else command, os.environ)
    if nodes <= rank.nodes:
        return measurement
    flag = (
        f"the command runs on {nodes} nodes and only this one is measured: "
        "srun joulelab measure -- ... measures all"
    )
    return replace(measurement, flags=(*measurement.flags, flag))


def _write_files(asked: Measure, window: Window, about: TraceAbout) -> None:
    """Write the power trace and its figure, as far as they are asked for."""
    if asked.trace is not None:
        write_trace(asked.trace, window.trace_columns(), about)
    if asked.plot is not None:
        from joulelab.report.power_trace import write_power_trace

        write_power_trace(asked.plot, window.trace_columns(), about.label)


def one_measurement(measurement: Measurement) -> list[Part]:
    """One measurement, and how to learn its CO2e."""
    return [*measurement_parts(measurement), *_place_hint([measurement])]


def caveats(measurements: Sequence[Measurement]) -> list[str]:
    """What an estimate is good for, if any of some measurements is one without a sensor."""
    guessed = any(
        reading.status in (Status.ESTIMATED, Status.PARTLY_ESTIMATED) and not reading.sensed
        for one in measurements
        for reading in one.readings
        if reading.domain in one.total.domains
    )
    return [CAVEAT] if guessed else []


def carbon_notes(measurements: Sequence[Measurement]) -> list[str]:
    """Where the CO2e of some measurements is from, or how to learn it."""
    of = [one.footprint for one in measurements if one.footprint is not None]
    said = [one.basis if one.grams is not None else str(one) for one in of]
    return [*dict.fromkeys(said), *_place_hint(measurements)]


@dataclass
class _Measured:
    """The measurements of one command, or of several.

    Attributes:
        commands: as they were given, by name.
        design: how they were repeated.
        label: that the user gave.
        verbose: whether to show the domains.
        trials: those that count, each with its measurement.
    """

    commands: Mapping[str, Command]
    design: Design
    label: str
    verbose: bool
    trials: list[tuple[Trial, Measurement]] = field(default_factory=list)

    @property
    def several(self) -> bool:
        """Whether there is more than one run."""
        return len(self.commands) * (self.design.repeat + self.design.warmup) > 1

    def tell(self, trial: Trial) -> None:
        """Show the energy of each of several runs."""
        if not self.several:
            return
        measurement = trial.run.measurement
        name = f"{list(self.commands)[trial.number]} " if len(self.commands) > 1 else ""
        which = "warm-up" if trial.warmed_up else f"run {trial.block + 1}"
        failed = f", exit code {trial.run.exit_code}" if trial.run.exit_code else ""
        say(
            f"{name}{which}: {formats.joules(measurement.energy_j)}, "
            f"{formats.duration(measurement.duration_s)}{failed}",
            "dim",
        )

    def not_measured(self) -> str:
        """The counted domains without a measured figure, in words; empty if none."""
        lost = dict.fromkeys(one.domain for _, whole in self.trials for one in whole.lost)
        if lost:
            return f"not measured: {', '.join(lost)}; --domain names those that count"
        return "" if self._status() is Status.MEASURED else "the sum is not measured"

    def view(self, exit_code: int) -> View:
        """The energy of all runs, and which of several commands used less."""
        return View(list(self._parts()), lambda: self._data(exit_code))

    def _parts(self) -> Iterator[Part]:
        every = [one for _, one in self.trials]
        if len(self.commands) > 1:
            compared = self._compared()
            yield from (compared.sentence(), compared.table())
        elif self.design.repeat == 1:
            for one in every:
                yield answer(replace(one, label=self.label))
                yield from self._ended(self.trials[0][0].run)
                yield from node_table(one)
                if self.verbose:
                    yield measurement_table(one)
        elif every:
            yield _mean_answer(every)
            yield _summary_table(every)
        yield from caveats(every)
        yield from dict.fromkeys(part for one in every for part in measurement_remarks(one))
        yield from carbon_notes(every)

    def _ended(self, run: CommandRun) -> Iterator[Part]:
        if run.ended_by:
            yield Remark(f"The budget of {self.design.budget} is spent: ended with {run.ended_by}")

    def _compared(self) -> Compared:
        lines = [_line(command) for command in self.commands.values()]
        return Compared(list(self.commands), lines, self.trials)

    def _status(self) -> Status:
        """The weakest status of all runs."""
        return Status.of_sum(one.total.status for _, one in self.trials)

    def _data(self, exit_code: int) -> dict[str, Any]:
        names = list(self.commands)
        data: dict[str, Any] = {"exit_code": exit_code}
        if len(names) == 1:
            data["command"] = names[0]
        if len(names) == 1 and self.design.repeat == 1:
            # There is none where the command failed while it was run to warm up.
            measurement = next((measurement_data(one) for _, one in self.trials), None)
            ended_by = next((one.run.ended_by for one, _ in self.trials), "")
            return data | {"measurement": measurement, "ended_by": ended_by or None}
        runs = [
            {
                "command": names[trial.number],
                "block": trial.block,
                "exit_code": trial.run.exit_code,
                "measurement": measurement_data(measurement),
            }
            for trial, measurement in self.trials
        ]
        data |= {"runs": runs, "seed": self.design.seed}
        if len(names) == 1:
            return data | {"summary": _summary_data([one for _, one in self.trials])}
        compared = self._compared()
        summary = {name: _summary_data(compared.runs(at)) for at, name in enumerate(names)}
        return data | {"summary": summary} | compared.data()


def _mean_answer(runs: Sequence[Measurement]) -> str:
    """The mean of several runs in one line, as `answer` has one."""
    found = {key: QUANTITIES[key].interval(runs) for key in ("gross_j", "co2e_g", "duration_s")}
    energy, parts = found["gross_j"], []
    if energy is not None:
        sure = energy.n > 1
        between = _between(formats.joules(energy.low), formats.joules(energy.high))
        parts.append(f"{formats.joules(energy.value)}{f' ({between})' if sure else ''}")
    if (grams := found["co2e_g"]) is not None:
        parts.append(f"{formats.grams(grams.value)} CO2e")
    if (seconds := found["duration_s"]) is not None:
        parts.append(formats.duration(seconds.value))
    said = ", ".join(parts) if energy is not None else f"energy unknown, {parts[-1]}"
    status = Status.of_sum(one.total.status for one in runs)
    return f"Mean of {formats.count(len(runs), 'run')}: {said}; {status}"


def _summary_table(runs: Sequence[Measurement]) -> Table:
    """One row per quantity, each in its own units."""
    rows = []
    for key, quantity in QUANTITIES.items():
        interval, form = quantity.interval(runs), quantity.form
        if interval is None or key == "co2e_g":  # CO2e is proportional to energy
            continue
        known = interval.n > 1
        rows.append(
            {
                "": quantity.name,
                "mean": form(interval.value),
                "sd": form(interval.std) if known else formats.DASH,
                "95 % confidence": _between(form(interval.low), form(interval.high))
                if known
                else formats.DASH,
                "least": form(min(quantity.values(runs))),
                "most": form(max(quantity.values(runs))),
                "n": str(interval.n),
            }
        )
    numbers = ("mean", "sd", "95 % confidence", "least", "most", "n")
    return Table(rows, [words(""), *(Column(name, wide=name == "n") for name in numbers)])


def _between(low: str, high: str) -> str:
    """Two values with their units, as a range: ``0.53 to 0.84 J``, ``0.90 J to 1.21 kJ``."""
    number, _, unit = low.partition(" ")
    return f"{number} to {high}" if high.partition(" ")[2] == unit else f"{low} to {high}"


def _summary_data(runs: Sequence[Measurement]) -> dict[str, Any]:
    status = Status.of_sum(one.total.status for one in runs) if runs else None
    intervals = {key: interval_data(one.interval(runs)) for key, one in QUANTITIES.items()}
    return {"status": status, **intervals}


def _place_hint(measurements: Sequence[Measurement]) -> list[str]:
    if all(one.footprint is not None for one in measurements):
        return []
    return ["CO2e unknown: name a place, for instance --place NLD"]


def _line(command: Command) -> str:
    return command if isinstance(command, str) else shlex.join(command)
