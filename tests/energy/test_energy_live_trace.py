"""A trace that is written while it is recorded, and what is left of it when that ends badly."""

import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_meter import FakeMeter, channel

from joulelab.energy.meter import Sample
from joulelab.energy.recorder import Recorder
from joulelab.energy.traces.recording import read_recording
from joulelab.energy.traces.trace_file import LiveTrace
from joulelab.errors import MeterError, TraceError

INTERVAL_S = 0.005
pytestmark = pytest.mark.usefixtures("simulated_time")


class CountingMeter(FakeMeter):
    """Every answer is one more than the last: nothing can be lost or doubled unseen."""

    def __init__(self, unreadable=()):
        self.samples, self.unreadable = 0, unreadable
        joules = (channel(within=("wall",)), lambda: 1000.0 + self.samples)
        watts = (channel(kind="power", domain="cpu:0"), lambda: float(self.samples))
        super().__init__(joules, watts)

    def sample(self):
        self.samples += 1
        if self.samples in self.unreadable:
            return [Sample(None, "unplugged")] * 2
        return super().sample()


@pytest.fixture
def meter():
    return CountingMeter()


@pytest.fixture
def recorder(meter):
    with Recorder([meter], interval_s=INTERVAL_S) as recorder:
        yield recorder


@pytest.fixture
def edges(meter):
    """A recorder that samples at the edges of windows only."""
    with Recorder([meter], interval_s=600) as recorder:
        yield recorder


@pytest.fixture(params=["live.csv", "live.parquet"])
def path(request, tmp_path):
    return tmp_path / request.param


def record(path, recorder, meter, laps=4, samples=5, **options):
    """So many laps of so many samples at least, with what each lap has measured."""
    measured = []
    with LiveTrace(path, recorder, "live", **options) as trace:
        for _ in range(laps):
            until = meter.samples + samples
            while meter.samples < until:
                recorder.wait(INTERVAL_S)
            measured.append(trace.lap())
    return trace, measured


def by_domain(path):
    return {one.channel.domain: one for one in read_recording(path).channel_samples}


def test_laps_join_without_a_gap_and_without_a_sample_twice(path, recorder, meter):
    trace, _ = record(path, recorder, meter)
    recorded = by_domain(path)
    every = list(range(1, meter.samples + 1))
    assert recorded["cpu:0"].values.tolist() == every
    assert recorded["gpu:0"].values.tolist() == [number - 1 for number in every]
    assert (np.diff(recorded["gpu:0"].times_s) > 0).all()
    assert trace.samples == len(every)
    assert trace.duration_s >= recorded["gpu:0"].times_s[-1]


def test_laps_add_up_to_the_recording(path, recorder, meter):
    _, laps = record(path, recorder, meter)
    whole = read_recording(path).measure()
    joules = [lap["gpu:0"].gross_j for lap in laps]
    assert min(joules) > 0
    # The last lap, which closes the trace, is not among them: it has at least one sample more.
    assert whole["gpu:0"].gross_j >= sum(joules) + 1
    assert whole["gpu:0"].gross_j == meter.samples - 1
    assert whole["gpu:0"].within == ("wall",)


def test_a_trace_of_one_lap_is_whole(path, edges, meter):
    record(path, edges, meter, laps=0)
    assert by_domain(path)["cpu:0"].values.tolist() == [1, 2]


def test_a_counter_loses_nothing_where_the_edge_of_a_lap_was_unreadable(tmp_path):
    meter = CountingMeter()
    with (
        Recorder([meter], interval_s=60) as recorder,
        LiveTrace(tmp_path / "x.csv", recorder, "") as trace,
    ):
        meter.unreadable = {3, 6, 7}
        for _ in range(9):
            trace.lap()
    counter = by_domain(tmp_path / "x.csv")["gpu:0"].values
    assert [int(value) + 1 for value in counter if not math.isnan(value)] == [
        1, 2, 4, 5, 8, 9, 10, 11,
    ]  # fmt: skip
    assert np.flatnonzero(np.isnan(counter)).tolist() == [2, 5, 6]


def test_a_sensor_that_comes_late_counts_from_then_on(tmp_path):
    meter = CountingMeter(unreadable=range(4))
    with (
        Recorder([meter], interval_s=60) as recorder,
        LiveTrace(tmp_path / "x.csv", recorder, "") as trace,
    ):
        for _ in range(5):
            trace.lap()
    counter = by_domain(tmp_path / "x.csv")["gpu:0"].values
    assert counter[3:].tolist() == [0, 1, 2, 3]


def test_the_csv_can_be_read_at_every_moment(tmp_path, recorder, meter, real_time):
    path = tmp_path / "live.csv"
    wrong, seen, stop = [], set(), threading.Event()

    def look():
        while not stop.is_set():
            try:
                values = by_domain(path)["cpu:0"].values.tolist()
                if values != list(range(1, len(values) + 1)):
                    wrong.append(values)
                seen.add(len(values))
            except TraceError as error:
                if "is empty" not in str(error) and "no sample" not in str(error):
                    wrong.append(str(error))

    with LiveTrace(path, recorder, "") as trace:
        looking = threading.Thread(target=look)
        looking.start()
        until = time.monotonic() + 30
        while len(seen) < 10 and not wrong and time.monotonic() < until:
            trace.lap()
        stop.set()
        looking.join()
    assert not wrong
    assert len(seen) >= 10


