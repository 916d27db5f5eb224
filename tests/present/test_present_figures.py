"""Every kind of figure in print: what it shows, and that nothing in it is lost or covered."""

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

from joulelab import formats
from joulelab.errors import UsageError
from joulelab.present.axes import Axis, Reference, percent_tick, time_tick
from joulelab.present.bar_plots import histogram, share_bars, stacked_bars
from joulelab.present.curve_plot import curves
from joulelab.present.dimension import Tried, dimension_figure
from joulelab.present.interval_plot import intervals
from joulelab.present.labels import spread
from joulelab.present.panels import Panel, lettered
from joulelab.present.ranks import critical_difference_figure, joined
from joulelab.present.scatter_plot import scatter
from joulelab.present.style import GREY, SIZES, Look, drawn, looks
from joulelab.tuning.effective_dimension import effective_dimension

NAN = float("nan")
MINUS = "\N{MINUS SIGN}"
ENERGY = Axis(
    "energy_j", "net energy of a training, {unit} (measured)", units=formats.ENERGY, reversed=True
)
ACCURACY = Axis("accuracy", "accuracy on the test images", bounds=(0, 1))
ROUND = Axis("place", "round", whole=True, limits=(1, 64))
BEST = Axis("best", "best accuracy so far\n(mean of the repetitions)", low="low", high="high")


def curve(line, best, band=0.0):
    best = np.maximum.accumulate(np.asarray(best, dtype=float))
    optimum = None if np.isnan(best).all() else int(np.nanargmax(best)) + 1
    rows = pd.DataFrame({"place": range(1, len(best) + 1), "best": best})
    return rows.assign(
        line=line, low=best - band, high=best + band, marked=rows["place"] == optimum
    )


def panels(networks=3, strategies=3, rounds=64, name="network"):
    random = np.random.default_rng(1)
    return {
        f"{name} {n}": pd.concat(
            curve(f"strategy {s}", random.uniform(0.1, 0.9, rounds), 0.01)
            for s in range(strategies)
        )
        for n in range(networks)
    }


def convergence(given, width="page"):
    return curves(given, ROUND, BEST, step="post", width=width)


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
    front = points["accuracy"].rank(ascending=False) <= 3
    return points.assign(
        mark=np.where(layers == 4, "E+", "E" + MINUS) if marks else "", front=front
    )


def load(count):
    random = np.random.default_rng(3)
    shares = np.sort(random.uniform(0.1, 0.95, (count, 6)), axis=1)
    columns = ["p5", "inner_low", "second", "mean", "inner_high", "p95"]
    rows = pd.DataFrame(shares, columns=columns).sort_values("mean")
    return rows.assign(row=[f"linear_layers=3, conv_layers={n}" for n in range(count)])


def utilisation(rows, width="column"):
    busy = Axis("mean", "utilisation", "p5", "p95", form=percent_tick, limits=(0, 1))
    said = {"interval": "5 to 95 %", "inner": "25 to 75 %", "second": "median", "value": "mean"}
    paper = Reference("40 to 60 %, the paper", x=0.4, to=0.6)
    return intervals(rows, busy, references=[paper], legend=said, width=width)


def costs(count, parting=()):
    seconds = 10.0 + np.arange(count)
    off = np.isin(np.arange(count), list(parting))
    rows = pd.DataFrame({"seconds": seconds, "energy_j": np.where(off, 120.0, 60.0) * seconds})
    names = [f"configuration {n}" if n in parting else "" for n in range(count)]
    return rows.assign(name=names, group=np.where(off, "part", "agree"))


def time_energy(rows):
    equal = Reference("equal power", at=lambda seconds: 60.0 * seconds)
    energy = Axis("energy_j", "energy, {unit}", units=formats.ENERGY)
    return scatter(rows, Axis("seconds", "time, s"), energy, references=[equal], width="column")


def places(levels, several):
    rows = pd.DataFrame(itertools.product(range(levels), range(several)), columns=["level", "at"])
    rows["co2e_g"] = 40.0 * (1 + rows["at"]) * 1.02 ** rows["level"]
    names = "a configuration of " + rows["level"].astype(str)
    return rows.assign(line=names, name=names, low=rows["co2e_g"] * 0.9, high=rows["co2e_g"] * 1.1)


