"""Views in a terminal: no number is broken, nothing is wider than 80 columns."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from joulelab.present import (
    Column,
    Facts,
    Figure,
    Omitted,
    Remark,
    Section,
    Table,
    View,
    terminal,
    words,
)
from joulelab.present.terminal import LONG
from joulelab.report.kinds import report_of
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import study_tables
from joulelab.study.results import Results

STUDIES = Path(__file__).parent.parent / "data" / "studies"
MINUS = "\N{MINUS SIGN}"


def printed(*parts, width=80, notes=True, colour=None):
    out = io.StringIO()
    console = Console(
        file=out, width=width, highlight=False, color_system=colour, force_terminal=bool(colour)
    )
    terminal.print_view(View(parts), console, notes=notes)
    return out.getvalue()


def wide_table(name):
    row = {
        "configuration": name,
        "acc. A": "0.872",
        "acc. B": "0.871",
        f"B {MINUS} A": f"{MINUS}0.001",
        "95 % interval": f"{MINUS}0.012 to 0.010",
        "energy A": "1,674 J",
        "energy B": "1,684 J",
        "B / A": "1.006",
        "95 % interval of it": "0.995 to 1.017",
    }
    text = ("configuration", "95 % interval", "95 % interval of it")
    columns = [
        Column(one, form=str, words=one in text, wide=one in ("acc. A", "energy A")) for one in row
    ]
    return Table([row], columns, "A note.", "k", "A title")


def test_columns_that_do_not_fit_are_left_out_and_the_widest_names_stay_whole():
    text = printed(wide_table("linear_layers=7, conv_layers=4, relu=off, hyperparameters=5"))
    assert max(map(len, text.splitlines())) <= 80
    for word in ("linear_layers=7,", "hyperparameters=5", "configuration", "1,684", "1.006"):
        assert word in text
    assert "1,674 J" not in text


def test_columns_that_fit_are_all_shown():
    text = printed(wide_table("CNN"), width=130)
    assert "1,674 J" not in text, "80 columns are the most, also of a wider terminal"
    fewer = replace(wide_table("CNN"), columns=wide_table("CNN").columns[:3])
    assert "0.872" in printed(fewer)
    assert "1,674 J" in terminal.to_text(wide_table("CNN")), "plain text is as wide as it is"


def test_a_name_that_is_longer_than_the_terminal_goes_on_in_the_next_line():
    text = printed(wide_table("x" * 100))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("x") == 100
    assert f"{MINUS}0.001" in text


def test_a_long_folded_table_is_only_named():
    rows = [{"a": f"cell {n}"} for n in range(LONG + 1)]
    table = Table(rows, [words("a", form=str)], "A note.", "k", "A title", folded=True)
    text = printed(table)
    assert "21 rows; --json has them." in text
    assert "cell 0" not in text
    assert "A note." in text
    assert "cell 0" in printed(replace(table, folded=False))
    assert "cell 0" in printed(replace(table, rows=rows[:-1]))


def test_notes_stand_underneath_unless_they_are_not_wanted():
    assert "A note." in printed(wide_table("CNN"))
    assert "A note." not in printed(wide_table("CNN"), notes=False)


def test_every_part_has_its_line_and_a_figure_none():
    figure = Figure(lambda _: pytest.fail("it is drawn"), "note", "alt", "key", "A figure")
    facts = Facts([("seed", "7"), ("device", "cpu")])
    section = Section("Inner", ["said", Omitted("o", "Another", "it failed.")])
    lines = printed("The answer.", Remark("Mind this."), facts, figure, section).splitlines()
    assert lines == [
        "The answer.",
        "Mind this.",
        "seed    7",
        "device  cpu",
        "",
        "Inner",
        "said",
        "Another is left out: it failed.",
    ]


def test_what_looks_like_markup_is_text():
    table = Table([{"a": "[red]x[/red]"}], [words("a", form=str)], "[i]", title="[b]")
    text = printed(table, "[bold]", Remark("[blue]"))
    for part in ("[red]x[/red]", "[i]", "[b]", "[bold]", "[blue]"):
        assert part in text


def test_tones_are_colours_where_there_are_any():
    column = words("status", form=str, tone=lambda row: "good" if row["status"] == "ok" else "bad")
    table = Table([{"status": "ok"}, {"status": "gone"}], [column])
    assert "\x1b" not in printed(table)
    coloured = printed(table, colour="standard")
    assert "\x1b[32mok" in coloured
    assert "\x1b[31mgone" in coloured


def test_a_total_is_set_apart():
    table = Table([{"n": 1}, {"n": 2}], [Column("n", form=str)], total={"n": 3})
    *_, apart, last = printed(table).rstrip().splitlines()
    assert not apart.strip()
    assert last.strip() == "3"


@pytest.mark.parametrize("name", ["tuning", "batching", "timeline", "training-cost", "instruments"])
def test_tables_of_a_report_fit_and_no_number_and_no_short_word_is_broken(name, tmp_path):
    study = ReportedStudy(Results.open(shutil.copytree(STUDIES / name, tmp_path / name)))
    made = [table for one in study.experiments for table in report_of(one).tables(one)]
    for table in [*made, *study_tables(study)]:
        if isinstance(table, Omitted) or (table.folded and len(table.cells()) > LONG):
            continue
        text = printed(table, width=200)
        assert max(map(len, text.splitlines())) <= 80, table.key
        there = set(text.split())
        for column, cells in zip(table.columns, zip(*table.cells(), strict=True), strict=True):
            for cell in cells if not column.wide else ():
                # A path or a list without blanks may be longer than there is room for.
                short = {word for word in cell.text.split() if len(word) < 20}
                assert short <= there, (table.key, cell.text)
