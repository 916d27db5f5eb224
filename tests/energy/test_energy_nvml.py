"""NVML through the real nvidia-ml-py, over a compiled stand-in for the driver's library.

Each scenario is a short program of its own, because a process keeps the library that it has loaded.
Within a program, setting a variable changes the simulated hardware at once (see stub_nvml.c).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parent / "stub_nvml.c"

PRELUDE = """
import ctypes, json, os
from dataclasses import asdict
from joulelab.energy.nvml import NvmlDetector, NvmlMeter, gpu_index
from joulelab.errors import MeterError

def stub(**answers):
    for name, answer in answers.items():
        os.environ["STUB_" + name] = "" if answer is None else str(answer)

def opened():
    return ctypes.CDLL("libnvidia-ml.so.1").stub_opened()

def detect(**answers):
    stub(**answers)
    meters, missing = NvmlDetector().detect()
    stub(**dict.fromkeys(answers))
    domains = [channel.domain for meter in meters for channel in meter.channels]
    for meter in meters:
        meter.close()
    return domains, [[one.domain, one.reason, one.remedy] for one in missing]

def samples(meter):
    return [[sample.value, sample.reason, dict(sample.state)] for sample in meter.sample()]

out = {}
"""

Scenario = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in for libnvidia-ml.so.1")
    folder = tmp_path_factory.mktemp("nvml")
    target = folder / "libnvidia-ml.so.1"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *warnings, "-shared", "-fPIC", "-o", target, SOURCE], check=True)
    return folder


@pytest.fixture
def scenario(library: Path) -> Scenario:
    def run(program: str, **answers: object) -> dict[str, Any]:
        settings = {f"STUB_{name}": str(answer) for name, answer in answers.items()}
        return run_program(program, {"LD_LIBRARY_PATH": str(library), **settings})

    return run


def run_program(program: str, settings: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{PRELUDE}\n{program}\nprint(json.dumps(out))"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_counter_in_joules_and_power_beside_it(scenario):
    out = scenario("""
meter = NvmlMeter()
out["channels"] = [asdict(channel) for channel in meter.channels]
out["about"] = dict(meter.describe())
stub(TIME_MS=1050)
out["first"] = samples(meter)
stub(TIME_MS=1099)
out["same tick"] = samples(meter)
stub(TIME_MS=2100)
out["later"] = samples(meter)
meter.close()
meter.close()
out["closed"] = samples(meter)
out["opened"] = opened()
""")
    counter, power = out["channels"]
    assert (counter["domain"], counter["source"], counter["kind"]) == (
        "gpu:0",
        "nvml-counter",
        "counter",
    )
    assert (power["domain"], power["source"], power["kind"]) == ("gpu:0", "nvml-power", "power")
    for channel in out["channels"]:
        assert channel["status"] == "measured"
        assert channel["within"] == ["wall"]
        assert channel["tick_s"] == 0.1
        assert channel["relative_error"] == 0.13
        assert "2312.02741" in channel["remark"]
    assert out["about"] == {
        "driver": "570.86.15",
        "nvml": "12.570.86.15",
        "gpu:0 name": "Stub H100",
        "gpu:0 uuid": "GPU-ABCD0000-0000-1111-2222-333344445555",
        "gpu:0 energy_counter": "yes",
        "gpu:0 power_field": "NVML_FI_DEV_POWER_INSTANT",
        "gpu:0 power_limit_w": "700",
        "gpu:0 calibration": "1",
    }
    state = {
        "utilisation": 0.55,
        "temperature_c": 61.0,
        "clock_mhz": 1980.0,
        "power_limit_w": 700.0,
    }
    assert out["first"] == [[200.0, "", state], [207.0, "", state]]
    assert out["same tick"] == out["first"]
    assert out["later"][0][0] == 420.0
    assert out["closed"] == [[None, "closed", {}]] * 2
    assert out["opened"] == 0


def test_two_gpus_one_of_them_lost_in_mid_run(scenario):
    out = scenario(
        """
