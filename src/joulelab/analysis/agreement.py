r"""Agreement of two instruments on the same runs, and the calibration factor.

Statistics of two instruments, over the runs that both have measured::

    ratio               measured / reference, geometric mean    joulelab.analysis.comparison
    r, rho_c            correlation, and concordance            joulelab.analysis.correlation
    limits              of differences and of ratios            Bland and Altman, below
    line                Passing-Bablok, and Deming              joulelab.analysis.line
    calibration factor  reference / measured                    below

Interpretation: a high r only means that readings increase with energy. The **ratio** and its limits
give the accuracy of a reading; the **line** shows whether a factor alone corrects it. Readings at
or below zero cannot be energies: they are listed and dropped (`joulelab.analysis.negative_energy`).
A single run has a ratio but no statistics.

**Limits of agreement**: 95 % of the differences of two instruments lie between them.

With x_i the reading of the instrument and y_i that of the reference on the same run, n runs::

    d_i = x_i - y_i                          or, on ratios, d_i = ln(x_i / y_i)
    m, s                                     mean and standard deviation (n - 1) of the d_i
    m +- t(n - 1) s / sqrt(n)                interval of the mean difference
    L = m -+ z s                             limits of agreement, z = 1.96 for 95 % of differences

    exact:         m + T(q; n - 1, -+ z sqrt(n)) s / sqrt(n)         q = .025 and .975
    approximate:   L +- t(n - 1) s sqrt(1 / n + z^2 / (2 (n - 1)))

T(q; df, c) is the quantile of the noncentral t distribution. The exact intervals of the limits are
those of Carkeet, Optometry and Vision Science 92 (2015), for each limit separately; they are used
up to `MOST_EXACT` runs, and above that the approximation of Bland and Altman, Statistical Methods
in Medical Research 8 (1999), which is then within a thousandth of s. For fewer than a few dozen
runs it is too narrow on the outer side.

Limits of differences assume the same scatter at every size. If an instrument is off by a factor,
differences grow with the size; then use the limits of ratios. The slope of d on the mean of both
instruments tests this (`proportional_bias`)::

    d_i = a + b (x_i + y_i) / 2              p of b = 0, Student's t with n - 2

Bland and Altman, Lancet 327 (1986), and 1999 section 3. Unequal scatter of the instruments also
moves the slope a little.

A **calibration factor** converts an instrument's energy to the reference's::

    factor               exp(mean(ln(reference_i / measured_i)) +- t(n - 1) s / sqrt(n))
    through the origin   sum(x_i y_i) / sum(x_i^2),  x measured, y reference
                         +- t(n - 1) sqrt(sum(e_i^2) / (n - 1) / sum(x_i^2))

The first, a ratio of geometric means, gives every run the same weight and suits errors that grow
with energy, as sensor errors do. The second is dominated by the largest runs, and suits errors of
constant size in joules. If the two disagree, or the line between the instruments has a constant
part, one factor is not enough (`joulelab.analysis.line`).

The factor is the value of a meter's setting ``calibration``: reference / meter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from joulelab.analysis.comparison import (
    CONFIDENCE,
    Interval,
    mean_interval,
    ratio_interval,
    t_p,
    t_quantile,
    z_quantile,
)
from joulelab.analysis.correlation import Correlation, concordance, pearson
from joulelab.analysis.frames import numbers
from joulelab.analysis.line import Line, deming, passing_bablok, too_few
from joulelab.analysis.negative_energy import negative_energy
from joulelab.analysis.rounding import Values, constant, without_noise
from joulelab.errors import UsageError

NAN = math.nan
EXACT, APPROXIMATE = "exact (Carkeet 2015)", "approximate (Bland and Altman 1999)"
MOST_EXACT = 500
FEWEST = 3
ALPHA = 0.05
LEAST = 2
ONE_RUN = "one run: a ratio, and no statistics"


@dataclass(frozen=True)
class Limits:
    """Mean difference and limits of agreement, or mean ratio and limits of ratios.

    Attributes:
        mean: with its interval; on ratios the geometric mean.
        method: method of the limits' intervals: `EXACT` or `APPROXIMATE`.
        reason: why there are no limits; otherwise empty.
        lower: limit of agreement; NaN with fewer than three runs.
        lower_low: lower end of the interval of that limit.
        lower_high: upper end.
        upper: the other limit.
        upper_low: lower end of its interval.
        upper_high: upper end.
    """

    mean: Interval
    method: str = ""
    reason: str = ""
    lower: float = NAN
    lower_low: float = NAN
    lower_high: float = NAN
    upper: float = NAN
    upper_low: float = NAN
    upper_high: float = NAN


@dataclass(frozen=True)
class ProportionalBias:
    """Whether the difference grows with the measured size.

    Attributes:
        reason: why there is no slope; otherwise empty.
        slope: of the difference on the mean of both instruments; NaN where `reason` says why.
        low: lower end of its interval.
        high: upper end.
        p: of the hypothesis that the slope is 0.
    """

    reason: str = ""
    slope: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN

    @property
    def found(self) -> bool:
        """Whether the slope differs from 0, p < .05: then use the ratios."""
        return self.p < ALPHA


def limits_of_differences(
    measured: Sequence[float] | Values,
    reference: Sequence[float] | Values,
    confidence: float = CONFIDENCE,
) -> Limits:
    """Limits of agreement of the differences, in the unit of the readings.

    Args:
        measured: readings of the instrument, shape (n,), n at least 1.
        reference: readings of the reference on the same runs, shape (n,).
        confidence: of the intervals, and the share of differences between the limits.

    Raises:
        ValueError: no values, or one is not finite.

    >>> limits = limits_of_differences([10.0, 12.0, 14.0, 15.0], [9.0, 12.0, 15.0, 13.0])
    >>> round(limits.mean.value, 2), round(limits.lower, 2), round(limits.upper, 2)
    (0.5, -2.03, 3.03)
    """
    one, other = np.asarray(measured, float), np.asarray(reference, float)
    return _limits(one - other, _size(one, other), confidence)


def limits_of_ratios(
    measured: Sequence[float] | Values,
    reference: Sequence[float] | Values,
    confidence: float = CONFIDENCE,
) -> Limits:
    """Limits of agreement of the ratios measured / reference, from their logarithms.

    Args:
        measured: readings of the instrument, shape (n,), n at least 1, positive.
        reference: readings of the reference on the same runs, shape (n,), positive.
        confidence: of the intervals, and the share of ratios between the limits.

    Raises:
        ValueError: no values, or one is not positive and finite.

    >>> limits = limits_of_ratios([5.0, 6.0, 7.2], [10.0, 10.0, 10.0])
    >>> round(limits.mean.value, 3), round(limits.lower, 3), round(limits.upper, 3)
    (0.6, 0.42, 0.858)
    """
    one, other = np.asarray(measured, float), np.asarray(reference, float)
    if not ((one > 0) & (other > 0)).all():
        raise ValueError("a ratio needs positive values")
    one, other = np.log(one), np.log(other)
    logs = _limits(one - other, max(1.0, _size(one, other)), confidence)
    mean = logs.mean
    return replace(
        logs,
        mean=replace(mean, value=_exp(mean.value), low=_exp(mean.low), high=_exp(mean.high)),
        lower=_exp(logs.lower),
        lower_low=_exp(logs.lower_low),
        lower_high=_exp(logs.lower_high),
        upper=_exp(logs.upper),
        upper_low=_exp(logs.upper_low),
        upper_high=_exp(logs.upper_high),
    )


def proportional_bias(
    measured: Sequence[float] | Values, reference: Sequence[float] | Values
) -> ProportionalBias:
    """Test whether the difference of two instruments grows with the measured size.

    Args:
        measured: readings of the instrument, shape (n,).
        reference: readings of the reference on the same runs, shape (n,).

    >>> proportional_bias([1.0, 2.1, 2.9, 4.1], [2.0, 4.0, 6.0, 8.0]).found
    True
    """
    one, other = np.asarray(measured, float), np.asarray(reference, float)
    mean, apart = (one + other) / 2, one - other
    n = len(mean)
    if n < FEWEST or constant(mean):
        reason = f"{n} runs; a slope needs {FEWEST}" if n < FEWEST else "all runs are alike"
        return ProportionalBias(reason)
    centred = mean - mean.mean()
    spread = float((centred**2).sum())
    if constant(apart, _size(one, other)):
        apart = np.zeros(n)  # the same everywhere, despite rounding
    slope = float((centred * apart).sum()) / spread
    # Readings on a line have only rounding residuals.
    residual = without_noise(apart - apart.mean() - slope * centred, _size(one, other))
    error = math.sqrt(float((residual**2).sum()) / (n - 2) / spread)
    reach = t_quantile(n - 2) * error
    p = t_p(slope / error, n - 2) if error else float(slope == 0)
    return ProportionalBias("", slope, slope - reach, slope + reach, p)


def _size(one: Values, other: Values) -> float:
    return float(np.abs([one, other]).max(initial=0.0))


def _limits(apart: Values, size: float, confidence: float) -> Limits:
    mean = mean_interval(apart.tolist(), confidence, size)
    if reason := too_few(mean.n, FEWEST, "limits of agreement need"):
        return Limits(mean, reason=reason)
    z = z_quantile(confidence)
    low, high = _ends_of_upper(mean.n, z, confidence)
    # The lower limit is the upper one, mirrored in the mean.
    return Limits(
        mean,
        method=EXACT if mean.n <= MOST_EXACT else APPROXIMATE,
        lower=mean.value - z * mean.std,
        lower_low=mean.value - high * mean.std,
        lower_high=mean.value - low * mean.std,
        upper=mean.value + z * mean.std,
        upper_low=mean.value + low * mean.std,
        upper_high=mean.value + high * mean.std,
    )


def _ends_of_upper(n: int, z: float, confidence: float) -> tuple[float, float]:
    """The interval of the upper limit, in standard deviations from the mean."""
    tails = (1 - confidence) / 2, (1 + confidence) / 2
    if n <= MOST_EXACT:
        root = math.sqrt(n)
        low, high = (float(stats.nct.ppf(q, n - 1, z * root)) / root for q in tails)
        return low, high
    reach = t_quantile(n - 1, confidence) * math.sqrt(1 / n + z**2 / (2 * (n - 1)))
    return z - reach, z + reach


def _exp(value: float) -> float:
    return float(np.exp(value))


@dataclass(frozen=True)
class Calibration:
    """The calibration factor of an instrument, by two methods.

    Attributes:
        factor: reference / measured as a ratio of geometric means; what a meter's setting takes.
        through_origin: slope of the reference on the instrument, through the origin.
    """

    factor: Interval
    through_origin: Interval

    @property
    def ways_agree(self) -> bool:
        """Whether each of the two is in the other's interval; False without intervals."""
        one, other = self.factor, self.through_origin
        if constant([one.value, other.value]):
            return not math.isnan(one.low)
        return one.low <= other.value <= one.high and other.low <= one.value <= other.high


