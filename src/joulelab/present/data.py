"""Tables and views for programs: JSON and CSV, unrounded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from joulelab.present.parts import Omitted, Part, Row, Section, Table, View

SCHEMA_VERSION = 1


def plain(value: Any) -> Any:  # noqa: ANN401 - plain data of any shape
    """Plain data for JSON: numbers that are not finite become null, other objects text."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if getattr(value, "ndim", None) == 0:  # a scalar of numpy
        return plain(value.item())
    at = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return None if at in {"NaT", "<NA>"} else at


def rows_data(table: Table) -> list[Any]:
    """The rows of a table as plain data."""
    if isinstance(table.rows, Sequence):
        return [plain(dict(row)) for row in table.rows]
    try:
        return list(json.loads(table.rows.to_json(orient="records", double_precision=15)))
    except (OverflowError, TypeError, ValueError):
        # Objects that pandas cannot write.
        return [plain(row) for row in table.rows.to_dict("records")]


def tables_data(made: Iterable[Table | Omitted]) -> dict[str, Any]:
    """Tables by key: title and rows, or the reason of omission."""
    return {
        one.key: {"title": one.title, "omitted": one.reason}
        if isinstance(one, Omitted)
        else {"title": one.title, "rows": rows_data(one)}
        for one in made
    }


def view_data(view: View) -> dict[str, Any]:
    """A view as one JSON object, with its ``schema_version``."""
    data = view.data() if callable(view.data) else view.data
    return {
        "schema_version": SCHEMA_VERSION,
        **plain(data or {"tables": tables_data(_tables(view.parts))}),
    }


def to_json(data: object) -> str:
    """Plain data as indented JSON."""
    return json.dumps(data, indent=2, allow_nan=False)


def to_csv(rows: Iterable[Row]) -> str:
    """Rows as CSV with a line of headings."""
    import pandas as pd

    return pd.DataFrame(list(rows)).to_csv(index=False)


def _tables(parts: Iterable[Part]) -> Iterable[Table | Omitted]:
    for part in parts:
        if isinstance(part, Section):
            yield from _tables(part.parts)
        elif isinstance(part, Table | Omitted) and part.key:
            yield part
