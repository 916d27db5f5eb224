"""Recorded traces played again, through the meter, the recorder and the names of meters."""

import math

import numpy as np
import pytest
from fake_meter import channel
from recorded_runs import lines, traces_file

from joulelab.energy.conformance import check_meter
from joulelab.energy.detection import find_meters, open_recorder
from joulelab.energy.meters.replay import ReplayDetector, ReplayMeter
from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.traces.recording import Recording, read_recording
from joulelab.energy.traces.trace_file import TraceAbout
from joulelab.errors import MeterError, SettingsError, TraceError, UsageError

NAN = math.nan


class Clock:
    def __init__(self):
        self.now_s = 1e6

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def samples(times, values, kind="power", state=None, **settings):
    lost = "unplugged" if np.isnan(values).any() else ""
    settings = {"within": ("wall",), **settings}
    return ChannelSamples(
        channel(kind=kind, **settings),
        np.array(times, float),
        np.array(values, float),
        float(np.median(np.diff(times))),
        lost,
        state or {},
    )


def recording(*channel_samples, meters=None):
    return Recording(TraceAbout("run", meters=meters or {}), channel_samples)


def played(meter, clock, moments):
    """What the meter says at some moments since it was first read, a list for each channel."""
    began_s = clock.now_s
    said = []
    for moment in moments:
        clock.now_s = began_s + moment
        said.append([sample.value for sample in meter.sample()])
    return [list(values) for values in zip(*said, strict=True)]


def test_a_value_stands_until_the_next_one(clock):
    meter = ReplayMeter(recording(samples([5, 6, 8, 9], [10, 20, 30, 40])), clock=clock)
    moments = [0, 0.99, 1, 2.5, 3, 3.99, 4]
    assert played(meter, clock, moments) == [[10, 10, 20, 20, 30, 30, 40]]


def test_after_the_end_nothing_is_known(clock):
    meter = ReplayMeter(recording(samples([0, 1, 2], [10, 20, 30])), clock=clock)
    assert played(meter, clock, [0, 2, 2.01, 100]) == [[10, 30, None, None]]
    assert meter.sample()[0].reason == "the recording has ended"


def test_a_channel_of_its_own_length_is_known_as_long_as_it_lasts(clock):
    late = samples([4, 5, 6], [7, 8, 9], domain="cpu:0")
    early = samples([0, 1, 2], [10, 20, 30])
    meter = ReplayMeter(recording(early, late), clock=clock)
    first, second = played(meter, clock, [0, 2.5, 3.5, 4, 6])
    assert first == [10, 30, None, None, None]
    assert second == [None, None, 7, 7, 9]


def test_channels_that_were_read_one_after_the_other_begin_and_end_together(clock):
    gpu = samples([0, 0.1, 0.2, 0.3], [10, 20, 30, 40])
    cpu = samples([0.002, 0.102, 0.202, 0.302], [1, 2, 3, 4], domain="cpu:0")
    meter = ReplayMeter(recording(gpu, cpu), clock=clock)
    assert played(meter, clock, [0, 0.3015]) == [[10, 40], [1, 3]]
    loop = ReplayMeter(recording(gpu, cpu), loop=True, clock=clock)
    for values in played(loop, clock, np.arange(0, 2, 0.0007)):
        assert None not in values


def test_an_unreadable_sample_is_unreadable_again(clock):
    meter = ReplayMeter(recording(samples([0, 1, 2], [10, NAN, 30])), clock=clock)
    assert played(meter, clock, [0, 1.5, 2]) == [[10, None, 30]]
    clock.now_s -= 1
    assert meter.sample()[0].reason == "unplugged"


@pytest.mark.parametrize("values", [[5, 6, 9, 11], [NAN, 6, 9, 11], [5, NAN, 9, NAN], [5] * 4])
def test_a_counter_that_begins_anew_never_runs_backwards(clock, values):
    meter = ReplayMeter(recording(samples([0, 1, 2, 3], values, "counter")), loop=True, clock=clock)
    (counts,) = played(meter, clock, np.arange(0, 20, 0.25))
    known = [count for count in counts if count is not None]
    assert (np.diff(known) >= 0).all()
    a_round_j = np.nanmax(values) - np.nanmin(values)
    for one, other in zip(counts, counts[12:], strict=False):  # 3 s later
        assert (one is None) == (other is None)
        assert one is None or other - one == a_round_j


def test_what_the_sensor_said_beside_it_is_said_again(clock):
    state = {"temperature_c": np.array([40.0, NAN, 42.0]), "utilisation": np.array([0, 0.5, 1])}
    meter = ReplayMeter(recording(samples([0, 1, 2], [1, 2, 3], state=state)), clock=clock)
    said = []
    for _ in range(3):
        said.append(dict(meter.sample()[0].state))
        clock.now_s += 1
    assert said == [
        {"temperature_c": 40, "utilisation": 0},
        {"utilisation": 0.5},
        {"temperature_c": 42, "utilisation": 1},
    ]


def test_the_channels_are_those_of_the_recording_and_as_old_as_its_interval():
    original = samples([0, 1, 2], [1, 2, 3], source="nvml-power", relative_error=0.05, tick_s=0.1)
    (replayed,) = ReplayMeter(recording(original)).channels
    assert replayed.source == "replay:nvml-power"
    assert (replayed.domain, replayed.within) == ("gpu:0", ("wall",))
    assert (replayed.relative_error, replayed.tick_s) == (0.05, 1.0)


