"""How long the epochs to come will take, from those that are done.

The first epoch loads, compiles and warms up, so it is left out as soon as there is another, and of
the rest the later half counts: a training that thaws its base has longer epochs from then on. With
d_i the k lengths that count, and s_0 as the scatter that they have before any was seen::

    d   = mean d_i
    s^2 = (nu_0 s_0^2 + (k-1) s_d^2) / (nu_0 + k-1)
    v^2 = s^2 / k + s_1^2                              relative variance of the time to come

s_1 is a floor for what all epochs to come share: clocks, heat, other programs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulelab.analysis.rounding import Values

SCATTER = 0.1
SCATTER_FREEDOM = 2.0
DRIFT = 0.01
FIRST = 0.3
"""v where there is nothing but the first epoch."""


@dataclass(frozen=True)
class EpochLength:
    """What an epoch to come takes.

    Attributes:
        mean_s: seconds.
        spread: v, relative standard deviation of the time that all epochs to come take together.
    """

    mean_s: float
    spread: float


def epoch_length(lengths_s: Sequence[float]) -> EpochLength:
    """The length of an epoch to come.

    Args:
        lengths_s: of the epochs that are done, in their order; one at least.

    >>> epoch_length([9.0, 2.0, 2.0, 2.0, 2.0]).mean_s
    2.0
    """
    if len(lengths_s) == 1:
        return EpochLength(lengths_s[0], FIRST)
    later = np.asarray(lengths_s[1:][(len(lengths_s) - 1) // 2 :], dtype=float)
    mean_s, count = float(later.mean()), len(later)
    squares = float(np.sum((later / mean_s - 1.0) ** 2)) if mean_s > 0 else 0.0
    variance = (SCATTER_FREEDOM * SCATTER**2 + squares) / (SCATTER_FREEDOM + count - 1)
    drift = _drift(later / mean_s) if count > 1 and mean_s > 0 else 0.0
    return EpochLength(mean_s, math.hypot(math.sqrt(variance / count), DRIFT, drift))


def _drift(relative: Values) -> float:
    """Half the difference between the means of the earlier and of the later half."""
    half = len(relative) // 2
    return abs(float(relative[-half:].mean() - relative[:half].mean())) / 2
