"""Read and write power traces: CSV, also gzipped, or Parquet; one row per sample and channel.

Columns: ``t_s`` (seconds since the opening), ``domain``, ``source``, ``power_w``, ``energy_j`` (of
counters, since the opening), ``utilisation`` (0 to 1), ``temperature_c``, ``clock_mhz``,
``power_limit_w``, ``voltage_v``, ``current_a``; empty or NaN where unknown. Metadata of the trace
(channels with their error bounds, driver, start) is JSON: in the schema metadata of a Parquet file,
or in the first line of a CSV file after ``# joulelab``.

A trace can be written while it is recorded (`LiveTrace`)::

    lap 1       lap 2       lap 3            contiguous windows: nothing is lost between them
    [  .  .  . ][  .  .  . ][  .  .  . ]
              write       write              each lap is on disk before the next is over

What has been written stays readable however the recording ends: the file is CSV, written line by
line. A Parquet file, unreadable without its footer, is created from it when the recording is
closed. A killed program may leave half a line at the end; the reader skips it and adds a remark.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

import joulelab
from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Channel
from joulelab.energy.nvidia_cards import RELATIVE_ERROR
from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder, Window
from joulelab.energy.sample_buffer import ChannelSamples, Floats
from joulelab.energy.summary import STATE_COLUMNS, trace_columns
from joulelab.energy.traces.row_samples import check_order, typical_s
from joulelab.errors import TraceError
from joulelab.files import replacing
from joulelab.optional import optional, require
from joulelab.tabular.reader import CUT, READING, read_table
from joulelab.tabular.table import Heading, Table

WRITING = "writing Parquet"
PARQUET = ".parquet"
CSV = ".csv"
NUMBERS = ("t_s", "power_w", "energy_j", *STATE_COLUMNS)
COLUMNS = ("t_s", "domain", "source", "power_w", "energy_j", *STATE_COLUMNS)
METADATA = b"joulelab"
FIRST_LINE = "# joulelab "
OWN = ("t_s", "domain", "source", "power_w", "energy_j")
Key = tuple[str, str]


@dataclass(frozen=True)
class TraceAbout:
    """Metadata of a trace.

    Attributes:
        label: what was recorded.
        started_at: start, seconds since the epoch; ``None`` where unknown.
        interval_s: intended time between two samples.
        channels: the channels.
        meters: devices, drivers, power limits by meter, in words.
        joulelab: version of joulelab that wrote it.
    """

    label: str = ""
    started_at: float | None = None
    interval_s: float | None = None
    channels: tuple[Channel, ...] = ()
    meters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    joulelab: str = joulelab.__version__

    @classmethod
    def of(cls, recorder: Recorder, label: str, started_at: float) -> TraceAbout:
        """Metadata for the traces of a recorder.

        Args:
            recorder: gives meters and channels.
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
        """The inverse of `to_json`; keys of a newer version are ignored.

        Raises:
            ValueError: the text is not valid.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(
                f"the metadata of the trace is not valid: {where}: {first['msg']}"
            ) from error


def write_trace(path: Path, columns: Mapping[str, Any], about: TraceAbout) -> None:
    """Write a trace as CSV, gzipped CSV or Parquet, by file suffix.

    Args:
        path: ends in ``.csv``, ``.csv.gz`` or ``.parquet``.
        columns: as in `joulelab.energy.summary.trace_columns`.
        about: its metadata.

    Raises:
        MissingDependencyError: Parquet, without pyarrow.
        TraceError: another suffix, or the file cannot be written.
    """
    gzipped = path.name.endswith(f"{CSV}.gz")
    if gzipped or check_suffix(path) == CSV:
        lines = io.StringIO(newline="")
        CsvWriter(lines, about).write(columns)
        content = lines.getvalue().encode("utf-8")
        with _whole_or_nothing(path, "choose another file") as part:
            part.write(gzip.compress(content, mtime=0) if gzipped else content)
        return
    pa, parquet = optional("pyarrow", WRITING), optional("pyarrow.parquet", WRITING)
    with _whole_or_nothing(path, "choose another file") as part:
        table = pa.table({name: columns[name] for name in COLUMNS})
        metadata = {METADATA: about.to_json().encode("utf-8")}
        parquet.write_table(table.replace_schema_metadata(metadata), part)


def parquet_from_csv(source: Path, target: Path) -> None:
    """Convert a CSV trace to Parquet in chunks, with bounded memory.

    Args:
        source: a file of `CsvWriter`.
        target: output file.

    Raises:
        MissingDependencyError: without pyarrow.
        TraceError: the file cannot be written; the CSV file stays.
    """
    pa, parquet = optional("pyarrow", WRITING), optional("pyarrow.parquet", WRITING)
    arrow_csv = optional("pyarrow.csv", WRITING)

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
            raise TraceError(
                f"{source} cannot be read: {error}", "it was left unchanged"
            ) from error


@contextmanager
def _whole_or_nothing(path: Path, hint: str) -> Iterator[IO[bytes]]:
    """A file to write to, renamed to `path` once complete and on disk."""
    try:
        with replacing(path, sync=True) as file:
            yield file
    except OSError as error:
        raise TraceError(f"{path} cannot be written: {error.strerror or error}", hint) from error


class CsvWriter:
    """Appends samples to an open CSV file.

    Args:
        file: open for writing; its first two lines are written now.
        about: metadata of the trace.
    """

    def __init__(self, file: IO[str], about: TraceAbout) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        file.write(f"{FIRST_LINE}{about.to_json()}\n")
        self._rows.writerow(COLUMNS)

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append samples.

        Args:
            columns: as in `joulelab.energy.summary.trace_columns`.
        """
        by_name = {name: _texts(columns[name]) for name in NUMBERS}
        by_name |= {"domain": columns["domain"], "source": columns["source"]}
        self._rows.writerows(zip(*(by_name[name] for name in COLUMNS), strict=True))


