"""Impossible readings: energies at or below zero, or infinite, by run and column.

A training uses energy, so a reading of 0 or less is an instrument error: a counter overflow, a
difference of counters with a reset in between, a processor model without data. Such readings are
listed and dropped; an average over them would look like a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.frames import names, numbers, require_columns
from joulelab.analysis.rounding import Values

MOST_NAMED = 5
BEYOND = 1e100
"""Above any energy in any unit; its square overflows."""


def negative_energy(
    runs: pd.DataFrame, energies: str | Sequence[str], run: str | None = None
) -> pd.DataFrame:
    """All energies that are at or below zero, infinite, or impossibly large.

    Args:
        runs: one row per run.
        energies: columns of energies in any unit. A missing value is not impossible.
        run: column with the name of a run; default: the index.

    Returns:
        One row per reading: ``run`` (text), ``column`` and ``value``; in the order of the runs.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> runs = pd.DataFrame({"run": ["a", "b"], "cpu_kwh": [-0.06, 0.03], "gpu_kwh": [0.5, 0.0]})
    >>> negative_energy(runs, ["cpu_kwh", "gpu_kwh"], "run")
      run   column  value
    0   a  cpu_kwh  -0.06
    1   b  gpu_kwh   0.00
    """
    require_columns(runs, [] if run is None else [run])
    labels = (runs.index if run is None else runs[run]).astype(str).to_list()
    found = [
        (place, labels[place], column, float(values[place]))
        for column in names(energies)
        for values in [_with_infinities(runs, column)]
        for place in np.flatnonzero((values <= 0) | (values > BEYOND))
    ]
    # Sorting is stable: the columns of a run keep the requested order.
    rows = [row[1:] for row in sorted(found, key=lambda row: row[0])]
    return pd.DataFrame(rows, columns=["run", "column", "value"])


def without_negative_energy(
    runs: pd.DataFrame, energies: str | Sequence[str], run: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs with impossible energies set to unknown, and the list of these.

    Args:
        runs: as for `negative_energy`.
        energies: likewise.
        run: likewise.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> kept, found = without_negative_energy(pd.DataFrame({"energy_j": [3.0, -1.0]}), "energy_j")
    >>> kept["energy_j"].to_list(), len(found)
    ([3.0, nan], 1)
    """
    found = negative_energy(runs, energies, run)
    kept = {
        column: pd.Series(
            np.where((values > 0) & (values <= BEYOND), values, np.nan), index=runs.index
        )
        for column in names(energies)
        for values in [numbers(runs, column)]
    }
    return runs.assign(**kept), found


def _with_infinities(runs: pd.DataFrame, column: str) -> Values:
    values = numbers(runs, column)
    infinite = runs[column].isin([np.inf, -np.inf]).to_numpy()
    return np.where(infinite, runs[column].where(infinite).to_numpy(float), values)


def in_words(found: pd.DataFrame, form: Callable[[float], str] = formats.number) -> str:
    """The findings of `negative_energy` in one line; empty if none.

    Args:
        found: its rows.
        form: formats a value, `joulelab.formats.joules` for instance.

    >>> in_words(pd.DataFrame({"run": ["VGG16 1"], "column": ["cpu_kwh"], "value": [-0.06]}))
    '1 impossible energy: VGG16 1, cpu_kwh \N{MINUS SIGN}0.06'
    """
    if not len(found):
        return ""
    named = [
        f"{row['run']}, {row['column']} {_written(float(row['value']), form)}"
        for row in found.head(MOST_NAMED).to_dict("records")
    ]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    noun = "impossible energy" if len(found) == 1 else "impossible energies"
    return f"{len(found):,} {noun}: {'; '.join(named)}{more}"


def _written(value: float, form: Callable[[float], str]) -> str:
    return "infinite" if np.isinf(value) else formats.signed(form(value))
