"""Utilisation, time and operations beside energy, as the report shows them."""

from dataclasses import replace

import numpy as np
import pytest
from reported_study import drawn
from scipy import stats

from joulelab.report.experiment import experiments
from joulelab.report.resource_use import (
    QUANTILES,
    flops,
    time_energy,
    time_energy_points,
    utilisation_ranges,
    utilisations,
)
from shown import bold, reason, seen


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Power is 50 W; with four convolutional layers and ReLU it is 100 W."""
    study = drawn(tmp_path_factory.mktemp("effort"), rounds=4)
    experiment = experiments(study)[1]
    runs = experiment.runs.copy()
    hungry = (runs["conv_layers"] == 4) & runs["relu"].astype(bool)
    scatter = np.random.default_rng(0).normal(1, 0.01, len(runs))
    runs["duration_s"] = runs["energy_net_j"].astype(float) / np.where(hungry, 100, 50) * scatter
    runs["flops"] = 1e9 * runs["conv_layers"].astype(float) * runs["linear_layers"].astype(float)
    runs["utilisation_mean"] = np.where(hungry, 0.9, 0.5)
    for name, share in zip(QUANTILES, (0.1, 0.3, 0.5, 0.7, 0.9), strict=True):
        runs[f"utilisation_{name}"] = share
    return replace(experiment, runs=runs)


def without(experiment, *columns):
    return replace(experiment, runs=experiment.runs.drop(columns=list(columns)))


def test_utilisation_is_the_mean_of_the_runs_least_first(layers):
    table = utilisations(layers)
    assert table.frame["mean"].tolist() == pytest.approx([0.5] * 6 + [0.9] * 2)
    assert table.frame["n"].tolist() == [8] * 8
    assert list(seen(table).columns) == ["configuration", "runs", "mean", *QUANTILES]
    assert seen(table)["p5"].iloc[0] == "10 %"
    assert table.note.startswith("From 50 % to 90 % on average")
    assert "left out" not in table.note


def test_runs_without_utilisation_are_counted(layers):
    runs = layers.runs.copy()
    runs.loc[runs.index[:3], "utilisation_mean"] = np.nan
    table = utilisations(replace(layers, runs=runs))
    assert "3 runs without a figure left out." in table.note
    assert table.frame["n"].sum() == len(runs) - 3


def test_without_utilisation_table_and_picture_say_why(layers):
    bare = without(layers, "utilisation_mean")
    for make in (utilisations, utilisation_ranges):
        assert reason(make, bare) == "no meter said how busy the device was."


def test_time_and_energy_part_where_the_power_differs(layers):
    table = time_energy(layers)
    raw = table.frame.set_index("configuration")
    hungry = [name for name in raw.index if "conv_layers=4, relu=on" in name]
    means = layers.runs.groupby("configuration")[["duration_s", "energy_net_j"]].mean()
    assert raw["mean_energy_j"].to_dict() == pytest.approx(means["energy_net_j"].to_dict())
    apart = {table.frame["configuration"][row] for row, _ in bold(table)}
    assert set(hungry) <= apart
    assert (raw.loc[hungry, "power_ratio"] > 1.5).all()
    rho = stats.spearmanr(means["duration_s"], means["energy_net_j"]).statistic
    assert f"over configurations {rho:.3f}".replace("-", "\N{MINUS SIGN}") in table.note
    assert "invert: the faster takes more energy" in table.note


def test_the_picture_says_the_same_in_words(layers):
    made = time_energy_points(layers)
    assert made.alt == time_energy(layers).note


def test_equal_power_inverts_nothing(layers):
    seconds = layers.runs["energy_net_j"].astype(float) / 50
    even = replace(layers, runs=layers.runs.assign(duration_s=seconds))
    assert "In none of 28 pairs the faster takes significantly more" in time_energy(even).note


@pytest.mark.parametrize("make", [time_energy, time_energy_points])
def test_without_time_or_energy_the_reason_is_given(layers, make, tmp_path):
    assert reason(make, without(layers, "duration_s")) == "no duration is known."
    still = replace(layers, runs=layers.runs.assign(duration_s=0.0))
    assert reason(make, still) == "no run has an energy and a duration above 0."
    study = drawn(tmp_path)
    study.runs[["energy_net_j", "energy_gross_j"]] = np.nan
    assert reason(make, experiments(study)[1]).startswith("No energy is known")
    study.runs["state"] = "planned"
    assert reason(make, experiments(study)[1]) == "no run has finished yet."


def test_joules_an_operation_are_their_quotient(layers):
    table = flops(layers)
    raw = table.frame
    assert raw["flops"].is_monotonic_increasing
    assert raw["joules_per_gigaflop"].tolist() == pytest.approx(
        (raw["energy_j"] / (raw["flops"] / 1e9)).tolist()
    )
    rho = stats.spearmanr(raw["flops"], raw["energy_j"]).statistic
    assert f"= {rho:.3f}." in table.note
    most = raw["joules_per_gigaflop"].max() / raw["joules_per_gigaflop"].min()
    assert f"up to {most:.2f} times as much" in table.note
    assert seen(table)["FLOPs"].iloc[0] == "3.00 GFLOP"


def test_operations_that_are_all_the_same_have_no_correlation(layers):
    table = flops(replace(layers, runs=layers.runs.assign(flops=1e9)))
    assert "Spearman" not in table.note
    assert "times as much" in table.note


def test_energies_that_are_not_positive_have_no_factor_between_them(layers):
    runs = layers.runs.assign(energy_net_j=-1.0 * layers.runs["energy_net_j"].astype(float))
    table = flops(replace(layers, runs=runs))
    assert "times as much" not in table.note
    assert "Spearman" in table.note


def test_without_operations_the_reason_is_given(layers):
    assert reason(flops, without(layers, "flops")) == "the operations of no run are known."
    unknown = replace(layers, runs=layers.runs.assign(flops=np.nan))
    assert reason(flops, unknown) == "the operations of no run are known."
