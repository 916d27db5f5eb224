"""What the next evaluation may bring, and what it costs.

For a normal score with mean mu and standard deviation sigma, and the best score so far, b::

    EI(b) = sigma h((mu - b) / sigma),    h(z) = phi(z) + z Phi(z)              (equation 1)
    EI(g) = lambda c                                                            (equation 2)

The index g of a point that costs c, at a price lambda of a unit of cost in units of score, solves
equation 2: it is the best score for which one would still pay for the point. Weitzman's rule,
"evaluate the point with the highest index, stop when none is above the best score", is optimal for
independent points (Pandora's box).

Sources: EI after Jones, Schonlau and Welch, J. Global Optimization 13 (1998), in logarithms after
Ament et al., NeurIPS 2023. The index: Weitzman, Econometrica 47 (1979); for Gaussian processes Xie
et al., "Cost-aware Bayesian optimization via the Pandora's box Gittins index", NeurIPS 2024; the
rule to stop: Xie et al., "Cost-aware stopping for Bayesian optimization", arXiv 2507.12453.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

Array = NDArray[np.float64]

_FAR = -1e3
"""Below this z, rounding would leave nothing of 1 - |z| Phi(z) / phi(z)."""

_GRID = np.linspace(-15.0, 60.0, 15_001)
"""Arguments of h between which its inverse is interpolated."""


def log_expected_improvement(mean: Array, std: Array, best: float) -> Array:
    """Logarithm of EI, equation 1.

    Args:
        mean: predicted scores, (candidates,).
        std: their standard deviations, above 0.
        best: score to improve upon.

    Returns:
        (candidates,).
    """
    return np.log(std) + _log_h((mean - best) / std)


def index(mean: Array, std: Array, log_price: Array) -> Array:
    """Pandora's box index, equation 2.

    Args:
        mean: predicted scores, (candidates,).
        std: their standard deviations, above 0.
        log_price: logarithm of lambda c, (candidates,).

    Returns:
        (candidates,), in units of score.
    """
    return mean - std * np.interp(log_price - np.log(std), _LOG_H, _GRID)


def _log_h(z: Array) -> Array:
    """log(phi(z) + z Phi(z)), also where the terms cancel."""
    z = np.asarray(z, dtype=np.float64)
    upper, lower = np.maximum(z, -1.0), np.minimum(z, -1.0)
    direct = np.exp(-upper * upper / 2) / math.sqrt(2 * math.pi) + upper * ndtr(upper)
    # Phi(z) / phi(z) = sqrt(pi / 2) erfcx(-z / sqrt(2)); far below, the bracket is 1 / z^2.
    ratio = -lower * math.sqrt(math.pi / 2) * erfcx(-lower / math.sqrt(2))
    bracket = np.where(lower < _FAR, 1 / lower**2, np.maximum(1 - ratio, 1e-300))
    tail = -lower * lower / 2 - math.log(2 * math.pi) / 2 + np.log(bracket)
    return np.where(z > -1.0, np.log(direct), tail)


_LOG_H = _log_h(_GRID)
