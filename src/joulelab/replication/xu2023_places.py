"""Architecture and place in Xu et al. (HICSS 2023), from the rows that CodeCarbon wrote on Kaggle.

Which training a row belongs to is not in the rows. The authors trained VGG16, VGG19 and ResNet50 in
this order, each as often as the others, and their own analysis assigns the rows by their place::

    row       1      2      3      4      5      6      7         8         9
              VGG16  VGG16  VGG16  VGG19  VGG19  VGG19  ResNet50  ResNet50  ResNet50
    run_id    a      a      a      b      b      b      b         b         b

The data bear it out: so assigned, the rows as they stand give every statistic that the authors
print. In each file the run_id changes after the first third and nowhere within a third, and the
trainings of the last third last longest, as those of ResNet50 do where the
architecture is known (the runs that both instruments have read). A file whose run_ids change within
a third, or with a ResNet50 that is faster throughout than a VGG, is refused.

VGG19 and ResNet50 so share a run_id, and the readings within one go on counting: as they stand, a
row of ResNet50 holds three trainings of VGG19. The published statistics are of such rows. For the
mean energies the authors took differences, but not across the architectures of a run_id, so that
their ResNet50 takes about twice what it took. With M1
the mean of the level that comes first by name (CIFAR-10), M2 of the other, p its share of the rows
and s the standard deviation (n), the point-biserial correlation is, with the authors' sign::

    r = (M1 - M2) sqrt(p (1 - p)) / s                   below 0: MNIST takes more
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.negative_energy import in_words
from joulelab.errors import DatasetError
from joulelab.replication.codecarbon_rows import G_PER_KG, J_PER_KWH, read_emissions
from joulelab.replication.published import Comparison, Recomputed, joined
from joulelab.replication.xu2023_printed import (
    ARCHITECTURES,
    AS_THEY_STAND,
    CIFAR,
    DATASETS,
    INTENSITIES,
    PER_TRAINING,
    TRAININGS,
    intensity,
    mean_cell,
    means,
    statistics,
)

LAST = ARCHITECTURES[-1]
READINGS = {"energy": "energy_j", "emissions": "emissions_g"}
CUMULATIVE = "cumulative_"
FIRST_READING = "the first of the three was taken as it stands, and so holds all of VGG19 too"
CORRECTED = "readings of CodeCarbon go on counting within a run_id; per training it is this"


@dataclass(frozen=True)
class Places:
    """The trainings of all files.

    Attributes:
        trainings: a row a training: ``dataset``, ``region``, ``architecture``, ``run_id``,
            ``sound`` (no impossible total), and the columns of
            `joulelab.replication.codecarbon_rows.CodeCarbonRows`.
        files: how many there are.
        remarks: what to know about them.
    """

    trainings: pd.DataFrame
    files: int
    remarks: tuple[str, ...]


def read_places(files: Mapping[tuple[str, str], Path]) -> Places:
    """Read the files of all data sets and regions.

    Args:
        files: by data set and region.

    Raises:
        DatasetError: a file is not CodeCarbon's, or the order of its rows does not tell the
            architectures.
    """
    frames = []
    remarks: list[str] = []
    for (dataset, region), path in files.items():
        read = read_emissions(path)
        rows = read.trainings.assign(
            dataset=dataset,
            region=region,
            architecture=architectures(path, read.trainings, remarks),
        )
        wrong = set(read.impossible.loc[read.impossible["column"].isin(READINGS.values()), "run"])
        labels = [f"line {a} ({b})" for a, b in zip(rows["line"], rows["run_id"], strict=True)]
        frames.append(rows.assign(sound=[label not in wrong for label in labels]))
        remarks.append(f"{path.name}: {read.trap}")
        if len(read.impossible):
            remarks.append(f"{path.name}: {in_words(read.impossible, formats.number)}")
        remarks += [f"{path.name}: {line}" for line in _shared(rows)]
    return Places(pd.concat(frames, ignore_index=True), len(frames), tuple(remarks))


def architectures(path: Path, rows: pd.DataFrame, remarks: list[str]) -> list[str]:
    """The architecture of each row, by its place; see the head of this module.

    Args:
        path: of the file, for messages.
        rows: in order of time: ``line``, ``run_id`` and ``duration_s`` of each training.
        remarks: doubts are added to these.

    Raises:
        DatasetError: the rows are not three equal parts, a run_id changes within one, or ResNet50
            would be faster throughout than another.
    """
    each, rest = divmod(len(rows), len(ARCHITECTURES))
    if rest:
        raise DatasetError(
            f"{path} has {len(rows)} rows, which are not {len(ARCHITECTURES)} architectures with "
            "as many trainings each",
            f"needed: the trainings of {formats.listing(ARCHITECTURES)}, in this order",
        )
    run_ids = rows["run_id"].to_list()
    for row in range(1, len(rows)):
        if row % each and run_ids[row] != run_ids[row - 1]:
            raise DatasetError(
                f"{path}, line {rows['line'].iloc[row]}: the run_id changes within the "
                f"{each} trainings of {ARCHITECTURES[row // each]}",
                "the architecture of a row is known by its place; put the rows of each "
                f"architecture together: {formats.listing(ARCHITECTURES)}",
            )
    names = list(np.repeat(ARCHITECTURES, each))
    _check_durations(path, rows, names, remarks)
    return names


def _check_durations(path: Path, rows: pd.DataFrame, names: list[str], remarks: list[str]) -> None:
    """ResNet50 takes longest wherever the architecture is known."""
    durations = rows["duration_s"].groupby(np.array(names))
    median, least, most = durations.median(), durations.min(), durations.max()
    for other in ARCHITECTURES[:-1]:
        if most[LAST] < least[other]:
            raise DatasetError(
                f"{path}: every training in the place of {LAST} is shorter than those in that of "
                f"{other}, and it takes longer",
                f"the rows are in another order; needed: {formats.listing(ARCHITECTURES)}",
            )
        if median[LAST] <= median[other]:
            remarks.append(
                f"{path.name}: the trainings in the place of {LAST} are not the longest; their "
                "architecture is doubtful"
            )


def _shared(rows: pd.DataFrame) -> list[str]:
    """The run_ids that several architectures share."""
    return [
        f"run_id {run} is shared by {formats.listing(list(group['architecture'].unique()))}"
        for run, group in rows.groupby("run_id", sort=False)
        if group["architecture"].nunique() > 1
    ]


def compare_places(places: Places) -> list[Comparison]:
    """Printed statistics on rows as they stand, then on trainings; mean energies; intensities."""
    rows = places.trainings
    part = (
        ""
        if len(rows) == TRAININGS
        else f"of {len(rows)} trainings; the printed number is of {TRAININGS}"
    )
    sound = rows[rows["sound"]]
    left_out = len(rows) - len(sound)
    gone = f"{formats.count(left_out, 'impossible training')} left out" if left_out else ""
    found = []
    for table, frame, prefix, note in (
        (AS_THEY_STAND, rows, CUMULATIVE, ""),
        (PER_TRAINING, sound, "", joined(CORRECTED, gone)),
    ):
        cells = _statistics(frame, prefix)
        for one in statistics(table):
            value, reason = cells[one.cell]
            known = value if math.isfinite(value) else None
            found.append(Comparison(one, Recomputed(known, joined(reason, note, part))))
    return found + _means(sound) + _intensities(rows)


def _statistics(rows: pd.DataFrame, prefix: str) -> dict[str, tuple[float, str]]:
    """Every statistic and, where it is not defined, the reason, by cell."""
    cells: dict[str, tuple[float, str]] = {}
    for name, column in READINGS.items():
        table = kruskal(rows, ["architecture", "region"], prefix + column)
        for row in table.to_dict("records"):
            cell, reason = f"{name}.{row['factor']}", str(row["reason"])
            cells[f"{cell}.H"] = float(row["h"]), reason
            cells[f"{cell}.p"] = float(row["p"]), reason
        cells[f"{name}.dataset.point_biserial"] = point_biserial(rows, prefix + column)
    return cells


def point_biserial(rows: pd.DataFrame, column: str) -> tuple[float, str]:
    """The point-biserial correlation of a reading with the data set, and why there is none.

    Args:
        rows: a row a training, with ``dataset``.
        column: the reading.

    >>> rows = pd.DataFrame({"dataset": ["cifar10"] * 2 + ["mnist"] * 2, "e": [1.0, 2, 3, 4]})
    >>> round(point_biserial(rows, "e")[0], 3)
    -0.894
    """
    first = rows["dataset"] == CIFAR
    if rows["dataset"].nunique() < len(DATASETS):
        return math.nan, "there is only one data set"
    share = float(first.mean())
    apart = float(rows.loc[first, column].mean() - rows.loc[~first, column].mean())
    spread = float(rows[column].std(ddof=0))
    if not spread:
        return math.nan, "all readings are the same"
    return apart * math.sqrt(share * (1 - share)) / spread, ""


def _means(rows: pd.DataFrame) -> list[Comparison]:
    """Mean energy of each architecture in each file, in kWh."""
    found = []
    for (dataset, region), there in rows.groupby(["dataset", "region"], sort=False):
        energy_j = there.groupby("architecture")["energy_j"].mean()
        own = {mean_cell(str(region), str(name)): value for name, value in energy_j.items()}
        for one in means(str(dataset), str(region)):
            known = float(own[one.cell]) / J_PER_KWH if one.cell in own else None
            note = FIRST_READING if one.cell.endswith(LAST) else ""
            found.append(Comparison(one, Recomputed(known, note)))
    return found


def _intensities(rows: pd.DataFrame) -> list[Comparison]:
    """Emissions over energy in each region, in kg/kWh."""
    found = []
    for region in INTENSITIES:
        there = rows[(rows["region"] == region) & (rows["cumulative_energy_j"] > 0)]
        if len(there):
            ratio = there["cumulative_emissions_g"] / there["cumulative_energy_j"]
            kg_per_kwh = float(ratio.mean()) * J_PER_KWH / G_PER_KG
            found.append(Comparison(intensity(region), Recomputed(kg_per_kwh)))
    return found
