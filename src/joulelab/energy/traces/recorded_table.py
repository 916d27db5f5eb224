"""The table in the file of a power trace, whoever wrote it.

::

    begins with PAR1          Parquet: joulelab's own, or anyone's
    begins with # joulelab    joulelab's own CSV
    else                      a log of nvidia-smi, or anyone's CSV, with a header

The name of a file says nothing here: logs are called ``.csv``, ``.log`` and ``.txt``. A program
that is killed while it writes leaves half a line at the end; it is left out, and said.
"""

from __future__ import annotations

import codecs
import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from joulelab.energy.traces.trace_file import COLUMNS, FIRST_LINE, METADATA, NUMBERS, TraceAbout
from joulelab.errors import TraceError

if TYPE_CHECKING:
    import pandas as pd

PARQUET_MAGIC = b"PAR1"
OWN = ("t_s", "domain", "source", "power_w", "energy_j")
GZIP_MAGIC = b"\x1f\x8b"
NVIDIA_SMI = "power.draw"
CUT = "the last line is cut off and was left out"
MANY = 6
_UNIT = re.compile(r"\s*[\[(]([^\])]*)[\])]\s*$")


@dataclass(frozen=True)
class RecordedTable:
    """A table, and what is known about it.

    Attributes:
        path: of the file.
        frame: its rows and columns; names are without units.
        about: what joulelab wrote beside the samples.
        units: of columns whose header names one.
        flags: what a reader of the result should know.
    """

    path: Path
    frame: pd.DataFrame
    about: TraceAbout = field(default_factory=TraceAbout)
    units: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    @property
    def own(self) -> bool:
        """Whether it has the columns that joulelab writes."""
        return set(OWN) <= set(self.frame.columns)

    def column(self, *usual: str) -> str | None:
        """The first of some columns that is there, in letters of any size.

        Args:
            usual: names in small letters.
        """
        there = {name.casefold(): name for name in reversed(list(self.frame.columns))}
        return next((there[name] for name in usual if name in there), None)

    def where(self, text: str) -> RecordedTable:
        """Only the rows of one of several recordings.

        Args:
            text: ``"column=value"``.

        Raises:
            TraceError: no such column, or no row with that value.
        """
        import pandas as pd

        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name not in self.frame.columns:
            raise TraceError(
                f"{self.path} has no column {name!r}", f"write where=COLUMN=VALUE; {self.columns()}"
            )
        column = self.frame[name]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            chosen = column == pd.to_numeric(value, errors="coerce")
        else:
            chosen = column.astype(str).str.strip() == value
        if not chosen.any():
            raise TraceError(
                f"{self.path} has no row with {name}={value}", f"there are {listed(column)}"
            )
        return replace(self, frame=self.frame[chosen])

    def columns(self) -> str:
        """The names of its columns, for a message."""
        names = [str(name)[:40] for name in self.frame.columns]
        return f"there are {', '.join(names[:12])}" + (" ..." if len(names) > 12 else "")  # noqa: PLR2004

    def line(self, position: int) -> str:
        """Where a row is to be found, for a message.

        Args:
            position: of the row among those chosen, from 0.
        """
        return f"row {int(self.frame.index[position]) + 1}"


def listed(column: pd.Series[Any]) -> str:
    """Some of the values of a column, for a message."""
    values = [str(value) for value in column.dropna().unique()[: MANY + 1]]
    return ", ".join(values[:MANY]) + (" ..." if len(values) > MANY else "")