meter = NvmlMeter()
out["domains"] = [channel.domain for channel in meter.channels]
out["before"] = samples(meter)
stub(LOST=0)
out["lost"] = samples(meter)
stub(LOST=None, TIME_MS=2000)
out["back"] = samples(meter)
meter.close()
second = NvmlMeter([1])
out["second"] = [channel.domain for channel in second.channels]
second.close()
""",
        GPUS=2,
        TIME_MS=1000,
    )
    assert out["domains"] == ["gpu:0", "gpu:0", "gpu:1", "gpu:1"]
    assert [value for value, _, _ in out["before"]] == [200.0, 207.0, 400.0, 407.0]
    assert out["lost"][:2] == [[None, "gpu:0: NVML: GPU is lost", {}]] * 2
    assert [value for value, _, _ in out["lost"][2:]] == [400.0, 407.0]
    assert [value for value, _, _ in out["back"]] == [400.0, 207.0, 800.0, 407.0]
    assert out["second"] == ["gpu:1", "gpu:1"]


def test_the_uuid_of_another_library_finds_the_index(scenario):
    out = scenario(
        """
out["plain"] = gpu_index("abcd0001-0000-1111-2222-333344445555")
out["prefixed"] = gpu_index("GPU-ABCD0000-0000-1111-2222-333344445555")
out["unknown"] = gpu_index("GPU-00000000-0000-1111-2222-333344445555")
stub(LOST=0)
out["beside a lost one"] = gpu_index("ABCD0001-0000-1111-2222-333344445555")
stub(INIT=4)
out["no permission"] = gpu_index("ABCD0001-0000-1111-2222-333344445555")
out["opened"] = opened()
""",
        GPUS=2,
    )
    assert out == {
        "plain": 1,
        "prefixed": 0,
        "unknown": None,
        "beside a lost one": 1,
        "no permission": None,
        "opened": 0,
    }


def test_sensors_that_a_card_lacks(scenario):
    out = scenario("""
def kinds(**answers):
    stub(**answers)
    meter = NvmlMeter()
    fields = meter.describe()["gpu:0 power_field"]
    found = [[c.source, s.value] for c, s in zip(meter.channels, meter.sample())], fields
    meter.close()
    stub(**dict.fromkeys(answers))
    return found

out["no counter"] = kinds(ENERGY=3)
out["no instant field"] = kinds(ENERGY=3, INSTANT=3)
out["no fields"] = kinds(ENERGY=3, FIELDS=13)
out["field of 0"] = kinds(POWER_MW=0, ENERGY_MJ=1500)
out["no power"] = kinds(INSTANT=3, POWER=3, ENERGY_MJ=1500)
stub(STATE=3)
meter = NvmlMeter()
out["no state"] = [state for _, _, state in samples(meter)]
out["limit"] = meter.describe()["gpu:0 power_limit_w"]
meter.close()
stub(STATE=None)
out["nothing"] = detect(ENERGY=3, INSTANT=3, POWER=3)
out["opened"] = opened()
""")
    instant, ordinary = "NVML_FI_DEV_POWER_INSTANT", "nvmlDeviceGetPowerUsage"
    assert out["no counter"] == [[["nvml-power", 207.0]], instant]
    assert out["no instant field"] == [[["nvml-power", 200.0]], ordinary]
    assert out["no fields"] == [[["nvml-power", 200.0]], ordinary]
    assert out["field of 0"] == [[["nvml-counter", 1.5], ["nvml-power", 0.0]], ordinary]
    assert out["no power"] == [[["nvml-counter", 1.5]], "none"]
    assert out["no state"] == [{}, {}]
    assert out["limit"] == "unknown"
    domains, [[domain, reason, _]] = out["nothing"]
    assert domains == []
    assert domain == "gpu:0"
    assert "neither energy nor power" in reason
    assert out["opened"] == 0


def test_what_cannot_be_read_is_missing_with_a_reason_and_a_remedy(scenario):
    out = scenario(
        """
out["permission"] = detect(INIT=4)
out["mismatch"] = detect(INIT=18)
out["no driver"] = detect(INIT=9)
out["no gpu"] = detect(GPUS=0)
stub(GPUS=2)
out["lost"] = detect(LOST=1)
stub(GPUS=2)
out["split"] = detect(MIG=0)
stub(GPUS=2)
out["old driver"] = detect(MIGMODE=13)
stub(GPUS=2)
out["all refused"] = detect(ENERGY=4)
stub(GPUS=1, MIG=0)
try:
    NvmlMeter()
