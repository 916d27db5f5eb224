"""The report of replayed tuning: that of green tuning, with every part marked as replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from joulelab import formats
from joulelab.kinds.green_tuning.report import GREEN_TUNING
from joulelab.present import Declared, Figure, Table
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report

MARK = "Replayed on recorded trials"


def origin(experiment: Experiment) -> str:
    """``Replayed on recorded trials, from energies that were estimated.``."""
    column = "recorded_energy_status"
    known = experiment.runs[column].unique() if column in experiment.runs else []
    statuses = [str(one) for one in known if one != "missing"]
    if not statuses:
        return f"{MARK}, which have no energies."
    return f"{MARK}, from energies that were {formats.listing(statuses)}; none is spent here."


def replayed(declared: Declared[Experiment, Any]) -> Declared[Experiment, Any]:
    """A table or a figure with a note of where its figures come from."""

    def make(experiment: Experiment) -> Table | Figure:
        made: Table | Figure = declared(experiment)
        return replace(made, note=f"{made.note} {origin(experiment)}".strip())

    make.__doc__ = declared.__doc__
    return Declared(declared.key, declared.title, make, declared.makes, folded=declared.folded)


def findings(of: Callable[[Experiment], Any]) -> Callable[[Experiment], list[str]]:
    """Findings that say that they are of a replay."""

    def said(experiment: Experiment) -> list[str]:
        found = of(experiment)
        listed = [found] if isinstance(found, str) else list(found)
        return [one if "replayed" in one.lower() else f"Replayed: {one}" for one in listed]

    return said


_OF = {one: replayed(one) for one in dict.fromkeys([*GREEN_TUNING.contents, *GREEN_TUNING.lead])}

REPLAYED_TUNING = Report(
    contents=[_OF[one] for one in GREEN_TUNING.contents],
    lead=[_OF[one] for one in GREEN_TUNING.lead],
    findings=findings(GREEN_TUNING.findings),
)
