"""The NVML meter over a GPU that draws power in real time, against what it truly drew."""

import bisect
import math
import time

import pytest
from nvml_stub import run_program, stub_variables
from synthetic_power import SHAPES, Trace, exact_energy_j, exact_power_w

COUNTED_BEFORE_J = 1e6


@pytest.mark.parametrize("shape", SHAPES)
def test_the_exact_energy_is_the_integral_of_the_power(shape):
    trace = Trace(shape, started_ns=2_000_000_000, period_ms=730, seed=5)
    steps, range_w = 20_000, 240.0
    for start_s, end_s in ((1.3, 2.0), (1.7, 2.11), (2.3, 2.9), (2.05, 6.6)):
        step_s = (end_s - start_s) / steps
        sum_w = math.fsum(exact_power_w(trace, start_s + (k + 0.5) * step_s) for k in range(steps))
        # The midpoint rule is off by a half step at each jump: of eight quarter steps a period.
        jumps = 2 + 8 * 2 * (end_s - start_s) / 0.73
        energy_j = exact_energy_j(trace, start_s, end_s)
        assert energy_j == pytest.approx(sum_w * step_s, abs=jumps * range_w * step_s)
        assert exact_energy_j(trace, start_s, end_s, gpu=2) == pytest.approx(3 * energy_j)


def test_noise_is_within_its_range_goes_everywhere_in_it_and_depends_on_its_seed():
    values = [exact_power_w(Trace("noise", seed=1), 0.05 * k) for k in range(4000)]
    others = [exact_power_w(Trace("noise", seed=2), 0.05 * k) for k in range(4000)]
    assert 60 <= min(values) < 100
    assert 260 < max(values) <= 300
    assert sum(a != b for a, b in zip(values, others, strict=True)) > 3900


def test_the_sensors_of_the_stub_are_differences_of_the_exact_energy(scenario):
    times_ms = [0, 99, 100, 130, 999, 1000, 1730, 2519, 12_345, 3_600_123, 600_000_777]
    out = scenario(
        f"""
for shape in {SHAPES!r}:
    for time_ms in {times_ms!r}:
        stub(TRACE=shape, TIME_MS=time_ms)
        # Anew each time: a meter knows that its counter cannot have jumped so.
        meter, average = NvmlMeter(), NvmlMeter(power_field="average")
        [counter, instant], [_, mean] = samples(meter)[2:], samples(average)[2:]
        out[f"{{shape}} {{time_ms}}"] = [counter[0], instant[0], mean[0]]
""",
        GPUS=2,
        PERIOD_MS=730,
        SEED=5,
        UPDATE_MS=130,
        TICK_MS=90,
        AVERAGE_MS=700,
    )
    for shape in SHAPES:
        trace = Trace(shape, period_ms=730, seed=5)
        for time_ms in times_ms:
            ticked_s, updated_s = (time_ms // ms * ms / 1e3 for ms in (90, 130))
            counter_j, instant_w, mean_w = out[f"{shape} {time_ms}"]
            counted_j = exact_energy_j(trace, 0.0, ticked_s, gpu=1)
            assert counter_j == pytest.approx(COUNTED_BEFORE_J + counted_j, abs=2e-3)
            for power_w, window_s in ((instant_w, 0.025), (mean_w, 0.7)):
                expected_j = exact_energy_j(trace, updated_s - window_s, updated_s, gpu=1)
                assert power_w == pytest.approx(expected_j / window_s, abs=2e-3)


def test_the_meter_conforms_in_real_time(scenario):
    out = scenario(
        """
from joulelab.energy.conformance import check_meter
check_meter(NvmlMeter, samples=20)
check_meter(lambda: NvmlMeter(power_field="average"), samples=5)
out["opened"] = opened()
""",
        GPUS=2,
        **realtime(Trace("noise", period_ms=80)),
    )
    assert out["opened"] == 0


def test_the_counter_shows_the_energy_until_its_last_tick(scenario):
    trace = Trace("square", started_ns=time.monotonic_ns(), period_ms=300)
    out = scenario(
        """
meter = NvmlMeter()
taken = out["taken"] = []
for _ in range(30):
    begin_s, value_j = time.monotonic(), meter.sample()[0].value
    taken.append([begin_s, time.monotonic(), value_j])
    time.sleep(0.01)
""",
        **realtime(trace),
    )
    start_s = trace.started_ns / 1e9
    tick_ends_j = [
        COUNTED_BEFORE_J + exact_energy_j(trace, start_s, start_s + 0.1 * k) for k in range(3000)
    ]
    for begin_s, end_s, value_j in out["taken"]:
        tick = bisect.bisect_left(tick_ends_j, value_j - 2e-3)
        assert value_j == pytest.approx(tick_ends_j[tick], abs=2e-3)
        assert begin_s - 0.1 - 1e-6 <= start_s + 0.1 * tick <= end_s + 1e-6


@pytest.fixture(scope="module")
def recorded(nvml_library):
    """A window over a square wave: GPU 0 has a counter, GPU 1 only power."""
    trace = Trace("square", started_ns=time.monotonic_ns(), period_ms=530)
    faults = {"STUB_GPUS": "2", "STUB_ENERGY": "3", "STUB_FAULT_GPU": "1"}
    out = run_program(
        """
from joulelab.energy.recorder import Recorder
with Recorder([NvmlMeter()], interval_s=0.05) as recorder:
    window = recorder.open("square")
    edges_s = time.monotonic() - window.started_s
    time.sleep(1.3)
    end_s = time.monotonic()
    measurement = window.close()
    edges_s += time.monotonic() - end_s
out["started_s"] = window.started_s
out["edges_s"] = edges_s
out["measurement"] = measurement.to_dict()
""",
        stub_variables(nvml_library) | trace.variables() | faults,
    )
    return trace, out


@pytest.mark.parametrize(("gpu", "source"), [(0, "nvml-counter"), (1, "nvml-power")])
def test_a_recorded_window_is_right_within_the_bound_of_its_reading(recorded, gpu, source):
    trace, out = recorded
    measurement = out["measurement"]
    [reading] = [one for one in measurement["readings"] if one["domain"] == f"gpu:{gpu}"]
    start_s = out["started_s"]
    true_j = exact_energy_j(trace, start_s, start_s + measurement["duration_s"], gpu)
    assert reading["source"] == source
    assert reading["status"] == "measured"
    # No bound knows what a machine that stood still did not see: a jump up and down again between
    # two samples, or one while the window was opened or closed.
    gap_s = measurement["longest_gap_s"]
    unseen_s = out["edges_s"] + (gap_s if gap_s > 0.6 else 0.0)
    unseen_j = unseen_s * 300 * (gpu + 1)
    off_j = abs(reading["gross_j"] - true_j)
    assert off_j <= reading["error_j"] + unseen_j
    if source == "nvml-counter":
        # The sensor here has no error of its own: what is left is a tick at each edge.
        assert off_j <= 0.1 * 2 * 300 + unseen_j
        # Power jumps five times; each jump is seen a tick and a gap late at the most.
        assert abs(reading["check_j"] - true_j) <= (0.1 + gap_s) * 5 * 240 + unseen_j


def realtime(trace):
    """The stub's variables of a trace as `scenario` takes them."""
    return {name.removeprefix("STUB_"): value for name, value in trace.variables().items()}
