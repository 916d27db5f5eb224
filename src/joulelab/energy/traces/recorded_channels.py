"""The channels in a foreign table: its times, devices and power columns.

Such a table does not state sensor errors, so the worst known one is assumed. What the table does
not show must be given by the user: the column, the zone, the interval, whether it is one device.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from joulelab import formats
from joulelab.energy.meter import Channel
from joulelab.energy.meters.rapl import DRAM_RELATIVE_ERROR
from joulelab.energy.nvidia_cards import RELATIVE_ERROR, highest_w, logged_sensor
from joulelab.energy.reading import Status
from joulelab.energy.sample_buffer import ChannelSamples, Floats
from joulelab.energy.summary import STATE_COLUMNS
from joulelab.energy.traces import devices
from joulelab.energy.traces.devices import Device, Verdict, judge
from joulelab.energy.traces.power_columns import (
    JOULES,
    WATTS,
    PowerColumn,
    Taken,
    domain_of,
    without_overlaps,
)
from joulelab.energy.traces.program_logs import Log
from joulelab.energy.traces.row_samples import (
    LIMIT_W,
    check_order,
    of_intervals,
    typical_s,
    unwrapped,
)
from joulelab.energy.traces.table_columns import TableOptions, chosen_columns, in_order, moments_of
from joulelab.energy.traces.trace_file import TraceAbout
from joulelab.errors import TraceError
from joulelab.tabular.moments import Moments, spread
from joulelab.tabular.reader import CUT
from joulelab.tabular.table import Numbers, Table, with_dates

DESCRIPTIONS = ("name", "gpu_name", "driver_version", "uuid", "gpu_uuid", "pci.bus_id")
_STATE = {
    "utilization.gpu": ("utilisation", 0.01),
    "util_gpu_pct": ("utilisation", 0.01),
    "utilisation_pct": ("utilisation", 0.01),
    "utilization_pct": ("utilisation", 0.01),
    "sm": ("utilisation", 0.01),
    "temperature.gpu": ("temperature_c", 1.0),
    "gtemp": ("temperature_c", 1.0),
    "clocks.current.sm": ("clock_mhz", 1.0),
    "clocks.sm": ("clock_mhz", 1.0),
    "pclk": ("clock_mhz", 1.0),
    "power.limit": ("power_limit_w", 1.0),
    "enforced.power.limit": ("power_limit_w", 1.0),
    **{name: (name, 1.0) for name in STATE_COLUMNS},
}
MOST_W = 10_000.0
"""Above the power of any processor or accelerator: wrong unit, or not a reading."""

COUNTERS = frozenset({"energibridge", "shelly", "tasmota"})
MOST_OTHERS_W = 1e7
"""The same for a wall socket or an unnamed device."""
HIGH_START = 3
"""A counter recorded from its beginning starts with fewer than this many of its steps."""
SURE_RISES = 8
"""Energies of single intervals rarely rise this often in a row."""
_CUMULATIVE = re.compile(r"cumul|total|count|accum|since|package-|_uj\b|\(uj\)|energy_uj")
BELOW_ZERO = "a power below 0"


@dataclass
class _Reading:
    """The table while its channels are extracted."""

    log: Log
    options: TableOptions
    moments: Moments
    columns: list[PowerColumn]
    state: Mapping[str, Floats]
    flags: list[str] = field(default_factory=list)
    described: dict[str, str] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        return self.log.table


def foreign_samples(
    log: Log, options: TableOptions, about: TraceAbout
) -> tuple[TraceAbout, tuple[ChannelSamples, ...], tuple[str, ...], str]:
    """The metadata of a foreign trace, its channels, remarks, and why its times are an assumption.

    Args:
        log: a log with power or energy.
        options: the user's options.
        about: metadata known so far.

    Raises:
        TraceError: it is not a power trace, or is ambiguous.
    """
    log = replace(log, table=with_dates(log.table))
    log, moments, guessed = in_order(log, *moments_of(log, options))
    table = log.table
    columns = chosen_columns(log, options)
    reading = _Reading(log, options, moments, columns, _states(table))
    named = devices.is_column(table, options.device)
    if options.device and not named:
        devices.check_name(table, options.device)
    found = devices.devices(table, options.device if named else "", moments.seconds)
    if options.device and not named:
        found = _only(found, options, table)
    one_device = bool(options.device) and not named
    taken = [one for device in found for one in _of_device(reading, device, one_device=one_device)]
    if not taken:
        raise table.error(
            "; ".join(reading.flags) or "no row has a power", "record it again, with its power"
        )
    channel_samples = without_overlaps(table, taken, reading.flags)
    source = channel_samples[0].channel.source
    meters = {source: reading.described} if reading.described else {}
    remarks = [f"{one}; --timezone names another" if "read as" in one else one
               for one in moments.remarks]  # fmt: skip
    return (
        replace(about, started_at=moments.epoch_s, meters=meters),
        channel_samples,
        tuple(dict.fromkeys((*table.remarks, *remarks, *reading.flags))),
        guessed,
    )


def _only(found: Sequence[Device], options: TableOptions, table: Table) -> list[Device]:
    """The device given by the user; a table without devices belongs to it."""
    named = {device.domain or device.host for device in found} - {""}
    if not named:
        return list(found)
    chosen = [device for device in found if options.device in (_full(device, ""), device.domain)]
    if not chosen:
        raise TraceError(
            f"{table.path} has no device {options.device!r}",
            f"available: {', '.join(sorted(named))}",
        )
    return chosen


def _full(device: Device, domain: str) -> str:
    own = domain or device.domain
    return f"{device.host}/{own}" if device.host else own


def _of_device(reading: _Reading, device: Device, *, one_device: bool) -> Iterator[Taken]:
    """The channels of one device: a column's numbers in its rows, in order."""
    table, rows = reading.table, device.rows
    by_what: dict[tuple[Any, ...], list[PowerColumn]] = {}
    for column in reading.columns:
        by_what.setdefault((*column.what, column.kind), []).append(column)
    for ways in by_what.values():
        part = table.rows(rows)
        column, numbers = _best(part, ways)
        domain = _domain(reading, device, column)
        known = numbers.values[np.isfinite(numbers.values)]
        still = len(known) > 1 and not np.ptp(known)
        if still and column.kind != "power" and not reading.log.joules:
            reading.flags.append(
                f"{domain}: {column.name} does not rise: either a counter that stands still or "
                "energies of single intervals: left out"
            )
            continue
        samples = _channel_samples(
            reading, part, device, column, numbers, domain, one_device=one_device
        )
        yield Taken(samples, column)


