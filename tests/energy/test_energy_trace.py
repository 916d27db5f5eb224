"""Integration of power against integrals that are known."""

import math

import numpy as np
import pytest

from joulelab.energy.trace import integrate, longest_gap_s, power_of_counter

DURATION_S = 60.0
RATE_HZ = 10
PERIOD_S = math.e


def sine(t):
    return 200 + 100 * np.sin(2 * math.pi * t / 5)


def steps(t):
    """A square wave whose edges fall anywhere between two samples."""
    return np.where((t % PERIOD_S) < PERIOD_S / 2, 300.0, 80.0)


def steps_integral(end_s):
    whole, rest = divmod(end_s, PERIOD_S)
    half_s = PERIOD_S / 2
    return whole * half_s * 380 + min(rest, half_s) * 300 + max(rest - half_s, 0) * 80


CURVES = {
    "constant": (lambda t: np.full_like(t, 150.0), 150.0 * DURATION_S),
    "ramp": (lambda t: 50 + 5 * t, 50 * DURATION_S + 2.5 * DURATION_S**2),
    "sine": (sine, 200 * DURATION_S),
    "steps": (steps, steps_integral(DURATION_S)),
    "plateau": (
        lambda t: np.where(t < 10, 60.0, np.where(t < 50, 350.0, 60.0)),
        60.0 * 20 + 350.0 * 40,
    ),
}


@pytest.mark.parametrize("curve", CURVES)
def test_power_at_ten_hertz_is_integrated_within_half_a_percent(curve):
    power, truth = CURVES[curve]
    times = np.arange(0, DURATION_S + 1e-9, 1 / RATE_HZ)
    result = integrate(times, power(times), 0.0, DURATION_S)
    assert result.energy_j == pytest.approx(truth, rel=0.005)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("seed", range(5))
def test_jitter_of_the_sampler_leaves_it_within_half_a_percent(curve, seed):
    power, truth = CURVES[curve]
    inner = np.arange(1, DURATION_S * RATE_HZ) / RATE_HZ
    inner = inner + np.random.default_rng(seed).uniform(-0.03, 0.03, len(inner))
    times = np.concatenate(([0.0], inner, [DURATION_S]))
    result = integrate(times, power(times), 0.0, DURATION_S)
    assert result.energy_j == pytest.approx(truth, rel=0.005)


@pytest.mark.parametrize("curve", ["constant", "ramp", "plateau", "steps"])
def test_the_truth_lies_within_the_error_bound(curve):
    power, truth = CURVES[curve]
    times = np.arange(0, DURATION_S + 1e-9, 1 / RATE_HZ)
    result = integrate(times, power(times), 0.0, DURATION_S)
    assert abs(result.energy_j - truth) <= result.error_j + 1e-9


def test_repeated_values_are_values():
    times = [0.0, 1.0, 2.0, 3.0, 4.0]
    assert integrate(times, [100.0] * 5, 0.0, 4.0).energy_j == 400.0


def test_a_value_stands_until_the_next_and_to_the_edges():
    samples = [0.0, 1.0, 2.0], [0.0, 100.0, 60.0]
    assert integrate(*samples, 0.5, 1.5).energy_j == 50
    assert integrate(*samples, 1.5, 3.0).energy_j == 50 + 60
    assert integrate([0.0, 1.0], [10.0, 20.0], -1.0, 1.5).energy_j == 10 * 2 + 20 * 0.5


def test_no_sample_is_unknown_and_not_zero():
    assert integrate([], [], 0.0, 0.0) is None


def test_the_longest_gap_is_between_neighbours():
    assert longest_gap_s([0.0, 0.1, 0.9, 1.0]) == pytest.approx(0.8)
    assert longest_gap_s([3.0]) == 0.0


def test_power_of_a_counter_is_its_slope():
    power = power_of_counter([0.0, 1.0, 3.0], [10.0, 60.0, 100.0])
    assert math.isnan(power[0])
    assert list(power[1:]) == [50.0, 20.0]
