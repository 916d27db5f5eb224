"""The report in brief, for the terminal: at most 80 columns wide."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from joulelab.analysis.claims.claim import Verdict
from joulelab.report import conditions
from joulelab.report.chapter import chapter, trainings
from joulelab.report.claims import Scope, effect_words, scopes
from joulelab.report.experiment import Experiment, experiments
from joulelab.report.ledger import study_energy
from joulelab.report.page import study_findings
from joulelab.report.prediction_tables import prediction_tables
from joulelab.report.tables import Omitted, Table
from joulelab.study.results import Results

WIDTH = 80
GAP = 2
"""Blanks between two columns."""
LONG = 20
"""Rows from which on a table that may be folded is."""
COLOURS = {Verdict.HOLDS: "green", Verdict.FAILS: "red", Verdict.UNDECIDED: "yellow"}


def print_summary(
    results: Results, console: Console, found: Sequence[Experiment] | None = None
) -> None:
    """Print findings, the tables III to V as far as there are any, and the energy of the study.

    Args:
        results: what the study has found so far.
        console: where to print.
        found: its experiments, where the caller has them already.
    """
    found = experiments(results) if found is None else found
    width = min(WIDTH, console.width)
    for said in (conditions.progress(results.to_frame()), *conditions.thinning(results)):
        if said:
            console.print(Text(said, style="bold yellow"), width=width)
    for experiment in found:
        console.print()
        console.print(Text(experiment.title, style="bold"), width=width)
        if not len(experiment.runs):
            console.print("no run has finished yet", width=width)
            continue
        print_tables(experiment, console, chapter(experiment).in_brief)
    print_claims(scopes(trainings(found)), console)
    console.print()
    for sentence in study_findings(results, found, study_energy(results.ledger_frame())):
        console.print(Text(sentence), width=width)
    # In all, and by configuration what matters most; the page has the rest.
    for table in prediction_tables(results)[:2]:
        if isinstance(table, Table):
            print_table(table, console, noted=False)


def print_tables(
    experiment: Experiment, console: Console, keys: Collection[str] | None = None
) -> None:
    """Print the remarks and tables of an experiment with finished runs.

    Args:
        experiment: what is shown.
        console: where to print.
        keys: which tables; all of them where not given.
    """
    width = min(WIDTH, console.width)
    for remark in experiment.energy.remarks:
        console.print(Text(remark, style="yellow"), width=width)
    said: set[str] = set()
    for one in chapter(experiment).tables(experiment):
        if keys is not None and one.key not in keys:
            continue
        if isinstance(one, Table):
            print_table(one, console, noted=keys is None)
        elif one.reason not in {*said, *experiment.energy.remarks}:
            said.add(one.reason)
            console.print(_left_out(one), width=width)


def print_table(table: Table | Omitted, console: Console, *, noted: bool = True) -> None:
    """Print a table, of a long one only its note, or why it is left out.

    Args:
        table: what is shown.
        console: where to print.
        noted: whether its note stands underneath.
    """
    width = min(WIDTH, console.width)
    if isinstance(table, Omitted):
        console.print(_left_out(table), width=width)
        return
    if table.folded and len(table.shown) > LONG:
        console.print(Padding(Text(table.title, style="italic"), (1, 0, 0, 0)), width=width)
        console.print(Text(f"{len(table.shown)} rows; --json has them."), width=width)
    else:
        below = int(noted and bool(table.note))
        console.print(Padding(_drawn(table, width), (1, 0, below, 0)), width=width)
    if noted and table.note:
        console.print(Text(table.note, style="dim"), width=width)


def print_claims(found: Sequence[Scope], console: Console, *, whole: bool = False) -> None:
    """Print the paper's findings with what these data say of them.

    Args:
        found: the claims.
        console: where to print.
        whole: with test, effect and what was seen; else a line each.
    """
    width = min(WIDTH, console.width)
    for scope in found:
        console.print()
        console.print(Text(f"claims, {scope.name}", style="italic"), width=width)
        for claim in scope.claims:
            line = Text(f"  {claim.words}: ", style=COLOURS[claim.verdict])
            console.print(line.append(claim.statement, style=""), width=width)
            if whole:
                parts = (claim.said, effect_words(claim), claim.test)
                for part in filter(None, parts):
                    console.print(Padding(Text(part, style="dim"), (0, 0, 0, 4)), width=width)


def _left_out(omitted: Omitted) -> Text:
    return Text(f"{omitted.title} is left out: {omitted.reason}", style="dim")


def _widths(shown: pd.DataFrame, text: Collection[str], room: int) -> dict[str, int]:
    """Widths that break no number and, unless a word alone is too long, no word.

    Args:
        shown: the cells as text.
        text: headings whose columns hold words, which may go on in the next line.
        room: for all columns and the gaps between them.
    """
    widths, least = {}, {}
    for heading in shown.columns:
        cells, words = list(shown[heading].map(str)), str(heading).split()
        widths[heading] = max(map(cell_len, [*cells, str(heading)]))
        whole = [word for cell in cells for word in cell.split()] if heading in text else cells
        least[heading] = max(map(cell_len, [*whole, *words]), default=1)
    room -= GAP * (len(widths) - 1)
    while sum(widths.values()) > room:
        broad = [name for name in widths if widths[name] > least[name]]
        # Where nothing else is left, the longest words are broken.
        broad = broad or [name for name in widths if name in text and widths[name] > 1]
        if not broad:
            break
        widths[max(broad, key=lambda name: widths[name])] -= 1
    return widths


def _drawn(table: Table, room: int) -> RichTable:
    drawn = RichTable(
        title=Text(table.title),
        title_justify="left",
        title_style="italic",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
    )
    shown = table.shown
    if sum(_widths(shown, (), sys.maxsize).values()) + GAP * (shown.shape[1] - 1) > room:
        shown = shown.drop(columns=[name for name in table.wide if name in shown])
    for heading, width in _widths(shown, table.text, room).items():
        justify: JustifyMethod = "left" if heading in table.text else "right"
        drawn.add_column(Text(heading), justify=justify, width=width, overflow="fold")
    for number, row in enumerate(shown.itertuples(index=False)):
        drawn.add_row(
            *(
                Text(str(cell), style="bold" if (number, heading) in table.bold else "")
                for heading, cell in zip(shown.columns, row, strict=True)
            )
        )
    return drawn
