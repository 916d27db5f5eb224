"""A recorded power trace, measured like a live one.

::

    samples       .    .    .    .    .    .    .
    part                [              ]            cut out of it by its edges
    power               |-- the last value holds   a sample is added at each edge
    counter             |-- has moved in between    interpolated, an interval uncertain
    gap           .     |              . . .        an edge within one is unknown

Which files can be read: `joulelab.energy.traces.program_logs`.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.figure import longest_step_s, readings_of
from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Channel
from joulelab.energy.reading import Status
from joulelab.energy.sample_buffer import ChannelSamples, Floats
from joulelab.energy.summary import Conditions, summarise
from joulelab.energy.trace import FAR
from joulelab.energy.traces.program_logs import of_table, read_log
from joulelab.energy.traces.recorded_channels import foreign_samples
from joulelab.energy.traces.table_columns import TableOptions
from joulelab.energy.traces.trace_file import (
    FIRST_LINE,
    TraceAbout,
    is_own,
    own_samples,
    read_own,
    read_parquet,
)
from joulelab.errors import TraceError, UsageError
from joulelab.tabular.local_time import read_zone
from joulelab.tabular.reader import PARQUET_MAGIC, read_bytes


class ReadSettings(TypedDict, total=False):
    """Options for reading a file: the keywords of `read_recording`."""

    where: str
    domain: str
    time_column: str
    power_column: str | Sequence[str]
    device: str
    timezone: str
    interval_s: float | None


@dataclass(frozen=True)
class Recording:
    """A recorded trace.

    Attributes:
        about: its metadata.
        channel_samples: the samples by channel; times in seconds since the start.
        flags: remarks on the file, added to every measurement of it.
        guessed: why the times are an assumption, so that energy has no bound; empty if they are in
            the file.
    """

    about: TraceAbout
    channel_samples: tuple[ChannelSamples, ...]
    flags: tuple[str, ...] = ()
    guessed: str = ""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels."""
        return tuple(samples.channel for samples in self.channel_samples)

    @property
    def start_s(self) -> float:
        """The time of the first sample, in seconds since the start."""
        return min(float(samples.times_s[0]) for samples in self.channel_samples)

    @property
    def end_s(self) -> float:
        """The time of the last sample."""
        return max(float(samples.times_s[-1]) for samples in self.channel_samples)

    def measure(self, start_s: float | None = None, end_s: float | None = None) -> Measurement:
        """The energy between two times, computed as for a live window.

        Args:
            start_s: seconds since the start; default: the first sample. A time less than an
                interval outside the samples becomes the first sample.
            end_s: default: the last sample; rounded likewise.

        Raises:
            TraceError: the times are in the wrong order or outside the recording.
        """
        first_s, last_s = self.start_s, self.end_s
        interval_s = min(samples.interval_s for samples in self.channel_samples)
        start_s = first_s if start_s is None else start_s
        end_s = last_s if end_s is None else end_s
        if first_s == last_s:
            raise TraceError("the recording has only one sample", "energy needs at least two")
        within = first_s - interval_s <= start_s < end_s <= last_s + interval_s
        asked = f"{start_s:g} s and {end_s:g} s"
        start_s, end_s = max(start_s, first_s), min(end_s, last_s)
        if not within or start_s >= end_s:
            raise TraceError(
                f"the recording has nothing between {asked}",
                f"it covers {first_s:g} s to {last_s:g} s",
            )
        cut = [_cut(samples, start_s, end_s) for samples in self.channel_samples]
        began_at = self.about.started_at
        started_at = None if began_at is None else began_at + start_s
        window = Conditions(
            self.about.label, started_at, (start_s, end_s), (), {}, interval_s, self.flags
        )
        measured = summarise(window, cut)
        if not self.guessed:
            return measured
        readings = tuple(replace(one, error_j=None) for one in measured.readings)
        return replace(measured, readings=readings)


