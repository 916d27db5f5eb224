import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulelab.errors import PluginError, UsageError
from joulelab.serving.arrivals import Poisson
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.simulation import most_per_s, response_percentile_s, simulate
from joulelab.serving.policies import Fixed, Greedy, Policy, parse_policy

COSTS = BatchCosts((1, 2, 4, 8), (0.01, 0.012, 0.016, 0.025), (1.0, 1.2, 1.6, 2.5), idle_w=10.0)

times = st.lists(st.integers(0, 60), min_size=1, max_size=60).map(
    # Multiples of 1/256 s are exact, so that ties and edges are hit on purpose.
    lambda gaps: np.cumsum(np.array(gaps) / 256) + 1 / 256
)
some_policies = st.sampled_from(
    ["fixed(1)", "fixed(3)", "fixed(8)", "fixed(4, wait_ms=15.625)", "greedy(8)", "greedy(3)"]
)


def by_the_clock(times_s, policy, costs, servers, capacity):
    """The same rules on a list of moments, one after the other: slow, and plain to read."""
    moments = sorted(set(times_s))
    busy_until = [0.0] * servers
    waiting, coming = [], list(enumerate(times_s))
    batches, dropped = [], []
    while moments:
        now = moments.pop(0)
        while coming and coming[0][1] <= now:
            index, _ = coming.pop(0)
            if capacity is None or len(waiting) < capacity:
                waiting.append(index)
            else:
                dropped.append(index)
        while waiting and min(busy_until) <= now:
            wait_s = now - times_s[waiting[0]]
            if coming:
                size = policy.take(len(waiting), wait_s)
            else:
                size = min(len(waiting), policy.largest)
            if not size:
                again = now + policy.patience_s(len(waiting), wait_s)
                if again < coming[0][1]:
                    moments.append(again)
                break
            ends = now + costs.seconds_of(size)
            busy_until[busy_until.index(min(busy_until))] = ends
            batches.append((now, ends, waiting[:size]))
            del waiting[:size]
            moments.append(ends)
        moments = sorted(set(moments))
    return batches, dropped


@settings(deadline=None, max_examples=200)
@given(times, some_policies, st.integers(1, 3), st.sampled_from([None, 1, 2, 5]))
def test_every_batch_is_the_one_that_the_rules_give(times_s, text, servers, capacity):
    policy = parse_policy(text)
    window = simulate(times_s, policy, COSTS, servers, capacity=capacity)
    batches, dropped = by_the_clock(times_s, policy, COSTS, servers, capacity)
    assert window.batch_sizes.tolist() == [len(members) for _, _, members in batches]
    assert window.batch_started_s == pytest.approx([start for start, _, _ in batches])
    assert window.batch_answered_s == pytest.approx([end for _, end, _ in batches])
    assert np.flatnonzero(np.isnan(window.response_s)).tolist() == dropped
    for _, end, members in batches:
        assert window.response_s[members] == pytest.approx(end - times_s[members])


@settings(deadline=None)
@given(
    times,
    some_policies,
    st.integers(1, 4),
    st.sampled_from(["shared", "split"]),
    st.sampled_from([None, 1, 4]),
)
def test_nothing_is_lost_and_energy_adds_up(times_s, text, replicas, dispatch, capacity):
    window = simulate(times_s, parse_policy(text), COSTS, replicas, dispatch, capacity)
    dropped = np.isnan(window.response_s).sum()
    assert window.answered + dropped == len(times_s)
    assert capacity is not None or dropped == 0
    assert window.net_j == pytest.approx(sum(map(COSTS.joules_of, window.batch_sizes)))
    assert window.gross_j == pytest.approx(window.net_j + 10.0 * replicas * window.duration_s)
    assert window.gross_j_per_request * window.answered == pytest.approx(window.gross_j)
    assert window.busy_s == pytest.approx(sum(map(COSTS.seconds_of, window.batch_sizes)))
    assert 0 < window.utilisation <= 1 + 1e-9
    assert np.nanmin(window.response_s) >= 0.01 - 1e-12


