import itertools
import re
from collections import Counter

import pytest

from joulelab.errors import UsageError
from joulelab.tuning.space import Categorical, Continuous, SearchSpace
from joulelab.tuning.strategy import Grid


def test_every_point_of_the_grid_is_proposed_once(adam):
    space = adam.first(3)
    strategy = Grid(space, seed=4, rounds=125)

    proposed = [tuple(strategy.propose(r).values()) for r in range(125)]

    assert strategy.size == 125
    assert sorted(proposed) == sorted(itertools.product(*space.grid().values()))
    assert proposed != sorted(proposed)


def test_a_grid_that_is_used_up_says_so(adam):
    message = "the grid has 125 points and round 126 was asked for"
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
    space = SearchSpace({"x": Categorical(("a", "b", "c"))})

    orders = Counter(
        "".join(str(strategy.propose(r)["x"]) for r in range(3))
        for strategy in (Grid(space, seed, 3) for seed in range(3000))
    )

    # Five standard deviations of a count, sqrt(3000 * 1/6 * 5/6) = 20.4.
    assert len(orders) == 6
    assert max(abs(count - 500) for count in orders.values()) < 102


def test_a_grid_larger_than_memory_is_drawn_from_without_being_made():
    space = SearchSpace({f"x{i}": Continuous(0.0, 1.0) for i in range(40)})
    strategy = Grid(space, seed=0, rounds=100)

    proposed = {tuple(strategy.propose(r).values()) for r in range(100)}

    assert strategy.size == 5**40
    assert len(proposed) == 100
    assert {value for point in proposed for value in point} == set(space.grid()["x0"])


def test_the_number_of_levels_can_be_chosen(adam):
    assert Grid(adam.first(2), 0, 1, levels=3).size == 9
