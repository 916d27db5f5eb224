"""The section of a report on instruments, where two or more have read its runs, and its plots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.analysis.agreement import Agreement, Limits
from joulelab.errors import UsageError
from joulelab.present import Figure, Table, Unavailable, cached_per_subject, figure, table
from joulelab.present.axes import Axis, Reference
from joulelab.present.panels import Panel
from joulelab.present.parts import Width
from joulelab.present.scatter_plot import scatter
from joulelab.present.style import SOLID, VERMILLION
from joulelab.report.instruments.comparison import Compared, compare_read
from joulelab.report.instruments.readings import read_runs
from joulelab.report.instruments.tables import agreement_table, read_table
from joulelab.report.ledger import ReportedStudy

KEY, TITLE = "bland-altman", "Differences of the instruments (Bland and Altman)"


def bland_altman(compared: Compared) -> Figure:
    """A row of panels for each of at least one instrument: its differences, and its ratios."""
    found = list(compared.agreements.values())
    said = [
        f"{one.measured}: ratio {formats.effect(one.ratios.mean.value)}, limits of agreement "
        f"{formats.interval(one.ratios.lower, one.ratios.upper, formats.effect)}"
        for one in found
    ]
    note = (
        f"Each point is a run; across: the mean of the instrument and {compared.reference.name}. "
        "Solid: the mean; dashed: the limits of agreement, between which 95 % of runs lie; pale: "
        "their 95 % intervals; grey: no difference, where it is in sight. Where the differences "
        "fan out, read the ratios."
    )
    return Figure(
        lambda width: _draw(found, width),
        note,
        f"Bland-Altman plots. {'; '.join(said)}.",
        KEY,
        TITLE,
    )


def _draw(found: Sequence[Agreement], width: Width) -> Drawing:
    panels = []
    for one in found:
        rows = one.runs.assign(mean_j=(one.runs["measured"] + one.runs["reference"]) / 2)
        difference = Axis(
            "difference", f"difference to\n{one.reference}, {{unit}}", units=formats.ENERGY
        )
        ratio = Axis("ratio", f"ratio to\n{one.reference}")
        panels += [
            Panel(rows, one.measured, y=difference, references=_lines(one.differences, 0.0)),
            Panel(rows, y=ratio, references=_lines(one.ratios, 1.0)),
        ]
    mean = Axis("mean_j", "mean of both, {unit}", units=formats.ENERGY, scale="auto")
    return scatter(panels, mean, Axis("ratio", ""), columns=2, height_in=2.5, width=width)


def _lines(limits: Limits, equal: float) -> tuple[Reference, ...]:
    """Mean and limits, with their intervals where there are any, and the line of no difference."""
    bands = (
        (limits.mean.low, limits.mean.high),
        (limits.lower_low, limits.lower_high),
        (limits.upper_low, limits.upper_high),
    )
    return (
        *(
            Reference(y=low, to=high, colour=VERMILLION)
            for low, high in bands
            if np.isfinite([low, high]).all()
        ),
        Reference(y=limits.mean.value, colour=VERMILLION, dash=SOLID),
        *(
            Reference(y=value, colour=VERMILLION)
            for value in (limits.lower, limits.upper)
            if np.isfinite(value)
        ),
        # Drawn from afar it would leave no room for the points.
        Reference(y=equal, dash=SOLID, if_near=True),
    )


@cached_per_subject
def study_instruments(study: ReportedStudy) -> Compared:
    """The comparison of the instruments.

    Raises:
        Unavailable: fewer than two have read the runs, of which nobody is told.
    """
    try:
        return compare_read(read_runs([study.results]))
    except UsageError:
        raise Unavailable("") from None


@figure("bland-altman", "Differences of the instruments (Bland and Altman)")
def instrument_differences(study: ReportedStudy) -> Figure:
    """Bland-Altman plots of a study's instruments."""
    compared = study_instruments(study)
    if not compared.agreements:
        raise Unavailable("")
    return bland_altman(compared)


@table("instruments", "What each instrument reads")
def instruments_read(study: ReportedStudy) -> Table:
    """Which domains each instrument adds up, and its mean energy of a run."""
    return read_table(study_instruments(study))


@table("agreement", "Agreement of the instruments")
def instruments_agree(study: ReportedStudy) -> Table:
    """How the instruments agree with the reference."""
    return agreement_table(study_instruments(study))


INSTRUMENTS = (instruments_read, instruments_agree, instrument_differences)
"""What a report shows of them, in order."""
