"""The work of a measurement, or of several, stored as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

import joulelab
from joulelab import formats
from joulelab.cards.loads import KEY, work_in_window
from joulelab.cards.work import Asked, Units, Work, assumed, status_remark
from joulelab.energy.booking import Booking
from joulelab.energy.carbon.footprint import JOULES_IN_KWH, Footprint
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Status
from joulelab.errors import UnknownNameError, UsageError
from joulelab.plain import PlainDataError, parse_json, read_text

MOST_BYTES = 1 << 26
FORMS = (
    "give a results folder, the output of `joulelab measure --json` or `joulelab load --json`, or "
    "an emissions.csv"
)
"""What a card can be made of."""
NO_HARDWARE = "a measurement does not name it: give it with --hardware"
NOT_COUNTED = "a measurement counts no operations"


class _Run(NamedTuple):
    name: str
    measurement: Measurement
    exit_code: int = 0
    per_token: dict[str, Any] | None = None


def _runs(path: Path) -> list[_Run]:
    """The measurements in a file of JSON."""
    try:
        data = parse_json(read_text(path, MOST_BYTES))
    except PlainDataError as error:
        raise UsageError(f"{path} cannot be read: {error}", FORMS) from None
    foreign = UsageError(f"{path} is not a measurement by joulelab", FORMS)
    if not isinstance(data, dict):
        raise foreign
    if "readings" in data:
        return [_Run(str(data.get("label", "")), _measurement(path, data))]
    runs = data.get("runs")
    if isinstance(runs, list) and runs and all(isinstance(one, dict) for one in runs):
        return [_run(path, one) for one in runs]
    if isinstance(data.get("measurement"), dict):
        return [_run(path, data)]
    raise foreign


def _run(path: Path, data: dict[str, Any]) -> _Run:
    code = data.get("exit_code")
    measurement = _measurement(path, data.get("measurement"))
    per_token = data.get(KEY)
    return _Run(
        str(data.get("command") or data.get("url") or ""),
        measurement,
        code if isinstance(code, int) else 0,
        per_token if isinstance(per_token, dict) else None,
    )


def _measurement(path: Path, data: object) -> Measurement:
    """A checked measurement."""
    try:
        found = TypeAdapter(Measurement).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path} is not a measurement by joulelab: {key}: {first['msg']}", FORMS
        ) from None
    amounts = [found.duration_s, *(one.gross_j for one in found.readings)]
    if not all(one is None or math.isfinite(one) for one in amounts):
        raise UsageError(f"{path} has an energy or a time that is not a finite number", FORMS)
    return found


def work_of_measurements(path: Path, asked: Asked) -> Work:
    """The work of one or several measured commands or blocks.

    Args:
        path: of a file that ``joulelab measure --json`` wrote, or of `Measurement.to_dict` as JSON.
        asked: what the user adds.

    Raises:
        UsageError: the file is something else; it has no such run; the place is unknown.
    """
    every = _runs(path)
    booking = Booking.of(asked.place, asked.pue)
    chosen = _named(every, asked.runs)
    names = list(dict.fromkeys(one.name for one in chosen))
    parts = [one.measurement for one in chosen]
    if asked.place is not None or asked.pue is not None:
        parts = [booking.book(one) if booking else one for one in parts]
    elif booking is not None:
        parts = [one if one.footprint else booking.book(one) for one in parts]
    totals = [one.total for one in parts]
    energy_j, error_j = (
        _sum([getattr(one, name) for one in totals]) for name in ("gross_j", "error_j")
    )
    status = str(Status.of_sum(one.status for one in totals))
    sources = dict.fromkeys(source for one in totals for source in one.sources)
    lost = dict.fromkeys(f"{one.domain}: {one.reason}" for part in parts for one in part.lost)
    unknown = dict.fromkeys(
        f"{one.domain}: {one.reason}" for part in parts for one in part.readings if one.reason
    )
    domains = ", ".join(dict.fromkeys(name for one in totals for name in one.domains))
    flags = dict.fromkeys(flag for part in parts for flag in part.flags)
    codes = dict.fromkeys(one.exit_code for one in chosen if one.exit_code)
    said = [
        *status_remark(status),
        *(f"Not measured: {one}." for one in lost),
        *(f"The command ended with exit code {code}." for code in codes),
    ]
    work = Work(
        name=formats.listing(names) if any(names) else "measurement",
        scope=f"{_times(len(parts))} from start to end, {domains or 'of no known domain'}, with "
        "idle power",
        energy_j=energy_j,
        error_j=error_j,
        status=status,
        origin=f"{status} by joulelab {joulelab.__version__} ({', '.join(sources) or 'nothing'})",
        duration_s=math.fsum(one.duration_s for one in parts),
        footprint=_together([one.footprint for one in parts], energy_j),
        units={noun: Units(len(parts), "measured") for noun in ("run", "training")},
        reasons={
            "energy_j": "; ".join(unknown) or "no domain was read",
            "flops": NOT_COUNTED,
            "hardware": NO_HARDWARE,
        },
        remarks=(*said, *(f"Note: {flag}." for flag in flags), assumed("training")),
    )
    if len(chosen) == 1 and (per_token := chosen[0].per_token) is not None:
        return work_in_window(work, per_token, str(path))
    return work


def _times(runs: int) -> str:
    return "one run" if runs == 1 else f"all {runs} runs"


def _named(every: Sequence[_Run], wanted: Sequence[str]) -> list[_Run]:
    """The runs of some commands; all by default."""
    known = dict.fromkeys(one.name for one in every)
    for one in wanted:
        if one not in known:
            raise UnknownNameError("command", one, known)
    return [one for one in every if not wanted or one.name in wanted]


def _sum(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return math.fsum(known) if known and len(known) == len(values) else None


def _together(parts: Sequence[Footprint | None], energy_j: float | None) -> Footprint | None:
    """CO2e of several runs."""
    known = [one for one in parts if one is not None]
    if len(known) < len(parts) or not known:
        return None
    grams = _sum([one.grams for one in known])
    if len(known) == 1 or grams is None or not energy_j:
        return next((one for one in known if one.grams is None), known[0])
    error_g = _sum([one.error_g for one in known])
    mean = known[0].g_per_kwh
    if len({one.g_per_kwh for one in known}) > 1:
        mean = grams / energy_j * JOULES_IN_KWH / known[0].pue
    return replace(known[0], grams=grams, error_g=error_g, g_per_kwh=mean)
