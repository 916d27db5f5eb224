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

Where values are 0 or negative there is no ratio: then the difference of the means is compared, with
a tolerance of d times the mean magnitude of the values. In a part of a design no two runs share the
levels of all other factors: then p is that of `joulelab.analysis.main_effects`.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from joulelab import formats
from joulelab.analysis.claims.claim import SIGNIFICANT_P, Claim, Effect, Verdict
from joulelab.analysis.comparison import Interval, t_quantile
from joulelab.analysis.frames import levels
from joulelab.analysis.main_effects import contrast, main_effects
from joulelab.analysis.rounding import Values, without_noise
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
    known = [formats.level(level) for level in factors[words["factor"]]]
    for side in ("one", "other"):
        level = words[side] = _as_known(words[side], known)
        if level not in known:
            raise UsageError(
                f"the claim {quoted(statement)} names the level {quoted(level)}",
                f"the levels of {words['factor']}: {', '.join(known)}",
            )
    return FactorClaim(
        statement,
        words["factor"],
        words["measure"],
        one=words["one"],
        other=words["other"],
        less=words["way"] in LESS,
    )


def _as_known(word: str, known: Sequence[str]) -> str:
    """A level as levels are written here: ``0.001`` for ``1e-3``, ``on`` for ``true``."""
    if word in known:
        return word
    with contextlib.suppress(ValueError):
        word = formats.level(float(word))
    return {"true": "on", "false": "off"}.get(word, word)


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
        means = known.groupby(claim.factor)[column].mean().sort_values(ascending=False)
        pair = [formats.level(level) for level in means.index[[0, -1]]] if len(means) else []
        tested = stratified(known, list(factors), column, exact=True).set_index("factor")
        p = float(tested["p"][claim.factor])
    found = _compared(claim, known, factors, column, pair, tolerance)
    held = ", the other factors held fixed" if len(factors) > 1 else ""
    test = f"van Elteren's test{held}"
    if math.isnan(p):
        p, test = _together_p(claim, known, factors, column), "analysis of ranks of all factors"
    return Claim(
        key=_key(claim.statement),
        statement=_sentence(claim.statement),
        source=SOURCE,
        verdict=_verdict(claim, p, found.effect, alike=found.alike),
        rule=_rule(claim, formats.percent(tolerance, 0)),
        test=f"{test}: p {formats.p_value(p)}" if not math.isnan(p) else "",
        p=p,
        effect=found.effect,
        n=len(known),
        unit="runs",
        said=found.said,
    )


def undecidable(statement: str, why: str) -> Claim:
    """A claim that no run can decide.

    Args:
        statement: as written.
        why: in a sentence.
    """
    return Claim(
        key=_key(statement),
        statement=_sentence(statement),
        source=SOURCE,
        verdict=Verdict.UNDECIDED,
        rule="It needs runs of all that it names.",
        test="",
        p=math.nan,
        effect=Effect("none"),
        n=0,
        unit="runs",
        said=why,
    )


