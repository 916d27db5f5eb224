import json
import math

import numpy as np
import pytest

from joulelab.errors import PluginError, UnknownNameError, UsageError
from joulelab.serving.arrivals import parse_arrivals
from joulelab.serving.planning.comparison import LONGER, Comparison, ResponseLimit, Trials
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.plan import BASELINE, candidate_policies, plan, plan_rates
from joulelab.serving.planning.simulation import response_percentile_s, simulate
from joulelab.serving.policies import Fixed, Greedy, Policy, parse_policy, policies

SIZES = (1, 2, 4, 8, 16, 32)
SECONDS = tuple(0.004 + 0.001 * size for size in SIZES)
COSTS = BatchCosts(SIZES, SECONDS, tuple(0.5 + 0.05 * size for size in SIZES), idle_w=40.0)
LIMIT = ResponseLimit(99, 0.2)
QUICK = Trials(windows=3, requests=1500)


def planned(text, costs=COSTS, limit=LIMIT, **options):
    return plan(costs, parse_arrivals(text), limit, **{"trials": QUICK, **options})


@pytest.fixture(scope="module")
def made():
    """A plan of all candidates, with nothing but the defaults."""
    return planned("poisson(100)")


def test_the_best_holds_the_limit_and_nothing_that_holds_it_costs_less():
    made = planned("poisson(150)")
    assert made.best.holds
    assert made.best.response_s <= 0.2
    holding = [one for one in made.outcomes if one.holds]
    assert 2 < len(holding) < len(made.outcomes)
    least = min(one.mean_per_request("gross") for one in holding)
    assert made.best.mean_per_request("gross") <= least * 1.001
    cheaper = [o for o in made.outcomes if o.mean_per_request("gross") < 0.99 * least]
    assert cheaper
    assert not any(one.holds for one in cheaper)


def test_the_baseline_is_batch_1_and_the_saving_is_against_it(made):
    assert made.baseline.policy == BASELINE
    assert made.baseline.batch_mean == 1
    best, before = (one.mean_per_request("gross") for one in (made.best, made.baseline))
    assert made.saving == pytest.approx(1 - best / before)
    assert made.saving > 0.3
    assert made.in_words().startswith(f"at 100/s {made.best.policy} needs ")
    assert made.in_words().endswith("%")


def test_every_candidate_meets_the_same_arrivals():
    made = planned("poisson(100)", candidates=["greedy(8)"])
    for number in range(3):
        times_s = parse_arrivals("poisson(100)").times_s(1500, np.random.default_rng((0, number)))
        for outcome in made.outcomes:
            window = simulate(times_s, parse_policy(outcome.policy), COSTS, seed=number)
            assert outcome.gross_j_per_request[number] == window.gross_j_per_request
            tail_s = response_percentile_s(window.response_s, 99)
            assert outcome.percentiles_s[number] == tail_s


def test_a_plan_is_repeated_by_its_seed(made):
    assert planned("poisson(100)") == made
    other = planned("poisson(100)", trials=Trials(windows=3, requests=1500, seed=1))
    assert other.outcomes[0].percentiles_s != made.outcomes[0].percentiles_s


def test_the_spread_over_windows_is_given(made):
    outcome = made.best
    assert len(outcome.percentiles_s) == len(outcome.gross_j_per_request) == 3
    low, high = outcome.spread_per_request("gross")
    assert low < outcome.mean_per_request("gross") < high
    assert min(outcome.percentiles_s) <= outcome.response_s <= max(outcome.percentiles_s)
    assert outcome.windows_within in (1, 2, 3)


def test_a_tighter_limit_costs_joules():
    loose, tight = (planned("poisson(150)", limit=ResponseLimit(99, s)) for s in (0.4, 0.05))
    assert tight.best.response_s <= 0.05
    assert tight.best.mean_per_request("gross") > loose.best.mean_per_request("gross")


def test_where_nothing_holds_the_limit_the_quickest_is_named():
    made = planned("poisson(100)", limit=ResponseLimit(99, 0.0051))
    assert made.best is None
    assert made.saving is None
    assert made.quickest.response_s == min(one.response_s for one in made.outcomes)
    assert made.in_words().startswith(
        f"at 100/s no policy meets p99 within 5.10 ms; the quickest is {made.quickest.policy}: "
    )


