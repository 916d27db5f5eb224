import math
import pickle

import pytest

from joulelab.errors import PluginError, UnknownNameError, UsageError
from joulelab.serving.policies import Fixed, Greedy, Policy, ask, parse_policy, policies


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("fixed(32)", Fixed(32)),
        ("fixed(n=32)", Fixed(32)),
        ("fixed(32, wait_ms=50)", Fixed(32, 50)),
        ("greedy(128)", Greedy(128)),
    ],
)
def test_a_text_and_its_policy(text, policy):
    assert parse_policy(text) == policy
    assert parse_policy(str(policy)) == policy
    assert str(parse_policy(text)) == str(policy)
    assert pickle.loads(pickle.dumps(policy)) == policy


@pytest.mark.parametrize(
    ("short", "text"), [("greedy", "greedy(128)"), ("fixed(8, 2.50)", "fixed(8, wait_ms=2.5)")]
)
def test_the_text_of_a_policy_has_one_form(short, text):
    assert str(parse_policy(short)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fixed(0)", "fixed(0): n must be a whole number of at least 1"),
        ("fixed(-3)", "fixed(-3): n must be a whole number of at least 1"),
        ("fixed(2.5)", "fixed(2.5): n must be a whole number, not 2.5"),
        ("fixed", "fixed: missing a required argument: 'n'"),
        ("fixed(8, 0)", "fixed(8, wait_ms=0): wait_ms must be a number above 0"),
        ("fixed(8, -1)", "fixed(8, wait_ms=-1): wait_ms must be a number above 0"),
        ("fixed(8, wait=5)", "fixed(8, wait=5): has no parameter 'wait'"),
        ("fixed(8, 50ms)", "fixed(8, 50ms): wait_ms must be a number, not '50ms'"),
        ("greedy(0)", "greedy(0): most must be a whole number of at least 1"),
        ("greedy(8, 9)", "greedy(8, 9): too many positional arguments"),
    ],
)
def test_an_impossible_policy_is_refused_with_its_text(text, message):
    with pytest.raises(UsageError) as caught:
        parse_policy(text)
    assert caught.value.message == message


def test_an_unknown_policy_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'greedy'"):
        parse_policy("gredy(3)")


def test_fixed_waits_until_the_batch_is_full_however_long_it_takes():
    policy = Fixed(4)
    assert [policy.take(waiting, 1e6) for waiting in (1, 3, 4, 9)] == [0, 0, 4, 4]
    assert policy.patience_s(3, 1e6) == math.inf
    assert policy.largest == 4


def test_fixed_with_a_wait_serves_what_is_there_when_the_oldest_has_waited_so_long():
    policy = Fixed(4, wait_ms=50)
    assert policy.take(3, 0.049) == 0
    assert policy.patience_s(3, 0.049) == pytest.approx(0.001)
    assert policy.take(3, 0.05) == 3
    assert policy.take(1, 7.0) == 1
    assert policy.take(9, 7.0) == 4


def test_asked_again_after_its_patience_fixed_serves_whatever_rounding_does():
    for arrived_s in (0.1, 1.1, 1e3 + 0.1, 1e6 + 0.3):
        policy, waited_s = Fixed(4, wait_ms=10), 0.003
        asked_s = arrived_s + waited_s
        again_s = asked_s + policy.patience_s(1, asked_s - arrived_s)
        assert policy.take(1, again_s - arrived_s) == 1


def test_greedy_takes_everything_up_to_its_limit():
    policy = Greedy(8)
    assert [policy.take(waiting, 0.0) for waiting in (1, 7, 8, 100)] == [1, 7, 8, 8]


@pytest.mark.parametrize("answer", [-1, 4, 6, 2.0, True, None])
def test_an_answer_that_cannot_be_served_names_the_policy(answer):
    class Odd(Policy):
        largest = 5

        def take(self, waiting, oldest_wait_s):
            return answer

    with pytest.raises(PluginError, match=r"Odd: take\(3, 0.25\) gave .*, with 3 waiting"):
        ask(Odd(), 3, 0.25)


def test_an_answer_that_can_be_served_is_given_on():
    assert [ask(Fixed(4), waiting, 0.0) for waiting in (3, 5)] == [0, 4]


def test_every_policy_has_a_line_about_it():
    assert all(part.summary for part in policies.parts())
