"""What each configuration costs and reaches, and how large it is."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from joulelab import formats
from joulelab.analysis.negative_energy import in_words
from joulelab.report.experiment import Experiment, once
from joulelab.report.tables import Omitted, Table, no_energy
from joulelab.report.training_cost.configurations import (
    BASE,
    DATASET,
    FACTORS,
    NETWORK,
    RANDOM,
    configurations,
    impossible_energies,
    short_datasets,
    varied,
)

MILLION = 1e6
NAMES = {NETWORK: "network", BASE: "base", DATASET: "data set"}


@once
def cost_table(experiment: Experiment) -> Table | Omitted:
    """Energy, duration, accuracy and accuracy per kWh of each configuration."""
    key, title = "training-cost", "What each configuration costs, and what it reaches"
    if (omitted := no_costs(experiment, key, title)) is not None:
        return omitted
    raw = configurations(experiment)
    figures = pd.DataFrame(
        {
            "runs": raw["n"].map(str),
            "energy": raw["energy_j"].map(formats.joules),
            "95 % interval": _ranges(raw),
            "time": raw["duration_s"].map(formats.duration),
            "accuracy": raw["accuracy"].map(formats.accuracy),
            "F1": raw["f1"].map(formats.accuracy),
            "acc. per kWh": raw["accuracy_per_kwh"].map(formats.significant),
        }
    )
    shown = pd.concat([level_columns(experiment, raw), figures], axis=1)
    if not raw["f1"].notna().any():
        shown = shown.drop(columns="F1")
    text = (*level_names(experiment), "95 % interval")
    bold = frozenset((int(row), "network") for row in raw.index[raw["on_front"]])
    wide = ("runs", "95 % interval")
    return Table(key, title, " ".join(_cost_note(experiment)), raw, shown, text, bold, wide=wide)


@once
def efficiency_table(experiment: Experiment) -> Table | Omitted:
    """Accuracy per kWh of each configuration with its interval, most first."""
    key, title = "accuracy-per-kwh", "Accuracy per kWh"
    if (omitted := no_costs(experiment, key, title)) is not None:
        return omitted
    raw = configurations(experiment).dropna(subset=["accuracy_per_kwh"])
    if not len(raw):
        return Omitted(key, title, "no run has both an energy and an accuracy.")
    raw = raw.sort_values("accuracy_per_kwh", ascending=False, ignore_index=True)
    raw = raw[[*FACTORS, "measurements", "accuracy", "energy_j", *_EFFICIENCY]]
    figures = pd.DataFrame(
        {
            "accuracy": raw["accuracy"].map(formats.accuracy),
            "energy": raw["energy_j"].map(formats.joules),
            "per kWh": raw["accuracy_per_kwh"].map(formats.significant),
            "95 % interval": formats.intervals(
                raw["accuracy_per_kwh_low"], raw["accuracy_per_kwh_high"], formats.significant
            ),
        }
    )
    shown = pd.concat([level_columns(experiment, raw), figures], axis=1)
    note = (
        f"Mean accuracy over mean {experiment.energy.name} ({experiment.energy.status}); interval "
        "of the ratio of means by the delta method. It compares trainings of one study and nothing "
        "else: fewer epochs or smaller data raise it."
    )
    text = (*level_names(experiment), "95 % interval")
    return Table(key, title, note, raw, shown, text, folded=True)


@once
def size_table(experiment: Experiment) -> Table | Omitted:
    """Operations of a training, parameters and weights of each configuration."""
    key, title = "training-size", "Operations, parameters and weights"
    if (omitted := no_costs(experiment, key, title)) is not None:
        return omitted
    raw = configurations(experiment)
    raw = raw.sort_values([DATASET, "flops"], kind="stable", ignore_index=True)
    figures = pd.DataFrame(
        {
            "FLOPs": raw["flops"].map(formats.operations),
            "trainable FLOPs": raw["flops_trainable"].map(formats.operations),
            "parameters, M": raw["parameters_total"].map(_millions),
            "trainable, M": raw["parameters"].map(_millions),
            "weights": raw["weights"].replace("", formats.DASH),
        }
    )
    shown = pd.concat([level_columns(experiment, raw), figures], axis=1)
    note = (
        "FLOPs of the whole training, products and convolutions forward and backward; trainable: "
        "without the forward pass of frozen layers, which have no backward pass. Parameters in "
        f"millions. {weights_words(experiment)}"
    )
    text = (*level_names(experiment), "weights")
    raw = raw[[*FACTORS, *_SIZED]]
    wide = ("trainable, M",)
    return Table(key, title, note.strip(), raw, shown, text, folded=True, wide=wide)


_EFFICIENCY = ("accuracy_per_kwh", "accuracy_per_kwh_low", "accuracy_per_kwh_high")
_SIZED = ("flops", "flops_trainable", "parameters_total", "parameters", "weights")


def no_costs(experiment: Experiment, key: str, title: str) -> Omitted | None:
    """Why everything about costs is left out; ``None`` where some energy is above 0."""
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    if not configurations(experiment)["energy_j"].notna().any():
        return Omitted(key, title, "no run has an energy above 0.")
    return None


def level_names(experiment: Experiment) -> list[str]:
    """Headings of the columns that name a configuration; the network is always among them."""
    return [NAMES[factor] for factor in FACTORS if factor in {NETWORK, *varied(experiment)}]


def level_columns(experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that name the configuration, or pair, of each row.

    Args:
        experiment: that they are of.
        rows: with the factors that vary.
    """
    short = short_datasets(list(configurations(experiment)[DATASET]))
    there = [factor for factor in FACTORS if factor in {NETWORK, *varied(experiment)}]
    return pd.DataFrame(
        {
            NAMES[factor]: rows[factor].map(short) if factor == DATASET else rows[factor].map(str)
            for factor in there
            if factor in rows
        }
    )


