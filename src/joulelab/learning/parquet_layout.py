"""Which Parquet files of a folder are the training part of a data set, and which the test part.

::

    train-00000-of-00002.parquet        data/train-00000-of-00001.parquet
    train/0000.parquet                  default/train/0000.parquet          data/train/any.parquet

The part stands in the name of the file, or else in that of the nearest folder; what lies above it
is a configuration of the data set, of which a folder has one, or is asked which.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from joulelab import formats
from joulelab.errors import DatasetError
from joulelab.learning.data_folder import IN_PLACE_OF_TEST, TEST, TRAIN, standing_in

LAYOUT = (
    "the folder needs train-*.parquet and test-*.parquet (or validation-*.parquet), "
    "or train/*.parquet and test/*.parquet; also within data/ or default/"
)
_PARTS = (*TRAIN, *TEST, *IN_PLACE_OF_TEST)
_NUMBERED = re.compile(r"(?P<series>.*)-(?P<number>\d+)-of-(?P<count>\d+)(-[0-9a-f]+)?")
"""The hub's names; older ones end in a hash of each file."""


@dataclass(frozen=True)
class PartFiles:
    """The files of a data set.

    Attributes:
        train: of the training part, in order.
        test: of the part that accuracy is computed on, in order.
        notes: which part stands in for test, and what was left out.
    """

    train: Sequence[Path]
    test: Sequence[Path]
    notes: tuple[str, ...]


def find_parts(folder: Path) -> PartFiles:
    """Look for the files of both parts in a folder and those within it.

    Raises:
        DatasetError: a part is missing or incomplete, or there are several data sets; says which.
    """
    by_part: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    left_out: list[Path] = []
    for file in sorted(folder.rglob("*.parquet")):
        relative = file.relative_to(folder)
        found = _part_of(relative)
        if found is None or any(name.startswith(".") for name in relative.parts):
            left_out.append(relative)
        else:
            part, configuration = found
            by_part[configuration][part].append(file)
    configuration = _configuration(folder, [one for one, parts in by_part.items() if _any(parts)])
    mine = by_part[configuration]
    train = _first(folder / configuration, mine, TRAIN)
    test = _first(folder / configuration, mine, (*TEST, *IN_PLACE_OF_TEST))
    for part in (train, test):
        _check_in_one_place(folder, mine[part])
        _check_complete(mine[part])
    used = {train, test}
    left_out += [
        file.relative_to(folder)
        for where, parts in by_part.items()
        for part, files in parts.items()
        for file in files
        if where != configuration or part not in used
    ]
    notes = [*standing_in(test)]
    if left_out:
        files = formats.count(len(left_out), "Parquet file")
        notes.append(f"{files} of no part that is used left out: {some(sorted(left_out))}")
    return PartFiles(mine[train], mine[test], tuple(notes))


def some(paths: Iterable[Path], most: int = 3) -> str:
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


def _any(parts: dict[str, list[Path]]) -> bool:
    return any(parts.get(part) for part in TRAIN)


def _configuration(folder: Path, candidates: Sequence[Path]) -> Path:
    if len(candidates) > 1:
        names = ", ".join(one.as_posix() for one in candidates)
        raise DatasetError(
            f"{folder} has training files of several configurations: {names}",
            f"name one of them: hf-parquet:{folder / candidates[-1]}",
        )
    return candidates[0] if candidates else Path()


def _first(place: Path, parts: dict[str, list[Path]], wanted: Sequence[str]) -> str:
    for part in wanted:
        if parts.get(part):
            return part
    raise DatasetError(f"{place} has no file {wanted[0]}-*.parquet", LAYOUT)


def _check_in_one_place(folder: Path, files: Sequence[Path]) -> None:
    """Refuse ``train-0.parquet`` beside ``train/0000.parquet``: mostly the same images twice."""
    above = {_named(file.relative_to(folder).parent.as_posix()) is None for file in files}
    if len(above) > 1:
        raise DatasetError(
            f"{folder} has the same part in two places: {some(_first_of_each(folder, files))}",
            "keep one of them",
        )


def _first_of_each(folder: Path, files: Sequence[Path]) -> list[Path]:
    by_folder = {file.parent: file.relative_to(folder) for file in reversed(files)}
    return sorted(by_folder.values())


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
            f"{next(iter(series))[0]} has files of two editions: {both}", "remove one of them"
        )
    for (place, name, count), numbers in series.items():
        if missing := set(range(int(count))) - numbers:
            first = place / f"{name}-{min(missing):0{len(count)}}-of-{count}.parquet"
            raise DatasetError(
                f"{first} is missing; {len(numbers)} of {int(count)} files are there",
                "fetch the data set again",
            )
