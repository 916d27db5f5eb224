"""Number formats: the only place where joules, shares, times and p-values are rounded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeGuard

Units = Sequence[tuple[float, float, str]]

UNKNOWN = "unknown"
DASH = "\N{EN DASH}"

HOUR_S = 3600.0
MINUTE_S = 60.0
SMALLEST_P = 0.001
ENERGY = ((1e6, 1e6, "MJ"), (1e5, 1e3, "kJ"), (0.1, 1.0, "J"), (0.0, 1e-3, "mJ"))
MASS = ((1e6, 1e6, "t"), (1e3, 1e3, "kg"), (1.0, 1.0, "g"), (0.0, 1e-3, "mg"))
OPERATIONS = (
    (1e15, 1e15, "PFLOP"),
    (1e12, 1e12, "TFLOP"),
    (1e9, 1e9, "GFLOP"),
    (0.0, 1e6, "MFLOP"),
)
"""Per unit: smallest value that uses it, its size, and its name."""
SMALL = 0.1
SMALLEST = 0.001
TENS = 10
HUNDREDS = 100
VOWELS = tuple("aeiou")
THOUSANDS = 1000
PLAIN = (0.01, 1e9)
"""Quantities outside of this are written with an exponent."""


def known(value: float | None) -> TypeGuard[float]:
    """Whether a value is a number; pandas turns ``None`` into NaN."""
    return value is not None and math.isfinite(value)


def scale(largest: float, units: Units) -> tuple[float, str]:
    """The unit that suits the largest of several values: its size and its name.

    Args:
        largest: in the base unit; the sign does not count.
        units: `ENERGY`, `MASS` or `OPERATIONS`.
    """
    return next((size, name) for least, size, name in units if abs(largest) >= least)


def joules(value: float | None) -> str:
    """Energy: ``4.31 mJ``, ``8.57 J``, ``1,674 J``, ``125.3 kJ``, ``3.42 MJ``; missing is not 0."""
    if not known(value):
        return UNKNOWN
    size, unit = scale(value, ENERGY) if value else (1.0, "J")
    if unit == "kJ":
        return signed(f"{value / size:,.1f} kJ")
    digits = f"{value / size:,.2f}" if unit == "MJ" else significant(value / size)
    return signed(f"{digits} {unit}")


def watt_hours(joules_: float | None) -> str:
    """Joules in the unit of bills: ``0.0411 Wh``, ``1.24 Wh``, ``3.42 kWh``."""
    if not known(joules_):
        return UNKNOWN
    hours = joules_ / HOUR_S
    size, unit = (1000.0, "kWh") if hours >= THOUSANDS else (1.0, "Wh")
    return f"{hours / size:.3g} {unit}"


def grams(value: float | None) -> str:
    """Mass: ``0.0001 mg``, ``0.638 mg``, ``1.24 g``, ``12.4 kg``, ``3.42 t``; missing is not 0."""
    if not known(value):
        return UNKNOWN
    size, unit = scale(value, MASS)
    scaled = value / size
    return f"{significant(scaled) if abs(scaled) >= 1 or not scaled else f'{scaled:.3g}'} {unit}"


def at_scale(value: float | None, size: float) -> str:
    """A value with three digits in a unit shared with others: ``13.5``, ``0.0135``.

    Args:
        value: in the base unit.
        size: of the unit, from `scale`.
    """
    if not known(value):
        return DASH
    scaled = value / size
    if 0 < abs(scaled) < SMALLEST:
        return f"< {SMALLEST}" if scaled > 0 else signed(f"> -{SMALLEST}")
    return f"{scaled:.2g}" if 0 < abs(scaled) < SMALL else significant(scaled)


def operations(value: float | None) -> str:
    """Floating-point operations: ``812 MFLOP``, ``3.42 GFLOP``, ``1.24 PFLOP``."""
    if not known(value):
        return UNKNOWN
    size, unit = scale(value, OPERATIONS)
    return f"{significant(value / size)} {unit}"


def watts(value: float | None) -> str:
    """Power: ``0.93 W``, ``70.2 W``, ``1,240 W``."""
    return f"{significant(value)} W" if known(value) else UNKNOWN


def significant(value: float | None) -> str:
    """Three significant digits below 100, whole numbers above."""
    if not known(value):
        return DASH
    decimals = 0 if abs(value) >= HUNDREDS else 1 if abs(value) >= TENS else 2
    return f"{value:,.{decimals}f}"


def number(value: float | None) -> str:
    """Any other number with four significant digits: ``0.00316``."""
    return f"{value:.4g}" if known(value) else DASH


def tick(value: float) -> str:
    """A number on an axis, in full if six digits suffice: ``1,500``, ``0.25``."""
    return signed(f"{value:,.6g}")


def decimals(value: float | None, places: int) -> str:
    """A number with a fixed number of decimals."""
    return signed(f"{value:,.{places}f}") if known(value) else DASH


def percent(value: float | None, decimals: int = 1) -> str:
    """A share of 1 as a percentage."""
    return f"{100 * value:.{decimals}f} %" if known(value) else DASH


def share(value: float | None) -> str:
    """A share of 1 as a percentage with two digits, however small: ``0.012 %``, ``2.1 %``."""
    if not known(value):
        return DASH
    return f"{100 * value:.0f} %" if abs(value) >= SMALL else f"{100 * value:.2g} %"


def change(value: float | None) -> str:
    """A relative change, with its sign: ``+95.3 %``."""
    return signed(f"{100 * value:+.1f} %") if known(value) else DASH


def points(value: float) -> str:
    """A difference of accuracies in percentage points, with its sign: ``+0.8 points``."""
    return signed(f"{100 * value:+.1f} points")


def interval(low: float | None, high: float | None, form: Callable[[float], str]) -> str:
    """The ends of an interval, each in a format of this module: ``0.741 to 0.758``."""
    if not (known(low) and known(high)):
        return "no interval"
    return f"{form(low)} to {form(high)}"


def intervals(
    lows: Iterable[float], highs: Iterable[float], form: Callable[[float], str]
) -> list[str]:
    """Several intervals, as `interval` writes one."""
    return [interval(low, high, form) for low, high in zip(lows, highs, strict=True)]


def between(form: Callable[[float], str]) -> Callable[[float | None, float | None], str]:
    """A function that formats the two ends of an interval as `interval` does."""
    return lambda low, high: interval(low, high, form)


def signed(text: str) -> str:
    """The text with each hyphen replaced by a minus sign."""
    return text.replace("-", "\N{MINUS SIGN}")


def accuracy(value: float | None) -> str:
    """Share of images classified correctly, 0 to 1."""
    return f"{value:.3f}" if known(value) else DASH


def effect(value: float | None) -> str:
    """An effect size; below 0 where the levels differ less than by chance."""
    return signed(f"{value:.3f}") if known(value) else DASH


def statistic(value: float | None) -> str:
    """Any statistic: three decimals below 10, else one: ``0.512``, ``32.8``, ``2,303.3``."""
    if not known(value):
        return DASH
    return signed(f"{value:,.1f}" if abs(value) >= TENS else f"{value:.3f}")


def quantity(value: float | None) -> str:
    """A metric of unknown size: ``0.913``, ``32.8``, ``11,916``, ``2.13e-05``."""
    if not known(value):
        return DASH
    size = abs(value)
    if 0 < size < PLAIN[0] or size >= PLAIN[1]:
        return signed(f"{value:.2e}")
    if size >= THOUSANDS or (size >= TENS and value == round(value)):
        return signed(f"{value:,.0f}")
    return statistic(value)


def p_value(value: float | None) -> str:
    """``< 0.001`` or three decimals."""
    if not known(value):
        return DASH
    return f"< {SMALLEST_P}" if value < SMALLEST_P else f"{value:.3f}"


def duration(value: float | None) -> str:
    """A duration in readable units: ``1.00 µs``, ``2.41 ms``, ``0.42 s``, ``4 min 05 s``."""
    if not known(value):
        return UNKNOWN
    if value >= HOUR_S:
        return f"{int(value // HOUR_S)} h {int(value % HOUR_S // MINUTE_S):02d} min"
    if value >= 2 * MINUTE_S:
        return f"{int(value // MINUTE_S)} min {int(value % MINUTE_S):02d} s"
    if 0 < abs(value) < SMALL / THOUSANDS:
        return f"{significant(1e6 * value)} \N{MICRO SIGN}s"
    if 0 < abs(value) < SMALL:
        return f"{significant(1e3 * value)} ms"
    return f"{significant(value)} s"


def joules_range(low: float | None, high: float | None) -> str:
    """A range of energy in one unit: ``60.0 to 970 kJ``; ``up to 970 kJ`` if it starts at 0."""
    return _range(low, high, ENERGY, "J")


def grams_range(low: float | None, high: float | None) -> str:
    """A range of mass in one unit: ``1.20 to 3.15 mg``; ``up to 3.15 mg`` if it starts at 0."""
    return _range(low, high, MASS, "g")


def _range(low: float | None, high: float | None, units: Units, base: str) -> str:
    """A range of a non-negative quantity, in the unit of its upper end."""
    if not known(low) or not known(high):
        return UNKNOWN
    size, unit = scale(high, units) if high else (1.0, base)
    upper = f"{significant(high / size)} {unit}"
    return f"{significant(low / size)} to {upper}" if low / size >= SMALLEST else f"up to {upper}"


def duration_range(low: float | None, high: float | None) -> str:
    """A range of time: ``6 h 20 min to 8 h 05 min``, ``0.42 s to 0.61 s``."""
    return f"{duration(low)} to {duration(high)}" if known(low) and known(high) else UNKNOWN


def count(number: int, noun: str) -> str:
    """``1 run``, ``1,152 runs``."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a regular noun: ``runs``, ``batches``, ``studies``, ``days``."""
    if noun.endswith(("ch", "sh", "s", "x")) and not noun.endswith("epoch"):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def listing(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def level(value: object) -> str:
    """A level of a factor: whole numbers without a point, switches as on and off."""
    if hasattr(value, "item"):  # a scalar of NumPy
        value = value.item()
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def cell(value: object) -> str:
    """Any value in a table, as `level`; missing is a dash.

    >>> cell(2.0), cell(float("nan")) == cell(None) == DASH
    ('2', True)
    """
    missing = value is None or str(value) in {"<NA>", "NaT"} or value != value  # noqa: PLR0124
    return DASH if missing else level(value)


def or_dash(form: Callable[..., str]) -> Callable[..., str]:
    """A format that writes a dash in place of what is unknown."""
    return lambda *values: form(*values) if all(map(known, values)) else DASH
