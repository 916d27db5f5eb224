"""``joulelab run``: the plan, progress while it runs, tables and the report at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from joulelab import formats
from joulelab.cli.inspecting import reported
from joulelab.cli.live_pages import asked_place, shown_beside
from joulelab.cli.options import default_folder
from joulelab.cli.output import check_folder, progress_console, say, show
from joulelab.cli.planning import plan_parts, remarks
from joulelab.cli.run_log import study_log
from joulelab.cli.signals import end_on_sigterm
from joulelab.cli.study_commands import load_study
from joulelab.energy.reading import Status, Total
from joulelab.present import View
from joulelab.present.terminal import print_view
from joulelab.study.executor import Heartbeat
from joulelab.study.listener import Listener, Listeners, WorkloadSummary
from joulelab.study.plan import Plan
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Prediction
from joulelab.study.spec import StudySpec
from joulelab.study.study import Study

if TYPE_CHECKING:
    from joulelab.cli.study_commands import Run
    from joulelab.kinds.searching.so_far import SoFar
    from joulelab.sinks.study_log import StudyLog

SOME_RUNS_FAILED = 3
QUIET_LINE_S = 10.0
"""Shortest time between lines of progress where it cannot be drawn in place."""


def run_command(asked: Run) -> int:
    """Load a study and run it, as `run_study`.

    Args:
        asked: the options of the command.
    """
    place = asked_place(asked.host, asked.port, live=asked.live, user="joulelab run --live")
    check_folder(asked.out)
    folder = asked.out or default_folder(asked.study, asked.set_ or [], asked.scale)
    wanted = (asked.study, asked.set_, asked.plugin, asked.data_dir, asked.scale)
    study = load_study(*wanted, trust=asked.trust)
    log = study_log(folder, asked.to) if asked.to else None
    kinds = [str(table["kind"]) for table in study.spec.experiment.values()]
    with shown_beside(folder, place, kinds):
        return run_study(
            study, folder, as_json=asked.json, verbose=asked.verbose, log=log, on=asked.on
        )


def run_study(
    study: Study,
    folder: Path,
    *,
    as_json: bool,
    verbose: bool = False,
    log: StudyLog | None = None,
    on: str | None = None,
) -> int:
    """Run a study into a folder, print its tables, write its report.

    Args:
        study: what to run.
        folder: its results folder.
        as_json: JSON instead of tables on standard output.
        verbose: a line for each run.
        log: of the runs, elsewhere.
        on: engine of the workers; default: this process.

    Returns:
        The exit code: 0, or 3 if runs failed.
    """
    end_on_sigterm()
    display = _Display(progress_console(), verbose=verbose)
    try:
        with display, log or nullcontext():
            results = study.run(folder, Listeners(display, log) if log else display, on)
    except KeyboardInterrupt:
        say(f"interrupted; what had finished is in {folder}: run the same command again to go on")
        raise
    from joulelab.report.ledger import ReportedStudy  # draws figures: not before the study begins
    from joulelab.report.pages import brief_view

    show(reported(ReportedStudy(results), brief_view), as_json=as_json)
    if failed := results.failed():
        say(f"{formats.count(failed, 'run')} failed; `joulelab status {folder}` says why", "red")
        return SOME_RUNS_FAILED
    return 0


class RunNames:
    """Names the runs of a plan by what tells them apart: round, repetition, or neither.

    Args:
        planned: all of them.
    """

    def __init__(self, planned: Sequence[PlannedRun]) -> None:
        self._in_rounds = {run.experiment for run in planned if run.round}
        self._repetitions: dict[tuple[str, str], int] = {}
        for run in planned:
            key = (run.experiment, run.configuration)
            self._repetitions[key] = max(self._repetitions.get(key, 1), run.repetition + 1)

    def of(self, runs: Sequence[PlannedRun]) -> str:
        """``tuning: tpe, round 3``, ``mine: n=1, repetition 2 of 5``.

        Args:
            runs: one, or several of one configuration that run together.
        """
        first = runs[0]
        said = f"{first.experiment}: {first.configuration}"
        if first.experiment in self._in_rounds:
            said += f", {_numbers('round', [run.round for run in runs])}"
        repetitions = self._repetitions[first.experiment, first.configuration]
        if repetitions > 1:
            numbers = _numbers("repetition", [run.repetition for run in runs])
            said += f", {numbers} of {repetitions}"
        return said


def _numbers(noun: str, found: Sequence[int]) -> str:
    """Numbers for people: ``round 1``, ``rounds 1 to 3``."""
    first, last = min(found) + 1, max(found) + 1
    return f"{noun} {first}" if first == last else f"{formats.plural(noun)} {first} to {last}"


class _Display(Listener):
    """Draws the plan, then a line of progress: what runs, energy so far, time left."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self.console = console
        self._verbose = verbose
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[energy]}"),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, energy="", left="", visible=False)
        self._spec: StudySpec
        self._plan: Plan
        self._named: RunNames
        self._summaries: Sequence[WorkloadSummary]
        self._states: dict[str, str] = {}
        self._prediction: Prediction | None = None
        self._joules = self._search_j = 0.0
        self._what = self._mark = self._search = ""
        self._predicted_s = self._taken_s = self._began_s = 0.0
        self._running: dict[str, PlannedRun] = {}
        self._done_here = 0
        self._last_line = 0.0

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def laid_out(self, spec: StudySpec, plan: Plan, states: Mapping[str, str]) -> None:
        self._spec, self._plan, self._states = spec, plan, dict(states)
        self._named = RunNames(plan.runs)
        done = self._done()
        begun = f", {done} of them done already" if done else ""
        self.console.print(
            f"{spec.name}: {formats.count(len(plan.runs), 'run')}{begun}", soft_wrap=True
        )

    def loaded(self, summaries: Sequence[WorkloadSummary]) -> None:
        self._summaries = summaries
        print_view(View(remarks(summaries)), self.console)

    def doing(self, what: str) -> None:
        self.console.print(f"{what} ...", style="dim", soft_wrap=True)

    def predicted(self, prediction: Prediction) -> None:
        self._prediction = prediction
        parts = plan_parts(self._spec, self._plan, prediction, self._states, self._summaries)
        print_view(View(parts), self.console)
        self._progress.update(
            self._task, total=len(self._plan.runs), completed=self._done(), visible=True
        )

    def started(self, runs: Sequence[PlannedRun]) -> None:
        self._running |= {run.run_id: run for run in runs}
        self._began_s = self._began_s or time.monotonic()
        self._what = self._named.of(runs)
        if len(self._running) > len(runs):
            self._what = f"{len(self._running)} runs under way"
        self._progress.update(self._task, description=self._what)

    def progress(self, heartbeat: Heartbeat, total: Total) -> None:
        self._show(self._joules + self._search_j + (total.gross_j or 0.0))

    def searching(self, so_far: SoFar) -> None:
        first = next(iter(self._running.values()))
        spec = self._spec.experiments()[first.experiment]
        self._search = f"; {so_far.words(getattr(spec, 'sign', 1.0))}"
        self._search_j = so_far.joules or 0.0
        self._progress.update(self._task, description=f"{self._what}{self._search}")
        self._show(self._joules + self._search_j)

    def finished(self, rows: Sequence[Mapping[str, Any]], total: Total) -> None:
        self._joules += total.gross_j or 0.0
        self._search_j, self._search = 0.0, ""
        self._mark = "" if total.status is Status.MEASURED else f" ({total.status})"
        if self._began_s:
            self._taken_s += time.monotonic() - self._began_s
        for row in rows:
            run = self._running.pop(row["run_id"])
            self._done_here += 1
            self._states[run.run_id] = row["state"]
            if self._prediction is not None:
                self._predicted_s += self._prediction.of(run).duration_s
            if row["state"] == "failed":
                say(f"failed: {run.run_id}: {row['error']}")
            elif self._verbose:
                energy, took = row["energy_gross_j"], row["duration_s"]
                self.console.print(
                    f"{self._named.of([run])}: {formats.joules(energy)}, {formats.duration(took)}",
                    soft_wrap=True,
                )
        self._began_s = time.monotonic() if self._running else 0.0
        self._progress.update(self._task, completed=self._done())
        self._show(self._joules)

    def _show(self, joules: float) -> None:
        energy = f"{formats.joules(joules)}{self._mark}"
        left_s = self._left_s()
        left = f"{formats.duration(left_s)} left" if formats.known(left_s) else ""
        self._progress.update(self._task, energy=energy, left=left)
        if self._progress.disable and time.monotonic() - self._last_line > QUIET_LINE_S:
            self._last_line = time.monotonic()
            runs = f"{self._done()} of {len(self._plan.runs)} runs"
            line = ", ".join(part for part in (runs, energy, left) if part)
            self.console.print(f"{line}{self._search}", soft_wrap=True, highlight=False)

    def _done(self) -> int:
        return len(self._plan.runs) - len(self._plan.left(self._states))

    def _left_s(self) -> float:
        """Predicted time of the remaining runs, corrected by the error of the prediction so far."""
        left = self._plan.left(self._states)
        if self._prediction is None:
            return self._taken_s / self._done_here * len(left) if self._done_here else math.nan
        correction = self._taken_s / self._predicted_s if self._predicted_s else 1.0
        return self._prediction.total(left).duration_s * correction
