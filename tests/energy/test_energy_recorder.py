"""The recorder, with meters whose answers are known: in simulated time, or with its thread."""

import itertools
import os
import threading
import time
import types

import numpy as np
import pytest
from fake_meter import FakeMeter, channel

from joulelab.energy import polling as polling_module
from joulelab.energy import recorder as recorder_module
from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Meter, Missing, Sample
from joulelab.energy.reading import Status, total
from joulelab.energy.recorder import Recorder
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.summary import Conditions, summarise
from joulelab.errors import MeterError

pytestmark = pytest.mark.usefixtures("simulated_time")


def flowing(power_w):
    """A counter into which so many watts flow."""
    return lambda: power_w * time.monotonic()


def recorder(*channels_and_values, **settings):
    return Recorder([FakeMeter(*channels_and_values)], interval_s=0.02, **settings)


def test_a_counter_gives_the_energy_between_the_edges(real_time):
    with recorder((channel(), flowing(100.0))) as meter, meter.open("w") as window:
        time.sleep(0.15)
    reading = window.measurement["gpu:0"]
    assert reading.gross_j == pytest.approx(100 * window.measurement.duration_s, rel=0.02)
    assert (reading.status, reading.source) == (Status.MEASURED, "fake-counter")
    assert window.measurement.samples > 3


def test_power_is_integrated_over_the_window():
    with recorder((channel(kind="power"), lambda: 80.0)) as meter, meter.open("w") as window:
        time.sleep(0.15)
    reading = window.measurement["gpu:0"]
    assert reading.gross_j == pytest.approx(80 * window.measurement.duration_s, rel=0.02)
    assert reading.peak_power_w == 80.0


def test_the_peak_of_a_counter_is_not_below_its_mean():
    # All energy flows in the last step, which is too short for a power of its own.
    counted_j = np.array([0.0, 0.0, 0.0, 5.0])
    samples = ChannelSamples(channel(), np.array([0.0, 0.1, 0.2, 0.21]), counted_j, 0.1)
    conditions = Conditions("w", 0.0, (0.0, 0.21), (), {}, 0.1)
    reading = summarise(conditions, [samples])["gpu:0"]
    assert reading.peak_power_w >= reading.mean_power_w > 0


def test_windows_overlap_and_nest_without_disturbing_each_other():
    with recorder((channel(), flowing(100.0))) as meter:
        outer = meter.open("outer")
        time.sleep(0.05)
        with meter.open("inner") as inner:
            time.sleep(0.05)
            later = meter.open("later")
        time.sleep(0.05)
        outer.close()
        time.sleep(0.05)
        later.close()
    for window in (outer, inner, later):
        measurement = window.measurement
        assert measurement["gpu:0"].gross_j == pytest.approx(100 * measurement.duration_s, rel=0.05)
    assert outer.measurement.duration_s > inner.measurement.duration_s


