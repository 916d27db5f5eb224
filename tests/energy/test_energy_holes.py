"""What lies in a hole of a trace was not measured, whoever has recorded it."""

import dataclasses
import json
import math
import time

import numpy as np
import pytest
from fake_meter import FakeMeter, channel

from joulelab.energy.booking import energy_profile
from joulelab.energy.measurement import (
    Measurement,
    measurement_data,
    measurement_table,
)
from joulelab.energy.meter import Sample
from joulelab.energy.meters.replay import ReplayMeter
from joulelab.energy.reading import Reading, Status, total
from joulelab.energy.recorder import Recorder
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.summary import Conditions, summarise
from joulelab.energy.traces.recording import Recording, read_recording
from joulelab.energy.traces.trace_file import LiveTrace, TraceAbout

NAN = math.nan
HOUR_S = 3600


def samples(times, values, kind="power", interval_s=1.0, state=None, **settings):
    values = np.array(values, float)
    lost = "unplugged" if np.isnan(values).any() else ""
    return ChannelSamples(
        channel(kind=kind, **settings),
        np.array(times, float),
        values,
        interval_s,
        lost,
        state or {},
    )


def measured(*channel_samples, idle_w=None, idle_error_w=None, end_s=None):
    end_s = max(one.times_s[-1] for one in channel_samples) if end_s is None else end_s
    window = Conditions("w", None, (0.0, end_s), (), idle_w or {}, 1.0, (), idle_error_w or {})
    return summarise(window, channel_samples)


def with_a_hole(power_w=100.0, **settings):
    """A minute, an hour of nothing, a minute."""
    times = [*range(61), *range(60 + HOUR_S, 121 + HOUR_S)]
    return samples(times, [power_w] * len(times), **settings)


LOG = "timestamp, {columns}power.draw [W]\n"


def log(tmp_path, rows, columns=""):
    lines = [
        f"2026/03/05 {10 + s // 3600}:{s // 60 % 60:02}:{s % 60:02}.123, {text}\n"
        for s, text in rows
    ]
    path = tmp_path / "gpu.csv"
    path.write_text(LOG.format(columns=columns) + "".join(lines), "utf-8")
    return read_recording(path)


def test_an_hour_without_rows_is_bridged_and_no_measurement(tmp_path):
    rows = [(s, "100.00 W") for s in [*range(61), *range(60 + HOUR_S, 121 + HOUR_S)]]
    found = log(tmp_path, rows).measure()
    reading = found["gpu:0"]
    assert reading.status is found.total.status is Status.PARTLY_ESTIMATED
    assert reading.seen_j == pytest.approx(12_000)
    assert reading.lost_s == pytest.approx(HOUR_S)
    assert reading.gross_j == pytest.approx(12_000 + 100 * HOUR_S)
    # The card may have done nothing meanwhile, or more than it was ever seen to do.
    assert reading.gross_j - reading.error_j <= 12_000
    assert reading.gross_j + reading.error_j >= 12_000 + 1000 * HOUR_S
    for part in ("no reading for 3600.0 s", "12,000 J in 120.0 s", "highest seen: 100 W"):
        assert part in reading.reason
    assert "partly estimated" in str(found)
    assert measurement_data(found)["readings"][0]["seen_j"] == reading.seen_j


def test_a_missing_row_and_a_row_without_a_reading_are_one_and_the_same(tmp_path):
    power = lambda s: f"{100 + s % 7}.00 W"  # noqa: E731
    good = [*range(20), *range(40, 60)]
    missing = log(tmp_path, [(s, power(s)) for s in good]).measure()
    for said in ("[N/A]", "[GPU is lost]", "-5.00 W", "nan"):
        rows = [(s, power(s) if s in good else said) for s in range(60)]
        found = log(tmp_path, rows).measure()
        flags = tuple(flag for flag in found.flags if "below 0" not in flag)
        assert dataclasses.replace(found, flags=flags) == missing, said
        assert (len(flags) < len(found.flags)) == said.startswith("-")
    assert missing["gpu:0"].lost_s == pytest.approx(21)


@pytest.mark.parametrize(("apart_s", "is_hole"), [(1.0, False), (3.0, False), (3.5, True)])
def test_a_gap_is_a_hole_from_three_intervals_on(apart_s, is_hole):
    times = [*range(30), *(29 + apart_s + np.arange(30))]
    reading = measured(samples(times, [100] * 60))["gpu:0"]
    assert (reading.status is Status.PARTLY_ESTIMATED) == is_hole
    assert (reading.lost_s > 0) == is_hole


