"""What sensors of NVIDIA's cards say of a known power: the truth that a bound is held against.

::

    power, every ms  ->  what the sensor sees  ->  new every update  ->  a row of a log now and then

A profile is the power of a device over 20 s; its energy between any two moments is a difference of
sums. A sensor is a mean over a while, new every update, of all the time or of a part of it, times a
gain, less an offset. No period of a profile is a multiple of an update or of the interval of a log:
what goes in step with them cannot be told from a constant by anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.meter import Channel
from joulelab.energy.nvidia_cards import RELATIVE_ERROR, logged_sensor
from joulelab.energy.reading import Status
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.traces.recording import Recording
from joulelab.energy.traces.trace_file import TraceAbout

STEP_S = 0.001
LENGTH_S = 20.0
LEAD_S = 1.5
GAINS = (-0.08, 0.13)
IDLE_OFFSET = 0.26

Floats = NDArray[np.float64]
_T = np.arange(round(LENGTH_S / STEP_S)) * STEP_S


@dataclass(frozen=True)
class Card:
    """A card with its sensor.

    Attributes:
        name: as nvidia-smi says it.
        column: of its log.
        update_s: time between two values.
        sees_s: how much of each update the sensor sees.
        averaging_s: over how long its values are a mean, if over more than an update.
    """

    name: str
    column: str
    update_s: float
    sees_s: float
    averaging_s: float = 0.0

    def values(self, power_w: Floats, phase: float) -> tuple[Floats, Floats]:
        """Moments, and what the sensor says from each of them on."""
        sums = np.concatenate(([0.0], np.cumsum(power_w)))
        moments_s = np.arange(1 + phase, LENGTH_S / self.update_s) * self.update_s
        last = np.round(moments_s / STEP_S).astype(int)
        first = np.maximum(last - round(self.sees_s / STEP_S), 0)
        seen_w = (sums[last] - sums[first]) / (last - first)
        if self.averaging_s:
            count = round(self.averaging_s / self.update_s)
            sums = np.concatenate(([0.0], np.cumsum(seen_w)))
            last = np.arange(1, len(seen_w) + 1)
            first = np.maximum(last - count, 0)
            seen_w = (sums[last] - sums[first]) / (last - first)
        return moments_s, seen_w


CARDS = {
    "mean over a second": Card("NVIDIA GeForce RTX 3090", "power.draw", 0.1, 0.1, 1.0),
    "mean over an update": Card("NVIDIA GeForce RTX 2080 Ti", "power.draw", 0.1, 0.1),
    "25 of every 100 ms": Card("NVIDIA A100-SXM4-80GB", "power.draw", 0.1, 0.025),
    "10 of every 20 ms": Card("Tesla V100-SXM2-16GB", "power.draw", 0.02, 0.01),
    "a second of 25 of every 100 ms": Card("NVIDIA H100 PCIe", "power.draw", 0.1, 0.025, 1.0),
}
Random = np.random.Generator


def _square(period_s: float) -> Callable[[Random], Floats]:
    def draw(random: Random) -> Floats:
        phase, share = random.random(), random.uniform(0.3, 0.7)
        return np.where((_T / period_s + phase) % 1 < share, 300.0, 60.0)

    return draw


def _ramp(random: Random) -> Floats:
    rounds = _T / random.uniform(3, 20) + random.random()
    return 60 + 240 * np.abs(2 * (rounds % 1) - 1)


def _bursts(random: Random) -> Floats:
    power_w = np.full(len(_T), 60.0)
    for _ in range(random.integers(5, 30)):
        begins_s, lasts_s = random.uniform(0, LENGTH_S), random.choice([0.02, 0.05, 0.1, 0.3, 1.0])
        power_w[(begins_s <= _T) & (begins_s + lasts_s > _T)] = random.uniform(150, 400)
    return power_w


def _steps(random: Random) -> Floats:
    ends_s = np.cumsum(random.exponential(3.0, 60))
    return random.uniform(40, 400, 61)[np.searchsorted(ends_s, _T)]


def _training(random: Random) -> Floats:
    begins_s, ends_s = random.uniform(2, 5), random.uniform(12, 18)
    high, low, period_s = random.uniform(250, 400), random.uniform(80, 200), random.uniform(0.05, 1)
    busy = np.where((_T / period_s) % 1 < 0.8, high, low)
    return np.where((begins_s <= _T) & (ends_s > _T), busy, 25.0)


PROFILES: dict[str, Callable[[Random], Floats]] = {
    "steady": lambda random: random.uniform(150, 400) + random.normal(0, 5, len(_T)),
    "idle": lambda random: np.full(len(_T), random.uniform(15, 50)),
    "ramp": _ramp,
    "bursts": _bursts,
    "steps": _steps,
    "training": _training,
    **{f"square of {p:g} s": _square(p) for p in (0.031, 0.073, 0.13, 0.63, 1.33, 2.7, 7.9)},
}


@dataclass(frozen=True)
class Trial:
    """A window of a log beside the truth.

    Attributes:
        error: relative, of the figure.
        bound: relative.
    """

    error: float
    bound: float

    @property
    def covered(self) -> bool:
        """Whether the truth lies within the bound."""
        return abs(self.error) <= self.bound


def trials(
    card: Card, profile: str, interval_s: float, length_s: float, random: Random, *, named: bool
) -> Iterator[Trial]:
    """Two windows of a log of a card at work.

    Args:
        card: whose sensor.
        profile: a key of `PROFILES`.
        interval_s: of the log.
        length_s: of the windows.
        random: draws the power, the gain, the moments.
        named: whether the log says which card it is.
    """
    power_w = PROFILES[profile](random)
    moments_s, seen_w = card.values(power_w, random.random())
    if profile == "idle":
        seen_w = seen_w * (1 - IDLE_OFFSET)
    else:
        seen_w = seen_w * (1 + random.uniform(*GAINS))
    rows_s = np.arange(random.random(), LENGTH_S / interval_s) * interval_s
    rows_s = np.sort(rows_s + random.normal(0, 0.02 * interval_s, len(rows_s)))
    rows_s = rows_s[(rows_s >= moments_s[0]) & (rows_s < LENGTH_S)]
    said_w = seen_w[np.searchsorted(moments_s, rows_s, "right") - 1]
    recording = _recording(card if named else replace(card, name=""), rows_s, said_w, interval_s)
    sums_j = np.concatenate(([0.0], np.cumsum(power_w) * STEP_S))
    for _ in range(2):
        start_s = random.uniform(rows_s[0] + LEAD_S, rows_s[-1] - length_s)
        edges_s = np.array([start_s, start_s + length_s])
        before_j, after_j = np.interp(edges_s / STEP_S, np.arange(len(sums_j)), sums_j)
        reading = recording.measure(*edges_s.tolist())["gpu:0"]
        truth_j = float(after_j - before_j)
        yield Trial(reading.gross_j / truth_j - 1, reading.error_j / truth_j)


def _recording(card: Card, rows_s: Floats, said_w: Floats, interval_s: float) -> Recording:
    channel = Channel(
        "gpu:0",
        "nvidia-smi",
        "power",
        Status.MEASURED,
        RELATIVE_ERROR,
        0.0,
        sensor=logged_sensor(card.column, card.name),
    )
    return Recording(TraceAbout(), (ChannelSamples(channel, rows_s, said_w, interval_s),))
