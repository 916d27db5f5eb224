"""The chapter of an experiment on what training costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from joulelab.report import design_tables, effort, factor_effects
from joulelab.report.chapter import Chapter, Shown
from joulelab.report.experiment import Experiment
from joulelab.report.tables import Omitted, Table, no_energy
from joulelab.report.training_cost.base_table import base_table
from joulelab.report.training_cost.configurations import (
    DATASET,
    configurations,
    repeated,
    short_datasets,
    shortened,
    sound,
)
from joulelab.report.training_cost.cost_tables import (
    cost_table,
    efficiency_table,
    no_costs,
    size_table,
)
from joulelab.report.training_cost.dataset_table import dataset_table
from joulelab.report.training_cost.findings import cost_findings
from joulelab.report.training_cost.pictures import accuracy_picture, cost_picture
from joulelab.report.training_cost.places import place_picture, place_tables
from joulelab.report.training_cost.proxy_table import proxy_table

Maker = Callable[[Experiment], Table | Omitted]

ONE_RUN = "each configuration has one measurement, so that chance cannot be told from an effect."


def cost_tables(experiment: Experiment) -> list[Table | Omitted]:
    """Every table, in the order of the report."""
    if omitted := no_energy(experiment, "training-cost", "What each configuration costs"):
        return [omitted]
    whole = sound(experiment)
    tests = [
        _test(experiment, make, key, title)
        for make, key, title in (
            (
                factor_effects.effects,
                "kruskal",
                "Effect of each factor on energy: Kruskal-Wallis",
            ),
            (
                design_tables.factor_interactions,
                "interactions",
                "Do factors act together? ANOVA and aligned ranks",
            ),
            (
                factor_effects.factor_levels,
                "posthoc-levels",
                "Which levels differ in energy, the other factors held fixed",
            ),
            (
                factor_effects.pairs,
                "posthoc",
                "Which configurations differ in energy: Dunn's test, Holm's correction",
            ),
        )
    ]
    general = [
        *tests,
        dataset_table(experiment),
        proxy_table(experiment),
        size_table(experiment),
        effort.flops_table(whole),
        effort.time_energy_table(whole),
        effort.utilisation_table(whole),
        *place_tables(experiment),
    ]
    short = short_datasets(list(configurations(experiment)[DATASET]))
    own = [make(experiment) for make in (cost_table, efficiency_table, base_table)]
    return [*own, *(_shortened(table, short) for table in general)]


def cost_contents(experiment: Experiment) -> list[Shown]:
    """Tables and figures in the order of the page."""
    made = {one.key: one for one in cost_tables(experiment)}
    if (omitted := no_costs(experiment, "energy", "Everything about energy")) is not None:
        return [omitted]
    places = [table for key, table in made.items() if key.startswith("place")]
    first = ("training-cost", "accuracy-per-kwh")
    rest = [table for key, table in made.items() if key not in first and table not in places]
    return [
        *(made[key] for key in first if key in made),
        cost_picture(experiment),
        accuracy_picture(experiment),
        *places[:1],
        place_picture(experiment),
        *places[1:],
        *rest,
    ]


def _shortened(table: Table | Omitted, short: Mapping[str, str]) -> Table | Omitted:
    """With short names of data sets in what is shown; the raw rows have them in full."""
    if isinstance(table, Omitted):
        return replace(table, reason=shortened(table.reason, short))
    shown = table.shown.map(lambda cell: shortened(str(cell), short))
    return replace(table, shown=shown, note=shortened(table.note, short))


def _test(experiment: Experiment, make: Maker, key: str, title: str) -> Table | Omitted:
    """A test, which needs repetitions to tell chance from effect."""
    if (omitted := no_costs(experiment, key, title)) is not None:
        return omitted
    if not repeated(experiment):
        return Omitted(key, title, ONE_RUN)
    return replace(make(sound(experiment)), title=title)


TRAINING_COST = Chapter(
    cost_tables,
    cost_contents,
    cost_findings,
    ("training-cost", "base", "kruskal", "places", "place-effects"),
)
