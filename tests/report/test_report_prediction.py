"""What the report says of the prediction at the start of a study."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from reported_study import FakeResults

from joulelab.energy.reading import Status
from joulelab.present import Table, shown, terminal
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import report_data, study_view, write_report
from joulelab.report.prediction import (
    PREDICTION,
    prediction_finding,
    prediction_in_all,
    prediction_points,
    prediction_quality,
)
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Estimate, Prediction, record
from shown import reason, seen

BASIS = "a few steps of each network"


def planned(row):
    return PlannedRun(
        row["run_id"], 0, 0, row["experiment"], "x", row["configuration"], {}, 0, 0, 0
    )


def estimate(duration_s, power_w=5.0):
    known = power_w is not None
    return Estimate(
        duration_s,
        (0.05 * duration_s) ** 2,
        math.inf,
        power_w,
        duration_s if known else 0.0,
        0.0025,
        math.inf,
        2.0 if known else None,
        Status.ESTIMATED if known else Status.MISSING,
    )


def predicted(study, duration_s=2.0, power_w=20.0, session=1, rows=None):
    """The study with the same prediction for each of its runs; each of them took 2 s."""
    runs = (study.runs if rows is None else rows).to_dict("records")
    keys = {(run["experiment"], run["configuration"]): "one" for run in runs}
    prediction = Prediction(keys, {"one": estimate(duration_s, power_w)}, 0.1)
    kept = record(prediction, [planned(run) for run in runs], [BASIS], -1.0)
    sessions = study.manifest["sessions"] if session > 1 else []
    study.manifest = json.loads(
        json.dumps(
            {**study.manifest, "sessions": [*sessions, {"session": session, "prediction": kept}]}
        )
    )
    return study


def booked(study, sessions=lambda number: 1):
    """A ledger with an entry a run, two seconds each."""
    ended = study.runs["state"].isin(["finished", "failed"])
    study.ledger = pd.DataFrame(
        {
            "session": [sessions(number) for number in range(len(study.runs))],
            "kind": "training",
            "state": study.runs["state"].where(ended, "interrupted"),
            "runs": [json.dumps([name]) for name in study.runs["run_id"]],
            "started_at": study.runs["started_at"],
            "duration_s": 2.0,
            "energy_gross_j": study.runs["energy_gross_j"],
            "energy_error_j": 1.0,
            "energy_status": "estimated",
        }
    )
    return study


@pytest.fixture
def known(study: FakeResults) -> FakeResults:
    return predicted(booked(study))


def tables(results):
    return {
        one.key: one for one in shown(PREDICTION, ReportedStudy(results)) if isinstance(one, Table)
    }


def finding(results):
    return prediction_finding(ReportedStudy(results))


def test_the_prediction_of_all_runs_is_compared_with_all_of_them(known):
    row = tables(known)["prediction"].frame.set_index("measure")
    count = len(known.runs)
    assert row.loc["time", "predicted"] == pytest.approx(2.0 * count)
    assert row.loc["time", "actual"] == pytest.approx(2.0 * count)
    assert row.loc["energy", "predicted"] == pytest.approx(40.0 * count)
    assert row.loc["energy", "actual"] == pytest.approx(known.runs["energy_net_j"].sum())
    assert bool(row.loc["time", "within"])
    assert not row.loc["energy", "within"], "the made-up runs use far more than predicted"


def test_configurations_are_compared_one_by_one(known):
    raw = tables(known)["prediction-energy"].frame.set_index(["experiment", "configuration"])
    means = known.runs.groupby(["experiment", "configuration"])["energy_net_j"].mean()
    assert len(raw) == len(means)
    assert np.allclose(raw["actual"], means.loc[raw.index])
    assert np.allclose(raw["ratio"], means.loc[raw.index] / 40.0)
    summary = tables(known)["prediction"].frame.set_index("measure").loc["energy"]
    assert summary["median_ratio"] == pytest.approx((means / 40.0).median())
    assert summary["mape"] == pytest.approx(((means - 40.0).abs() / means).mean())
    assert summary["covered"] == raw["covered"].sum() < summary["ranged"] == len(means)


def test_the_sentence_has_both_ranges_and_says_which_held(known):
    said = finding(known)
    assert said.startswith("Predicted at the start: 2 min 24 s (118 s to ")
    assert "they took 2 min 24 s (within the range) and used" in said
    assert said.endswith("(outside the range).")
    assert f"for the {len(known.runs)} runs that finished" in said


def test_page_json_and_terminal_have_it(known, unpictured):
    study = ReportedStudy(known)
    data = report_data(study)
    assert data["findings"][-1] == finding(known)
    rows = data["study_tables"]["prediction-time"]["rows"]
    assert rows[0]["ratio"] == pytest.approx(1.0)
    assert rows[0]["covered"] is True
    page = write_report(study).read_text()
    assert "How good the prediction was" in page
    assert "Energy of a run, predicted and actual" in page
    text = terminal.to_text(*study_view(study).parts)
    assert "How good the prediction was" in text


def test_a_folder_without_a_prediction_says_so_and_has_no_sentence(study):
    found = ReportedStudy(booked(study))
    why = reason(prediction_in_all, found)
    assert "kept its prediction" in why
    assert reason(prediction_finding, found) == why
    data = report_data(found)
    assert data["study_tables"]["prediction"]["omitted"] == why
    assert not any(said.startswith("Predicted") for said in data["findings"])


def test_before_the_first_run_has_ended_there_is_nothing_to_compare(known):
    known.runs["state"] = "planned"
    known.ledger = known.ledger.iloc[:0]
    why = reason(prediction_quality, ReportedStudy(known))
    assert why == "no predicted run has finished yet."


def test_runs_that_failed_or_are_left_count_on_neither_side(study):
    study.runs.loc[0, "state"] = "failed"
    study.runs.loc[1, "state"] = "planned"
    known = predicted(booked(study))
    total = tables(known)["prediction"].frame.set_index("measure").loc["time"]
    assert total["runs"] == len(known.runs) - 2
    assert total["predicted"] == pytest.approx(2.0 * total["runs"])
    note = tables(known)["prediction"].note
    assert "1 failed run left out" in note


def test_long_waits_for_the_device_are_said_and_short_ones_are_not(known):
    assert "waiting for the device" not in tables(known)["prediction"].note
    first = known.runs["started_at"].min()
    wait = {**known.ledger.iloc[0], "kind": "waiting", "runs": "[]", "duration_s": 100.0}
    known.ledger = pd.concat(
        [known.ledger, pd.DataFrame([{**wait, "started_at": first - 0.5}])], ignore_index=True
    )
    said = "Of the time 100 s passed waiting for the device"
    assert said in tables(known)["prediction"].note
    assert said in finding(known)


def test_each_session_answers_for_its_own_runs(study):
    half = len(study.runs) // 2
    booked(study, lambda number: 1 if number < half else 2)
    predicted(study, duration_s=1.0)
    predicted(study, duration_s=2.0, session=2, rows=study.runs.iloc[half:])
    rest = len(study.runs) - half
    total = tables(study)["prediction"].frame.set_index("measure").loc["time"]
    assert total["predicted"] == pytest.approx(half + 2.0 * rest)
    assert total["sessions"] == 2
    assert set(seen(tables(study)["prediction-time"])["session"]) == {"1", "2"}
    assert "at the start of 2 sessions" in finding(study)


def test_runs_of_sessions_that_kept_no_prediction_are_counted(study):
    known = predicted(booked(study, lambda number: 2 if number < 5 else 1))
    quality = prediction_quality(ReportedStudy(known))
    assert (quality.runs, quality.unpredicted) == (len(study.runs) - 5, 5)
    assert "5 finished runs of sessions that kept no prediction" in tables(known)["prediction"].note


def test_energy_that_could_not_be_predicted_leaves_the_time(study):
    known = predicted(booked(study), power_w=None)
    assert set(tables(known)) == {"prediction", "prediction-time"}
    assert "Energy could not be predicted" in tables(known)["prediction"].note
    assert "used" not in finding(known)
    assert reason(prediction_points, ReportedStudy(known)) == "", "and no figure"


def test_energies_that_are_unknown_leave_both_sides(study):
    study.runs.loc[:3, ["energy_net_j", "energy_gross_j"]] = math.nan
    known = predicted(booked(study))
    total = tables(known)["prediction"].frame.set_index("measure")
    assert total.loc["energy", "runs"] == len(known.runs) - 4
    assert total.loc["energy", "predicted"] == pytest.approx(40.0 * (len(known.runs) - 4))
    assert "The energy of 4 runs is unknown" in tables(known)["prediction"].note


def test_of_many_configurations_the_worst_are_shown_and_all_are_in_the_data(study):
    study.runs["configuration"] = [f"c{number}" for number in range(len(study.runs))]
    known = predicted(booked(study))
    table = tables(known)["prediction-energy"]
    assert len(table.frame) == len(study.runs)
    assert len(seen(table)) == 10
    worst = table.frame.loc[np.log(table.frame["ratio"]).abs().idxmax()]
    assert seen(table)["configuration"][0].endswith(worst["configuration"])


def test_a_figure_of_nothing_is_refused_and_one_of_few_is_left_out(study):
    study.runs = study.runs[study.runs["configuration"] == study.runs["configuration"][0]]
    known = predicted(booked(study.__class__(**{**vars(study), "by_experiment": {"tuning": []}})))
    assert reason(prediction_points, ReportedStudy(known)) == ""


def test_points_outside_their_range_are_named_in_the_figure(known):
    table = tables(known)["prediction-energy"].frame
    figure = prediction_points(ReportedStudy(known)).draw("screen")
    texts = {" ".join(text.get_text().split()) for text in figure.axes[0].texts}
    worst = table.loc[np.log(table["ratio"]).abs().idxmax(), "configuration"]
    assert worst in texts
