"""Claims about the factors of any experiment, written in words.

::

    width moves energy                           the factor changes the measure
    mode does not move loss                      it changes it by less than a tolerance
    width = 64 takes more energy than width = 16
    mode = a reaches higher accuracy than mode = b

The test is that of `joulelab.analysis.stratified`, with the other factors held fixed; of two levels
it is that of the pair, which was named in advance and needs no adjustment. A difference is relevant
if it is larger than the tolerance d: the ratio of the geometric means at two levels, the other
factors held fixed, with a 95 % interval::

    moves           holds      p < .05 and the ratio is not within the tolerance for certain
                    fails      the interval of the ratio is within 1 - d to 1 / (1 - d)
    does not move   the reverse
    more, less      holds      p < .05 in this direction
                    fails      p < .05 in the other, or the ratio is within the tolerance

and undecided otherwise. That no difference was found does not refute a claim: that it is smaller
than the tolerance does (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987).
For a factor with several levels the ratio is that of the levels with the extreme means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.claim import SIGNIFICANT_P, Claim, Effect, Verdict
from joulelab.analysis.comparison import t_quantile
from joulelab.analysis.stratified import level_pairs, stratified
from joulelab.errors import UsageError, quoted, suggestion

SOURCE = "claim of the study file"
MOVES = re.compile(r"(?P<factor>.+?) (?P<no>does not |do not )?moves? (?P<measure>.+)")
DIFFERS = re.compile(
    r"(?P<factor>[^=]+?) ?= ?(?P<one>.+?) (?:has|have|takes?|uses?|needs?|reach(?:es)?|gives?) "
    r"(?:an? )?(?P<way>less|lower|fewer|shorter|more|higher|longer|greater) (?P<measure>.+?) than "
    r"(?:(?P=factor) ?= ?)?(?P<other>.+)"
)
LESS = {"less", "lower", "fewer", "shorter"}
FORMS = (
    'claims read "width moves energy", "mode does not move loss" or '
    '"width = 64 takes more energy than width = 16"'
)


@dataclass(frozen=True)
class FactorClaim:
    """A claim in words, read.

    Attributes:
        statement: as written.
        factor: the factor.
        measure: what it moves: ``energy``, ``duration`` or a metric.
        moves: whether it is claimed to move it; ``None`` where levels are compared.
        one: the level that is compared with `other`, as written.
        other: the other level.
        less: whether `one` has less than `other`.
    """

    statement: str
    factor: str
    measure: str
    moves: bool | None = None
    one: str = ""
    other: str = ""
    less: bool = False


def parse_claim(
    statement: str, factors: Mapping[str, Sequence[Hashable]], measures: Sequence[str]
) -> FactorClaim:
    """Read a claim.

    Args:
        statement: in words.
        factors: the levels of each factor.
        measures: names of what can be claimed about.

    Raises:
        UsageError: it has another form, or names something unknown.

    >>> parse_claim("a = 1 takes less energy than a = 2", {"a": [1, 2]}, ["energy"]).less
    True
    """
    text = " ".join(statement.split()).removesuffix(".")
    found = DIFFERS.fullmatch(text) or MOVES.fullmatch(text)
    if found is None:
        raise UsageError(f"the claim {quoted(statement)} is not understood", FORMS)
    words = found.groupdict()
    for name, among in ((words["factor"], list(factors)), (words["measure"], list(measures))):
        if name not in among:
            near = suggestion(name, among) or f"known: {', '.join(among)}"
            raise UsageError(f"the claim {quoted(statement)} names {quoted(name)}", near)
    if "way" not in words:
        return FactorClaim(statement, words["factor"], words["measure"], not words["no"])
    levels = [formats.level(level) for level in factors[words["factor"]]]
    for level in (words["one"], words["other"]):
        if level not in levels:
            raise UsageError(
                f"the claim {quoted(statement)} names the level {quoted(level)}",
                f"the levels of {words['factor']}: {', '.join(levels)}",
            )
    return FactorClaim(
        statement,
        words["factor"],
        words["measure"],
        one=words["one"],
        other=words["other"],
        less=words["way"] in LESS,
    )


def decide(
    claim: FactorClaim,
    runs: pd.DataFrame,
    factors: Sequence[str],
    column: str,
    tolerance: float,
) -> Claim:
    """The verdict of runs on a claim.

    Args:
        claim: from `parse_claim`.
        runs: one row per run.
        factors: columns with the levels of all factors that vary.
        column: of the measure.
        tolerance: d, the largest irrelevant relative difference, from 0 to 1.
    """
    known = runs[runs[column].notna()]
    if claim.moves is None:
        pair = [claim.one, claim.other]
        p = _pair_p(claim, known, factors, column)
    else:
        means = known.groupby(claim.factor)[column].mean()
        pair = [formats.level(means.idxmax()), formats.level(means.idxmin())] if len(means) else []
        p = float(stratified(known, list(factors), column).set_index("factor")["p"][claim.factor])
    effect = _ratio(claim, known, factors, column, pair)
    low, high = 1 - tolerance, 1 / (1 - tolerance) if tolerance < 1 else math.inf
    alike = low < effect.low and effect.high < high
    verdict = _verdict(claim, p, effect, alike=alike)
    within = f"{formats.percent(tolerance, 0)}"
    held = ", the other factors held fixed" if len(factors) > 1 else ""
    return Claim(
        key=re.sub(r"[^a-z0-9]+", "-", claim.statement.casefold()).strip("-"),
        statement=f"{claim.statement[:1].upper()}{claim.statement[1:].removesuffix('.')}.",
        source=SOURCE,
        verdict=verdict,
        rule=_rule(claim, within),
        test=f"van Elteren's test{held}: p {formats.p_value(p)}" if not math.isnan(p) else "",
        p=p,
        effect=effect,
        n=len(known),
        unit="runs",
        said=_said(claim, effect),
    )


def _pair_p(claim: FactorClaim, runs: pd.DataFrame, factors: Sequence[str], column: str) -> float:
    """P of the two levels, not adjusted."""
    pairs = level_pairs(runs, list(factors), column)
    for row in pairs[pairs["factor"] == claim.factor].to_dict("records"):
        if {formats.level(row["first"]), formats.level(row["second"])} == {claim.one, claim.other}:
            return float(row["p"])
    return math.nan


def _ratio(
    claim: FactorClaim,
    runs: pd.DataFrame,
    factors: Sequence[str],
    column: str,
    pair: Sequence[str],
) -> Effect:
    """One level over the other, by least squares on logarithms with the other factors as blocks.

    With d_s the difference of the mean logarithms in stratum s and n_1, n_2 its runs::

        D = sum w_s d_s / sum w_s         w_s = n_1 n_2 / (n_1 + n_2)
        s^2 = (SS within cells + sum w_s (d_s - D)^2) / (n - S - 1)
        interval D +- t s / sqrt(sum w_s)
    """
    name = f"{claim.measure}, {' over '.join(f'{claim.factor} = {level}' for level in pair)}"
    unknown = Effect(name, reference=1.0)
    if len(set(pair)) < 2 or not (runs[column] > 0).all():  # noqa: PLR2004 - two levels
        return unknown
    others = [factor for factor in factors if factor != claim.factor]
    logs = np.log(runs[column].to_numpy(dtype=float))
    level = runs[claim.factor].map(formats.level).to_numpy()
    strata = runs.groupby(others, dropna=False).ngroup() if others else pd.Series(0, runs.index)
    weights, differences, within, n = [], [], 0.0, 0
    for stratum in strata.unique():
        here = (strata == stratum).to_numpy()
        both = [logs[here & (level == one)] for one in pair]
        if not all(map(len, both)):
            continue
        weights.append(len(both[0]) * len(both[1]) / (len(both[0]) + len(both[1])))
        differences.append(both[0].mean() - both[1].mean())
        within += sum(float(((part - part.mean()) ** 2).sum()) for part in both)
        n += len(both[0]) + len(both[1])
    if not weights:
        return unknown
    weight, difference = np.array(weights), np.array(differences)
    mean = float((weight * difference).sum() / weight.sum())
    df = n - len(weights) - 1
    if df < 1:
        return replace(unknown, value=math.exp(mean))
    residual = within + float((weight * (difference - mean) ** 2).sum())
    half = t_quantile(df) * math.sqrt(residual / df / float(weight.sum()))
    return Effect(name, math.exp(mean), math.exp(mean - half), math.exp(mean + half), 1.0)


def _verdict(claim: FactorClaim, p: float, effect: Effect, *, alike: bool) -> Verdict:
    differs = p < SIGNIFICANT_P
    if claim.moves is None:
        if differs and formats.known(effect.value):
            right = effect.value < 1 if claim.less else effect.value > 1
            return Verdict.HOLDS if right else Verdict.FAILS
        return Verdict.FAILS if alike else Verdict.UNDECIDED
    if alike:
        return Verdict.FAILS if claim.moves else Verdict.HOLDS
    if differs:
        return Verdict.HOLDS if claim.moves else Verdict.FAILS
    return Verdict.UNDECIDED


def _rule(claim: FactorClaim, within: str) -> str:
    if claim.moves is None:
        return (
            f"It holds if p is below {SIGNIFICANT_P} in this direction. It fails if that is so in "
            f"the other direction, or if the levels differ by less than {within} for certain."
        )
    certain = f"if the extreme levels differ by less than {within} for certain"
    differ = f"if p is below {SIGNIFICANT_P}"
    first, second = (differ, certain) if claim.moves else (certain, differ)
    return f"It holds {first}, and fails {second}."


def _said(claim: FactorClaim, effect: Effect) -> str:
    if not formats.known(effect.value):
        return "The runs of the two levels do not have a ratio."
    more = formats.change(effect.value - 1)
    first, _, second = effect.name.partition(", ")[2].partition(" over ")
    return f"{first} means {more} {claim.measure} compared with {second}."