def test_saturation_of_everything_and_of_the_baseline_are_said():
    everything = planned("poisson(5000)")
    assert everything.best is None
    assert everything.quickest is None
    assert everything.in_words() == (
        "at 5,000/s every policy is saturated: requests arrive faster than served"
    )
    made = planned("poisson(600)")
    assert made.baseline.saturated
    assert made.baseline.response_s == math.inf
    assert "batch 1 cannot keep up: offered 600/s, at most 200/s" in made.remarks[0]
    assert "and cannot keep up" in made.in_words()
    assert not made.best.saturated


def test_without_idle_power_the_plan_is_by_net_joules_and_says_so():
    made = planned("poisson(100)", BatchCosts(SIZES, SECONDS, COSTS.joules))
    assert made.account == "net"
    assert made.remarks == ("idle power is unknown: policies are compared by energy above idle",)
    assert made.baseline.gross_j_per_request is None
    assert made.saving > 0


def test_without_energies_the_plan_is_by_time_and_says_so():
    made = planned("poisson(100)", BatchCosts(SIZES, SECONDS, idle_w=40.0))
    assert made.account == "time"
    assert made.remarks[0].startswith("no energy was measured")
    assert made.baseline.net_j_per_request is None
    assert made.baseline.mean_per_request("net") is None
    assert made.baseline.mean_per_request("time") == pytest.approx(0.005)
    assert made.saving > 0
    assert " J" not in made.in_words()
    assert "ms of server time a request" in made.in_words()


def test_the_account_can_be_chosen():
    """Idle power counts by the duration of a window, which nearly all policies share."""
    net = planned("poisson(2)", account="net")
    assert net.account == "net"
    assert net.best.mean_per_request("net") < net.baseline.mean_per_request("net")
    assert net.saving > planned("poisson(2)").saving


def test_of_policies_that_cost_the_same_the_simpler_is_taken():
    flat = BatchCosts(SIZES, tuple(0.001 * s for s in SIZES), tuple(0.1 * s for s in SIZES), 10.0)
    made = planned("uniform-jitter(50, 0)", flat, account="net")
    assert made.best.policy == BASELINE
    assert made.in_words().endswith(": no batching that meets p99 within 0.20 s saves more")


def test_a_bounded_queue_that_drops_does_not_hold_the_limit():
    made = planned("poisson(190)", candidates=["greedy(2)"], trials=Trials(3, 1500, capacity=1))
    assert made.baseline.dropped_share > 0.01
    assert not made.baseline.holds
    assert made.baseline.response_s == math.inf


def test_replicas_share_the_rate():
    alone, four = (
        planned("poisson(300)", candidates=["greedy(4)"], trials=Trials(3, 1500, replicas=n))
        for n in (1, 4)
    )
    assert alone.baseline.saturated
    assert not four.baseline.saturated
    assert four.baseline.most_per_s == pytest.approx(800)


def test_candidates_are_the_measured_sizes_and_waits_that_the_limit_leaves():
    found = candidate_policies(COSTS, ResponseLimit(99, 0.03), own=["greedy(3)"])
    assert found[0] == Fixed(1)
    assert {p.n for p in found if isinstance(p, Fixed) and p.wait_ms is None} == set(SIZES)
    assert [p.most for p in found if isinstance(p, Greedy)] == [32, 16, 8, 4, 2, 3]
    waits = [p for p in found if isinstance(p, Fixed) and p.wait_ms is not None]
    assert {p.n for p in waits} == {2, 4, 8, 16}
    assert all(COSTS.seconds_of(p.n) + p.wait_ms / 1e3 < 0.03 for p in waits)
    assert len(set(map(str, found))) == len(found)
    assert all(parse_policy(str(p)) == p for p in found)


def test_a_policy_of_ones_own_joins_or_is_refused_by_name():
    made = planned("poisson(100)", own=["fixed(8, wait_ms=1)"])
    assert made.outcomes[-1].policy == "fixed(8, wait_ms=1)"
    with pytest.raises(UnknownNameError):
        planned("poisson(100)", own=["eager(8)"])
    with pytest.raises(UsageError, match="no measured costs for a batch of 64"):
        planned("poisson(100)", own=["greedy(64)"])


