"""Agreement of two instruments: published examples, other libraries, and simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from joulelab.analysis.agreement import (
    APPROXIMATE,
    EXACT,
    ONE_RUN,
    agreement,
    agreements,
    calibrate,
    limits_of_differences,
    limits_of_ratios,
    proportional_bias,
)
from joulelab.analysis.correlation import concordance, pearson
from joulelab.analysis.line import Line, deming, passing_bablok
from joulelab.analysis.negative_energy import in_words, negative_energy, without_negative_energy
from joulelab.errors import UsageError

# Peak expiratory flow by two meters, Bland and Altman, Lancet 327 (1986), first measurements.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def instrument_runs(n, rng, factor=0.57, scatter=0.03):
    """A wattmeter and an instrument that sees a share of it, both with errors in proportion."""
    truth = rng.uniform(4e6, 12e6, n)
    wall = truth * np.exp(rng.normal(0, 0.005, n))
    return factor * truth * np.exp(rng.normal(0, scatter, n)), wall


def test_the_lancet_example_of_bland_and_altman():
    limits = limits_of_differences(WRIGHT, MINI)

    # They print -2.1, 38.8, -22.0 to 17.8, and limits with 2 for 1.96.
    assert round(limits.mean.value, 1) == -2.1
    assert round(limits.mean.std, 1) == 38.8
    assert (limits.mean.low, limits.mean.high) == pytest.approx((-22.0, 17.8), abs=0.1)
    assert limits.lower == pytest.approx(-2.1 - 1.96 * 38.8, abs=0.1)
    assert limits.upper == pytest.approx(-2.1 + 1.96 * 38.8, abs=0.1)
    assert round(pearson(WRIGHT, MINI).value, 2) == 0.94


def test_the_interval_of_a_limit_is_near_bland_and_altmans_and_wider_outwards():
    limits = limits_of_differences(WRIGHT, MINI)

    # They print 40.9 to 110.1 for a limit of 75.5, so 34.6 to either side.
    assert limits.method == EXACT
    assert limits.upper_low == pytest.approx(73.9 - 34.6, abs=12)
    assert limits.upper_high - limits.upper > 34.6 > limits.upper - limits.upper_low
    assert limits.lower - limits.lower_low == pytest.approx(limits.upper_high - limits.upper)


def test_the_exact_interval_of_a_limit_holds_it_as_often_as_it_says():
    rng = np.random.default_rng(1)
    true_limit = 1.959964
    held = [
        limits.upper_low <= true_limit <= limits.upper_high
        for _ in range(1500)
        for limits in [limits_of_differences(rng.normal(size=6), np.zeros(6))]
    ]
    # The standard error of the share is .0056.
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_exact_and_approximate_intervals_meet_where_one_takes_over():
    values = stats.norm.ppf((np.arange(1, 502) - 0.5) / 501)
    exact = limits_of_differences(values[:500], np.zeros(500))
    approximate = limits_of_differences(values, np.zeros(501))

    assert (exact.method, approximate.method) == (EXACT, APPROXIMATE)
    widths = [(one.upper_high - one.upper_low) / one.mean.std for one in (exact, approximate)]
    assert widths[0] == pytest.approx(widths[1], rel=0.01)


def test_limits_of_ratios_are_those_of_logarithms_and_mirror_when_the_instruments_swap():
    one, other = instrument_runs(30, np.random.default_rng(2))
    logs = limits_of_differences(np.log(one), np.log(other))
    ratios, swapped = limits_of_ratios(one, other), limits_of_ratios(other, one)

    assert math.log(ratios.upper_high) == pytest.approx(logs.upper_high)
    assert 1 / ratios.lower == pytest.approx(swapped.upper)
    assert 1 / ratios.mean.value == pytest.approx(swapped.mean.value)
    with pytest.raises(ValueError, match="positive"):
        limits_of_ratios([1.0, -1.0], [1.0, 1.0])


def test_a_factor_shows_as_a_difference_that_grows_and_noise_does_not():
    one, other = instrument_runs(40, np.random.default_rng(3))
    noisy = other + np.random.default_rng(4).normal(0, 1e5, 40)

    found = proportional_bias(one, other)
    mean = (one + other) / 2
    by_scipy = stats.linregress(mean, one - other)
    assert found.slope == pytest.approx(by_scipy.slope)
    assert found.p == pytest.approx(by_scipy.pvalue)
    assert found.found
    assert not proportional_bias(noisy, other).found
    assert proportional_bias([1.0, 2.0], [1.0, 2.0]).reason == "2 runs; a slope needs 3"


def test_concordance_of_the_lancet_example_is_what_lins_moments_give():
    x, y = np.array(WRIGHT, float), np.array(MINI, float)
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    lin = 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)

    assert concordance(WRIGHT, MINI).value == pytest.approx(lin)
    assert round(lin, 3) == 0.943


def test_concordance_is_the_correlation_times_the_bias_correction():
    one, other = instrument_runs(25, np.random.default_rng(5))
    w = one.std() / other.std()
    u = (one.mean() - other.mean()) / math.sqrt(one.std() * other.std())

    assert concordance(one, other).value == pytest.approx(
        pearson(one, other).value * 2 / (w + 1 / w + u**2)
    )
    assert concordance(one, one).value == pytest.approx(1)
    assert math.isnan(concordance(one, one).low)


def test_the_interval_of_concordance_holds_it_as_often_as_it_says():
    rng = np.random.default_rng(6)
    r, shift = 0.9, 0.5
    true = 2 * r / (2 + shift**2)
    cov = [[1, r], [r, 1]]
    held = [
        found.low <= true <= found.high
        for _ in range(1000)
        for pairs in [rng.multivariate_normal([0, shift], cov, 40)]
        for found in [concordance(pairs[:, 0], pairs[:, 1])]
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)


def test_pearsons_interval_is_scipys():
    found = pearson(WRIGHT, MINI)
    theirs = stats.pearsonr(WRIGHT, MINI)

    assert found.value == pytest.approx(theirs.statistic)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))


def test_passing_bablok_of_rising_points_is_theil_and_sens_line():
    rng = np.random.default_rng(7)
    x = np.arange(1.0, 31.0)
    y = 2 + 0.6 * x + rng.uniform(-0.25, 0.25, 30)  # rises from each point to the next
    theirs = stats.theilslopes(y, x)

    line = passing_bablok(x, y)
    assert line.slope == pytest.approx(theirs.slope)
    assert (line.slope_low, line.slope_high) == pytest.approx(
        (theirs.low_slope, theirs.high_slope), rel=2e-3
    )
    assert line.intercept == pytest.approx(np.median(y - line.slope * x))


def test_passing_bablok_shifts_the_median_past_slopes_below_minus_one():
    x = np.array([0.0, 1.0, 2.0, 2.5])
    y = np.array([0.0, 1.0, 3.0, 1.0])
    # The slopes are -4, 0, 0.4, 1, 1.5, 2, of which K = 1 lies below -1: not the third and the
    # fourth are in the middle, but the fourth and the fifth.
    assert passing_bablok(x, y).slope == pytest.approx((1 + 1.5) / 2)


def test_passing_bablok_is_inverted_when_the_instruments_swap():
    rng = np.random.default_rng(8)
    truth = rng.uniform(1, 10, 41)
    x, y = truth + rng.normal(0, 0.3, 41), truth + rng.normal(0, 0.3, 41)

    one, other = passing_bablok(x, y), passing_bablok(y, x)
    # Of 820 slopes the two in the middle are averaged, which inverts only nearly.
    assert one.slope == pytest.approx(1 / other.slope, rel=1e-3)
    assert one.slope_low == pytest.approx(1 / other.slope_high, rel=1e-9)


def test_an_outlier_turns_deming_and_not_passing_bablok():
    x = np.arange(1.0, 21.0)
    y = 0.57 * x + np.tile([0.01, -0.01], 10)
    y[-1] = 60.0

    assert passing_bablok(x, y).slope == pytest.approx(0.57, abs=0.02)
    assert deming(x, y).slope > 0.8


@pytest.mark.parametrize("method", [passing_bablok, deming])
def test_the_interval_of_the_slope_holds_it_as_often_as_it_says(method):
    rng = np.random.default_rng(9)
    held = []
    for _ in range(150):
        truth = rng.uniform(2, 10, 40)
        x, y = truth + rng.normal(0, 0.3, 40), 1 + truth + rng.normal(0, 0.3, 40)
        line = method(x, y)
        held.append(line.slope_low <= 1 <= line.slope_high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.035)


def test_the_cusum_test_finds_a_bend_and_rarely_cries_wolf():
    rng = np.random.default_rng(10)
    x = np.linspace(1, 10, 60)
    assert passing_bablok(x, x + 0.08 * (x - 5.5) ** 2).linearity_p < 0.01
    alarms = [passing_bablok(x, x + rng.normal(0, 0.3, 60)).linearity_p < 0.05 for _ in range(300)]
    # The slope is fitted to the same points, so that the test is careful.
    assert np.mean(alarms) < 0.08


def test_deming_with_equal_errors_is_the_first_principal_axis():
    one, other = instrument_runs(30, np.random.default_rng(11))
    _, axes = np.linalg.eigh(np.cov(other, one))
    assert deming(other, one).slope == pytest.approx(axes[1, -1] / axes[0, -1])


def test_deming_is_inverted_when_the_instruments_swap():
    one, other = instrument_runs(30, np.random.default_rng(12))
    there, back = deming(other, one, delta=4.0), deming(one, other, delta=0.25)
    assert there.slope == pytest.approx(1 / back.slope)
    assert there.intercept == pytest.approx(-back.intercept / back.slope)
    with pytest.raises(ValueError, match="variances"):
        deming(one, other, delta=0)


def test_demings_jackknife_leaves_one_run_out_at_a_time():
    one, other = instrument_runs(12, np.random.default_rng(13))
    whole = deming(other, one)
    without = [deming(np.delete(other, i), np.delete(one, i)).slope for i in range(12)]
    pseudo = 12 * whole.slope - 11 * np.array(without)
    reach = stats.t.ppf(0.975, 10) * pseudo.std(ddof=1) / math.sqrt(12)
    assert whole.slope_high - whole.slope == pytest.approx(reach)


def test_calibration_gives_the_factor_that_a_meters_setting_takes():
    nvml = np.array([100.0, 200.0, 400.0])
    wall = nvml * np.array([1.05, 1.06, 1.07])

    found = calibrate(nvml, wall)
    assert found.factor.value == pytest.approx((1.05 * 1.06 * 1.07) ** (1 / 3))
    assert found.factor.low < 1.06 < found.factor.high
    slope = float(nvml @ wall) / float(nvml @ nvml)
    residual = wall - slope * nvml
    error = math.sqrt(float(residual @ residual) / 2 / float(nvml @ nvml))
    assert found.through_origin.value == pytest.approx(slope)
    assert found.through_origin.high == pytest.approx(slope + stats.t.ppf(0.975, 2) * error)
    assert found.ways_agree


def test_the_factor_holds_the_true_one_as_often_as_it_says():
    rng = np.random.default_rng(14)
    held = [
        found.low <= 1 / 0.57 <= found.high
        for _ in range(1000)
        for found in [calibrate(*instrument_runs(9, rng)).factor]
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)


def test_a_line_says_whether_a_factor_is_all_that_is_wrong():
    rng = np.random.default_rng(15)
    x = rng.uniform(10, 100, 50)
    factor = passing_bablok(x, 0.5 * x + rng.normal(0, 0.5, 50))
    offset = passing_bablok(x, x - 8 + rng.normal(0, 0.5, 50))

    assert (factor.proportional, factor.constant) == (True, False)
    assert (offset.proportional, offset.constant) == (False, True)
    nan = math.nan
    unknown = Line("Deming", 1.0, nan, nan, 0.0, nan, nan, nan, 3, "")
    assert unknown.proportional is None
    assert unknown.constant is None


def test_impossible_readings_are_named_and_left_out_with_their_run():
    runs = pd.DataFrame(
        {
            "run": ["a", "b", "c", "d", "e"],
            "cc_j": [50.0, 60.0, 70.0, 0.0, 81.0],
            "cc_cpu_j": [5.0, -6.0, 7.0, 1.0, np.nan],
            "wall_j": [100.0, 120.0, 140.0, 150.0, 160.0],
        }
    )
    found = agreement(runs, "cc_j", "wall_j", "run", parts=["cc_cpu_j"])

    assert found.runs["run"].to_list() == ["a", "c", "e"]
    assert found.impossible[["run", "column"]].to_numpy().tolist() == [
        ["b", "cc_cpu_j"],
        ["d", "cc_j"],
    ]
    assert found.ratios.mean.value == pytest.approx((0.5 * 0.5 * 81 / 160) ** (1 / 3))
    assert "b, cc_cpu_j \N{MINUS SIGN}6" in in_words(found.impossible)
    assert agreement(runs, "cc_j", "wall_j").n == 4
    assert in_words(negative_energy(runs, "wall_j")) == ""


def test_an_infinite_reading_is_impossible_and_taken_for_unknown():
    runs = pd.DataFrame({"run": ["a", "b", "c", "d"], "gpu_j": [np.inf, 3.0, 0.0, 1e308]})
    kept, found = without_negative_energy(runs, "gpu_j", "run")
    said = "3 impossible energies: a, gpu_j infinite; c, gpu_j 0; d, gpu_j 1e+308"
    assert in_words(found) == said
    assert kept["gpu_j"].notna().tolist() == [False, True, False, False]


def test_many_impossible_readings_are_counted_and_the_first_named():
    runs = pd.DataFrame({"gpu_j": [-1.0] * 8})
    line = in_words(negative_energy(runs, "gpu_j"))
    assert line.startswith("8 impossible energies: 0, gpu_j")
    assert line.endswith("and 3 more")


def test_missing_readings_are_counted_and_not_impossible():
    runs = pd.DataFrame({"cc_j": [50.0, None, 70.0, 80.0], "wall_j": [100.0, 120.0, None, 161.0]})
    found = agreement(runs, "cc_j", "wall_j")
    assert (found.n, found.dropped, len(found.impossible)) == (2, 2, 0)


def test_one_run_has_a_ratio_and_no_statistics():
    found = agreement(pd.DataFrame({"cc_j": [50.0], "wall_j": [100.0]}), "cc_j", "wall_j")

    assert found.reason == ONE_RUN
    assert found.ratios.mean.value == pytest.approx(0.5)
    undefined = [
        found.ratios.mean.low,
        found.ratios.lower,
        found.pearson.value,
        found.concordance.value,
        found.proportional.p,
        found.passing_bablok.slope,
        found.deming.slope,
        found.calibration.factor.low,
    ]
    assert all(math.isnan(value) for value in undefined)
    assert found.ratios.reason == "1 run; limits of agreement need 3"


def test_without_a_sound_run_there_is_an_error_that_names_the_columns():
    runs = pd.DataFrame({"cc_j": [-1.0], "wall_j": [100.0]})
    with pytest.raises(UsageError, match="no run has a reading above zero of both 'cc_j'"):
        agreement(runs, "cc_j", "wall_j")
    with pytest.raises(UsageError, match="no column 'rapl_j'"):
        agreement(runs, "rapl_j", "wall_j")
    with pytest.raises(UsageError, match="no column 'name'"):
        agreement(runs, "cc_j", "wall_j", "name")


def test_several_instruments_against_one_reference_and_hundreds_of_runs():
    rng = np.random.default_rng(16)
    one, wall = instrument_runs(800, rng)
    runs = pd.DataFrame({"codecarbon_j": one, "nvml_j": wall * 0.8, "wall_j": wall})

    table = agreements(runs, ["codecarbon_j", "nvml_j"], "wall_j").set_index("instrument")
    assert table.loc["codecarbon_j", "ratio"] == pytest.approx(0.57, rel=0.01)
    assert table.loc["codecarbon_j", "limit_low"] < 0.55
    assert table.loc["nvml_j", "factor"] == pytest.approx(1.25)
    assert table.loc["nvml_j", "slope"] == pytest.approx(0.8)
    assert (table["n"] == 800).all()


def test_too_many_runs_for_all_pairs_are_said():
    x = np.arange(1.0, 5002.0)
    assert "Deming" in passing_bablok(x, x).reason


def test_readings_without_a_line_say_why():
    flat = [1.0, 1.0, 1.0, 1.0]
    rising = [1.0, 2.0, 3.0, 4.0]
    assert passing_bablok(flat, rising).reason
    assert passing_bablok(rising, [40.0, 30.0, 20.0, 10.0]).reason
    assert deming(flat, rising).reason == "the reference reads the same in all runs"
    assert pearson(flat, rising).reason == "the instrument reads the same in all runs"
    assert passing_bablok([1.0, 2.0], [1.0, 2.0]).reason == "2 runs; a line needs 3"
