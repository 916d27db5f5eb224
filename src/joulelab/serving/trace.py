"""Arrivals from a file: a table with a column of times, or the log of a web server.

::

    t_s                         TIMESTAMP,ContextTokens,...          93.184.216.34 - - [05/Mar/2026
    0.031                       2023-11-16 18:17:03.97,4808,10       :09:00:00 +0000] "GET / HTTP/1
    0.104                       2023-11-16 18:17:04.03,110,27        .1" 200 1270 "-" "curl/8.5"

Tables are read by `joulelab.tabular.reader`, times by `joulelab.tabular.moments`: seconds, seconds
since 1970, ISO 8601. The column is the given one, else the only one, else one of `COLUMNS`. So the
traces of BurstGPT, of Azure's LLM inference and (where the column is ``end_timestamp``, less
``duration``) of Azure Functions can be read as published.

With t_k the recorded times in order, k = 1 ... n, arrivals come at ``t_k - t_1``, at a mean rate of
``n / (t_n - t_1)``; at another rate the gaps are scaled. Logs slightly out of order are sorted, and
times cut to whole seconds are spread over their second, both with a remark.
"""

from __future__ import annotations

import math
import re
from datetime import UTC
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from joulelab import formats
from joulelab.errors import UsageError
from joulelab.serving.arrivals import ArrivalProcess
from joulelab.serving.call_syntax import call_text, require
from joulelab.tabular.moments import read_moments, spread
from joulelab.tabular.reader import PARQUET_MAGIC, decode, parse_table, read_bytes, read_table
from joulelab.tabular.table import Heading, Table, with_dates

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = (
    "date time",
    "t_s",
    "arrival_s",
    "arrival_time",
    "arrived_at",
    "arrival",
    "timestamp",
    "timestamp_s",
    "timestamp_ms",
    "time_s",
    "time_ms",
    "time",
    "datetime",
    "date",
    "time_local",
    "time_iso8601",
    "@timestamp",
    "ts",
)
ENDS, LASTED = "end_timestamp", "duration"
"""Azure Functions writes when an invocation ended, and how long it took."""
_LOGGED = re.compile(r"\[(\d{1,2}/[A-Za-z]{3}/\d{4}:\d{2}:\d{2}:\d{2}(?: [+-]\d{4})?)\]")
_LOOKED_AT = 20
EXAMPLE = "choose one: trace(file.csv, column=timestamp)"

Times = NDArray[np.float64]


class Trace(ArrivalProcess):
    """The arrival times in a file.

    Args:
        file: path of the file.
        rate_per_s: scale time to this mean rate.
        column: column with the times; found if not given.
        folder: base of a relative path.

    Raises:
        UsageError: the file cannot be read, has no such column, or a cell of it is not a time; with
            its line.
    """

    def __init__(
        self,
        file: str,
        rate_per_s: float | None = None,
        column: str | None = None,
        folder: Path | None = None,
    ) -> None:
        self.file = file
        self._column = column
        self._asked_per_s = rate_per_s
        require(
            rate_per_s is None or (math.isfinite(rate_per_s) and rate_per_s > 0),
            self,
            "rate_per_s must be above 0",
        )
        path = (folder or Path()) / Path(file).expanduser()
        recorded_s, self._remarks = _recorded(path, column)
        self._rate_per_s, self._times_s = _at_rate(path, recorded_s, rate_per_s)
        self._folder = folder

    @property
    def rate_per_s(self) -> float:
        """Number of arrivals over the time from the first to the last."""
        return self._rate_per_s

    @property
    def most(self) -> int:
        """Number of arrivals in the file."""
        return len(self._times_s)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Assumptions about the file."""
        return self._remarks

    def times_s(self, count: int, rng: np.random.Generator) -> Times:
        """(count,) the first times in the file, from 0; nothing is drawn.

        Raises:
            UsageError: the file has too few.
        """
        if count > self.most:
            raise UsageError(
                f"{self}: {count} arrivals were requested, but the file has {self.most}",
                f"request at most {self.most}",
            )
        return self._times_s[:count].copy()

    def table(self) -> Table:
        """The file's other columns, such as token counts: its rows in the order of arrival."""
        table = _table((self._folder or Path()) / Path(self.file).expanduser())
        times_s, _, _ = _times(table, self._column)
        return table.rows(np.argsort(times_s, kind="stable"))

    def at_rate(self, rate_per_s: float) -> Trace:
        """The same times, scaled."""
        return Trace(self.file, rate_per_s, self._column, self._folder)

    def __str__(self) -> str:
        given = {"rate_per_s": self._asked_per_s, "column": self._column}
        named = {name: value for name, value in given.items() if value is not None}
        return call_text("trace", self.file, **named)


