"""``joulelab plan``, and the plan at the start of ``joulelab run``.

A plan is predicted by timing parts of the study, or from stored runs alone.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from joulelab import formats
from joulelab.cli.output import say
from joulelab.cli.predicting import stored_on
from joulelab.energy.reading import Status
from joulelab.errors import UsageError
from joulelab.execution.waiting import at_once, makespan_s, workers_of
from joulelab.forecast.history import Selection, results_folders
from joulelab.forecast.study_history import StudyForecast, study_forecast
from joulelab.kinds.training.spec import TrainingKeys
from joulelab.present import Column, Part, Remark, Table, View, words
from joulelab.study.database import DATABASE
from joulelab.study.listener import Listener, WorkloadSummary
from joulelab.study.plan import DONE, Plan
from joulelab.study.prediction import Cost, Prediction
from joulelab.study.results import Results
from joulelab.study.spec import StudySpec
from joulelab.study.study import Study
from joulelab.study.study_file import results_folder
from joulelab.study.trust import STUDY

LONG_S = 24 * 3600.0
MINIATURE_S = 1800.0
"""A study longer than `LONG_S` is offered as a miniature of about `MINIATURE_S`."""


def timed(study: Study, folders: Sequence[Path] | None = None, on: str | None = None) -> View:
    """What a study would run, with time and energy predicted by timing parts of it.

    Args:
        study: the study.
        folders: stored runs to predict from as well; default: all in ``joulelab-out``.
        on: engine of the workers; default: that of the study, or this process.
    """
    results_folders(folders or ())  # refuses one that does not exist, before anything is timed
    on = on or (study.spec.execution.on if study.spec.execution else None)
    count = None if on is None else workers_of(on, study.spec.execution)
    listener = _Waiting()
    plan, prediction = study.predict(listener)
    history = _beside(study, listener.summaries, folders)
    states = study.states()
    parts = plan_parts(study.spec, plan, prediction, states, listener.summaries)
    workers = None
    if on is not None and count is not None:
        together = at_once(on, study.spec.execution, listener.devices)
        workers = _on_workers(count, together, plan, prediction, states)
    return View(
        [
            *parts,
            *([workers[0]] if workers else ()),
            *(_stored_in_words(history) if history else ()),
        ],
        lambda: {
            **_plan_data(study.spec, plan, prediction, states, listener.summaries),
            "stored_runs": None if history is None else history.to_dict(),
            **(workers[1] if workers else {}),
        },
    )


def _on_workers(
    workers: int, together: int, plan: Plan, prediction: Prediction, states: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """The predicted time on workers like this machine, in words and as data."""
    pending = {run.run_id for run in plan.left(states)}
    seconds = makespan_s(plan, prediction, pending, together)
    count = formats.count(workers, "worker")
    said = (
        f"on {count} like this machine: about {formats.duration(seconds)} and the same energy, "
        "beside loading the study on each"
    )
    if together < workers:
        said += (
            f"; runs take turns, {together} at a time, for they share sensors of this machine "
            "(joulelab help cluster)"
        )
    return said, {"workers": workers, "at_once": together, "workers_duration_s": seconds}


def finished(study: str | Path) -> View | None:
    """What a finished study has used, without loading its code; ``None`` if runs are left.

    Args:
        study: as given by the user; only a results folder can be finished.
    """
    folder = results_folder(study)
    if folder is None or not (folder / DATABASE).exists():
        return None
    results = Results.open(folder)
    runs = results.to_frame()
    if runs.empty or not runs["state"].isin(DONE).all():
        return None
    ledger = results.ledger_frame()
    ended_at = float((ledger["started_at"] + ledger["duration_s"].fillna(0)).max())
    known = ledger["energy_gross_j"].dropna()
    joules = float(known.sum()) if len(known) else None
    count, failed = len(runs), int((runs["state"] == "failed").sum())
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(ended_at))
    failures = f"; {failed} failed" if failed else ""
    said = f"finished: {count:,} of {formats.count(count, 'run')}{failures}"
    return View(
        [
            f"{said}; ended {when}; {formats.joules(joules)} gross in all",
            f"joulelab report {folder} shows the results; to run the study once more: "
            f"joulelab run {folder / STUDY} --out NEW",
        ],
        {
            "study": results.spec,
            "runs": 0,
            "done": count,
            "failed": failed,
            "ended_at": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(ended_at)),
            "ledger_energy_gross_j": joules,
            "configurations": [],
            "order": [],
        },
    )


def untimed(study: Study, folders: Sequence[Path] | None, device: str) -> View:
    """Time and energy of a study from stored runs alone; nothing is timed.

    Args:
        study: the study.
        folders: results to learn from; default: all in ``joulelab-out``.
        device: the hardware to predict for.

    Raises:
        UsageError: the stored runs do not allow a prediction.
    """
    plan = study.plan()
    found = study_forecast(study.spec, plan, _stored(study, device, folders), study.data_dir)
    if found.total is None:
        raise UsageError(
            f"stored runs on {found.selection.hardware} cannot predict {study.spec.name}: "
            f"{found.reason}",
            "leave out --untimed to time parts of it here",
        )
    counts = Counter((run.experiment, run.configuration) for run in plan.runs)
    rows = [
        {"configuration": key[1], "runs": counts[key], **vars(forecast)}
        for key, forecast in found.by_configuration.items()
    ]
    columns = [
        words("configuration"),
        Column("runs"),
        Column("energy of one", "energy_j", formats.joules),
        Column("95 % interval", ("energy_low_j", "energy_high_j"), formats.joules_range),
        Column("time of one", "duration_s", formats.duration),
    ]
    title = f"{study.spec.name}, from stored runs alone"
    return View(
        [Table(rows, columns, title=title), *_stored_in_words(found)],
        {"study": study.spec.to_dict(), "runs": len(plan.runs), "stored_runs": found.to_dict()},
    )


def plan_parts(
    spec: StudySpec,
    plan: Plan,
    prediction: Prediction,
    states: Mapping[str, str],
    summaries: Sequence[WorkloadSummary],
) -> list[Part]:
    """The plan as a table of experiments, with the time and energy left for each.

    Args:
        spec: the study.
        plan: all of it.
        prediction: of the configurations with runs left.
        states: of runs known from earlier sessions.
        summaries: of each workload.
    """
    experiments = spec.experiments()
    counted = {name: 0 for one in experiments.values() for name in one.counts()}
    rows = []
    for name, factors in plan.factors.items():
        runs = [run for run in plan.runs if run.experiment == name]
        left = [run for run in runs if states.get(run.run_id) not in DONE]
        cost = prediction.total(left)
        configurations = sum(c.experiment == name for c in plan.configurations)
        counts = [configurations, *experiments[name].counts().values()]
        rows.append(
            {
                "experiment": name,
                "factors": " x ".join(factors),
                "counts": " x ".join(map(str, counts)),
                "runs": len(runs),
                "done": len(runs) - len(left),
                "duration_s": cost.duration_s if left else None,
                "energy_j": cost.energy_j if left else None,
                "left": len(left),
            }
        )
    columns = [
        words("experiment"),
        words("factors"),
        words(" x ".join(["configurations", *counted]), "counts"),
        Column("runs"),
        Column("done"),
        Column("time left", ("left", "duration_s"), _if_left(formats.duration)),
        Column("energy left", ("left", "energy_j"), _if_left(formats.joules)),
    ]
    title = f"Plan of {spec.name} ({'; '.join(one.means for one in summaries)})"
    parts: list[Part] = [Table(rows, columns, title=title)]
    if not (left := plan.left(states)):
        return parts
    total = prediction.total(left)
    bases = " and ".join(one.basis for one in summaries)
    parts += [
        f"in all {_runs_in_words(len(left), summaries)}: about {_time(total)} and {_energy(total)}",
        f"predicted from {bases}; ranges are 95 % prediction intervals, "
        "assuming the machine's load stays the same",
    ]
    if sentence := spec.miniature_in_words(_train_images(summaries)):
        parts.append(sentence)
    elif total.duration_s > LONG_S:
        parts.append(
            f"that is long for this machine: --scale {_fitting(total)} makes a miniature that does "
            "this share of the work"
        )
    return parts


def _if_left(form: Callable[[float | None], str]) -> Callable[[int, float | None], str]:
    return lambda left, value: form(value) if left else "-"


def remarks(summaries: Sequence[WorkloadSummary]) -> list[Remark]:
    """Where a workload deviates from what was requested."""
    return [Remark(one.remark) for one in summaries if one.remark]


def _runs_in_words(count: int, summaries: Sequence[WorkloadSummary]) -> str:
    """``36 trainings of 25 epochs on digits (1,500 training and 297 test images)``."""
    if len(summaries) == 1:
        return f"{formats.count(count, summaries[0].noun)} {summaries[0].extent}"
    parts = "; ".join(f"{formats.plural(one.noun)} {one.extent}" for one in summaries)
    return f"{formats.count(count, 'run')} ({parts})"


def _train_images(summaries: Sequence[WorkloadSummary]) -> tuple[int, int] | None:
    """The number of training images used, and available."""
    return next((one.train_images for one in summaries if one.train_images), None)


def _time(cost: Cost) -> str:
    between = formats.duration_range(cost.duration_low_s, cost.duration_high_s)
    return f"{formats.duration(cost.duration_s)} ({between})"


def _energy(cost: Cost) -> str:
    if cost.energy_j is None:
        return "energy unknown"
    remarks = [] if cost.status is Status.MEASURED else [str(cost.status)]
    if cost.energy_high_j is None:
        remarks.append("how far that may be wrong is unknown")
    else:
        remarks.append(formats.joules_range(cost.energy_low_j, cost.energy_high_j))
    return f"{formats.joules(cost.energy_j)} ({'; '.join(remarks)})"


def _fitting(cost: Cost) -> str:
    """The scale, a power of ten, at which the work would take minutes here."""
    return formats.number(10.0 ** math.floor(math.log10(MINIATURE_S / cost.duration_s)))


def _plan_data(
    spec: StudySpec,
    plan: Plan,
    prediction: Prediction,
    states: Mapping[str, str],
    summaries: Sequence[WorkloadSummary],
) -> dict[str, Any]:
    left = plan.left(states)
    total = prediction.total(left)
    costs = prediction.by_configuration
    return {
        "study": spec.to_dict(),
        "scale": spec.scale,
        "miniature": spec.miniature_in_words(_train_images(summaries)),
        **{key: value for one in summaries for key, value in one.data.items()},
        "configurations": [
            {
                "experiment": one.experiment,
                "configuration": one.name,
                "levels": dict(one.levels),
                **next(
                    (
                        b.by_configuration[one.key]
                        for b in summaries
                        if one.key in b.by_configuration
                    ),
                    {},
                ),
                "runs": sum((run.experiment, run.configuration) == one.key for run in left),
                **costs[one.experiment, one.name].to_dict(),
            }
            for one in plan.configurations_left(states)
        ],
        "order": [run.run_id for run in left],
        "runs": len(left),
        "done": len(plan.runs) - len(left),
        "total": total.to_dict(),
    }


def _beside(
    study: Study, summaries: Sequence[WorkloadSummary], folders: Sequence[Path] | None
) -> StudyForecast | None:
    """The forecast from stored runs of this machine, beside the timed one; ``None`` without any.

    Unless folders are named, only studies that train networks have one.

    Args:
        study: the study.
        summaries: which engine trains which configuration.
        folders: results to learn from; default: all in ``joulelab-out``.

    Raises:
        UsageError: a folder that was named does not exist.
    """
    if folders is None and not isinstance(study.spec, TrainingKeys):
        return None
    selection = _stored(study, study.spec.device, folders)
    if selection.runs.empty and folders is None:
        return None
    engines = {
        key: str(told["engine"])
        for one in summaries
        for key, told in one.by_configuration.items()
        if "engine" in told
    }
    return study_forecast(study.spec, study.plan(), selection, study.data_dir, engines)


def _stored_in_words(found: StudyForecast) -> Iterator[str]:
    """The forecast from stored runs, and its error.

    Args:
        found: of a study.
    """
    if found.total is None or found.learnt is None:
        yield f"stored runs cannot predict it: {found.reason}"
        return
    total, stored = found.total, found.learnt.stored
    energy = formats.joules_range(total.energy_low_j, total.energy_high_j)
    time = formats.duration_range(total.duration_low_s, total.duration_high_s)
    yield (
        f"from {formats.count(stored.runs, 'stored run')} of "
        f"{formats.count(stored.groups, 'configuration')} on {found.selection.hardware}: "
        f"{formats.joules(total.energy_j)} {'net' if found.selection.net else 'gross'} ({energy}) "
        f"and {formats.duration(total.duration_s)} of training ({time}); "
        f"{formats.percent(found.mape)} off in cross-validation"
    )
    if found.outside:
        yield (
            f"warning: beyond what the stored runs have seen in {formats.listing(found.outside)}; "
            "the interval is wider for that"
        )


def _stored(study: Study, device: str, folders: Sequence[Path] | None) -> Selection:
    threads = study.spec.threads
    return stored_on(device, folders, None if threads == "auto" else threads)


class _Waiting(Listener):
    """Reports on standard error what is being done."""

    summaries: Sequence[WorkloadSummary]
    devices: Sequence[str] = ()

    def measuring(self, devices: Sequence[str]) -> None:
        self.devices = devices

    def loaded(self, summaries: Sequence[WorkloadSummary]) -> None:
        self.summaries = summaries
        for one in remarks(summaries):
            say(one.text, "yellow")

    def doing(self, what: str) -> None:
        say(f"{what} ...", "dim")
