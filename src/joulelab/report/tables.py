"""Tables of one experiment: each with its raw numbers, as people read it, and what it says.

What cannot be computed is an `Omitted` with a sentence that says why, never an empty table.
The numbers III to V are those of the tables of Yarally et al., CAIN 2023.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.search import SUBSTANTIAL
from joulelab.analysis.convergence import convergence, score_rounds
from joulelab.analysis.factor_increase import factor_increase
from joulelab.analysis.frames import ENERGY
from joulelab.analysis.trade_off import Clusters, clusters
from joulelab.analysis.variation import variation
from joulelab.report.experiment import Experiment, once

STRATEGY = "strategy"
SIGNIFICANT_P = 0.05
RESAMPLES = 1000
MOST_DRAWN = 200
"""Of more configurations no figure has room for the names."""
MOST_PAIRS = 5000
"""Of more pairs there is no table: nobody reads it, and their number is that of a square."""
NEARLY = "nearly"


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        key: its name in the JSON output.
        title: what it is.
        note: one or two sentences on how to read it.
        raw: unrounded numbers.
        shown: the same as text, a column a heading.
        text: headings whose columns hold words and not numbers.
        bold: cells (row, heading) that stand out.
        folded: shown only on request, for it is long.
        wide: headings that a terminal leaves out where not all of them fit.
    """

    key: str
    title: str
    note: str
    raw: pd.DataFrame
    shown: pd.DataFrame
    text: tuple[str, ...] = ()
    bold: frozenset[tuple[int, str]] = frozenset()
    folded: bool = False
    wide: tuple[str, ...] = ()


@dataclass(frozen=True)
class Omitted:
    """A table or figure that is left out, and why."""

    key: str
    title: str
    reason: str


@once
def optima(experiment: Experiment) -> Table | Omitted:
    """Table III: optimum accuracy, and the round in which each strategy reached it."""
    key, title = "optima", "Optimum accuracy and round of each strategy (Table III)"
    others = [factor for factor in experiment.factors if factor != STRATEGY]
    if STRATEGY not in experiment.factors:
        return Omitted(key, title, "strategies are not compared in this experiment.")
    raw = convergence(rounds(experiment), by=[*others, STRATEGY]).dropna(subset=["optimum_round"])
    if not len(raw):
        return Omitted(key, title, "no round has a score yet.")
    near = convergence(rounds(experiment), by=[*others, STRATEGY], tolerance=SUBSTANTIAL)
    raw["optimum_round_near"] = near["optimum_round"]
    raw = raw.reset_index(drop=True)
    accuracy, number, energy = "accuracy", "round", "energy"
    named = [*([name for name in others if name in experiment.varied] or others[:1]), STRATEGY]
    shown = pd.DataFrame({name: raw[name].map(formats.level) for name in named})
    shown[accuracy] = raw["optimum_accuracy"].map(formats.accuracy)
    shown[number] = raw["optimum_round"].map(str) + " of " + raw["rounds"].map(str)
    shown[NEARLY] = raw["optimum_round_near"].map(str)
    if raw["energy_to_optimum_j"].notna().any():
        shown[energy] = raw["energy_to_optimum_j"].map(formats.joules)
    bold: set[tuple[int, str]] = set()
    for _, rows in raw.groupby(others, dropna=False) if others else [((), raw)]:
        bold |= _extreme(rows["optimum_accuracy"], rows["optimum_accuracy"].max(), accuracy)
        bold |= _extreme(rows["optimum_round"], rows["optimum_round"].min(), number)
    counted = "a round's accuracy is the " + {"mean": "mean", "max": "best"}[experiment.score]
    note = (
        "The best accuracy that each strategy found and the first round in which it had it; rounds "
        f"count from 1, {counted} of its repetitions. Bold: the highest accuracy and the fewest "
        f"rounds among the strategies. Nearly: the round after which nothing substantial "
        f"({100 * SUBSTANTIAL:g} points) is gained. Energy ({experiment.energy.status}): one "
        "repetition of every round up to the optimum."
    )
    return Table(key, title, note, raw, shown, tuple(named), frozenset(bold), wide=(NEARLY,))


@once
def rounds(experiment: Experiment) -> pd.DataFrame:
    """Score and mean energy of every round, with a column for each factor."""
    runs, energy = experiment.runs, experiment.energy.column or ENERGY
    return score_rounds(
        # A table from elsewhere may have no energy at all.
        runs if energy in runs else runs.assign(**{energy: np.nan}),
        by=list(experiment.factors),
        score=experiment.score,
        energy=energy,
    )


