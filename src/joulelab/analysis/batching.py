"""Batching: what a request costs, and how long it waits, by model, policy and arrivals.

A run is one window in which a server answers requests in batches, from the first request to the
last answer. A **cell** is one model under one policy and one arrival process; its runs are its
repetitions, and a run is one observation, however many requests it answered. Of a run::

    energy per request = energy of the window / requests answered       net and gross
    mean power         = gross energy / duration of the window
    response time      = from entering the queue to the answer; mean, percentiles, maximum

Figures of a cell are means over its runs, with Student's interval for energy per request; of the
maximum it is the largest, of counts the sum. A run that answered nothing has no energy per request.

A run is **saturated** where requests come faster than they are served. Its energy per request
stands, but its response times grow with the length of the window and belong to no test.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from joulelab.analysis.comparison import mean_interval
from joulelab.analysis.levels import groups
from joulelab.analysis.missing import names, numbers, require_columns

FACTORS = ("model", "policy", "arrivals")
NET_EACH, GROSS_EACH = "net_per_request_j", "gross_per_request_j"
MEANS = (
    "energy_net_j",
    "energy_gross_j",
    "mean_power_w",
    "duration_s",
    "offered_per_s",
    "throughput_per_s",
    "response_mean_s",
    "response_p50_s",
    "response_p95_s",
    "response_p99_s",
    "batch_mean",
)
SUMS = ("requests", "answered", "dropped")
_FIXED = re.compile(r"fixed\(\s*(?:n\s*=\s*)?(\d+)\s*\)")


def fixed_size(policy: str) -> int | None:
    """The batch size of a policy that always waits for so many; ``None`` for any other policy.

    Args:
        policy: as a study file writes it.

    >>> fixed_size("fixed(16)"), fixed_size("fixed(n=32)"), fixed_size("fixed(32, wait_ms=50)")
    (16, 32, None)
    """
    found = _FIXED.fullmatch(policy.strip())
    return int(found[1]) if found else None


def per_request(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with what a request cost in each: a copy with further columns.

    Args:
        runs: a row a run; a measure that the table lacks counts as unknown.

    Returns:
        All columns, those of this module as floats, and ``net_per_request_j``,
        ``gross_per_request_j``, ``mean_power_w`` (gross) and ``saturated`` (1, 0, or NaN where
        nobody knows). Unknown is NaN.

    Raises:
        UsageError: a column holds something that is not a number.

    >>> runs = pd.DataFrame({"energy_net_j": [60.0, 60.0], "answered": [20, 0]})
    >>> per_request(runs)["net_per_request_j"].tolist()
    [3.0, nan]
    """
    measures = [*MEANS, *SUMS, "response_max_s", "saturated"]
    whole = runs.assign(**{name: math.nan for name in measures if name not in runs})
    whole = whole.assign(**{name: numbers(whole, name) for name in measures})
    answered = whole["answered"].where(whole["answered"] > 0)
    duration_s = whole["duration_s"].where(whole["duration_s"] > 0)
    return whole.assign(
        net_per_request_j=whole["energy_net_j"] / answered,
        gross_per_request_j=whole["energy_gross_j"] / answered,
        mean_power_w=whole["energy_gross_j"] / duration_s,
    )


def cells(runs: pd.DataFrame, by: str | Sequence[str] = FACTORS) -> pd.DataFrame:
    """Energy and response of every cell.

    Args:
        runs: a row a run, as `per_request` gives them.
        by: the columns that make a cell; ``policy`` is one of them.

    Returns:
        A row a cell, in the order of the levels, arrivals by rate and batches by size: the columns
        of `by`, ``n`` (runs), ``net_per_request_j`` and ``gross_per_request_j``, each with ``_low``
        and ``_high`` (95 %, NaN with fewer than two runs) and ``_n`` (runs that have it), the means
        (`MEANS`), ``response_max_s``, ``requests``, ``answered`` and ``dropped`` (sums),
        ``saturated`` and ``saturation_unknown`` (runs), and ``batch_size``: of a fixed policy its
        size, of any other its mean batch.

    Raises:
        UsageError: a column is absent.

    >>> runs = pd.DataFrame({"policy": "fixed(2)", "energy_net_j": [6.0, 8.0], "answered": [2, 2]})
    >>> table = cells(per_request(runs), "policy")
    >>> table[["policy", "batch_size", "n", "net_per_request_j", "answered"]]
         policy  batch_size  n  net_per_request_j  answered
    0  fixed(2)         2.0  2                3.5       4.0
    """
    require_columns(runs, ["policy", NET_EACH, GROSS_EACH])
    rows = [levels | _cell(rows) for levels, rows in groups(runs, by)]
    table = pd.DataFrame(rows)
    if not len(table):
        return table
    table["batch_size"] = table["policy"].map(fixed_size).astype(float)
    table["batch_size"] = table["batch_size"].fillna(table["batch_mean"])
    others = [name for name in names(by) if name != "policy"]
    keys = table.assign(_open=table["policy"].map(fixed_size).isna())
    if "arrivals" in others:
        keys["_rate"] = keys.groupby("arrivals")["offered_per_s"].transform("mean")
        others.insert(others.index("arrivals"), "_rate")
    order = keys.sort_values([*others, "_open", "batch_size", "policy"], kind="stable")
    return table.loc[order.index].reset_index(drop=True)


def _cell(rows: pd.DataFrame) -> dict[str, object]:
    cell: dict[str, object] = {"n": len(rows)}
    for name in (NET_EACH, GROSS_EACH):
        known = rows[name].dropna()
        found = mean_interval(list(known)) if len(known) else None
        cell[name] = found.value if found else math.nan
        cell[f"{name}_low"] = found.low if found else math.nan
        cell[f"{name}_high"] = found.high if found else math.nan
        cell[f"{name}_n"] = len(known)
    cell |= {name: float(rows[name].mean()) for name in MEANS}
    cell["response_max_s"] = float(rows["response_max_s"].max())
    # A sum over runs of which one is unknown is unknown.
    cell |= {name: float(rows[name].sum(skipna=False)) for name in SUMS}
    cell["saturated"] = int(np.count_nonzero(rows["saturated"] > 0))
    cell["saturation_unknown"] = int(rows["saturated"].isna().sum())
    return cell
