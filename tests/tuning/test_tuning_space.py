"""Search spaces and their variables."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulelab.errors import UsageError
from joulelab.tuning.space import Choice, Float, Int, SearchSpace


@pytest.fixture
def mixed():
    return SearchSpace(
        {
            "learning_rate": Float(1e-5, 1e-1, log=True, high_exclusive=True),
            "width": Int(8, 512, log=True),
            "optimiser": Choice(("adam", "sgd")),
        }
    )


def test_points_are_rows_of_codes_in_the_order_of_the_variables(mixed):
    points = mixed.sample(1000, np.random.default_rng(0))

    assert points.shape == (1000, 3)
    assert points.dtype == np.float64
    assert np.all((points >= [1e-5, 8, 0]) & (points <= [1e-1, 512, 1]))
    assert np.all(points[:, 1:] == np.rint(points[:, 1:]))


def test_a_point_decodes_to_plain_python_values_and_encodes_back(mixed):
    for point in mixed.sample(50, np.random.default_rng(1)):
        values = mixed.decode(point)

        assert [type(value) for value in values.values()] == [float, int, str]
        assert mixed.contains(values)
        np.testing.assert_array_equal(mixed.encode(values), point)


def test_the_same_generator_gives_the_same_points(mixed):
    first, second = (mixed.sample(20, np.random.default_rng(5)) for _ in range(2))

    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, mixed.sample(20, np.random.default_rng(6)))


def test_the_grid_of_the_paper_has_125_points_for_3_variables_and_3125_for_5(adam):
    sizes = [np.prod([len(axis) for axis in adam.first(n).grid().values()]) for n in (3, 5)]

    assert sizes == [125, 3125]
    assert adam.grid()["beta2"] == pytest.approx([0.80, 0.84, 0.88, 0.92, 0.96])


def test_a_grid_needs_a_level(mixed):
    with pytest.raises(UsageError, match="0 levels"):
        mixed.grid(0)


def test_the_first_variables_make_a_space(adam):
    assert list(adam.first(3).variables) == ["learning_rate", "beta1", "beta2"]


@pytest.mark.parametrize("count", [0, 6])
def test_more_variables_than_there_are_are_refused(adam, count):
    with pytest.raises(UsageError, match=f"{count} variables were requested, but the space has 5"):
        adam.first(count)


def test_values_outside_are_told_from_values_inside(mixed):
    inside = {"learning_rate": 0.01, "width": 8, "optimiser": "sgd"}

    assert mixed.contains(inside)
    for wrong in (
        {"learning_rate": 0.1},
        {"learning_rate": "0.01"},
        {"width": 8.0},
        {"width": True},
        {"width": 513},
        {"optimiser": "adagrad"},
        {"other": 1},
    ):
        assert not mixed.contains({**inside, **wrong})
    assert not mixed.contains({"width": 8})


def test_a_missing_value_cannot_be_encoded(mixed):
    with pytest.raises(UsageError, match="no value for learning_rate, optimiser"):
        mixed.encode({"width": 9})


def test_a_space_goes_through_plain_data_and_back(mixed, adam):
    for space in (mixed, adam):
        assert SearchSpace.from_dict(space.to_dict()) == space
    assert adam.to_dict()["beta1"] == {
        "type": "continuous",
        "low": 0.1,
        "high": 1.0,
        "high_exclusive": True,
    }
    assert mixed.to_dict()["optimiser"] == {"type": "categorical", "choices": ["adam", "sgd"]}


NUMBER = {"type": "continuous", "low": 0.0, "high": 1.0}


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        ({**NUMBER, "hihg": 2}, "unknown key 'hihg'", "'high'"),
        ({**NUMBER, "type": "contiuous"}, "unknown type 'contiuous'", "'continuous'"),
        ({"low": 0.0, "high": 1.0}, "the key 'type' is missing", "continuous"),
        ({"type": "continuous", "low": 0.0}, "the key 'high' is missing", "high"),
        ({**NUMBER, "low": 1.0}, "low = 1.0, high = 1.0", "below"),
        ({**NUMBER, "low": 2.0}, "low = 2.0, high = 1.0", "below"),
        ({**NUMBER, "log": True}, "low = 0.0, high = 1.0", "above 0"),
        ({**NUMBER, "log": "yes"}, "log = 'yes'", "true or false"),
        ({**NUMBER, "high": float("inf")}, "high = inf", "finite"),
        ({**NUMBER, "low": float("nan")}, "low = nan", "finite"),
        ({**NUMBER, "low": "0"}, "low = '0'", "finite number"),
        ({**NUMBER, "low": True}, "low = True", "finite number"),
        ({**NUMBER, "low": -1.7e308, "high": 1.7e308}, "low = -1.7e+308", "too far apart"),
        (
            {**NUMBER, "low": 1.0, "high": 1.0000000000000002, "high_exclusive": True}
            | {"low_exclusive": True},
            "high = 1.0000000000000002",
            "no number is between",
        ),
        ({"type": "integer", "low": 1, "high": 2.5}, "high = 2.5", "whole number"),
        ({"type": "integer", "low": 5, "high": 4}, "low = 5, high = 4", "below"),
        ({"type": "integer", "low": 0, "high": 4, "log": True}, "low = 0", "above 0"),
        ({"type": "integer", "low": 0, "high": 2**60}, "high = 1152921504606846976", "at most"),
        ({"type": "categorical", "choices": []}, "choices is empty", "at least one"),
        ({"type": "categorical", "choices": "adam"}, "choices = 'adam'", "list"),
        ({"type": "categorical", "choices": ["a", "a"]}, "duplicates", "once"),
        ({"type": "categorical", "choices": [[1]]}, "[1]", "a string"),
        (3, "x = 3", "type ="),
    ],
)
def test_an_impossible_variable_is_refused_by_name_and_value(entry, message, hint):
    with pytest.raises(UsageError) as caught:
        SearchSpace.from_dict({"x": entry})
    assert caught.value.message.startswith("x")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_what_is_no_variable_is_refused():
    with pytest.raises(UsageError, match=r"(?s)rate = 0\.1 is not a variable.*joulelab\.Float"):
        SearchSpace({"rate": 0.1})


def test_an_empty_space_is_refused():
    with pytest.raises(UsageError, match="empty"):
        SearchSpace({})


def test_the_registry_is_imported_without_scipy_and_sklearn():
    code = (
        "import sys; from joulelab.tuning import strategy, space;"
        "sys.exit(any(m in sys.modules for m in ('scipy', 'sklearn', 'pandas', 'pydantic')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


DRAWS = 20_000


class Edge:
    """A generator whose fractions are the extreme ones that `random` can give."""

    def random(self, count):
        return np.resize([0.0, np.nextafter(1.0, 0.0)], count)


@given(
    st.floats(-1e6, 1e6),
    st.floats(1e-9, 1e6),
    st.booleans(),
    st.booleans(),
    st.integers(1, 12),
)
def test_continuous_values_lie_within_their_bounds(
    low, width, low_exclusive, high_exclusive, levels
):
    high = low + width
    if math.nextafter(math.nextafter(low, math.inf), math.inf) >= high:
        return
    variable = Float(low, high, False, high_exclusive, low_exclusive)

    values = [*variable.draw(4, Edge()), *variable.grid(levels)]

    assert all(low <= value <= high for value in values)
    assert not (low_exclusive and low in values)
    assert not (high_exclusive and high in values)
    assert all(variable.contains(value) for value in values)


@given(st.floats(1e-12, 1e3), st.floats(1.001, 1e6), st.booleans(), st.booleans())
def test_log_values_lie_within_their_bounds(low, ratio, low_exclusive, high_exclusive):
    high = low * ratio
    variable = Float(low, high, True, high_exclusive, low_exclusive)

    values = [*variable.draw(4, Edge()), *variable.grid(5)]

    assert all(low <= value <= high for value in values)
    assert not (low_exclusive and low in values)
    assert not (high_exclusive and high in values)


def test_rounding_does_not_reach_an_exclusive_bound():
    # The draw 0.8 + 0.9999999999999999 * (1 - 0.8) rounds to 1.0, which Adam refuses.
    variable = Float(0.8, 1.0, high_exclusive=True)
    top = 0.8 + np.nextafter(1.0, 0.0) * (1.0 - 0.8)
    assert top == 1.0

    assert variable.draw(2, Edge()).tolist() == [0.8, math.nextafter(1.0, 0.0)]


def test_draws_are_uniform_over_the_bounds_or_over_their_logarithms():
    generator = np.random.default_rng(1)

    plain = Float(2.0, 4.0).draw(DRAWS, generator)
    log = np.log10(Float(1e-5, 1e-1, log=True).draw(DRAWS, generator))

    # Five standard errors of a mean, sqrt(width^2 / 12 / DRAWS).
    assert abs(plain.mean() - 3.0) < 5 * 2.0 / math.sqrt(12 * DRAWS)
    assert abs(log.mean() + 3.0) < 5 * 4.0 / math.sqrt(12 * DRAWS)
    assert plain.std() == pytest.approx(2 / math.sqrt(12), rel=0.02)
    assert log.std() == pytest.approx(4 / math.sqrt(12), rel=0.02)


def test_the_grid_of_the_paper_leaves_the_upper_bound_out():
    grid = Float(0.1, 1.0, high_exclusive=True).grid(5)

    assert grid == pytest.approx([0.1, 0.28, 0.46, 0.64, 0.82])


def test_a_log_grid_has_equal_ratios():
    grid = Float(1e-5, 1.0, log=True).grid(5)

    assert grid == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 1e-1])


def test_a_grid_without_its_lower_bound_keeps_its_number_of_levels():
    assert Float(0.0, 1.0, low_exclusive=True).grid(4) == pytest.approx([0.2, 0.4, 0.6, 0.8])


@given(st.integers(-1000, 1000), st.integers(1, 2000), st.integers(1, 10))
def test_an_integer_grid_has_distinct_values_within_the_bounds(low, width, levels):
    variable = Int(low, low + width)

    grid = variable.grid(levels)

    assert len(set(grid)) == len(grid) == min(levels, width + 1)
    assert list(grid) == sorted(grid)
    assert grid[0] == low
    assert grid[-1] <= low + width


def test_integer_grids_as_documented():
    assert Int(1, 3).grid(5) == (1, 2, 3)
    assert Int(0, 9).grid(5) == (0, 2, 4, 6, 8)
    assert Int(8, 511, log=True).grid(3) == (8, 32, 128)
    assert Int(1, 6, log=True).grid(5) == (1, 2, 3, 4)


def test_every_integer_is_drawn_as_often_as_the_others():
    drawn = Int(3, 7).draw(DRAWS, np.random.default_rng(2))

    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [3, 4, 5, 6, 7]
    assert np.abs(counts / DRAWS - 0.2).max() < 5 * math.sqrt(0.16 / DRAWS)


def test_log_integers_are_drawn_by_their_width_on_the_logarithmic_axis():
    drawn = Int(1, 3, log=True).draw(DRAWS, np.random.default_rng(3))

    shares = [float((drawn == value).mean()) for value in (1, 2, 3)]
    edges = np.log([0.5, 1.5, 2.5, 3.5])
    assert shares == pytest.approx(np.diff(edges) / (edges[-1] - edges[0]), abs=0.02)
    assert set(Int(1, 3, log=True).draw(2, Edge()).tolist()) == {1.0, 3.0}


def test_choices_keep_their_types():
    choice = Choice([1, True, "1", 1.5])

    decoded = [choice.decode(code) for code in range(4)]

    assert [(type(value), value) for value in decoded] == [
        (int, 1),
        (bool, True),
        (str, "1"),
        (float, 1.5),
    ]
    assert [choice.encode(value) for value in decoded] == [0, 1, 2, 3]
    assert choice.grid(2) == (1, True, "1", 1.5)
    assert not choice.contains(False)
