"""Random search: every round is an independent draw from the space.

Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 13 (2012); one of the
three strategies of Yarally et al. (CAIN 2023, section III-B).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from joulelab.tuning.space import Value
from joulelab.tuning.strategy import Strategy


class Random(Strategy):
    """Uniform draws from the space (log-uniform where a variable says so)."""

    proposes_ahead: ClassVar[bool] = True

    def propose(self, number: int) -> dict[str, Value]:
        """A draw that depends on the seed and the number of the round alone."""
        return self.space.decode(self.space.sample(1, self.generator(number))[0])

    def observe(self, number: int, values: Mapping[str, Value], score: float | None) -> None:
        """Nothing is learnt from a score."""