def test_a_gap_below_a_second_is_none_in_a_window_of_minutes():
    times = np.concatenate((np.arange(0, 60, 0.1), np.arange(60.8, 120, 0.1)))
    reading = measured(samples(times, np.full(len(times), 100.0), interval_s=0.1))["gpu:0"]
    assert (reading.status, reading.lost_s) == (Status.MEASURED, 0)


def test_a_hole_lies_between_idle_power_and_the_limit_of_the_device():
    limit = {"power_limit_w": np.full(122, 300.0)}
    found = measured(with_a_hole(state=limit), idle_w={"gpu:0": 20.0}, idle_error_w={"gpu:0": 2.0})
    reading = found["gpu:0"]
    bridged_j = reading.gross_j - reading.seen_j
    assert bridged_j == pytest.approx(160 * HOUR_S)
    assert bridged_j - reading.error_j <= 18 * HOUR_S
    assert 300 * HOUR_S <= bridged_j + reading.error_j <= 310 * HOUR_S
    assert "idle power, 20 W, and the limit, 300 W" in reading.reason


def test_a_limit_of_the_channel_bridges_where_samples_say_none():
    reading = measured(with_a_hole(limit_w=300.0), idle_w={"gpu:0": 20.0})["gpu:0"]
    assert reading.gross_j - reading.seen_j == pytest.approx(160 * HOUR_S)
    assert "and 300 W" in reading.reason


@pytest.mark.parametrize(
    ("times", "values", "interval_s"),
    [
        (np.arange(0, 26, 5.0), np.arange(0, 26, 5.0), 5.0),  # the last sample is 5 s before
        (np.arange(0, 31, 5.0), [0, 5, 10, 15, 20, 25, 25], 5.0),  # not moved in the last step
        (np.linspace(0, 30, 301), np.minimum(np.linspace(0, 30, 301), 29.3), 0.1),
        (np.linspace(0, 30, 301), np.maximum(np.linspace(0, 30, 301), 0.7), 0.1),
    ],
)
def test_what_a_counter_did_not_say_at_an_edge_is_in_its_bound(times, values, interval_s):
    counter = samples(
        times,
        100 * np.array(values, float),
        kind="counter",
        interval_s=interval_s,
        relative_error=0.01,
        tick_s=0.001,
    )
    reading = measured(counter, end_s=30.0)["gpu:0"]
    assert abs(reading.gross_j - 3000) <= reading.error_j < 1000


def test_an_estimate_that_stands_still_with_its_process_is_no_less_sure():
    settings = {"kind": "counter", "status": Status.ESTIMATED, "relative_error": 0.4}
    counter = samples(np.arange(31.0), np.minimum(np.arange(31.0), 5), **settings)
    assert measured(counter)["gpu:0"].error_j == pytest.approx(0.4 * 5)


def test_the_name_of_a_card_says_what_it_may_have_drawn(tmp_path):
    seconds = [*range(61), *range(60 + HOUR_S, 121 + HOUR_S)]
    rows = [(s, "NVIDIA A100-SXM4-80GB, 100.00 W") for s in seconds]
    reading = log(tmp_path, rows, "name, ").measure()["gpu:0"]
    most_j = reading.gross_j - reading.seen_j + reading.error_j
    assert 500 * HOUR_S <= most_j <= 610 * HOUR_S
    assert "500 W, for such a device" in reading.reason


def test_a_counter_that_went_on_counting_has_the_energy_of_a_hole():
    times = [*range(61), *range(60 + HOUR_S, 121 + HOUR_S)]
    reading = measured(samples(times, 100.0 * np.array(times), kind="counter"))["gpu:0"]
    assert (reading.status, reading.lost_s) == (Status.MEASURED, 0)
    assert reading.gross_j == pytest.approx(100 * (120 + HOUR_S))


def test_a_counter_that_counted_more_than_the_device_can_draw_is_not_believed():
    times = [*range(61), *range(120, 181)]
    joules = [*range(0, 6001, 100), *range(900_000, 906_001, 100)]  # 15 kW for a minute
    reading = measured(samples(times, joules, kind="counter"))["gpu:0"]
    assert reading.status is Status.PARTLY_ESTIMATED
    assert (reading.lost_s, reading.seen_j) == (60, pytest.approx(12_000))


def test_power_beside_a_counter_that_is_not_whole_counts_if_it_is():
    times = np.arange(100.0)
    counter = samples(
        [*range(50), *range(90, 100)], [*range(50), *range(10**6, 10**6 + 10)], "counter"
    )
    power = samples(times, np.full(100, 80.0), source="fake-power")
    reading = measured(counter, power, end_s=99.0)["gpu:0"]
    assert (reading.source, reading.status) == ("fake-power", Status.MEASURED)