def by_place(levels, several, width="column"):
    names = tuple(f"Somewhere {n} far away" for n in range(several))
    grams = Axis("co2e_g", "CO2e, {unit}", "low", "high", units=formats.MASS, scale="auto")
    return curves(places(levels, several), Axis("at", "", names=names), grams, width=width)


def effective(seed, width="page"):
    found = effective_dimension(seed)
    tried = [
        Tried(f"{one.strategy} search", one.points, one.responses, f"best {one.best:.2f}")
        for one in (found.grid, found.random)
    ]
    return dimension_figure(tried, found.curve, width)


def batches(several=3):
    shares = {"1": 0.5, "2": 0.3, "4": 0.15, "8": 0.05}
    given = {f"a model, greedy({n})": shares for n in range(several)}
    notes = dict.fromkeys(given, "mean 1.70")
    return share_bars(given, "batch size, up to", "batches", notes, width="page")


CV = Axis("cv", "coefficient of variation of the net energy", form=percent_tick)
RANKS = {"bayesian-pi": 1.3, "random": 2.2, "grid": 2.5}
UNLIKE = [["bayesian-pi", "random"], ["random", "grid"]]
LONG = {f"a strategy with rather a long name, {n}": 1.0 + n for n in range(7)}
FIGURES = {
    "convergence": lambda: convergence(panels()),
    "convergence of one round": lambda: convergence(panels(1, 1, 1)),
    "convergence of seven": lambda: convergence(panels(7, 7)),
    "convergence of long names": lambda: convergence(
        panels(4, name="DenseLinearNN, 5 hyperparameters, batch size")
    ),
    "convergence in a column": lambda: convergence(panels(2), "column"),
    "places": lambda: by_place(3, 4),
    "places with long names": lambda: by_place(8, 9, "page"),
    "variation": lambda: histogram(
        {"a": [0.01, 0.02, 0.03], "b": [0.01]}, CV, "configurations", width="column"
    ),
    "variation of one": lambda: histogram({"a": [0.01]}, CV, "configurations", width="column"),
    "trade-off": lambda: scatter(
        {"a": cloud(), "b": cloud(3000)}, ENERGY, ACCURACY, width="page", columns=2
    ),
    "trade-off of huge energies": lambda: scatter(cloud(40, 1e6), ENERGY, ACCURACY, width="column"),
    "trade-off below 0": lambda: scatter(cloud(40, -1e-6), ENERGY, ACCURACY, width="column"),
    "dimension": lambda: effective(0),
    "dimension in a column": lambda: effective(1, "column"),
    "ranks": lambda: critical_difference_figure(RANKS, 0.9, UNLIKE, "Nemenyi, p < 0.05"),
    "long names": lambda: critical_difference_figure(LONG, None, [list(LONG)[:3]], "Holm"),
    "load": lambda: utilisation(load(8)),
    "load of forty": lambda: utilisation(load(40), "page"),
    "batches": batches,
    "time and energy": lambda: time_energy(costs(26, (3, 4, 5, 20))),
    "time and energy of one": lambda: time_energy(costs(1)),
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


def box(text):
    """Where a text is; that of an annotation has its arrow in it otherwise."""
    return Text.get_window_extent(text).padded(-0.5)


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
    boxes = [(text, box(text)) for text in seen]
    for text, place in boxes:
        said = text.get_text()
        assert edge.x0 <= place.x0, said
        assert place.x1 <= edge.x1, said
        assert edge.y0 <= place.y0, said
        assert place.y1 <= edge.y1, said
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        if one.get_rotation() in {0, 90} and other.get_rotation() in {0, 90}:
            assert not first.overlaps(second), (one.get_text(), other.get_text())


@pytest.mark.parametrize("name", ["convergence in a column", "ranks"])
def test_pdf_has_its_fonts_within_as_truetype_and_is_the_same_after_other_formats(figures, name):
    drawn(figures[name], "svg")
    first, again = drawn(figures[name], "pdf"), drawn(FIGURES[name](), "pdf")
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


def test_a_curve_goes_through_the_values_given_with_a_marker_where_it_is_marked():
    given_panels = panels(2, 3, 10)
    figure = convergence(given_panels)
    for axes, rows in zip(figure.axes, given_panels.values(), strict=True):
        assert [line.get_label() for line in axes.lines] == list(rows["line"].unique())
        for line, (_, one) in zip(axes.lines, rows.groupby("line", sort=False), strict=True):
            assert list(line.get_xdata()) == list(range(1, 11))
            assert list(line.get_ydata()) == list(one["best"])
            assert line.get_markevery() == list(np.flatnonzero(one["marked"]))
        assert len(axes.collections) == 3, "a band for each"
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["strategy 0", "strategy 1", "strategy 2"]


def test_points_without_a_line_are_hollow_where_they_say_why():
    rows = pd.DataFrame({"x": [1, 2, 4], "y": [3.0, 2.0, 1.0], "hollow": ["", "saturated", ""]})
    figure = curves(
        rows.assign(line="greedy"),
        Axis("x", "x", scale="doubling"),
        Axis("y", "y"),
        looks={"greedy": Look(GREY, dash=None)},
    )
    (axes,) = figure.axes
    hollow = [one for one in axes.lines if one.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[2]]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["greedy", "saturated"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2", "4"]


def test_panels_are_lettered_and_at_most_three_side_by_side():
    figure = convergence(panels(4))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["(a) network 0", "(b) network 1", "(c) network 2", "(d) network 3"]
    assert figure.axes[0].get_subplotspec().get_gridspec().ncols == 3
    assert lettered(["x"] * 28)[-1] == "(ab) x"


def test_a_panel_may_show_something_else_on_an_axis_of_its_own():
    rows = pd.DataFrame({"x": [1.0, 2.0], "a_s": [0.01, 0.02], "b_j": [1e6, 3e6]})
    seconds = Axis("a_s", "time", form=time_tick, scale="log")
    energy = Axis("b_j", "energy, {unit}", units=formats.ENERGY)
    figure = scatter([Panel(rows, "one"), Panel(rows, "other", y=energy)], Axis("x", "x"), seconds)
    assert [axes.get_ylabel() for axes in figure.axes] == ["time", "energy, MJ"]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["one", "other"]


def test_a_panel_without_a_known_value_says_so():
    figure = convergence({"a": curve("x", [NAN, NAN]), "b": curve("x", [0.1])})
    assert [t.get_text() for t in figure.axes[0].texts] == ["no known value"]
    assert not figure.axes[1].texts


def test_each_sample_adds_its_values_to_the_histogram():
    mean = Reference("mean 2.40 %", x=0.024)
    samples = {"a": [0.01, 0.02, NAN], "b": [0.01, 0.04, 0.04]}
    figure = histogram(samples, CV, "configurations", references=[mean])
    (axes,) = figure.axes
    heights = [sum(bar.get_height() for bar in bars) for bars in axes.containers]
    assert heights == [2, 3]
    assert {bar.get_hatch() for bar in axes.patches} == {"", "////"}
    assert axes.lines[0].get_xdata()[0] == pytest.approx(0.024)
    said = [t.get_text() for t in figure.legends[0].get_texts()]
    assert said == ["a", "b", "mean 2.40 %"]


def test_parts_are_stacked_hatched_and_named_where_there_are_several():
    rows = pd.DataFrame({"row": ["x", "y"], "kept": [3.0, 1.0], "lost": [1.0, 0.0], "sum": [4, 1]})
    total = Axis("sum", "energy, {unit}", units=formats.ENERGY)
    figure = stacked_bars(rows, total, {"kept": "kept", "failed": "lost"}, formats.joules)
    _, lost = figure.axes[0].containers
    assert [bar.get_x() for bar in lost] == [3.0, 1.0]
    assert all(bar.get_hatch() for bar in lost)
    assert [t.get_text() for t in figure.axes[0].texts] == ["4.00 J", "1.00 J"]
    assert len(figure.legends) == 1
    alone = stacked_bars(rows.assign(lost=0.0), total, {"kept": "kept", "failed": "lost"}, str)
    assert not alone.legends


def test_the_trade_off_is_reversed_and_its_clusters_are_named_over_their_points():
    one = cloud()
    figure = scatter({"Fashion-MNIST": one, "CIFAR-10": cloud(40, 2.0)}, ENERGY, ACCURACY)
    for axes in figure.axes:
        assert axes.xaxis_inverted()
        assert "axis reversed" in axes.get_xlabel()
    (axes, _) = figure.axes
    marks = {t.get_text(): t.get_position()[0] for t in axes.texts if t.get_text()}
    assert marks["E+"] < 0.3
    assert marks["E" + MINUS] > 0.7
    shown = [line for line in axes.lines if line.get_label() in set(one["group"])]
    assert sorted(np.concatenate([line.get_xdata() for line in shown])) == sorted(one["energy_j"])
    top = axes.transData.inverted().transform(axes.transAxes.transform((0, 0.9)))[1]
    assert one["accuracy"].max() < top, "no point in the strip of the names"


def test_the_front_is_a_staircase_through_its_points():
    one = cloud(40)
    (axes,) = scatter(one, ENERGY, ACCURACY).axes
    (front,) = [line for line in axes.lines if line.get_label() == "Pareto front"]
    assert list(front.get_xdata()) == sorted(one.loc[one["front"], "energy_j"])
    assert front.get_drawstyle() == "steps-post"


def test_intervals_are_drawn_to_their_ends_and_far_ends_are_cut_off():
    rows = pd.DataFrame({"x": [1.0, 2.0], "y": [5.0, 6.0], "low": [0.5, 1.9], "high": [1.5, 90]})
    (axes,) = scatter(rows, Axis("x", "x", "low", "high"), Axis("y", "y")).axes
    (bars,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    ends = [tuple(segment[:, 0]) for segment in bars.get_segments()]
    assert ends == [pytest.approx((0.5, 1.5)), pytest.approx((1.9, 90))]
    assert axes.get_xlim()[1] < 3


def test_three_values_of_the_important_variable_against_twenty_seven():
    found, figure = effective_dimension(3), effective(3)
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
    shown_curves = [axes for axes in figure.axes if axes.axison]
    for axes, search in zip(shown_curves, (found.grid, found.random), strict=True):
        shown = next(line for line in axes.lines if line.get_label() == "rounds")
        assert list(shown.get_ydata()) == list(search.responses)


def test_shadows_on_the_cube_stand_above_the_same_values_of_the_curve():
    figure = effective(3)
    drawn(figure, "svg")
    cube, _, curve_axes, _ = figure.axes
    for value in (0.0, 0.37, 1.0):
        above = cube.transData.transform((value, 0.0))[0]
        assert curve_axes.transData.transform((value, 0.0))[0] == pytest.approx(above, abs=0.5)


def test_ranks_stand_in_order_on_the_axis_and_bars_join_what_does_not_differ():
    figure = critical_difference_figure(RANKS, 0.9, [*UNLIKE, ["grid"]], "Nemenyi")
    (axes,) = figure.axes
    at = {line.get_label(): line.get_xdata()[0] for line in axes.lines}
    assert at["bayesian-pi"] < at["random"] < at["grid"]
    ratio = (at["random"] - at["bayesian-pi"]) / (at["grid"] - at["random"])
    assert ratio == pytest.approx(0.9 / 0.3)
    bars = [line for line in axes.lines if line.get_label() == "bar"]
    assert len(bars) == 2
    assert bars[0].get_xdata()[0] < at["bayesian-pi"] < at["random"] < bars[0].get_xdata()[1]
    assert bars[0].get_xdata()[1] < at["grid"]
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


def test_rows_stand_in_order_and_an_unknown_value_is_said_to_be_so():
    table = load(3).assign(row=["b", "a", "c"], mean=[0.5, 0.3, NAN])
    (axes,) = utilisation(table).axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["b", "a", "c"]
    assert axes.yaxis_inverted()
    assert [t.get_text() for t in axes.texts if t.get_text()] == ["unknown"]
    boxes = [bar for bars in axes.containers[-1:] for bar in bars]
    assert [(bar.get_x(), bar.get_width()) for bar in boxes] == [
        pytest.approx((row["inner_low"], row["inner_high"] - row["inner_low"]))
        for row in table.to_dict("records")
    ]


def test_a_band_is_shaded_from_edge_to_edge_and_named():
    figure = utilisation(load(2))
    shaded = [p for p in figure.axes[0].patches if p.get_alpha() is not None]
    assert [(p.get_x(), p.get_x() + p.get_width()) for p in shaded] == [pytest.approx((0.4, 0.6))]
    assert "40 to 60 %, the paper" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_a_line_of_reference_is_straight_and_named():
    figure = time_energy(costs(20, parting=(2, 11)))
    (axes,) = figure.axes
    assert sorted(t.get_text() for t in axes.texts) == ["configuration 11", "configuration 2"]
    line = next(line for line in axes.lines if len(line.get_xdata()) == 200)
    assert line.get_ydata() / line.get_xdata() == pytest.approx(60.0)
    assert "equal power" in [t.get_text() for t in figure.legends[0].get_texts()]


@pytest.mark.parametrize(("most", "scale"), [(9.0, "linear"), (11.0, "log"), (-3.0, "linear")])
def test_an_axis_is_logarithmic_where_values_above_0_differ_tenfold(most, scale):
    rows = pd.DataFrame({"x": [1.0, most], "y": [1.0, 2.0]})
    (axes,) = scatter(rows, Axis("x", "x", scale="auto"), Axis("y", "y")).axes
    assert axes.get_xscale() == scale


@pytest.mark.parametrize(
    "make",
    [
        lambda: convergence({}),
        lambda: histogram({"a": [NAN]}, CV, "configurations"),
        lambda: scatter(cloud().assign(energy_j=NAN), ENERGY, ACCURACY),
        lambda: utilisation(load(2).assign(mean=NAN)),
        lambda: share_bars({}, "x", "y", {}),
    ],
)
def test_a_figure_of_nothing_is_refused(make):
    with pytest.raises(UsageError, match="nothing to draw"):
        make()


def test_an_experiment_from_outside_draws_in_a_few_lines():
    runs = pd.DataFrame(
        {"watts": [10.0, 20.0, 30.0], "answers": [5, 9, 12], "name": ["a", "", "c"]}
    )
    figure = scatter(runs, x=Axis("watts", "power, W"), y=Axis("answers", "answers per second"))
    assert {t.get_text() for t in figure.axes[0].texts} == {"a", "c"}


def test_names_with_dollars_and_braces_are_drawn_as_they_are():
    name = r"$5 \frac{ and $x_1$"
    rows = pd.DataFrame({"v": [1.0, 2.0], "line": [name, "$x$"], "row": [name, "$x$"]})
    for figure in (
        intervals(rows, Axis("v", "$v$ of {it}, {unit}", units=formats.ENERGY)),
        curves({name: rows.assign(at=[1, 2]), "$x$": rows}, Axis("v", name), Axis("v", name)),
    ):
        assert b"$x$" in drawn(figure, "svg")
        assert {"$v$ of {it}, J", name} & {text.get_text() for text in texts(figure)}


def test_lines_differ_in_dash_and_marker_as_well_as_in_colour():
    found = looks("abcdefg")
    for one, other in itertools.combinations(found.values(), 2):
        assert one.colour != other.colour
        assert one.marker != other.marker
        assert one.dash != other.dash
    assert len(looks(map(str, range(20)))) == 20


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.01, 0.15))
def test_labels_are_spread_apart_in_order_within_the_axes(heights, least):
    placed = spread(heights, least)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= least - 1e-9).all()
    assert min(placed) >= -1e-9
    assert max(placed) <= 1 + 1e-9
