"""What holds for every shipped strategy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulelab.tuning.conformance import SPACES, check_strategy
from joulelab.tuning.strategy import strategies

SHIPPED = ("grid", "random", "bayesian-pi")
ROUNDS = 7


def make(name, space, seed):
    # Fewer candidates than the paper's 10,000 check the same property faster.
    options = {"candidates": 300} if name == "bayesian-pi" else {}
    return strategies.get(name)(space, seed=seed, rounds=ROUNDS, **options)


def test_all_shipped_strategies_are_checked_here():
    assert sorted(SHIPPED) == sorted(strategies._builtin)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_strategy_keeps_the_promises_of_the_interface(name):
    check_strategy(strategies.get(name), rounds=5)


@pytest.mark.parametrize("name", SHIPPED)
@settings(max_examples=15, deadline=None)
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
