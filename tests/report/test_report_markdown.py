"""Markdown: as many cells in a row as there are headings, whatever the cells hold."""

import re

import pandas as pd
import pytest
from joulelab.report.paper import markdown
from joulelab.report.paper.table import Cell, Column, PaperTable
from joulelab.report.paper.tables import paper_tables
from reported_study import drawn

from joulelab.report.experiment import experiments


def cells(line):
    """The cells of a row, as a reader of Markdown splits them."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line[1:-1])]


def rows(text):
    return [cells(line) for line in text.splitlines() if line.startswith("|")]


def test_every_row_has_as_many_cells_as_there_are_headings(tmp_path):
    for made in paper_tables(experiments(drawn(tmp_path))):
        headings, rule, *body = rows(markdown.table(made))
        assert len(headings) == len(rule) == len(made.columns)
        assert {len(row) for row in body} == {len(made.columns)}
        assert len(body) == len(made.rows)
        for row, printed in zip(made.rows, body, strict=True):
            for cell, text in zip(row, printed, strict=True):
                assert text == (f"**{cell.text}**" if cell.bold else cell.text)


def test_numbers_stand_on_the_right_and_groups_before_their_headings():
    columns = (Column("network", words=True), Column("accuracy", "digits"))
    made = PaperTable("I", "A title", "A note.", columns, ((Cell("a"), Cell("1")),), pd.DataFrame())
    text = markdown.table(made)
    assert rows(text)[:2] == [["network", "digits: accuracy"], [":---", "---:"]]
    assert text.startswith("**Table I. A title.**\n\n|")
    assert text.endswith("|\n\nA note.")


@pytest.mark.parametrize("text", ["a|b", "a\\|b", "two\nlines", "back\\slash"])
def test_what_would_end_a_cell_does_not(text):
    columns = (Column("a|b", words=True), Column("c", "d|e"))
    made = PaperTable("I", "T", "N.", columns, ((Cell(text), Cell("1")),), pd.DataFrame())
    found = [
        re.split(r"(?<!\\)(?:\\\\)*\|", line)
        for line in markdown.table(made).splitlines()
        if line.startswith("|")
    ]
    assert [len(row) for row in found] == [4, 4, 4], "two cells, and nothing before and after"
