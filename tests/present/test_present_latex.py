"""LaTeX: macros that are letters and unique, tables made of them, and a paper that compiles."""

import doctest
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace

import pytest
from reported_study import drawn

from joulelab.present import Column, Table, latex, words
from joulelab.present.parts import Cell
from joulelab.report.experiment import experiments
from joulelab.report.paper_tables import PAPER_TABLES, PaperStudies

USED = re.compile(r"\\JL[A-Za-z]+")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables I to V of two data sets side by side."""
    study = drawn(tmp_path_factory.mktemp("latex"))
    other = drawn(tmp_path_factory.mktemp("other"), seed=6)
    studies = PaperStudies((*experiments(study), *experiments(other)))
    return [make(studies) for make in PAPER_TABLES]


TWO = (words("one"), Column("other"))


def table(*rows, columns=TWO, title="Table III. Title", note="Note."):
    """A table of ready cells."""
    ready = [replace(column, of=str(at)) for at, column in enumerate(columns)]
    shown = [{str(at): cell for at, cell in enumerate(row)} for row in rows]
    return Table(shown, ready, note, "table-iii", title)


def named(tables):
    return [number for one in tables for number in latex.named(one)]


def test_the_examples_hold():
    assert doctest.testmod(latex).failed == 0
    assert doctest.testmod(latex).attempted == 3


def test_every_macro_is_defined_once_and_used_once_by_the_tables(tables):
    assert [one.key for one in tables] == [f"table-{n}" for n in ("i", "ii", "iii", "iv", "v")]
    defined = re.findall(r"\\newcommand\{(.*?)\}", latex.numbers(named(tables)))
    used = USED.findall(latex.tables(tables))
    assert set(defined) == set(used)
    assert len(defined) == len(set(defined)) > 100
    assert set(Counter(used).values()) == {1}
    assert all(re.fullmatch(r"\\JL[A-Za-z]+", name) for name in defined)


def test_a_macro_holds_the_text_of_its_cell(tables):
    defined = dict(re.findall(r"\\newcommand\{(.*?)\}\{(.*)\}", latex.numbers(named(tables))))
    for one in tables:
        rows = [line for line in latex.tables([one]).splitlines() if USED.search(line)]
        assert len(rows) == len(one.cells())
        for line, row in zip(rows, one.cells(), strict=True):
            cells = line.removesuffix(r" \\").split(" & ")
            assert len(cells) == len(one.columns)
            for cell, text in zip(row, cells, strict=True):
                if cell.name:
                    (name,) = USED.findall(text)
                    assert defined[name] == latex.escape(cell.text)
                    assert text.startswith(r"\textbf{") == cell.bold


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("100 % of $5 & #1_a", r"100 \% of \$5 \& \#1\_a"),
        ("{a} ~ ^ \\", r"\{a\} \textasciitilde{} \textasciicircum{} \textbackslash{}"),
        ("< 0.001 > |x|", "$<$ 0.001 $>$ $|$x$|$"),
        ("\N{MINUS SIGN}0.1 \N{PLUS-MINUS SIGN} 3 \N{EN DASH}", r"$-$0.1 $\pm$ 3 --"),
        ("[x] *", "{[}x] {*}"),
        ("two\nlines", "two lines"),
    ],
)
def test_what_latex_would_understand_is_escaped(text, escaped):
    assert latex.escape(text) == escaped


def test_numbers_in_names_keep_their_point_and_their_sign():
    assert latex.macro(("width 1.5",)) == r"\JLWidthOnePointFive"
    assert latex.macro(("width 15",)) == r"\JLWidthOneFive"
    assert latex.macro(("shift -1",)) == r"\JLShiftMinusOne"
    assert latex.macro(("cifar-10",)) == r"\JLCifarOneZero"
    assert latex.macro(("E+", "E-")) == r"\JLEPlusEMinus"


def test_names_that_look_alike_get_macros_of_their_own_in_numbers_and_tables_alike():
    rows = [
        (Cell("x"), Cell("0.1", name=("a b", "accuracy"))),
        (Cell("y"), Cell("0.2", name=("a-b", "accuracy"))),
        (Cell("z"), Cell("0.3", name=("a_b", "accuracy"))),
    ]
    made = table(*rows)
    claim = (("table-iii", "a.b", "accuracy"), "0.4")
    numbers = latex.numbers([*latex.named(made), claim])
    assert re.findall(r"\{(\\JL\w+)\}\{(.*)\}", numbers) == [
        (r"\JLTableIIIABAccuracy", "0.1"),
        (r"\JLTableIIIABAccuracyB", "0.2"),
        (r"\JLTableIIIABAccuracyC", "0.3"),
        (r"\JLTableIIIABAccuracyD", "0.4"),
    ]
    assert USED.findall(latex.tables([made])) == [
        r"\JLTableIIIABAccuracy",
        r"\JLTableIIIABAccuracyB",
        r"\JLTableIIIABAccuracyC",
    ]


def test_one_name_for_two_numbers_is_a_mistake():
    with pytest.raises(ValueError, match=r"would be 0\.1 and 0\.2"):
        latex.numbers([(("a",), "0.1"), (("a",), "0.2")])


def test_wide_tables_go_over_both_columns_and_narrow_ones_do_not():
    narrow = latex.tables([table((Cell("a"), Cell("1")))])
    assert r"\begin{table}[t]" in narrow
    wide = latex.tables([table((Cell("a" * 60), Cell("1")))])
    assert r"\begin{table*}[t]" in wide
    assert r"\end{table*}" in wide


def test_groups_of_headings_span_their_columns_and_take_a_line_a_part():
    group = "digits, 5 hyperparameters"
    columns = (words("network"), Column("accuracy", group=group), Column("round", group=group))
    text = latex.tables([table((Cell("a"), Cell("1"), Cell("2")), columns=columns)])
    assert r"\multicolumn{2}{c}{\shortstack{digits,\\5 hyperparameters}} \\" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert r"\begin{tabular}{lrr}" in text


@pytest.mark.parametrize("options", ["", "twocolumn"])
def test_a_paper_with_the_tables_compiles_and_nothing_is_too_wide(tables, tmp_path, options):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    odd = table(
        (Cell("[50 %] & #1_{x}^2 ~ \\ |y| <z>"), Cell("\N{MINUS SIGN}1", name=("1.5 %", "$x$"))),
        (Cell("* of it"), Cell("\N{EN DASH}", bold=True)),
        title="Signs",
        note="".join(latex.SYMBOLS),
    )
    every = [*tables, odd]
    (tmp_path / "numbers.tex").write_text(latex.numbers(named(every)))
    (tmp_path / "tables.tex").write_text(latex.tables(every))
    (tmp_path / "paper.tex").write_text(
        f"\\documentclass[{options}]{{article}}\n\\usepackage{{booktabs}}\n"
        "\\usepackage{graphicx}\n\\input{numbers}\n\\begin{document}\n"
        "\\input{tables}\nA \\JLTableVDigitsOneEPlusAverageEnergy{} number.\n"
        "\\end{document}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def test_names_without_a_latin_letter_have_macros_of_their_own():
    names = [
        (f"{chr(0x410 + one)}{chr(0x430 + other)}",) for one in range(26) for other in range(30)
    ]
    commands = latex.macros(names)
    assert len(set(commands.values())) == len(names) == 780
    assert all(re.fullmatch(r"\\JL[A-Z]*", one) for one in commands.values())


def test_the_number_and_the_key_of_a_table_name_it_and_latex_counts_by_itself():
    text = latex.tables([table((Cell("a"), Cell("1")))])
    assert r"\caption{Title. Note.}" in text
    assert r"\label{tab:joulelab-iii}" in text


def test_labels_have_no_special_characters():
    keys = ("exp_1 <b> | 50 %-cost", "table-iii", "a_b", "a-b")
    found = latex.tables([Table([{"a": 1}], [words("a")], key=key) for key in keys])
    labels = re.findall(r"\\label\{(.*?)\}\n", found)
    assert labels[:3] == ["tab:joulelab-exp-1-b-50-cost", "tab:joulelab-iii", "tab:joulelab-a-b"]
    assert len(set(labels)) == 4
