"""A claim: what was found, the test that decides it, and what it says of some data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from joulelab import formats


class Verdict(StrEnum):
    """What some data say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "cannot be decided"


@dataclass(frozen=True)
class Effect:
    """An effect size with its confidence interval of 95 %; NaN where there is none.

    Attributes:
        name: what it is, for instance ``"E- over E+, mean energy"``.
        value: the estimate.
        low: lower end of the interval.
        high: upper end.
        reference: the value that the claim is about; NaN where there is no single one.
    """

    name: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    reference: float = math.nan


@dataclass(frozen=True)
class Claim:
    """A finding, and what some data say of it.

    Attributes:
        key: short name, the same for every study: ``"bayesian-wins"``.
        statement: the finding, in a sentence.
        source: where it was found.
        verdict: what the data say.
        rule: what would make it hold, and what would refute it.
        test: the test and its result.
        p: of that test; NaN where it gives none.
        effect: how large it is.
        n: how many independent units decide.
        unit: what these are, in the plural: ``"configurations"``.
        said: what was seen, in a sentence.
    """

    key: str
    statement: str
    source: str
    verdict: Verdict
    rule: str
    test: str
    p: float
    effect: Effect
    n: int
    unit: str
    said: str

    @property
    def words(self) -> str:
        """The verdict: ``holds``, or ``cannot be decided with n = 6 configurations``."""
        if self.verdict is Verdict.UNDECIDED:
            first, *rest = self.unit.split(" ")
            counted = formats.count(self.n, first.removesuffix("s"))
            return f"{self.verdict} with n = {' '.join([counted, *rest])}"
        return str(self.verdict)


def below(effect: Effect) -> Verdict:
    """Whether an effect lies below its reference: all of its interval, none of it, or some.

    >>> below(Effect("ratio", 0.51, 0.50, 0.53, reference=0.55))
    <Verdict.HOLDS: 'holds'>
    >>> below(Effect("ratio", 0.51, 0.45, 0.58, reference=0.55))
    <Verdict.UNDECIDED: 'cannot be decided'>
    """
    if effect.high < effect.reference:
        return Verdict.HOLDS
    return Verdict.FAILS if effect.low > effect.reference else Verdict.UNDECIDED
