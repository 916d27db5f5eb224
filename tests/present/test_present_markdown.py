"""Markdown: as many cells in a row as there are headings, whatever the cells hold."""

import re

import pytest
from reported_study import drawn

from joulelab.present import Column, Facts, Figure, Omitted, Remark, Section, Table, markdown, words
from joulelab.report.experiment import experiments
from joulelab.report.paper_tables import PAPER_TABLES, PaperStudies


def cells(line):
    """The cells of a row, as a reader of Markdown splits them."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line[1:-1])]


def rows(text):
    return [cells(line) for line in text.splitlines() if line.startswith("|")]


def test_every_row_has_as_many_cells_as_there_are_headings(tmp_path):
    studies = PaperStudies(tuple(experiments(drawn(tmp_path))))
    for made in (make(studies) for make in PAPER_TABLES):
        headings, rule, *body = rows(markdown.table(made))
        assert len(headings) == len(rule) == len(made.columns)
        assert {len(row) for row in body} == {len(made.columns)}
        assert len(body) == len(made.cells())
        for row, printed in zip(made.cells(), body, strict=True):
            for cell, text in zip(row, printed, strict=True):
                assert text == (f"**{cell.text}**" if cell.bold else cell.text)


def a_table(name="a", group="digits"):
    columns = (words("network", "name"), Column("accuracy", "value", str, group=group))
    return Table([{"name": name, "value": 1}], columns, "A note.", "k", "Table I. A title")


def test_numbers_stand_on_the_right_and_groups_before_their_headings():
    text = markdown.table(a_table())
    assert rows(text)[:2] == [["network", "digits: accuracy"], [":---", "---:"]]
    assert text.startswith("**Table I. A title.**\n\n|")
    assert text.endswith("|\n\nA note.")


@pytest.mark.parametrize("text", ["a|b", "a\\|b", "two\nlines", "back\\slash"])
def test_what_would_end_a_cell_does_not(text):
    found = [
        re.split(r"(?<!\\)(?:\\\\)*\|", line)
        for line in markdown.table(a_table(text, group="d|e")).splitlines()
        if line.startswith("|")
    ]
    assert [len(row) for row in found] == [4, 4, 4], "two cells, and nothing before and after"


def test_a_page_has_every_part_under_its_heading():
    figure = Figure(lambda _: None, "A note.", "What is seen", "fig", "A figure")
    inner = Section("Inner", [a_table(), figure, Omitted("o", "Another", "it failed.")])
    parts = [Remark("Mind this."), "A sentence.", Facts([("seed", "7")]), inner]
    text = markdown.page("The title", parts, "figures")
    assert text.startswith("# The title\n\nMind this.\n\nA sentence.\n\n- seed: 7\n\n## Inner\n")
    assert "![What is seen](figures/fig.svg)\n\n**A figure.** A note." in text
    assert "**Another** is left out: it failed." in text


def test_no_name_is_markup():
    name = "<b>*x*`y`[z](u)$"
    parts = [
        Facts([(name, name)]),
        Omitted("o", name, "it failed."),
        Section(name, [a_table(name, group=name)]),
    ]
    text = markdown.page(name, parts, "figures")
    bare = re.sub(r"\\.", "", text.replace("`y`", ""))
    assert not re.search(r"<b>|x\*|\[z|\$", bare)
    assert text.startswith(r"# \<b>\*x\*\`y\`\[z\](u)\$")
    assert "`run a*b` of \\*x\\*" in markdown.page("t", ["`run a*b` of *x*"], "f")