@once
def increases(experiment: Experiment) -> Table | Omitted:
    """How much more energy the upper level of each factor costs."""
    key, title = "increase", "Mean increase in energy by factor"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    whole = factor_increase(experiment.measured, experiment.varied, str(experiment.energy.column))
    raw = whole[whole["increase_percent"].notna()].reset_index(drop=True)
    if not len(raw):
        return Omitted(key, title, sentence(whole["reason"], "no factor has two levels"))
    shown = pd.DataFrame(
        {
            "factor": raw["factor"],
            "from": raw["low"].map(formats.level),
            "to": raw["high"].map(formats.level),
            "energy, from": raw["low_mean_j"].map(formats.joules),
            "energy, to": raw["high_mean_j"].map(formats.joules),
            "increase": (raw["increase_percent"] / 100).map(formats.change),
        }
    )
    note = (
        f"Mean {experiment.energy.name} of a training ({experiment.energy.status}) at the two "
        "levels, over all levels of the other factors. Names are in the order of their energy."
    )
    return Table(key, title, note, raw, shown, ("factor", "from", "to"))


@once
def found_clusters(experiment: Experiment) -> Clusters | None:
    """E- and E+ by the factor that moves the energy most; ``None`` where there are none."""
    if experiment.energy.column is None or not experiment.varied:
        return None
    found = clusters(experiment.runs, experiment.varied, energy=experiment.energy.column)
    return None if found.reason else found


@once
def cluster_table(experiment: Experiment) -> Table | Omitted:
    """Table V: what the runs of high and of low energy reach."""
    key, title = "clusters", "Runs of high and of low energy (Table V)"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    found = found_clusters(experiment)
    if found is None:
        return Omitted(key, title, "no factor has two levels whose runs have an energy.")
    raw = found.table.iloc[::-1].reset_index(drop=True)
    shown = pd.DataFrame(
        {
            "cluster": raw["cluster"].map(formats.signed),
            str(found.factor): raw["level"].map(formats.level),
            "runs": raw["n"].map("{:,}".format),
            "mean energy": raw["energy_mean_j"].map(formats.joules),
            "mean acc.": raw["accuracy_mean"].map(formats.accuracy),
            "max acc.": raw["accuracy_max"].map(formats.accuracy),
            "std acc.": raw["accuracy_std"].map(formats.accuracy),
        }
    )
    note = (
        f"The clusters are the levels of {found.factor}, the factor that moves the energy most. "
        f"Energy is {experiment.energy.name} of a training ({experiment.energy.status}); accuracy "
        "(acc.) is that of single trainings."
    )
    if found.between:
        note += f" {formats.count(found.between, 'run')} at levels in between are in neither."
    return Table(key, title, note, raw, shown, ("cluster", str(found.factor)))


@once
def variations(experiment: Experiment) -> Table | Omitted:
    """How much the energy of a configuration varies from run to run."""
    key, title = "variation", "Energy of each configuration and its variation"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    raw = variation(experiment.measured, energy=str(experiment.energy.column))
    raw = raw[raw["n"] > 0].sort_values("mean_j", ignore_index=True)
    shown = pd.DataFrame(
        {
            "configuration": raw["configuration"],
            "runs": raw["n"].map("{:,}".format),
            "mean energy": raw["mean_j"].map(formats.joules),
            "std": raw["std_j"].map(formats.joules),
            "CV": raw["cv"].map(formats.percent),
        }
    )
    note = (
        f"{experiment.energy.name.capitalize()} of a training ({experiment.energy.status}). The "
        "coefficient of variation (CV) is the standard deviation over the mean, over all rounds "
        "and repetitions."
    )
    if len(single := raw[raw["cv"].isna()]):
        why = "; ".join(dict.fromkeys(single["reason"]))
        note += f" No CV for {formats.count(len(single), 'configuration')}: {why}."
    return Table(key, title, note, raw, shown, ("configuration",), folded=True)


def no_energy(experiment: Experiment, key: str, title: str) -> Omitted | None:
    """Why everything about energy is left out; ``None`` where there are energies."""
    if not len(experiment.runs):
        return Omitted(key, title, "no run has finished yet.")
    if experiment.energy.column is None:
        return Omitted(key, title, experiment.energy.remarks[0])
    return None


def too_many_pairs(sizes: Iterable[int], what: str) -> str:
    """Why pairs are not compared, where they are too many; empty where they are not.

    Args:
        sizes: how many there are that make pairs, for each factor.
        what: they are, in the plural.
    """
    pairs = sum(size * (size - 1) // 2 for size in sizes)
    if pairs <= MOST_PAIRS:
        return ""
    return f"{pairs:,} pairs of {what} are more than anybody reads."


def too_many_drawn(count: int) -> str:
    """Why configurations are not drawn one by one, where they are too many; empty if not.

    Args:
        count: of the configurations.
    """
    if count <= MOST_DRAWN:
        return ""
    return f"{count:,} configurations are too many to be told apart; the table has them."


def single_levels(experiment: Experiment) -> str:
    """Which factors do not vary, in a sentence; empty where all do."""
    same = [factor for factor in experiment.factors if factor not in experiment.varied]
    return f" Not varied: {formats.listing(same)}." if same else ""


def sentence(reasons: Iterable[str], otherwise: str) -> str:
    """Reasons, each once, as a sentence; where there is none, another one."""
    return ("; ".join(dict.fromkeys(reason for reason in reasons if reason)) or otherwise) + "."


def _extreme(values: pd.Series[Any], best: float, column: str) -> set[tuple[int, str]]:
    return {(int(row), column) for row in values.index[values == best]}
