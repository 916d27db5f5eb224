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
from joulelab.report.experiment import Experiment, once
from joulelab.report.tables import STRATEGY, rounds
from joulelab.report.told_apart import told_apart

NO_OVERLAP = "the same in every resample: no configurations overlap"
CLASSES = {Verdict.HOLDS: "holds", Verdict.FAILS: "fails", Verdict.UNDECIDED: "undecided"}


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

    Args:
        experiments: of one study or of several.
    """
    known = told_apart([one for one in experiments if len(one.runs)], _title)
    searches = [one for one in known if STRATEGY in one.factors]
    found = [_search(_title(one), [one]) for one in searches]
    datasets = {one.dataset for one in experiments if STRATEGY in one.factors and len(one.runs)}
    if len(datasets) > 1:
        found.append(_search("All data sets together", searches))
    for one in known:
        if STRATEGY not in one.factors and one.factors and one.energy.column is not None:
            found.append(_layers(one))
    return found


@once
def _layers(experiment: Experiment) -> Scope:
    from joulelab.analysis.claims.architecture import architecture_claims

    energy = str(experiment.energy.column)
    claims = architecture_claims(
        experiment.measured, experiment.factors, energy, status=experiment.energy.status
    )
    return Scope(_title(experiment), tuple(claims), experiment.energy.remarks)


def _search(name: str, searches: Sequence[Experiment]) -> Scope:
    from joulelab.analysis.claims.search import search_claims

    frames = []
    for number, one in enumerate(searches):
        scored = rounds(one)
        levels = scored[[factor for factor in one.factors if factor != STRATEGY]]
        blocks = [(number, *map(str, row)) for row in levels.itertuples(index=False)]
        frames.append(scored[[STRATEGY, "round", "score"]].assign(block=pd.Series(blocks)))
    claims = search_claims(pd.concat(frames, ignore_index=True), STRATEGY, ["block"])
    return Scope(name, tuple(claims))


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


def markdown(found: Sequence[Scope], title: str) -> str:
    """The page of claims as Markdown."""
    lines = [f"# {title}: claims", ""]
    for scope in found:
        lines += [f"## {scope.name}", "", *(f"{remark}\n" for remark in scope.remarks)]
        lines += ["| claim | verdict | effect | test |", "|---|---|---|---|"]
        for claim in scope.claims:
            cells = (
                f"{claim.statement} {claim.said}",
                f"**{claim.words}**",
                effect_words(claim),
                claim.test,
            )
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)


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
