"""``folder:<path>``: image files in folders of classes.

::

    birds/
      train/            test/ (or validation/, val/)
        robin/*.png       robin/*.png
        wren/*.png        wren/*.png

Classes are numbered in the alphabetical order of their folders under ``train``. Other files than
images, and hidden ones, are passed over.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from joulelab.errors import DatasetError
from joulelab.learning.data_folder import find_folder
from joulelab.learning.decoding import EncodedPart, decode, split_size
from joulelab.learning.images import Images

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""What the name of an image file ends in, in lower case."""

_LAYOUT = "the layout is train/<class>/*.png and test/<class>/*.png"


def load(argument: str, data_dir: Path | None) -> Images:
    """Images from folders of classes.

    Args:
        argument: the folder, with ``?size=<pixels>`` to bring all images to one size.
        data_dir: what a relative folder counts from, if it is there.

    Raises:
        DatasetError: another layout, a damaged file, or images of differing sizes; says which.
    """
    path, size = split_size(argument)
    folder = find_folder(path, data_dir)
    train_folder = _part_folder(folder, ("train",))
    classes = sorted(entry.name for entry in train_folder.iterdir() if _is_class(entry))
    if not classes:
        raise DatasetError(f"{train_folder} has no folders of classes", _LAYOUT)
    train = _files(train_folder, classes)
    test = _files(_part_folder(folder, ("test", "validation", "val")), classes)
    for label, name in enumerate(classes):
        if label not in train[1]:
            raise DatasetError(
                f"{train_folder / name} has no images", "put some there, or remove the folder"
            )
    return decode(
        f"folder:{argument}",
        _encoded(*train),
        _encoded(*test),
        classes=len(classes),
        source=str(folder),
        size=size,
    )


def _part_folder(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise DatasetError(f"{folder} has no folder {names[0]}", _LAYOUT)


def _is_class(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _files(part: Path, classes: list[str]) -> tuple[list[Path], list[int]]:
    """Image files of a part in order, and their labels."""
    files: list[Path] = []
    labels: list[int] = []
    for entry in sorted(part.iterdir()):
        if not _is_class(entry):
            continue
        if entry.name not in classes:
            raise DatasetError(
                f"{entry} is a class without training images",
                f"the classes are {', '.join(classes)}",
            )
        here = sorted(
            file
            for file in entry.iterdir()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        files += here
        labels += [classes.index(entry.name)] * len(here)
    return files, labels


def _encoded(files: list[Path], labels: list[int]) -> EncodedPart:
    def open_image(row: int) -> Image.Image:
        with Image.open(files[row]) as image:
            image.load()
            return image

    return EncodedPart(open_image, lambda row: str(files[row]), labels)