@settings(deadline=None)
@given(times, some_policies, st.integers(1, 3), st.sampled_from(["shared", "split"]))
def test_littles_law_holds(times_s, text, replicas, dispatch):
    """The number present, counted from arrivals and ends of batches, against response times."""
    window = simulate(times_s, parse_policy(text), COSTS, replicas, dispatch)
    events = [(t, 1) for t in times_s]
    events += [(t, -n) for t, n in zip(window.batch_answered_s, window.batch_sizes, strict=True)]
    present, before_s, area = 0, 0.0, 0.0
    for at_s, change in sorted(events):
        area += present * (at_s - before_s)
        present, before_s = present + change, at_s
    assert present == 0
    mean_present = area / window.duration_s
    throughput_per_s = window.answered / window.duration_s
    assert mean_present == pytest.approx(throughput_per_s * window.response_mean_s)


@given(times, st.integers(2, 5), st.integers(0, 3))
def test_queues_of_their_own_never_serve_two_batches_at_once(times_s, replicas, seed):
    window = simulate(times_s, Greedy(8), COSTS, replicas, "split", seed=seed)
    events = [(t, 1) for t in window.batch_started_s] + [(t, -1) for t in window.batch_answered_s]
    busy = np.cumsum([change for _, change in sorted(events)])
    assert busy.max() <= replicas


def test_one_replica_is_the_same_either_way_and_a_seed_repeats_the_split():
    times_s = Poisson(100).times_s(500, np.random.default_rng(1))
    one = simulate(times_s, Greedy(8), COSTS)
    assert (one.response_s == simulate(times_s, Greedy(8), COSTS, 1, "split").response_s).all()
    split = [simulate(times_s, Greedy(8), COSTS, 3, "split", seed=s).response_s for s in (1, 1, 2)]
    assert (split[0] == split[1]).all()
    assert (split[0] != split[2]).any()


def test_one_queue_for_all_serves_sooner_than_a_queue_each():
    times_s = Poisson(350).times_s(20_000, np.random.default_rng(1))
    shared = simulate(times_s, Fixed(1), COSTS, 4, "shared")
    split = simulate(times_s, Fixed(1), COSTS, 4, "split")
    assert shared.response_mean_s < 0.7 * split.response_mean_s
    assert shared.net_j == pytest.approx(split.net_j)


def test_a_rate_beyond_the_servers_lets_the_queue_grow_or_drops():
    times_s = Poisson(200).times_s(5000, np.random.default_rng(1))
    window = simulate(times_s, Fixed(1), COSTS)
    assert window.most_per_s == pytest.approx(100)
    later, sooner = window.response_s[-500:].mean(), window.response_s[:500].mean()
    assert later > 5 * sooner
    bounded = simulate(times_s, Fixed(1), COSTS, capacity=16)
    assert bounded.answered < 0.55 * 5000
    assert np.nanmax(bounded.response_s) <= 17 * 0.01 + 1e-9
    assert most_per_s(Greedy(8), COSTS) == pytest.approx(320)


def test_a_dropped_request_counts_as_one_that_was_never_answered():
    times_s = np.arange(1, 101) / 1000
    window = simulate(times_s, Fixed(1), COSTS, capacity=1)
    assert window.answered < 50
    assert math.isfinite(response_percentile_s(window.response_s, window.answered))
    assert response_percentile_s(window.response_s, window.answered + 1) == math.inf


def test_scatter_keeps_the_mean_and_has_the_spread_that_was_measured():
    scattered = BatchCosts((1, 8), (0.01, 0.08), seconds_scatter=(0.3, 0.1))
    times_s = Poisson(20).times_s(20_000, np.random.default_rng(1))
    window = simulate(times_s, Fixed(1), scattered, seed=3)
    service_s = window.batch_answered_s - window.batch_started_s
    assert service_s.mean() == pytest.approx(0.01, rel=0.01)
    assert service_s.std() / service_s.mean() == pytest.approx(0.3, rel=0.03)
    assert (simulate(times_s, Fixed(1), scattered, seed=3).response_s == window.response_s).all()
    assert (simulate(times_s, Fixed(1), scattered, seed=4).response_s != window.response_s).any()


