"""What a training asks of the device: utilisation, time, floating-point operations, and energy.

After Yarally et al. (CAIN 2023, section VII-C): "do we really need to measure energy consumption or
could we simply rely on time efficiency?"
"""

from __future__ import annotations

import pandas as pd

from joulelab import formats
from joulelab.analysis.coupling import MOST, Coupling, coupling
from joulelab.present.axes import Axis, Reference, percent_tick, tenfold
from joulelab.present.intervals import intervals
from joulelab.present.scatter import scatter
from joulelab.present.style import BLUE, ORANGE, VERMILLION, Look
from joulelab.report.experiment import Experiment, once
from joulelab.report.pictures import Picture
from joulelab.report.tables import Omitted, Table, no_energy, too_many_drawn

QUANTILES = ("p5", "p25", "p50", "p75", "p95")
APART = 0.05
"""A power that differs from the others' by less does not part time from energy."""
GIGA = 1e9
ESTIMATED = (
    "Energies here are estimated from the processor's time, and so follow time by construction."
)
LEAST_FOR_RHO = 3
PAPER_LOAD = Reference("40 to 60 %, the paper", x=0.4, to=0.6, colour=ORANGE)
"""The share of time in which the GPU of CAIN 2023 was busy."""
PARTS, AGREES = "time and energy part", "time and energy agree"
LOOKS = {AGREES: Look(BLUE, "o"), PARTS: Look(VERMILLION, "s")}
MOST_NAMED = 6
"""More names than that crowd the figure."""


@once
def utilisation_table(experiment: Experiment) -> Table | Omitted:
    """Mean and distribution of the utilisation of the device that trains, by configuration."""
    key, title = "utilisation", "Utilisation of the device that trains"
    columns = ["utilisation_mean", *(f"utilisation_{name}" for name in QUANTILES)]
    runs = experiment.runs
    if "utilisation_mean" not in runs or not runs["utilisation_mean"].notna().any():
        return Omitted(key, title, "no meter said how busy the device was.")
    there = [name for name in columns if name in runs]
    known = runs[runs["utilisation_mean"].notna()]
    grouped = known.groupby("configuration", sort=False)
    raw = grouped[there].mean().assign(n=grouped.size()).reset_index()
    raw = raw.sort_values("utilisation_mean", ignore_index=True).rename(
        columns={name: name.removeprefix("utilisation_") for name in there}
    )
    shown = pd.DataFrame(
        {"configuration": raw["configuration"], "runs": raw["n"].map("{:,}".format)}
    )
    for name in ("mean", *QUANTILES):
        if name in raw:
            shown[name] = raw[name].map(lambda share: formats.percent(share, 0))
    low, high = raw["mean"].min(), raw["mean"].max()
    without = len(runs) - len(known)
    note = (
        f"From {formats.percent(low, 0)} to {formats.percent(high, 0)} on average, 40 to 60 % in "
        "the paper. Means over the runs of each run's mean and quantiles over time. Of a GPU it "
        "is the share of time in which a kernel ran, of a processor the share of its cores that "
        "the training kept busy; neither says how well the arithmetic units were used."
    )
    if without:
        note += f" {formats.count(without, 'run')} without a figure left out."
    return Table(key, title, note, raw, shown, ("configuration",), folded=True)


def utilisation_picture(experiment: Experiment) -> Picture | Omitted:
    """The distribution of utilisation of each configuration."""
    key, title = "utilisation-picture", "Utilisation of each configuration"
    table = utilisation_table(experiment)
    if isinstance(table, Omitted):
        return Omitted(key, title, table.reason)
    if reason := too_many_drawn(len(table.raw)):
        return Omitted(key, title, reason)
    load = table.raw.reindex(columns=["configuration", "mean", *QUANTILES])
    named = str(experiment.runs["device"].iloc[0]) if "device" in experiment.runs else ""
    device = {"cuda": "GPU", "cpu": "processor"}.get(named.partition(":")[0], "device")
    columns = {"p25": "inner_low", "p75": "inner_high", "p50": "second", "configuration": "row"}
    figure = intervals(
        load.rename(columns=columns),
        Axis(
            "mean",
            f"utilisation of the {device}",
            "p5",
            "p95",
            form=percent_tick,
            limits=(0, 1),
        ),
        references=[PAPER_LOAD],
        legend={
            "interval": "5 to 95 % of the time",
            "inner": "25 to 75 %",
            "second": "median",
            "value": "mean",
        },
    )
    low, high = load.iloc[0], load.iloc[-1]
    alt = (
        f"Mean utilisation from {formats.percent(low['mean'], 0)} ({low['configuration']}) to "
        f"{formats.percent(high['mean'], 0)} ({high['configuration']})."
    )
    note = "Mean, median, the middle half and the middle 90 % of the time."
    return Picture(key, title, note, alt, figure)


