"""Checks of meter settings.

Settings come from TOML, from ``name:address?setting=value`` or from Python, so a value may have any
type. Each check names the setting in its error, as ``shelly: poll_s``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from joulelab.errors import SettingsError

CALIBRATION = "calibration"
EVERY = "*"
"""Stands for all domains or UUIDs of a meter."""
_DOMAIN = re.compile(r"[a-z][a-z0-9_-]*(:[A-Za-z0-9_.-]+)?")


def checked_number(
    name: str, value: object, least: float = 0.0, most: float = 1e9, *, what: str = "a number"
) -> float:
    """A number above `least`, or equal to it if it is above 0, and at most `most`.

    Args:
        name: of the setting, for messages.
        value: as set by the user.
        least: the lowest number allowed.
        most: the highest number allowed.
        what: the number, in words.

    Raises:
        SettingsError: it is not such a number.
    """
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    if (number >= least if least else number > 0) and number <= most:
        return number
    bounds = f"from {least:g} to {most:g}" if least else f"above 0, at most {most:g}"
    raise SettingsError(f"{name} = {value!r} is not possible", f"{what} {bounds}")


def check_truth(name: str, value: object) -> None:
    """Refuse anything that is not a boolean.

    Raises:
        SettingsError: it is not.
    """
    if not isinstance(value, bool):
        raise SettingsError(f"{name} = {value!r} is neither true nor false", "write true or false")


def is_domain(name: object) -> bool:
    """Whether a text can be the name of a domain, as ``gpu:0`` or ``wall``."""
    return isinstance(name, str) and _DOMAIN.fullmatch(name) is not None


def calibration_factors(calibration: object, where: str) -> dict[str, float]:
    """Calibration factors from the user's settings.

    Args:
        calibration: a number, or a table from domain (of nvml: UUID) to number.
        where: the setting, for messages: file and table.

    Returns:
        Factors by domain or UUID; a single number by `EVERY`.

    Raises:
        SettingsError: it is neither, or a factor is not positive and finite.
    """
    table: Mapping[Any, Any] = (
        calibration if isinstance(calibration, Mapping) else {EVERY: calibration}
    )
    for key, factor in table.items():
        number = isinstance(factor, int | float) and not isinstance(factor, bool)
        if not number or not math.isfinite(factor) or factor <= 0:
            of = f" of {key}" if key != EVERY else ""
            raise SettingsError(
                f"{where} {CALIBRATION}: the factor {factor!r}{of} is not a positive number",
                'give reference / meter: 1.06, or { "cpu:0" = 1.06 }',
            )
    return {str(key): float(factor) for key, factor in table.items()}


def check_domains(factors: Mapping[str, float], where: str) -> None:
    """Refuse factors for impossible domains.

    Raises:
        SettingsError: a key of the factors is not the name of a domain.
    """
    for key in factors:
        if key != EVERY and not is_domain(key):
            raise SettingsError(
                f"{where} {CALIBRATION}: {key!r} is not the name of a domain",
                "such as cpu:0 or wall; `joulelab doctor` lists them",
            )
