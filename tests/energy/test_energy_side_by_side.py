"""Several instruments on the same window: all are kept, and no joule counts twice."""

import os
import time

import pytest
from fake_meter import FakeMeter, channel
from fake_plug import FakeShelly
from nvml_stub import run_program, stub_variables

from joulelab.energy.booking import energy_profile
from joulelab.energy.detection import find_meters
from joulelab.energy.measurement import Measurement, measurement_data
from joulelab.energy.meters.estimate import EstimateDetector
from joulelab.energy.reading import Status, instrument_of
from joulelab.energy.recorder import Recorder
from joulelab.study.accounting import counted

pytestmark = pytest.mark.usefixtures("simulated_time")


def flowing(power_w):
    return lambda: power_w * time.monotonic()


def measured(*channels_and_values, meters=None, duration_s=0.15):
    found = meters or [FakeMeter(*channels_and_values)]
    with Recorder(found, interval_s=0.02) as recorder, recorder.open("w") as window:
        time.sleep(duration_s)
    return window


def cpu(source, power_w, **settings):
    return channel("cpu:0", source=source, within=("wall",), **settings), flowing(power_w)


def test_a_counter_and_the_power_of_one_sensor_are_one_instrument():
    assert instrument_of("nvml-counter") == instrument_of("nvml-power") == "nvml"
    assert instrument_of("codecarbon") == "codecarbon"


def test_the_other_instrument_of_a_domain_is_kept_beside_and_counts_for_nothing():
    window = measured(
        cpu("codecarbon", 60.0, status=Status.ESTIMATED), cpu("rapl", 100.0), cpu("other", 90.0)
    )
    found = window.measurement
    (reading,) = found.readings
    # The first measured counter of the domain is the figure.
    assert (reading.source, reading.status) == ("rapl", Status.MEASURED)
    beside = {one.source: one for one in found.others}
    assert set(beside) == {"codecarbon", "other"}
    assert beside["codecarbon"].gross_j == pytest.approx(60 * found.duration_s, rel=0.05)
    assert beside["codecarbon"].idle_w is None
    assert found.energy_j == reading.gross_j
    assert counted(found, None, "cpu").gross_j == reading.gross_j
    assert counted(found, ["cpu:0"], "cpu").gross_j == reading.gross_j


def test_two_sensors_of_one_instrument_are_no_second_opinion():
    window = measured(
        (channel(source="nvml-counter"), flowing(100.0)),
        (channel(source="nvml-power", kind="power"), lambda: 100.0),
    )
    assert window.measurement.others == ()
    assert window.measurement["gpu:0"].check_j is not None


def test_the_share_of_a_group_and_the_store_keep_what_was_beside():
    found = measured(cpu("rapl", 100.0), cpu("codecarbon", 60.0)).measurement
    part = found.shared(4)
    assert part.others[0].gross_j == pytest.approx(found.others[0].gross_j / 4)
    assert part["cpu:0"].gross_j == pytest.approx(found["cpu:0"].gross_j / 4)
    assert part.duration_s == pytest.approx(found.duration_s / 4)
    assert Measurement.from_dict(found.to_dict()) == found
    before = {key: value for key, value in found.to_dict().items() if key != "others"}
    assert Measurement.from_dict(before).others == ()


def test_a_channel_for_comparison_is_in_no_sum_even_where_nobody_else_reads_its_domain():
    window = measured(
        (channel("wall", source="shelly-power", kind="power"), lambda: 150.0),
        cpu("estimate", 20.0, status=Status.ESTIMATED, comparison=True),
    )
    found = window.measurement
    assert [one.domain for one in found.readings] == ["wall"]
    assert [(one.domain, one.source) for one in found.others] == [("cpu:0", "estimate")]
    assert found.total.domains == ("wall",)
    times_s, joules = energy_profile(window.channel_samples, found.total, window.started_s)
    assert joules[-1] == pytest.approx(150 * times_s[-1], rel=0.3)


def estimate(measured, **settings):
    (meter,) = EstimateDetector(measured=measured, **settings).detect()[0]
    return {one.domain: one.comparison for one in meter.channels}


@pytest.mark.parametrize("read", [["wall"], ["psys:0"], ["cpu:0", "dram:0"], ["cpus", "dram:0"]])
def test_an_estimate_of_what_is_read_is_only_there_where_it_was_named(read):
    assert EstimateDetector(measured=read).detect() == ([], [])
    assert estimate(read, beside=True) == {"cpu:0": True, "dram:0": True}


def test_an_estimate_fills_in_what_is_not_read_and_compares_the_rest():
    assert estimate(["cpu:0", "gpu:0"]) == {"dram:0": False}
    assert estimate(["cpu:0", "gpu:0"], beside=True) == {"cpu:0": True, "dram:0": False}
    assert estimate([], beside=True) == {"cpu:0": False, "dram:0": False}


def test_an_energy_below_zero_is_missing_with_its_reason_and_flagged():
    window = measured((channel("gpu:0", kind="power", source="broken"), lambda: -50.0))
    found = window.measurement
    reading = found["gpu:0"]
    assert (reading.gross_j, reading.status) == (None, Status.MISSING)
    assert "broken says -" in reading.reason
    assert "an energy below 0 is impossible" in reading.reason
    assert any("gpu:0: broken says -" in flag for flag in found.flags)
    assert found.total.gross_j is None
    assert counted(found, None, "gpu:0").status is Status.MISSING
    assert "an energy below 0 is impossible" in str(found)


