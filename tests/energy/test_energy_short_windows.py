"""A window too short for its sensor is no measurement: it leaves open more than the sensor says."""

import numpy as np
import pytest
from fake_meter import channel

from joulelab.energy.measurement import answer
from joulelab.energy.reading import Reading, Status
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.summary import Conditions, summarise
from joulelab.energy.trace import Sensor

TICK_S = 30.0
POWER_W = 50.0


def summed(times_s, *channel_samples):
    edges_s = (float(times_s[0]), float(times_s[-1]))
    return summarise(Conditions("load", 0.0, edges_s, (), {}, 1.0), channel_samples)


def paged(length_s, *, begins_s=20.0, **settings):
    """A load of some length beside a counter that is new every 30 s, read once a second."""
    times_s = np.arange(begins_s, begins_s + length_s + 0.5)
    joules = POWER_W * TICK_S * np.floor(times_s / TICK_S)
    settings = {"tick_s": TICK_S, **settings}
    return summed(times_s, ChannelSamples(channel(**settings), times_s, joules, 1.0))


@pytest.mark.parametrize("length_s", [12, 40, 59])
def test_a_counter_of_less_than_two_ticks_is_an_estimate_and_says_what_to_do(length_s):
    whole = paged(length_s)
    one = whole["gpu:0"]
    assert one.status is whole.total.status is Status.ESTIMATED
    assert one.error_j > one.gross_j
    assert abs(POWER_W * length_s - one.gross_j) <= one.error_j
    (flag,) = whole.flags
    assert f"gpu:0: {length_s}.0 s are too short for fake-counter" in flag
    assert "measure for longer, 10 min 00 s if you can" in flag
    assert "estimated, could be up to" in answer(whole)


@pytest.mark.parametrize("length_s", [90, 700])
def test_a_counter_of_more_ticks_is_measured_within_its_bound(length_s):
    one = paged(length_s)["gpu:0"]
    assert one.status is Status.MEASURED
    assert not one.too_short
    assert abs(POWER_W * length_s - one.gross_j) <= one.error_j <= one.gross_j


def test_a_sensor_that_is_off_by_more_than_it_says_still_measures():
    """As memory by RAPL: a longer window would not mend it."""
    one = paged(700, relative_error=1.57)["gpu:0"]
    assert one.error_j > one.gross_j
    assert one.status is Status.MEASURED


def test_an_estimate_is_not_a_sensor_with_too_little_time():
    one = paged(40, status=Status.ESTIMATED)["gpu:0"]
    assert (one.status, one.sensed) == (Status.ESTIMATED, False)


def test_the_same_holds_for_power_between_two_of_its_samples():
    times_s, watts = np.array([0.0, 1.5]), np.array([100.0, 300.0])
    power = channel(kind="power", sensor=Sensor(0.1))
    whole = summed(times_s, ChannelSamples(power, times_s, watts, 4.0))
    assert whole["gpu:0"].status is Status.ESTIMATED
    assert whole["gpu:0"].sensed


def test_a_long_window_of_wide_sampling_is_not_called_too_short():
    times_s = np.arange(0, 60.5)
    watts = np.where(times_s % 2 > 0, 60.0, 300.0)
    power = channel(kind="power", sensor=Sensor(0.1, 1.0, known=False))
    one = summed(times_s, ChannelSamples(power, times_s, watts, 1.0))["gpu:0"]
    assert one.status is Status.MEASURED


def test_what_a_sensor_said_in_too_short_a_time_is_kept_with_the_reading():
    one = paged(40)["gpu:0"]
    assert Reading.from_dict(one.to_dict()) == one
    assert one.shared(2).sensed
