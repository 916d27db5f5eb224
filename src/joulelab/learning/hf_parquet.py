"""``hf-parquet:<folder>``: Parquet files in the image layout of Hugging Face.

The folder has ``train-*.parquet`` and ``test-*.parquet`` (or ``validation-*.parquet``). A row is an
image, a struct {bytes, path} with the bytes of an image file, and a label, a whole number.
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

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels", "fine_label")
_LAYOUT = "the folder needs train-*.parquet and test-*.parquet (or validation-*.parquet)"


def load(argument: str, data_dir: Path | None) -> Images:
    """Images from Parquet files.

    Args:
        argument: the folder, with ``?size=<pixels>`` where images differ in size.
        data_dir: what a relative folder counts from, if it is there.

    Raises:
        DatasetError: files are missing, cut short or corrupt, or have other columns; says which.
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
    train_files = _files(folder, ("train",))
    test_files = _files(folder, ("test", "validation"))
    train, test = _EncodedRows(train_files), _EncodedRows(test_files)
    classes = train.named_classes or 1 + max([0, *train.labels, *test.labels])
    return decode(name, train.part(), test.part(), classes=classes, source=str(folder), size=size)


class _EncodedRows:
    """The rows of several files, one after the other.

    Attributes:
        labels: of all rows.
        named_classes: how many classes the metadata of the first file names; ``None`` for unknown.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._encoded: list[bytes | None] = []
        self._rows: list[tuple[Path, int]] = []
        self.labels: list[int] = []
        self.named_classes: int | None = None
        for file in files:
            table, image_column, label_column = _read(file)
            if self.named_classes is None:
                self.named_classes = _named_classes(table.schema, label_column)
            images = table[image_column].combine_chunks()
            self._encoded += images.field("bytes").to_pylist()
            self._rows += [(file, row) for row in range(table.num_rows)]
            labels = table[label_column].to_pylist()
            if None in labels:
                raise DatasetError(
                    f"{file}, row {labels.index(None)}, has no label", "leave such rows out"
                )
            self.labels += labels

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


def _files(folder: Path, prefixes: Sequence[str]) -> list[Path]:
    for prefix in prefixes:
        if files := sorted(folder.glob(f"{prefix}-*.parquet")):
            return files
    raise DatasetError(f"{folder} has no file {prefixes[0]}-*.parquet", _LAYOUT)


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


def _named_classes(schema: pa.Schema, label_column: str) -> int | None:
    """The number of class names that Hugging Face's metadata gives, if it does."""
    try:
        metadata: Any = json.loads((schema.metadata or {})[b"huggingface"])
        return len(metadata["info"]["features"][label_column]["names"]) or None
    except (KeyError, TypeError, ValueError):
        return None  # without the names, labels tell the number of classes
