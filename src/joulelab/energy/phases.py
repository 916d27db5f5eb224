"""The energy of parts of a window: phases of a program, or any time within it.

A domain's energy is interpolated between the samples around each edge::

    C(t)   counter reading, or the integral of power, at the samples; linear between them
    E      = G * sum (C(end) - C(begin)) / (C(T) - C(0))       G energy of the whole window

so that the energies of phases that cover a window add up to its energy. Where a phase is shorter
than the time between two samples, its share is that of its time: such energies are estimates.

A counter that ticks more slowly than it is read stands still in between. C(t) is then linear from
one tick to the next, not a staircase: what it shows is up to one tick late.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Status, Total
from joulelab.energy.sample_buffer import ChannelSamples, Floats

SHORT = 2.0
"""A phase of less than two intervals between samples is not measured but estimated."""


@dataclass(frozen=True)
class PhaseEnergy:
    """What all occurrences of a phase took.

    Attributes:
        duration_s: their time.
        energy_j: gross energy of the domains that count; ``None`` where it is unknown.
        status: of this energy.
        times: number of occurrences.
    """

    duration_s: float
    energy_j: float | None
    status: Status
    times: int


@dataclass(frozen=True)
class EnergyCurve:
    """The energy of one domain since the beginning of a window.

    Attributes:
        domain: the domain.
        times_s: (k,) on the monotonic clock, rising; k is at least 2.
        joules: (k,) gross energy since the first of these times, up to that of the window.
        status: of this energy.
        tick_s: the time between two values of the sensor, or between two samples if that is longer.
        error_j: bound of the error of the window's energy; ``None`` where unknown.
        idle_w: power at idle in watts; ``None`` where unknown.
        idle_error_w: bound of its error; ``None`` where unknown.
        counts: whether the domain is in the sum of the window.
    """

    domain: str
    times_s: Floats
    joules: Floats
    status: Status
    tick_s: float
    error_j: float | None = None
    idle_w: float | None = None
    idle_error_w: float | None = None
    counts: bool = True

    def energy_j(self, begins_s: Floats, ends_s: Floats) -> Floats:
        """The energy between times, of the same shape; nothing outside of the window.

        Args:
            begins_s: times on the monotonic clock.
            ends_s: likewise.
        """
        at = np.interp(np.stack((begins_s, ends_s)), self.times_s, self.joules)
        return np.asarray(at[1] - at[0])


def energy_curves(
    measurement: Measurement, samples: Sequence[ChannelSamples]
) -> tuple[EnergyCurve, ...]:
    """The course of the energy of each domain that is known.

    Args:
        measurement: of a window.
        samples: of every channel in it.
    """
    counted = measurement.total.domains
    channels = {(one.channel.domain, one.channel.source): one for one in samples}
    curves = []
    for one in measurement.readings:
        channel = channels.get((one.domain, one.source))
        if one.gross_j is None or channel is None:
            continue
        times_s, shape = _cumulative(channel)
        if len(times_s) < 2 or times_s[-1] <= times_s[0]:  # noqa: PLR2004 - no time between samples
            continue
        if shape[-1] <= shape[0]:  # nothing to share out by
            shape = times_s
        share = (shape - shape[0]) / (shape[-1] - shape[0])
        curves.append(
            EnergyCurve(
                one.domain,
                times_s,
                one.gross_j * share,
                one.status,
                max(channel.interval_s, channel.channel.tick_s),
                one.error_j,
                one.idle_w,
                one.idle_error_w,
                one.domain in counted,
            )
        )
    return tuple(curves)


def phase_energies(
    phases: Iterable[tuple[str, float, float]],
    measurement: Measurement,
    total: Total,
    samples: Sequence[ChannelSamples],
) -> Mapping[str, PhaseEnergy]:
    """The energy of each phase within a window.

    Args:
        phases: name, begin and end of each occurrence on the monotonic clock.
        measurement: of the window.
        total: the sum over its domains that count.
        samples: of every channel in the window.
    """
    spans: dict[str, list[tuple[float, float]]] = {}
    for name, begin_s, end_s in phases:
        spans.setdefault(name, []).append((begin_s, end_s))
    curves = [one for one in energy_curves(measurement, samples) if one.domain in total.domains]
    whole = {one.domain for one in curves} == set(total.domains) and bool(curves)
    seen_s = SHORT * max((one.tick_s for one in curves), default=0.0)
    found = {}
    for name, those in spans.items():
        begins, ends = np.array(those).T
        energy_j = None
        if total.gross_j is not None and whole:
            energy_j = math.fsum(float(one.energy_j(begins, ends).sum()) for one in curves)
        short = float(np.median(ends - begins)) < seen_s
        found[name] = PhaseEnergy(
            float((ends - begins).sum()),
            energy_j,
            Status.MISSING
            if energy_j is None
            else Status.of_sum([total.status, Status.ESTIMATED] if short else [total.status]),
            len(those),
        )
    return found


def _cumulative(samples: ChannelSamples) -> tuple[Floats, Floats]:
    """Times, and the energy since the first sample in any unit."""
    known = ~np.isnan(samples.values)
    times_s, values = samples.times_s[known], samples.values[known]
    if samples.channel.kind == "counter":
        return _ticks(times_s, values)
    if len(values) < 2:  # noqa: PLR2004 - no step to integrate
        return times_s, values
    steps_j = np.diff(times_s) * (values[1:] + values[:-1]) / 2
    return times_s, np.concatenate(([0.0], np.cumsum(steps_j)))


def _ticks(times_s: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The samples of a counter at which it had moved, and the edges."""
    kept = np.ones(len(values), bool)
    kept[1:-1] = np.diff(values)[:-1] != 0
    return times_s[kept], values[kept]
