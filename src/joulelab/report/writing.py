"""Write the files of a report, each of them whole or not at all, and never through a link."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from joulelab.errors import StoreWriteError
from joulelab.files import links_within, safe_name, write_whole
from joulelab.present import Figure, Part, Section, Table, latex
from joulelab.present.style import save


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
        gc.unfreeze()


def drawer(folder: Path) -> Callable[[Figure], bytes]:
    """A function that draws a figure into a folder as SVG and PDF, and returns the SVG."""
    folder.mkdir(exist_ok=True)
    files: dict[str, str] = {}

    def draw(figure: Figure) -> bytes:
        file = safe_name(figure.key, files)
        return save(figure.draw(figure.drawn_for), folder, file, ("svg", "pdf"))

    return draw


def write_tables(parts: Sequence[Part], folder: Path) -> None:
    """Write every table below some parts as LaTeX, each into a file of its own."""
    folder.mkdir(exist_ok=True)
    files: dict[str, str] = {}
    for table in tables_of(parts):
        write_whole(folder / f"{safe_name(table.key, files)}.tex", latex.tables([table]))


def tables_of(parts: Sequence[Part]) -> Iterator[Table]:
    """Every table with a key among some parts and below them."""
    for part in parts:
        if isinstance(part, Section):
            yield from tables_of(part.parts)
        elif isinstance(part, Table) and part.key:
            yield part
