"""The data behind tables, figures and findings of a training's cost: one row per configuration.

Runs of the kind ``training-cost`` have the factors ``network``, ``base`` (``frozen`` or
``trained``) and ``dataset``, and besides the usual columns ``f1`` (macro F1 on the test images, 0
to 1), ``flops`` (of the whole training), ``flops_trainable`` (without the forward pass of frozen
layers), ``parameters`` (trainable), ``parameters_total`` and ``weights`` (``random``, a published
name, or empty if there is no choice).

With a_i the accuracy and e_i the energy in kWh of measurement i, A and E their means, accuracy per
kWh is A / E. It is a ratio of means, whose logarithm has by the delta method the standard error of
the mean of d_i = a_i / A - e_i / E, so that its interval is

    A / E exp(+- t(n - 1) s_d / sqrt(n))

Cochran, "Sampling Techniques", 3rd edition (1977), chapter 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from joulelab.analysis.comparison import LARGEST_LOGARITHM, Interval, mean_interval
from joulelab.analysis.front import undominated
from joulelab.analysis.negative_energy import negative_energy, without_negative_energy
from joulelab.energy.carbon.footprint import JOULES_IN_KWH
from joulelab.present import Unavailable, cached_per_subject
from joulelab.report.experiment import Experiment, energy_column
from joulelab.study.design import configuration_name

NETWORK, BASE, DATASET = "network", "base", "dataset"
FACTORS = (NETWORK, BASE, DATASET)
FROZEN, TRAINED = "frozen", "trained"
RANDOM = "random"
SIZES = ("flops", "flops_trainable", "parameters_total", "parameters")

Values = npt.NDArray[np.float64]


@cached_per_subject
def sound(experiment: Experiment) -> Experiment:
    """The same with energies of 0 or below set to unknown, because they are impossible."""
    column, runs = experiment.energy.column, experiment.runs
    if column is None or not len(runs):
        return replace(experiment)
    return replace(experiment, runs=without_negative_energy(runs, column)[0])


@cached_per_subject
def impossible_energies(experiment: Experiment) -> pd.DataFrame:
    """The energies of 0 or below; see `joulelab.analysis.negative_energy.negative_energy`."""
    column, runs = experiment.energy.column, experiment.runs
    if column is None or not len(runs):
        return pd.DataFrame()
    # Counted from 1.
    which = [
        f"{name}, repetition {number + 1:.0f}"
        for name, number in zip(runs["configuration"], runs["repetition"], strict=True)
    ]
    return negative_energy(runs.assign(which=which), column, "which")


@cached_per_subject
def configurations(experiment: Experiment) -> pd.DataFrame:
    """One row per configuration of an experiment with known energies, by ascending energy.

    Returns:
        ``network`` (with the levels of other factors that vary), ``base``, ``dataset``,
        ``configuration``, ``n`` (runs), ``measurements`` (with an energy above 0; runs trained
        together are one), ``energy_j``, ``accuracy`` and ``accuracy_per_kwh``, each with ``_low``
        and ``_high`` (95 %; missing for a single one), ``duration_s``, ``f1``, `SIZES`,
        ``weights``, and ``on_front``: on its data set no other has at most its energy and at least
        its accuracy.
    """
    whole = sound(experiment)
    measured = dict(iter(whole.measured.groupby("configuration", sort=False)))
    others = [factor for factor in whole.varied if factor not in FACTORS]
    rows = [
        _row(runs, measured[name], str(whole.energy.column), others)
        for name, runs in whole.runs.groupby("configuration", sort=False)
    ]
    table = pd.DataFrame(rows).sort_values("energy_j", kind="stable", ignore_index=True)
    table["on_front"] = False
    for _, part in table.groupby(DATASET, sort=False):
        best = undominated(part["energy_j"].to_numpy(float), part["accuracy"].to_numpy(float))
        table.loc[part.index, "on_front"] = best
    return table


def costs(experiment: Experiment) -> pd.DataFrame:
    """The same, for an experiment with an energy above 0.

    Raises:
        Unavailable: there is none.
    """
    energy_column(experiment)
    rows = configurations(experiment)
    if not rows["energy_j"].notna().any():
        raise Unavailable("no run has an energy above 0.")
    return rows


def repeated(experiment: Experiment) -> bool:
    """Whether some configuration was measured twice, so that tests are possible."""
    return bool((configurations(experiment)["measurements"] > 1).any())


def per_kwh(accuracies: Sequence[float], energies_j: Sequence[float]) -> Interval:
    """Accuracy over energy: a ratio of means, with its interval by the delta method.

    Args:
        accuracies: of each measurement, 0 to 1, at least one.
        energies_j: of each, above 0.

    >>> found = per_kwh([0.9, 0.9], [1.8e6, 5.4e6])       # 0.9 for a kilowatt-hour on average
    >>> round(found.value, 3), found.low < found.value < found.high
    (0.9, True)
    """
    accuracy, kwh = np.asarray(accuracies, float), np.asarray(energies_j, float) / JOULES_IN_KWH
    ratio = float(accuracy.mean() / kwh.mean())
    if not ratio:
        return Interval(0.0, math.nan, math.nan, math.nan, len(kwh))
    apart = mean_interval(list(accuracy / accuracy.mean() - kwh / kwh.mean()))
    reach = min(apart.half_width, LARGEST_LOGARITHM)
    return replace(apart, value=ratio, low=ratio * math.exp(-reach), high=ratio * math.exp(reach))


def short_datasets(names: Sequence[str]) -> dict[str, str]:
    """Names of data sets without source and settings, unless these are needed to distinguish them.

    >>> short_datasets(["torchvision:MNIST?channels=3&side=48", "digits?side=32"])
    {'torchvision:MNIST?channels=3&side=48': 'MNIST', 'digits?side=32': 'digits'}
    >>> short_datasets(["digits?channels=3&side=16", "digits?channels=3&side=32"])
    {'digits?channels=3&side=16': 'digits?side=16', 'digits?channels=3&side=32': 'digits?side=32'}
    """
    levels = list(dict.fromkeys(names))
    parts = [name.partition("?") for name in levels]
    settings = [set(setting.split("&")) - {""} for _, _, setting in parts]
    common = set.intersection(*settings) if settings else set()
    bare = [name for name, _, _ in parts]
    own = [
        "&".join(one for one in setting.split("&") if one and one not in common)
        for _, _, setting in parts
    ]
    told = [f"{name}?{some}" if some else name for name, some in zip(bare, own, strict=True)]
    for short in ([name.rpartition(":")[2] for name in bare], bare, told):
        if len(set(short)) == len(levels):
            return dict(zip(levels, short, strict=True))
    return {name: name for name in levels}


def shortened(text: str, short: Mapping[str, str]) -> str:
    """A text with short names of data sets, from `short_datasets`.

    >>> shortened("vgg16, digits?side=32", {"digits?side=32": "digits"})
    'vgg16, digits'
    """
    for name in sorted(short, key=len, reverse=True):
        text = text.replace(name, short[name])
    return text


def varied(experiment: Experiment) -> list[str]:
    """The factors among network, base and data set with several levels."""
    return [factor for factor in FACTORS if factor in experiment.varied]


def label(experiment: Experiment, row: pd.Series[Any], *, dataset: bool = False) -> str:
    """A configuration in words: ``vgg16 (frozen)``; only the network if nothing else varies.

    Args:
        experiment: its experiment.
        row: of `configurations`.
        dataset: whether to add the data set, if it varies.
    """
    several = varied(experiment)
    base = f" ({row[BASE]})" if BASE in several else ""
    names = short_datasets(list(configurations(experiment)[DATASET]))
    on = f" on {names[str(row[DATASET])]}" if dataset and DATASET in several else ""
    return f"{row[NETWORK]}{base}{on}"


def _row(
    runs: pd.DataFrame, measured: pd.DataFrame, energy: str, others: Sequence[str]
) -> dict[str, object]:
    energies = measured[energy].dropna()
    both = measured.dropna(subset=[energy, "accuracy"])
    first = runs.iloc[0]
    return {
        **{factor: first[factor] for factor in FACTORS},
        NETWORK: ", ".join([str(first[NETWORK]), *_words_of(first, others)]),
        "configuration": first["configuration"],
        "n": len(runs),
        "measurements": len(energies),
        **_interval("energy", mean_interval(list(energies)) if len(energies) else None, "_j"),
        "duration_s": runs["duration_s"].mean(),
        **_interval("accuracy", _known_mean(runs["accuracy"])),
        "f1": _mean(runs, "f1"),
        **_interval(
            "accuracy_per_kwh",
            per_kwh(list(both["accuracy"]), list(both[energy])) if len(both) else None,
        ),
        **{name: _mean(runs, name) for name in SIZES},
        "weights": ", ".join(dict.fromkeys(filter(None, _words(runs, "weights")))),
    }


def _words_of(run: pd.Series[Any], factors: Sequence[str]) -> list[str]:
    return [configuration_name({factor: run[factor]}) for factor in factors]


def _interval(name: str, found: Interval | None, unit: str = "") -> dict[str, float]:
    if found is None:
        return dict.fromkeys((f"{name}{unit}", f"{name}_low{unit}", f"{name}_high{unit}"), math.nan)
    return {
        f"{name}{unit}": found.value,
        f"{name}_low{unit}": found.low,
        f"{name}_high{unit}": found.high,
    }


def _known_mean(values: pd.Series[float]) -> Interval | None:
    known = values.dropna()
    return mean_interval(list(known)) if len(known) else None


def _mean(runs: pd.DataFrame, name: str) -> float:
    return float(runs[name].astype(float).mean()) if name in runs else math.nan


def _words(runs: pd.DataFrame, name: str) -> list[str]:
    return [word for word in runs[name] if isinstance(word, str)] if name in runs else []
