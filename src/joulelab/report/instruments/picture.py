"""Bland-Altman plots: how far an instrument is from the reference, by how much was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure as Drawing

from joulelab import formats
from joulelab.analysis.agreement import Agreement, Limits
from joulelab.present import Figure
from joulelab.present.axes import Axis, Reference
from joulelab.present.panels import Panel
from joulelab.present.parts import Width
from joulelab.present.scatter_plot import scatter
from joulelab.present.style import SOLID, VERMILLION
from joulelab.report.instruments.comparison import Compared

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