def test_it_tells_what_it_plays():
    described = ReplayMeter(
        recording(samples([0, 1, 2], [1, 2, 3]), meters={"nvml": {"driver": "535.54"}})
    ).describe()
    assert described == {"recording": "run", "length_s": "2", "nvml driver": "535.54"}


@pytest.mark.parametrize("loop", [False, True])
def test_it_keeps_the_contract_of_a_meter(loop):
    counter = samples(np.arange(0, 10, 0.01), np.arange(1000), "counter")
    power = samples(np.arange(0, 10, 0.01), [200] * 500 + [NAN] * 500, domain="cpu:0")
    short = samples([0, 0.01, 0.02], [5, 6, 7], "counter", domain="dram:0")
    check_meter(lambda: ReplayMeter(recording(counter, power, short), loop=loop))
    check_meter(lambda: ReplayMeter(recording(short), loop=loop), samples=20)


def test_the_real_runs_keep_the_contract_of_a_meter(data_dir, clock):
    runs = read_recording(traces_file(data_dir), where="run=cloud-vgg16-20230310T073017")

    def hurry():
        clock.now_s += 0.9

    check_meter(lambda: ReplayMeter(runs, clock=clock), samples=4600, between=hurry)


def test_an_hour_that_is_played_in_a_moment_has_the_energy_of_the_recording(data_dir, clock):
    run = "local-v2-vgg16-20230302T104646"
    recorded = read_recording(traces_file(data_dir), where=f"run={run}")
    meter = ReplayMeter(recorded, clock=clock)
    step_s = 0.1
    moments = np.arange(0, recorded.end_s - recorded.start_s, step_s)
    assert moments[-1] > 5180
    (watts,) = played(meter, clock, moments)
    whole = recorded.measure()["gpu:0"]
    assert math.fsum(watts) * step_s == pytest.approx(whole.gross_j, rel=1e-4)
    assert max(watts) == whole.peak_power_w
    assert set(watts) == set(lines(data_dir)[run].power_w[:-1])


def test_a_short_stretch_through_the_recorder(data_dir, simulated_time):
    recorded = read_recording(traces_file(data_dir), where="run=cloud-vgg16-20230310T073017")
    meter = ReplayMeter(recorded, clock=simulated_time.monotonic)
    with Recorder([meter], interval_s=0.01) as recorder:
        window = recorder.open("beginning")
        recorder.wait(1.2)
        measured = window.close()
    reading = measured["gpu:0"]
    played_s = window.channel_samples[0].times_s[-1] - window.channel_samples[0].times_s[0]
    expected_j = recorded.measure(recorded.start_s, recorded.start_s + played_s).energy_j
    # Power rises from 8 to 50 W, and two values cannot say when in this second it rose.
    assert reading.status is Status.ESTIMATED
    assert reading.too_short
    assert reading.source == "replay:recorded"
    # The bound holds what a value that is a second old can be wrong by.
    assert abs(reading.gross_j - expected_j) <= reading.error_j + 1
    trace = window.trace_columns()
    assert trace["temperature_c"][0] == recorded.channel_samples[0].state["temperature_c"][0]


CONTENT = "run,t_s,power_w,draw\n" + "".join(
    f"{run},{t},{100 * run},{10 * run}\n" for run in (6, 7) for t in range(100)
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(CONTENT)
    return path


@pytest.mark.parametrize(
    ("settings", "watts", "domain"),
    [
        ("where=run=7", 700, "gpu:0"),
        ("where=run=6&domain=wall", 600, "wall"),
        ("where=run=7&power=draw&time=t_s&loop=true", 70, "gpu:0"),
        ("where=run=7&power=power_w&device=wall&timezone=UTC", 700, "wall"),
    ],
)
def test_a_recording_is_a_meter_by_its_name(path, settings, watts, domain):
    with open_recorder([f"replay:{path}?{settings}"]) as recorder:
        window = recorder.open("replayed")
        recorder.wait(0.05)
        reading = window.close()[domain]
    assert reading.mean_power_w == pytest.approx(watts)
    assert reading.status is Status.MEASURED


def test_a_file_of_several_runs_is_refused_by_name_too(path):
    with pytest.raises(TraceError, match="where=run=VALUE, of 6, 7"):
        open_recorder([f"replay:{path}"])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("replay:{}.parquet", TraceError, "does not exist"),
        ("replay", MeterError, r"(?s)no recording was given.*write replay:FILE"),
        ("replay:", MeterError, "no recording was given"),
        ("replay:{}?where=run=8", TraceError, r"(?s)no row with run=8.*there are 6, 7"),
        ("replay:{}?loop=no", SettingsError, r"(?s)loop = 'no'.*true or false"),
        ("replay:{}?loop=1", SettingsError, "loop = 1"),
        ("replay:{}?interval=soon", SettingsError, r"(?s)interval = 'soon'.*give a number"),
        ("replay:{}?where=run=7&interval=2", UsageError, r"(?s)has times in t_s.*--interval"),
        ("replay:{}?where=run=7&timezone=Mars", UsageError, "unknown time zone 'Mars'"),
        ("replay:{}?tempo=2", SettingsError, "no setting 'tempo'"),
        ("replay:{}?where=run=7&power=watts", TraceError, "no column 'watts'"),
        ("replay:{}?where=7", TraceError, "where=COLUMN=VALUE"),
        ("replay:{}?where=run=7&power=7", TraceError, "no column '7'"),
    ],
)
def test_what_cannot_be_played_is_refused(path, name, error, message):
    with pytest.raises(error, match=message):
        open_recorder([name.format(path)])


def test_a_recording_is_played_only_by_name():
    assert ReplayDetector.automatic is False
    assert "replay" not in {meter.name for meter in find_meters().meters}
