"""A loop is measured, forecast and ended by its budget."""

import itertools
import subprocess
import sys
import time
from dataclasses import replace

import pytest

import joulelab
from joulelab.errors import BudgetSpentError, MeterError, UsageError
from joulelab.forecast.looking import CAPACITY_S, SHARE, Looks


def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.fixture
def every_step(monkeypatch):
    """The meters are looked at after every step, however slow the machine is."""
    monkeypatch.setattr("joulelab.forecast.looking.CAPACITY_S", 1000.0)


def test_a_loop_is_measured_with_a_forecast_and_its_phases(capsys, every_step):
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


def test_a_loop_waits_for_no_library_that_it_does_not_need():
    program = (
        "import sys, joulelab\n"
        "for _ in joulelab.track(range(2), quiet=True, meters=['estimate']): pass\n"
        "print({'scipy', 'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.strip() == b"set()"


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


@pytest.mark.parametrize("begin", [joulelab.track, joulelab.measure])
def test_a_misspelt_wish_for_a_spent_budget_is_refused(begin):
    with pytest.raises(UsageError, match=r"on_budget = 'rise' is not possible"):
        begin(budget="20 kJ", on_budget="rise")


def test_what_cannot_be_looped_over_is_refused_with_what_can():
    with pytest.raises(UsageError, match=r"(?s)track\(5\).*give an iterable, such as range\(5\)"):
        joulelab.track(5)
    for total in ("3", -1):
        with pytest.raises(UsageError, match=r"total = .* is not possible"):
            joulelab.track(range(3), total=total)


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
    for _ in tracked:
        break
    assert tracked.measurement.duration_s > 0
    assert capsys.readouterr().err == ""
    with pytest.raises(MeterError, match=r"has ended\ncall joulelab\.track again"):
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


def test_looks_take_at_most_their_share_of_the_time():
    looks, now_s, taken_s, taken = Looks(), 5.0, 0.0, []
    while now_s < 105.0:
        now_s += 0.001  # a step
        if now_s >= looks.due_s:
            looks.took(now_s, now_s + 0.002)
            now_s, taken_s = now_s + 0.002, taken_s + 0.002
            taken.append(now_s)
    assert 0.9 * SHARE * 100 < taken_s < SHARE * 100 + CAPACITY_S
    assert taken[3] - taken[0] < 0.02  # the first steps are seen each
    # A pause does not pay for a burst.
    now_s += 1000.0
    for _ in range(1000):
        now_s += 0.001
        if now_s >= looks.due_s:
            looks.took(now_s, now_s + 0.002)
            now_s, taken_s = now_s + 0.002, taken_s + 0.002
    assert taken_s < SHARE * 102 + 2 * CAPACITY_S


def test_a_look_that_takes_long_is_rare():
    looks = Looks()
    looks.took(10.0, 11.0)
    assert looks.due_s >= 11.0 + 1.0 / SHARE - CAPACITY_S / SHARE
    due_s = looks.due_s
    looks.pay(0.1)  # a logger
    assert looks.due_s == pytest.approx(due_s + 0.1 / SHARE)
    looks.not_later_than(12.0)
    assert looks.due_s == 12.0


def test_steps_between_looks_are_counted(monkeypatch):
    class Rare(Looks):
        def took(self, began_s, ended_s):
            self.due_s = ended_s + 0.02

    monkeypatch.setattr("joulelab.forecast.following.Looks", Rare)
    tracked = joulelab.track(range(100), quiet=True)
    looked = []
    tracked.start()
    for _ in range(100):
        time.sleep(0.001)
        if tracked.step_done():
            looked.append(tracked.steps)
    measurement = tracked.stop()
    assert tracked.steps == 100
    assert looked[0] == 1
    assert 2 <= len(looked) < 60
    assert [one.done for one in tracked.predictions] == looked
    last = tracked.predictions[-1]
    assert last.left_s == pytest.approx((100 - looked[-1]) * last.elapsed_s / looked[-1], rel=1)
    assert last.so_far_j <= measurement.energy_j


def test_a_budget_is_kept_with_steps_much_shorter_than_a_look():
    tracked = joulelab.track(itertools.count(), budget="0.5 s", quiet=True)
    for _ in tracked:
        time.sleep(0.0005)
    assert tracked.over
    assert tracked.steps > 20
    # What a slow machine adds to one step and to the end is beside the point.
    assert 0.4 < tracked.result.duration_s < 1.0


def test_a_budget_is_looked_at_soon_while_nothing_seems_spent(monkeypatch):
    """A counter may not have moved yet, and a look may have taken long."""
    tracked = joulelab.track(itertools.count(), budget="1 kJ", quiet=True)
    tracked.start()
    follower, measured = tracked.follower, tracked.so_far()
    nothing = [replace(one, gross_j=0.0) for one in measured.readings]
    monkeypatch.setattr(follower, "so_far", lambda: replace(measured, readings=tuple(nothing)))
    monkeypatch.setattr("joulelab.forecast.looking.SHARE", 1e-9)
    monkeypatch.setattr("joulelab.forecast.looking.CAPACITY_S", 0.0)
    assert tracked.step_done()
    assert follower.looks.due_s < time.monotonic() + 1.0
    monkeypatch.undo()
    tracked.stop()


def test_a_loop_without_for_is_started_and_stopped(capsys):
    tracked = joulelab.track(total=3, label="mine", quiet=True)
    for early in (tracked.step_done, tracked.stop, tracked.so_far, lambda: tracked.result):
        with pytest.raises(MeterError, match="'mine' has not been measured yet"):
            early()
    with pytest.raises(UsageError, match="nothing to loop over"):
        list(tracked)
    tracked.start()
    with pytest.raises(MeterError, match="'mine' is already being measured"):
        tracked.start()
    with pytest.raises(MeterError, match="'mine' has not ended"):
        _ = tracked.result
    assert tracked.step_done()
    assert tracked.so_far().duration_s > 0
    assert tracked.stop() is tracked.stop() is tracked.result is tracked.result()
    assert tracked.so_far() is tracked.result
    for late in (tracked.step_done, tracked.start):
        with pytest.raises(MeterError, match="'mine' has ended"):
            late()


def test_a_loop_that_counts_tokens_says_joules_per_token(capsys):
    tracked = joulelab.track(range(4))
    for step in tracked:
        work(0.02)
        tracked.tokens_done(100 * step)
    assert tracked.tokens == 600
    assert tracked.j_per_token == pytest.approx(tracked.result.energy_j / 600)
    assert "per token, 600 tokens" in capsys.readouterr().err


def test_joules_per_token_are_unknown_where_nobody_counts():
    tracked = joulelab.track(range(2), quiet=True)
    for _ in tracked:
        work(0.01)
    assert (tracked.tokens, tracked.j_per_token) == (None, None)
    assert tracked.follower.why_no_tokens == "nobody has counted the tokens"
    with pytest.raises(UsageError, match="-1 tokens"):
        tracked.tokens_done(-1)
