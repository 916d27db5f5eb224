"""The report in brief, for the terminal: at most 80 columns wide."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from joulelab.report import conditions
from joulelab.report.experiment import experiments
from joulelab.report.findings import findings
from joulelab.report.ledger import study_energy
from joulelab.report.page import experiment_tables
from joulelab.report.tables import Omitted, Table
from joulelab.study.results import Results

WIDTH = 80
IN_BRIEF = ("optima", "kruskal", "increase", "clusters")


def print_summary(results: Results, console: Console) -> None:
    """Print findings, the tables III to V as far as there are any, and the energy of the study.

    Args:
        results: what the study has found so far.
        console: where to print.
    """
    width = min(WIDTH, console.width)
    if unfinished := conditions.progress(results.to_frame()):
        console.print(Text(unfinished, style="bold yellow"), width=width)
    found = experiments(results)
    for experiment in found:
        console.print()
        console.print(Text(experiment.title, style="bold"), width=width)
        if not len(experiment.runs):
            console.print("no run has finished yet", width=width)
            continue
        for remark in experiment.energy.remarks:
            console.print(Text(remark, style="yellow"), width=width)
        said: set[str] = set()
        for one in experiment_tables(experiment):
            if one.key not in IN_BRIEF:
                continue
            if isinstance(one, Table):
                console.print(_drawn(one), width=width)
            elif one.reason not in {*said, *experiment.energy.remarks}:
                said.add(one.reason)
                console.print(_left_out(one), width=width)
    console.print()
    for sentence in findings(found, study_energy(results.ledger_frame())):
        console.print(Text(sentence), width=width)


def _left_out(omitted: Omitted) -> Text:
    return Text(f"{omitted.title} is left out: {omitted.reason}", style="dim")


def _drawn(table: Table) -> Padding:
    drawn = RichTable(
        title=Text(table.title),
        title_justify="left",
        title_style="italic",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
    )
    for heading in table.shown.columns:
        words = heading in table.text
        # Numbers are never broken; where the width does not do, words are.
        drawn.add_column(
            Text(str(heading)),
            justify="left" if words else "right",
            no_wrap=not words,
            overflow="fold",
        )
    for number, row in enumerate(table.shown.itertuples(index=False)):
        drawn.add_row(
            *(
                Text(str(cell), style="bold" if (number, heading) in table.bold else "")
                for heading, cell in zip(table.shown.columns, row, strict=True)
            )
        )
    return Padding(drawn, (1, 0, 0, 0))