except MeterError as error:
    out["error"] = [error.message, error.hint]
out["opened"] = opened()
""",
    )
    assert out["permission"] == [
        [],
        [
            [
                "gpu",
                "NVML cannot be read: Insufficient Permissions",
                "let this user read and write /dev/nvidia*",
            ]
        ],
    ]
    [[domain, reason, remedy]] = out["mismatch"][1]
    assert domain == "gpu"
    assert "version mismatch" in reason
    assert "restart" in remedy
    assert out["no driver"] == [[], []]
    assert out["no gpu"] == [[], []]
    assert out["lost"] == [
        ["gpu:0", "gpu:0"],
        [["gpu:1", "NVML: GPU is lost", "restart the machine"]],
    ]
    domains, [[domain, reason, remedy]] = out["split"]
    assert domains == ["gpu:1", "gpu:1"]
    assert domain == "gpu:0"
    assert "split by MIG" in reason
    assert "nvidia-smi -i 0 -mig 0" in remedy
    assert out["old driver"] == [["gpu:0", "gpu:0", "gpu:1", "gpu:1"], []]
    assert out["all refused"][0] == []
    assert [one[0] for one in out["all refused"][1]] == ["gpu:0", "gpu:1"]
    assert out["error"] == [reason, remedy]
    assert out["opened"] == 0


def test_a_counter_that_runs_backwards_stays_unreadable_and_power_goes_on(scenario):
    out = scenario(
        """
meter = NvmlMeter()
out["values"] = []
for energy_mj in (9_000_000, 9_000_500, 1_000, 9_900_000):
    stub(ENERGY_MJ=energy_mj)
    out["values"].append([[value, reason] for value, reason, _ in samples(meter)])
meter.close()
""",
        ENERGY_MJ=9_000_000,
    )
    counter = [moment[0] for moment in out["values"]]
    assert counter[:2] == [[9000.0, ""], [9000.5, ""]]
    for value, reason in counter[2:]:
        assert value is None
        assert "ran backwards" in reason
    assert [moment[1] for moment in out["values"]] == [[207.0, ""]] * 4


def test_a_calibrated_card_is_scaled_and_has_the_smaller_bound(scenario):
    out = scenario(
        """
factors = {"ABCD0001-0000-1111-2222-333344445555": 1.06}
meter = NvmlMeter(calibration=factors)
out["values"] = [value for value, _, _ in samples(meter)]
out["errors"] = [channel.relative_error for channel in meter.channels]
out["factor"] = meter.describe()["gpu:1 calibration"]
meter.close()
meters, _ = NvmlDetector(factors).detect()
out["detected"] = [value for value, _, _ in samples(meters[0])]
meters[0].close()
try:
    NvmlMeter(calibration={"GPU-1": 0.0})
except MeterError as error:
    out["error"] = error.message
""",
        GPUS=2,
        TIME_MS=1000,
    )
    assert out["values"] == pytest.approx([200.0, 207.0, 424.0, 431.42])
    assert out["detected"] == out["values"]
    assert out["errors"] == [0.13, 0.13, 0.05, 0.05]
    assert out["factor"] == "1.06"
    assert "not positive" in out["error"]


def test_the_meter_conforms_on_sound_and_on_failing_hardware(scenario):
    out = scenario(
        """
from itertools import count
from joulelab.energy.conformance import check_meter

clock = count(1000, 70)
check_meter(NvmlMeter, between=lambda: stub(TIME_MS=next(clock)))
backwards = count(1000, -70)
check_meter(NvmlMeter, between=lambda: stub(TIME_MS=next(backwards)))
check_meter(NvmlMeter, between=lambda: stub(LOST=1))
out["opened"] = opened()
""",
        GPUS=2,
    )
    assert out["opened"] == 0


def test_a_machine_without_nvidia_misses_nothing(tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")  # as good as none
    out = run_program(
        """
out["found"] = detect()
out["index"] = gpu_index("GPU-1")
try:
    NvmlMeter()
except MeterError as error:
    out["error"] = error.message
""",
        {"LD_LIBRARY_PATH": str(tmp_path)},
    )
    assert out["found"] == [[], []]
    assert out["index"] is None
    assert "Library Not Found" in out["error"]
