"""Prediction of a training's energy on made-up traces whose energy is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from joulelab.analysis.prediction.step import (
    FINE_TUNING,
    PhaseChange,
    levels_to_come,
    observed_level,
    predict_step,
)
from joulelab.analysis.prediction.traces import PowerTrace, StablePart
from joulelab.errors import UsageError

IDLE_W, FROZEN_W, FULL_W, DIP_W = 20.0, 100.0, 140.0, 80.0
START_S, TROUGH_S, EPOCH_S, DIP_S = 10, 5, 40, 8


def training(duration_s=2000, change_s=None, noise_w=1.0, full_w=FULL_W, seed=1):
    """Start-up, a frozen phase if there is one, a trough, and epochs with dips between."""
    time_s = np.arange(duration_s + 1.0)
    full = np.where(time_s % EPOCH_S < DIP_S, DIP_W, full_w)
    power_w = full
    if change_s is not None:
        power_w = np.where(time_s < change_s, FROZEN_W, full)
        power_w[(time_s >= change_s) & (time_s < change_s + TROUGH_S)] = 0.4 * FROZEN_W
    power_w = np.where(time_s < START_S, IDLE_W, power_w)
    noise = np.random.default_rng(seed).normal(0.0, noise_w, len(time_s))
    return PowerTrace.of(time_s, power_w + noise)


def predicted(trace, fraction, change=None):
    seen = trace.between(0.0, fraction * trace.duration_s)
    return predict_step(seen, trace.duration_s, change)


def error(trace, found):
    return found.energy_j / trace.energy_j - 1.0


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 0.9])
def test_a_training_in_one_phase_is_predicted_within_a_percent(fraction):
    trace = training()
    found = predicted(trace, fraction)
    assert abs(error(trace, found)) < 0.01
    assert found.low_j < trace.energy_j < found.high_j
    assert found.change_ahead == 0.0


def test_the_epoch_and_the_stable_point_are_found():
    found = predicted(training(change_s=205), 0.5, FINE_TUNING)
    assert found.epoch_s == pytest.approx(EPOCH_S, abs=1)
    assert 205 + TROUGH_S <= found.stable_s <= 205 + TROUGH_S + EPOCH_S


@pytest.mark.parametrize("end_s", [400, 405, 410, 420, 430])
def test_where_in_an_epoch_one_looks_matters_little(end_s):
    trace = training()
    assert abs(error(trace, predicted(trace, end_s / 2000))) < 0.01


def test_after_the_change_the_first_phase_does_not_count():
    trace = training(change_s=205)
    found = predicted(trace, 0.2, FINE_TUNING)
    assert abs(error(trace, found)) < 0.02
    assert found.change_ahead == 0.0


def test_before_the_change_the_interval_is_wide_and_holds():
    trace = training(change_s=205)
    early, late = predicted(trace, 0.1, FINE_TUNING), predicted(trace, 0.3, FINE_TUNING)
    assert early.low_j < trace.energy_j < early.high_j
    assert early.change_ahead > 0.9
    assert early.high_j - early.low_j > 8 * (late.high_j - late.low_j)


def test_without_a_word_on_a_change_none_is_expected():
    trace = training(change_s=205)
    found = predicted(trace, 0.1)
    assert found.level_w == pytest.approx(FROZEN_W, rel=0.01)


def test_a_change_of_level_without_a_trough_is_found():
    time_s = np.arange(2001.0)
    epochs = np.where(time_s % EPOCH_S < DIP_S, 90.0, 150.0)
    trace = PowerTrace.of(time_s, np.where(time_s < 200, 100.0, epochs))
    found = predicted(trace, 0.25, FINE_TUNING)
    assert found.change_ahead == 0.0
    assert abs(error(trace, found)) < 0.02


def test_a_pause_in_the_middle_does_not_lower_the_level():
    trace = training()
    power_w = trace.power_w.copy()
    power_w[300:330] = IDLE_W
    paused = PowerTrace(trace.time_s, power_w)
    assert predicted(paused, 0.5).level_w == pytest.approx(predicted(trace, 0.5).level_w, rel=0.005)


def test_ten_samples_a_second_give_the_same_as_one():
    trace = training(change_s=205)
    time_s = np.arange(0, 2000.05, 0.1)
    fine = PowerTrace.of(time_s, np.interp(time_s, trace.time_s, trace.power_w))
    one, other = predicted(trace, 0.3, FINE_TUNING), predicted(fine, 0.3, FINE_TUNING)
    assert other.energy_j == pytest.approx(one.energy_j, rel=0.002)


def test_the_unit_of_time_of_a_short_run_is_its_own():
    slow = training()
    fast = PowerTrace.of(slow.time_s / 50, slow.power_w)
    assert predicted(fast, 0.3).energy_j == pytest.approx(
        predicted(slow, 0.3).energy_j / 50, rel=0.01
    )


def test_the_whole_run_seen_is_its_own_energy():
    trace = training()
    found = predicted(trace, 1.0)
    assert found.energy_j == pytest.approx(trace.energy_j)
    assert found.high_j == pytest.approx(found.low_j)


def test_two_samples_give_a_wide_interval_and_no_stable_point():
    found = predict_step(PowerTrace.of([0.0, 1.0], [100.0, 100.0]), 1000.0)
    assert found.energy_j == pytest.approx(100e3)
    assert found.stable_s is None
    assert found.high_j - found.low_j > 0.5 * found.energy_j


@pytest.mark.parametrize("duration_s", [100.0, math.nan, math.inf])
def test_a_whole_that_is_no_whole_is_refused(duration_s):
    with pytest.raises(UsageError, match="duration of the whole run"):
        predict_step(training(), duration_s)


def test_intervals_of_95_percent_hold_in_about_95_percent_of_noisy_trainings():
    """Drift from run to run is drawn as wide as the floor of the interval says."""
    draw = np.random.default_rng(3)
    held = 0
    for seed in range(200):
        trace = training(duration_s=1200, noise_w=3.0, seed=seed)
        drift = 1.0 + draw.normal(0.0, 0.005)
        later = np.where(trace.time_s > 300, drift, 1.0)
        whole = PowerTrace(trace.time_s, trace.power_w * later)
        found = predicted(whole, 0.25)
        held += found.low_j <= whole.energy_j <= found.high_j
    assert 0.90 <= held / 200 <= 0.995


PART = StablePart(0, 20, np.array([100.0, 102.0, 98.0]), math.nan, changed=False, rhythm=20)


def test_the_standard_error_of_the_level_is_that_of_shrunk_block_means():
    # (2 * 0.03^2 + 0.0008) / (2 + 2) / 3
    level_w, relative = observed_level(PART, 1.0)
    assert level_w == pytest.approx(100.0)
    assert relative == pytest.approx(math.sqrt((2 * 0.0009 + 0.0008) / 4 / 3))


def test_a_change_ahead_is_a_mixture_of_both_levels():
    change = PhaseChange(0.1, 0.5, math.log(1.5), 0.1, 0.01)
    stays, changes = levels_to_come(PART, 1.0, change, 0.75)
    assert (stays.weight, changes.weight) == (0.25, 0.75)
    assert changes.mean == pytest.approx(1.5 * stays.mean)
    assert changes.deviation > 0.1 * changes.mean > stays.deviation


def test_a_level_just_begun_is_drawn_towards_what_the_phase_before_lets_expect():
    change = PhaseChange(0.1, 0.5, math.log(1.5), 0.1, 0.01)
    begun = replace(PART, levels_w=np.array([120.0]), before_w=100.0, changed=True, rhythm=None)
    (level,) = levels_to_come(begun, 1.0, change, 0.0)
    assert 120.0 < level.mean < 150.0
    (nothing,) = levels_to_come(replace(begun, levels_w=np.array([])), 1.0, change, 0.0)
    assert nothing.mean == pytest.approx(150.0)


def test_a_change_becomes_unlikely_as_a_run_goes_on_without_one():
    chances = [FINE_TUNING.ahead(fraction) for fraction in (0.02, 0.1, 0.2, 0.3, 0.5)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.99
    assert chances[-1] < 0.05
