"""In a study of Optuna: the green sampler, joules of trials, a budget that stops."""

import threading
import time

import pytest

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status
from joulelab.errors import MeterError, UsageError

optuna = pytest.importorskip("optuna")
from joulelab.tuning.optuna import EnergyCallback, GreenSampler  # noqa: E402
from joulelab.tuning.optuna.energy import spent_of  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)
ESTIMATE = {"meters": ["estimate"], "interval_s": 0.01}


def mixed(trial):
    """Best at x = 1, n = 5, s = 0.5 with category "a", which alone has another parameter."""
    x = trial.suggest_float("x", -5, 5)
    n = trial.suggest_int("n", 1, 9, step=2)
    s = trial.suggest_float("s", 0, 1, step=0.25)
    rate = trial.suggest_float("rate", 1e-5, 1, log=True)
    category = trial.suggest_categorical("category", [True, 1, "a"])
    trial.suggest_int("constant", 3, 3)
    if category == "a":
        trial.suggest_float("extra", 0, 1)
    trial.set_user_attr("energy_j", 1 + rate + n)
    return (x - 1) ** 2 + abs(n - 5) + abs(s - 0.5) + (category != "a")


def study_of(sampler=None, direction="minimize"):
    return optuna.create_study(sampler=sampler or GreenSampler(seed=1), direction=direction)


def parameters(study):
    return [trial.params for trial in study.trials]


def test_a_mixed_and_conditional_space_is_searched():
    study = study_of()
    study.optimize(mixed, n_trials=25)
    assert study.best_value < 1.5


def test_a_study_continues_as_without_an_interruption():
    whole, parts = study_of(), study_of()
    whole.optimize(mixed, n_trials=12)
    parts.optimize(mixed, n_trials=7)
    parts.sampler = GreenSampler(seed=1)
    parts.optimize(mixed, n_trials=5)
    assert parameters(parts) == parameters(whole)


def test_maximising_mirrors_minimising():
    down, up = study_of(), study_of(direction="maximize")
    down.optimize(mixed, n_trials=8)
    up.optimize(lambda trial: -mixed(trial), n_trials=8)
    assert parameters(up) == parameters(down)


def test_what_is_cheap_is_tried_first():
    """Two categories score the same; one costs a hundred times as much."""

    def objective(trial):
        dear = trial.suggest_categorical("dear", [True, False])
        trial.set_user_attr("energy_j", 100.0 if dear else 1.0)
        return trial.suggest_float("x", 0, 1)

    study = study_of(direction="maximize")
    study.optimize(objective, n_trials=12)
    assert sum(trial.params["dear"] for trial in study.trials[4:]) <= 2


def test_a_cost_known_beforehand_is_asked_with_the_users_values():
    asked = []

    def cost(values):
        asked.append(values)
        return 100.0 if values["category"] is True else 1.0

    study = study_of(GreenSampler(seed=1, cost=cost))
    study.optimize(mixed, n_trials=3)
    assert {type(values["category"]) for values in asked} == {bool, int, str}
    assert {values["s"] for values in asked} == {0, 0.25, 0.5, 0.75, 1}
    assert {values["n"] for values in asked} == {1, 3, 5, 7, 9}


def test_failed_and_pruned_trials_do_no_harm():
    def objective(trial):
        if trial.number == 2:
            raise optuna.TrialPruned  # without any parameter
        value = mixed(trial)
        if trial.number % 3 == 1:
            raise ValueError
        if trial.number % 3 == 2:
            trial.report(value, step=1)
            raise optuna.TrialPruned
        return value

    study = study_of()
    study.optimize(objective, n_trials=12, catch=(ValueError,))
    assert [trial.state.name for trial in study.trials[:3]] == ["COMPLETE", "FAIL", "PRUNED"]


def test_trials_that_run_together_differ():
    study = study_of()
    study.optimize(mixed, n_trials=4)
    running = [study.ask() for _ in range(4)]
    scores = [mixed(trial) for trial in running]
    assert len({str(trial.params) for trial in running}) == 4
    for trial, score in zip(running, scores, strict=True):
        study.tell(trial, score)


def test_several_objectives_are_refused():
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=GreenSampler())
    with pytest.raises(UsageError, match="one objective, and the study 2"):
        study.ask().suggest_float("x", 0, 1)


def busy(trial):
    end_s = time.process_time() + 0.02
    while time.process_time() < end_s:
        pass
    return trial.suggest_float("x", 0, 1)


def test_every_trial_has_its_joules():
    def objective(trial):
        value = busy(trial)
        if trial.number == 1:
            raise ValueError
        if trial.number == 2:
            raise optuna.TrialPruned
        return value

    energy = EnergyCallback(budget="1 kWh", **ESTIMATE)
    study = study_of()
    study.optimize(energy.measured(objective), n_trials=4, callbacks=[energy], catch=(ValueError,))
    found = [trial.user_attrs for trial in study.trials]
    assert [trial.state.name for trial in study.trials[:3]] == ["COMPLETE", "FAIL", "PRUNED"]
    assert {one["energy_status"] for one in found} == {"estimated"}
    assert {one["energy_source"] for one in found} == {"estimate"}
    assert all(one["energy_j"] > 0 for one in found)
    assert energy.spent_j == pytest.approx(sum(one["energy_j"] for one in found))
    assert spent_of(study) == pytest.approx(energy.spent_j)


