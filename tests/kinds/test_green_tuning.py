"""Searches over trainings in memory, each a run of a study."""

import json
import re
from io import StringIO

import pytest
from rich.console import Console

from joulelab.cli.running import _Display
from joulelab.errors import SpecError
from joulelab.formats import joules
from joulelab.kinds.green_tuning.stacks import known_cost
from joulelab.kinds.searching.journal import read_journal
from joulelab.learning.engine import TrainingTask
from joulelab.learning.fast.population import Population
from joulelab.learning.images import load_images
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import write_report
from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec, load_spec
from joulelab.tuning.space import Float, Int, SearchSpace

SPACE = {"learning_rate": {"type": "continuous", "low": 1e-5, "high": 1e-1}}


def study(protocol="default", **given):
    experiment = {
        "kind": "green-tuning",
        "strategies": ["green", "halving"],
        "networks": ["DensePolyNN"],
        "network_options": {"DensePolyNN": {"linear_layers": 1}},
        "budget": "40 epochs",
        "judged": 2,
        "repetitions": 1,
        "space": SPACE,
    }
    data = {
        "name": "green",
        "dataset": "digits",
        "train_images": 200,
        "test_images": 100,
        "protocol": protocol,
        "engine": "fast",
        "device": "cpu",
        "threads": 1,
        "epochs": 4,
        "batch_size": 50,
        "energy": {"idle_s": 0, "cool_down_s": 0, "meters": ["estimate"], "interval_s": 0.02},
        "experiment": {"tuning": experiment | given},
    }
    return Study(check_spec(data))


