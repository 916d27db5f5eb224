"""Which energy counts, and what a reader must know of it."""

import pandas as pd

from joulelab.report.experiment import energy_basis, trained_by, training_remarks


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
    (remark,) = training_remarks(runs)
    assert "up to 6 at a time" in remark
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