def time_energy_table(experiment: Experiment) -> Table | Omitted:
    """Time against energy of each configuration, and where the two part."""
    key, title = "time-energy", "Does time stand for energy?"
    found = _coupling(experiment)
    if isinstance(found, str):
        return Omitted(key, title, found)
    raw = found.table.sort_values("mean_energy_j", ignore_index=True)
    shown = pd.DataFrame(
        {
            "configuration": raw["configuration"],
            "time": raw["mean_duration_s"].map(formats.duration),
            "energy": raw["mean_energy_j"].map(formats.joules),
            "power": raw["mean_power_w"].map(formats.watts),
            "over the others'": raw["power_ratio"].map(formats.statistic),
            "95 % interval": formats.intervals(
                raw["power_ratio_low"], raw["power_ratio_high"], formats.statistic
            ),
            "rank, time": raw["rank_duration"].map("{:g}".format),
            "rank, energy": raw["rank_energy"].map("{:g}".format),
        }
    )
    bold = {(int(row), "over the others'") for row in raw.index[_parts(raw)]}
    text = ("configuration", "95 % interval")
    wide = ("95 % interval", "power")
    return Table(
        key, title, _words(found, experiment), raw, shown, text, frozenset(bold), True, wide
    )


def time_energy_picture(experiment: Experiment) -> Picture | Omitted:
    """A point a configuration, with the line of equal power."""
    key, title = "time-energy-picture", "Time against energy"
    found = _coupling(experiment)
    if isinstance(found, str):
        return Omitted(key, title, found)
    if reason := too_many_drawn(len(found.table)):
        return Omitted(key, title, reason)
    power_w = float((found.table["mean_energy_j"] / found.table["mean_duration_s"]).median())
    points = found.table.assign(
        group=[PARTS if apart else AGREES for apart in _parts(found.table)],
        name=_named(found.table, power_w),
    )
    values = points[["mean_duration_s", "mean_energy_j"]]
    # One kind of scale on both axes, on which equal power is a straight line.
    positive = bool((values > 0).all(axis=None))
    wide = positive and any(tenfold(values[name]) for name in values)
    line = Reference(f"equal power, {formats.watts(power_w)}", at=lambda seconds: power_w * seconds)
    figure = scatter(
        points,
        Axis("mean_duration_s", "time of a run, s", scale="log" if wide else "linear"),
        Axis(
            "mean_energy_j",
            experiment.energy.label,
            units=formats.ENERGY,
            scale="log" if wide else "linear",
        ),
        looks=LOOKS,
        references=[line],
    )
    note = (
        "On the line every second costs the same. Named: configurations whose power differs from "
        f"the others' by more than {formats.percent(APART, 0)}, surely."
    )
    if experiment.energy.status.endswith("estimated"):
        note += f" {ESTIMATED}"
    return Picture(key, title, note, _words(found, experiment), figure)


@once
def flops_table(experiment: Experiment) -> Table | Omitted:
    """Floating-point operations of a training beside its joules."""
    key, title = "flops", "FLOPs beside joules"
    if (omitted := no_energy(experiment, key, title)) is not None:
        return omitted
    runs, energy = experiment.measured, str(experiment.energy.column)
    if "flops" not in runs or not runs["flops"].notna().any():
        return Omitted(key, title, "the operations of no run are known.")
    means = runs.groupby("configuration", sort=False)[["flops", energy]].mean().dropna()
    raw = means.rename(columns={energy: "energy_j"}).reset_index()
    raw["joules_per_gigaflop"] = raw["energy_j"] / (raw["flops"] / GIGA)
    raw = raw.sort_values("flops", ignore_index=True)
    shown = pd.DataFrame(
        {
            "configuration": raw["configuration"],
            "FLOPs": raw["flops"].map(formats.operations),
            "energy": raw["energy_j"].map(formats.joules),
            "per GFLOP": raw["joules_per_gigaflop"].map(formats.joules),
        }
    )
    note = (
        "Operations of products and convolutions, forward and backward, as torch counts them."
        f"{_flops_words(raw)}"
    )
    return Table(key, title, note, raw, shown, ("configuration",), folded=True)


