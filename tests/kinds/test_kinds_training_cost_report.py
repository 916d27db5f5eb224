"""What training costs: tables, figures and sentences of the chapter."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reported_study import FakeResults, ledger_of, readings_of, whole
from training_cost_runs import DATASETS, NETWORKS, cost_experiment, cost_runs

from joulelab.kinds.training_cost.configurations import configurations, per_kwh, short_datasets
from joulelab.kinds.training_cost.places import emissions_by_place
from joulelab.kinds.training_cost.report import TRAINING_COST, cost_findings, energies, trade_off
from joulelab.kinds.training_cost.tables import (
    base_effect,
    bases,
    cost_table,
    dataset_correlation,
    dataset_effect,
    efficiency,
    proxies,
    sizes,
)
from joulelab.present import shown, terminal
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import experiment_tables, write_report
from shown import reason, seen

PLACES = ["100", "970", "300"]


@pytest.fixture(scope="module")
def experiment():
    return cost_experiment(cost_runs(), places=PLACES, pue=1.2, weights="auto")


def by_key(experiment):
    return {one.key: one for one in TRAINING_COST.tables(experiment)}


def said(experiment):
    return " ".join(cost_findings(experiment))


def test_a_row_is_the_mean_of_the_runs_of_a_configuration(experiment):
    raw = cost_table(experiment).frame
    assert len(raw) == len(NETWORKS) * 2 * 2
    row = raw[raw["configuration"] == f"vgg16, frozen, {DATASETS[0]}"].iloc[0]
    runs = experiment.runs[experiment.runs["configuration"] == row["configuration"]]
    assert row["energy_j"] == pytest.approx(runs["energy_net_j"].mean())
    assert row["energy_low_j"] < row["energy_j"] < row["energy_high_j"]
    kwh = runs["energy_net_j"].mean() / 3.6e6
    assert row["accuracy_per_kwh"] == pytest.approx(runs["accuracy"].mean() / kwh)
    assert row["f1"] == pytest.approx(row["accuracy"] - 0.01)
    assert raw["energy_j"].is_monotonic_increasing


def test_other_factors_that_vary_stand_beside_the_network():
    runs = cost_runs(NETWORKS[:1], ("trained",), DATASETS[:1])
    parts = [
        runs.assign(batch_size=size, configuration=f"squeezenet1_1, trained, batch_size={size}")
        for size in (32, 64)
    ]
    factors = ("network", "base", "dataset", "batch_size")
    experiment = replace(cost_experiment(pd.concat(parts, ignore_index=True)), factors=factors)
    names = {f"squeezenet1_1, batch_size={size}" for size in (32, 64)}
    assert set(cost_table(experiment).frame["network"]) == names
    assert "squeezenet1_1, batch_size=" in said(experiment)


def test_accuracy_per_kwh_of_one_energy_varies_as_the_accuracy_does():
    found = per_kwh([0.8, 0.9, 1.0], [3.6e6] * 3)
    half = 4.302653 * 0.1 / np.sqrt(3) / 0.9
    assert (found.low, found.high) == pytest.approx((0.9 * np.exp(-half), 0.9 * np.exp(half)))
    assert np.isnan(per_kwh([0.8], [1.0]).low)
    assert per_kwh([0.0, 0.0], [1.0, 2.0]).value == 0


def test_the_interval_of_accuracy_per_kwh_holds_the_true_ratio_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    accuracies = random.normal(0.9, 0.02, (600, 4))
    energies_j = random.normal(3.6e6, 3.6e5, (600, 4))
    found = [per_kwh(*one) for one in zip(accuracies, energies_j, strict=True)]
    assert np.mean([one.low < 0.9 < one.high for one in found]) == pytest.approx(0.95, abs=0.025)


def test_accuracy_per_kwh_stands_with_its_interval_most_first(experiment):
    table = efficiency(experiment)
    assert table.frame["accuracy_per_kwh"].is_monotonic_decreasing
    assert (table.frame["accuracy_per_kwh_low"] < table.frame["accuracy_per_kwh"]).all()
    assert "no interval" not in set(seen(table)["95 % interval"])


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (DATASETS, ["digits", "MNIST"]),
        (["digits?channels=3&side=16", "digits?channels=3&side=32"], ["digits?side=16", None]),
        (["a:x", "b:x"], ["a:x", "b:x"]),
        (["digits", "digits?side=32"], ["digits", "digits?side=32"]),
    ],
)
def test_data_sets_have_the_shortest_names_that_tell_them_apart(names, short):
    found = list(short_datasets(names).values())
    assert found == [one or "digits?side=32" for one in short]


def test_an_interval_far_wider_than_the_points_goes_beyond_the_axes():
    runs = cost_runs(NETWORKS[:2], repetitions=2, scatter=1.0)
    axes = trade_off(cost_experiment(runs)).draw("screen").axes[0]
    low, high = axes.get_ylim()
    assert low > 0.6
    assert high < 1.05


def test_runs_trained_together_are_one_measurement_of_energy():
    runs = cost_runs(networks=NETWORKS[:2], bases=("trained",), datasets=DATASETS[:1])
    together = runs.assign(group_size=3, started_at=runs["configuration"].map(len).astype(float))
    made = configurations(cost_experiment(together))
    assert list(made["n"]) == [3, 3]
    assert list(made["measurements"]) == [1, 1]
    assert made["energy_low_j"].isna().all()
    assert made["accuracy_low"].notna().all(), "accuracies are not shared"


def test_energies_of_0_or_below_are_named_and_left_out_of_everything():
    runs = cost_runs()
    runs.loc[4, "energy_net_j"] = -5.0
    spoiled, clean = cost_experiment(runs), cost_experiment(cost_runs().drop(index=4))
    assert "1 impossible energy: squeezenet1_1, frozen, torchvision:MNIST" in said(spoiled)
    assert "repetition 2, energy_net_j \N{MINUS SIGN}5.00 J" in said(spoiled)
    ours, theirs = configurations(spoiled), configurations(clean)
    assert ours["energy_j"].to_list() == theirs["energy_j"].to_list()
    assert base_effect(spoiled).ratio == base_effect(clean).ratio
    assert dataset_correlation(spoiled) == dataset_correlation(clean)
    of = [by_key(made)["kruskal"].frame["h"].to_list() for made in (spoiled, clean)]
    assert of[0] == of[1]


def test_one_run_of_each_configuration_allows_no_tests_and_that_is_said():
    single = cost_experiment(cost_runs(repetitions=1))
    made = by_key(single)
    for key in ("kruskal", "interactions", "posthoc", "point-biserial"):
        assert "one measurement" in made[key].reason
    assert "no tests" in said(single)
    assert "Kruskal" not in said(single)
    assert "no intervals" in cost_table(single).note


def test_random_weights_are_the_first_thing_that_is_said(experiment):
    first = cost_findings(experiment)[0]
    assert first == (
        "Weights: random, because the published ones are not on this machine: accuracies do not "
        "represent fine-tuning."
    )
    unknown = cost_experiment(cost_runs())
    assert "or were not asked for" in cost_findings(unknown)[0]
    asked = cost_experiment(cost_runs(), weights="random")
    assert "random, as the study file asks" in cost_findings(asked)[0]
    runs = cost_runs()
    runs.loc[runs["network"] != "vgg16", "weights"] = "IMAGENET1K_V1"
    some = cost_experiment(runs)
    assert cost_findings(some)[0].startswith("Weights: random for vgg16, because")
    published = cost_experiment(runs.assign(weights="IMAGENET1K_V1"))
    assert "Weights" not in said(published)
    assert "weights" in seen(sizes(some))


def test_what_less_accuracy_saves_goes_along_the_front(experiment):
    digits = next(one for one in cost_findings(experiment) if one.startswith("On digits"))
    assert digits.startswith("On digits, vgg16 (trained) is the most accurate, 0.9")
    assert "SimpleCNN (frozen) takes 99" in digits
    points = configurations(experiment)
    front = points[points["on_front"] & (points["dataset"] == DATASETS[0])]
    assert front["accuracy"].is_monotonic_increasing, "more accuracy costs more energy"


def test_a_saving_along_the_front_that_may_be_chance_is_said_to_be():
    runs = cost_runs()
    most = runs.groupby("configuration")["energy_net_j"].transform("mean")
    shaky = np.where(runs["repetition"] % 2, 1.9, 0.1) * most
    sentences = cost_findings(cost_experiment(runs.assign(energy_net_j=shaky)))
    fronts = [one for one in sentences if " is the most accurate" in one and " less" in one]
    assert fronts
    assert all("less, which may be chance, at " in one for one in fronts)


def test_a_frozen_base_is_compared_at_equal_network_and_data_set(experiment):
    found = base_effect(experiment)
    assert found.pairs == 8
    assert found.ratio == pytest.approx(2.5, rel=0.03)
    assert found.points == pytest.approx(0.05, abs=0.01)
    assert "A frozen base takes 59.9 % less energy" in said(experiment)
    runs = experiment.runs
    lacking = runs[~((runs["network"] == "vgg16") & (runs["base"] == "frozen"))]
    assert base_effect(cost_experiment(lacking)).pairs == 6
    one_base = cost_experiment(runs[runs["base"] == "trained"])
    assert "no network was measured with both" in reason(bases, one_base)
    assert "base" not in seen(cost_table(one_base))
    assert "base trained" in cost_table(one_base).note


def test_the_point_biserial_correlation_is_pearsons_with_0_and_1(experiment):
    found, runs = dataset_correlation(experiment), experiment.runs
    codes = (runs["dataset"] == DATASETS[1]).astype(float)
    assert found.r == pytest.approx(np.corrcoef(codes, runs["energy_net_j"])[0, 1])
    assert found.more == DATASETS[1]
    assert found.ratio == pytest.approx(1.5, rel=0.03)
    assert "at equal network and base MNIST takes +50" in said(experiment)


@pytest.mark.parametrize(
    ("datasets", "why"),
    [(DATASETS[:1], "here is 1"), ((*DATASETS, "fashion"), "here are 3")],
)
def test_another_number_of_data_sets_has_no_point_biserial_correlation(datasets, why):
    made = cost_experiment(cost_runs(networks=NETWORKS[:2], datasets=datasets))
    assert why in reason(dataset_effect, made)


def test_total_flops_stand_for_energy_where_trainable_ones_do_not(experiment):
    rows = proxies(experiment).frame.set_index("of")
    assert rows["rho"]["flops"] > 0.95 > rows["rho"]["flops_trainable"]
    assert rows["spread"]["flops"] < rows["spread"]["flops_trainable"]
    assert rows["low"]["flops"] < rows["rho"]["flops"] < rows["high"]["flops"]
    assert "total FLOPs are the better proxy" in said(experiment)
    trained = experiment.runs[experiment.runs["base"] == "trained"]
    assert "better proxy" not in said(cost_experiment(trained)), "both are the same"


def test_two_configurations_have_no_order_to_speak_of():
    few = cost_experiment(cost_runs(NETWORKS[:2], bases=("trained",), datasets=DATASETS[:1]))
    assert "it needs 3 configurations" in reason(proxies, few)


def test_places_of_the_study_file_are_booked(experiment):
    made = by_key(experiment)
    assert "PUE 1.2" in made["places"].note
    grams = made["place-co2e"].frame
    assert set(grams.columns[:2]) == {"network", "place"}, "16 configurations are too many"
    vgg = experiment.runs[experiment.runs["network"] == "vgg16"]["energy_gross_j"].mean()
    row = grams[(grams["network"] == "vgg16") & (grams["place"] == "970 g/kWh")].iloc[0]
    assert row["co2e_g"] == pytest.approx(vgg / 3.6e6 * 970 * 1.2)
    effects = made["place-effects"].frame.set_index("of")
    assert effects["ratio"]["place"] == pytest.approx(9.7)
    parts = effects["eta_squared"][["network", "base", "dataset"]].sum()
    assert parts == pytest.approx(effects["eta_squared"]["configuration"], abs=1e-3)
    assert "Place moves CO2e 9.70 times (970 g/kWh over 100 g/kWh), network" in said(experiment)


def test_few_configurations_are_booked_one_by_one():
    few = cost_experiment(cost_runs(NETWORKS[:2]), places=PLACES)
    assert "configuration" in by_key(few)["place-co2e"].frame


def test_a_place_that_is_not_known_is_said_and_the_others_are_booked():
    made = cost_experiment(cost_runs(NETWORKS[:2]), places=["NLDX", "100", "300"])
    tables = by_key(made)
    assert "unknown place 'NLDX'" in tables["places"].note
    assert tables["place-co2e"].frame["place"].nunique() == 2
    assert "NLDX" in said(made)
    alone = cost_experiment(cost_runs(NETWORKS[:2]), places=["NLDX"])
    assert "unknown place 'NLDX'" in by_key(alone)["places"].reason
    assert by_key(alone)["place-co2e"].reason == by_key(alone)["places"].reason


def test_without_places_there_is_nothing_about_them():
    made = cost_experiment(cost_runs(NETWORKS[:2]))
    assert not [key for key in by_key(made) if key.startswith("place")]


def test_without_energies_it_is_said_why_once():
    none = cost_experiment(cost_runs(NETWORKS[:2]), column=None, places=PLACES)
    why = "No energy is known: no meter gave a value."
    assert {reason(one, none) for one in TRAINING_COST.contents[:4]} == {why}
    (said_once,) = [one for one in experiment_tables(none) if getattr(one, "reason", "") == why]
    assert said_once.title.startswith("What each configuration costs, and what it reaches; ")
    assert not cost_findings(none)
    wrong = cost_experiment(cost_runs(NETWORKS[:2]).assign(energy_net_j=-1.0))
    assert "no run has an energy above 0" in by_key(wrong)["training-cost"].reason
    assert "impossible energies" in said(wrong)
    assert "no run has an energy above 0" in reason(energies, wrong)


def test_without_runs_nothing_is_said():
    empty = cost_experiment(cost_runs().iloc[:0], places=PLACES)
    assert {one.reason for one in shown(TRAINING_COST.contents, empty)} == {
        "no run has finished yet."
    }
    assert experiment_tables(empty) == ["No run has finished yet."]
    assert not cost_findings(empty)


def test_every_network_stands_in_the_figures(experiment):
    energy, against = (make(experiment).draw("screen") for make in (energies, trade_off))
    names = [tick.get_text() for tick in energy.axes[0].get_yticklabels()]
    assert names == ["SimpleCNN", "squeezenet1_1", "resnet18", "vgg16"], "least energy first"
    assert [axes.get_title(loc="left") for axes in energy.axes] == [
        "(a) digits",
        "(b) MNIST",
    ]
    for axes in against.axes:
        assert {text.get_text() for text in axes.texts} == {name for name, *_ in NETWORKS}
        assert axes.xaxis_inverted()
    assert "vgg16 (trained) on MNIST" in energies(experiment).alt


def test_a_figure_for_each_base_and_data_set_of_the_places(experiment, undrawn):
    panels = emissions_by_place(experiment).draw("screen").axes
    assert [axes.get_title(loc="left") for axes in panels] == [
        "(a) frozen, digits",
        "(b) frozen, MNIST",
        "(c) trained, digits",
        "(d) trained, MNIST",
    ]
    assert len({axes.get_ylim() for axes in panels}) == 1, "they can be compared"


def test_tables_have_the_short_names_of_data_sets(experiment):
    text = terminal.to_text(*experiment_tables(experiment))
    assert "squeezenet1_1  trained  digits" in text
    assert "?channels" not in "".join(line for line in text.splitlines() if line[:5] == "vgg16")


def test_the_page_has_the_chapter(tmp_path, unpictured):
    runs = whole(cost_runs(NETWORKS[:2]), experiment="training-cost", kind="training-cost", round=0)
    runs["run_id"], runs["position"] = [f"run-{n}" for n in range(len(runs))], range(len(runs))
    factors = {"training-cost": ["network", "base", "dataset"]}
    results = FakeResults(tmp_path, runs, readings_of(runs), ledger_of(runs), factors)
    page = write_report(ReportedStudy(results)).read_text()
    assert "What each configuration costs, and what it reaches" in page
    assert "Weights: random" in page
    assert not (tmp_path / "report" / "claims.html").exists(), "claims of another paper"
    assert (tmp_path / "report" / "figures" / "training-cost-training-energy.svg").exists()
