"""Functions of the user that are tuned: in a worker process, measured, resumed after kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

import joulelab
from joulelab.errors import JoulelabError, SpecError, StoreMismatchError, UsageError
from joulelab.kinds.objective.curve import Curve, Spacing
from joulelab.kinds.objective.trial import Trial, TrialStoppedError
from joulelab.kinds.searching.journal import read_journal
from joulelab.kinds.searching.steps import TO_END
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import write_report
from joulelab.study.results import Results
from joulelab.study.study import Study

ENERGY = {"meters": ["estimate"], "interval_s": 0.02}
EPOCHS = """
import json, os, sys, time

def objective(trial):
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    width = trial.suggest_int("width", 1, 8)
    file = trial.checkpoint / "epoch.json"
    start = json.loads(file.read_text()) if file.exists() else 0
    for epoch in range(start, 9):
        with open(os.path.join(os.path.dirname(__file__), "calls.txt"), "a") as calls:
            calls.write(f"{trial.number} {trial.repetition} {epoch}\\n")
        time.sleep(float(os.environ.get("PAUSE_S", "0")))
        score = -abs(rate - 0.01) - abs(width - 5) / 10 - 1 / (epoch + 1)
        file.write_text(json.dumps(epoch + 1))
        trial.report(score, epoch)
        if trial.should_prune():
            return None
    trial.set_user_attr("done", True)
    return score
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Writes the file of an objective, and runs searches over it."""
    monkeypatch.chdir(tmp_path)

    def tune(source, budget="40epochs", **given):
        (tmp_path / "train.py").write_text(source)
        given.setdefault("energy", ENERGY)
        return joulelab.tune("train.py:objective", budget=budget, out="out", **given)

    return tune


def journal(folder):
    return [x for x in read_journal(Path(folder) / "outputs/00001/steps.jsonl") if "step" in x]


def test_an_objective_is_tuned_and_its_paused_trainings_go_on(work, tmp_path):
    found = work(EPOCHS, strategy="asha", confirm=1)
    assert set(found.values) == {"rate", "width"}
    assert found.stopped == "the budget of 40 epochs is spent"
    assert found.confirmation.seeds == 1
    assert found.epochs <= 41
    assert found.spent_j > 0
    assert found.energy_status == "estimated"
    calls = (tmp_path / "calls.txt").read_text().splitlines()
    assert len(calls) == len(set(calls)) == found.epochs  # no epoch is trained twice
    trials = found.trials.set_index("trial")
    assert trials["trained"].sum() + 9 == found.epochs
    assert trials.loc[0, "attributes"] == {"done": True}
    assert trials["score"].max() == pytest.approx(found.score)
    assert set(trials["state"]) <= {"finished", "paused"}
    again = work(EPOCHS, strategy="asha", confirm=1)  # nothing is left to do
    assert again.values == found.values
    row = Results.open("out").to_frame().iloc[0]
    whole = sum(x["spent"]["joules"] + x["tuner"]["joules"] for x in journal("out"))
    assert row["energy_gross_j"] == pytest.approx(whole, rel=1e-2)


FAILING = """
import os, sys, time

def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    what = trial.number
    if what == 1: raise ValueError("too wide")
    if what == 2: return float("nan")
    if what == 3: return None
    if what == 4: sys.exit(3)
    if what == 5: os.kill(os.getpid(), 9)
    if what == 6: time.sleep(60)
    if what == 7: return "much"
    if what == 8: trial.report(float("nan"), 0)
    if what == 9:
        for step in range(4): trial.report(0.5, step)
        assert trial.should_prune()
        trial.report(0.5, 8)
    while what == 11:
        trial.report(0.5, 0)
    if what == 10:
        class TrialPruned(Exception): __module__ = "optuna.exceptions"
        trial.report(0.1, 0)
        raise TrialPruned
    for epoch in range(3):
        trial.report(x, epoch)
        if trial.should_prune(): break
    return x
