"""Recompute Yarally et al. (CAIN 2023) from their published raw data.

::

    DIR/tuning-<data set>.csv        tables I and III, section VI-A
    DIR/architecture-<data set>.csv  tables II, IV and V, sections VI-B and VII
    both data sets of an experiment  the numbers that the paper prints over both (``all``)

The files that are present are compared; the others are left out. If the paper prints one number for
both data sets together, the table of printed numbers also has it for the single data sets, to show
what each of them gives.
"""

from __future__ import annotations

from pathlib import Path

from joulelab.replication.published import (
    ALL,
    Cells,
    Comparison,
    Replication,
    find_files,
    printed,
)
from joulelab.replication.yarally2023_architecture import (
    recompute_architecture,
    recompute_architecture_together,
)
from joulelab.replication.yarally2023_data import RawData, read_architecture, read_tuning
from joulelab.replication.yarally2023_tuning import recompute_tuning, recompute_tuning_together

TITLE = "Yarally et al., Uncovering Energy-Efficient Practices in Deep Learning Training, CAIN 2023"
TUNING, ARCHITECTURE = "tuning", "architecture"
DATASETS = {"fashionmnist": "fashion-mnist", "cifar10": "cifar10"}
"""Data sets by the letters in file names."""
TUNING_TABLES = frozenset({"Table I", "Table III", "Section VI-A"})
"""All other tables and sections are about the architecture experiment."""
WANTED = (
    f"{ARCHITECTURE}-DATASET.csv and {TUNING}-DATASET.csv, DATASET {' or '.join(DATASETS.values())}"
)


def replicate(folder: Path) -> Replication:
    """Recompute every published number from the raw data in a folder.

    Args:
        folder: contains ``architecture-<data set>.csv`` or ``tuning-<data set>.csv``, or both, for
            one or both data sets.

    Raises:
        UsageError: the folder does not exist, or has none of the files.
        DatasetError: a file cannot be read, or has different content.
    """
    files, remarks = find_files(folder, (ARCHITECTURE, TUNING), dataset_of, WANTED)
    numbers = printed("yarally2023")
    raws: dict[str, dict[str, RawData]] = {TUNING: {}, ARCHITECTURE: {}}
    found: dict[tuple[str, str], Cells] = {}
    for (experiment, dataset), path in files.items():
        texts = {(one.table, one.cell): one.text for one in numbers if one.dataset == dataset}
        is_tuning = experiment == TUNING
        raw = read_tuning(path) if is_tuning else read_architecture(path)
        recompute = recompute_tuning if is_tuning else recompute_architecture
        found[experiment, dataset] = recompute(raw, texts)
        raws[experiment][dataset] = raw
        remarks += raw.remarks
    for experiment, recompute_together in (
        (TUNING, recompute_tuning_together),
        (ARCHITECTURE, recompute_architecture_together),
    ):
        if len(raws[experiment]) == len(DATASETS):
            ordered = {name: raws[experiment][name] for name in DATASETS.values()}
            found[experiment, ALL] = recompute_together(ordered)
    comparisons = []
    for number in numbers:
        experiment = TUNING if number.table in TUNING_TABLES else ARCHITECTURE
        cells = found.get((experiment, number.dataset))
        if cells is not None:
            comparisons.append(Comparison(number, cells[number.table, number.cell]))
    return Replication(TITLE, tuple(comparisons), tuple(remarks))


def dataset_of(_: str, letters: str) -> tuple[str] | None:
    """The data set for the letters in a file name.

    >>> dataset_of("tuning", "fashionmnist")
    ('fashion-mnist',)
    """
    return (DATASETS[letters],) if letters in DATASETS else None
