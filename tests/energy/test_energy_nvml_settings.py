"""What a user may set of the NVML meter, by settings file, by name and from Python."""

import pytest

from joulelab.energy.meters.nvml import factors_by_uuid, gpu_numbers, known_power_field
from joulelab.errors import SettingsError

INSTANT, AVERAGE = "NVML_FI_DEV_POWER_INSTANT", "NVML_FI_DEV_POWER_AVERAGE"
ORDINARY = "nvmlDeviceGetPowerUsage"


def test_a_calibrated_card_is_scaled_and_has_the_smaller_bound(scenario):
    out = scenario(
        """
factors = {"ABCD0001-0000-1111-2222-333344445555": 1.06}
meter = NvmlMeter(calibration=factors)
out["values"] = [value for value, _, _ in samples(meter)]
out["errors"] = [channel.relative_error for channel in meter.channels]
out["steps"] = [channel.resolution_j for channel in meter.channels]
out["factor"] = meter.describe()["gpu:1 calibration"]
meter.close()
meters, _ = NvmlDetector(factors).detect()
out["detected"] = [value for value, _, _ in samples(meters[0])]
meters[0].close()
out["refused"] = refused(lambda: NvmlMeter(calibration={"GPU-1": 0.0}))
out["opened"] = opened()
""",
        GPUS=2,
        TIME_MS=1000,
    )
    assert out["values"] == pytest.approx([200.0, 207.0, 424.0, 431.42])
    assert out["detected"] == out["values"]
    assert out["errors"] == [0.13, 0.13, 0.05, 0.05]
    assert out["steps"] == pytest.approx([0.001, 0, 0.00106, 0])
    assert out["factor"] == "1.06"
    assert out["refused"][0] == "SettingsError"
    assert out["opened"] == 0


def test_the_power_field_that_is_asked_for_is_read_where_the_driver_has_it(scenario):
    out = scenario("""
def field(**answers):
    stub(**answers)
    [meter], _ = NvmlDetector(power_field="average").detect()
    power = meter.channels[1]
    found = [meter.describe()["gpu:0 power_field"], samples(meter)[1][0], power.tick_s,
             power.remark.partition(";")[0]]
    meter.close()
    stub(**dict.fromkeys(answers))
    return found

out["there"] = field()
out["not there"] = field(AVERAGE=3)
out["zero"] = field(POWER_MW=0)
""")
    assert out["there"] == [AVERAGE, 203.0, 1.0, f"{AVERAGE} (mean of 1000 ms, new every 100 ms)"]
    ordinary = f"{ORDINARY} (mean of 1000 ms, new every 100 ms)"
    assert out["not there"] == [ORDINARY, 200.0, 1.0, ordinary]
    assert out["zero"] == [ORDINARY, 0.0, 1.0, ordinary]


def test_only_the_gpus_that_are_named_are_read(scenario):
    out = scenario(
        """
out["text"] = found(NvmlDetector(gpus="0,2"))
out["list"] = found(NvmlDetector(gpus=[2]))
out["split"] = found(NvmlDetector(gpus=[1, 2]))
out["too many"] = refused(lambda: NvmlDetector(gpus="1,3").detect())
out["negative"] = refused(lambda: NvmlMeter([-1]))
out["opened"] = opened()
""",
        GPUS=3,
        MIG=1,
    )
    assert out["text"] == [["gpu:0", "gpu:0", "gpu:2", "gpu:2"], []]
    assert out["list"] == [["gpu:2", "gpu:2"], []]
    domains, [[refused, _, _]] = out["split"]
    assert (domains, refused) == (["gpu:2", "gpu:2"], "gpu:1")
    for error, gpu in ((out["too many"], 3), (out["negative"], -1)):
        assert error == [
            "MeterError",
            f"there is no GPU {gpu}: NVML counts 3, from 0",
            "`nvidia-smi -L` lists them",
        ]
    assert out["opened"] == 0


def test_settings_come_from_the_file_and_from_the_name(scenario, tmp_path, monkeypatch):
    settings = tmp_path / "settings.toml"
    settings.write_text(
        "[meter.nvml]\ngpus = [1]\npower_field = 'average'\n"
        "calibration = { 'GPU-ABCD0001-0000-1111-2222-333344445555' = 2 }\n"
    )
    monkeypatch.setenv("JOULELAB_SETTINGS", str(settings))
    out = scenario(
        """
from joulelab.energy.detection import find_meters
for name in ("nvml", "nvml?power_field=instant", "nvml?gpus=0,1", "nvml?gpus=0"):
    [meter] = find_meters([name]).meters
    out[name] = [[c.domain, s.value] for c, s in zip(meter.channels, meter.sample())]
    meter.close()
out["wrong"] = refused(lambda: find_meters(["nvml?power_field=averag"]))
""",
        GPUS=2,
        TIME_MS=1000,
    )
    assert out["nvml"] == [["gpu:1", 800.0], ["gpu:1", 806.0]]
    assert out["nvml?power_field=instant"] == [["gpu:1", 800.0], ["gpu:1", 814.0]]
    assert [domain for domain, _ in out["nvml?gpus=0,1"]] == ["gpu:0"] * 2 + ["gpu:1"] * 2
    assert out["nvml?gpus=0"] == [["gpu:0", 200.0], ["gpu:0", 203.0]]
    kind, message, hint = out["wrong"]
    assert kind == "SettingsError"
    assert "averag" in message
    assert hint == "did you mean 'average'?"


@pytest.mark.parametrize("calibration", ["1.06", True, [1.06], ["GPU-1", 1.06]])
def test_a_calibration_that_is_neither_number_nor_table_is_refused(calibration):
    with pytest.raises(SettingsError, match="is not a positive number"):
        factors_by_uuid(calibration)


@pytest.mark.parametrize("factor", ["1.06", True, 0, -1.0, float("nan"), float("inf"), None])
def test_a_factor_that_cannot_be_right_is_refused(factor):
    with pytest.raises(SettingsError, match="of GPU-1 is not a positive number"):
        factors_by_uuid({"GPU-2": 1.06, "GPU-1": factor})


def test_a_calibration_finds_its_card_however_the_uuid_is_written():
    assert factors_by_uuid({"GPU-ABCD": 1.06, "ef01": 2}) == {"abcd": 1.06, "ef01": 2.0}
    assert factors_by_uuid(None) == {}


def test_gpus_are_numbers_a_number_or_a_text():
    assert gpu_numbers(None) is None
    assert gpu_numbers(2) == (2,)
    assert gpu_numbers("2, 0") == (0, 2)
    assert gpu_numbers([1, 1, 0]) == (0, 1)


@pytest.mark.parametrize("gpus", ["", "a", "0,", "-1", "0.5", [], [-1], [True], ["0"], 1.5, {}])
def test_gpus_that_number_nothing_are_refused(gpus):
    with pytest.raises(SettingsError, match="gpus"):
        gpu_numbers(gpus)


@pytest.mark.parametrize("name", ["mean", "", None, 3])
def test_a_power_field_that_nobody_has_is_refused(name):
    with pytest.raises(SettingsError, match="power_field"):
        known_power_field(name)
