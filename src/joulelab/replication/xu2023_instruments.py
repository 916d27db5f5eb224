"""CodeCarbon beside a wattmeter on the same trainings: Xu et al. (HICSS 2023).

A row a training, CodeCarbon in kWh and the wattmeter in joules or Wh::

    dataset, architecture, repetition, codecarbon_energy_kwh, wattmeter_energy_j
    codecarbon_cpu_kwh, codecarbon_gpu_kwh, codecarbon_ram_kwh        where there are

CodeCarbon's energy is the sum of its parts, and some of its energies of the processor are below
zero. What the paper prints is over all trainings; beside it stands the same without those that have
an impossible part, for a sum with such a part in it is no reading either. Limits of agreement, a
line and a concordance are not in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from joulelab import formats
from joulelab.analysis.agreement import Agreement, agreement
from joulelab.analysis.negative_energy import in_words
from joulelab.errors import DatasetError
from joulelab.replication.codecarbon_rows import J_PER_KWH
from joulelab.replication.published import (
    ALL,
    Comparison,
    Published,
    Recomputed,
    joined,
)
from joulelab.tabular.reader import read_table

TABLE = "CodeCarbon / wattmeter"
SOUND = "CodeCarbon / wattmeter, sound readings"
RATIO = "ratio"
"""The cell with the printed range of the ratio."""
TRAININGS = 18
WH_J = 3600.0
ENDS = "end of its 95 % interval"
CODECARBON, WATTMETER = "codecarbon_j", "wattmeter_j"
PARTS = {f"codecarbon_{part}_kwh": f"codecarbon_{part}_j" for part in ("cpu", "gpu", "ram")}


def read_instruments(files: Mapping[str, Path]) -> pd.DataFrame:
    """Read the files of all data sets.

    Args:
        files: by data set.

    Returns:
        A row a training: ``dataset``, ``run`` (data set, architecture, repetition),
        ``codecarbon_j``, ``wattmeter_j``, and the parts that there are, ``codecarbon_cpu_j`` ...

    Raises:
        DatasetError: a column is absent, or a cell is not a number.
    """
    return pd.concat([_read(path, dataset) for dataset, path in files.items()], ignore_index=True)


def _read(path: Path, dataset: str) -> pd.DataFrame:
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
    """The ratio of every training, and what is printed, with and without impossible readings.

    Args:
        runs: what `read_instruments` gave.
        numbers: what is printed.

    Returns:
        The comparisons, and what to say about impossible readings.

    Raises:
        UsageError: no training has two sound readings.
    """
    printed = {(one.table, one.cell): one.text for one in numbers}
    everything = agreement(runs, CODECARBON, WATTMETER, "run")
    parts = [name for name in PARTS.values() if name in runs]
    sound = agreement(runs, CODECARBON, WATTMETER, "run", parts)
    part = (
        ""
        if len(runs) == TRAININGS
        else f"of {formats.count(len(runs), 'training')}; the printed number is of {TRAININGS}"
    )
    wrong = {
        str(run): in_words(group, formats.joules)
        for run, group in sound.impossible.groupby("run", sort=False)
    }
    ratios = zip(everything.runs["run"], everything.runs["ratio"], strict=True)
    found = [
        Comparison(
            Published(TABLE, run.partition(".")[0], f"{RATIO}.{run}", printed[TABLE, RATIO]),
            Recomputed(float(ratio), wrong.get(run, "")),
        )
        for run, ratio in ratios
    ]

    def add(table: str, agreed: Agreement, part: str) -> None:
        for cell, (value, note) in _statistics(agreed).items():
            number = Published(table, ALL, cell, printed.get((table, cell), ""))
            found.append(Comparison(number, Recomputed(value, joined(note, agreed.reason, part))))

    add(TABLE, everything, part)
    remarks = []
    if wrong:
        gone = f"without {formats.count(len(wrong), 'training')} with an impossible reading"
        add(SOUND, sound, joined(gone, part))
        remarks.append(f"{TABLE}: {in_words(sound.impossible, formats.joules)}")
    return found, remarks


def _statistics(found: Agreement) -> dict[str, tuple[float, str]]:
    """What the paper prints, then what it could have printed; each with a note."""
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
