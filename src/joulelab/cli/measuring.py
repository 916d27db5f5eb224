"""``joulelab measure``: what a command uses, once, repeated, or against another command."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from joulelab import formats
from joulelab.cli.output import print_json, progress_console
from joulelab.energy.command import (
    Command,
    Design,
    Trial,
    cool_down,
    idle_duration_s,
    run_trials,
)
from joulelab.energy.measurement import (
    TEXT_COLUMNS,
    Measurement,
    measurement_data,
    measurement_heading,
    measurement_table,
)
from joulelab.energy.monitor import Monitor, Options
from joulelab.energy.reading import Status
from joulelab.energy.traces.trace_file import TraceAbout, check_suffix, write_trace
from joulelab.errors import UsageError

if TYPE_CHECKING:
    from joulelab.analysis.comparison import Interval

NOT_MEASURED = 4
NAMES = ("A", "B")


@dataclass(frozen=True)
class Output:
    """Where the answer goes.

    Attributes:
        as_json: JSON to standard output, and what the commands print to standard error.
        trace: file for the power trace.
        plot: file for a picture of it.
    """

    as_json: bool = False
    trace: Path | None = None
    plot: Path | None = None

    def check(self, runs: int) -> None:
        """Refuse what could not be written, before anything is run.

        Args:
            runs: how many there will be.

        Raises:
            UsageError: a suffix unknown, or several runs for one trace.
        """
        if self.trace is not None:
            check_suffix(self.trace)
        check_picture(self.plot)
        if runs > 1 and (self.trace or self.plot):
            raise UsageError(
                "--trace and --plot are for a single run", "leave out --repeat and --compare"
            )


def check_picture(path: Path | None) -> None:
    """Refuse the name of a figure's file, if there is one, before anything is measured.

    Raises:
        UsageError: its suffix is not that of a figure.
    """
    if path is not None:
        from joulelab.present.style import figure_format

        figure_format(path)


def measure_commands(
    commands: Sequence[Command], options: Options, design: Design, idle_s: float, output: Output
) -> int:
    """Run, measure and report commands.

    Args:
        commands: one, or two to compare.
        options: of the monitor.
        design: how often they are run.
        idle_s: how long idle power is measured before and after; negative for as long as the
            sensors need.
        output: where the answer goes.

    Returns:
        The exit code of the command that failed, or of the last; 4 where ``strict`` was asked for
        and a sensor was lost.
    """
    output.check(len(commands) * (design.repeat + design.warmup))
    console = progress_console()
    with Monitor(**options) as monitor:
        idle_s = idle_duration_s(monitor) if idle_s < 0 else idle_s
        if idle_s:
            monitor.recorder.measure_idle(idle_s)
        answer = _Answer(commands, design, output, console)
        trials = run_trials(commands, monitor, design, answer.tell)
        if idle_s:
            cool_down(monitor, design.cool_down_s)
        last = trials[-1].run
        counted = [trial for trial in trials if not trial.warmed_up]
        before_w, before_error_w = dict(monitor.recorder.idle_w), monitor.recorder.idle_error_w
        after_w = dict(monitor.recorder.measure_idle(idle_s)) if idle_s else {}
        errors_w = (before_error_w, monitor.recorder.idle_error_w)
        answer.measured = [
            (trial, trial.run.measurement.with_idle(before_w, after_w, *errors_w))
            for trial in counted
        ]
        about = TraceAbout.of(monitor.recorder, design.label, last.window.started_at)
    answer.print(last.exit_code)
    if output.trace is not None:
        write_trace(output.trace, last.window.trace_columns(), about)
    if output.plot is not None:
        from joulelab.report.power_trace import write_power_trace

        write_power_trace(output.plot, last.window.trace_columns(), design.label)
    if last.exit_code == 0 and options.get("strict") and (why := answer.not_measured()):
        console.print(f"--strict: {why}", soft_wrap=True, markup=False)
        return NOT_MEASURED
    return last.exit_code


class _Answer:
    """What is said of trials, while they run and at the end."""

    def __init__(
        self, commands: Sequence[Command], design: Design, output: Output, console: Console
    ) -> None:
        self._commands = commands
        self._design = design
        self._output = output
        self._console = console
        self.measured: list[tuple[Trial, Measurement]] = []

    def tell(self, trial: Trial) -> None:
        """A line for each of several runs."""
        if len(self._commands) * (self._design.repeat + self._design.warmup) == 1:
            return
        measurement = trial.run.measurement
        name = f"{NAMES[trial.number]} " if len(self._commands) > 1 else ""
        which = "warm-up" if trial.warmed_up else f"run {trial.block + 1}"
        failed = f", exit code {trial.run.exit_code}" if trial.run.exit_code else ""
        self._console.print(
            f"{name}{which}: {formats.joules(measurement.energy_j)}, "
            f"{formats.duration(measurement.duration_s)}{failed}",
            style="dim",
        )

    def all_measured(self) -> bool:
        """Whether no figure is estimated or missing."""
        return all(one.total.status is Status.MEASURED for _, one in self.measured)

    def not_measured(self) -> str:
        """Which domains that should count have no measured figure, in words; empty for none."""
        lost = dict.fromkeys(one.domain for _, whole in self.measured for one in whole.lost)
        if lost:
            return f"not measured: {', '.join(lost)}; --domain names those that count"
        return "" if self.all_measured() else "the sum is not measured"

    def print(self, exit_code: int) -> None:
        """The tables, or JSON."""
        if self._output.as_json:
            print_json(self._data(exit_code))
        elif self._design.repeat == 1 and len(self._commands) == 1:
            for _, measurement in self.measured:
                print_measurement(measurement, self._console)
        else:
            self._print_summary()

    def _print_summary(self) -> None:
        for number, command in enumerate(self._commands):
            runs = self._runs(number)
            if runs:
                name = f"{NAMES[number]}: " if len(self._commands) > 1 else ""
                self._console.print(_summary_table(f"{name}{_line(command)}", runs))
        for note in dict.fromkeys(note for _, one in self.measured for note in notes(one)):
            self._console.print(note, style="dim", soft_wrap=True)
        if len(self._commands) > 1:
            self._console.print(self._sentence(), soft_wrap=True)

    def _runs(self, number: int) -> list[Measurement]:
        return [one for trial, one in self.measured if trial.number == number]

    def _pairs(self, values: str) -> tuple[list[float], list[float]]:
        """A figure of both commands in the blocks in which both have it."""
        by_block: dict[int, dict[int, float]] = {}
        for trial, measurement in self.measured:
            value = figures(measurement)[values]
            if value is not None and value > 0 and not trial.run.exit_code:
                by_block.setdefault(trial.block, {})[trial.number] = value
        both = [block for block in by_block.values() if len(block) == len(NAMES)]
        return [block[0] for block in both], [block[1] for block in both]

    def _ratio(self, values: str) -> Interval | None:
        from joulelab.analysis.comparison import ratio_interval

        first, second = self._pairs(values)
        return ratio_interval(first, second) if first else None

    def _sentence(self) -> str:
        ratio = self._ratio("gross_j")
        if ratio is None:
            return "A and B cannot be compared: there is no pair of runs with known energy"
        worst = _worst([measurement for _, measurement in self.measured])
        status = "" if self.all_measured() else f", {worst}"
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
        commands = [_line(command) for command in self._commands]
        data: dict[str, Any] = {"exit_code": exit_code}
        if len(commands) == 1:
            data["command"] = commands[0]
        if len(commands) == 1 and self._design.repeat == 1:
            return data | {"measurement": measurement_data(self.measured[0][1])}
        runs = [
            {
                "command": NAMES[trial.number] if len(commands) > 1 else commands[0],
                "block": trial.block,
                "exit_code": trial.run.exit_code,
                "measurement": measurement_data(measurement),
            }
            for trial, measurement in self.measured
        ]
        data |= {"runs": runs, "seed": self._design.seed}
        summaries = [_summary_data(self._runs(number)) for number in range(len(commands))]
        if len(commands) == 1:
            return data | {"summary": summaries[0]}
        return data | {
            "commands": dict(zip(NAMES, commands, strict=True)),
            "summary": dict(zip(NAMES, summaries, strict=True)),
            "ratio": {name: _interval_data(self._ratio(name)) for name in FIGURES},
            "sentence": self._sentence(),
        }


FIGURES = {
    "gross_j": ("gross", formats.joules),
    "net_j": ("net", formats.joules),
    "idle_j": ("idle", formats.joules),
    "mean_power_w": ("mean power", formats.watts),
    "duration_s": ("duration", formats.duration),
    "co2e_g": ("CO2e", formats.grams),
}


def figures(measurement: Measurement) -> dict[str, float | None]:
    """The figures of a whole measurement, by their names in JSON; ``None`` where unknown.

    Args:
        measurement: of one window.
    """
    total = measurement.total
    mean_w = None
    if total.gross_j is not None and measurement.duration_s > 0:
        mean_w = total.gross_j / measurement.duration_s
    return {
        "gross_j": total.gross_j,
        "net_j": total.net_j,
        "idle_j": total.idle_j,
        "mean_power_w": mean_w,
        "duration_s": measurement.duration_s,
        "co2e_g": measurement.co2e_g,
    }


def print_measurement(measurement: Measurement, console: Console) -> None:
    """Draw the table of one measurement.

    Args:
        measurement: of one window.
        console: where to.
    """
    drawn = measurement_table(measurement)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    numbers = [name for name in drawn.header if name not in TEXT_COLUMNS]
    table.add_column("domain")
    for name in numbers:
        table.add_column(name.replace(" (", "\n("), justify="right", no_wrap=True)
    for position, row in enumerate(drawn.rows):
        cells = dict(zip(drawn.header, row, strict=True))
        origin = ", ".join(filter(None, (cells["source"], cells["status"])))
        table.add_row(
            f"{cells['domain']}\n[dim]{origin}[/dim]",
            *(cells[name] for name in numbers),
            end_section=position == len(drawn.rows) - 1,
        )
    if drawn.sum:
        cells = dict(zip(drawn.header, drawn.sum, strict=True))
        name = f"{cells['domain']}\n[dim]{cells['status']}[/dim]"
        table.add_row(name, *(cells[name] for name in numbers), style="bold")
    console.print(measurement_heading(measurement), style="bold", soft_wrap=True, markup=False)
    console.print(table)
    for note in notes(measurement):
        console.print(note, style="dim", soft_wrap=True)


def notes(measurement: Measurement) -> list[str]:
    """What is to be said of a measurement beside its table.

    Args:
        measurement: of one window.
    """
    said = list(measurement_table(measurement).notes)
    if measurement.footprint is None:
        said.append("CO2e unknown: name a place, for instance --place NLD")
    return said


def _summary_table(title: str, runs: Sequence[Measurement]) -> Table:
    from joulelab.analysis.comparison import mean_interval

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("")
    for name in ("mean", "sd", "95 % confidence", "least", "most", "n"):
        table.add_column(name, justify="right")
    for key, (label, show) in FIGURES.items():
        values = [value for one in runs if (value := figures(one)[key]) is not None]
        if not values:
            continue
        interval = mean_interval(values)
        known = len(values) > 1
        between = f"{show(interval.low)} to {show(interval.high)}" if known else formats.DASH
        table.add_row(
            label,
            show(interval.value),
            show(interval.std) if known else formats.DASH,
            between,
            show(min(values)),
            show(max(values)),
            str(len(values)),
        )
    return table


def _summary_data(runs: Sequence[Measurement]) -> dict[str, Any]:
    from joulelab.analysis.comparison import mean_interval

    summary: dict[str, Any] = {"status": _worst(runs)}
    for key in FIGURES:
        values = [value for one in runs if (value := figures(one)[key]) is not None]
        summary[key] = _interval_data(mean_interval(values) if values else None)
    return summary


def _worst(runs: Sequence[Measurement]) -> str | None:
    return Status.of_sum(one.total.status for one in runs) if runs else None


def _interval_data(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    return {
        "value": interval.value,
        "std": interval.std,
        "low": interval.low,
        "high": interval.high,
        "confidence": interval.confidence,
        "n": interval.n,
    }


def _line(command: Command) -> str:
    import shlex

    return command if isinstance(command, str) else shlex.join(command)


def stdout_of_commands(*, as_json: bool) -> int | None:
    """Where commands print: standard output, unless that is wanted for JSON.

    Args:
        as_json: whether it is.
    """
    return sys.stderr.fileno() if as_json else None
