"""How busy a device was over a window: time-weighted mean and quantiles of its utilisation.

Symbols: samples (t_i, u_i), i = 0 ... n-1, t in seconds of the monotonic clock, u from 0 to 1.

Utilisation looks back: u_i is the share of the time before t_i in which the device was busy. It
belongs to the step from t_{i-1} to t_i with the weight w_i = t_i - t_{i-1}. The first sample covers
the time before the window and is excluded, as are steps with unknown u_i::

    mean = sum w_i u_i / sum w_i
    q(p) = the least u_i such that the steps with u_j <= u_i make up at least p of sum w_i

q is the inverse of the empirical distribution function, with time in place of counts (definition 1
of Hyndman and Fan, The American Statistician 1996): it is always a value that occurred.

The sensor defines *busy*: an NVIDIA driver gives the share of its last sampling period (1/6 s to 1
s, by product) in which any kernel ran, however small; the estimate gives the share of the available
processors that the measured processes kept busy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from joulelab.energy.reading import family
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.trace import Series

QUANTILES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}
"""The stored quantiles of a distribution, by name."""

STATE = "utilisation"
LOOKS_BACK_S = {"gpu": 1.0}
"""How far a device's utilisation may look back; a shorter window would include earlier time."""


@dataclass(frozen=True)
class Utilisation:
    """How busy one device was over a window.

    Attributes:
        domain: the device, for instance ``"gpu:0"``.
        source: the source, or ``None`` if there is none.
        mean: over time, 0 to 1; ``None`` where unknown.
        quantiles: over time, by the names of `QUANTILES`; empty where unknown.
        samples: number of steps used.
        seen: share of the window covered by these steps, 0 to 1.
        reason: why it is unknown.
    """

    domain: str
    source: str | None
    mean: float | None
    quantiles: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    seen: float = 0.0
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the store; an unknown quantile is ``None``."""
        return {
            **{name: self.quantiles.get(name) for name in QUANTILES},
            "samples": self.samples,
            "seen": self.seen,
            "domain": self.domain,
            "source": self.source,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Distribution:
    """Mean and quantiles over time, with the number of steps and their seconds."""

    mean: float
    quantiles: Mapping[str, float]
    samples: int
    seconds: float


def over_time(times_s: Series, values: Series) -> Distribution | None:
    """Time-weighted mean and quantiles of backward-looking values.

    Busy for all of 1 s, then for half of 3 s; the first value belongs to the time before:

    >>> busy = over_time([0.0, 1.0, 4.0], [0.2, 1.0, 0.5])
    >>> busy.mean, busy.quantiles["p50"], busy.quantiles["p95"]
    (0.625, 0.5, 1.0)

    Args:
        times_s: (n,), increasing.
        values: (n,), NaN where unknown.

    Returns:
        ``None`` if no step is known.
    """
    times, known = np.asarray(times_s, float), np.asarray(values, float)[1:]
    weights = times[1:] - times[:-1]
    counted = ~np.isnan(known) & (weights > 0)
    known, weights = known[counted], weights[counted]
    if not len(known):
        return None
    seconds = float(weights.sum())
    order = np.argsort(known, kind="stable")
    reached = np.cumsum(weights[order]) / seconds
    # Rounding may leave the last share just below 1, and others just below the quantile.
    positions = np.searchsorted(reached, np.array(list(QUANTILES.values())) - 1e-12)
    at = known[order][np.minimum(positions, len(known) - 1)]
    # A weighted sum of equal values may differ from them in the last digit.
    mean = min(max(float(np.dot(known, weights)) / seconds, float(known.min())), float(known.max()))
    quantiles = dict(zip(QUANTILES, at.tolist(), strict=True))
    return Distribution(mean, quantiles, len(known), seconds)


def utilisation(channel_samples: Sequence[ChannelSamples], device: str) -> Utilisation:
    """How busy a device was over a window.

    Args:
        channel_samples: the samples of every channel within it.
        device: ``"gpu:<n>"``, or ``"cpu"`` for all processors together.
    """
    own = [samples for samples in channel_samples if _is_of(samples.channel.domain, device)]
    speaking = [samples for samples in own if STATE in samples.state]
    for samples in speaking:
        domain, source = samples.channel.domain, samples.channel.source
        window_s = float(samples.times_s[-1] - samples.times_s[0])
        looks_back_s = LOOKS_BACK_S.get(family(domain), 0.0)
        if window_s < looks_back_s:
            reason = (
                f"the window is shorter than the {looks_back_s:g} s that {source} may look back"
            )
            return Utilisation(domain, source, None, reason=reason)
        busy = over_time(samples.times_s, samples.state[STATE])
        if busy is not None:
            seen = min(1.0, busy.seconds / window_s)
            return Utilisation(domain, source, busy.mean, busy.quantiles, busy.samples, seen)
    if speaking:
        channel = speaking[0].channel
        reason = f"{channel.source} did not report it within the window"
        return Utilisation(channel.domain, channel.source, None, reason=reason)
    if own:
        sources = ", ".join(dict.fromkeys(samples.channel.source for samples in own))
        return Utilisation(device, None, None, reason=f"{sources} does not report it for {device}")
    return Utilisation(device, None, None, reason=f"no meter reads {device}")


def _is_of(domain: str, device: str) -> bool:
    return domain == device or (device == "cpu" and family(domain) == "cpu")
