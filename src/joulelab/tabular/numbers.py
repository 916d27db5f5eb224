"""Columns of somebody's table as numbers: with units in the cells, the heading, or the name.

Texts such as ``220.31 W``, ``97 %``, ``[N/A]`` and ``12,5`` become numbers, or NaN where there was
none to give. A text that ought to be a number and is not is refused, with its line: half of it
would be a number too.

A comma between digits is the decimal mark where the rest of the column, or of the file, shows it;
``1,234`` alone in a column can be read in two ways and is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from joulelab.tabular.table import Table

Floats = NDArray[np.float64]

MISSING = frozenset({"", "-", "na", "n/a", "n/e", "nan", "none", "null"})
"""What stands in a cell without a value, in small letters."""

_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s.,:]*)")
_UNREADABLE = re.compile(r"\[.*\]|\D*")
_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?(?![\d,.])")
_POINTS_GROUP = re.compile(r"[-+]?\d{1,3}(\.\d{3})+,\d*(?![\d,.])")
_COMMA = re.compile(r"[-+]?\d*,\d+(?![\d,.])")


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    Attributes:
        values: (n,), NaN where there is none.
        unreadable: what stands there instead, the last of it; empty where nothing is missing.
    """

    values: Floats
    unreadable: str = ""


def read_numbers(
    table: Table,
    name: str,
    units: Mapping[str, float] | None = None,
    missing: Collection[str] | None = None,
) -> Numbers:
    """A column as numbers.

    Args:
        table: where it is.
        name: of the column.
        units: what a unit is multiplied by, in small letters. The unit stands in the cell, in the
            heading, or at the end of the name (``power_mw``), the first of these that is there;
            where ``None``, units are not looked at.
        missing: texts in small letters that say that there is no number, `MISSING` for instance;
            any text without a digit where ``None``, as sensors have many. Where they are given
            and `units` are not, a number with a unit is refused too.

    Raises:
        JoulelabError: it is in a unit that is not among `units`, a text in it is no number, or can
            be read in two ways.
    """
    import pandas as pd

    factor = 1.0 if units is None else _factor(table, name, units)
    column = table.frame[name]
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
    plain = _with_points(table, name, stripped, codes)
    known = [_number(text, factor, units, missing) for text in plain]
    if None in known:
        bad = known.index(None)
        raise table.error(
            f"{stripped[bad][:40]!r} is no number",
            "write 12.5; units may be left out",
            int(np.argmax(codes == bad)),
            name,
        )
    values = np.array([*known, math.nan], float)[codes]  # -1, no text at all, is the last
    lost = np.flatnonzero(np.isnan(values))
    last = codes[lost[-1]] if len(lost) else -1
    told = (stripped[last] or "no value") if last >= 0 else "no value"
    return Numbers(values, told if len(lost) else "")


def _all_plain(column: pd.Series[Any]) -> Floats | None:
    """The values of a column whose every cell is a number as programs write it; else ``None``."""
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
            f"{heading.name} is in {heading.unit!r}, which is no unit known for it",
            f"known are {', '.join(units)}",
        )
    return units.get(re.split(r"[\s_/]", heading.name.casefold())[-1], 1.0)


def _with_points(
    table: Table, name: str, texts: Iterable[str], codes: NDArray[np.intp]
) -> list[str]:
    """The texts with a point as the decimal mark."""
    texts = list(texts)
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
            f"{commas[0][:40]!r} can be read in two ways",
            "write it with a decimal point, and without a mark between thousands",
            row,
            name,
        )
    return texts


def _number(
    text: str, factor: float, units: Mapping[str, float] | None, missing: Collection[str] | None
) -> float | None:
    """The number in a text; NaN where it says that there is none, ``None`` where it is odd."""
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