def _best(part: Table, ways: Sequence[PowerColumn]) -> tuple[PowerColumn, Numbers]:
    """The first alternative with numbers: older GPUs report [N/A] in newer columns."""
    found = [
        (column, part.numbers(column.name, WATTS if column.kind == "power" else JOULES))
        for column in sorted(ways, key=lambda one: one.manner)
    ]
    with_numbers = (one for one in found if not np.isnan(one[1].values).all())
    return next(with_numbers, found[0])


def _domain(reading: _Reading, device: Device, column: PowerColumn) -> str:
    options, log = reading.options, reading.log
    single = options.device if not devices.is_column(reading.table, options.device) else ""
    if single and len(reading.columns) == 1:
        return single
    own = domain_of(column, reading.columns)
    walls = {one.number for one in reading.columns if one.family == "wall"}
    if column.family == "wall" and len(walls) == 1:
        own = "wall"
    same = own.partition(":")[0] == device.domain.partition(":")[0]
    if device.domain and (not own or same or len(reading.columns) == 1):
        own = device.domain
    if not own:
        own = single or log.domain or options.domain
    if column.label:
        own = f"{column.label}/{own}"
    return f"{device.host}/{own}" if device.host else own


def _channel_samples(
    reading: _Reading,
    part: Table,
    device: Device,
    column: PowerColumn,
    numbers: Numbers,
    domain: str,
    *,
    one_device: bool,
) -> ChannelSamples:
    rows = device.rows
    times_s = reading.moments.seconds[rows]
    values, unreadable = _checked(reading, part, column, numbers, domain)
    if _is_cut(times_s, values):
        reading.flags.append(CUT)
        part, times_s, values = part.rows(slice(0, -1)), times_s[:-1], values[:-1]
    check_order(part, times_s)
    usual_error = DRAM_RELATIVE_ERROR if _family(domain) == "dram" else RELATIVE_ERROR
    status, error = Status.MEASURED, reading.log.relative_error or usual_error
    if not one_device:
        sure = device.sure or column.number is not None
        status, error = _judged(reading, part, times_s, values, domain, error, sure=sure)
    times_s = spread(times_s, _resolution_s(reading, times_s))
    state = {name: known[rows][: len(times_s)] for name, known in reading.state.items()}
    gpu = _family(domain) == "gpu" and column.kind == "power"
    card = _card(part)
    channel = Channel(
        domain=domain,
        source=reading.log.program,
        kind="power",
        status=status,
        relative_error=error,
        tick_s=0.0,
        remark=f"column {column.name} of {part.path.name}; {100 * error:.0f} % is an assumption",
        sensor=logged_sensor(part.headings[column.name].name, card) if gpu else None,
        limit_w=highest_w(card) if gpu else None,
    )
    reading.described |= _described(part, domain) if reading.log.program == "nvidia-smi" else {}
    if column.kind == "power" and not reading.log.elapsed:
        lost = f"the file says {unreadable}" if np.isnan(values).any() else ""
        samples = ChannelSamples(channel, times_s, values, typical_s(times_s), lost, state)
        return _without_empty_rows(samples)
    return _of_energy(reading, part, column, channel, times_s, values)


