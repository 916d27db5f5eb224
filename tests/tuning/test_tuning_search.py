"""Searches decide on epochs; they are resumed by replaying what they observed."""

import importlib.util
import math
from collections import Counter

import numpy as np
import pytest

from joulelab.tuning.search import make_search, rungs, searches
from joulelab.tuning.space import Choice, Float, SearchSpace

SPACE = SearchSpace(
    {"rate": Float(1e-5, 1e-1, log=True), "layers": Choice((1, 2, 3), ordered=True)}
)
EPOCHS = 27
SEARCHES = [
    name
    for name in searches.names()
    if name != "syne-tune-asha" or importlib.util.find_spec("syne_tune")
]


def curve(values, repetition=0, epochs=EPOCHS):
    """Scores that rise towards a limit; the best rate is 1e-3, with 2 layers."""
    off = abs(math.log10(values["rate"]) + 3) / 2 + 0.2 * (values["layers"] != 2)
    limit = 0.9 - 0.3 * min(off, 2)
    noise = np.random.default_rng((repetition, round(1e9 * values["rate"]))).normal(0, 0.005)
    return [limit - 0.2 * math.exp(-epoch / 6) + noise for epoch in range(1, epochs + 1)]


def carried_out(search, budget, together=1):
    """The groups of steps of a search until its budget of epochs is spent."""
    done, spent = [], 0
    while spent < budget and (steps := search.next(together)):
        for step in steps:
            observe(search, step)
            spent += step.end - step.start
        done.append(steps)
    return done


def observe(search, step):
    scores = curve(step.values, step.repetition)[step.start : step.end]
    search.observe(step, scores, float(len(scores)))


def steps_of(groups):
    return [step for steps in groups for step in steps]


@pytest.mark.parametrize("name", [*SEARCHES, "random"])
@pytest.mark.parametrize("together", [1, 4])
def test_a_search_is_resumed_by_replaying_it(name, together):
    whole = carried_out(make_search(name, SPACE, 1, EPOCHS), 150, together)
    resumed = make_search(name, SPACE, 1, EPOCHS)
    half = len(whole) // 2
    for steps in whole[:half]:
        assert resumed.next(together) == steps
        for step in steps:
            observe(resumed, step)

    for steps in whole[half:]:
        assert resumed.next(together) == steps
        for step in steps:
            observe(resumed, step)


@pytest.mark.parametrize("name", SEARCHES)
def test_steps_continue_where_a_training_ended(name):
    ends = Counter()
    for step in steps_of(carried_out(make_search(name, SPACE, 2, EPOCHS), 300)):
        assert step.start == ends[step.trial, step.repetition]
        assert step.end in rungs(EPOCHS)
        ends[step.trial, step.repetition] = step.end
    assert max(ends.values()) == EPOCHS


def test_successive_halving_keeps_the_best_third_of_every_rung():
    search = make_search("halving", SPACE, 3, EPOCHS)
    # The brackets of Hyperband's table 1 with eta = 3: 27 trainings of 1 epoch ... 1 of 27.
    bracket = [next(iter(search.next(1))) for _ in range(27)]
    assert {step.end for step in bracket} == {1}
    assert search.next(1) == []  # waits for the results
    for step in bracket:
        search.observe(step, [step.trial / 27], 1.0)

    promoted = search.next(9)

    assert sorted(step.trial for step in promoted) == list(range(18, 27))
    assert {(step.start, step.end) for step in promoted} == {(1, 3)}


def test_hyperband_has_the_brackets_of_the_paper():
    search = make_search("hyperband", SPACE, 3, EPOCHS)
    begun = Counter()
    # 81 + 78 + 90 + 108 epochs in all
    for step in steps_of(carried_out(search, 357)):
        if not step.start:
            begun[step.end] += 1
    # Hyperband, table 1, R = 27: n_0 = 27, 12, 6, 4 with 1, 3, 9, 27 epochs.
    assert [begun[epochs] for epochs in (1, 3, 9, 27)] == [27, 12, 6, 4]


def test_asha_promotes_before_a_rung_is_full():
    search = make_search("asha", SPACE, 4, EPOCHS)
    for score in (0.1, 0.3, 0.2):
        (step,) = search.next(1)
        assert (step.start, step.end) == (0, 1)
        search.observe(step, [score], 1.0)

    (step,) = search.next(1)

    assert (step.trial, step.start, step.end) == (1, 1, 3)


def test_syne_tunes_asha_stops_what_is_not_in_the_best_third_and_continues_none_of_it():
    pytest.importorskip("syne_tune")
    search = make_search("syne-tune-asha", SPACE, 4, EPOCHS)
    before = np.random.get_state()[1].copy()
    ends = []
    for score in (0.2, 0.1, 0.3, 0.25):  # the first goes on; then its rank counts
        step = search.next(1)[0]
        while step.start:  # of a trial that goes on
            search.observe(step, [score] * (step.end - step.start), 1.0)
            step = search.next(1)[0]
        ends.append(step.trial)
        search.observe(step, [score], 1.0)

    assert ends == [0, 1, 2, 3]
    assert [trial.epochs() for trial in search.trials] == [27, 1, 27, 1]
    assert [step.trial for step in search.next(3)] == [3, 4, 5]
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("budget", [40, 100])
def test_green_begins_nothing_that_the_budget_cannot_finish(budget):
    search, left = make_search("green", SPACE, 6, EPOCHS), budget
    while steps := search.next(1, left):
        (step,) = steps
        assert EPOCHS - step.start <= left + 1  # within an epoch
        observe(search, step)
        left -= step.end - step.start

    assert -1 <= left < EPOCHS - 1
    assert any(trial.epochs() == EPOCHS for trial in search.trials)


@pytest.mark.parametrize("name", SEARCHES)
def test_failures_do_not_stop_a_search_and_never_win(name):
    search = make_search(name, SPACE, 5, EPOCHS)
    for number in range(40):
        for step in search.next(1):
            failed = number % 2 == 0
            scores = curve(step.values)[step.start : step.end]
            search.observe(step, None if failed else scores, None if failed else 1.0)
    trial, score = search.best()
    assert not trial.failed
    assert score > 0


def test_green_spends_less_than_asha_until_it_is_near_the_best():
    def spent(name, seed):
        search = make_search(name, SPACE, seed, EPOCHS)
        used = 0
        while used < 600:
            for step in search.next(1):
                scores = curve(step.values, step.repetition)[step.start : step.end]
                search.observe(step, scores, float(len(scores)))
                used += len(scores)
            trial, _ = search.best()
            if trial.epochs() == EPOCHS and curve(trial.values)[-1] > 0.87:
                return used
        return math.inf

    median = {name: np.median([spent(name, s) for s in range(5)]) for name in ("green", "asha")}

    assert median["green"] < median["asha"]


def test_seeds_are_added_to_trials_that_may_win():
    search = make_search("green", SPACE, 6, EPOCHS)
    steps = steps_of(carried_out(search, 500))
    repeated = [search.trials[n] for n in {step.trial for step in steps if step.repetition}]
    best = max(one.score(EPOCHS) or 0 for one in search.trials)
    assert repeated
    assert len(repeated) < len(search.trials) / 4
    assert all(one.score(EPOCHS) > best - 0.05 for one in repeated)