def calibrate(
    measured: Sequence[float] | Values,
    reference: Sequence[float] | Values,
    confidence: float = CONFIDENCE,
) -> Calibration:
    """The factor that converts an instrument's readings to the reference's.

    Args:
        measured: energies from the instrument, shape (n,), positive; in the unit of the reference.
        reference: energies from the reference on the same runs, shape (n,), positive.
        confidence: of the intervals.

    Raises:
        ValueError: no runs, or a value is not positive and finite.

    >>> found = calibrate([100.0, 200.0, 300.0], [106.0, 212.0, 318.0])
    >>> round(found.factor.value, 3), round(found.through_origin.value, 3), found.factor.n
    (1.06, 1.06, 3)
    """
    x, y = np.asarray(measured, float), np.asarray(reference, float)
    factor = ratio_interval(y.tolist(), x.tolist(), confidence)
    return Calibration(factor, _through_origin(x, y, confidence))


def _through_origin(x: Values, y: Values, confidence: float) -> Interval:
    slope = float(x @ y) / float(x @ x)
    n = len(x)
    if n < LEAST:
        return Interval(slope, NAN, NAN, NAN, n, confidence)
    residual = without_noise(y - slope * x, float(y.max()))
    std = math.sqrt(float(residual @ residual) / (n - 1))
    reach = t_quantile(n - 1, confidence) * std / math.sqrt(float(x @ x))
    return Interval(slope, slope - reach, slope + reach, std, n, confidence)


