"""``hf-parquet:<folder>``: Parquet files in the image layout of Hugging Face.

A row is an image, a struct {bytes, path} with the bytes of an image file, and a label, a whole
number. If files name their classes in different orders, labels are mapped to the order of the
first. Usual locations of files:

::

    train-00000-of-00002.parquet        data/train-00000-of-00001.parquet
    train/0000.parquet                  default/train/0000.parquet          data/train/any.parquet

The part, training or test (or validation), is a word in the name of the file, or else of the
nearest folder; the folders above that are a configuration of the data set. If a folder has several,
the study must name one.
"""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from joulelab import formats
from joulelab.errors import DatasetError, one_line
from joulelab.learning.data_folder import (
    IN_PLACE_OF_TEST,
    TEST,
    TRAIN,
    find_folder,
    standing_in,
)
from joulelab.learning.decoding import EncodedPart, decode, split_size
from joulelab.learning.images import Images

_LAYOUT = (
    "the folder needs train-*.parquet and test-*.parquet (or validation-*.parquet), "
    "or train/*.parquet and test/*.parquet; also within data/ or default/"
)
_PARTS = (*TRAIN, *TEST, *IN_PLACE_OF_TEST)
_NUMBERED = re.compile(r"(?P<series>.*)-(?P<number>\d+)-of-(?P<count>\d+)(-[0-9a-f]+)?")
"""The hub's names; older ones end in a hash of each file."""
_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels", "fine_label")