def _checked(
    reading: _Reading, part: Table, column: PowerColumn, numbers: Numbers, domain: str
) -> tuple[Floats, str]:
    """The valid numbers, and why others are invalid."""
    values, unreadable = numbers.values.copy(), numbers.unreadable
    below = values < 0
    if below.any() and column.kind == "power":
        values[below] = math.nan
        unreadable = BELOW_ZERO
        row = int(np.argmax(below))
        reading.flags.append(
            f"{domain}: {formats.count(int(below.sum()), 'sample')} below 0 W left out, "
            f"{part.line(row)}"
        )
    family = _family(domain)
    most_w = MOST_W if family in ("gpu", "cpu", "core", "dram") else MOST_OTHERS_W
    high = values > most_w
    if column.kind == "power" and high.any():
        row = int(np.argmax(high))
        if 2 * int(high.sum()) > int(np.isfinite(values).sum()):
            if _zeus_milliwatts(reading, column):
                return values / 1e3, unreadable
            raise part.error(
                f"{values[row]:g} W is more than any device draws: wrong unit?",
                "write the unit into the heading, for instance power_mw",
                row,
                column.name,
            )
        values[high] = math.nan
        unreadable = f"{numbers.values[row]:g} W"
        reading.flags.append(
            f"{domain}: {formats.count(int(high.sum()), 'sample')} above {most_w:g} W left out, "
            f"{part.line(row)}"
        )
    return values, unreadable


def _zeus_milliwatts(reading: _Reading, column: PowerColumn) -> bool:
    """Whether a table is from Zeus's first power monitor: Time,Power in whole milliwatts."""
    if list(reading.table.headings) != ["Time", "Power"] or column.name != "Power":
        return False
    reading.flags.append("Time,Power in thousands: read as Zeus' monitor writes it, in milliwatts")
    return True


def _resolution_s(reading: _Reading, times_s: Floats) -> float:
    """The unit to which times were cut: seconds or minutes, if several rows share each."""
    return reading.moments.resolution_s if (np.diff(times_s) == 0).any() else 0.0


def _judged(
    reading: _Reading,
    part: Table,
    times_s: Floats,
    values: Floats,
    domain: str,
    error: float,
    *,
    sure: bool,
) -> tuple[Status, float]:
    """Status and error if the rows may belong to one device; `sure` if the file says so.

    Raises:
        TraceError: they belong to several devices, or it is unclear.
    """
    if reading.log.apart:
        return Status.MEASURED, error
    verdict, together = judge((reading.moments.epoch_s or 0.0) + times_s, values)
    # A device column is trusted, unless most of its rounds still have several rows.
    believed = sure and (verdict is not Verdict.SEVERAL or together == 1)
    if verdict is Verdict.ONE or believed:
        return Status.MEASURED, error
    together = max(together, 2)
    if verdict is Verdict.PERHAPS_ONE:
        reading.flags.append(
            f"{domain}: {together} consecutive rows may be one device or {together}: taken as one "
            f"without evidence; --device {domain} confirms it"
        )
        return Status.ESTIMATED, float(together - 1)
    first, last = part.line(0), part.line(min(together, len(part)) - 1).rpartition(" ")[2]
    what = "seems to have several GPUs" if verdict is Verdict.SEVERAL else "may have several GPUs"
    raise TraceError(
        f"{part.path}, {first} to {last}: it {what} or other devices, but no column identifies "
        "them",
        "record the index too: nvidia-smi --query-gpu=timestamp,index,power.draw --format=csv; or "
        "name the column with --device COLUMN, or a single device with --device gpu:0",
    )


def _of_energy(
    reading: _Reading,
    part: Table,
    column: PowerColumn,
    channel: Channel,
    times_s: Floats,
    values: Floats,
) -> ChannelSamples:
    """The samples of a column of energies, or of means over a duration given in the row."""
    log = reading.log
    if log.elapsed or log.joules or not _counts(log, part, column, times_s, values):
        lengths_s = _lengths_s(reading, part, times_s)
        joules = values * lengths_s if column.kind == "power" else values
        kind, times_s, values = of_intervals(times_s, lengths_s, joules)
        lost = "the file has no value" if np.isnan(values).any() else ""
        return _without_empty_rows(
            ChannelSamples(replace(channel, kind=kind), times_s, values, typical_s(times_s), lost)
        )
    counted, wraps, reset = unwrapped(times_s, values)
    if wraps:
        reading.flags.append(
            f"{channel.domain}: {formats.count(wraps, 'wrap')} of the counter corrected"
        )
    if reset >= 0:
        raise part.error(
            f"the counter falls from {values[reset - 1]:g} to {values[reset]:g} J, not by a wrap",
            "if it was reset, split the file there and read each part",
            reset,
            column.name,
        )
    steps_j = np.diff(counted[np.isfinite(counted)])
    least_j = float(steps_j[steps_j > 0].min()) if (steps_j > 0).any() else 0.0
    coarse = least_j if column.family == "wall" else 0.0
    lost = "the file has no value" if np.isnan(counted).any() else ""
    channel = replace(channel, kind="counter", resolution_j=coarse)
    if column.family == "wall":
        channel = replace(channel, source=f"{channel.source}-counter")
    return ChannelSamples(channel, times_s, counted, typical_s(times_s), lost)


