import matplotlib
import numpy as np
import pytest
from joulelab.report.paper.numbered import paper_figures
from joulelab.report.tables import Omitted

from joulelab.analysis.assumptions import qq
from joulelab.present.style import COLOURS, drawn, save
from joulelab.report import pictures
from joulelab.report.experiment import experiments
from joulelab.report.ledger import study_energy

MAKERS = (
    pictures.convergence_picture,
    pictures.energy_picture,
    pictures.trade_off_picture,
    pictures.variation_picture,
    pictures.quantile_picture,
)


def drawn_pictures(study):
    made = [make(one) for one in experiments(study) for make in MAKERS]
    return [p for p in made if not isinstance(p, Omitted)] + [
        pictures.ledger_picture(study_energy(study.ledger))
    ]


def axis_labels(picture):
    return [
        label for axes in picture.figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())
    ]


def test_every_axis_has_a_label_or_named_ticks(study):
    for picture in drawn_pictures(study):
        axes = picture.figure.axes
        assert all(one.get_xlabel() for one in axes[-2:]), picture.key
        named = [tick.get_text() for tick in axes[0].get_yticklabels()]
        assert axes[0].get_ylabel() or all(named), picture.key


def test_every_energy_axis_has_its_unit_and_status(study):
    said = {p.key: " ".join(axis_labels(p)) for p in drawn_pictures(study)}
    for key in ("energy", "trade-off", "quantiles"):
        assert "net energy of a training, J (estimated)" in said[key]
    assert "net energy (estimated)" in said["variation"]
    assert "gross energy, J (estimated)" in said["ledger"]


def test_a_measured_study_is_labelled_measured(study):
    study.runs["energy_status"] = "measured"
    found = experiments(study)[1]
    (label, _) = axis_labels(pictures.energy_picture(found))
    assert "J (measured)" in label


def test_the_energy_axis_of_the_trade_off_is_reversed_and_says_so(study):
    (axes,) = pictures.trade_off_picture(experiments(study)[1]).figure.axes
    assert axes.xaxis_inverted()
    assert "axis reversed" in axes.get_xlabel()


def test_the_trade_off_shows_every_point_and_the_front(published):
    layers = experiments(published)[1]
    (axes,) = pictures.trade_off_picture(layers).figure.axes
    counts = {line.get_label(): len(line.get_xdata()) for line in axes.lines}
    assert counts.pop("Pareto front") == 9
    assert counts == {
        "E\N{MINUS SIGN}: conv_layers = 1 (64)": 64,
        "E+: conv_layers = 4 (64)": 64,
    }


def test_curves_count_rounds_from_1_and_mark_the_optimum(published):
    tuning = experiments(published)[0]
    figure = pictures.convergence_picture(tuning).figure
    panel = next(
        a for a in figure.axes if a.get_title(loc="left").endswith("SimpleCNN, 5 hyperparameters")
    )
    curve = next(line for line in panel.lines if line.get_label() == "bayesian")
    rounds, best = curve.get_xdata(), curve.get_ydata()
    assert (rounds[0], rounds[-1]) == (1, 64)
    assert curve.get_markevery() == [19]
    assert best[19] == pytest.approx(0.8876, abs=1e-4)
    assert best[18] < best[19] == best[-1]
    assert len(figure.axes) == 6


def luminance(colour):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in matplotlib.colors.to_rgb(colour)
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_no_colour_is_lost_on_white():
    assert all(1.05 / (luminance(colour) + 0.05) > 2 for colour in COLOURS)


def test_large_energies_are_shown_in_larger_units(study):
    study.runs[["energy_net_j", "energy_gross_j"]] *= 4e3
    figure = pictures.energy_picture(experiments(study)[1]).figure
    assert "net energy of a training, kJ (estimated)" in figure.axes[0].get_xlabel()
    figure.draw_without_rendering()
    assert "200" in [tick.get_text() for tick in figure.axes[0].get_xticklabels()]


def test_lost_energy_is_set_apart(study):
    study.ledger.loc[5, "state"] = "interrupted"
    figure = pictures.ledger_picture(study_energy(study.ledger)).figure
    lost = [bar for bar in figure.axes[0].patches if bar.get_hatch()]
    assert sum(bar.get_width() for bar in lost) == pytest.approx(
        study.ledger.loc[5, "energy_gross_j"]
    )


def test_drawing_leaves_the_global_state_alone_and_repeats_itself(study):
    before = dict(matplotlib.rcParams)
    first, again = (
        drawn(pictures.energy_picture(experiments(study)[1]).figure, "svg") for _ in range(2)
    )
    assert first == again
    assert dict(matplotlib.rcParams) == before


def test_without_a_finished_run_every_figure_is_left_out_with_the_reason(study):
    study.runs["state"] = "planned"
    for experiment in experiments(study):
        for make in MAKERS:
            assert make(experiment).reason.endswith(".")


def test_a_figure_is_saved_in_the_formats_asked_for_and_the_first_is_given_back(study, tmp_path):
    figure = pictures.ledger_picture(study_energy(study.ledger)).figure
    given = save(figure, tmp_path, "ledger", ("pdf", "svg"))
    assert sorted(path.name for path in tmp_path.glob("ledger.*")) == ["ledger.pdf", "ledger.svg"]
    assert given == (tmp_path / "ledger.pdf").read_bytes()
    assert given.startswith(b"%PDF")
    assert b"CreationDate" not in given


def test_the_clusters_of_the_paper_are_set_apart(published):
    layers = experiments(published)[1]
    found = next(one for one in paper_figures([layers]) if one.key == "figure-8")
    (axes,) = found.figure.axes
    lines = {line.get_label(): line.get_xdata() for line in axes.lines}
    assert max(lines["conv layers = 1"]) < min(lines["conv layers = 4"])
    assert len(lines["conv layers = 1"]) == len(lines["conv layers = 4"]) == 1536
    assert len(drawn(found.figure, "svg")) < 500_000


def test_the_line_of_a_quantile_plot_is_that_of_the_fit(study):
    layers = experiments(study)[1]
    (axes,) = pictures.quantile_picture(layers).figure.axes
    found = qq(layers.measured, energy="energy_net_j")
    points, line = axes.lines
    assert list(points.get_ydata()) == sorted(layers.measured["energy_net_j"])
    expected = found.intercept + found.slope * line.get_xdata()
    assert line.get_ydata() == pytest.approx(expected)
