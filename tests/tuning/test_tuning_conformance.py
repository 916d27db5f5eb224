"""The suite finds what it promises to find: each strategy here breaks one rule."""

import numpy as np
import pytest

from joulelab.tuning.conformance import SPACES, check_strategy
from joulelab.tuning.strategy import Random

SPACE = {"continuous": SPACES["continuous"]}


class Unseeded(Random):
    def __init__(self, space, seed, rounds):
        super().__init__(space, int(np.random.default_rng().integers(2**32)), rounds)


class Outside(Random):
    def propose(self, number):
        return {**super().propose(number), "beta1": 1.0}


class Numpy(Random):
    def propose(self, number):
        return {name: np.float64(value) for name, value in super().propose(number).items()}


class OneGenerator(Random):
    """Carries its generator from round to round, but remembers what it has proposed."""

    def __init__(self, space, seed, rounds):
        super().__init__(space, seed, rounds)
        self.carried = np.random.default_rng(seed)
        self.proposed = {}

    def propose(self, number):
        if number not in self.proposed:
            self.proposed[number] = self.space.decode(self.space.sample(1, self.carried)[0])
        return self.proposed[number]


class NotIdempotent(OneGenerator):
    def propose(self, number):
        self.proposed.clear()
        return super().propose(number)


class Hindsight(Random):
    """Looks at all that was observed, also at rounds after the one that is asked for."""

    proposes_ahead = False

    def __init__(self, space, seed, rounds):
        super().__init__(space, seed, rounds)
        self.seen = 0

    def propose(self, number):
        return self.space.decode(self.space.sample(1, self.generator(self.seen))[0])

    def observe(self, number, values, score):
        self.seen = number + 1


class FalselyAhead(Random):
    def __init__(self, space, seed, rounds):
        super().__init__(space, seed, rounds)
        self.scores = {}

    def propose(self, number):
        shift = 100 if any(score > 0 for r, score in self.scores.items() if r < number) else 0
        return super().propose(number + shift)

    def observe(self, number, values, score):
        self.scores[number] = score or 0.0


class NeedsScores(Random):
    proposes_ahead = False

    def observe(self, number, values, score):
        assert score > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Unseeded, "same seed"),
        (Outside, "round 0 is not in the space"),
        (Numpy, "learning_rate is a float64"),
        (OneGenerator, "resumed at round 1"),
        (NotIdempotent, "second call"),
        (Hindsight, "once later rounds are known"),
        (FalselyAhead, "proposes_ahead is set"),
    ],
)
def test_a_broken_rule_is_named(make, message):
    with pytest.raises(AssertionError, match=message):
        check_strategy(make, SPACE)


def test_a_strategy_that_cannot_do_without_scores_is_found():
    with pytest.raises(TypeError):
        check_strategy(NeedsScores, SPACE)


def test_a_function_that_makes_a_strategy_is_taken_too():
    check_strategy(lambda space, seed, rounds: Random(space, seed + 1, rounds), SPACE)
