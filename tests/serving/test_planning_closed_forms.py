"""The simulation against queueing theory, within error bounds from the means of blocks."""

import math

import numpy as np
import pytest
from closed_forms import DynamicBatching, md1_mean_wait_s

from joulelab.errors import UsageError
from joulelab.serving.arrivals import Poisson
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.simulation import simulate
from joulelab.serving.policies import Fixed, Greedy

ALPHA_S, TAU0_S, BETA_J, GAMMA_J = 0.001, 0.010, 0.02, 0.5
LARGEST = 4096
LINEAR = BatchCosts(
    (1, LARGEST),
    (ALPHA_S + TAU0_S, ALPHA_S * LARGEST + TAU0_S),
    (BETA_J + GAMMA_J, BETA_J * LARGEST + GAMMA_J),
)
BLOCKS = 40
SIGMAS = 4


def mean_and_error(values):
    """Mean, and its standard error where neighbours resemble each other: from means of blocks."""
    blocks = values[len(values) % BLOCKS :].reshape(BLOCKS, -1).mean(axis=1)
    return blocks.mean(), blocks.std(ddof=1) / math.sqrt(BLOCKS)


def steady(rate_per_s, policy, costs, count=200_000, seed=7):
    """A window of Poisson arrivals without its first tenth."""
    times_s = Poisson(rate_per_s).times_s(count, np.random.default_rng(seed))
    window = simulate(times_s, policy, costs)
    return window, window.response_s[count // 10 :]


@pytest.mark.parametrize("load", [0.1, 0.3, 0.5, 0.7, 0.85])
def test_batch_1_waits_as_long_as_an_m_d_1_queue(load):
    service_s = 0.02
    costs = BatchCosts((1,), (service_s,))
    _, response_s = steady(load / service_s, Fixed(1), costs)
    mean_s, error_s = mean_and_error(response_s)
    expected_s = md1_mean_wait_s(load / service_s, service_s) + service_s
    assert mean_s == pytest.approx(expected_s, abs=SIGMAS * error_s)
    assert error_s < 0.03 * expected_s


@pytest.mark.parametrize("load", [0.05, 0.2, 0.5, 0.8, 0.95])
def test_the_mean_response_of_dynamic_batching_lies_between_its_bounds(load):
    bounds = DynamicBatching(load / ALPHA_S, ALPHA_S, TAU0_S)
    _, response_s = steady(load / ALPHA_S, Greedy(LARGEST), LINEAR)
    mean_s, error_s = mean_and_error(response_s)
    assert error_s < 0.04 * mean_s
    assert mean_s <= bounds.most_response_mean_s + SIGMAS * error_s
    assert mean_s >= bounds.least_response_mean_s - SIGMAS * error_s


def test_inoues_bound_is_reached_at_heavy_load():
    for load, gap in ((0.5, 0.03), (0.9, 0.005)):
        bounds = DynamicBatching(load / ALPHA_S, ALPHA_S, TAU0_S)
        ends_s = bounds.least_response_mean_s, bounds.most_response_mean_s
        assert ends_s[1] / ends_s[0] < 1 + gap
        _, response_s = steady(load / ALPHA_S, Greedy(LARGEST), LINEAR)
        mean_s, error_s = mean_and_error(response_s)
        assert mean_s == pytest.approx(ends_s[1], rel=gap, abs=SIGMAS * error_s)


def test_inoues_bound_is_the_smaller_of_its_two_branches_written_out():
    """phi_0 has a mean batch of 1, phi_1 one of lam tau0 / (1 - lam alpha)."""
    for load in (0.02, 0.08, 0.1, 0.3, 0.6, 0.9):
        lam = load / ALPHA_S
        phi_0 = (
            (ALPHA_S + TAU0_S)
            / (2 * (1 - load))
            * (1 + 2 * lam * TAU0_S + (1 - lam * TAU0_S) / (1 + load))
        )
        phi_1 = 1.5 * TAU0_S / (1 - load) + ALPHA_S / 2 * (load + 2) / (1 - load**2)
        bound_s = DynamicBatching(lam, ALPHA_S, TAU0_S).most_response_mean_s
        assert bound_s == pytest.approx(min(phi_0, phi_1))


def test_more_load_makes_larger_batches_and_fewer_joules_between_their_bounds():
    before_batch, before_j = 0.0, math.inf
    for load in (0.05, 0.2, 0.5, 0.8, 0.95):
        bounds = DynamicBatching(load / ALPHA_S, ALPHA_S, TAU0_S)
        window, _ = steady(load / ALPHA_S, Greedy(LARGEST), LINEAR)
        batch, joules = window.batch_mean, window.net_j_per_request
        _, error = mean_and_error(window.batch_sizes.astype(float))
        assert bounds.least_batch_mean - SIGMAS * error <= batch
        assert batch <= bounds.most_batch_mean + SIGMAS * error
        slack_j = GAMMA_J * SIGMAS * error / batch**2
        assert joules <= bounds.most_joules_per_request(BETA_J, GAMMA_J) + slack_j
        assert joules >= bounds.least_joules_per_request(BETA_J, GAMMA_J) - slack_j
        assert batch > before_batch
        assert joules < before_j
        before_batch, before_j = batch, joules


def test_batches_of_fixed_size_take_their_filling_and_their_service():
    """Poisson arrivals, light load: the k-th of n waits for n - k gaps."""
    n, rate_per_s = 8, 100.0
    costs = BatchCosts((1, 8), (1e-4, 1e-4))
    _, response_s = steady(rate_per_s, Fixed(n), costs)
    mean_s, error_s = mean_and_error(response_s)
    assert mean_s == pytest.approx((n - 1) / 2 / rate_per_s + 1e-4, abs=SIGMAS * error_s)


def test_a_load_without_a_steady_state_is_refused():
    with pytest.raises(UsageError, match="a load of 1 has no steady state"):
        md1_mean_wait_s(50.0, 0.02)
    with pytest.raises(UsageError, match=r"a load of 1.5 has no steady state"):
        DynamicBatching(1500.0, ALPHA_S, TAU0_S)
