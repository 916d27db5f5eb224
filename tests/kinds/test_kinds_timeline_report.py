"""Tables, findings and figures of energy per image over the years."""

import dataclasses

import numpy as np
import pytest
from timeline_runs import NETWORKS, timeline_experiment, timeline_runs

from joulelab.errors import UsageError
from joulelab.kinds.timeline.points import network_points
from joulelab.kinds.timeline.report import (
    TIMELINE,
    accuracy_front,
    over_the_years,
    timeline_findings,
)
from joulelab.kinds.timeline.tables import correlations, distances, networks, trends
from joulelab.present.style import drawn
from shown import bold, reason, seen

OFF = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def experiment():
    return timeline_experiment(timeline_runs())


def steep(seed=1):
    """Energy grows by a quarter a year, but for one network at a hundredth of that."""
    runs = timeline_runs(sizes=(1, 8))
    rng = np.random.default_rng(seed)
    chance = {name: np.exp(rng.normal(0, 0.2)) for name, *_ in NETWORKS}
    joules = 0.1 * 1.25 ** (runs["year"] - 2012) * runs["model"].map(chance)
    joules[runs["model"] == OFF] /= 100
    joules /= runs["batch_size"].map({1: 1.0, 8: 2.0})
    return timeline_experiment(runs.assign(energy_net_j=joules * runs["images"]))


def said(experiment):
    return " ".join(timeline_findings(experiment))


def test_energy_per_image_is_the_energy_of_a_run_over_its_images(experiment):
    runs = experiment.runs
    points = network_points(experiment).set_index("model")
    for name in ("alexnet", "vit_l_16"):
        alone = runs[(runs["model"] == name) & (runs["batch_size"] == 1)]
        assert points.loc[name, "single_j"] == pytest.approx(
            (alone["energy_net_j"] / alone["images"]).mean()
        )
        assert points.loc[name, "best_size"] == 32


def test_networks_stand_in_the_order_of_their_years(experiment):
    table = networks(experiment)
    assert len(table.frame) == len(NETWORKS)
    years = seen(table)["year"].to_list()
    assert years == sorted(years)
    first = seen(table).iloc[0]
    assert (first["network"], first["year"], first["top-1"]) == ("alexnet", "2012", "56.5 %")
    assert first["FLOPs"] == "1.43 GFLOP"
    assert first["parameters, M"] == "61.1"
    assert first["saving"] in {"39 %", "40 %", "41 %"}
    assert "to" in first["interval, best"]


def test_the_front_is_bold(experiment):
    table = networks(experiment)
    front = {table.frame["model"][row] for row, _ in bold(table)}
    assert {OFF, "efficientnet_v2_s"} <= front
    assert "vgg16" not in front


def test_one_repetition_has_no_interval_and_is_still_compared():
    found = timeline_experiment(timeline_runs(repetitions=1))
    table = networks(found)
    assert set(seen(table)["interval, best"]) == {"\N{EN DASH}"}
    assert len(trends(found).frame) == 3


def test_a_trend_is_a_percentage_a_year_and_points_a_year():
    table = trends(steep())
    rows = seen(table).set_index("figure")
    raw = table.frame.set_index("figure")
    assert raw.loc["best_j", "low"] < 0.25 < raw.loc["best_j", "high"]
    assert rows.loc["energy, best batch", "a year"].startswith("+")
    assert rows.loc["published top-1", "a year"].endswith("points")
    assert rows.loc["published top-1", "networks"] == str(len(NETWORKS))


def test_growth_that_is_sure_is_said_and_so_is_its_outlier():
    found = steep()
    words = said(found)
    assert "has grown by" in words
    assert "energy grows faster (p < 0.001" in words
    assert f"{OFF} (0.0" in words
    assert "is an outlier" in words
    table = distances(found)
    assert {table.frame["model"][row] for row, _ in bold(table)} == {OFF}
    assert table.frame["ratio"].iloc[0] < 0.05


def test_growth_that_chance_may_have_made_is_not_called_growth(experiment):
    words = said(experiment)
    assert "no clear trend" in words
    assert "whether energy grows faster is open" in words
    assert "No network is an outlier" in words
    assert f"Furthest from it are {OFF}" in words


def test_records_batching_front_and_correlation_are_said(experiment):
    words = said(experiment)
    assert "in 2012 (alexnet)" in words
    assert "The best batch size saves 3" in words
    assert "for the median network" in words
    assert "No other network has both" in words
    assert "FLOPs 0.9" in words


def test_a_front_of_one_network_has_one_place():
    runs = timeline_runs()
    least = runs.loc[runs["flops_per_image"].idxmin(), "model"]
    runs.loc[runs["model"] == least, "published_top1"] = runs["published_top1"].max() + 0.01
    words = said(timeline_experiment(runs))
    assert "the front goes from" not in words
    assert f"No other network has less energy or more accuracy than {least}: " in words


def test_what_random_weights_mean_is_said_once_on_a_page():
    found = timeline_experiment(timeline_runs())
    assert said(found).count("Random weights ask for the same operations") == 1
    assert "andom weights" not in networks(found).note


def test_the_weights_are_said():
    runs = timeline_runs()
    assert "All networks ran with random weights" in said(timeline_experiment(runs))
    trained = timeline_experiment(runs.assign(weights="IMAGENET1K_V1"))
    assert f"{len(NETWORKS)} with published weights (IMAGENET1K_V1)" in said(trained)
    mixed = runs.assign(weights=np.where(runs["model"] == OFF, "IMAGENET1K_V1", "random"))
    words = said(timeline_experiment(mixed))
    assert f"1 with published weights (IMAGENET1K_V1) and {len(NETWORKS) - 1} with random" in words
    assert "not known which weights" in said(timeline_experiment(runs.drop(columns="weights")))