def check_suffix(path: Path) -> str:
    """The suffix of a trace file in lower case.

    Raises:
        MissingDependencyError: Parquet, without pyarrow.
        TraceError: it is neither ``.parquet`` nor ``.csv``.
    """
    suffix = path.suffix.lower()
    if suffix not in (PARQUET, CSV):
        raise TraceError(
            f"{path}: a trace must be Parquet or CSV", f"end the name in {PARQUET} or {CSV}"
        )
    if suffix == PARQUET:
        require("pyarrow", user=WRITING)
    return suffix


def _texts(values: Sequence[float]) -> list[str]:
    if np.isnan(values).all():
        return [""] * len(values)
    return ["" if math.isnan(value) else f"{value:.12g}" for value in values]


def read_own(path: Path, content: bytes) -> tuple[Table, TraceAbout]:
    """The table in the bytes of a CSV file that starts with `FIRST_LINE`, and its metadata.

    Raises:
        TraceError: the file is damaged, or has no sample.
    """
    import pandas as pd

    first, _, rest = content.partition(b"\n")
    whole = rest[: rest.rfind(b"\n") + 1]
    if not whole:
        raise TraceError(f"{path} cannot be read: it is empty", "name a recorded trace")
    try:
        about = TraceAbout.from_json(first[len(FIRST_LINE) :].decode("utf-8"))
        frame = pd.read_csv(
            io.BytesIO(whole),
            dtype={name: float if name in NUMBERS else str for name in COLUMNS},
            keep_default_na=False,
            na_values={name: [""] for name in NUMBERS},
        )
    except ValueError as error:  # pandas' are among them
        reason = str(error).partition("\n")[0]
        raise TraceError(f"{path} cannot be read: {reason}", "the file is damaged") from error
    if frame.empty:
        raise TraceError(f"{path} has no sample", "it has a header but no rows")
    headings = {name: Heading(name) for name in frame.columns}
    table = Table(path, frame, headings, range(3, len(frame) + 3), error_class=TraceError)
    return table.remarked(*((CUT,) if len(whole) < len(rest) else ())), about


def read_parquet(path: Path) -> tuple[Table, TraceAbout]:
    """The table in any Parquet file, and joulelab's metadata, if any.

    Raises:
        TraceError: it cannot be read, or has no row.
    """
    table = read_table(path, TraceError)
    pa, parquet = optional("pyarrow", READING), optional("pyarrow.parquet", READING)
    try:
        text = (parquet.read_schema(path).metadata or {}).get(METADATA)
        about = TraceAbout.from_json(text.decode("utf-8")) if text else TraceAbout()
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise TraceError(f"{path} cannot be read: {reason}", "the file is damaged") from error
    return table, about


def is_own(table: Table) -> bool:
    """Whether a table has joulelab's columns."""
    return set(OWN) <= set(table.frame.columns)


def own_samples(table: Table, about: TraceAbout) -> tuple[ChannelSamples, ...]:
    """The channels of a trace that joulelab wrote.

    Args:
        table: with the columns of `joulelab.energy.traces.trace_file`.
        about: its metadata.

    Raises:
        TraceError: time goes back.
    """
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
        lost = "the file has no value" if np.isnan(values).any() else ""
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


