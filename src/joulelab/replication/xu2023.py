"""Recompute Xu et al. (HICSS 2023) from their published raw data.

::

    DIR/kaggle-<data set>-<region>.csv    architecture and place, from CodeCarbon's rows
    DIR/instruments-<data set>.csv        CodeCarbon beside a wattmeter

The files that are present are compared. The printed statistics of place and architecture, and the
mean energies, come from the authors' published analysis: 45 trainings of five files (no MNIST in
Taipei). The statistics are computed twice: on CodeCarbon's readings unchanged, as published, and
per training, because these readings are cumulative.

The rows do not name their training. The authors trained VGG16, VGG19 and ResNet50 in this order,
equally often, and their own analysis assigns the rows by position::

    row       1      2      3      4      5      6      7         8         9
              VGG16  VGG16  VGG16  VGG19  VGG19  VGG19  ResNet50  ResNet50  ResNet50
    run_id    a      a      a      b      b      b      b         b         b

The data confirm this: with this assignment, the unchanged rows give every statistic that the
authors print. In each file the run_id changes after the first third and never within a third, and
the trainings of the last third take longest, like those of ResNet50 where the architecture is known
(the runs read by both instruments). A file is refused if its run_ids change within a third, or if
every ResNet50 is faster than every VGG of one kind.

So VGG19 and ResNet50 share a run_id, and the readings within it are cumulative: an unchanged row of
ResNet50 includes three trainings of VGG19. The published statistics use such rows. For the mean
energies the authors took differences, but not across the architectures of a run_id, so their mean
for ResNet50 is about twice the real one. With M1 the mean of the level that is first by name
(CIFAR-10), M2 of the other, p its share of the rows and s the standard deviation (n), the
point-biserial correlation is, with the authors' sign::

    r = (M1 - M2) sqrt(p (1 - p)) / s                   below 0: MNIST takes more

The files of both instruments have one row per training, CodeCarbon in kWh and the wattmeter in
joules or Wh::

    dataset, architecture, repetition, codecarbon_energy_kwh, wattmeter_energy_j
    codecarbon_cpu_kwh, codecarbon_gpu_kwh, codecarbon_ram_kwh        optional

CodeCarbon's energy is the sum of its parts, and some of its processor energies are negative. The
paper's figures include these trainings; the same figures without them are given as well, because a
sum with a negative part is not a reading. Limits of agreement, regression line and concordance are
not in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.agreement import Agreement, agreement
from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.negative_energy import in_words
from joulelab.errors import DatasetError
from joulelab.replication.codecarbon_rows import G_PER_KG, J_PER_KWH, read_emissions
from joulelab.replication.published import (
    ALL,
    Comparison,
    Key,
    Published,
    Recomputed,
    Replication,
    find_files,
    joined,
    letters,
    printed,
)
from joulelab.tabular.reader import read_table

TITLE = "Xu et al., Energy Efficiency of Training Neural Network Architectures, HICSS 2023"
WANTED = (
    "kaggle-DATASET-REGION.csv and instruments-DATASET.csv, DATASET cifar10 or mnist, REGION "
    "oregon, south-carolina or taipei"
)
KAGGLE, INSTRUMENTS = "kaggle", "instruments"
DATASETS = ("cifar10", "mnist")
REGIONS = ("oregon", "south-carolina", "taipei")
ARCHITECTURES = ("VGG16", "VGG19", "ResNet50")
LAST = ARCHITECTURES[-1]
TRAININGS = 45
AS_THEY_STAND = "Readings as they stand"
PER_TRAINING = "Readings per training"
MEAN = "Mean energy of a training, kWh"
INTENSITY = "Carbon intensity, kg/kWh"
READINGS = {"energy": "energy_j", "emissions": "emissions_g"}
CUMULATIVE = "cumulative_"
FIRST_READING = "the first of the three was used as recorded, so it includes all of VGG19"
BOTH = "CodeCarbon / wattmeter"
SOUND = "CodeCarbon / wattmeter, sound readings"
RATIO = "ratio"
"""The cell with the printed range of the ratio."""
READ_BY_BOTH = 18
WH_J = 3600.0
ENDS = "end of its 95 % interval"
CODECARBON, WATTMETER = "codecarbon_j", "wattmeter_j"
PARTS = {f"codecarbon_{part}_kwh": f"codecarbon_{part}_j" for part in ("cpu", "gpu", "ram")}
CORRECTED = "readings of CodeCarbon are cumulative within a run_id; this is per training"


def replicate(folder: Path) -> Replication:
    """Recompute the published numbers from the raw data in a folder.

    Args:
        folder: with ``kaggle-<data set>-<region>.csv`` or ``instruments-<data set>.csv``.

    Raises:
        UsageError: the folder does not exist, has none of the files, or has one of them twice.
        DatasetError: a file cannot be read, or has different content.
    """
    files, remarks = find_files(folder, (KAGGLE, INSTRUMENTS), data_of, WANTED)
    numbers = printed("xu2023")
    comparisons: list[Comparison] = []
    if kaggle := {key[1:]: path for key, path in files.items() if key[0] == KAGGLE}:
        trainings, more = read_trainings(kaggle)
        comparisons += _compare_places(trainings, numbers)
        remarks += more
    if both := {key[1]: path for key, path in files.items() if key[0] == INSTRUMENTS}:
        found, more = compare_instruments(read_instruments(both), numbers)
        comparisons += found
        remarks += more
    return Replication(TITLE, tuple(comparisons), tuple(remarks))


def data_of(kind: str, name: str) -> Key | None:
    """The data set, and for Kaggle's files the region, from the letters of a file name.

    >>> data_of("kaggle", "mnisttaipeicity2"), data_of("instruments", "cifar10")
    (('mnist', 'taipei'), ('cifar10',))
    """
    dataset = next((one for one in DATASETS if name.startswith(one)), None)
    if dataset is None:
        return None
    rest = name.removeprefix(dataset)
    if kind == INSTRUMENTS:
        return None if rest else (dataset,)
    # "Taipei City" in the rows; some files carry the number of an attempt.
    region = next((one for one in REGIONS if rest.startswith(letters(one))), None)
    return None if region is None else (dataset, region)


def read_trainings(files: Mapping[Key, Path]) -> tuple[pd.DataFrame, list[str]]:
    """Read CodeCarbon's rows of all data sets and regions.

    Args:
        files: by data set and region.

    Returns:
        One row per training: ``dataset``, ``region``, ``architecture``, ``sound`` (no impossible
        total), and the columns of `joulelab.replication.codecarbon_rows.CodeCarbonRows`; and
        remarks about them.

    Raises:
        DatasetError: a file is not CodeCarbon's, or the order of its rows does not give the
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
            sound=~read.is_impossible(*READINGS.values()),
        )
        frames.append(rows)
        remarks.append(f"{path.name}: {read.trap}")
        if len(read.impossible):
            remarks.append(f"{path.name}: {in_words(read.impossible, formats.number)}")
        remarks += [f"{path.name}: {line}" for line in _shared(rows)]
    return pd.concat(frames, ignore_index=True), remarks


