"""From the table of runs to data frames: shapes, gaps, and thousands of runs."""

import copy
import json
import math
import pickle
from dataclasses import replace

import pytest
from tiny_study import tiny

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status, total
from joulelab.study.planned_run import PlannedRun
from joulelab.study.results import Results
from joulelab.study.store import Store
from joulelab.study.stored_ledger import Ending

MANY = 6_144
"""Many times the rows that are read, or written, at once."""


def planned(position, **changes):
    values = {
        "run_id": f"run {position}",
        "position": position,
        "block": 0,
        "experiment": "tuning",
        "kind": "tuning",
        "configuration": "c",
        "factors": {"network": "n"},
        "round": position,
        "repetition": 0,
        "seed": position,
    }
    return PlannedRun(**{**values, **changes})


def reading(domain, **changes):
    values = {
        "domain": domain,
        "source": "nvml-counter",
        "status": Status.MEASURED,
        "gross_j": 10.0,
        "error_j": 0.5,
        "idle_w": 2.0,
        "duration_s": 4.0,
    }
    return Reading(**{**values, **changes})


def measured(readings, flags=()):
    return Measurement("run", 1.0, 4.0, tuple(readings), 9, 0.1, tuple(flags))


def finish(store, runs, measurement, values=None):
    """Store some runs as finished."""
    entry = store.begin(1, "training", 1.0, runs)
    sum_ = total(one for one in measurement.readings if one.gross_j is not None)
    text = json.dumps(measurement.to_dict())
    rows = [
        {
            "run_id": run.run_id,
            "state": "finished",
            "accuracy": 0.5,
            "hyperparameters": json.dumps(values or {"learning_rate": 0.1}),
            "metrics": json.dumps({"train_losses": [1.0, 0.5]}),
            "measurement": text.replace('"run"', json.dumps(run.run_id)),
            "duration_s": 4.0,
        }
        for run in runs
    ]
    store.end(entry, Ending("finished", measurement, sum_, rows=rows))


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "out", tiny().spec.to_toml()) as store:
        yield store


def test_each_domain_has_columns_and_gaps_stay_gaps(store):
    runs = [planned(number) for number in range(3)]
    store.plan(runs)
    lost = reading("cpu:0", status=Status.MISSING, gross_j=None, error_j=None, reason="no RAPL")
    finish(store, runs[:1], measured([reading("gpu:0"), lost], ["coarse", "late"]))
    finish(store, runs[1:2], measured([reading("gpu:1", gross_j=7.0)]))
    frame = Results(store.folder).to_frame()
    assert frame["gpu:0 gross_j"].tolist()[:1] == [10.0]
    assert frame["gpu:0 gross_j"].isna().tolist() == [False, True, True]
    assert frame["gpu:1 gross_j"].isna().tolist() == [True, False, True]
    assert frame["cpu:0 gross_j"].isna().all()
    assert frame["cpu:0 status"][0] == "missing"
    assert frame["cpu:0 status"].isna().tolist() == [False, True, True]
    assert frame["energy_flags"].tolist() == ["coarse; late", "", ""]


def test_readings_have_what_follows_from_them(store):
    runs = [planned(0), planned(1)]
    store.plan(runs)
    unknown_idle = reading("cpu:0", idle_w=None, check_j=11.0, peak_power_w=5.0)
    instant = reading("dram:0", duration_s=0.0)
    missing = reading("psys", status=Status.MISSING, gross_j=None, reason="no permission")
    all_of_it = [reading("gpu:0"), unknown_idle, instant, missing]
    finish(store, runs[1:], measured(all_of_it))
    frame = Results(store.folder).energy_frame().set_index("domain")
    assert set(frame["run_id"]) == {"run 1"}
    assert list(frame.index) == ["gpu:0", "cpu:0", "dram:0", "psys"]
    for one in all_of_it:
        row = frame.loc[one.domain]
        for name in (
            "gross_j",
            "idle_j",
            "net_j",
            "error_j",
            "check_j",
            "mean_power_w",
            "peak_power_w",
        ):
            wanted = getattr(one, name)
            assert math.isnan(row[name]) if wanted is None else row[name] == wanted, name
        assert (row["source"], row["status"], row["reason"]) == (
            one.source,
            str(one.status),
            one.reason,
        )


