"""Strategies of Optuna and FLAML: in the space, resumed exactly, and better than chance."""

import functools
import sys

import numpy as np
import pytest

from joulelab.errors import MissingDependencyError
from joulelab.tuning.conformance import SPACES, check_strategy
from joulelab.tuning.search import make_search
from joulelab.tuning.space import Choice, Float, Int, SearchSpace
from joulelab.tuning.strategy import strategies
from joulelab.tuning.tuner import Tuner

LEVELS = SearchSpace(
    {
        "width": Choice((16, 64, 256, 1024), ordered=True),
        "kind": Choice((True, 1, "x")),
        "only": Choice(("only",)),
        "depth": Int(3, 7),
    }
)
# Two rounds of uniform draws, then the model; a generation of CMA-ES has 8 rounds here.
OPTIONS = {"tpe": {"startup": 2}, "gp": {"startup": 2}, "cma-es": {}, "cfo": {}}
NEEDS = {"tpe": "optuna", "gp": "optuna", "cma-es": "cmaes", "cfo": "flaml"}
QUICK = [name for name in OPTIONS if name != "gp"]


def made(name):
    pytest.importorskip(NEEDS[name])
    return functools.partial(strategies.get(name), **OPTIONS[name])


@pytest.mark.parametrize("name", QUICK)
def test_it_stays_in_the_space_and_resumes_exactly(name):
    check_strategy(made(name), {"mixed": SPACES["mixed"], "levels": LEVELS}, rounds=4)


@pytest.mark.long
@pytest.mark.parametrize("name", OPTIONS)
def test_it_stays_in_every_space_and_resumes_exactly(name):
    check_strategy(made(name), {**SPACES, "levels": LEVELS}, rounds=4 if name == "gp" else 12)


@pytest.mark.parametrize("name", OPTIONS)
def test_it_approaches_the_optimum(name):
    space = SearchSpace({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    strategy = made(name)(space, seed=3, rounds=0)
    rounds = 8 if name == "gp" else 30
    scores = []
    for number in range(rounds):
        values = strategy.propose(number)
        scores.append(-((values["x"] - 0.3) ** 2) - (values["y"] - 0.6) ** 2)
        strategy.observe(number, values, scores[-1])
    assert np.mean(scores[rounds // 2 :]) > np.mean(scores[: rounds // 2])
    assert max(scores) > -0.01


@pytest.mark.parametrize("name", QUICK)
def test_a_long_search_resumes_exactly_with_rounds_asked_together(name):
    """Every second pair of rounds was asked for before either was scored."""
    make, space = made(name), SPACES["mixed"]
    tuner = Tuner(space, seed=5)
    tuner.strategy = make(space, seed=5, rounds=0)
    for first in range(0, 24, 2):
        pair = [tuner.ask(), tuner.ask()]
        for trial in pair if first % 4 else reversed(pair):
            tuner.tell(trial, trial.values["momentum"] - abs(trial.values["layers"] - 4))
    assert all(space.contains(trial.values) for trial in tuner.trials)
    expected = tuner.ask().values
    resumed = make(space, seed=5, rounds=0)
    for trial in tuner.trials[:-1]:
        resumed.observe(trial.number, trial.values, trial.score)
    assert resumed.propose(24) == expected


def test_cfo_begins_where_a_known_cost_is_least():
    pytest.importorskip("flaml")

    def cost(values):
        return values["width"] * (2 if values["kind"] == "x" else 1) / values["depth"]

    first = Tuner(LEVELS, "cfo", cost=cost).ask().values
    assert (first["width"], first["depth"]) == (16, 7)
    assert first["kind"] != "x"


def test_a_missing_syne_tune_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "syne_tune.optimizer.schedulers.asha", None)
    with pytest.raises(MissingDependencyError, match="-asha' needs syne_tune: ") as caught:
        make_search("syne-tune-asha", LEVELS, seed=1, epochs=9)
    assert caught.value.hint == 'pip install "joulelab[syne-tune]"'


@pytest.mark.parametrize("name", OPTIONS)
def test_a_missing_library_is_named_with_the_command_that_installs_it(name, monkeypatch):
    if name == "cma-es":
        pytest.importorskip("optuna")
    monkeypatch.setitem(sys.modules, NEEDS[name], None)
    extra = "flaml" if name == "cfo" else "tune"
    with pytest.raises(MissingDependencyError) as caught:
        strategies.get(name)(LEVELS, seed=1, rounds=4)
    assert caught.value.message.startswith(f"the strategy '{name}' needs {NEEDS[name]}: ")
    assert "\n" not in caught.value.message
    assert caught.value.hint == f'pip install "joulelab[{extra}]"'
