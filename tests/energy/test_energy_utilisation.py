"""How busy a device was: weights, quantiles, what is unknown, and what the estimate says of it."""

import doctest
import math
import time

import numpy as np
import pytest

from joulelab.energy import utilisation as module
from joulelab.energy.conformance import check_meter
from joulelab.energy.meter import Channel
from joulelab.energy.meters import processor
from joulelab.energy.meters.estimate import EstimateMeter
from joulelab.energy.meters.processor import Load, usable_processors
from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.utilisation import QUANTILES, over_time, utilisation

NAN = math.nan


def samples(domain, times, state, source="nvml-counter"):
    channel = Channel(domain, source, "counter", Status.MEASURED, 0.0, 0.0)
    columns = {} if state is None else {"utilisation": np.array(state, float)}
    return ChannelSamples(channel, np.array(times, float), np.zeros(len(times)), 0.1, state=columns)


@pytest.mark.parametrize("room", [module, processor])
def test_the_worked_examples_hold(room):
    failed, tried = doctest.testmod(room)
    assert failed == 0
    assert tried > 0


def test_a_figure_stands_for_the_step_before_it():
    busy = over_time([0, 1, 11], [0.9, 0.0, 1.0])
    assert busy.mean == pytest.approx(10 / 11)
    assert busy.samples == 2
    assert busy.seconds == 11


def test_quantiles_weigh_time_and_not_samples():
    # Nine quick samples of an idle device, then one busy step as long as 91 of them.
    times = [*range(10), 100]
    values = [0.0] * 10 + [1.0]
    quantiles = over_time(times, values).quantiles
    assert quantiles == {"p5": 0.0, "p25": 1.0, "p50": 1.0, "p75": 1.0, "p95": 1.0}


def test_equal_steps_give_the_ordinary_quantiles():
    values = np.random.default_rng(3).uniform(size=200)
    found = over_time(np.arange(201.0), [0.0, *values]).quantiles
    wanted = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf")
    assert list(found.values()) == wanted.tolist()


def test_a_steady_load_has_it_as_its_mean_to_the_last_digit():
    times = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.1, 50))
    for load in (0.1, 0.3, 0.7, 1.0):
        assert over_time(times, [load] * 50).mean == load


def test_what_is_unknown_is_left_out_and_not_zero():
    busy = over_time([0, 1, 2, 3, 4], [NAN, 0.5, NAN, 0.7, NAN])
    assert busy.mean == pytest.approx(0.6)
    assert (busy.samples, busy.seconds) == (2, 2.0)
    assert over_time([0, 1, 2], [1.0, NAN, NAN]) is None
    assert over_time([0.0], [1.0]) is None


def test_the_device_that_is_asked_for_answers():
    both = [samples("gpu:0", [0, 2], [0, 0.25]), samples("gpu:1", [0, 2], [0, 0.75])]
    assert utilisation(both, "gpu:1").mean == 0.75
    unread = utilisation(both, "gpu:2")
    assert (unread.mean, unread.quantiles) == (None, {})
    assert unread.reason == "no meter reads gpu:2"
    assert set(unread.to_dict()) == {*QUANTILES, "samples", "seen", "domain", "source", "reason"}
    assert unread.to_dict()["p50"] is None


def test_all_processors_are_one_device():
    sockets = [
        samples("cpu:0", [0, 2], None, "rapl"),
        samples("cpu:1", [0, 2], [0, 0.5], "estimate"),
    ]
    found = utilisation(sockets, "cpu")
    assert (found.mean, found.domain, found.source) == (0.5, "cpu:1", "estimate")


def test_a_sensor_that_does_not_say_it_is_named():
    silent = utilisation([samples("cpu:0", [0, 2], None, "rapl")], "cpu")
    assert silent.mean is None
    assert silent.reason == "rapl does not report it for cpu"
    lost = utilisation([samples("gpu:0", [0, 2], [0.5, NAN])], "gpu:0")
    assert lost.mean is None
    assert "within the window" in lost.reason


def test_a_part_unseen_is_said():
    found = utilisation([samples("gpu:0", [0, 1, 4], [0.5, 0.5, NAN])], "gpu:0")
    assert (found.mean, found.seen) == (0.5, 0.25)


def test_a_window_shorter_than_a_gpus_figure_looks_back_is_unknown():
    short = utilisation([samples("gpu:0", [0, 0.4, 0.9], [0.9, 0.9, 0.9])], "gpu:0")
    assert short.mean is None
    assert "shorter" in short.reason
    assert utilisation([samples("cpu:0", [0, 0.1], [0, 0.9])], "cpu").mean == 0.9


def test_a_load_is_at_most_one_and_needs_time_to_pass():
    load = Load(processors=2)
    assert load.since_last(0.0, 0.0) is None
    assert load.since_last(5.0, 1.0) == 1.0
    assert load.since_last(5.0, 1.0) is None
    assert load.since_last(5.5, 2.0) == 0.25


def busy_for(seconds):
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        pass


def test_the_estimate_says_the_load_of_our_own_processes():
    meter = EstimateMeter(tdp_w=50.0)
    assert "utilisation" not in meter.sample()[0].state
    used_s, began_s = time.process_time(), time.monotonic()
    busy_for(0.3)
    share = meter.sample()[0].state["utilisation"]
    used_s, passed_s = time.process_time() - used_s, time.monotonic() - began_s
    assert share == pytest.approx(used_s / passed_s / usable_processors(), abs=0.05)
    assert share > 0
    time.sleep(0.3)
    assert meter.sample()[0].state["utilisation"] < 0.2 * share
    assert meter.sample()[1].state == {}


def test_the_load_of_the_machine_is_that_of_everything():
    meter = EstimateMeter(tdp_w=50.0, scope="machine")
    meter.sample()
    time.sleep(0.05)
    assert 0 <= meter.sample()[0].state["utilisation"] <= 1
    check_meter(lambda: EstimateMeter(tdp_w=50.0, scope="machine"))


def test_a_container_may_use_a_part_of_the_processors(tmp_path):
    limit = tmp_path / "cpu.max"
    limit.write_text("50000 100000\n")
    assert usable_processors(limit) == 0.5
    whole = usable_processors(tmp_path / "absent")
    assert whole >= 1
    for text in ("max 100000", "", "garbage of bytes", "100000000 1"):
        limit.write_text(text)
        assert usable_processors(limit) == whole


def test_a_window_of_the_recorder_knows_its_load():
    with Recorder([EstimateMeter(tdp_w=50.0)], interval_s=0.05) as recorder:
        time.sleep(0.2)
        used_s = time.process_time()
        window = recorder.open("busy")
        busy_for(0.5)
        window.close()
        used_s = time.process_time() - used_s
    found = utilisation(window.channel_samples, "cpu")
    wanted = used_s / window.measurement.duration_s / usable_processors()
    assert found.mean == pytest.approx(wanted, abs=0.05)
    assert found.seen == pytest.approx(1.0)
    assert found.reason == ""