def _counts(log: Log, part: Table, column: PowerColumn, times_s: Floats, values: Floats) -> bool:
    """Whether energies are a counter; ambiguous ones are refused."""
    known = values[np.isfinite(values)]
    steps = np.diff(known)
    rises, falls = int((steps > 0).sum()), int((steps < 0).sum())
    name = part.headings[column.name].text.casefold()
    said = log.program in COUNTERS or _CUMULATIVE.search(name) is not None
    # A slow rise from the beginning may also be joules per interval at increasing power.
    slow = rises > 0 and known[0] > HIGH_START * float(np.median(steps[steps > 0]))
    slow &= float(known.max(initial=0.0)) < LIMIT_W * typical_s(times_s)
    if rises > 10 * falls and (said or (rises >= SURE_RISES and not slow)):
        return True
    fallen = known[:-1][steps < 0].min(initial=math.inf)
    if said and rises > falls and fallen > known.max() / 2:
        return True  # near its maximum it wraps or is reset, which is checked next
    if "consumption" in name:
        return False
    raise TraceError(
        f"{part.path}: {column.name} may be a counter or energies of single intervals: it does not "
        f"always rise, or rises slowly, or has fewer than {SURE_RISES} rows",
        "rename it to cumulative_energy (J) if it is a counter, or select a power column with "
        "--power COLUMN (power=COLUMN)",
    )


def _lengths_s(reading: _Reading, part: Table, times_s: Floats) -> Floats:
    """The duration that each row covers."""
    log = reading.log
    if log.elapsed:
        return part.numbers(log.elapsed).values
    usual_s = typical_s(times_s)
    first_s = usual_s
    if log.begins_s is not None:
        first_s = float(times_s[0] + (reading.moments.epoch_s or 0.0) - log.begins_s)
    lengths_s = np.diff(times_s, prepend=times_s[0] - first_s)
    if log.begins_s is not None:
        return lengths_s  # perf reports counts since the previous line
    return np.minimum(lengths_s, 1.5 * usual_s) if usual_s else lengths_s


def _is_cut(times_s: Floats, power_w: Floats) -> bool:
    """Whether the last row is a truncated line: no power, and an invalid time."""
    return len(times_s) > 1 and math.isnan(power_w[-1]) and not times_s[-1] >= times_s[-2]


def _family(domain: str) -> str:
    return domain.rpartition("/")[2].partition(":")[0]


def _card(part: Table) -> str:
    """The name of the card, if the log has it."""
    column = part.column("name", "gpu_name", "product_name")
    return "" if column is None else part.texts(column)[0]


def _without_empty_rows(samples: ChannelSamples) -> ChannelSamples:
    """A row without a reading equals a missing row; at the ends it gives the duration."""
    good = np.flatnonzero(~np.isnan(samples.values))
    if not samples.unreadable or not len(good):
        return samples
    kept = np.concatenate((np.arange(good[0]), good, np.arange(good[-1] + 1, len(samples.values))))
    at_ends = len(kept) > len(good)
    return replace(
        samples,
        times_s=samples.times_s[kept],
        values=samples.values[kept],
        unreadable=samples.unreadable if at_ends else "",
        state={name: column[kept] for name, column in samples.state.items()},
    )


def _described(part: Table, domain: str) -> dict[str, str]:
    """Metadata of a GPU in a log."""
    told = {name: part.column(name) for name in DESCRIPTIONS}
    return {f"{domain} {name}": part.texts(column)[0] for name, column in told.items() if column}


def _states(table: Table) -> dict[str, Floats]:
    """Other sensor readings: temperature, clocks, utilisation ..."""
    found: dict[str, Floats] = {}
    for usual, (name, factor) in _STATE.items():
        column = table.column(usual)
        if column is None or name in found:
            continue
        try:
            values = table.numbers(column).values * factor
        except TraceError:
            continue  # it is not essential to the recording
        if name == "utilisation":
            values = np.where((values >= 0) & (values <= 1), values, math.nan)
        if not np.isnan(values).all():
            found[name] = values
    return found