"""
REASONS = {
    1: ("failed", "ValueError: too wide"),
    2: ("failed", "the objective has returned nan"),
    3: ("failed", "the objective has returned nothing"),
    4: ("failed", "the objective has called sys.exit(3)"),
    5: ("failed", "signal 9"),
    6: ("timed out", "took longer than 1.00 s"),
    7: ("failed", "the objective has returned 'much' of type str"),
    8: ("failed", "the objective has reported nan at step 0"),
    9: ("failed", "has reported after should_prune() returned True"),
    10: ("pruned", "the objective has ended it early"),
    11: ("timed out", "took longer than 1.00 s"),
}


def test_every_way_to_fail_is_kept_and_the_search_goes_on(work):
    found = work(FAILING, strategy="random", budget="60epochs", timeout_s=1.0, confirm=0)
    trials = found.trials.set_index("trial")
    for trial, (state, said) in REASONS.items():
        assert trials.loc[trial, "state"] == state, trial
        assert said in trials.loc[trial, "reason"], trial
    assert set(trials.loc[12:, "state"]) == {"finished"}
    lost = [x for x in journal("out") if x["state"] in {"failed", "timed out"}]
    assert all(x["spent"]["joules"] is not None for x in lost)
    assert "ValueError" in next(x["details"] for x in lost)


def test_three_failures_in_a_row_stop_with_the_first_reason(work):
    source = "def objective(trial):\n    raise KeyError(trial.suggest_int('n', 1, 9))\n"
    with pytest.raises(JoulelabError, match="first 3 trials failed: KeyError: 5"):
        work(source)
    assert len(journal("out")) == 3


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def objective(a, b): pass", "cannot be called with a trial"),
        ("objective = 3", "is of type int"),
        ("async def objective(trial): pass", "is async"),
        ("raise OSError('no data')", "OSError: no data"),
        ("def other(trial): pass", "has no attribute 'objective'"),
    ],
)
def test_what_cannot_be_an_objective_is_refused_before_anything_runs(work, source, said):
    with pytest.raises(SpecError, match=said):
        work(source)
    assert not Path("out/outputs").exists()


STUDY = """
name = "two"
[energy]
meters = ["estimate"]
interval_s = 0.02
idle_s = 0.0
cool_down_s = 0.0
[experiment.low]
kind = "objective"
function = "low.py:objective"
budget = "3 evaluations"
[experiment.high]
kind = "objective"
function = "high.py:objective"
budget = "3 evaluations"
"""


def test_each_search_of_a_study_calls_its_own_objective(tmp_path):
    for name, low in (("low", 0.0), ("high", 5.0)):
        source = f"def objective(trial): return trial.suggest_float('{name}', {low}, {low + 1})"
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "study.toml").write_text(STUDY)
    runs = Study.load(tmp_path / "study.toml").run(tmp_path / "out").to_frame()
    best = runs.set_index("experiment")["best"].map(json.loads)
    assert list(best["low"]) == ["low"]
    assert list(best["high"]) == ["high"]


OWN = """
import optuna
def objective(trial):
    return trial.suggest_float("x", 0.0, 1.0)
{before}study = optuna.create_study()
{before}study.optimize(objective, n_trials=100)
"""


def test_a_file_that_runs_a_study_whenever_it_is_imported_is_refused(work):
    with pytest.raises(SpecError, match=r"train\.py, line 6, runs a study whenever it is imported"):
        work(OWN.format(before=""))


def test_a_file_that_runs_a_study_only_as_a_script_is_tuned(work):
    pytest.importorskip("optuna")
    source = OWN.format(before="if __name__ == '__main__': ")
    assert work(source, "3evaluations", confirm=0).score > 0


def test_an_objective_is_named_by_file_and_function():
    with pytest.raises(SpecError, match=r"'train\.py' is not possible: .*file\.py:name"):
        joulelab.tune("train.py", budget="1kJ")


def test_an_objective_without_variables_is_refused(work):
    with pytest.raises(UsageError, match="did not ask for any variable"):
        work("def objective(trial): return 1.0")


def test_noisy_trials_are_raced_on_the_same_seeds(work):
    found = work(
        "import random\n"
        "def objective(trial):\n"
        "    which = trial.suggest_int('which', 0, 4)\n"
        "    trial.set_user_attr('noise', noise := random.gauss(0, 1))\n"
        "    return which + noise\n",
        budget="24evaluations",
        strategy="grid",
        seeds=4,
        confirm=0,
    )
    assert found.values == {"which": 4}
    assert min(found.trials["repetitions"]) < max(found.trials["repetitions"]) == 4
    noise = {}
    for line in journal(found.folder):
        noise.setdefault(line["step"]["repetition"], set()).add(line["attributes"]["noise"])
    assert {len(values) for values in noise.values()} == {1}


def test_seeds_of_a_search_that_trains_once_are_refused(work):
    with pytest.raises(SpecError, match="asha trains every trial with one seed, not with 2"):
        work(EPOCHS, strategy="asha", seeds=2)


def test_a_training_that_reports_and_never_asks_to_stop_counts_whole_with_its_last_score(work):
    found = work(
        """
