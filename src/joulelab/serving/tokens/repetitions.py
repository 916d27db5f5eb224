"""Several loads of the same kind as one: intervals are over repetitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from joulelab.serving.tokens.batch_means import ratio_of
from joulelab.serving.tokens.costs import Cost, DomainCosts, TokenEnergy, sum_known, weakest
from joulelab.serving.tokens.split import TokenSplit


def repeated(loads: Sequence[TokenEnergy]) -> TokenEnergy:
    """Several loads of the same kind as one: intervals are over repetitions.

    Args:
        loads: at least one; each a repetition.
    """
    first = loads[0]
    if len(loads) == 1:
        return first
    totals = [{one.name: one for one in load.costs} for load in loads]
    shared = [name for name in totals[0] if all(name in one for one in totals)]
    units: dict[str, list[float | None]] = {
        "output token": [one.output_tokens for one in loads],
        "token": [_plus(one.output_tokens, one.prompt_tokens) for one in loads],
        "request": [one.requests for one in loads],
    }
    costs = tuple(_together([one[name] for one in totals], units) for name in shared)
    return replace(
        first,
        output_tokens=sum_known(units["output token"]),
        prompt_tokens=sum_known([one.prompt_tokens for one in loads]),
        requests=sum(one.requests for one in loads),
        costs=costs,
        split=_mean_split([one.split for one in loads]),
        reason="; ".join(dict.fromkeys(one.reason for one in loads if one.reason)),
        repetitions=len(loads),
    )


def _together(
    parts: Sequence[DomainCosts], units: Mapping[str, Sequence[float | None]]
) -> DomainCosts:
    """The same domains over repetitions."""
    gross = np.array([one.gross_j for one in parts])
    net = [one.net_j for one in parts]
    per = {}
    for unit in parts[0].per:
        counts = units[unit]
        if any(count is None for count in counts) or not all(unit in one.per for one in parts):
            continue
        numbers = np.array(counts, float)
        bounds, net_bounds = (
            [getattr(one.per[unit], name) for one in parts] for name in ("bound_j", "net_bound_j")
        )
        known = [value for value in net if value is not None]
        per[unit] = Cost(
            ratio_of(gross, numbers),
            ratio_of(np.array(known), numbers) if len(known) == len(net) else None,
            None if None in bounds else max(bounds),
            None if None in net_bounds else max(net_bounds),
        )
    return DomainCosts(
        parts[0].name,
        parts[0].domains,
        weakest([one.status for one in parts]),
        float(gross.sum()),
        sum_known(net),
        per,
    )


def _mean_split(splits: Sequence[TokenSplit]) -> TokenSplit:
    """The mean of the costs over repetitions."""
    for one in splits:
        if one.prompt is None or one.output is None:
            return one
    ones = np.ones(len(splits))
    prompt, output = (
        ratio_of(np.array([getattr(one, name).value for one in splits]), ones)
        for name in ("prompt", "output")
    )
    base_w = sum_known([one.base_w for one in splits])
    return TokenSplit(
        prompt, output, None if base_w is None else base_w / len(splits), splits[0].parts
    )


def _plus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
