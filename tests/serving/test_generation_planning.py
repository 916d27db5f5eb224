"""Costs of tokens, the simulation of continuous batching, and the choice."""

import math

import numpy as np
import pytest

from joulelab.errors import UsageError
from joulelab.serving.arrivals import parse_arrivals
from joulelab.serving.generation.costs import TokenCosts, TokenGrid
from joulelab.serving.generation.planning import TokenLimits, plan_tokens
from joulelab.serving.generation.simulation import Lengths, most_per_s, simulate_tokens
from joulelab.serving.planning.comparison import ResponseLimit, Trials

BATCHES, LENGTHS = (1, 2, 4, 8), (100.0, 300.0)
SIZES = Lengths(120, 40)
IDLE_W = 12.0


def grid(once, each, each_token):
    return tuple(
        tuple(once + each * batch + each_token * batch * length for length in LENGTHS)
        for batch in BATCHES
    )


def costs(per_token=1e-6, joules=True):
    return TokenCosts(
        TokenGrid(
            BATCHES, LENGTHS, grid(0.01, 0.0, 1e-4), grid(0.2, 0.0, 2e-3) if joules else None
        ),
        TokenGrid(
            BATCHES,
            LENGTHS,
            grid(0.02, 1e-3, per_token),
            grid(0.6, 0.02, 20 * per_token) if joules else None,
        ),
        IDLE_W,
    )


def step_by_step(times_s, most, lengths, given):
    """The same server, one step after another, as anybody would write it."""
    waiting, decoding, now_s, net_j = list(enumerate(times_s)), {}, 0.0, 0.0
    first_s, last_s = {}, {}
    while waiting or decoding:
        if not decoding:
            now_s = max(now_s, waiting[0][1])
        joining = []
        while waiting and waiting[0][1] <= now_s and len(decoding) + len(joining) < most:
            joining.append(waiting.pop(0)[0])
        if joining:
            now_s += given.prefill.seconds_of(len(joining), lengths.prompt)
            net_j += given.prefill.joules_of(len(joining), lengths.prompt)
            first_s |= dict.fromkeys(joining, now_s)
            decoding |= dict.fromkeys(joining, 0)
        length = lengths.prompt + sum(decoding.values()) / len(decoding)
        now_s += given.step.seconds_of(len(decoding), length)
        net_j += given.step.joules_of(len(decoding), length)
        decoding = {one: done + 1 for one, done in decoding.items()}
        for one in [one for one, done in decoding.items() if done == lengths.output - 1]:
            last_s[one] = now_s
            del decoding[one]
    count = range(len(times_s))
    first = np.array([first_s[one] - times_s[one] for one in count])
    per_token = np.array([(last_s[one] - first_s[one]) / (lengths.output - 1) for one in count])
    return first, per_token, now_s, net_j


@pytest.mark.parametrize("most", BATCHES)
@pytest.mark.parametrize("rate", [0.3, 1.5, 20])
def test_steps_done_at_once_are_those_done_one_by_one(most, rate):
    times_s = parse_arrivals(f"poisson({rate})").times_s(60, np.random.default_rng(4))
    made = simulate_tokens(times_s, most, SIZES, costs())
    first_s, per_token_s, duration_s, net_j = step_by_step(times_s, most, SIZES, costs())
    assert made.first_s == pytest.approx(first_s, rel=2e-3, abs=1e-4)
    assert made.per_token_s == pytest.approx(per_token_s, rel=2e-3)
    assert made.duration_s == pytest.approx(duration_s, rel=1e-3)
    assert made.net_j_per_token * made.tokens == pytest.approx(net_j, rel=1e-3)


def test_a_request_alone_costs_its_prefill_and_its_steps():
    made = simulate_tokens(np.array([1.0]), 8, SIZES, costs(per_token=0.0))
    assert made.first_s == pytest.approx([0.01 + 120e-4])
    assert made.per_token_s == pytest.approx([0.021])
    assert made.duration_s == pytest.approx(1.0 + 0.022 + 39 * 0.021)
    assert made.net_j_per_token == pytest.approx((0.2 + 0.24 + 39 * 0.62) / 40)
    idle_j = IDLE_W * made.duration_s
    assert made.gross_j_per_token == pytest.approx(made.net_j_per_token + idle_j / 40)
    assert made.batch_mean == 1


