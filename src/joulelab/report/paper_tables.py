"""Tables I to V of Yarally et al. (CAIN 2023), from experiments of the same kinds.

Several experiments of a kind, on several data sets, share a table, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.architecture import LAYERS
from joulelab.analysis.convergence import convergence
from joulelab.analysis.kruskal import eta_squared
from joulelab.present import Column, Table, Unavailable, table, words
from joulelab.present.parts import Cell
from joulelab.report.effects import EPSILON, ETA, FIXED, STRATEGY, effects
from joulelab.report.energy import found_clusters
from joulelab.report.experiment import Experiment
from joulelab.report.search import rounds

COUNT = "hyperparameters"
"""The factor that says how many of them a search tunes."""
NOT_COUNTED = 0
"""Stands for the number of hyperparameters where that is not a factor."""
HYPERPARAMETERS = {
    "learning_rate": "\N{GREEK SMALL LETTER ALPHA}",
    "beta1": "\N{GREEK SMALL LETTER BETA}1",
    "beta2": "\N{GREEK SMALL LETTER BETA}2",
    "epsilon": "\N{GREEK SMALL LETTER EPSILON}",
    "weight_decay": "w",
}
"""The paper's letters."""
NOT_OF_PAPER = f"no experiment has a factor of the paper: {', '.join([STRATEGY, *LAYERS])}"
"""Why there are no pages of the paper."""
HELD, ALONE = "other factors held fixed", "alone, as in the paper"


def compares_layers(experiment: Experiment) -> bool:
    """Whether it compares the paper's types of layers, or is a table that was called that."""
    if STRATEGY in experiment.factors or not experiment.factors:
        return False
    return not experiment.table or not set(LAYERS).isdisjoint(experiment.factors)


def is_of_paper(experiment: Experiment) -> bool:
    """Whether it has factors that the paper is about: strategies, or types of layers."""
    return STRATEGY in experiment.factors or compares_layers(experiment)


@dataclass(frozen=True, eq=False)
class PaperStudies:
    """The experiments that tables and figures of the paper are made of.

    Attributes:
        experiments: of one study or of several.
    """

    experiments: tuple[Experiment, ...]

    @cached_property
    def searches(self) -> list[Experiment]:
        """Those with finished runs that compare strategies, each with a data set of its own name.

        Raises:
            Unavailable: there are none.
        """
        found = [one for one in self._known if STRATEGY in one.factors]
        if not found:
            raise Unavailable("no experiment with finished runs compares strategies.")
        return unique_names(found, lambda one: one.dataset)

    @cached_property
    def layers(self) -> list[Experiment]:
        """Those with finished runs that compare layers, each with a data set of its own name.

        Raises:
            Unavailable: there are none.
        """
        found = [one for one in self._known if compares_layers(one)]
        if not found:
            raise Unavailable("no experiment with finished runs compares layers.")
        return unique_names(found, lambda one: one.dataset)

    @property
    def _known(self) -> list[Experiment]:
        return [one for one in self.experiments if len(one.runs)]


def unique_names(
    experiments: Sequence[Experiment], name: Callable[[Experiment], Hashable]
) -> list[Experiment]:
    """The experiments, in order; those with the same name get longer names of their data sets.

    A study may hold two searches on one data set, and two studies may be the same one run twice.

    Args:
        experiments: of one study or of several.
        name: what must not occur twice, for instance the name of the data set.

    Returns:
        Of ``digits`` twice ``digits (first)`` and ``digits (second)`` by the names of the
        experiments, and ``digits (1)`` and ``digits (2)`` where these are the same too.
    """
    named = [name(one) for one in experiments]
    found = []
    for at, one in enumerate(experiments):
        same = [other for other, its in zip(experiments, named, strict=True) if its == named[at]]
        if len(same) == 1:
            found.append(one)
            continue
        distinct = len({other.name for other in same}) == len(same)
        which = one.name if distinct else str(named[: at + 1].count(named[at]))
        found.append(replace(one, dataset=f"{one.dataset} ({which})".strip()))
    return found


