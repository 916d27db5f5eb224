"""The report of green tuning, on searches made by hand."""

import json

import pytest
from search_runs import BUDGET, experiment, search

from joulelab.kinds.green_tuning.report import GREEN_TUNING
from joulelab.kinds.searching.tables import curve_columns
from joulelab.present import Omitted

PROBLEMS = [("DensePolyNN", 3), ("SimpleCNN", 3)]


def raced(seeds=3, **more):
    """Green is there with its second trial, random with its fourth or never."""
    found = []
    for network, count in PROBLEMS:
        problem = {"network": network, "hyperparameters": count, **more}
        for seed in range(seeds):
            scores = [0.5, 0.80 - seed / 1000, 0.79]
            found.append(search("green", scores, seed=seed, accuracy=0.78, **problem))
            slow = [0.4, 0.6, 0.7, 0.795 if seed else 0.71]
            found.append(search("random", slow, seed=seed, tuner_j=4.0, **problem))
    return found


def table(one, key):
    made = next(t for t in GREEN_TUNING.tables(one) if t.key == key)
    assert not isinstance(made, Omitted), made.reason
    return made


def texts(made):
    return [[cell.text for cell in row] for row in made.cells()]


def test_the_first_finding_says_who_was_there_for_the_least_and_how_it_was_judged():
    said = GREEN_TUNING.says(experiment(raced()))
    assert said[:2] == [
        "99 % of the best score at the least energy: green on 2 of 2 problems.",
        "DensePolyNN: green reached 99 % of the best score with 202 J (measured), 50 % of "
        "random's 404 J; judged 0.780.",
    ]
    assert (
        "DensePolyNN: searches that ended without 99 % of the best score: 1 of 3 of random (at "
        f"most 88.8 %). Why: {BUDGET}."
    ) in said


def test_a_median_is_above_what_was_spent_where_fewer_than_half_got_there():
    rows = table(experiment(raced(), target=0.9), "targets").frame
    random = rows[(rows["strategy"] == "random") & (rows["problem"] == "DensePolyNN")]
    by = random.set_index("target")
    assert by["reached"].to_dict() == {"95 %": 2, "99 %": 2, "100 %": 0, "target 0.9": 0}
    assert by.loc["99 %", ["cost", "cost_low", "epochs"]].tolist() == [404.0, 404.0, 40.0]
    assert by.loc["100 %", ["cost", "cost_least", "epochs_least"]].isna().tolist() == [
        True,
        False,
        False,
    ]
    shown = texts(table(experiment(raced()), "targets"))
    assert shown[1] == [
        *("DensePolyNN", "random", "2 of 3", "404 J (from 404 J)"),
        *("2 of 3", "404 J (from 404 J)", "0 of 3", "more than 404 J"),
    ]


def test_equal_cost_is_that_of_the_strategy_that_spent_least():
    made = table(experiment(raced()), "equal")
    green, random = made.frame.to_dict("records")[:2]
    assert green["cost"] == random["cost"] == 310.0
    assert (green["quarter"], green["half"], green["whole"]) == (
        pytest.approx(float("nan"), nan_ok=True),
        0.5,
        0.799,
    )
    assert (random["half"], random["whole"]) == (0.4, 0.7)
    assert random["difference"] == pytest.approx(-0.099)
    assert "3 seeds of a problem are too few for a test, which needs 6" in made.note
    tested = table(experiment(raced(seeds=6)), "equal")
    assert tested.frame["p"].tolist()[1] == pytest.approx(2 / 2**6)


def test_strategies_are_ranked_over_problems_and_seeds():
    one = experiment(raced())
    assert texts(table(one, "ranks"))[0][:3] == ["green", "random", "6 : 0"]
    assert any(
        "green has the best mean rank, 1.00 of 2, over 6" in s for s in GREEN_TUNING.says(one)
    )
    alone = experiment([s for s in raced() if s[0]["strategy"] == "green"])
    (omitted,) = [t for t in GREEN_TUNING.tables(alone) if t.key == "ranks"]
    assert omitted.reason == "fewer than 2 treatments."