def test_a_policy_from_outside_is_planned_with_like_any_other():
    class Pairs(Policy):
        """couples: two at a time, or one that has waited 10 ms."""

        largest = 2

        def take(self, waiting, oldest_wait_s):
            return 2 if waiting >= 2 else int(oldest_wait_s >= 0.00999)

        def patience_s(self, waiting, oldest_wait_s):
            return 0.01 - oldest_wait_s

    before = dict(policies._registered)
    policies.register("couples")(Pairs)
    try:
        made = planned("poisson(100)", candidates=["couples"])
        assert [one.policy for one in made.outcomes] == [BASELINE, "couples"]
        assert made.best.policy == "couples"
        Pairs.take = lambda self, waiting, oldest_wait_s: 2
        with pytest.raises(PluginError, match=r"couples: take\(1, "):
            planned("poisson(100)", candidates=["couples"])
    finally:
        policies._registered.clear()
        policies._registered.update(before)


def test_a_choice_near_saturation_is_confirmed_in_longer_windows():
    """Just below saturation a short window holds a limit that no long one does."""
    short = Trials(windows=3, requests=300)
    arrivals, limit = parse_arrivals("poisson(198)"), ResponseLimit(99, 0.3)
    comparison = Comparison([Fixed(1)], COSTS, arrivals, limit, short)
    assert comparison.outcomes[0].holds
    assert comparison.choose("gross") == (None, None)
    assert not comparison.outcomes[0].holds
    long = Comparison([Fixed(1)], COSTS, arrivals, limit, Trials(3, 300 * LONGER))
    assert comparison.outcomes == long.outcomes


def test_windows_with_few_bursts_are_said():
    made = planned("bursty(50, on_s=5, off_s=20)", trials=Trials(3, 300))
    assert made.remarks[0].startswith("windows came at ")


def test_rates_make_a_table():
    plans = plan_rates(COSTS, parse_arrivals("poisson(1)"), [10, 100, 600], LIMIT, trials=QUICK)
    assert [one.rate_per_s for one in plans] == [10, 100, 600]
    assert [one.arrivals for one in plans] == ["poisson(10)", "poisson(100)", "poisson(600)"]
    costs = [one.best.mean_per_request("gross") for one in plans]
    assert costs == sorted(costs, reverse=True)


def test_a_trace_is_one_window_taken_whole(tmp_path):
    times_s = np.cumsum(np.full(700, 0.01))
    (tmp_path / "a.csv").write_text("\n".join(map(str, times_s)))
    trace = parse_arrivals("trace(a.csv)", tmp_path)
    made = plan(COSTS, trace, LIMIT, candidates=["greedy(4)"], trials=Trials(windows=2))
    assert made.rate_per_s == pytest.approx(700 / 6.99)
    assert made.remarks == ("all windows have the same arrivals: their spread is meaningless",)
    with pytest.raises(UsageError, match="701 arrivals were requested"):
        plan(COSTS, trace, LIMIT, trials=Trials(requests=701))


@pytest.mark.parametrize(
    ("percentile", "seconds", "message"),
    [(0, 1, "above 0 and below 100"), (100, 1, "below 100"), (99, 0, "a limit of 0 s")],
)
def test_an_impossible_limit_is_refused(percentile, seconds, message):
    with pytest.raises(UsageError, match=message):
        ResponseLimit(percentile, seconds)


def test_impossible_trials_are_refused():
    with pytest.raises(UsageError, match="0 windows"):
        Trials(windows=0)
    assert str(ResponseLimit(99.9, 0.05)) == "p99.9 within 50.0 ms"


def test_a_plan_as_plain_data_has_no_number_that_is_none():
    made = planned("poisson(600)")
    data = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert data["best"] == made.best.policy
    assert data["saving"] == made.saving
    assert len(data["candidates"]) == len(made.outcomes)
    baseline = data["candidates"][0]
    assert (baseline["saturated"], baseline["response_s"]) == (True, None)
    dropping = Trials(3, 1500, capacity=1)
    text = json.dumps(planned("poisson(190)", trials=dropping).to_dict(), allow_nan=False)
    assert json.loads(text)["candidates"][0]["response_s"] is None
    unmeasured = planned("poisson(50)", BatchCosts(SIZES, SECONDS)).to_dict()["candidates"][0]
    assert unmeasured["gross_j_per_request_by_window"] is None