def _cell_table(
    columns: Sequence[Column], cells: Sequence[Sequence[Cell]], rows: pd.DataFrame, note: str
) -> Table:
    """A table whose cells stand side by side as they are, because its columns are turned data."""
    return Table(
        rows,
        [replace(column, of=str(at)) for at, column in enumerate(columns)],
        note,
        shown=[{str(at): cell for at, cell in enumerate(row)} for row in cells],
    )


@table("table-i", "Table I. Comparison of optimisation strategies")
def compared_strategies(studies: PaperStudies) -> Table:
    """Table I: strategies, networks and hyperparameters that were searched."""
    searches = studies.searches
    columns = factors_of(searches, (STRATEGY, "network", COUNT))
    rows, raw = [], []
    for one in searches:
        for levels, runs in _configured(one, [name for name in columns if name in one.factors]):
            searched = [mark for name, mark in HYPERPARAMETERS.items() if _given(runs, name)]
            cells = [
                Cell(formats.level(levels.get(name, formats.DASH)))
                for name in columns
                if name != COUNT
            ]
            rounds, repetitions = _shape(runs)
            shape = {"rounds": rounds, "repetitions": repetitions}
            raw.append({"dataset": one.dataset, **levels, **shape, "trainings": len(runs)})
            which = ", ".join(searched) or formats.level(levels.get(COUNT, formats.DASH))
            numbers = [(key, f"{value:,}") for key, value in raw[-1].items() if key in _COUNTS]
            named = (one.dataset, *map(str, levels.values()))
            rows.append(
                (
                    Cell(one.dataset),
                    *cells,
                    Cell(which),
                    *(Cell(text, name=(*named, key)) for key, text in numbers),
                )
            )
    headings = ["data set", *(name for name in columns if name != COUNT), COUNT]
    note = (
        "Greek letters stand for the learning rate and the betas and epsilon of Adam, w for the "
        "weight decay."
    )
    shown = [*(words(name) for name in headings), *(Column(name) for name in _COUNTS)]
    return _cell_table(shown, rows, pd.DataFrame(raw), note)


_COUNTS = ("rounds", "repetitions", "trainings")


@table("table-ii", "Table II. Configurations of the model architecture")
def compared_layers(studies: PaperStudies) -> Table:
    """Table II: the configurations of layers."""
    layers = studies.layers
    factors = factors_of(layers)
    rows, raw = [], []
    for one in layers:
        for levels, runs in _configured(one, list(one.factors)):
            rounds, repetitions = _shape(runs)
            counts = {"rounds": rounds, "repetitions": repetitions, "trainings": len(runs)}
            raw.append({"dataset": one.dataset, **levels, **counts})
            named = (one.dataset, *(f"{name} {level}" for name, level in levels.items()))
            said = [formats.level(levels.get(name, formats.DASH)) for name in factors]
            rows.append(
                (
                    Cell(one.dataset),
                    *(Cell(text) for text in said),
                    *(Cell(f"{value:,}", name=(*named, key)) for key, value in counts.items()),
                )
            )
    note = (
        "Every configuration is trained with several sets of hyperparameters (rounds), each "
        "several times (repetitions)."
    )
    levels_of = [Column(name.replace("_", " ")) for name in factors]
    columns = [words("data set"), *levels_of, *(Column(name) for name in _COUNTS)]
    return _cell_table(columns, rows, pd.DataFrame(raw), note)


