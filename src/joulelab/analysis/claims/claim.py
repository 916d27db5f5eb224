"""A claim: what was found, the test that decides it, and what it says of some data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from joulelab import formats
from joulelab.analysis.comparison import Interval

PAPER = "Yarally et al., CAIN 2023, "
SIGNIFICANT_P = 0.05
ESTIMATED = "estimated"
"""How the status of energies ends that no sensor, or no sensor alone, has read."""


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

    @classmethod
    def of(cls, name: str, interval: Interval, reference: float) -> Effect:
        """The effect with this interval.

        Args:
            name: what it is.
            interval: of the effect.
            reference: the value that the claim is about.
        """
        return cls(name, interval.value, interval.low, interval.high, reference)


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
        basis: ``"estimated"`` or ``"partly estimated"``, where the energies that decide are; empty
            where they were measured, or the claim is not about energy.
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
    basis: str = ""

    @property
    def judgement(self) -> str:
        """The verdict, and that it rests on estimates if it does: ``holds on estimated energy``."""
        return f"{self.verdict} on {self.basis} energy" if self.basis else str(self.verdict)

    @property
    def words(self) -> str:
        """The judgement: ``holds``, or ``cannot be decided with n = 6 configurations``."""
        if self.verdict is Verdict.UNDECIDED:
            first, *rest = self.unit.split(" ")
            counted = formats.count(self.n, first.removesuffix("s"))
            return f"{self.judgement} with n = {' '.join([counted, *rest])}"
        return self.judgement


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


def on_energy(claim: Claim, status: str) -> Claim:
    """The same claim, saying that it rests on estimates where its energies are estimates.

    Args:
        claim: on energy.
        status: of the energies that decide: ``"measured"``, ``"estimated"``, ``"partly estimated"``
            or another one, which says nothing of how they came about.
    """
    return replace(claim, basis=status) if status.endswith(ESTIMATED) else claim


def beyond_time(claim: Claim, status: str, why: str) -> Claim:
    """The same claim, undecided where its energies are estimates, which follow time.

    Joules that are estimated are, by construction, time times a power that the estimator takes the
    work to draw. What moves the power alone they cannot show, and what moves the time alone (other
    programs, say) they show as energy.

    Args:
        claim: on energy, that time cannot decide.
        status: as of `on_energy`.
        why: what time cannot show, in a sentence.
    """
    claim = on_energy(claim, status)
    if not claim.basis:
        return claim
    return replace(claim, verdict=Verdict.UNDECIDED, said=f"{claim.said} {why}")
