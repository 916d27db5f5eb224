"""Pages from templates, and files that are whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from joulelab.errors import StoreWriteError


def page(template: str, **values: object) -> str:
    """A page, self-contained: it loads nothing.

    Args:
        template: name of a file in ``templates/``, without ``.html.j2``.
        **values: what it shows.
    """
    return _environment().get_template(f"{template}.html.j2").render(**values)


def write(path: Path, text: str) -> Path:
    """Write a file; the old one stands until the new one is whole.

    Raises:
        OSError: the file cannot be written.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    return fresh.replace(path)


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
