"""Sensors that answer with what cannot be: nothing of it is measured."""

import math

import numpy as np
import pytest
from fake_meter import channel

from joulelab.energy.reading import Status
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.standstill import believed
from joulelab.energy.summary import Conditions, summarise

INTERVAL_S = 0.1
AMD = {"range_j": 65_532.6, "limit_w": 1500.0}


def seconds(length_s, interval_s=INTERVAL_S):
    return np.arange(0, length_s + interval_s / 2, interval_s)


def counter(joules, times_s, domain="gpu:0", **settings):
    settings = {"tick_s": 0.1, "resolution_j": 0.001, **settings}
    values = np.broadcast_to(np.asarray(joules, float), times_s.shape).copy()
    return ChannelSamples(channel(domain, **settings), times_s, values, INTERVAL_S)


def power(watts, times_s, domain="gpu:0", **settings):
    values = np.broadcast_to(np.asarray(watts, float), times_s.shape).copy()
    return ChannelSamples(channel(domain, "power", **settings), times_s, values, INTERVAL_S)


def measured(*channel_samples):
    times_s = channel_samples[0].times_s
    edges_s = (float(times_s[0]), float(times_s[-1]))
    return summarise(Conditions("", 0.0, edges_s, (), {}, INTERVAL_S), channel_samples)


def reading(*channel_samples):
    return measured(*channel_samples).readings[0]


@pytest.mark.parametrize("stands_at_j", [0.0, 5000.0])
@pytest.mark.parametrize("settings", [{}, {"tick_s": 0.001, "resolution_j": 0.0}])
def test_a_counter_that_stands_still_is_missing_with_the_reason(stands_at_j, settings):
    one = reading(counter(stands_at_j, seconds(12), **settings))
    assert (one.status, one.gross_j) == (Status.MISSING, None)
    assert one.reason == "fake-counter: stood still for 12.0 s"


def test_where_power_is_known_it_counts_and_that_the_counter_stood_still_is_flagged():
    times_s = seconds(60)
    whole = measured(counter(9000, times_s), power(300, times_s))
    one = whole["gpu:0"]
    assert (one.status, one.source) == (Status.MEASURED, "fake-power")
    assert one.gross_j == pytest.approx(18_000)
    assert "fake-counter: stood still for 60.0 s while 300 W were drawn" in one.reason
    assert whole.flags == ("gpu:0: fake-counter stood still for 60.0 s while 300 W were drawn",)
    assert one.check_j is None


@pytest.mark.parametrize("begins_s", [0, 40, 20])
def test_a_counter_that_freezes_for_a_while_gives_way_to_power(begins_s):
    """Of 60 s at 300 W 20 are not counted, at the beginning, at the end or between."""
    times_s = seconds(60)
    counted_s = times_s - np.clip(times_s - begins_s, 0, 20)
    one = reading(counter(300 * counted_s, times_s), power(300, times_s))
    assert (one.status, one.source) == (Status.MEASURED, "fake-power")
    assert one.gross_j == pytest.approx(18_000)


@pytest.mark.parametrize("begins_s", [0, 40, 20])
def test_without_power_what_was_counted_is_carried_over_as_an_estimate(begins_s):
    times_s = seconds(60)
    counted_s = times_s - np.clip(times_s - begins_s, 0, 20)
    one = reading(counter(300 * counted_s, times_s))
    assert one.status.endswith("estimated")
    assert abs(18_000 - one.gross_j) <= one.error_j
    assert "stood still for" in one.reason
    assert one.lost_s >= 19.9


def test_a_counter_that_makes_up_for_its_standstill_is_right():
    """Its driver slept, and then said all at once."""
    times_s = seconds(60)
    joules = 300 * np.where((times_s > 20) & (times_s < 40), 20, times_s)
    one = reading(counter(joules, times_s))
    assert (one.status, one.gross_j) == (Status.MEASURED, pytest.approx(18_000))


def test_a_counter_of_large_steps_does_not_stand_still_between_them():
    """A plug that shows three decimals of a kilowatt-hour, at 100 W."""
    times_s = seconds(1000, 0.5)
    steps = counter(3600 * np.floor(times_s / 36), times_s, "wall", tick_s=3.0, resolution_j=3600)
    assert believed([steps])[0] == [steps]
    one = reading(steps, power(100, times_s, "wall", tick_s=3.0))
    assert (one.status, one.source) == (Status.MEASURED, "fake-counter")
    assert abs(100_000 - one.gross_j) <= one.error_j


def test_a_counter_whose_steps_nobody_has_stated_is_known_by_how_it_moves():
    """A recorded column of kilowatt-hours with three decimals."""
    times_s = seconds(1000, 0.5)
    steps = counter(3600 * np.floor((times_s + 20) / 36), times_s, tick_s=0.5, resolution_j=0)
    assert believed([steps])[0] == [steps]
    frozen = counter(np.minimum(steps.values, 18_000), times_s, tick_s=0.5, resolution_j=0)
    assert "stood still for" in believed([frozen])[0][0].unreadable


def test_a_window_that_is_too_short_for_its_counter_is_never_0_joules():
    times_s = np.array([0.0, 0.005])
    alone = reading(counter(7000, times_s))
    assert (alone.status, alone.gross_j) == (Status.MISSING, None)
    assert "has not moved in 0.005 s: too short" in alone.reason
    whole = measured(counter(7000, times_s), power(300, times_s))
    assert whole["gpu:0"].gross_j == pytest.approx(1.5)
    assert whole.flags == ()


