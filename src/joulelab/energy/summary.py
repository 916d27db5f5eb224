"""From the samples of a window to its readings: one for each domain.

Where several channels read a domain, the best one is the figure: a measured counter, then measured
power, then an estimate. Measured power beside a measured counter is the check, and a disagreement
beyond a tenth and the error bound is flagged.

A sensor that has gone before the window closed leaves the energy unknown: nothing bounds what was
used after its last word, so the part until then stands in the reason and not in the figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulelab.energy.meter import Channel, Missing, Sample
from joulelab.energy.reading import Measurement, Reading, Status
from joulelab.energy.trace import integrate, longest_gap_s, power_of_counter

COARSE_TICKS = 20
GAP_INTERVALS = 3
DISAGREEMENT = 0.1
STATE_COLUMNS = ("utilisation", "temperature_c", "clock_mhz", "power_limit_w")


@dataclass(frozen=True)
class Stretch:
    """The samples of one channel within one window, the edges included."""

    channel: Channel
    times_s: Sequence[float]
    samples: Sequence[Sample]

    @property
    def values(self) -> list[float]:
        """The values, NaN where unreadable."""
        return [
            s.value if s.value is not None and math.isfinite(s.value) else math.nan
            for s in self.samples
        ]

    @property
    def unreadable(self) -> str:
        """The last reason why a sample could not be read; empty where all could."""
        for sample in reversed(self.samples):
            if sample.value is None:
                return sample.reason
            if not math.isfinite(sample.value):
                return f"the sensor said {sample.value}"
        return ""

    def power_w(self) -> list[float]:
        """Power at each sample; for a counter the mean since the sample before."""
        if self.channel.kind == "power":
            return self.values
        return [float(power) for power in power_of_counter(self.times_s, self.values)]


@dataclass(frozen=True)
class _Figure:
    """What one channel says of the window; `energy_j` is None where it does not know."""

    channel: Channel
    energy_j: float | None
    error_j: float | None
    reason: str


def summarise(
    label: str,
    started_at: float,
    edges_s: tuple[float, float],
    stretches: Sequence[Stretch],
    missing: Sequence[Missing],
    idle_w: Mapping[str, float],
    interval_s: float,
) -> Measurement:
    """All readings of a window.

    Args:
        label: of the window.
        started_at: wall-clock time of the opening.
        edges_s: opening and closing on the monotonic clock.
        stretches: samples of every channel.
        missing: domains that cannot be read at all.
        idle_w: idle power in watts by domain.
        interval_s: intended time between two samples.
    """
    duration_s = edges_s[1] - edges_s[0]
    by_domain: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        by_domain.setdefault(stretch.channel.domain, []).append(stretch)
    flags: list[str] = []
    readings = [
        _reading(domain, parts, edges_s, idle_w.get(domain), interval_s, flags)
        for domain, parts in by_domain.items()
    ]
    # An estimate stands for all sockets at once: what it covers is not missing beside it.
    estimated = {
        _family(stretch.channel.domain)
        for stretch in stretches
        if stretch.channel.status is Status.ESTIMATED
    }
    readings += [
        Reading(one.domain, "none", Status.MISSING, None, None, None, duration_s, one.reason)
        for one in missing
        if one.domain not in by_domain and _family(one.domain) not in estimated
    ]
    gap_s = max((longest_gap_s(stretch.times_s) for stretch in stretches), default=0.0)
    if gap_s > GAP_INTERVALS * interval_s:
        flags.append(f"no sample for {gap_s:.2f} s")
    samples = max((len(stretch.samples) for stretch in stretches), default=0)
    return Measurement(label, started_at, duration_s, tuple(readings), samples, gap_s, tuple(flags))


def trace_columns(stretches: Sequence[Stretch], start_s: float) -> dict[str, list[Any]]:
    """The samples of a window as columns of equal length, a row a sample and channel.

    Args:
        stretches: samples of every channel.
        start_s: the moment that counts as 0.

    Returns:
        ``t_s``, ``domain``, ``source``, ``power_w``, ``energy_j`` (counters, since the opening),
        ``utilisation`` (0 to 1), ``temperature_c``, ``clock_mhz``, ``power_limit_w``; NaN where
        unknown.
    """
    columns: dict[str, list[Any]] = {
        name: [] for name in ("t_s", "domain", "source", "power_w", "energy_j", *STATE_COLUMNS)
    }
    for stretch in stretches:
        count = len(stretch.samples)
        values = stretch.values
        first = next((value for value in values if not math.isnan(value)), math.nan)
        counts = stretch.channel.kind == "counter"
        columns["t_s"] += [moment - start_s for moment in stretch.times_s]
        columns["domain"] += [stretch.channel.domain] * count
        columns["source"] += [stretch.channel.source] * count
        columns["power_w"] += stretch.power_w()
        columns["energy_j"] += [value - first if counts else math.nan for value in values]
        for name in STATE_COLUMNS:
            columns[name] += [sample.state.get(name, math.nan) for sample in stretch.samples]
    return columns


def _reading(
    domain: str,
    stretches: Sequence[Stretch],
    edges_s: tuple[float, float],
    idle_w: float | None,
    interval_s: float,
    flags: list[str],
) -> Reading:
    duration_s = edges_s[1] - edges_s[0]
    ranked = sorted(stretches, key=_rank)
    figures = [_figure(stretch, ranked, edges_s, interval_s) for stretch in ranked]
    known = [figure for figure in figures if figure.energy_j is not None]
    if not known:
        reasons = "; ".join(dict.fromkeys(figure.reason for figure in figures))
        channel = figures[0].channel
        return Reading(
            domain,
            channel.source,
            Status.MISSING,
            gross_j=None,
            error_j=None,
            idle_w=idle_w,
            duration_s=duration_s,
            reason=reasons,
            within=channel.within,
        )
    best = known[0]
    checks = [f for f in known[1:] if f.channel.status is Status.MEASURED]
    check_j = checks[0].energy_j if checks and best.channel.status is Status.MEASURED else None
    channel = best.channel
    ticks = duration_s / channel.tick_s if channel.tick_s else math.inf
    if channel.kind == "counter" and ticks < COARSE_TICKS:
        flags.append(f"{domain}: only {ticks:.0f} ticks of {channel.source}: coarse")
    if best.energy_j is not None and check_j is not None:
        allowed_j = max(DISAGREEMENT * abs(best.energy_j), best.error_j or 0.0)
        if abs(best.energy_j - check_j) > allowed_j:
            flags.append(
                f"{domain}: {channel.source} says {best.energy_j:.4g} J and "
                f"{checks[0].channel.source} {check_j:.4g} J"
            )
    # Why the better channels of this domain could not give the figure.
    passed_over = [f.reason for f in figures[: figures.index(best)]]
    return Reading(
        domain=domain,
        source=channel.source,
        status=channel.status,
        gross_j=best.energy_j,
        error_j=best.error_j,
        idle_w=idle_w,
        duration_s=duration_s,
        reason="; ".join([*passed_over, best.reason] if best.reason else passed_over),
        within=channel.within,
        peak_power_w=_peak_w(ranked, interval_s),
        check_j=check_j,
    )


def _family(domain: str) -> str:
    return domain.partition(":")[0]


def _rank(stretch: Stretch) -> tuple[bool, bool]:
    """Measured before estimated, counters before power."""
    channel = stretch.channel
    return channel.status is not Status.MEASURED, channel.kind != "counter"


def _figure(
    stretch: Stretch,
    all_of_domain: Sequence[Stretch],
    edges_s: tuple[float, float],
    interval_s: float,
) -> _Figure:
    if stretch.channel.kind == "counter":
        return _counted(stretch, all_of_domain, edges_s[1] - edges_s[0])
    return _integrated(stretch, edges_s, interval_s)


def _counted(stretch: Stretch, all_of_domain: Sequence[Stretch], duration_s: float) -> _Figure:
    channel = stretch.channel
    values = np.array(stretch.values)
    if np.isnan(values[[0, -1]]).any():
        return _Figure(channel, None, None, _gone(stretch))
    if (np.diff(values[~np.isnan(values)]) < 0).any():
        return _Figure(channel, None, None, f"{channel.source}: the counter ran backwards")
    energy_j = float(values[-1] - values[0])
    error_j = channel.relative_error * abs(energy_j)
    error_j += channel.tick_s * _edge_power_w(all_of_domain, energy_j, duration_s)
    return _Figure(channel, energy_j, error_j, "")


def _integrated(stretch: Stretch, edges_s: tuple[float, float], interval_s: float) -> _Figure:
    channel = stretch.channel
    values, times = np.array(stretch.values), np.array(stretch.times_s)
    good = ~np.isnan(values)
    if not good.any():
        return _Figure(channel, None, None, stretch.unreadable or "never read")
    times, values = times[good], values[good]
    slack_s = GAP_INTERVALS * interval_s
    if times[0] - stretch.times_s[0] > slack_s or stretch.times_s[-1] - times[-1] > slack_s:
        return _Figure(channel, None, None, _gone(stretch))
    # The edge samples are taken within the window: their values stand from edge to edge, and an
    # unreadable one is bridged by its neighbour, a few intervals at the most.
    times = np.concatenate((edges_s[:1], times, edges_s[1:]))
    values = np.concatenate((values[:1], values, values[-1:]))
    integral = integrate(times, values, *edges_s)
    if integral is None:
        return _Figure(channel, None, None, "fewer than two samples")
    blind_s = longest_gap_s(times)
    remark = f"not readable for {blind_s:.2f} s" if blind_s > slack_s else ""
    error_j = integral.error_j + channel.relative_error * abs(integral.energy_j)
    return _Figure(channel, integral.energy_j, error_j, remark)


def _gone(stretch: Stretch) -> str:
    """What is known of a sensor that cannot be read at an edge of the window."""
    values = np.array(stretch.values)
    times = np.array(stretch.times_s)
    good = np.flatnonzero(~np.isnan(values))
    source, reason = stretch.channel.source, stretch.unreadable
    if len(good) < 2:  # noqa: PLR2004 - an interval has two ends
        return f"{source}: {reason or 'not readable'}"
    first, last = good[0], good[-1]
    if stretch.channel.kind == "counter":
        part_j = values[last] - values[first]
    else:
        integral = integrate(times[good], values[good], times[first], times[last])
        part_j = integral.energy_j if integral else math.nan
    known_s, all_s = times[last] - times[first], times[-1] - times[0]
    return f"{source}: {reason}; {part_j:.4g} J in the {known_s:.1f} s of {all_s:.1f} s it was read"


def _edge_power_w(stretches: Sequence[Stretch], energy_j: float, duration_s: float) -> float:
    """The power at both edges together, or twice the mean where power is not sampled."""
    for stretch in stretches:
        if stretch.channel.kind == "power":
            first, last = stretch.samples[0].value, stretch.samples[-1].value
            if first is not None and last is not None:
                return first + last
    return 2 * abs(energy_j) / duration_s if duration_s > 0 else 0.0


def _peak_w(stretches: Sequence[Stretch], interval_s: float) -> float | None:
    """The highest power; of a counter over steps that are not much shorter than the interval."""
    for stretch in sorted(stretches, key=lambda one: one.channel.kind == "counter"):
        power = np.array(stretch.power_w())
        if stretch.channel.kind == "counter":
            steps_s = np.diff(stretch.times_s, prepend=-math.inf)
            power = power[steps_s >= interval_s / 2]
        if not np.isnan(power).all():
            return float(np.nanmax(power))
    return None