def test_windows_from_several_threads_are_independent(real_time):
    measured = []

    def work(pause_s):
        with meter.open(str(pause_s)) as window:
            time.sleep(pause_s)
        measured.append(window.measurement)

    with recorder((channel(), flowing(100.0))) as meter:
        threads = [threading.Thread(target=work, args=(0.02 * n,)) for n in range(1, 6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(measured) == 5
    for one in measured:
        assert one["gpu:0"].gross_j == pytest.approx(100 * one.duration_s, rel=0.05)


def test_an_exception_inside_closes_the_window_and_keeps_the_reading():
    with recorder((channel(), flowing(100.0))) as meter:
        window = meter.open("w")
        with pytest.raises(ValueError, match="inside"), window:
            raise ValueError("inside")
    assert window.measurement["gpu:0"].gross_j > 0


def test_closing_twice_gives_the_same():
    with recorder((channel(), flowing(100.0))) as meter:
        window = meter.open("w")
        assert window.close() is window.close()


def test_an_open_window_says_what_it_has_used_so_far():
    with recorder((channel(), flowing(100.0))) as meter, meter.open("w") as window:
        time.sleep(0.03)
        before = window.so_far()["gpu:0"].gross_j
        time.sleep(0.03)
        assert window.so_far()["gpu:0"].gross_j > before > 0
    assert window.measurement["gpu:0"].gross_j > before


def test_idle_power_is_remembered_and_subtracted():
    power = [20.0]
    with recorder((channel(kind="power"), lambda: power[0])) as meter:
        assert meter.measure_idle(0.06)["gpu:0"] == pytest.approx(20.0)
        power[0] = 120.0
        with meter.open("w") as window:
            time.sleep(0.06)
    reading = window.measurement["gpu:0"]
    assert reading.net_j == pytest.approx(100 * reading.duration_s, rel=0.02)
    assert reading.gross_j == pytest.approx(reading.net_j + reading.idle_j)


def test_without_idle_power_net_energy_is_unknown_and_not_the_gross():
    with recorder((channel(), flowing(100.0))) as meter, meter.open("w") as window:
        pass
    assert window.measurement["gpu:0"].net_j is None
    assert total(window.measurement.readings).net_j is None


def test_a_meter_that_raises_is_a_reason_and_the_recording_goes_on():
    class Broken(FakeMeter):
        def sample(self):
            raise OSError("bus error")

    broken = Broken((channel("cpu:0"), lambda: 0.0))
    sound = FakeMeter((channel("gpu:0"), flowing(100.0)))
    with Recorder([broken, sound], interval_s=0.02) as meter, meter.open("w") as window:
        time.sleep(0.05)
    assert window.measurement["cpu:0"].gross_j is None
    assert window.measurement["cpu:0"].status is Status.MISSING
    assert "bus error" in window.measurement["cpu:0"].reason
    assert window.measurement["gpu:0"].gross_j > 0


def lost_half_way(kind, **limits):
    """A window of 0.4 s at 100 W whose sensor says nothing in its second half."""
    gone = [False]
    start_s = time.monotonic()
    known = {"counter": lambda: 100 * (time.monotonic() - start_s), "power": lambda: 100.0}[kind]
    value = lambda: None if gone[0] else known()  # noqa: E731
    with recorder((channel(kind=kind), value), **limits) as meter, meter.open("w") as window:
        time.sleep(0.2)
        gone[0] = True
        time.sleep(0.2)
    return window.measurement


@pytest.mark.parametrize("kind", ["counter", "power"])
def test_a_sensor_that_goes_away_leaves_what_it_saw_and_a_bound_of_what_it_did_not(kind):
    measurement = lost_half_way(kind)
    reading = measurement["gpu:0"]
    assert reading.status is Status.PARTLY_ESTIMATED
    assert reading.gross_j == pytest.approx(100 * reading.duration_s, rel=0.1)
    assert 0.1 < reading.lost_s < reading.duration_s
    # Between nothing and the highest power that was seen may have flowed unseen.
    assert reading.error_j >= 100 * reading.lost_s * 0.99
    assert "unplugged" in reading.reason
    assert "measured: " in reading.reason
    assert reading.seen_j == pytest.approx(100 * (reading.duration_s - reading.lost_s), rel=0.1)
    assert any("said nothing for" in flag for flag in measurement.flags)


def test_what_a_lost_sensor_may_have_missed_is_bounded_by_the_power_limit():
    gone = [False]

    class Limited(FakeMeter):
        def sample(self):
            return [Sample(None if gone[0] else 100.0, "gone", {"power_limit_w": 700.0})]

    with (
        Recorder([Limited((channel(kind="power"), None))], interval_s=0.02) as meter,
        meter.open("w") as window,
    ):
        time.sleep(0.1)
        gone[0] = True
        time.sleep(0.2)
    reading = window.measurement["gpu:0"]
    unseen_j = reading.gross_j - reading.seen_j
    assert unseen_j - reading.error_j <= 0
    assert unseen_j + reading.error_j >= 700 * reading.lost_s
    assert "the limit, 700 W" in reading.reason


def test_a_whole_power_trace_is_better_than_a_part_of_a_counter():
    times_s = np.linspace(0, 2, 101)
    counted_j = np.where(times_s < 1, 100 * times_s, np.nan)
    counter = ChannelSamples(channel(), times_s, counted_j, 0.02, "unplugged")
    power = ChannelSamples(channel(kind="power"), times_s, np.full(101, 50.0), 0.02)
    window = Conditions("w", None, (0.0, 2.0), (), {}, 0.02)
    reading = summarise(window, [counter, power])["gpu:0"]
    assert (reading.source, reading.status) == ("fake-power", Status.MEASURED)
    assert "fake-counter: unplugged" in reading.reason


def test_a_counter_that_made_few_of_its_steps_is_passed_over_for_power():
    def steps_of(joules):
        return lambda: joules * (100 * time.monotonic() // joules)

    with (
        recorder(
            (channel(resolution_j=3.0), steps_of(3.0)), (channel(kind="power"), lambda: 100.0)
        ) as meter,
        meter.open("w") as window,
    ):
        time.sleep(0.1)
    assert window.measurement["gpu:0"].source == "fake-power"
    with recorder((channel(resolution_j=3.0), steps_of(3.0))) as meter, meter.open("w") as window:
        time.sleep(0.1)
    reading = window.measurement["gpu:0"]
    assert reading.source == "fake-counter"
    assert reading.error_j >= 3.0


def test_a_window_of_few_ticks_is_read_from_whatever_is_surer():
    counter = (channel(tick_s=10.0), flowing(100.0))
    with (
        recorder(counter, (channel(kind="power"), lambda: 100.0)) as meter,
        meter.open("w") as window,
    ):
        time.sleep(0.1)
    assert window.measurement["gpu:0"].source == "fake-power"
    noise = itertools.cycle([0.0, 3000.0])
    with (
        recorder(
            (channel(tick_s=0.05), flowing(100.0)),
            (channel(kind="power"), lambda: next(noise)),
        ) as meter,
        meter.open("w") as window,
    ):
        time.sleep(0.3)
    assert window.measurement["gpu:0"].source == "fake-counter"
    assert any("coarse" in flag for flag in window.measurement.flags)


@pytest.mark.parametrize("kind", ["counter", "power"])
def test_an_edge_that_could_not_be_read_is_bridged_within_a_wider_bound(kind):
    reads = itertools.count()
    start_s = time.monotonic()

    def value():
        if next(reads) == 0:
            return None
        return 100 * (time.monotonic() - start_s) if kind == "counter" else 100.0

    with recorder((channel(kind=kind), value)) as meter, meter.open("w") as window:
        time.sleep(0.3)
    reading = window.measurement["gpu:0"]
    assert reading.status is Status.MEASURED
    assert abs(reading.gross_j - 100 * reading.duration_s) <= reading.error_j
    assert reading.error_j > 0


def test_a_meter_with_nothing_new_is_read_less_often_and_at_the_edges():
    read = []

    class Slow(FakeMeter):
        interval_s = 0.1

        def sample(self):
            read.append(time.monotonic())
            return super().sample()

    slow = Slow((channel("wall", kind="power"), lambda: 10.0))
    quick = FakeMeter((channel("gpu:0", kind="power"), lambda: 50.0))
    with Recorder([slow, quick], interval_s=0.01) as meter, meter.open("w") as window:
        time.sleep(0.55)
    measurement = window.measurement
    assert 2 <= len(read) <= 3 + measurement.duration_s / Slow.interval_s
    assert measurement["wall"].gross_j == pytest.approx(10 * measurement.duration_s, rel=0.01)
    quick_s = window.channel_samples[1].times_s
    assert measurement.samples == len(quick_s)
    assert measurement.longest_gap_s == pytest.approx(np.diff(quick_s).max())


def test_laps_meet_without_a_gap():
    with recorder((channel(), flowing(100.0))) as meter:
        whole, lap = meter.open("whole"), meter.open("lap")
        laps = []
        for _ in range(4):
            time.sleep(0.03)
            lap, done = lap.lap(), lap
            laps.append(done.measurement)
        laps.append(lap.close())
        all_of_it = whole.close()
        with pytest.raises(MeterError, match="already closed"):
            lap.lap()
    for before, after in itertools.pairwise(laps):
        assert after.started_at == pytest.approx(before.started_at + before.duration_s, abs=0.01)
    summed_j = sum(one["gpu:0"].gross_j for one in laps)
    assert summed_j == pytest.approx(all_of_it["gpu:0"].gross_j, abs=100 * 0.01)


def test_a_forked_process_is_told_that_the_recorder_is_not_its_own(real_time):
    with recorder((channel(), flowing(100.0))) as meter:
        pid = os.fork()
        if pid == 0:
            try:
                meter.open("w")
            except MeterError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_wall_clock_that_jumps_changes_no_duration_and_no_energy(monkeypatch):
    with recorder((channel(), flowing(100.0))) as meter:
        window = meter.open("w")
        monkeypatch.setattr(time, "time", lambda: 0.0)
        time.sleep(0.1)
        measurement = window.close()
    assert 0.1 <= measurement.duration_s < 5
    assert measurement["gpu:0"].gross_j == pytest.approx(100 * measurement.duration_s, rel=0.05)


def test_a_window_in_which_the_machine_slept_is_flagged(monkeypatch):
    with recorder((channel(), flowing(100.0))) as meter:
        window = meter.open("w")
        monkeypatch.setattr("joulelab.energy.recorder._slept_s", lambda: window.slept_s + 60)
        assert "the machine slept for 60.0 s" in window.close().flags


def test_where_the_counter_fails_its_power_takes_over_and_says_so():
    with (
        recorder(
            (channel(), lambda: None), (channel(kind="power", source="fake-power"), lambda: 50.0)
        ) as meter,
        meter.open("w") as window,
    ):
        time.sleep(0.05)
    reading = window.measurement["gpu:0"]
    assert reading.source == "fake-power"
    assert reading.gross_j == pytest.approx(50 * reading.duration_s, rel=0.05)
    assert "fake-counter" in reading.reason


def test_power_beside_a_counter_is_the_check_and_a_disagreement_is_flagged():
    def measured(power_w):
        with (
            recorder(
                (channel(), flowing(100.0)), (channel(kind="power"), lambda: power_w)
            ) as meter,
            meter.open("w") as window,
        ):
            time.sleep(0.1)
        return window.measurement

    agreeing, disagreeing = measured(100.0), measured(150.0)
    assert agreeing["gpu:0"].source == "fake-counter"
    assert agreeing["gpu:0"].check_j == pytest.approx(agreeing["gpu:0"].gross_j, rel=0.05)
    assert not [flag for flag in agreeing.flags if "says" in flag]
    assert [flag for flag in disagreeing.flags if "says" in flag]


def test_a_window_of_few_ticks_is_flagged_as_coarse():
    with (
        recorder((channel(tick_s=0.1), flowing(100.0))) as meter,
        meter.open("w") as window,
    ):
        time.sleep(0.05)
    assert [flag for flag in window.measurement.flags if "coarse" in flag]
    reading = window.measurement["gpu:0"]
    assert reading.error_j >= 0.1 * 100 * 1.9, "a tick at each edge is uncertain"


def test_a_gap_between_samples_is_reported_and_flagged():
    slow = [0.0]

    def value():
        time.sleep(slow[0])
        return 10.0

    with recorder((channel(kind="power"), value)) as meter, meter.open("w") as window:
        slow[0] = 0.2
        time.sleep(0.3)
        slow[0] = 0.0
    assert window.measurement.longest_gap_s > 0.15
    assert [flag for flag in window.measurement.flags if "no sample" in flag]


def test_a_measured_channel_beats_an_estimate_of_the_same_domain():
    with (
        recorder(
            (channel("cpu:0", status=Status.ESTIMATED, source="guess"), flowing(1.0)),
            (channel("cpu:0", source="sensor"), flowing(2.0)),
        ) as meter,
        meter.open("w") as window,
    ):
        time.sleep(0.02)
    (reading,) = window.measurement.readings
    assert (reading.source, reading.status) == ("sensor", Status.MEASURED)
    assert reading.check_j is None, "an estimate checks nothing"


def test_what_cannot_be_read_is_in_every_measurement_with_its_reason():
    with (
        Recorder([], missing=[Missing("cpu:0", "no permission")]) as meter,
        meter.open("w") as window,
    ):
        pass
    reading = window.measurement["cpu:0"]
    assert (reading.status, reading.gross_j, reading.reason) == (
        Status.MISSING,
        None,
        "no permission",
    )


def test_an_estimate_stands_for_all_sockets_that_no_sensor_reads():
    estimate = FakeMeter((channel("cpu:0", status=Status.ESTIMATED, source="guess"), flowing(5.0)))
    missing = [Missing("cpu:0", "no permission"), Missing("cpu:1", "no permission")]
    with Recorder([estimate], missing=missing) as meter, meter.open("w") as window:
        pass
    assert [reading.domain for reading in window.measurement.readings] == ["cpu:0"]
    assert len(meter.describe()["missing"]) == 2, "the manifest still says what is missing"


def test_samples_that_no_window_needs_are_forgotten():
    with recorder((channel(), flowing(1.0))) as meter:
        for _ in range(3):
            with meter.open("w"):
                time.sleep(0.1)
        held = [len(buffer) for buffer in meter._buffers]
    assert held == [0]


def test_closing_stops_the_thread_and_closes_every_meter(real_time):
    meter = FakeMeter((channel(), flowing(1.0)))
    one = Recorder([meter])
    others = set(threading.enumerate())
    one.start()
    assert set(threading.enumerate()) - others, "it samples in a thread of its own"
    one.close()
    one.close()
    assert meter.closed
    assert not set(threading.enumerate()) - others


def test_deadlines_do_not_drift(monkeypatch, real_time):
    """Each sample takes half an interval, and some take two; all fall on multiples of it."""
    now_s, calls, waits = [100.0], [], itertools.count()

    def value():
        calls.append(now_s[0])
        now_s[0] += 0.05 if len(calls) % 7 == 0 else 0.01
        return 1.0

    def wait(timeout_s):
        now_s[0] += max(timeout_s, 0.0)
        return next(waits) > 40

    meter = recorder((channel(kind="power"), value))
    clock = types.SimpleNamespace(monotonic=lambda: now_s[0], time=time.time)
    monkeypatch.setattr(recorder_module, "time", clock)
    monkeypatch.setattr(polling_module, "time", clock)
    monkeypatch.setattr(recorder_module, "_BOOT_CLOCK", None)
    meter._stop = types.SimpleNamespace(wait=wait, set=lambda: None)
    meter.open("w")
    begun_s = now_s[0]
    meter.start()
    meter._thread.join()
    ticks = [(call - begun_s) / 0.02 for call in calls[1:]]
    assert len(ticks) == 40
    assert ticks == pytest.approx(np.round(ticks), abs=1e-6)
    assert ticks[:6] == pytest.approx([1, 2, 3, 4, 5, 6])
    meter.close()


def test_a_measurement_survives_plain_data():
    with recorder((channel(), flowing(1.0))) as meter, meter.open("w") as window:
        pass
    assert Measurement.from_dict(window.measurement.to_dict()) == window.measurement


def test_a_trace_has_a_row_a_sample_and_channel():
    with recorder((channel(), flowing(100.0))) as meter, meter.open("w") as window:
        time.sleep(0.1)
    columns = window.trace_columns()
    assert {len(column) for column in columns.values()} == {window.measurement.samples}
    assert columns["energy_j"][0] == 0
    assert columns["power_w"][-2] == pytest.approx(100, rel=0.05)
    assert columns["t_s"][0] >= 0


def test_the_interface_of_a_meter_has_few_methods():
    assert set(Meter.__abstractmethods__) == {"channels", "sample"}


def test_a_counter_that_runs_backwards_gives_no_figure():
    values = iter([10.0, 20.0, 3.0] + [50.0] * 1000)
    with recorder((channel(), lambda: next(values))) as meter, meter.open("w") as window:
        time.sleep(0.1)
    reading = window.measurement["gpu:0"]
    assert reading.gross_j is None
    assert "backwards" in reading.reason


def test_a_value_that_is_no_number_is_unreadable():
    with recorder((channel(), lambda: float("nan"))) as meter, meter.open("w") as window:
        pass
    reading = window.measurement["gpu:0"]
    assert reading.gross_j is None
    assert "nan" in reading.reason


def test_a_meter_with_too_few_samples_is_a_reason():
    class Short(FakeMeter):
        def sample(self):
            return []

    with (
        Recorder([Short((channel(), lambda: 0.0))]) as meter,
        meter.open("w") as window,
    ):
        pass
    assert "0 samples for 1 channels" in window.measurement["gpu:0"].reason


def test_closing_the_recorder_closes_its_windows_first(real_time):
    meter = recorder((channel(), flowing(100.0)))
    meter.start()
    window = meter.open("w")
    time.sleep(0.02)
    meter.close()
    assert window.measurement["gpu:0"].gross_j > 0
    with pytest.raises(MeterError, match="closed"):
        meter.open("later")


def test_power_that_was_not_readable_for_a_while_is_an_estimate_and_says_so():
    readable = [True]
    value = lambda: 100.0 if readable[0] else None  # noqa: E731
    with recorder((channel(kind="power"), value)) as meter, meter.open("w") as window:
        time.sleep(0.06)
        readable[0] = False
        time.sleep(0.15)
        readable[0] = True
        time.sleep(0.06)
    reading = window.measurement["gpu:0"]
    assert reading.gross_j == pytest.approx(100 * reading.duration_s, rel=0.01)
    assert reading.status is Status.PARTLY_ESTIMATED
    assert 0.1 < reading.lost_s < reading.duration_s
    assert reading.error_j >= 100 * reading.lost_s * 0.99
    assert "taken as 100 W" in reading.reason
    assert any("said nothing for" in flag for flag in window.measurement.flags)