@pytest.mark.parametrize("domain", ["gpu:0", "wall"])
def test_power_of_0_watts_throughout_is_no_measurement(domain):
    times_s = seconds(10)
    one = reading(power(0, times_s, domain))
    assert (one.status, one.gross_j) == (Status.MISSING, None)
    assert "reported 0 W throughout" in one.reason
    counted = measured(power(0, times_s, domain), counter(90 * times_s, times_s, domain))
    assert counted[domain].gross_j == pytest.approx(900)
    assert counted.flags == (
        f"{domain}: fake-power reported 0 W throughout, although whatever is on draws power",
    )


def test_a_plug_that_says_0_watts_and_counts_nothing_is_missing_beside_what_it_contains():
    times_s = seconds(10)
    whole = measured(
        power(0, times_s, "wall"),
        counter(3.6e6, times_s, "wall", tick_s=3.0, resolution_j=3.6),
        power(90, times_s, within=("wall",)),
    )
    assert whole["wall"].status is Status.MISSING
    assert whole.total.domains == ("gpu:0",)
    assert [one.domain for one in whole.lost] == ["wall"]


def test_a_plug_that_says_0_watts_for_a_while_was_not_read_then():
    times_s = seconds(60)
    one = reading(power(np.where(times_s < 30, 100.0, 0.0), times_s, "wall", tick_s=1.0))
    assert one.status.endswith("estimated")
    assert one.lost_s == pytest.approx(30, abs=0.2)
    assert abs(6000 - one.gross_j) <= one.error_j
    assert "said 0 W for 30.0 s" in one.reason


def test_a_rail_of_a_chip_may_be_off_for_a_while():
    times_s = seconds(60)
    watts = np.where(times_s < 30, 10.0, 0.0)
    one = reading(power(watts, times_s, within=("psys:0", "wall")))
    assert (one.status, one.gross_j) == (Status.MEASURED, pytest.approx(300))


def test_a_part_that_stands_still_is_unknown_and_neither_flagged_nor_lost():
    """An idle graphics unit of a processor; whether it was off cannot be told."""
    times_s = seconds(10)
    whole = measured(
        counter(20 * times_s, times_s, "cpu:0", tick_s=0.001),
        counter(0, times_s, "uncore:0", tick_s=0.001, within=("cpu:0",)),
    )
    assert whole["uncore:0"].status is Status.MISSING
    assert "the part was off, or this counter does not cover it" in whole["uncore:0"].reason
    assert (whole.flags, whole.lost) == ((), ())
    assert whole.total.status is Status.MEASURED


def test_a_platform_that_stands_still_is_not_lost_where_its_processor_is_known():
    times_s = seconds(10)
    whole = measured(
        counter(20 * times_s, times_s, "cpu:0", tick_s=0.001, within=("psys:0", "wall")),
        counter(0, times_s, "psys:0", tick_s=0.001, within=("wall",)),
    )
    assert whole["psys:0"].status is Status.MISSING
    assert whole.total.domains == ("cpu:0",)
    assert whole.lost == ()


def test_a_computed_figure_may_be_0():
    """A process that sleeps uses no processor time; its tick is none."""
    times_s = seconds(10)
    one = reading(counter(0, times_s, "cpu:0", status=Status.ESTIMATED, tick_s=0.0))
    assert (one.status, one.gross_j) == (Status.ESTIMATED, 0.0)


def test_samples_that_could_not_be_read_do_not_hide_a_standstill():
    times_s = seconds(12)
    joules = np.where(np.arange(len(times_s)) % 2, math.nan, 700.0)
    assert reading(counter(joules, times_s)).status is Status.MISSING


def test_a_gap_in_which_a_counter_may_have_wrapped_twice_is_an_estimate_that_says_so():
    """AMD's range at 1.5 kW lasts 44 s; at 1 kW it has wrapped once in 90 s, and once unseen."""
    times_s = np.array([0.0, 0.1, 90.1, 90.2])
    said_j = np.array([0.0, 100.0, 90_100 - 65_532.6, 90_200 - 65_532.6])
    whole = measured(counter(said_j, times_s, "cpu:0", tick_s=0.001, resolution_j=0, **AMD))
    one = whole["cpu:0"]
    assert one.status is Status.ESTIMATED
    assert one.gross_j <= 90_200 <= one.gross_j + one.error_j
    assert any("wraps every 44 s" in flag for flag in whole.flags)
    assert "up to 6.553e+04 J may have passed unseen" in one.reason


@pytest.mark.parametrize(("gap_s", "flagged"), [(40.0, False), (50.0, True)])
def test_a_gap_is_flagged_from_range_over_limit_on(gap_s, flagged):
    times_s = np.array([0.0, 0.1, gap_s, gap_s + 0.1])
    whole = measured(counter(60 * times_s, times_s, "cpu:0", tick_s=0.001, resolution_j=0, **AMD))
    assert any("wraps every" in flag for flag in whole.flags) is flagged
    expected = Status.ESTIMATED if flagged else Status.MEASURED
    assert whole["cpu:0"].status is expected