def steps(folder, run=1):
    lines = read_journal(folder / "outputs" / f"{run:05d}" / "steps.jsonl")
    return [line for line in lines if "step" in line]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken") / "out"
    console = Console(file=StringIO(), width=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("joulelab.cli.running.QUIET_LINE_S", 0.0)
        with _Display(console, verbose=False) as display:
            results = study().run(folder, display)
    return results, folder, console.file.getvalue()


def test_every_strategy_keeps_its_budget_and_is_judged_apart(unbroken):
    frame = unbroken[0].to_frame()
    assert set(frame["state"]) == {"finished"}
    assert (frame["epochs"] <= 41).all()
    assert (frame["accuracy"] > 0.3).all()
    assert (frame["judged"] == 2).all()
    # The energy is that of the search, its own work included.
    parts = frame[["search_j", "confirm_j", "tuner_j", "interrupted_j"]].sum(axis=1)
    assert frame["energy_gross_j"].tolist() == pytest.approx(parts.tolist())


def test_progress_counts_searches_and_says_what_the_current_one_has_found(unbroken):
    lines = [line for line in unbroken[2].splitlines() if re.match(r"\d of 2 runs, ", line)]
    runs = [int(line[0]) for line in lines]
    assert runs == sorted(runs)
    assert set(runs) == {0, 1, 2}
    assert any(re.search(r"left; \d+ trials, best 0\.\d+, \d+ epochs spent", one) for one in lines)
    whole_j = unbroken[0].to_frame()["energy_gross_j"].sum()
    assert f"2 of 2 runs, {joules(whole_j)} (estimated)" in lines[-1]
    assert not any("unknown" in line for line in lines)


def test_a_search_says_why_it_has_no_utilisation(unbroken):
    frame = unbroken[0].to_frame()
    assert set(frame["utilisation_reason"]) == {"a search is measured step by step"}


def test_many_are_begun_and_few_finished(unbroken):
    for run in (1, 2):
        found = steps(unbroken[1], run)
        begun = {line["step"]["trial"] for line in found}
        finished = {line["step"]["trial"] for line in found if line["step"]["end"] == 4}
        assert 0 < len(finished) <= len(begun) / 2


def test_a_search_that_was_interrupted_goes_on_and_books_what_it_trains_again(
    unbroken, tmp_path, monkeypatch
):
    train, calls = Population.train, []

    def interrupted(self, segments):
        calls.append(segments)
        curves = train(self, segments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return curves

    monkeypatch.setattr(Population, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(strategies=["halving"]).run(tmp_path / "out")
    before = steps(tmp_path / "out")
    monkeypatch.setattr(Population, "train", train)
    page = write_report(ReportedStudy(Results.open(tmp_path / "out"))).read_text()
    assert "Searches in progress" in page
    assert "of 40 epochs" in page

    frame = study(strategies=["halving"]).run(tmp_path / "out").to_frame()

    after = steps(tmp_path / "out")
    assert after[: len(before)] == before
    assert frame["state"].tolist() == ["finished"]
    assert frame["interrupted_j"].item() > 0
    parts = frame[["search_j", "confirm_j", "tuner_j", "interrupted_j"]].sum(axis=1)
    assert frame["energy_gross_j"].tolist() == pytest.approx(parts.tolist())
    # A training that goes on after its first epoch was lost from memory: it is trained again.
    went_on = [line for line in after[len(before) :] if line["step"]["start"]]
    lost = {line["step"]["trial"] for line in before}
    again = [line for line in went_on if line["step"]["trial"] in lost]
    assert again
    assert {line["spent"]["epochs"] for line in again} == {again[0]["step"]["end"]}
    assert {len(line["scores"]) for line in again} == {again[0]["step"]["end"] - 1}


def test_attempts_are_those_of_the_search_and_not_the_sessions_of_the_study(tmp_path, monkeypatch):
    train = Population.train

    def interrupted(self, segments):
        train(self, segments)
        raise KeyboardInterrupt

    twice = study(strategies=["halving"], budget="20 epochs", repetitions=2)
    monkeypatch.setattr(Population, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        twice.run(tmp_path / "out")
    monkeypatch.setattr(Population, "train", train)
    frame = twice.run(tmp_path / "out").to_frame()
    assert sorted(frame["attempts"]) == [1, 2]


def test_the_report_says_what_each_strategy_reached(unbroken):
    page = write_report(ReportedStudy(unbroken[0])).read_text()
    for words in ("What each strategy reached", "halving", "Where the energy of the searches went"):
        assert words in page
    assert "The ledger of the study has" in page
    assert "for the trials, the same." in page
    assert "No run has a figure of energy" not in page
    assert json.loads(unbroken[0].to_frame()["best"].iloc[0])["learning_rate"] > 0


def test_operations_are_known_before_an_epoch_is_measured():
    task = TrainingTask("DensePolyNN", {}, "default", 4, 50, members=())
    images = load_images("digits", None)
    depth = {"linear_layers": Int(1, 5)}
    cost = known_cost(SearchSpace(depth), task, images)
    assert 0 < cost({"linear_layers": 1}) < cost({"linear_layers": 3}) < cost({"linear_layers": 5})
    assert known_cost(SearchSpace({"learning_rate": Float(1e-5, 1e-1)}), task, images) is None


def test_a_search_is_predicted_from_its_budget(tmp_path):
    plan, prediction = study(repetitions=2).predict()
    assert len(plan.runs) == 4
    assert prediction.total(plan.runs).energy_j > 0
    ((name, estimate),) = prediction.estimates.items()
    # 40 epochs of 4 are ten trainings, and two more judge.
    assert name.endswith(" x 12")
    assert estimate.status == "estimated"


def test_a_budget_below_one_evaluation_is_refused_with_the_forecast(tmp_path):
    said = "a budget of 1.00 mJ is below one evaluation, which will take about .*J"
    with pytest.raises(SpecError, match=said):
        study(budget="0.001J").run(tmp_path / "out")
    assert not (tmp_path / "out" / "outputs").exists()


def test_what_a_search_sees_can_be_a_factor():
    (one,) = study(tune_on=["validation", "test"]).spec.experiments().values()
    assert one.factors()[-1].levels == ("validation", "test")
    plain = study().spec.experiments()["tuning"]
    assert "tune_on" not in {factor.name for factor in plain.factors()}


@pytest.mark.parametrize(
    ("protocol", "given", "seen", "images"),
    [
        ("default", {}, "validation", [(180, 20), (200, 100)]),
        ("yarally2023", {}, "test", [(200, 100), (200, 100)]),
        ("yarally2023", {"tune_on": "validation"}, "validation", [(180, 20), (200, 100)]),
    ],
)
def test_a_search_sees_held_out_images_and_its_choice_is_trained_on_all(
    tmp_path, monkeypatch, protocol, given, seen, images
):
    trained = []
    train = Population.train

    def remember(self, segments):
        trained.append((len(self._images.train), len(self._images.test)))
        return train(self, segments)

    monkeypatch.setattr(Population, "train", remember)
    mine = study(strategies=["random"], budget="4 epochs", judged=1, protocol=protocol, **given)
    frame = mine.run(tmp_path / "out").to_frame()
    assert trained == images
    assert frame["seen"].tolist() == [seen]


def test_a_miniature_lets_a_search_do_as_many_full_trainings():
    spec = load_spec("green-tuning", scale=0.01)
    tuning = spec.experiments()["tuning"]
    assert (tuning.budget, spec.epochs, tuning.repetitions) == ("98 epochs", 9, 3)
    assert "a budget of 98 epochs instead of 270 epochs" in spec.miniature_in_words()
    joules = load_spec("green-tuning", ["experiment.tuning.budget=20kJ"], scale=0.01)
    assert joules.experiments()["tuning"].budget == "20kJ"  # as the user has set it


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategies": ["greeen"]}, "did you mean 'green'"),
        ({"budget": "many epochs"}, "many epochs"),
        ({"hyperparameters": [2]}, "the space has 1"),
        ({"space": {}}, "at least 1"),
        ({"tune_on": ["test", "test"]}, "test"),
        ({"tune_on": ["training"]}, "validation"),
    ],
)
def test_what_cannot_be_searched_is_refused(given, message):
    with pytest.raises(SpecError) as error:
        study(**given)
    assert message in f"{error.value.message} {error.value.hint}"
