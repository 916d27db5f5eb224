"""Which energy counts, and what a reader must know of it."""

import pandas as pd

from joulelab.report.experiment import energy_basis


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
