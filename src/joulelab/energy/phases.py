"""The energy of parts of a window: phases of a program.

A domain's energy is interpolated between the samples around each edge::

    C(t)   counter reading, or the integral of power, at the samples; linear between them
    E      = G * sum (C(end) - C(begin)) / (C(T) - C(0))       G energy of the whole window

so that the energies of phases that cover a window add up to its energy. Where a phase is shorter
than the time between two samples, its share is that of its time: such energies are estimates.
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
    counted = {one.domain: one for one in measurement.readings if one.domain in total.domains}
    curves = [
        (one.gross_j, _cumulative(channel), max(channel.interval_s, channel.channel.tick_s))
        for channel in samples
        if (one := counted.pop(channel.channel.domain, None)) is not None
        and one.source == channel.channel.source
    ]
    found = {}
    for name, those in spans.items():
        begins, ends = np.array(those).T
        energy_j = None
        if total.gross_j is not None and curves and not counted:
            energy_j = math.fsum(_part_j(whole, curve, begins, ends) for whole, curve, _ in curves)
        seen_s = SHORT * max((tick_s for _, _, tick_s in curves), default=0.0)
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
    if samples.channel.kind == "counter" or len(values) < 2:  # noqa: PLR2004 - no step to integrate
        return times_s, values
    steps_j = np.diff(times_s) * (values[1:] + values[:-1]) / 2
    return times_s, np.concatenate(([0.0], np.cumsum(steps_j)))


def _part_j(
    whole_j: float | None, curve: tuple[Floats, Floats], begins: Floats, ends: Floats
) -> float:
    times_s, energy_j = curve
    if whole_j is None or len(times_s) < 2:  # noqa: PLR2004 - no time between samples
        return 0.0
    if energy_j[-1] <= energy_j[0]:  # nothing to share out by
        energy_j = times_s
    steps = np.interp(ends, times_s, energy_j) - np.interp(begins, times_s, energy_j)
    return whole_j * float(steps.sum()) / float(energy_j[-1] - energy_j[0])
