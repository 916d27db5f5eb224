import itertools
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.text import Text

from joulelab.errors import UsageError
from joulelab.report.paper.convergence_figure import Curve, convergence_figure
from joulelab.report.paper.dimension_figure import effective_dimension_figure
from joulelab.report.paper.figures import Cloud, trade_off_figure, variation_figure
from joulelab.report.paper.layout import panel_titles, spread
from joulelab.report.paper.load_figures import Cost, time_energy_figure, utilisation_figure
from joulelab.report.paper.rank_figure import critical_difference_figure, joined
from joulelab.report.style import SIZES, drawn
from joulelab.tuning.effective_dimension import effective_dimension

LABEL = "net energy of a training, {unit} (measured)"
NAN = float("nan")
MINUS = "\N{MINUS SIGN}"


def curve(label, best, band=0.0):
    best = np.maximum.accumulate(np.asarray(best, dtype=float))
    optimum = None if np.isnan(best).all() else int(np.nanargmax(best)) + 1
    return Curve(label, best, optimum, best - band, best + band)


def panels(networks=3, strategies=3, rounds=64, name="network"):
    random = np.random.default_rng(1)
    return {
        f"{name} {n}": [
            curve(f"strategy {s}", random.uniform(0.1, 0.9, rounds), 0.01)
            for s in range(strategies)
        ]
        for n in range(networks)
    }


def cloud(runs=400, scale=1.0, marks=True):
    random = np.random.default_rng(2)
    layers = np.repeat([1, 4], runs // 2)
    points = pd.DataFrame(
        {
            "energy_j": scale * random.normal(400 + 400 * layers, 20),
            "accuracy": random.normal(0.87, 0.01, len(layers)),
            "group": [f"{n} convolutional layers" for n in layers],
        }
    )
    named = {"1 convolutional layers": "E" + MINUS, "4 convolutional layers": "E+"}
    return Cloud(points, points.nlargest(3, "accuracy"), named if marks else None)


def load(count):
    random = np.random.default_rng(3)
    shares = np.sort(random.uniform(0.1, 0.95, (count, 6)), axis=1)
    table = pd.DataFrame(shares, columns=["p5", "p25", "p50", "mean", "p75", "p95"])
    return table.assign(configuration=[f"linear_layers=3, conv_layers={n}" for n in range(count)])


def costs(count, parting=()):
    return [
        Cost(
            f"configuration {n}", 10.0 + n, 60.0 * (10 + n) * (2 if n in parting else 1), 0.5, 20.0
        )
        if n not in parting
        else Cost(f"configuration {n}", 10.0 + n, 120.0 * (10 + n), 0.5, 20.0, parts=True)
        for n in range(count)
    ]


RANKS = {"bayesian-pi": 1.3, "random": 2.2, "grid": 2.5}
UNLIKE = [["bayesian-pi", "random"], ["random", "grid"]]
LONG = {f"a strategy with rather a long name, {n}": 1.0 + n for n in range(7)}
FIGURES = {
    "convergence": lambda: convergence_figure(panels(), "mean"),
    "convergence of one round": lambda: convergence_figure(panels(1, 1, 1), "mean"),
    "convergence of seven": lambda: convergence_figure(panels(7, 7), "max"),
    "convergence of long names": lambda: convergence_figure(
        panels(4, name="DenseLinearNN, 5 hyperparameters, batch size"), "max"
    ),
    "convergence in a column": lambda: convergence_figure(panels(2), "max", "column"),
    "variation": lambda: variation_figure({"a": [0.01, 0.02, 0.03], "b": [0.01]}, "net energy"),
    "variation of one": lambda: variation_figure({"a": [0.01]}, "net energy"),
    "trade-off": lambda: trade_off_figure({"a": cloud(), "b": cloud(3000)}, LABEL),
    "trade-off of huge energies": lambda: trade_off_figure({"": cloud(40, 1e6)}, LABEL, "column"),
    "trade-off below 0": lambda: trade_off_figure({"": cloud(40, -1e-6)}, LABEL, "column"),
    "dimension": lambda: effective_dimension_figure(effective_dimension(0)),
    "dimension in a column": lambda: effective_dimension_figure(effective_dimension(1), "column"),
    "ranks": lambda: critical_difference_figure(RANKS, 0.9, UNLIKE, "Nemenyi, p < 0.05"),
    "long names": lambda: critical_difference_figure(LONG, None, [list(LONG)[:3]], "Holm"),
    "load": lambda: utilisation_figure(load(8)),
    "load of forty": lambda: utilisation_figure(load(40), width="page"),
    "time and energy": lambda: time_energy_figure(costs(26, (3, 4, 5, 20)), LABEL),
    "time and energy of one": lambda: time_energy_figure(costs(1), LABEL),
}


@pytest.fixture(scope="module")
def figures():
    """Every figure, drawn once."""
    made = {name: make() for name, make in FIGURES.items()}
    for figure in made.values():
        figure.draw_without_rendering()
    return made


def texts(figure):
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def written(figure):
    """Texts that are seen: matplotlib keeps those of axes that are off, and of ticks beyond."""
    unseen = set()
    for axes in figure.axes:
        for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            ticks = (*axis.get_major_ticks(), *axis.get_minor_ticks())
            beyond = [t for t in ticks if not min(ends) <= t.get_loc() <= max(ends)]
            unseen |= {t for tick in beyond for t in tick.findobj(Text)}
            unseen |= set() if axes.axison else set(axis.findobj(Text))
    return [text for text in texts(figure) if text not in unseen]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_as_wide_as_what_it_is_printed_in(figures, name):
    widths = {SIZES["column"].width_in, SIZES["page"].width_in}
    assert figures[name].get_figwidth() in widths
    assert figures[name].get_figheight() < 9.5


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_at_least_7_points_and_no_line_thinner_than_0_6(figures, name):
    figure = figures[name]
    assert min(text.get_fontsize() for text in texts(figure)) >= 7
    lines = [
        line
        for line in figure.findobj(Line2D)
        if line.get_linestyle() != "None" and len(line.get_xdata())
    ]
    assert min(line.get_linewidth() for line in lines) >= 0.6
    assert all(
        min(lines.get_linewidths()) >= 0.6
        for lines in figure.findobj(LineCollection)
        if len(lines.get_segments())
    )


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_covers_another(figures, name):
    seen = written(figures[name])
    edge = figures[name].bbox.padded(1)
    boxes = [(text.get_text(), text.get_window_extent().padded(-0.5)) for text in seen]
    for said, box in boxes:
        assert edge.x0 <= box.x0, said
        assert box.x1 <= edge.x1, said
        assert edge.y0 <= box.y0, said
        assert box.y1 <= edge.y1, said
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), (one, other)


