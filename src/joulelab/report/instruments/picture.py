"""Bland-Altman plots: how far an instrument is from the reference, by how much was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from joulelab import formats
from joulelab.analysis.agreement import Agreement, Limits
from joulelab.report.instruments.comparison import Compared
from joulelab.report.instruments.section import study_instruments
from joulelab.report.pictures import Picture
from joulelab.report.style import (
    BLUE,
    GREY,
    MOST_VECTOR_POINTS,
    SIZES,
    VERMILLION,
    Size,
    energy_axis,
    styled,
)
from joulelab.study.results import Results

KEY, TITLE = "bland-altman", "Differences of the instruments (Bland and Altman)"
PANEL_IN = 2.5
WIDE = 10.0
"""The largest mean over the smallest from which on the axis of energy is logarithmic."""


def instrument_pictures(results: Results) -> list[Picture]:
    """The plots of a study; none where one instrument alone has read its runs."""
    compared = study_instruments(results)
    picture = None if compared is None else bland_altman_picture(compared)
    return [] if picture is None else [picture]


def bland_altman_picture(compared: Compared) -> Picture | None:
    """A row of panels for each instrument: its differences, and its ratios; ``None`` for none."""
    found = list(compared.agreements.values())
    if not found:
        return None
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
    return Picture(KEY, TITLE, note, f"Bland-Altman plots. {'; '.join(said)}.", _figure(found))


def _figure(found: Sequence[Agreement]) -> Figure:
    with styled() as size:
        figure = Figure(
            figsize=(SIZES["screen"].width_in, 0.3 + PANEL_IN * len(found)), layout="constrained"
        )
        rows = figure.subplots(len(found), 2, squeeze=False)
        for (left, right), one in zip(rows, found, strict=True):
            left.set_title(one.measured)
            _panel(left, one, "difference", size)
            _panel(right, one, "ratio", size)
    return figure


def _panel(axes: Axes, found: Agreement, what: Literal["difference", "ratio"], size: Size) -> None:
    runs = found.runs
    mean_j = ((runs["measured"] + runs["reference"]) / 2).to_numpy(float)
    values = runs[what].to_numpy(float)
    limits = found.differences if what == "difference" else found.ratios
    axes.plot(
        mean_j,
        values,
        linestyle="none",
        marker="o",
        markersize=0.7 * size.marker_pt,
        color=BLUE,
        zorder=3,
        rasterized=len(runs) > MOST_VECTOR_POINTS,
    )
    _lines(axes, limits, size)
    if mean_j.max() > WIDE * mean_j.min():
        axes.set_xscale("log")
    energy_axis(axes, "x", "mean of both, {unit}", float(mean_j.max()))
    if axes.get_xscale() == "linear":
        axes.locator_params(axis="x", nbins=4)
    equal = 0.0 if what == "difference" else 1.0
    low, high = axes.get_ylim()
    if low <= equal <= high:  # drawn from afar it would leave no room for the points
        axes.axhline(equal, color=GREY, linewidth=size.thin_pt)
    if what == "difference":
        largest = max(abs(values).max(), *(abs(v) for v in _known(limits)), 0.0)
        energy_axis(axes, "y", f"difference to\n{found.reference}, {{unit}}", float(largest))
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: formats.tick(value)))
        axes.set_ylabel(f"ratio to\n{found.reference}")
    axes.grid()


def _lines(axes: Axes, limits: Limits, size: Size) -> None:
    """Mean and limits, with their intervals where there are any."""
    axes.axhline(limits.mean.value, color=VERMILLION, linewidth=size.line_pt)
    bands = (
        (limits.mean.low, limits.mean.high),
        (limits.lower_low, limits.lower_high),
        (limits.upper_low, limits.upper_high),
    )
    for low, high in bands:
        if np.isfinite([low, high]).all():
            axes.axhspan(low, high, color=VERMILLION, alpha=0.13, linewidth=0)
    for value in (limits.lower, limits.upper):
        if np.isfinite(value):
            axes.axhline(value, color=VERMILLION, linewidth=size.line_pt, linestyle=(0, (5, 2)))


def _known(limits: Limits) -> list[float]:
    ends = (limits.mean.value, limits.lower_low, limits.upper_high)
    return [value for value in ends if np.isfinite(value)]
