"""Tables of instruments: what each reads, and how it agrees with the reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.agreement import Agreement
from joulelab.analysis.comparison import Interval
from joulelab.analysis.correlation import Correlation
from joulelab.analysis.line import Line
from joulelab.report.instruments.comparison import Compared
from joulelab.report.instruments.instrument import Instrument
from joulelab.report.tables import Omitted, Table

MEASURE = "against the reference"
READ, AGREEMENT = "instruments", "agreement"
ROUNDING = 1e-9
"""Share of the energy below which an intercept is what rounding has left."""


def read_table(compared: Compared) -> Table:
    """Which domains each instrument adds up, and its mean energy of a run."""
    read = compared.read
    named = [compared.reference.name, *compared.agreements]
    others = [one.name for one in read.instruments if one.name not in named]
    instruments = [read[name] for name in (*named, *others)]
    raw = pd.DataFrame([_described(one, read.energies[one.name]) for one in instruments])
    raw["reference"] = raw["instrument"] == compared.reference.name
    shown = pd.DataFrame(
        {
            "instrument": raw["instrument"],
            "reads": raw["domains"],
            "status": raw["status"],
            "runs": raw["runs"].map(str),
            "mean energy": raw["mean_j"].map(formats.joules),
        }
    )
    if raw["calibration"].astype(bool).any():
        shown["calibrated"] = raw["calibration"].replace("", formats.DASH)
    note = (
        "Gross energy of a run, the sum over the domains that the instrument reads in every run "
        "and that do not contain each other."
    )
    text = ("instrument", "reads", "status", "calibrated")
    return Table(READ, "What each instrument reads", note, raw, shown, text)


def agreement_table(compared: Compared, *, remarked: bool = True) -> Table | Omitted:
    """Everything that is asked of two instruments, a column for each of those compared.

    Args:
        compared: the instruments.
        remarked: whether the remarks on them stand in the note.
    """
    title = f"Agreement with {compared.reference.name}"
    if not compared.agreements:
        return Omitted(AGREEMENT, title, " ".join(compared.remarks))
    columns = {name: _column(found) for name, found in compared.agreements.items()}
    raw = pd.DataFrame([_raw(found) for found in compared.agreements.values()])
    shown = pd.DataFrame({MEASURE: [name for name, _ in next(iter(columns.values()))]})
    for name, column in columns.items():
        shown[name] = [cell for _, cell in column]
    reference = f"Reference: {compared.reference.name}, because {compared.why}."
    note = (
        "Intervals are of 95 %; between the limits of agreement of ratio and difference lie 95 % "
        "of single runs. Where the difference grows with the energy (a small p), read the ratio. A "
        "slope other than 1 is a factor, and an intercept other than 0 a part of the machine that "
        "one of the two does not see. Calibration factor: what the instrument's energy must be "
        "multiplied by to give the reference's."
    )
    note = " ".join([reference, *(compared.remarks if remarked else ()), note])
    text = (MEASURE, *columns)
    return Table(AGREEMENT, title, note, raw, shown, text)


def _described(one: Instrument, energies: pd.Series[float]) -> dict[str, object]:
    return {
        "instrument": one.name,
        "sources": "+".join(one.sources),
        "domains": " + ".join(one.domains),
        "status": one.status,
        "runs": int(energies.notna().sum()),
        "mean_j": float(energies.mean()),
        "calibration": ", ".join(f"{domain} {f:g}" for domain, f in one.calibration.items()),
    }


def _column(found: Agreement) -> list[tuple[str, str]]:
    """What is shown of one instrument: names of the rows, and its cells."""
    ratios, apart, factor = found.ratios, found.differences, found.calibration.factor
    rounding_j = ROUNDING * float(found.runs["reference"].mean())
    line, deming = found.passing_bablok, found.deming
    return [
        ("runs", f"{found.n:,}"),
        ("ratio", _interval(ratios.mean, formats.effect)),
        ("limits of the ratio", formats.interval(ratios.lower, ratios.upper, formats.effect)),
        ("difference", _joules(apart.mean.value, apart.mean.low, apart.mean.high)),
        ("limits of the difference", _range_j(apart.lower, apart.upper)),
        ("difference grows", _p(found.proportional.p)),
        ("Passing-Bablok slope", _slope(line)),
        ("Passing-Bablok intercept", _intercept(line, rounding_j)),
        ("Passing-Bablok straight", _p(line.linearity_p)),
        ("Deming slope", _slope(deming)),
        ("Deming intercept", _intercept(deming, rounding_j)),
        ("Lin's concordance", _correlated(found.concordance)),
        ("Pearson's r", _correlated(found.pearson)),
        ("calibration factor", _interval(factor, formats.effect)),
    ]


def _raw(found: Agreement) -> dict[str, object]:
    """The same, unrounded, energies in joules."""
    ratios, apart, factor = found.ratios, found.differences, found.calibration
    row: dict[str, object] = {
        "instrument": found.measured,
        "reference": found.reference,
        "n": found.n,
        "dropped": found.dropped,
        "impossible": len(found.impossible),
        "reason": found.reason,
        "ratio_mean": float(np.mean(found.runs["ratio"])),
        "ways_agree": factor.ways_agree if found.n > 1 else None,
    }
    for name, interval in (
        ("ratio", ratios.mean),
        ("difference_j", apart.mean),
        ("factor", factor.factor),
        ("factor_through_origin", factor.through_origin),
    ):
        row |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    for name, limits in (("ratio", ratios), ("difference_j", apart)):
        for end in ("lower", "upper"):
            value, low, high = (getattr(limits, f"{end}{of}") for of in ("", "_low", "_high"))
            key = f"{name}_limit_{end}"
            row |= {key: value, f"{key}_low": low, f"{key}_high": high}
        row[f"{name}_limits_method"] = limits.method
    row |= {
        "proportional_slope": found.proportional.slope,
        "proportional_p": found.proportional.p,
    }
    for name, line in (("passing_bablok", found.passing_bablok), ("deming", found.deming)):
        row |= _line(name, line)
    for name, one in (("concordance", found.concordance), ("r", found.pearson)):
        row |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return row


def _line(name: str, line: Line) -> dict[str, object]:
    ends = ("", "_low", "_high")
    return {
        **{f"{name}_slope{end}": getattr(line, f"slope{end}") for end in ends},
        **{f"{name}_intercept_j{end}": getattr(line, f"intercept{end}") for end in ends},
        f"{name}_linearity_p": line.linearity_p,
        f"{name}_reason": line.reason,
    }


def _interval(one: Interval, form: Callable[[float], str]) -> str:
    return _ends(one.value, one.low, one.high, form)


def _ends(value: float, low: float, high: float, form: Callable[[float], str]) -> str:
    """``0.567 (0.551 to 0.583)``; the value alone where there is no interval."""
    if not formats.known(value):
        return formats.DASH
    if not (formats.known(low) and formats.known(high)):
        return form(value)
    return f"{form(value)} ({form(low)} to {form(high)})"


def _slope(line: Line) -> str:
    return line.reason or _ends(line.slope, line.slope_low, line.slope_high, formats.effect)


def _intercept(line: Line, rounding_j: float) -> str:
    """The intercept in joules; what rounding leaves of none is 0."""
    ends = (line.intercept, line.intercept_low, line.intercept_high)
    value, low, high = (0.0 if abs(one) < rounding_j else one for one in ends)
    return _joules(value, low, high)


def _correlated(one: Correlation) -> str:
    return _ends(one.value, one.low, one.high, formats.effect)


def _p(p: float) -> str:
    return f"p {formats.p_value(p)}" if formats.known(p) else formats.DASH


def _joules(value: float, low: float, high: float) -> str:
    """``-8.32 J (-9.05 to -7.59)``, in one unit."""
    known = [abs(one) for one in (value, low, high) if formats.known(one)]
    if not known:
        return formats.DASH
    size, unit = formats.scale(max(known) or 1.0, formats.ENERGY)
    value, low, high = (one / size for one in (value, low, high))
    ends = f" ({_number(low)} to {_number(high)})" if formats.known(low + high) else ""
    return f"{_number(value)} {unit}{ends}"


def _range_j(low: float, high: float) -> str:
    if not formats.known(low + high):
        return "no interval"
    size, unit = formats.scale(max(abs(low), abs(high)) or 1.0, formats.ENERGY)
    return f"{_number(low / size)} to {_number(high / size)} {unit}"


def _number(value: float) -> str:
    return formats.signed(formats.significant(value))
