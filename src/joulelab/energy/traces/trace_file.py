"""Power traces in files: Parquet or CSV, a row a sample and channel; writing and reading them.

Columns: ``t_s`` (seconds since the opening), ``domain``, ``source``, ``power_w``, ``energy_j`` (of
counters, since the opening), ``utilisation`` (0 to 1), ``temperature_c``, ``clock_mhz``,
``power_limit_w``, ``voltage_v``, ``current_a``; empty or NaN where unknown. What belongs to the
trace and to no sample (channels with their error bounds, driver, when it began) is JSON: in a
Parquet file in the metadata of its schema, in a CSV file in its first line after ``# joulelab``.

A program that is killed while it writes leaves half a line at the end; the reader leaves it out and
adds a remark.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

import joulelab
from joulelab.energy.meter import Channel
from joulelab.energy.nvidia_cards import RELATIVE_ERROR
from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.summary import STATE_COLUMNS
from joulelab.energy.traces.row_samples import check_order, typical_s
from joulelab.errors import TraceError
from joulelab.files import replacing
from joulelab.tabular.reader import CUT, read_table
from joulelab.tabular.table import Heading, Table

PARQUET = ".parquet"
CSV = ".csv"
NUMBERS = ("t_s", "power_w", "energy_j", *STATE_COLUMNS)
COLUMNS = ("t_s", "domain", "source", "power_w", "energy_j", *STATE_COLUMNS)
METADATA = b"joulelab"
FIRST_LINE = "# joulelab "
OWN = ("t_s", "domain", "source", "power_w", "energy_j")


@dataclass(frozen=True)
class TraceAbout:
    """What belongs to a trace and to no sample of it.

    Attributes:
        label: what was recorded.
        started_at: when it began, seconds since the epoch; ``None`` where unknown.
        interval_s: intended time between two samples.
        channels: what was read.
        meters: devices, drivers, power limits by meter, in words.
        joulelab: version that wrote it.
    """

    label: str = ""
    started_at: float | None = None
    interval_s: float | None = None
    channels: tuple[Channel, ...] = ()
    meters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    joulelab: str = joulelab.__version__

    @classmethod
    def of(cls, recorder: Recorder, label: str, started_at: float) -> TraceAbout:
        """What belongs to the traces of a recorder.

        Args:
            recorder: its meters and channels.
            label: what is recorded.
            started_at: seconds since the epoch.
        """
        channels = tuple(recorder.channels)
        return cls(label, started_at, recorder.interval_s, channels, recorder.described())

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TraceAbout:
        """The inverse of `to_json`; keys of a newer version are left out.

        Raises:
            ValueError: the text is something else.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(
                f"what belongs to the trace cannot be understood: {where}: {first['msg']}"
            ) from error


def write_trace(path: Path, columns: Mapping[str, Any], about: TraceAbout) -> None:
    """Write a trace as Parquet or CSV, by the end of the name.

    Args:
        path: ends in ``.parquet`` or ``.csv``.
        columns: as of `joulelab.energy.summary.trace_columns`.
        about: what belongs to it beside the samples.

    Raises:
        TraceError: another suffix, or the file cannot be written.
    """
    suffix = check_suffix(path)
    with _whole_or_nothing(path, "name another file") as part:
        if suffix == CSV:
            text = io.TextIOWrapper(part, "utf-8", newline="", write_through=True)
            CsvWriter(text, about).write(columns)
            text.detach()
            return
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.table({name: columns[name] for name in COLUMNS})
        metadata = {METADATA: about.to_json().encode("utf-8")}
        parquet.write_table(table.replace_schema_metadata(metadata), part)


def parquet_from_csv(source: Path, target: Path) -> None:
    """Make a Parquet trace of a CSV one, without holding all of it in memory.

    Args:
        source: as `CsvWriter` has written it.
        target: where to.

    Raises:
        TraceError: the file cannot be written; the CSV one stays.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    with source.open(encoding="utf-8") as file:
        about = file.readline()[len(FIRST_LINE) :].strip()
    types = {name: pa.float64() if name in NUMBERS else pa.string() for name in COLUMNS}
    schema = pa.schema(list(types.items()), metadata={METADATA: about.encode("utf-8")})
    with _whole_or_nothing(target, f"the recording is whole in {source}") as part:
        try:
            batches = arrow_csv.open_csv(
                source,
                read_options=arrow_csv.ReadOptions(skip_rows=1),
                convert_options=arrow_csv.ConvertOptions(column_types=types),
            )
            with parquet.ParquetWriter(part, schema) as writer:
                for batch in batches:
                    writer.write_table(pa.table(batch.columns, schema=schema))
        except pa.ArrowInvalid as error:
            raise TraceError(f"{source} cannot be read: {error}", "it is left as it is") from error


@contextmanager
def _whole_or_nothing(path: Path, hint: str) -> Iterator[IO[bytes]]:
    """A file to write into, which is called `path` once it is whole and on the disk."""
    try:
        with replacing(path, sync=True) as file:
            yield file
    except OSError as error:
        raise TraceError(f"{path} cannot be written: {error.strerror or error}", hint) from error


class CsvWriter:
    """Appends samples to an open CSV file.

    Args:
        file: open for writing; its first two lines are written now.
        about: what belongs to the trace beside the samples.
    """

    def __init__(self, file: IO[str], about: TraceAbout) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        file.write(f"{FIRST_LINE}{about.to_json()}\n")
        self._rows.writerow(COLUMNS)

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append samples.

        Args:
            columns: as of `joulelab.energy.summary.trace_columns`.
        """
        by_name = {name: _texts(columns[name]) for name in NUMBERS}
        by_name |= {"domain": columns["domain"], "source": columns["source"]}
        self._rows.writerows(zip(*(by_name[name] for name in COLUMNS), strict=True))


def check_suffix(path: Path) -> str:
    """The suffix of a trace's file in small letters.

    Raises:
        TraceError: it is neither ``.parquet`` nor ``.csv``.
    """
    suffix = path.suffix.lower()
    if suffix not in (PARQUET, CSV):
        raise TraceError(
            f"{path}: a trace is Parquet or CSV", f"end the name in {PARQUET} or {CSV}"
        )
    return suffix


def _texts(values: Sequence[float]) -> list[str]:
    if np.isnan(values).all():
        return [""] * len(values)
    return ["" if math.isnan(value) else f"{value:.12g}" for value in values]


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
