"""The rhythm of a training: how long an epoch is, from the power alone.

Between two epochs the power dips or rises: validation, a checkpoint, the first batch of the next.
With x_i the power of bin i less its mean, the rhythm is the lag of the first high peak of::

    r(l) = sum_i x_i x_(i+l) / (n - l)  /  (sum_i x_i^2 / n)          autocorrelation

A mean over whole periods is not biased by the part of an epoch at which the window happens to end.
"""

from __future__ import annotations

import numpy as np

from joulelab.analysis.prediction.traces import Values

SHORTEST = 4
FEWEST_PERIODS = 2.5
LEAST_CORRELATION = 0.3
NEAR_THE_HIGHEST = 0.85
"""The first peak that is nearly as high as the highest: the others are its multiples."""


def period(power_w: Values) -> int | None:
    """The length of the rhythm in bins; None where there is none, or fewer than 2.5 of it.

    Args:
        power_w: mean power of bins of equal length, shape (bins,).

    Epochs of 20 bins, with a dip in each:

    >>> bins = np.arange(200)
    >>> period(np.where(bins % 20 < 4, 80.0, 140.0))
    20
    """
    longest = int(len(power_w) / FEWEST_PERIODS)
    if longest <= SHORTEST:
        return None
    correlation = autocorrelation(power_w, longest + 1)
    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner >= correlation[:-2]) & (inner > correlation[2:]))
    peaks = peaks[(peaks >= SHORTEST) & (correlation[peaks] >= LEAST_CORRELATION)]
    if not len(peaks):
        return None
    high = correlation[peaks] >= NEAR_THE_HIGHEST * correlation[peaks].max()
    return int(peaks[high][0])


def autocorrelation(values: Values, lags: int) -> Values:
    """The correlation of values with themselves, shifted by 0 to ``lags`` - 1 places.

    Args:
        values: shape (n,).
        lags: at most n.

    Returns:
        Shape (lags,); all 0 where the values do not vary.
    """
    centred = values - values.mean()
    size = len(centred)
    # Zeros behind keep the end from being correlated with the beginning.
    spectrum = np.fft.rfft(centred, 2 * size)
    products = np.fft.irfft(spectrum * np.conj(spectrum), 2 * size)[:lags]
    variance = products[0] / size
    if variance <= np.finfo(float).tiny:
        return np.zeros(lags)
    return np.asarray(products / (size - np.arange(lags)) / variance, dtype=float)