@dataclass(frozen=True)
class Agreement:
    """How an instrument agrees with a reference.

    Attributes:
        measured: name of the instrument's column.
        reference: name of the reference's column.
        runs: one row per run that counts: ``run``, ``measured``, ``reference``, ``ratio`` (measured
            / reference) and ``difference`` (measured - reference).
        pearson: correlation of the readings.
        concordance: Lin's coefficient.
        differences: mean difference and limits of agreement, in the unit of the readings.
        ratios: the same of measured / reference; its mean is the ratio of geometric means.
        proportional: whether the difference grows with the energy.
        passing_bablok: measured = intercept + slope * reference, robust to outliers.
        deming: the same, by least squares.
        calibration: reference / measured.
        impossible: readings at or below zero: ``run``, ``column``, ``value``. Their runs are
            dropped.
        dropped: runs without a reading of one of the two, also dropped.
        reason: why there are no statistics; otherwise empty.
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
        """Number of runs that count."""
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
        runs: one row per run.
        measured: column with the energies of the instrument.
        reference: column with the energies of the reference, in the same unit.
        run: column with the name of a run; default: the index.
        parts: further columns that must be above zero for a valid reading, such as the parts of the
            instrument's energy. Missing parts are ignored.

    Raises:
        UsageError: a column is absent or does not hold numbers, or no run has two valid readings.

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
    """Several instruments against one reference: one row per instrument.

    Args:
        runs: one row per run.
        instruments: columns with their energies.
        reference: column of the reference, in the same unit.
        run: column with the name of a run; default: the index.

    Returns:
        ``instrument``, ``n``, ``impossible`` (readings), ``dropped``, ``ratio`` with ``ratio_low``
        and ``ratio_high``, ``limit_low`` and ``limit_high`` (of the ratio), ``r``, ``concordance``,
        ``slope`` with ends and ``intercept`` with ends (Passing-Bablok), ``linearity_p``,
        ``factor`` with ends, and ``reason``. Undefined values are NaN.

    Raises:
        UsageError: as for `agreement`.

    >>> runs = pd.DataFrame({"nvml_j": [90.0, 91.0, 92.0], "wall_j": [100.0, 101.0, 102.0]})
    >>> agreements(runs, ["nvml_j"], "wall_j")[["instrument", "n", "ratio"]].round(3)
      instrument  n  ratio
    0     nvml_j  3  0.901
    """
    return pd.DataFrame([_row(agreement(runs, name, reference, run)) for name in instruments])


def _row(found: Agreement) -> Mapping[str, object]:
    line, factor = found.passing_bablok, found.calibration.factor
    return {
        "instrument": found.measured,
        "n": found.n,
        "impossible": len(found.impossible),
        "dropped": found.dropped,
        **_ends("ratio", found.ratios.mean),
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
        **_ends("factor", factor),
        "reason": found.reason,
    }


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
