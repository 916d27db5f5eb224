"""What training costs: tables, figures and sentences of the chapter."""

import io

import numpy as np
import pytest
from joulelab.kinds.training_cost.base_table import base_effect, base_table
from joulelab.kinds.training_cost.chapter import cost_contents, cost_tables
from joulelab.kinds.training_cost.cost_tables import (
    cost_table,
    efficiency_table,
    size_table,
)
from joulelab.kinds.training_cost.dataset_table import dataset_correlation, dataset_table
from joulelab.kinds.training_cost.pictures import accuracy_picture, cost_picture
from joulelab.kinds.training_cost.proxy_table import proxy_table
from joulelab.report.chapter import chapter, trainings
from joulelab.report.page import write_report
from joulelab.report.pictures import Picture
from joulelab.report.tables import Omitted, Table
from joulelab.report.text import print_tables
from reported_study import FakeResults, ledger_of, readings_of, whole
from rich.console import Console
from training_cost_runs import DATASETS, NETWORKS, cost_experiment, cost_runs

from joulelab.kinds.training_cost.configurations import configurations, per_kwh, short_datasets
from joulelab.kinds.training_cost.findings import cost_findings

PLACES = ["100", "970", "300"]


@pytest.fixture(scope="module")
def experiment():
    return cost_experiment(cost_runs(), places=PLACES, pue=1.2, weights="auto")


def by_key(experiment):
    return {one.key: one for one in cost_tables(experiment)}


def said(experiment):
    return " ".join(cost_findings(experiment))


def test_a_row_is_the_mean_of_the_runs_of_a_configuration(experiment):
    raw = cost_table(experiment).raw
    assert len(raw) == len(NETWORKS) * 2 * 2
    row = raw[raw["configuration"] == f"vgg16, frozen, {DATASETS[0]}"].iloc[0]
    runs = experiment.runs[experiment.runs["configuration"] == row["configuration"]]
    assert row["energy_j"] == pytest.approx(runs["energy_net_j"].mean())
    assert row["energy_low_j"] < row["energy_j"] < row["energy_high_j"]
    kwh = runs["energy_net_j"].mean() / 3.6e6
    assert row["accuracy_per_kwh"] == pytest.approx(runs["accuracy"].mean() / kwh)
    assert row["f1"] == pytest.approx(row["accuracy"] - 0.01)
    assert raw["energy_j"].is_monotonic_increasing


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
    table = efficiency_table(experiment)
    assert table.raw["accuracy_per_kwh"].is_monotonic_decreasing
    assert (table.raw["accuracy_per_kwh_low"] < table.raw["accuracy_per_kwh"]).all()
    assert "no interval" not in set(table.shown["95 % interval"])


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
    axes = accuracy_picture(cost_experiment(runs)).figure.axes[0]
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
    of = [by_key(made)["kruskal"].raw["h"].to_list() for made in (spoiled, clean)]
    assert of[0] == of[1]


def test_one_run_of_each_configuration_allows_no_tests_and_that_is_said():
    single = cost_experiment(cost_runs(repetitions=1))
    made = by_key(single)
    for key in ("kruskal", "interactions", "posthoc", "point-biserial"):
        assert isinstance(made[key], Omitted)
        assert "one measurement" in made[key].reason
    assert "no tests" in said(single)
    assert "Kruskal" not in said(single)
    assert "no intervals" in cost_table(single).note


