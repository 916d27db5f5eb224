"""Several devices in one table: told apart, or refused."""

import math
import random
from datetime import datetime, timedelta

import pytest

from joulelab.energy.reading import Status
from joulelab.energy.traces.recording import read_recording
from joulelab.errors import TraceError

BEGAN = datetime(2026, 3, 5, 10)
LEVELS = (400, 60, 60, 60)


def stamp(seconds, *, cut=False):
    moment = f"{BEGAN + timedelta(seconds=seconds):%Y/%m/%d %H:%M:%S.%f}"
    return moment[:-7] if cut else moment[:-3]


def log(rows, header="timestamp, power.draw [W]"):
    return "\n".join((header, *rows, ""))


def cut_log(powers, per_second):
    return log(f"{stamp(n // per_second, cut=True)}, {watts} W" for n, watts in enumerate(powers))


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Etc/UTC")

    def write_and_read(content, **settings):
        path = tmp_path / "log.csv"
        path.write_text(content)
        return read_recording(path, **settings)

    return write_and_read


def energies(recording):
    return {one.domain: one.gross_j for one in recording.measure().readings}


NAMES = {
    "index": "0123", "gpu": "0123", "gpu_id": "0123", "gpu_index": "0123", "device": "0123",
    "minor_number": "0123", "GPU": "0123", "card": ("card0", "card1", "card2", "card3"),
    "device ": ("cuda:0", "cuda:1", "cuda:2", "cuda:3"),
    "uuid": ("GPU-5e1f", "GPU-07ab", "GPU-3c", "GPU-9"), "gpu_uuid": ("a", "b", "c", "d"),
    "pci.bus_id": ("0:3B:0.0", "0:5E:0.0", "0:86:0.0", "0:AF:0.0"),
    "gpu_bus_id": ("3B", "5E", "86", "AF"),
}  # fmt: skip


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_any_column_that_can_name_a_device_tells_them_apart(read, name, cut):
    rows = [
        f"{stamp(second + 0.003 * gpu * (not cut), cut=cut)}, {NAMES[name][gpu]}, {LEVELS[gpu]} W"
        for second in range(61)
        for gpu in range(4)
    ]
    measured = read(log(rows, f"timestamp, {name}, power.draw [W]")).measure()
    assert measured.energy_j == pytest.approx(34_800, rel=1e-3)
    assert [one.domain for one in measured.readings] == ["gpu:0", "gpu:1", "gpu:2", "gpu:3"]
    assert measured.total.status is Status.MEASURED


def test_machines_and_their_gpus_are_told_apart_together(read):
    rows = [
        f"{n},{host},{gpu},{100 * (gpu + 1)}" for n in range(11) for host in "ab" for gpu in (0, 1)
    ]
    found = energies(read(log(rows, "t_s,hostname,gpu,power_w")))
    assert found == {"a/gpu:0": 1000, "a/gpu:1": 2000, "b/gpu:0": 1000, "b/gpu:1": 2000}


HEADINGS = {
    "t_s,GPU0_POWER (mWatts),GPU1_POWER (mWatts)": ("100000,60000", {"gpu:0": 1000, "gpu:1": 600}),
    "t_s,gpu0_power_w,gpu1_power_w,cpu_power_w": (
        "100,60,40", {"gpu:0": 1000, "gpu:1": 600, "cpu:0": 400},
    ),
    "t_s,gpu 0,gpu 1": ("100 W,60 W", {"gpu:0": 1000, "gpu:1": 600}),
    "t_s,power_w_0,power_w_1": ("100,60", {"gpu:0": 1000, "gpu:1": 600}),
    "t_s,power.draw [W],power.draw [W].1": ("100,60", {"gpu:0": 1000, "gpu:1": 600}),
    "t_s,cuda:1 (gpu:3)/power_usage (W)/mean,x/memory_used (MiB)/mean": ("100,9", {"gpu:3": 1000}),
    "t_s,node1/gpu0 power (W),node2/gpu0 power (W)": (
        "100,60", {"node1/gpu:0": 1000, "node2/gpu:0": 600},
    ),
    "t_s,power_w,cpu_power_w,gpu_power_w": (
        "100,40,60", {"total": 1000, "cpu:0": 400, "gpu:0": 600},
    ),
    "t_s,total gpu power (W),gpu0 power (W),gpu1 power (W)": (
        "160,100,60", {"gpu:all": 1600, "gpu:0": 1000, "gpu:1": 600},
    ),
    "t_s,power.draw [W],power.limit [W],power.max_limit [W],clocks_event_reasons.sw_power_cap": (
        "100,300,400,0", {"gpu:0": 1000},
    ),
    "t_s,gpu,gpu [%],power_w": ("0,97,100", {"gpu:0": 1000}),
    "t_s,device,Average Graphics Package Power (W)": ("card1,100", {"gpu:1": 1000}),
}  # fmt: skip


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_heading_says_of_which_device_a_column_is(read, heading):
    cells, expected = HEADINGS[heading]
    recording = read(log((f"{second},{cells}" for second in range(11)), heading))
    assert energies(recording) == pytest.approx(expected)
    outer = {"total": 1000, "gpu:all": 1600}
    whole_j = next((j for name, j in outer.items() if name in expected), sum(expected.values()))
    assert recording.measure().energy_j == pytest.approx(whole_j)