def architectures(path: Path, rows: pd.DataFrame, remarks: list[str]) -> list[str]:
    """The architecture of each row, by its position; see the module's docstring.

    Args:
        path: of the file, for messages.
        rows: in order of time: ``line``, ``run_id`` and ``duration_s`` of each training.
        remarks: list to which doubts are added.

    Raises:
        DatasetError: the rows are not three equal parts, a run_id changes within one, or every
            ResNet50 would be faster than another architecture.
    """
    each, rest = divmod(len(rows), len(ARCHITECTURES))
    if rest:
        raise DatasetError(
            f"{path} has {len(rows)} rows, not {len(ARCHITECTURES)} architectures with equally "
            "many trainings",
            f"needed: the trainings of {formats.listing(ARCHITECTURES)}, in this order",
        )
    run_ids = rows["run_id"].to_list()
    for row in range(1, len(rows)):
        if row % each and run_ids[row] != run_ids[row - 1]:
            raise DatasetError(
                f"{path}, line {rows['line'].iloc[row]}: the run_id changes within the "
                f"{each} trainings of {ARCHITECTURES[row // each]}",
                "the position of a row gives its architecture; put the rows of each architecture "
                f"together: {formats.listing(ARCHITECTURES)}",
            )
    names = list(np.repeat(ARCHITECTURES, each))
    _check_durations(path, rows, names, remarks)
    return names


def _check_durations(path: Path, rows: pd.DataFrame, names: list[str], remarks: list[str]) -> None:
    """Check that ResNet50 takes longest, as it does wherever the architecture is known."""
    durations = rows["duration_s"].groupby(np.array(names))
    median, least, most = durations.median(), durations.min(), durations.max()
    for other in ARCHITECTURES[:-1]:
        if most[LAST] < least[other]:
            raise DatasetError(
                f"{path}: every training at the position of {LAST} is shorter than those of "
                f"{other}, but {LAST} takes longer",
                f"the rows are in the wrong order; needed: {formats.listing(ARCHITECTURES)}",
            )
        if median[LAST] <= median[other]:
            remarks.append(
                f"{path.name}: the trainings at the position of {LAST} are not the longest; their "
                "architecture is doubtful"
            )