def objective(trial):
    rate = trial.suggest_float("rate", 0.0, 1.0)
    for epoch in range(3):
        score = 1 - (rate - 0.3) ** 2 - 0.1 * (2 - epoch)
        trial.report(score, epoch)
    return score
""",
        budget="8 evaluations",
        confirm=2,
    )
    lines = journal(found.folder)
    assert [line["spent"]["epochs"] for line in lines] == [3] * 8
    assert [line["step"]["purpose"] for line in lines].count("confirm") == 2
    for line in lines:
        assert line["scores"][-1] == pytest.approx(1 - (line["values"]["rate"] - 0.3) ** 2)


def test_a_budget_of_evaluations_does_not_end_the_first_whose_length_is_not_known_yet(work):
    found = work(EPOCHS, "3evaluations", confirm=0)
    assert found.stopped == "the budget of 3 evaluations is spent"
    assert journal(found.folder)[0]["state"] == "finished"
    assert 18 < found.epochs <= 28  # three trainings of 9


def test_lower_scores_are_better_where_the_user_says_so(work):
    source = "def objective(trial):\n    return (trial.suggest_float('x', -1.0, 1.0) - 0.2) ** 2\n"
    found = work(source, "25evaluations", direction="minimize", target=0.01, confirm=1)
    assert found.stopped == "the target is reached and confirmed"
    assert 0 <= found.score <= 0.01
    assert found.confirmation.mean == found.score


def test_a_space_of_the_user_overrides_what_the_objective_asks_for(work, tmp_path):
    (tmp_path / "space.toml").write_text(
        '[rate]\ntype = "continuous"\nlow = 0.1\nhigh = 0.2\n'
        '[width]\ntype = "integer"\nlow = 2\nhigh = 3\n'
    )
    found = work(EPOCHS, "30epochs", space="space.toml", epochs=9, strategy="asha", confirm=0)
    assert found.trials["rate"].between(0.1, 0.2).all()
    assert found.trials["width"].between(2, 3).all()
    assert journal("out")[0]["step"]["end"] == 1
    with pytest.raises(StoreMismatchError, match="space"):
        work(EPOCHS, "30epochs", epochs=9, strategy="asha", confirm=0)
    for other in ({"seed": 3}, {"strategy": "random"}):
        with pytest.raises(StoreMismatchError, match=next(iter(other))):
            work(EPOCHS, "30epochs", space="space.toml", epochs=9, confirm=0,
                 **{"strategy": "asha", **other})  # fmt: skip


def test_a_budget_of_time_ends_a_call_that_hangs(work):
    source = "import time\ndef objective(trial):\n    time.sleep(60 * trial.suggest_int('n', 1, 9))"
    began_s = time.monotonic()
    with pytest.raises(
        JoulelabError, match=r"first evaluation took .* budget of 0\.50 s, and did not"
    ):
        work(source, "0.5s")
    assert time.monotonic() - began_s < 30


def test_a_budget_of_energy_is_not_overshot_by_more_than_an_epoch(work):
    source = EPOCHS.replace("time.sleep(", "sum(range(300_000)), (")
    found = work(source, "2J", strategy="asha", confirm=0)
    assert found.spent_j < 3


def count(calls):
    return calls.read_text().count("\n")


def trained(path):
    return sum(x["spent"]["epochs"] for x in read_journal(path) if "step" in x)


def test_a_killed_search_goes_on_exactly(work, tmp_path):
    (tmp_path / "whole").mkdir()
    source = EPOCHS.replace("trial.report(score, epoch)", "trial.report(score, 100 * (epoch + 1))")
    found = work(source, strategy="asha", confirm=1)
    expected = [x["step"] for x in journal("out")]
    script = (
        "import joulelab\n"
        "if __name__ == '__main__':\n"
        "    joulelab.tune('train.py:objective', budget='40epochs', out='killed', strategy='asha',"
        f" confirm=1, energy={ENERGY})\n"
    )
    (tmp_path / "train.py").write_text(source)
    (tmp_path / "go.py").write_text(script)
    calls = tmp_path / "calls.txt"
    calls.unlink()
    slow = {**os.environ, "PAUSE_S": "0.2"}
    process = subprocess.Popen([sys.executable, "go.py"], cwd=tmp_path, env=slow)
    path = Path("killed/outputs/00001/steps.jsonl")
    # Until it is in the middle of the fifth step or a later one.
    while not path.exists() or len(journal("killed")) < 4 or count(calls) <= trained(path):
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    page = write_report(ReportedStudy(Results.open("killed"))).read_text()
    assert "Searches in progress" in page
    assert "of 40 epochs" in page
    again = joulelab.tune(
        "train.py:objective", budget="40epochs", out="killed", strategy="asha", confirm=1,
        energy=ENERGY,
    )  # fmt: skip
    assert [x["step"] for x in journal("killed")] == expected
    assert again.values == found.values
    ledger = Results.open("killed").ledger_frame()
    assert (ledger["state"] == "interrupted").any()


def test_a_training_that_was_interrupted_begins_with_its_checkpoint_as_it_was(tmp_path):
    from joulelab.kinds.objective.executor import restore

    (tmp_path / "checkpoint").mkdir()
    file = tmp_path / "checkpoint" / "weights"
    file.write_text("epoch 1")
    restore(tmp_path, 1)
    file.write_text("epoch 2, half")
    restore(tmp_path, 1)  # interrupted
    assert file.read_text() == "epoch 1"
    file.write_text("epoch 3")
    restore(tmp_path, 3)  # the step is done
    assert file.read_text() == "epoch 3"
    restore(tmp_path, 0)
    assert not file.exists()


def test_the_command_prints_the_answer_first(tmp_path, monkeypatch, joulelab, unpictured):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(EPOCHS)
    words = ["tune", "train.py:objective", "--budget", "30epochs", "--strategy", "asha"]
    words += ["--meter", "estimate"]
    code, out, err = joulelab(*words)
    assert code == 0
    assert out.splitlines()[0].split(" with ")[1].startswith("rate = ")
    assert "stopped    the budget of 30 epochs is spent" in out
    assert "importing train.py:objective" in err
    assert "spent" in err
    code, out, _ = joulelab(*words, "--json")
    told = json.loads(out)
    assert told["schema_version"] == 1
    assert set(told["values"]) == {"rate", "width"}
    code, _, err = joulelab(*words, "--seed", "1")
    assert code == 1
    assert "seed is 0 there and 1 here" in err
    folder = "joulelab-out/tune-objective"
    code, out, _ = joulelab("report", folder, "--json")
    assert code == 0
    tables = json.loads(out)["experiments"]["objective"]
    assert {"best", "cost", "trials"} <= set(json.dumps(tables).replace('"', " ").split())
    for command in (["status", folder], ["run", folder], ["compare", folder, folder]):
        assert joulelab(*command)[0] == 0, command
    code, out, _ = joulelab("export", folder, "--table", "curves")
    assert out.startswith("run_id,metric,step,value")


# Names of a space that nobody asks for

TYPO = """
def objective(trial):
    rate = trial.suggest_float("learning_rate", 0.0, 1.0)
    if trial.number == 4: rate += trial.suggest_float("momentum", 0.0, 1.0)
    return rate
