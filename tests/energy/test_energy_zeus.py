"""The real Zeus over stand-ins for what lies below it: amdsmi, Apple's library, sysfs, NVML."""

import os
from pathlib import Path

import pytest
from nvml_stub import run_program

from joulelab.energy.detection import find_meters
from joulelab.energy.meter import meters
from joulelab.energy.meters import zeus_meter
from joulelab.energy.meters.zeus_devices import counter, energy_sample, power_sample
from joulelab.energy.meters.zeus_meter import ZeusDetector
from joulelab.energy.reading import Reading, Status, total
from joulelab.errors import MeterError, SettingsError

STUBS = Path(__file__).parent / "stubs"

DETECT = """
import contextlib, io, logging
from joulelab.energy.meters.zeus_meter import ZeusDetector
from joulelab.energy.conformance import check_meter

said = io.StringIO()
logging.basicConfig(stream=said, level=logging.DEBUG)

def look(**settings):
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        meters, missing = ZeusDetector(**settings).detect()
    return meters, [[one.domain, one.reason, one.remedy] for one in missing]

def table(meter):
    return {c.domain + " " + c.kind: [c.source, c.status, list(c.within)] for c in meter.channels}

def values(meter):
    return {
        c.domain + " " + c.kind: s.value if s.value is not None else s.reason
        for c, s in zip(meter.channels, meter.sample(), strict=True)
    }

def given(**variables):
    os.environ.update({name: str(value) for name, value in variables.items()})
"""


@pytest.fixture
def nothing(tmp_path):
    """The places where the detector looks, of a machine that has nothing for it."""
    return {"drm": tmp_path, "device_tree": tmp_path, "nvidia_driver": tmp_path / "nvidia"}


@pytest.fixture
def amd(tmp_path):
    """Settings of a detector on a machine with an AMD card, as text of a program."""
    card = tmp_path / "drm" / "card1" / "device"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x1002\n")
    places = {
        "drm": tmp_path / "drm",
        "device_tree": tmp_path,
        "nvidia_driver": tmp_path / "nvidia",
    }
    return {name: str(path) for name, path in places.items()}


def run_amd(settings, program, **variables):
    program = f"{DETECT}\nsettings = {settings!r}\n{program}"
    path = os.pathsep.join([str(STUBS / "amd"), os.environ.get("PYTHONPATH", "")])
    free = {"HIP_VISIBLE_DEVICES": "0,1", "AMD_GPUS": "2", "AMD_WATTS": "200,300"}
    return run_program(program, free | {"PYTHONPATH": path} | variables)


def test_a_machine_without_any_of_it_costs_no_import(nothing):
    places = {name: str(path) for name, path in nothing.items()}
    program = f"""
import sys
from joulelab.energy.meters.zeus_meter import ZeusDetector
out["found"] = ZeusDetector(**{places!r}).detect()
out["imported"] = "zeus" in sys.modules
"""
    assert run_program(program, {}) == {"found": [[], []], "imported": False}
    assert ZeusDetector.automatic
    assert meters.get("zeus") is ZeusDetector


def test_without_the_extra_the_remedy_is_to_install_it(amd, monkeypatch):
    find_spec = zeus_meter.importlib.util.find_spec
    monkeypatch.setattr(
        zeus_meter.importlib.util,
        "find_spec",
        lambda name, *more: None if name == "zeus" else find_spec(name, *more),
    )
    found, [missing] = ZeusDetector(**amd).detect()
    assert found == []
    assert (missing.domain, missing.reason) == ("gpu", "an AMD GPU that needs zeus")
    assert missing.remedy == "pip install 'joulelab[zeus]'"
    with pytest.raises(MeterError, match="an AMD GPU that needs zeus") as caught:
        find_meters(["zeus"], settings={"zeus": amd})
    assert caught.value.hint == "pip install 'joulelab[zeus]'"
    with pytest.raises(MeterError, match="an NVIDIA GPU that needs zeus"):
        find_meters(["zeus?nvidia=true"], settings={"zeus": {"drm": "/nonexistent"}})


