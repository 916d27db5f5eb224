"""Readings of a window, one per domain, from its samples.

If several channels read a domain, the best one counts: a measured counter, then measured power,
then an estimate. Power is preferred to a counter with few steps. Measured power checks a measured
counter: a difference above a tenth and above the error bound is flagged. Readings of other
instruments are kept for comparison, not in any sum.

Energy below zero is invalid: that channel's value is missing, with a reason, and flagged.
Implausible readings are removed before (`joulelab.energy.standstill`).

If a sensor fails within the window, the gap is bridged and the reading is *partly estimated*: see
`joulelab.energy.figure`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from joulelab import formats
from joulelab.energy.figure import (
    COARSE_TICKS,
    GAP_INTERVALS,
    TWO,
    Figure,
    Surroundings,
    figure,
    in_seconds,
    readings_of,
)
from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Missing
from joulelab.energy.reading import Reading, Status, family, instrument_of
from joulelab.energy.sample_buffer import IMPOSSIBLE, ChannelSamples, Floats, longest
from joulelab.energy.standstill import believed
from joulelab.energy.trace import longest_gap_s, power_of_counter

DISAGREEMENT = 0.1
STATE_COLUMNS = (
    "utilisation",
    "temperature_c",
    "clock_mhz",
    "power_limit_w",
    "voltage_v",
    "current_a",
)


@dataclass(frozen=True)
class Conditions:
    """A window without its samples.

    Attributes:
        label: of the window.
        started_at: wall-clock time of the opening.
        edges_s: start and end on the monotonic clock.
        missing: domains that cannot be read at all.
        idle_w: idle power in watts by domain.
        interval_s: intended time between two samples.
        flags: the recorder's remarks on quality.
        idle_error_w: bounds of the error of `idle_w` by domain.
    """

    label: str
    started_at: float | None
    edges_s: tuple[float, float]
    missing: Sequence[Missing]
    idle_w: Mapping[str, float]
    interval_s: float
    flags: tuple[str, ...] = ()
    idle_error_w: Mapping[str, float] = field(default_factory=dict)


def summarise(window: Conditions, channel_samples: Sequence[ChannelSamples]) -> Measurement:
    """All readings of a window.

    Args:
        window: the window.
        channel_samples: samples of every channel.
    """
    duration_s = window.edges_s[1] - window.edges_s[0]
    channel_samples, doubts = believed(channel_samples)
    by_domain: dict[str, list[ChannelSamples]] = {}
    for samples in channel_samples:
        if not samples.channel.comparison:
            by_domain.setdefault(samples.channel.domain, []).append(samples)
    flags = [*window.flags, *doubts]
    readings = [_reading(domain, parts, window, flags) for domain, parts in by_domain.items()]
    others = _others(channel_samples, readings, window, flags)
    # An estimate covers all sockets at once: what it covers is not missing.
    estimated = {
        family(part.channel.domain)
        for parts in by_domain.values()
        for part in parts
        if part.channel.status is Status.ESTIMATED
    }
    readings += [
        Reading(one.domain, "none", Status.MISSING, None, None, None, duration_s, one.reason)
        for one in window.missing
        if one.domain not in by_domain and family(one.domain) not in estimated
    ]
    gap_s = _gap_s(channel_samples, window.interval_s, flags)
    return Measurement(
        window.label,
        window.started_at,
        duration_s,
        tuple(readings),
        longest(channel_samples),
        gap_s,
        tuple(flags),
        others=tuple(others),
    )


def _others(
    channel_samples: Sequence[ChannelSamples],
    readings: Sequence[Reading],
    window: Conditions,
    flags: list[str],
) -> list[Reading]:
    """Readings of the other instruments of a domain, with their serious flags."""
    chosen = {(reading.domain, instrument_of(reading.source)) for reading in readings}
    aside: dict[tuple[str, str], list[ChannelSamples]] = {}
    for samples in channel_samples:
        key = (samples.channel.domain, instrument_of(samples.channel.source))
        if key not in chosen or samples.channel.comparison:
            aside.setdefault(key, []).append(samples)
    others = []
    for (domain, _), parts in aside.items():
        own: list[str] = []
        others.append(replace(_reading(domain, parts, window, own), idle_w=None, idle_error_w=None))
        flags += [flag for flag in own if IMPOSSIBLE in flag and flag not in flags]
    return others


def trace_columns(channel_samples: Sequence[ChannelSamples], start_s: float) -> dict[str, Any]:
    """The samples of a window as columns of equal length, one row per sample and channel.

    Args:
        channel_samples: samples of every channel.
        start_s: time that becomes 0. Sleep of the machine counts: the trace has a gap there.

    Returns:
        ``t_s``, ``domain``, ``source``, ``power_w``, ``energy_j`` (counters, since the opening),
        and other sensor readings: ``utilisation`` (0 to 1), ``temperature_c``, ``clock_mhz``,
        ``power_limit_w``, ``voltage_v``, ``current_a``; NaN where unknown.
    """
    domains: list[str] = []
    sources: list[str] = []
    numbers: dict[str, list[Floats]] = {
        name: [] for name in ("t_s", "power_w", "energy_j", *STATE_COLUMNS)
    }
    for samples in channel_samples:
        count = len(samples.times_s)
        unknown = np.full(count, math.nan)
        domains += [samples.channel.domain] * count
        sources += [samples.channel.source] * count
        numbers["t_s"].append(samples.times_s - start_s + slept_until_s(samples))
        numbers["power_w"].append(samples.power_w())
        energy_j = unknown
        if samples.channel.kind == "counter":
            good = np.flatnonzero(~np.isnan(samples.values))
            energy_j = samples.values - (samples.values[good[0]] if len(good) else math.nan)
        numbers["energy_j"].append(energy_j)
        for name in STATE_COLUMNS:
            numbers[name].append(samples.state.get(name, unknown))
    joined = {name: np.concatenate(parts or [np.empty(0)]) for name, parts in numbers.items()}
    return {"t_s": joined.pop("t_s"), "domain": domains, "source": sources, **joined}


def slept_until_s(samples: ChannelSamples) -> Floats:
    """Sleep of the machine between the first sample and each sample, in seconds."""
    slept_s = np.zeros(len(samples.times_s))
    for woken_s, asleep_s in samples.sleeps:
        slept_s[samples.times_s >= woken_s] += asleep_s
    return slept_s


def _reading(
    domain: str, channel_samples: Sequence[ChannelSamples], window: Conditions, flags: list[str]
) -> Reading:
    duration_s = window.edges_s[1] - window.edges_s[0]
    idle_w, idle_error_w = window.idle_w.get(domain), window.idle_error_w.get(domain)
    around = Surroundings(window.edges_s, channel_samples, idle_w, idle_error_w or 0.0)
    unsorted = [_doubted(figure(one, around), one) for one in channel_samples]
    figures = sorted(unsorted, key=lambda said: said.rank)
    best = figures[0]
    channel = best.channel
    flags += _impossible(domain, channel_samples, unsorted)
    known = best.energy_j is not None
    check_j = None
    # Why counters of this domain were not used, and remarks on the chosen channel.
    remarks = [
        f.reason for f in figures if f.reason and (f is best or f.lost_s or f.energy_j is None)
    ]
    if known:
        check_j = _check(domain, figures, duration_s > GAP_INTERVALS * window.interval_s, flags)
        if best.too_short:
            flags.append(f"{domain}: {_too_short(best, duration_s)}")
        elif best.coarse:
            flags.append(f"{domain}: {_few(best, duration_s)}: coarse")
        if best.lost_s:
            flags.append(f"{domain}: {channel.source} said nothing for {in_seconds(best.lost_s)}")
    else:
        remarks = list(dict.fromkeys(said.reason for said in figures))
    return Reading(
        domain=domain,
        source=channel.source,
        status=best.status if known else Status.MISSING,
        gross_j=best.energy_j,
        error_j=best.error_j if known else None,
        idle_w=idle_w,
        duration_s=duration_s,
        reason="; ".join(remarks),
        within=channel.within,
        peak_power_w=_peak_w(channel_samples) if known else None,
        check_j=check_j,
        lost_s=best.lost_s,
        seen_j=best.seen_j,
        idle_error_w=idle_error_w,
        too_short=known and best.too_short,
    )


def _impossible(
    domain: str, channel_samples: Sequence[ChannelSamples], figures: Sequence[Figure]
) -> list[str]:
    """Implausible channels: all their readings, or some samples."""
    whole = [f"{domain}: {said.reason}" for said in figures if said.impossible]
    parts = [
        f"{domain}: {one.channel.source} {one.unreadable}: this is not a reading"
        for one, said in zip(channel_samples, figures, strict=True)
        if IMPOSSIBLE in one.unreadable and not said.impossible
    ]
    return whole + parts


def _few(said: Figure, duration_s: float) -> str:
    """Why a reading is coarse."""
    channel = said.channel
    if channel.kind == "power":
        mean_s = channel.looks.averaging_s
        return f"shorter than the {mean_s:g} s that a value of {channel.source} is a mean of"
    ticks = duration_s / channel.tick_s if channel.tick_s else math.inf
    few = f"only {ticks:.0f} ticks" if ticks < COARSE_TICKS else "few steps"
    return f"{few} of {channel.source}"


def _too_short(said: Figure, duration_s: float) -> str:
    """Why what a sensor says is an estimate, and what to do."""
    channel = said.channel
    slow_s = max(channel.tick_s, channel.looks.lag_s if channel.kind == "power" else 0.0)
    enough = f", {formats.duration(COARSE_TICKS * slow_s)} if you can" if slow_s else ""
    return (
        f"{in_seconds(duration_s)} are too short for {channel.source}: coarse, and an estimate, "
        f"because it may be off by more than it says; measure for longer{enough}"
    )


def _check(
    domain: str, figures: Sequence[Figure], long_enough: bool, flags: list[str]
) -> float | None:
    """The same energy by the next measured channel; a difference is flagged.

    Channels are read one after the other, so in a very short window they see different times.
    """
    best, *others = figures
    sound = [
        said
        for said in others
        if said.energy_j is not None and said.channel.status is Status.MEASURED and not said.lost_s
    ]
    if not sound or best.channel.status is not Status.MEASURED or best.lost_s:
        return None
    energy_j, check_j = best.energy_j or 0.0, sound[0].energy_j or 0.0
    allowed_j = max(DISAGREEMENT * abs(energy_j), best.error_j or 0.0)
    if long_enough and not sound[0].coarse and abs(energy_j - check_j) > allowed_j:
        flags.append(
            f"{domain}: {best.channel.source} says {energy_j:.4g} J and "
            f"{sound[0].channel.source} {check_j:.4g} J"
        )
    return check_j


def _doubted(figure: Figure, samples: ChannelSamples) -> Figure:
    """A reading that may miss energy is an estimate, and its bound covers that."""
    if not samples.unseen_j or figure.energy_j is None:
        return figure
    return replace(
        figure,
        channel=replace(figure.channel, status=Status.ESTIMATED),
        error_j=(figure.error_j or 0.0) + samples.unseen_j,
        reason="; ".join(
            filter(None, (figure.reason, f"{samples.channel.source}: {samples.doubt}"))
        ),
    )


def _peak_w(channel_samples: Sequence[ChannelSamples]) -> float | None:
    """The highest power; for a counter over steps not much shorter than the interval."""
    for samples in sorted(channel_samples, key=lambda one: one.channel.kind == "counter"):
        if samples.channel.kind == "counter" and len(samples.times_s) == TWO:
            # The usual case of a short window, without arrays.
            (first_s, last_s), (first_j, last_j) = samples.times_s.tolist(), samples.values.tolist()
            step_s = last_s - first_s
            known = step_s >= samples.interval_s / 2 and not samples.unreadable
            if known:
                return float((last_j - first_j) / step_s)
            continue
        times, power = readings_of(samples)
        if samples.channel.kind == "counter":
            steps_s = times[1:] - times[:-1]
            # The whole is a step too, so that a peak is never below the mean.
            whole = power_of_counter(times[[0, -1]], power[[0, -1]])[1:] if len(times) else power
            power = power_of_counter(times, power)[1:][steps_s >= samples.interval_s / 2]
            power = np.concatenate((power, whole)) if len(power) else power
        if len(power):
            return float(power.max())
    return None


def _gap_s(channel_samples: Sequence[ChannelSamples], interval_s: float, flags: list[str]) -> float:
    """The longest gap of the most frequently read channels, relative to their own rates."""
    # Channels of a meter share their times, unless a sample of one is unreadable.
    gaps = {
        id(one if one.unreadable else one.times_s): (one, longest_gap_s(readings_of(one)[0]))
        for one in channel_samples
    }
    late = [gap_s for one, gap_s in gaps.values() if gap_s > GAP_INTERVALS * one.interval_s]
    if late:
        flags.append(f"no sample for {max(late):.2f} s")
    quickest_s = min((one.interval_s for one, _ in gaps.values()), default=interval_s)
    return max((g for one, g in gaps.values() if one.interval_s == quickest_s), default=0.0)