def weights_words(experiment: Experiment) -> str:
    """Which configurations began with random weights, and what that means; or nothing."""
    points = configurations(experiment)
    random = points[points["weights"] == RANDOM]
    if not len(random):
        return ""
    if (points.loc[points["weights"] != "", "weights"] == RANDOM).all():
        which, their = "", "accuracies"
    else:
        which = f" for {formats.listing(list(dict.fromkeys(random[NETWORK])))}"
        their = "their accuracies"
    asked = experiment.table.get("weights")
    why = "because the published ones do not lie on this machine"
    if asked == RANDOM:
        why = "as the study file asks"
    elif asked is None:
        why += " or were not asked for"
    return f"Weights: random{which}, {why}: {their} are not those of fine-tuning."


def _cost_note(experiment: Experiment) -> Iterator[str]:
    points, energy = configurations(experiment), experiment.energy
    yield (
        f"{energy.name.capitalize()} of a training ({energy.status}), mean with the 95 % interval "
        "of Student. Accuracy and macro F1 on the test images, means over runs. Accuracy per kWh: "
        "mean accuracy over mean energy. Bold: on the Pareto front of energy and accuracy of its "
        "data set."
    )
    same = [factor for factor in FACTORS if factor not in varied(experiment)]
    if fixed := [f"{NAMES[factor]} {points[factor].iloc[0]}" for factor in same]:
        yield f"The same in all: {formats.listing(fixed)}."
    short = short_datasets(list(points[DATASET]))
    if DATASET in varied(experiment) and any(name != long for long, name in short.items()):
        yield f"Data sets: {formats.listing(sorted(short))}."
    if int((points["n"] == 1).sum()) == len(points):
        yield "Each configuration has one run, so that there are no intervals."
    if len(found := impossible_energies(experiment)):
        yield f"Left out: {in_words(found, formats.joules)}."


def _ranges(raw: pd.DataFrame) -> list[str]:
    """Intervals of energies in one unit each; no energy is below 0."""
    ends = zip(raw["energy_low_j"], raw["energy_high_j"], strict=True)
    return [
        formats.joules_range(max(low, 0.0), high) if formats.known(low) else formats.DASH
        for low, high in ends
    ]


def _millions(number: float) -> str:
    return formats.at_scale(number, MILLION)