def test_amd_gpus_by_counter_and_power(amd):
    out = run_amd(
        amd,
        """
[meter], out["missing"] = look(**settings)
out["channels"] = table(meter)
out["bounds"] = [[c.relative_error, c.tick_s, c.remark] for c in meter.channels]
out["about"] = dict(meter.describe())
given(AMD_JOULES=5000)
out["first"] = values(meter)
given(AMD_JOULES=5125.5, AMD_WATTS="250,310")
out["later"] = values(meter)
given(AMD_LOST=1)
out["one lost"] = values(meter)
given(AMD_LOST="", AMD_JOULES=4)
out["reset"] = values(meter)
given(AMD_JOULES=6000)
out["after"] = values(meter)
meter.close()
out["closed"] = values(meter)
given(AMD_JOULES="")
check_meter(lambda: look(**settings)[0][0])
out["said"] = said.getvalue()
""",
    )
    assert out["missing"] == []
    for hip in (0, 1):
        counter, power = (out["channels"][f"gpu:{hip} {kind}"] for kind in ("counter", "power"))
        assert counter == ["zeus-counter", "measured", ["wall"]]
        assert power == ["zeus-power", "measured", ["wall"]]
        assert out["about"][f"gpu:{hip} name"] == "AMD Stub MI300X"
    assert all(bound == 0.13 and tick_s == 0.1 for bound, tick_s, _ in out["bounds"])
    assert all("AMD states no bound" in remark for _, _, remark in out["bounds"])
    assert out["about"]["zeus"].startswith("0.")
    step_j = 2 * 0.001 + 2 * 15.3e-6
    assert out["first"]["gpu:0 counter"] == pytest.approx(5000, abs=step_j)
    assert out["later"]["gpu:1 counter"] == pytest.approx(5125.5, abs=step_j)
    assert [out["later"][f"gpu:{hip} power"] for hip in (0, 1)] == [250.0, 310.0]
    assert out["one lost"]["gpu:0 power"] == 250.0
    assert "AMDSMI_STATUS 4294967295" in out["one lost"]["gpu:1 counter"]
    assert "counter fell from 5125.5 to" in out["reset"]["gpu:0 counter"]
    assert out["after"]["gpu:0 counter"] == out["reset"]["gpu:0 counter"]
    assert out["after"]["gpu:0 power"] == 250.0
    assert set(out["closed"].values()) == {"closed"}
    assert out["said"] == ""


def test_amd_gpus_that_lack_a_sensor_or_share_it(amd):
    """A counter that Zeus does not trust; average power only; the second die of an MI250."""
    out = run_amd(
        amd | {"nvidia_driver": amd["drm"]},
        """
from joulelab.energy.meters import zeus_meter
[meter], out["missing"] = look(**settings)
out["channels"] = table(meter)
meter.close()
zeus_meter._amd_gpus.cache_clear()
given(AMD_WATTS=",", AMD_AVERAGE=190, AMD_JOULES=7)
[meter], _ = look(**settings)
out["average"] = table(meter)
out["values"] = values(meter)
meter.close()
""",
        AMD_NAME="Stub MI250X",
        AMD_WATTS="400,0",
    )
    assert list(out["channels"]) == ["gpu:amd0 counter", "gpu:amd0 power"]
    [[domain, reason, _]] = out["missing"]
    assert domain == "gpu:amd1"
    assert "neither energy nor power" in reason
    assert "chiplet" in reason
    assert out["values"] == {"gpu:amd0 power": 190.0, "gpu:amd1 power": 190.0}


def test_an_amd_gpu_whose_counter_stands_still_is_missing_where_it_says_no_power(amd):
    out = run_amd(
        amd,
        """
from joulelab.energy.recorder import Recorder
given(AMD_JOULES=7)
meters, _ = look(**settings)
given(AMD_WATTS=",")
with Recorder(meters, interval_s=0.02) as recorder, recorder.open("w") as window:
    time.sleep(0.1)
readings = window.measurement.readings
out["readings"] = [[one.domain, one.status, one.gross_j] for one in readings]
""",
        AMD_GPUS="1",
        HIP_VISIBLE_DEVICES="0",
        AMD_WATTS="200",
    )
    assert out["readings"] == [["gpu:0", "missing", None]]


def test_an_amd_gpu_that_amdsmi_does_not_open(amd):
    out = run_amd(amd, 'out["found"] = look(**settings)', AMD_INIT="34")
    found, [[domain, reason, remedy]] = out["found"]
    assert found == []
    assert domain == "gpu"
    assert "amdsmi cannot be used" in reason
    assert "ROCm" in remedy