def load(argument: str, data_dir: Path | None) -> Images:
    """Images from Parquet files.

    Args:
        argument: the folder, with ``?size=<pixels>`` where images differ in size.
        data_dir: base of a relative folder, if it exists.

    Raises:
        DatasetError: files are missing, cut short or corrupt, have other columns, or have unknown
            classes; names them.
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
    train_files, test_files, notes = _find_parts(folder)
    classes = _ClassNames()
    train, test = _EncodedRows(train_files, classes), _EncodedRows(test_files, classes)
    return decode(
        name,
        train,
        test,
        classes=len(classes.names) or 1 + max([0, *train.labels, *test.labels]),
        source=str(folder),
        size=size,
        notes=(*notes, *classes.notes(folder)),
    )


class _ClassNames:
    """Class names, in the order of the first file with names.

    Attributes:
        names: by label; empty where no file names them.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._file = Path()
        self._reordered: list[Path] = []
        self._unnamed: list[Path] = []

    def in_order(self, file: Path, names: list[str], labels: list[int]) -> list[int]:
        """The labels of a file in the common order.

        Args:
            file: the file.
            names: its class names; empty if unknown.
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
                f"{file} names other classes than {self._file}, and one file names a class twice",
                "write both with the same class names",
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
                    "write both with the same class names",
                )
        return [number[names[label]] for label in labels]

    def notes(self, folder: Path) -> list[str]:
        """Remarks on mapped and unmapped labels."""
        notes = []
        if self._reordered:
            which = _some(file.relative_to(folder) for file in self._reordered)
            first = self._file.relative_to(folder).as_posix()
            notes.append(f"labels mapped to the class order of {first}: {which}")
        if self.names and self._unnamed:
            which = _some(file.relative_to(folder) for file in self._unnamed)
            notes.append(f"no class names, labels used as they are: {which}")
        return notes


class _EncodedRows(EncodedPart):
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
                    f"{file}, row {labels.index(None)}, has no label", "remove such rows"
                )
            self.labels += classes.in_order(file, _names(table.schema, label_column), labels)

    def open_image(self, row: int) -> Image.Image:
        """The image of a row."""
        encoded = self._encoded[row]
        if encoded is None:
            raise ValueError("the row has no bytes")
        return Image.open(io.BytesIO(encoded))

    def place(self, row: int) -> str:
        """File and row."""
        file, row_of_file = self._rows[row]
        return f"{file}, row {row_of_file},"


def _read(file: Path) -> tuple[pa.Table, str, str]:
    """The image column and the label column of a file, and their names."""
    try:
        parquet = pq.ParquetFile(file)
        columns = _columns(file, parquet.schema_arrow)
        return parquet.read(columns=list(columns)), *columns
    except (pa.ArrowException, OSError) as error:
        what = one_line(error)
        raise DatasetError(
            f"{file} is cut short or corrupt: {what}", "delete it and download it again"
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


def _find_parts(folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """Find the files of both parts in a folder and its subfolders.

    Returns:
        The files of the training part and of the part that accuracy is computed on, in order, and
        remarks: which part is used as test, and what was left out.

    Raises:
        DatasetError: a part is missing or incomplete, or there are several data sets; names them.
    """
    found: dict[tuple[str, Path], list[Path]] = defaultdict(list)
    left_out: list[Path] = []
    for file in sorted(folder.rglob("*.parquet")):
        relative = file.relative_to(folder)
        part = _part_of(relative)
        if part is None or any(name.startswith(".") for name in relative.parts):
            left_out.append(relative)
        else:
            found[part].append(file)
    configuration = _configuration(folder, [where for part, where in found if part in TRAIN])
    here = {part: files for (part, where), files in found.items() if where == configuration}
    train = _first(folder / configuration, here, TRAIN)
    test = _first(folder / configuration, here, (*TEST, *IN_PLACE_OF_TEST))
    for part_name in (train, test):
        _check_in_one_place(folder, here[part_name])
        _check_complete(here[part_name])
    used = {(train, configuration), (test, configuration)}
    left_out += [
        file.relative_to(folder)
        for part, files in found.items()
        if part not in used
        for file in files
    ]
    notes = [*standing_in(test)]
    if left_out:
        count = formats.count(len(left_out), "Parquet file")
        notes.append(f"{count} outside the used parts left out: {_some(sorted(left_out))}")
    return here[train], here[test], notes


def _some(paths: Iterable[Path], most: int = 3) -> str:
    """The first of some paths, in words: ``a.txt, b.txt, c.txt ...``.

    Args:
        paths: all of them.
        most: how many are named.
    """
    names = [path.as_posix() for path in paths]
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def _part_of(relative: Path) -> tuple[str, Path] | None:
    """The part that a file belongs to, and the folder that both parts lie in."""
    names = [relative.stem, *(folder.name for folder in relative.parents)]
    for depth, name in enumerate(names):
        if (part := _named(name)) is not None:
            place = relative.parents[depth]
            while _named(place.name) == part:  # train/train-0.parquet
                place = place.parent
            return part, place
    return None


def _named(name: str) -> str | None:
    return next((word for word in re.findall("[a-z]+", name.lower()) if word in _PARTS), None)


def _configuration(folder: Path, candidates: Sequence[Path]) -> Path:
    if len({*candidates}) > 1:
        names = ", ".join(one.as_posix() for one in dict.fromkeys(candidates))
        raise DatasetError(
            f"{folder} has training files of several configurations: {names}",
            f"name one of them: hf-parquet:{folder / candidates[-1]}",
        )
    return candidates[0] if candidates else Path()


def _first(place: Path, parts: dict[str, list[Path]], wanted: Sequence[str]) -> str:
    for part in wanted:
        if parts.get(part):
            return part
    raise DatasetError(f"{place} has no file {wanted[0]}-*.parquet", _LAYOUT)


def _check_in_one_place(folder: Path, files: Sequence[Path]) -> None:
    """Refuse ``train-0.parquet`` beside ``train/0000.parquet``: mostly the same images twice."""
    above = {_named(file.relative_to(folder).parent.as_posix()) is None for file in files}
    if len(above) > 1:
        first_of_each = {file.parent: file.relative_to(folder) for file in reversed(files)}
        raise DatasetError(
            f"{folder} has the same part twice: {_some(sorted(first_of_each.values()))}",
            "keep one of them",
        )


def _check_complete(files: Sequence[Path]) -> None:
    """Refuse ``train-00000-of-00002.parquet`` without its second half, or beside ``...-of-00003``.

    Raises:
        DatasetError: names the file that is missing, or the two series.
    """
    series: dict[tuple[Path, str, str], set[int]] = defaultdict(set)
    for file in files:
        if found := _NUMBERED.fullmatch(file.stem):
            key = (file.parent, found["series"], found["count"])
            series[key].add(int(found["number"]))
    names = {(place, name): count for place, name, count in series}
    if len(names) < len(series):
        both = ", ".join(f"{name}-*-of-{count}" for _, name, count in series)
        raise DatasetError(
            f"{next(iter(series))[0]} has files of two versions: {both}", "remove one of them"
        )
    for (place, name, count), numbers in series.items():
        if missing := set(range(int(count))) - numbers:
            first = place / f"{name}-{min(missing):0{len(count)}}-of-{count}.parquet"
            raise DatasetError(
                f"{first} is missing; {len(numbers)} of {int(count)} files are there",
                "download the data set again",
            )
