"""How good predictions of energy were, over several runs.

With the true energies E_i, the predicted ones P_i and their intervals [l_i, h_i]::

    RMSE     = sqrt(mean (P_i - E_i)^2)           in kJ: the large runs count
    MAPE     = mean |P_i - E_i| / E_i             a share of 1: every run counts alike
    coverage = share of the runs with l_i <= E_i <= h_i
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

JOULES_PER_KJ = 1e3


@dataclass(frozen=True)
class Predicted:
    """One predicted energy beside the true one, in joules; ends are None without an interval."""

    true_j: float
    predicted_j: float
    low_j: float | None = None
    high_j: float | None = None

    @property
    def covered(self) -> bool | None:
        """Whether the interval holds the true energy; None where there is none."""
        if self.low_j is None or self.high_j is None:
            return None
        return self.low_j <= self.true_j <= self.high_j


@dataclass(frozen=True)
class Score:
    """How good a method was that might see a fraction of each run.

    Attributes:
        method: its name.
        fraction: of the run that it saw.
        n: runs.
        rmse_kj: root mean square error in kilojoules; None without a run.
        mape: mean absolute error as a share of the true energy; None without a run.
        coverage: share of the intervals that hold the true energy; None without intervals.
    """

    method: str
    fraction: float
    n: int
    rmse_kj: float | None
    mape: float | None
    coverage: float | None

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return asdict(self)


def score(method: str, fraction: float, predictions: Sequence[Predicted]) -> Score:
    """The score of a method over several runs.

    Args:
        method: its name.
        fraction: of the run that it saw.
        predictions: one a run.

    >>> score("tdp", 0.1, [Predicted(2000.0, 3000.0), Predicted(4000.0, 4000.0)]).mape
    0.25
    """
    if not predictions:
        return Score(method, fraction, 0, None, None, None)
    true_j = np.array([one.true_j for one in predictions])
    errors_j = np.array([one.predicted_j for one in predictions]) - true_j
    covered = [one.covered for one in predictions if one.covered is not None]
    return Score(
        method,
        fraction,
        len(predictions),
        float(np.sqrt(np.mean(errors_j**2))) / JOULES_PER_KJ,
        float(np.mean(np.abs(errors_j) / true_j)),
        float(np.mean(covered)) if covered else None,
    )
