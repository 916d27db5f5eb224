"""The report of replayed tuning: that of green tuning, with every part marked as replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from joulelab.kinds.green_tuning.report import GREEN_TUNING
from joulelab.present import Declared, Figure, Table, Unavailable
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report

NOT_SHOWN = ("optimism",)
"""Tables about fresh trainings, of which a replay has none."""
WITHOUT_COSTS = ("strategies", "chosen", "cost")
WORDS = {
    "fresh trainings of what a search chose, on the test images": (
        "all recorded repetitions of what a search chose, by the column that judges"
    ),
    "Every joule of the searches.": (
        "Recorded joules alone; what the tuner has used here is in the ledger of the study."
    ),
    "The tuner's own energy is counted in, judging is not.": (
        "The tuner's own energy is not counted in: it is of another machine."
    ),
}
"""What is said of trainings, and what of a replay instead."""
MARK = "Replayed on recorded trials."


def replayed(declared: Declared[Experiment, Any]) -> Declared[Experiment, Any]:
    """A table or a figure with a note that says that it is of a replay."""

    def make(experiment: Experiment) -> Table | Figure:
        if declared.key not in WITHOUT_COSTS:
            _check_costs(experiment)
        made: Table | Figure = declared(experiment)
        note = made.note
        for trained, read in WORDS.items():
            note = note.replace(trained, read)
        return replace(made, note=note if "replayed" in note else f"{note} {MARK}".strip())

    make.__doc__ = declared.__doc__
    return Declared(declared.key, declared.title, make, declared.makes, folded=declared.folded)


def _check_costs(experiment: Experiment) -> None:
    """Check that all searches have joules, or all have seconds.

    Raises:
        Unavailable: they have not.
    """
    runs = experiment.runs
    if len(runs) and not any(runs[one].notna().all() for one in ("energy_gross_j", "duration_s")):
        raise Unavailable(
            "the tables have neither all joules nor all seconds, so costs cannot be compared; "
            "give tables with the same costs an experiment each."
        )


def findings(of: Callable[[Experiment], Any]) -> Callable[[Experiment], list[str]]:
    """Findings that say that they are of a replay."""

    def said(experiment: Experiment) -> list[str]:
        _check_costs(experiment)
        found = of(experiment)
        listed = [found] if isinstance(found, str) else list(found)
        return [one if "replayed" in one.lower() else f"Replayed: {one}" for one in listed]

    return said


_OF = {
    one: replayed(one)
    for one in dict.fromkeys([*GREEN_TUNING.contents, *GREEN_TUNING.lead])
    if one.key not in NOT_SHOWN
}

REPLAYED_TUNING = Report(
    contents=[_OF[one] for one in GREEN_TUNING.contents if one in _OF],
    lead=[_OF[one] for one in GREEN_TUNING.lead if one in _OF],
    findings=findings(GREEN_TUNING.findings),
)
