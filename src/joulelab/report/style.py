"""How figures look, and how they are written to files.

Colours are those of Okabe and Ito, which readers with any colour vision can tell apart; a marker or
a dash always says the same as the colour. Nothing here touches matplotlib's global state.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from joulelab import formats

# Okabe and Ito's palette without yellow, which print loses; in the order of contrast.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK = COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
GREY = "#767676"
INK = "#222222"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[tuple[int, tuple[float, ...]], ...] = (
    (0, ()),
    (0, (5, 2)),
    (0, (1.5, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (9, 3)),
    (0, (2, 3)),
)

WIDTH_IN = 7.0
ENERGY_UNITS = (("MJ", 1e6, 1e7), ("kJ", 1e3, 1e5), ("J", 1.0, 0.0))
"""Unit, joules in it, and from how many joules on it is used."""
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 11.5,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # The same figure gives the same file, so that two reports can be compared.
    "svg.hashsalt": "joulelab",
}


@dataclass(frozen=True)
class Look:
    """Colour, marker and dash that stand for one thing throughout a figure."""

    colour: str
    marker: str
    dash: tuple[int, tuple[float, ...]]


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each label, in order of appearance; they repeat after the seventh."""
    names = enumerate(dict.fromkeys(labels))
    several = len(COLOURS)
    return {
        name: Look(COLOURS[i % several], MARKERS[i % several], DASHES[i % several])
        for i, name in names
    }


@contextmanager
def styled() -> Iterator[None]:
    """Within it, figures are drawn in the report's style."""
    with mpl.rc_context(STYLE):
        yield


def single(height_in: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots()


def energy_axis(axes: Axes, which: Literal["x", "y"], label: str, largest_j: float) -> None:
    """Label an axis that holds joules, in J, kJ or MJ, with ticks such as 1,500.

    Args:
        axes: whose axis.
        which: of the two.
        label: with ``{unit}`` where the unit belongs.
        largest_j: the largest value shown, in joules.
    """
    unit, size = next(
        (unit, size) for unit, size, least_j in ENERGY_UNITS if abs(largest_j) >= least_j
    )
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_label_text(label.format(unit=unit))
    axis.set_major_locator(MaxNLocator(6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: formats.signed(f"{value / size:,.6g}")))


def svg(figure: Figure) -> bytes:
    """The figure as SVG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None})
    return buffer.getvalue()


def save(figure: Figure, folder: Path, name: str) -> bytes:
    """Write the figure as ``<name>.svg`` and ``<name>.png``, and give back the SVG."""
    picture = svg(figure)
    (folder / f"{name}.svg").write_bytes(picture)
    # The layout is found already, and finding it takes as long as drawing.
    figure.set_layout_engine("none")
    with styled():
        figure.savefig(folder / f"{name}.png", dpi=160)
    return picture
