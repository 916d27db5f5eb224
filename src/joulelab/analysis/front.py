"""The Pareto front of energy and accuracy; without the libraries that take a second to load."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def undominated(energy_j: Values, accuracy: Values) -> npt.NDArray[np.bool_]:
    """Which points no other point beats, shape (points,); points with a NaN are excluded.

    Args:
        energy_j: shape (points,); less is better.
        accuracy: shape (points,); more is better.

    >>> undominated(np.array([1.0, 2.0, 2.0]), np.array([0.8, 0.9, 0.7])).tolist()
    [True, True, False]
    """
    known = np.flatnonzero(~(np.isnan(energy_j) | np.isnan(accuracy)))
    # By energy, and among equal energies the most accurate first. A point is beaten by the first of
    # its own energy, or by the most accurate of all that take less.
    order = known[np.lexsort((-accuracy[known], energy_j[known]))]
    starts = np.append(True, energy_j[order][1:] != energy_j[order][:-1])[: len(order)]
    of_energy = np.cumsum(starts) - 1  # (points,)
    best = accuracy[order][starts]  # (energies,)
    before = np.append(np.nan, np.maximum.accumulate(best))[:-1]
    ordered = accuracy[order]
    on_front = np.zeros(len(energy_j), bool)
    on_front[order] = (ordered == best[of_energy]) & ~(before[of_energy] >= ordered)
    return on_front
