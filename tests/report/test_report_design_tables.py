"""Assumptions, Cliff's delta and interactions, as the report shows them."""

from dataclasses import replace

import numpy as np
import pytest
from joulelab.report.tables import Omitted
from reported_study import drawn
from scipy import stats

from joulelab.report import design_tables
from joulelab.report.experiment import experiments

ALL = (
    design_tables.assumptions,
    design_tables.dominances,
    design_tables.factor_interactions,
)


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Eight configurations, eight runs each."""
    return experiments(drawn(tmp_path_factory.mktemp("design"), rounds=4))[1]


def changed(layers, energy):
    """The same with other energies."""
    return replace(layers, runs=layers.runs.assign(energy_net_j=energy))


def test_assumptions_are_tested_on_energies_and_on_what_the_means_leave(layers):
    table = design_tables.assumptions(layers)
    energies = layers.runs["energy_net_j"].astype(float)
    left = energies - energies.groupby(layers.runs["configuration"]).transform("mean")
    assert table.raw["w"].tolist() == pytest.approx(
        [stats.shapiro(energies).statistic, stats.shapiro(left).statistic]
    )
    groups = [rows for _, rows in energies.groupby(layers.runs["configuration"])]
    levene = stats.levene(*groups, center="median")
    assert table.raw["equal_variances_p"].to_numpy() == pytest.approx(levene.pvalue)
    spreads = [group.std() for group in groups]
    assert f"{max(spreads) / min(spreads):.2f} times the smallest" in table.note
    assert "So energies are compared by ranks" in table.note


def test_energies_that_scatter_normally_and_alike_are_said_to(layers):
    random = np.random.default_rng(2)
    table = design_tables.assumptions(changed(layers, random.normal(100, 1, len(layers.runs))))
    assert (table.raw["p"] > 0.05).all()
    assert "Nothing speaks against analysis of variance" in table.note


def test_a_configuration_that_does_not_scatter_is_said(layers):
    one = layers.runs["configuration"] == layers.runs["configuration"].iloc[0]
    still = np.where(one, 50.0, layers.runs["energy_net_j"].astype(float))
    assert (
        "the smallest standard deviation is 0"
        in design_tables.assumptions(changed(layers, still)).note
    )


def test_what_cannot_be_tested_is_said_and_not_numbered(layers):
    table = design_tables.assumptions(changed(layers, 100.0))
    assert "No test of equal variances: no energy differs" in table.note
    assert table.raw["w"].isna().all()
    assert set(table.shown["p"]) == {"\N{EN DASH}"}
    assert "All energies are the same." in table.note


def test_delta_counts_pairs_of_runs(layers):
    table = design_tables.dominances(layers)
    row = table.raw.set_index("factor").loc["linear_layers"]
    low, high = (
        layers.runs.loc[layers.runs["linear_layers"] == level, "energy_net_j"].to_numpy(float)
        for level in (3, 7)
    )
    assert row["delta"] == pytest.approx(np.sign(high[:, None] - low).mean())
    assert set(table.raw["factor"]) == {"linear_layers", "conv_layers", "relu"}
    shown = table.shown.set_index("factor")
    assert tuple(shown.loc["relu", ["one", "other"]]) == ("off", "on")
    assert shown.loc["conv_layers", "delta"] == "1.000"
    assert shown.loc["conv_layers", "magnitude"] == "large"


def test_factors_that_multiply_do_not_interact_on_logarithms(layers):
    random = np.random.default_rng(0)
    runs = layers.runs
    conv, linear = runs["conv_layers"].astype(float), runs["linear_layers"].astype(float)
    energy = 10 * conv * linear * random.lognormal(0, 0.02, len(runs))
    table = design_tables.factor_interactions(changed(layers, energy))
    raw = table.raw.set_index("effect")
    together = "linear_layers \N{MULTIPLICATION SIGN} conv_layers"
    assert raw.loc[together, "anova_p"] < 0.001
    assert raw.loc[together, "log_p"] > 0.01
    row = list(raw.index).index(together)
    assert (row, "p") in table.bold
    assert f"significant: {together} of energies and aligned ranks only" in table.note


def test_without_an_interaction_that_is_said(layers):
    random = np.random.default_rng(1)
    energy = 10.0 * layers.runs["conv_layers"].astype(float) + random.normal(
        100, 5, len(layers.runs)
    )
    table = design_tables.factor_interactions(changed(layers, energy))
    columns = ["anova_p", "art_p", "log_p"]
    assert (table.raw.loc[table.raw["order"] > 1, columns] >= 0.05).all(axis=None)
    words = "No interaction is significant, by analysis of energies, aligned ranks and logarithms."
    assert table.note.startswith(words)


@pytest.mark.parametrize(
    ("factors", "reason"),
    [
        (("relu",), "it needs two factors with two levels each."),
        (("a", "b", "c", "d", "e"), "5 factors are too many for all their products."),
    ],
)
def test_too_few_and_too_many_factors_have_no_interactions(layers, factors, reason):
    levels = {name: np.arange(len(layers.runs)) % 2 for name in factors}
    experiment = replace(layers, factors=factors, runs=layers.runs.assign(**levels))
    assert design_tables.factor_interactions(experiment).reason == reason


def test_one_run_a_configuration_has_no_interactions(tmp_path):
    layers = experiments(drawn(tmp_path, rounds=1, repetitions=1))[1]
    made = design_tables.factor_interactions(layers)
    assert isinstance(made, Omitted)
    assert len(made.reason) > 10


def test_factors_that_do_not_vary_have_no_delta(layers):
    runs = layers.runs[layers.runs["configuration"] == layers.runs["configuration"].iloc[0]]
    made = design_tables.dominances(replace(layers, runs=runs))
    assert made.reason == "no factor has two levels with an energy."


def test_without_energy_or_runs_everything_is_left_out_with_the_reason(tmp_path):
    study = drawn(tmp_path)
    study.runs[["energy_net_j", "energy_gross_j"]] = np.nan
    for make in ALL:
        assert make(experiments(study)[1]).reason.startswith("No energy is known")
    study.runs["state"] = "planned"
    for make in ALL:
        assert make(experiments(study)[1]).reason == "no run has finished yet."


def test_groups_are_one_observation_in_every_table(tmp_path):
    study = drawn(tmp_path, rounds=4, repetitions=2)
    groups = study.runs.groupby(["configuration", "round"])
    for name in ("started_at", "energy_net_j", "energy_gross_j"):
        study.runs[name] = groups[name].transform("first")
    study.runs["group_size"] = 2
    layers = experiments(study)[1]
    assert set(design_tables.assumptions(layers).raw["n"]) == {32}
    assert set(design_tables.factor_interactions(layers).raw["n"]) == {32}
    assert set(design_tables.dominances(layers).raw["n_first"]) == {16}
