"""The suites find what they promise to find: each part here breaks one rule."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from joulelab.errors import UsageError
from joulelab.registry import load_plugin
from joulelab.serving.arrivals import Poisson, arrivals, parse_arrivals
from joulelab.serving.call_syntax import call_text
from joulelab.serving.conformance import check_arrivals, check_policy
from joulelab.serving.policies import Policy, parse_policy, policies

GUIDE = Path(__file__).parents[2] / "docs" / "own-policy.md"


@pytest.fixture
def own_parts():
    """Forgets, after the test, what it registered."""
    before = [(registry, dict(registry._registered)) for registry in (policies, arrivals)]
    yield
    for registry, entered in before:
        registry._registered.clear()
        registry._registered.update(entered)
    for module in [name for name in sys.modules if name.startswith("joulelab_plugin_")]:
        del sys.modules[module]


@pytest.mark.parametrize(
    "text", ["fixed(1)", "fixed(32)", "fixed(32, 50)", "fixed(7, 0.001)", "greedy", "greedy(1)"]
)
def test_the_built_in_policies_pass(text):
    check_policy(lambda: parse_policy(text))


def test_the_built_in_arrivals_pass(tmp_path):
    (tmp_path / "a.csv").write_text("t_s\n0\n0.5\n1\n")
    for text in ["uniform-jitter(16)", "poisson(300)", "bursty(50, 0.2, 2)", "trace(a.csv)"]:
        check_arrivals(lambda text=text: parse_arrivals(text, tmp_path), tmp_path)


class Waiting(Policy):
    """Sound: serves four, or whoever has waited 10 ms."""

    @property
    def largest(self):
        return 4

    def take(self, waiting, oldest_wait_s):
        return min(waiting, 4) if waiting >= 4 or oldest_wait_s >= 0.0099 else 0

    def patience_s(self, waiting, oldest_wait_s):
        return 0.01 - oldest_wait_s


class Unbounded(Waiting):
    def take(self, waiting, oldest_wait_s):
        return waiting


class Fractional(Waiting):
    def take(self, waiting, oldest_wait_s):
        return min(waiting, 4) / 1


class Counting(Waiting):
    asked = 0

    def take(self, waiting, oldest_wait_s):
        self.asked += 1
        return 1 if self.asked % 7 == 0 else super().take(waiting, oldest_wait_s)


class Learning(Waiting):
    """Makes one answer depend on all objects of the class."""

    seen = 0.0

    def take(self, waiting, oldest_wait_s):
        Learning.seen = max(Learning.seen, waiting)
        return 1 if Learning.seen > 30 else super().take(waiting, oldest_wait_s)


class Stubborn(Waiting):
    def take(self, waiting, oldest_wait_s):
        return 4 if waiting >= 8 else 0

    def patience_s(self, waiting, oldest_wait_s):
        return math.inf


class Impatient(Waiting):
    def patience_s(self, waiting, oldest_wait_s):
        return 0.0


class Undecided(Waiting):
    def take(self, waiting, oldest_wait_s):
        return 4 if waiting >= 4 else 0

    def patience_s(self, waiting, oldest_wait_s):
        return 1e-3


class Endless(Waiting):
    largest = math.inf


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Unbounded, r"take\(5, 0\) gave 5, with 5 waiting and batches of at most 4"),
        (Fractional, r"take\(1, 0\) gave 1.0"),
        (Counting, "asked again in another order answers"),
        (Learning, "asked again in another order answers"),
        (Stubborn, r"take\(4, 0\) gave 0 although a full batch of 4 is waiting"),
        (Impatient, "gave 0.0 after a take of 0"),
        (Undecided, "with 1 waiting it was asked 10,000 times in 10 s and served nothing"),
        (Endless, "largest is inf"),
        (Waiting, "its text 'Waiting' does not name a policy"),
    ],
)
def test_a_broken_rule_of_policies_is_named(policy, message):
    with pytest.raises(AssertionError, match=message):
        check_policy(policy)


@pytest.mark.usefixtures("own_parts")
def test_a_policy_whose_text_names_another_one_is_found():
    @policies.register("waiting")
    class Mislabelled(Waiting):
        def __init__(self, n: int = 3):
            self.n = n

        largest = property(lambda self: self.n)

        def take(self, waiting, oldest_wait_s):
            return min(waiting, self.n)

        def __str__(self):
            return "waiting"

    with pytest.raises(AssertionError, match="text 'waiting' names answers"):
        check_policy(lambda: Mislabelled(2))


class Beat(Poisson):
    """Sound, and found by its text."""

    def times_s(self, count, rng):
        return np.arange(1, count + 1) / self.f

    def at_rate(self, rate_per_s):
        return type(self)(rate_per_s)

    def __str__(self):
        return call_text("beat", self.f)


class Backwards(Beat):
    def times_s(self, count, rng):
        return super().times_s(count, rng)[::-1].copy()


class Whole(Beat):
    def times_s(self, count, rng):
        return np.arange(count)


class Short(Beat):
    def times_s(self, count, rng):
        return super().times_s(max(count - 1, 0), rng)


class Unseeded(Beat):
    def times_s(self, count, rng):
        return super().times_s(count, rng) + np.random.default_rng().random()


class Late(Beat):
    def times_s(self, count, rng):
        return 1.1 * super().times_s(count, rng)


class OneRate(Beat):
    def at_rate(self, rate_per_s):
        return self


class Countless(Beat):
    most = 10


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (Backwards, "never decrease"),
        (Whole, "not return an array of float64"),
        (Short, r"times_s\(20000\) gives the shape \(19999,\)"),
        (Unseeded, "with the same seed gives other times"),
        (Late, r"arrivals came at 9.091/s, and rate_per_s is 10"),
        (OneRate, r"at_rate\(2.5\) has rate 10"),
        (Countless, "has 10 arrivals at most, but returns one more"),
        (Beat, r"its text 'beat\(10\)' does not name an arrival process"),
    ],
)
def test_a_broken_rule_of_arrivals_is_named(process, message):
    with pytest.raises(AssertionError, match=message):
        check_arrivals(lambda: process(10))


@pytest.mark.usefixtures("own_parts")
def test_the_guides_examples_register_and_pass_the_checks_they_are_shown_with(tmp_path):
    policy, process, check = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.S | re.M)
    file = tmp_path / "my_policy.py"
    file.write_text(policy + process)

    load_plugin(file)

    for registry in (policies, arrivals):
        (entered,) = (part for part in registry.parts() if part.origin == str(file))
        assert entered.summary in policy + process
    exec(compile(check, GUIDE.name, "exec"), {})
    assert parse_policy("patient(8)").take(2, 0.0) == 2
    assert parse_policy("patient(8)").take(3, 0.0) == 0
    with pytest.raises(UsageError, match="n must be a whole number, not 'many'"):
        parse_policy("patient(many)")
