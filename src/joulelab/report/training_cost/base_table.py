"""What training the base costs: pairs of a frozen and a trained one, all else the same.

The energies of a pair are compared by the ratio of their geometric means (Welch on logarithms), the
accuracies by their difference (Welch); over all pairs, by the mean of the pairs' logarithms and
differences (Student).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.comparison import (
    difference_interval,
    mean_interval,
    ratio_interval,
    ratio_of_means,
)
from joulelab.report.experiment import Experiment, once
from joulelab.report.tables import Omitted, Table
from joulelab.report.training_cost.configurations import (
    BASE,
    DATASET,
    FROZEN,
    NETWORK,
    TRAINED,
    sound,
)
from joulelab.report.training_cost.cost_tables import level_columns, level_names, no_costs


@dataclass(frozen=True)
class BaseEffect:
    """What a trained base means against a frozen one, over all pairs.

    Attributes:
        ratio: energy with a trained base over that with a frozen one.
        ratio_low: lower end of its 95 % interval; NaN where there is none.
        ratio_high: upper end.
        points: difference of accuracy, trained less frozen, as a share of 1.
        pairs: how many.
    """

    ratio: float
    ratio_low: float
    ratio_high: float
    points: float
    pairs: int


@once
def base_pairs(experiment: Experiment) -> pd.DataFrame:
    """A row a network and data set of which both bases were measured, least increase first."""
    whole = sound(experiment)
    energy = str(whole.energy.column)
    runs, measured = whole.runs, whole.measured.dropna(subset=[energy])
    rows = []
    for (network, dataset), part in measured.groupby([NETWORK, DATASET], sort=False):
        of = runs[(runs[NETWORK] == network) & (runs[DATASET] == dataset)]
        energies = [list(part.loc[part[BASE] == base, energy]) for base in (FROZEN, TRAINED)]
        accuracies = [
            list(of.loc[of[BASE] == base, "accuracy"].dropna()) for base in (FROZEN, TRAINED)
        ]
        if all(energies) and all(accuracies):
            rows.append({NETWORK: network, DATASET: dataset, **_pair(*energies, *accuracies)})
    table = pd.DataFrame(rows, columns=[NETWORK, DATASET, *_COLUMNS])
    return table.sort_values("ratio", kind="stable", ignore_index=True)


@once
def base_effect(experiment: Experiment) -> BaseEffect | None:
    """What training the base costs on average; ``None`` where there is no pair."""
    pairs = base_pairs(experiment)
    if not len(pairs):
        return None
    if len(pairs) == 1:
        row = pairs.iloc[0]
        return BaseEffect(row["ratio"], row["ratio_low"], row["ratio_high"], row["points"], 1)
    ratio = ratio_interval(list(pairs["ratio"]), [1.0] * len(pairs))
    points = mean_interval(list(pairs["points"]))
    return BaseEffect(ratio.value, ratio.low, ratio.high, points.value, len(pairs))


@once
def base_table(experiment: Experiment) -> Table | Omitted:
    """How much more energy a trained base takes than a frozen one, and for what accuracy."""
    key, title = "base", "A trained base against a frozen one"
    if (omitted := no_costs(experiment, key, title)) is not None:
        return omitted
    raw = base_pairs(experiment)
    if not len(raw):
        return Omitted(key, title, "no network was measured with both on the same data set.")
    figures = pd.DataFrame(
        {
            "frozen": raw["frozen_j"].map(formats.joules),
            "trained": raw["trained_j"].map(formats.joules),
            "more energy": raw["ratio"].map(_more),
            "95 % interval": formats.intervals(raw["ratio_low"], raw["ratio_high"], _more),
            "accuracy": raw["points"].map(formats.points),
            "its interval": [
                _points(low, high)
                for low, high in zip(raw["points_low"], raw["points_high"], strict=True)
            ],
        }
    )
    shown = pd.concat([level_columns(experiment, raw), figures], axis=1)
    note = (
        f"{experiment.energy.name.capitalize()} ({experiment.energy.status}), geometric means over "
        "runs; accuracy: trained less frozen, in percentage points. Intervals of Welch."
    )
    found = base_effect(experiment)
    if found is not None and found.pairs > 1:
        reach = formats.interval(found.ratio_low, found.ratio_high, _more)
        note += (
            f" Over {found.pairs} pairs {_more(found.ratio)} ({reach}) at "
            f"{formats.points(found.points)}."
        )
    text = (*(name for name in level_names(experiment) if name in shown), "95 % interval")
    wide = ("95 % interval", "its interval")
    return Table(key, title, note, raw, shown, (*text, "its interval"), wide=wide)


_COLUMNS = (
    "frozen_j",
    "trained_j",
    "ratio",
    "ratio_low",
    "ratio_high",
    "p",
    "points",
    "points_low",
    "points_high",
    "n_frozen",
    "n_trained",
)


def _pair(
    frozen_j: list[float],
    trained_j: list[float],
    frozen_accuracy: list[float],
    trained_accuracy: list[float],
) -> dict[str, float]:
    ratio = ratio_of_means(trained_j, frozen_j)
    points = difference_interval(trained_accuracy, frozen_accuracy)
    means = (float(np.exp(np.log(energies).mean())) for energies in (frozen_j, trained_j))
    figures = (
        *means,
        ratio.value,
        ratio.low,
        ratio.high,
        ratio.p,
        points.value,
        points.low,
        points.high,
        ratio.n_second,
        ratio.n_first,
    )
    return dict(zip(_COLUMNS, figures, strict=True))


def _more(ratio: float) -> str:
    return formats.change(ratio - 1)


def _points(low: float, high: float) -> str:
    """Both ends of a difference of accuracies: ``1.1 to 2.5``."""
    return formats.interval(100 * low, 100 * high, lambda end: formats.decimals(end, 1))
