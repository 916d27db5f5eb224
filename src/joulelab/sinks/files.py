"""A row each in a file: CSV with a column for each quantity, or JSON lines with all that is known.

Rows are added to a file that exists. Each is written in one piece, so that a program that is killed
leaves whole rows, and several may write.
"""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any, ClassVar

from joulelab.energy.measurement import measurement_data
from joulelab.errors import UsageError
from joulelab.sinks.sink import Seen, Sink

COLUMNS = (
    *("label", "at", "duration_s", "step", "energy_j", "energy_error_j", "status", "power_w"),
    *("power_now_w", "co2e_g", "energy_forecast_j", "energy_forecast_low_j"),
    "energy_forecast_high_j",
)

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
"""A pipe that is not read is an error, and not waited for."""


class _FileSink(Sink):
    """A file that is added to.

    Args:
        address: of the file.
    """

    form: ClassVar[str]

    def __init__(self, address: str) -> None:
        if not address:
            raise UsageError(f"{self.form} needs a file", f"{self.form}:FILE")
        self._path = Path(address).expanduser()
        self._number: int | None = None
        self.name, self.target = address, str(self._path.absolute())

    def open(self, label: str) -> None:
        """Open the file.

        Raises:
            UsageError: it cannot be written.
        """
        try:
            self._number = os.open(self._path, _FLAGS, 0o644)
        except OSError as error:
            raise UsageError(
                f"{self._path} cannot be written: {error.strerror}", "give another file"
            ) from error

    def close(self) -> None:
        """Close the file."""
        if self._number is not None:
            os.close(self._number)
            self._number = None

    def _write(self, text: str) -> None:
        assert self._number is not None
        left = text.encode()
        while left:  # a pipe may take a part
            left = left[os.write(self._number, left) :]


class CsvSink(_FileSink):
    """A CSV file: a row each, with the energy of each domain."""

    form = "csv"

    def open(self, label: str) -> None:
        """Open the file, and read which columns it has.

        Raises:
            UsageError: it cannot be written, or holds something else.
        """
        self._row: dict[str, Any] = {}
        self._columns = _header(self._path)
        if self._columns and not set(COLUMNS) <= set(self._columns):
            raise UsageError(f"{self._path} holds other columns", "give another file")
        super().open(label)

    def put(self, seen: Seen) -> None:
        """Write a row; a new file gets its header first."""
        row: dict[str, Any] = {
            "label": seen.label,
            "at": round(seen.at, 3),
            "duration_s": round(seen.duration_s, 3),
            "step": seen.step,
            "status": str(seen.status),
            **seen.values,
        }
        for one in seen.domains:
            row |= {f"{one.domain} gross_j": one.energy_j, f"{one.domain} status": str(one.status)}
        if row == self._row:  # the end may bring nothing new
            return
        self._row = row
        text = io.StringIO()
        if not self._columns:
            self._columns = [*COLUMNS, *(name for name in row if name not in COLUMNS)]
            csv.writer(text, lineterminator="\n").writerow(self._columns)
        if missing := [name for name in row if name not in self._columns]:
            raise UsageError(f"it has no column {missing[0]!r}", "give another file")
        csv.DictWriter(text, self._columns, lineterminator="\n").writerow(row)
        self._write(text.getvalue())


class JsonlSink(_FileSink):
    """A file of JSON lines: the last one has the whole measurement."""

    form = "jsonl"

    def put(self, seen: Seen) -> None:
        """Write a line."""
        line: dict[str, Any] = {
            "label": seen.label,
            "at": seen.at,
            "duration_s": seen.duration_s,
            "step": seen.step,
            "state": seen.state,
            "status": str(seen.status),
            **seen.values,
            "domains": [{**vars(one), "status": str(one.status)} for one in seen.domains],
        }
        if seen.phases:
            line["phases"] = {
                name: {**vars(one), "status": str(one.status)} for name, one in seen.phases.items()
            }
        if seen.measurement is not None:
            line["measurement"] = measurement_data(seen.measurement)
        self._write(f"{json.dumps(line)}\n")


def _header(path: Path) -> list[str]:
    """The columns of a CSV file; none where it does not exist, is empty, or is a pipe."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}", "give another file") from error
