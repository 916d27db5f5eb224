"""Which energy counts, and what a reader must know of it."""

import pandas as pd
import pytest
from reported_study import drawn, readings_of

from joulelab.report.effects import configuration_pairs
from joulelab.report.energy import variations
from joulelab.report.experiment import (
    energy_basis,
    experiment_of_table,
    experiments,
    trained_by,
    training_remarks,
)
from shown import reason


def test_flagged_measurements_are_counted_and_one_is_shown():
    runs = pd.DataFrame(
        {
            "energy_net_j": [1.0, 2.0, 3.0],
            "energy_gross_j": [2.0, 3.0, 4.0],
            "energy_status": ["estimated"] * 3,
            "energy_flags": ["", "no sample for 0.80 s", ""],
        }
    )
    readings = pd.DataFrame(columns=["domain", "status", "reason"])
    (remark,) = energy_basis(runs, readings).remarks
    assert "1 measurement of 3" in remark
    assert "no sample for 0.80 s" in remark
    assert not energy_basis(runs.assign(energy_flags=""), readings).remarks


def trained(engine, precision, group_size, count):
    return pd.DataFrame(
        {"engine": engine, "precision": precision, "group_size": group_size}, index=range(count)
    )


def test_one_engine_that_trains_one_by_one_needs_no_remark():
    runs = trained("reference", "fp32", 1, 3)
    assert training_remarks(runs) == []
    assert trained_by(runs) == ["reference, fp32: 3 runs"]


def test_energies_of_a_group_are_said_to_be_equal_by_construction():
    runs = pd.concat([trained("fast", "bf16", 6, 6), trained("fast", "bf16", 2, 2)])
    runs = runs.assign(configuration="CNN", started_at=[1.0] * 6 + [2.0] * 2)
    (remark,) = training_remarks(runs)
    assert "up to 6 at a time" in remark
    assert "counts its 2 measurements, not its 8 runs" in remark
    assert "equal by construction" in remark
    assert trained_by(runs) == ["fast, bf16: 8 runs, 2 to 6 at a time"]


def test_energies_of_several_engines_or_precisions_must_not_be_compared():
    fast = trained("fast", "fp32", 1, 2)
    for other in (trained("reference", "fp32", 1, 1), trained("fast", "tf32", 1, 1)):
        (remark,) = training_remarks(pd.concat([fast, other]))
        assert "fast, fp32: 2 runs" in remark
        assert "must not be compared" in remark


def test_runs_that_do_not_say_how_they_were_trained_give_no_remark():
    assert training_remarks(pd.DataFrame({"energy_net_j": [1.0]})) == []
    assert training_remarks(trained(None, None, None, 2)) == []


def grouped(folder):
    """A study with eight repetitions a round that were trained, and measured, as one."""
    study = drawn(folder, rounds=4, repetitions=8)
    by_group = study.runs.groupby(["configuration", "round"], sort=False)
    for name in ("energy_net_j", "energy_gross_j", "started_at"):
        study.runs[name] = by_group[name].transform("first")
    study.runs["engine"], study.runs["group_size"] = "fast", 8
    study.readings = readings_of(study.runs)
    return study


def test_a_group_of_eight_counts_once_in_tests_of_energy(tmp_path):
    layers = experiments(grouped(tmp_path))[1]
    assert len(layers.runs) == 8 * 4 * 8
    measured = layers.measured
    assert len(measured) == 8 * 4
    assert set(measured["members"]) == {8}
    means = layers.runs.groupby(["configuration", "started_at"], sort=False)["accuracy"].mean()
    assert measured["accuracy"].tolist() == pytest.approx(means.tolist())
    assert len(configuration_pairs(layers).frame) == 28
    assert set(variations(layers).frame["n"]) == {4}
    assert any("counts its 32 measurements, not its 256 runs" in s for s in layers.energy.remarks)


def test_runs_that_were_measured_one_by_one_are_their_own_measurements(tmp_path):
    layers = experiments(drawn(tmp_path))[1]
    assert layers.measured is layers.runs


def from_table(runs, **changes):
    given = {"name": "mine", "kind": "architecture", "dataset": "digits", "factors": ["width"]}
    return experiment_of_table(runs, **{**given, "energy": "energy_j", **changes})


def test_a_table_from_elsewhere_has_energies_of_unknown_source():
    runs = pd.DataFrame(
        {"width": [1, 2.0], "round": 0, "energy_j": [3.0, 4.0], "accuracy": [0.5, 0.6]}
    )
    found = from_table(runs, remarks=["A remark."])
    assert list(found.runs["configuration"]) == ["width=1", "width=2"]
    assert found.energy.name == "energy"
    assert found.energy.status == "of unknown source"
    assert found.energy.remarks == ("A remark.",)


@pytest.mark.parametrize("energy", [None, "energy_j"])
def test_a_table_without_energies_says_so_before_all_else(energy):
    runs = pd.DataFrame({"width": [1, 2], "round": 0, "energy_j": None, "accuracy": [0.5, 0.6]})
    found = from_table(runs, energy=energy, remarks=["A remark."])
    assert found.energy.column is None
    assert found.energy.remarks == ("No energy is known: the table has none.", "A remark.")
    assert reason(variations, found) == "No energy is known: the table has none."


def test_a_group_in_a_table_from_elsewhere_is_one_measurement():
    runs = pd.DataFrame({"width": [1, 1, 2, 2], "round": 0, "energy_j": [3.0, 3.0, 4.0, 4.0]})
    runs = runs.assign(accuracy=0.5, group_size=2.0, started_at=["a", "a", "b", "b"])
    found = from_table(runs)
    assert len(found.measured) == 2
    assert "counts its 2 measurements, not its 4 runs" in found.energy.remarks[0]
