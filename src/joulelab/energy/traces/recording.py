"""A recorded power trace, measured like a live one.

::

    samples       .    .    .    .    .    .    .
    part                [              ]            cut out of it by its edges
    power               |-- the last value stands   a sample is added at each edge
    counter             |-- has moved in between    interpolated, an interval uncertain
    hole          .     |              . . .        an edge within one is not known

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
    """How a file is read: the keywords of `read_recording`."""

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
        about: what belongs to it beside the samples.
        channel_samples: the samples by channel; times in seconds since the opening.
        flags: remarks on the file, which every measurement of it carries.
        guessed: why the times are an assumption, so that nothing bounds an energy; empty where
            they are the file's.
    """

    about: TraceAbout
    channel_samples: tuple[ChannelSamples, ...]
    flags: tuple[str, ...] = ()
    guessed: str = ""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What was read."""
        return tuple(samples.channel for samples in self.channel_samples)

    @property
    def start_s(self) -> float:
        """The moment of the first sample, in seconds since the opening."""
        return min(float(samples.times_s[0]) for samples in self.channel_samples)

    @property
    def end_s(self) -> float:
        """The moment of the last sample."""
        return max(float(samples.times_s[-1]) for samples in self.channel_samples)

    def measure(self, start_s: float | None = None, end_s: float | None = None) -> Measurement:
        """What was used between two moments, by the same arithmetic as that of a live window.

        Args:
            start_s: seconds since the opening; the first sample where not given. One that lies
                less than an interval outside the samples is taken as the first of them.
            end_s: the last sample where not given, and likewise.

        Raises:
            TraceError: the moments are the wrong way round, or outside the recording.
        """
        first_s, last_s = self.start_s, self.end_s
        interval_s = min(samples.interval_s for samples in self.channel_samples)
        start_s = first_s if start_s is None else start_s
        end_s = last_s if end_s is None else end_s
        if first_s == last_s:
            raise TraceError("the recording has only one sample", "energy needs at least two")
        within = first_s - interval_s <= start_s < end_s <= last_s + interval_s
        start_s, end_s = max(start_s, first_s), min(end_s, last_s)
        if not within or start_s >= end_s:
            raise TraceError(
                f"the recording has nothing between {start_s:g} s and {end_s:g} s",
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
    """Read a recorded trace: joulelab's own, a known program's log, or anyone's Parquet or CSV.

    Args:
        path: of the file; its name does not matter.
        where: ``"column=value"``, where one file holds several recordings.
        domain: of a file that does not name domains.
        time_column: of a file that is not joulelab's; a usual name is looked for where empty.
            Seconds, or moments as `joulelab.tabular.moments` knows them.
        power_column: the same for watts, or for joules; one, or several.
        device: the column that tells devices apart; or the name of the one device, ``gpu:0``.
        timezone: of moments without an offset, as `joulelab.tabular.local_time.read_zone` takes it;
            that of this machine where empty.
        interval_s: how far apart the rows of a file without times are.

    Raises:
        TraceError: the file cannot be read, or is not a power trace, or what it says is not sure.
        UsageError: there is no such time zone, or an interval that is none.
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
        own = read_parquet(path) if content.startswith(PARQUET_MAGIC) else read_own(path, content)
        if where:
            own = replace(own, table=own.table.where(where))
        if is_own(own.table) and not options.any:
            return Recording(own.about, own_samples(own), own.table.remarks)
        log, about = of_table(own.table), own.about
    else:
        log = read_log(path, content)
        if where:
            log = replace(log, table=log.table.where(where))
    found = foreign_samples(log, options, about)
    label = where.partition("=")[2].strip() or path.stem
    channel_samples = tuple(_guessed(one, found.guessed) for one in found.channel_samples)
    flags = (*found.flags, found.guessed) if found.guessed else found.flags
    return Recording(replace(found.about, label=label), channel_samples, flags, found.guessed)


def _guessed(samples: ChannelSamples, why: str) -> ChannelSamples:
    """Samples whose times are an assumption: what follows from them is not a measurement."""
    if not why:
        return samples
    channel = replace(samples.channel, status=Status.ESTIMATED, remark=why)
    return replace(samples, channel=channel)


def _cut(samples: ChannelSamples, start_s: float, end_s: float) -> ChannelSamples:
    """The samples of a channel between two moments, with a sample at each of them."""
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
    """Which positions lie between two samples that are further apart than neighbours are."""
    known = np.nan_to_num(positions)
    steps_s = samples.times_s[np.ceil(known).astype(int)] - samples.times_s[known.astype(int)]
    return np.asarray(steps_s > longest_s)


def _outside(samples: ChannelSamples, start_s: float, end_s: float) -> tuple[Floats, Floats]:
    """Moments and powers just before and after a part: they say what it did at its edges."""
    times, power = readings_of(samples)
    reach_s = max(samples.channel.looks.lag_s, (FAR + 1.5) * samples.interval_s)
    before = (times < start_s) & (times >= start_s - reach_s)
    after = (times > end_s) & (times <= end_s + reach_s)
    return times[before | after], power[before | after]


def _edge(samples: ChannelSamples, edge_s: float, longest_s: float) -> float | None:
    """Where among the samples an edge lies: 3.5 is in the middle between the third and fourth.

    ``None`` where no sample needs to be added, because there is one at the edge, or because the
    samples begin or end only a few intervals within it; NaN where they do not reach it.
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
    """Values at positions between samples; NaN where the position is."""
    known = np.nan_to_num(positions)
    held = values[known.astype(int)]
    if between:
        following = values[np.ceil(known).astype(int)]
        held = held + (known % 1) * (following - held)
    return np.where(np.isnan(positions), math.nan, held)
