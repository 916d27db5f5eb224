"""What searches spend for a score: Kaplan and Meier by hand and against published data."""

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.search_cost import (
    INTERVAL,
    RANGE,
    anytime,
    best_so_far,
    cost_to,
    middle,
    score_at,
    survival,
)

STEPS = pd.DataFrame(
    [
        # run, trial, repetition, score, at its end, epochs, cost when the score is known
        ("a", 0, 0, 0.60, False, 1.0, 10.0),
        ("a", 0, 0, 0.80, True, 4.0, 50.0),
        ("a", 1, 0, np.nan, True, 5.0, 100.0),
        ("a", 2, 0, 0.90, True, 5.0, 150.0),
        ("a", 2, 1, 0.84, True, 5.0, 200.0),
        ("b", 0, 0, 0.95, False, 1.0, 10.0),
        ("b", 1, 0, 0.70, True, 5.0, 60.0),
    ],
    columns=["run_id", "trial", "repetition", "value", "complete", "epochs", "spent_j"],
)
SPENT = pd.Series({"a": 210.0, "b": 70.0})


def test_only_a_training_at_its_end_counts_and_a_lucky_score_stays_the_best_so_far():
    best = best_so_far(STEPS, "spent_j")
    assert best["run_id"].tolist() == ["a", "a", "a", "b"]
    assert best["cost"].tolist() == [50.0, 150.0, 200.0, 60.0]
    assert best["epochs"].tolist() == [5.0, 15.0, 20.0, 6.0]
    assert best["best"].tolist() == [0.80, 0.90, 0.90, 0.70]
    assert best["now"].tolist() == pytest.approx([0.80, 0.90, 0.87, 0.70])


def test_where_lower_is_better_the_best_is_the_lowest():
    best = best_so_far(STEPS, "spent_j", higher_is_better=False)
    assert best["best"].tolist() == [0.80, 0.80, 0.80, 0.70]


def test_a_search_without_the_target_is_charged_all_that_it_spent():
    best = best_so_far(STEPS, "spent_j")
    there = cost_to(best, SPENT, pd.Series({"a": 0.85, "b": 0.85}))
    assert there["cost"].tolist() == [150.0, 70.0]
    assert there["reached"].tolist() == [True, False]
    epochs = cost_to(best, pd.Series({"a": 20.0, "b": 6.0}), pd.Series(0.7, SPENT.index), "epochs")
    assert epochs["cost"].tolist() == [5.0, 6.0]


def test_the_share_that_is_not_there_is_that_of_a_computation_by_hand():
    costs = np.array([2.0, 3.0, 3.0, 5.0, 7.0, 8.0, 9.0])
    reached = np.array([True, True, False, True, False, True, False])
    found = survival(costs, reached)
    # At risk: 7 at 2, 6 at 3, 4 at 5, 2 at 8.
    by_hand = np.cumprod([6 / 7, 5 / 6, 3 / 4, 1, 1 / 2, 1])
    assert found.at.tolist() == [2, 3, 5, 7, 8, 9]
    assert found.share == pytest.approx(by_hand)
    assert (found.median, found.reached, found.searches, found.at_least) == (8.0, 4, 7, 5.0)
    # Greenwood's variance of ln S at 3, and the log-log interval.
    s, variance = 5 / 7, 1 / (7 * 6) + 1 / (6 * 5)
    half = 1.959964 * np.sqrt(variance) / np.log(s)
    assert [found.low[1], found.high[1]] == pytest.approx(
        [s ** np.exp(-half), s ** np.exp(half)], rel=1e-6
    )


def test_the_interval_of_the_median_is_that_of_r_for_the_6_mp_arm_of_freireich_1963():
    # survfit(Surv(t, d) ~ 1, conf.type = "log-log"): median 23, 0.95LCL 13, 0.95UCL NA
    relapse = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    found = survival(np.array([*relapse, *censored], float), np.arange(21) < len(relapse))
    assert found.at[found.share <= 0.5][0] == 23.0
    assert np.isnan(found.median)  # 9 of 21 are there
    assert (found.median_low, found.kind, found.at_least) == (13.0, INTERVAL, 16.0)
    assert np.isnan(found.median_high)


def test_few_searches_have_a_range_and_a_target_that_half_miss_has_no_median():
    few = survival(np.array([4.0, 2.0, 3.0]), np.array([True, True, True]))
    assert (few.median, few.median_low, few.median_high, few.kind) == (3.0, 2.0, 4.0, RANGE)
    missed = survival(np.array([4.0, 2.0, 3.0]), np.array([False, True, False]))
    assert np.isnan(missed.median)
    assert np.isnan(missed.median_high)
    assert (missed.median_low, missed.at_least) == (2.0, 3.0)
    # The last one left is there: S falls to 0, but two of three are not.
    last = survival(np.array([2.0, 3.0, 4.0]), np.array([False, False, True]))
    assert last.share.tolist() == [1.0, 1.0, 0.0]
    assert np.isnan(last.median)
    assert last.at_least == 3.0
    none = survival(np.array([4.0, 2.0]), np.array([False, False]))
    assert none.share.tolist() == [1.0, 1.0]
    assert np.isnan([none.median, none.median_low, none.median_high]).all()


def test_the_score_at_a_cost_is_the_last_before_it_and_holds_after_the_end():
    best = best_so_far(STEPS, "spent_j")
    at = {cost: score_at(best, SPENT.index, cost).tolist() for cost in (40.0, 60.0, 150.0)}
    assert np.isnan(at[40.0]).all()
    assert at[60.0] == [0.80, 0.70]
    assert at[150.0] == [0.90, 0.70]


def test_a_missing_value_is_lower_than_all_others():
    found = middle(np.array([np.nan, 3.0, 1.0]))
    assert (found.value, found.high, found.kind) == (1.0, 3.0, RANGE)
    assert np.isnan(found.low)
    assert np.isnan(middle(np.array([np.nan, np.nan, 1.0])).value)
    assert np.isnan(middle(np.array([np.nan, 1.0])).value)
    nine = middle(np.arange(9.0))  # P(2 <= B(9, 1/2) <= 7) = .961
    assert (nine.low, nine.value, nine.high) == (1.0, 4.0, 7.0)


def test_an_anytime_curve_is_the_median_of_step_functions_from_where_all_have_a_score():
    best = pd.DataFrame(
        [("a", 1.0, 0.5), ("a", 4.0, 0.9), ("b", 2.0, 0.6), ("c", 3.0, 0.2), ("c", 5.0, 0.7)],
        columns=["run_id", "cost", "best"],
    )
    spent = pd.Series({"a": 6.0, "b": 2.5, "c": 5.0})
    found = anytime(best, spent)
    assert found["cost"].tolist() == [3.0, 4.0, 5.0, 6.0]
    assert found["best"].tolist() == [0.5, 0.6, 0.7, 0.7]
    assert found["low"].tolist() == [0.2, 0.2, 0.6, 0.6]
    assert found["high"].tolist() == [0.6, 0.9, 0.9, 0.9]
    two = anytime(best[best["run_id"] != "c"], spent[["a", "b"]])
    assert two["best"].tolist() == pytest.approx([0.55, 0.55, 0.75, 0.75])
    assert two["low"].isna().all()
