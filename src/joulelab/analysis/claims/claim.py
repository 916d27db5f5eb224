"""A claim: a finding, the test that decides it, and the verdict on some data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from joulelab import formats
from joulelab.analysis.comparison import Interval

PAPER = "Yarally et al., CAIN 2023, "
SIGNIFICANT_P = 0.05
ESTIMATED = "estimated"
"""Suffix of the statuses of energies not, or not only, read from a sensor."""


class Verdict(StrEnum):
    """The verdict of data on a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "cannot be decided"


@dataclass(frozen=True)
class Effect:
    """An effect size with its 95 % confidence interval; NaN if undefined.

    Attributes:
        name: what it is, for instance ``"E- over E+, mean energy"``.
        value: the estimate.
        low: lower end of the interval.
        high: upper end.
        reference: the value that the claim is about; NaN if there is no single one.
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
    """A finding and its verdict on some data.

    Attributes:
        key: short name, the same for every study: ``"bayesian-wins"``.
        statement: the finding, in a sentence.
        source: publication of the finding.
        verdict: verdict of the data.
        rule: what would make it hold, and what would refute it.
        test: the test and its result.
        p: p of that test; NaN if it has none.
        effect: effect size.
        n: number of independent units.
        unit: name of the units, in the plural: ``"configurations"``.
        said: observation, in a sentence.
        basis: ``"estimated"`` or ``"partly estimated"``, status of the energies behind the verdict;
            empty if measured, or if the claim is not about energy.
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
        """The verdict, with a note if it rests on estimates: ``holds on estimated energy``."""
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
    """Whether an effect is below its reference: all, none or part of its interval.

    >>> below(Effect("ratio", 0.51, 0.50, 0.53, reference=0.55))
    <Verdict.HOLDS: 'holds'>
    >>> below(Effect("ratio", 0.51, 0.45, 0.58, reference=0.55))
    <Verdict.UNDECIDED: 'cannot be decided'>
    """
    if effect.high < effect.reference:
        return Verdict.HOLDS
    return Verdict.FAILS if effect.low > effect.reference else Verdict.UNDECIDED


def on_energy(claim: Claim, status: str) -> Claim:
    """The same claim, marked if its energies are estimates.

    Args:
        claim: on energy.
        status: of the energies that decide: ``"measured"``, ``"estimated"``, ``"partly estimated"``
            or another one, which is ignored.
    """
    return replace(claim, basis=status) if status.endswith(ESTIMATED) else claim


def beyond_time(claim: Claim, status: str, why: str) -> Claim:
    """The same claim, undecided if its energies are estimates, which follow time.

    Estimated energy is, by construction, time times an assumed power. It cannot show effects on
    power, and shows effects on time alone (for instance of other programs) as energy.

    Args:
        claim: on energy, not decidable by time.
        status: as for `on_energy`.
        why: the effect that time cannot show, in a sentence.
    """
    claim = on_energy(claim, status)
    if not claim.basis:
        return claim
    return replace(claim, verdict=Verdict.UNDECIDED, said=f"{claim.said} {why}")
