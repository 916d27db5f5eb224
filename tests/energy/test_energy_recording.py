"""Recorded traces are measured like live ones; the real runs of del Rey et al. among them."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from fake_meter import channel
from recorded_runs import lines, published, traces_file

from joulelab.energy.reading import Status
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.traces.recording import Recording, read_recording
from joulelab.energy.traces.trace_file import TraceAbout
from joulelab.errors import TraceError

NAN = math.nan


def samples(times, values, kind="power", interval_s=1.0, **settings):
    lost = "unplugged" if np.isnan(values).any() else ""
    return ChannelSamples(
        channel(kind=kind, **settings),
        np.array(times, float),
        np.array(values, float),
        interval_s,
        lost,
        {"temperature_c": 30 + np.arange(len(times), dtype=float)},
    )


def recording(*channel_samples, flags=()):
    return Recording(TraceAbout("run", 1000.0), channel_samples, flags)


def test_power_stands_until_the_next_sample():
    steps = recording(samples([0, 1, 2, 3], [100, 100, 300, 0]))
    assert steps.measure().energy_j == 500
    # Between samples too: 0.5 s at 100 W, 0.25 s at 300 W.
    assert steps.measure(1.5, 2.25).energy_j == pytest.approx(0.5 * 100 + 0.25 * 300)


def test_parts_add_up_to_the_whole():
    power = recording(samples(range(11), [5, 9, 2, 7, 7, 0, 3, 8, 8, 1, 4]))
    counter = recording(samples(range(11), np.cumsum(range(11)), "counter"))
    for whole in (power, counter):
        cuts = [0, 0.7, 3, 3.1, 3.9, 8.8, 10]
        parts = [whole.measure(*cut).energy_j for cut in pairwise(cuts)]
        assert math.fsum(parts) == pytest.approx(whole.measure().energy_j)


def test_a_counter_moves_between_samples_and_its_edges_are_as_uncertain_as_an_interval():
    counter = recording(samples([0, 1, 2, 3], [0, 100, 300, 400], "counter"))
    whole, part = counter.measure()["gpu:0"], counter.measure(0.5, 1.5)["gpu:0"]
    assert (whole.gross_j, whole.error_j) == (400, 0)
    assert part.gross_j == 150
    # What was truly used in that second is between 0 (all before, all after) and 300 J.
    assert part.error_j >= 150


def test_a_part_begins_when_it_begins():
    part = recording(samples(range(10), [1] * 10)).measure(2, 5)
    assert (part.started_at, part.duration_s, part.label, part.samples) == (1002, 3, "run", 4)


def test_the_samples_of_the_whole_are_counted_once():
    several = recording(
        samples([0, 1, 2], [1, 1, 1]), samples([0.01, 1.01, 2.01], [4, 4, 4], domain="cpu:0")
    )
    assert several.measure().samples == 3


def test_edges_a_little_outside_are_the_first_and_last_sample():
    # A live trace begins a few microseconds after its opening.
    live = recording(samples([0.0003, 1, 2], [10, 10, 10]))
    assert live.measure(0, 2.5).energy_j == pytest.approx(10 * 1.9997)


@pytest.mark.parametrize(("start_s", "end_s"), [(5, 3), (-4, 2), (2, 30), (3, 3), (NAN, 2)])
def test_moments_outside_the_recording_are_refused(start_s, end_s):
    said = rf"(?s)nothing between {start_s:g} s and {end_s:g} s.*covers 0 s to 9 s"
    with pytest.raises(TraceError, match=said):
        recording(samples(range(10), [1] * 10)).measure(start_s, end_s)


def test_one_sample_has_no_energy():
    with pytest.raises(TraceError, match=r"(?s)only one sample.*at least two"):
        recording(samples([3], [250])).measure()


def test_a_gap_of_the_recording_is_flagged():
    gap = recording(samples([0, 1, 2, 9, 10], [50] * 5)).measure()
    assert gap.longest_gap_s == 7
    assert "no sample for 7.00 s" in gap.flags


def test_a_sensor_lost_at_the_end_makes_the_figure_an_estimate():
    lost = recording(samples(range(11), [100] * 6 + [NAN] * 5)).measure()["gpu:0"]
    assert lost.status is Status.PARTLY_ESTIMATED
    assert lost.lost_s == 5
    assert lost.gross_j == pytest.approx(1000)
    assert lost.error_j >= 500
    assert "unplugged" in lost.reason


def test_a_part_before_the_sensor_was_lost_is_measured():
    before = recording(samples(range(11), [100] * 6 + [NAN] * 5)).measure(0, 4)["gpu:0"]
    assert (before.status, before.gross_j, before.lost_s) == (Status.MEASURED, 400, 0)


def test_a_part_after_the_sensor_was_lost_is_missing_and_not_zero():
    after = recording(samples(range(11), [100] * 6 + [NAN] * 5)).measure(7, 10)["gpu:0"]
    assert (after.status, after.gross_j) == (Status.MISSING, None)
    assert "unplugged" in after.reason


@pytest.mark.parametrize("kind", ["power", "counter"])
def test_a_channel_that_ends_early_is_not_held_to_the_end(kind):
    values = [100] * 5 if kind == "power" else [0, 100, 200, 300, 400]
    both = recording(samples(range(5), values, kind), samples(range(11), [30] * 11, domain="cpu:0"))
    whole = both.measure()
    assert whole["gpu:0"].status is Status.PARTLY_ESTIMATED
    assert whole["gpu:0"].lost_s == pytest.approx(6)
    assert whole["cpu:0"].status is Status.MEASURED
    assert both.measure(0, 3)["gpu:0"].gross_j == 300
    later = both.measure(7, 9)["gpu:0"]
    assert later.gross_j is None
    assert "shorter" in later.reason


def test_equal_times_count_once():
    twice = recording(samples([0, 1, 1, 2, 2], [10, 99, 20, 7, 40]))
    assert twice.measure().energy_j == 10 + 20
    assert twice.measure(1, 2).energy_j == 20


def test_what_is_said_of_the_file_is_said_of_the_measurement():
    assert recording(samples([0, 1], [1, 1]), flags=("cut off",)).measure().flags == ("cut off",)


@pytest.fixture(scope="module")
def real_runs(data_dir):
    """The lines of each real run, and its recording."""
    path = traces_file(data_dir)
    return {
        run: (rows, read_recording(path, where=f"run={run}"))
        for run, rows in lines(data_dir).items()
    }


def test_every_real_run_has_the_energy_of_a_sum_by_hand(real_runs):
    assert len(real_runs) == 40
    for run, (rows, read) in real_runs.items():
        measured = read.measure()
        known = rows.dropna(subset="power_w")
        by_hand = float(np.dot(known.power_w[:-1], np.diff(known.t_s)))
        # Four logs end in a line with a time and no power: mean power is taken for that second.
        whole = rows[rows.t_s >= 0]
        by_hand *= whole.t_s.iloc[-1] / known.t_s.iloc[-1]
        reading = measured["gpu:0"]
        assert reading.gross_j == pytest.approx(by_hand, rel=1e-9), run
        assert reading.status is Status.MEASURED
        assert reading.peak_power_w == known.power_w.max()
        assert measured.samples == len(known)
        assert measured.label == run
        assert measured.longest_gap_s < 2


def test_every_real_run_has_the_published_energy(data_dir, real_runs):
    worst = 0.0
    for run, (rows, read) in real_runs.items():
        paper = published(data_dir, rows)
        start_s, end_s = rows.t_s.iloc[3], rows.t_s.iloc[-4]
        assert end_s - start_s == pytest.approx(3600 * paper["training duration (h)"], abs=1e-3)
        ours_j = read.measure(start_s, end_s).energy_j
        theirs_j = 1e6 * paper["energy (MJ)"]
        # They cut off what is beyond whole watts, and took trapezoids, which differ at the ends.
        assert -200 < ours_j - theirs_j < 1.0 * (end_s - start_s) + 200, run
        worst = max(worst, abs(ours_j / theirs_j - 1))
        whole_watts = np.floor(rows.power_w[3:-3])
        steps_s = np.diff(rows.t_s[3:-3])
        trapezoids_j = np.dot((whole_watts[:-1].values + whole_watts[1:].values) / 2, steps_s)
        assert trapezoids_j == pytest.approx(theirs_j, rel=1e-12), run
    assert worst < 0.005


def test_a_line_that_was_cut_off_is_left_out_and_said(data_dir):
    path = traces_file(data_dir)
    cut = read_recording(path, where="run=cloud-resnet50-20230308T152008")
    whole = read_recording(path, where="run=cloud-xception-20221207T024443")
    assert [flag for flag in cut.flags if "cut off" in flag]
    assert whole.flags == ()
    assert set(cut.channel_samples[0].state) == {"utilisation", "temperature_c"}
    assert 0 <= cut.channel_samples[0].state["utilisation"].max() <= 1


def test_a_file_of_several_runs_asks_which_one(data_dir):
    with pytest.raises(TraceError) as refused:
        read_recording(traces_file(data_dir))
    assert "time goes back" in refused.value.message
    assert "it holds 40 recordings" in refused.value.hint
    assert "where=run=VALUE, of cloud-mobilenet_v2-20221205T185721, " in refused.value.hint


def test_a_recording_that_is_not_there_is_refused_with_those_that_are(data_dir):
    with pytest.raises(TraceError, match=r"(?s)no row with run=7.*there are cloud-mobilenet"):
        read_recording(traces_file(data_dir), where="run=7")
    with pytest.raises(TraceError, match=r"(?s)no column 'runs'.*there are run, environment"):
        read_recording(traces_file(data_dir), where="runs=7")
    with pytest.raises(TraceError, match="COLUMN=VALUE"):
        read_recording(traces_file(data_dir), where="run")


@pytest.mark.parametrize("runs", [[1, 2], [1.0, 2.0], ["1", "2"], ["1 ", "2 "]])
def test_a_recording_is_named_as_people_write_its_number(tmp_path, runs):
    frame = pd.DataFrame({"run": np.repeat(runs, 3), "t_s": [0, 1, 2] * 2, "power_w": [5] * 6})
    frame.to_parquet(tmp_path / "runs.parquet")
    found = read_recording(tmp_path / "runs.parquet", where="run=2")
    assert found.measure().energy_j == 10
    assert found.about.label == "2"


def test_a_folder_that_looks_like_a_recording_adds_no_column(tmp_path):
    folder = tmp_path / "power_w=7"
    folder.mkdir()
    pd.DataFrame({"t_s": [0, 1], "power_w": [5, 5]}).to_parquet(folder / "x.parquet")
    assert read_recording(folder / "x.parquet").measure().energy_j == 5
