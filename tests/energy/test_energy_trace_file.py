"""Live traces through files: what is read from one measures as the window did."""

import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_meter import FakeMeter, channel

from joulelab.energy.meter import Sample
from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder
from joulelab.energy.summary import STATE_COLUMNS, trace_columns
from joulelab.energy.traces.recording import read_recording
from joulelab.energy.traces.trace_file import COLUMNS, TraceAbout, parquet_from_csv, write_trace
from joulelab.errors import TraceError

SUFFIXES = (".csv", ".csv.gz", ".parquet")
pytestmark = pytest.mark.usefixtures("simulated_time")


class DrivenMeter(FakeMeter):
    """A GPU with counter, power and state; a processor within the wall; drivers and limits."""

    interval_s = 0.0

    def __init__(self, lost_after=math.inf):
        self.samples, self.lost_after = 0, lost_after
        gpu = {"within": ("wall",), "relative_error": 0.05, "tick_s": 0.001, "remark": "é, “x”"}
        super().__init__(
            (channel(source="nvml-counter", resolution_j=0.001, **gpu), self.joules),
            (channel(source="nvml-power", kind="power", **gpu), self.watts),
            (channel("cpu:0", "power", Status.ESTIMATED, relative_error=0.4), lambda: 42.5),
        )

    def joules(self):
        return 1e6 + 300 * time.monotonic() if self.samples < self.lost_after else None

    def watts(self):
        return 250 + 50 * math.sin(self.samples) if self.samples < self.lost_after else None

    def sample(self):
        self.samples += 1
        counter, *others = super().sample()
        state = {"temperature_c": 40.0 + self.samples, "utilisation": 0.25, "clock_mhz": 1395.0}
        return [Sample(counter.value, counter.reason, state), *others]

    def describe(self):
        return {"gpu:0": 'NVIDIA "A100", driver 535.54'}


def recorded(meter, samples=30, label='say "hi", \\n ok'):
    """A closed window of so many samples at 2 ms, and what belongs to its trace."""
    with Recorder([meter], interval_s=0.002) as recorder:
        window = recorder.open(label)
        while meter.samples < samples:
            recorder.wait(0.01)
        window.close()
        return window, TraceAbout.of(recorder, label, window.started_at)


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    return tmp_path / f"trace{request.param}"


def test_a_recording_measures_as_its_window_did(path):
    window, about = recorded(DrivenMeter())
    write_trace(path, window.trace_columns(), about)
    ours, theirs = read_recording(path).measure(), window.measurement
    # The window opened just before its first sample, and closed just after its last.
    edges_s = theirs.duration_s - ours.duration_s
    assert edges_s >= 0
    assert [one.domain for one in ours.readings] == ["gpu:0", "cpu:0"]
    for one, other in zip(ours.readings, theirs.readings, strict=True):
        assert one.gross_j == pytest.approx(other.gross_j, abs=edges_s * 300 + 1e-6)
        assert one.peak_power_w == pytest.approx(other.peak_power_w)
        assert one.error_j == pytest.approx(other.error_j, rel=0.05, abs=edges_s * 300)
        assert (one.source, one.status, one.within) == (other.source, other.status, other.within)
        assert one.lost_s == other.lost_s
    assert ours["gpu:0"].gross_j == pytest.approx(theirs["gpu:0"].gross_j, abs=1e-5)
    assert ours["gpu:0"].check_j == pytest.approx(theirs["gpu:0"].check_j, abs=edges_s * 300)
    assert ours.total.status is Status.ESTIMATED
    assert ours.label == theirs.label
    assert ours.samples == theirs.samples
    assert ours.longest_gap_s == pytest.approx(theirs.longest_gap_s)
    assert ours.started_at == pytest.approx(theirs.started_at, abs=edges_s + 1e-6)


def test_what_belongs_to_a_trace_is_kept(path):
    meter = DrivenMeter()
    window, about = recorded(meter)
    write_trace(path, window.trace_columns(), about)
    kept = read_recording(path).about
    assert kept == about
    assert kept.channels == tuple(meter.channels)
    assert kept.meters == {"fake": {"gpu:0": 'NVIDIA "A100", driver 535.54'}}
    assert (kept.label, kept.started_at) == ('say "hi", \\n ok', window.started_at)


def test_state_is_kept_with_the_channel_that_said_it(path):
    window, about = recorded(DrivenMeter())
    write_trace(path, window.trace_columns(), about)
    by_source = {one.channel.source: one for one in read_recording(path).channel_samples}
    counter = by_source["nvml-counter"]
    assert set(counter.state) == {"temperature_c", "utilisation", "clock_mhz"}
    assert (np.diff(counter.state["temperature_c"]) == 1).all()
    assert by_source["nvml-power"].state == {}


