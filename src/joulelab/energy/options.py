"""The options of everything that measures, from `joulelab.measure` to a framework's callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, cast, get_args

from joulelab.energy.recorder import DEFAULT_INTERVAL_S
from joulelab.errors import SettingsError, suggestion

Busy = Literal["share", "wait", "refuse"]
LONGEST_INTERVAL_S = 60.0


class Options(TypedDict, total=False):
    """How a monitor measures; all keys are optional.

    Attributes:
        meters: names such as ``"nvml"`` or ``"shelly:192.168.1.20"``; default: all that work here.
        domains: domains that count as the energy of a window; default: all known ones.
        interval_s: time between samples in seconds; default 0.1.
        place: origin of the electricity: a country, a region, grams of CO2e per kWh, or a CSV file
            of these over time; default: the user's settings.
        pue: power usage effectiveness of the data centre; default: the user's settings.
        strict: raise an error rather than estimate.
        busy: what to do if another program measures on a device: ``"share"`` it and flag the result
            (the default), ``"wait"`` for it, or ``"refuse"``.
        settings: of meters, by name, overriding the settings file.
        on_wait: called with a description of the process waited for.
    """

    meters: Sequence[str] | str | None
    domains: Sequence[str] | str | None
    interval_s: float
    place: str | float | None
    pue: float | None
    strict: bool
    busy: Busy
    settings: Mapping[str, Mapping[str, Any]]
    on_wait: Callable[[str], None] | None


def check_options(options: Options) -> None:
    """Check what a type checker would, and the interval.

    Args:
        options: as a user has given them.

    Raises:
        SettingsError: an option is unknown, or has an impossible value.
    """
    for name in options:
        if name not in Options.__annotations__:
            hint = suggestion(name, Options.__annotations__)
            raise SettingsError(f"a measurement has no option {name!r}", hint)
    busy = options.get("busy", "share")
    if busy not in get_args(Busy):
        raise SettingsError(f"busy={busy!r} is unknown", f"one of {', '.join(get_args(Busy))}")
    interval_s = options.get("interval_s", DEFAULT_INTERVAL_S)
    if not 0 < interval_s <= LONGEST_INTERVAL_S:
        raise SettingsError(
            f"an interval of {interval_s:g} s between samples is impossible",
            f"above 0 and at most {LONGEST_INTERVAL_S:g} s; 0.1 is usual",
        )


def picklable(options: Mapping[str, Any]) -> Options:
    """Options for another process, without the callback `on_wait`.

    Args:
        options: see `Options`.
    """
    return cast("Options", {key: value for key, value in options.items() if key != "on_wait"})