def test_random_weights_are_the_first_thing_that_is_said(experiment):
    first = cost_findings(experiment)[0]
    assert first == (
        "Weights: random, because the published ones do not lie on this machine: accuracies are "
        "not those of fine-tuning."
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
    assert "weights" in size_table(some).shown


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
    assert all("less, a difference that may be chance, at " in one for one in fronts)


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
    assert isinstance(base_table(one_base), Omitted)
    assert "base" not in cost_table(one_base).shown
    assert "base trained" in cost_table(one_base).note


def test_the_point_biserial_correlation_is_pearsons_with_0_and_1(experiment):
    found, runs = dataset_correlation(experiment), experiment.runs
    codes = (runs["dataset"] == DATASETS[1]).astype(float)
    assert found.r == pytest.approx(np.corrcoef(codes, runs["energy_net_j"])[0, 1])
    assert found.more == DATASETS[1]
    assert found.ratio == pytest.approx(1.5, rel=0.03)
    assert "at equal network and base MNIST takes +50" in said(experiment)


@pytest.mark.parametrize(
    ("datasets", "reason"),
    [(DATASETS[:1], "here is 1"), ((*DATASETS, "fashion"), "here are 3")],
)
def test_another_number_of_data_sets_has_no_point_biserial_correlation(datasets, reason):
    made = cost_experiment(cost_runs(networks=NETWORKS[:2], datasets=datasets))
    assert reason in dataset_table(made).reason


def test_total_flops_stand_for_energy_where_trainable_ones_do_not(experiment):
    rows = proxy_table(experiment).raw.set_index("of")
    assert rows["rho"]["flops"] > 0.95 > rows["rho"]["flops_trainable"]
    assert rows["spread"]["flops"] < rows["spread"]["flops_trainable"]
    assert rows["low"]["flops"] < rows["rho"]["flops"] < rows["high"]["flops"]
    assert "total FLOPs are the better stand-in" in said(experiment)
    trained = experiment.runs[experiment.runs["base"] == "trained"]
    assert "stand-in" not in said(cost_experiment(trained)), "both are the same"


def test_two_configurations_have_no_order_to_speak_of():
    few = cost_experiment(cost_runs(NETWORKS[:2], bases=("trained",), datasets=DATASETS[:1]))
    assert "it needs 3 configurations" in proxy_table(few).reason


def test_places_of_the_study_file_are_booked(experiment):
    made = by_key(experiment)
    assert "PUE 1.2" in made["places"].note
    grams = made["place-co2e"].raw
    assert set(grams.columns[:2]) == {"network", "place"}, "16 configurations are too many"
    vgg = experiment.runs[experiment.runs["network"] == "vgg16"]["energy_gross_j"].mean()
    row = grams[(grams["network"] == "vgg16") & (grams["place"] == "970 g/kWh")].iloc[0]
    assert row["co2e_g"] == pytest.approx(vgg / 3.6e6 * 970 * 1.2)
    effects = made["place-effects"].raw.set_index("of")
    assert effects["ratio"]["place"] == pytest.approx(9.7)
    parts = effects["eta_squared"][["network", "base", "dataset"]].sum()
    assert parts == pytest.approx(effects["eta_squared"]["configuration"], abs=1e-3)
    assert "Place moves CO2e 9.70 times (970 g/kWh over 100 g/kWh), network" in said(experiment)


def test_few_configurations_are_booked_one_by_one():
    few = cost_experiment(cost_runs(NETWORKS[:2]), places=PLACES)
    assert "configuration" in by_key(few)["place-co2e"].raw


def test_a_place_that_is_not_known_is_said_and_the_others_are_booked():
    made = cost_experiment(cost_runs(NETWORKS[:2]), places=["NLDX", "100", "300"])
    tables = by_key(made)
    assert "unknown place 'NLDX'" in tables["places"].note
    assert tables["place-co2e"].raw["place"].nunique() == 2
    assert "NLDX" in said(made)
    alone = cost_experiment(cost_runs(NETWORKS[:2]), places=["NLDX"])
    assert "unknown place 'NLDX'" in by_key(alone)["places"].reason
    assert "place-co2e" not in by_key(alone)


def test_without_places_there_is_nothing_about_them():
    made = cost_experiment(cost_runs(NETWORKS[:2]))
    assert not [key for key in by_key(made) if key.startswith("place")]


def test_without_energies_it_is_said_why_once():
    none = cost_experiment(cost_runs(NETWORKS[:2]), column=None, places=PLACES)
    (only,) = cost_tables(none)
    assert only.reason == "No energy is known: no meter gave a value."
    assert [one.reason for one in cost_contents(none)] == [only.reason]
    assert not cost_findings(none)
    wrong = cost_experiment(cost_runs(NETWORKS[:2]).assign(energy_net_j=-1.0))
    assert "no run has an energy above 0" in by_key(wrong)["training-cost"].reason
    assert "impossible energies" in said(wrong)
    assert isinstance(cost_contents(wrong)[0], Omitted)


def test_without_runs_nothing_is_said():
    empty = cost_experiment(cost_runs().iloc[:0], places=PLACES)
    (only,) = cost_tables(empty)
    assert only.reason == "no run has finished yet."
    assert not cost_findings(empty)


def test_every_network_stands_in_the_figures(experiment):
    energy, trade_off = cost_picture(experiment), accuracy_picture(experiment)
    names = [tick.get_text() for tick in energy.figure.axes[0].get_yticklabels()]
    assert names == ["SimpleCNN", "squeezenet1_1", "resnet18", "vgg16"], "least energy first"
    assert [axes.get_title(loc="left") for axes in energy.figure.axes] == [
        "(a) digits",
        "(b) MNIST",
    ]
    for axes in trade_off.figure.axes:
        assert {text.get_text() for text in axes.texts} == {name for name, *_ in NETWORKS}
        assert axes.xaxis_inverted()
    assert "vgg16 (trained) on MNIST" in energy.alt


def test_a_figure_for_each_base_and_data_set_of_the_places(experiment):
    pictures = {one.key: one for one in cost_contents(experiment) if isinstance(one, Picture)}
    panels = pictures["place-picture"].figure.axes
    assert [axes.get_title(loc="left") for axes in panels] == [
        "(a) frozen, digits",
        "(b) frozen, MNIST",
        "(c) trained, digits",
        "(d) trained, MNIST",
    ]
    assert len({axes.get_ylim() for axes in panels}) == 1, "they can be compared"


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_into_the_terminal(experiment, width):
    console = Console(file=io.StringIO(), width=width)
    print_tables(experiment, console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "squeezenet1_1  trained  digits" in text
    assert "?channels" not in "".join(line for line in lines if line.startswith("vgg16"))


def test_the_page_has_the_chapter(tmp_path, undrawn):
    runs = whole(cost_runs(NETWORKS[:2]), experiment="training-cost", kind="training-cost", round=0)
    runs["run_id"], runs["position"] = [f"run-{n}" for n in range(len(runs))], range(len(runs))
    factors = {"training-cost": ["network", "base", "dataset"]}
    results = FakeResults(tmp_path, runs, readings_of(runs), ledger_of(runs), factors)
    page = write_report(results).read_text()
    assert "What each configuration costs, and what it reaches" in page
    assert "Weights: random" in page
    assert not (tmp_path / "report" / "claims.html").exists(), "claims of another paper"
    assert (tmp_path / "report" / "figures" / "training-cost-training-energy.svg").exists()


def test_the_chapter_is_found_by_kind(experiment):
    assert chapter(experiment).tables is cost_tables
    assert not trainings([experiment])
    assert all(isinstance(table, Table | Omitted) for table in cost_tables(experiment))
    assert set(chapter(experiment).in_brief) <= set(by_key(experiment))
