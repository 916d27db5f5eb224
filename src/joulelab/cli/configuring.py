"""``joulelab config``: the settings of this machine, where each comes from, and how to set one."""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab import formats
from joulelab.cli.output import show
from joulelab.energy.carbon.footprint import VARIABLE as PLACE_VARIABLE
from joulelab.energy.carbon.footprint import (
    carbon_intensity,
    checked_pue,
    default_place,
    default_pue,
    names_series,
)
from joulelab.energy.detection import Choice, check_tables
from joulelab.energy.meter import meters
from joulelab.energy.meters.settings import SECRET
from joulelab.errors import JoulelabError, UsageError, quoted, suggestion
from joulelab.present import Part, Remark, Table, View, words
from joulelab.settings import (
    limits_of,
    load_limits,
    load_settings_if_any,
    save_setting,
    settings_path,
)

if TYPE_CHECKING:
    from joulelab.cli.help_commands import Config

KEYS = ("carbon.place", "carbon.pue", "limits.runs", "limits.memory_gb")
SHOWN_SECRET = "***"
METER_PARTS = 3


@dataclass(frozen=True)
class Setting:
    """A setting in effect.

    Attributes:
        key: with dots.
        value: None where it is not set and has no default.
        origin: the file, an environment variable, or that it is a default.
    """

    key: str
    value: Any
    origin: str


def run_config(asked: Config) -> None:
    """Show all settings or one, or write one.

    Args:
        asked: the options of the command.

    Raises:
        SettingsError: the file cannot be read or written, or has a mistake.
        UsageError: the key or the value is not possible.
    """
    if asked.key is None:
        if asked.unset:
            raise UsageError("--unset which setting?", "name it: joulelab config --unset KEY")
        show(_all(), as_json=asked.json)
        return
    _check_key(asked.key)
    if asked.unset and asked.value is not None:
        raise UsageError(f"--unset {asked.key} takes no value", f"leave {asked.value} out")
    if asked.unset or asked.value is not None:
        show(_changed(asked.key, asked.value), as_json=asked.json)
        return
    found = next((one for one in _settings() if one.key == asked.key), None)
    value = None if found is None else found.value
    if value is None:
        raise UsageError(f"{asked.key} is not set", f"joulelab config {asked.key} VALUE sets it")
    show(View([_text(value)], {asked.key: value}), as_json=asked.json)


def _all() -> View:
    found = list(_settings())
    path = settings_path()
    of_file = sum(one.origin == str(path) for one in found)
    said = f"{path}: {formats.count(of_file, 'setting')}"
    if not path.exists():
        said = f"{path} does not exist: all settings have their defaults"
    rows = [asdict(one) | {"value": _text(one.value)} for one in found]
    columns = [words("setting", "key"), words("value"), words("from", "origin")]
    parts: list[Part] = [said, Table(rows, columns)]
    parts += [
        Remark(f"no meter called {quoted(name)} is known here: [meter.{name}] has no effect")
        for name in check_tables(load_settings_if_any().get("meter", {}))
    ]
    return View(parts, {"file": str(path), "settings": [asdict(one) for one in found]})


def _settings() -> Iterator[Setting]:
    """The settings in effect, and the variables that are set."""
    tables, path = load_settings_if_any(), str(settings_path())
    limits = load_limits()
    values = {
        "carbon.place": default_place(),
        "carbon.pue": default_pue(),
        "limits.runs": limits.runs,
        "limits.memory_gb": round(limits.memory_gb, 1),
    }
    for key, value in values.items():
        table, name = key.split(".")
        origin = path if name in tables.get(table, {}) else "default"
        if key == "carbon.place" and os.environ.get(PLACE_VARIABLE, "").strip():
            origin = PLACE_VARIABLE
        yield Setting(key, value, origin)
    for meter, given in tables.get("meter", {}).items():
        for name, value in given.items():
            shown = SHOWN_SECRET if name == SECRET else value
            yield Setting(f"meter.{meter}.{name}", shown, path)
    for name, value in sorted(os.environ.items()):
        if name.startswith("JOULELAB_") and name != PLACE_VARIABLE:
            shown = SHOWN_SECRET if name.endswith("PASSWORD") else value
            yield Setting(name, shown, "environment")


def _check_key(key: str) -> None:
    """Refuse a setting that nothing reads."""
    parts = key.split(".")
    if parts[0] == "meter":
        if len(parts) < METER_PARTS:
            raise UsageError(f"{quoted(key)} names no setting", "write meter.NAME.SETTING")
        meters.get(parts[1])  # raises, and suggests the closest name
    elif key not in KEYS:
        hint = suggestion(key, [*KEYS, "meter.NAME.SETTING"]) or f"known: {', '.join(KEYS)}"
        raise UsageError(f"there is no setting {quoted(key)}", hint)


def _changed(key: str, text: str | None) -> View:
    """Write the setting, or remove it."""
    value = None if text is None else _parsed(key, text)
    if value is not None:
        try:
            _check(key, value)
        except JoulelabError as error:
            given = SHOWN_SECRET if key.endswith(f".{SECRET}") else quoted(text)
            raise UsageError(f"{key} = {given}: {error.message}", error.hint) from error
    elif not _is_stored(key):
        raise UsageError(f"{key} is not set", "joulelab config shows what is")
    path = save_setting(key, value)
    shown = SHOWN_SECRET if key.endswith(f".{SECRET}") and value is not None else value
    said = f"{key} is no longer set" if value is None else f"{key} = {_text(shown)}"
    return View([f"{said}, in {path}"], {"file": str(path), key: shown})


def _is_stored(key: str) -> bool:
    """Whether the settings file has a setting."""
    found: Any = load_settings_if_any()
    *tables, name = key.split(".")
    for table in tables:
        found = found.get(table, {})
    return name in found


def _check(key: str, value: Any) -> None:  # noqa: ANN401 - of TOML
    """Try out what reads the setting.

    Raises:
        JoulelabError: it is refused.
    """
    area, name = key.split(".", 1)
    if area == "limits":
        limits_of({name: value})
    elif area == "meter":
        meter, setting = name.split(".", 1)
        stored = load_settings_if_any().get("meter", {}).get(meter, {})
        Choice(meter, stored={**stored, setting: value}).check()
    elif name == "pue":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        checked_pue(value if number else math.nan)
    else:
        carbon_intensity(value)


def _parsed(key: str, text: str) -> Any:  # noqa: ANN401 - of TOML
    """A TOML value; other text stands for itself, and a file for its absolute path."""
    if key == "carbon.place" and names_series(text):
        return str(Path(text).expanduser().absolute())
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Mapping):  # as it may be given again
        return (
            f"{{ {', '.join(f'{json.dumps(key)} = {_text(one)}' for key, one in value.items())} }}"
        )
    return formats.DASH if value is None else str(value)
