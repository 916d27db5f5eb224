"""What trainings cost: tables, figures, and the sentence that is made of them."""

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from reported_study import drawn
from scipy import stats

from joulelab.analysis.assumptions import qq
from joulelab.analysis.kruskal import kruskal
from joulelab.present import style
from joulelab.report import energy, search
from joulelab.report.effects import configuration_pairs, effects
from joulelab.report.experiment import experiments
from shown import reason, seen

TABLES = (
    search.optima,
    effects,
    energy.increases,
    energy.cluster_table,
    energy.variations,
    configuration_pairs,
)
FIGURES = (
    search.convergence_curves,
    energy.energy_by_configuration,
    energy.trade_off,
    energy.variation_histogram,
    energy.quantile_plot,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Both kinds of experiment, of which nothing is to be changed."""
    return experiments(drawn(tmp_path_factory.mktemp("energy")))


@pytest.fixture(scope="module")
def layers(whole):
    return whole[1]


@pytest.fixture(scope="module")
def drawings(whole):
    """Every figure that can be made of the two experiments, drawn once, by name and key."""
    return {
        (one.name, make.key): make(one).draw("screen")
        for one in whole
        for make in FIGURES
        if (one.name, make.key) != ("layers", "convergence")
    }


def axis_labels(drawing):
    return [label for axes in drawing.axes for label in (axes.get_xlabel(), axes.get_ylabel())]


def test_the_k_of_the_paper_is_shown_in_a_replication_only(published, layers):
    assert "η², k = 8" in seen(effects(experiments(published)[1]))
    assert not [heading for heading in seen(effects(layers)) if "k =" in heading]


def test_numbers_are_those_of_the_analysis(layers):
    expected = kruskal(layers.runs, "conv_layers")["h"].iloc[0]
    rows = effects(layers).frame.set_index("factor")
    assert rows.loc["conv_layers", "h"] == pytest.approx(expected)


def test_levels_read_as_they_were_planned(layers):
    assert layers.runs["conv_layers"].tolist()[0] == 1
    rows = seen(energy.increases(layers)).set_index("factor")
    assert tuple(rows.loc["conv_layers", ["from", "to"]]) == ("1", "4")
    assert tuple(rows.loc["relu", ["from", "to"]]) == ("off", "on")


@pytest.mark.parametrize("kept", [0, 1, 2, 3, 7])
def test_few_runs_give_a_table_with_rows_or_a_reason(study, kept):
    for name in ("tuning", "layers"):
        rest = study.runs.index[study.runs["experiment"] == name][kept:]
        study.runs.loc[rest, "state"] = "planned"
    for experiment in experiments(study):
        for make in TABLES:
            made = make.shown(experiment)
            if why := getattr(made, "reason", ""):
                assert why.endswith(".")
                assert len(why) > 10
            else:
                assert len(made.cells()) == len(made.frame) > 0


def test_every_cell_is_text_and_every_column_has_a_heading(whole):
    for experiment in whole:
        for make in TABLES:
            made = make.shown(experiment)
            if hasattr(made, "cells"):
                assert all(made.headings())
                assert all(isinstance(cell.text, str) for row in made.cells() for cell in row)


def test_diverged_runs_count_in_the_energy(study):
    study.runs["diverged"] = True
    assert energy.variations(experiments(study)[1]).frame["n"].sum() == 48


def test_failed_runs_do_not(study):
    study.runs.loc[study.runs["experiment"] == "layers", "state"] = "failed"
    assert reason(energy.variations, experiments(study)[1]) == "no run has finished yet."


def test_every_axis_has_a_label_or_named_ticks(drawings):
    for key, drawing in drawings.items():
        axes = drawing.axes
        assert all(one.get_xlabel() for one in axes[-2:]), key
        named = [tick.get_text() for tick in axes[0].get_yticklabels()]
        assert axes[0].get_ylabel() or all(named), key


def test_every_energy_axis_has_its_unit_and_status(drawings):
    said = {key: " ".join(axis_labels(drawing)) for (_, key), drawing in drawings.items()}
    for key in ("energy", "trade-off", "quantiles"):
        assert "net energy of a training, J (estimated)" in said[key]
    assert "net energy (estimated)" in said["variation"]


def test_a_measured_study_is_labelled_measured(study):
    study.runs["energy_status"] = "measured"
    found = experiments(study)[1]
    (label, _) = axis_labels(energy.energy_by_configuration(found).draw("screen"))
    assert "J (measured)" in label


def test_the_energy_axis_of_the_trade_off_is_reversed_and_says_so(drawings):
    (axes,) = drawings["layers", "trade-off"].axes
    assert axes.xaxis_inverted()
    assert "axis reversed" in axes.get_xlabel()


def test_the_trade_off_shows_every_point_and_the_front(published):
    (axes,) = energy.trade_off(experiments(published)[1]).draw("screen").axes
    counts = {line.get_label(): len(line.get_xdata()) for line in axes.lines}
    assert counts.pop("Pareto front") == 9
    assert counts == {
        "E\N{MINUS SIGN}: conv_layers = 1 (64)": 64,
        "E+: conv_layers = 4 (64)": 64,
    }


def luminance(colour):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in matplotlib.colors.to_rgb(colour)
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_no_colour_is_lost_on_white():
    assert all(1.05 / (luminance(colour) + 0.05) > 2 for colour in style.COLOURS)


def test_large_energies_are_shown_in_larger_units(layers):
    large = layers.runs.assign(energy_net_j=4e3 * layers.runs["energy_net_j"].astype(float))
    drawing = energy.energy_by_configuration(replace(layers, runs=large)).draw("screen")
    assert "net energy of a training, kJ (estimated)" in drawing.axes[0].get_xlabel()
    drawing.draw_without_rendering()
    assert "200" in [tick.get_text() for tick in drawing.axes[0].get_xticklabels()]


def test_drawing_leaves_the_global_state_alone_and_repeats_itself(layers):
    before = dict(matplotlib.rcParams)
    made = energy.energy_by_configuration(layers)
    first, again = (style.drawn(made.draw("screen"), "svg") for _ in range(2))
    assert first == again
    assert dict(matplotlib.rcParams) == before


def test_without_a_finished_run_every_figure_is_left_out_with_the_reason(study):
    study.runs["state"] = "planned"
    for experiment in experiments(study):
        for make in FIGURES:
            assert reason(make, experiment).endswith(".")


def test_the_line_of_a_quantile_plot_is_that_of_the_fit(layers, drawings):
    (axes,) = drawings["layers", "quantiles"].axes
    found = qq(layers.measured, energy="energy_net_j")
    points, line = axes.lines
    assert list(points.get_ydata()) == sorted(layers.measured["energy_net_j"])
    expected = found.intercept + found.slope * line.get_xdata()
    assert line.get_ydata() == pytest.approx(expected)


def test_shapiro_and_wilk_stand_below_the_quantiles(layers):
    energies = layers.runs["energy_net_j"].astype(float)
    w = stats.shapiro(energies).statistic
    made = energy.quantile_plot(layers)
    assert f"Shapiro-Wilk: W = {w:.3f}" in made.note
    assert made.note.partition(". ")[2] in made.alt


def test_a_single_run_a_configuration_leaves_the_variation_out(tmp_path):
    layers = experiments(drawn(tmp_path, rounds=1, repetitions=1))[1]
    assert "fewer than two values" in reason(energy.variation_histogram, layers)
    assert "No CV for 8 configurations" in energy.variations(layers).note
