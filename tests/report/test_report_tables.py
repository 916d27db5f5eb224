import numpy as np
import pandas as pd
import pytest
from joulelab.report.tables import Omitted, Table

from joulelab.analysis.kruskal import kruskal
from joulelab.report import factor_effects, tables
from joulelab.report.experiment import experiments
from joulelab.report.ledger import domains_table, ledger_table, states_table, study_energy

ALL = (
    tables.optima,
    factor_effects.effects,
    tables.increases,
    tables.cluster_table,
    tables.variations,
    factor_effects.pairs,
)


@pytest.fixture
def tuning(study):
    return experiments(study)[0]


@pytest.fixture
def layers(study):
    return experiments(study)[1]


def test_table_iii_agrees_with_the_paper(published):
    raw = tables.optima(experiments(published)[0]).raw
    found = raw.set_index(["network", "hyperparameters", "strategy"])
    assert found.loc[("SimpleCNN", 5, "random"), "optimum_round"] == 29
    assert found.loc[("SimpleCNN", 5, "random"), "optimum_accuracy"] == pytest.approx(
        0.8879, abs=1e-4
    )
    assert found.loc[("DensePolyNN", 3, "bayesian"), "optimum_round"] == 46
    assert found.loc[("SimpleCNN", 3, "grid"), "optimum_round"] == 20


def test_the_best_strategy_of_each_setting_is_bold(published):
    table = tables.optima(experiments(published)[0])
    best = {row for row, heading in table.bold if heading == "accuracy"}
    assert len(best) == 6
    names = table.raw.loc[sorted(best), "strategy"].value_counts().to_dict()
    assert names == {"bayesian": 5, "random": 1}


def test_the_k_of_the_paper_is_shown_in_a_replication_only(published, layers):
    assert "η², k = 8" in factor_effects.effects(experiments(published)[1]).shown
    assert not [c for c in factor_effects.effects(layers).shown if "k =" in c]


def test_numbers_are_those_of_the_analysis(study, layers):
    runs = study.runs[study.runs["experiment"] == "layers"]
    expected = kruskal(runs, "conv_layers")["h"].iloc[0]
    table = factor_effects.effects(layers)
    row = table.raw[table.raw["factor"] == "conv_layers"].iloc[0]
    assert row["h"] == pytest.approx(expected)


def test_levels_read_as_they_were_planned(layers):
    assert layers.runs["conv_layers"].tolist()[0] == 1
    shown = tables.increases(layers).shown.set_index("factor")
    assert tuple(shown.loc["conv_layers", ["from", "to"]]) == ("1", "4")
    assert tuple(shown.loc["relu", ["from", "to"]]) == ("off", "on")


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 7])
def test_few_runs_give_a_table_with_rows_or_a_reason(study, kept):
    for name in ("tuning", "layers"):
        rest = study.runs.index[study.runs["experiment"] == name][kept:]
        study.runs.loc[rest, "state"] = "planned"
    for experiment in experiments(study):
        for make in ALL:
            made = make(experiment)
            if isinstance(made, Omitted):
                assert made.reason.endswith(".")
                assert len(made.reason) > 10
            else:
                assert len(made.shown) == len(made.raw) > 0


def test_headings_that_are_called_text_or_bold_exist(study):
    for experiment in experiments(study):
        for made in (make(experiment) for make in ALL):
            if isinstance(made, Table):
                columns = set(made.shown.columns)
                assert set(made.text) <= columns
                assert {heading for _, heading in made.bold} <= columns
                assert made.shown.map(lambda cell: isinstance(cell, str)).all(axis=None)


def test_diverged_runs_count_in_the_energy(study):
    study.runs["diverged"] = True
    assert tables.variations(experiments(study)[1]).raw["n"].sum() == 48


def test_failed_runs_do_not(study):
    study.runs.loc[study.runs["experiment"] == "layers", "state"] = "failed"
    made = tables.variations(experiments(study)[1])
    assert made == Omitted(made.key, made.title, "no run has finished yet.")


def test_the_study_is_the_sum_of_its_ledger_and_the_unknown_is_counted(study):
    study.ledger.loc[0, "energy_gross_j"] = np.nan
    energy = study_energy(study.ledger)
    assert energy.gross_j == pytest.approx(study.ledger["energy_gross_j"].sum())
    assert energy.unknown == 1
    assert "1 booked interval without a figure not included" in energy.words
    shown = ledger_table(energy).shown.set_index("work")
    assert shown.loc["setup", "gross energy"] == "unknown"


def test_a_ledger_without_error_bounds_has_no_bound(study):
    energy = study_energy(study.ledger.drop(columns="energy_error_j"))
    assert energy.error_j is None
    assert "±" not in energy.words


def test_a_domain_of_unknown_energy_stays_unknown(study):
    gone = study.readings.assign(domain="dram:0", source="", status="missing", reason="no access")
    gone[["gross_j", "idle_j", "net_j", "error_j"]] = np.nan
    shown = domains_table(pd.concat([study.readings, gone])).shown.set_index("domain")
    assert shown.loc["dram:0", "gross"] == "unknown"
    assert shown.loc["dram:0", "status"] == "missing"
    assert shown.loc["cpu:0", "error bound"] == "± 10.0 %"


def test_states_are_counted_by_experiment(study):
    study.runs.loc[0, "state"] = "failed"
    study.runs.loc[1, "diverged"] = True
    shown = states_table(study.runs).shown.set_index("experiment")
    assert tuple(shown.loc["tuning"]) == ("23", "1", "0", "0", "1")