def test_values_of_a_workload_fill_only_columns_that_are_open_to_them(store):
    runs = [
        planned(0, factors={"width": 3}),
        planned(1, experiment="architecture", kind="architecture", factors={"relu": True}),
    ]
    store.plan(runs)
    values = {"train_loss": 0.25, "flops": "many", "width": 8, "duration_s": 99, "own": 1}
    entry = store.begin(1, "run", 1.0, runs)
    metrics = json.dumps({"flops_reason": "unknown", "values": values})
    rows = [
        {"run_id": run.run_id, "state": "finished", "duration_s": 4.0, "metrics": metrics}
        for run in runs
    ]
    whole = measured([reading("gpu:0")])
    store.end(entry, Ending("finished", whole, total(whole.readings), rows=rows))
    frame = Results(store.folder).to_frame()
    assert frame["train_loss"].tolist() == [0.25, 0.25]
    assert frame["width"].tolist() == [3, 8], "a factor of this run, and a value of the other"
    assert frame["duration_s"].tolist() == [4.0, 4.0]
    assert frame["own"].tolist() == [1, 1]
    assert frame["flops"].isna().all()
    assert set(frame["flops_reason"]) == {"unknown"}


def test_factors_and_hyperparameters_of_several_experiments_stand_side_by_side(store):
    runs = [
        planned(0, factors={"network": "n", "hyperparameters": 3}),
        planned(
            1,
            experiment="architecture",
            kind="architecture",
            factors={"relu": True, "beta1": 7},
        ),
    ]
    store.plan(runs)
    finish(store, runs[:1], measured([reading("gpu:0")]), {"beta1": 0.8, "momentum": 0.9})
    frame = Results(store.folder).to_frame()
    after = list(frame.columns).index("configuration") + 1
    assert list(frame.columns[after : after + 4]) == [
        "momentum",
        "network",
        "hyperparameters",
        "relu",
    ]
    assert frame["momentum"][0] == 0.9
    assert frame["hyperparameters"][0] == 3
    assert frame["relu"].isna()[0]
    assert frame["relu"][1]
    assert frame["beta1"].tolist() == [0.8, 7]
    assert frame["learning_rate"].isna().all()


def test_a_store_without_runs_has_the_same_columns(store):
    empty = Results(store.folder).to_frame()
    runs = [planned(0)]
    store.plan(runs)
    one = Results(store.folder).to_frame()
    assert len(empty) == 0
    assert list(empty.columns) == [column for column in one.columns if column != "network"]
    energy = Results(store.folder).energy_frame()
    assert len(energy) == 0
    assert {"run_id", "domain", "status", "gross_j"} <= set(energy.columns)


@pytest.mark.long
def test_thousands_of_runs_are_all_there(store):
    runs = [planned(number) for number in range(MANY)]
    store.plan(runs)
    three = measured([reading("gpu:0"), reading("cpu:0"), reading("dram:0")])
    for start in range(0, MANY, 1024):
        finish(store, runs[start : start + 1024], three)
    results = Results(store.folder)
    results.factors("one")
    frame = results.to_frame()
    energy = Results(store.folder).energy_frame()
    assert (len(frame), len(energy)) == (MANY, 3 * MANY)


def test_what_other_instruments_read_is_told_apart_and_fills_no_column_of_the_runs(store):
    runs = [planned(0)]
    store.plan(runs)
    mine = reading("cpu:0", source="rapl", within=("psys:0", "wall"))
    beside = [
        reading("cpu:0", source="codecarbon", gross_j=6.0, idle_w=None, lost_s=0.5),
        reading("dram:0", source="estimate", gross_j=1.0, idle_w=None),
    ]
    finish(store, runs, replace(measured([mine]), others=tuple(beside)))
    results = Results(store.folder)
    frame = results.to_frame()
    assert frame["cpu:0 gross_j"].tolist() == [10.0]
    assert "dram:0 gross_j" not in frame
    energy = results.energy_frame().set_index("source")
    assert energy["beside"].to_dict() == {"rapl": False, "codecarbon": True, "estimate": True}
    assert energy.loc["rapl", "within"] == "psys:0+wall"
    assert energy.loc["codecarbon", "lost_s"] == 0.5
    assert energy.loc["codecarbon", "gross_j"] == 6.0


def test_results_can_be_pickled_and_copied_after_they_were_read(store):
    runs = [planned(0)]
    store.plan(runs)
    finish(store, runs, measured([reading("gpu:0")]))
    results = Results(store.folder)
    frame = results.to_frame()
    for again in (pickle.loads(pickle.dumps(results)), copy.copy(results), copy.deepcopy(results)):
        assert again == results
        assert again.to_frame().equals(frame)