"""
SPACE = {"learning-rate": joulelab.Float(0.0, 1.0), "momentum": joulelab.Float(0.0, 1.0)}


def warned(caplog):
    return [one.message for one in caplog.records if "never asked" in one.message]


def test_a_misspelt_variable_of_a_space_is_named_once_with_what_was_asked_for(work, caplog):
    found = work(TYPO, "4evaluations", space=SPACE, confirm=0)
    assert warned(caplog) == [
        "the first 3 trials never asked for 'learning-rate' (did you mean 'learning_rate'?), "
        "which the space has"
    ]
    assert found.unasked == {"learning-rate": "learning_rate", "momentum": None}
    page = write_report(ReportedStudy(Results.open("out"))).read_text()
    assert "No trial asked for" in page


def test_a_variable_that_a_later_trial_asks_for_is_not_in_the_answer(work, caplog):
    found = work(TYPO, "11evaluations", space=SPACE, confirm=0)
    assert found.unasked == {"learning-rate": "learning_rate"}
    assert "momentum" not in caplog.text


def test_a_variable_that_may_be_behind_a_condition_is_warned_of_after_more_trials(work, caplog):
    found = work(TYPO.replace("== 4", "== 99"), "11evaluations", space=SPACE, confirm=0)
    first, second = warned(caplog)
    assert "'learning-rate'" in first
    assert second == "the first 10 trials never asked for 'momentum', which the space has"
    assert set(found.unasked) == {"learning-rate", "momentum"}


def test_a_space_whose_names_are_all_asked_for_is_not_warned_of(work, caplog):
    space = {"learning_rate": joulelab.Float(0.0, 0.5)}
    found = work(TYPO, "5evaluations", space=space, confirm=0)
    assert found.unasked == {}
    assert warned(caplog) == []


# Steps and epochs

STEPS = """
def objective(trial):
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    for epoch in range(trial.epoch, 9):
        trial.report(-abs(rate - 0.01) - 1 / (epoch + 1), {step})
        if trial.should_prune():
            break
    return -abs(rate - 0.01) - 1 / (epoch + 1)