@pytest.mark.parametrize("name", ["convergence", "trade-off", "dimension", "ranks"])
def test_pdf_has_its_fonts_within_as_truetype_and_is_the_same_after_other_formats(name):
    figure = FIGURES[name]()
    drawn(figure, "svg")
    first, again = drawn(figure, "pdf"), drawn(FIGURES[name](), "pdf")
    assert first == again
    assert b"/FontFile2" in first
    assert b"/Type3" not in first
    assert len(first) < 500_000


def test_svg_is_the_same_each_time_and_small_with_thousands_of_points(figures):
    first, again = (drawn(FIGURES["trade-off"](), "svg") for _ in range(2))
    assert first == again
    assert b"<image" in first
    assert len(first) < 500_000
    assert b"<image" not in drawn(figures["convergence"], "svg")


def test_a_strategy_has_one_line_through_the_values_given_and_a_marker_at_its_optimum():
    given_panels = panels(2, 3, 10)
    figure = convergence_figure(given_panels, "mean")
    for axes, curves in zip(figure.axes, given_panels.values(), strict=True):
        assert [line.get_label() for line in axes.lines] == [c.label for c in curves]
        for line, one in zip(axes.lines, curves, strict=True):
            assert list(line.get_xdata()) == list(range(1, 11))
            assert list(line.get_ydata()) == list(one.best)
            assert line.get_markevery() == [one.optimum_round - 1]
        assert len(axes.collections) == 3, "a band for each"
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["strategy 0", "strategy 1", "strategy 2"]


def test_panels_are_lettered_and_at_most_three_side_by_side():
    figure = convergence_figure(panels(4), "mean")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["(a) network 0", "(b) network 1", "(c) network 2", "(d) network 3"]
    assert figure.axes[0].get_subplotspec().get_gridspec().ncols == 3
    assert panel_titles(["x"] * 28)[-1] == "(ab) x"


