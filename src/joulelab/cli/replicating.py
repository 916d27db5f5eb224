"""``joulelab replicate``: the numbers of a published study, recomputed from its raw data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from joulelab import formats
from joulelab.analysis.prediction.scores import Score
from joulelab.present import Column, Facts, Part, Section, Table, View, words
from joulelab.present.parts import Tone
from joulelab.replication.delrey2023 import PredictionStudy
from joulelab.replication.published import Comparison, Replication, decimals

AGREES = {True: "yes", False: "no", None: formats.DASH}
TONES: dict[bool | None, Tone] = {True: "good", False: "bad", None: ""}


def rows(found: Replication) -> list[dict[str, object]]:
    """Plain data: each published number beside the recomputed one; of predictions their scores."""
    if isinstance(found, PredictionStudy):
        return [one.to_dict() for one in found.scores]
    return [one.to_dict() for one in found.comparisons]


def view(found: Replication) -> View:
    """How much agrees, or which predictions are best, and all numbers in tables."""
    if isinstance(found, PredictionStudy):
        return View([*best_methods(found.scores), Section(found.title, _prediction_tables(found))])
    tables = [
        _table(f"{table}, {dataset}", list(group))
        for (table, dataset), group in groupby(found.comparisons, _place)
    ]
    return View([*conclusion(found.comparisons), Section(found.title, tables)])


def conclusion(comparisons: Iterable[Comparison]) -> list[Part]:
    """How many of the printed numbers agree, and which do not."""
    printed = [one for one in comparisons if one.published.text]
    agree = sum(one.agrees is True for one in printed)
    sentence = (
        f"{agree} of {formats.count(len(printed), 'published number')} "
        f"{'agrees' if agree == 1 else 'agree'}."
    )
    others = [
        {
            "table": f"{table}, {dataset}",
            "cells": ", ".join(one.published.cell for one in group),
            "why": "differs" if agrees is False else "cannot be recomputed",
        }
        for agrees in (False, None)
        for (table, dataset), group in groupby(
            (one for one in printed if one.agrees is agrees), _place
        )
    ]
    columns = [words("table"), words("cells"), words("why")]
    return [sentence, *([Table(others, columns, title="The others")] if others else [])]


def notes(comparisons: Iterable[Comparison]) -> list[str]:
    """What there is to say about a table, each thing once, after the cells it is about."""
    cells: dict[str, list[str]] = {}
    for one in comparisons:
        if one.note:
            cells.setdefault(one.note, []).append(one.published.cell)
    return [f"{', '.join(about)}: {note}" for note, about in cells.items()]


def best_methods(scores: Sequence[Score]) -> list[Part]:
    """The best method at each fraction."""
    best = []
    for fraction, group in groupby(scores, lambda one: one.fraction):
        mape, method = min((one.mape, one.method) for one in group if one.mape is not None)
        best.append((f"{formats.percent(fraction, 0)} of the run", f"{method} ({_share(mape)})"))
    return ["Least mean absolute error, by how much is seen:", Facts(best)]


def _place(comparison: Comparison) -> tuple[str, str]:
    return comparison.published.table, comparison.published.dataset


def _table(title: str, comparisons: Sequence[Comparison]) -> Table:
    compared = [
        {
            "cell": one.published.cell,
            "published": one.published.text or formats.DASH,
            "recomputed": _recomputed(one),
            "agrees": one.agrees,
        }
        for one in comparisons
    ]
    columns = [
        words("cell"),
        Column("published"),
        Column("recomputed"),
        words("agrees", form=AGREES.__getitem__, tone=lambda row: TONES[row["agrees"]]),
    ]
    return Table(compared, columns, "\n".join(notes(comparisons)), title=title)


def _recomputed(comparison: Comparison) -> str:
    """The recomputed value, to a digit more than is printed, so that differences are seen."""
    value, text = comparison.value, comparison.published.text
    if value is None:
        return formats.UNKNOWN
    if isinstance(value, str):
        return value
    if comparison.published.cell.endswith(".p"):
        return formats.p_value(value)
    if not text:
        return formats.signed(formats.number(value))
    return formats.decimals(value, 0 if isinstance(value, int) else decimals(text) + 1)


def _prediction_tables(study: PredictionStudy) -> list[Table]:
    columns = [
        words("method"),
        Column("runs", "n"),
        Column("RMSE (kJ)", "rmse_kj", _kilojoules),
        Column("MAPE", "mape", _share),
        Column("95 % interval holds", "coverage", formats.percent),
    ]
    published = [
        {
            "method": one.published.cell,
            "published": one.published.text,
            "recomputed": _kilojoules(one.value) if isinstance(one.value, float) else "unknown",
        }
        for one in study.comparisons
    ]
    return [
        *(
            Table(
                [one.to_dict() for one in scores],
                columns,
                title=f"The first {formats.percent(fraction, 0)} of each run seen",
            )
            for fraction, scores in groupby(study.scores, lambda one: one.fraction)
        ),
        Table(
            published,
            [words("method"), Column("published"), Column("recomputed")],
            "\n".join(dict.fromkeys(one.note for one in study.comparisons)),
            title="RMSE in kJ, as published and on these runs",
        ),
    ]


def _kilojoules(value: float | None) -> str:
    return formats.decimals(value, 2)


def _share(value: float | None) -> str:
    return formats.percent(value, 2)