def _at_rate(path: Path, times_s: Times, asked_per_s: float | None) -> tuple[float, Times]:
    """The rate, and times that have it."""
    lasts_s = float(times_s[-1])
    if len(times_s) == 1 and asked_per_s is not None:
        return asked_per_s, times_s
    if not lasts_s > 0:
        raise UsageError(
            f"the trace {path} has {formats.count(len(times_s), 'arrival')} at a single time: the "
            "rate is undefined",
            "use a file with more; a single arrival needs a rate: trace(file.csv, rate_per_s=1)",
        )
    recorded_per_s = len(times_s) / lasts_s
    if asked_per_s is None:
        return recorded_per_s, times_s
    return asked_per_s, times_s * (recorded_per_s / asked_per_s)


def _recorded(path: Path, column: str | None) -> tuple[Times, tuple[str, ...]]:
    """(n,) seconds since the first arrival, in order, and remarks."""
    try:
        stat = path.stat()
    except OSError as error:
        raise UsageError(
            f"the trace {path} cannot be read: {error.strerror}", "give an existing file"
        ) from error
    return _read(path.absolute(), column, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, column: str | None, *_: int) -> tuple[Times, tuple[str, ...]]:
    """What `_recorded` gives; a process is made many times, and a trace may have millions of rows.

    Args:
        path: of the file.
        column: with the times.
        _: changes if the file has changed.
    """
    table = _table(path)
    times_s, resolution_s, remarks = _times(table, column)
    remarks = [*table.remarks, *remarks]
    late = int((np.diff(times_s) < 0).sum())
    if late:
        remarks.append(f"{formats.count(late, 'arrival')} out of order: sorted")
        times_s = np.sort(times_s, kind="stable")
    # With a single time, the duration is unknown.
    apart_s = spread(times_s, resolution_s) if times_s[-1] > times_s[0] else times_s
    if apart_s is not times_s:
        cut = "seconds" if resolution_s == 1 else "minutes"
        remarks.append(
            f"times are cut to whole {cut}: arrivals with the same time are spread over it"
        )
    times_s = apart_s - apart_s[0]
    times_s.setflags(write=False)
    return times_s, tuple(f"{path.name}: {remark}" for remark in remarks)


def _table(path: Path) -> Table:
    content = read_bytes(path, UsageError)
    if content.startswith(PARQUET_MAGIC):
        return read_table(path, UsageError)
    text, _ = decode(path, content, UsageError)
    lines = text.split("\n")
    first = [line for line in lines[: 2 * _LOOKED_AT] if line.strip()][:_LOOKED_AT]
    if first and sum(_is_logged(line) for line in first) > len(first) / 2:
        return _logged(path, lines)
    return parse_table(path, content, UsageError)


def _is_logged(line: str) -> bool:
    """Whether a line is from a web server's log, rather than a table."""
    found = _LOGGED.search(line)
    return found is not None and '"' in line[found.end() :] and " " in line[: found.start()].strip()


def _logged(path: Path, lines: Sequence[str]) -> Table:
    """The stamps in the log of a web server, Common Log Format or one that extends it."""
    import pandas as pd

    numbers, stamps, other = [], [], 0
    for number, line in enumerate(lines, 1):
        if found := _LOGGED.search(line):
            numbers.append(number)
            stamps.append(found[1])
        else:
            other += bool(line.strip())
    remarks = (f"{formats.count(other, 'line')} without a time left out",) if other else ()
    return Table(
        path,
        pd.DataFrame({"time": stamps}, dtype=object),
        {"time": Heading("time")},
        lines=numbers,
        remarks=remarks,
        error_class=UsageError,
    )


def _times(table: Table, column: str | None) -> tuple[Times, float, list[str]]:
    """(n,) times in the order of the file, their resolution, and remarks."""
    table = table if column else with_dates(table)
    name, lasted = _columns(table, column)
    moments = read_moments(table, name, assumed=UTC)
    times_s, resolution_s = moments.seconds, moments.resolution_s
    remarks = [remark for remark in moments.remarks if moments.changes]
    if lasted:
        times_s = times_s - table.numbers(lasted).values
        resolution_s = 0.0
        remarks.append(f"arrivals are {name} less {lasted}")
    unknown = np.flatnonzero(~np.isfinite(times_s))
    if len(unknown):
        row = int(unknown[0])
        raise table.error(
            f"{table.texts(name)[row][:40]!r} is not a time",
            "write seconds, or 2026-03-05T09:00:00Z",
            row,
            name,
        )
    return times_s, resolution_s, remarks


def _columns(table: Table, asked: str | None) -> tuple[str, str | None]:
    """The column with the times, and one to be taken off, if any."""
    if asked is not None:
        return table.require(asked)[0], None
    if len(table.headings) == 1:
        return next(iter(table.headings)), None
    name = table.column(*COLUMNS)
    if name is not None:
        return name, None
    ends, lasted = table.column(ENDS), table.column(LASTED)
    if ends is not None and lasted is not None:
        return ends, lasted
    raise UsageError(
        f"{table.path}: {len(table.headings)} columns, none called t_s; {table.known()}",
        EXAMPLE,
    )