# Zeus is imported first: what it is built on would look for parts of macOS that are not here.
APPLE = """
import platform, sys
import zeus.device.soc
platform.system, platform.machine = (lambda: "Darwin"), (lambda: "arm64")
platform.processor, sys.platform = (lambda: "arm"), "darwin"
"""


def run_apple(program, **variables):
    path = os.pathsep.join([str(STUBS / "apple"), os.environ.get("PYTHONPATH", "")])
    return run_program(
        f"import sys\n{DETECT}\n{APPLE}\n{program}",
        {"PYTHONPATH": path, "APPLE_MS": "0"} | variables,
    )


def test_apple_silicon_counts_its_parts_once(nothing):
    places = {name: str(path) for name, path in nothing.items()}
    out = run_apple(
        f"""
[meter], out["missing"] = look(**{places!r})
out["channels"] = table(meter)
given(APPLE_MS=1000)
values(meter)
given(APPLE_MS=3000)
out["values"] = values(meter)
given(APPLE_LACKS="ane_mj")
out["lacks"] = values(meter)
given(APPLE_LACKS="", APPLE_MS="gone")
out["gone"] = values(meter)
meter.close()
given(APPLE_MS=9000)
check_meter(lambda: look(**{places!r})[0][0])
out["said"] = said.getvalue()
"""
    )
    assert out["missing"] == []
    assert out["values"] == {
        "cpu:0 counter": 30.0,
        "ecluster:0 counter": 6.0,
        "pcluster:0 counter": 9.0,
        "pcluster:1 counter": 12.0,
        "gpu:0 counter": 60.0,
        "gpusram:0 counter": 3.0,
        "dram:0 counter": 9.0,
        "ane:0 counter": 15.0,
    }
    readings = [
        Reading(key.split()[0], source, Status(status), value, 0.0, None, 3.0, within=tuple(within))
        for (key, (source, status, within)), value in zip(
            out["channels"].items(), out["values"].values(), strict=True
        )
    ]
    whole = total(readings)
    assert whole.domains == ("cpu:0", "gpu:0", "dram:0", "ane:0")
    assert whole.gross_j == 30.0 + 60.0 + 9.0 + 15.0
    assert out["lacks"]["ane:0 counter"] == "ane:0: Zeus has no value"
    assert out["lacks"]["cpu:0 counter"] == 30.0
    assert "IOReport does not answer" in out["gone"]["cpu:0 counter"]
    assert out["said"] == ""


def test_apple_silicon_without_its_library(nothing):
    places = {name: str(path) for name, path in nothing.items()}
    out = run_program(f"{DETECT}\n{APPLE}\nout['found'] = look(**{places!r})", {"APPLE_MS": "0"})
    found, [[domain, reason, remedy]] = out["found"]
    assert (found, domain) == ([], "cpu")
    assert "Apple silicon that Zeus cannot open" in reason
    assert remedy == "pip install 'joulelab[zeus]'"


@pytest.fixture
def jetson(tmp_path):
    """A Jetson's device tree, and the rails of its INA3221 as its kernel shows them."""
    tree = tmp_path / "device-tree"
    tree.mkdir()
    (tree / "compatible").write_bytes(b"nvidia,p3767-0000\0nvidia,tegra234\0")
    sensor = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    sensor.mkdir(parents=True)

    def rails(*labels):
        for number, label in enumerate(labels, start=1):
            (sensor / f"in{number}_label").write_text(f"{label}\n")
            (sensor / f"in{number}_input").write_text("5000\n")
            (sensor / f"curr{number}_input").write_text(f"{number}000\n")
        return {"drm": str(tmp_path), "device_tree": str(tree)}, tmp_path

    return rails


def run_jetson(settings, root, program):
    """With sysfs as Zeus knows it moved to a folder: that is all that is simulated of the board."""
    return run_program(
        f"""{DETECT}
import zeus.device.soc.jetson as zeus_jetson
zeus_jetson.Path = lambda path: Path(str({str(root)!r}) + path if str(path).startswith("/sys/") and
                                     not str(path).startswith({str(root)!r}) else path)
settings = {settings!r}
{program}
""",
        {},
    )


