"""Tables I to V of Yarally et al. (CAIN 2023), from experiments of the same kinds.

Several experiments of a kind, on several data sets, share a table, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.analysis.kruskal import eta_squared
from joulelab.report.experiment import Experiment
from joulelab.report.factor_effects import FIXED, effects
from joulelab.report.paper.kinds import COUNT, factors_of, of_both_kinds, records
from joulelab.report.paper.optima_table import optima_table
from joulelab.report.paper.table import Cell, Column, PaperTable
from joulelab.report.tables import STRATEGY, Omitted, found_clusters

HYPERPARAMETERS = {
    "learning_rate": "\N{GREEK SMALL LETTER ALPHA}",
    "beta1": "\N{GREEK SMALL LETTER BETA}1",
    "beta2": "\N{GREEK SMALL LETTER BETA}2",
    "epsilon": "\N{GREEK SMALL LETTER EPSILON}",
    "weight_decay": "w",
}
"""The paper's letters."""
ETA = "\N{GREEK SMALL LETTER ETA}\N{SUPERSCRIPT TWO}"
HELD, ALONE = "other factors held fixed", "alone, as in the paper"
EPSILON = "\N{GREEK SMALL LETTER EPSILON}\N{SUPERSCRIPT TWO}"

Made = PaperTable | Omitted


def paper_tables(experiments: Sequence[Experiment]) -> list[Made]:
    """Tables I to V, or why one of them is left out.

    Args:
        experiments: of one study or of several.
    """
    searches, layers = of_both_kinds(experiments)
    makers = (
        (searches, "I", "Comparison of optimisation strategies", _strategies),
        (layers, "II", "Configurations of the model architecture", _configurations),
        (searches, "III", "Summary of the results for the optimisation experiment", optima_table),
        (layers, "IV", "Kruskal-Wallis test results", _effects),
        (layers, "V", "Low energy performance compared against high energy performance", _clusters),
    )
    kinds = {id(searches): "compares strategies", id(layers): "compares layers"}
    return [
        make(number, title, of_kind)
        if of_kind
        else Omitted(
            f"table-{number.lower()}",
            f"Table {number}. {title}",
            f"no experiment with finished runs {kinds[id(of_kind)]}.",
        )
        for of_kind, number, title, make in makers
    ]


def _strategies(number: str, title: str, searches: Sequence[Experiment]) -> Made:
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
                    *(Cell(text, (*named, key)) for key, text in numbers),
                )
            )
    headings = ["data set", *(name for name in columns if name != COUNT), COUNT]
    return PaperTable(
        number,
        title,
        "Greek letters stand for the learning rate and the betas and epsilon of Adam, w for the "
        "weight decay.",
        (*(Column(name, words=True) for name in headings), *(Column(name) for name in _COUNTS)),
        tuple(rows),
        pd.DataFrame(raw),
    )


_COUNTS = ("rounds", "repetitions", "trainings")


def _configurations(number: str, title: str, layers: Sequence[Experiment]) -> Made:
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
                    *(Cell(f"{value:,}", (*named, key)) for key, value in counts.items()),
                )
            )
    return PaperTable(
        number,
        title,
        "Every configuration is trained with several sets of hyperparameters (rounds), each "
        "several times (repetitions).",
        (
            Column("data set", words=True),
            *(Column(name.replace("_", " ")) for name in factors),
            *(Column(name) for name in _COUNTS),
        ),
        tuple(rows),
        pd.DataFrame(raw),
    )


def _effects(number: str, title: str, layers: Sequence[Experiment]) -> Made:
    rows, raws, why = [], [], []
    for one in layers:
        made = effects(one)
        if isinstance(made, Omitted):
            why.append(f"{one.dataset}: {made.reason}")
            continue
        configurations = one.runs["configuration"].nunique()
        raws.append(made.raw.assign(dataset=one.dataset, configurations=configurations))
        for row in records(made.raw):
            name = (one.dataset, str(row["factor"]))
            published = eta_squared(row["h"], row["n"], configurations)
            rows.append(
                (
                    Cell(one.dataset),
                    Cell(str(row["factor"])),
                    Cell(f"{row[f'{FIXED}q']:,.3f}", (*name, "fixed H")),
                    Cell(formats.p_value(row[f"{FIXED}p"]), (*name, "fixed p")),
                    Cell(formats.effect(row[f"{FIXED}eta_squared"]), (*name, "fixed eta squared")),
                    Cell(str(row[f"{FIXED}magnitude"])),
                    Cell(f"{row['h']:,.3f}", (*name, "H")),
                    Cell(formats.p_value(row["p"]), (*name, "p")),
                    Cell(formats.effect(row["eta_squared"]), (*name, "eta squared")),
                    Cell(formats.effect(row["epsilon_squared"]), (*name, "epsilon squared")),
                    Cell(formats.effect(published), (*name, "eta squared configurations")),
                    Cell(str(row["magnitude"])),
                )
            )
    if not rows:
        return Omitted(f"table-{number.lower()}", f"Table {number}. {title}", " ".join(why))
    return PaperTable(
        number,
        title,
        "Other factors held fixed: runs ranked among those that share the levels of all other "
        "factors (van Elteren). Alone: all runs ranked together, as in the paper; what the other "
        f"factors do counts as noise there. {ETA} with the number of levels for k; the paper takes "
        "the number of configurations (next to last column). Magnitude: small from 0.01, medium "
        "from 0.06, large from 0.14."
        f"{_left_out(why)}",
        (
            Column("data set", words=True),
            Column("factor", words=True),
            *(Column(heading, HELD) for heading in ("H", "p", ETA)),
            Column("magnitude", HELD, words=True),
            *(Column(heading, ALONE) for heading in ("H", "p", ETA, EPSILON)),
            Column(f"{ETA}, k of the paper", ALONE),
            Column("magnitude", ALONE, words=True),
        ),
        tuple(rows),
        pd.concat(raws, ignore_index=True),
    )


def _clusters(number: str, title: str, layers: Sequence[Experiment]) -> Made:
    columns = [Column("", words=True)]
    measures: dict[str, list[Cell]] = {
        "Average energy": [],
        "Average accuracy": [],
        "Max accuracy": [],
        "Std accuracy": [],
    }
    keys = ("energy_mean_j", "accuracy_mean", "accuracy_max", "accuracy_std")
    raws, which, why, energies = [], [], [], set()
    for one in layers:
        found = found_clusters(one)
        if found is None:
            why.append(f"{one.dataset}: no factor has two levels whose runs have an energy.")
            continue
        energies.add(f"{one.energy.name} ({one.energy.status})")
        which.append(f"{found.factor} on {one.dataset}")
        raws.append(found.table.assign(dataset=one.dataset, factor=found.factor))
        for row in reversed(records(found.table)):
            columns.append(Column(formats.signed(str(row["cluster"])), one.dataset))
            for (measure, cells), key in zip(measures.items(), keys, strict=True):
                text = formats.joules if key == "energy_mean_j" else formats.accuracy
                name = (one.dataset, str(row["cluster"]), measure)
                cells.append(Cell(text(row[key]), name))
    if not raws:
        return Omitted(
            f"table-{number.lower()}",
            f"Table {number}. {title}",
            " ".join(why),
        )
    return PaperTable(
        number,
        title,
        f"E+ and E\N{MINUS SIGN} are the levels of the factor that moves the energy most "
        f"({formats.listing(which)}); {formats.listing(sorted(energies))} of a training."
        f"{_left_out(why)}",
        tuple(columns),
        tuple((Cell(measure), *cells) for measure, cells in measures.items()),
        pd.concat(raws, ignore_index=True),
    )


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