def test_a_window_within_a_hole_knows_nothing_and_one_at_its_edge_a_part():
    whole = Recording(TraceAbout("", None), (with_a_hole(),))
    within = whole.measure(600, 700)["gpu:0"]
    assert (within.status, within.gross_j) == (Status.MISSING, None)
    assert "gap" in within.reason
    part = whole.measure(30, 90)["gpu:0"]
    assert part.status is Status.PARTLY_ESTIMATED
    assert (part.seen_j, part.lost_s) == (pytest.approx(3000), pytest.approx(30))
    counter = with_a_hole(kind="counter")
    counter = dataclasses.replace(counter, values=100.0 * counter.times_s)
    edge = Recording(TraceAbout("", None), (counter,)).measure(30, 90)["gpu:0"]
    assert (edge.status, edge.lost_s) == (Status.PARTLY_ESTIMATED, pytest.approx(30))


def test_a_hole_that_is_replayed_is_one_again():
    now = [0.0]
    meter = ReplayMeter(Recording(TraceAbout(), (with_a_hole(),)), clock=lambda: now[0])

    def said(at_s):
        now[0] = at_s
        return meter.sample()[0].value

    assert [said(at_s) for at_s in (0, 60, 62, 1800, 3659, 3661)] == [
        100,
        100,
        None,
        None,
        None,
        100,
    ]


def test_a_sum_with_a_part_that_was_bridged_is_partly_estimated():
    def reading(domain, status):
        gross_j = None if status is Status.MISSING else 1.0
        return Reading(domain, "x", status, gross_j, 0.1, None, 1.0)

    measured_, partly = Status.MEASURED, Status.PARTLY_ESTIMATED
    estimated, missing = Status.ESTIMATED, Status.MISSING
    assert Status.of_sum(reversed(Status)) is missing
    assert total([reading("a", measured_), reading("b", partly)]).status is partly
    assert total([reading("a", partly), reading("b", estimated)]).status is estimated
    assert total([reading("a", estimated), reading("b", missing)]).status is missing
    assert total([reading("a", measured_), reading("b", measured_)]).status is measured_


def test_a_reading_with_a_hole_survives_the_store():
    found = measured(with_a_hole(), idle_w={"gpu:0": 20.0}, idle_error_w={"gpu:0": 2.0})
    again = Measurement.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    old = found["gpu:0"].to_dict()
    del old["seen_j"], old["idle_error_w"]
    assert Reading.from_dict(old).idle_error_w is None


def test_the_course_of_the_energy_ends_where_the_sum_does():
    hole = with_a_hole(state={"power_limit_w": np.full(122, 300.0)})
    found = measured(hole, samples(range(121 + HOUR_S), [10] * (121 + HOUR_S), domain="cpu:0"))
    times_s, joules = energy_profile(
        [hole, samples(range(121 + HOUR_S), [10] * (121 + HOUR_S), domain="cpu:0")],
        found.total,
        0.0,
    )
    assert joules[-1] == pytest.approx(found.total.gross_j)
    half_way = np.interp(60 + HOUR_S / 2, times_s, joules)
    assert half_way == pytest.approx(found.total.gross_j / 2, rel=1e-6)


def test_net_energy_inherits_the_bounds_of_gross_and_idle():
    found = measured(
        samples(range(11), [100] * 11, relative_error=0.1),
        idle_w={"gpu:0": 20.0},
        idle_error_w={"gpu:0": 3.0},
    )
    reading = found["gpu:0"]
    assert (reading.error_j, reading.idle_error_j) == (pytest.approx(100), pytest.approx(30))
    assert reading.net_error_j == found.total.net_error_j == pytest.approx(130)
    assert "net ± (J)" in measurement_table(found).headings()
    assert measurement_data(found)["total"]["net_error_j"] == pytest.approx(130)
    between = found.with_idle({"gpu:0": 20.0}, {"gpu:0": 24.0}, {"gpu:0": 3.0}, {"gpu:0": 4.0})
    assert between["gpu:0"].idle_error_w == pytest.approx(4 + 2)
    assert found.with_idle({"gpu:0": 20.0}, {})["gpu:0"].net_error_j is None


def test_idle_power_remembers_how_far_it_may_be_off(simulated_time):
    idle = FakeMeter((channel(kind="power", relative_error=0.1), lambda: 20.0))
    with Recorder([idle], interval_s=10) as meter:
        meter.measure_idle(0.05)
        assert meter.idle_error_w["gpu:0"] == pytest.approx(2.0)
        with meter.open("w") as window:
            time.sleep(0.02)
    reading = window.measurement["gpu:0"]
    assert reading.idle_error_j == pytest.approx(2.0 * reading.duration_s)


