"""The picture of a power trace shows what is in its columns."""

import math
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from joulelab.energy.summary import trace_columns
from joulelab.energy.traces.recording import read_recording
from joulelab.errors import TraceError
from joulelab.report.power_trace import power_trace, write_power_trace

NAN = math.nan


def columns(*channels):
    """A trace; each channel is its domain, source, times, power and whether it is a counter."""
    parts = []
    for domain, source, times, power, counts in channels:
        joules = np.arange(len(times)) if counts else np.full(len(times), NAN)
        parts.append((times, [domain] * len(times), [source] * len(times), power, joules))
    names = ("t_s", "domain", "source", "power_w", "energy_j")
    return {
        name: np.concatenate(each)
        for name, each in zip(names, zip(*parts, strict=True), strict=True)
    }


def lines(figure):
    return {line.get_label().partition(" ")[0]: line for line in figure.axes[0].lines}


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


TIMES = np.array([0.0, 0.1, 0.2, 0.3])


def test_power_is_drawn_as_it_stands_in_the_columns():
    watts = np.array([100.0, 250.0, NAN, 80.0])
    figure = power_trace(columns(("gpu:0", "nvml-power", TIMES, watts, False)), "epoch 1")
    (line,) = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), TIMES)
    np.testing.assert_array_equal(line.get_ydata(), watts)  # what is unknown is a gap
    assert line.get_drawstyle() == "steps-post"  # a value stands until the next one
    assert figure.axes[0].get_title(loc="left") == "epoch 1"
    assert figure.axes[0].get_ylabel() == "power (W)"
    assert figure.axes[0].get_xlim() == (0, 0.3)
    assert figure.axes[0].get_ylim()[0] == 0
    assert labels(figure) == ["gpu:0 (nvml-power), mean 175 W"]


def test_the_power_of_a_counter_is_that_of_the_time_before_its_sample():
    figure = power_trace(columns(("cpu:0", "rapl", TIMES, [NAN, 10.0, 20.0, 60.0], True)))
    (line,) = figure.axes[0].lines
    assert line.get_drawstyle() == "steps-pre"
    assert labels(figure) == ["cpu:0 (rapl), mean 30.0 W"]


def test_nothing_is_drawn_where_nobody_looked():
    times = np.array([0.0, 1, 2, 3, 34, 35, 36, 37])
    watts = np.repeat([100.0, 200.0], 4)
    figure = power_trace(columns(("gpu:0", "nvidia-smi", times, watts, False)))
    (line,) = figure.axes[0].lines
    hole = line.get_ydata()[(line.get_xdata() >= 3) & (line.get_xdata() < 34)]
    assert np.isnan(hole[-1])
    assert labels(figure) == ["gpu:0 (nvidia-smi), mean 150 W"]


def test_of_a_counter_and_power_the_power_is_drawn():
    figure = power_trace(
        columns(
            ("gpu:0", "nvml-counter", TIMES, [NAN, 1, 1, 1], True),
            ("gpu:0", "nvml-power", TIMES, [7, 8, 9, 10], False),
        )
    )
    (line,) = figure.axes[0].lines
    assert line.get_ydata().tolist() == [7, 8, 9, 10]


def test_of_a_counter_and_power_that_was_never_readable_the_counter_is_drawn():
    figure = power_trace(
        columns(
            ("gpu:0", "nvml-power", TIMES, [NAN] * 4, False),
            ("gpu:0", "nvml-counter", TIMES, [NAN, 1, 2, 3], True),
        )
    )
    assert labels(figure) == ["gpu:0 (nvml-counter), mean 2.00 W"]


def test_two_kinds_of_power_are_not_mixed_into_one_line():
    figure = power_trace(
        columns(
            ("gpu:0", "nvml-power", TIMES, [10, 20, 30, 40], False),
            ("gpu:0", "nvml-power-average", TIMES, [1, 1, 1, 1], False),
        )
    )
    (line,) = figure.axes[0].lines
    assert line.get_ydata().tolist() == [10, 20, 30, 40]


def test_a_counter_that_was_lost_keeps_what_it_had():
    trace = columns(("cpu:0", "rapl", TIMES, [NAN, 10, NAN, NAN], True))
    trace["energy_j"] = np.array([0, 1, NAN, NAN])
    (line,) = power_trace(trace).axes[0].lines
    np.testing.assert_array_equal(line.get_ydata(), [NAN, 10, NAN, NAN])
    assert line.get_drawstyle() == "steps-pre"


def test_a_domain_has_a_colour_and_a_dash_of_its_own():
    domains = ["wall", "gpu:0", "gpu:1", "cpu:0", "dram:0"]
    figure = power_trace(
        columns(*((name, "x", TIMES, [k + 1.0] * 4, False) for k, name in enumerate(domains)))
    )
    drawn = lines(figure)
    assert list(drawn) == domains
    assert len({line.get_color() for line in drawn.values()}) == 5
    assert len({str(line._dash_pattern) for line in drawn.values()}) == 5
    assert [line.get_ydata()[0] for line in drawn.values()] == [1, 2, 3, 4, 5]