def _shared(rows: pd.DataFrame) -> list[str]:
    """The run_ids that several architectures share."""
    return [
        f"run_id {run} is shared by {formats.listing(list(group['architecture'].unique()))}"
        for run, group in rows.groupby("run_id", sort=False)
        if group["architecture"].nunique() > 1
    ]


def _compare_places(rows: pd.DataFrame, numbers: Iterable[Published]) -> list[Comparison]:
    """Compare printed statistics with unchanged rows and with trainings; energies; intensities."""
    part = (
        ""
        if len(rows) == TRAININGS
        else f"of {len(rows)} trainings; the printed number is for {TRAININGS}"
    )
    sound = rows[rows["sound"]]
    left_out = len(rows) - len(sound)
    gone = f"{formats.count(left_out, 'impossible training')} left out" if left_out else ""
    as_they_stand, per_training = _statistics(rows, CUMULATIVE), _statistics(sound, "")
    means = sound.groupby(["dataset", "region", "architecture"])["energy_j"].mean() / J_PER_KWH
    counted = rows[rows["cumulative_energy_j"] > 0]
    ratios = counted["cumulative_emissions_g"] / counted["cumulative_energy_j"]
    intensities = {
        region: float(there.mean()) * J_PER_KWH / G_PER_KG
        for region, there in ratios.groupby(counted["region"])
    }
    read = set(zip(sound["dataset"], sound["region"], strict=True))
    found = []
    for one in numbers:
        if one.table == AS_THEY_STAND:
            value, reason = as_they_stand[one.cell]
            known = Recomputed(value, joined(reason, part))
        elif one.table == PER_TRAINING:
            value, reason = per_training[one.cell]
            known = Recomputed(value, joined(reason, CORRECTED, gone, part))
        elif one.table == MEAN:
            region, architecture = one.cell.split(".")
            if (one.dataset, region) not in read:
                continue
            energy_kwh = means.get((one.dataset, region, architecture))
            known = Recomputed(energy_kwh, FIRST_READING if architecture == LAST else "")
        elif one.table == INTENSITY and one.cell in intensities:
            known = Recomputed(intensities[one.cell])
        else:
            continue
        found.append(Comparison(one, known))
    return found


def _statistics(rows: pd.DataFrame, prefix: str) -> dict[str, tuple[float, str]]:
    """Every statistic, and the reason if it is undefined, by cell."""
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
    """The point-biserial correlation of a reading with the data set, or the reason why not.

    Args:
        rows: one row per training, with ``dataset``.
        column: the reading.

    >>> rows = pd.DataFrame({"dataset": ["cifar10"] * 2 + ["mnist"] * 2, "e": [1.0, 2, 3, 4]})
    >>> round(point_biserial(rows, "e")[0], 3)
    -0.894
    """
    first = rows["dataset"] == DATASETS[0]
    if rows["dataset"].nunique() < len(DATASETS):
        return math.nan, "only one data set"
    share = float(first.mean())
    apart = float(rows.loc[first, column].mean() - rows.loc[~first, column].mean())
    spread = float(rows[column].std(ddof=0))
    if not spread:
        return math.nan, "all readings are the same"
    return apart * math.sqrt(share * (1 - share)) / spread, ""


def read_instruments(files: Mapping[str, Path]) -> pd.DataFrame:
    """Read the files of all data sets.

    Args:
        files: by data set.

    Returns:
        One row per training: ``dataset``, ``run`` (data set, architecture, repetition),
        ``codecarbon_j``, ``wattmeter_j``, and the parts present, ``codecarbon_cpu_j`` ...

    Raises:
        DatasetError: a column is absent, or a cell is not a number.
    """
    return pd.concat(
        [_read_instruments(path, dataset) for dataset, path in files.items()], ignore_index=True
    )


def _read_instruments(path: Path, dataset: str) -> pd.DataFrame:
    table = read_table(path, DatasetError)
    in_joules = table.column("wattmeter_energy_j") or not table.column("wattmeter_energy_wh")
    wall = "wattmeter_energy_j" if in_joules else "wattmeter_energy_wh"
    architecture, repetition, *_ = table.require(
        "architecture", "repetition", "codecarbon_energy_kwh", wall
    )
    columns = {
        "codecarbon_energy_kwh": (CODECARBON, J_PER_KWH),
        wall: (WATTMETER, 1.0 if in_joules else WH_J),
        **{name: (own, J_PER_KWH) for name, own in PARTS.items() if table.column(name)},
    }
    frame = pd.DataFrame(
        {
            own: factor * table.bounded(found)
            for name, (own, factor) in columns.items()
            if (found := table.column(name))
        }
    )
    trainings = zip(table.texts(architecture), table.texts(repetition), strict=True)
    return frame.assign(
        dataset=dataset,
        run=[f"{dataset}.{network}.{number}" for network, number in trainings],
    )


