"""The pages of the paper: its claims, tables and figures, on the experiments of any study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from joulelab.files import write_whole
from joulelab.present import Figure, Omitted, Part, Remark, Section, html, latex, markdown, shown
from joulelab.report import claims
from joulelab.report.claims import scopes
from joulelab.report.experiment import Experiment
from joulelab.report.paper_figures import paper_figures
from joulelab.report.paper_tables import PAPER_TABLES, PaperStudies, is_of_paper
from joulelab.report.report import Heading, SidePage
from joulelab.report.writing import drawer, tables_of

PAPER = "paper"
"""Folder of tables and figures of the paper."""


def _write_claims(experiments: Sequence[Experiment], heading: Heading, folder: Path) -> Path:
    """Write ``claims.html`` and ``claims.md``."""
    found = scopes(experiments)
    title = f"{heading.name}: claims"
    remarks = list(map(Remark, heading.remarks))
    none: Part = Omitted("claims", "Claims", "no experiment with finished runs can decide one yet.")
    scoped: list[Part] = [
        Section(one.name, [*one.remarks, claims.evidence(one.claims)]) for one in found
    ]
    write_whole(folder / "claims.md", markdown.page(title, [*remarks, *(scoped or [none])], PAPER))
    page = html.page(
        title,
        [*map(claims.details, found)] if found else [none],
        draw=drawer(folder / PAPER),
        summary="The findings of Yarally et al. (CAIN 2023), each with the test that decides it "
        "on these data.",
        lead=remarks,
        links=heading.links,
    )
    return write_whole(folder / "claims.html", page)


def _write_paper(experiments: Sequence[Experiment], heading: Heading, folder: Path) -> Path:
    """Write ``paper.html``, ``paper.md`` and the folder ``paper``."""
    (folder / PAPER).mkdir(exist_ok=True)
    studies = PaperStudies(tuple(experiments))
    made: list[Part] = [*shown(PAPER_TABLES, studies), *_in_files(paper_figures(studies))]
    tables = list(tables_of(made))
    numbers = [number for table in tables for number in latex.named(table)]
    numbers += claims.named(scopes(experiments))
    write_whole(folder / PAPER / "numbers.tex", latex.numbers(numbers))
    write_whole(folder / PAPER / "tables.tex", latex.tables(tables))
    title = f"{heading.name}: tables and figures of the paper"
    remarks = list(map(Remark, heading.remarks))
    write_whole(folder / "paper.md", markdown.page(title, [*remarks, *made], PAPER))
    page = html.page(
        title,
        made,
        draw=drawer(folder / PAPER),
        summary="Tables I to V and Figures 3 to 9 of Yarally et al. (CAIN 2023), from these data. "
        f"The same as LaTeX: {PAPER}/tables.tex, with a macro for every number in "
        f"{PAPER}/numbers.tex; the figures as PDF and SVG beside them.",
        lead=remarks,
        links=heading.links,
    )
    return write_whole(folder / "paper.html", page)


def _in_files(made: Sequence[Figure | Omitted]) -> Iterator[Figure | Omitted]:
    """Figures with keys that name files, no two the same, as of two searches on one data set."""
    seen: Counter[str] = Counter()
    for one in made:
        seen[one.key] += 1
        more = f"-{seen[one.key]}" if seen[one.key] > 1 else ""
        yield replace(one, key=f"{one.key}{more}")


CLAIMS = SidePage("Claims", "claims.html", _write_claims, is_of_paper)
PAPER_PAGE = SidePage("Tables and figures of the paper", "paper.html", _write_paper, is_of_paper)
PAPER_PAGES = (CLAIMS, PAPER_PAGE)
