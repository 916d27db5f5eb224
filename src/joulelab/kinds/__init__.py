"""Kinds of experiment: factors, execution and report of each.

A kind is one registry entry, built in or custom: `Kind(spec, workload, report)`. Everything a
custom kind needs is exported here and in `joulelab.present`; ``examples/own_kind.py`` is an example
in one file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from joulelab.lazy import importer

if TYPE_CHECKING:
    from joulelab.report.experiment import Experiment, energy_column
    from joulelab.report.report import Report, sentences
    from joulelab.study.call_workload import Call, CallWorkload
    from joulelab.study.design import Configuration, Factor, Level
    from joulelab.study.spec import ExperimentSpec, Kind, register
    from joulelab.study.spec import (
        kinds as kinds,  # not in __all__: it has the name of this package
    )
    from joulelab.study.workload import Workload

__all__ = [
    "Call",
    "CallWorkload",
    "Configuration",
    "Experiment",
    "ExperimentSpec",
    "Factor",
    "Kind",
    "Level",
    "Report",
    "Workload",
    "energy_column",
    "register",
    "sentences",
]

__getattr__ = importer(
    __name__,
    {
        "Call": "joulelab.study.call_workload",
        "CallWorkload": "joulelab.study.call_workload",
        "Configuration": "joulelab.study.design",
        "Experiment": "joulelab.report.experiment",
        "ExperimentSpec": "joulelab.study.spec",
        "Factor": "joulelab.study.design",
        "Kind": "joulelab.study.spec",
        "Level": "joulelab.study.design",
        "Report": "joulelab.report.report",
        "Workload": "joulelab.study.workload",
        "energy_column": "joulelab.report.experiment",
        "kinds": "joulelab.study.spec",
        "register": "joulelab.study.spec",
        "sentences": "joulelab.report.report",
    },
)