def read_recording(
    path: str | Path,
    *,
    where: str = "",
    domain: str = "gpu:0",
    time_column: str = "",
    power_column: str | Sequence[str] = (),
    device: str = "",
    timezone: str = "",
    interval_s: float | None = None,
) -> Recording:
    """Read a recorded trace: joulelab's own, a known program's log, or any Parquet or CSV file.

    Args:
        path: of the file; its suffix does not matter.
        where: ``"column=value"``, to select one of several recordings in a file.
        domain: of a file without domains.
        time_column: of a foreign file; empty to search for a usual name. Seconds, or times as read
            by `joulelab.tabular.moments`.
        power_column: the same for watts or joules; one or several.
        device: the column that identifies the device, or the name of the only device, ``gpu:0``.
        timezone: of times without an offset, as for `joulelab.tabular.local_time.read_zone`; empty
            for this machine's.
        interval_s: interval between the rows of a file without times.

    Raises:
        TraceError: the file cannot be read, is not a power trace, or is ambiguous.
        UsageError: the time zone is unknown, or the interval is invalid.
    """
    path = Path(path).expanduser()
    if interval_s is not None and not 0 < interval_s < math.inf:
        raise UsageError(f"rows cannot be {interval_s:g} s apart", "write --interval 1")
    powers = (power_column,) if isinstance(power_column, str) else tuple(power_column)
    options = TableOptions(
        time_column,
        tuple(filter(None, powers)),
        device,
        read_zone(timezone) if timezone else None,
        interval_s,
        domain,
    )
    content = read_bytes(path, TraceError).removeprefix(codecs.BOM_UTF8)
    about = TraceAbout()
    if content.startswith((PARQUET_MAGIC, FIRST_LINE.encode())):
        parquet = content.startswith(PARQUET_MAGIC)
        table, about = read_parquet(path) if parquet else read_own(path, content)
        if where:
            table = table.where(where)
        if is_own(table) and not options.any:
            return Recording(about, own_samples(table, about), table.remarks)
        log = of_table(table)
    else:
        log = read_log(path, content)
        if where:
            log = replace(log, table=log.table.where(where))
    about, channel_samples, flags, guessed = foreign_samples(log, options, about)
    if guessed:
        channel_samples = tuple(_guessed(one, guessed) for one in channel_samples)
        flags = (*flags, guessed)
    label = where.partition("=")[2].strip() or path.stem
    return Recording(replace(about, label=label), channel_samples, flags, guessed)


def _guessed(samples: ChannelSamples, why: str) -> ChannelSamples:
    """Samples whose times are an assumption: results are not measurements."""
    channel = replace(samples.channel, status=Status.ESTIMATED, remark=why)
    return replace(samples, channel=channel)


def _cut(samples: ChannelSamples, start_s: float, end_s: float) -> ChannelSamples:
    """The samples of a channel between two times, with a sample at each."""
    times, channel = samples.times_s, samples.channel
    inside = (times >= start_s) & (times <= end_s)
    longest_s = longest_step_s(samples.interval_s, end_s - start_s)
    added = [_edge(samples, edge_s, longest_s) for edge_s in (start_s, end_s)]
    if not inside.any():
        added = [math.nan if position is None else position for position in added]
    before, after = ([] if position is None else [position] for position in added)
    positions = np.concatenate((before, np.flatnonzero(inside), after))
    moments = np.concatenate(([start_s] * len(before), times[inside], [end_s] * len(after)))
    between = channel.kind == "counter"
    values = _at(samples.values, positions, between=between)
    in_hole = _in_hole(samples, positions, longest_s)
    values[in_hole] = math.nan
    if between and (positions % 1 != 0).any():
        channel = replace(channel, tick_s=max(channel.tick_s, samples.interval_s))
    ends = "the recording of this channel is shorter"
    unreadable = samples.unreadable or ("the recording has a gap" if in_hole.any() else ends)
    return replace(
        samples,
        channel=channel,
        times_s=moments,
        values=values,
        unreadable=unreadable if np.isnan(values).any() else "",
        state={
            name: _at(column, positions, between=False) for name, column in samples.state.items()
        },
        outside=None if between else _outside(samples, start_s, end_s),
    )


def _in_hole(samples: ChannelSamples, positions: Floats, longest_s: float) -> NDArray[np.bool_]:
    """Which positions are in gaps between samples."""
    known = np.nan_to_num(positions)
    steps_s = samples.times_s[np.ceil(known).astype(int)] - samples.times_s[known.astype(int)]
    return np.asarray(steps_s > longest_s)


def _outside(samples: ChannelSamples, start_s: float, end_s: float) -> tuple[Floats, Floats]:
    """Times and powers just before and after a part, for its edges."""
    times, power = readings_of(samples)
    reach_s = max(samples.channel.looks.lag_s, (FAR + 1.5) * samples.interval_s)
    before = (times < start_s) & (times >= start_s - reach_s)
    after = (times > end_s) & (times <= end_s + reach_s)
    return times[before | after], power[before | after]


def _edge(samples: ChannelSamples, edge_s: float, longest_s: float) -> float | None:
    """The position of an edge among the samples: 3.5 is halfway between the third and fourth.

    ``None`` if no sample needs to be added, because there is one at the edge, or because the
    samples begin or end only a few intervals inside it; NaN if they do not reach it.
    """
    times = samples.times_s
    if times[0] <= edge_s <= times[-1]:
        after = int(np.searchsorted(times, edge_s))
        if times[after] == edge_s:
            return None
        return after - 1 + float((edge_s - times[after - 1]) / (times[after] - times[after - 1]))
    outside_s = max(float(times[0]) - edge_s, edge_s - float(times[-1]))
    return math.nan if outside_s > longest_s else None


def _at(values: Floats, positions: Floats, *, between: bool) -> Floats:
    """Values at positions between samples; NaN for NaN positions."""
    known = np.nan_to_num(positions)
    held = values[known.astype(int)]
    if between:
        following = values[np.ceil(known).astype(int)]
        held = held + (known % 1) * (following - held)
    return np.where(np.isnan(positions), math.nan, held)
