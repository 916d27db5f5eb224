"""What stored runs say of a study, beside the plan or in place of timing anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from joulelab import formats
from joulelab.cli.predicting import stored_on
from joulelab.errors import UsageError
from joulelab.forecast.history import Selection, results_folders
from joulelab.forecast.study_history import StudyForecast, study_forecast
from joulelab.kinds.training.spec import TrainingKeys
from joulelab.present import Column, Table, View, words
from joulelab.study.listener import WorkloadSummary
from joulelab.study.study import Study


def untimed(study: Study, folders: Sequence[Path] | None, device: str) -> View:
    """What stored runs say of a study; nothing is timed.

    Args:
        study: the study.
        folders: results to learn from; all in ``joulelab-out`` where ``None``.
        device: the hardware that it is for.

    Raises:
        UsageError: stored runs say nothing of it.
    """
    plan = study.plan()
    found = study_forecast(study.spec, plan, _stored(study, device, folders), study.data_dir)
    if found.total is None:
        raise UsageError(
            f"stored runs on {found.selection.hardware} say nothing of {study.spec.name}: "
            f"{found.reason}",
            "leave out --untimed, and parts of it are timed here",
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
        [Table(rows, columns, title=title), *sentences(found)],
        {"study": study.spec.to_dict(), "runs": len(plan.runs), "stored_runs": found.to_dict()},
    )


def check_folders(folders: Sequence[Path] | None) -> None:
    """Refuse a folder that does not exist, before anything is timed.

    Args:
        folders: that the user has named.

    Raises:
        UsageError: one does not exist.
    """
    results_folders(folders or ())


def beside(
    study: Study, summaries: Sequence[WorkloadSummary], folders: Sequence[Path] | None
) -> StudyForecast | None:
    """What stored runs of this machine say of a study that was timed; ``None`` where there is none.

    Unless folders are named, nothing is looked for where nothing trains.

    Args:
        study: the study.
        summaries: which engine trains which configuration.
        folders: results to learn from; all in ``joulelab-out`` where ``None``.

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


def sentences(found: StudyForecast) -> Iterator[str]:
    """What stored runs say, and how far that may be trusted.

    Args:
        found: of a study.
    """
    if found.total is None or found.learnt is None:
        yield f"stored runs say nothing of it: {found.reason}"
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


def data(found: StudyForecast | None) -> dict[str, Any] | None:
    """For the JSON of a plan."""
    return None if found is None else found.to_dict()
