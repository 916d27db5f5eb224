"""Traces, rhythm, stable part, mixtures, baselines and scores, each with answers by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.prediction.scores import (
    Predicted,
    green_algorithms_j,
    hindsight,
    last_window_j,
    mean_so_far_j,
    random_window_j,
    score,
    tdp_j,
)
from joulelab.analysis.prediction.step import (
    Normal,
    mixture_interval,
    mixture_mean,
    mixture_quantile,
)
from joulelab.analysis.prediction.traces import (
    PowerTrace,
    autocorrelation,
    bin_length_s,
    end_of_start_up,
    find_stable_part,
    find_troughs,
    period,
)
from joulelab.errors import UsageError

RAMP = PowerTrace.of([10.0, 11.0, 13.0, 14.0], [0.0, 1.0, 3.0, 4.0])


def test_energy_is_the_trapezoid_over_uneven_times():
    assert RAMP.energy_j == pytest.approx(8.0)
    assert RAMP.duration_s == 4.0
    assert RAMP.mean_w == pytest.approx(2.0)


def test_a_part_begins_and_ends_between_samples():
    part = RAMP.between(0.5, 2.5)
    assert part.energy_j == pytest.approx((0.5 + 2.5) / 2 * 2)
    assert part.time_s[0] == 10.5


def test_parts_add_up_to_the_whole():
    parts = [RAMP.between(0.0, 1.7), RAMP.between(1.7, 9.0)]
    assert sum(part.energy_j for part in parts) == pytest.approx(RAMP.energy_j)


def test_bins_hold_mean_power_and_end_with_the_trace():
    # 0.5, 4 and 3.5 J between samples, spread evenly
    assert RAMP.binned_w(2.0) == pytest.approx([1.25, 2.75])
    assert RAMP.binned_w(1.5) == pytest.approx([2.0, 3.0])
    assert RAMP.binned_w(9.0) == pytest.approx([2.0])


def test_samples_without_a_value_or_back_in_time_are_left_out():
    trace = PowerTrace.of([0.0, 1.0, 2.0, -500.0, 3.0, 3.0], [1.0, math.nan, 1.0, 7.0, 1.0, 9.0])
    assert trace.time_s.tolist() == [0.0, 2.0, 3.0]
    assert trace.energy_j == 3.0


@pytest.mark.parametrize(
    ("time_s", "power_w"),
    [([], []), ([0.0], [1.0]), ([0.0, 0.0], [1.0, 1.0]), ([0.0, 1.0], [1.0, math.nan])],
)
def test_fewer_than_two_samples_are_no_trace(time_s, power_w):
    with pytest.raises(UsageError, match="at least two samples"):
        PowerTrace.of(time_s, power_w)


def test_as_many_powers_as_times_are_needed():
    with pytest.raises(UsageError, match="one power for each time"):
        PowerTrace.of([0.0, 1.0], [1.0])


def test_nothing_lies_behind_the_end():
    with pytest.raises(UsageError, match="no power between"):
        RAMP.between(4.0, 5.0)


def test_a_bin_is_a_second_unless_the_run_is_short_or_samples_are_far_apart():
    tenths = PowerTrace.of(np.arange(0, 10, 0.1), np.ones(100))
    minutes = PowerTrace.of(60.0 * np.arange(10), np.ones(10))
    assert bin_length_s(tenths, 4000.0) == 1.0
    assert bin_length_s(tenths, 80.0) == pytest.approx(0.2)
    assert bin_length_s(minutes, 4000.0) == 60.0


def test_autocorrelation_is_that_of_the_definition():
    values = np.array([1.0, 3.0, 2.0, 5.0])
    x = values - values.mean()
    expected = [np.mean(x[: 4 - lag] * x[lag:]) / np.mean(x * x) for lag in range(3)]
    assert autocorrelation(values, 3) == pytest.approx(expected)
    assert autocorrelation(np.full(9, 2.0), 3).tolist() == [0.0, 0.0, 0.0]


def test_the_period_is_the_first_of_its_multiples():
    wave = np.tile([1.0] * 9 + [0.0] * 3, 20)
    assert period(wave) == 12
    assert period(wave[:25]) is None
    assert period(np.random.default_rng(0).normal(size=300)) is None


def test_start_up_ends_with_the_first_usual_power():
    assert end_of_start_up(np.r_[np.full(7, 5.0), np.full(50, 100.0)]) == 7
    assert end_of_start_up(np.full(20, 100.0)) == 0


def test_a_first_trough_counts_and_dips_that_recur_do_not():
    power_w = np.full(300, 100.0)
    power_w[30::20] = 95.0
    power_w[150:155] = 40.0
    power_w[200] = 41.0
    assert find_troughs(power_w, 0) == [(150, 155)]


def test_a_trough_that_still_lasts_has_nothing_behind_it():
    power_w = np.r_[np.full(100, 100.0), np.full(5, 30.0)]
    assert find_troughs(power_w, 0) == [(100, 105)]
    part = find_stable_part(power_w)
    assert part.changed
    assert len(part.levels_w) == 0
    assert part.before_w == pytest.approx(100.0)


@pytest.mark.parametrize("bins", range(1, 60, 7))
def test_any_number_of_bins_has_an_answer(bins):
    part = find_stable_part(np.full(bins, 100.0))
    assert not part.changed
    assert np.all(part.levels_w == 100.0)


def test_the_stable_part_begins_where_the_level_changed():
    part = find_stable_part(np.r_[np.full(200, 100.0), np.full(200, 130.0)])
    assert part.changed
    assert 200 <= part.start <= 200 + part.block
    assert part.levels_w == pytest.approx(np.full(len(part.levels_w), 130.0))


def test_a_slow_drift_is_no_change_of_phase():
    assert not find_stable_part(np.linspace(100.0, 106.0, 400)).changed


def test_one_normal_has_the_quantiles_of_the_tables():
    assert mixture_quantile([Normal(1.0, 0.0, 1.0)], 0.975) == pytest.approx(1.959964, abs=1e-5)


def test_a_mixture_far_apart_has_one_end_in_each_part():
    parts = [Normal(0.5, 0.0, 1.0), Normal(0.5, 100.0, 2.0)]
    low, high = mixture_interval(parts, 0.9)
    # 5 % of the whole is a tenth of each half
    assert low == pytest.approx(-1.281552, abs=1e-4)
    assert high == pytest.approx(100 + 2 * 1.281552, abs=1e-4)
    assert mixture_mean(parts) == 50.0


STEPS = PowerTrace.of(np.arange(101.0), np.r_[np.full(60, 10.0), np.full(41, 20.0)])


def test_baselines_are_their_formulas():
    assert mean_so_far_j(STEPS, 500.0) == pytest.approx(STEPS.energy_j / 100 * 500)
    assert last_window_j(STEPS, 500.0) == pytest.approx(STEPS.energy_j + 20.0 * 400)
    assert tdp_j(250.0, 500.0) == 125e3
    assert green_algorithms_j(250.0, 0.4, 16.0, 500.0) == pytest.approx((100 + 5.96) * 500)


def test_a_random_window_lies_in_what_was_seen_and_repeats_with_its_seed():
    found = [random_window_j(STEPS, 500.0, np.random.default_rng(seed)) for seed in range(30)]
    again = [random_window_j(STEPS, 500.0, np.random.default_rng(seed)) for seed in range(30)]
    assert found == again
    assert len(set(found)) > 5
    ends = STEPS.energy_j + np.array([10.0, 20.0]) * 400
    assert all(ends[0] - 1e-6 <= one <= ends[1] + 1e-6 for one in found)


def test_a_use_in_per_cent_is_refused():
    with pytest.raises(UsageError, match="fraction from 0 to 1"):
        green_algorithms_j(250.0, 40.0, 16.0, 500.0)


def test_a_score_is_of_all_runs_and_coverage_of_those_with_an_interval():
    found = score(
        "one",
        0.2,
        [Predicted(1000.0, 1100.0, 900.0, 1150.0), Predicted(4000.0, 3000.0, 2900.0, 3100.0)],
    )
    assert found.rmse_kj == pytest.approx(math.sqrt((100**2 + 1000**2) / 2) / 1000)
    assert found.mape == pytest.approx((0.1 + 0.25) / 2)
    assert found.coverage == 0.5
    assert score("two", 0.2, [Predicted(1000.0, 1100.0)]).coverage is None
    assert score("none", 0.2, []).mape is None


def rows(**columns):
    given = {"predicted": [10.0], "low": [8.0], "high": [12.0], "actual": [10.0]}
    return pd.DataFrame({**given, **columns})


def test_the_mean_error_is_that_of_the_scores_of_other_predictions():
    random = np.random.default_rng(3)
    predicted, actual = random.uniform(1, 9, (2, 20))
    found = hindsight(
        pd.DataFrame({"predicted": predicted, "low": 0.0, "high": 5.0, "actual": actual})
    )
    pairs = zip(predicted, actual, strict=True)
    known = score("x", 1.0, [Predicted(m, p, 0.0, 5.0) for p, m in pairs])
    assert found.mape == pytest.approx(known.mape)
    assert found.covered / found.ranged == pytest.approx(known.coverage)


def test_the_ratio_is_of_the_actual_over_the_predicted():
    found = hindsight(
        rows(predicted=[10.0, 10.0, 10.0], actual=[5.0, 13.0, 40.0], low=0.0, high=1.0)
    )
    assert found.table["ratio"].tolist() == [0.5, 1.3, 4.0]
    assert found.median_ratio == 1.3


@pytest.mark.parametrize("actual", [0.0, -1.0, math.nan, math.inf])
def test_what_is_not_above_0_has_no_ratio_and_is_counted(actual):
    found = hindsight(rows(predicted=[10.0, 10.0], actual=[actual, 11.0], low=8.0, high=12.0))
    assert (found.n, found.dropped, found.ranged) == (1, 1, 1)
    assert math.isnan(found.table["ratio"][0])
    assert found.table["covered"].isna().tolist() == [True, False]


def test_the_ends_of_a_range_belong_to_it_and_unknown_ranges_cover_nothing():
    found = hindsight(
        rows(
            predicted=[10.0] * 4,
            actual=[8.0, 12.0, 12.1, 10.0],
            low=[8.0, 8.0, 8.0, math.nan],
            high=12.0,
        )
    )
    assert found.table["covered"].tolist()[:3] == [True, True, False]
    assert pd.isna(found.table["covered"][3])
    assert (found.covered, found.ranged, found.n) == (2, 3, 4)


def test_of_nothing_nothing_is_said():
    found = hindsight(rows().iloc[:0])
    assert (found.n, found.covered, found.ranged) == (0, 0, 0)
    assert math.isnan(found.mape)
    assert math.isnan(found.median_ratio)


def test_a_missing_column_is_named():
    with pytest.raises(UsageError, match="low"):
        hindsight(rows().drop(columns="low"))
