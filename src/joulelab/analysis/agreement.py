"""Do two instruments agree on the same runs, and by what factor is one of them off?

Everything that is asked of two instruments, over the runs that both have read::

    ratio               measured / reference, geometric mean    joulelab.analysis.comparison
    r, rho_c            correlation, and concordance            joulelab.analysis.concordance
    limits              of differences and of ratios            joulelab.analysis.bland_altman
    line                Passing-Bablok, and Deming              joulelab.analysis.passing_bablok
    calibration factor  reference / measured                    joulelab.analysis.calibration

Which to read: a high r only says that more energy reads as more. The **ratio** and its limits say
what a reading is worth; the **line** says whether a factor is all that is wrong. Readings at or
below zero cannot be energies: they are named and left out (`joulelab.analysis.negative_energy`). A
single run has a ratio and no statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from joulelab.analysis.bland_altman import (
    Limits,
    ProportionalBias,
    limits_of_differences,
    limits_of_ratios,
    proportional_bias,
)
from joulelab.analysis.calibration import Calibration, calibrate
from joulelab.analysis.concordance import Correlation, concordance, pearson
from joulelab.analysis.deming import deming
from joulelab.analysis.line import Line
from joulelab.analysis.missing import numbers
from joulelab.analysis.negative_energy import negative_energy
from joulelab.analysis.passing_bablok import passing_bablok
from joulelab.errors import UsageError

ONE_RUN = "one run: a ratio, and no statistics"


@dataclass(frozen=True)
class Agreement:
    """How an instrument agrees with a reference.

    Attributes:
        measured: name of the instrument's column.
        reference: that of the reference.
        runs: a row a run that counts: ``run``, ``measured``, ``reference``, ``ratio`` (measured /
            reference) and ``difference`` (measured - reference).
        pearson: correlation of the readings.
        concordance: Lin's coefficient.
        differences: mean difference and limits of agreement, in the unit of the readings.
        ratios: the same of measured / reference; its mean is the ratio of geometric means.
        proportional: whether the difference grows with the energy.
        passing_bablok: measured = intercept + slope * reference, whatever the outliers.
        deming: the same, by squares.
        calibration: reference / measured.
        impossible: readings at or below zero: ``run``, ``column``, ``value``. Their runs are left
            out.
        dropped: runs without a reading of one of the two, left out too.
        reason: why there are no statistics; empty where there are.
    """

    measured: str
    reference: str
    runs: pd.DataFrame
    pearson: Correlation
    concordance: Correlation
    differences: Limits
    ratios: Limits
    proportional: ProportionalBias
    passing_bablok: Line
    deming: Line
    calibration: Calibration
    impossible: pd.DataFrame
    dropped: int
    reason: str

    @property
    def n(self) -> int:
        """How many runs count."""
        return len(self.runs)


def agreement(
    runs: pd.DataFrame,
    measured: str,
    reference: str,
    run: str | None = None,
    parts: Sequence[str] = (),
) -> Agreement:
    """Compare an instrument with a reference over the same runs.

    Args:
        runs: a row a run.
        measured: column with the energies of the instrument.
        reference: column with those of the reference, in the same unit.
        run: column that names a run; without it, the index does.
        parts: further columns that a sound reading needs above zero, such as the parts that the
            instrument's energy is the sum of. A part that is missing does not matter.

    Raises:
        UsageError: a column is absent or does not hold numbers, or no run has two sound readings.

    >>> runs = pd.DataFrame({"codecarbon_j": [50.0, 61.0, 69.0, 81.0, -3.0],
    ...     "wall_j": [100.0, 120.0, 140.0, 160.0, 150.0]})
    >>> found = agreement(runs, "codecarbon_j", "wall_j")
    >>> round(found.ratios.mean.value, 3), found.n, found.impossible["run"].to_list()
    (0.502, 4, ['4'])
    """
    wrong = negative_energy(runs, [measured, reference, *parts], run)
    table = pd.DataFrame(
        {
            "run": (runs.index if run is None else runs[run]).astype(str),
            "measured": numbers(runs, measured),
            "reference": numbers(runs, reference),
        }
    )
    sound = np.ones(len(runs), bool)
    for column in (measured, reference, *parts):
        sound &= ~(numbers(runs, column) <= 0)
    whole = table["measured"].notna() & table["reference"].notna()
    kept = table[sound & whole.to_numpy()].reset_index(drop=True)
    if not len(kept):
        raise UsageError(
            f"no run has a reading above zero of both {measured!r} and {reference!r}",
            "measure the same runs with both instruments",
        )
    x, y = kept["measured"].to_numpy(float), kept["reference"].to_numpy(float)
    return Agreement(
        measured=measured,
        reference=reference,
        runs=kept.assign(ratio=x / y, difference=x - y),
        pearson=pearson(x, y),
        concordance=concordance(x, y),
        differences=limits_of_differences(x, y),
        ratios=limits_of_ratios(x, y),
        proportional=proportional_bias(x, y),
        passing_bablok=passing_bablok(y, x),
        deming=deming(y, x),
        calibration=calibrate(x, y),
        impossible=wrong,
        dropped=int((~whole).sum()),
        reason=ONE_RUN if len(kept) == 1 else "",
    )


def agreements(
    runs: pd.DataFrame, instruments: Iterable[str], reference: str, run: str | None = None
) -> pd.DataFrame:
    """Several instruments against one reference: a row an instrument.

    Args:
        runs: a row a run.
        instruments: columns with their energies.
        reference: column of the reference, in the same unit.
        run: column that names a run; without it, the index does.

    Returns:
        ``instrument``, ``n``, ``impossible`` (readings), ``dropped``, ``ratio`` with ``ratio_low``
        and ``ratio_high``, ``limit_low`` and ``limit_high`` (of the ratio), ``r``, ``concordance``,
        ``slope`` with ends and ``intercept`` with ends (Passing-Bablok), ``linearity_p``,
        ``factor`` with ends, and ``reason``. What is not defined is NaN.

    Raises:
        UsageError: as `agreement`.

    >>> runs = pd.DataFrame({"nvml_j": [90.0, 91.0, 92.0], "wall_j": [100.0, 101.0, 102.0]})
    >>> agreements(runs, ["nvml_j"], "wall_j")[["instrument", "n", "ratio"]].round(3)
      instrument  n  ratio
    0     nvml_j  3  0.901
    """
    return pd.DataFrame([_row(agreement(runs, name, reference, run)) for name in instruments])


def _row(found: Agreement) -> Mapping[str, object]:
    ratio, line, factor = found.ratios.mean, found.passing_bablok, found.calibration.factor
    return {
        "instrument": found.measured,
        "n": found.n,
        "impossible": len(found.impossible),
        "dropped": found.dropped,
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "limit_low": found.ratios.lower,
        "limit_high": found.ratios.upper,
        "r": found.pearson.value,
        "concordance": found.concordance.value,
        "slope": line.slope,
        "slope_low": line.slope_low,
        "slope_high": line.slope_high,
        "intercept": line.intercept,
        "intercept_low": line.intercept_low,
        "intercept_high": line.intercept_high,
        "linearity_p": line.linearity_p,
        "factor": factor.value,
        "factor_low": factor.low,
        "factor_high": factor.high,
        "reason": found.reason,
    }