def compare_instruments(
    runs: pd.DataFrame, numbers: Iterable[Published]
) -> tuple[list[Comparison], list[str]]:
    """Compare ratios and printed statistics, with and without impossible readings.

    Args:
        runs: from `read_instruments`.
        numbers: the printed numbers.

    Returns:
        The comparisons, and remarks on impossible readings.

    Raises:
        UsageError: no training has two sound readings.
    """
    printed = {(one.table, one.cell): one.text for one in numbers}
    everything = agreement(runs, CODECARBON, WATTMETER, "run")
    parts = [name for name in PARTS.values() if name in runs]
    sound = agreement(runs, CODECARBON, WATTMETER, "run", parts)
    part = (
        ""
        if len(runs) == READ_BY_BOTH
        else f"of {formats.count(len(runs), 'training')}; the printed number is for {READ_BY_BOTH}"
    )
    wrong = {
        str(run): in_words(group, formats.joules)
        for run, group in sound.impossible.groupby("run", sort=False)
    }
    ratios = zip(everything.runs["run"], everything.runs["ratio"], strict=True)
    found = [
        Comparison(
            Published(BOTH, run.partition(".")[0], f"{RATIO}.{run}", printed[BOTH, RATIO]),
            Recomputed(float(ratio), wrong.get(run, "")),
        )
        for run, ratio in ratios
    ]

    def add(table: str, agreed: Agreement, part: str) -> None:
        for cell, (value, note) in _agreement_cells(agreed).items():
            number = Published(table, ALL, cell, printed.get((table, cell), ""))
            found.append(Comparison(number, Recomputed(value, joined(note, agreed.reason, part))))

    add(BOTH, everything, part)
    remarks = []
    if wrong:
        gone = f"without {formats.count(len(wrong), 'training')} with an impossible reading"
        add(SOUND, sound, joined(gone, part))
        remarks.append(f"{BOTH}: {in_words(sound.impossible, formats.joules)}")
    return found, remarks


def _agreement_cells(found: Agreement) -> dict[str, tuple[float, str]]:
    """Printed statistics first, then further ones; each with a note."""
    ratios, apart, line = found.ratios, found.differences, found.passing_bablok
    factor = found.calibration.factor
    grows = "the difference grows with the energy, so read the ratio"
    of_difference = grows if found.proportional.found else ""
    r = found.pearson
    return {
        "ratio.min": (float(found.runs["ratio"].min()), ""),
        "ratio.max": (float(found.runs["ratio"].max()), ""),
        "r": (r.value, f"95 %: {formats.interval(r.low, r.high, formats.effect)}"),
        "ratio.mean": (float(found.runs["ratio"].mean()), ""),
        "ratio.geometric_mean": (ratios.mean.value, ""),
        "ratio.geometric_mean.low": (ratios.mean.low, ENDS),
        "ratio.geometric_mean.high": (ratios.mean.high, ENDS),
        "ratio.limit_of_agreement.lower": (ratios.lower, ""),
        "ratio.limit_of_agreement.lower.low": (ratios.lower_low, ENDS),
        "ratio.limit_of_agreement.lower.high": (ratios.lower_high, ENDS),
        "ratio.limit_of_agreement.upper": (ratios.upper, ""),
        "ratio.limit_of_agreement.upper.low": (ratios.upper_low, ENDS),
        "ratio.limit_of_agreement.upper.high": (ratios.upper_high, ENDS),
        "difference_mj.mean": (apart.mean.value / 1e6, of_difference),
        "difference_mj.limit_of_agreement.lower": (apart.lower / 1e6, of_difference),
        "difference_mj.limit_of_agreement.upper": (apart.upper / 1e6, of_difference),
        "proportional_bias.p": (found.proportional.p, "of the differences"),
        "concordance": (found.concordance.value, "Lin's coefficient"),
        "passing_bablok.slope": (line.slope, line.reason),
        "passing_bablok.slope.low": (line.slope_low, ENDS),
        "passing_bablok.slope.high": (line.slope_high, ENDS),
        "calibration_factor": (factor.value, "wattmeter / CodeCarbon, geometric means"),
        "calibration_factor.low": (factor.low, ENDS),
        "calibration_factor.high": (factor.high, ENDS),
    }
