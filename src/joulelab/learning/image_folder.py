"""``folder:<path>``: image files in folders of classes.

::

    birds/
      train/              test/ (or validation/, val/, valid/, dev/)
        robin/*.png         robin/*.png
        wren/*.png          wren/*.png
        wren/2019/*.png

Both may be in ``data/``. Classes are numbered in the alphabetical order of their folders under
``train``; files in folders within them are of the same class. Hidden files, files that are without
an image file extension, and files outside the classes are left out, and counted in a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from joulelab import formats
from joulelab.errors import DatasetError
from joulelab.learning.data_folder import (
    IN_PLACE_OF_TEST,
    TEST,
    TRAIN,
    find_folder,
    standing_in,
)
from joulelab.learning.decoding import EncodedPart, decode, split_size
from joulelab.learning.images import Images

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Suffixes of image files, in lower case."""

_LAYOUT = "the layout is train/<class>/*.png and test/<class>/*.png"


def load(argument: str, data_dir: Path | None) -> Images:
    """Images from folders of classes.

    Args:
        argument: the folder, with ``?size=<pixels>`` to resize all images.
        data_dir: base of a relative folder, if it exists.

    Raises:
        DatasetError: another layout, a damaged file, or images of differing sizes; says which.
    """
    path, size = split_size(argument)
    folder = find_folder(path, data_dir)
    inner = folder / "data"
    root = inner if inner.is_dir() and _part(folder, TRAIN) is None else folder
    train_folder = _part_folder(root, TRAIN)
    test_folder = _part_folder(root, (*TEST, *IN_PLACE_OF_TEST))
    classes = sorted(entry.name for entry in train_folder.iterdir() if _is_class(entry))
    if not classes:
        raise DatasetError(f"{train_folder} has no class folders", _LAYOUT)
    train, test = _Part(train_folder, classes), _Part(test_folder, classes)
    for label, name in enumerate(classes):
        if label not in train.labels:
            raise DatasetError(
                f"{train_folder / name} has no images", "add some, or remove the folder"
            )
    return decode(
        f"folder:{argument}",
        train,
        test,
        classes=len(classes),
        source=str(folder),
        size=size,
        notes=(*standing_in(test_folder.name), *train.notes(), *test.notes()),
    )


class _Part(EncodedPart):
    """The images of the training or the test part, in order.

    Args:
        folder: with a folder for each class.
        classes: names of the classes by label.

    Attributes:
        labels: one for each image.

    Raises:
        DatasetError: an unknown class.
    """

    def __init__(self, folder: Path, classes: list[str]) -> None:
        self.labels: list[int] = []
        self._folder = folder
        self._files: list[Path] = []
        self._nested = 0
        self._left_out: Counter[str] = Counter()
        self._example: dict[str, str] = {}
        for entry in sorted(folder.iterdir()):
            if not _is_class(entry):
                self._leave_out(entry, "hidden" if _hidden(entry) else "outside the class folders")
                continue
            if entry.name not in classes:
                raise DatasetError(
                    f"{entry} is a class without training images",
                    f"the classes are {', '.join(classes)}",
                )
            for file in self._images(entry, ()):
                self._files.append(file)
                self.labels.append(classes.index(entry.name))
                self._nested += file.parent != entry

    def open_image(self, row: int) -> Image.Image:
        """The image of a file."""
        with Image.open(self._files[row]) as image:
            image.load()
            return image

    def place(self, row: int) -> str:
        """The file."""
        return str(self._files[row])

    def notes(self) -> list[str]:
        """Remarks on subfolders of class folders, and on skipped files."""
        notes = []
        if self._nested:
            images = formats.count(self._nested, "image")
            notes.append(f"{self._folder.name}: {images} in subfolders of class folders")
        if self._left_out:
            why = ", ".join(
                f"{count:,} {reason} ({self._example[reason]}{' ...' if count > 1 else ''})"
                for reason, count in self._left_out.items()
            )
            notes.append(f"{self._folder.name}: left out: {why}")
        return notes

    def _images(self, folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
        """Image files in a folder and its subfolders, without links to a parent folder."""
        here = (*above, folder.resolve())
        for entry in sorted(folder.iterdir()):
            if _hidden(entry):
                self._leave_out(entry, "hidden")
            elif entry.is_dir() and entry.resolve() not in here:
                yield from self._images(entry, here)
            elif entry.is_dir():
                self._leave_out(entry, "links to a parent folder")
            elif entry.suffix.lower() in SUFFIXES:
                yield entry
            else:
                self._leave_out(entry, "without an image file extension")

    def _leave_out(self, entry: Path, reason: str) -> None:
        self._left_out[reason] += 1
        self._example.setdefault(reason, entry.relative_to(self._folder).as_posix())


def _part(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _part_folder(folder: Path, names: tuple[str, ...]) -> Path:
    if (found := _part(folder, names)) is None:
        raise DatasetError(f"{folder} has no folder {names[0]}", _LAYOUT)
    return found


def _hidden(entry: Path) -> bool:
    return entry.name.startswith(".")


def _is_class(entry: Path) -> bool:
    return entry.is_dir() and not _hidden(entry)
