"""Write the files of a report, each of them whole or not at all, and never through a link."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from joulelab.errors import StoreWriteError
from joulelab.files import links_within, safe_name, write_whole
from joulelab.present import Figure, Part, Section, Table, latex
from joulelab.present.style import Format, save

WRITTEN: tuple[Format, ...] = ("svg", "pdf")
FIGURES = (".svg", ".pdf", ".png")
"""Formats of figures, and suffixes of the files of this and of earlier versions."""
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.]+")


def check_no_links(folder: Path) -> None:
    """Check that files written into a folder of a results folder stay there.

    Raises:
        StoreWriteError: it is a link, or contains a link to a folder.
    """
    if links := [folder] * folder.is_symlink() or links_within(folder):
        raise StoreWriteError(
            f"{links[0]} is a link, and would be written to where it leads",
            "put a folder in its place, if the study is yours",
        )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Context in which the files of a report are written into a folder, created if absent.

    Raises:
        StoreWriteError: the folder or a file in it cannot be written.
    """
    # Every PDF makes so many objects that Python collects garbage several times; do not search
    # the runs and the modules again each time.
    frozen_already = gc.get_freeze_count() > 0
    if not frozen_already:
        gc.freeze()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreWriteError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}",
            "free space or mend the permissions, then run `joulelab report` on the folder again",
        ) from error
    finally:
        if not frozen_already:
            gc.unfreeze()


def drawer(folder: Path) -> Callable[[Figure], bytes]:
    """A function that draws a figure into a folder as SVG and PDF, and returns the SVG."""
    folder.mkdir(exist_ok=True)
    files: dict[str, str] = {}

    def draw(figure: Figure) -> bytes:
        file = safe_name(figure.key, files)
        return save(figure.draw(figure.drawn_for), folder, file, WRITTEN)

    return draw


def write_tables(parts: Sequence[Part], folder: Path) -> None:
    """Write every table below some parts as LaTeX, and remove those of an earlier report."""
    folder.mkdir(exist_ok=True)
    files: dict[str, str] = {}
    written = {
        write_whole(folder / f"{safe_name(table.key, files)}.tex", latex.tables([table]))
        for table in tables_of(parts)
    }
    for old in set(folder.glob("*.tex")) - written:
        with old.open(encoding="utf-8", errors="replace") as file:
            ours = file.readline().rstrip() == latex.HEADER
        if ours:
            old.unlink()


def remove_old_figures(parts: Sequence[Part], folder: Path, names: Iterable[str]) -> None:
    """Remove the figures of an earlier report that this one does not have.

    Args:
        parts: of the page, whose figures stay.
        folder: with the figures.
        names: the first parts of keys: other files stay too.
    """
    files: dict[str, str] = {}
    kept = {safe_name(figure.key, files) for figure in figures_of(parts)}
    begins = tuple(NOT_IN_NAMES.sub("-", f"{name}-").lstrip("-.") for name in names)
    for old in folder.iterdir():
        ours = old.suffix in FIGURES and old.name.startswith(begins)
        if ours and not (old.suffix[1:] in WRITTEN and old.stem in kept):
            old.unlink()


def figures_of(parts: Sequence[Part]) -> Iterator[Figure]:
    """Every figure among some parts and below them."""
    for part in parts:
        if isinstance(part, Section):
            yield from figures_of(part.parts)
        elif isinstance(part, Figure):
            yield part


def tables_of(parts: Sequence[Part]) -> Iterator[Table]:
    """Every table with a key among some parts and below them."""
    for part in parts:
        if isinstance(part, Section):
            yield from tables_of(part.parts)
        elif isinstance(part, Table) and part.key:
            yield part
