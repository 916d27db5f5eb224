"""What a prediction has to beat: simpler ones, in watts for the time to come or joules for all.

::

    mean so far           E = P_mean T                        start-up counts as much as the rest
    window                E = E(t) + P_window (T - t)         the last part of what was seen
    random window         the same with a window anywhere in what was seen
    TDP                   E = TDP T                           Lacoste et al., arXiv 1910.09700
    Green Algorithms      E = (TDP u + 0.3725 W/GB M) T       Lannelongue et al., Adv. Sci. 2021

P power, t the time seen of the duration T, u utilisation, M memory. None of them has an interval.
"""

from __future__ import annotations

import numpy as np

from joulelab.analysis.prediction.traces import PowerTrace
from joulelab.errors import UsageError

MEMORY_W_PER_GB = 0.3725
WINDOW_SHARE = 0.4
"""How much of what was seen a window takes: of a fifth of a run, what lies from 12 to 20 %."""


def mean_so_far_j(seen: PowerTrace, duration_s: float) -> float:
    """Mean power so far times the whole duration.

    Args:
        seen: the trace so far.
        duration_s: of the whole run.
    """
    return seen.mean_w * duration_s


def last_window_j(seen: PowerTrace, duration_s: float, share: float = WINDOW_SHARE) -> float:
    """What was used, and the mean power of the last part of it for the rest.

    Args:
        seen: the trace so far.
        duration_s: of the whole run.
        share: of what was seen that the window takes.
    """
    return _window_j(seen, duration_s, (1.0 - share) * seen.duration_s, share)


def random_window_j(
    seen: PowerTrace, duration_s: float, draw: np.random.Generator, share: float = WINDOW_SHARE
) -> float:
    """What was used, and the mean power of a window anywhere in it for the rest.

    Args:
        seen: the trace so far.
        duration_s: of the whole run.
        draw: places the window.
        share: of what was seen that the window takes.
    """
    begin_s = float(draw.uniform(0.0, (1.0 - share) * seen.duration_s))
    return _window_j(seen, duration_s, begin_s, share)


def tdp_j(tdp_w: float, duration_s: float) -> float:
    """Thermal design power, or the power limit, times the whole duration.

    Args:
        tdp_w: of the device.
        duration_s: of the whole run.
    """
    return tdp_w * duration_s


def green_algorithms_j(
    tdp_w: float, utilisation: float, memory_gb: float, duration_s: float
) -> float:
    """The formula of Green Algorithms, without the part of the building (PUE 1).

    Args:
        tdp_w: of the device.
        utilisation: 0 to 1.
        memory_gb: in use.
        duration_s: of the whole run.

    Raises:
        UsageError: a utilisation that is no share of 1.

    >>> green_algorithms_j(200.0, 0.5, 10.0, 2.0)
    207.45
    """
    if not 0.0 <= utilisation <= 1.0:
        raise UsageError(f"a utilisation of {utilisation:g}", "give a share of 1, from 0 to 1")
    return (tdp_w * utilisation + MEMORY_W_PER_GB * memory_gb) * duration_s


def _window_j(seen: PowerTrace, duration_s: float, begin_s: float, share: float) -> float:
    window = seen.between(begin_s, begin_s + share * seen.duration_s)
    return seen.energy_j + window.mean_w * (duration_s - seen.duration_s)
