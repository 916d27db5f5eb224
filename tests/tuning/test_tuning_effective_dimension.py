"""Grid and random search where one variable of three matters."""

import math

import numpy as np
import pytest

from joulelab.tuning.effective_dimension import effective_dimension, response


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_grid_search_tries_three_values_of_each_variable_and_random_search_27(seed):
    found = effective_dimension(seed)
    for search, distinct in ((found.grid, 3), (found.random, 27)):
        assert search.points.shape == (27, 3)
        assert search.distinct == distinct
        assert [len(np.unique(column)) for column in search.points.T] == [distinct] * 3
    assert len(np.unique(found.grid.points, axis=0)) == 27, "the whole grid"


def test_points_follow_from_the_seed_alone():
    one, again, other = effective_dimension(4), effective_dimension(4), effective_dimension(5)
    assert (one.random.points == again.random.points).all()
    assert (one.grid.points == again.grid.points).all()
    assert one.optimum == again.optimum != other.optimum
    assert (one.random.points != other.random.points).any()


def test_the_best_is_the_highest_response_of_the_points_tried():
    found = effective_dimension(2)
    for search in (found.grid, found.random):
        again = [float(response(point, found.optimum)) for point in search.points]
        assert search.responses == pytest.approx(again)
        assert search.best == max(again)


def test_only_the_first_variable_matters():
    corners = np.array([[0.3, 0.0, 0.0], [0.3, 1.0, 1.0], [0.8, 0.0, 0.0]])
    at_optimum, still, away = response(corners, 0.3)
    assert at_optimum == pytest.approx(1.0)
    assert still == pytest.approx(1.02)
    assert away < 1e-9


def test_over_all_places_of_the_optimum_random_search_comes_closer_but_not_at_each():
    found = [effective_dimension(seed) for seed in range(20)]
    # The mean over c of exp(-(d / 0.1)^2), d the way to the nearest of 0.25, 0.5 and 0.75, and
    # 0.01 (0.75 + 0.75) of the others.
    mean = 0.1 * math.sqrt(math.pi) / 2 * (4 * math.erf(1.25) + 2 * math.erf(2.5)) + 0.015
    assert all(one.grid.mean_best == pytest.approx(mean, abs=1e-5) for one in found)
    assert all(one.random.mean_best > 0.85 for one in found)
    assert any(one.grid.best > 0.95 for one in found), "the optimum can lie by a grid's value"


def test_the_curve_runs_through_the_optimum():
    found = effective_dimension(0)
    x1 = np.linspace(0, 1, 1001)
    curve = found.curve(x1)
    assert curve.shape == x1.shape
    assert x1[curve.argmax()] == pytest.approx(found.optimum, abs=1e-3)
    assert curve.max() == pytest.approx(1.01, abs=1e-3)
