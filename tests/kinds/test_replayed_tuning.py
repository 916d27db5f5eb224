"""Searches replayed on recorded trials: what was recorded is never taken for spent here."""

import json
import math
import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import joulelab
from joulelab.energy.reading import Status
from joulelab.errors import JoulelabError, SpecError, StoreMismatchError
from joulelab.kinds.replayed_tuning import workload
from joulelab.kinds.replayed_tuning.report import REPLAYED_TUNING, WORDS
from joulelab.kinds.replayed_tuning.stored_trials import stored_trials
from joulelab.present import Table
from joulelab.report.experiment import experiments
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import report_data, write_report
from joulelab.report.places import book, known_places
from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

ROOT = Path(__file__).parent.parent.parent
STUDIES = ROOT / "tests" / "data" / "studies"
GUIDE = ROOT / "docs" / "green-tuning.md"


def scattered():
    """Random trials with their final scores; the best rate is 1e-3."""
    generator = np.random.default_rng(0)
    rates = 10 ** generator.uniform(-5, -1, 60)
    widths = generator.integers(8, 65, 60)
    scores = 0.9 - 0.1 * np.abs(np.log10(rates) + 3) + generator.normal(0, 0.005, 60)
    columns = {"rate": rates, "width": widths, "accuracy": scores, "energy_j": 10.0 * widths}
    return pd.DataFrame(columns)


