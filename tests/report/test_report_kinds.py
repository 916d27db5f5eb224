"""What a kind declares for its report."""

import pytest

from joulelab.errors import UsageError
from joulelab.present import Figure, Table, Unavailable, figure, table
from joulelab.report.report import Report, sentences


class Subject:
    """An experiment."""


first = table("first", "First")(lambda _: Table([], []))
second = table("second", "Second")(lambda _: Table([], []))
picture = figure("first", "Picture")(lambda _: Figure(print, "", ""))


def test_two_tables_with_one_key_are_refused():
    other = table("first", "Other")(lambda _: Table([], []))
    with pytest.raises(UsageError, match="has 2 tables with the key 'first'"):
        Report([first, second, other])
    assert Report([first, picture]).contents == [first, picture]


@pytest.mark.parametrize("contents", [first, [lambda _: None]])
def test_contents_are_a_list_of_declared_tables_and_figures(contents):
    with pytest.raises(UsageError, match="must be a list") as refused:
        Report(contents)
    assert "@table" in refused.value.hint


def test_the_first_figure_and_table_lead_where_none_is_given():
    assert Report([second, first, picture]).lead == (picture, second)
    assert Report([first], lead=[first]).lead == [first]
    assert Report([]).lead == ()


def broken(subject):
    raise KeyError("n")


def absent(subject):
    raise Unavailable("nothing there.")


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (lambda _: "One sentence.", ["One sentence."]),
        (lambda _: ["One.", "", "Two."], ["One.", "Two."]),
        (lambda _: None, []),
        (absent, []),
        (broken, ["A finding is left out: KeyError: 'n' (test_report_kinds.py:40)."]),
        (
            sentences(broken, lambda _: "Two."),
            ["A finding is left out: KeyError: 'n' (test_report_kinds.py:40).", "Two."],
        ),
    ],
)
def test_findings_are_sentences_and_an_error_is_said(findings, said):
    assert Report([], findings=findings).says(Subject()) == said
