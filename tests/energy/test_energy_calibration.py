"""The setting calibration of any meter, and the settings file that keeps it."""

import tomllib

import pytest
from fake_meter import FakeMeter, channel
from fake_plug import FakeShelly

from joulelab.energy.conformance import check_meter
from joulelab.energy.detection import EVERY, CalibratedMeter, find_meters, open_recorder
from joulelab.energy.meters.nvml import factors_by_uuid
from joulelab.errors import SettingsError
from joulelab.settings import CalibrationFactor, kept_calibration, save_calibration


@pytest.fixture
def settings(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "settings.toml"
    monkeypatch.setenv("JOULELAB_SETTINGS", str(path))

    def write(text):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def values(meter):
    return [sample.value for sample in meter.sample()]


def test_energy_and_power_of_a_domain_are_multiplied_and_the_bound_stays():
    inner = FakeMeter(
        (channel("cpu:0", relative_error=0.4, resolution_j=0.5), lambda: 100.0),
        (channel("gpu:0", kind="power"), lambda: 50.0),
        (channel("dram:0"), lambda: None),
    )
    meter = CalibratedMeter(inner, {"cpu:0": 1.1, "dram:0": 2.0})
    assert values(meter) == [pytest.approx(110.0), 50.0, None]
    cpu, gpu, _ = meter.channels
    assert (cpu.relative_error, cpu.calibration) == (0.4, 1.1)
    assert cpu.resolution_j == pytest.approx(0.55)
    assert "calibrated by 1.1" in cpu.remark
    assert gpu == inner.channels[1]
    assert meter.describe() == {"cpu:0 calibration": "1.1", "dram:0 calibration": "2"}
    meter.close()
    assert inner.closed == 1


def test_a_calibrated_meter_keeps_the_contract_of_meters():
    class Sensor(FakeMeter):
        def sample(self):
            return (
                [type(one)(None, "closed") for one in super().sample()]
                if self.closed
                else (super().sample())
            )

    check_meter(lambda: CalibratedMeter(Sensor((channel(tick_s=0.1), lambda: 5.0)), {EVERY: 1.5}))


def test_every_meter_takes_it_from_the_settings_file_and_the_name_comes_before(settings):
    with FakeShelly(power_w=100.0, total_j=None) as plug:
        settings('[meter.shelly]\ncalibration = { wall = 1.1, "wall:1" = 2 }\n')
        for name, watts in (
            (f"shelly:{plug.address}", 110.0),
            (f"shelly:{plug.address}?domain=wall:1", 200.0),
            (f"shelly:{plug.address}?calibration=0.5", 50.0),
        ):
            (meter,) = find_meters([name]).meters
            assert values(meter) == [pytest.approx(watts)]
            meter.close()


def test_a_calibration_is_in_the_manifest_and_estimates_take_it_too(settings):
    settings("[meter.estimate]\ncalibration = 1.25\ntdp_w = 50\n")
    with open_recorder(["estimate"]) as recorder:
        told = recorder.describe()
    assert [one["calibration"] for one in told["channels"]] == [1.25, 1.25]
    assert [one["meter"] for one in told["channels"]] == ["estimate", "estimate"]
    assert told["meters"]["estimate"]["cpu:0 calibration"] == "1.25"


@pytest.mark.parametrize(
    "factor", ["0", "-1.06", "inf", "nan", "true", '"1.06"', '{ "cpu:0" = 0 }']
)
@pytest.mark.parametrize("meter", ["estimate", "codecarbon", "rapl", "nvml"])
def test_an_impossible_factor_is_refused_with_file_and_key(settings, factor, meter):
    path = settings(f"[meter.{meter}]\ncalibration = {factor}\n")
    with pytest.raises(SettingsError, match="is not a positive number") as caught:
        find_meters([meter])
    assert f"{path}: [meter.{meter}] calibration" in caught.value.message


def test_a_key_that_is_no_domain_or_no_card_is_refused(settings):
    settings('[meter.estimate]\ncalibration = { "CPU 0" = 1.1 }\n')
    with pytest.raises(SettingsError, match="'CPU 0' is not the name of a domain"):
        find_meters(["estimate"])
    with pytest.raises(SettingsError, match="'gpu:0' is not the UUID"):
        factors_by_uuid({"gpu:0": 1.06})


def test_nvml_takes_one_number_for_all_cards(scenario):
    out = scenario(
        """
meter = NvmlMeter(calibration=2)
out["watts"] = [one.value for one in meter.sample()]
out["factors"] = [one.calibration for one in meter.channels]
out["bounds"] = [one.relative_error for one in meter.channels]
""",
        GPUS=2,
        TIME_MS=1000,
    )
    assert out["factors"] == [2.0] * 4
    assert out["bounds"] == [0.05] * 4
    assert out["watts"][0] == 400.0


def factor(meter="codecarbon", key="cpu:0", value=1.06234567, comment="2026-11-22: n = 24"):
    return CalibrationFactor(meter, key, value, comment)


def test_a_factor_is_written_beside_what_the_user_has_written(settings):
    path = settings(
        "# my machine\n[meter.shelly]\naddress = '10.0.0.7' # under the desk\n\n"
        "[carbon]\nplace = 'NLD'\n"
    )
    path.chmod(0o600)
    save_calibration([factor(), factor("shelly", "wall", 1.02)])
    text = path.read_text()
    assert "# my machine\n" in text
    assert "address = '10.0.0.7' # under the desk" in text
    assert '"cpu:0" = 1.06235 # 2026-11-22: n = 24' in text
    tables = tomllib.loads(text)
    assert tables["carbon"] == {"place": "NLD"}
    assert tables["meter"]["codecarbon"]["calibration"] == {"cpu:0": 1.06235}
    assert tables["meter"]["shelly"] == {"address": "10.0.0.7", "calibration": {"wall": 1.02}}
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_not_there_yet_is_made(settings, tmp_path):
    path = save_calibration([factor()])
    assert path == tmp_path / "folder" / "settings.toml"
    assert kept_calibration("codecarbon") == {"cpu:0": 1.06235}


@pytest.mark.parametrize(
    "before",
    [
        "[meter.codecarbon]\ncalibration = { 'cpu:0' = 1.5, 'gpu:0' = 1.1 }\ncountry = 'NLD'\n",
        "[meter.codecarbon]\ncountry = 'NLD'\n[meter.codecarbon.calibration]\n"
        "'cpu:0' = 1.5 # old\n'gpu:0' = 1.1 # of the card\n",
        "[meter]\ncodecarbon = { country = 'NLD', calibration = { 'cpu:0' = 1.5, "
        "'gpu:0' = 1.1 } }\n",
        "meter.codecarbon.country = 'NLD'\nmeter.codecarbon.calibration.'cpu:0' = 1.5\n"
        "meter.codecarbon.calibration.'gpu:0' = 1.1\n",
    ],
)
def test_an_older_factor_is_replaced_and_the_others_stay(settings, before):
    path = settings(before)
    assert kept_calibration("codecarbon")["cpu:0"] == 1.5
    save_calibration([factor()])
    assert tomllib.loads(path.read_text())["meter"]["codecarbon"] == {
        "country": "NLD",
        "calibration": {"cpu:0": 1.06235, "gpu:0": 1.1},
    }
    if "# of the card" in before:
        assert "# of the card" in path.read_text()


def test_one_number_for_all_becomes_one_for_each_domain(settings):
    settings("[meter.codecarbon]\ncalibration = 1.5\n")
    known = ["cpu:0", "dram:0"]
    assert kept_calibration("codecarbon", known) == {"cpu:0": 1.5, "dram:0": 1.5}
    save_calibration([factor()], {"codecarbon": known})
    assert kept_calibration("codecarbon") == {"cpu:0": 1.06235, "dram:0": 1.5}


def test_a_link_stays_a_link_and_a_folder_that_cannot_be_written_is_said(settings, tmp_path):
    path = settings("")
    target = tmp_path / "dotfiles.toml"
    target.write_text("[carbon]\nplace = 'NLD'\n")
    path.unlink()
    path.symlink_to(target)
    save_calibration([factor()])
    assert path.is_symlink()
    assert "codecarbon" in target.read_text()
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match="cannot be"):
        save_calibration([factor()])
