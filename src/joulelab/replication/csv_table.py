"""A table in somebody else's CSV file: every complaint names the file, the column and the line.

Read are UTF-8 with or without a byte order mark, any line ending, commas, semicolons or tabs. Names
of columns are taken without regard to case and to surrounding blanks; spaces and hyphens in them
count as underscores. Columns that nobody asks for are left alone.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from joulelab import formats
from joulelab.errors import DatasetError, suggestion

T = TypeVar("T")

MISSING = frozenset({"", "-", "na", "n/a", "nan", "none", "null"})
"""What stands in a cell without a value, in small letters."""
SEPARATORS = ",;\t"
FETCH_AGAIN = "mend the line, or fetch the file again"


@dataclass(frozen=True)
class CsvTable:
    """The cells of a file as text.

    Attributes:
        path: of the file.
        columns: names as `column_name` gives them, each with its cells, without blanks around.
        lines: the line of the file on which each row stands, from 1; the header is line 1.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def require(self, names: Sequence[str]) -> None:
        """Check that all columns are there.

        Raises:
            DatasetError: one is not; the message suggests the nearest.
        """
        for name in names:
            if name not in self.columns:
                raise DatasetError(
                    f"{self.path}, line 1: there is no column {name!r}",
                    f"{suggestion(name, self.columns)}; needed: {', '.join(names)}",
                )

    def values(self, name: str, read: Callable[[str], T | None], what: str) -> list[T | None]:
        """The cells of a column, read one by one; None where there is no value.

        Args:
            name: of the column.
            read: gives the value of a cell, None where the cell is not what it should be.
            what: what a cell should be, for the message.

        Raises:
            DatasetError: a cell is something else.
        """
        found: list[T | None] = []
        for row, cell in enumerate(self.columns[name]):
            value = None if cell.casefold() in MISSING else read(cell)
            if value is None and cell.casefold() not in MISSING:
                raise self.error(row, name, f"{cell!r} is not {what}")
            found.append(value)
        return found

    def numbers(
        self, name: str, least: float = -math.inf, most: float = math.inf
    ) -> list[float | None]:
        """A column of finite numbers within bounds.

        Raises:
            DatasetError: a cell is something else.
        """
        return self.values(name, lambda cell: _number(cell, least, most), _wanted(least, most))

    def whole_numbers(self, name: str, least: int = 0) -> list[int | None]:
        """A column of whole numbers; ``3.0`` is one.

        Raises:
            DatasetError: a cell is something else.
        """
        return self.values(
            name, lambda cell: _whole(cell, least), f"a whole number of at least {least}"
        )

    def error(self, row: int, column: str, what: str, remedy: str = FETCH_AGAIN) -> DatasetError:
        """An error about one cell.

        Args:
            row: of the table, from 0.
            column: its name.
            what: what is wrong.
            remedy: what to do.
        """
        return DatasetError(f"{self.path}, line {self.lines[row]}, column {column}: {what}", remedy)


def read_csv_table(path: Path) -> CsvTable:
    """Read a CSV file.

    Raises:
        DatasetError: it cannot be read, is empty or no text, a column occurs twice, or a line has
            more or fewer values than the header.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror}", "name a file that you may read"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} is no text in UTF-8: byte {error.start}", "save it as CSV in UTF-8"
        ) from error
    first = text.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: {error}", FETCH_AGAIN) from error
    if len(rows) <= 1:
        raise DatasetError(
            f"{path} {'has a header and no rows' if rows else 'is empty'}", "fetch the file again"
        )
    return _table(path, [column_name(name) for name in rows[0][1]], rows[1:])


def column_name(text: str) -> str:
    """The name of a column as it is looked up.

    >>> column_name(" Learning Rate "), column_name("conv-layers")
    ('learning_rate', 'conv_layers')
    """
    return text.strip().casefold().replace(" ", "_").replace("-", "_")


def _table(path: Path, names: list[str], rows: list[tuple[int, list[str]]]) -> CsvTable:
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(
            f"{path}, line 1: the column {twice!r} occurs twice", "leave one of them out"
        )
    for line, row in rows:
        if len(row) < len(names) or any(cell.strip() for cell in row[len(names) :]):
            raise DatasetError(
                f"{path}, line {line}: {formats.count(len(row), 'value')} "
                f"for {formats.count(len(names), 'column')}",
                FETCH_AGAIN,
            )
    columns = {name: [row[at].strip() for _, row in rows] for at, name in enumerate(names) if name}
    return CsvTable(path, columns, [line for line, _ in rows])


def _number(cell: str, least: float, most: float) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and least <= value <= most else None


def _whole(cell: str, least: int) -> int | None:
    value = _number(cell, least, math.inf)
    return int(value) if value is not None and value.is_integer() else None


def _wanted(least: float, most: float) -> str:
    if math.isinf(least) and math.isinf(most):
        return "a number"
    return f"a number from {least:g}" + ("" if math.isinf(most) else f" to {most:g}")
