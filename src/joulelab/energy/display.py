"""A measurement as people read it: a table of domains, the sum, and what is to be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from joulelab import formats
from joulelab.energy.reading import Measurement, Reading, Status, Total

TEXT_COLUMNS = ("domain", "source", "status")


@dataclass(frozen=True)
class Table:
    """A measurement in words.

    Attributes:
        header: names of the columns.
        rows: a row a domain.
        sum: a row for the sum over the domains that count, where there are several.
        notes: what is missing, flagged and assumed, a line each.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    sum: tuple[str, ...] | None
    notes: tuple[str, ...]


def table(measurement: Measurement) -> Table:
    """A measurement in words, for whatever draws it.

    Args:
        measurement: of one window.
    """
    total, footprint = measurement.total, measurement.footprint
    with_carbon = footprint is not None
    header: tuple[str, ...] = ("domain", "gross", "±", "idle", "net", "mean", "peak")
    header += (("CO2e",) if with_carbon else ()) + ("status", "source")
    grams_in_joule = (
        footprint.grams / total.gross_j
        if footprint and footprint.grams is not None and total.gross_j
        else None
    )
    rows = tuple(
        _row(one, with_carbon=with_carbon, grams_in_joule=grams_in_joule)
        for one in measurement.readings
    )
    return Table(header, rows, _sum(measurement, total), tuple(_notes(measurement, total)))


def heading(measurement: Measurement) -> str:
    """What was measured and for how long: ``epoch: 12.3 s, 124 samples``."""
    label = f"{measurement.label}: " if measurement.label else ""
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


def _row(reading: Reading, *, with_carbon: bool, grams_in_joule: float | None) -> tuple[str, ...]:
    grams = (
        None
        if grams_in_joule is None or reading.gross_j is None
        else reading.gross_j * grams_in_joule
    )
    return (
        reading.domain,
        formats.joules(reading.gross_j),
        _joules_or_dash(reading.error_j),
        _joules_or_dash(reading.idle_j),
        _joules_or_dash(reading.net_j),
        _watts_or_dash(reading.mean_power_w),
        _watts_or_dash(reading.peak_power_w),
        *((formats.grams(grams),) if with_carbon else ()),
        str(reading.status),
        "" if reading.source == "none" else reading.source,
    )


def _sum(measurement: Measurement, total: Total) -> tuple[str, ...] | None:
    if len(measurement.readings) < 2 or not total.domains:  # noqa: PLR2004
        return None
    mean_w = (
        total.gross_j / measurement.duration_s
        if total.gross_j is not None and measurement.duration_s
        else None
    )
    footprint = measurement.footprint
    return (
        " + ".join(total.domains),
        formats.joules(total.gross_j),
        _joules_or_dash(total.error_j),
        _joules_or_dash(total.idle_j),
        _joules_or_dash(total.net_j),
        _watts_or_dash(mean_w),
        "",
        *((formats.grams(footprint.grams),) if footprint else ()),
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
    notes += [f"note: {flag}" for flag in measurement.flags]
    if measurement.footprint is not None:
        notes.append(str(measurement.footprint))
    return notes


def _joules_or_dash(value: float | None) -> str:
    return formats.joules(value) if formats.known(value) else formats.DASH


def _watts_or_dash(value: float | None) -> str:
    return formats.watts(value) if formats.known(value) else formats.DASH
