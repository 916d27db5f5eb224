"""The page of claims: which of the paper's findings hold on these experiments.

Search strategies are compared over configurations, which are few on one data set; where there are
experiments on several, their configurations are taken together as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.claim import Claim, Verdict
from joulelab.present import Facts, Part, Remark, Section, Table, cached_per_subject, words
from joulelab.present.parts import Tone
from joulelab.report.effects import STRATEGY
from joulelab.report.experiment import Experiment
from joulelab.report.paper_tables import compares_layers, unique_names
from joulelab.report.search import rounds

NO_OVERLAP = "the same in every resample: no configurations overlap"
TONES: dict[Verdict, Tone] = {
    Verdict.HOLDS: "good",
    Verdict.FAILS: "bad",
    Verdict.UNDECIDED: "doubtful",
}


@dataclass(frozen=True)
class Scope:
    """Claims, and the data that decide them.

    Attributes:
        name: the experiment and its data set, in words.
        claims: in the order of the paper.
        remarks: what to bear in mind.
    """

    name: str
    claims: tuple[Claim, ...]
    remarks: tuple[str, ...] = ()


def scopes(experiments: Sequence[Experiment]) -> list[Scope]:
    """The claims that experiments can decide, data set by data set, and together.

    Claims about factors that an experiment does not have, or without evidence, are left out.

    Args:
        experiments: of one study or of several.
    """
    known = unique_names([one for one in experiments if len(one.runs)], _title)
    searches = [one for one in known if STRATEGY in one.factors]
    found = [_strategies(one) for one in searches]
    datasets = {one.dataset for one in experiments if STRATEGY in one.factors and len(one.runs)}
    if len(datasets) > 1:
        found.append(_search("All data sets together", searches))
    for one in known:
        if compares_layers(one) and one.energy.column is not None:
            found.append(_layers(one))
    return [one for one in found if one.claims]


@cached_per_subject
def _layers(experiment: Experiment) -> Scope:
    from joulelab.analysis.claims.architecture import architecture_claims

    energy = str(experiment.energy.column)
    claims = architecture_claims(
        experiment.measured, experiment.factors, energy, status=experiment.energy.status
    )
    return Scope(_title(experiment), _with_evidence(claims), experiment.energy.remarks)


@cached_per_subject
def _strategies(experiment: Experiment) -> Scope:
    return _search(_title(experiment), [experiment])


def _search(name: str, searches: Sequence[Experiment]) -> Scope:
    from joulelab.analysis.claims.search import search_claims

    frames = []
    for number, one in enumerate(searches):
        scored = rounds(one)
        levels = scored[[factor for factor in one.factors if factor != STRATEGY]]
        blocks = [(number, *map(str, row)) for row in levels.itertuples(index=False)]
        frames.append(scored[[STRATEGY, "round", "score"]].assign(block=pd.Series(blocks)))
    claims = search_claims(pd.concat(frames, ignore_index=True), STRATEGY, ["block"])
    return Scope(name, _with_evidence(claims))


def _with_evidence(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    return tuple(claim for claim in claims if claim.n)


def _title(experiment: Experiment) -> str:
    return f"{experiment.title} on {experiment.dataset}" if experiment.dataset else experiment.title


def effect_words(claim: Claim) -> str:
    """The effect with its interval: ``E- over E+, mean energy: 0.512 (95 % interval ...)``."""
    effect = claim.effect
    if not formats.known(effect.value):
        return f"{effect.name}: unknown"
    if formats.known(effect.low) and effect.low == effect.high:
        return f"{effect.name}: {formats.statistic(effect.value)} ({NO_OVERLAP})"
    interval = formats.interval(effect.low, effect.high, formats.statistic)
    between = f"95 % interval {interval}" if "to" in interval else interval
    return f"{effect.name}: {formats.statistic(effect.value)} ({between})"


def overview(scope: Scope) -> Table:
    """A line a claim, with its verdict."""
    columns = [
        words("claim", "statement"),
        words("verdict", tone=lambda row: row["tone"]),
    ]
    rows = [
        {"statement": one.statement, "verdict": one.words, "tone": TONES[one.verdict]}
        for one in scope.claims
    ]
    return Table(rows, columns, title=f"Claims, {scope.name}")


def evidence(found: Sequence[Claim], note: str = "") -> Table:
    """One row per claim, with what was seen, its effect and its test."""
    columns = [
        words("claim"),
        words("verdict", bold=lambda _: True, tone=lambda row: row["tone"]),
        words("effect", wide=True),
        words("test", wide=True),
    ]
    rows = [
        {
            "claim": f"{one.statement} {one.said}",
            "verdict": one.words,
            "tone": TONES[one.verdict],
            "effect": effect_words(one),
            "test": one.test,
            "rule": one.rule,
        }
        for one in found
    ]
    return Table(rows, columns, note)


def details(scope: Scope) -> Section:
    """The claims one by one: verdict, what was seen, effect, test, rule and source."""
    parts: list[Part] = list(scope.remarks)
    for one in scope.claims:
        facts = [
            ("Effect", effect_words(one)),
            *([("Test", one.test)] if one.test else []),
            ("Evidence", f"n = {one.n:,} {one.unit}"),
            ("Rule", one.rule),
            ("Source", one.source),
        ]
        verdict = Remark(one.words, TONES[one.verdict])
        parts.append(Section(one.statement, [verdict, one.said, Facts(facts)]))
    return Section(scope.name, parts)


def data(found: Sequence[Scope]) -> list[dict[str, Any]]:
    """The claims as plain data."""
    return [
        {
            "scope": scope.name,
            "claim": claim.key,
            "statement": claim.statement,
            "source": claim.source,
            "verdict": claim.judgement,
            "outcome": str(claim.verdict),
            "basis": claim.basis or None,
            "n": claim.n,
            "unit": claim.unit,
            "test": claim.test,
            "p": _plain(claim.p),
            "effect": {
                "name": claim.effect.name,
                "value": _plain(claim.effect.value),
                "low": _plain(claim.effect.low),
                "high": _plain(claim.effect.high),
                "reference": _plain(claim.effect.reference),
            },
            "rule": claim.rule,
            "said": claim.said,
        }
        for scope in found
        for claim in scope.claims
    ]


def _plain(value: float) -> float | None:
    return float(value) if formats.known(value) else None


def named(found: Sequence[Scope]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Name and text of every number, for the macros of a paper."""
    for scope in found:
        for claim in scope.claims:
            effect = claim.effect
            for part, value in (
                ("value", effect.value),
                ("low", effect.low),
                ("high", effect.high),
            ):
                if formats.known(value):
                    yield ("claim", scope.name, claim.key, part), formats.statistic(value)
            yield ("claim", scope.name, claim.key, "n"), f"{claim.n:,}"
            if formats.known(claim.p):
                yield ("claim", scope.name, claim.key, "p"), formats.p_value(claim.p)