class Sleepy:
    """A machine that sleeps when it is told to, and a counter that counts on meanwhile."""

    def __init__(self, monkeypatch):
        self.slept_s = 0.0
        self.joules = 0.0
        monkeypatch.setattr("joulelab.energy.recorder._slept_s", lambda: self.slept_s)

    def sleep(self, seconds, power_w):
        self.slept_s += seconds
        self.joules += seconds * power_w


@pytest.mark.parametrize("kind", ["counter", "power"])
def test_what_a_machine_used_asleep_is_in_no_figure_and_nothing_is_measured_of_it(
    kind, monkeypatch, simulated_time
):
    machine = Sleepy(monkeypatch)
    started_s = time.monotonic()
    value = {
        "counter": lambda: machine.joules + 50 * (time.monotonic() - started_s),
        "power": lambda: 50.0,
    }[kind]
    meter = Recorder([FakeMeter((channel(kind=kind), value))], interval_s=0.02)
    with meter, meter.open("w") as window:
        time.sleep(0.1)
        machine.sleep(600, 5.0)
        time.sleep(0.1)
    found = window.measurement
    reading = found["gpu:0"]
    assert reading.status is Status.PARTLY_ESTIMATED
    assert reading.gross_j < 200, "3 kJ were used asleep"
    assert "the machine slept for 600.0 s" in reading.reason
    assert "the machine slept for 600.0 s" in found.flags
    assert reading.duration_s < 60


def test_a_trace_of_a_machine_that_slept_has_a_hole_there(monkeypatch, tmp_path, simulated_time):
    machine = Sleepy(monkeypatch)
    with (
        Recorder([FakeMeter((channel(kind="power"), lambda: 50.0))], interval_s=0.02) as meter,
        LiveTrace(tmp_path / "x.csv", meter, "") as trace,
    ):
        time.sleep(0.1)
        machine.sleep(600, 5.0)
        trace.lap()
        time.sleep(0.1)
    read = read_recording(tmp_path / "x.csv")
    assert read.end_s == pytest.approx(600, abs=60)
    assert read.measure()["gpu:0"].status is Status.PARTLY_ESTIMATED


def test_power_below_zero_is_no_reading_and_is_said(simulated_time):
    values = iter([100.0, -5.0, *[100.0] * 1000])
    fake = FakeMeter((channel(kind="power"), None))
    fake.sample = lambda: [Sample(next(values))]
    meter = Recorder([fake], interval_s=0.02)
    with meter, meter.open("w") as window:
        time.sleep(0.1)
    found = window.measurement
    assert found["gpu:0"].gross_j == pytest.approx(100 * found.duration_s)
    assert any("says -5 W" in flag and "not a reading" in flag for flag in found.flags)


@pytest.mark.parametrize("kind", ["power", "counter"])
def test_whatever_is_missing_the_parts_make_the_whole(kind):
    random = np.random.default_rng(3)
    holes = 0
    for _ in range(200):
        times = np.cumsum(
            random.choice([1.0, 1.3, 2.9, 5.0, 60.0], 20, p=[0.6, 0.2, 0.1, 0.05, 0.05])
        )
        times -= times[0]
        values = np.abs(random.normal(100, 40, 20))
        values = np.cumsum(values) if kind == "counter" else values
        lost = random.random(20) < random.choice([0.0, 0.2, 0.6])
        lost[[0, -1]] = False
        said = samples(times, np.where(lost, NAN, values), kind)
        kept = samples(times[~lost], values[~lost], kind)
        found = measured(said, end_s=times[-1])
        reading, other = found["gpu:0"], measured(kept, end_s=times[-1])["gpu:0"]
        assert dataclasses.replace(reading, reason="") == dataclasses.replace(other, reason="")
        assert (reading.lost_s > 0) == (reading.status is not Status.MEASURED)
        if reading.status is Status.PARTLY_ESTIMATED:
            holes += 1
            assert reading.gross_j - reading.error_j <= reading.seen_j
            assert reading.gross_j + reading.error_j >= reading.seen_j + 1000 * reading.lost_s
            _, joules = energy_profile([said], found.total, 0.0)
            assert joules[-1] == pytest.approx(reading.gross_j)
    assert holes > 50 or kind == "counter"


def test_the_course_of_a_part_of_a_recording_is_that_of_its_own_sum():
    whole = with_a_hole()
    part = Recording(TraceAbout("", None), (whole,)).measure(30, 1830)
    times_s, joules = energy_profile([whole], part.total, 30.0, 1830.0)
    used_j = np.diff(np.interp([0.0, 1800.0], times_s, joules))[0]
    assert used_j == pytest.approx(part.total.gross_j)