@pytest.mark.parametrize(
    ("heading", "cells", "said"),
    [
        ("t_s,power_w,cpu_power_w", "100,40", "unclear which contain which"),
        ("t_s,board power (W),psu power (W)", "100,120", "does not say of what"),
        ("t_s,VDD_IN (mW),VDD_CPU_GPU_CV (mW)", "5000,1000", "does not say of what"),
        ("t_s,power_w,power_w", "100,60", "occurs twice"),
    ],
)
def test_columns_that_may_contain_each_other_are_refused(read, heading, cells, said):
    content = log((f"{second},{cells}" for second in range(11)), heading)
    with pytest.raises(TraceError, match=said):
        read(content)


def test_the_columns_that_count_can_be_named(read):
    content = log((f"{n},5000,1000,7" for n in range(11)), "when,VDD_IN (mW),VDD_GPU (mW),rail")
    asked = {"time_column": "when", "power_column": ["VDD_IN (mW)"], "device": "wall"}
    assert energies(read(content, **asked)) == {"wall": 50}


@pytest.mark.parametrize("column", ["gpu", "index", "device", "card"])
def test_a_share_of_load_or_the_number_of_a_row_is_no_device(read, column):
    random.seed(7)
    loads = log((f"{n},{random.choice((0, 0, 1, 2, 5, 97))},100" for n in range(61)),
                f"t_s,{column},power_w")  # fmt: skip
    assert energies(read(loads)) == {"gpu:0": 6000}
    numbered = log((f"{n},{n},100" for n in range(61)), f"{column},t_s,power_w")
    assert energies(read(numbered)) == {"gpu:0": 6000}


