"""The green strategy."""

import pytest

from joulelab.tuning.space import Float, Int
from joulelab.tuning.tuner import Tuner

SPACE = {"rate": Float(1e-5, 1.0, log=True), "width": Int(8, 512, log=True)}


@pytest.mark.parametrize("cost", [None, lambda values: values["width"]])
def test_a_search_leaves_a_centre_where_everything_fails(cost):
    tuner = Tuner(SPACE, "green", seed=1, cost=cost)
    for _ in range(40):
        trial = tuner.ask()
        tuner.tell(trial, 0.5 if trial.values["rate"] < 1e-4 else None, cost=1.0)
    assert tuner.best is not None


def test_rounds_asked_for_together_spread_over_the_space():
    tuner = Tuner(SPACE, "green", seed=1)
    rates = [tuner.ask().values["rate"] for _ in range(8)]
    assert max(rates) > 100 * min(rates)
