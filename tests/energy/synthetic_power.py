"""What the simulated GPU of stub_nvml.c draws, in Python: the truth that a meter is held against.

A trace has a shape f(t) from 0 (low) to 1 (high), t in seconds since its start, T its period:

    constant  f = 1
    ramp      f = r, r = t/T - floor(t/T)
    plateau   f = 4 r for r < 1/4, 4 (1 - r) for r > 3/4, else 1
    square    f = 1 for r < 1/2, else 0
    noise     f = mean of four octaves; octave k has steps of T/2^k with the values u, 1 - u, v,
              1 - v ..., drawn by hashing the number of the pair (splitmix64)

and f = 0 before the start. Power is low + (high - low) f(t). Every f has an integral F(t) in closed
form, so the energy of any interval is exact. GPU n draws n + 1 times as much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["constant", "ramp", "plateau", "square", "noise"]
SHAPES: tuple[Shape, ...] = ("constant", "ramp", "plateau", "square", "noise")

_OCTAVES = 4
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Trace:
    """Power over time.

    Attributes:
        shape: see above.
        started_ns: start on the monotonic clock, as `time.monotonic_ns` gives it.
        low_mw: power of f = 0 in milliwatts.
        high_mw: power of f = 1 in milliwatts.
        period_ms: T in milliseconds.
        seed: of the noise.
    """

    shape: Shape
    started_ns: int = 0
    low_mw: int = 60_000
    high_mw: int = 300_000
    period_ms: int = 1000
    seed: int = 0

    def variables(self) -> dict[str, str]:
        """The environment in which the stub draws this."""
        return {
            "STUB_TRACE": self.shape,
            "STUB_START_NS": str(self.started_ns),
            "STUB_LOW_MW": str(self.low_mw),
            "STUB_HIGH_MW": str(self.high_mw),
            "STUB_PERIOD_MS": str(self.period_ms),
            "STUB_SEED": str(self.seed),
        }


def exact_energy_j(trace: Trace, start_s: float, end_s: float, gpu: int = 0) -> float:
    """The energy that a GPU draws between two moments, in joules.

    Args:
        trace: what it draws.
        start_s: moment in seconds of the monotonic clock.
        end_s: moment in seconds of the monotonic clock.
        gpu: number of the GPU.
    """
    low_w, high_w = trace.low_mw / 1e3, trace.high_mw / 1e3
    begun_s = trace.started_ns / 1e9
    above_s = _integral_s(trace, end_s - begun_s) - _integral_s(trace, start_s - begun_s)
    return (low_w * (end_s - start_s) + (high_w - low_w) * above_s) * (gpu + 1)


def exact_power_w(trace: Trace, at_s: float, gpu: int = 0) -> float:
    """The power that a GPU draws at a moment, in watts.

    Args:
        trace: what it draws.
        at_s: moment in seconds of the monotonic clock.
        gpu: number of the GPU.
    """
    low_w, high_w = trace.low_mw / 1e3, trace.high_mw / 1e3
    return (low_w + (high_w - low_w) * _shape(trace, at_s - trace.started_ns / 1e9)) * (gpu + 1)


def _shape(trace: Trace, t: float) -> float:
    """f(t)."""
    if t < 0:
        return 0.0
    period_s = trace.period_ms / 1e3
    r = t / period_s - math.floor(t / period_s)
    match trace.shape:
        case "constant":
            return 1.0
        case "ramp":
            return r
        case "plateau":
            return min(4 * r, 1.0, 4 * (1 - r))
        case "square":
            return 1.0 if r < 1 / 2 else 0.0
    values = []
    for octave in range(_OCTAVES):
        step_s = period_s / 2**octave
        number = math.floor(t / step_s)
        u = _hashed(trace.seed, octave, number // 2)
        values.append(1 - u if number % 2 else u)
    return sum(values) / _OCTAVES


def _integral_s(trace: Trace, t: float) -> float:
    """F(t), the integral of f from 0 to t."""
    if t < 0:
        return 0.0
    period_s = trace.period_ms / 1e3
    n = math.floor(t / period_s)
    r = t / period_s - n
    match trace.shape:
        case "constant":
            return t
        case "ramp":
            return period_s * (n / 2 + r * r / 2)
        case "plateau":
            rise, fall = 2 * r * r, 3 / 4 - 2 * (1 - r) ** 2
            part = rise if r < 1 / 4 else r - 1 / 8 if r < 3 / 4 else fall
            return period_s * (n * 3 / 4 + part)
        case "square":
            return period_s * (n / 2 + min(r, 1 / 2))
    total_s = 0.0
    for octave in range(_OCTAVES):
        step_s = period_s / 2**octave
        pair = math.floor(t / (2 * step_s))
        inside_s = t - pair * 2 * step_s
        u = _hashed(trace.seed, octave, pair)
        total_s += pair * step_s + min(inside_s, step_s) * u + max(inside_s - step_s, 0) * (1 - u)
    return total_s / _OCTAVES


def _hashed(seed: int, octave: int, pair: int) -> float:
    z = (seed * 0x9E3779B97F4A7C15 + octave * 0xD1B54A32D192ED03 + pair) & _MASK
    z = (z + 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    return ((z ^ z >> 31) >> 11) / 2**53
