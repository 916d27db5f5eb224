"""The best hour to start: exact for a series in steps, and honest about what is unknown."""

import math

import numpy as np
import pytest

from joulelab.energy.carbon.intensity import IntensitySeries, mean_intensity, moment
from joulelab.energy.carbon.start_time import best_start
from joulelab.errors import UsageError

HOUR = 3600.0
NOON = 1714564800.0  # 2024-05-01T12:00Z


def series(*values, step_s=HOUR):
    times = tuple(NOON + step_s * row for row in range(len(values)))
    return IntensitySeries(times, values, "Here", "test.csv")


def test_one_cheap_hour_is_found_with_what_it_saves():
    found = best_start(series(400, 300, 100, 500), HOUR, NOON, NOON + 4 * HOUR)
    assert found.start_s == NOON + 2 * HOUR
    assert found.g_per_kwh == pytest.approx(100)
    assert found.at_once_g_per_kwh == pytest.approx(400)
    assert found.saved == pytest.approx(0.75)
    assert found.worst_start_s == NOON + 3 * HOUR
    assert found.saved_of_worst == pytest.approx(0.8)
    assert found.unknown_share == 0


def test_the_best_window_may_end_at_an_edge_and_begin_in_the_middle_of_a_step():
    found = best_start(series(300, 100, 500), 1.5 * HOUR, NOON, NOON + 3 * HOUR)
    assert found.start_s == NOON + 0.5 * HOUR
    assert found.g_per_kwh == pytest.approx((0.5 * 300 + 100) / 1.5)


def test_work_must_be_finished_by_the_deadline():
    cheap_at_the_end = series(400, 300, 200, 100)
    found = best_start(cheap_at_the_end, 2 * HOUR, NOON, NOON + 3.25 * HOUR)
    assert found.latest_s == found.start_s == NOON + 1.25 * HOUR
    assert found.g_per_kwh == pytest.approx((0.75 * 300 + 200 + 0.25 * 100) / 2)


def test_of_equal_starts_the_earliest_is_taken():
    found = best_start(series(0.1, 0.1, 0.1, 0.1, 0.1), 1.7 * HOUR, NOON + 60, NOON + 5 * HOUR)
    assert found.start_s == found.worst_start_s == NOON + 60
    assert found.saved == pytest.approx(0, abs=1e-9)


def test_no_choice_is_a_choice_of_one():
    found = best_start(series(400, 300), 2 * HOUR, NOON, NOON + 2 * HOUR)
    assert (found.start_s, found.saved, found.unknown_share) == (NOON, 0, 0)


@pytest.mark.parametrize("seed", range(12))
def test_it_is_never_worse_than_a_fine_grid_and_close_to_its_best(seed):
    rng = np.random.default_rng(seed)
    values = [float(value) for value in rng.uniform(20, 600, 30)]
    for gap in rng.integers(0, 30, seed % 4):
        values[gap] = None
    held = series(*values)
    duration_s = float(rng.uniform(0.3, 7)) * HOUR
    earliest_s = NOON + float(rng.uniform(-1, 3)) * HOUR
    deadline_s = NOON + float(rng.uniform(20, 32)) * HOUR
    found = best_start(held, duration_s, earliest_s, deadline_s)
    grid = np.linspace(earliest_s, deadline_s - duration_s, 3001)
    means = [mean_intensity(held, float(at), duration_s)[0] for at in grid]
    known = [mean for mean in means if mean is not None]
    step_s = grid[1] - grid[0]
    slack = 600 * step_s / duration_s
    assert min(known) - slack <= found.g_per_kwh <= min(known) + 1e-6
    assert max(known) - 1e-6 <= found.worst_g_per_kwh <= max(known) + slack
    exactly, _ = mean_intensity(held, found.start_s, duration_s)
    assert exactly is None or found.g_per_kwh == pytest.approx(exactly, rel=1e-6)
    at_once, _ = mean_intensity(held, earliest_s, duration_s)
    assert (found.at_once_g_per_kwh is None) == (at_once is None)
    assert found.unknown_share == pytest.approx(1 - len(known) / len(grid), abs=0.01)


def test_a_start_that_reaches_into_a_hole_is_no_candidate():
    found = best_start(series(400, None, 300, 200), HOUR, NOON, NOON + 4 * HOUR)
    assert found.start_s == NOON + 3 * HOUR
    assert found.unknown_share == pytest.approx(2 / 3)
    gone_at_first = best_start(series(None, 300, 200), HOUR, NOON, NOON + 3 * HOUR)
    assert gone_at_first.at_once_g_per_kwh is None
    assert gone_at_first.saved is None
    assert gone_at_first.start_s == NOON + 2 * HOUR


def test_a_deadline_beyond_the_series_leaves_starts_unknown():
    found = best_start(series(400, 300), HOUR, NOON, NOON + 5 * HOUR)
    assert found.start_s == NOON + HOUR
    assert found.unknown_share == pytest.approx(0.75)


def test_a_time_of_which_nothing_is_known_is_refused_with_the_reach_of_the_series():
    with pytest.raises(UsageError, match="known intensity") as caught:
        best_start(series(400, 300), HOUR, NOON + 9 * HOUR, NOON + 12 * HOUR)
    assert "2024-05-01 12:00 UTC to 2024-05-01 14:00 UTC" in caught.value.hint


def test_no_grams_at_all_save_nothing():
    found = best_start(series(0, 0), HOUR, NOON, NOON + 2 * HOUR)
    assert (found.saved, found.saved_of_worst) == (0, 0)


@pytest.mark.parametrize("duration_s", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_duration_is_refused(duration_s):
    with pytest.raises(UsageError, match="duration"):
        best_start(series(400, 300), duration_s, NOON, NOON + HOUR)


def test_work_longer_than_the_time_for_it_is_refused():
    with pytest.raises(UsageError, match="7,200 s does not finish within 3,600 s after"):
        best_start(series(400, 300), 2 * HOUR, NOON, NOON + HOUR)


def test_a_moment_has_seconds_only_where_it_needs_them():
    assert moment(NOON) == "2024-05-01 12:00 UTC"
    assert moment(NOON + 61) == "2024-05-01 12:01:01 UTC"
