"""What a training asks of the device: utilisation, time, floating-point operations, and energy.

After Yarally et al. (CAIN 2023, section VII-C): "do we really need to measure energy consumption or
could we simply rely on time efficiency?"
"""

from __future__ import annotations

import pandas as pd

from joulelab import formats
from joulelab.analysis.coupling import MOST, Coupling, coupling
from joulelab.present import (
    Column,
    Figure,
    Table,
    Unavailable,
    cached_per_subject,
    figure,
    table,
    words,
)
from joulelab.present.axes import Axis, Reference, percent_tick, tenfold
from joulelab.present.interval_plot import intervals
from joulelab.present.scatter_plot import scatter
from joulelab.present.style import BLUE, ORANGE, VERMILLION, Look
from joulelab.report.energy import check_drawn
from joulelab.report.experiment import Experiment, energy_column

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
PARTS, AGREES = "time and energy disagree", "time and energy agree"
LOOKS = {AGREES: Look(BLUE, "o"), PARTS: Look(VERMILLION, "s")}
MOST_NAMED = 6
"""More names than that crowd the figure."""


@table("utilisation", "Utilisation of the device that trains", folded=True)
def utilisations(experiment: Experiment) -> Table:
    """Mean and distribution of the utilisation of the device that trains, by configuration."""
    columns = ["utilisation_mean", *(f"utilisation_{name}" for name in QUANTILES)]
    runs = experiment.runs
    if "utilisation_mean" not in runs or not runs["utilisation_mean"].notna().any():
        raise Unavailable("no meter said how busy the device was.")
    there = [name for name in columns if name in runs]
    known = runs[runs["utilisation_mean"].notna()]
    grouped = known.groupby("configuration", sort=False)
    rows = grouped[there].mean().assign(n=grouped.size()).reset_index()
    rows = rows.sort_values("utilisation_mean", ignore_index=True).rename(
        columns={name: name.removeprefix("utilisation_") for name in there}
    )
    low, high = rows["mean"].min(), rows["mean"].max()
    note = (
        f"From {formats.percent(low, 0)} to {formats.percent(high, 0)} on average, 40 to 60 % in "
        "the paper. Means over the runs of each run's mean and quantiles over time. Of a GPU it "
        "is the share of time in which a kernel ran, of a processor the share of its cores that "
        "the training kept busy; neither says how well the arithmetic units were used."
    )
    if without := len(runs) - len(known):
        note += f" {formats.count(without, 'run')} without a figure left out."
    shares = [
        Column(name, form=lambda share: formats.percent(share, 0))
        for name in ("mean", *QUANTILES)
        if name in rows
    ]
    return Table(rows, [words("configuration"), Column("runs", "n", "{:,}".format), *shares], note)


@figure("utilisation-picture", "Utilisation of each configuration", folded=True)
def utilisation_ranges(experiment: Experiment) -> Figure:
    """The distribution of utilisation of each configuration."""
    rows = utilisations(experiment).frame
    check_drawn(len(rows))
    load = rows.reindex(columns=["configuration", "mean", *QUANTILES])
    named = str(experiment.runs["device"].iloc[0]) if "device" in experiment.runs else ""
    device = {"cuda": "GPU", "cpu": "processor"}.get(named.partition(":")[0], "device")
    low, high = load.iloc[0], load.iloc[-1]
    alt = (
        f"Mean utilisation from {formats.percent(low['mean'], 0)} ({low['configuration']}) to "
        f"{formats.percent(high['mean'], 0)} ({high['configuration']})."
    )
    note = "Mean, median, the middle half and the middle 90 % of the time."
    columns = {"p25": "inner_low", "p75": "inner_high", "p50": "second", "configuration": "row"}
    axis = Axis(
        "mean", f"utilisation of the {device}", "p5", "p95", form=percent_tick, limits=(0, 1)
    )
    return Figure(
        lambda width: intervals(
            load.rename(columns=columns),
            axis,
            references=[PAPER_LOAD],
            legend={
                "interval": "5 to 95 % of the time",
                "inner": "25 to 75 %",
                "second": "median",
                "value": "mean",
            },
            width=width,
        ),
        note,
        alt,
    )


