"""Which batching policy takes the fewest joules per request, and still answers in time?

For one model and one arrival process, with the runs of every policy. A policy **qualifies** if its
energy per request is known, no run of it is known to be saturated, and it keeps the limit, where
there is one, in every run: the percentile of the response times is at most the limit, and the share
of dropped requests no larger than what the percentile leaves (1 % at the 99th), since a dropped
request is never answered.

One of those that qualify has the least mean energy, and some are **alike**: the interval of the
ratio of geometric means (Welch, `joulelab.analysis.comparison`) holds 1, so that these runs cannot
tell which of the two takes less. The best policy is the quickest of these: joules that nobody can
show are no reason to let requests wait. How many repetitions would decide is worked out from what
the runs differ and scatter by.

It is compared with a **baseline**, the smallest fixed batch there is, or the smallest mean batch
where no policy is of fixed size; where that is the best itself, with the policy that takes most.
The best of several is chosen on the same data that say how good it is, so that its lead is rather
too large than too small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from joulelab import formats
from joulelab.analysis.batching import cells, fixed_size
from joulelab.analysis.comparison import Unpaired, ratio_of_means, repetitions_to_tell
from joulelab.analysis.missing import require_columns

PERCENTILE = 99.0
ALL = 100.0
"""The percentile that is the maximum."""
MATTERS = 0.01
"""A share of the energy that is not worth more repetitions."""
NEAR = 0.10
"""So much more energy is little, where there is no limit and quicker answers are to be had."""


@dataclass(frozen=True)
class Limit:
    """How soon which share of the requests must be answered.

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
        """With its percentile: ``p99 <= 0.20 s``."""
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
        response_s: mean over the runs of the percentile asked for.
        runs: how many.
        unsure: runs of which nobody knows whether they were saturated.
        hindrance: why it does not qualify: ``"saturated"``, ``"too slow"``, ``"drops requests"``,
            ``"response unknown"``; empty where it does.
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
    """What to run for one model and one arrival process.

    Attributes:
        best: the quickest of those that qualify and cannot be told from the one that takes least;
            ``None`` where none qualifies.
        least: the one that takes least among those that qualify; `best` where that is told from
            all others, or is the quickest.
        repetitions: of both that would tell `best` from `least`, if they differ as they do here;
            ``None`` where they are one, or nothing is known of their scatter.
        baseline: what it is compared with; ``None`` where no energy is known.
        ratio: energy per request of the best over that of the baseline; ``None`` where there is
            no best, no other policy, or an energy is not above 0.
        alike: the others of those that qualify and cannot be told apart by their energy, `least`
            among them.
        cheaper: the one that would take least and does not qualify; ``None`` where that qualifies.
        quick: the quickest that qualifies within a tenth of the best's energy, where it is another.
        policies: all of them with a known energy, by batch size.
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
        """Share of the baseline's energy that the best saves; below 0 where it takes more."""
        return 1 - self.ratio.value if self.ratio else math.nan

    @property
    def reach(self) -> float:
        """Share of the energy of the policy that takes most which the one that takes least saves.

        NaN with fewer than two policies, or where an energy is not above 0.
        """
        energies = [one.energy_j for one in self.policies]
        if len(energies) <= 1 or min(energies) <= 0:
            return math.nan
        return 1 - min(energies) / max(energies)


def choose(runs: pd.DataFrame, energy: str, limit: Limit | None = None) -> Choice:
    """The policy to run, for one model and one arrival process.

    Args:
        runs: a row a run, as `joulelab.analysis.batching.per_request` gives them.
        energy: column in joules per request.
        limit: of the response time; without one every policy is quick enough.

    Raises:
        UsageError: a column is absent, that of the limit among them.

    Worked example: batches of 64 take least but answer late, so that batches of 8 are best.

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
    alike = [one for one in fit if _alike(_ratio(known, energy, one, least))]
    best = min([*filter(None, [least]), *alike], key=_response, default=None)
    baseline = _baseline(policies, best)
    near_j = (1 + NEAR) * best.energy_j if best else math.nan
    near = [one for one in fit if one.energy_j <= near_j and not math.isnan(one.response_s)]
    quick = min(near, key=lambda one: one.response_s, default=None)
    return Choice(
        best,
        least,
        _repetitions(known, energy, best, least),
        baseline,
        _ratio(known, energy, best, baseline),
        tuple(one.policy for one in [*alike, *filter(None, [least])] if one is not best),
        cheapest if cheapest is not least else None,
        quick if quick is not best else None,
        tuple(policies),
    )


def _figures(
    runs: pd.DataFrame, energy: str, response: str, limit: Limit | None
) -> list[PolicyFigures]:
    """Every policy, fixed sizes first and by size."""
    by_policy = dict(list(runs.groupby("policy", sort=False)))
    if not by_policy:
        return []
    return [
        PolicyFigures(
            policy=str(row["policy"]),
            energy_j=float(row[energy]),
            low_j=float(row[f"{energy}_low"]),
            high_j=float(row[f"{energy}_high"]),
            response_s=float(by_policy[row["policy"]][response].mean()),
            runs=int(row["n"]),
            unsure=int(row["saturation_unknown"]),
            hindrance=_hindrance(by_policy[row["policy"]], response, limit),
        )
        for row in cells(runs, "policy").to_dict("records")
    ]


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
    """The smallest fixed size, else the smallest mean batch: either way the first of them.

    Where that is the best itself, the policy that takes most.
    """
    fixed = [one for one in policies if fixed_size(one.policy) is not None]
    first = next(iter(fixed or policies), None)
    return max(policies, key=lambda one: one.energy_j) if first and first is best else first


def _response(one: PolicyFigures) -> float:
    return math.inf if math.isnan(one.response_s) else one.response_s


def _repetitions(
    runs: pd.DataFrame, energy: str, one: PolicyFigures | None, other: PolicyFigures | None
) -> int | None:
    """How many of each would tell them apart; ``None`` where they are one, or cannot be said."""
    if _ratio(runs, energy, one, other) is None or one is None or other is None:
        return None
    first, second = (list(runs.loc[runs["policy"] == p.policy, energy]) for p in (one, other))
    return repetitions_to_tell(first, second)


def _ratio(
    runs: pd.DataFrame, energy: str, one: PolicyFigures | None, other: PolicyFigures | None
) -> Unpaired | None:
    """How many times the energy of the other the one takes; ``None`` where that is not defined."""
    if one is None or other is None or one.policy == other.policy:
        return None
    first, second = (list(runs.loc[runs["policy"] == p.policy, energy]) for p in (one, other))
    return ratio_of_means(first, second) if min(*first, *second) > 0 else None


def _alike(ratio: Unpaired | None) -> bool:
    return ratio is not None and ratio.low <= 1 <= ratio.high
