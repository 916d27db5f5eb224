"""``joulelab plan``, and the plan that stands at the beginning of ``joulelab run``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from joulelab import formats
from joulelab.cli.output import data_console, print_json, progress_console
from joulelab.energy.reading import Status
from joulelab.study.engine_choice import EngineChoice
from joulelab.study.listener import Listener
from joulelab.study.plan import Plan
from joulelab.study.prediction import Cost, Prediction
from joulelab.study.runner import DONE
from joulelab.study.spec import StudySpec
from joulelab.study.store import PlannedRun
from joulelab.study.study import Study


def print_plan(study: Study, *, as_json: bool) -> None:
    """Print what a study would run, with predicted time and energy."""
    listener = _Waiting()
    plan, prediction = study.predict(listener)
    if as_json:
        print_json(_plan_data(study.spec, plan, prediction, listener.engines))
        return
    show_plan(data_console(), study.spec, plan, prediction, {}, listener.engines)


def show_plan(
    console: Console,
    spec: StudySpec,
    plan: Plan,
    prediction: Prediction,
    states: Mapping[str, str],
    engines: EngineChoice,
) -> None:
    """Draw the plan as a table of experiments, each with what is left and what it will cost.

    Args:
        console: where to.
        spec: the study.
        plan: all of it.
        prediction: of the configurations that have runs left.
        states: of runs that an earlier session has seen.
        engines: what trains which configuration.
    """
    title = f"plan of {spec.name} ({engines.words})"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("experiment")
    table.add_column("configurations x rounds x repetitions")
    for column in ("runs", "done", "time left", "energy left"):
        table.add_column(column, justify="right")
    experiments = spec.experiments()
    for name, factors in plan.factors.items():
        runs = [run for run in plan.runs if run.experiment == name]
        left = _left(runs, states)
        cost = prediction.total(left)
        configurations = sum(c.experiment == name for c in plan.configurations)
        experiment = experiments[name]
        table.add_row(
            name,
            f"{configurations} x {experiment.rounds} x {experiment.repetitions}\n"
            f"[dim]{' x '.join(factors)}[/dim]",
            str(len(runs)),
            str(len(runs) - len(left)),
            formats.duration(cost.duration_s) if left else "-",
            formats.joules(cost.energy_j) if left else "-",
        )
    left = _left(plan.runs, states)
    console.print(table)
    if left:
        total = prediction.total(left)
        console.print(
            f"in all {len(left)} trainings of {spec.epochs} epochs on {spec.dataset}"
            f"{_thinning(spec)}: about {formats.duration(total.duration_s)} and {_energy(total)}, "
            "predicted from a few steps of each network",
            soft_wrap=True,
        )


def show_remark(console: Console, engines: EngineChoice) -> None:
    """Say where the engine is not the one that was asked for; the line stays."""
    if engines.remark:
        console.print(Text(engines.remark, style="yellow"), soft_wrap=True)


def _left(runs: Sequence[PlannedRun], states: Mapping[str, str]) -> list[PlannedRun]:
    return [run for run in runs if states.get(run.run_id) not in DONE]


def _thinning(spec: StudySpec) -> str:
    if spec.train_images == "all" and spec.test_images == "all":
        return ""
    return f" (at most {spec.train_images} training and {spec.test_images} test images)"


def _energy(cost: Cost) -> str:
    if cost.energy_j is None:
        return "energy unknown"
    mark = "" if cost.status is Status.MEASURED else " (estimated)"
    return f"{formats.joules(cost.energy_j)}{mark}"


def _plan_data(
    spec: StudySpec, plan: Plan, prediction: Prediction, engines: EngineChoice
) -> dict[str, Any]:
    total = prediction.total(plan.runs)
    return {
        "study": spec.to_dict(),
        "configurations": [
            {
                "experiment": one.experiment,
                "configuration": one.name,
                "levels": dict(one.levels),
                "engine": engines.of(one),
                "runs": one.rounds * one.repetitions,
                **_cost_data(prediction.by_configuration[one.experiment, one.name]),
            }
            for one in plan.configurations
        ],
        "precision": engines.precision,
        "engine_remark": engines.remark,
        "order": [run.run_id for run in plan.runs],
        "runs": len(plan.runs),
        "total": _cost_data(total),
    }


def _cost_data(cost: Cost) -> dict[str, Any]:
    return {
        "duration_s": cost.duration_s,
        "energy_net_j": cost.energy_j,
        "energy_status": str(cost.status),
    }


class _Waiting(Listener):
    """Says on standard error what the user is waiting for."""

    engines: EngineChoice

    def __init__(self) -> None:
        self._console = progress_console()

    def engines_chosen(self, choice: EngineChoice) -> None:
        self.engines = choice
        show_remark(self._console, choice)

    def doing(self, what: str) -> None:
        self._console.print(f"{what} ...", style="dim", soft_wrap=True)