def test_the_file_has_its_head_before_the_first_lap(tmp_path, recorder):
    with LiveTrace(tmp_path / "x.csv", recorder, "label"):
        first = (tmp_path / "x.csv").read_text().splitlines()[0]
        assert first.startswith('# joulelab {"label": "label"')


def test_parquet_is_made_at_the_end_and_the_journal_removed(tmp_path, recorder, meter):
    path, journal = tmp_path / "live.parquet", tmp_path / "live.parquet.part.csv"
    with LiveTrace(path, recorder, "") as trace:
        trace.lap()
        assert journal.exists()
        assert not path.exists()
    assert list(tmp_path.iterdir()) == [path]
    assert len(pd.read_parquet(path)) == 2 * meter.samples


def test_a_second_close_does_nothing(path, recorder):
    trace = LiveTrace(path, recorder, "")
    trace.close()
    before = path.stat()
    trace.close()
    assert path.stat() == before


def test_an_error_while_it_records_passes_and_the_trace_is_whole(path, recorder, meter):
    def fail():
        with LiveTrace(path, recorder, "") as trace:
            trace.lap()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(by_domain(path)["cpu:0"].values) == meter.samples


def test_a_file_that_is_there_is_refused_unless_forced(path, recorder, meter):
    path.write_text("my thesis")
    with pytest.raises(TraceError, match=r"(?s)exists already.*--force"):
        LiveTrace(path, recorder, "")
    assert path.read_text() == "my thesis"
    record(path, recorder, meter, laps=1, force=True)
    assert len(by_domain(path)["cpu:0"].values) > 1


def test_a_journal_that_was_cut_short_is_refused_unless_forced(tmp_path, recorder, meter):
    journal = tmp_path / "live.parquet.part.csv"
    journal.write_text("# joulelab {}\n")
    with pytest.raises(TraceError, match=r"(?s)unfinished.*joulelab trace .*part\.csv.*--force"):
        LiveTrace(tmp_path / "live.parquet", recorder, "")
    assert journal.read_text() == "# joulelab {}\n"
    record(tmp_path / "live.parquet", recorder, meter, laps=1, force=True)
    assert not journal.exists()


def test_a_folder_that_is_not_there_is_said(tmp_path, recorder):
    with pytest.raises(TraceError, match="No such file or directory"):
        LiveTrace(tmp_path / "nowhere" / "x.csv", recorder, "")


def test_a_recorder_that_is_closed_leaves_no_file(tmp_path):
    recorder = Recorder([CountingMeter()])
    recorder.close()
    with pytest.raises(MeterError, match="closed"):
        LiveTrace(tmp_path / "x.csv", recorder, "")
    assert not list(tmp_path.iterdir())


def test_a_recorder_that_is_closed_first_loses_no_sample(path, meter):
    recorder = Recorder([meter], interval_s=INTERVAL_S)
    trace = LiveTrace(path, recorder, "")
    trace.lap()
    recorder.close()
    trace.close()
    assert len(by_domain(path)["cpu:0"].values) == meter.samples


def test_a_disk_that_is_full_keeps_what_was_written(path, edges):
    journal = path if path.suffix == ".csv" else path.with_name(f"{path.name}.part.csv")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    trace = LiveTrace(path, edges, "")
    trace.lap()
    whole = journal.read_bytes()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, before[1]))
        with pytest.raises(TraceError, match=r"(?s)cannot be written: File too large.*until then"):
            trace.lap()
        with pytest.raises(TraceError, match="File too large"):
            trace.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert journal.read_bytes() == whole
    assert by_domain(journal)["cpu:0"].values.tolist() == [1, 2]
    trace.close()
    assert list(path.parent.iterdir()) == [journal]


def test_it_goes_on_where_the_disk_has_room_again(tmp_path, recorder):
    path = tmp_path / "x.csv"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with LiveTrace(path, recorder, "") as trace:
        trace.lap()
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
        try:
            with pytest.raises(TraceError):
                trace.lap()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        trace.lap()
    # The lap that found no room is lost, and the counter knows of it.
    numbers = by_domain(path)["cpu:0"].values
    assert (by_domain(path)["gpu:0"].values == numbers - 1).all()
    assert (np.diff(numbers) >= 1).all()
    assert np.diff(numbers).max() > 1


RECORDING_PROCESS = """
import sys, time
from pathlib import Path
from fake_meter import FakeMeter, channel
from joulelab.energy.traces.trace_file import LiveTrace
from joulelab.energy.recorder import Recorder
meter = FakeMeter((channel(), lambda: 100 * time.monotonic()), (channel(kind="power"), lambda: 100))
with Recorder([meter], interval_s=0.001) as recorder:
    trace = LiveTrace(Path(sys.argv[1]), recorder, "killed")
    while True:
        recorder.wait(0.02)
        trace.lap()
        print(trace.samples, flush=True)
"""


def test_a_recording_that_is_killed_can_be_read(path, tmp_path):
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with subprocess.Popen(
        [sys.executable, "-c", RECORDING_PROCESS, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        written = [int(process.stdout.readline()) for _ in range(15)][-1]
        process.send_signal(signal.SIGKILL)
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".csv"
    measured = read_recording(left).measure()
    assert measured.samples >= written
    assert measured["gpu:0"].gross_j == pytest.approx(100 * measured.duration_s, rel=0.1)
    assert measured["gpu:0"].check_j == pytest.approx(100 * measured.duration_s, rel=0.1)
    assert measured.label == "killed"
