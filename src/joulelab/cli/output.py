"""Where output goes: results to standard output, progress to standard error.

With ``--quiet`` there is no progress; results, warnings and errors stay.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    import pandas as pd
    from rich.console import Console

    from joulelab.present import View

QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
"""Whether the command was called with ``--quiet``."""


def show(view: View, *, as_json: bool, notes: bool = True, aside: bool = False) -> None:
    """Show the result on standard output.

    Args:
        view: the answer.
        as_json: as one JSON object instead of text.
        notes: whether to show the notes below tables.
        aside: write text to standard error; the measured command has standard output.
    """
    if as_json:
        from joulelab.present import data

        sys.stdout.write(f"{data.to_json(data.view_data(view))}\n")
        return
    from joulelab.present.terminal import print_view

    print_view(view, _remark_console() if aside else data_console(), notes=notes)


def show_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Show rows as a bare JSON list on standard output."""
    from joulelab.present import data

    sys.stdout.write(f"{data.to_json([data.plain(dict(row)) for row in rows])}\n")


def write_frame(frame: pd.DataFrame, path: Path, file_format: str, *, own: bool = True) -> None:
    """Write a table to a file.

    Args:
        frame: a row each; what is unknown is empty.
        path: of the file.
        file_format: ``"csv"`` or ``"parquet"``.
        own: the user has named the path, which may be a pipe or a link.

    Raises:
        MissingDependencyError: Parquet, without pyarrow.
        StoreWriteError: the file cannot be written.
    """
    from joulelab.errors import StoreWriteError
    from joulelab.files import replacing
    from joulelab.optional import require

    if file_format == "parquet":
        require("pyarrow", user="writing Parquet")
    try:
        with path.open("wb") if own else replacing(path) as file:
            if file_format == "csv":
                frame.to_csv(file, index=False)
            else:
                frame.to_parquet(file, index=False)
    except OSError as error:
        raise StoreWriteError(
            f"{path} cannot be written: {error.strerror or error}", "give another file with --out"
        ) from error
    except (ValueError, TypeError, NotImplementedError) as error:  # pyarrow's are among them
        raise StoreWriteError(
            f"{path} cannot be written as {file_format}: {error}",
            "Parquet needs one type a column: export it as CSV",
        ) from error


def check_file(path: Path, *, replaced: bool = False) -> None:
    """Refuse a file that cannot be written, before anything is measured.

    Files are written into folders that exist; a folder of results is made.

    Args:
        path: as the user wrote it.
        replaced: as for `joulelab.files.check_writable`.

    Raises:
        UsageError: it cannot be written.
    """
    from joulelab.errors import UsageError
    from joulelab.files import check_writable

    if path.is_dir():
        raise UsageError(f"{path} is a folder", "name the file to write")
    if not path.absolute().parent.exists():
        raise UsageError(f"{path}: no folder {path.parent}", "make it first")
    try:
        check_writable(path, replaced=replaced)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}", "give another file"
        ) from error


def check_figure(path: Path | None) -> None:
    """Refuse a figure that cannot be written, before anything is measured.

    Args:
        path: as the user wrote it; None for no figure.

    Raises:
        UsageError: it cannot be written, or its suffix is not a figure format.
    """
    if path is not None:
        from joulelab.present.style import figure_format

        figure_format(path)
        check_file(path)


def check_folder(path: Path | None) -> None:
    """Refuse a folder of results that cannot be written, before anything is measured.

    Args:
        path: as the user wrote it; None for the default.

    Raises:
        StoreWriteError: it cannot be made or written.
    """
    from joulelab.errors import StoreWriteError
    from joulelab.files import check_folder_writable

    try:
        if path is not None:
            check_folder_writable(path)
    except OSError as error:
        raise StoreWriteError(
            f"{path} cannot be written: {error.strerror or error}", "give another folder with --out"
        ) from error


def say(what: str, style: str = "") -> None:
    """Print a line to standard error.

    Args:
        what: the line.
        style: ``"dim"`` for progress, which ``--quiet`` leaves out; others are remarks, and stay.
    """
    from rich.text import Text

    console = progress_console() if style == "dim" else _remark_console()
    console.print(Text(what, style=style), soft_wrap=True)


def data_console() -> Console:
    """Standard output, for results."""
    from rich.console import Console

    return Console(highlight=False)


def progress_console() -> Console:
    """Standard error, for progress; with ``--quiet`` nowhere."""
    return _remark_console(quiet=QUIET.get())


def _remark_console(*, quiet: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, quiet=quiet)
