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


def test_a_password_that_is_refused_is_not_shown(file, cli):
    refused = cli("config", "meter.shelly.password", '["hunter2"]', code=2)
    assert "give a text" in refused
    assert "hunter2" not in refused


def test_settings_of_the_right_type_are_taken(file, cli):
    for key, value in {
        "meter.estimate.tdp_w": "95",
        "meter.nvml.gpus": "[0, 1]",
        "meter.rapl.root": "/sys/class/powercap",
        "meter.shelly.password": "1234",
    }.items():
        cli("config", key, value)
    assert load_settings()["meter"] == {
        "estimate": {"tdp_w": 95},
        "nvml": {"gpus": [0, 1]},
        "rapl": {"root": "/sys/class/powercap"},
        "shelly": {"password": 1234},
    }


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
        (["limits.runs", "2.5"], "whole number above 0"),
        (["limits.memory_gb", "inf"], "a number above 0"),
        (["carbon.pue", "true"], "PUE"),
        (["meter.estimate.tdp_w", "abc"], "give a number"),
        (["meter.estimate.tdp_w", "0"], "above 0"),
        (["meter.estimate.scope", "galaxy"], "one of tree, machine"),
        (["meter.estimate.measured", "[]"], "has no setting 'measured'"),
        (["meter.zeus.nvidia", "yes"], "give true or false"),
        (["meter.zeus.drm", "[7]"], "give a text or a path"),
        (["meter.rapl.root", "[1]"], "give a text or a path"),
        (["meter.rapl.calibration", "abc"], "is not a positive number"),
        (["meter.nvml.gpus", '["a"]'], "gpus"),
        (["meter.nvml.power_field", "now"], "power_field"),
        (["meter.shelly.switch", "first"], "give a whole number"),
        (["meter.shelly.poll_s", "0"], "above 0"),
        (["meter.codecarbon.measure_power_secs", "soon"], "give a number"),
        (["meter.replay.interval", "0"], "above 0"),
        (["meter.replay.timezone", "Mars/Base"], "Mars/Base"),
        (["limits.runs", "3", "--unset"], "takes no value"),
        (["--unset"], "which setting"),
        (["--unset", "carbon.pue"], "carbon.pue is not set"),
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
    assert "Usage: joulelab predict [OPTIONS] COMMAND" in cli("help", "predict")
    for words in (["predict", "step"], ["predict step"], ["joulelab", "predict", "step"]):
        assert "Usage: joulelab predict step [OPTIONS]" in cli("help", *words)
    assert "there is no topic 'predict stop'" in cli("help", "predict", "stop", code=2)


def test_help_suggests_the_nearest_topic(cli):
    assert "did you mean 'carbon'?" in cli("help", "carbn", code=2)


def test_settings_that_nothing_reads_are_told(file, cli):
    file.write_text("[meter.kitchen-scale]\nscale = 2\n")
    assert "no meter called 'kitchen-scale' is known here" in cli("config")
    file.write_text("[meter.raple]\ncalibration = 2\n")
    assert "did you mean 'rapl'?" in cli("config", code=2)
