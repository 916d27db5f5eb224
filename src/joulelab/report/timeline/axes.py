"""Axes that the figures of a comparison over time share: energy in decades, names of networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from joulelab import formats
from joulelab.report.direct_labels import name_points
from joulelab.report.style import Size, energy_axis

Values = npt.NDArray[np.float64]
HUNDREDFOLD = 100.0


def decades(axes: Axes, which: Literal["x", "y"], label: str, energies: Values) -> None:
    """Ticks and label of a logarithmic axis of energy, as many as its range asks for.

    Args:
        axes: whose axis is logarithmic already.
        which: of the two.
        label: with ``{unit}`` where the unit belongs.
        energies: what is shown, in joules, above 0; NaN where unknown.
    """
    known = energies[np.isfinite(energies)]
    energy_axis(axes, which, label, float(known.max()))
    subs = (1.0,) if known.max() / known.min() >= HUNDREDFOLD else (1.0, 2.0, 5.0)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(10, subs=subs, numticks=8))
    axis.set_minor_formatter(NullFormatter())


def percent_axis(axes: Axes) -> None:
    """Ticks of an upright axis of shares as percentages, with decimals where they need them."""
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda share, _: f"{formats.tick(round(100 * share, 6))} %")
    )


def name_networks(
    axes: Axes, rows: pd.DataFrame, value: str, size: Size, in_the_way: Sequence[Values] = ()
) -> None:
    """Names beside the networks that are to have one.

    Args:
        axes: of a figure that is laid out, with everything else drawn.
        rows: every network shown: ``model``, ``place`` (on the other axis), the value, ``named``.
        value: column of the vertical axis.
        size: of the figure.
        in_the_way: further spots that no name should cover, each array of shape (spots, 2).
    """
    shown = rows[["place", value]].to_numpy(float)
    names = [
        str(name) if named else "" for name, named in zip(rows["model"], rows["named"], strict=True)
    ]
    name_points(axes, shown, names, np.concatenate([shown, *in_the_way]), size)
