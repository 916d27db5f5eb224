"""The report of an experiment, by its kind."""

from __future__ import annotations

from joulelab.errors import PluginError, UnknownNameError
from joulelab.report import effects, energy
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report
from joulelab.study.spec import kinds

GENERAL = Report(
    contents=(
        energy.energy_by_configuration,
        effects.effects,
        energy.increases,
        effects.dominances,
        energy.variations,
        effects.level_differences,
        effects.configuration_pairs,
    ),
    lead=(energy.energy_by_configuration, energy.variations),
)
"""Of energy alone: where the kind is not known here, or has nothing to show of its own."""


def report_of(experiment: Experiment) -> Report:
    """What is shown of an experiment."""
    try:
        found: Report | None = kinds.get(experiment.kind).load_report()
    except (UnknownNameError, PluginError):
        found = None
    return found or GENERAL
