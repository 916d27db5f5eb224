"""Which claims agree between two studies: those of the paper, and of study files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from joulelab import formats
from joulelab.analysis.claims.claim import Claim, Verdict
from joulelab.present import Omitted, Table, words
from joulelab.report.experiment import Experiment
from joulelab.report.kinds import report_of
from joulelab.report.pages import claimed

Pair = tuple[Experiment, Experiment]
AGREE = {True: "yes", False: "no", None: "undecided"}


def claim_agreement(pairs: Sequence[Pair]) -> Table | Omitted:
    """Every claim that both studies test, with both verdicts.

    Claims agree or disagree only if both studies decide them.

    Args:
        pairs: the experiments that are compared, of A and of B.
    """
    key, title = "claims", "Which claims agree"
    found = [(pair[0].name, *both) for pair in pairs for both in _of_both(pair)]
    if not found:
        return Omitted(key, title, "the studies have no claim in common.")
    uses = Counter(one.key for _, one, _ in found)
    several = max(uses.values()) > 1
    rows, shown = [], []
    for name, one, other in found:
        prefix = f"{name}: " * several
        row = {
            "claim": prefix + one.key,
            "statement": prefix + one.statement,
            "verdict_a": one.judgement,
            "verdict_b": other.judgement,
            "agree": _agree(one, other),
            "effect": one.effect.name,
            "effect_a": one.effect.value,
            "effect_b": other.effect.value,
        }
        rows.append(row)
        shown.append({**row, "a": one.words, "b": other.words, "agree": AGREE[_agree(one, other)]})
    columns = [words("claim", "statement"), words("A", "a"), words("B", "b"), words("agree")]
    note = _counted([both for _, *both in found])
    return Table(pd.DataFrame(rows), columns, note, key, title, shown)


def _of_both(pair: Pair) -> Iterator[tuple[Claim, Claim]]:
    ours, theirs = map(_claims, pair)
    yield from ((ours[key], theirs[key]) for key in ours if key in theirs)


def _claims(experiment: Experiment) -> dict[str, Claim]:
    """The claims of an experiment by their key."""
    paper = [claim for scope in claimed([experiment]) for claim in scope.claims]
    own = report_of(experiment).claims(experiment)
    return {claim.key: claim for claim in (*paper, *own)}


def _agree(one: Claim, other: Claim) -> bool | None:
    """Whether two verdicts agree; ``None`` if a study cannot decide."""
    if Verdict.UNDECIDED in {one.verdict, other.verdict}:
        return None
    return one.verdict is other.verdict


def _counted(found: Sequence[Sequence[Claim]]) -> str:
    """``Of 4 claims, 2 agree, 1 disagrees, 1 cannot be decided in either study.``."""
    agreed = [_agree(one, other) for one, other in found]
    agree, disagree = agreed.count(True), agreed.count(False)
    neither = sum(one.verdict is other.verdict is Verdict.UNDECIDED for one, other in found)
    single = agreed.count(None) - neither
    said = {
        "agrees" if agree == 1 else "agree": agree,
        "disagrees" if disagree == 1 else "disagree": disagree,
        "cannot be decided in either study": neither,
        "can be decided in only one study": single,
    }
    parts = ", ".join(f"{count} {verb}" for verb, count in said.items() if count)
    return f"Of {formats.count(len(found), 'claim')}, {parts}."
