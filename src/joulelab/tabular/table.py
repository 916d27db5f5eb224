"""A foreign table: named columns, and the location of each row in the file.

A column of numbers may have units in its cells, in its heading, or in its name. Texts such as
``220.31 W``, ``97 %``, ``[N/A]`` and ``12,5`` become numbers, or NaN if missing. A text that should
be a number but is not is refused, with its line, rather than partly parsed. A comma between digits
is the decimal mark if the rest of the column or file shows it; ``1,234`` alone in a column is
ambiguous and is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from joulelab.errors import JoulelabError, suggestion

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"

MISSING = frozenset({"", "-", "na", "n/a", "n/e", "nan", "none", "null"})
"""Texts of cells without a value, in lower case."""

_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s.,:]*)")
_UNREADABLE = re.compile(r"\[.*\]|\D*")
_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?(?![\d,.])")
_POINTS_GROUP = re.compile(r"[-+]?\d{1,3}(\.\d{3})+,\d*(?![\d,.])")
_COMMA = re.compile(r"[-+]?\d*,\d+(?![\d,.])")
MANY = 6
"""Values that a message lists."""
_UNIT = re.compile(r"\s*[\[(]([^\])]*)[\])]\s*$")
_DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


@dataclass(frozen=True)
class Heading:
    """The heading of a column.

    Attributes:
        text: as in the file; the column's name in `Table.frame`.
        unit: text in brackets at its end, or in a line of units below it; else empty.
    """

    text: str
    unit: str = ""

    @property
    def name(self) -> str:
        """The heading without the brackets at its end.

        >>> Heading("power.draw [W]", "W").name
        'power.draw'
        """
        return _UNIT.sub("", self.text).strip() or self.text

    @classmethod
    def of(cls, text: str, unit: str = "") -> Heading:
        """A heading, with the unit that its brackets name where no line of units does."""
        found = _UNIT.search(text)
        return cls(text, unit or (found[1].strip() if found else ""))


def folded(text: str) -> str:
    """A normalised name: case, blanks, hyphens and subscript digits do not matter.

    >>> folded(" Learning Rate "), folded("conv-layers"), folded("gCO₂eq/kWh")
    ('learning_rate', 'conv_layers', 'gco2eq/kwh')
    """
    return re.sub(r"[\s-]+", "_", text.strip().casefold().translate(_DIGITS))


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    Attributes:
        values: (n,), NaN where there is none.
        unreadable: the last text without a number; empty if nothing is missing.
    """

    values: Floats
    unreadable: str = ""


