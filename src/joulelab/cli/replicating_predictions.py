"""``joulelab replicate delrey2023``: how good predictions of a training's energy were."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from joulelab import formats
from joulelab.analysis.prediction.scores import Score
from joulelab.cli.output import data_console, print_json_list
from joulelab.replication.delrey2023 import PredictionStudy
from joulelab.replication.published import Comparison

WIDTH = 80


def print_predictions(study: PredictionStudy, *, as_json: bool) -> None:
    """Print the errors of every method, and the published ones beside those recomputed.

    Args:
        study: the scores.
        as_json: a list of scores in JSON instead of tables; the published ones are not among them.
    """
    if as_json:
        print_json_list([one.to_dict() for one in study.scores])
        return
    console = data_console()
    width = min(WIDTH, console.width)
    console.print(Text(study.title, style="bold"), width=width)
    for fraction, scores in groupby(study.scores, lambda one: one.fraction):
        console.print()
        console.print(_scores(fraction, list(scores)), width=width)
    console.print()
    console.print(_published(study.comparisons), width=width)
    for note in dict.fromkeys(one.note for one in study.comparisons):
        console.print(Text(note, style="dim"), width=width)
    console.print()
    console.print(Text(conclusion(study.scores)), width=width)


def conclusion(scores: Sequence[Score]) -> str:
    """The best method at each fraction."""
    best = []
    for fraction, group in groupby(scores, lambda one: one.fraction):
        known = [(one.mape, one.method) for one in group if one.mape is not None]
        mape, method = min(known)
        best.append(f"{method} at {formats.percent(fraction, 0)} of the run ({_share(mape)})")
    return f"Least mean absolute error: {formats.listing(best)}."


def _scores(fraction: float, scores: Sequence[Score]) -> Table:
    table = _table(f"The first {formats.percent(fraction, 0)} of each run seen")
    table.add_column("method", no_wrap=True)
    for name in ("runs", "RMSE, kJ", "MAPE", "95 % interval holds"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in scores:
        table.add_row(
            one.method,
            str(one.n),
            formats.decimals(one.rmse_kj, 2),
            _share(one.mape),
            formats.percent(one.coverage),
        )
    return table


def _published(comparisons: Sequence[Comparison]) -> Table:
    table = _table("RMSE in kJ, as published and on these runs")
    table.add_column("method", no_wrap=True)
    for name in ("published", "recomputed"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in comparisons:
        value = one.value
        shown = formats.decimals(value, 2) if isinstance(value, float) else formats.UNKNOWN
        table.add_row(one.published.cell, one.published.text, shown)
    return table


def _table(title: str) -> Table:
    return Table(
        title=Text(title),
        title_justify="left",
        title_style="italic",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
    )


def _share(value: float | None) -> str:
    return formats.percent(value, 2)
