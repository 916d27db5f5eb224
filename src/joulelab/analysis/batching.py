"""Batching: energy per request, savings of batches, and the choice of a policy.

Cells: energy and response by model, policy and arrivals
--------------------------------------------------------

A run is one window in which a server answers requests in batches, from the first request to the
last answer. A **cell** is one model under one policy and one arrival process; its runs are its
repetitions, and a run is one observation, however many requests it answered. For a run::

    energy per request = energy of the window / requests answered       net and gross
    mean power         = gross energy / duration of the window
    response time      = from entering the queue to the answer; mean, percentiles, maximum

Values of a cell are means over its runs, with Student's interval for energy per request; the
largest for the maximum, the sum for counts. A run without answers has no energy per request.

A run is **saturated** if requests arrive faster than they are served. Its energy per request is
valid, but its response times grow with the length of the window and are not tested.

Savings: energy per image at batch size 1 and at the best size
--------------------------------------------------------------

The mean over repetitions with Student's interval, and the saving as a ratio of geometric means with
Welch's (`joulelab.analysis.comparison`)::

    saving = 1 - E_best / E_1            E_1, E_best joules per image at 1 and at the best size

The best size is the measured one with the lowest mean. Choosing it on the same data makes it look
better than it is, by the random error of the means: among sizes with overlapping intervals, neither
the size nor a saving near 0 is meaningful.

The policy with the lowest energy per request that still answers in time
------------------------------------------------------------------------

For one model and one arrival process, with the runs of every policy. A policy **qualifies** if its
energy per request is known, no run of it is known to be saturated, and it meets the limit, if any,
in every run: the percentile of the response times is at most the limit, and the share of dropped
requests no larger than what the percentile leaves (1 % at the 99th), since a dropped request is
never answered.

One qualified policy has the lowest mean energy, and some are **alike**: the interval of the ratio
of geometric means (Welch, `joulelab.analysis.comparison`) contains 1, so these runs cannot show
which one uses less. The best policy is the fastest of these: an unproven saving does not justify
waiting. The number of repetitions that would decide is computed from the difference and the scatter
of the runs.

It is compared with a **baseline**: the smallest fixed batch, or the smallest mean batch if no
policy has a fixed size; if that is the best itself, the policy with the highest energy. The best is
chosen on the same data that measure it, so its advantage tends to be overestimated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.comparison import (
    Interval,
    Unpaired,
    mean_interval,
    ratio_of_means,
    repetitions_to_tell,
)
from joulelab.analysis.frames import complete, groups, names, numbers, require_columns, results

PERCENTILE = 99.0
ALL = 100.0
"""The percentile that is the maximum."""
MATTERS = 0.01
"""Share of energy below which more repetitions are not worthwhile."""
NEAR = 0.10
"""Extra energy that is acceptable for faster answers if there is no limit."""
BEST_BATCH = (
    "model single_j single_low_j single_high_j best_size best_j best_low_j best_high_j saving "
    "saving_low saving_high sizes n dropped"
)
NAN = math.nan
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
UNKNOWN = Interval(math.nan, math.nan, math.nan, math.nan, 0)
SUMS = ("requests", "answered", "dropped")
_FIXED = re.compile(r"fixed\(\s*(?:n\s*=\s*)?(\d+)\s*\)")


def fixed_size(policy: str) -> int | None:
    """The batch size of a policy that always waits for it; ``None`` for any other policy.

    Args:
        policy: as in a study file.

    >>> fixed_size("fixed(16)"), fixed_size("fixed(n=32)"), fixed_size("fixed(32, wait_ms=50)")
    (16, 32, None)
    """
    found = _FIXED.fullmatch(policy.strip())
    return int(found[1]) if found else None


def per_request(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the cost per request: a copy with additional columns.

    Args:
        runs: one row per run; a missing column counts as unknown.

    Returns:
        All columns, those of this module as floats, and ``net_per_request_j``,
        ``gross_per_request_j``, ``mean_power_w`` (gross) and ``saturated`` (1 or 0). Unknown is
        NaN.

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
        runs: one row per run, from `per_request`.
        by: the columns that make a cell; ``policy`` is one of them.

    Returns:
        One row per cell, in the order of the levels, arrivals by rate and batches by size: the
        columns of `by`, ``n`` (runs), ``net_per_request_j`` and ``gross_per_request_j``, each with
        ``_low`` and ``_high`` (95 %, NaN with fewer than two runs) and ``_n`` (runs that have it),
        the means (`MEANS`), ``response_max_s``, ``requests``, ``answered`` and ``dropped`` (sums),
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
        found = mean_interval(list(known)) if len(known) else UNKNOWN
        cell |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        cell[f"{name}_n"] = len(known)
    cell |= {name: float(rows[name].mean()) for name in MEANS}
    cell["response_max_s"] = float(rows["response_max_s"].max())
    # A sum with an unknown run is unknown.
    cell |= {name: float(rows[name].sum(skipna=False)) for name in SUMS}
    cell["saturated"] = int(np.count_nonzero(rows["saturated"] > 0))
    cell["saturation_unknown"] = int(rows["saturated"].isna().sum())
    return cell


def best_batch(
    runs: pd.DataFrame,
    energy: str = "energy_per_image_j",
    model: str = "model",
    size: str = "batch_size",
) -> pd.DataFrame:
    """Energy per image of each network at batch size 1 and at its best batch size.

    Args:
        runs: one row per run.
        energy: column in joules per image; runs with 0 or less, possible for noisy net energy, are
            dropped.
        model: column with the network.
        size: column with the batch size.

    Returns:
        One row per network, in order of appearance: ``model``, ``single_j`` (at batch size 1; if
        not measured, missing like the saving), ``best_size``, ``best_j``, ``saving`` (a share),
        each with ``_low`` and ``_high`` (95 %; missing without repetitions), ``sizes`` (number
        measured), ``n`` (runs) and ``dropped``.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> runs = pd.DataFrame({"model": "a", "batch_size": [1, 1, 8, 8, 16, 16],
    ...     "energy_per_image_j": [2.0, 2.2, 1.0, 1.1, 1.5, 1.4]})
    >>> best_batch(runs)[["model", "single_j", "best_size", "best_j", "saving"]].round(3)
      model  single_j  best_size  best_j  saving
    0     a       2.1          8    1.05     0.5
    """
    rows = []
    for name, of_model in runs.groupby(model, sort=False):
        whole = complete(of_model, [energy, size]).rows
        whole = whole[whole[energy] > 0]
        sizes = sorted(set(whole[size].astype(int)))
        samples = {one: whole.loc[whole[size] == one, energy].to_list() for one in sizes}
        found = _of_model(samples)
        rows.append({"model": name, **found, "dropped": len(of_model) - len(whole)})
    return results(rows, BEST_BATCH, whole=["best_size"])


def _of_model(samples: Mapping[int, list[float]]) -> dict[str, object]:
    found: dict[str, object] = {"sizes": len(samples), "n": sum(map(len, samples.values()))}
    if not samples:
        return found
    means = {size: mean_interval(values) for size, values in samples.items()}
    best = min(means, key=lambda size: means[size].value)
    for name, size in (("single", 1), ("best", best)):
        if size in means:
            mean = means[size]
            found |= {f"{name}_j": mean.value, f"{name}_low_j": mean.low}
            found[f"{name}_high_j"] = mean.high
    found["best_size"] = best
    if 1 in samples:
        ratio = ratio_of_means(samples[best], samples[1])
        # The saving has no interval if 1 is the best size.
        low, high = (ratio.low, ratio.high) if best != 1 else (NAN, NAN)
        found |= {"saving": 1 - ratio.value, "saving_low": 1 - high, "saving_high": 1 - low}
    return found


@dataclass(frozen=True)
class Limit:
    """A limit on response time: percentile and seconds.

    Attributes:
        seconds: of the response time.
        percentile: of the requests, 0 to 100.
    """

    seconds: float
    percentile: float = PERCENTILE

    @property
    def column(self) -> str:
        """The column of the runs with that percentile."""
        return response_column(self.percentile)

    def __str__(self) -> str:
        """The limit in words: ``p99 <= 0.20 s``."""
        name = "maximum" if self.percentile == ALL else f"p{self.percentile:g}"
        return f"{name} \N{LESS-THAN OR EQUAL TO} {formats.duration(self.seconds)}"


def response_column(percentile: float) -> str:
    """The column with a percentile of the response times; the 100th is the maximum.

    >>> response_column(99.0), response_column(100)
    ('response_p99_s', 'response_max_s')
    """
    if percentile == ALL:
        return "response_max_s"
    return f"response_p{percentile:g}_s"


@dataclass(frozen=True)
class PolicyFigures:
    """One policy: means over its runs.

    Attributes:
        policy: its name.
        energy_j: per request.
        low_j: lower end of the interval of `energy_j`; NaN with fewer than two runs.
        high_j: upper end.
        response_s: mean over the runs of the requested percentile.
        runs: how many.
        unsure: number of runs for which saturation is unknown.
        hindrance: why it does not qualify: ``"saturated"``, ``"too slow"``, ``"drops requests"``,
            ``"response unknown"``; otherwise empty.
    """

    policy: str
    energy_j: float
    low_j: float
    high_j: float
    response_s: float
    runs: int
    unsure: int
    hindrance: str


@dataclass(frozen=True)
class Choice:
    """The recommended policy for one model and one arrival process.

    Attributes:
        best: the fastest of the qualified policies that cannot be distinguished from the lowest
            energy; ``None`` if none qualifies.
        least: the qualified policy with the lowest energy; equal to `best` if that is
            distinguishable from all others or the fastest.
        repetitions: repetitions of both that would distinguish `best` from `least`, given the
            observed difference; ``None`` if they are the same, or their scatter is unknown.
        baseline: the policy it is compared with; ``None`` if no energy is known.
        ratio: energy per request of the best over the baseline's; ``None`` if there is no best, no
            other policy, or an energy is not above 0.
        alike: the other qualified policies that cannot be distinguished by energy, including
            `least`.
        cheaper: the policy with lower energy that does not qualify; ``None`` if the lowest
            qualifies.
        quick: the fastest qualified policy within a tenth of the best's energy, if different.
        policies: all policies with a known energy, by batch size.
    """

    best: PolicyFigures | None
    least: PolicyFigures | None
    repetitions: int | None
    baseline: PolicyFigures | None
    ratio: Unpaired | None
    alike: tuple[str, ...]
    cheaper: PolicyFigures | None
    quick: PolicyFigures | None
    policies: tuple[PolicyFigures, ...]

    @property
    def saving(self) -> float:
        """Share of the baseline's energy that the best saves; below 0 if it uses more."""
        return 1 - self.ratio.value if self.ratio else math.nan

    @property
    def reach(self) -> float:
        """Saving of the lowest compared with the highest energy, as a share.

        NaN with fewer than two policies, or where an energy is not above 0.
        """
        energies = [one.energy_j for one in self.policies]
        if len(energies) <= 1 or min(energies) <= 0:
            return math.nan
        return 1 - min(energies) / max(energies)