"""


@pytest.mark.parametrize("epochs", [None, 9])
@pytest.mark.parametrize("strategy", ["asha", "green"])
def test_a_search_is_the_same_whatever_steps_are_reported(work, tmp_path, strategy, epochs):
    searches = []
    for number, step in enumerate(["epoch", "epoch + 1", "100 * (epoch + 1)", "100 * epoch"]):
        (tmp_path / "train.py").write_text(STEPS.format(step=step))
        joulelab.tune(
            "train.py:objective", budget="60 epochs", strategy=strategy, seed=1, epochs=epochs,
            confirm=1, out=f"out{number}", energy=ENERGY,
        )  # fmt: skip
        lines = journal(f"out{number}")
        searches.append([(line["step"], line["scores"], line["spent"]["epochs"]) for line in lines])
    # Some trainings were paused after 1 epoch, and went on.
    assert any(step["start"] == 1 for step, _, _ in searches[0])
    assert searches[1:] == searches[:1] * 3


def reported(curve, *steps):
    for step in steps:
        curve.report(float(step), step)
    return curve


def test_a_step_between_two_reports_counts_as_the_epoch_that_it_is_part_of():
    curve = reported(Curve(0, TO_END, None, Spacing(), 1.0), 100, 200, 250, 300, 438)
    assert curve.scores == {1: 100.0, 2: 200.0, 3: 300.0, 5: 438.0}
    assert curve.trained == 5


@pytest.mark.parametrize(
    ("start", "known", "steps", "epochs"),
    [
        (1, Spacing(100), [200, 300], [2, 3]),  # goes on after a single report
        (1, Spacing(100), [100, 200, 300], [1, 2, 3]),  # starts from scratch
        (3, Spacing(100, 100), [400], [4]),
        (3, Spacing(100, 100), [100, 200], [1, 2]),
        (3, Spacing(), [3, 4], [4, 5]),  # had not reported
    ],
)
def test_a_training_that_goes_on_has_the_epochs_of_its_first_reports(start, known, steps, epochs):
    curve = reported(Curve(start, 9, 9, known, 1.0), *steps)
    assert list(curve.scores) == epochs


def test_of_reports_of_the_same_step_the_first_counts():
    curve = Curve(0, TO_END, None, Spacing(), 1.0)
    for score in (0.1, 0.2):
        curve.report(score, 0)
    assert curve.scores == {1: 0.1}


# Budgets below an evaluation

LONG = """
def objective(trial):
    rate = trial.suggest_float("rate", 0.0, 1.0)
    for step in range(100):
        trial.report(rate, step)
        if trial.should_prune():
            break
    return rate
