"""Figures 3 to 9 of Yarally et al. (CAIN 2023), from experiments of the same kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.analysis.variation import summarise_variation, variation
from joulelab.files import safe_name
from joulelab.present import Figure, Omitted, Unavailable, figure
from joulelab.present.axes import Axis
from joulelab.present.dimension import Tried, dimension_figure
from joulelab.present.scatter_plot import scatter
from joulelab.report.effects import STRATEGY
from joulelab.report.energy import ACCURACY_AXIS, found_clusters, variation_figure
from joulelab.report.experiment import Experiment, whole_numbers
from joulelab.report.paper_tables import COUNT, PaperStudies, more_first
from joulelab.report.search import convergence_figure, convergence_panels, convergence_words, rounds
from joulelab.tuning.effective_dimension import effective_dimension

PUBLISHED = {("fashion-mnist", 5): 3, ("cifar10", 5): 4, ("fashion-mnist", 3): 5, ("cifar10", 3): 6}
"""Numbers of the paper's convergence graphs by data set and hyperparameters."""


def paper_figures(studies: PaperStudies) -> list[Figure | Omitted]:
    """Figures 3 to 9, or why one of them is left out."""
    try:
        curves = [one for search in studies.searches for one in _convergence(search)]
    except Unavailable as error:
        curves = [Omitted("figures-3-to-6", "Figures 3 to 6. Convergence", error.reason)]
    # The numbered figures first, in their order; the others as they come.
    curves.sort(key=lambda one: one.key if one.key.startswith("figure-") else "g")
    others = (variation_of_energy, energy_against_accuracy, low_effective_dimension)
    return [*curves, *(one.shown(studies) for one in others)]


def _convergence(search: Experiment) -> Iterator[Figure | Omitted]:
    """A figure a number of hyperparameters: a panel a network, a line a strategy."""
    found = rounds(search)
    levels = [("", count) for count in found[COUNT].unique()] if COUNT in found else [("", None)]
    for _, count in sorted(levels, key=more_first):
        part = found if count is None else found[found[COUNT] == count]
        number = PUBLISHED.get((search.dataset, count))
        title = f"Figure {number}" if number else "As Figures 3 to 6"
        said = f", {count} hyperparameters" if count is not None else ""
        key = f"figure-{number}" if number else f"convergence-{search.dataset}-{count or 'all'}"
        key = safe_name(key)  # it names a file, too
        title = f"{title}. Convergence on {search.dataset}{said}"
        try:
            yield replace(_convergence_of(search, part), key=key, title=title)
        except Unavailable as error:
            yield Omitted(key, title, error.reason)


def _convergence_of(search: Experiment, found: pd.DataFrame) -> Figure:
    others = [name for name in search.factors if name not in (STRATEGY, COUNT)]
    panels = convergence_panels(
        search,
        found,
        lambda levels: ", ".join(formats.level(levels[name]) for name in others),
    )
    if not panels:
        raise Unavailable("no round has a score yet.")
    said = convergence_words(panels)
    note = "Best accuracy so far by round; the marker is the optimum round."
    return Figure(
        lambda width: convergence_figure(panels, search.score, width),
        note,
        f"Best accuracy by round. {said}.",
        drawn_for="page",
    )


@figure("figure-7", "Figure 7. Coefficients of variation of the energy")
def variation_of_energy(studies: PaperStudies) -> Figure:
    """Figure 7: how much the energy of a configuration varies."""
    layers = studies.layers
    tables = {
        one.dataset: variation(one.measured, energy=one.energy.column)
        for one in layers
        if one.energy.column is not None
    }
    known = {name: list(table["cv"].dropna()) for name, table in tables.items()}
    if not any(known.values()):
        raise Unavailable("no configuration of layers has two runs with an energy.")
    every = summarise_variation(pd.concat(list(tables.values()), ignore_index=True))
    note = (
        f"{formats.count(every.n, 'configuration')}: mean {formats.percent(every.mean, 2)}, "
        f"maximum {formats.percent(every.maximum, 2)}; 0.9 % and 1.8 % in the paper."
    )
    return Figure(
        lambda width: variation_figure(known, _basis(layers), width),
        note,
        f"Histogram. {note}",
        drawn_for="column",
    )


@figure("figure-8", "Figure 8. Energy against accuracy")
def energy_against_accuracy(studies: PaperStudies) -> Figure:
    """Figure 8: a point a training."""
    layers = studies.layers
    clouds: dict[str, pd.DataFrame] = {}
    said = []
    for one in layers:
        try:
            found = found_clusters(one)
        except Unavailable:
            continue
        factor = str(found.factor)
        levels = whole_numbers(one.runs[factor])
        groups = [f"{factor.replace('_', ' ')} = {formats.level(level)}" for level in levels]
        points = pd.DataFrame(
            {
                "energy_j": one.runs[one.energy.column],
                "accuracy": one.runs["accuracy"],
                "group": groups,
            }
        )
        marks = {
            f"{factor.replace('_', ' ')} = {formats.level(level)}": mark
            for level, mark in ((found.low, "E\N{MINUS SIGN}"), (found.high, "E+"))
        }
        points = points.assign(mark=points["group"].map(marks).fillna(""))
        clouds[one.dataset] = points.sort_values("group", kind="stable")
        low, high = found.table.to_dict("records")
        said.append(f"{one.dataset}: {_cluster(low)}, {_cluster(high)}")
    if not clouds:
        raise Unavailable("no experiment on layers has two levels whose runs have energy.")
    note = "A point a training; the energy axis is reversed, so that better is up and to the right."
    label = f"{_basis(layers)} of a training, {{unit}}"
    axis = Axis("energy_j", label, units=formats.ENERGY, reversed=True)
    return Figure(
        lambda width: scatter(clouds, axis, ACCURACY_AXIS, width=width, columns=2, height_in=2.7),
        note,
        f"Scatter. {'; '.join(said)}.",
        drawn_for="page",
    )


def _cluster(row: dict[Any, Any]) -> str:
    energy, accuracy = formats.joules(row["energy_mean_j"]), formats.accuracy(row["accuracy_mean"])
    return f"{formats.signed(str(row['cluster']))} {energy}, mean accuracy {accuracy}"


@figure("figure-9", "Figure 9. Grid and random search with a low effective dimension")
def low_effective_dimension(studies: PaperStudies) -> Figure:
    """Figure 9: why random search finds more than a grid."""
    found = effective_dimension()
    note = (
        "Grid (left) and random search (right), 27 points each, where one of three variables "
        "matters: the grid tries 3 values of it, random search 27. Points by the strategies of "
        "joulelab."
    )
    searches = [
        Tried(
            f"{one.strategy} search",
            one.points,
            one.responses,
            f"{formats.count(len(one.points), 'round')}\n"
            f"{formats.count(one.distinct, 'value')} of x1\n"
            f"best {formats.significant(one.best)}\n"
            f"mean best {formats.significant(one.mean_best)}",
        )
        for one in (found.grid, found.random)
    ]
    return Figure(
        lambda width: dimension_figure(searches, found.curve, width), note, note, drawn_for="page"
    )


def _basis(layers: Sequence[Experiment]) -> str:
    names = sorted({f"{one.energy.name} ({one.energy.status})" for one in layers})
    return formats.listing(names)