@table("table-iv", "Table IV. Kruskal-Wallis test results")
def factor_effects(studies: PaperStudies) -> Table:
    """Table IV: the effect of each factor on the energy."""
    layers = studies.layers
    rows, raws, why = [], [], []
    for one in layers:
        try:
            made = effects(one).frame
        except Unavailable as error:
            why.append(f"{one.dataset}: {error.reason}")
            continue
        configurations = one.runs["configuration"].nunique()
        raws.append(made.assign(dataset=one.dataset, configurations=configurations))
        for row in records(made):
            name = (one.dataset, str(row["factor"]))
            published = eta_squared(row["h"], row["n"], configurations)
            rows.append(
                (
                    Cell(one.dataset),
                    Cell(str(row["factor"])),
                    Cell(f"{row[f'{FIXED}q']:,.3f}", name=(*name, "fixed H")),
                    Cell(formats.p_value(row[f"{FIXED}p"]), name=(*name, "fixed p")),
                    Cell(
                        formats.effect(row[f"{FIXED}eta_squared"]),
                        name=(*name, "fixed eta squared"),
                    ),
                    Cell(str(row[f"{FIXED}magnitude"])),
                    Cell(f"{row['h']:,.3f}", name=(*name, "H")),
                    Cell(formats.p_value(row["p"]), name=(*name, "p")),
                    Cell(formats.effect(row["eta_squared"]), name=(*name, "eta squared")),
                    Cell(formats.effect(row["epsilon_squared"]), name=(*name, "epsilon squared")),
                    Cell(formats.effect(published), name=(*name, "eta squared configurations")),
                    Cell(str(row["magnitude"])),
                )
            )
    if not rows:
        raise Unavailable(" ".join(why))
    note = (
        "Other factors held fixed: runs ranked among those that share the levels of all other "
        "factors (van Elteren). Alone: all runs ranked together, as in the paper; what the other "
        f"factors do counts as noise there. {ETA} with the number of levels for k; the paper takes "
        "the number of configurations (next to last column). Magnitude: small from 0.01, medium "
        "from 0.06, large from 0.14."
        f"{_left_out(why)}"
    )
    columns = [
        words("data set"),
        words("factor"),
        *(Column(heading, group=HELD) for heading in ("H", "p", ETA)),
        words("magnitude", group=HELD),
        *(Column(heading, group=ALONE) for heading in ("H", "p", ETA, EPSILON)),
        Column(f"{ETA}, k of the paper", group=ALONE),
        words("magnitude", group=ALONE),
    ]
    return _cell_table(columns, rows, pd.concat(raws, ignore_index=True), note)


@table("table-v", "Table V. Low energy performance compared against high energy performance")
def energy_clusters(studies: PaperStudies) -> Table:
    """Table V: what the trainings of low and of high energy reach."""
    layers = studies.layers
    columns = [words("")]
    measures: dict[str, list[Cell]] = {
        "Average energy": [],
        "Average accuracy": [],
        "Max accuracy": [],
        "Std accuracy": [],
    }
    keys = ("energy_mean_j", "accuracy_mean", "accuracy_max", "accuracy_std")
    raws, which, why, energies = [], [], [], set()
    for one in layers:
        try:
            found = found_clusters(one)
        except Unavailable as error:
            why.append(f"{one.dataset}: {error.reason}")
            continue
        energies.add(f"{one.energy.name} ({one.energy.status})")
        which.append(f"{found.factor} on {one.dataset}")
        raws.append(found.table.assign(dataset=one.dataset, factor=found.factor))
        for row in reversed(records(found.table)):
            columns.append(Column(formats.signed(str(row["cluster"])), group=one.dataset))
            for (measure, of_measure), key in zip(measures.items(), keys, strict=True):
                text = formats.joules if key == "energy_mean_j" else formats.accuracy
                name = (one.dataset, str(row["cluster"]), measure)
                of_measure.append(Cell(text(row[key]), name=name))
    if not raws:
        raise Unavailable(" ".join(why))
    note = (
        f"E+ and E\N{MINUS SIGN} are the levels of the factor that moves the energy most "
        f"({formats.listing(which)}); {formats.listing(sorted(energies))} of a training."
        f"{_left_out(why)}"
    )
    cells = [(Cell(measure), *of_measure) for measure, of_measure in measures.items()]
    return _cell_table(columns, cells, pd.concat(raws, ignore_index=True), note)


def _left_out(reasons: Sequence[str]) -> str:
    return f" Left out: {' '.join(reasons)}" if reasons else ""


