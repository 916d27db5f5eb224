"""The report of an experiment, by its kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from joulelab.errors import PluginError, UnknownNameError, quoted
from joulelab.report import effects, energy
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report
from joulelab.study.spec import kinds
from joulelab.study.trust import Code, code_in, unapproved

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


def general_remark(experiment: Experiment, plugins: Sequence[Path]) -> str:
    """Why an experiment has only the general report, in a sentence; empty if it has its own.

    Args:
        experiment: whose kind may be unknown here.
        plugins: of the study.
    """
    try:
        kinds.get(experiment.kind).load_report()
    except PluginError as error:
        why = error.message
    except UnknownNameError:
        reasons = [_why_not(code_in(file)) for file in plugins]
        why = "; ".join(filter(None, reasons)) or "nothing in the study file defines it"
    else:
        return ""
    return (
        f"{experiment.title} is shown in the general report: its kind "
        f"{quoted(experiment.kind)} is unknown here ({why})."
    )


def _why_not(plugin: Code) -> str:
    """Why a plug-in has not been loaded, and what to do about it."""
    if not plugin.sha256:
        return f"the plug-in {plugin.path} cannot be read"
    if unapproved([plugin]):
        return (
            f"the plug-in {plugin.path} is new or has changed; read it, then run `joulelab plan` "
            "on this folder with --trust"
        )
    return f"the plug-in {plugin.path} does not define it or cannot be imported"
