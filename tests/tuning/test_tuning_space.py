import subprocess
import sys

import numpy as np
import pytest

from joulelab.errors import UsageError
from joulelab.tuning.space import Categorical, Continuous, Integer, SearchSpace


@pytest.fixture
def mixed():
    return SearchSpace(
        {
            "learning_rate": Continuous(1e-5, 1e-1, log=True, high_exclusive=True),
            "width": Integer(8, 512, log=True),
            "optimiser": Categorical(("adam", "sgd")),
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
    with pytest.raises(UsageError, match=f"{count} variables were asked for and the space has 5"):
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
        ({**NUMBER, "type": "contiuous"}, "no type is called 'contiuous'", "'continuous'"),
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
            "no number lies between",
        ),
        ({"type": "integer", "low": 1, "high": 2.5}, "high = 2.5", "whole number"),
        ({"type": "integer", "low": 5, "high": 4}, "low = 5, high = 4", "below"),
        ({"type": "integer", "low": 0, "high": 4, "log": True}, "low = 0", "above 0"),
        ({"type": "integer", "low": 0, "high": 2**60}, "high = 1152921504606846976", "at most"),
        ({"type": "categorical", "choices": []}, "choices is empty", "at least one"),
        ({"type": "categorical", "choices": "adam"}, "choices = 'adam'", "list"),
        ({"type": "categorical", "choices": ["a", "a"]}, "duplicates", "once"),
        ({"type": "categorical", "choices": [[1]]}, "[1]", "a text"),
        (3, "x = 3", "type ="),
    ],
)
def test_an_impossible_variable_is_refused_by_name_and_value(entry, message, hint):
    with pytest.raises(UsageError) as caught:
        SearchSpace.from_dict({"x": entry})
    assert caught.value.message.startswith("x")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_empty_space_is_refused():
    with pytest.raises(UsageError, match="empty"):
        SearchSpace({})


def test_the_registry_is_imported_without_scipy_and_sklearn():
    code = (
        "import sys; from joulelab.tuning import strategy, space;"
        "sys.exit(any(m in sys.modules for m in ('scipy', 'sklearn', 'pandas', 'pydantic')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
