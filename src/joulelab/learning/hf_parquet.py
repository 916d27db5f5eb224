"""``hf-parquet:<folder>``: Parquet files in the image layout of Hugging Face.

The folder has ``train-*.parquet`` and ``test-*.parquet`` (or ``validation-*.parquet``), or one of
the other layouts of `joulelab.learning.parquet_layout`. A row is an image, a struct {bytes, path}
with the bytes of an image file, and a label, a whole number. Where files name their classes in
different orders, labels are brought into the order of the first.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from joulelab.errors import DatasetError
from joulelab.learning.data_folder import find_folder
from joulelab.learning.decoding import EncodedPart, decode, split_size
from joulelab.learning.images import Images
from joulelab.learning.parquet_layout import find_parts, some

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels", "fine_label")


def load(argument: str, data_dir: Path | None) -> Images:
    """Images from Parquet files.

    Args:
        argument: the folder, with ``?size=<pixels>`` where images differ in size.
        data_dir: what a relative folder counts from, if it is there.

    Raises:
        DatasetError: files are missing, cut short or corrupt, have other columns, or classes that
            others do not have; says which.
    """
    folder, size = split_size(argument)
    return load_folder(f"hf-parquet:{argument}", find_folder(folder, data_dir), size)


def load_folder(name: str, folder: Path, size: int | None = None) -> Images:
    """Images from the Parquet files in a folder.

    Args:
        name: as the study names the data set.
        folder: with the files.
        size: height and width to bring every image to; ``None`` to leave them as they are.

    Raises:
        DatasetError: as `load`.
    """
    files = find_parts(folder)
    classes = _ClassNames()
    train, test = _EncodedRows(files.train, classes), _EncodedRows(files.test, classes)
    return decode(
        name,
        train.part(),
        test.part(),
        classes=len(classes.names) or 1 + max([0, *train.labels, *test.labels]),
        source=str(folder),
        size=size,
        notes=(*files.notes, *classes.notes(folder)),
    )


class _ClassNames:
    """The names of the classes, in the order of the first file that names them.

    Attributes:
        names: by label; empty where no file names them.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._file = Path()
        self._reordered: list[Path] = []
        self._unnamed: list[Path] = []

    def in_order(self, file: Path, names: list[str], labels: list[int]) -> list[int]:
        """The labels of a file in the one order.

        Args:
            file: where they are from.
            names: its own names of classes; empty for unknown.
            labels: of its rows.

        Raises:
            DatasetError: a label without a name, or a class that the first file does not have.
        """
        if not names:
            self._unnamed.append(file)
            return labels
        if not self.names:
            self.names, self._file = names, file
        if names == self.names:
            return labels
        if len({*names}) < len(names) or len({*self.names}) < len(self.names):
            raise DatasetError(
                f"{file} names other classes than {self._file}, and one of them a class twice",
                "write both with the same names of classes",
            )
        self._reordered.append(file)
        number = {name: label for label, name in enumerate(self.names)}
        for row, label in enumerate(labels):
            if not 0 <= label < len(names):
                raise DatasetError(
                    f"{file}, row {row}, has the label {label}, and there are {len(names)} classes",
                    f"labels are whole numbers from 0 to {len(names) - 1}",
                )
            if names[label] not in number:
                raise DatasetError(
                    f"{file}, row {row}, is of the class {names[label]!r}, which {self._file} does "
                    "not have",
                    "write both with the same names of classes",
                )
        return [number[names[label]] for label in labels]

    def notes(self, folder: Path) -> list[str]:
        """What was brought into order, and what could not be."""
        notes = []
        if self._reordered:
            which = some(file.relative_to(folder) for file in self._reordered)
            first = self._file.relative_to(folder).as_posix()
            notes.append(f"labels brought into the order of the class names of {first}: {which}")
        if self.names and self._unnamed:
            which = some(file.relative_to(folder) for file in self._unnamed)
            notes.append(f"no class names, labels taken as they are: {which}")
        return notes


class _EncodedRows:
    """The rows of several files, one after the other.

    Attributes:
        labels: of all rows, in the order of the classes.
    """

    def __init__(self, files: Sequence[Path], classes: _ClassNames) -> None:
        self._encoded: list[bytes | None] = []
        self._rows: list[tuple[Path, int]] = []
        self.labels: list[int] = []
        for file in files:
            table, image_column, label_column = _read(file)
            images = table[image_column].combine_chunks()
            self._encoded += images.field("bytes").to_pylist()
            self._rows += [(file, row) for row in range(table.num_rows)]
            labels = table[label_column].to_pylist()
            if None in labels:
                raise DatasetError(
                    f"{file}, row {labels.index(None)}, has no label", "leave such rows out"
                )
            self.labels += classes.in_order(file, _names(table.schema, label_column), labels)

    def part(self) -> EncodedPart:
        """The rows, ready to be decoded."""
        return EncodedPart(self._open, self._place, self.labels)

    def _open(self, row: int) -> Image.Image:
        encoded = self._encoded[row]
        if encoded is None:
            raise ValueError("the row has no bytes")
        return Image.open(io.BytesIO(encoded))

    def _place(self, row: int) -> str:
        file, row_of_file = self._rows[row]
        return f"{file}, row {row_of_file},"


def _read(file: Path) -> tuple[pa.Table, str, str]:
    """The image column and the label column of a file, and their names."""
    try:
        parquet = pq.ParquetFile(file)
        columns = _columns(file, parquet.schema_arrow)
        return parquet.read(columns=list(columns)), *columns
    except (pa.ArrowException, OSError) as error:
        what = " ".join(str(error).split())
        raise DatasetError(
            f"{file} is cut short or corrupt: {what}", "delete it and fetch it again"
        ) from error


def _columns(file: Path, schema: pa.Schema) -> tuple[str, str]:
    found = []
    for what, names in (("image", _IMAGE_COLUMNS), ("label", _LABEL_COLUMNS)):
        here = [name for name in names if name in schema.names]
        if not here:
            raise DatasetError(
                f"{file} has no {what} column, only {', '.join(schema.names)}",
                f"name it {' or '.join(names)}",
            )
        found.append(here[0])
    image, label = found
    image_type = schema.field(image).type
    if not pa.types.is_struct(image_type) or "bytes" not in [f.name for f in image_type]:
        raise DatasetError(
            f"the column {image} of {file} holds {image_type}", "it must be a struct {bytes, path}"
        )
    if not pa.types.is_integer(schema.field(label).type):
        raise DatasetError(
            f"the column {label} of {file} holds {schema.field(label).type}",
            "labels are whole numbers from 0",
        )
    return image, label


def _names(schema: pa.Schema, label_column: str) -> list[str]:
    """The names of the classes in Hugging Face's metadata; empty where it gives none."""
    try:
        metadata: Any = json.loads((schema.metadata or {})[b"huggingface"])
        return [str(name) for name in metadata["info"]["features"][label_column]["names"]]
    except (KeyError, TypeError, ValueError):
        return []  # without the names, labels tell the number of classes
