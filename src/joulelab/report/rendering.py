"""Pages from templates, and files that are whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from joulelab.errors import StoreWriteError
from joulelab.files import links_within


def page(template: str, **values: object) -> str:
    """A page, self-contained: it loads nothing.

    Args:
        template: name of a file in ``templates/``, without ``.html.j2``.
        **values: what it shows.
    """
    return _environment().get_template(f"{template}.html.j2").render(**values)


def check_no_links(folder: Path) -> None:
    """See that what is written into a folder of a results folder does not land elsewhere.

    Raises:
        StoreWriteError: it is a link, or there is a link to a folder in it.
    """
    if links := [folder] * folder.is_symlink() or links_within(folder):
        raise StoreWriteError(
            f"{links[0]} is a link, and would be written to where it leads",
            "put a folder in its place, if the study is yours",
        )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Within it, files are written into a folder, which is made where it is not there.

    Raises:
        StoreWriteError: the folder or a file in it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreWriteError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}",
            "free space or mend the permissions, then run `joulelab report` on the folder again",
        ) from error


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("joulelab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