@dataclass(frozen=True)
class Table:
    """The rows and columns of a file.

    Attributes:
        path: of the file.
        frame: the cells; of a text file as text, of a Parquet file as they are. A cell that is
            absent is NaN. Its index is the row of the file, from 0.
        headings: of each column of `frame`, by its name there.
        lines: the line of the file on which each row stands, from 1; empty for Parquet.
        remarks: omissions and assumptions, in sentences.
        error_class: exception class for errors of this table.
        has_header: whether the file names its columns; else they are called 1, 2, ...
        decimal_comma: whether numbers have a comma where others have a point, as far as the
            file as a whole shows it.
        twice: headings that occur more than once, with different cells.
    """

    path: Path
    frame: pd.DataFrame
    headings: Mapping[str, Heading]
    lines: Sequence[int] = ()
    remarks: tuple[str, ...] = ()
    error_class: type[JoulelabError] = JoulelabError
    has_header: bool = True
    decimal_comma: bool = False
    twice: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def _by_folded(self) -> dict[str, str]:
        """Columns by their folded names; the whole heading counts before the one without unit."""
        known: dict[str, str] = {}
        for text, heading in reversed(list(self.headings.items())):
            known[folded(heading.name)] = text
        for text in reversed(list(self.headings)):
            known[folded(text)] = text
        return known

    def column(self, *usual: str) -> str | None:
        """The first of some columns that exists.

        Args:
            usual: names, with or without the unit, however they are spelt; see `folded`.

        Raises:
            JoulelabError: there are two of that name, and they differ.
        """
        name = next(
            (self._by_folded[key] for one in usual if (key := folded(one)) in self._by_folded), None
        )
        if name in self.twice:
            raise self.error(
                f"the column {name!r} occurs twice, with different cells",
                "remove one of them, or rename it",
            )
        return name

    def require(self, *names: str) -> list[str]:
        """The columns of these names.

        Raises:
            JoulelabError: one is missing; the message suggests the closest.
        """
        found = []
        for name in names:
            column = self.column(name)
            if column is None:
                near = suggestion(name, [heading.name for heading in self.headings.values()])
                raise self.error(f"no column {name!r}", f"{near}; needed: {', '.join(names)}")
            found.append(column)
        return found

    def texts(self, name: str) -> list[str]:
        """The cells of a column as text without blanks around; empty where there is none."""
        column = self.frame[name]
        return column.astype(str).str.strip().where(column.notna(), "").tolist()

    def numbers(
        self,
        name: str,
        units: Mapping[str, float] | None = None,
        missing: Collection[str] | None = None,
    ) -> Numbers:
        """A column as numbers.

        Args:
            name: of the column.
            units: what a unit is multiplied by, in small letters. The unit stands in the cell, in
                the heading, or at the end of the name (``power_mw``), the first of these that is
                there; where ``None``, units are not looked at.
            missing: texts in small letters that say that there is no number, `MISSING` for
                instance; any text without a digit where ``None``, as sensors have many. Where they
                are given and `units` are not, a number with a unit is refused too.

        Raises:
            JoulelabError: it is in a unit that is not among `units`, a text in it is not a number,
                or is ambiguous.
        """
        import numpy as np
        import pandas as pd

        factor = 1.0 if units is None else _factor(self, name, units)
        column = self.frame[name]
        if pd.api.types.is_numeric_dtype(column):
            values = column.to_numpy(float, na_value=math.nan) * factor
            values = np.where(np.isfinite(values), values, math.nan)
            return Numbers(values, "no value" if np.isnan(values).any() else "")
        plain_values = _all_plain(column)
        if plain_values is not None:
            return Numbers(plain_values * factor)
        # A log has the same texts over and over: each is understood once.
        codes, texts = pd.factorize(column, use_na_sentinel=True)
        stripped = [str(text).strip() for text in texts]
        plain = _with_points(self, name, stripped, codes)
        known = [_number(text, factor, units, missing) for text in plain]
        if None in known:
            bad = known.index(None)
            raise self.error(
                f"{stripped[bad][:40]!r} is not a number",
                "write 12.5; units are optional",
                int(np.argmax(codes == bad)),
                name,
            )
        values = np.array([*known, math.nan], float)[codes]  # -1, no text at all, is the last
        lost = np.flatnonzero(np.isnan(values))
        last = codes[lost[-1]] if len(lost) else -1
        told = (stripped[last] or "no value") if last >= 0 else "no value"
        return Numbers(values, told if len(lost) else "")

    def bounded(
        self, name: str, least: float = -math.inf, most: float = math.inf, *, whole: bool = False
    ) -> Floats:
        """A column of finite numbers within bounds; NaN where a cell is one of `MISSING`.

        Args:
            name: of the column.
            least: the least that a number may be.
            most: the greatest.
            whole: whether only whole numbers are right; ``3.0`` is one.

        Raises:
            JoulelabError: a cell is something else.
        """
        import numpy as np

        values = self.numbers(name, missing=MISSING).values
        wrong = (values < least) | (values > most)
        if whole:
            wrong |= np.isfinite(values) & (values != np.floor(values))
        if wrong.any():
            row = int(np.argmax(wrong))
            kind = "whole number" if whole else "number"
            bounds = f"from {least:g}" + ("" if math.isinf(most) else f" to {most:g}")
            raise self.error(
                f"{self.texts(name)[row][:40]!r} is not a {kind} {bounds}",
                "fix the cell, or leave it empty if the value is unknown",
                row,
                name,
            )
        return values

    def rows(self, chosen: Any) -> Table:  # noqa: ANN401 - whatever pandas takes
        """Only some rows.

        Args:
            chosen: positions (m,), or a mask (n,).
        """
        import numpy as np

        positions = np.arange(len(self.frame))[chosen]
        lines = [self.lines[at] for at in positions] if self.lines else ()
        return replace(self, frame=self.frame.iloc[positions], lines=lines)

    def where(self, text: str) -> Table:
        """Only the rows with a value in a column.

        Args:
            text: ``"column=value"``.

        Raises:
            JoulelabError: no such column, or no row with that value.
        """
        import pandas as pd

        asked, equals, value = (part.strip() for part in text.partition("="))
        name = self.column(asked) if equals else None
        if name is None:
            raise self.error(f"no column {asked!r}", f"write where=COLUMN=VALUE; {self.known()}")
        column = self.frame[name]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            chosen = (column == pd.to_numeric(value, errors="coerce")).to_numpy()
        else:
            chosen = (column.astype(str).str.strip() == value).to_numpy()
        if not chosen.any():
            raise self.error(f"no row with {asked}={value}", f"there are {listed(column)}")
        return self.rows(chosen)

    def known(self) -> str:
        """The names of its columns, for a message."""
        names = [str(name)[:40] for name in self.headings]
        return f"there are {', '.join(names[:12])}" + (" ..." if len(names) > 12 else "")  # noqa: PLR2004

    def line(self, position: int) -> str:
        """The location of a row, for a message.

        Args:
            position: of the row in `frame`, from 0.
        """
        if self.lines:
            return f"line {self.lines[position]}"
        return f"row {int(self.frame.index[position]) + 1}"

    def error(
        self, what: str, remedy: str, row: int | None = None, column: str = ""
    ) -> JoulelabError:
        """An error about the file, or a location in it.

        Args:
            what: what is wrong.
            remedy: what to do.
            row: its position in `frame`.
            column: its name.
        """
        places = [self.line(row)] if row is not None else []
        places += [f"column {column}"] if column else []
        return self.error_class(", ".join([str(self.path), *places]) + f": {what}", remedy)

    def remarked(self, *remarks: str) -> Table:
        """The same with more remarks, each once."""
        return replace(self, remarks=tuple(dict.fromkeys((*self.remarks, *remarks))))


