"""Two studies side by side: what is compared, how, and what is said of the rest."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reported_study import FakeResults, drawn, ledger_of, readings_of
from scipy import stats

from joulelab.analysis.claims.claim import Claim, Effect, Verdict
from joulelab.present import Omitted, Table
from joulelab.report import claim_comparison, pages
from joulelab.report.experiment import experiments
from joulelab.report.kinds import GENERAL
from joulelab.report.study_comparison import compare_studies, compared
from shown import seen


def times(study, factor):
    """The same study with energies so many times as high."""
    runs = study.runs.copy()
    for name in ("energy_net_j", "energy_gross_j", "energy_idle_j", "energy_error_j"):
        runs[name] *= factor
    return of(study, runs)


def of(study, runs, **changes):
    given = {"by_experiment": study.by_experiment, "manifest": study.manifest, **changes}
    return FakeResults(study.folder, runs, readings_of(runs), ledger_of(runs), **given)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Both kinds of experiment; not to be changed."""
    return drawn(tmp_path_factory.mktemp("compared"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The same study with other accuracies, energies and hyperparameters."""
    return drawn(tmp_path_factory.mktemp("other"), seed=6)


def configurations(first, second):
    """Only the tables of configurations: testing the claims of both studies takes longer."""
    pairs = zip(experiments(first), experiments(second), strict=True)
    return [compared(one, other) for one, other in pairs]


def by_configuration(table):
    assert isinstance(table, Table), table
    return table.frame.set_index("configuration")


def test_a_study_is_the_same_as_itself(study):
    found = compare_studies(study, study)
    assert isinstance(found.conditions, Omitted)
    assert found.remarks == ()
    tuning, layers = found.configurations
    assert len(tuning.frame) == 4
    assert len(layers.frame) == 8
    for table in (tuning, layers):
        assert table.frame[["ratio", "ratio_low", "ratio_high"]].to_numpy() == pytest.approx(1)
        assert (table.frame["difference"] == 0).all()
        assert "B takes 1.000 times the energy of A (95 % interval 1.000 to 1.000)" in table.note
    assert (layers.frame[["difference_low", "difference_high"]] == 0).all(axis=None)
    decided = ~found.claims.frame["verdict_a"].str.startswith("cannot be decided")
    assert found.claims.frame["agree"].map({True: True, None: False}).tolist() == decided.tolist()
    undecided = len(decided) - decided.sum()
    assert found.claims.note == (
        f"Of 7 claims, {decided.sum()} agree, {undecided} cannot be decided in either study."
    )
    *energies, claims = found.findings
    assert claims == found.claims.note
    assert [one.split(" over ")[0] for one in energies] == ["tuning:", "layers (architecture):"]


def test_half_as_much_again_is_found_in_every_interval(study):
    for table in configurations(study, times(study, 1.5)):
        raw = table.frame
        assert raw["ratio"].to_numpy() == pytest.approx(1.5)
        assert (raw["ratio_low"] <= 1.5 + 1e-9).all()
        assert (raw["ratio_high"] >= 1.5 - 1e-9).all()
        assert "B takes 1.500 times the energy of A" in table.note


def test_rounds_with_the_same_hyperparameters_are_pairs(study):
    noisy = study.runs.copy()
    random = np.random.default_rng(0)
    noisy["energy_net_j"] *= np.where(noisy["round"] == 1, 3.0, 1.0)
    ours = of(study, noisy)
    theirs = times(ours, 1.2)
    theirs.runs["energy_net_j"] *= random.normal(1, 0.01, len(noisy))
    paired = by_configuration(configurations(ours, theirs)[1])
    elsewhere = of(theirs, theirs.runs.assign(learning_rate=0.5))
    unpaired = by_configuration(configurations(ours, elsewhere)[1])
    assert paired["ratio"].to_numpy() == pytest.approx(unpaired["ratio"].to_numpy())
    widths = [table["ratio_high"] / table["ratio_low"] for table in (paired, unpaired)]
    assert (widths[0] < 1.2).all()
    assert (widths[1] > 2).all()


@pytest.mark.parametrize("same", [True, False])
def test_intervals_are_those_of_t_tests_on_means_of_rounds(study, same):
    runs = study.runs.copy()
    random = np.random.default_rng(3)
    runs["accuracy"] = random.uniform(0.5, 0.9, len(runs))
    runs["energy_net_j"] *= random.normal(1, 0.05, len(runs))
    if not same:
        runs["learning_rate"] += 0.01
    row = configurations(study, of(study, runs))[1].frame.iloc[0]
    a, b = (
        frame[frame["experiment"] == "layers"]
        .groupby(["linear_layers", "conv_layers", "relu", "round"])[["accuracy", "energy_net_j"]]
        .mean()
        .loc[3, 1, False]
        for frame in (study.runs, runs)
    )
    test = stats.ttest_rel if same else lambda x, y: stats.ttest_ind(x, y, equal_var=False)
    difference = test(b["accuracy"], a["accuracy"]).confidence_interval()
    ratio = test(np.log(b["energy_net_j"]), np.log(a["energy_net_j"])).confidence_interval()
    assert row["configuration"] == "conv_layers=1, linear_layers=3, relu=off"
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(tuple(difference))
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx(tuple(np.exp(ratio)))
    assert (row["rounds_a"], row["rounds_b"]) == (3, 3)


def test_hyperparameters_that_nobody_knows_are_not_the_same(study):
    unknown = of(study, study.runs.assign(learning_rate=np.nan))
    known = configurations(study, times(study, 1.1))[1].frame
    blind = configurations(unknown, times(unknown, 1.1))[1].frame
    assert (known["ratio_high"] - known["ratio_low"]).to_numpy() == pytest.approx(0)
    assert (blind["ratio_high"] - blind["ratio_low"] > 0.001).all()


def test_optima_of_a_search_are_compared_and_not_means(study, other):
    row = configurations(study, other)[0].frame.iloc[0]
    assert row["configuration"] == "hyperparameters=3, DensePolyNN, grid"
    for side, one in (("a", study), ("b", other)):
        runs = one.runs[(one.runs["strategy"] == "grid") & (one.runs["network"] == "DensePolyNN")]
        best = runs.groupby("round")["accuracy"].mean().max()
        assert row[f"accuracy_{side}"] == pytest.approx(best)
    assert row["difference_low"] <= row["difference"] <= row["difference_high"]


def test_levels_of_only_one_study_are_left_out_and_counted(study):
    fewer = of(study, study.runs[study.runs["conv_layers"] != 4])
    layers = configurations(study, fewer)[1]
    assert len(layers.frame) == 4
    assert "4 configurations of only one study left out." in layers.note


def test_one_configuration_in_common_has_its_ratio_in_the_answer(study):
    layers = study.runs["experiment"] == "layers"
    first = study.runs.loc[layers, "configuration"].iloc[0]
    runs = study.runs[~layers | study.runs["configuration"].eq(first)]
    found = compare_studies(study, times(of(study, runs), 2))
    assert found.findings[1] == (
        "layers (architecture): B takes 2.000 times the energy of A with conv_layers=1, "
        "linear_layers=3, relu=off (estimated; 95 % interval 2.000 to 2.000)."
    )


def test_columns_of_accuracy_are_shown_if_one_study_has_any(study):
    none = of(study, study.runs.assign(accuracy=np.nan))
    for both, headings in ((none, False), (study, True)):
        layers = configurations(none, both)[1]
        assert ("acc. B" in seen(layers)) == headings
        assert ("Accuracy is" in layers.note) == headings


def test_only_kinds_with_the_page_of_claims_have_the_claims_of_the_paper(study, monkeypatch):
    monkeypatch.setattr(pages, "report_of", lambda _: GENERAL)
    found = compare_studies(study, study)
    assert isinstance(found.claims, Omitted)
    assert not any("claim" in one for one in found.findings)


def test_claims_of_a_study_file_are_compared_too(study, monkeypatch):
    effect = Effect("ratio", 1.2, 1.1, 1.3, 1.0)
    claim = Claim("k", "a moves b.", "", Verdict.HOLDS, "", "", 0.01, effect, 8, "runs", "")
    of_file = replace(GENERAL, claims=lambda one: [claim] if one.name == "layers" else [])
    monkeypatch.setattr(claim_comparison, "report_of", lambda _: of_file)
    rows = compare_studies(study, study).claims.frame.set_index("claim")
    assert len(rows) == 8
    assert rows.loc["k", ["verdict_a", "verdict_b", "agree"]].tolist() == ["holds", "holds", True]


def test_no_configuration_in_common_is_said(study):
    runs = study.runs.copy()
    runs["conv_layers"] += 10
    found = configurations(study, of(study, runs))[1]
    assert isinstance(found, Omitted)
    assert found.reason == "no configuration in common."


def test_other_factors_are_named(study):
    runs = study.runs.rename(columns={"relu": "dropout"})
    factors = {**study.by_experiment, "layers": ["linear_layers", "conv_layers", "dropout"]}
    found = configurations(study, of(study, runs, by_experiment=factors))[1]
    assert found.reason == (
        "no configuration in common; the factors are: A linear_layers, conv_layers and relu; "
        "B linear_layers, conv_layers and dropout."
    )


def test_measured_against_estimated_is_said(study):
    measured = of(study, study.runs.assign(energy_status="measured", energy_source="nvml"))
    found = compare_studies(study, measured)
    for table in found.configurations:
        assert "One study measured what the other estimated" in table.note
        assert "(estimated and measured)" in table.note
    differing = found.conditions.frame.set_index("condition")
    assert "estimated (source: estimate)" in differing.loc["Energy", "A"]
    assert "measured (source: nvml)" in differing.loc["Energy", "B"]
    assert "One study measured" not in configurations(study, study)[0].note


def test_without_an_energy_in_one_accuracies_are_compared_all_the_same(study):
    gone = study.runs.assign(energy_status="missing")
    gone[["energy_gross_j", "energy_net_j", "energy_idle_j", "energy_error_j"]] = np.nan
    for table in configurations(study, of(study, gone)):
        assert "No energy is known in one of the studies" in table.note
        assert table.frame[["ratio", "energy_a_j", "energy_b_j"]].isna().all(axis=None)
        assert table.frame["difference"].notna().all()
        assert set(seen(table)["energy A"]) == {"unknown"}


def test_net_is_not_compared_with_gross(study):
    gross = of(study, study.runs.assign(energy_net_j=np.nan))
    table = configurations(study, gross)[1]
    assert "energy is gross energy" in table.note
    assert table.frame["ratio"].to_numpy() == pytest.approx(1)


def test_energies_that_are_not_positive_have_no_ratio_and_that_is_said(study):
    runs = study.runs.copy()
    runs.loc[runs["experiment"].eq("layers") & runs["conv_layers"].eq(1), "energy_net_j"] = -1.0
    table = configurations(study, of(study, runs))[1]
    assert table.frame["ratio"].isna().sum() == 4
    assert "No ratio for 4 configurations: a round has no energy above 0" in table.note


def test_an_experiment_of_only_one_study_is_named(study):
    layers = of(
        study,
        study.runs[study.runs["experiment"] == "layers"],
        by_experiment={"layers": study.by_experiment["layers"]},
    )
    found = compare_studies(study, layers)
    assert found.remarks == ("B has no experiment to compare tuning with.",)
    assert [table.key for table in found.configurations] == ["compared-layers"]
    assert set(found.claims.frame["claim"]) == {
        "hyperparameters-do-not-move-energy",
        "convolutions-dominate",
        "energy-can-be-halved",
        "diminishing-returns",
    }
    turned = compare_studies(layers, study)
    assert turned.remarks == ("A has no experiment to compare tuning with.",)


def test_studies_of_different_kinds_have_nothing_in_common(study):
    one, two = (
        of(
            study,
            study.runs[study.runs["experiment"] == name],
            by_experiment={name: study.by_experiment[name]},
        )
        for name in ("layers", "tuning")
    )
    found = compare_studies(one, two)
    assert found.configurations == ()
    assert isinstance(found.claims, Omitted)
    assert len(found.remarks) == 2


def test_several_experiments_of_a_kind_are_matched_by_their_names(study):
    first = study.runs[study.runs["experiment"] == "layers"]
    second = first.assign(experiment="deeper", run_id=first["run_id"] + "-deeper")
    second["energy_net_j"] *= 2
    factors = study.by_experiment["layers"]
    both = pd.concat([first, second], ignore_index=True)
    a = of(study, both, by_experiment={"layers": factors, "deeper": factors})
    b = of(study, both, by_experiment={"deeper": factors, "layers": factors})
    found = compare_studies(a, b)
    assert [table.key for table in found.configurations] == ["compared-layers", "compared-deeper"]
    for table in found.configurations:
        assert table.frame["ratio"].to_numpy() == pytest.approx(1)
    assert len(found.claims.frame) == 8
    assert found.claims.frame["statement"].str.startswith("deeper: ").sum() == 4


def test_a_study_without_a_finished_run_is_named(study):
    begun = of(study, study.runs.assign(state="planned"))
    found = compare_studies(study, begun)
    assert found.remarks == (
        "tuning: no run has finished in B.",
        "layers (architecture): no run has finished in B.",
    )
    assert compare_studies(begun, begun).remarks[0] == "tuning: no run has finished in A and B."


def test_claims_that_disagree_are_marked(study):
    runs = study.runs.copy()
    layers = runs["experiment"] == "layers"
    runs.loc[layers, "energy_net_j"] = np.where(runs.loc[layers, "conv_layers"] == 1, 90.0, 100.0)
    found = compare_studies(study, of(study, runs)).claims
    row = found.frame.set_index("claim").loc["energy-can-be-halved"]
    assert row["verdict_a"] == "holds on estimated energy"
    assert (row["verdict_b"], row["agree"]) == ("does not hold on estimated energy", False)
    assert row["effect_b"] == pytest.approx(0.9)
    rows = seen(found)
    differing = rows[rows["agree"] == "no"]
    assert "A smaller network takes half the energy." in set(differing["claim"])


def test_what_differs_is_named_with_both_sides(study):
    other = of(study, study.runs, manifest={**study.manifest, "python": "3.13.0", "cores": 4})
    raw = compare_studies(study, other).conditions.frame.set_index("condition")
    assert set(raw.index) == {"Processor", "Versions"}
    assert "4 cores" in raw.loc["Processor", "B"]
    assert "3.12.1" in raw.loc["Versions", "A"]