ALIKE = [100.0] * 240
SHUFFLED = [watts for _ in range(60) for watts in random.Random(3).sample(LEVELS, 4)]
SEVERAL = {
    "levels": (list(LEVELS) * 60, 4),
    "five, each of its own level": ([300, 60, 90, 250, 61] * 60, 5),
    "two": ([300, 60] * 60, 2),
    "three": ([300, 60, 90] * 60, 3),
    "in another order each time": (SHUFFLED, 4),
    "alike": (ALIKE, 4),
    "eight alike": (ALIKE, 8),
    "in step": ([100.0 + 200 * (n // 40 % 2) for n in range(240)], 4),
    "with noise": ([300 + random.Random(n).gauss(0, 5) for n in range(240)], 4),
}


@pytest.mark.parametrize("which", SEVERAL)
def test_devices_in_whole_seconds_that_nothing_tells_apart_are_refused(read, which):
    powers, per_second = SEVERAL[which]
    with pytest.raises(TraceError) as refused:
        read(cut_log(powers, per_second))
    assert f"line 2 to {1 + per_second}" in refused.value.message
    assert "--query-gpu=timestamp,index,power.draw" in refused.value.hint
    assert "--device gpu:0" in refused.value.hint
    assert energies(read(cut_log(powers, per_second), device="gpu:5")).keys() == {"gpu:5"}


@pytest.mark.parametrize("many", [2, 3, 16, 32])
@pytest.mark.parametrize("apart_s", [0.0, 0.002])
def test_rows_that_come_in_bursts_are_of_several_devices(read, many, apart_s):
    rows = [f"{stamp(n + 0.123 + gpu * apart_s)}, 100 W" for n in range(40) for gpu in range(many)]
    with pytest.raises(TraceError, match="several GPUs"):
        read(log(rows))


def test_rows_that_were_written_out_in_bursts_are_not_taken_for_one_device(read):
    rows = [f"{stamp(10 * (n // 10) + n % 10 * 0.001)}, 100 W" for n in range(100)]
    with pytest.raises(TraceError, match="several GPUs"):
        read(log(rows))


def test_rows_may_be_in_the_order_of_their_devices(read):
    rows = [f"{stamp(n)}, {gpu}, {100 * (gpu + 1)} W" for gpu in (0, 1) for n in range(11)]
    found = energies(read(log(rows, "timestamp, index, power.draw [W]")))
    assert found == {"gpu:0": 1000, "gpu:1": 2000}


def test_a_device_that_drops_out_is_still_a_second_one(read):
    rows = [f"{stamp(n + gpu / 99)}, 100 W" for n in range(60) for gpu in range(1 + (n < 5))]
    with pytest.raises(TraceError, match="several GPUs"):
        read(log(rows))


ONE = {
    "square wave": ([300 if n // 37 % 2 else 60 for n in range(600)], 10),
    "sine": ([100 + 50 * math.sin(n / 20) for n in range(240)], 4),
    "ramp": ([100 + n / 4 for n in range(120)], 2),
}


@pytest.mark.parametrize("which", ONE)
def test_whole_seconds_of_one_device_are_spread_over_their_second(read, which):
    powers, per_second = ONE[which]
    reading = read(cut_log(powers, per_second)).measure()["gpu:0"]
    assert reading.status is Status.MEASURED
    assert reading.gross_j == pytest.approx(sum(powers[:-1]) / per_second, rel=1e-9)
    assert reading.duration_s == pytest.approx((len(powers) - 1) / per_second)


def test_times_that_drift_through_their_seconds_are_of_one_device(read):
    rows = [f"{stamp(int(n * 0.3), cut=True)}, {100 + n % 50} W" for n in range(200)]
    reading = read(log(rows)).measure()["gpu:0"]
    assert reading.status is Status.MEASURED
    expected_j = 0.3 * sum(100 + n % 50 for n in range(199))
    assert reading.gross_j == pytest.approx(expected_j, rel=0.01)


def wave(per_second):
    high = per_second // 5
    return [300 if n % per_second >= per_second - high else 60 for n in range(60 * per_second)]


def evenly(powers, interval_s=0.25):
    return log(f"{stamp(n * interval_s)}, {watts} W" for n, watts in enumerate(powers))


def in_loops(many, pause_s=0.55):
    times = (n * pause_s + (n * many + gpu) * 0.15 for n in range(60) for gpu in range(many))
    return log(f"{stamp(moment)}, 100 W" for moment in times)


MAY_BE_ONE = {
    **{f"wave of {n}": (cut_log([*wave(n), 60], n), n, 6480) for n in (5, 10, 20)},
    "constant": (cut_log([250.0] * 601, 10), 10, 15_000),
    "noise": (cut_log([250 + random.Random(n).gauss(0, 5) for n in range(601)], 10), 10, 15_000),
    "in turns": (evenly([*LEVELS] * 60), 4, 145 * 60),
    "two in turns": (evenly([300 + n % 7, 60 + n % 3][n % 2] for n in range(240)), 2, 182 * 60),
    "in turns, under load": (evenly((1 + n // 80 % 2) * LEVELS[n % 4] for n in range(240)), 4,
                             11_600),
    "in loops": (in_loops(4), 4, 6830),
}  # fmt: skip


@pytest.mark.parametrize("which", MAY_BE_ONE)
def test_what_may_be_one_device_or_several_is_read_as_one_and_no_measurement(read, which):
    content, many, energy_j = MAY_BE_ONE[which]
    measured = read(content).measure()
    assert measured.energy_j == pytest.approx(energy_j, rel=0.02)
    assert measured.total.status is Status.ESTIMATED
    # It might be as many devices: the bound covers that.
    assert measured["gpu:0"].error_j >= 0.98 * (many - 1) * energy_j
    assert any(f"one device or {many}" in flag for flag in measured.flags)
    assert read(content, device="gpu:0").measure().total.status is Status.MEASURED


_ENDS = [0.0]
while _ENDS[-1] < 1300:
    _ENDS.append(_ENDS[-1] + random.Random(len(_ENDS)).gauss(8, 0.16))
STEPS = [
    300 if any(end <= n < end + 5 for end in _ENDS[max(n // 8 - 9, 0) : n // 8 + 9]) else 150
    for n in range(1200)
]
EVENLY_ONE = {
    "a load that drifts": [300 if n * 0.2301 % 1 < 0.5 else 60 for n in range(600)],
    "steps that last 2 % longer or shorter": STEPS,
    "a ramp": [100 + n / 4 for n in range(400)],
    "noise": [250 + random.Random(n).gauss(0, 25) for n in range(400)],
    "each sample twice": [100 + 20 * math.sin(n // 2) for n in range(400)],
    "a tick that beats": [100 + n % 2 for n in range(400)],
}


@pytest.mark.parametrize("which", EVENLY_ONE)
def test_rows_evenly_apart_are_of_one_device_where_none_take_turns(read, which):
    assert read(evenly(EVENLY_ONE[which])).measure().total.status is Status.MEASURED


@pytest.mark.parametrize("interval_s", [0.4, 1.5, 2.5])
def test_times_cut_to_seconds_that_beat_are_of_one_device(read, interval_s):
    powers = [100 + random.Random(n).gauss(0, 5) for n in range(99)]
    rows = [f"{stamp(int(n * interval_s), cut=True)}, {w} W" for n, w in enumerate(powers)]
    assert read(log(rows)).measure().total.status is Status.MEASURED


def test_a_column_that_tells_devices_apart_is_believed(read):
    rows = [f"{stamp(n // 2, cut=True)}, {gpu}, {watts} W"
            for n in range(120) for gpu, watts in (("GPU-a", 400), ("GPU-b", 60))]  # fmt: skip
    found = energies(read(log(rows, "timestamp, uuid, power.draw [W]")))
    assert found == pytest.approx({"gpu:0": 400 * 59.5, "gpu:1": 60 * 59.5})


@pytest.mark.parametrize("column", ["name", "hostname"])
def test_a_model_or_a_machine_may_have_several_devices(read, column):
    rows = [f"{stamp(n, cut=True)}, A100, {watts} W" for n in range(60) for watts in (400, 60)]
    with pytest.raises(TraceError, match="several GPUs"):
        read(log(rows, f"timestamp, {column}, power.draw [W]"))


@pytest.mark.parametrize("header", ["timestamp, uuid, power.draw [W]", "t_s, mig_uuid, power_w"])
def test_instances_of_one_gpu_do_not_count_its_power_twice(read, header):
    content = log((f"{stamp(n)}, MIG-{one}, 300 W" for n in range(60) for one in "ab"), header)
    column = header.split(", ")[1]
    with pytest.raises(TraceError, match="2 MIG instances") as refused:
        read(content)
    assert f"where={column}=MIG-a" in refused.value.hint
    assert read(content, where=f"{column}=MIG-b").measure().energy_j == 300 * 59


def test_a_heading_that_names_its_gpu_is_of_one_device(read):
    content = log((f"{n},{(300, 60)[n % 2]},100" for n in range(61)), "t_s,gpu0_w,gpu1_w")
    assert read(content).measure().total.status is Status.MEASURED


def test_one_device_of_several_can_be_asked_for_and_a_wrong_name_is_refused(read):
    content = log((f"{n},{gpu},{100 * (gpu + 1)}" for n in range(11) for gpu in (0, 1)),
                  "t_s,gpu,power_w")  # fmt: skip
    assert energies(read(content, device="gpu:1")) == {"gpu:1": 2000}
    assert energies(read(content, device="gpu")) == {"gpu:0": 1000, "gpu:1": 2000}
    with pytest.raises(TraceError, match=r"(?s)no device 'gpu:7'.*gpu:0, gpu:1"):
        read(content, device="gpu:7")
    with pytest.raises(TraceError, match=r"(?s)no column 'gpu_indx'.*there are t_s, gpu, power_w"):
        read(content, device="gpu_indx")


def test_what_stands_in_the_rows_of_every_gpu_is_read_once(read):
    rows = [f"{n},{gpu},{100 * (gpu + 1)},50" for n in range(11) for gpu in (0, 1)]
    found = energies(read(log(rows, "t_s,gpu,gpu_power_w,cpu_power_w")))
    assert found == {"gpu:0": 1000, "gpu:1": 2000, "cpu:0": 500}


def test_a_device_that_is_0_throughout_is_not_there(read):
    content = log((f"{n},40,40,0" for n in range(11)), "t_s,Total Power,CPU Power,GPU Power")
    recording = read(content)
    assert energies(recording) == {"total": 400, "cpu:0": 400}
    assert any("gpu:0 is 0 W throughout" in flag for flag in recording.flags)
