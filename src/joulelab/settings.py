"""The user's settings file, for what belongs to this machine and not to a study.

::

    [meter.nvml]
    calibration = { "GPU-5e1f..." = 1.06 }

    [meter.shelly]
    address = "192.168.1.20"
    password = "..."

    [carbon]
    place = "NLD"
    pue = 1.2

    [limits]
    runs = 1_000_000
    memory_gb = 64

The file is the one in `JOULELAB_SETTINGS`, else ``~/.config/joulelab/settings.toml``; it is
optional. A table under ``meter`` goes to the detector of that name; see
`joulelab.energy.detection`. `Limits` says what the limits are for.

`save_calibration` and `save_setting` write it; the user's text, comments and order stay.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab.errors import SettingsError, quoted, suggestion
from joulelab.files import replacing
from joulelab.plain import PlainDataError, expanded, is_there, parse_toml, read_text

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

VARIABLE = "JOULELAB_SETTINGS"
_TABLES = ("carbon", "limits", "meter")
MOST_RUNS = 200_000
_DIGITS = 6


@dataclass(frozen=True)
class CalibrationFactor:
    """A factor to be kept for a meter.

    Attributes:
        meter: its name, as of its table.
        key: the domain; of nvml the UUID.
        factor: reference / meter, above 0.
        comment: written next to it: when, from what, and how certain.
    """

    meter: str
    key: str
    factor: float
    comment: str


@dataclass(frozen=True)
class Limits:
    """Limits on the size of a study, checked by arithmetic before anything is built.

    They belong to the machine, not to the study: study files come from anywhere.

    Attributes:
        runs: of a study.
        memory_gb: that a run needs at least, in 10^9 bytes.
    """

    runs: int
    memory_gb: float

    def raised(self, key: str) -> str:
        """How to raise one of them, for a hint.

        Args:
            key: its name.
        """
        return f"raise {key} under [limits] in {settings_path()}"


def load_limits() -> Limits:
    """The limits of this machine; by default 200,000 runs and all of its memory.

    Raises:
        SettingsError: as for `load_settings`, or a limit is not a number above 0.
    """
    return limits_of(load_settings_if_any().get("limits", {}))


def limits_of(table: Mapping[str, Any]) -> Limits:
    """The limits that a table of settings gives.

    Args:
        table: ``[limits]``.

    Raises:
        SettingsError: a limit is unknown, or not a number above 0.
    """
    import psutil

    known = [one.name for one in fields(Limits)]
    for name, value in table.items():
        if name not in known:
            raise SettingsError(
                f"{settings_path()}: limits has no {quoted(name)}", suggestion(name, known)
            )
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf or (name == "runs" and not whole):
            kind = "whole number" if name == "runs" else "number"
            raise SettingsError(
                f"{settings_path()}: limits.{name} = {quoted(value)}", f"give a {kind} above 0"
            )
    return Limits(
        int(table.get("runs", MOST_RUNS)),
        float(table.get("memory_gb", psutil.virtual_memory().total / 1e9)),
    )


def settings_path() -> Path:
    """Path of the settings file, whether or not it exists; ``~`` stays if there is no home."""
    if own := os.environ.get(VARIABLE):
        return expanded(own)
    base = os.environ.get("XDG_CONFIG_HOME") or expanded("~/.config")
    return Path(base) / "joulelab" / "settings.toml"


def _has_settings(path: Path) -> bool:
    """Whether there is a settings file; a folder ``~`` in the working directory is not a home."""
    return path.parts[:1] != ("~",) and is_there(path)


def load_settings() -> dict[str, Any]:
    """The tables ``meter`` (by name), ``carbon`` and ``limits``; empty where there is no file.

    Raises:
        SettingsError: the file cannot be read, is not TOML, or has an unknown table.
    """
    path = settings_path()
    if not _has_settings(path):
        if os.environ.get(VARIABLE):
            raise SettingsError(
                f"{path} (from {VARIABLE}) does not exist", f"create it, or unset {VARIABLE}"
            )
        return {}
    try:
        tables = parse_toml(read_text(path), finite=False)  # each setting says what it takes
    except PlainDataError as error:
        raise SettingsError(f"{path} cannot be read: {error}", "it must be TOML") from error
    for name, table in tables.items():
        if name not in _TABLES or not isinstance(table, Mapping):
            hint = suggestion(name, _TABLES) if name not in _TABLES else "write it as a table"
            raise SettingsError(f"{path}: [{name}] is not a table of settings", hint)
    for name, table in tables.get("meter", {}).items():
        if not isinstance(table, Mapping):
            raise SettingsError(f"{path}: meter.{name} is not a table", f"write [meter.{name}]")
    return tables


def save_calibration(
    factors: Sequence[CalibrationFactor], known: Mapping[str, Sequence[str]] | None = None
) -> Path:
    """Write calibration factors into the settings file; everything else in it stays.

    ::

        [meter.codecarbon.calibration]
        "cpu:0" = 1.0623  # 2026-11-22: n = 24, 95 %: 1.051 to 1.074, against shelly

    Args:
        factors: one for each meter and key.
        known: keys of each meter; a single number for the whole meter is kept for these keys.

    Returns:
        The file.

    Raises:
        SettingsError: the file cannot be read or written.
    """
    import tomlkit
    from tomlkit.items import InlineTable

    expected = _calibrations(factors, known or {})
    with _editing() as document:
        for factor in factors:
            table = _calibration_table(document, factor.meter, expected[factor.meter])
            value = tomlkit.item(expected[factor.meter][factor.key])
            if not isinstance(table, InlineTable):
                value.comment(factor.comment)
            table[factor.key] = value
        written = tomllib.loads(tomlkit.dumps(document))
        if any(written["meter"][name]["calibration"] != now for name, now in expected.items()):
            raise SettingsError(
                f"{settings_path()} has a form into which calibration cannot be written",
                "write each meter as a table of its own, [meter.nvml]",
            )
    return settings_path()


def save_setting(key: str, value: object) -> Path:
    """Write one setting into the settings file; everything else in it stays.

    Args:
        key: with dots: ``"carbon.place"``, ``"meter.shelly.address"``.
        value: as TOML has it; None removes the setting.

    Returns:
        The file.

    Raises:
        SettingsError: the file cannot be read or written, or something on the way to the setting
            is not a table.
    """
    import tomlkit

    *tables, name = key.split(".")
    with _editing() as document:
        path: list[MutableMapping[str, Any]] = [document]
        for depth, one in enumerate(tables):
            above = one == "meter" and depth == 0
            inner = path[-1].setdefault(one, tomlkit.table(is_super_table=above))
            if not isinstance(inner, MutableMapping):
                raise SettingsError(f"{settings_path()}: {one} is not a table", "edit the file")
            path.append(inner)
        if value is not None:
            path[-1][name] = value
        else:
            path[-1].pop(name, None)
            for outer, inner, one in zip(path[-2::-1], path[:0:-1], tables[::-1], strict=True):
                if not inner:
                    del outer[one]
    return settings_path()


@contextmanager
def _editing() -> Iterator[TOMLDocument]:
    """The settings file as a document; it is written at the end of the block."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    path = settings_path()
    if path.parts[:1] == ("~",):
        raise SettingsError(
            f"{path} cannot be written: you have no home folder", f"set {VARIABLE} to a file"
        )
    try:
        document = tomlkit.parse(path.read_text("utf-8") if path.exists() else "")
        yield document
        text = tomlkit.dumps(document)
    except (OSError, UnicodeDecodeError, TOMLKitError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", "it must be TOML") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link stays a link; a new file is private because it may hold passwords.
        with replacing(path.resolve(), private=True) as file:
            file.write(text.encode("utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror or error}",
            f"make it writable, or set {VARIABLE} to another file",
        ) from error


def kept_calibration(meter: str, known: Sequence[str] = ()) -> dict[str, float]:
    """The factors of a meter in the settings file, by domain or UUID.

    Args:
        meter: its name.
        known: keys that a single number for the whole meter stands for.

    Raises:
        SettingsError: as `load_settings`.
    """
    kept = load_settings_if_any().get("meter", {}).get(meter, {}).get("calibration", {})
    return dict(kept) if isinstance(kept, Mapping) else dict.fromkeys(known, kept)


def load_settings_if_any() -> dict[str, Any]:
    """As `load_settings`, but empty if the named file does not exist yet.

    Raises:
        SettingsError: as `load_settings`.
    """
    return load_settings() if _has_settings(settings_path()) else {}


def _calibrations(
    factors: Sequence[CalibrationFactor], known: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """The whole setting of every meter, as it will be."""
    whole: dict[str, dict[str, float]] = {}
    for one in factors:
        before = kept_calibration(one.meter, known.get(one.meter, ()))
        table = whole.setdefault(one.meter, before)
        table[one.key] = float(f"{one.factor:.{_DIGITS}g}")
    return whole


def _calibration_table(
    document: TOMLDocument, meter: str, whole: Mapping[str, float]
) -> MutableMapping[str, Any]:
    """The table ``[meter.<name>.calibration]``; in its place there may have been something else.

    Where the user has written the meter on one line, it is on that line, and has no comments.
    """
    import tomlkit
    from tomlkit.items import InlineTable

    meters = document.setdefault("meter", tomlkit.table(is_super_table=True))
    own = meters.setdefault(meter, tomlkit.table())
    kept = own.get("calibration")
    if isinstance(kept, MutableMapping) and not isinstance(kept, InlineTable):
        return kept
    table = tomlkit.inline_table() if isinstance(own, InlineTable) else tomlkit.table()
    for key, factor in whole.items():
        table.append(key, factor)
    if kept is not None:
        del own["calibration"]
    own["calibration"] = table
    made: MutableMapping[str, Any] = own["calibration"]
    return made