def _flops_words(raw: pd.DataFrame) -> str:
    """Spearman's rho of operations and energy, and how far their ratio reaches."""
    said = ""
    if len(raw) >= LEAST_FOR_RHO and min(raw["flops"].nunique(), raw["energy_j"].nunique()) > 1:
        rho = raw["flops"].corr(raw["energy_j"], method="spearman")
        said = f" Spearman's \N{GREEK SMALL LETTER RHO} = {formats.effect(rho)}."
    least, most = raw["joules_per_gigaflop"].min(), raw["joules_per_gigaflop"].max()
    if len(raw) > 1 and least > 0:
        said += (
            f" An operation costs up to {formats.significant(most / least)} times as much in one "
            "configuration as in another."
        )
    return said


@once
def _coupling(experiment: Experiment) -> Coupling | str:
    """Time and energy of the configurations, or why they cannot be compared."""
    if not len(experiment.runs):
        return "no run has finished yet."
    if experiment.energy.column is None:
        return experiment.energy.remarks[0]
    if "duration_s" not in experiment.runs:
        return "no duration is known."
    found = coupling(experiment.measured, "configuration", experiment.energy.column)
    return found if len(found.table) else "no run has an energy and a duration above 0."


def _parts(table: pd.DataFrame) -> pd.Series[bool]:
    """Configurations whose power surely differs by more than a twentieth."""
    high, low = table["power_ratio_low"] > 1 + APART, table["power_ratio_high"] < 1 - APART
    parts: pd.Series[bool] = high | low
    return parts


def _named(table: pd.DataFrame, power_w: float) -> pd.Series[str]:
    """Names of the configurations that part the furthest; the others have none."""
    away = (table["mean_energy_j"] / (power_w * table["mean_duration_s"]) - 1).abs()
    furthest = away[_parts(table)].nlargest(MOST_NAMED).index
    return table["configuration"].where(table.index.isin(furthest), "")


def _words(found: Coupling, experiment: Experiment) -> str:
    """Spearman, slope, power and inversions, in sentences."""
    rho = formats.interval(found.spearman_low, found.spearman_high, formats.effect)
    slope = formats.interval(found.slope_low, found.slope_high, formats.statistic)
    said = [
        f"Spearman's \N{GREEK SMALL LETTER RHO} of time and energy over configurations "
        f"{formats.effect(found.spearman)} ({rho}); energy grows as time to the power of "
        f"{formats.statistic(found.slope)} ({slope})."
        if formats.known(found.spearman)
        else f"No correlation: {found.reason}."
    ]
    if formats.known(found.power_p):
        said.append(
            f"Power between configurations: Kruskal-Wallis p {formats.p_value(found.power_p)}, "
            f"\N{GREEK SMALL LETTER ETA}\N{SUPERSCRIPT TWO} = "
            f"{formats.effect(found.power_eta_squared)}."
        )
    apart = int(_parts(found.table).sum())
    said.append(
        f"{apart} of {formats.count(len(found.table), 'configuration')} draw a power that parts "
        f"from the others' by more than {formats.percent(APART, 0)}."
    )
    if len(found.inversions):
        worst = found.inversions.sort_values("energy_ratio").iloc[-1]
        said.append(
            f"{formats.count(len(found.inversions), 'pair')} of {found.pairs:,} invert: the faster "
            f"takes more energy, most of all {worst['faster']} against {worst['slower']} "
            f"({formats.statistic(worst['duration_ratio'])} times the time, "
            f"{formats.statistic(worst['energy_ratio'])} times the energy)."
        )
    elif not found.pairs and len(found.table) > 1:
        said.append(f"Pairs of more than {MOST:,} configurations are not compared.")
    else:
        said.append(f"In none of {found.pairs:,} pairs the faster takes significantly more energy.")
    if experiment.energy.status.endswith("estimated"):
        said.append(ESTIMATED)
    return " ".join(said)
