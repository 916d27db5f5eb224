"""Designs of a user's experiment: factors that go together, Latin squares and fractions."""

import itertools

import numpy as np
import pytest

from joulelab.errors import SpecError
from joulelab.study.design import latin_square, regular_fraction
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec


def table(**more):
    return {
        "kind": "command",
        "command": "true " + " ".join(f"{{{n}}}" for k in more["vary"] for n in k.split(", ")),
        "repetitions": 1,
        **more,
    }


def combinations(**more):
    spec = check_spec({"name": "s", "experiment": {"e": table(**more)}})
    return [dict(one.levels) for one in Study(spec).plan().configurations]


@pytest.mark.parametrize(("levels", "count"), [(3, 3), (4, 3), (3, 4), (5, 6)])
def test_in_a_latin_square_every_pair_of_levels_meets_once(levels, count):
    square = latin_square([levels] * count)
    assert len(square) == levels**2
    for one, other in itertools.combinations(range(count), 2):
        assert len({(row[one], row[other]) for row in square}) == levels**2


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([3, 3], "three or more factors"),
        ([2, 3, 3], "same number of levels"),
        ([4, 4, 4, 4], "at most 3 factors"),
        ([3] * 5, "at most 4 factors"),
    ],
)
def test_a_latin_square_that_does_not_exist_is_refused(sizes, said):
    with pytest.raises(SpecError, match=said):
        latin_square(sizes)


def resolution(fraction):
    """The fewest factors whose product is constant over the fraction."""
    signs = 2 * np.array(fraction) - 1
    count = signs.shape[1]
    return next(
        size
        for size in range(1, count + 1)
        for some in itertools.combinations(range(count), size)
        if abs(signs[:, some].prod(axis=1).sum()) == len(signs)
    )


@pytest.mark.parametrize(
    ("factors", "halvings", "best"),
    # Box, Hunter and Hunter, Statistics for Experimenters, table 12.15.
    [
        (3, 1, 3),
        (4, 1, 4),
        (5, 1, 5),
        (5, 2, 3),
        (6, 2, 4),
        (7, 3, 4),
        (7, 4, 3),
        (8, 2, 5),
        (8, 4, 4),
    ],
)
def test_a_fraction_has_the_largest_possible_resolution(factors, halvings, best):
    fraction = regular_fraction([2] * factors, halvings)
    assert len(set(fraction)) == len(fraction) == 2 ** (factors - halvings)
    assert np.array(fraction).mean(axis=0).tolist() == [0.5] * factors
    assert resolution(fraction) == best


@pytest.mark.parametrize(
    ("sizes", "halvings", "said"),
    [
        ([2, 2], 1, "three or more"),
        ([2, 3, 2], 1, "two levels each"),
        ([2] * 4, 2, "keep them apart"),
    ],
)
def test_a_fraction_that_does_not_exist_is_refused(sizes, halvings, said):
    with pytest.raises(SpecError, match=said):
        regular_fraction(sizes, halvings)


def test_levels_that_go_together_are_one_level_of_the_design():
    made = combinations(vary={"depth, rate": [[2, 0.1], [4, 0.01]], "mode": ["a", "b"]})
    assert made == [
        {"depth": 2, "rate": 0.1, "mode": "a"},
        {"depth": 2, "rate": 0.1, "mode": "b"},
        {"depth": 4, "rate": 0.01, "mode": "a"},
        {"depth": 4, "rate": 0.01, "mode": "b"},
    ]


def test_a_study_runs_a_latin_square_or_a_fraction_of_its_combinations():
    three = {"a": [1, 2, 3], "b": [1, 2, 3], "c": [1, 2, 3]}
    assert len(combinations(vary=three)) == 27
    assert len(combinations(vary=three, design="latin-square")) == 9
    four = {name: [0, 1] for name in "abcd"}
    assert len(combinations(vary=four, design="fractional")) == 8
    excluded = combinations(vary=four, design="fractional", exclude=[{"a": 0, "b": 0}])
    assert len(excluded) == 6


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"vary": {"a": [1, 1]}}, "occurs twice"),
        ({"vary": {"a, b": [[1, 2], [3]]}}, "does not have 2 values"),
        ({"vary": {"a": [[1, 2]]}}, "does not have 1 value"),
        ({"vary": {"a": [1], "a, b": [[1, 2]]}}, "occurs twice"),
        ({"vary": {"seed": [1, 2]}}, "rename the factor"),
        ({"vary": {"duration_s": [1, 2]}}, "rename the factor"),
        ({"vary": {"a": [1, 2]}, "metrics": {"energy_net_j": "min"}}, "rename the metric"),
        ({"vary": {"a": [1, 2]}, "metrics": {"a": "min"}}, "both a factor and a metric"),
        ({"vary": {"a": [1, 2]}, "metrics": {"x": "low"}}, "metrics.x"),
        (
            {"vary": {"a": [1, 2]}, "metrics": {"x": {"better": "min", "pattern": "("}}},
            "expression",
        ),
        ({"vary": {"a": [1, 2]}, "metrics": {"x": {"better": "min", "pattern": "x"}}}, "0 groups"),
        ({"vary": {"a": [1, 2]}, "claims": ["a is nice"]}, "not understood"),
        ({"vary": {"a": [1, 2]}, "claims": ["b moves energy"]}, "names 'b'"),
        ({"vary": {"a": [1, 2]}, "trade_offs": [["energy", "loss"]]}, "trade_offs names 'loss'"),
        ({"vary": {"a": [1, 2]}, "design": "latin-square"}, "Latin square"),
    ],
)
def test_a_mistake_in_the_table_is_told(more, said):
    with pytest.raises(SpecError) as refused:
        check_spec({"name": "s", "experiment": {"e": table(**more)}})
    assert said in str(refused.value)