"""


def test_a_first_evaluation_that_takes_the_whole_budget_is_the_answer(
    tmp_path, monkeypatch, joulelab
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(LONG)
    words = ["tune", "train.py:objective", "--budget", "15epochs", "--meter", "estimate"]
    code, out, _ = joulelab(*words)
    assert code == 0
    assert out.splitlines()[:3] == [
        "the first evaluation took 16 epochs of a budget of 15 epochs, and did not end",
        "give 10 times as much, or more",
        "0.5 with rate = 0.5",
    ]
    _, out, _ = joulelab(*words, "--json")
    assert json.loads(out)["advice"] == "give 10 times as much, or more"


@pytest.mark.parametrize(
    ("budget", "said", "advice"),
    [
        (
            "13 epochs",
            "the first evaluation took 9 epochs of a budget of 13 epochs",
            "give 90 epochs or more, for 10 evaluations",
        ),
        ("30 epochs", "", ""),
    ],
)
def test_a_budget_of_a_single_evaluation_is_too_small(work, budget, said, advice):
    found = work(STEPS.format(step="epoch"), budget, confirm=0, strategy="random")
    assert (found.shortfall, found.advice) == (said, advice)


# The trial


def trial(tmp_path, number=1, values=None):
    return Trial(number, values or {}, 7, 0, 0, tmp_path / "c", (), lambda score, step: step >= 1)


def test_a_trial_has_the_methods_of_optuna(tmp_path):
    one = trial(tmp_path, values={"rate": 0.5, "layers": 3, "kind": "b", "wd": 0.1 * 3})
    assert one.suggest_float("rate", 0.1, 1.0, log=True) == 0.5
    assert one.suggest_int("layers", 1, 4) == 3
    assert one.suggest_categorical("kind", ["a", "b", None]) == "b"
    assert one.suggest_float("wd", 0.0, 1.0, step=0.1) == pytest.approx(0.3)
    assert one.suggest_int("fixed", 2, 2) == 2
    assert one.suggest_int("even", 2, 8, step=2) in {2, 4, 6, 8}
    assert one.params["kind"] == "b"
    assert one.suggest_float("rate", 0.1, 1.0, log=True) == 0.5
    one.set_user_attr("key", [1, 2])
    assert one.user_attrs == {"key": [1, 2]}
    assert one.checkpoint.is_dir()
    one.set_user_attr("model", object())
    told = one.to_dict()
    assert told["attributes"]["key"] == [1, 2]
    assert told["attributes"]["model"].startswith("<object")
    assert told["drawn"]
    assert json.loads(json.dumps(one.to_dict()))["asked"]["rate"]["log"]


def test_a_trial_has_the_older_methods_of_optuna_too(tmp_path):
    one = trial(tmp_path, values={"rate": 0.5, "log": 0.1, "q": 0.25})
    assert one.suggest_uniform("rate", 0.0, 1.0) == 0.5
    assert one.suggest_loguniform("log", 0.01, 1.0) == 0.1
    assert one.suggest_discrete_uniform("q", 0.0, 1.0, 0.25) == 0.25
    assert one.asked["log"].log
    assert one.suggest_int("n", 1e2, 1e3, step=100) in range(100, 1001, 100)
    assert one.datetime_start <= datetime.now()


def test_a_callback_may_ask_for_the_direction_of_the_study(work):
    pytest.importorskip("optuna")
    source = """
import optuna
def objective(trial):
    assert trial.study.direction == optuna.study.StudyDirection.MINIMIZE
    assert trial.study.directions == [optuna.study.StudyDirection.MINIMIZE]
    return trial.suggest_float("x", 0.0, 1.0)
"""
    assert work(source, "3evaluations", direction="minimize", confirm=0).score < 0.5


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda t: t.system_attrs, "no trial.system_attrs: use trial.user_attrs"),
        (lambda t: t.set_constraint("c", 1.0), "raise optuna.TrialPruned"),
        (lambda t: t.study.best_value, "no trial.study.best_value: a trial does not know of"),
        (lambda t: t.study.stop(), "no trial.study.stop: --budget and --target"),
        (lambda t: t.suggest_normal, "a trial of joulelab has no suggest_normal"),
    ],
)
def test_what_a_trial_has_not_says_what_to_do_instead(tmp_path, ask, said):
    with pytest.raises(AttributeError, match=said):
        ask(trial(tmp_path))


def test_a_range_with_a_step_may_be_another_one_in_every_trial(work):
    found = work(
        """
def objective(trial):
    first = trial.suggest_int("first", 8, 32, step=8)
    second = trial.suggest_int("second", 8, first, step=8)
    assert second <= first
    return first + second
""",
        "40 evaluations",
        confirm=0,
    )
    assert found.values == {"first": 32, "second": 32}
    assert set(found.trials["state"]) == {"finished"}


def test_what_was_not_proposed_is_a_draw_of_the_seed_and_the_name(tmp_path):
    def draws(number):
        one = trial(tmp_path, number)
        return [one.suggest_float("a", 1e-4, 1.0, log=True), one.suggest_int("b", 0, 10),
                one.suggest_categorical("c", ["x", "y"])]  # fmt: skip

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
    assert draws(0) == [pytest.approx(0.01), 5, "x"]


def test_reporting_after_being_told_to_stop_is_an_error(tmp_path):
    one = trial(tmp_path)
    one.report(0.1, 0)
    assert not one.should_prune()
    one.report(0.2, 1)
    assert one.should_prune()
    with pytest.raises(TrialStoppedError, match="return, or raise"):
        one.report(0.3, 2)


def test_a_search_within_a_trial_is_refused(monkeypatch):
    monkeypatch.setitem(os.environ, "JOULELAB_RUN", "/somewhere")
    with pytest.raises(UsageError, match="cannot start within a trial"):
        joulelab.tune("train.py:objective", budget="1h")
