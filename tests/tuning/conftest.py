"""Fixtures of the tests of tuning."""

import sys

import pytest

from joulelab.tuning.space import Float, SearchSpace
from joulelab.tuning.strategy import strategies


@pytest.fixture
def adam():
    """The search space of Yarally et al. (CAIN 2023), tuning experiment."""
    return SearchSpace(
        {
            "learning_rate": Float(1e-5, 1e-1),
            "beta1": Float(0.1, 1.0, high_exclusive=True),
            "beta2": Float(0.8, 1.0, high_exclusive=True),
            "epsilon": Float(1e-9, 1e-7),
            "weight_decay": Float(0.0, 0.1),
        }
    )


@pytest.fixture
def own_strategies():
    """Forgets, after the test, the strategies and plug-ins that it registered."""
    before = dict(strategies._registered)
    yield
    strategies._registered.clear()
    strategies._registered.update(before)
    for module in [name for name in sys.modules if name.startswith("joulelab_plugin_")]:
        del sys.modules[module]
