"""What a request costs under each policy, which policy to choose, and what a test can show."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.batching import Limit, cells, choose, fixed_size, per_request
from joulelab.analysis.comparison import ratio_of_means, repetitions_to_tell
from joulelab.analysis.posthoc import dunn, min_attainable_p
from joulelab.errors import UsageError

EACH = "net_per_request_j"


def window(policy, energy_j=100.0, response_s=0.5, **others):
    """A run that answered 100 requests in 10 s."""
    return {
        "model": "resnet18",
        "policy": policy,
        "arrivals": "poisson(10)",
        "energy_net_j": energy_j,
        "energy_gross_j": energy_j + 50.0,
        "duration_s": 10.0,
        "requests": 100,
        "answered": 100,
        "dropped": 0,
        "saturated": 0,
        "offered_per_s": 10.0,
        "batch_mean": 3.0,
        "response_mean_s": response_s / 2,
        "response_p99_s": response_s,
        "response_max_s": response_s * 2,
    } | others


def runs_of(*windows):
    return per_request(pd.DataFrame(list(windows)))


@pytest.mark.parametrize(
    ("policy", "size"),
    [
        ("fixed(1)", 1),
        (" fixed( 128 ) ", 128),
        ("fixed(n=16)", 16),
        ("fixed(16, 50)", None),
        ("fixed(n=16, wait_ms=50)", None),
        ("greedy(128)", None),
        ("my-fixed(16)", None),
        ("fixed", None),
    ],
)
def test_only_a_policy_that_always_waits_has_a_fixed_size(policy, size):
    assert fixed_size(policy) == size


def test_energy_and_power_are_those_of_the_window():
    run = runs_of(window("fixed(1)", 80.0, answered=40)).iloc[0]
    assert run[EACH] == pytest.approx(2.0)
    assert run["gross_per_request_j"] == pytest.approx(130 / 40)
    assert run["mean_power_w"] == pytest.approx(13.0)


def test_what_is_unknown_stays_unknown():
    runs = runs_of(
        window("a", answered=0),
        window("b", energy_j=math.nan),
        window("c", answered=None, duration_s=0.0, saturated=None),
    )
    assert runs[EACH].isna().all()
    assert math.isnan(runs["mean_power_w"].iloc[2])
    table = cells(runs).set_index("policy")
    assert math.isnan(table["answered"]["c"])
    assert table["answered"]["a"] == 0
    assert table["saturation_unknown"].to_dict() == {"a": 0, "b": 0, "c": 1}


def test_a_table_without_measures_has_cells_of_unknowns():
    table = cells(per_request(pd.DataFrame({"policy": ["greedy(8)", "fixed(4)"]})), "policy")
    assert list(table["policy"]) == ["fixed(4)", "greedy(8)"]
    assert table[[EACH, "answered", "response_mean_s", "response_max_s"]].isna().all(axis=None)


def test_a_measure_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match="answered"):
        runs_of(window("a", answered="many"))


def test_a_cell_has_means_sums_the_largest_maximum_and_an_interval():
    runs = runs_of(
        window("fixed(2)", 100.0, 0.4), window("fixed(2)", 110.0, 0.6), window("fixed(2)", 120.0)
    )
    row = cells(runs).iloc[0]
    assert row["n"] == 3
    assert row[EACH] == pytest.approx(1.1)
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert row[f"{EACH}_low"] == pytest.approx(1.1 - half)
    assert row[f"{EACH}_high"] == pytest.approx(1.1 + half)
    assert row["response_p99_s"] == pytest.approx(0.5)
    assert row["response_max_s"] == pytest.approx(1.2)
    assert row["answered"] == 300


def test_one_run_has_no_interval():
    row = cells(runs_of(window("fixed(2)"))).iloc[0]
    assert math.isnan(row[f"{EACH}_low"])
    assert row[f"{EACH}_n"] == 1


def test_cells_go_by_model_rate_and_size():
    windows = [
        window(policy, arrivals=f"poisson({rate})", offered_per_s=rate, batch_mean=batch)
        for rate in (16, 4)
        for policy, batch in (("fixed(128)", 128), ("greedy(64)", 2), ("fixed(16)", 16))
    ]
    table = cells(runs_of(*windows))
    assert list(table["arrivals"]) == ["poisson(4)"] * 3 + ["poisson(16)"] * 3
    assert list(table["policy"][:3]) == ["fixed(16)", "fixed(128)", "greedy(64)"]
    assert list(table["batch_size"][:3]) == [16, 128, 2]


def test_the_best_policy_takes_least_within_the_limit():
    runs = runs_of(
        window("fixed(1)", 400.0, 0.1), window("fixed(8)", 200.0, 0.9), window("fixed(64)", 150, 5)
    )
    strict, loose = choose(runs, EACH, Limit(1.0)), choose(runs, EACH, Limit(9.0))
    assert strict.best.policy == "fixed(8)"
    assert strict.cheaper.policy == "fixed(64)"
    assert strict.cheaper.hindrance == "too slow"
    assert strict.saving == pytest.approx(0.5)
    assert loose.best.policy == "fixed(64)"
    assert loose.cheaper is None
    assert strict.reach == loose.reach == pytest.approx(1 - 150 / 400)


def test_a_limit_must_be_kept_in_every_run():
    runs = runs_of(window("fixed(8)", response_s=0.1), window("fixed(8)", response_s=1.2))
    assert choose(runs, EACH, Limit(1.0)).best is None
    assert choose(runs, EACH, Limit(1.2)).best.policy == "fixed(8)"


def test_the_limit_is_on_the_percentile_asked_for():
    runs = runs_of(window("fixed(8)", response_p50_s=0.2, response_p99_s=3.0))
    assert choose(runs, EACH, Limit(1.0, 50.0)).best.response_s == pytest.approx(0.2)
    assert choose(runs, EACH, Limit(1.0)).best is None
    with pytest.raises(UsageError, match="response_p90_s"):
        choose(runs, EACH, Limit(1.0, 90.0))


def test_dropping_requests_is_no_way_to_keep_a_limit():
    few, many = window("fixed(8)", dropped=1), window("fixed(4)", 50.0, dropped=2)
    found = choose(runs_of(few, many), EACH, Limit(1.0))
    assert found.best.policy == "fixed(8)"
    assert found.cheaper.hindrance == "drops requests"
    assert choose(runs_of(many), EACH).best.policy == "fixed(4)"


def test_an_unknown_response_keeps_no_limit():
    found = choose(runs_of(window("fixed(8)", response_p99_s=None)), EACH, Limit(1.0))
    assert found.best is None
    assert found.policies[0].hindrance == "response unknown"


def test_a_saturated_policy_is_never_chosen_but_its_energy_counts():
    runs = runs_of(
        window("fixed(1)", 400.0, saturated=1),
        window("fixed(8)", 300.0),
        window("fixed(64)", 100.0),
        window("fixed(64)", 100.0, saturated=1),
    )
    found = choose(runs, EACH)
    assert found.best.policy == "fixed(8)"
    assert found.cheaper.policy == "fixed(64)"
    assert found.cheaper.hindrance == "saturated"
    assert found.baseline.policy == "fixed(1)"
    assert found.saving == pytest.approx(0.25)


def test_the_saving_has_welchs_interval():
    random = np.random.default_rng(1)
    small, large = random.normal(300, 5, 4), random.normal(200, 5, 4)
    runs = runs_of(
        *(window("fixed(1)", value) for value in small),
        *(window("fixed(8)", value) for value in large),
    )
    found, expected = choose(runs, EACH).ratio, ratio_of_means(list(large), list(small))
    assert (found.low, found.value, found.high) == pytest.approx(
        (expected.low, expected.value, expected.high)
    )


def test_policies_that_chance_may_have_ordered_are_alike():
    runs = runs_of(
        *(window("fixed(8)", value) for value in (99.0, 101.0, 100.0)),
        *(window("fixed(16)", value) for value in (100.0, 102.0, 101.0)),
        *(window("fixed(1)", value) for value in (399.0, 401.0, 400.0)),
    )
    found = choose(runs, EACH)
    assert found.best is found.least
    assert found.best.policy == "fixed(8)"
    assert found.alike == ("fixed(16)",)


def test_of_policies_that_cannot_be_told_apart_the_quickest_is_the_one_to_run():
    energies = {"fixed(1)": (0.98, 1.06, 1.02), "fixed(4, wait_ms=140)": (0.92, 1.0, 0.97)}
    quick_s = {"fixed(1)": 0.05, "fixed(4, wait_ms=140)": 0.2}
    rows = [window(name, 100 * e, quick_s[name]) for name, them in energies.items() for e in them]
    for limit in (None, Limit(1.0)):
        found = choose(runs_of(*rows), EACH, limit)
        assert (found.best.policy, found.least.policy) == ("fixed(1)", "fixed(4, wait_ms=140)")
        assert found.alike == ("fixed(4, wait_ms=140)",)
        few = [repetitions_to_tell(energies["fixed(1)"], energies["fixed(4, wait_ms=140)"])]
        assert [found.repetitions] == few
    # So many repetitions that scatter alike do tell: then the one that takes less is to be run.
    again = rows * math.ceil(found.repetitions / 3)
    sure = choose(runs_of(*again), EACH)
    assert sure.best.policy == sure.least.policy == "fixed(4, wait_ms=140)"
    assert sure.repetitions is None


def test_policies_that_were_run_once_are_compared_by_what_they_took():
    found = choose(runs_of(window("fixed(1)", 400.0, 0.1), window("fixed(8)", 200.0, 0.5)), EACH)
    assert found.best.policy == "fixed(8)"


def test_the_smallest_batch_is_compared_with_what_takes_most():
    runs = runs_of(window("fixed(1)", 100.0), window("fixed(8)", 200.0), window("greedy(8)", 250.0))
    found = choose(runs, EACH)
    assert (found.best.policy, found.baseline.policy) == ("fixed(1)", "greedy(8)")
    assert found.saving == pytest.approx(0.6)


def test_without_fixed_sizes_the_smallest_mean_batch_is_the_baseline():
    runs = runs_of(
        window("greedy(8)", 100.0, batch_mean=6), window("greedy(2)", 150.0, batch_mean=1.5)
    )
    assert choose(runs, EACH).baseline.policy == "greedy(2)"


def test_a_quicker_policy_for_a_tenth_more_is_named():
    runs = runs_of(
        window("fixed(64)", 100.0, 5), window("fixed(8)", 109.0, 1), window("fixed(4)", 111, 0.1)
    )
    assert choose(runs, EACH).quick.policy == "fixed(8)"


def test_one_policy_has_nothing_to_be_compared_with():
    found = choose(runs_of(window("fixed(8)")), EACH)
    assert found.best.policy == "fixed(8)"
    assert found.ratio is None
    assert math.isnan(found.saving)
    assert math.isnan(found.reach)


def test_energies_that_are_not_positive_have_no_ratio():
    found = choose(runs_of(window("fixed(1)", 10.0), window("fixed(8)", -1.0)), EACH)
    assert found.best.policy == "fixed(8)"
    assert found.ratio is None
    assert math.isnan(found.reach)


def test_without_any_energy_there_is_no_choice():
    found = choose(runs_of(window("fixed(1)", math.nan)), EACH)
    assert found.best is found.baseline is found.cheaper is found.quick is None
    assert found.policies == ()


@pytest.mark.parametrize(
    "sizes", [[2, 2, 2], pytest.param([3, 2, 2, 4], marks=pytest.mark.long), [1, 5, 3]]
)
def test_no_order_of_the_runs_gives_a_smaller_p(sizes):
    least = math.inf
    for order in itertools.permutations(range(len(sizes))):
        groups = [group for group in order for _ in range(sizes[group])]
        runs = pd.DataFrame({"policy": groups, "j": np.arange(len(groups), dtype=float)})
        least = min(least, dunn(runs, "policy", "j")["p_adjusted"].min())
    assert min_attainable_p(sizes) == pytest.approx(least)


def test_a_single_group_has_no_p():
    assert math.isnan(min_attainable_p([5, 0]))
