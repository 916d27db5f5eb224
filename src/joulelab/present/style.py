"""Style of figures and their files: sizes, fonts, colours, formats.

Colours are those of Okabe and Ito, which can be distinguished with any colour vision; markers or
dashes always repeat the colour's meaning. matplotlib's global state is not changed.

Three sizes::

    screen   7 in wide, 11 pt: the page, which scales it
    column   3.5 in wide, 8 pt: a column of a two-column page of IEEE, printed as it is
    page     7.16 in wide, 8 pt: both columns

In print no text is smaller than 7 pt and no line thinner than 0.6 pt.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from joulelab.errors import UsageError
from joulelab.files import write_whole
from joulelab.present.parts import Width

# Okabe and Ito's palette by contrast, without yellow, which is invisible in print.
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
PALE = "#E2E2E2"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++")
Dash = tuple[int, tuple[float, ...]]
SOLID: Dash = (0, ())
DASHED: Dash = (0, (5, 2))
DOTTED: Dash = (0, (1, 2))
DASHES: tuple[Dash, ...] = (
    SOLID,
    DASHED,
    (0, (1.5, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (9, 3)),
    (0, (2, 3)),
)

Format = Literal["png", "svg", "pdf"]

# Above this number of points an SVG is slow, so they are rasterised.
MOST_VECTOR_POINTS = 1500
# Average width of a letter of DejaVu Sans, as a share of the text size.
LETTER = 0.56
POINTS_PER_IN = 72


@dataclass(frozen=True)
class Size:
    """Sizes for one figure width.

    Attributes:
        width_in: width of the figure.
        text_pt: size of labels.
        small_pt: size of ticks, legends and point names.
        line_pt: width of data lines.
        thin_pt: width of axes and grids.
        marker_pt: size of markers.
        dpi: resolution of raster images, also within vector files.
    """

    width_in: float
    text_pt: float
    small_pt: float
    line_pt: float
    thin_pt: float
    marker_pt: float
    dpi: int

    def letters(self, share: float) -> int:
        """Number of small letters in a share of the width."""
        return int(share * self.width_in * POINTS_PER_IN / (LETTER * self.small_pt))

    def wrapped(self, text: str, share: float) -> str:
        """The text wrapped to a share of the width."""
        return textwrap.fill(text, max(self.letters(share), 8))

    def line_in(self, lines: float) -> float:
        """The height of lines of small text."""
        return lines * 1.3 * self.small_pt / POINTS_PER_IN


SIZES: Mapping[Width, Size] = {
    "screen": Size(7.0, 11.0, 10.0, 1.8, 0.8, 6.0, 160),
    "column": Size(3.5, 8.0, 7.0, 1.1, 0.6, 3.5, 300),
    "page": Size(7.16, 8.0, 7.0, 1.1, 0.6, 3.5, 300),
}
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.0,
    "lines.markeredgecolor": "white",
    # A level may have a dollar sign.
    "text.parse_math": False,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Embed outlines instead of Type 3 fonts, as publishers require.
    "pdf.fonttype": 42,
    # The same figure gives the same file, so that two reports can be compared.
    "svg.hashsalt": "joulelab",
}
# Metadata that omits the creation date.
_METADATA: Mapping[Format, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {},
}


@dataclass(frozen=True)
class Look:
    """The look of one thing throughout a figure.

    Attributes:
        colour: of lines, markers and bars.
        marker: as matplotlib names it.
        dash: of lines; ``None`` if the points are not joined.
        hatch: of bars.
        hollow: whether markers are white inside.
    """

    colour: str
    marker: str = "o"
    dash: Dash | None = SOLID
    hatch: str = ""
    hollow: bool = False

    def marks(self) -> dict[str, Any]:
        """Matplotlib arguments of its markers."""
        style = {"marker": self.marker, "color": self.colour}
        if self.hollow:
            style |= {"markerfacecolor": "white", "markeredgecolor": self.colour}
        return style


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look for each label, in order of appearance.

    Colours repeat after the seventh, with other markers.
    """
    several = len(COLOURS)
    return {
        name: Look(
            COLOURS[i % several],
            MARKERS[(i + i // several) % several],
            DASHES[i % several],
            HATCHES[i % several],
        )
        for i, name in enumerate(dict.fromkeys(labels))
    }


def shades(labels: Sequence[str]) -> dict[str, Look]:
    """A look for each label of an order, such as years: the first is the darkest."""
    # viridis without its palest end, which is invisible in print.
    places = np.linspace(0, 0.88, max(len(labels), 1))
    colours = [mpl.colors.to_hex(colour) for colour in mpl.colormaps["viridis"](places)]
    return {label: Look(colour) for label, colour in zip(labels, colours, strict=False)}


@contextmanager
def styled(width: Width = "screen") -> Iterator[Size]:
    """Context in which figures are drawn in the report's style, at one of its sizes."""
    size = SIZES[width]
    sized = {
        "figure.dpi": size.dpi,
        "font.size": size.small_pt,
        "axes.titlesize": size.text_pt,
        "axes.labelsize": size.text_pt,
        "xtick.labelsize": size.small_pt,
        "ytick.labelsize": size.small_pt,
        "legend.fontsize": size.small_pt,
        "lines.linewidth": size.line_pt,
        "lines.markersize": size.marker_pt,
        "lines.markeredgewidth": 0.7 * size.thin_pt,
        "axes.linewidth": size.thin_pt,
        "grid.linewidth": size.thin_pt,
        "xtick.major.width": size.thin_pt,
        "ytick.major.width": size.thin_pt,
        "xtick.minor.width": size.thin_pt,
        "ytick.minor.width": size.thin_pt,
        "hatch.linewidth": size.thin_pt,
    }
    with mpl.rc_context(STYLE | sized), warnings.catch_warnings():
        # A reader sees which marks the fonts lack.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        yield size


def fix_layout(figure: Figure) -> None:
    """Lay a figure out once for all formats, because that takes longer than drawing it."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)


def drawn(figure: Figure, kind: Format) -> bytes:
    """The figure as a file's bytes; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with styled():
        fix_layout(figure)
        figure.savefig(buffer, format=kind, dpi="figure", metadata=_METADATA[kind])
    return buffer.getvalue()


def save(figure: Figure, folder: Path, name: str, kinds: Sequence[Format]) -> bytes:
    """Write the figure as ``<name>.svg`` and so on, and return the bytes of the first format.

    Args:
        figure: as drawn.
        folder: output folder.
        name: of the files, without suffix.
        kinds: formats of the files.
    """
    written = [drawn(figure, kind) for kind in kinds]
    for kind, content in zip(kinds, written, strict=True):
        write_whole(folder / f"{name}.{kind}", content)
    return written[0]


def figure_format(path: Path) -> Format:
    """The format of a figure, by the suffix of its file.

    Raises:
        UsageError: another suffix.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in get_args(Format):
        known = ", ".join(f".{kind}" for kind in get_args(Format))
        raise UsageError(f"{path}: unknown figure format", f"end the name in {known}")
    return cast("Format", suffix)


def write(figure: Figure, path: Path) -> None:
    """Write the figure to a file, as SVG, PNG or PDF by its suffix.

    Raises:
        UsageError: another suffix, or the file cannot be written.
    """
    content = drawn(figure, figure_format(path))
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}", "choose another file"
        ) from error
