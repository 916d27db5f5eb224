"""Declarations: made once of each subject, named, or left out with a reason."""

import gc
from dataclasses import dataclass

import pytest

from joulelab import formats
from joulelab.present import (
    Column,
    Figure,
    Omitted,
    Section,
    Table,
    Unavailable,
    cached_per_subject,
    figure,
    html,
    shown,
    table,
)


@dataclass(frozen=True, eq=False)
class Subject:
    """Something that a table may be of."""

    n: int = 0


@pytest.fixture
def made():
    """The subjects of which something was made."""
    return []


@pytest.fixture
def counts(made):
    @table("counts", "How many", folded=True)
    def counts(subject):
        """What it counts."""
        made.append(subject)
        if not subject.n:
            raise Unavailable("there is nothing to count.")
        return Table([{"n": subject.n}], [Column("n", form=str)])

    return counts


def test_a_table_has_the_key_and_the_title_it_is_declared_with(counts):
    found = counts(Subject(2))
    assert (found.key, found.title, found.folded) == ("counts", "How many", True)
    assert found.frame["n"].tolist() == [2]
    assert counts.__doc__ == "What it counts."
    assert counts.makes is Table


def test_what_is_made_may_say_its_title_more_exactly():
    @table("counts", "How many")
    def counts(subject):
        return Table([], [], title=f"How many of {subject.n}", key="own", folded=True)

    found = counts(Subject(3))
    assert (found.key, found.title, found.folded) == ("own", "How many of 3", True)


def test_it_is_made_once_of_each_subject(counts, made):
    one, other = Subject(1), Subject(1)
    assert [counts(subject).frame["n"][0] for subject in (one, other, one)] == [1, 1, 1]
    assert made == [one, other]


def test_that_it_cannot_be_made_is_found_once_and_said_again(counts, made):
    nothing = Subject()
    for _ in range(2):
        with pytest.raises(Unavailable) as why:
            counts(nothing)
        assert why.value.reason == "there is nothing to count."
        assert why.value.__traceback__ is not None
    assert made == [nothing]


def test_what_it_is_shown_as_says_why_it_is_left_out(counts):
    assert counts.shown(Subject()) == Omitted("counts", "How many", "there is nothing to count.")
    assert counts.shown(Subject(2)).title == "How many"


def defect(subject):
    raise ValueError("a\ndefect")


def test_an_error_in_a_function_of_a_user_is_the_reason_with_its_line():
    line = defect.__code__.co_firstlineno + 1
    made = table("counts", "How many")(defect).shown(Subject())
    assert made.reason == f"ValueError: a defect (test_present_declared.py:{line})"


def test_an_error_in_a_function_of_joulelab_is_raised_and_is_not_kept(monkeypatch):
    monkeypatch.setattr(defect, "__module__", "joulelab.report.energy")
    counts, subject = table("counts", "How many")(defect), Subject()
    for _ in range(2):
        with pytest.raises(ValueError, match="defect"):
            counts.shown(subject)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ([Column("absent")], "KeyError: 'absent'"),
        ([Column("n", form=lambda n: n / 0)], "TypeError: unsupported"),
        ([Column("n", units=formats.ENERGY)], "TypeError: "),
    ],
)
def test_an_error_in_a_column_is_the_reason(columns, reason):
    made = table("t", "T")(lambda _: Table([{"n": "word"}], columns)).shown(Subject())
    assert isinstance(made, Omitted)
    assert made.reason.startswith(reason)
    assert "(test_present_declared.py:" in made.reason


def test_an_error_while_a_figure_is_drawn_is_the_reason():
    made = figure("f", "F")(lambda _: Figure(lambda width: width / 0, "", "alt"))(Subject())
    with pytest.raises(Unavailable, match="TypeError: unsupported"):
        made.draw("screen")
    page = html.page("t", [made, Section("s", [made])], draw=lambda one: one.draw("screen"))
    assert page.count("<strong>F</strong> is left out: TypeError: unsupported") == 2


@pytest.mark.parametrize("made", [None, 3, Figure(print, "", "")])
def test_what_is_not_a_table_is_left_out(made):
    left_out = table("none", "T")(lambda _: made).shown(Subject())
    assert left_out.reason == f"table none returned {type(made).__name__}; return a Table."


def test_what_needs_another_that_cannot_be_made_has_its_reason(counts):
    @figure("picture", "A picture of it")
    def picture(subject):
        rows = counts(subject).rows
        return Figure(lambda _: None, f"{len(rows)} rows", "alt")

    assert picture(Subject(1)).note == "1 rows"
    assert picture(Subject(1)).key == "picture"
    assert picture.makes is Figure
    assert picture.shown(Subject()).reason == "there is nothing to count."


def test_of_what_does_not_apply_nobody_is_told(counts):
    @table("failed", "Failed runs")
    def failed(subject):
        raise Unavailable("")

    assert failed.shown(Subject(1)) == Omitted("failed", "Failed runs", "")
    assert [one.key for one in shown([counts, failed], Subject(1))] == ["counts"]
    assert [one.key for one in shown([failed, counts], Subject())] == ["counts"]


def test_what_is_remembered_goes_with_its_subject():
    @cached_per_subject
    def known(subject):
        return [subject.n]

    subject = Subject(4)
    assert known(subject) is known(subject)
    cached = known.__closure__
    store = next(cell.cell_contents for cell in cached if hasattr(cell.cell_contents, "keyrefs"))
    assert len(store) == 1
    del subject
    gc.collect()
    assert len(store) == 0
