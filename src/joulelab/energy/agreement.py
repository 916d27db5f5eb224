"""Ranks that end together where the first of them says that a budget is spent.

::

    rank 0     step 1 ─ "go on" ─ step 2 ─ "go on" ─ step 3 ─ "end"
    others     step 1 ─ waits for it ─ step 2 ─ ...  ─ step 3 ─ waits for it, ends too

The word goes through the store of ``torch.distributed``. Rank 0 never waits, so a loop that it
alone measures does not hang. The others wait for `LIMIT_S` at most, as long as NCCL's own calls,
and then go on alone.
"""

from __future__ import annotations

import logging

from joulelab.energy.gathering import TorchStore, torch_store, window_key
from joulelab.energy.ranks import Rank

LIMIT_S = 600.0
KEPT = 1000
"""Rank 0 removes words that are so many steps old."""

log = logging.getLogger(__name__)


class Agreement:
    """What the ranks agree on after each step of a loop.

    Args:
        rank: of this process.
        label: of the loop: the n-th loop with a label is the same one on all ranks.
    """

    def __init__(self, rank: Rank, label: str) -> None:
        self._rank = rank
        self._key = window_key(f"{label} budget")
        self._step = 0
        self._alone = False

    def any_over(self, over: bool) -> bool:
        """Whether the budget of any node is spent, as rank 0 knows it at this step.

        Args:
            over: whether that of this node is.

        Returns:
            The same on all ranks; `over` where ``torch.distributed`` is not initialised, or fails.
        """
        self._step += 1
        store = None if self._alone else torch_store()
        if store is None:
            return over
        try:
            return self._told(store, over) if self._rank.number else self._tell(store, over)
        except Exception as error:  # whatever torch raises
            self._alone = True
            log.warning("rank %d goes on alone: %s", self._rank.number, error)
            return over

    def _tell(self, store: TorchStore, over: bool) -> bool:
        nodes = range(1, self._rank.nodes)
        over = over or any(store.get(f"{self._key}-over-{node}") for node in nodes)
        store.put(f"{self._key}-step-{self._step}", str(int(over)))
        if self._step > KEPT:
            store.remove(f"{self._key}-step-{self._step - KEPT}")
        return over

    def _told(self, store: TorchStore, over: bool) -> bool:
        if over:
            store.put(f"{self._key}-over-{self._rank.node}", "1")
        key = f"{self._key}-step-{self._step}"
        store.wait(key, LIMIT_S)
        return store.get(key) == "1"


def agreement(rank: Rank, label: str, budget: object) -> Agreement | None:
    """What the ranks of a loop agree with; None where there is nothing to agree on.

    Args:
        rank: of this process.
        label: of the loop.
        budget: None for no limit.
    """
    return Agreement(rank, label) if budget is not None and rank.of_several else None
