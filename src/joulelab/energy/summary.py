"""From the samples of a window to its readings: one for each domain.

Where several channels read a domain, the best one is the figure: a measured counter, then measured
power, then an estimate. A counter that has made few of its steps is passed over for power.
Measured power beside a measured counter is the check, and a disagreement beyond a tenth and the
error bound is flagged. What other instruments say of the domain is kept beside it, in no sum.

An energy below zero is none: that channel's figure is missing, with its reason, and flagged. What a
sensor cannot have meant is taken out before (`joulelab.energy.standstill`).

A sensor that falls silent within the window leaves a part of it unseen. The reading keeps what was
seen, takes its mean power for the rest, and is *estimated* from then on, with a bound that covers
whatever the device may have used unseen: between nothing and its power limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.meter import Channel, Missing
from joulelab.energy.reading import Measurement, Reading, Status, Total, instrument_of
from joulelab.energy.standstill import believed
from joulelab.energy.tape import Floats, Stretch, longest
from joulelab.energy.trace import integrate, longest_gap_s

COARSE_TICKS = 20
GAP_INTERVALS = 3
DISAGREEMENT = 0.1
IMPOSSIBLE = "an energy below 0 cannot be"
TWO = 2
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
    """What belongs to a window beside its samples.

    Attributes:
        label: of the window.
        started_at: wall-clock time of the opening.
        edges_s: opening and closing on the monotonic clock.
        missing: domains that cannot be read at all.
        idle_w: idle power in watts by domain.
        interval_s: intended time between two samples.
        flags: what the recorder has to say on the quality.
    """

    label: str
    started_at: float | None
    edges_s: tuple[float, float]
    missing: Sequence[Missing]
    idle_w: Mapping[str, float]
    interval_s: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Figure:
    """What one channel says of the window; `energy_j` is None where it does not know.

    `lost_s` is the time in which it said nothing. A counter is coarse that made few steps, or whose
    sensor ticked a few times only. What was below zero is impossible, and not known.
    """

    channel: Channel
    energy_j: float | None
    error_j: float | None
    reason: str
    lost_s: float = 0.0
    coarse: bool = False
    impossible: bool = False

    @property
    def rank(self) -> tuple[bool, bool, bool, bool, float]:
        """The best one first: known, measured, whole, a counter; else that of the least error."""
        counts = self.channel.kind == "counter" and not self.coarse
        return (
            self.energy_j is None,
            self.channel.status is not Status.MEASURED,
            self.lost_s > 0,
            not counts,
            0.0 if counts or self.error_j is None else self.error_j,
        )


def summarise(window: Conditions, stretches: Sequence[Stretch]) -> Measurement:
    """All readings of a window.

    Args:
        window: what belongs to it beside its samples.
        stretches: samples of every channel.
    """
    duration_s = window.edges_s[1] - window.edges_s[0]
    stretches, doubts = believed(stretches)
    by_domain: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        if not stretch.channel.comparison:
            by_domain.setdefault(stretch.channel.domain, []).append(stretch)
    flags = [*window.flags, *doubts]
    readings = [_reading(domain, parts, window, flags) for domain, parts in by_domain.items()]
    others = _others(stretches, readings, window, flags)
    # An estimate stands for all sockets at once: what it covers is not missing beside it.
    estimated = {
        _family(part.channel.domain)
        for parts in by_domain.values()
        for part in parts
        if part.channel.status is Status.ESTIMATED
    }
    readings += [
        Reading(one.domain, "none", Status.MISSING, None, None, None, duration_s, one.reason)
        for one in window.missing
        if one.domain not in by_domain and _family(one.domain) not in estimated
    ]
    gap_s = _gap_s(stretches, window.interval_s, flags)
    return Measurement(
        window.label,
        window.started_at,
        duration_s,
        tuple(readings),
        longest(stretches),
        gap_s,
        tuple(flags),
        others=tuple(others),
    )


def _others(
    stretches: Sequence[Stretch],
    readings: Sequence[Reading],
    window: Conditions,
    flags: list[str],
) -> list[Reading]:
    """What instruments say of a domain whose reading is another's; of the flags the grave ones."""
    chosen = {(reading.domain, instrument_of(reading.source)) for reading in readings}
    aside: dict[tuple[str, str], list[Stretch]] = {}
    for stretch in stretches:
        key = (stretch.channel.domain, instrument_of(stretch.channel.source))
        if key not in chosen or stretch.channel.comparison:
            aside.setdefault(key, []).append(stretch)
    others = []
    for (domain, _), parts in aside.items():
        own: list[str] = []
        others.append(replace(_reading(domain, parts, window, own), idle_w=None))
        flags += [flag for flag in own if IMPOSSIBLE in flag and flag not in flags]
    return others


