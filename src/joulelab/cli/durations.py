"""Times as they are written on the command line: ``200ms``, ``10s``, ``2min``, ``6h``."""

from __future__ import annotations

import math
import re

from joulelab.errors import UsageError

UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_WRITTEN = re.compile(rf"\s*([0-9.]+(?:e[+-]?\d+)?)\s*({'|'.join(UNITS_S)})\s*", re.ASCII)


def parse_duration_s(text: str, option: str) -> float:
    """Seconds from a number and its unit; without one it might mean anything.

    Args:
        text: for instance ``"200ms"``.
        option: that it was given for, named in the error.

    Raises:
        UsageError: there is no number, no unit, or the time is not above 0.
    """
    hint = f"write it with its unit: {option} 200ms, {option} 2s"
    written = _WRITTEN.fullmatch(text)
    try:
        seconds = float(written[1]) * UNITS_S[written[2]] if written else math.nan
    except ValueError:
        seconds = math.nan
    if not (seconds > 0 and math.isfinite(seconds)):
        raise UsageError(f"{option} {text!r} is no time", hint)
    return seconds
