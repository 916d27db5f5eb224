"""The study as a whole: where its energy went, and what its runs came to."""

import numpy as np
import pandas as pd
import pytest

from joulelab.present.style import save
from joulelab.report.ledger import (
    ReportedStudy,
    diverged_runs,
    energy_by_domain,
    failed_runs,
    ledger_bars,
    ledger_by_work,
    runs_by_state,
    study_energy,
    study_finding,
)
from shown import reason, seen


def test_the_study_is_the_sum_of_its_ledger_and_the_unknown_is_counted(study):
    study.ledger.loc[0, "energy_gross_j"] = np.nan
    energy = study_energy(study.ledger)
    assert energy.gross_j == pytest.approx(study.ledger["energy_gross_j"].sum())
    assert energy.unknown == 1
    assert "1 booked interval without a figure not included" in energy.words
    rows = seen(ledger_by_work(ReportedStudy(study))).set_index("work")
    assert rows.loc["setup", "gross energy"] == "unknown"


def test_attempts_killed_before_a_heartbeat_are_unknown_and_not_nothing(study):
    killed = study.ledger.iloc[[0]].copy()
    killed[["kind", "state", "energy_status"]] = ["run", "interrupted", "missing"]
    killed[["energy_gross_j", "energy_error_j", "duration_s"]] = np.nan
    study.ledger = pd.concat([study.ledger, killed], ignore_index=True)
    found = ReportedStudy(study)
    row = seen(ledger_by_work(found)).set_index("work").loc["run"]
    assert (row["time"], row["gross energy"], row["of it lost"]) == ("unknown",) * 3
    assert "% of it for the runs" not in study_finding(found)
    assert "1 booked interval without a figure" in study_finding(found)


def test_moments_too_short_for_the_sensor_add_up_to_a_measured_time(study):
    ledger = study.ledger.assign(energy_status="measured", energy_error_j=1.0, energy_gross_j=50.0)
    short = ["energy_gross_j", "energy_error_j", "energy_status", "too_short"]
    ledger["too_short"] = False
    ledger.loc[0, short] = [0.1, 0.3, "estimated", True]
    energy = study_energy(ledger)
    assert energy.status == "measured"
    assert energy.error_j == pytest.approx(len(ledger) - 1 + 0.3), "their bounds count"
    ledger.loc[0, short] = [0.1, 1e6, "estimated", True]
    assert study_energy(ledger).status == "partly estimated"
    ledger.loc[0, short] = [0.1, np.nan, "estimated", True]
    assert study_energy(ledger).status == "partly estimated", "without a bound nothing is known"


@pytest.mark.parametrize("why", [False, pd.NA])
def test_a_moment_that_no_sensor_has_read_is_not_hidden_in_a_measured_sum(study, why):
    ledger = study.ledger.assign(energy_status="measured", energy_error_j=1.0, energy_gross_j=50.0)
    ledger["too_short"] = pd.array([why] + [False] * (len(ledger) - 1), "boolean")
    short = ["energy_gross_j", "energy_error_j", "energy_status"]
    ledger.loc[0, short] = [0.1, 0.3, "estimated"]
    assert study_energy(ledger).status == "partly estimated"
    assert study_energy(ledger.drop(columns="too_short")).status == "partly estimated"


def test_a_ledger_without_error_bounds_has_no_bound(study):
    energy = study_energy(study.ledger.drop(columns="energy_error_j"))
    assert energy.error_j is None
    assert "±" not in energy.words


def test_a_domain_of_unknown_energy_stays_unknown(study):
    gone = study.readings.assign(domain="dram:0", source="", status="missing", reason="no access")
    gone[["gross_j", "idle_j", "net_j", "error_j"]] = np.nan
    study.readings = pd.concat([study.readings, gone])
    table = energy_by_domain(ReportedStudy(study))
    rows = seen(table).set_index("domain")
    assert rows.loc["dram:0", "gross"] == "unknown"
    assert rows.loc["dram:0", "status"] == "missing"
    assert rows.loc["cpu:0", "error bound"] == "± 10.0 %"
    assert [row[2].tone for row in table.cells()] == ["doubtful", "bad"]


def test_states_are_counted_by_experiment(study):
    study.runs.loc[0, "state"] = "failed"
    study.runs.loc[1, "diverged"] = True
    rows = seen(runs_by_state(ReportedStudy(study))).set_index("experiment")
    assert tuple(rows.loc["tuning"]) == ("23", "1", "0", "0", "1")


def test_failed_and_diverged_runs_are_listed(study):
    assert reason(failed_runs, ReportedStudy(study)) == "", "nobody is told that none failed"
    assert reason(diverged_runs, ReportedStudy(study)) == ""
    study.runs.loc[0, ["state", "error"]] = ["failed", "CUDA out of memory"]
    study.runs.loc[5, "diverged"] = True
    found = ReportedStudy(study)
    assert failed_runs(found).title == "Failed runs (1)"
    assert seen(failed_runs(found)).to_numpy().tolist() == [["run-0", "CUDA out of memory"]]
    assert diverged_runs(found).title == "Diverged runs (1)"
    assert not diverged_runs(found).folded


def test_lost_energy_is_set_apart(study, tmp_path):
    study.ledger.loc[5, "state"] = "interrupted"
    found = ReportedStudy(study)
    drawing = ledger_bars(found).draw("screen")
    lost = [bar for bar in drawing.axes[0].patches if bar.get_hatch()]
    lost_j = study.ledger.loc[5, "energy_gross_j"]
    assert sum(bar.get_width() for bar in lost) == pytest.approx(lost_j)
    assert "gross energy, J (estimated)" in drawing.axes[0].get_xlabel()
    assert "what failed or was interrupted used" in study_finding(found)


def test_a_figure_is_saved_in_the_formats_asked_for_and_the_first_is_given_back(study, tmp_path):
    drawing = ledger_bars(ReportedStudy(study)).draw("screen")
    given = save(drawing, tmp_path, "ledger", ("pdf", "svg"))
    assert sorted(path.name for path in tmp_path.glob("ledger.*")) == ["ledger.pdf", "ledger.svg"]
    assert given == (tmp_path / "ledger.pdf").read_bytes()
    assert given.startswith(b"%PDF")
    assert b"CreationDate" not in given


def test_a_study_that_has_booked_nothing_says_so(study):
    study.runs, study.readings = study.runs.iloc[:0], study.readings.iloc[:0]
    study.ledger = study.ledger.iloc[:0]
    found = ReportedStudy(study)
    assert reason(ledger_by_work, found) == "nothing has been booked yet."
    assert reason(runs_by_state, found) == "nothing has been planned yet."
    assert reason(energy_by_domain, found) == "no run has been measured yet."
    assert reason(ledger_bars, found) == ""
    assert "unknown" in study_finding(found)
