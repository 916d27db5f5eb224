"""Reading what `joulelab.energy.traces.trace_file` has written: Parquet, or CSV with a first line.

A program that is killed while it writes leaves half a line at the end; it is left out, and said.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from joulelab.energy.meter import Channel
from joulelab.energy.nvidia_cards import RELATIVE_ERROR
from joulelab.energy.reading import Status
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.summary import STATE_COLUMNS
from joulelab.energy.traces.order import check_order, typical_s
from joulelab.energy.traces.trace_file import COLUMNS, FIRST_LINE, METADATA, NUMBERS, TraceAbout
from joulelab.errors import TraceError
from joulelab.tabular.reader import CUT, read_table
from joulelab.tabular.table import Heading, Table

OWN = ("t_s", "domain", "source", "power_w", "energy_j")


@dataclass(frozen=True)
class OwnTrace:
    """A table with joulelab's columns, and what was written beside it."""

    table: Table
    about: TraceAbout


def read_own(path: Path, content: bytes) -> OwnTrace:
    """The trace in the bytes of a CSV file that begins with `FIRST_LINE`.

    Raises:
        TraceError: the file is damaged, or has no sample.
    """
    import pyarrow as pa
    from pyarrow import csv

    first, _, rest = content.partition(b"\n")
    whole = rest[: rest.rfind(b"\n") + 1]
    if not whole:
        raise TraceError(f"{path} cannot be read: it is empty", "name a recorded trace")
    types = {name: pa.float64() if name in NUMBERS else pa.string() for name in COLUMNS}
    try:
        about = TraceAbout.from_json(first[len(FIRST_LINE) :].decode("utf-8"))
        frame = csv.read_csv(
            io.BytesIO(whole), convert_options=csv.ConvertOptions(column_types=types)
        ).to_pandas()
    except ValueError as error:  # pyarrow's are among them
        reason = str(error).partition("\n")[0]
        raise TraceError(f"{path} cannot be read: {reason}", "the file is damaged") from error
    if frame.empty:
        raise TraceError(f"{path} has no sample", "it has a header and nothing below it")
    headings = {name: Heading(name) for name in frame.columns}
    table = Table(path, frame, headings, range(3, len(frame) + 3), error_class=TraceError)
    return OwnTrace(table.remarked(*((CUT,) if len(whole) < len(rest) else ())), about)


def read_parquet(path: Path) -> OwnTrace:
    """The table in a Parquet file, anybody's, and what joulelab wrote into its metadata.

    Raises:
        TraceError: it cannot be read, or has no row.
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = read_table(path, TraceError)
    try:
        text = (parquet.read_schema(path).metadata or {}).get(METADATA)
        about = TraceAbout.from_json(text.decode("utf-8")) if text else TraceAbout()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise TraceError(f"{path} cannot be read: {reason}", "the file is damaged") from error
    return OwnTrace(table, about)


def is_own(table: Table) -> bool:
    """Whether a table has the columns that joulelab writes."""
    return set(OWN) <= set(table.frame.columns)


def own_samples(trace: OwnTrace) -> tuple[ChannelSamples, ...]:
    """The channels of a trace that joulelab wrote.

    Args:
        trace: with the columns of `joulelab.energy.traces.trace_file`.

    Raises:
        TraceError: time goes back.
    """
    table, about = trace.table, trace.about
    described = {(one.domain, one.source): one for one in about.channels}
    channel_samples = []
    for rows in table.frame.groupby(["domain", "source"], sort=False).indices.values():
        part = table.rows(rows)
        frame = part.frame
        domain, source = str(frame["domain"].iloc[0]), str(frame["source"].iloc[0])
        channel = described.get((domain, source)) or _undescribed(
            domain, source, counts=bool(frame["energy_j"].notna().any())
        )
        times_s = frame["t_s"].to_numpy(float)
        check_order(part, times_s)
        values = frame["energy_j" if channel.kind == "counter" else "power_w"].to_numpy(float)
        if channel.kind == "power":
            values = np.where(values < 0, np.nan, values)
        state = {name: part.numbers(name).values for name in STATE_COLUMNS if name in frame.columns}
        known = {name: column for name, column in state.items() if not np.isnan(column).all()}
        lost = "the file says no value" if np.isnan(values).any() else ""
        interval_s = max(about.interval_s or 0.0, typical_s(times_s))
        channel_samples.append(ChannelSamples(channel, times_s, values, interval_s, lost, known))
    return tuple(channel_samples)


def _undescribed(domain: str, source: str, *, counts: bool) -> Channel:
    return Channel(
        domain,
        source,
        "counter" if counts else "power",
        Status.MEASURED,
        RELATIVE_ERROR,
        0.0,
        remark="not described in the file",
    )
