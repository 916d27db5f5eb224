"""What a kind of experiment shows: a list of declared tables and figures, and what they say.

::

    Report(
        findings=sentences(search_finding, effect_finding),
        lead=(convergence_curves, optima),
        contents=(convergence_curves, optima, ranks, ...),
    )
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulelab.analysis.claims.claim import Claim
from joulelab.errors import UsageError, quoted
from joulelab.present import Declared, Figure, Omitted, Table, Unavailable
from joulelab.present.data import tables_data
from joulelab.present.faults import Fault, guarded
from joulelab.report.energy import effect_finding
from joulelab.report.experiment import Experiment

Finding = Callable[[Experiment], str | Sequence[str]]


def sentences(*findings: Finding) -> Callable[[Experiment], list[str]]:
    """What several findings say, without those that are unavailable or empty."""

    def said(experiment: Experiment) -> list[str]:
        found: list[str] = []
        for finding in findings:
            try:
                says = guarded(finding)(experiment)
            except Fault as fault:
                says = f"A finding is left out: {fault.reason}."
            except Unavailable:
                continue
            found += [says] if isinstance(says, str) else [str(one) for one in says or ()]
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
            the end of a run as well; default: the first of each.
        findings: makes sentences, the most important first; default: which factor moves the energy.
        side_pages: pages beside the report for those experiments that they concern.
        under_way: tables of runs that have not ended, shown before the others.
        claims: the claims of an experiment's own table in the study file.
    """

    contents: Sequence[Declared[Experiment, Any]]
    lead: Sequence[Declared[Experiment, Any]] = ()
    findings: Callable[[Experiment], str | Sequence[str]] = field(
        default_factory=lambda: sentences(effect_finding)
    )
    side_pages: tuple[SidePage, ...] = ()
    under_way: Sequence[Declared[Experiment, Table]] = ()
    claims: Callable[[Experiment], Sequence[Claim]] = lambda _: ()

    def __post_init__(self) -> None:
        for name, declared in (("contents", self.contents), ("lead", self.lead)):
            if not isinstance(declared, Sequence) or not all(
                isinstance(one, Declared) for one in declared
            ):
                raise UsageError(
                    f"Report({name}=...) must be a list of declared tables and figures",
                    "decorate each function with @table(key, title) or @figure(key, title)",
                )
        counts = Counter((one.makes.__name__.lower(), one.key) for one in self.contents)
        for (noun, key), several in counts.items():
            if several > 1:
                raise UsageError(
                    f"Report(contents=...) has {several} {noun}s with the key {quoted(key)}",
                    "give each its own key: it names its data in JSON and its files",
                )
        if not self.lead:
            first = (
                next((one for one in self.contents if one.makes is makes), None)
                for makes in (Figure, Table)
            )
            object.__setattr__(self, "lead", tuple(one for one in first if one))

    def says(self, experiment: Experiment) -> list[str]:
        """The findings on an experiment, or why there are none."""
        return sentences(self.findings)(experiment)

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
        return tables_data([*self.progress(experiment), *self.tables(experiment)])

    def progress(self, experiment: Experiment) -> list[Table | Omitted]:
        """The tables of runs that have not ended; none without such runs."""
        made = [one.shown(experiment) for one in self.under_way if len(experiment.pending)]
        return [one for one in made if not isinstance(one, Omitted) or one.reason]
