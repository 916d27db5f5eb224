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

    ``t_s`` and ``spent_j`` are what the search had spent when the score was known, its own work and
    interrupted steps included: the scores of steps that were trained together are known at once.

    Args:
        lines: of a journal.
        sign: -1 where lower scores are better.
    """
    rows: list[dict[str, Any]] = []
    seconds = joules = 0.0
    began: list[int] = []  # first rows of steps that were trained together
    before = None
    for line in lines:
        if "lost" in line:
            seconds += line["lost"]["seconds"]
            joules += line["lost"]["joules"] or 0.0
        if "step" not in line:
            continue
        spent, step, tuner = line["spent"], line["step"], line["tuner"]
        seconds += spent["seconds"] + tuner["seconds"]
        joules += (spent["joules"] or 0.0) + (tuner["joules"] or 0.0)
        if tuner["seconds"] or not rows or line["started_at"] != before:
            began.append(len(rows))
        before = line["started_at"]
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
                "energy_status": spent["status"],
                "duration_s": float(spent["seconds"]),
                "values": json.dumps(line["values"] or step["values"]),
                "attributes": json.dumps(line["attributes"]),
                "second": line.get("second"),
            }
        )
    if not rows:
        return None
    for first, end in zip(began, [*began[1:], len(rows)], strict=True):
        for row in rows[first:end]:
            row |= {name: rows[end - 1][name] for name in ("t_s", "spent_j")}
    if all(row["second"] is None for row in rows):
        rows = [{name: one for name, one in row.items() if name != "second"} for row in rows]
    return {name: [row[name] for row in rows] for name in rows[0]}


def trial_rows(lines: Sequence[Line], sign: float) -> list[dict[str, Any]]:
    """A row for every trial of a search: what its steps gave together.

    Args:
        lines: of a journal.
        sign: -1 where lower scores are better.
    """
    rows: dict[int, dict[str, Any]] = {}
    for line in steps_of(lines):
        step, spent = line["step"], line["spent"]
        if step["purpose"] != "search":
            continue
        row = rows.setdefault(
            step["trial"],
            {
                "trial": step["trial"],
                "score": None,
                "epochs": 0,
                "repetitions": 0,
                "energy_j": 0.0,
                "duration_s": 0.0,
                "trained": 0.0,
                "last": {},
            },
        )
        row["values"] = line["values"] or step["values"]
        row["state"], row["reason"] = line["state"], line["reason"]
        row["attributes"] = line["attributes"]
        if line.get("second") is not None:
            row["second"] = line["second"]
        row["energy_j"] = _plus(row["energy_j"], spent["joules"])
        row["duration_s"] += spent["seconds"]
        row["trained"] += spent["epochs"]
        row["repetitions"] = max(row["repetitions"], step["repetition"] + 1)
        if line["scores"]:
            row["last"][step["repetition"]] = (
                step["start"] + len(line["scores"]),
                sign * line["scores"][-1],
            )
    returned = any("second" in row for row in rows.values())
    for row in rows.values():
        last = row.pop("last").values()
        row["epochs"] = max((epoch for epoch, _ in last), default=0)
        scores = [score for epoch, score in last if epoch == row["epochs"]]
        row["score"] = sum(scores) / len(scores) if scores else None
        if not returned and row["energy_j"] is not None and row["trained"]:
            row["second"] = row["energy_j"] / row["trained"] * row["epochs"]
    return list(rows.values())


def _plus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