def test_a_sensor_that_was_lost_stays_lost(path):
    window, about = recorded(DrivenMeter(lost_after=15))
    write_trace(path, window.trace_columns(), about)
    ours, theirs = read_recording(path).measure(), window.measurement
    assert theirs["gpu:0"].status is Status.PARTLY_ESTIMATED
    assert ours["gpu:0"].status is Status.PARTLY_ESTIMATED
    # The edges of a live window lie a moment outside its samples.
    assert ours["gpu:0"].lost_s == pytest.approx(theirs["gpu:0"].lost_s, abs=5e-3)
    assert ours["gpu:0"].gross_j == pytest.approx(theirs["gpu:0"].gross_j, abs=2)
    assert [flag for flag in ours.flags if "said nothing for" in flag]


def test_a_sensor_that_never_said_anything_is_missing(path):
    window, about = recorded(DrivenMeter(lost_after=0))
    write_trace(path, window.trace_columns(), about)
    ours = read_recording(path).measure()
    assert ours["gpu:0"].gross_j is None
    assert ours["gpu:0"].status is Status.MISSING
    assert ours["cpu:0"].gross_j is not None


def test_both_kinds_of_file_hold_the_same(tmp_path):
    window, about = recorded(DrivenMeter(lost_after=20))
    frames = []
    for suffix in SUFFIXES:
        write_trace(tmp_path / f"x{suffix}", window.trace_columns(), about)
    frames = [
        pd.read_csv(tmp_path / "x.csv", skiprows=1, keep_default_na=True),
        pd.read_parquet(tmp_path / "x.parquet"),
    ]
    assert [list(frame.columns) for frame in frames] == [list(COLUMNS)] * 2
    for name in ("t_s", "power_w", "energy_j", *STATE_COLUMNS):
        one, other = (frame[name].to_numpy(float) for frame in frames)
        assert one == pytest.approx(other, rel=1e-11, abs=1e-12, nan_ok=True)


def test_a_csv_trace_becomes_the_same_parquet_trace(tmp_path):
    window, about = recorded(DrivenMeter(lost_after=20))
    write_trace(tmp_path / "x.csv", window.trace_columns(), about)
    parquet_from_csv(tmp_path / "x.csv", tmp_path / "x.parquet")
    ours, theirs = (read_recording(tmp_path / f"x{suffix}") for suffix in (".parquet", ".csv"))
    assert ours.about == theirs.about
    assert ours.measure() == theirs.measure()
    for one, other in zip(ours.channel_samples, theirs.channel_samples, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_domains_with_odd_names_are_kept(path):
    names = ['wall "A", 2', "NA", "nan", "gpu:GPU-5e1f"]
    meter = DrivenMeter()
    _, about = recorded(meter)
    columns = {name: np.tile([1.0, 2.0, 3.0], len(names)) for name in COLUMNS}
    columns |= {"domain": np.repeat(names, 3), "source": np.repeat("plug", 12)}
    columns["energy_j"] = np.full(12, math.nan)
    write_trace(path, columns, about)
    assert [one.domain for one in read_recording(path).channels] == names


def test_a_trace_without_samples_is_written_and_says_so(path):
    write_trace(path, trace_columns([], 0.0), TraceAbout("empty"))
    with pytest.raises(TraceError, match=r"no sample|no row"):
        read_recording(path)


def test_two_meters_of_one_name_are_both_described():
    with Recorder([DrivenMeter(), DrivenMeter(), DrivenMeter()]) as recorder:
        about = TraceAbout.of(recorder, "", 0.0)
    assert set(about.meters) == {"fake", "fake 2", "fake 3"}


def test_what_a_newer_version_adds_is_left_out():
    text = TraceAbout("run", 5.0).to_json().replace("{", '{"weather": "rain", ', 1)
    assert TraceAbout.from_json(text) == TraceAbout("run", 5.0)


@pytest.mark.parametrize("name", ["trace.txt", "trace", "trace.gz"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(TraceError, match=r"(?s)Parquet or CSV.*end the name in \.parquet or \.csv"):
        write_trace(tmp_path / name, {}, TraceAbout())


def test_a_folder_that_is_not_there_is_said(path):
    window, about = recorded(DrivenMeter())
    with pytest.raises(TraceError, match="cannot be written: No such file or directory"):
        write_trace(path.parent / "nowhere" / path.name, window.trace_columns(), about)
    blocked = path.parent / "a file"
    blocked.write_text("")
    with pytest.raises(TraceError, match="cannot be written: Not a directory"):
        write_trace(blocked / path.name, window.trace_columns(), about)


def test_a_file_that_could_not_be_written_leaves_what_was_there(path, monkeypatch):
    window, about = recorded(DrivenMeter())
    write_trace(path, window.trace_columns(), about)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(TraceError, match="No space left on device"):
        write_trace(path, trace_columns([], 0.0), about)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_csv_becomes_no_parquet(tmp_path):
    source, target = tmp_path / "x.csv", tmp_path / "x.parquet"
    source.write_text("# joulelab {}\nt_s,domain\n1,2,3\n")
    with pytest.raises(TraceError, match=r"x\.csv cannot be read"):
        parquet_from_csv(source, target)
    assert source.exists()
    assert not target.exists()
