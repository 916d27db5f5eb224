"""What a session predicted is kept in the manifest, and compared with what its runs took."""

import json
import math

import pandas as pd
import pytest
from tiny_study import layers_only, tiny

from joulelab.energy.reading import Status
from joulelab.errors import StoreCorruptError
from joulelab.study.listener import Listener
from joulelab.study.planned_run import PlannedRun
from joulelab.study.predicted_runs import predicted_runs
from joulelab.study.prediction import Estimate, Prediction, record, session_predictions
from joulelab.study.results import Results
from joulelab.study.store_reading import read_manifest

ONE = Estimate(10.0, 0.25, math.inf, 5.0, 8.0, 0.01, 2.0, 1.0, Status.ESTIMATED)
TWO = Estimate(4.0, 0.01, 3.0, None, 0.0, 1.0, math.inf, None, Status.MISSING)
PREDICTION = Prediction(
    {("layers", "a"): "net", ("layers", "b"): "other"}, {"net": ONE, "other": TWO}, 0.1
)


def planned(configuration, count):
    return [
        PlannedRun(f"{configuration}{n}", n, 0, "layers", "x", configuration, {}, n, 0, n)
        for n in range(count)
    ]


LEFT = [*planned("a", 3), *planned("b", 1)]


def manifest(**changes):
    kept = {**record(PREDICTION, LEFT, ["a few steps"], 1000.0), **changes}
    return json.loads(json.dumps({"sessions": [{"session": 1, "prediction": kept}]}))


def run(name, configuration, started_at, net_j=40.0, state="finished"):
    return {
        "run_id": name,
        "experiment": "layers",
        "configuration": configuration,
        "state": state,
        "energy_net_j": net_j,
        "energy_gross_j": 50.0,
        "started_at": started_at,
    }


def entry(kind, started_at, duration_s, runs=(), state="finished", session=1):
    return {
        "session": session,
        "kind": kind,
        "state": state,
        "runs": json.dumps(list(runs)),
        "started_at": started_at,
        "duration_s": duration_s,
    }


def compared(runs, entries, data=None):
    frame = predicted_runs(data or manifest(), pd.DataFrame(runs), pd.DataFrame(entries))
    return frame.set_index("run_id")


def test_a_prediction_comes_back_from_json_to_the_bit():
    text = json.dumps(manifest(), allow_nan=False)
    (said,) = session_predictions(json.loads(text))
    assert said.prediction == PREDICTION
    assert (said.session, said.predicted_at, said.runs) == (1, 1000.0, 4)
    assert said.basis == ("a few steps",)


def test_the_manifest_says_what_was_shown():
    kept = manifest()["sessions"][0]["prediction"]
    assert kept["total"] == PREDICTION.total(LEFT).to_dict()
    assert [(one["configuration"], one["runs"]) for one in kept["configurations"]] == [
        ("a", 3),
        ("b", 1),
    ]
    assert kept["configurations"][0]["duration_high_s"] > 10.0


def test_sessions_of_an_older_joulelab_predicted_nothing():
    assert session_predictions({}) == []
    assert session_predictions({"sessions": [{"session": 1}]}) == []


def test_of_two_sessions_with_one_number_the_later_counts():
    first, second = (
        {"session": 1, "prediction": record(PREDICTION, LEFT, ["x"], at)} for at in (1.0, 2.0)
    )
    (said,) = session_predictions({"sessions": [first, second]})
    assert said.predicted_at == 2.0


@pytest.mark.parametrize(
    "changes", [{"estimates": {}}, {"drift": None}, {"configurations": [{}]}, {"basis": 1}]
)
def test_a_prediction_that_somebody_has_edited_is_named(changes, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps(manifest(**changes)))
    where = r"manifest\.json: sessions\.0\.prediction"
    with pytest.raises(StoreCorruptError, match=where):
        read_manifest(tmp_path)


def test_a_run_takes_what_was_booked_since_the_last_one_ended():
    found = compared(
        [run("a0", "a", 1003.0), run("a1", "a", 1020.0)],
        [
            entry("calibration", 990.0, 9.0),
            entry("training", 1001.0, 8.0, ["a0"]),
            entry("between", 1000.0, 1.0),
            entry("waiting", 1001.5, 1.5),
            entry("between", 1011.0, 2.0),
            entry("training", 1013.0, 9.0, ["a1"]),
            entry("idle", 1030.0, 3.0),
        ],
    )
    assert found["took_s"].to_dict() == {"a0": 1.0 + 1.5 + 8.0, "a1": 2.0 + 9.0}
    assert found["waited_s"].to_dict() == {"a0": 1.5, "a1": 0.0}
    assert found["predicted_s"].tolist() == [10.0, 10.0]


