"""The interface of a strategy, and random and grid search."""

import itertools
import re
from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulelab.errors import UsageError
from joulelab.tuning.conformance import SPACES, check_strategy
from joulelab.tuning.space import Choice, Float, SearchSpace
from joulelab.tuning.strategy import Grid, Random, strategies

SHIPPED = ("grid", "random", "bayesian-pi", "quasi-random", "green")
COMPARED = ("tpe", "gp", "cma-es", "cfo")
"""They need other libraries, and are tested in test_tuning_comparison.py."""
ROUNDS = 7


def make(name, space, seed, rounds=ROUNDS):
    # Fewer candidates than the paper's 10,000 check the same property faster.
    options = {"candidates": 300} if name == "bayesian-pi" else {}
    return strategies.get(name)(space, seed=seed, rounds=rounds, **options)


def test_all_shipped_strategies_are_checked_here():
    assert sorted((*SHIPPED, *COMPARED)) == sorted(strategies._builtin)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_strategy_keeps_the_promises_of_the_interface(name):
    check_strategy(partial(make, name), rounds=5)


@pytest.mark.parametrize("name", SHIPPED)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**64),
    scores=st.lists(st.none() | st.floats(0, 1), min_size=ROUNDS, max_size=ROUNDS),
    space=st.sampled_from(list(SPACES.values())),
)
def test_a_resumed_strategy_proposes_what_an_unbroken_one_does(name, seed, scores, space):
    unbroken = make(name, space, seed)
    proposals = []
    for number, score in enumerate(scores):
        proposals.append(unbroken.propose(number))
        unbroken.observe(number, proposals[-1], score)

    for number, expected in enumerate(proposals):
        resumed = make(name, space, seed)
        for earlier in range(number):
            resumed.observe(earlier, proposals[earlier], scores[earlier])
        assert resumed.propose(number) == expected


@pytest.mark.parametrize("name", SHIPPED)
def test_another_seed_gives_other_proposals(name):
    space = SPACES["continuous"]

    first, second = ([make(name, space, seed).propose(r) for r in range(3)] for seed in (1, 2))

    assert first != second


def test_rounds_are_independent_uniform_draws(adam):
    strategy = Random(adam, seed=11, rounds=2000)

    drawn = np.array([adam.encode(strategy.propose(r)) for r in range(2000)])

    low, high = np.array([[v.low, v.high] for v in adam.variables.values()]).T
    unit = (drawn - low) / (high - low)
    # Five standard errors: of a mean of uniform draws, and of a correlation.
    assert np.abs(unit.mean(axis=0) - 0.5).max() < 5 / np.sqrt(12 * 2000)
    successive = [np.corrcoef(column[:-1], column[1:])[0, 1] for column in unit.T]
    between = np.corrcoef(unit.T)[np.triu_indices(5, 1)]
    assert np.abs([*successive, *between]).max() < 5 / np.sqrt(2000)


def test_a_round_does_not_depend_on_how_many_there_will_be(adam):
    assert Random(adam, 3, rounds=8).propose(5) == Random(adam, 3, rounds=64).propose(5)


def test_every_point_of_the_grid_is_proposed_once(adam):
    space = adam.first(3)
    strategy = Grid(space, seed=4, rounds=125)

    proposed = [tuple(strategy.propose(r).values()) for r in range(125)]

    assert strategy.size == 125
    assert sorted(proposed) == sorted(itertools.product(*space.grid().values()))
    assert proposed != sorted(proposed)


def test_a_grid_that_is_used_up_says_so(adam):
    message = "the grid has 125 points, but round 126 was requested"
    with pytest.raises(UsageError, match=re.escape(message)):
        Grid(adam.first(3), seed=4, rounds=200).propose(125)


def test_rounds_can_be_asked_for_in_any_order(adam):
    forward = Grid(adam, 5, 64)
    expected = [forward.propose(r) for r in range(64)]

    backward = Grid(adam, 5, 64)
    assert [backward.propose(r) for r in reversed(range(64))] == expected[::-1]


def test_more_rounds_do_not_change_the_first_ones(adam):
    assert Grid(adam, 5, 8).propose(7) == Grid(adam, 5, 3000).propose(7)


def test_every_order_of_a_small_grid_is_as_likely():
    space = SearchSpace({"x": Choice(("a", "b", "c"))})

    orders = Counter(
        "".join(str(strategy.propose(r)["x"]) for r in range(3))
        for strategy in (Grid(space, seed, 3) for seed in range(3000))
    )

    # Five standard deviations of a count, sqrt(3000 * 1/6 * 5/6) = 20.4.
    assert len(orders) == 6
    assert max(abs(count - 500) for count in orders.values()) < 102


def test_a_grid_larger_than_memory_is_drawn_from_without_being_made():
    space = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(40)})
    strategy = Grid(space, seed=0, rounds=100)

    proposed = {tuple(strategy.propose(r).values()) for r in range(100)}

    assert strategy.size == 5**40
    assert len(proposed) == 100
    assert {value for point in proposed for value in point} == set(space.grid()["x0"])


def test_the_number_of_levels_can_be_chosen(adam):
    assert Grid(adam.first(2), 0, 1, levels=3).size == 9
