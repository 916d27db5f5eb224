"""Xu et al. (HICSS 2023) again, from the raw data they published.

::

    DIR/kaggle-<data set>-<region>.csv    architecture and place, from CodeCarbon's rows
    DIR/instruments-<data set>.csv        CodeCarbon beside a wattmeter

Whatever is there is compared. The printed statistics are computed twice: on CodeCarbon's readings
as they stand, which is what was published, and per training, for these readings go on counting.
"""

from __future__ import annotations

import re
from pathlib import Path

from joulelab.errors import UsageError
from joulelab.replication.published import Comparison, Replication
from joulelab.replication.xu2023_instruments import compare_instruments, read_instruments
from joulelab.replication.xu2023_places import compare_places, read_places
from joulelab.replication.xu2023_printed import DATASETS, REGIONS

TITLE = "Xu et al., Energy Efficiency of Training Neural Network Architectures, HICSS 2023"
WANTED = (
    "kaggle-DATASET-REGION.csv and instruments-DATASET.csv, DATASET cifar10 or mnist, REGION "
    "oregon, south-carolina or taipei"
)
_FILE = re.compile(r"(kaggle|instruments)[-_](.+)\.csv", re.IGNORECASE)

Key = tuple[str, ...]


def replicate(folder: Path) -> Replication:
    """Recompute the published numbers from the raw data in a folder.

    Args:
        folder: with ``kaggle-<data set>-<region>.csv`` or ``instruments-<data set>.csv``.

    Raises:
        UsageError: there is no such folder, or none of the files in it, or one of them twice.
        DatasetError: a file cannot be read, or holds something else.
    """
    files, remarks = find_files(folder)
    comparisons: list[Comparison] = []
    kaggle = {(key[1], key[2]): path for key, path in files.items() if key[0] == "kaggle"}
    if kaggle:
        places = read_places(kaggle)
        comparisons += compare_places(places)
        remarks += places.remarks
    both = {key[1]: path for key, path in files.items() if key[0] == "instruments"}
    if both:
        found, more = compare_instruments(read_instruments(both))
        comparisons += found
        remarks += more
    return Replication(TITLE, tuple(comparisons), tuple(remarks))


def find_files(folder: Path) -> tuple[dict[Key, Path], list[str]]:
    """The files of the study in a folder, and what to say about others.

    Returns:
        Paths by ``("kaggle", data set, region)`` or ``("instruments", data set)``. Case, blanks,
        hyphens and underscores in names do not count.

    Raises:
        UsageError: there is no such folder, none of the files in it, or one of them twice.
    """
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be read: {error.strerror}", f"name one with {WANTED}"
        ) from error
    files: dict[Key, Path] = {}
    remarks = []
    for path in there:
        match = _FILE.fullmatch(path.name)
        if match is None:
            continue
        key = _key(match[1].casefold(), _letters(match[2]))
        if key is None:
            remarks.append(f"{path.name} is left out: the paper has no such data set or region")
            continue
        if key in files:
            raise UsageError(
                f"{files[key]} and {path.name} are the same table of {' in '.join(key[1:])}",
                "leave only one of them in the folder",
            )
        files[key] = path
    if not files:
        raise UsageError(f"no file of the study in {folder}", f"looked for {WANTED}")
    return files, remarks


def _key(kind: str, name: str) -> Key | None:
    """Data set, and of Kaggle's files the region, from the letters of a file's name."""
    dataset = next((one for one in DATASETS if name.startswith(one)), None)
    if dataset is None:
        return None
    rest = name.removeprefix(dataset)
    if kind == "instruments":
        return None if rest else (kind, dataset)
    # "Taipei City" in the rows; some files carry the number of an attempt.
    region = next((one for one in REGIONS if rest.startswith(_letters(one))), None)
    return None if region is None else (kind, dataset, region)


def _letters(text: str) -> str:
    return re.sub("[^a-z0-9]", "", text.casefold())
