"""Impossible hyperparameters are named with their value."""

import math

import pytest

from joulelab.errors import UsageError
from joulelab.learning.engine import check_hyperparameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", -1e-3),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("learning_rate", "fast"),
        ("beta1", 1.0),
        ("beta1", -0.1),
        ("beta2", 1),
        ("epsilon", 0.0),
        ("weight_decay", -1e-9),
        ("weight_decay", True),
    ],
)
def test_an_impossible_value_is_named(name, value):
    with pytest.raises(UsageError) as caught:
        check_hyperparameters({name: value})
    assert f"{name} = {value!r}" in caught.value.message
    assert name in caught.value.hint


def test_the_edges_of_the_ranges_are_possible():
    check_hyperparameters({"beta1": 0, "beta2": 1 - 1e-16, "weight_decay": 0, "epsilon": 1e-300})


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'learning_rate'"):
        check_hyperparameters({"learningrate": 0.1})
