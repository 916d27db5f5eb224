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

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from joulelab import formats
from joulelab.analysis.agreement import Agreement, agreement
from joulelab.analysis.concordance import Correlation
from joulelab.analysis.negative_energy import in_words
from joulelab.errors import DatasetError
from joulelab.replication.codecarbon_rows import J_PER_KWH
from joulelab.replication.published import Comparison, Published, Recomputed, joined
from joulelab.replication.xu2023_printed import (
    ALL,
    BOTH_INSTRUMENTS,
    INSTRUMENTS,
    RATIO,
    SOUND,
)
from joulelab.tabular.reader import read_table

WH_J = 3600.0
ENDS = "end of its 95 % interval"
CODECARBON, WATTMETER = "codecarbon_j", "wattmeter_j"
PARTS = {f"codecarbon_{part}_kwh": f"codecarbon_{part}_j" for part in ("cpu", "gpu", "ram")}
NAMES = ("dataset", "architecture", "repetition")


@dataclass(frozen=True)
class WithinPrinted(Comparison):
    """A recomputed number beside a printed range that it should lie in."""

    @property
    def agrees(self) -> bool | None:
        """Whether it lies between the ends, at two decimals."""
        value = self.value
        if not isinstance(value, float):
            return None
        return RATIO[0] <= round(value, 2) <= RATIO[1]


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
    table.require(*NAMES[1:], "codecarbon_energy_kwh", wall)
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
    trainings = zip(*(table.texts(name) for name in table.require(*NAMES[1:])), strict=True)
    return frame.assign(
        dataset=dataset,
        run=[f"{dataset}.{architecture}.{number}" for architecture, number in trainings],
    )


def compare_instruments(runs: pd.DataFrame) -> tuple[list[Comparison], list[str]]:
    """The ratio of every training, and what is printed, with and without impossible readings.

    Args:
        runs: what `read_instruments` gave.

    Returns:
        The comparisons, and what to say about impossible readings.

    Raises:
        UsageError: no training has two sound readings.
    """
    everything = agreement(runs, CODECARBON, WATTMETER, "run")
    parts = [name for name in PARTS.values() if name in runs]
    sound = agreement(runs, CODECARBON, WATTMETER, "run", parts)
    part = (
        ""
        if len(runs) == BOTH_INSTRUMENTS
        else f"of {formats.count(len(runs), 'training')}; the printed number is of "
        f"{BOTH_INSTRUMENTS}"
    )
    wrong = {
        str(run): in_words(group, formats.joules)
        for run, group in sound.impossible.groupby("run", sort=False)
    }
    found = [
        _within(
            str(row["run"]).partition(".")[0],
            str(row["run"]),
            float(row["ratio"]),
            wrong.get(str(row["run"]), ""),
        )
        for row in everything.runs.to_dict("records")
    ]
    found += _summary(INSTRUMENTS, everything, part)
    remarks = []
    if wrong:
        gone = f"without {formats.count(len(wrong), 'training')} with an impossible reading"
        found += _summary(SOUND, sound, joined(gone, part))
        remarks.append(f"CodeCarbon / wattmeter: {in_words(sound.impossible, formats.joules)}")
    return found, remarks


def _within(dataset: str, run: str, ratio: float, note: str) -> Comparison:
    text = f"{RATIO[0]:.2f} to {RATIO[1]:.2f}"
    return WithinPrinted(
        Published(INSTRUMENTS, dataset, f"ratio.{run}", text), Recomputed(ratio, note)
    )


def _summary(table: str, found: Agreement, part: str) -> list[Comparison]:
    """Ratio, correlation, limits, line and factor over all trainings."""
    ratios = found.runs["ratio"]
    printed = {
        "ratio.min": (f"{RATIO[0]:.2f}", float(ratios.min()), ""),
        "ratio.max": (f"{RATIO[1]:.2f}", float(ratios.max()), ""),
        "r": ("0.981", found.pearson.value, _interval(found.pearson)),
    }
    lines = [
        Comparison(
            Published(table, ALL, cell, text),
            Recomputed(_known(value), joined(note, found.reason, part)),
        )
        for cell, (text, value, note) in printed.items()
    ]
    return lines + [
        Comparison(
            Published(table, ALL, cell, ""),
            Recomputed(_known(value), joined(note, found.reason, part)),
        )
        for cell, (value, note) in _not_printed(found).items()
    ]


def _not_printed(found: Agreement) -> dict[str, tuple[float, str]]:
    """What the paper could have printed, with a note."""
    ratios, apart, line = found.ratios, found.differences, found.passing_bablok
    factor = found.calibration.factor
    grows = "the difference grows with the energy, so read the ratio"
    of_difference = grows if found.proportional.found else ""
    return {
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


def _interval(correlation: Correlation) -> str:
    return f"95 %: {formats.interval(correlation.low, correlation.high, formats.effect)}"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