def test_a_budget_stops_the_study_and_holds_when_it_is_resumed(tmp_path):
    def session(budget):
        file = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
        storage = optuna.storages.JournalStorage(file)
        study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
        energy = EnergyCallback(budget, **ESTIMATE)
        study.optimize(energy.measured(busy), n_trials=3, callbacks=[energy])
        return study

    study = session(budget=1e-6)
    assert len(study.trials) == 1
    with pytest.raises(UsageError, match=r"the study has spent .* of .*\n.*higher budget"):
        session(budget=1e-6)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL"]
    study = session(budget=spent_of(study) * 1.0001)
    assert len(study.trials) == 3


def test_joules_of_trials_that_overlap_are_unknown_and_count_once():
    energy = EnergyCallback(budget="1 kWh", **ESTIMATE)
    both = threading.Barrier(2, timeout=30)

    def objective(trial):
        if trial.number < 2:
            both.wait()
        value = busy(trial)
        if trial.number < 2:
            both.wait()
        return value

    study = study_of()
    began_s = time.monotonic()
    study.optimize(energy.measured(objective), n_trials=2, n_jobs=2, callbacks=[energy])
    together_s = time.monotonic() - began_s
    study.optimize(energy.measured(objective), n_trials=1, callbacks=[energy])
    first, second, alone = study.trials
    assert first.user_attrs["energy_j"] is None
    assert first.user_attrs["energy_reason"].startswith("overlaps trial 1: meters read the machine")
    assert second.user_attrs["energy_status"] == "missing"
    assert energy.spent_j > alone.user_attrs["energy_j"] > 0
    assert energy._closed_j - alone.user_attrs["energy_j"] < 4000 * together_s


def test_a_loop_of_ask_and_tell_is_measured():
    energy, study = EnergyCallback(**ESTIMATE), study_of()
    trial = study.ask()
    with energy.measure(trial):
        value = busy(trial)
    study.tell(trial, value)
    assert study.trials[0].user_attrs["energy_j"] == energy.spent_j > 0


def test_a_callback_without_the_measured_objective_says_so():
    study, energy = study_of(), EnergyCallback(**ESTIMATE)
    with pytest.raises(UsageError, match=r"trial 0 was not measured.*\n.*energy.measured"):
        study.optimize(busy, n_trials=2, callbacks=[energy])


def test_one_callback_serves_one_study():
    energy = EnergyCallback(**ESTIMATE)
    study_of().optimize(energy.measured(busy), n_trials=1, callbacks=[energy])
    with pytest.raises(UsageError, match="make one for each study"):
        study_of().optimize(energy.measured(busy), n_trials=1, callbacks=[energy])


class Unread:
    """A window of which the meter says nothing."""

    def start(self):
        pass

    def stop(self):
        reading = Reading("gpu:0", "nvml", Status.MISSING, None, None, None, 1.0, "gone")
        return Measurement("trial 0", 0.0, 1.0, (reading,), 0, 0.0)

    so_far = stop


@pytest.mark.parametrize("budget", [None, "1kJ"])
def test_unknown_joules_are_none_with_a_reason_and_no_budget_is_kept_on_them(monkeypatch, budget):
    monkeypatch.setattr("joulelab.tuning.optuna.energy.measure", lambda *_, **__: Unread())
    energy, study = EnergyCallback(budget), study_of()
    if budget:
        with pytest.raises(MeterError, match=r"budget of 1,000 J cannot be kept.*gpu:0: gone"):
            study.optimize(energy.measured(busy), n_trials=2, callbacks=[energy])
    else:
        study.optimize(energy.measured(busy), n_trials=1, callbacks=[energy])
    found = study.trials[0].user_attrs
    assert (found["energy_j"], found["energy_status"]) == (None, "missing")
    assert found["energy_reason"] == "gpu:0: gone"
    assert energy.spent_j is None


@pytest.mark.parametrize("budget", ["20", "20 kg", "0 J", "-1 kJ", "nan J", "", 0, float("inf")])
def test_a_budget_that_is_not_an_energy_is_refused(budget):
    with pytest.raises(UsageError, match="is not an energy above 0"):
        EnergyCallback(budget)


def test_budgets_are_read_in_every_unit():
    texts = ["20kJ", "0.5 kWh", "3 Wh", "1e-3 MJ", "7 J"]
    assert [EnergyCallback(text).budget_j for text in texts] == [20_000, 1.8e6, 10_800, 1000, 7]
    assert EnergyCallback(300).budget_j == 300