def test_images_of_another_size_than_the_accuracys_are_said():
    runs = timeline_runs().assign(image_px=224, crop_px=224)
    assert "another size" not in said(timeline_experiment(runs))
    runs.loc[runs["model"] == "efficientnet_b4", "crop_px"] = 380
    words = said(timeline_experiment(runs))
    assert "efficientnet_b4 (224 px, published with 380)" in words


def test_correlation_is_by_flops_and_by_parameters(experiment):
    raw = correlations(experiment).frame.set_index(["of", "energy"])
    assert raw.loc[("flops", "best_j"), "rho"] > raw.loc[("parameters", "best_j"), "rho"] > 0.5
    assert raw.loc[("flops", "best_j"), "n"] == len(NETWORKS)


@pytest.mark.parametrize(
    ("some", "words"),
    [(NETWORKS[:5], "5 networks"), (NETWORKS[:13], "networks of 4 different years")],
)
def test_few_networks_are_shown_without_statistics(some, words):
    found = timeline_experiment(timeline_runs(some))
    assert len(networks(found).frame) == len(some)
    assert words in reason(trends, found)
    assert words in reason(distances, found)
    assert f"No trend of energy over the years: {words}" in said(found)
    assert over_the_years(found).alt
    assert accuracy_front(found).alt


def test_one_network_alone_is_shown():
    found = timeline_experiment(timeline_runs(NETWORKS[:1], repetitions=1))
    assert "Batching saves" in said(found)
    for make in (over_the_years, accuracy_front):
        assert drawn(make(found).draw("screen"), "svg").startswith(b"<?xml")


def test_without_energy_everything_is_left_out_with_the_reason():
    runs = timeline_runs(repetitions=1).assign(energy_net_j=np.nan)
    found = timeline_experiment(runs, column=None)
    for make in TIMELINE.contents:
        assert "no meter gave a value" in reason(make, found)
    assert TIMELINE.findings(found) == []


def test_before_the_first_run_nothing_is_said():
    found = timeline_experiment(timeline_runs().head(0))
    for make in TIMELINE.contents:
        assert reason(make, found) == "no run has finished yet."
    assert TIMELINE.findings(found) == []


def test_a_network_without_energy_or_year_is_named_and_left_out():
    runs = timeline_runs()
    runs.loc[runs["model"] == "alexnet", "energy_net_j"] = np.nan
    runs.loc[runs["model"] == "vgg11", ["year", "published_top1"]] = np.nan
    found = timeline_experiment(runs)
    table = networks(found)
    row = seen(table).set_index("network")
    assert row.loc["alexnet", "at best batch"] == "unknown"
    assert row.loc["vgg11", "year"] == "unknown"
    assert "1 network without a figure of energy" in table.note
    assert trends(found).frame.set_index("figure").loc["best_j", "n"] == len(NETWORKS) - 2
    assert over_the_years(found).draw("screen").axes


def test_without_batch_1_there_is_no_saving():
    found = timeline_experiment(timeline_runs(sizes=(8, 32)))
    assert networks(found).frame["saving"].isna().all()
    assert "saves" not in said(found)
    assert trends(found).frame["figure"].to_list() == ["best_j", "accuracy"]
    assert over_the_years(found).draw("screen").axes


def test_runs_of_another_kind_are_refused(experiment):
    other = dataclasses.replace(experiment, runs=experiment.runs.drop(columns="images"))
    with pytest.raises(UsageError, match="images"):
        networks(other)


@pytest.fixture(scope="module")
def drawings(experiment):
    """Both figures, drawn once."""
    return [make(experiment).draw("screen") for make in (over_the_years, accuracy_front)]


def test_an_unmeasured_status_stands_at_the_axis(experiment, drawings):
    axes = drawings[0].axes[0]
    assert axes.get_ylabel() == "net energy per image, J (estimated)"
    assert axes.get_yscale() == "log"
    assert "no clear trend" in over_the_years(experiment).alt


def test_names_do_not_cover_each_other(drawings):
    for figure in drawings:
        figure.draw_without_rendering()
        for axes in figure.axes:
            boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
            for i, one in enumerate(boxes):
                assert not any(one.overlaps(other) for other in boxes[i + 1 :])


def test_the_networks_on_the_front_and_off_the_trend_are_named(experiment, drawings):
    names = {text.get_text() for text in drawings[0].axes[0].texts}
    assert {"alexnet", OFF, "vit_l_16", "efficientnet_v2_s"} <= names
    names = {text.get_text() for text in drawings[1].axes[0].texts}
    points = network_points(experiment)
    assert set(points.loc[points["on_front"], "model"]) <= names


def test_less_energy_stands_to_the_right_of_the_front(drawings):
    axes = drawings[1].axes[0]
    low, high = axes.get_xlim()
    assert low > high
    assert "axis reversed" in axes.get_xlabel()


def test_ticks_of_accuracy_are_not_rounded():
    found = timeline_experiment(timeline_runs(NETWORKS[:5], repetitions=1))
    axes = over_the_years(found).draw("screen").axes[1]
    ticks = axes.get_yticks()
    assert [float(label.get_text().removesuffix(" %")) for label in axes.get_yticklabels()] == (
        pytest.approx(list(100 * ticks))
    )
