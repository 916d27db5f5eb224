"""Searches with two goals: a pair that is returned, or score and energy; stacks of a space."""

import json
import re
from types import SimpleNamespace

import pytest

import joulelab
from joulelab import formats
from joulelab.errors import JoulelabError, SpecError
from joulelab.kinds.objective.executor import ObjectiveExecutor
from joulelab.kinds.searching.front import front_finding
from joulelab.kinds.searching.journal import read_journal
from joulelab.kinds.searching.tables import trial_rows
from joulelab.learning.fast.population import Population
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import write_report
from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

GOALS = ("score", "energy")
ENERGY = {"meters": ["estimate"], "interval_s": 0.02}
PAIR = """
import math

def objective(trial):
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    width = trial.suggest_int("width", 8, 512, log=True)
    return 0.95 - 0.05 * abs(math.log10(rate) + 2) - 1 / width, 0.05 + 0.01 * width
"""
SCORES = PAIR.replace(", 0.05 + 0.01 * width", "")


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """Writes the file of an objective, and runs searches over it."""
    monkeypatch.chdir(tmp_path)

    def tune(source, out="out", **given):
        (tmp_path / "train.py").write_text(source)
        given = {"budget": "14evaluations", "confirm": 1, "goals": GOALS} | given
        return joulelab.tune("train.py:objective", out=out, energy=ENERGY, **given)

    return tune


def steps(folder, run=1):
    lines = read_journal(folder / "outputs" / f"{run:05d}" / "steps.jsonl")
    return [line for line in lines if "step" in line]


def test_the_second_of_two_returned_numbers_is_the_second_goal(tune):
    found = tune(PAIR)
    assert found.second_goal == "returned"
    front = found.front
    assert (front["second"].diff().dropna() > 0).all()
    assert (front["score"].diff().dropna() > 0).all()
    assert front["score"].iloc[-1] == found.score
    assert found.second == pytest.approx(0.05 + 0.01 * found.values["width"])
    assert found.knee.second < found.second
    assert found.knee.confirmed is not None


LOSS = """
def objective(trial):
    width = trial.suggest_int("width", 8, 512, log=True)
    return 1 / width**2, 0.05 + 0.01 * width
"""


def test_a_loss_at_the_knee_is_no_share_of_the_least(tune):
    found = tune(LOSS, direction="minimize", confirm=0)
    assert found.knee.score > found.score > 0
    (said,) = front_finding(SimpleNamespace(runs=Results(found.folder).to_frame()))
    assert "at the knee of its front: a score of " in said
    assert f" against {formats.number(found.score)} " in said


def test_a_search_with_two_goals_goes_on_as_if_it_had_not_been_killed(tune, monkeypatch):
    unbroken = tune(PAIR, "unbroken")
    carry_out, calls = ObjectiveExecutor._carry_out, []

    def interrupted(self, job, progress):
        calls.append(job)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return carry_out(self, job, progress)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectiveExecutor, "_carry_out", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tune(PAIR, "broken")
    broken = tune(PAIR, "broken")
    taken = [[line["step"] for line in steps(found.folder)] for found in (unbroken, broken)]
    assert taken[0] == taken[1]
    assert broken.knee == unbroken.knee


def test_without_a_pair_the_second_goal_is_the_energy_of_a_training(tune):
    found = tune(SCORES, budget="8evaluations", strategy="random")
    assert found.second_goal == "energy"
    trial = found.trials.set_index("trial")
    best = trial[trial["score"] == found.score].iloc[0]
    assert found.second == pytest.approx(best["energy_j"])
    page = write_report(ReportedStudy(Results.open(found.folder))).read_text()
    assert "The front of score and energy" in page
    assert "How the front grew" in page


MIXED = """
def objective(trial):
    width = trial.suggest_int("width", 8, 512, log=True)
    return (1 - 1 / width, float(width)) if trial.number % 2 else 1 - 1 / width
"""


def test_a_second_goal_that_the_first_trial_did_not_return_is_a_failure(tune):
    found = tune(MIXED, budget="8evaluations")
    assert found.second_goal == "energy"
    odd = found.trials["trial"] % 2 == 1
    assert (found.trials.loc[odd, "state"] == "failed").all()
    assert "always return two" in found.trials.loc[odd, "reason"].iloc[0]
    assert (found.front["trial"] % 2 == 0).all()


def test_a_trial_that_was_pruned_has_no_energy_among_second_numbers():
    def line(trial, state, second):
        return {
            "step": {"trial": trial, "purpose": "search", "repetition": 0, "start": 0, "end": 1},
            "values": {"width": 8},
            "spent": {"joules": 2.0, "seconds": 1.0, "epochs": 1},
            **{"state": state, "reason": "", "attributes": {}, "scores": [0.5], "second": second},
        }

    rows = trial_rows([line(0, "finished", 40.0), line(1, "pruned", None)], 1.0)
    assert [row.get("second") for row in rows] == [40.0, None]


