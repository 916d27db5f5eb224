"""The settings file of a user who has a home folder, and of one who has none."""

import pytest

from joulelab.errors import SettingsError
from joulelab.settings import (
    CalibrationFactor,
    kept_calibration,
    load_limits,
    load_settings,
    save_calibration,
    settings_path,
)

FACTOR = CalibrationFactor("nvml", "GPU-1", 1.06, "2026-11-22")


@pytest.fixture
def homeless(tmp_path, monkeypatch):
    """A process of a user without an entry in the password file."""
    for name in ("JOULELAB_SETTINGS", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_home_there_are_no_settings(homeless):
    assert load_settings() == {}
    assert kept_calibration("nvml") == {}
    assert load_limits().runs == 200_000
    assert str(settings_path()).startswith("~")


def test_a_folder_with_the_name_of_a_home_is_not_one(homeless):
    planted = homeless / "~" / ".config" / "joulelab" / "settings.toml"
    planted.parent.mkdir(parents=True)
    planted.write_text("[limits]\nruns = 1\n")
    assert load_settings() == {}
    with pytest.raises(SettingsError, match="you have no home folder"):
        save_calibration([FACTOR])
    assert planted.read_text() == "[limits]\nruns = 1\n"


def test_without_a_home_the_file_that_is_named_counts(homeless, monkeypatch):
    monkeypatch.setenv("JOULELAB_SETTINGS", str(homeless / "own.toml"))
    save_calibration([FACTOR])
    assert kept_calibration("nvml") == {"GPU-1": 1.06}


def test_a_new_settings_file_is_private(tmp_path, monkeypatch):
    path = tmp_path / "new" / "settings.toml"
    monkeypatch.setenv("JOULELAB_SETTINGS", str(path))
    assert save_calibration([FACTOR]) == path
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["settings.toml"]
