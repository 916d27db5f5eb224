"""A measurement as people read it: a table of domains, the sum, and what is to be said of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from joulelab import formats
from joulelab.energy.reading import Measurement, Reading, Status, Total

LONGEST_LABEL = 60
NET = 3
TEXT_COLUMNS = ("domain", "source", "status")


@dataclass(frozen=True)
class Table:
    """A measurement in words.

    Attributes:
        header: names of the columns, with units.
        rows: a row a domain, and a row each for what other instruments say of one.
        sum: a row for the sum over the domains that count, where there are several.
        notes: what is missing, flagged and assumed, a line each.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    sum: tuple[str, ...] | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """One domain, or the sum, in base units; ``None`` where unknown."""

    domain: str
    energy_j: tuple[float | None, ...]
    power_w: tuple[float | None, ...]
    co2e_g: float | None
    status: str
    source: str


def table(measurement: Measurement) -> Table:
    """A measurement in words, for whatever draws it.

    Args:
        measurement: of one window.
    """
    total, footprint = measurement.total, measurement.footprint
    known = footprint is not None and footprint.grams is not None and total.gross_j
    grams_in_joule = (footprint.grams or 0.0) / (total.gross_j or 1.0) if footprint else 0.0
    rows = [_row(one, grams_in_joule if known else None) for one in measurement.readings]
    several = len(rows) > 1 and bool(total.domains)
    rows += [_row(one, None) for one in measurement.others]
    whole = _sum(measurement, total)
    energies = [abs(e) for row in (*rows, whole) for e in row.energy_j if e is not None]
    masses = [row.co2e_g for row in (*rows, whole) if row.co2e_g is not None]
    joule, joule_name = formats.scale(max(energies, default=1.0), formats.ENERGY)
    gram, gram_name = formats.scale(max(masses, default=1.0), formats.MASS)
    names = ("gross", "±", "idle", "net", "net ±")
    # The bound of net energy stands where there is net energy.
    shown = len(names) if any(row.energy_j[-1] is not None for row in (*rows, whole)) else NET + 1
    header = ["domain", *(f"{name} ({joule_name})" for name in names[:shown])]
    header += ["mean (W)", "peak (W)"]
    header += [f"CO2e ({gram_name})"] if footprint else []

    def cells(row: _Row) -> tuple[str, ...]:
        return (
            row.domain,
            *(formats.at_scale(energy_j, joule) for energy_j in row.energy_j[:shown]),
            *(formats.at_scale(power_w, 1.0) for power_w in row.power_w),
            *((formats.at_scale(row.co2e_g, gram),) if footprint else ()),
            row.status,
            row.source,
        )

    return Table(
        (*header, "status", "source"),
        tuple(cells(row) for row in rows),
        cells(whole) if several else None,
        tuple(_notes(measurement, total)),
    )


def heading(measurement: Measurement) -> str:
    """What was measured and for how long: ``epoch: 12.3 s, 124 samples``."""
    label = textwrap.shorten(measurement.label, LONGEST_LABEL, placeholder=" ...")
    label = f"{label}: " if label else ""
    samples = formats.count(measurement.samples, "sample")
    gap = f", longest gap {formats.duration(measurement.longest_gap_s)}"
    return f"{label}{formats.duration(measurement.duration_s)}, {samples}{gap}"


def text(measurement: Measurement) -> str:
    """A measurement for a terminal without colours.

    Args:
        measurement: of one window.
    """
    drawn = table(measurement)
    rows = [drawn.header, *drawn.rows, *([drawn.sum] if drawn.sum else [])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(drawn.header))]
    lines = [heading(measurement)]
    for row in rows:
        cells = [
            cell.ljust(width) if name in TEXT_COLUMNS else cell.rjust(width)
            for name, cell, width in zip(drawn.header, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *drawn.notes])


def html(measurement: Measurement) -> str:
    """A measurement for a notebook.

    Args:
        measurement: of one window.
    """
    drawn = table(measurement)

    def cells(row: Sequence[str], tag: str) -> str:
        aligned = (
            f'<{tag} style="text-align:{"left" if name in TEXT_COLUMNS else "right"}">'
            f"{escape(cell)}</{tag}>"
            for name, cell in zip(drawn.header, row, strict=True)
        )
        return f"<tr>{''.join(aligned)}</tr>"

    body = "".join(cells(row, "td") for row in drawn.rows)
    last = cells([f"{cell}" for cell in drawn.sum], "th") if drawn.sum else ""
    notes = "".join(f"<div><small>{escape(note)}</small></div>" for note in drawn.notes)
    return (
        f"<div><b>{escape(heading(measurement))}</b></div><table><thead>"
        f"{cells(drawn.header, 'th')}</thead><tbody>{body}{last}</tbody></table>{notes}"
    )


def data(measurement: Measurement) -> dict[str, Any]:
    """A measurement as plain data with what follows from it: net energy, mean power, the sum.

    Args:
        measurement: of one window.
    """
    whole, total = measurement.to_dict(), measurement.total
    readings, others = (
        [
            {
                **reading.to_dict(),
                "idle_j": reading.idle_j,
                "idle_error_j": reading.idle_error_j,
                "net_j": reading.net_j,
                "net_error_j": reading.net_error_j,
                "mean_power_w": reading.mean_power_w,
            }
            for reading in some
        ]
        for some in (measurement.readings, measurement.others)
    )
    return {
        **whole,
        "readings": readings,
        "others": others,
        "total": {
            "domains": list(total.domains),
            "status": str(total.status),
            "gross_j": total.gross_j,
            "error_j": total.error_j,
            "idle_j": total.idle_j,
            "idle_error_j": total.idle_error_j,
            "net_j": total.net_j,
            "net_error_j": total.net_error_j,
        },
        "co2e_g": measurement.co2e_g,
    }


def _row(reading: Reading, grams_in_joule: float | None) -> _Row:
    grams = None
    if grams_in_joule is not None and reading.gross_j is not None:
        grams = reading.gross_j * grams_in_joule
    return _Row(
        reading.domain,
        (reading.gross_j, reading.error_j, reading.idle_j, reading.net_j, reading.net_error_j),
        (reading.mean_power_w, reading.peak_power_w),
        grams,
        str(reading.status),
        "" if reading.source == "none" else reading.source,
    )


def _sum(measurement: Measurement, total: Total) -> _Row:
    mean_w = None
    if total.gross_j is not None and measurement.duration_s > 0:
        mean_w = total.gross_j / measurement.duration_s
    return _Row(
        " + ".join(total.domains),
        (total.gross_j, total.error_j, total.idle_j, total.net_j, total.net_error_j),
        # The domains need not peak at the same moment.
        (mean_w, None),
        measurement.co2e_g,
        str(total.status),
        "",
    )


def _notes(measurement: Measurement, total: Total) -> list[str]:
    notes = []
    for reading in measurement.readings:
        if reading.status is Status.MISSING or reading.lost_s:
            notes.append(f"{reading.domain}: {reading.reason}")
    for reading in measurement.readings:
        if reading.gross_j is not None and reading.domain not in total.domains:
            within = [domain for domain in reading.within if domain in total.domains]
            why = f"is within {within[0]}" if within else "does not count"
            notes.append(f"{reading.domain} {why}: it is not in the sum")
    notes += [
        f"{reading.domain} of {reading.source}: "
        + (reading.reason if reading.gross_j is None else "for comparison, not in the sum")
        for reading in measurement.others
    ]
    notes += [f"note: {flag}" for flag in measurement.flags]
    if measurement.footprint is not None:
        notes.append(str(measurement.footprint))
    return notes
