"""Races: the same best as with every repetition, for a part of their cost."""

import numpy as np
import pytest

from joulelab.errors import UsageError
from joulelab.tuning.search import make_search
from joulelab.tuning.space import Choice, SearchSpace

CONFIGURATIONS, SEEDS = 60, 8
SPACE = SearchSpace({"which": Choice(tuple(range(CONFIGURATIONS)))})


def scores_of(number):
    """Means, an effect of each seed, and noise: the best two are less than the noise apart."""
    generator = np.random.default_rng(number)
    means = generator.normal(0, 1, (CONFIGURATIONS, 1))
    return (
        means + generator.normal(0, 0.5, SEEDS) + generator.normal(0, 0.3, (CONFIGURATIONS, SEEDS))
    )


def raced(scores, number, strategy="grid", together=1):
    """A search over all configurations, and the trainings that it took."""
    search = make_search(strategy, SPACE, number, seeds=SEEDS)
    taken = 0
    while steps := search.next(together):
        for step in steps:
            search.observe(step, [scores[step.values["which"], step.repetition]], 1.0)
            taken += 1
    return search, taken


@pytest.mark.parametrize("together", [1, 8])
def test_a_race_finds_the_best_mean_with_a_part_of_the_trainings(together):
    same, taken = 0, 0
    for number in range(100):
        scores = scores_of(number)
        search, count = raced(scores, number, together=together)
        taken += count
        trial, score = search.best()
        winner = trial.values["which"]
        same += winner == int(scores.mean(axis=1).argmax())
        assert score == pytest.approx(scores[winner].mean())
    assert same >= 97
    assert taken <= 0.6 * 100 * CONFIGURATIONS * SEEDS


def test_every_trial_is_told_to_the_strategy_once_with_its_mean():
    scores = scores_of(0)
    search = make_search("random", SPACE, 0, seeds=3)
    told = []
    search._strategy.observe = lambda *about: told.append(about)
    costs = search._strategy.costs
    for _ in range(40):
        (step,) = search.next()
        search.observe(step, [scores[step.values["which"], step.repetition]], 2.0)
    numbers = [number for number, _, _ in told]
    assert numbers == sorted(set(numbers))
    for number, values, score in told:
        trained = len(search.trials[number].scores)
        assert score == pytest.approx(scores[values["which"], :trained].mean())
        assert costs[number] == 2.0
    assert {len(search.trials[number].scores) for number in numbers} >= {1, 3}


def test_a_failed_training_ends_the_race_of_its_trial():
    search = make_search("random", SPACE, 0, seeds=3)
    (step,) = search.next()
    search.observe(step, None, 1.0)
    (following,) = search.next()
    assert following.trial == 1
    assert search.best() is None


def test_a_trial_with_one_lucky_seed_is_not_the_best():
    search = make_search("random", SPACE, 0, seeds=3)
    lucky = [[0.5, 0.5, 0.5], [0.2, 0.2, 0.2], [0.1, 0.2, 0.3], [0.4, 0.0, 0.0]]
    while len(search.trials) <= len(lucky):
        (step,) = search.next()
        if step.trial == len(lucky):
            break
        # The first seed is an easy one for all.
        easy = 0.3 if step.repetition == 0 else 0.0
        search.observe(step, [lucky[step.trial][step.repetition] + easy], 1.0)
    assert len(search.trials[3].scores) < 3
    assert search.best()[0].number == 0


def test_searches_that_train_a_trial_once_are_refused():
    with pytest.raises(UsageError, match="asha trains every trial with one seed, not with 3"):
        make_search("asha", SPACE, 0, 25, seeds=3)
    assert make_search("asha", SPACE, 0, 25, seeds=1)


def test_green_trains_a_trial_with_no_more_seeds_than_told():
    search = make_search("green", SearchSpace({"which": Choice((0, 1, 2))}), 0, 3, seeds=2)
    noise = np.random.default_rng(0)
    for _ in range(20):
        if not (steps := search.next()):
            break
        scores = noise.normal(0, 0.1, steps[0].end - steps[0].start)
        search.observe(steps[0], list(scores), 1.0)
    assert max(len(one.scores) for one in search.trials) == 2