def curves():
    """A grid of learning curves, judged by another column."""
    return pd.DataFrame(
        {"rate": rate, "layers": layers, "repetition": repetition, "epoch": epoch}
        | {"validation_accuracy": score, "test_accuracy": score - 0.01}
        | {"energy_j": 5.0 * layers, "seconds": 0.1, "energy_status": "estimated"}
        for rate in (1e-4, 1e-3, 1e-2, 1e-1)
        for layers in (1, 2, 3)
        for repetition in (0, 1)
        for epoch in range(1, 10)
        for score in [0.9 - 0.1 * abs(math.log10(rate) + 3) - 0.2 * math.exp(-epoch / 3)]
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    scattered().to_csv(folder / "trials.csv", index=False)
    curves().to_parquet(folder / "curves.parquet")
    return folder


def study(folder, **given):
    experiment = {
        "kind": "replayed-tuning",
        "strategies": ["asha", "random"],
        "tables": [str(folder / "curves.parquet"), str(folder / "trials.csv")],
        "budget": "100 J",
        "repetitions": 2,
    }
    meters = {"meters": ["estimate"], "interval_s": 0.02}
    data = {
        "name": "replay",
        "energy": {"idle_s": 0, "cool_down_s": 0, **meters},
        "experiment": {"replay": experiment | given},
    }
    return Study(check_spec(data))


@pytest.fixture(scope="module")
def replayed(tables, tmp_path_factory):
    return study(tables, budget="2 kJ").run(tmp_path_factory.mktemp("replay") / "out")


def test_recorded_energies_are_those_of_the_runs_and_never_in_the_ledger(replayed):
    runs, steps, ledger = replayed.to_frame(), replayed.curves_frame(), replayed.ledger_frame()

    assert set(runs["state"]) == {"finished"}
    assert set(runs["energy_status"]) == set(steps["energy_status"]) == {"replayed"}
    assert set(runs["recorded_energy_status"]) == {"estimated", "of unknown source"}
    sums = steps.groupby("run_id")["energy_j"].sum()
    assert runs["energy_gross_j"].tolist() == pytest.approx(sums[runs["run_id"]].tolist())
    last = steps.groupby("run_id")["spent_j"].last()
    assert runs["energy_gross_j"].tolist() == pytest.approx(last[runs["run_id"]].tolist())
    assert runs["energy_gross_j"].between(1900, 2640).all()
    assert "replayed" not in set(ledger["energy_status"])
    booked = ledger[ledger["kind"] == "tuner"]
    assert 0 < ledger["energy_gross_j"].sum() < 1000
    assert booked["energy_gross_j"].sum() > 0


def test_the_time_of_the_tuner_is_apart(replayed):
    runs = replayed.to_frame().set_index("table")
    assert (runs["tuner_s"] > 0).all()
    assert runs["tuner_j"].isna().all()
    # Seconds are those that were recorded, if any.
    assert runs.loc["curves", "duration_s"].tolist() == pytest.approx(
        (0.1 * runs.loc["curves", "epochs"]).tolist()
    )
    assert runs.loc["trials", "duration_s"].isna().all()
    assert not (replayed.folder / "outputs").exists()


def test_a_choice_is_judged_by_all_its_recorded_repetitions(replayed):
    runs = replayed.to_frame()
    for run in runs[runs["table"] == "curves"].to_dict("records"):
        best = json.loads(run["best"])
        last = curves().query("epoch == 9")
        rows = last[(last["rate"] == best["rate"]) & (last["layers"] == best["layers"])]
        assert run["accuracy"] == pytest.approx(rows["test_accuracy"].mean())
        assert run["judged"] == 2
        assert run["best_recorded"] >= run["accuracy"]


def test_a_replay_gives_the_same_again_also_after_an_interruption(
    tables, replayed, tmp_path, monkeypatch
):
    search, ended = workload.run_search, []

    def interrupted(*given):
        if len(ended) == 3:
            raise KeyboardInterrupt
        ended.append(search(*given))
        return ended[-1]

    monkeypatch.setattr(workload, "run_search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(tables, budget="2 kJ").run(tmp_path / "out")
    monkeypatch.setattr(workload, "run_search", search)

    again = study(tables, budget="2 kJ").run(tmp_path / "out").to_frame()

    same = ["run_id", "accuracy", "energy_gross_j", "best", "stopped", "epochs"]
    pd.testing.assert_frame_equal(again[same], replayed.to_frame()[same])


def test_every_table_and_finding_of_the_report_says_replayed(replayed):
    data = report_data(ReportedStudy(replayed))
    about = data["experiments"]["replay"]
    assert about["energy_status"] == "replayed"
    assert "replayed from recorded trials, where they were" in " ".join(about["remarks"])
    assert "idle" not in " ".join(about["remarks"])
    experiment = experiments(replayed)[0]
    made = [one for one in REPLAYED_TUNING.tables(experiment) if isinstance(one, Table)]
    assert len(made) >= 4
    assert all("replayed" in one.note.lower() for one in made)
    # What the tuner took here is not of the recorded machine: unknown, and not 0 J.
    (spent,) = [one for one in made if "Recorded joules alone" in one.note]
    assert "the tuner" not in [one.heading for one in spent.columns]
    *found, cost = data["findings"]
    assert found
    assert all("replayed" in one.lower() for one in found)
    assert "(estimated" in cost
    assert data["energy"]["status"] == "estimated"
    page = write_report(ReportedStudy(replayed)).read_text()
    for of_trainings in WORDS:
        assert of_trainings not in page


def test_replayed_energies_are_not_booked_at_places(replayed):
    places, _ = known_places(["NLD"])
    booked = book(experiments(replayed)[0], places, 1.0, "strategy")
    assert booked.grams.size == 0
    assert "8 runs left out: replayed" in booked.remarks[0]


def test_the_weakest_status_wins():
    assert Status.of_sum([Status.MEASURED, Status.REPLAYED]) is Status.REPLAYED
    assert Status.of_set(["measured", "replayed"]) == "replayed"


def test_a_target_ends_a_search(tables, tmp_path):
    given = {"target": 0.85, "strategies": ["random"], "tables": [str(tables / "curves.parquet")]}
    runs = study(tables, budget="9 kJ", **given).run(tmp_path / "out").to_frame()
    assert (runs["score"] >= 0.85).all()
    assert (runs["confirm_j"] > 0).all()
    assert set(runs["stopped"]) == {"the target is reached and confirmed"}


@pytest.mark.parametrize("budget", ["54 epochs", "6 evaluations", "5.4 s"])
def test_a_budget_is_of_what_was_recorded(tables, tmp_path, budget):
    given = {"strategies": ["random"], "tables": [str(tables / "curves.parquet")]}
    runs = study(tables, budget=budget, **given).run(tmp_path / "out").to_frame()
    assert runs["epochs"].tolist() == [54, 54]


def test_scattered_trials_are_over_when_all_are_taken(tables, tmp_path):
    given = {"strategies": ["random"], "tables": [str(tables / "trials.csv")]}
    runs = study(tables, budget="1 MJ", **given).run(tmp_path / "out").to_frame()
    assert runs["epochs"].tolist() == [60, 60]
    assert set(runs["stopped"]) == {"all recorded trials are taken"}


def test_many_searches_take_seconds(tables, tmp_path):
    given = {"strategies": ["random"], "tables": [str(tables / "curves.parquet")]}
    one = study(tables, budget="100 evaluations", repetitions=3, **given)
    runs = one.run(tmp_path / "out").to_frame()
    assert runs["epochs"].tolist() == [900] * 3
    assert not list((tmp_path / "out").rglob("*.jsonl"))


def test_tables_are_found_from_the_study_file_and_must_not_change(tables, tmp_path):
    scattered().to_csv(tmp_path / "mine.csv", index=False)
    (tmp_path / "study.toml").write_text(
        'name = "mine"\nenergy = { idle_s = 0, cool_down_s = 0, meters = ["estimate"] }\n'
        '[experiment.replay]\nkind = "replayed-tuning"\nstrategies = ["random"]\n'
        'tables = [{ file = "mine.csv", variables = ["rate"] }]\nbudget = "400 J"\n'
        "repetitions = 2\n"
    )
    loaded = Study.load(tmp_path / "study.toml")
    results = loaded.run(tmp_path / "out")
    assert set(results.to_frame()["table"]) == {"mine"}
    about = results.manifest["recorded_tables"]["replay: mine"]
    assert about["trials"] == "60 trials, scattered"
    assert about["recorded_energy_status"] == "of unknown source"

    scattered().assign(accuracy=0.5).to_csv(tmp_path / "mine.csv", index=False)
    more = Study.load(tmp_path / "study.toml")
    with pytest.raises(StoreMismatchError):
        _reopened(more, tmp_path / "out")


def _reopened(more, out):
    """Go on with a study of which one run has not ended."""
    import sqlite3

    with sqlite3.connect(out / "runs.sqlite") as connection:
        connection.execute("UPDATE runs SET state = 'planned' WHERE position = 1")
    connection.close()
    more.run(out)


def test_a_miniature_has_fewer_searches():
    small = Study.load("replayed-tuning", scale=0.1)
    assert small.spec.experiment["replay"]["repetitions"] == 3


def test_the_study_of_the_guide_runs(tmp_path):
    scattered().to_csv(tmp_path / "trials.csv", index=False)
    text = re.search(r"^```toml replay.toml\n(.*?)^```", GUIDE.read_text(), re.S | re.M)[1]
    assert tomllib.loads(text)["experiment"]["replay"]["strategies"] == ["green", "random"]
    (tmp_path / "replay.toml").write_text(text)
    some = ["experiment.replay.repetitions=1", "energy.meters=['estimate']"]
    frame = Study.load(tmp_path / "replay.toml", some).run(tmp_path / "out").to_frame()
    assert set(frame["state"]) == {"finished"}


def test_the_trainings_of_a_tuning_study_are_a_table(tables, tmp_path):
    keys = {"file": str(STUDIES / "tuning"), "where": {"network": "DensePolyNN"}}
    results = study(tables, tables=[keys], budget="6 evaluations", strategies=["random"])
    runs = results.run(tmp_path / "out").to_frame()
    assert set(runs["table"]) == {"tuning DensePolyNN"}
    trained = Results.open(STUDIES / "tuning").to_frame()
    own = trained[trained["network"] == "DensePolyNN"]
    assert runs["best_recorded"].iloc[0] == own.groupby("learning_rate")["accuracy"].mean().max()


OBJECTIVE = """
import math

def objective(trial):
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    for epoch in range(1, 4):
        score = 0.9 - 0.1 * abs(math.log10(rate) + 3) - 0.1 / epoch
        trial.report(score, epoch)
        if trial.should_prune():
            break
    return score
"""


def test_the_finished_trials_of_an_objective_are_a_table(tmp_path):
    energy = {"meters": ["estimate"], "interval_s": 0.02, "idle_s": 0, "cool_down_s": 0}
    given = {"strategy": "asha", "confirm": 1, "energy": energy}
    (tmp_path / "mine.py").write_text(OBJECTIVE)
    place = f"{tmp_path / 'mine.py'}:objective"
    found = joulelab.tune(place, budget="12epochs", out=tmp_path / "out", **given)

    table = stored_trials(str(tmp_path / "out"))

    whole = found.trials[found.trials["epochs"] == 3]
    assert len(table) == len(whole) > 1
    assert (table.epochs, table.status) == (1, "estimated")
    rate = found.values["rate"]
    assert table.mean(found.values) == pytest.approx(
        0.9 - 0.1 * abs(math.log10(rate) + 3) - 0.1 / 3
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategies": ["greeen"]}, "did you mean 'green'"),
        ({"budget": "5 gCO2e"}, "no table records grams"),
        ({"budget": "many"}, "many"),
        ({"tables": ["fashion-mnist-10k/Dense"]}, "no curves of 'Dense'"),
        ({"tables": ["a.csv", "b/a.csv"]}, "'a' occurs twice"),
        ({"tables": [{"file": "a.csv", "scores": "f1"}]}, "scores"),
        ({"tables": []}, "at least 1"),
    ],
)
def test_a_study_that_cannot_be_is_refused(tables, given, message):
    with pytest.raises(SpecError) as error:
        study(tables, **given)
    assert message in f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        (lambda f: f.drop(columns="energy_j"), {}, "budget of 100 J .* no joules .*epochs or eval"),
        (lambda f: f, {"budget": "1 h"}, "has no seconds .*energy_j are recorded"),
        (lambda f: f.assign(accuracy=100 * f["accuracy"]), {}, "scores are from .* shares .*100"),
        (lambda f: f.drop(columns="accuracy"), {}, "no column of scores"),
        (lambda f: f.assign(accuracy=math.nan), {}, "accuracy is missing"),
        (lambda f: f.iloc[:1], {}, "has 1 row"),
    ],
)
def test_a_table_that_cannot_be_replayed_is_refused(tables, tmp_path, change, given, message):
    change(scattered()).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(JoulelabError) as error:
        study(tables, tables=[str(tmp_path / "bad.csv")], **given).run(tmp_path / "out")
    said = f"{error.value.message} {error.value.hint}"
    assert "bad.csv" in said
    assert re.search(message, said), said


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("tuning", "2 different problems.*network = '"),
        ("batching", "no experiment whose trials can be replayed.*kinds: tuning"),
    ],
)
def test_a_study_without_a_table_is_refused(folder, message):
    with pytest.raises(JoulelabError) as error:
        stored_trials(str(STUDIES / folder))
    assert re.search(message, f"{error.value.message} {error.value.hint}")
