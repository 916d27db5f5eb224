"""Energy, power and time in words, for people; inside the program joules, watts and seconds."""

from __future__ import annotations

import math

_MINUTE_S = 60
_HOUR_S = 3600
_WH_J = 3600.0


def energy(joules: float | None) -> str:
    """Joules with three digits and a fitting unit: ``1.23 kJ``; ``unknown`` for ``None``."""
    if joules is None or math.isnan(joules):
        return "unknown"
    for factor, unit in ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ")):
        if abs(joules) >= factor:
            return f"{joules / factor:.3g} {unit}"
    return f"{joules:.3g} J"


def duration(seconds: float | None) -> str:
    """A time as people say it: ``0.4 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None or math.isnan(seconds):
        return "unknown"
    if seconds < _MINUTE_S:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
