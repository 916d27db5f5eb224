"""The work of an ``emissions.csv`` of CodeCarbon."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from joulelab import formats
from joulelab.cards.measurements import NOT_COUNTED
from joulelab.cards.work import Asked, Units, Work, assumed, status_remark
from joulelab.energy.booking import Booking
from joulelab.energy.carbon.footprint import JOULES_IN_KWH, Footprint, footprint
from joulelab.energy.reading import Status
from joulelab.errors import UnknownNameError
from joulelab.replication.codecarbon_rows import emissions_table, read_emissions


def work_of_emissions(path: Path, asked: Asked) -> Work:
    """The work of an ``emissions.csv``: CodeCarbon's own energy, and its own CO2e without a place.

    CodeCarbon does not store which part of the energy a sensor measured, so it is an estimate.

    Args:
        path: of the file.
        asked: what the user adds.

    Raises:
        DatasetError: the file cannot be read.
        UnknownNameError: it has no such run_id.
        UsageError: the place is unknown.
    """
    read = read_emissions(path)
    table = emissions_table(path)
    rows = read.trainings[~read.is_impossible()]
    known = list(dict.fromkeys(map(str, rows["run_id"])))
    for one in asked.runs:
        if one not in known:
            raise UnknownNameError("run_id", one, known)
    rows = rows[rows["run_id"].isin(asked.runs or known)]

    def words(name: str) -> str:
        column = table.column(name)
        return ", ".join(dict.fromkeys(filter(None, table.texts(column)))) if column else ""

    energy_j = float(rows["energy_j"].sum()) if len(rows) else None
    grams = float(rows["emissions_g"].sum()) if len(rows) else None
    gpus, processor = words("gpu_model"), words("cpu_model")
    said = [*status_remark(Status.ESTIMATED), *read.remarks]
    if left := len(read.trainings[read.is_impossible()]):
        said.append(f"{formats.count(left, 'row')} with an impossible energy: not included.")
    tracker = f"CodeCarbon {words('codecarbon_version')}".strip()
    return Work(
        name=words("project_name") or path.stem,
        scope=f"{formats.count(len(rows), 'row')} of {path.name}, each counted once",
        energy_j=energy_j,
        error_j=None,
        status=str(Status.ESTIMATED if energy_j is not None else Status.MISSING),
        origin=f"{tracker}, which does not say which part of it a sensor measured",
        duration_s=float(rows["duration_s"].sum()) if len(rows) else None,
        footprint=_emitted(asked, energy_j, grams, words, tracker),
        hardware=", ".join(filter(None, [gpus, processor])) or None,
        units={noun: Units(len(rows), "rows") for noun in ("run", "training")},
        reasons={
            "energy_j": "it has no row with a possible energy",
            "duration_s": "it has no row with a possible energy",
            "error_j": "CodeCarbon states no bound",
            "flops": NOT_COUNTED,
            "hardware": "the file has no gpu_model or cpu_model",
        },
        remarks=(*said, assumed("training")),
    )


def _emitted(
    asked: Asked,
    energy_j: float | None,
    grams: float | None,
    words: Callable[[str], str],
    tracker: str,
) -> Footprint:
    """CO2e at the place that the user names, else CodeCarbon's own."""
    if asked.place is not None:
        booking = Booking.of(asked.place, asked.pue)
        assert booking is not None
        return footprint(energy_j, None, None, 0.0, booking.intensity, booking.pue)
    pue = float(words("pue") or 1.0) if _is_number(words("pue")) else 1.0
    mean = grams / energy_j * JOULES_IN_KWH / pue if grams is not None and energy_j else None
    where = ", ".join(filter(None, [words("region"), words("country_name")]))
    return Footprint(grams, None, mean, pue, where, tracker, reason="the energy is unknown")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text or 1.0))
    except ValueError:
        return False
