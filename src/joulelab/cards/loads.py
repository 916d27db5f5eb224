"""The work of a load on a language model: the window of which its joules per token are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from joulelab import formats
from joulelab.cards.work import Units, Work, assumed
from joulelab.errors import UsageError

KEY = "energy_per_token"
"""Of the energy per token in the output of ``joulelab load --json``."""
FORMS = "give what `joulelab load URL --api openai --json` has written"


@dataclass(frozen=True)
class _Cost:
    bound_j: float | None


@dataclass(frozen=True)
class _Costs:
    domains: tuple[str, ...]
    status: str
    gross_j: float
    per: Mapping[str, _Cost]


@dataclass(frozen=True)
class _Window:
    duration_s: float
    steady: bool


@dataclass(frozen=True)
class _Load:
    window: _Window
    output_tokens: float | None
    prompt_tokens: float | None
    requests: float
    costs: tuple[_Costs, ...]


def work_in_window(work: Work, data: Mapping[str, Any], where: str) -> Work:
    """The part of the work of a load that its figures per token are of.

    Args:
        work: of the whole measurement.
        data: the energy per token, as ``joulelab load`` has written it.
        where: it is from, for messages.

    Raises:
        UsageError: it is something else.
    """
    window = data.get("window")
    if isinstance(window, dict) and {"start_s", "end_s"} <= window.keys():
        span_s = window["end_s"], window["start_s"]
        known = all(isinstance(one, int | float) for one in span_s)
        window = {**window, "duration_s": span_s[0] - span_s[1] if known else None}
    try:
        load = TypeAdapter(_Load).validate_python({**data, "window": window})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(f"{where}: {KEY}.{key}: {first['msg']}", FORMS) from None
    whole = replace(work, phase="inference", phase_known=True, units=_units(load), usual_unit=UNIT)
    remarks = tuple(one for one in work.remarks if one != assumed(work.phase))
    if not load.costs or work.energy_j is None:
        return replace(whole, remarks=remarks)
    total = load.costs[0]
    share = total.gross_j / work.energy_j if work.energy_j else 0.0
    footprint = work.footprint
    if footprint is not None and footprint.grams is not None:
        error_g = None if footprint.error_g is None else footprint.error_g * share
        footprint = replace(footprint, grams=footprint.grams * share, error_g=error_g)
    part = "steady window" if load.window.steady else "whole"
    return replace(
        whole,
        scope=f"the {part} of the load, {formats.duration(load.window.duration_s)}, "
        f"{', '.join(total.domains)}, with idle power",
        energy_j=total.gross_j,
        error_j=None if work.error_j is None else _bound_j(load, total, work.error_j * share),
        status=total.status,
        duration_s=load.window.duration_s,
        footprint=footprint,
        remarks=remarks,
    )


UNIT = "output token"


def _units(load: _Load) -> dict[str, Units]:
    output, prompt = load.output_tokens, load.prompt_tokens
    counts = {
        UNIT: output,
        "prompt token": prompt,
        "token": None if output is None or prompt is None else output + prompt,
        "request": load.requests,
    }
    return {
        noun: Units(round(count), "counted by joulelab load")
        for noun, count in counts.items()
        if count is not None
    }


def _bound_j(load: _Load, total: _Costs, otherwise_j: float) -> float:
    """The bound of the energy in the window."""
    cost = total.per.get("request")
    if cost is None or cost.bound_j is None:
        return otherwise_j
    return cost.bound_j * load.requests
