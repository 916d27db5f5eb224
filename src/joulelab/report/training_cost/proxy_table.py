"""Which figure of a training stands for its energy: operations, parameters, or time?

Spearman's rho says whether a figure puts the configurations into the order of their energy; how
many times more joules a unit of it costs in one configuration than in another says how far off it
is as a measure.
"""

from __future__ import annotations

import pandas as pd

from joulelab import formats
from joulelab.analysis.correlation import FEWEST, rank_correlation
from joulelab.report.effort import LEAST_FOR_RHO
from joulelab.report.experiment import Experiment, once
from joulelab.report.tables import Omitted, Table
from joulelab.report.training_cost.configurations import configurations
from joulelab.report.training_cost.cost_tables import no_costs

TOTAL, TRAINABLE = "flops", "flops_trainable"
PROXIES = {
    TOTAL: "FLOPs, total",
    TRAINABLE: "FLOPs, trainable",
    "parameters_total": "parameters, total",
    "parameters": "parameters, trainable",
    "duration_s": "time",
}


@once
def proxy_table(experiment: Experiment) -> Table | Omitted:
    """How well operations, parameters and time stand for energy."""
    key, title = "proxies", "What stands for energy: operations, parameters or time"
    if (omitted := no_costs(experiment, key, title)) is not None:
        return omitted
    points = configurations(experiment).dropna(subset=["energy_j"])
    found = [{"of": of, **_proxy(points, of)} for of in PROXIES if points[of].notna().any()]
    raw = pd.DataFrame([row for row in found if row["rho"] is not None])
    if not len(raw):
        return Omitted(
            key,
            title,
            f"it needs {LEAST_FOR_RHO} configurations whose energies, and whose operations, "
            "parameters or times differ.",
        )
    shown = pd.DataFrame(
        {
            "of": raw["of"].map(PROXIES),
            "Spearman's \N{GREEK SMALL LETTER RHO}": raw["rho"].map(formats.effect),
            "95 % interval": formats.intervals(raw["low"], raw["high"], formats.effect),
            "joules a unit, most / least": raw["spread"].map(formats.significant),
            "configurations": raw["n"].map(str),
        }
    )
    note = (
        "\N{GREEK SMALL LETTER RHO} = 1: the same order as by energy. Most over least: how many "
        "times more energy an operation, a parameter or a second goes with in one configuration "
        "than in another; 1 for a perfect measure."
    )
    if (raw["n"] < FEWEST).any():
        note += f" Intervals need {FEWEST} configurations."
    if not experiment.energy.status.startswith("measured"):
        note += " Energies estimated from the processor's time follow time by construction."
    return Table(key, title, note, raw, shown, ("of", "95 % interval"))


def better_proxy(experiment: Experiment) -> str:
    """In a sentence, whether total or trainable operations are nearer to the energy; or nothing."""
    table = proxy_table(experiment)
    if isinstance(table, Omitted):
        return ""
    rows = table.raw.set_index("of")
    points = configurations(experiment)
    if not {TOTAL, TRAINABLE} <= set(rows.index) or (points[TOTAL] == points[TRAINABLE]).all():
        return ""
    rho = {of: float(rows["rho"][of]) for of in (TOTAL, TRAINABLE)}
    spread = {of: float(rows["spread"][of]) for of in (TOTAL, TRAINABLE)}
    words = {TOTAL: "total", TRAINABLE: "trainable"}
    order = max(rho, key=lambda of: rho[of])
    near = min(spread, key=lambda of: spread[of])
    said = (
        f"Spearman's \N{GREEK SMALL LETTER RHO} with energy over "
        f"{formats.count(int(rows['n'][TOTAL]), 'configuration')} is {formats.effect(rho[TOTAL])} "
        f"for total and {formats.effect(rho[TRAINABLE])} for trainable FLOPs, and a FLOP costs up "
        f"to {formats.significant(spread[TOTAL])} and {formats.significant(spread[TRAINABLE])} "
        "times as much in one as in another"
    )
    # Without intervals, or where they overlap, another choice of networks may say the contrary.
    apart = rows["low"][order] > rows["high"][TRAINABLE if order == TOTAL else TOTAL]
    sure = "" if apart else ", as far as these can tell"
    if rho[TOTAL] == rho[TRAINABLE] or order == near:
        return f"{said}: {words[near]} FLOPs are the better stand-in for energy{sure}."
    return f"{said}: {words[order]} FLOPs order better, {words[near]} FLOPs are nearer in size."


def _proxy(points: pd.DataFrame, of: str) -> dict[str, object]:
    """Rho and spread of one figure; rho is ``None`` where there is none."""
    rows = points.dropna(subset=[of])
    rows = rows[rows[of] > 0]
    n = len(rows)
    if n < LEAST_FOR_RHO or min(rows[of].nunique(), rows["energy_j"].nunique()) == 1:
        return {"rho": None}
    found = rank_correlation(rows, of, "energy_j")
    rho = found.rho
    if found.reason:
        rho = float(rows[of].corr(rows["energy_j"], method="spearman"))
    each = rows["energy_j"] / rows[of]
    spread = float(each.max() / each.min())
    return {"rho": rho, "low": found.low, "high": found.high, "spread": spread, "n": n}
