"""Meters as they are named, and the settings file."""

import pytest

from joulelab.energy.detection import Choice, find_meters
from joulelab.errors import MeterError, SettingsError, UnknownNameError


@pytest.fixture
def settings(tmp_path, monkeypatch):
    def write(text):
        path = tmp_path / "settings.toml"
        path.write_text(text)
        monkeypatch.setenv("JOULELAB_SETTINGS", str(path))

    return write


def test_a_meter_is_named_with_address_and_settings():
    assert Choice.parse("nvml") == Choice("nvml", {})
    assert Choice.parse("shelly:192.168.1.20:8080?switch=1&domain=wall:1") == Choice(
        "shelly", {"address": "192.168.1.20:8080", "switch": 1, "domain": "wall:1"}
    )
    assert Choice.parse("replay:t.csv?where=run=7&loop=true").settings == {
        "address": "t.csv",
        "where": "run=7",
        "loop": True,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("0.5", 0.5), ("0123", "0123"), ("1.2.3.4", "1.2.3.4"), ("true", True)],
)
def test_a_setting_is_a_number_only_where_nothing_is_lost(text, value):
    assert Choice.parse(f"nvml?x={text}").settings["x"] == value


def test_a_name_nobody_has_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="'shely'") as caught:
        Choice.parse("shely:10.0.0.1")
    assert "shelly" in caught.value.hint


def test_a_password_in_the_name_of_a_meter_is_refused():
    with pytest.raises(SettingsError, match="would be visible to others") as caught:
        Choice.parse("shelly:10.0.0.1?password=secret")
    assert "secret" not in str(caught.value)
    assert "JOULELAB_SHELLY_PASSWORD" in caught.value.hint


def test_the_settings_file_reaches_the_meter_and_the_name_comes_before_it(settings):
    settings("[meter.estimate]\ntdp_w = 50.0\n")
    (meter,) = find_meters(["estimate"]).meters
    assert "50 W TDP given by the user" in meter.channels[0].remark
    (meter,) = find_meters(["estimate?tdp_w=70"]).meters
    assert "70 W TDP given by the user" in meter.channels[0].remark


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[meter.estimate]\ntpd_w = 50\n", "no setting 'tpd_w'"),
        ("[meter.shelly]\naddres = '1.2.3.4'\n", "'shelly' has no setting 'addres'"),
        ("[meter.estimate]\nmeasured = []\n", "'estimate' has no setting 'measured'"),
        ("[meter.nvlm]\n", r"\[meter.nvlm\]: no meter is called 'nvlm'"),
        ("[metre.nvml]\n", r"\[metre\] is not a table of settings"),
        ("[meter]\nestimate = 3\n", "meter.estimate is not a table"),
        ("not toml", "cannot be read"),
    ],
)
def test_a_mistake_in_the_settings_file_is_said_with_the_file(settings, text, words, tmp_path):
    settings(text)
    with pytest.raises(SettingsError, match=words) as caught:
        find_meters(["estimate"])
    assert str(tmp_path) in caught.value.message


def test_a_misspelt_meter_is_told_the_nearest_name(settings):
    settings("[meter.raple]\ncalibration = 1.1\n")
    with pytest.raises(SettingsError) as caught:
        find_meters(["estimate"])
    assert caught.value.hint == "did you mean 'rapl'?"


def test_settings_of_a_plug_in_that_is_not_loaded_stop_nothing(settings):
    settings("[meter.watt-file]\naddress = 'watts'\n[meter.shelly]\ncalibration = 1.02\n")
    assert find_meters(["estimate"]).meters


def test_settings_of_a_meter_that_there_is_not_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'estimate'"):
        find_meters(["estimate"], settings={"estimat": {"tdp_w": 95}})


def test_a_settings_file_that_was_named_and_is_not_there_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("JOULELAB_SETTINGS", str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match="does not exist"):
        find_meters(["estimate"])


def test_two_meters_of_one_domain_by_one_means_are_refused(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("t_s,power_w\n0,10\n1,10\n")
    with pytest.raises(MeterError, match="two meters read gpu:0"):
        find_meters([f"replay:{log}", f"replay:{log}"])
    found = find_meters([f"replay:{log}", f"replay:{log}?domain=gpu:1"])
    assert [c.domain for meter in found.meters for c in meter.channels] == ["gpu:0", "gpu:1"]


def test_a_meter_that_needs_an_address_is_not_looked_for_by_itself():
    names = {meter.name for meter in find_meters().meters}
    assert not names & {"replay", "shelly", "tasmota", "codecarbon"}
