"""By how much a factor increases energy.

::

    increase = 100 * (m_high / m_low - 1)  percent

with m_low and m_high the mean energies of all runs at the two levels, regardless of the other
factors (Yarally et al., CAIN 2023, section VI-B: 2.7 % for ReLU, 4.9 % for 3 to 7 linear layers,
95.3 % for 1 to 4 convolutional layers on Fashion-MNIST). This isolates the factor only if every
combination with the other factors has equally many runs at both levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from joulelab.analysis.frames import ENERGY, Level, complete, extremes, names, results

COLUMNS = "factor low high low_mean_j high_mean_j increase_percent n_low n_high dropped reason"


def factor_increase(
    runs: pd.DataFrame,
    factors: str | Sequence[str],
    energy: str = ENERGY,
    between: Mapping[str, tuple[Level, Level]] | None = None,
) -> pd.DataFrame:
    """Increase in mean energy from the lowest to the highest level of every factor, in percent.

    Args:
        runs: one row per run.
        factors: columns with the levels. Text has no order: the lowest level is then the one with
            the lowest mean energy.
        energy: column in joules.
        between: the two levels of a factor to compare, instead of the lowest and the highest.

    Returns:
        One row per factor: ``factor``, the levels ``low`` and ``high``, their mean energies
        ``low_mean_j`` and ``high_mean_j``, ``increase_percent`` (negative if the higher level uses
        less), their runs ``n_low`` and ``n_high``, ``dropped`` (runs without an energy or a level)
        and ``reason``.

    Raises:
        UsageError: a column is absent, or the energies are not numbers.

    >>> runs = pd.DataFrame({"conv_layers": [1, 1, 4], "energy_net_j": [90.0, 110.0, 195.0]})
    >>> factor_increase(runs, "conv_layers")[["low", "high", "increase_percent"]]
      low high  increase_percent
    0   1    4              95.0
    """
    rows = [
        _compare(runs, factor, energy, (between or {}).get(factor)) for factor in names(factors)
    ]
    return results(rows, COLUMNS).astype({"low": object, "high": object})


def _compare(
    runs: pd.DataFrame, factor: str, energy: str, pair: tuple[Level, Level] | None
) -> dict[str, object]:
    whole = complete(runs, [energy], [factor])
    low: Level | None
    high: Level | None
    if pair is None:
        low, high = extremes(whole.rows, factor, energy) if len(whole.rows) else (None, None)
    else:
        low, high = pair
    at_low = whole.rows.loc[whole.rows[factor] == low, energy]
    at_high = whole.rows.loc[whole.rows[factor] == high, energy]
    low_mean_j, high_mean_j = float(at_low.mean()), float(at_high.mean())
    reason = ""
    if low is None:
        reason = "no run has an energy and a level"
    elif low == high:
        reason = "the factor has a single level"
    elif not len(at_low) or not len(at_high):
        reason = f"no run with an energy at level {high if len(at_low) else low}"
    elif low_mean_j <= 0:
        reason = "the mean energy of the lower level is not positive"
    return {
        "factor": factor,
        "low": low,
        "high": high,
        "low_mean_j": low_mean_j,
        "high_mean_j": high_mean_j,
        "increase_percent": np.nan if reason else 100 * (high_mean_j / low_mean_j - 1),
        "n_low": len(at_low),
        "n_high": len(at_high),
        "dropped": whole.dropped,
        "reason": reason,
    }