def test_the_optimism_of_what_was_tuned_on_the_test_images_is_told_apart():
    searches = [*raced(tune_on="validation"), *raced(tune_on="test")]
    for run, _ in searches:
        run["accuracy"] = run["score"] - (0.03 if run["tune_on"] == "test" else 0.01)
    made = table(experiment(searches), "optimism")
    rows = made.frame.set_index(["problem", "strategy", "tune_on"])["optimism"]
    assert rows["DensePolyNN", "green", "test"] == pytest.approx(0.03)
    assert rows["DensePolyNN", "green", "validation"] == pytest.approx(0.01)
    assert "12 searches on the test images, the score as searched is +0.0300" in made.note
    assert "Judged, what was tuned on the test images is \N{MINUS SIGN}0.0200" in made.note
    assert any(
        "Judged, what was tuned on" in said for said in GREEN_TUNING.says(experiment(searches))
    )
    alone = table(experiment(raced()), "optimism")
    assert "The searches saw held-out images." in alone.note


def test_every_joule_is_told_by_what_became_of_the_training_and_agrees_with_the_ledger():
    run, rows = search("green", [0.5, 0.7, 0.8], network="DensePolyNN")
    # Trial 0 is frozen after 3 epochs and goes on to its end; trial 1 never does.
    rows[0] |= {"state": "paused", "end": 3}
    rows[1] |= {"state": "paused", "end": 3}
    rows[2] |= {"step": 0, "start": 3}
    of = {"experiment": "tuning", "configuration": run["configuration"], "duration_s": 1.0}
    ledger = [
        {**of, "kind": "trial", "energy_gross_j": 300.0},
        {**of, "kind": "judging", "energy_gross_j": 80.0},
    ]
    made = table(experiment([(run, rows)], ledger=ledger), "cost")
    assert dict(zip(made.frame["work"], made.frame["energy_j"], strict=True)) == {
        "finished": 200.0,
        "paused": 100.0,
        "interrupted": 0.0,
        "the tuner": 10.0,
        "judging": 80.0,
    }
    assert made.frame.set_index("work")["share"]["the tuner"] == pytest.approx(10 / 310)
    assert "The ledger of the study has 300 J for the trials, the same." in made.note
    several = texts(table(experiment(raced()), "cost"))
    assert several == [["green", "1,800", "60.0"], ["random", "2,400", "24.0"]]


def journal_lines():
    """Two trials that were trained together, then an interruption."""
    of = {"attributes": {}, "reason": "", "values": None, "started_at": 1.0}
    steps = [
        {
            **of,
            "step": {
                "purpose": "search",
                "trial": trial,
                "values": {},
                "repetition": 0,
                "start": 0,
            },
            "scores": [0.6 + trial / 10],
            "state": "finished" if trial else "paused",
            "spent": {"seconds": 2.0, "epochs": 1.0, "joules": 30.0, "status": "estimated"},
            "tuner": {"seconds": 0.0 if trial else 0.5, "joules": 0.0 if trial else 4.0},
        }
        for trial in (0, 1)
    ]
    return [{"header": {}}, *steps, {"lost": {"seconds": 3.0, "joules": 7.0}, "entry": 3}]


def test_scores_of_steps_trained_together_are_known_at_once_and_what_was_lost_counts():
    lines = journal_lines()
    thought = {"seconds": 0.5, "joules": 4.0}
    lines += [{**lines[1], "started_at": 9.0, "tuner": thought}]
    made = curve_columns(lines, 1.0)
    assert made["spent_j"] == [64.0, 64.0, 64.0 + 7.0 + 34.0]
    assert made["t_s"] == [4.5, 4.5, 4.5 + 3.0 + 2.5]
    assert made["energy_j"] == [30.0] * 3


def test_a_search_in_progress_is_told_from_its_journal(tmp_path):
    lines = journal_lines()
    journal = tmp_path / "outputs" / "00003" / "steps.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"step"')
    pending = [{"run_id": "tuning/green/0/2", "position": 2}, {"run_id": "b", "position": 3}]
    (made,) = GREEN_TUNING.progress(experiment(raced(), pending=pending, folder=tmp_path))
    assert texts(made) == [["tuning/green/0/2", "2", "1", "0.7", "2", "71.0 J", "2 of 100 epochs"]]


def test_a_replay_without_a_network_is_reported_by_its_table():
    searches = [
        search(strategy, scores, seed=seed, table=name)
        for strategy, scores in (("green", [0.5, 0.9]), ("random", [0.4, 0.6]))
        for name in ("vehicle", "car")
        for seed in range(2)
    ]
    one = experiment(searches, status="replayed")
    assert GREEN_TUNING.says(one)[1].startswith(
        "vehicle: green reached 99 % of the best score with 202 J (replayed)"
    )
    assert all(not isinstance(made, Omitted) for made in GREEN_TUNING.tables(one))
