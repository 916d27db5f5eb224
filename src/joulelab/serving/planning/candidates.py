"""Which policies are compared, from the simplest on: of two that cost the same, the first wins.

fixed(1)             the baseline: no batching
fixed(n)             n waits for n, each measured size (Yarally et al., SEAA 2023)
greedy(n)            the widest first: it has no number to tune, and the most room for a burst
fixed(n, wait_ms)    for each size whose batch keeps the limit, shares of the time that the
                     limit leaves for waiting
your own             as given
"""

from __future__ import annotations

from collections.abc import Sequence

from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.limit import ResponseLimit
from joulelab.serving.policies import Fixed, Greedy, Policy, parse_policy

WAITING_SHARES = (0.125, 0.25, 0.5, 0.75)
"""Of the limit less the time of a full batch: how long the oldest request waits at most."""

_MS_IN_S = 1e3


def candidate_policies(
    costs: BatchCosts, limit: ResponseLimit, own: Sequence[str] = ()
) -> list[Policy]:
    """The policies that a plan compares, the baseline first.

    Args:
        costs: their sizes are those of the candidates.
        limit: of the response time.
        own: further policies as text.

    Raises:
        UsageError: one of one's own is impossible.
    """
    beyond_one = [size for size in costs.sizes if size > 1]
    waits = [
        Fixed(size, wait_ms=float(f"{share * room_s * _MS_IN_S:.3g}"))
        for size in beyond_one
        if (room_s := limit.seconds - costs.seconds_of(size)) > 0
        for share in WAITING_SHARES
    ]
    offered: list[Policy] = [
        Fixed(1),
        *map(Fixed, beyond_one),
        *map(Greedy, reversed(beyond_one)),
        *waits,
        *map(parse_policy, own),
    ]
    return list({str(policy): policy for policy in offered}.values())