def test_a_search_takes_what_was_booked_from_its_beginning_to_its_end():
    found = compared(
        [run("a0", "a", 1001.0), run("a1", "a", 1012.0)],
        [
            entry("between", 1000.0, 1.0),
            entry("trial", 1001.0, 6.0),
            entry("tuner", 1007.0, 1.0),
            entry("judging", 1008.0, 3.0),
            entry("between", 1001.0, 0.5, ["a0"]),
            entry("between", 1011.5, 0.5),
            entry("trial", 1012.0, 4.0),
            entry("between", 1012.0, 0.25, ["a1"]),
        ],
    )
    assert found["took_s"].to_dict() == {"a0": 11.5, "a1": 4.75}


def test_runs_of_a_group_share_its_time():
    found = compared(
        [run("a0", "a", 1001.0), run("a1", "a", 1001.0)],
        [entry("training", 1001.0, 8.0, ["a0", "a1"])],
    )
    assert found["took_s"].tolist() == [4.0, 4.0]


def test_energy_is_that_of_the_run_above_idle_and_gross_where_idle_is_unknown():
    runs = [run("a0", "a", 1001.0), run("a1", "a", 1011.0, net_j=None)]
    entries = [entry("training", 1001.0, 8.0, ["a0"]), entry("training", 1011.0, 8.0, ["a1"])]
    assert compared(runs, entries)["used_j"].tolist() == [40.0, 50.0]


def test_the_bound_of_the_meters_is_no_part_of_the_range():
    row = compared([run("a0", "a", 1001.0)], [entry("training", 1001.0, 8.0, ["a0"])]).loc["a0"]
    cost = PREDICTION.of(LEFT[0])
    assert row["predicted_j"] == cost.energy_j
    assert row["predicted_high_j"] == pytest.approx(cost.energy_high_j - 8.0)


def test_an_energy_that_was_not_predicted_is_unknown():
    row = compared([run("b0", "b", 1001.0)], [entry("training", 1001.0, 8.0, ["b0"])]).loc["b0"]
    assert math.isnan(row["predicted_j"])
    assert row["predicted_s"] == 4.0


def test_failed_runs_are_listed_as_such_and_interrupted_attempts_are_not():
    found = compared(
        [run("a0", "a", 1001.0, state="failed"), run("a1", "a", None, state="planned")],
        [
            entry("training", 1001.0, 2.0, ["a0"], state="failed"),
            entry("training", 1004.0, 2.0, ["a1"], state="interrupted"),
        ],
    )
    assert found["state"].to_dict() == {"a0": "failed"}


def test_runs_of_a_session_without_a_prediction_are_not_compared():
    found = compared([run("a0", "a", 1.0)], [entry("training", 1.0, 8.0, ["a0"], session=2)])
    assert not len(found)


class Stopping(Listener):
    """Ctrl-C once two runs have ended."""

    def __init__(self):
        self.ended = 0
        self.shown = []

    def predicted(self, prediction):
        self.shown.append(prediction)

    def finished(self, rows, total):
        self.ended += len(rows)
        if self.ended == 2:
            raise KeyboardInterrupt


def test_each_session_keeps_its_own_prediction_and_answers_for_its_own_runs(tmp_path):
    study = tiny(experiment=layers_only())
    stopping = Stopping()
    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path, stopping)
    # As a killed process would: it predicted, and nobody wrote how it ended.
    assert "ended_at" not in Results.open(tmp_path).manifest["sessions"][0]
    results = study.run(tmp_path, stopping)
    said = session_predictions(results.manifest)
    assert [one.prediction for one in said] == stopping.shown
    assert [one.runs for one in said] == [8, 6]
    found = results.predictions_frame()
    assert found["session"].value_counts().to_dict() == {1: 2, 2: 6}
    assert set(found["run_id"]) == set(results.to_frame()["run_id"])
    booked = results.ledger_frame()
    after = booked[(booked["session"] == 2) & (booked["started_at"] >= said[1].predicted_at)]
    took_s = found.loc[found["session"] == 2, "took_s"].sum()
    own_s = results.to_frame().set_index("run_id").loc[found["run_id"]]["duration_s"]
    assert own_s.tail(6).sum() < took_s <= after["duration_s"].sum()