class LiveTrace:
    """Records to a file, lap by lap.

    Args:
        path: Parquet or CSV.
        recorder: started.
        label: of the trace.
        force: overwrite an existing file.

    Attributes:
        samples: number of samples of the fastest channels up to the last lap.
        duration_s: duration up to the last lap, in seconds.

    Raises:
        TraceError: the file exists, or cannot be written.
    """

    def __init__(self, path: Path, recorder: Recorder, label: str, *, force: bool = False) -> None:
        self._path = path
        self._journal = path
        if check_suffix(path) == PARQUET:
            self._journal = path.with_name(f"{path.name}.part.csv")
        self._check_free(force=force)
        self.samples = 0
        self.duration_s = 0.0
        self._slept_s = 0.0
        self._first_j: dict[Key, float] = {}
        self._lines = io.StringIO(newline="")
        self._file = self._opened(force=force)
        try:
            self._window = recorder.open(label)
            self._began_s = self._window.started_s
            about = TraceAbout.of(recorder, label, self._window.started_at)
            self._writer = CsvWriter(self._lines, about)
            self._append()
        except BaseException:
            self._file.close()
            self._journal.unlink()
            raise

    def lap(self) -> Measurement:
        """Write the samples since the last lap, and return the measurement of that time.

        Raises:
            TraceError: the disk is full, or the file is gone; written data stays.
        """
        done, self._window = self._window, self._window.lap()
        return self._keep(done)

    def close(self) -> None:
        """Write the rest and finish the file. A second call has no effect.

        Raises:
            TraceError: as for `lap`.
        """
        if self._file.closed:
            return
        try:
            self._window.close()
            self._keep(self._window)
        finally:
            self._file.close()
        if self._journal != self._path:
            parquet_from_csv(self._journal, self._path)
            self._journal.unlink()

    def __enter__(self) -> LiveTrace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_free(self, *, force: bool) -> None:
        if force:
            return
        if self._path.exists():
            raise TraceError(
                f"{self._path} exists already", "choose another file, or overwrite it with --force"
            )
        if self._journal.exists():
            raise TraceError(
                f"{self._journal} is an unfinished recording",
                f"`joulelab trace {self._journal}` reads it; --force overwrites it",
            )

    def _opened(self, *, force: bool) -> io.FileIO:
        named = self._journal == self._path
        try:
            if force and not named:
                self._journal.unlink(missing_ok=True)  # do not follow a link
            # Nothing is buffered: a failed write is not retried at the end.
            return io.FileIO(self._journal, "w" if force and named else "x")
        except OSError as error:
            raise TraceError(
                f"{self._journal} cannot be written: {error.strerror}", "choose another file"
            ) from error

    def _keep(self, done: Window) -> Measurement:
        """Write the samples of a closed window that the previous one did not have."""
        measurement = done.close()
        self._writer.write(self._continued(done))
        self._append()
        later_s = done.started_s - self._began_s
        self.samples += measurement.samples - (1 if later_s else 0)
        self.duration_s = later_s + measurement.duration_s
        return measurement

    def _append(self) -> None:
        """Append the lines to the file, all or none."""
        lines = memoryview(self._lines.getvalue().encode("utf-8"))
        self._lines.seek(0)
        self._lines.truncate()
        end = self._file.tell()
        try:
            while lines:
                lines = lines[self._file.write(lines) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.seek(end)
                self._file.truncate()
            raise TraceError(
                f"{self._journal} cannot be written: {error.strerror}",
                "it holds everything recorded until then",
            ) from error

    def _continued(self, done: Window) -> dict[str, Any]:
        """A lap's columns in order of time, without the samples of the previous lap.

        Counters continue from lap to lap: joules since the first value.
        """
        columns = trace_columns(done.channel_samples, self._began_s - self._slept_s)
        slept_s = [sum(asleep_s for _, asleep_s in one.sleeps) for one in done.channel_samples]
        self._slept_s += max(slept_s, default=0.0)
        energy_j = [np.empty(0)]
        keep = [np.empty(0, bool)]
        for samples in done.channel_samples:
            energy_j.append(self._since_opening(samples))
            fresh = np.ones(len(samples.times_s), bool)
            fresh[:1] = done.started_s == self._began_s
            keep.append(fresh)
        columns["energy_j"] = np.concatenate(energy_j)
        rows = np.flatnonzero(np.concatenate(keep))
        # In order of time, a truncated file loses the end of all channels equally.
        rows = rows[np.argsort(columns["t_s"][rows], kind="stable")]
        return {name: np.asarray(columns[name])[rows] for name in COLUMNS}

    def _since_opening(self, samples: ChannelSamples) -> Floats:
        """Joules of a counter since its first value in the recording; NaN for power."""
        channel = samples.channel
        if channel.kind != "counter":
            return np.full(len(samples.values), math.nan)
        key = (channel.domain, channel.source)
        known = samples.values[~np.isnan(samples.values)]
        if len(known):
            self._first_j.setdefault(key, float(known[0]))
        return samples.values - self._first_j.get(key, 0.0)
