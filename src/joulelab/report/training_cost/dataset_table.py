"""How far the data set goes with the energy of a training: point-biserial correlation.

With x = 0 for one data set and x = 1 for the other it is Pearson's r of x and the energy; Tate,
"Correlation between a discrete and a continuous variable", Annals of Mathematical Statistics 25
(1954). Its square is the share of the variance of energy that lies between the data sets. The
interval is Fisher's: tanh(atanh r +- 1.96 / sqrt(n - 3)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from joulelab import formats
from joulelab.analysis.comparison import ratio_interval
from joulelab.report.experiment import Experiment, once
from joulelab.report.tables import Omitted, Table
from joulelab.report.training_cost.configurations import (
    BASE,
    DATASET,
    NETWORK,
    configurations,
    repeated,
    short_datasets,
    sound,
)
from joulelab.report.training_cost.cost_tables import no_costs

TWO = 2
FEWEST = 4
"""With fewer measurements Fisher's interval has no length."""


@dataclass(frozen=True)
class DatasetCorrelation:
    """The point-biserial correlation of energy with one of two data sets.

    Attributes:
        less: the data set whose trainings take less energy on average.
        more: the other one.
        r: of `more`, so that it is not below 0.
        low: lower end of its 95 % interval.
        high: upper end.
        p: of the hypothesis that there is none.
        n: measurements.
        ratio: energy on `more` over that on `less`, geometric mean over pairs of configurations
            with equal network and base; NaN where there is no pair.
        ratio_low: lower end of its 95 % interval; NaN with fewer than two pairs.
        ratio_high: upper end.
        pairs: how many.
    """

    less: str
    more: str
    r: float
    low: float
    high: float
    p: float
    n: int
    ratio: float
    ratio_low: float
    ratio_high: float
    pairs: int


@once
def dataset_correlation(experiment: Experiment) -> DatasetCorrelation | str:
    """How far the data set goes with the energy, or why that cannot be said."""
    whole = sound(experiment)
    energy = str(whole.energy.column)
    rows = whole.measured.dropna(subset=[energy])
    means = rows.groupby(DATASET, sort=False)[energy].mean().sort_values()
    if len(means) != TWO:
        return f"it needs two data sets, here {'is' if len(means) == 1 else 'are'} {len(means)}"
    if not repeated(experiment):
        return "each configuration has one measurement"
    if len(rows) < FEWEST:
        return f"it needs {FEWEST} runs, here are {len(rows)}"
    if rows[energy].nunique() == 1:
        return "all energies are the same"
    less, more = map(str, means.index)
    found = stats.pearsonr((rows[DATASET] == more).astype(float), rows[energy])
    interval = found.confidence_interval()
    return DatasetCorrelation(
        less,
        more,
        float(found.statistic),
        float(interval.low),
        float(interval.high),
        float(found.pvalue),
        len(rows),
        *_paired(experiment, less, more),
    )


@once
def dataset_table(experiment: Experiment) -> Table | Omitted:
    """Point-biserial correlation of the data set with the energy."""
    key, title = "point-biserial", "Data set and energy: point-biserial correlation"
    if (omitted := no_costs(experiment, key, title)) is not None:
        return omitted
    found = dataset_correlation(experiment)
    if isinstance(found, str):
        return Omitted(key, title, f"{found}.")
    raw = pd.DataFrame([{**vars(found), "r_squared": found.r**2}])
    short = short_datasets([found.less, found.more])
    shown = pd.DataFrame(
        {
            "more energy": raw["more"].map(short),
            "less": raw["less"].map(short),
            "r": raw["r"].map(formats.effect),
            "95 % interval": formats.intervals(raw["low"], raw["high"], formats.effect),
            "p": raw["p"].map(formats.p_value),
            "r²": raw["r_squared"].map(formats.effect),
            "paired": (raw["ratio"] - 1).map(formats.change),
            "its interval": formats.intervals(
                raw["ratio_low"] - 1, raw["ratio_high"] - 1, formats.change
            ),
        }
    )
    note = (
        f"Pearson's r of energy and data set (0 or 1), {formats.count(found.n, 'run')}; r² is the "
        "share of the variance of energy between the data sets. Network and base are in the rest: "
        "a small r does not say that the data set does little. Paired: what it adds at equal "
        f"network and base, geometric mean of {formats.count(found.pairs, 'pair')} (Student)."
    )
    text = ("more energy", "less", "95 % interval", "its interval")
    return Table(key, title, note, raw, shown, text, wide=("its interval",))


def _paired(experiment: Experiment, less: str, more: str) -> tuple[float, float, float, int]:
    """Energy on one data set over that on the other, at equal network and base."""
    means = configurations(experiment).pivot(
        index=[NETWORK, BASE], columns=DATASET, values="energy_j"
    )
    both = means[[less, more]].dropna()
    if not len(both):
        return math.nan, math.nan, math.nan, 0
    found = ratio_interval(list(both[more]), list(both[less]))
    return found.value, found.low, found.high, found.n