def with_dates(table: Table) -> Table:
    """Days and times of the day, or whole hours of it, that stand in two columns, in one.

    The column is the first then, and called ``date time``.
    """
    import pandas as pd

    day = table.column("date", "day", "datum")
    time = table.column("time", "time_of_day", "hour", "zeit", "uhrzeit", "heure", "heures")
    if day is None or time is None:
        return table
    days, times = pd.Series(table.texts(day)), pd.Series(table.texts(time))
    if folded(time) == "hour":
        times = times.str.replace(r"^([01]?\d|2[0-3])$", r"\1:00", regex=True)
    if not times.str.fullmatch(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?(\s*[AaPp][Mm])?").all():
        return table
    days = days.str.replace(r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3", regex=True)
    frame = table.frame.drop(columns=[day, time])
    frame.insert(0, "date time", (days + " " + times).to_numpy())
    headings = {name: one for name, one in table.headings.items() if name not in (day, time)}
    heading = replace(table.headings[time], text="date time", unit="")
    return replace(table, frame=frame, headings={"date time": heading, **headings})


def listed(column: pd.Series[Any]) -> str:
    """Some of the values of a column, for a message."""
    values = [str(value)[:40] for value in column.dropna().unique()[: MANY + 1]]
    return ", ".join(values[:MANY]) + (" ..." if len(values) > MANY else "")


def _all_plain(column: pd.Series[Any]) -> Floats | None:
    """The values of a column whose every cell is a number as programs write it; else ``None``."""
    import numpy as np
    import pandas as pd

    try:
        values = pd.to_numeric(column).to_numpy(float, na_value=math.nan)
    except (TypeError, ValueError):
        return None
    return values if np.isfinite(values).all() else None


def _factor(table: Table, name: str, units: Mapping[str, float]) -> float:
    """Of the unit in a column's heading, or at the end of its name."""
    heading = table.headings[name]
    if heading.unit:
        factor = units.get(heading.unit.casefold())
        if factor is not None:
            return factor
        raise table.error(
            f"{heading.name} is in {heading.unit!r}, an unknown unit for it",
            f"known: {', '.join(units)}",
        )
    return units.get(re.split(r"[\s_/]", heading.name.casefold())[-1], 1.0)


def _with_points(table: Table, name: str, texts: list[str], codes: NDArray[np.intp]) -> list[str]:
    """The texts with a point as the decimal mark."""
    import numpy as np

    commas = [text for text in texts if "," in text]
    if not commas:
        return texts
    if all(_COMMA.match(text) or _POINTS_GROUP.match(text) for text in commas) and (
        table.decimal_comma or not all(_GROUPED.match(text) for text in commas)
    ):
        # Points in a text with a comma stand between thousands; others are decimal points.
        return [text.replace(".", "").replace(",", ".") if "," in text else text for text in texts]
    if all(_GROUPED.match(text) for text in commas):
        certain = any("." in text or text.count(",") > 1 for text in commas)
        if certain:
            return [text.replace(",", "") for text in texts]
        row = int(np.argmax(codes == texts.index(commas[0])))
        raise table.error(
            f"{commas[0][:40]!r} is ambiguous",
            "write it with a decimal point and without thousands separators",
            row,
            name,
        )
    return texts


def _number(
    text: str, factor: float, units: Mapping[str, float] | None, missing: Collection[str] | None
) -> float | None:
    """The number in a text; NaN if missing, ``None`` if not a number."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        none = _UNREADABLE.fullmatch(text) if missing is None else text.casefold() in missing
        return math.nan if none else None
    unit = match[2].casefold()
    if unit and units is None and missing is not None:
        return None
    if units and unit:
        return float(match[1]) * units[unit] if unit in units else None
    value = float(match[1]) * factor
    return value if math.isfinite(value) else None
