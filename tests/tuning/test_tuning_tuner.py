"""Ask and tell."""

import math

import numpy as np
import pytest

import joulelab
from joulelab.errors import UsageError
from joulelab.tuning.conformance import check_strategy
from joulelab.tuning.strategy import strategies


def space():
    return {
        "rate": joulelab.Float(1e-5, 1e-1, log=True),
        "width": joulelab.Int(8, 512, log=True),
        "act": joulelab.Choice(["relu", "tanh"]),
    }


def score(values):
    return (
        1
        - 0.2 * abs(math.log10(values["rate"]) + 3)
        - 0.05 * abs(math.log2(values["width"]) - 6)
        - 0.1 * (values["act"] != "tanh")
    )


@pytest.mark.parametrize("name", ["green", "quasi-random"])
def test_a_strategy_keeps_to_its_contract(name):
    check_strategy(strategies.get(name))


def test_the_best_is_found_and_it_stops_when_nothing_is_gained():
    tuner = joulelab.Tuner(space(), seed=1)
    while not tuner.should_stop and len(tuner.trials) < 80:
        trial = tuner.ask()
        tuner.tell(trial, score(trial.values), cost=float(trial.values["width"]))
    assert len(tuner.trials) < 80
    assert tuner.best.score > 0.9


@pytest.mark.parametrize(
    "flat", [lambda x: 0.5, lambda x: min(0.2 + 3 * x, 1.0)], ids=["everywhere", "plateau"]
)
def test_it_stops_where_most_trials_have_the_best_score_but_not_at_once(flat):
    tuner = joulelab.Tuner({"x": joulelab.Float(0.0, 1.0)}, seed=1)
    while not tuner.should_stop and len(tuner.trials) < 50:
        trial = tuner.ask()
        tuner.tell(trial, flat(trial.values["x"]))
    assert 30 <= len(tuner.trials) < 50


def test_what_is_cheap_is_tried_more_often_than_what_is_dear():
    def spent(told):
        tuner = joulelab.Tuner(space(), seed=2)
        for _ in range(25):
            trial = tuner.ask()
            cost = float(trial.values["width"])
            tuner.tell(trial, score(trial.values), cost=cost if told else None)
        return sum(trial.values["width"] for trial in tuner.trials)

    assert spent(True) < spent(False)


def test_a_cost_known_beforehand_spares_the_dear_ones_from_the_beginning():
    tuner = joulelab.Tuner(space(), seed=3, cost=lambda values: values["width"])
    for _ in range(4):
        trial = tuner.ask()
        assert trial.values["width"] < 128
        tuner.tell(trial, score(trial.values))
    with pytest.raises(UsageError, match="cost is -1"):
        joulelab.Tuner(space(), cost=lambda _: -1.0).ask()


def test_a_price_stops_it_at_once_where_nothing_is_worth_it():
    tuner = joulelab.Tuner(space(), seed=4, price=1e6)
    trial = tuner.ask()
    tuner.tell(trial, score(trial.values), cost=1.0)
    assert tuner.should_stop


def test_failures_and_trials_told_in_another_order():
    tuner = joulelab.Tuner(space(), seed=5)
    first, second, third = tuner.ask(), tuner.ask(), tuner.ask()
    assert len({trial.values["rate"] for trial in (first, second, third)}) == 3
    tuner.tell(third, math.nan)
    tuner.tell(first, 0.4, cost=2)
    tuner.tell(second, None)
    assert tuner.best is first
    assert third.score is None
    assert tuner.ask().number == 3


def test_an_exhausted_space_is_said():
    tuner = joulelab.Tuner({"a": joulelab.Choice([1, 2])}, strategy="grid")
    tuner.tell(tuner.ask(), 1.0)
    tuner.tell(tuner.ask(), 2.0)
    assert tuner.should_stop


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda tuner, trial: tuner.tell(trial, "good"), "score is 'good'"),
        (lambda tuner, trial: tuner.tell(trial, 1.0, cost=0), "cost is 0"),
        (lambda tuner, trial: tuner.tell(trial, 1.0, cost=math.inf), "cost is inf"),
        (lambda tuner, trial: [tuner.tell(trial, 1.0)] * 2 + [tuner.tell(trial, 1.0)], "before"),
        (
            lambda tuner, trial: joulelab.Tuner(space()).tell(trial, 1.0),
            "not of this tuner",
        ),
        (lambda tuner, trial: tuner.tell(trial.number, 1.0), "0 is not a trial"),
    ],
)
def test_what_cannot_be_told_is_refused(wrong, message):
    tuner = joulelab.Tuner(space())
    with pytest.raises(UsageError, match=message):
        wrong(tuner, tuner.ask())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": None}, "seed is None"),
        ({"strategy": "asha"}, "asha decides how far a training goes"),
        ({"strategy": "gren"}, "green"),
    ],
)
def test_a_tuner_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        joulelab.Tuner(space(), **wrong)


def test_numbers_of_numpy_are_told_like_others():
    tuner = joulelab.Tuner(space())
    trial = tuner.ask()
    tuner.tell(trial, np.float32(0.5), cost=np.int64(3))
    assert tuner.best.score == 0.5


def test_goals_may_be_one_text_and_a_knee_needs_two():
    assert joulelab.Tuner(space(), goals="score,cost").goals == 2
    for name in ("front", "knee"):
        with pytest.raises(UsageError, match="needs two goals"):
            getattr(joulelab.Tuner(space()), name)