def trace_columns(stretches: Sequence[Stretch], start_s: float) -> dict[str, Any]:
    """The samples of a window as columns of equal length, a row a sample and channel.

    Args:
        stretches: samples of every channel.
        start_s: the moment that counts as 0.

    Returns:
        ``t_s``, ``domain``, ``source``, ``power_w``, ``energy_j`` (counters, since the opening),
        and what the sensors say beside it: ``utilisation`` (0 to 1), ``temperature_c``,
        ``clock_mhz``, ``power_limit_w``, ``voltage_v``, ``current_a``; NaN where unknown.
    """
    domains: list[str] = []
    sources: list[str] = []
    numbers: dict[str, list[Floats]] = {
        name: [] for name in ("t_s", "power_w", "energy_j", *STATE_COLUMNS)
    }
    for stretch in stretches:
        count = len(stretch.times_s)
        unknown = np.full(count, math.nan)
        domains += [stretch.channel.domain] * count
        sources += [stretch.channel.source] * count
        numbers["t_s"].append(stretch.times_s - start_s)
        numbers["power_w"].append(stretch.power_w())
        energy_j = unknown
        if stretch.channel.kind == "counter":
            good = np.flatnonzero(~np.isnan(stretch.values))
            energy_j = stretch.values - (stretch.values[good[0]] if len(good) else math.nan)
        numbers["energy_j"].append(energy_j)
        for name in STATE_COLUMNS:
            numbers[name].append(stretch.state.get(name, unknown))
    joined = {name: np.concatenate(parts or [np.empty(0)]) for name, parts in numbers.items()}
    return {"t_s": joined.pop("t_s"), "domain": domains, "source": sources, **joined}


def energy_profile(
    stretches: Sequence[Stretch], total: Total, start_s: float
) -> tuple[list[float], list[float]] | None:
    """When the energy of a sum was used, as `joulelab.energy.carbon.footprint` takes it.

    Args:
        stretches: samples of every channel.
        total: whose parts count.
        start_s: the opening of the window on the monotonic clock.

    Returns:
        Seconds since the opening and cumulative joules, (n,) each; ``None`` where nothing counts.
    """
    by_domain: dict[str, tuple[Floats, Floats]] = {}
    for stretch in stretches:
        channel, good = stretch.channel, ~np.isnan(stretch.values)
        counts = channel.domain in total.domains and channel.source in total.sources
        # Two instruments of one domain may both be among the sources: one course of it is enough.
        if not counts or channel.comparison or channel.domain in by_domain:
            continue
        times, values = stretch.times_s[good] - start_s, stretch.values[good]
        if len(times) < TWO:
            continue
        held_j = np.concatenate(([0.0], np.cumsum(values[:-1] * np.diff(times))))
        energy_j = values - values[0] if channel.kind == "counter" else held_j
        by_domain[channel.domain] = (times, energy_j)
    curves = list(by_domain.values())
    if not curves:
        return None
    moments = np.unique(np.concatenate([times for times, _ in curves]))
    summed = np.sum([np.interp(moments, times, joules) for times, joules in curves], axis=0)
    return moments.tolist(), np.maximum.accumulate(summed).tolist()


def _reading(
    domain: str, stretches: Sequence[Stretch], window: Conditions, flags: list[str]
) -> Reading:
    duration_s = window.edges_s[1] - window.edges_s[0]
    idle_w = window.idle_w.get(domain)
    figures = sorted(
        (_doubted(_figure(one, stretches, window.edges_s), one) for one in stretches),
        key=lambda figure: figure.rank,
    )
    best = figures[0]
    channel = best.channel
    flags += [f"{domain}: {figure.reason}" for figure in figures if figure.impossible]
    if best.energy_j is None:
        return Reading(
            domain,
            channel.source,
            Status.MISSING,
            gross_j=None,
            error_j=None,
            idle_w=idle_w,
            duration_s=duration_s,
            reason="; ".join(dict.fromkeys(figure.reason for figure in figures)),
            within=channel.within,
        )
    check_j = _check(domain, figures, duration_s > GAP_INTERVALS * window.interval_s, flags)
    if best.coarse:
        ticks = duration_s / channel.tick_s if channel.tick_s else math.inf
        few = f"only {ticks:.0f} ticks" if ticks < COARSE_TICKS else "few steps"
        flags.append(f"{domain}: {few} of {channel.source}: coarse")
    if best.lost_s:
        flags.append(f"{domain}: {channel.source} said nothing for {best.lost_s:.1f} s")
    # Why counters of this domain could not give the figure, and what is to say of the best.
    remarks = [
        f.reason for f in figures if f.reason and (f is best or f.lost_s or f.energy_j is None)
    ]
    return Reading(
        domain=domain,
        source=channel.source,
        status=Status.ESTIMATED if best.lost_s else channel.status,
        gross_j=best.energy_j,
        error_j=best.error_j,
        idle_w=idle_w,
        duration_s=duration_s,
        reason="; ".join(remarks),
        within=channel.within,
        peak_power_w=_peak_w(stretches),
        check_j=check_j,
        lost_s=best.lost_s,
    )