def test_a_jetson_by_its_rails(jetson):
    settings, root = jetson("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")
    out = run_jetson(
        settings,
        root,
        f"""
import multiprocessing
[meter], out["missing"] = look(**settings)
out["channels"] = table(meter)
out["values"] = values(meter)
out["about"] = dict(meter.describe())
(Path({str(root)!r}) / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr2_input").unlink()
out["gone"] = values(meter)
out["processes"] = len(multiprocessing.active_children())
meter.close()
check_meter(lambda: look(**settings)[0][0])
""",
    )
    assert out["channels"] == {
        "psys:0 power": ["zeus-power", "measured", ["wall"]],
        "soc:0 power": ["zeus-power", "measured", ["psys:0", "wall"]],
    }
    assert out["values"] == {"psys:0 power": 5.0, "soc:0 power": 10.0}
    assert out["about"]["soc:0 rail"] == "VDD_CPU_GPU_CV"
    assert out["gone"]["psys:0 power"] == 5.0
    assert "curr2_input" in out["gone"]["soc:0 power"]
    assert out["processes"] == 0


def test_a_jetson_with_a_rail_each_and_one_with_none(jetson):
    settings, root = jetson("VDD_GPU_SOC", "VDD_CPU_CV")
    out = run_jetson(settings, root, 'out["values"] = values(look(**settings)[0][0])')
    assert out["values"] == {"gpu:0 power": 5.0, "cpu:0 power": 10.0}
    out = run_jetson(settings, root / "elsewhere", 'out["found"] = look(**settings)')
    found, [[_, reason, _]] = out["found"]
    assert found == []
    assert "no rail" in reason


def test_nvidia_gpus_through_zeus_say_what_nvml_says(scenario, nothing):
    places = {name: str(path) for name, path in nothing.items()}
    out = scenario(
        f"""{DETECT}
places = {places!r}
out["not asked for"] = look(**places)
[meter], out["missing"] = look(nvidia=True, **places)
nvml = NvmlMeter()
out["channels"] = table(meter)
stub(TIME_MS=1050)
out["zeus"], out["nvml"] = values(meter), values(nvml)
out["about"] = dict(meter.describe())
stub(LOST=1)
out["lost"] = values(meter)
stub(LOST=None)
held = opened()
meter.close()
out["let go of"] = held - opened()
nvml.close()
check_meter(lambda: look(nvidia=True, **places)[0][0])
stub(INSTANT=3)
out["average"] = values(look(nvidia=True, **places)[0][0])["gpu:0 power"]
stub(AVERAGE=3, ENERGY=3)
out["nothing"] = look(nvidia=True, **places)
out["said"] = said.getvalue()
""",
        GPUS=2,
    )
    assert out["not asked for"] == [[], []]
    assert out["missing"] == []
    assert out["zeus"] == out["nvml"]
    assert out["zeus"]["gpu:0 counter"] == 200.0
    assert out["channels"]["gpu:1 counter"] == ["zeus-counter", "measured", ["wall"]]
    assert out["about"]["gpu:0 power"] == "instant"
    assert "lost" in out["lost"]["gpu:1 counter"].lower()
    assert out["lost"]["gpu:0 counter"] == 200.0
    assert out["let go of"] == 1
    assert out["average"] == 203.0
    assert out["nothing"][0] == []
    assert [one[0] for one in out["nothing"][1]] == ["gpu:0", "gpu:1"]
    assert out["said"] == ""


def test_nvidia_without_a_driver_is_missing(nothing, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found, [missing] = ZeusDetector(nvidia=True, **nothing).detect()
    assert found == []
    assert "an NVIDIA GPU that Zeus cannot open" in missing.reason
    assert "nvidia-smi" in missing.remedy


@pytest.mark.parametrize("value_mj", [-1.0, float("nan"), float("inf")])
def test_what_cannot_be_is_no_value(value_mj):
    assert energy_sample("gpu:0", counter("gpu:0"), lambda: value_mj).value is None
    assert power_sample("gpu:0", lambda: value_mj).value is None


def test_a_setting_that_cannot_be_right():
    with pytest.raises(SettingsError, match="nvidia = 'yes'"):
        ZeusDetector(nvidia="yes")
