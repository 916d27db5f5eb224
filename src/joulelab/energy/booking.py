"""The course of a window's energy over time, and its carbon dioxide equivalent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulelab.energy.carbon.footprint import (
    carbon_intensity,
    checked_pue,
    default_place,
    default_pue,
    footprint,
)
from joulelab.energy.carbon.intensity import Intensity, IntensitySeries
from joulelab.energy.figure import TWO, Seen, Surroundings, readings_of, seen
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Total
from joulelab.energy.sample_buffer import ChannelSamples, Floats


@dataclass(frozen=True)
class Booking:
    """How energy converts to carbon dioxide: carbon intensity and power usage effectiveness.

    Attributes:
        intensity: constant, or over time.
        pue: power usage effectiveness.
    """

    intensity: Intensity | IntensitySeries
    pue: float

    @classmethod
    def of(cls, place: str | float | None, pue: float | None) -> Booking | None:
        """The user's choice or settings; ``None`` if no place is known.

        Args:
            place: as for `Options`.
            pue: as for `Options`.

        Raises:
            UsageError: the place is unknown, or the PUE is impossible.
        """
        pue = default_pue() if pue is None else checked_pue(pue)
        place = default_place() if place is None else place
        return None if place is None else cls(carbon_intensity(place), pue)

    def book(
        self,
        measurement: Measurement,
        channel_samples: Sequence[ChannelSamples] = (),
        start_s: float = 0.0,
    ) -> Measurement:
        """A measurement with its footprint.

        Args:
            measurement: of one window.
            channel_samples: its samples, which give the course of its energy.
            start_s: its start on the clock of the samples.
        """
        total, profile = measurement.total, None
        if isinstance(self.intensity, IntensitySeries):
            end_s = start_s + measurement.duration_s
            profile = energy_profile(channel_samples, total, start_s, end_s)
        booked = footprint(
            total.gross_j,
            total.error_j,
            measurement.started_at,
            measurement.duration_s,
            self.intensity,
            self.pue,
            profile,
        )
        return replace(measurement, footprint=booked)


def energy_profile(
    channel_samples: Sequence[ChannelSamples],
    total: Total,
    start_s: float,
    end_s: float | None = None,
) -> tuple[list[float], list[float]] | None:
    """The course of a sum's energy over time, as `joulelab.energy.carbon.footprint` takes it.

    Bridged energy is spread evenly over the gaps.

    Args:
        channel_samples: samples of every channel.
        total: the sum.
        start_s: the opening of the window on the monotonic clock.
        end_s: its closing; the last sample where not given.

    Returns:
        Seconds since the opening and cumulative joules, (n,) each; ``None`` where nothing counts.
    """
    by_domain: dict[str, tuple[ChannelSamples, Seen]] = {}
    reach_s = [
        float(one.times_s[at]) for one in channel_samples if len(one.times_s) for at in (0, -1)
    ]
    edges_s = (start_s, max(reach_s, default=start_s) if end_s is None else end_s)
    whole_s = (min([*edges_s, *reach_s]), max([*edges_s, *reach_s]))
    for samples in channel_samples:
        channel = samples.channel
        counts = channel.domain in total.domains and channel.source in total.sources
        # Two instruments of the same domain may both be sources; one of them suffices.
        if not counts or channel.comparison or channel.domain in by_domain:
            continue
        if len(readings_of(samples)[0]) >= TWO:
            same = [one for one in channel_samples if one.channel.domain == channel.domain]
            by_domain[channel.domain] = (samples, seen(samples, Surroundings(whole_s, same)))
    if not by_domain:
        return None
    curves = [_course(samples, shown) for samples, shown in by_domain.values()]
    holes = [_holes(shown, whole_s) for _, shown in by_domain.values()]
    lost_s = _between(holes, edges_s)
    if lost_s > 0 and total.gross_j is not None:
        power_w = max(0.0, total.gross_j - _between(curves, edges_s)) / lost_s
        curves += [(times, power_w * lost) for times, lost in holes]
    moments = np.unique(np.concatenate([times for times, _ in curves]))
    summed = np.sum([np.interp(moments, times, joules) for times, joules in curves], axis=0)
    return (moments - start_s).tolist(), np.maximum.accumulate(summed).tolist()


def _between(curves: Sequence[tuple[Floats, Floats]], edges_s: tuple[float, float]) -> float:
    """The joint rise of several curves between two times."""
    rises = [np.diff(np.interp(edges_s, moments, values))[0] for moments, values in curves]
    return math.fsum(map(float, rises))


def _course(samples: ChannelSamples, shown: Seen) -> tuple[Floats, Floats]:
    """Times, and the joules that a channel has seen until each."""
    times, values = shown.times_s, shown.values
    counts = samples.channel.kind == "counter"
    steps_j = np.diff(values) if counts else values[:-1] * np.diff(times)
    if shown.blind is not None:
        steps_j = np.where(shown.blind, 0.0, steps_j)
    return times, np.concatenate(([0.0], np.cumsum(steps_j)))


def _holes(shown: Seen, edges_s: tuple[float, float]) -> tuple[Floats, Floats]:
    """Times, and the unseen seconds until each."""
    times = np.concatenate((edges_s[:1], shown.times_s, edges_s[1:]))
    steps_s = np.diff(times)
    lost = np.zeros(len(steps_s), bool)
    lost[0], lost[-1] = shown.edges_s[0] > edges_s[0], shown.edges_s[1] < edges_s[1]
    if shown.blind is not None:
        lost[1:-1] = shown.blind
    return times, np.concatenate(([0.0], np.cumsum(np.where(lost, steps_s, 0.0))))