def choose(runs: pd.DataFrame, energy: str, limit: Limit | None = None) -> Choice:
    """Choose the policy for one model and one arrival process.

    Args:
        runs: one row per run, from `joulelab.analysis.batching.per_request`.
        energy: column in joules per request.
        limit: of the response time; without one every policy is fast enough.

    Raises:
        UsageError: a column is absent, including the limit's.

    Worked example: batches of 64 use the least energy but answer late, so batches of 8 are best.

    >>> from joulelab.analysis.batching import per_request
    >>> runs = per_request(pd.DataFrame({"policy": ["fixed(1)", "fixed(8)", "fixed(64)"],
    ...     "energy_net_j": [400.0, 200.0, 190.0], "answered": 100, "requests": 100, "dropped": 0,
    ...     "saturated": 0, "response_p99_s": [0.1, 0.6, 4.2]}))
    >>> found = choose(runs, "net_per_request_j", Limit(1.0))
    >>> found.best.policy, found.baseline.policy, found.saving, found.cheaper.policy
    ('fixed(8)', 'fixed(1)', 0.5, 'fixed(64)')
    """
    response = limit.column if limit else response_column(PERCENTILE)
    require_columns(runs, [energy, response])
    known = runs[runs[energy].notna()]
    policies = _figures(known, energy, response, limit)
    fit = [one for one in policies if not one.hindrance]
    least = min(fit, key=lambda one: one.energy_j, default=None)
    cheapest = min(policies, key=lambda one: one.energy_j, default=None)
    alike = [one for one in fit if _alike(_samples(known, energy, one, least))]
    best = min([*filter(None, [least]), *alike], key=_response, default=None)
    baseline = _baseline(policies, best)
    near_j = (1 + NEAR) * best.energy_j if best else math.nan
    near = [one for one in fit if one.energy_j <= near_j and not math.isnan(one.response_s)]
    quick = min(near, key=lambda one: one.response_s, default=None)
    undecided = _samples(known, energy, best, least)
    compared = _samples(known, energy, best, baseline)
    return Choice(
        best,
        least,
        repetitions_to_tell(*undecided) if undecided else None,
        baseline,
        ratio_of_means(*compared) if compared else None,
        tuple(one.policy for one in [*alike, *filter(None, [least])] if one is not best),
        cheapest if cheapest is not least else None,
        quick if quick is not best else None,
        tuple(policies),
    )