@table("time-energy", "Does time stand for energy?", folded=True)
def time_energy(experiment: Experiment) -> Table:
    """Time against energy of each configuration, and where the two part."""
    found = _coupling(experiment)
    rows = found.table.sort_values("mean_energy_j", ignore_index=True)
    columns = [
        words("configuration"),
        Column("time", "mean_duration_s", formats.duration),
        Column("energy", "mean_energy_j", formats.joules),
        Column("power", "mean_power_w", formats.watts, wide=True),
        Column("over the others'", "power_ratio", formats.statistic, bold="apart"),
        words(
            "95 % interval",
            ("power_ratio_low", "power_ratio_high"),
            form=formats.between(formats.statistic),
            wide=True,
        ),
        Column("rank, time", "rank_duration", "{:g}".format),
        Column("rank, energy", "rank_energy", "{:g}".format),
    ]
    shown = rows.assign(apart=_parts(rows))
    return Table(rows, columns, _words(found, experiment), shown=shown)


@figure("time-energy-picture", "Time against energy")
def time_energy_points(experiment: Experiment) -> Figure:
    """A point a configuration, with the line of equal power."""
    found = _coupling(experiment)
    check_drawn(len(found.table))
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
    note = (
        "On the line, power is constant. Labelled: configurations whose power differs from the "
        f"rest by more than {formats.percent(APART, 0)} (significant)."
    )
    if experiment.energy.status.endswith("estimated"):
        note += f" {ESTIMATED}"
    return Figure(
        lambda width: scatter(
            points,
            Axis("mean_duration_s", "time of a run, s", scale="log" if wide else "linear"),
            Axis(
                "mean_energy_j",
                experiment.energy_label,
                units=formats.ENERGY,
                scale="log" if wide else "linear",
            ),
            looks=LOOKS,
            references=[line],
            width=width,
        ),
        note,
        _words(found, experiment),
    )


@table("flops", "FLOPs beside joules", folded=True)
def flops(experiment: Experiment) -> Table:
    """Floating-point operations of a training beside its joules."""
    energy, runs = energy_column(experiment), experiment.measured
    if "flops" not in runs or not runs["flops"].notna().any():
        raise Unavailable("the operations of no run are known.")
    means = runs.groupby("configuration", sort=False)[["flops", energy]].mean().dropna()
    rows = means.rename(columns={energy: "energy_j"}).reset_index()
    rows["joules_per_gigaflop"] = rows["energy_j"] / (rows["flops"] / GIGA)
    rows = rows.sort_values("flops", ignore_index=True)
    columns = [
        words("configuration"),
        Column("FLOPs", "flops", formats.operations),
        Column("energy", "energy_j", formats.joules),
        Column("per GFLOP", "joules_per_gigaflop", formats.joules),
    ]
    note = (
        "Operations of products and convolutions, forward and backward, as torch counts them."
        f"{_flops_words(rows)}"
    )
    return Table(rows, columns, note)


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


@cached_per_subject
def _coupling(experiment: Experiment) -> Coupling:
    """Time and energy of the configurations.

    Raises:
        Unavailable: they cannot be compared.
    """
    energy = energy_column(experiment)
    if "duration_s" not in experiment.runs:
        raise Unavailable("no duration is known.")
    found = coupling(experiment.measured, "configuration", energy)
    if not len(found.table):
        raise Unavailable("no run has an energy and a duration above 0.")
    return found


def _parts(table: pd.DataFrame) -> pd.Series[bool]:
    """Configurations whose power differs significantly by more than a twentieth."""
    high, low = table["power_ratio_low"] > 1 + APART, table["power_ratio_high"] < 1 - APART
    parts: pd.Series[bool] = high | low
    return parts


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


def _named(table: pd.DataFrame, power_w: float) -> pd.Series[str]:
    """Names of the configurations that part the furthest; the others have none."""
    away = (table["mean_energy_j"] / (power_w * table["mean_duration_s"]) - 1).abs()
    furthest = away[_parts(table)].nlargest(MOST_NAMED).index
    return table["configuration"].where(table.index.isin(furthest), "")
