"""Checks of meter settings.

Settings come from TOML, from ``name:address?setting=value`` or from Python, so a value may have any
type. Each check names the setting in its error, as ``shelly: poll_s``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from joulelab.errors import SettingsError, quoted

CALIBRATION = "calibration"
EVERY = "*"
"""Stands for all domains or UUIDs of a meter."""
SECRET = "password"
_DOMAIN = re.compile(r"[a-z][a-z0-9_-]*(:[A-Za-z0-9_.-]+)?")
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}
_ACCEPTED: dict[Any, tuple[type, ...]] = {
    NoneType: (NoneType,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str, int, float, bool),  # in a name, a text may look like something else
    Path: (str, Path),
}


def check_types(meter: str, detector: Callable[..., object], given: Mapping[str, object]) -> None:
    """Refuse values of another type than the detector's constructor declares.

    What it declares in another way than by Python's own types is left to the constructor.

    Args:
        meter: its name, for messages.
        detector: its class.
        given: the settings.

    Raises:
        SettingsError: a value has another type.
    """
    try:
        hints = get_type_hints(detector if is_dataclass(detector) else detector.__init__)
    except Exception:  # of a package that names types which it does not import
        return
    for name, value in given.items():
        hint = hints.get(name)
        if hint is not None and not _fits(value, hint):
            shown = "" if name == SECRET else f" = {quoted(value)}"
            raise SettingsError(
                f"{meter}: {name}{shown} has the wrong type", f"give {_in_words(hint)}"
            )


def _fits(value: Any, hint: Any) -> bool:  # noqa: ANN401 - a type
    """Whether a value may be given where this type is declared."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in parts)
    if not isinstance(origin, type):
        truth = isinstance(value, bool) and hint in (int, float)
        return hint not in _ACCEPTED or (isinstance(value, _ACCEPTED[hint]) and not truth)
    of = parts[-1] if parts else Any
    if isinstance(value, Mapping):
        return issubclass(origin, Mapping) and all(_fits(one, of) for one in value.values())
    listed = isinstance(value, origin) and not isinstance(value, str)
    return listed and all(_fits(one, of) for one in value)


def _in_words(hint: Any) -> str:  # noqa: ANN401 - a type
    """What may be given, for a hint: ``a table or a number``."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(
            dict.fromkeys(_in_words(one) for one in get_args(hint) if one is not NoneType)
        )
    origin = get_origin(hint)
    if isinstance(origin, type):
        return "a table" if issubclass(origin, Mapping) else "a list"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


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