def test_without_energies_nothing_is_made_up():
    window = simulate(np.array([0.1, 0.2]), Fixed(1), BatchCosts((1,), (0.01,), idle_w=5.0))
    assert (window.net_j, window.gross_j) == (None, None)
    assert (window.net_j_per_request, window.gross_j_per_request) == (None, None)
    no_idle = simulate(np.array([0.1]), Fixed(1), BatchCosts((1,), (0.01,), (2.0,)))
    assert (no_idle.net_j_per_request, no_idle.gross_j_per_request) == (2.0, None)


def test_sizes_without_costs_are_not_guessed():
    with pytest.raises(UsageError, match="no measured costs for a batch of 9: 1 to 8 were"):
        simulate(np.array([0.1]), Greedy(9), COSTS)
    with pytest.raises(UsageError, match="no measured costs for a batch of 1: 2 to 8 were"):
        simulate(np.array([0.1]), Greedy(8), BatchCosts((2, 8), (0.1, 0.2)))


def test_a_policy_that_answers_nonsense_is_named():
    class Odd(Policy):
        largest = 2

        def take(self, waiting, oldest_wait_s):
            return waiting + 1

    with pytest.raises(PluginError, match=r"Odd: take\(1, 0\) gave 2, with 1 waiting"):
        simulate(np.array([0.1, 0.2]), Odd(), COSTS)


def test_a_policy_without_patience_does_not_stop_the_clock():
    class Hasty(Policy):
        largest = 2

        def take(self, waiting, oldest_wait_s):
            return 1 if oldest_wait_s > 1e-3 else 0

        def patience_s(self, waiting, oldest_wait_s):
            return 0.0

    window = simulate(np.array([1e5, 1e5 + 1]), Hasty(), COSTS)
    assert window.batch_started_s[0] == pytest.approx(1e5 + 1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("times_s", "options", "message"),
    [
        ([], {}, "at least one arrival"),
        ([0.0, 0.0], {}, "not all be 0"),
        ([0.2, 0.1], {}, "never decrease"),
        ([math.nan], {}, "finite"),
        ([0.1], {"replicas": 0}, "0 replicas"),
        ([0.1], {"dispatch": "both"}, "dispatch 'both'"),
        ([0.1], {"capacity": 0}, "a queue of 0 places"),
    ],
)
def test_impossible_arguments_are_refused(times_s, options, message):
    with pytest.raises(UsageError, match=message):
        simulate(np.array(times_s), Fixed(1), COSTS, **options)


def test_costs_between_measured_sizes_are_on_the_line():
    assert COSTS.seconds_of(6) == pytest.approx((0.016 + 0.025) / 2)
    assert COSTS.joules_of(3) == pytest.approx(1.4)
    assert COSTS.seconds_up_to(8)[1:].tolist() == pytest.approx(
        [COSTS.seconds_of(size) for size in range(1, 9)]
    )
    assert BatchCosts((1,), (1.0,)).joules_of(1) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), ()), "sizes must increase from 1"),
        (((2, 1), (1.0, 1.0)), "sizes must increase from 1"),
        (((0, 1), (1.0, 1.0)), "sizes must increase from 1"),
        (((1, 2), (1.0,)), "2 sizes, and 1 seconds"),
        (((1,), (0.0,)), "seconds of 0"),
        (((1,), (math.nan,)), "one of the seconds is not finite"),
        (((1,), (1.0,), (-1.0,)), "joules of -1"),
        (((1,), (1.0,), None, -5.0), "an idle power of -5.0 W"),
        (((1,), (1.0,), None, None, (0.1, 0.2)), "1 sizes, and 2 seconds_scatter"),
    ],
)
def test_impossible_costs_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        BatchCosts(*arguments)
