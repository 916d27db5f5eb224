"""Yarally et al. (CAIN 2023) again, from the raw data they published.

::

    DIR/tuning-<data set>.csv        tables I and III, section VI-A
    DIR/architecture-<data set>.csv  tables II, IV and V, sections VI-B and VII
    both data sets of an experiment  the numbers that the paper prints over both (``all``)

Whatever is there is compared; what is not there is left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from joulelab.errors import UsageError
from joulelab.replication.published import Cells, Comparison, Replication
from joulelab.replication.raw_data import RawData, read_architecture, read_tuning
from joulelab.replication.yarally2023_architecture import (
    recompute_architecture,
    recompute_architecture_together,
)
from joulelab.replication.yarally2023_printed import (
    ALL,
    ARCHITECTURE,
    CIFAR,
    DATASETS,
    EXPERIMENT_OF,
    FASHION,
    TUNING,
    printed,
)
from joulelab.replication.yarally2023_tuning import recompute_tuning, recompute_tuning_together

TITLE = "Yarally et al., Uncovering Energy-Efficient Practices in Deep Learning Training, CAIN 2023"
_FILE = re.compile(r"(architecture|tuning)-(.+)\.csv", re.IGNORECASE)
_LETTERS = {"fashionmnist": FASHION, "cifar10": CIFAR}


def replicate(folder: Path) -> Replication:
    """Recompute every published number from the raw data in a folder.

    Args:
        folder: with ``architecture-<data set>.csv`` or ``tuning-<data set>.csv``, or both, for one
            data set or for both.

    Raises:
        UsageError: there is no such folder, or none of the files in it.
        DatasetError: a file cannot be read, or holds something else.
    """
    files, remarks = find_files(folder)
    raws: dict[tuple[str, str], RawData] = {
        (experiment, dataset): (
            read_tuning(path) if experiment == TUNING else read_architecture(path)
        )
        for (experiment, dataset), path in files.items()
    }
    remarks += [remark for raw in raws.values() for remark in raw.remarks]
    numbers = printed()
    found: dict[tuple[str, str], Cells] = {}
    for (experiment, dataset), raw in raws.items():
        texts = {(one.table, one.cell): one.text for one in numbers if one.dataset == dataset}
        recompute = recompute_tuning if experiment == TUNING else recompute_architecture
        found[experiment, dataset] = recompute(raw, texts)
    if all((TUNING, dataset) in raws for dataset in DATASETS):
        found[TUNING, ALL] = recompute_tuning_together(
            {dataset: raws[TUNING, dataset] for dataset in DATASETS}
        )
    if all((ARCHITECTURE, dataset) in raws for dataset in DATASETS):
        found[ARCHITECTURE, ALL] = recompute_architecture_together(
            [raws[ARCHITECTURE, dataset] for dataset in DATASETS]
        )
    comparisons = tuple(
        Comparison(one, found[EXPERIMENT_OF[one.table], one.dataset][one.table, one.cell])
        for one in numbers
        if (EXPERIMENT_OF[one.table], one.dataset) in found
    )
    return Replication(TITLE, comparisons, tuple(remarks))


def find_files(folder: Path) -> tuple[dict[tuple[str, str], Path], list[str]]:
    """The files of the study in a folder, by experiment and data set, and what to say about others.

    Case, hyphens and underscores in the name of a data set do not count.

    Raises:
        UsageError: there is no such folder, none of the files in it, or one of them twice.
    """
    wanted = f"{ARCHITECTURE}-DATASET.csv and {TUNING}-DATASET.csv, DATASET {' or '.join(DATASETS)}"
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be read: {error.strerror}", f"name one with {wanted}"
        ) from error
    files: dict[tuple[str, str], Path] = {}
    remarks = []
    for path in there:
        match = _FILE.fullmatch(path.name)
        if match is None:
            continue
        dataset = _LETTERS.get(re.sub("[^a-z0-9]", "", match[2].casefold()))
        if dataset is None:
            remarks.append(f"{path.name} is left out: the paper has no data set {match[2]!r}")
            continue
        key = (match[1].casefold(), dataset)
        if key in files:
            raise UsageError(
                f"{files[key]} and {path.name} are the same table of {dataset}",
                "leave only one of them in the folder",
            )
        files[key] = path
    if not files:
        raise UsageError(f"no file of the study in {folder}", f"looked for {wanted}")
    return files, remarks