def _check(
    domain: str, figures: Sequence[_Figure], long_enough: bool, flags: list[str]
) -> float | None:
    """The same energy by the next measured channel; a disagreement is flagged.

    Channels are read one after the other, so in a very short window they see different times.
    """
    best, *others = figures
    sound = [
        figure
        for figure in others
        if figure.energy_j is not None
        and figure.channel.status is Status.MEASURED
        and not figure.lost_s
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


def _family(domain: str) -> str:
    return domain.partition(":")[0]


def _figure(
    stretch: Stretch, all_of_domain: Sequence[Stretch], edges_s: tuple[float, float]
) -> _Figure:
    """What a channel says of the window: whole, with a part unseen, or nothing."""
    channel, times, values = stretch.channel, stretch.times_s, stretch.values
    whole = not stretch.unreadable
    if not whole:
        good = ~np.isnan(values)
        times, values = times[good], values[good]
    if len(values) < TWO:
        reason = f"{channel.source}: {stretch.unreadable or 'fewer than two samples'}"
        return _Figure(channel, None, None, reason)
    lost_s = 0.0
    if not whole:
        lost_s = float(times[0] - stretch.times_s[0] + stretch.times_s[-1] - times[-1])
    if channel.kind == "counter":
        figure = _counted(channel, times, values, all_of_domain, edges_s)
        seen_s = float(times[-1] - times[0])
    else:
        blind = np.zeros(len(times) - 1, bool)
        if not whole:
            steps_s = np.diff(times)
            blind = steps_s > GAP_INTERVALS * stretch.interval_s
            lost_s += float(steps_s[blind].sum())
        edges = None if lost_s else edges_s
        figure, seen_s = _integrated(channel, times, values, edges, blind)
    if figure.energy_j is not None and figure.energy_j < 0:
        reason = f"{channel.source} says {figure.energy_j:.4g} J, and {IMPOSSIBLE}"
        return _Figure(channel, None, None, reason, impossible=True)
    if figure.energy_j is None or not lost_s:
        return figure
    figure = _extrapolated(figure, stretch, seen_s, lost_s)
    if lost_s <= GAP_INTERVALS * stretch.interval_s:
        # An unreadable edge is bridged, a few intervals at the most.
        figure = replace(figure, lost_s=0.0, reason="")
    return figure


def _doubted(figure: _Figure, stretch: Stretch) -> _Figure:
    """A figure that may have more to it is an estimate, and its bound covers that."""
    if not stretch.unseen_j or figure.energy_j is None:
        return figure
    return replace(
        figure,
        channel=replace(figure.channel, status=Status.ESTIMATED),
        error_j=(figure.error_j or 0.0) + stretch.unseen_j,
        reason="; ".join(
            filter(None, (figure.reason, f"{stretch.channel.source}: {stretch.doubt}"))
        ),
    )


def _counted(
    channel: Channel,
    times: Floats,
    values: Floats,
    all_of_domain: Sequence[Stretch],
    edges_s: tuple[float, float],
) -> _Figure:
    # Two samples are the ordinary case of a short window, and need no array arithmetic.
    backwards = values[1] < values[0] if len(values) == TWO else (np.diff(values) < 0).any()
    if backwards:
        return _Figure(channel, None, None, f"{channel.source}: the counter ran backwards")
    energy_j = float(values[-1] - values[0])
    error_j = channel.relative_error * energy_j + channel.resolution_j
    if channel.tick_s:
        error_j += channel.tick_s * _edge_power_w(all_of_domain, energy_j, edges_s)
    duration_s = edges_s[1] - edges_s[0]
    coarse = (
        energy_j < COARSE_TICKS * channel.resolution_j or duration_s < COARSE_TICKS * channel.tick_s
    )
    return _Figure(channel, energy_j, error_j, "", coarse=coarse)


def _integrated(
    channel: Channel,
    times: Floats,
    values: Floats,
    edges_s: tuple[float, float] | None,
    blind: NDArray[np.bool_],
) -> tuple[_Figure, float]:
    """The energy of what was seen of a power trace, and for how long it was seen.

    Where `edges_s` is given all was seen, from edge to edge; else the steps in `blind` were not.
    """
    if edges_s is not None:
        # The edge samples are taken within the window: their values stand from edge to edge.
        times = np.concatenate((edges_s[:1], times, edges_s[1:]))
        values = np.concatenate((values[:1], values, values[-1:]))
        blind = np.zeros(len(times) - 1, bool)
    pieces = [
        integrate(times[first : last + 1], values[first : last + 1], times[first], times[last])
        for first, last in _unbroken(blind)
    ]
    energy_j = math.fsum(piece.energy_j for piece in pieces if piece)
    sampling_j = math.fsum(piece.error_j for piece in pieces if piece)
    seen_s = math.fsum(times[last] - times[first] for first, last in _unbroken(blind))
    # A value may be a tick old, which moves the whole trace against the window.
    stale_j = channel.tick_s * float(values.max() - values.min())
    error_j = sampling_j + stale_j + channel.relative_error * abs(energy_j)
    return _Figure(channel, energy_j, error_j, ""), seen_s


def _unbroken(blind: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last sample of each part of a trace without a blind step."""
    breaks = [-1, *np.flatnonzero(blind).tolist(), len(blind)]
    return [(start + 1, end) for start, end in pairwise(breaks) if end > start + 1]


def _extrapolated(figure: _Figure, stretch: Stretch, seen_s: float, lost_s: float) -> _Figure:
    """A figure for a part of the window, carried over to the whole at its mean power."""
    seen_j, channel = figure.energy_j or 0.0, figure.channel
    if seen_s <= 0:
        return _Figure(channel, None, None, f"{channel.source}: {stretch.unreadable}")
    mean_w, power = seen_j / seen_s, stretch.power_w()
    highest_w = float(np.nanmax(power)) if not np.isnan(power).all() else mean_w
    limit = stretch.state.get("power_limit_w")
    if limit is not None and not np.isnan(limit).all():
        highest_w = float(np.nanmax(limit))
    unseen_j = max(mean_w, highest_w - mean_w) * lost_s
    reason = (
        f"{channel.source}: {stretch.unreadable}; {seen_j:.4g} J in the {seen_s:.1f} s of "
        f"{seen_s + lost_s:.1f} s it was read, its mean power taken for the rest"
    )
    return replace(
        figure,
        energy_j=seen_j + mean_w * lost_s,
        error_j=(figure.error_j or 0.0) + unseen_j,
        reason=reason,
        lost_s=lost_s,
    )


def _edge_power_w(
    stretches: Sequence[Stretch], energy_j: float, edges_s: tuple[float, float]
) -> float:
    """The power at both edges together, or twice the mean where power is not sampled."""
    for stretch in stretches:
        if stretch.channel.kind == "power":
            both_w = float(stretch.values[0] + stretch.values[-1])
            if not math.isnan(both_w):
                return both_w
    duration_s = edges_s[1] - edges_s[0]
    return 2 * energy_j / duration_s if duration_s > 0 else 0.0


def _peak_w(stretches: Sequence[Stretch]) -> float | None:
    """The highest power; of a counter over steps that are not much shorter than the interval."""
    for stretch in sorted(stretches, key=lambda one: one.channel.kind == "counter"):
        if stretch.channel.kind == "counter" and len(stretch.times_s) == TWO:
            # The ordinary case of a short window, without array arithmetic.
            (first_s, last_s), (first_j, last_j) = stretch.times_s.tolist(), stretch.values.tolist()
            step_s = last_s - first_s
            known = step_s >= stretch.interval_s / 2 and not stretch.unreadable
            if known:
                return float((last_j - first_j) / step_s)
            continue
        power = stretch.power_w()
        if stretch.channel.kind == "counter":
            steps_s = stretch.times_s[1:] - stretch.times_s[:-1]
            power = power[1:][steps_s >= stretch.interval_s / 2]
        if stretch.unreadable:
            power = power[~np.isnan(power)]
        if len(power):
            return float(power.max())
    return None


def _gap_s(stretches: Sequence[Stretch], interval_s: float, flags: list[str]) -> float:
    """The longest gap among the channels that are read most often; each is held to its own rate."""
    gaps = {id(stretch.times_s): (stretch, longest_gap_s(stretch.times_s)) for stretch in stretches}
    late = [gap_s for one, gap_s in gaps.values() if gap_s > GAP_INTERVALS * one.interval_s]
    if late:
        flags.append(f"no sample for {max(late):.2f} s")
    quickest_s = min((one.interval_s for one, _ in gaps.values()), default=interval_s)
    return max((g for one, g in gaps.values() if one.interval_s == quickest_s), default=0.0)
