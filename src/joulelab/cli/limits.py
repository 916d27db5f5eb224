"""Rates and limits of response times as they are written on the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping

from joulelab.cli.durations import parse_duration_s
from joulelab.errors import UsageError
from joulelab.serving.call_syntax import parse_rate
from joulelab.serving.planning.comparison import ResponseLimit


def parse_rate_per_s(text: str, option: str) -> float:
    """A rate in requests per second: ``50``, ``1e5``, ``50/min``, ``1000000/day``.

    Args:
        text: as the user wrote it.
        option: that it was given for, named in the error.

    Raises:
        UsageError: it is no number above 0.
    """
    rate_per_s = parse_rate(text)
    if rate_per_s is None or not (rate_per_s > 0 and math.isfinite(rate_per_s)):
        raise UsageError(
            f"{option} {text.strip()!r} is no rate",
            f"write requests per second, or with a unit: {option} 50, {option} 10,50,100, "
            f"{option} 3000/min",
        )
    return rate_per_s


def parse_limit(options: Mapping[str, str | None]) -> ResponseLimit | None:
    """The limit that one of several options gives.

    Args:
        options: what was given for each, by its name, for instance ``--p99``.

    Raises:
        UsageError: two were given, or one is no time.
    """
    given = {name: text for name, text in options.items() if text is not None}
    if not given:
        return None
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)}: a plan keeps one limit", "give the one that matters most"
        )
    [(name, text)] = given.items()
    return ResponseLimit(float(name.removeprefix("--p")), parse_duration_s(text, name))