def _key(statement: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", statement.casefold()).strip("-")


def _sentence(statement: str) -> str:
    return f"{statement.removesuffix('.')}."


def _pair_p(claim: FactorClaim, runs: pd.DataFrame, factors: Sequence[str], column: str) -> float:
    """P of the two levels, not adjusted."""
    pairs = level_pairs(runs, list(factors), column, exact=True)
    for row in pairs[pairs["factor"] == claim.factor].to_dict("records"):
        if {formats.level(row["first"]), formats.level(row["second"])} == {claim.one, claim.other}:
            return float(row["p"])
    return math.nan


def _together_p(
    claim: FactorClaim, runs: pd.DataFrame, factors: Sequence[str], column: str
) -> float:
    """P by the ranks of all runs, for levels that share no stratum."""
    if claim.moves is not None:
        tested = main_effects(runs, factors, column).set_index("factor")
        return float(tested["p"][claim.factor])
    ranks = rankdata(without_noise(runs[column]))
    found = _of_levels(runs, factors, claim.factor, [claim.one, claim.other], ranks)
    return found[1] if found else math.nan


def _of_levels(
    runs: pd.DataFrame, factors: Sequence[str], factor: str, pair: Sequence[str], values: Values
) -> tuple[Interval, float] | None:
    named = {formats.level(level): level for level in levels(runs[factor])}
    if not {*pair} <= {*named}:
        return None
    return contrast(runs, factors, factor, (named[pair[0]], named[pair[1]]), values)


@dataclass(frozen=True)
class _Comparison:
    """Two levels: the effect, whether it is within the tolerance for certain, and a sentence."""

    effect: Effect
    alike: bool
    said: str


def _compared(
    claim: FactorClaim,
    runs: pd.DataFrame,
    factors: Sequence[str],
    column: str,
    pair: Sequence[str],
    tolerance: float,
) -> _Comparison:
    """One level over the other, or minus it where values are not positive."""
    one, other = (f"{claim.factor} = {level}" for level in pair) if len(pair) > 1 else ("", "")
    values = runs[column].to_numpy(dtype=float)
    positive = bool((values > 0).all())
    between = "over" if positive else "minus"
    name = f"{claim.measure}, {one} {between} {other}"
    found = None
    if len(set(pair)) > 1:
        y = np.log(values) if positive else values
        found = _difference(claim.factor, runs, factors, pair, y)
    if found is None:
        unknown = Effect(name if one else claim.measure, reference=1.0)
        return _Comparison(unknown, False, "There are too few runs to compare two levels.")
    if not positive:
        limit = tolerance * float(np.abs(values).mean())
        alike = -limit <= found.low and found.high <= limit
        way = "higher" if found.value > 0 else "lower"
        by = f"{formats.quantity(abs(found.value))} {way} at {one} than at {other}"
        said = f"{claim.measure} is {by if found.value else f'the same at {one} and at {other}'}."
        return _Comparison(Effect.of(name, found, 0.0), alike, said)
    value, low, high = (math.exp(end) for end in (found.value, found.low, found.high))
    alike = 1 - tolerance < low and high * (1 - tolerance) < 1
    said = f"{one} means {formats.change(value - 1)} {claim.measure} compared with {other}."
    return _Comparison(Effect(name, value, low, high, 1.0), alike, said)


def _difference(
    factor: str, runs: pd.DataFrame, factors: Sequence[str], pair: Sequence[str], values: Values
) -> Interval | None:
    """One level minus the other, by least squares with the other factors as blocks.

    With d_s the difference of the means in stratum s and n_1, n_2 its runs::

        D = sum w_s d_s / sum w_s         w_s = n_1 n_2 / (n_1 + n_2)
        s^2 = (SS within cells + sum w_s (d_s - D)^2) / (n - S - 1)
        interval D +- t s / sqrt(sum w_s)

    Where no stratum has both levels, all factors are taken to add up.
    """
    others = [one for one in factors if one != factor]
    level = runs[factor].map(formats.level).to_numpy()
    strata = runs.groupby(others, dropna=False).ngroup() if others else pd.Series(0, runs.index)
    weights, differences, within, n = [], [], 0.0, 0
    for stratum in strata.unique():
        here = (strata == stratum).to_numpy()
        both = [values[here & (level == one)] for one in pair]
        if not all(map(len, both)):
            continue
        weights.append(len(both[0]) * len(both[1]) / (len(both[0]) + len(both[1])))
        differences.append(both[0].mean() - both[1].mean())
        within += sum(float(((part - part.mean()) ** 2).sum()) for part in both)
        n += len(both[0]) + len(both[1])
    if not weights:
        found = _of_levels(runs, factors, factor, pair, values)
        return found[0] if found else None
    weight, difference = np.array(weights), np.array(differences)
    mean = float((weight * difference).sum() / weight.sum())
    df = n - len(weights) - 1
    if df < 1:
        return Interval(mean, math.nan, math.nan, math.nan, n)
    residual = within + float((weight * (difference - mean) ** 2).sum())
    half = t_quantile(df) * math.sqrt(residual / df / float(weight.sum()))
    return Interval(mean, mean - half, mean + half, math.nan, n)


def _verdict(claim: FactorClaim, p: float, effect: Effect, *, alike: bool) -> Verdict:
    differs = p < SIGNIFICANT_P
    if claim.moves is None:
        if differs and formats.known(effect.value):
            right = (
                effect.value < effect.reference if claim.less else effect.value > effect.reference
            )
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