def test_samples_that_are_interleaved_are_drawn_in_order_of_time():
    trace = columns(("gpu:0", "x", [2.0, 0.0, 1.0], [30, 10, 20], False))
    (line,) = power_trace(trace).axes[0].lines
    assert line.get_xdata().tolist() == [0, 1, 2]
    assert line.get_ydata().tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("length_s", "unit", "end"), [(60, "s", 60), (1800, "min", 30), (7200 * 3, "h", 6)]
)
def test_time_is_in_the_unit_that_reads_well(length_s, unit, end):
    figure = power_trace(columns(("gpu:0", "x", [0.0, length_s], [5, 5], False)))
    assert figure.axes[0].get_xlabel() == f"time since the opening ({unit})"
    assert figure.axes[0].get_xlim() == (0, end)


@pytest.mark.parametrize("counts", [False, True])
def test_a_long_trace_is_a_mean_within_its_lowest_and_highest(counts):
    chance = np.random.default_rng(7)
    times = np.cumsum(chance.uniform(0.05, 0.15, 70_000))
    watts = chance.normal(200, 20, len(times))
    watts[30_000:40_000] = NAN
    figure = power_trace(columns(("gpu:0", "x", times, watts, counts)))
    (line,), (band,) = figure.axes[0].lines, figure.axes[0].collections
    steps_s, stood = np.diff(times), watts[1:] if counts else watts[:-1]
    drawn = line.get_ydata()
    assert len(drawn) < 1000
    gap = np.isnan(drawn)
    assert gap.mean() == pytest.approx(1 / 7, abs=0.01)
    # The mean of the columns, all of one width, is that of the trace.
    whole = np.nansum(stood * steps_s) / steps_s[~np.isnan(stood)].sum()
    assert np.nanmean(drawn) == pytest.approx(whole, rel=2e-3)
    (label,) = labels(figure)
    assert f"mean {whole:.0f} W; band: lowest to highest within " in label
    heights = np.concatenate([path.vertices[:, 1] for path in band.get_paths()])
    assert heights.max() == np.nanmax(stood)
    assert heights.min() == np.nanmin(stood)


def test_a_short_peak_of_a_long_trace_is_seen():
    times, watts = np.arange(50_000.0), np.full(50_000, 100.0)
    watts[31_415] = 500
    (band,) = power_trace(columns(("gpu:0", "x", times, watts, False))).axes[0].collections
    heights = np.concatenate([path.vertices[:, 1] for path in band.get_paths()])
    assert heights.max() == 500


def test_a_trace_without_samples_is_an_empty_figure_that_says_so():
    (axes,) = power_trace(trace_columns([], 0.0)).axes
    assert [text.get_text() for text in axes.texts] == ["no known value"]
    assert all(np.isnan(line.get_ydata()).all() for line in axes.lines)


def test_a_channel_that_was_never_readable_is_named(tmp_path):
    figure = power_trace(
        columns(
            ("gpu:0", "nvml-power", TIMES, [5] * 4, False),
            ("gpu:1", "nvml-power", TIMES, [NAN] * 4, False),
        )
    )
    assert labels(figure)[1] == "gpu:1 (nvml-power), not readable"


@pytest.mark.parametrize(
    ("suffix", "begins"), [(".png", b"\x89PNG"), (".SVG", b"<?xml"), (".pdf", b"%PDF")]
)
def test_the_end_of_the_name_says_the_kind_of_picture(tmp_path, suffix, begins):
    path = tmp_path / f"power{suffix}"
    write_power_trace(path, columns(("gpu:0", "x", TIMES, [5, 6, 7, 8], False)), "µ, “é”")
    assert path.read_bytes().startswith(begins)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["power", "power.txt", "power.png.gz"])
def test_another_kind_of_picture_is_refused(tmp_path, name):
    with pytest.raises(TraceError, match=r"(?s)unknown figure format.*\.png, \.svg, \.pdf"):
        write_power_trace(tmp_path / name, columns(("gpu:0", "x", TIMES, [5] * 4, False)))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(TraceError, match=r"p\.png cannot be written: No such file or directory"):
        write_power_trace(
            tmp_path / "nowhere" / "p.png", columns(("gpu:0", "x", TIMES, [5] * 4, False))
        )


def test_a_folder_that_may_not_be_written_is_said():
    if not Path("/sys/kernel").is_dir():
        pytest.skip("there is no folder in which not even root may create a file")
    with pytest.raises(TraceError) as refused:
        write_power_trace(Path("/sys/kernel/p.png"), trace_columns([], 0.0))
    told = r"/sys/kernel/p\.png cannot be written: (Permission denied|Read-only file system)"
    assert re.fullmatch(rf"{told}\nchoose another file", str(refused.value))


def test_a_real_run_is_drawn_whole(data_dir, tmp_path):
    path = data_dir / "delrey2023" / "power-traces.parquet"
    if not path.is_file():
        pytest.skip(f"no real power traces at {path}")
    recording = read_recording(path, where="run=cloud-resnet50-20230309T020212")
    trace = trace_columns(recording.channel_samples, 0.0)
    (line,) = power_trace(trace).axes[0].lines
    np.testing.assert_array_equal(line.get_ydata(), recording.channel_samples[0].values)
    np.testing.assert_allclose(line.get_xdata() * 60, recording.channel_samples[0].times_s)
    write_power_trace(tmp_path / "run.png", trace, "resnet50")
    image = matplotlib.image.imread(tmp_path / "run.png")
    assert image.shape[1] == pytest.approx(1120, abs=2)
    assert (image.reshape(-1, image.shape[2]).min(axis=0)[:3] < 0.2).all()
