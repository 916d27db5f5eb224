"""Where images to send are: the photographs that scikit-learn ships, a file, or a folder."""

from __future__ import annotations

import importlib.util
import mimetypes
from pathlib import Path

from joulelab.errors import UsageError


def image_files(path: Path) -> tuple[Path, ...]:
    """The files to send: a file itself, or the images in a folder, by name.

    Args:
        path: of a file of any kind, or of a folder.

    Raises:
        UsageError: there is no such file, or no image in the folder.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise UsageError(f"{path} does not exist", "name an image, or a folder with images")
    images = tuple(
        one
        for one in sorted(path.iterdir())
        if one.is_file() and (mimetypes.guess_type(one.name)[0] or "").startswith("image/")
    )
    if not images:
        raise UsageError(f"there is no image in {path}", "their names end in .jpg, .png ...")
    return images


def shipped_photographs() -> tuple[Path, ...]:
    """The two photographs that scikit-learn ships, found without importing it.

    Raises:
        UsageError: they are not where they should be.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is not None and spec.origin is not None:
        found = sorted((Path(spec.origin).parent / "datasets" / "images").glob("*.jpg"))
        if found:
            return tuple(found)
    raise UsageError("scikit-learn's photographs are not installed", "name an image or a folder")
