"""NVML through the real nvidia-ml-py, over a compiled stand-in for the driver's library."""

import pytest

STATE = {"utilisation": 0.55, "temperature_c": 61.0, "clock_mhz": 1980.0, "power_limit_w": 700.0}

CALLS = """
import sys

def calls_of(action):
    calls = []
    def note(frame, event, _):
        name = frame.f_code.co_name
        if event == "call" and name.startswith("nvmlDeviceGet"):
            calls.append(name.removeprefix("nvmlDeviceGet"))
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls
"""


def test_a_counter_in_joules_and_power_beside_it(scenario):
    out = scenario("""
meter = NvmlMeter()
out["channels"] = [asdict(channel) for channel in meter.channels]
out["about"] = dict(meter.describe())
out["interval_s"] = meter.interval_s
stub(TIME_MS=1050)
out["first"] = samples(meter)
stub(TIME_MS=1099)
out["same tick"] = samples(meter)
stub(TIME_MS=1100)
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
    assert counter["resolution_j"] == 0.001
    for channel in out["channels"]:
        assert channel["status"] == "measured"
        assert channel["within"] == ["wall"]
        assert channel["tick_s"] == 0.1
        assert channel["relative_error"] == 0.13
        assert "2312.02741" in channel["remark"]
    assert "NVML_FI_DEV_POWER_INSTANT (25 ms of every 100 ms)" in power["remark"]
    assert out["about"] == {
        "driver": "570.86.15",
        "nvml": "12.570.86.15",
        "gpu:0 name": "Stub H100",
        "gpu:0 uuid": "GPU-ABCD0000-0000-1111-2222-333344445555",
        "gpu:0 architecture": "Hopper",
        "gpu:0 energy_counter": "yes",
        "gpu:0 power_field": "NVML_FI_DEV_POWER_INSTANT",
        "gpu:0 power_window": "25 ms of every 100 ms",
        "gpu:0 power_limit_w": "700",
        "gpu:0 calibration": "1",
    }
    assert out["interval_s"] == 0.05
    assert out["first"] == [[200.0, "", STATE], [207.0, "", {}]]
    assert out["same tick"] == out["first"]
    assert out["later"][0][0] == 220.0
    assert out["closed"] == [[None, "closed", {}]] * 2
    assert out["opened"] == 0


def test_counters_are_read_before_all_else(scenario):
    out = scenario(
        CALLS
        + """
meter = NvmlMeter()
out["calls"] = calls_of(meter.sample)
meter.close()
""",
        GPUS=2,
    )
    state = ["UtilizationRates", "Temperature", "ClockInfo", "EnforcedPowerLimit"]
    assert out["calls"] == ["TotalEnergyConsumption"] * 2 + ["FieldValues"] * 2 + state * 2


def test_state_is_asked_for_twice_a_second_at_most_and_goes_with_the_first_channel(scenario):
    out = scenario(
        CALLS
        + """
from joulelab.energy.meters import nvml_gpu
out["interval_s"] = nvml_gpu.STATE_INTERVAL_S
nvml_gpu.STATE_INTERVAL_S = 0.1
meter = NvmlMeter()
states = []

def sample_for_a_while():
    start_s = time.monotonic()
    states.append([dict(sample.state) for sample in meter.sample()])
    first_s = time.monotonic()
    while time.monotonic() < first_s + 0.15:
        states.append([dict(sample.state) for sample in meter.sample()])
    states.append([dict(sample.state) for sample in meter.sample()])
    out["lasted_s"] = time.monotonic() - start_s

out["asked"] = calls_of(sample_for_a_while).count("Temperature")
out["first"] = [state[0] == states[0][0] for state in states]
out["others"] = [state[1] for state in states]
out["state"] = states[0][0]
stub(CELSIUS=70)
time.sleep(0.1)
out["later"] = dict(meter.sample()[0].state)
meter.close()
"""
    )
    assert out["state"] == STATE
    assert out["interval_s"] == 0.5
    assert 2 <= out["asked"] <= out["lasted_s"] / 0.1 + 1
    assert all(out["first"])
    assert not any(out["others"])
    assert out["later"] == {**STATE, "temperature_c": 70.0}


def test_power_carries_the_state_of_a_card_without_a_counter(scenario):
    out = scenario(
        """
meter = NvmlMeter()
out["samples"] = samples(meter)
meter.close()
""",
        ENERGY=3,
    )
    assert out["samples"] == [[207.0, "", STATE]]


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


def test_other_tools_read_the_same_stub(scenario):
    """CodeCarbon itself, and the calls that Zeus makes when it opens a GPU."""
    out = scenario(
        """
import warnings
warnings.simplefilter("ignore")  # those of the other tools are not ours
import pynvml
from codecarbon.core.gpu import AllGPUDevices
from codecarbon.core.units import Time

devices = AllGPUDevices()
details = devices.get_gpu_details()[0]
out["codecarbon"] = [details["total_energy_consumption"], details["power_usage"]]
devices.start()
stub(TIME_MS=2000)
kwh = devices.get_delta(Time.from_seconds(1))[0]["delta_energy_consumption"].kWh
out["codecarbon delta_j"] = kwh * 3.6e6

gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
try:
    pynvml.nvmlDeviceGetC2cModeInfoV(gpu)
except pynvml.NVMLError_NotSupported:
    out["grace"] = False
scoped = [(pynvml.NVML_FI_DEV_POWER_AVERAGE, pynvml.NVML_POWER_SCOPE_GPU),
          (pynvml.NVML_FI_DEV_POWER_AVERAGE, pynvml.NVML_POWER_SCOPE_MEMORY)]
fields = pynvml.nvmlDeviceGetFieldValues(gpu, scoped)
out["average"] = [[field.nvmlReturn, field.value.uiVal] for field in fields]
out["zeus"] = [
    pynvml.nvmlDeviceGetArchitecture(gpu),
    pynvml.nvmlDeviceGetPersistenceMode(gpu),
    pynvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu),
    pynvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu),
    pynvml.nvmlDeviceGetSupportedMemoryClocks(gpu),
    pynvml.nvmlDeviceGetSupportedGraphicsClocks(gpu, 2619),
    pynvml.nvmlDeviceGetTemperatureV(gpu, pynvml.NVML_TEMPERATURE_GPU),
]
try:
    pynvml.nvmlDeviceSetPowerManagementLimit(gpu, 300_000)
except pynvml.NVMLError_NoPermission:
    out["may set"] = False
""",
        TIME_MS=1000,
    )
    assert out["codecarbon"] == [200_000, 200.0]
    # Its factor from millijoules to kilowatt-hours has seven digits.
    assert out["codecarbon delta_j"] == pytest.approx(200.0, rel=1e-5)
    assert out["grace"] is False
    assert out["average"] == [[0, 203_000], [3, 0]]
    assert out["zeus"] == [9, 1, [200_000, 700_000], 700_000, [2619], [1980], 61]
    assert out["may set"] is False
