"""``joulelab config`` and ``joulelab help``."""

import json

import pytest

from joulelab.settings import load_settings

KEPT = """# mine
[carbon]
place = "NLD"  # at home
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "settings.toml"
    monkeypatch.setenv("JOULELAB_SETTINGS", str(path))
    monkeypatch.delenv("JOULELAB_CARBON", raising=False)
    return path


@pytest.fixture
def cli(joulelab):
    """Runs a command: all that it prints."""

    def run(*arguments, code=0):
        exit_code, out, err = joulelab(*arguments)
        assert exit_code == code, err
        return out + err

    return run


def origins(cli):
    return {one["key"]: one["origin"] for one in json.loads(cli("config", "--json"))["settings"]}


def test_what_is_shown_may_be_given_again(file, cli):
    cli("config", "meter.rapl.calibration", '{ "cpu:0" = 1.04, "dram:0" = 2 }')
    shown = cli("config", "meter.rapl.calibration").strip()
    before = load_settings()
    cli("config", "meter.rapl.calibration", shown)
    assert load_settings() == before


def test_a_setting_is_written_shown_and_removed_and_the_rest_stays(file, cli):
    file.write_text(KEPT)
    assert "limits.runs = 500" in cli("config", "limits.runs", "500")
    assert cli("config", "limits.runs").strip() == "500"
    assert load_settings() == {"carbon": {"place": "NLD"}, "limits": {"runs": 500}}
    cli("config", "--unset", "limits.runs")
    assert file.read_text().rstrip() == KEPT.rstrip()


def test_each_setting_says_where_it_comes_from(file, cli, monkeypatch):
    cli("config", "carbon.pue", "1.2")
    assert origins(cli)["carbon.pue"] == str(file)
    assert origins(cli)["limits.runs"] == "default"
    monkeypatch.setenv("JOULELAB_CARBON", "412")
    assert origins(cli)["carbon.place"] == "JOULELAB_CARBON"


def test_a_password_is_written_and_not_shown(file, cli):
    assert "hunter2" not in cli("config", "meter.shelly.password", "hunter2")
    assert "hunter2" not in cli("config") + cli("config", "--json")
    assert load_settings()["meter"]["shelly"]["password"] == "hunter2"


def test_a_place_in_a_file_is_found_from_every_folder(file, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.csv").write_text(
        "time,g_per_kwh\n2026-01-01T00:00Z,300\n2026-01-01T01:00Z,200\n"
    )
    cli("config", "carbon.place", "grid.csv")
    assert load_settings()["carbon"]["place"] == str(tmp_path / "grid.csv")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["carbon.plce", "NLD"], "did you mean 'carbon.place'?"),
        (["carbon.place", "Atlantis"], "unknown place"),
        (["carbon.pue", "0.5"], "PUE of 0.5"),
        (["carbon.pue", "good"], "PUE"),
        (["limits.runs", "many"], "above 0"),
        (["meter.nvml", "3"], "meter.NAME.SETTING"),
        (["meter.nvidia.gpus", "3"], "nvml"),
        (["meter.nvml.color", "3"], "has no setting 'color'"),
        (["limits.runs", "3", "--unset"], "takes no value"),
        (["--unset"], "which setting"),
        (["meter.shelly.address"], "is not set"),
    ],
)
def test_what_nothing_could_use_is_refused_and_nothing_is_written(file, cli, arguments, said):
    file.write_text(KEPT)
    assert said in cli("config", *arguments, code=2)
    assert file.read_text().rstrip() == KEPT.rstrip()


def test_help_lists_the_guides_and_shows_one(cli):
    assert "carbon         Carbon dioxide of measured energy" in cli("help")
    assert cli("help", "carbon").startswith("# Carbon dioxide")


def test_help_of_a_command_is_its_own_help(cli):
    assert "Usage: joulelab run [OPTIONS] {STUDY}" in cli("help", "run")


def test_help_suggests_the_nearest_topic(cli):
    assert "did you mean 'carbon'?" in cli("help", "carbn", code=2)
