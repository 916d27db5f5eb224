"""``joulelab replicate``: the numbers of a published study, recomputed from its raw data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from joulelab import formats
from joulelab.cli.output import data_console, print_json_list, progress_console
from joulelab.cli.replicating_predictions import print_predictions
from joulelab.replication.delrey2023 import PredictionStudy
from joulelab.replication.published import Comparison, Replication, decimals, published_studies

WIDTH = 80
AGREES = {True: "yes", False: "no", None: formats.DASH}
STYLES = {True: "green", False: "bold red", None: "dim"}


def print_replication(study: str, folder: Path, *, as_json: bool) -> None:
    """Print every published number beside the recomputed one.

    Args:
        study: the name of a published study.
        folder: with its raw data.
        as_json: a list of objects in JSON instead of tables.
    """
    replication = published_studies.get(study)(folder)
    for remark in replication.remarks:
        progress_console().print(remark, style="yellow", markup=False, soft_wrap=True)
    if isinstance(replication, PredictionStudy):
        print_predictions(replication, as_json=as_json)
        return
    if as_json:
        print_json_list([one.to_dict() for one in replication.comparisons])
        return
    console = data_console()
    console.print(Text(replication.title, style="bold"), width=_width(console))
    for (table, dataset), group in groupby(
        replication.comparisons, lambda one: (one.published.table, one.published.dataset)
    ):
        comparisons = list(group)
        console.print()
        console.print(_drawn(f"{table}, {dataset}", comparisons), width=_width(console))
        for line in notes(comparisons):
            console.print(Text(line, style="dim"), width=_width(console))
    console.print()
    console.print(Text(conclusion(replication)), width=_width(console))


def notes(comparisons: Iterable[Comparison]) -> list[str]:
    """What there is to say about a table, each thing once, after the cells it is about."""
    cells: dict[str, list[str]] = {}
    for one in comparisons:
        if one.note:
            cells.setdefault(one.note, []).append(one.published.cell)
    return [f"{', '.join(about)}: {note}" for note, about in cells.items()]


def conclusion(replication: Replication) -> str:
    """How many of the printed numbers agree, and which do not."""
    everything = [one for one in replication.comparisons if one.published.text]
    agree = [one for one in everything if one.agrees]
    sentence = (
        f"{len(agree)} of {formats.count(len(everything), 'published number')} "
        f"{'agrees' if len(agree) == 1 else 'agree'}"
    )
    others = _listed(one for one in everything if one.agrees is False)
    unknown = _listed(one for one in everything if one.agrees is None)
    if others:
        sentence += f"; the others: {others}"
    return sentence + (f"; not to be recomputed: {unknown}" if unknown else "") + "."


def _listed(comparisons: Iterable[Comparison]) -> str:
    """Cells by table and data set."""
    by_table = groupby(comparisons, lambda one: (one.published.table, one.published.dataset))
    return "; ".join(
        f"{table} ({dataset}) {', '.join(one.published.cell for one in group)}"
        for (table, dataset), group in by_table
    )


def _drawn(title: str, comparisons: Sequence[Comparison]) -> Table:
    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="italic",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
    )
    table.add_column("cell", overflow="fold")
    table.add_column("published", justify="right", no_wrap=True)
    table.add_column("recomputed", justify="right", no_wrap=True)
    table.add_column("agrees", no_wrap=True)
    for one in comparisons:
        table.add_row(
            Text(one.published.cell),
            Text(one.published.text or formats.DASH),
            Text(_shown(one)),
            Text(AGREES[one.agrees], style=STYLES[one.agrees]),
        )
    return table


def _shown(comparison: Comparison) -> str:
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


def _width(console: Console) -> int:
    return min(WIDTH, console.width)
