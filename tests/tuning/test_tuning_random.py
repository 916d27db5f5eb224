import numpy as np

from joulelab.tuning.strategy import Random


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
