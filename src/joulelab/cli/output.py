"""Where output goes: consoles for data and for progress, and JSON with its schema version."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

SCHEMA_VERSION = 1


def data_console() -> Console:
    """For what the user asked for: standard output."""
    return Console(highlight=False)


def progress_console() -> Console:
    """For what goes on meanwhile: standard error."""
    return Console(stderr=True, highlight=False)


def print_json(data: dict[str, Any]) -> None:
    """Write one JSON object to standard output; a number that is not finite becomes null."""
    json.dump(_plain({"schema_version": SCHEMA_VERSION, **data}), sys.stdout, indent=2)
    sys.stdout.write("\n")


def print_json_list(rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a bare JSON list to standard output; a number that is not finite becomes null."""
    json.dump(_plain([dict(row) for row in rows]), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def _plain(value: Any) -> Any:  # noqa: ANN401 - plain data of any shape
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
