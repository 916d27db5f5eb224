"""``joulelab measure``: the energy of a command, once, repeated, or against another command."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab import formats
from joulelab.cli.options import check_seconds
from joulelab.cli.output import say, show
from joulelab.energy.command import Command, Design, Trial, cool_down, idle_duration_s, run_trials
from joulelab.energy.measurement import (
    Measurement,
    measurement_data,
    measurement_parts,
    measurement_remarks,
)
from joulelab.energy.monitor import Monitor, Options
from joulelab.energy.reading import Status
from joulelab.energy.signals import SURVIVED, signals_survived
from joulelab.energy.traces.trace_file import TraceAbout, check_suffix, write_trace
from joulelab.errors import UsageError
from joulelab.present import Column, Part, Table, View, words

if TYPE_CHECKING:
    from joulelab.analysis.comparison import Interval
    from joulelab.cli.energy_commands import Measure

NOT_MEASURED = 4
NAMES = ("A", "B")


def check_figure(path: Path | None) -> None:
    """Refuse an impossible file name of a figure before measuring.

    Raises:
        UsageError: its suffix is not a figure format.
    """
    if path is not None:
        from joulelab.present.style import figure_format

        figure_format(path)


def run_measure(asked: Measure) -> int:
    """Run, measure and report commands.

    Args:
        asked: what the user has written.

    Returns:
        The exit code of the command that failed, or of the last; 4 where ``strict`` was asked for
        and a sensor was lost.

    Raises:
        UsageError: no command is named or one too many, an unknown suffix, or several runs for one
            trace.
    """
    commands = _commands(asked)
    check_seconds(asked.idle, "--idle", zero=True)
    check_seconds(asked.cool_down, "--cool-down", zero=True)
    design = Design(
        repeat=asked.repeat,
        warmup=asked.warmup,
        seed=asked.seed,
        cool_down_s=asked.cool_down,
        label=asked.label or (" ".join(asked.command) if asked.command else "A against B"),
        stdout=sys.stderr.fileno() if asked.json else None,
    )
    options: Options = {
        **asked.monitor,
        "strict": asked.strict,
        "busy": asked.busy.value,
        "on_wait": say,
    }
    if asked.trace is not None:
        check_suffix(asked.trace)
    check_figure(asked.plot)
    if len(commands) * (asked.repeat + asked.warmup) > 1 and (asked.trace or asked.plot):
        raise UsageError(
            "--trace and --plot are for a single run", "leave out --repeat and --compare"
        )
    with signals_survived(SURVIVED):
        return _measure(commands, options, design, asked)


def _commands(asked: Measure) -> list[Command]:
    if asked.compare is not None and asked.command:
        raise UsageError("--compare has its two commands already", "leave out the third")
    if asked.compare is not None:
        return list(asked.compare)
    if not asked.command:
        raise UsageError(
            "no command is named", "joulelab measure -- python train.py, or --compare A B"
        )
    return [asked.command]


def _measure(commands: Sequence[Command], options: Options, design: Design, asked: Measure) -> int:
    measured = _Measured(commands, design)
    with Monitor(**options) as monitor:
        idle_s = idle_duration_s(monitor) if asked.idle is None else asked.idle
        if idle_s:
            monitor.recorder.measure_idle(idle_s)
        trials = run_trials(commands, monitor, design, measured.tell)
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
        about = TraceAbout.of(monitor.recorder, design.label, last.window.started_at)
    show(measured.view(last.exit_code), as_json=asked.json, aside=True)
    if asked.trace is not None:
        write_trace(asked.trace, last.window.trace_columns(), about)
    if asked.plot is not None:
        from joulelab.report.power_trace import write_power_trace

        write_power_trace(asked.plot, last.window.trace_columns(), design.label)
    if last.exit_code == 0 and asked.strict and (why := measured.not_measured()):
        say(f"--strict: {why}")
        return NOT_MEASURED
    return last.exit_code


def one_measurement(measurement: Measurement) -> list[Part]:
    """One measurement, and how to learn its CO2e."""
    return [*measurement_parts(measurement), *_place_hint([measurement])]


@dataclass
class _Measured:
    """The measurements of one command, or of two.

    Attributes:
        commands: as they were given.
        design: how they were repeated.
        trials: those that count, each with its measurement.
    """

    commands: Sequence[Command]
    design: Design
    trials: list[tuple[Trial, Measurement]] = field(default_factory=list)

    def tell(self, trial: Trial) -> None:
        """Show the energy of each of several runs."""
        if len(self.commands) * (self.design.repeat + self.design.warmup) == 1:
            return
        measurement = trial.run.measurement
        name = f"{NAMES[trial.number]} " if len(self.commands) > 1 else ""
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
        """The energy of all runs, and which of two commands used less."""
        if self.design.repeat == 1 and len(self.commands) == 1:
            parts = [
                part for _, measurement in self.trials for part in one_measurement(measurement)
            ]
        else:
            parts = list(self._summary())
        return View(parts, lambda: self._data(exit_code))

    def _summary(self) -> Iterator[Part]:
        if len(self.commands) > 1:
            yield self._sentence()
        for number, command in enumerate(self.commands):
            name = f"{NAMES[number]}: " if len(self.commands) > 1 else ""
            if runs := self._runs(number):
                yield _summary_table(f"{name}{_line(command)}", runs)
        every = [one for _, one in self.trials]
        yield from dict.fromkeys(part for one in every for part in measurement_remarks(one))
        yield from dict.fromkeys(
            f"CO2e: {one.footprint.basis}" if one.co2e_g is not None else str(one.footprint)
            for one in every
            if one.footprint is not None
        )
        yield from _place_hint(every)

    def _status(self) -> Status:
        """The weakest status of all runs."""
        return Status.of_sum(one.total.status for _, one in self.trials)

    def _runs(self, number: int) -> list[Measurement]:
        return [one for trial, one in self.trials if trial.number == number]

    def _ratio(self, key: str) -> Interval | None:
        """The ratio of a quantity, A over B, from the blocks in which both have it."""
        from joulelab.analysis.comparison import ratio_interval

        by_block: dict[int, dict[int, float]] = {}
        for trial, measurement in self.trials:
            value = QUANTITIES[key].of(measurement)
            if value is not None and value > 0 and not trial.run.exit_code:
                by_block.setdefault(trial.block, {})[trial.number] = value
        both = [block for block in by_block.values() if len(block) == len(NAMES)]
        if not both:
            return None
        return ratio_interval([block[0] for block in both], [block[1] for block in both])

    def _sentence(self) -> str:
        ratio = self._ratio("gross_j")
        if ratio is None:
            return "A and B cannot be compared: no pair of runs has known energy"
        status = "" if self._status() is Status.MEASURED else f", {self._status()}"
        if math.isnan(ratio.low):
            return (
                f"A used {ratio.value:.3g} times the energy of B in one pair{status}; "
                "--repeat 10 would say how sure that is"
            )
        decimals = max(0, 1 - math.floor(math.log10(ratio.half_width))) if ratio.half_width else 2
        text = (
            f"A used {ratio.value:.{decimals}f} ± {ratio.half_width:.{decimals}f} times the energy "
            f"of B ({100 * ratio.confidence:.0f} % confidence {ratio.low:.{decimals}f} to "
            f"{ratio.high:.{decimals}f}, {formats.count(ratio.n, 'pair')}{status})"
        )
        duration = self._ratio("duration_s")
        if duration is not None:
            text += f" and took {duration.value:.3g} times as long"
        return text

    def _data(self, exit_code: int) -> dict[str, Any]:
        commands = [_line(command) for command in self.commands]
        data: dict[str, Any] = {"exit_code": exit_code}
        if len(commands) == 1:
            data["command"] = commands[0]
        if len(commands) == 1 and self.design.repeat == 1:
            # There is none where the command failed while it was run to warm up.
            measurement = next((measurement_data(one) for _, one in self.trials), None)
            return data | {"measurement": measurement}
        runs = [
            {
                "command": NAMES[trial.number] if len(commands) > 1 else commands[0],
                "block": trial.block,
                "exit_code": trial.run.exit_code,
                "measurement": measurement_data(measurement),
            }
            for trial, measurement in self.trials
        ]
        data |= {"runs": runs, "seed": self.design.seed}
        summaries = [_summary_data(self._runs(number)) for number in range(len(commands))]
        if len(commands) == 1:
            return data | {"summary": summaries[0]}
        return data | {
            "commands": dict(zip(NAMES, commands, strict=True)),
            "summary": dict(zip(NAMES, summaries, strict=True)),
            "ratio": {key: _interval_data(self._ratio(key)) for key in QUANTITIES},
            "sentence": self._sentence(),
        }


@dataclass(frozen=True)
class _Quantity:
    """A quantity summarised over several runs.

    Attributes:
        name: for people.
        form: how a value is written.
        of: from a measurement to the value; ``None`` where unknown.
    """

    name: str
    form: Callable[[float | None], str]
    of: Callable[[Measurement], float | None]

    def interval(self, runs: Sequence[Measurement]) -> Interval | None:
        """Mean and confidence interval over the runs that have it; ``None`` if none has."""
        from joulelab.analysis.comparison import mean_interval

        values = self.values(runs)
        return mean_interval(values) if values else None

    def values(self, runs: Sequence[Measurement]) -> list[float]:
        """The known values."""
        return [value for one in runs if (value := self.of(one)) is not None]


QUANTITIES = {
    "gross_j": _Quantity("gross", formats.joules, lambda one: one.total.gross_j),
    "net_j": _Quantity("net", formats.joules, lambda one: one.total.net_j),
    "idle_j": _Quantity("idle", formats.joules, lambda one: one.total.idle_j),
    "mean_power_w": _Quantity("mean power", formats.watts, lambda one: one.mean_power_w),
    "duration_s": _Quantity("duration", formats.duration, lambda one: one.duration_s),
    "co2e_g": _Quantity("CO2e", formats.grams, lambda one: one.co2e_g),
}


def _summary_table(title: str, runs: Sequence[Measurement]) -> Table:
    """One row per quantity, each in its own units."""
    rows = []
    for quantity in QUANTITIES.values():
        interval, form = quantity.interval(runs), quantity.form
        if interval is None:
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
    return Table(
        rows, [words(""), *(Column(name, wide=name == "n") for name in numbers)], title=title
    )


def _between(low: str, high: str) -> str:
    """Two values with their units, as a range: ``0.53 to 0.84 J``, ``0.90 J to 1.21 kJ``."""
    number, _, unit = low.partition(" ")
    return f"{number} to {high}" if high.partition(" ")[2] == unit else f"{low} to {high}"


def _summary_data(runs: Sequence[Measurement]) -> dict[str, Any]:
    status = Status.of_sum(one.total.status for one in runs) if runs else None
    intervals = {key: _interval_data(one.interval(runs)) for key, one in QUANTITIES.items()}
    return {"status": status, **intervals}


def _interval_data(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    names = ("value", "std", "low", "high", "confidence", "n")
    return {name: getattr(interval, name) for name in names}


def _place_hint(measurements: Sequence[Measurement]) -> list[str]:
    if all(one.footprint is not None for one in measurements):
        return []
    return ["CO2e unknown: name a place, for instance --place NLD"]


def _line(command: Command) -> str:
    return command if isinstance(command, str) else shlex.join(command)
