"""The Gaussian process and what is expected of the next evaluation."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, optimize, stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from joulelab.tuning.acquisition import index, log_expected_improvement
from joulelab.tuning.gaussian_process import GaussianProcess, Prior
from joulelab.tuning.scaled_process import ScaledProcess, standard_losses, standard_scores

GROUPS = np.array([0, 1, 1])
"""Two variables; the second, a category, has two columns."""


@pytest.fixture
def points():
    return np.random.default_rng(3).random((12, 3))


def test_its_prediction_is_that_of_scikit_learn(points):
    process = GaussianProcess(np.arange(3), Prior(local=0.0))
    process.parameters = np.log([0.3, 0.7, 1.1, 1.5, 0.5, 1.0, 0.01])
    values, at = np.sin(5 * points[:, 0]), np.random.default_rng(4).random((5, 3))
    other = GaussianProcessRegressor(
        Matern([0.3, 0.7, 1.1], nu=2.5), alpha=0.01 + 1e-8, optimizer=None
    ).fit(points, values)

    process.condition(points, values)

    for mine, theirs in zip(process.predict(at), other.predict(at, return_std=True), strict=True):
        assert_allclose(mine, theirs, rtol=1e-8)


@pytest.mark.parametrize("during_training", [False, True])
def test_the_gradient_of_a_fit_is_exact(points, during_training):
    process = GaussianProcess(GROUPS, Prior())
    values = np.sin(5 * points[:, 0]) + 0.1 * points[:, 1]
    if during_training:
        epochs = np.random.default_rng(6).random((len(points), 1))
        points, values = np.concatenate([points, epochs], axis=1), values + epochs[:, 0]
    about = process._compared(points)
    at = process.parameters + np.array([0.3, -0.2, -0.3, 0.4, 0.1, -0.5])

    _, gradient = process._objective(at, about, values)
    numeric = optimize.approx_fprime(
        at, lambda one: process._objective(one, about, values)[0], 1e-6
    )

    assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-4)


def test_a_fit_finds_the_variable_that_matters():
    drawn = np.random.default_rng(5).random((60, 3))
    process = GaussianProcess(np.arange(3), Prior())

    process.fit(drawn, np.sin(7 * drawn[:, 1]) * math.sqrt(2))

    assert process.parameters[1] < min(process.parameters[0], process.parameters[2])


def test_a_slow_starter_is_expected_to_end_as_those_near_it_have():
    """What begins worst ends best: known of three trainings, expected of the others."""
    begun, ended = np.linspace(0.0, 1.0, 9), np.array([0.0, 0.5, 1.0])
    points = np.array([*((x, 0.0) for x in begun), *((x, 1.0) for x in ended)])
    scores = np.concatenate([-1.5 * begun, 0.6 * ended])
    centre, unit = scores.mean(), scores.std()
    process = GaussianProcess(np.arange(1), Prior())
    process.fit(points, (scores - centre) / unit)
    process.condition(points, (scores - centre) / unit)

    mean, _ = process.predict(np.stack([begun, np.ones(9)], axis=1))

    assert_allclose(centre + unit * mean, 0.6 * begun, atol=0.03)


def test_an_observation_would_change_the_mean_as_much_as_foreseen(points):
    """Many draws of the observation, each taken in."""
    process = GaussianProcess(np.arange(3), Prior())
    values = np.sin(5 * points[:, 0])
    process.condition(points, values)
    target, place = np.array([[0.2, 0.4, 1.0]]), np.array([[0.2, 0.4, 0.5]])
    mean, change = process.lookahead(target, place)
    expected, std = process.predict(place)
    noise = math.sqrt(std[0] ** 2 + process._repeat_variance)

    means = []
    for quantile in (np.arange(200) + 0.5) / 200:
        drawn = expected[0] + noise * stats.norm.ppf(quantile)
        process.condition(np.concatenate([points, place]), np.append(values, drawn))
        means.append(process.predict(target)[0][0])

    assert np.mean(means) == pytest.approx(mean[0])
    assert np.std(means) == pytest.approx(change[0], rel=0.02)


@pytest.mark.parametrize("z", [2.0, 0.0, -0.9, -1.1, -6.0])
def test_the_expected_improvement_is_its_integral(z):
    mean, std, best = 0.3, 0.2, 0.3 - 0.2 * z

    log_gain = log_expected_improvement(np.array([mean]), np.array([std]), best)[0]

    gain, _ = integrate.quad(
        lambda u: std * u * stats.norm.pdf(u - z), 0, max(z, 0) + 40, epsabs=0, limit=200
    )
    assert math.exp(log_gain) == pytest.approx(gain, rel=1e-6)


def test_far_below_the_best_the_logarithm_is_still_ordered():
    far = -np.logspace(0.1, 6, 200)

    logs = log_expected_improvement(far, np.ones(200), 0.0)

    assert np.isfinite(logs).all()
    assert (np.diff(logs) < 0).all()


def test_the_index_is_the_best_score_for_which_the_cost_would_be_paid():
    mean, std = np.array([0.0, 1.0, -2.0]), np.array([0.5, 0.1, 3.0])
    log_price = np.log([0.01, 0.2, 1e-6])

    indices = index(mean, std, log_price)

    paid = [
        log_expected_improvement(mean[i : i + 1], std[i : i + 1], indices[i])[0] for i in range(3)
    ]
    assert_allclose(paid, log_price, atol=1e-3)


def test_a_failed_training_does_not_decide_on_the_scale():
    scores = np.array([0.90, 0.89, 0.88, 0.87, 0.86, -1e6])

    scaled = standard_scores(scores).values
    plain = (scores - scores.mean()) / scores.std()

    assert np.ptp(plain[:5]) < 1e-6
    assert np.ptp(scaled[:5]) > 0.1
    assert standard_scores(np.append(scores[:5], np.nan)).values[5] == pytest.approx(
        standard_scores(np.append(scores[:5], 0.86)).values[5]
    )


@pytest.fixture
def losses():
    """Thirty points of two variables, and losses that span four decades over the first of them."""
    generator = np.random.default_rng(3)
    at = generator.random((30, 2))
    return at, 10 ** (-4 * at[:, 0] + 0.1 * generator.normal(size=30))


def of_scores():
    return ScaledProcess(np.arange(2), Prior(), standard_scores, standard_losses)


def test_losses_that_span_decades_are_seen_by_their_ratios(losses):
    at, loss = losses

    _, scaled = of_scores().given(at, -loss)

    logs = -np.log(loss)
    assert_allclose(scaled.values, (logs - logs.mean()) / logs.std(), rtol=1e-9, atol=1e-9)
    # A difference near the best one, in units of the loss.
    assert scaled.unit == pytest.approx(loss.min() * logs.std())


def test_losses_that_are_smooth_are_seen_by_their_gaps(losses):
    """Their logarithms fall without end towards the optimum."""
    at, _ = losses
    score = -np.sum((at - 0.4) ** 2, axis=1)

    _, scaled = of_scores().given(at, score)

    assert standard_losses(score) is not None
    assert_allclose(scaled.values, standard_scores(score).values)


def test_scores_that_are_no_losses_have_no_ratios(losses):
    _, loss = losses
    for scores in (loss, -loss + loss.min(), np.append(-loss, 1.0), -1000 - loss):
        assert standard_losses(scores) is None


@pytest.mark.parametrize("scale", [standard_scores, standard_losses])
def test_a_scale_knows_its_slopes(losses, scale):
    """Without them, likelihoods on two scales could not be compared."""
    _, loss = losses
    scaled = scale(-loss)
    # Near the best, where gaps are small, a scale of logarithms is a straight line.
    offset = loss.min() if scale is standard_losses else np.median(loss - loss.min())
    slopes = 1 / ((loss - loss.min() + offset) * scaled.unit / offset)
    assert scaled.log_slope == pytest.approx(np.log(slopes).sum())
    in_thousandths = scale(-1000 * loss)
    assert in_thousandths.log_slope == pytest.approx(scaled.log_slope - 30 * np.log(1000))


def test_what_is_predicted_does_not_depend_on_when_it_was_asked(points):
    values = np.sin(5 * points[:, 0])
    followed = ScaledProcess(np.arange(3), Prior(), standard_scores)
    for count in range(3, 13):
        followed.given(points[:count], values[:count])
    resumed = ScaledProcess(np.arange(3), Prior(), standard_scores)

    at = np.random.default_rng(6).random((4, 3))
    for mine, again in zip(
        followed.given(points, values)[0].predict(at),
        resumed.given(points, values)[0].predict(at),
        strict=True,
    ):
        assert mine.tolist() == again.tolist()
