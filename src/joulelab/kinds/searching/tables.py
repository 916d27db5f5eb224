"""The journal of a search as tables: a row for every step, or for every trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]


def steps_of(lines: Sequence[Line]) -> list[Line]:
    """The lines of the steps."""
    return [line for line in lines if "step" in line]


def curve_columns(lines: Sequence[Line], sign: float) -> dict[str, list[Any]] | None:
    """A row for every step, for the store; None without steps.

    Args:
        lines: of a journal.
        sign: -1 where lower scores are better.
    """
    rows = []
    seconds = joules = 0.0
    for line in steps_of(lines):
        spent, step, tuner = line["spent"], line["step"], line["tuner"]
        seconds += spent["seconds"] + tuner["seconds"]
        joules += (spent["joules"] or 0.0) + (tuner["joules"] or 0.0)
        rows.append(
            {
                "metric": step["purpose"],
                "step": step["trial"],
                "value": sign * line["scores"][-1] if line["scores"] else float("nan"),
                "t_s": float(seconds),
                "spent_j": float(joules),
                "state": line["state"],
                "reason": line["reason"],
                "repetition": step["repetition"],
                "start": step["start"],
                "end": step["start"] + len(line["scores"]),
                "epochs": float(spent["epochs"]),
                "energy_j": float("nan") if spent["joules"] is None else spent["joules"],
                "duration_s": float(spent["seconds"]),
                "values": json.dumps(line["values"] or step["values"]),
                "attributes": json.dumps(line["attributes"]),
            }
        )
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else None