def read_table(path: Path) -> RecordedTable:
    """Read the table in a file.

    Args:
        path: Parquet or CSV.

    Raises:
        TraceError: there is no file, it may not be read, or is neither.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(PARQUET_MAGIC))
            content = b"" if start == PARQUET_MAGIC else start + file.read()
    except FileNotFoundError:
        raise TraceError(f"{path} does not exist", "name a recorded trace") from None
    except OSError as error:
        hint = "name a recorded trace that you may read"
        raise TraceError(f"{path} cannot be read: {error.strerror or error}", hint) from error
    if start == PARQUET_MAGIC:
        return _parquet(path)
    if not content:
        _empty(path)
    content = content.removeprefix(codecs.BOM_UTF8)
    if content.startswith(FIRST_LINE.encode()):
        return _own_csv(path, content)
    return _foreign_csv(path, _text(path, content))


def _parquet(path: Path) -> RecordedTable:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # Not read_table, which makes columns of folders that are called run=7.
        with parquet.ParquetFile(path) as file:
            table = file.read()
        text = (table.schema.metadata or {}).get(METADATA)
        about = TraceAbout.from_json(text.decode("utf-8")) if text else TraceAbout()
        frame = table.to_pandas().reset_index(drop=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        hint = "a Parquet file that was cut short cannot be read"
        raise TraceError(f"{path} cannot be read: {reason}", hint) from error
    return _named(RecordedTable(path, frame, about))


def _own_csv(path: Path, content: bytes) -> RecordedTable:
    import pyarrow as pa
    from pyarrow import csv

    first, _, rest = content.partition(b"\n")
    whole = rest[: rest.rfind(b"\n") + 1]
    if not whole:
        _empty(path)
    types = {name: pa.float64() if name in NUMBERS else pa.string() for name in COLUMNS}
    try:
        about = TraceAbout.from_json(first[len(FIRST_LINE) :].decode("utf-8"))
        table = csv.read_csv(
            pa.BufferReader(whole), convert_options=csv.ConvertOptions(column_types=types)
        )
    except ValueError as error:  # pyarrow's are among them
        reason = str(error).partition("\n")[0]
        raise TraceError(f"{path} cannot be read: {reason}", "the file is damaged") from error
    flags = (CUT,) if len(whole) < len(rest) else ()
    return RecordedTable(path, table.to_pandas(), about, flags=flags)


def _foreign_csv(path: Path, text: str) -> RecordedTable:
    import pandas as pd

    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")
    header = text.partition("\n")[0]
    comma = max(",;\t", key=header.count)
    flags: tuple[str, ...] = ()
    if not text.endswith("\n"):
        whole, _, last = text.rpartition("\n")
        # nvidia-smi ends every line; a person at an editor may leave that out.
        if whole and (NVIDIA_SMI in header or last.count(comma) < header.count(comma)):
            text, flags = f"{whole}\n", (CUT,)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(text),
                sep=comma,
                decimal="," if comma == ";" else ".",
                skipinitialspace=True,
                index_col=False,
                low_memory=False,
            )
    except (ValueError, pd.errors.ParserWarning) as error:  # pandas' own are ValueErrors
        reason = str(error).partition("\n")[0].strip()
        hint = "every row needs as many values as the header has names"
        raise TraceError(f"{path} cannot be read: {reason}", hint) from error
    return _named(RecordedTable(path, frame, flags=flags))


def _text(path: Path, content: bytes) -> str:
    encoding = "utf-8"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"  # as Windows' PowerShell redirects
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if not text.strip():
        _empty(path)
    if "\0" in text:
        hint = "unpack it first" if content.startswith(GZIP_MAGIC) else "a trace is Parquet or CSV"
        raise TraceError(f"{path} is neither Parquet nor a text in UTF-8", hint)
    return text


def _named(table: RecordedTable) -> RecordedTable:
    """The same with names of columns as text, their units apart, and no name twice."""
    import pandas as pd

    units: dict[str, str] = {}
    names = []
    for whole in map(str, table.frame.columns):
        unit = _UNIT.search(whole)
        name = _UNIT.sub("", whole).strip()
        names.append(name)
        if unit:
            units.setdefault(name, unit[1].strip())
    frame = table.frame.set_axis(pd.Index(names), axis="columns")
    return replace(table, frame=frame.loc[:, ~frame.columns.duplicated()], units=units)


def _empty(path: Path) -> NoReturn:
    raise TraceError(f"{path} cannot be read: it is empty", "name a recorded trace")
