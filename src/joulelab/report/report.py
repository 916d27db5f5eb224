"""What a kind of experiment shows: a list of declared tables and figures, and what they say.

::

    Report(
        findings=sentences(search_finding, effect_finding),
        lead=(convergence_curves, optima),
        contents=(convergence_curves, optima, ranks, ...),
    )
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulelab.analysis.claims.claim import Claim
from joulelab.present import Declared, Omitted, Table, Unavailable
from joulelab.present.data import tables_data
from joulelab.report.energy import effect_finding
from joulelab.report.experiment import Experiment

Finding = Callable[[Experiment], str | Sequence[str]]


def sentences(*findings: Finding) -> Callable[[Experiment], list[str]]:
    """What several findings say, without those that are unavailable or empty."""

    def said(experiment: Experiment) -> list[str]:
        found: list[str] = []
        for finding in findings:
            try:
                says = finding(experiment)
            except Unavailable:
                continue
            found += [says] if isinstance(says, str) else says
        return [sentence for sentence in found if sentence]

    return said


@dataclass(frozen=True)
class Heading:
    """What stands at the top of a page beside the report.

    Attributes:
        name: of the study, or of several.
        remarks: what to know before reading on, in sentences.
        links: label and file of the pages beside it.
    """

    name: str
    remarks: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class SidePage:
    """A page beside the report, on the experiments of one study or of several together.

    Attributes:
        label: of links to it.
        file: its name.
        write: writes it, and what belongs to it, into a folder that exists.
        concerns: whether an experiment stands on it.
    """

    label: str
    file: str
    write: Callable[[Sequence[Experiment], Heading, Path], Path]
    concerns: Callable[[Experiment], bool] = lambda _: True


@dataclass(frozen=True)
class Report:
    """What is shown of an experiment of one kind.

    Attributes:
        contents: tables and figures in the order of the page; the tables are in JSON too.
        lead: the figure and the table that matter most: at the top of the page, and the table at
            the end of a run as well.
        findings: sentences, the most important first; which factor moves the energy, where not
            given.
        side_pages: pages beside the report for those experiments that they concern.
        claims: the claims of an experiment's own table in the study file.
    """

    contents: Sequence[Declared[Experiment, Any]]
    lead: Sequence[Declared[Experiment, Any]] = ()
    findings: Callable[[Experiment], Sequence[str]] = field(
        default_factory=lambda: sentences(effect_finding)
    )
    side_pages: tuple[SidePage, ...] = ()
    claims: Callable[[Experiment], Sequence[Claim]] = lambda _: ()

    def tables(self, experiment: Experiment) -> list[Table | Omitted]:
        """Every table, in order, or why one is left out."""
        return [
            made
            for one in self.contents
            if one.makes is Table
            and not (isinstance(made := one.shown(experiment), Omitted) and not made.reason)
        ]

    def data(self, experiment: Experiment) -> dict[str, Any]:
        """Every table as plain data, by its key."""
        return tables_data(self.tables(experiment))