def test_requests_that_come_together_are_prefilled_and_decoded_together():
    made = simulate_tokens(np.array([0.0, 0.0, 0.0, 1e-9 + 0.0]), 3, SIZES, costs(per_token=0.0))
    assert made.first_s[:3] == pytest.approx(0.01 + 3 * 120e-4)
    assert made.per_token_s[:3] == pytest.approx(0.023)
    assert made.first_s[3] > 39 * 0.023, "there is no room for the fourth"


def test_a_prefill_makes_the_others_wait():
    both = simulate_tokens(np.array([0.0, 0.1]), 8, SIZES, costs(per_token=0.0))
    alone = simulate_tokens(np.array([0.0]), 8, SIZES, costs(per_token=0.0))
    assert both.per_token_s[0] > alone.per_token_s[0] + 0.022 / 39


def test_a_long_queue_is_answered_at_the_stated_capacity():
    for most in BATCHES:
        capacity = most_per_s(most, SIZES, costs())
        times_s = parse_arrivals(f"poisson({1.5 * capacity})").times_s(
            600, np.random.default_rng(1)
        )
        made = simulate_tokens(times_s, most, SIZES, costs())
        assert len(times_s) / made.duration_s == pytest.approx(capacity, rel=0.1)


def test_costs_between_measured_points_are_bilinear():
    grid = costs().step
    assert grid.seconds_of(4, 300) == pytest.approx(0.02 + 4e-3 + 1200e-6)
    assert grid.seconds_of(3, 200) == pytest.approx(0.02 + 3e-3 + 600e-6)
    assert grid.joules_of(6, 150) == pytest.approx(0.6 + 0.12 + 20e-6 * 900)
    assert grid.seconds_of(2, 310) == grid.seconds_of(2, 300), "the nearest length"
    with pytest.raises(UsageError, match="no measured costs for 9 sequences"):
        grid.seconds_of(9, 100)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (((2, 1), (1.0,), ((1.0,), (1.0,))), "batches must increase"),
        (((1,), (1.0,), ((1.0, 2.0),)), "are not of 1 batches and 1 lengths"),
        (((1,), (1.0,), ((0.0,),)), "seconds of 0"),
        (((1,), (1.0,), ((1.0,),), ((math.nan,),)), "not finite"),
        (((1,), (1.0,), ((1.0,),), ((-1.0,),)), "joules of -1"),
    ],
)
def test_impossible_costs_are_refused(given, words):
    with pytest.raises(UsageError, match=words):
        TokenGrid(*given)


def test_the_fewest_joules_within_both_limits_are_chosen():
    arrivals, trials = parse_arrivals("poisson(1.5)"), Trials(2, 200)
    free = plan_tokens(costs(), arrivals, SIZES, TokenLimits(), trials)
    assert free.baseline.load < 1.5
    assert free.best.most > 1
    assert free.saving > 0
    least = min(one.gross_j_per_token for one in free.outcomes if one.holds)
    assert free.best.gross_j_per_token == pytest.approx(least, rel=1e-3)
    tight = TokenLimits(token=ResponseLimit(99, 0.0001))
    none = plan_tokens(costs(), arrivals, SIZES, tight, trials)
    assert none.best is None
    assert not any(one.holds for one in none.outcomes)


def test_more_requests_than_can_be_answered_are_saturated():
    made = plan_tokens(costs(), parse_arrivals("poisson(50)"), SIZES, TokenLimits(), Trials(1, 100))
    assert made.best is None
    assert all(one.saturated and math.isinf(one.first_s) for one in made.outcomes)
    assert made.most_per_s == pytest.approx(max(most_per_s(b, SIZES, costs()) for b in BATCHES))
    assert made.to_dict()["candidates"][0]["first_s"] is None


def test_without_energy_the_time_of_the_server_decides():
    made = plan_tokens(
        costs(joules=False), parse_arrivals("poisson(1)"), SIZES, TokenLimits(), Trials(1, 100)
    )
    assert made.account == "time"
    assert made.best.net_j_per_token is None
    assert made.best.cost("time") == pytest.approx(made.best.busy_s_per_token)


def test_impossible_lengths_are_refused():
    with pytest.raises(UsageError, match="impossible"):
        Lengths(10, 1)
