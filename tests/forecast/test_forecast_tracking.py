"""A loop is measured, forecast and ended by its budget."""

import itertools
import time

import pytest

import joulelab
from joulelab.errors import BudgetSpentError, MeterError, UsageError


def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_loop_is_measured_with_a_forecast_and_its_phases(capsys):
    tracked = joulelab.track(range(4), place="NLD", label="training")
    seen = []
    for epoch in tracked:
        work(0.06)
        with joulelab.phase("evaluation"):
            work(0.03)
        seen.append(epoch)

    assert seen == [0, 1, 2, 3]
    assert tracked.steps == len(tracked.predictions) == 4
    assert tracked.predictions[1].energy_j > tracked.predictions[1].so_far_j
    assert tracked.phases["evaluation"].times == 4
    assert 0 < tracked.phases["evaluation"].energy_j < tracked.measurement.energy_j
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("training: about ")
    assert "CO2e" in err


def _sleep_in(tracked):
    for _ in tracked:
        time.sleep(0.05)


def test_a_phase_outside_a_loop_is_nobodys():
    with joulelab.phase("before"):
        pass
    tracked = joulelab.track([1], quiet=True)
    for _ in tracked:
        with joulelab.phase("within"):
            pass
    assert list(tracked.phases) == ["within"]


def test_a_loop_without_end_stops_at_its_budget(capsys):
    tracked = joulelab.track(itertools.count(), budget="0.5 s")
    for _ in tracked:
        time.sleep(0.1)

    assert tracked.over
    # No step begins that would overshoot by more than 2 %, should it take as long as the last.
    assert 1 <= tracked.steps <= 5
    assert tracked.predictions == []
    said = capsys.readouterr().err
    assert f"stopped: after {tracked.steps} steps" in said
    assert "another step would overshoot" in said


def test_a_budget_of_energy_counts_what_the_meters_see():
    tracked = joulelab.track(range(1000), budget="1 J", quiet=True)
    for _ in tracked:
        work(0.05)
    assert tracked.over
    assert tracked.steps < 1000
    assert tracked.measurement.energy_j > 0.5


def test_a_spent_budget_raises_or_is_only_flagged_on_request():
    raising = joulelab.track(range(50), budget="0.2 s", on_budget="raise", quiet=True)
    with pytest.raises(BudgetSpentError, match=r"after \d of 50 steps .* of 0\.20 s are spent"):
        _sleep_in(raising)

    flagged = joulelab.track(range(8), budget="0.2 s", on_budget="flag", quiet=True)
    for _ in flagged:
        time.sleep(0.05)
    assert flagged.over
    assert flagged.steps == 8


def test_a_budget_that_is_not_spent_changes_nothing(capsys):
    tracked = joulelab.track(range(3), budget="1 kWh")
    assert list(tracked) == [0, 1, 2]
    assert not tracked.over
    assert "stopped" not in capsys.readouterr().err


def test_a_loop_that_is_left_has_its_measurement(capsys):
    tracked = joulelab.track(range(100), quiet=True)
    with pytest.raises(MeterError, match="has not ended"):
        _ = tracked.measurement
    for _ in tracked:
        break
    assert tracked.measurement.duration_s > 0
    assert capsys.readouterr().err == ""
    with pytest.raises(MeterError, match="can be tracked once"):
        list(tracked)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("3 epochs", "only trainings by joulelab have epochs"),
        ("-3 J", "is not an amount above 0"),
        ("1 gCO2e", "needs the origin of the electricity"),
    ],
)
def test_an_impossible_budget_is_refused_before_the_loop(budget, words):
    with pytest.raises(UsageError, match=words):
        joulelab.track(range(3), budget=budget)