def test_goals_that_do_not_fit_are_told(tune):
    with pytest.raises(JoulelabError, match="returned 2 values; return one number, or seek"):
        tune(PAIR, goals=("score",))
    with pytest.raises(SpecError, match="goals 'score,time' are not possible"):
        tune(PAIR, goals=("score", "time"))
    with pytest.raises(SpecError, match="two goals seek a front"):
        tune(PAIR, target=0.9)
    with pytest.raises(JoulelabError, match="returned -1 as the second goal"):
        tune(PAIR.replace("0.05 + 0.01 * width", "-1"), "negative")


def study(space=(), **given):
    experiment = {
        "kind": "green-tuning",
        "strategies": ["green"],
        "networks": ["DensePolyNN"],
        "goals": list(GOALS),
        "budget": "25 epochs",
        "judged": 2,
        "together": 2,
        "repetitions": 1,
        "space": {
            "learning_rate": {"type": "continuous", "low": 1e-4, "high": 1e-1},
            "linear_layers": {"type": "integer", "low": 1, "high": 2},
            "batch_size": {"type": "categorical", "choices": [20, 50], "ordered": True},
            **dict(space),
        },
    }
    data = {
        "name": "goals",
        "dataset": "digits",
        "train_images": 200,
        "test_images": 100,
        "engine": "fast",
        "device": "cpu",
        "threads": 1,
        "epochs": 3,
        "energy": {"idle_s": 0, "cool_down_s": 0, "meters": ["estimate"], "interval_s": 0.02},
        "experiment": {"tuning": experiment | given},
    }
    return Study(check_spec(data))


def test_networks_of_several_stacks_are_tuned_and_measured_apart(tmp_path, monkeypatch):
    train, prepare, tasks, inside = Population.train, Population.prepare, [], []

    def interrupted(self, segments):
        tasks.append(self.task)
        if len(tasks) == 7:
            raise KeyboardInterrupt
        inside.append(True)
        try:
            return train(self, segments)
        finally:
            inside.clear()

    def prepared(self, members):
        done = prepare(self, members)
        # The trial of a schedule does not count for the training that it is for.
        assert not (done and inside)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Population, "prepare", prepared)
        patch.setattr(Population, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            study().run(tmp_path / "out")
    before = steps(tmp_path / "out")
    assert before
    # Whatever the front is: its first trial is taken for the knee.
    monkeypatch.setattr("joulelab.tuning.search.knee", lambda second, _: 0 if len(second) else None)
    frame = study().run(tmp_path / "out").to_frame()
    row = frame.iloc[0]
    assert steps(tmp_path / "out")[: len(before)] == before
    assert row["state"] == "finished"
    assert row["epochs"] <= 27
    assert row["second_goal"] == "energy"
    assert set(json.loads(row["best"])) == {"learning_rate", "linear_layers", "batch_size"}
    # The knee is judged like the best: on fresh seeds, with the energy of those trainings.
    assert 0 < row["knee_judged"] <= 1
    assert min(row["judged_j"], row["knee_judged_j"]) > 0
    (said,) = front_finding(SimpleNamespace(runs=frame))
    assert re.match(
        r"DensePolyNN, green, at the knee of its front: [0-9.]+ % of the best acc", said
    )
    # A call of a population is a window of its own: of one batch size and depth.
    assert len({(one.batch_size, one.network_options["linear_layers"]) for one in tasks}) > 1


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"batch_size": {"type": "integer", "low": 0, "high": 9}}, "batch_size = 0"),
        ({"batch_size": {"type": "continuous", "low": 1, "high": 9}}, "not a whole number"),
        ({"precision": {"type": "categorical", "choices": ["fp8"]}}, "precision = 'fp8'"),
        ({"conv_layers": {"type": "integer", "low": 1, "high": 2}}, "nor an option of DensePolyNN"),
        ({"linear_layers": {"type": "integer", "low": 0, "high": 2}}, "linear_layers = 0"),
    ],
)
def test_levels_that_are_not_possible_are_told_before_anything_is_trained(space, said, tmp_path):
    with pytest.raises(JoulelabError, match=said):
        study(space).run(tmp_path / "out")


def test_paused_trainings_beyond_the_memory_are_trained_again_and_booked(tmp_path, monkeypatch):
    monkeypatch.setattr("joulelab.kinds.green_tuning.executor.MEMORY", 1)
    short = {"budget": "12 epochs", "judged": 0, "together": 1}
    study(strategies=["halving"], goals=["score"], **short).run(tmp_path / "out")
    again = [line for line in steps(tmp_path / "out") if line["step"]["start"]]
    assert any(line["spent"]["epochs"] == line["step"]["end"] for line in again)