def test_a_sound_instrument_takes_the_place_of_one_that_reads_below_zero():
    found = measured(
        (channel(source="broken", kind="power"), lambda: -50.0),
        (channel(source="sound", kind="power"), lambda: 80.0),
    ).measurement
    assert found["gpu:0"].source == "sound"
    (other,) = found.others
    assert (other.source, other.gross_j) == ("broken", None)
    assert sum("impossible" in flag for flag in found.flags) == 1


def test_the_estimate_named_beside_codecarbon_changes_no_sum(monkeypatch, real_time):
    monkeypatch.setenv("CODECARBON_FORCE_MODE_CPU_LOAD", "true")
    monkeypatch.setenv("CODECARBON_FORCE_CPU_POWER", "100")
    meters = find_meters(["estimate", "codecarbon?measure_power_secs=0.1"]).meters
    found = measured(meters=meters, duration_s=0.3).measurement
    assert {one.source for one in found.readings} == {"codecarbon"}
    assert {(one.domain, one.source) for one in found.others} == {
        ("cpu:0", "estimate"),
        ("dram:0", "estimate"),
    }
    assert found.total.sources == ("codecarbon",)
    assert counted(found, None, "cpu").sources == ("codecarbon",)


ALL_AT_ONCE = """
from joulelab.energy.detection import open_recorder
from joulelab.study.accounting import counted

names = ["nvml", "rapl", "codecarbon?measure_power_secs=0.1", "shelly:" + os.environ["PLUG"],
         "estimate"]
with open_recorder(names, interval_s=0.05) as recorder, recorder.open("run") as window:
    zone = Path(os.environ["JOULELAB_POWERCAP"]) / "intel-rapl:0" / "energy_uj"
    counter = os.open(zone, os.O_WRONLY)
    for joules in range(1, 11):
        time.sleep(0.05)
        os.pwrite(counter, b"%020d" % (5_000_000 * joules), 0)
found = window.measurement
out["read"] = sorted([one.domain, one.source, one.gross_j] for one in found.readings)
out["cpu error"] = found["cpu:0"].error_j
out["beside"] = sorted([one.domain, one.source] for one in found.others)
out["total"] = [list(found.total.domains), found.total.gross_j]
for training in ("gpu:0", "cpu"):
    sum_ = counted(found, None, training)
    out[training] = [list(sum_.domains), sum_.gross_j]
sum_ = counted(found, ["gpu:0", "cpu:0"], "gpu:0")
out["named"] = [sorted(zip(sum_.domains, sum_.sources)), sum_.gross_j]
"""


def test_five_meters_read_one_window_and_the_plug_alone_counts(nvml_library, tmp_path, real_time):
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    (zone / "energy_uj").write_text(f"{0:020}")
    with FakeShelly(power_w=400.0, total_j=lambda: 400 * time.monotonic()) as plug:
        out = run_program(
            ALL_AT_ONCE,
            stub_variables(nvml_library)
            | {
                "PATH": f"{nvml_library}:{os.environ['PATH']}",
                "PLUG": plug.address,
                "JOULELAB_POWERCAP": str(tmp_path),
                "CODECARBON_FORCE_MODE_CPU_LOAD": "true",
                "CODECARBON_FORCE_CPU_POWER": "100",
            },
        )
    read = {domain: (source, gross_j) for domain, source, gross_j in out["read"]}
    assert read["gpu:0"][0].startswith("nvml")
    assert read["cpu:0"] == ("rapl", pytest.approx(50.0, abs=out["cpu error"]))
    assert read["dram:0"][0] == "codecarbon"
    assert read["wall"][0].startswith("shelly")
    assert [one for one in out["beside"] if one[0] == "cpu:0"] == [
        ["cpu:0", "codecarbon"],
        ["cpu:0", "estimate"],
    ]
    assert ["gpu:0", "codecarbon"] in out["beside"]
    assert ["dram:0", "estimate"] in out["beside"]
    for sum_ in ("total", "gpu:0", "cpu"):
        assert out[sum_] == [["wall"], read["wall"][1]]
    both_j = read["gpu:0"][1] + read["cpu:0"][1]
    assert out["named"] == [
        [["cpu:0", "rapl"], ["gpu:0", read["gpu:0"][0]]],
        pytest.approx(both_j),
    ]


def test_what_was_read_beside_is_shown_and_said_to_be_in_no_sum():
    found = measured(cpu("rapl", 100.0), cpu("codecarbon", 60.0)).measurement
    lines = str(found).splitlines()
    assert [line.split()[-2:] for line in lines if line.startswith("cpu:0 ")][:2] == [
        ["rapl,", "measured"],
        ["codecarbon,", "measured"],
    ]
    assert "cpu:0 of codecarbon: for comparison only, not in the sum" in lines
    plain = measurement_data(found)
    assert plain["others"][0]["mean_power_w"] == pytest.approx(60, rel=0.05)
    assert plain["total"]["gross_j"] == found["cpu:0"].gross_j