def _figures(
    runs: pd.DataFrame, energy: str, response: str, limit: Limit | None
) -> list[PolicyFigures]:
    """Every policy, fixed sizes first and by size."""
    found = []
    for row in cells(runs, "policy").to_dict("records"):
        own = runs[runs["policy"] == row["policy"]]
        found.append(
            PolicyFigures(
                policy=str(row["policy"]),
                energy_j=float(row[energy]),
                low_j=float(row[f"{energy}_low"]),
                high_j=float(row[f"{energy}_high"]),
                response_s=float(own[response].mean()),
                runs=int(row["n"]),
                unsure=int(row["saturation_unknown"]),
                hindrance=_hindrance(own, response, limit),
            )
        )
    return found


def _hindrance(rows: pd.DataFrame, response: str, limit: Limit | None) -> str:
    if (rows["saturated"] > 0).any():
        return "saturated"
    if limit is None:
        return ""
    if rows[response].isna().any():
        return "response unknown"
    if (rows[response] > limit.seconds).any():
        return "too slow"
    spared = 1 - limit.percentile / 100
    return "drops requests" if (rows["dropped"] > spared * rows["requests"]).any() else ""


def _baseline(
    policies: Sequence[PolicyFigures], best: PolicyFigures | None
) -> PolicyFigures | None:
    """The baseline: the smallest fixed size, else the smallest mean batch; the first in order.

    If that is the best itself, the policy with the highest energy.
    """
    fixed = [one for one in policies if fixed_size(one.policy) is not None]
    first = next(iter(fixed or policies), None)
    return max(policies, key=lambda one: one.energy_j) if first and first is best else first


def _response(one: PolicyFigures) -> float:
    return math.inf if math.isnan(one.response_s) else one.response_s


def _samples(
    runs: pd.DataFrame, energy: str, one: PolicyFigures | None, other: PolicyFigures | None
) -> tuple[list[float], list[float]] | None:
    """The energies of two policies; ``None`` if they are the same, or an energy is not above 0."""
    if one is None or other is None or one.policy == other.policy:
        return None
    first, second = (list(runs.loc[runs["policy"] == p.policy, energy]) for p in (one, other))
    return (first, second) if min(*first, *second) > 0 else None


def _alike(samples: tuple[list[float], list[float]] | None) -> bool:
    if samples is None:
        return False
    ratio = ratio_of_means(*samples)
    return ratio.low <= 1 <= ratio.high