def test_a_network_without_a_score_is_said_to_have_none():
    figure = convergence_figure({"a": [curve("x", [NAN, NAN])], "b": [curve("x", [0.1])]}, "mean")
    assert [t.get_text() for t in figure.axes[0].texts] == ["no round has a score"]
    assert not figure.axes[1].texts


def test_each_data_set_adds_its_configurations_to_the_histogram():
    figure = variation_figure({"a": [0.01, 0.02, NAN], "b": [0.01, 0.04, 0.04]}, "net energy")
    (axes,) = figure.axes
    heights = [sum(bar.get_height() for bar in bars) for bars in axes.containers]
    assert heights == [2, 3]
    assert {bar.get_hatch() for bar in axes.patches} == {"", "////"}
    (mean,) = axes.lines
    assert mean.get_xdata()[0] == pytest.approx(2.4)
    said = [t.get_text() for t in figure.legends[0].get_texts()]
    assert said == ["a", "b", "mean 2.40 %"]


def test_the_trade_off_has_its_axis_reversed_and_its_clusters_named_over_their_points():
    one = cloud()
    figure = trade_off_figure({"Fashion-MNIST": one, "CIFAR-10": cloud(40, 2.0)}, LABEL)
    for axes in figure.axes:
        assert axes.xaxis_inverted()
        assert "axis reversed" in axes.get_xlabel()
    (axes, _) = figure.axes
    marks = {t.get_text(): t.get_position()[0] for t in axes.texts}
    assert marks["E+"] < 0.3
    assert marks["E" + MINUS] > 0.7
    shown = [line for line in axes.lines if line.get_label() in set(one.points["group"])]
    assert sorted(np.concatenate([line.get_xdata() for line in shown])) == sorted(
        one.points["energy_j"]
    )
    top = axes.transData.inverted().transform(axes.transAxes.transform((0, 0.9)))[1]
    assert one.points["accuracy"].max() < top, "no point in the strip of the names"


def test_the_clusters_of_the_paper_are_set_apart(published):
    runs = published.runs[published.runs["experiment"] == "layers"]
    points = runs[["energy_j", "accuracy"]].astype(float)
    points["group"] = runs["conv_layers"].map("{:.0f} layers".format)
    marks = {"1 layers": "E" + MINUS, "4 layers": "E+"}
    figure = trade_off_figure({"": Cloud(points, None, marks)}, LABEL, "column")
    content = drawn(figure, "svg")
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_xdata() for line in axes.lines}
    assert max(lines["1 layers (1,536)"]) < min(lines["4 layers (1,536)"])
    assert len(content) < 500_000


def test_three_values_of_the_important_variable_against_twenty_seven():
    found = effective_dimension(3)
    figure = effective_dimension_figure(found)
    tried = {
        axes: next(line for line in axes.lines if line.get_label() == "values tried")
        for axes in figure.axes
    }
    counts = [len(set(line.get_xdata())) for line in tried.values()]
    assert sorted(counts) == [3, 3, 27, 27]
    cubes = [axes for axes in figure.axes if not axes.axison]
    assert [
        len(next(x for x in a.lines if x.get_label() == "rounds").get_xdata()) for a in cubes
    ] == [27, 27]
    curves = [axes for axes in figure.axes if axes.axison]
    for axes, search in zip(curves, (found.grid, found.random), strict=True):
        shown = next(line for line in axes.lines if line.get_label() == "rounds")
        assert list(shown.get_ydata()) == list(search.responses)


def test_shadows_on_the_cube_stand_above_the_same_values_of_the_curve():
    figure = effective_dimension_figure(effective_dimension(3))
    drawn(figure, "svg")
    cube, _, curve_axes, _ = figure.axes
    for value in (0.0, 0.37, 1.0):
        above = cube.transData.transform((value, 0.0))[0]
        assert curve_axes.transData.transform((value, 0.0))[0] == pytest.approx(above, abs=0.5)


def test_ranks_stand_in_order_on_the_axis_and_bars_join_what_does_not_differ():
    figure = critical_difference_figure(RANKS, 0.9, [*UNLIKE, ["grid"]], "Nemenyi")
    (axes,) = figure.axes
    places = {line.get_label(): line.get_xdata()[0] for line in axes.lines}
    assert places["bayesian-pi"] < places["random"] < places["grid"]
    ratio = (places["random"] - places["bayesian-pi"]) / (places["grid"] - places["random"])
    assert ratio == pytest.approx(0.9 / 0.3)
    bars = [line for line in axes.lines if line.get_label() == "bar"]
    assert len(bars) == 2
    assert (
        bars[0].get_xdata()[0] < places["bayesian-pi"] < places["random"] < bars[0].get_xdata()[1]
    )
    assert bars[0].get_xdata()[1] < places["grid"]
    said = [text.get_text() for text in axes.texts]
    assert {"bayesian-pi (1.30)", "grid (2.50)", "critical difference 0.90", "Nemenyi"} <= set(said)


