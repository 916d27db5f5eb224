"""Tables on factors: what leads holds the other factors fixed, wherever it is shown."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reported_study import drawn
from scipy import stats

from joulelab.kinds.training.report import ARCHITECTURE
from joulelab.present import latex
from joulelab.report.effects import (
    FIXED,
    SEPARATE,
    assumptions,
    configuration_pairs,
    dominances,
    effects,
    factor_interactions,
    level_differences,
)
from joulelab.report.energy import energy_by_configuration
from joulelab.report.experiment import experiment_of_table, experiments
from joulelab.report.paper_tables import PaperStudies
from joulelab.report.paper_tables import factor_effects as table_iv
from joulelab.report.resource_use import time_energy_points
from shown import bold, reason, seen

LEVELS = [(relu, size) for relu in (False, True) for size in (1, 2, 3, 4, 5)]


def designed(effect, levels=LEVELS, runs=4, seed=0):
    """An experiment in which `size` takes 100 J a step, and ReLU so much more; noise of 1 J."""
    random = np.random.default_rng(seed)
    rows = [
        (relu, size, number, 100.0 * size + effect * relu + random.normal(), 0.8, float(size))
        for relu, size in levels
        for number in range(runs)
    ]
    columns = ["relu", "size", "round", "joules", "accuracy", "duration_s"]
    return experiment_of_table(
        pd.DataFrame(rows, columns=columns),
        name="layers",
        kind="architecture",
        dataset="digits",
        factors=["relu", "size"],
        energy="joules",
    )


@pytest.fixture(scope="module")
def drowned():
    return designed(effect=2.0)


def test_a_drowned_effect_leads_the_table_and_the_marginal_test_stands_beside_it(drowned):
    table = effects(drowned)
    row = seen(table).set_index("factor").loc["relu"]
    assert row["p"] == "< 0.001"
    assert float(row["p, alone"]) > 0.2
    assert row["magnitude"] == "large"
    order = list(seen(table))
    assert order.index("p") < order.index("p, alone")
    raw = table.frame.set_index("factor").loc["relu"]
    assert raw[f"{FIXED}p"] < 0.001
    assert raw["p"] > 0.2
    assert "add noise" in table.note
    assert seen(table).set_index("factor").loc["size", "95 % interval"] == "levels do not overlap"


def test_findings_and_post_hoc_tests_agree_with_it(drowned):
    (said,) = ARCHITECTURE.findings(drowned)
    assert said.startswith("In layers, size explains most of")
    assert "with the other factors held fixed" in said
    only = experiment_of_table(
        drowned.runs[["relu", "size", "round", "joules", "accuracy"]].assign(
            size=drowned.runs["size"] % 2
        ),
        name="layers",
        kind="architecture",
        dataset="",
        factors=["relu"],
        energy="joules",
    )
    assert ARCHITECTURE.findings(only)[0].startswith("No factor of layers moves the energy")
    levels = level_differences(drowned)
    row = levels.frame.set_index("factor").loc["relu"]
    assert row["p_adjusted"] < 0.001
    assert levels.note.startswith("11 of 11 pairs of levels differ")
    keys = [one.key for one in ARCHITECTURE.tables(drowned)]
    assert keys.index("posthoc-levels") == keys.index("posthoc") - 1


def test_latex_has_both_tests_by_name(drowned):
    table = table_iv(PaperStudies((drowned,)))
    named = {name[2:]: text for name, text in latex.named(table) if name[2] == "relu"}
    assert named["relu", "fixed p"] == "< 0.001"
    assert float(named["relu", "p"]) > 0.2
    text = latex.tables([table])
    assert text.index("other factors held fixed") < text.index("alone,")


def test_what_is_said_of_interactions_covers_all_columns():
    products = list(itertools.product((False, True), (1, 2, 3)))
    for seed in range(12):
        table = factor_interactions(designed(0.3, products, runs=5, seed=seed))
        row = table.frame.set_index("order").loc[2]
        found = [column for column in ("anova_p", "art_p", "log_p") if row[column] < 0.05]
        assert table.note.startswith("No interaction is significant") == (not found)
        assert (" only." in table.note) == (0 < len(found) < 3)


def test_so_many_pairs_or_bars_that_nobody_reads_them_are_left_out_with_their_number():
    many = designed(2.0, [(False, size) for size in range(1, 203)], runs=1)
    for make in (configuration_pairs, level_differences, dominances):
        assert "20,301 pairs of " in reason(make, many)
    for make in (energy_by_configuration, time_energy_points):
        assert reason(make, many).startswith("202 configurations are too many")
    assert SEPARATE not in set(seen(effects(many))["95 % interval"])


ALL = (
    assumptions,
    dominances,
    factor_interactions,
)


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Eight configurations, eight runs each."""
    return experiments(drawn(tmp_path_factory.mktemp("design"), rounds=4))[1]


def changed(layers, energy):
    """The same with other energies."""
    return replace(layers, runs=layers.runs.assign(energy_net_j=energy))


def test_assumptions_are_tested_on_energies_and_on_what_the_means_leave(layers):
    table = assumptions(layers)
    energies = layers.runs["energy_net_j"].astype(float)
    left = energies - energies.groupby(layers.runs["configuration"]).transform("mean")
    assert table.frame["w"].tolist() == pytest.approx(
        [stats.shapiro(energies).statistic, stats.shapiro(left).statistic]
    )
    groups = [rows for _, rows in energies.groupby(layers.runs["configuration"])]
    levene = stats.levene(*groups, center="median")
    assert table.frame["equal_variances_p"].to_numpy() == pytest.approx(levene.pvalue)
    spreads = [group.std() for group in groups]
    assert f"{max(spreads) / min(spreads):.2f} times the smallest" in table.note
    assert "So energies are compared by ranks" in table.note


