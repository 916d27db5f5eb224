"""Arrivals from a file: a CSV table with a column ``t_s``, or with one column only.

    t_s
    0.031
    0.104
    0.988

Seconds from the start of the window, ascending. A table of one column needs no head.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError
from joulelab.serving.arrivals import ArrivalProcess
from joulelab.serving.calls import require, written

COLUMN = "t_s"


class Trace(ArrivalProcess):
    """The arrival times in a CSV file, read once.

    Args:
        file: path of the file.
        rate_per_s: stretch or press time so that this is the mean rate.
        folder: where a relative path counts from.

    Raises:
        UsageError: the file cannot be read, or has a line that is no later time; with its number.
    """

    def __init__(
        self, file: str, rate_per_s: float | None = None, folder: Path | None = None
    ) -> None:
        self.file = file
        self._asked_per_s = rate_per_s
        require(
            rate_per_s is None or (math.isfinite(rate_per_s) and rate_per_s > 0),
            self,
            "rate_per_s must be above 0",
        )
        path = (folder or Path()) / Path(file).expanduser()
        recorded_s = _read(path)
        recorded_per_s = len(recorded_s) / float(recorded_s[-1])
        self._rate_per_s = recorded_per_s if rate_per_s is None else rate_per_s
        self._times_s = recorded_s * (recorded_per_s / self._rate_per_s)
        self._folder = folder

    @property
    def rate_per_s(self) -> float:
        """Number of arrivals over the time of the last."""
        return self._rate_per_s

    @property
    def most(self) -> int:
        """Number of arrivals in the file."""
        return len(self._times_s)

    def times_s(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(count,) the first times in the file; nothing is drawn.

        Raises:
            UsageError: the file has not so many.
        """
        if count > self.most:
            raise UsageError(
                f"{self}: {count} arrivals were asked for, and the file has {self.most}",
                f"ask for {self.most} requests at most",
            )
        return self._times_s[:count].copy()

    def at_rate(self, rate_per_s: float) -> Trace:
        """The same times, scaled."""
        return Trace(self.file, rate_per_s, self._folder)

    def __str__(self) -> str:
        if self._asked_per_s is None:
            return written("trace", self.file)
        return written("trace", self.file, rate_per_s=self._asked_per_s)


def _read(path: Path) -> NDArray[np.float64]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            times_s = list(_times(csv.reader(file), path))
    except OSError as error:
        raise UsageError(
            f"the trace {path} cannot be read: {error.strerror}", "name an existing CSV file"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"the trace {path} is no CSV file: {error}", "save it as text") from error
    if not times_s or not times_s[-1] > 0:
        raise UsageError(
            f"the trace {path} has no arrival after 0 s", f"write times into a column {COLUMN}"
        )
    return np.array(times_s)


def _times(rows: Iterator[list[str]], path: Path) -> Iterator[float]:
    """The values of the column of times, each checked against the one before."""
    place: int | None = None
    before_s = 0.0
    for line, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if place is None:
            place, is_head = _column(cells, path, line)
            if is_head:
                continue
        before_s = _later(cells[place] if place < len(cells) else "", before_s, path, line)
        yield before_s


def _column(cells: list[str], path: Path, line: int) -> tuple[int, bool]:
    """Which column holds the times, and whether this first row is a head."""
    if COLUMN in cells:
        return cells.index(COLUMN), True
    if len(cells) == 1:
        return 0, not _is_number(cells[0])
    raise UsageError(
        f"{path}, line {line}: {len(cells)} columns, and none is called {COLUMN}",
        f"call the column with the times {COLUMN}, in the first line",
    )


def _later(cell: str, before_s: float, path: Path, line: int) -> float:
    where = f"{path}, line {line}"
    if not _is_number(cell) or not math.isfinite(float(cell)):
        raise UsageError(f"{where}: {cell!r} is no time", "write seconds from the start: 0.25")
    time_s = float(cell)
    if time_s < 0:
        raise UsageError(f"{where}: {cell} s is before the start", "let times begin at 0 or later")
    if time_s < before_s:
        raise UsageError(
            f"{where}: {cell} s comes after {before_s:g} s", "sort the times, earliest first"
        )
    return time_s


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
