"""Rounding is no scatter, no tie is broken by a last digit, and no statistic divides by either."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.agreement import calibrate, limits_of_ratios, proportional_bias
from joulelab.analysis.assumptions import equal_variances, normality
from joulelab.analysis.claims.search import search_claims
from joulelab.analysis.comparison import difference_interval, mean_interval, ratio_interval
from joulelab.analysis.correlation import concordance, pearson, rank_correlation
from joulelab.analysis.coupling import coupling, inversions
from joulelab.analysis.kruskal import kruskal
from joulelab.analysis.line import deming, passing_bablok
from joulelab.analysis.posthoc import dunn
from joulelab.analysis.ranking import rank_treatments
from joulelab.analysis.rounding import constant, sample_std, without_noise
from joulelab.analysis.trend import trend
from joulelab.analysis.two_samples import cliffs_delta
from joulelab.analysis.variation import variation

SEVEN = (1.0, 2.5, 3.0, 4.2, 5.0, 6.1, 7.7)
CONSTANTS = (0.1, 0.7, 1234.56, 1e-9, 3e8)
THIRDS = (0.1 + 0.2, 0.3)
"""Equal on paper."""


def runs_of(**samples):
    rows = [(name, value) for name, sample in samples.items() for value in sample]
    return pd.DataFrame(rows, columns=["configuration", "energy_net_j"])


@pytest.mark.parametrize("value", CONSTANTS)
def test_a_constant_instrument_has_no_line_and_no_correlation(value):
    flat = [value] * 7
    why = "the instrument reads the same in all runs"
    for found in (deming(SEVEN, flat), passing_bablok(SEVEN, flat), concordance(flat, SEVEN)):
        assert found.reason == why
    assert math.isnan(deming(SEVEN, flat).slope)
    assert math.isnan(deming(SEVEN, flat).intercept)
    why = "the reference reads the same in all runs"
    for found in (deming(flat, SEVEN), passing_bablok(flat, SEVEN), pearson(SEVEN, flat)):
        assert found.reason == why
    assert deming(flat, flat).reason == "both instruments read the same in all runs"


def test_an_instrument_that_differs_once_has_a_line_and_no_interval():
    found = deming(SEVEN, [0.1] * 6 + [0.2])
    assert 0 < found.slope < 0.1
    assert math.isnan(found.slope_low), "without the last run there is no line"


def test_readings_without_covariance_have_no_line():
    assert deming([0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.3, 0.1]).reason == (
        "the readings are not correlated"
    )


def test_slopes_of_minus_one_are_left_out_whatever_the_last_digit_says():
    tenths = [0.1, 0.2, 0.3, 0.4, 0.7], [0.4, 0.3, 0.2, 0.7, 0.8]
    whole = [[round(10 * value) for value in one] for one in tenths]
    assert passing_bablok(*tenths).slope == pytest.approx(passing_bablok(*whole).slope)


@pytest.mark.parametrize("value", CONSTANTS)
def test_equal_values_do_not_scatter(value):
    flat = [value] * 7
    assert sample_std(flat) == mean_interval(flat).std == 0.0
    assert mean_interval(flat).low == mean_interval(flat).high
    apart = difference_interval(flat, [2 * value] * 7)
    assert math.isnan(apart.p)
    assert apart.low == apart.high == pytest.approx(-value)
    assert ratio_interval(flat, [3 * value] * 7).std == 0.0
    assert ratio_interval([0.1, 0.2, 0.7], [0.3, 0.6, 2.1]).std == 0.0
    assert variation(runs_of(a=flat))["cv"][0] == 0.0
    assert normality(runs_of(a=flat))["reason"][0] == "all values are the same"
    both = runs_of(a=flat, b=[2 * value] * 7)
    assert equal_variances(both).reason == "no energy differs from the others of its group"


def test_what_is_equal_but_for_rounding_is_tied():
    mixed = runs_of(a=[*THIRDS, 0.3], b=[0.3, *THIRDS])
    assert kruskal(mixed, "configuration")["reason"][0] == "all values are the same"
    assert dunn(mixed)["reason"][0] == "all values are the same"
    assert cliffs_delta(THIRDS[:1], THIRDS[1:]).value == 0
    assert constant(THIRDS)
    assert not constant([0.3, 0.3 * (1 + 1e-10)])
    assert constant([1e-17, -1e-17], size=0.3)
    assert np.ptp(without_noise(THIRDS)) == 0


def test_a_constant_difference_has_no_proportional_bias():
    reference = np.array([0.3, 7.7, 19.1, 33.3, 101.7])
    found = proportional_bias(reference + 0.1, reference)
    assert (found.slope, found.p) == (0.0, 1.0)
    assert not found.found
    ratios = limits_of_ratios(reference * 1.1, reference)
    assert ratios.lower == ratios.upper == pytest.approx(1.1)


def test_a_factor_that_all_runs_have_is_the_same_in_both_ways():
    assert calibrate([0.1, 0.2, 0.3, 0.7], [0.3, 0.6, 0.9, 2.1]).ways_agree


def test_correlations_of_zero_have_an_interval():
    found = concordance([1.0, 2.0, 3.0, 4.0], [1.0, -1.0, -1.0, 1.0])
    assert found.value == pytest.approx(0.0, abs=1e-15)
    assert -1 < found.low < 0 < found.high < 1


def test_configurations_of_equal_time_are_not_ordered_by_last_digits():
    runs = pd.DataFrame(
        {
            "network": list("aabbcc"),
            "duration_s": [*THIRDS, *THIRDS[::-1], 0.3, 0.3],
            "energy_net_j": [1.0, 1.1, 2.0, 2.1, 3.0, 3.1],
        }
    )
    assert coupling(runs, "network").reason == "all configurations take the same time"
    flat = runs.assign(duration_s=[0.7] * 2 + [0.1] * 2 + [0.3] * 2, energy_net_j=[0.1] * 6)
    flat.loc[flat["network"] == "b", "energy_net_j"] = 0.7
    assert not len(inversions(flat, "network")), "nothing scatters, so that there is no test"


def test_ties_of_strategies_and_networks_stay_ties():
    rows = [(net, name, 0.3) for net, name in itertools.product("uvwx", "ab")]
    frame = pd.DataFrame(rows, columns=["network", "strategy", "accuracy"])
    frame.loc[frame["strategy"] == "a", "accuracy"] = THIRDS[0]
    pair = rank_treatments(frame, "strategy", "network", "accuracy").pairs.iloc[0]
    assert (pair["wilcoxon_p"], pair["ties"]) == (1.0, 4)
    networks = pd.DataFrame({"model": list("abcdefghij"), "year": range(2012, 2022)})
    networks["energy_j"] = [*THIRDS] * 5
    assert rank_correlation(networks, "year", "energy_j").reason
    assert trend(networks, "energy_j").reason == "all networks have the same value"


def test_strategies_that_reach_the_same_do_not_beat_each_other():
    rows = [
        (strategy, f"net {net}", number, score)
        for strategy, score in (("random", THIRDS[0]), ("grid", THIRDS[1]))
        for net, number in itertools.product(range(8), range(2))
    ]
    rounds = pd.DataFrame(rows, columns=["strategy", "network", "round", "score"])
    claim = search_claims(rounds, "strategy", ["network"])[2]
    assert (claim.p, claim.verdict) == (1.0, "holds")