def _configured(
    experiment: Experiment, columns: Sequence[str]
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Levels and runs of every configuration, in the order of the levels."""
    return [
        (dict(zip(columns, key, strict=True)), runs)
        for key, runs in experiment.runs.groupby(list(columns), dropna=False, sort=True)
    ]


def _shape(runs: pd.DataFrame) -> tuple[int, int]:
    """Rounds, and the most repetitions of one of them."""
    sizes = runs.groupby("round").size()
    return len(sizes), int(sizes.max())


def _given(runs: pd.DataFrame, column: str) -> bool:
    return column in runs and bool(runs[column].notna().any())


@table("table-iii", "Table III. Summary of the results for the optimisation experiment")
def optima_of_strategies(studies: PaperStudies) -> Table:
    """Optimum accuracy and round of every strategy, data sets side by side."""
    searches = studies.searches
    by = [name for name in factors_of(searches, ("network", STRATEGY)) if name != COUNT]
    found = []
    for one in searches:
        optima = convergence(rounds(one), by=list(one.factors))
        absent: dict[str, Any] = dict.fromkeys(set(by) - set(one.factors), formats.DASH)
        absent |= {} if COUNT in one.factors else {COUNT: NOT_COUNTED}
        scored = optima.dropna(subset=["optimum_round"])
        if len(scored):
            found.append(scored.assign(dataset=one.dataset, **absent))
    if not found:
        raise Unavailable("no round is scored.")
    raw = pd.concat(found, ignore_index=True)
    raw["optimum_round"] = raw["optimum_round"].astype(int)
    best = _best_of(raw, [name for name in by if name != STRATEGY])
    # As in the paper, five hyperparameters stand before three.
    settings = sorted({(row["dataset"], row[COUNT]) for row in records(raw)}, key=more_first)
    columns = [words(name) for name in by]
    for dataset, count in settings:
        group = f"{dataset}, {count} hyperparameters" if count != NOT_COUNTED else str(dataset)
        columns += [Column("accuracy", group=group), Column("round", group=group)]
    rows = []
    for levels, of_levels in raw.groupby(by, sort=False):
        cells = [Cell(formats.level(level)) for level in levels]
        at = {(row["dataset"], row[COUNT]): row for row in records(of_levels)}
        for place in settings:
            cells += _optimum_cells(at.get(place), by, best)
        rows.append(tuple(cells))
    rows.sort(key=lambda row: row[0].text)
    note = (
        "Optimum accuracy, and the round in which it was reached first. Bold: the highest accuracy "
        "and the fewest rounds among the strategies."
    )
    return _cell_table(columns, rows, raw, note)


def _optimum_cells(
    row: Mapping[Hashable, Any] | None, by: Sequence[str], best: Mapping[object, tuple[float, int]]
) -> list[Cell]:
    if row is None:
        return [Cell(formats.DASH), Cell(formats.DASH)]
    name = (str(row["dataset"]), *(str(row[level]) for level in by), str(row[COUNT]))
    accuracy, fewest = best[_setting(row, [level for level in by if level != STRATEGY])]
    return [
        Cell(
            formats.accuracy(row["optimum_accuracy"]),
            row["optimum_accuracy"] == accuracy,
            name=(*name, "accuracy"),
        ),
        Cell(str(row["optimum_round"]), row["optimum_round"] == fewest, name=(*name, "round")),
    ]


def _best_of(raw: pd.DataFrame, by: Sequence[str]) -> dict[object, tuple[float, int]]:
    """The highest accuracy and the fewest rounds of each setting."""
    found: dict[object, tuple[float, int]] = {}
    for row in records(raw):
        accuracy, fewest = found.get(_setting(row, by), (-1.0, row["optimum_round"]))
        found[_setting(row, by)] = (
            max(accuracy, row["optimum_accuracy"]),
            min(fewest, row["optimum_round"]),
        )
    return found


def _setting(row: Mapping[Hashable, Any], by: Sequence[str]) -> tuple[object, ...]:
    return (row["dataset"], row[COUNT], *(row[name] for name in by))


def more_first(place: tuple[Any, Any]) -> tuple[str, float, str]:
    """Order of pairs of a data set and a number of hyperparameters, which may be a word."""
    dataset, count = place
    return str(dataset), -count if isinstance(count, int | float) else 0.0, str(count)


def factors_of(experiments: Sequence[Experiment], first: Sequence[str] = ()) -> list[str]:
    """The factors of all of them, some before the others."""
    there = dict.fromkeys(name for one in experiments for name in one.factors)
    return [*(name for name in first if name in there), *(n for n in there if n not in first)]


def records(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """A mapping a row."""
    return frame.to_dict("records")


PAPER_TABLES = (
    compared_strategies,
    compared_layers,
    optima_of_strategies,
    factor_effects,
    energy_clusters,
)
"""Tables I to V."""