def test_a_test_without_a_critical_difference_shows_none():
    figure = critical_difference_figure(RANKS, None, [])
    assert not any("critical" in text.get_text() for text in figure.axes[0].texts)
    assert joined(RANKS, [["grid", "bayesian-pi"], *UNLIKE]) == [(1.3, 2.5)]


@pytest.mark.parametrize(
    ("ranks", "groups", "says"),
    [
        ({"a": 1.0}, [], "1 treatment"),
        ({"a": 1.0, "b": NAN}, [], "b has a mean rank of nan"),
        ({"a": 1.0, "b": 3.0}, [], "rank from 1 to 2"),
        ({"a": 1.0, "b": 2.0}, [["a", "c"]], "c has no mean rank"),
    ],
)
def test_impossible_ranks_are_refused(ranks, groups, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        critical_difference_figure(ranks, None, groups)


def test_the_least_utilisation_comes_first_and_the_unknown_last():
    table = load(3).assign(configuration=["b", "a", "c"], mean=[0.5, 0.3, NAN])
    figure = utilisation_figure(table)
    (axes,) = figure.axes
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert names == ["a", "b", "c"]
    assert axes.yaxis_inverted()
    assert [t.get_text() for t in axes.texts] == ["unknown"]
    means = [line.get_xdata()[0] for line in axes.lines if line.get_label() == "mean"]
    assert means == [0.3, 0.5]
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches[1:]] == [
        pytest.approx((row["p25"], row["p75"] - row["p25"]))
        for row in table.sort_values("mean").head(2).to_dict("records")
    ]


def test_the_load_of_the_paper_is_shaded_and_named():
    figure = utilisation_figure(load(2))
    shaded = figure.axes[0].patches[0]
    assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == pytest.approx((0.4, 0.6))
    assert "40 to 60 %, the paper" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_configurations_that_part_from_equal_power_are_named():
    figure = time_energy_figure(costs(20, parting=(2, 11)), LABEL)
    (axes,) = figure.axes
    assert sorted(t.get_text() for t in axes.texts) == ["configuration 11", "configuration 2"]
    line = next(
        line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_zorder() == 1
    )
    assert line.get_ydata() / line.get_xdata() == pytest.approx(60.0)
    said = [t.get_text() for t in figure.legends[0].get_texts()]
    assert "equal power, 60.0 W" in said


def test_only_so_many_are_named_as_there_is_room_for():
    figure = time_energy_figure(costs(40, parting=range(0, 40, 2)), LABEL, power_w=60.0)
    assert len(figure.axes[0].texts) == 6


def test_both_axes_are_logarithmic_where_values_differ_tenfold_and_are_above_0():
    wide = [Cost("a", 1.0, 60.0), Cost("b", 50.0, 3000.0)]
    for given_costs, scale in ((wide, "log"), ([*wide, Cost("c", 5.0, -3.0)], "linear")):
        (axes,) = time_energy_figure(given_costs, LABEL).axes
        assert (axes.get_xscale(), axes.get_yscale()) == (scale, scale)


@pytest.mark.parametrize(
    "make",
    [
        lambda: convergence_figure({}, "mean"),
        lambda: variation_figure({"a": [NAN]}, "net energy"),
        lambda: trade_off_figure({"a": Cloud(cloud().points.assign(energy_j=NAN))}, LABEL),
        lambda: utilisation_figure(load(2).assign(mean=NAN)),
        lambda: time_energy_figure([Cost("a", NAN, 1.0)], LABEL),
    ],
)
def test_a_figure_of_nothing_is_refused(make):
    with pytest.raises(UsageError):
        make()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.01, 0.15))
def test_labels_are_spread_apart_in_order_within_the_axes(heights, least):
    placed = spread(heights, least)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= least - 1e-9).all()
    assert min(placed) >= -1e-9
    assert max(placed) <= 1 + 1e-9