def test_energies_that_scatter_normally_and_alike_are_said_to(layers):
    random = np.random.default_rng(2)
    table = assumptions(changed(layers, random.normal(100, 1, len(layers.runs))))
    assert (table.frame["p"] > 0.05).all()
    assert "Nothing speaks against analysis of variance" in table.note


def test_a_configuration_that_does_not_scatter_is_said(layers):
    one = layers.runs["configuration"] == layers.runs["configuration"].iloc[0]
    still = np.where(one, 50.0, layers.runs["energy_net_j"].astype(float))
    assert "the smallest standard deviation is 0" in assumptions(changed(layers, still)).note


def test_what_cannot_be_tested_is_said_and_not_numbered(layers):
    table = assumptions(changed(layers, 100.0))
    assert "No test of equal variances: no energy differs" in table.note
    assert table.frame["w"].isna().all()
    assert set(seen(table)["p"]) == {"\N{EN DASH}"}
    assert "All values are the same." in table.note


def test_delta_counts_pairs_of_runs(layers):
    table = dominances(layers)
    row = table.frame.set_index("factor").loc["linear_layers"]
    low, high = (
        layers.runs.loc[layers.runs["linear_layers"] == level, "energy_net_j"].to_numpy(float)
        for level in (3, 7)
    )
    assert row["delta"] == pytest.approx(np.sign(high[:, None] - low).mean())
    assert set(table.frame["factor"]) == {"linear_layers", "conv_layers", "relu"}
    shown = seen(table).set_index("factor")
    assert tuple(shown.loc["relu", ["one", "other"]]) == ("off", "on")
    assert shown.loc["conv_layers", "delta"] == "1.000"
    assert shown.loc["conv_layers", "magnitude"] == "large"


def test_factors_that_multiply_do_not_interact_on_logarithms(layers):
    random = np.random.default_rng(0)
    runs = layers.runs
    conv, linear = runs["conv_layers"].astype(float), runs["linear_layers"].astype(float)
    energy = 10 * conv * linear * random.lognormal(0, 0.02, len(runs))
    table = factor_interactions(changed(layers, energy))
    raw = table.frame.set_index("effect")
    together = "linear_layers \N{MULTIPLICATION SIGN} conv_layers"
    assert raw.loc[together, "anova_p"] < 0.001
    assert raw.loc[together, "log_p"] > 0.01
    row = list(raw.index).index(together)
    assert (row, "p") in bold(table)
    assert f"significant: {together} of energies and aligned ranks only" in table.note


def test_without_an_interaction_that_is_said(layers):
    random = np.random.default_rng(1)
    energy = 10.0 * layers.runs["conv_layers"].astype(float) + random.normal(
        100, 5, len(layers.runs)
    )
    table = factor_interactions(changed(layers, energy))
    columns = ["anova_p", "art_p", "log_p"]
    assert (table.frame.loc[table.frame["order"] > 1, columns] >= 0.05).all(axis=None)
    words = "No interaction is significant, by analysis of energies, aligned ranks and logarithms."
    assert table.note.startswith(words)


@pytest.mark.parametrize(
    ("factors", "why"),
    [
        (("relu",), "it needs two factors with two levels each."),
        (("a", "b", "c", "d", "e"), "5 factors are too many for all their products."),
    ],
)
def test_too_few_and_too_many_factors_have_no_interactions(layers, factors, why):
    levels = {name: np.arange(len(layers.runs)) % 2 for name in factors}
    experiment = replace(layers, factors=factors, runs=layers.runs.assign(**levels))
    assert reason(factor_interactions, experiment) == why


def test_one_run_a_configuration_has_no_interactions(tmp_path):
    layers = experiments(drawn(tmp_path, rounds=1, repetitions=1))[1]
    assert len(reason(factor_interactions, layers)) > 10


def test_factors_that_do_not_vary_have_no_delta(layers):
    runs = layers.runs[layers.runs["configuration"] == layers.runs["configuration"].iloc[0]]
    why = reason(dominances, replace(layers, runs=runs))
    assert why == "no factor has two levels with an energy."


def test_without_energy_or_runs_everything_is_left_out_with_the_reason(tmp_path):
    study = drawn(tmp_path)
    study.runs[["energy_net_j", "energy_gross_j"]] = np.nan
    for make in ALL:
        assert reason(make, experiments(study)[1]).startswith("No energy is known")
    study.runs["state"] = "planned"
    for make in ALL:
        assert reason(make, experiments(study)[1]) == "no run has finished yet."


def test_groups_are_one_observation_in_every_table(tmp_path):
    study = drawn(tmp_path, rounds=4, repetitions=2)
    groups = study.runs.groupby(["configuration", "round"])
    for name in ("started_at", "energy_net_j", "energy_gross_j"):
        study.runs[name] = groups[name].transform("first")
    study.runs["group_size"] = 2
    layers = experiments(study)[1]
    assert set(assumptions(layers).frame["n"]) == {32}
    assert set(factor_interactions(layers).frame["n"]) == {32}
    assert set(dominances(layers).frame["n_first"]) == {16}
