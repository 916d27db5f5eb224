"""The user's own settings file: what belongs to this machine and not to a study.

::

    [meter.nvml]
    calibration = { "GPU-5e1f..." = 1.06 }

    [meter.shelly]
    address = "192.168.1.20"
    password = "..."

    [carbon]
    place = "NLD"
    pue = 1.2

It lies where `JOULELAB_SETTINGS` says, else in ``~/.config/joulelab/settings.toml``; there need be
none. A table under ``meter`` goes to the detector of that name; see `joulelab.energy.detection`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulelab.errors import SettingsError, suggestion

VARIABLE = "JOULELAB_SETTINGS"
_TABLES = ("carbon", "meter")


def settings_path() -> Path:
    """Where the settings lie, whether or not there are any."""
    if own := os.environ.get(VARIABLE):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "joulelab" / "settings.toml"


def load_settings() -> dict[str, Any]:
    """The tables ``meter`` (by name) and ``carbon``; empty where there is no file.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or has a table nobody knows.
    """
    path = settings_path()
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if os.environ.get(VARIABLE):
            raise SettingsError(
                f"{path}, named in {VARIABLE}, does not exist", f"make it, or unset {VARIABLE}"
            ) from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", "it must be TOML") from error
    for name, table in tables.items():
        if name not in _TABLES or not isinstance(table, Mapping):
            hint = suggestion(name, _TABLES) if name not in _TABLES else "write it as a table"
            raise SettingsError(f"{path}: [{name}] is no table of settings", hint)
    for name, table in tables.get("meter", {}).items():
        if not isinstance(table, Mapping):
            raise SettingsError(f"{path}: meter.{name} is no table", f"write [meter.{name}]")
    return tables
