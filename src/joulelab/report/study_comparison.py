"""Two studies side by side: configurations, conditions and claims.

Experiments are matched by their kind, those of the same name first.
`joulelab.report.compared_configurations` says how their configurations are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.claim import Claim
from joulelab.report import conditions
from joulelab.report.claims import scopes
from joulelab.report.compared_configurations import compared
from joulelab.report.experiment import Experiment, experiments
from joulelab.report.tables import STRATEGY, Omitted, Table
from joulelab.study.results import Results


@dataclass(frozen=True)
class Comparison:
    """Two studies side by side.

    Attributes:
        conditions: what differs between them, in words.
        configurations: a table a kind of experiment that both have.
        claims: which of the paper's findings agree.
        remarks: what could not be compared.
    """

    conditions: Table | Omitted
    configurations: tuple[Table | Omitted, ...]
    claims: Table | Omitted
    remarks: tuple[str, ...]


def compare_studies(first: Results, second: Results) -> Comparison:
    """Compare what two studies found.

    Args:
        first: A.
        second: B.
    """
    ours, theirs = experiments(first), experiments(second)
    matched = _matched(ours, theirs)
    remarks = [
        *_unmatched("B", ours, [one for one, _ in matched]),
        *_unmatched("A", theirs, [other for _, other in matched]),
    ]
    both = []
    for one, other in matched:
        if len(one.runs) and len(other.runs):
            both.append((one, other))
            continue
        sides = [side for side, its in (("A", one), ("B", other)) if not len(its.runs)]
        remarks.append(f"{one.title}: no run has finished in {formats.listing(sides)}.")
    return Comparison(
        _conditions(first, second),
        tuple(compared(one, other) for one, other in both),
        _claims(both),
        tuple(remarks),
    )


def _matched(
    ours: Sequence[Experiment], theirs: Sequence[Experiment]
) -> list[tuple[Experiment, Experiment]]:
    """Pairs of the same kind, each experiment in one pair at most; the same name goes first."""
    left = list(theirs)
    found: dict[Experiment, Experiment] = {}
    for by_name in (True, False):
        for one in ours:
            match = next(
                (o for o in left if o.kind == one.kind and (o.name == one.name or not by_name)),
                None,
            )
            if one not in found and match is not None:
                found[one] = match
                left.remove(match)
    return [(one, found[one]) for one in ours if one in found]


def _unmatched(
    side: str, experiments: Sequence[Experiment], matched: Sequence[Experiment]
) -> list[str]:
    return [
        f"{side} has no experiment to compare {one.title} with."
        for one in experiments
        if one not in matched
    ]


def _conditions(first: Results, second: Results) -> Table | Omitted:
    key, title = "conditions", "What differs between the studies"
    of_both = [dict(conditions.conditions(one)) for one in (first, second)]
    for said, one in zip(of_both, (first, second), strict=True):
        said["Miniature"] = " ".join(conditions.thinning(one)) or "no"
        said["Energy"] = "; ".join(conditions.counted(one.to_frame())) or "unknown"
    names = [name for name in dict.fromkeys([*of_both[0], *of_both[1]]) if name != "Sessions"]
    rows = [
        {
            "condition": name,
            "A": of_both[0].get(name, "not said"),
            "B": of_both[1].get(name, "not said"),
        }
        for name in names
        if of_both[0].get(name) != of_both[1].get(name)
    ]
    if not rows:
        return Omitted(key, title, "nothing that the studies say of themselves.")
    raw = pd.DataFrame(rows)
    return Table(key, title, "", raw, raw, ("condition", "A", "B"))


def _claims(matched: Sequence[tuple[Experiment, Experiment]]) -> Table | Omitted:
    key, title = "claims", "Which findings of the paper agree"
    several = len({STRATEGY in one.factors for one, _ in matched}) < len(matched)
    found: list[dict[str, Claim]] = [{}, {}]
    for pair in matched:
        for claims, experiment in zip(found, pair, strict=True):
            of = f"{pair[0].name}: " * several
            claims |= {of + c.key: c for scope in scopes([experiment]) for c in scope.claims}
    both = [name for name in found[0] if name in found[1]]
    if not both:
        return Omitted(key, title, "the studies have no claim in common.")
    raw = pd.DataFrame(
        {
            "claim": name,
            "statement": name.removesuffix(found[0][name].key) + found[0][name].statement,
            "verdict_a": found[0][name].judgement,
            "verdict_b": found[1][name].judgement,
            "agree": found[0][name].verdict == found[1][name].verdict,
            "effect": found[0][name].effect.name,
            "effect_a": found[0][name].effect.value,
            "effect_b": found[1][name].effect.value,
        }
        for name in both
    )
    shown = pd.DataFrame(
        {
            "claim": raw["statement"],
            "A": [found[0][name].words for name in both],
            "B": [found[1][name].words for name in both],
            "agree": raw["agree"].map({True: "yes", False: "no"}),
        }
    )
    note = f"{int(raw['agree'].sum())} of {formats.count(len(raw), 'claim')} agree."
    return Table(key, title, note, raw, shown, ("claim", "A", "B", "agree"))
