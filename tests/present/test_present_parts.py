"""What a table shows of its rows: text, shared units, what stands out, names of numbers."""

import pandas as pd
import pytest

from joulelab import formats
from joulelab.present import Column, Table, words
from joulelab.present.parts import Cell, records


def texts(table):
    return [[cell.text for cell in row] for row in table.cells()]


def a_table(rows, *columns, **more):
    return Table(rows, columns, **more)


@pytest.mark.parametrize("frame", [list, pd.DataFrame])
def test_rows_may_be_mappings_or_a_frame(frame):
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    table = a_table(frame(rows), Column("a", form=str), words("second", "b", form=str))
    assert table.headings() == ["a", "second"]
    assert texts(table) == [["1", "x"], ["2", "y"]]
    assert table.frame.equals(pd.DataFrame(rows))
    assert [*records(table.rows)] == rows


def test_a_column_may_be_of_several_values_or_of_the_whole_row():
    table = a_table(
        [{"low": 1, "high": 3}],
        words("range", ("low", "high"), form="{} to {}".format),
        Column("width", lambda row: row["high"] - row["low"]),
    )
    assert texts(table) == [["1 to 3", "2"]]


def test_columns_with_the_same_units_share_that_of_the_largest_number():
    table = a_table(
        [{"net": 1500.0, "gross": 2.5e6}, {"net": None, "gross": float("nan")}],
        Column("net", units=formats.ENERGY),
        Column("gross", units=formats.ENERGY),
    )
    assert table.headings() == ["net (MJ)", "gross (MJ)"]
    (net, gross), unknown = texts(table)
    assert float(net) == pytest.approx(0.0015)
    assert float(gross) == 2.5
    assert unknown == [formats.at_scale(None, 1e6)] * 2


def test_columns_of_other_units_and_without_any_are_left_alone():
    table = a_table(
        [{"net": 150_000.0, "co2e_g": 2.0, "n": 2000}],
        Column("net", units=formats.ENERGY),
        Column("co2e_g", units=formats.MASS),
        Column("n", form=str),
    )
    assert [heading.rpartition(" ")[2] for heading in table.headings()] == ["(kJ)", "(g)", "n"]
    assert texts(table)[0][2] == "2000"


def test_a_total_counts_for_the_unit_and_is_the_last_row():
    rows = [{"net": 60_000.0}, {"net": 70_000.0}]
    column = Column("net", units=formats.ENERGY)
    assert a_table(rows, column).headings() == ["net (J)"]
    table = a_table(rows, column, total={"net": 130_000.0})
    assert table.headings() == ["net (kJ)"]
    assert [float(text) for (text,) in texts(table)] == [60.0, 70.0, 130.0]
    assert len(table.frame) == 2, "it is not among the data"


def test_units_of_no_number_at_all_are_the_base_unit():
    for rows in ([], [{"net": None}], [{"net": 0.0}]):
        assert a_table(rows, Column("net", units=formats.ENERGY)).headings() == ["net (J)"]


def test_what_people_see_may_be_other_rows_than_the_data():
    table = a_table([{"a": 1}, {"a": 2}], Column("a", form=str), shown=[{"a": 3}])
    assert texts(table) == [["3"]]
    assert table.frame["a"].tolist() == [1, 2]


def test_a_cell_stands_out_by_a_column_or_a_function_and_has_its_tone():
    table = a_table(
        [{"a": 1, "best": True}, {"a": 2, "best": False}],
        Column("a", form=str, bold="best"),
        Column("b", "a", str, bold=lambda row: row["a"] == 2),
        Column("c", "a", str, tone=lambda row: "bad" if row["a"] == 2 else ""),
    )
    assert [[cell.bold for cell in row] for row in table.cells()] == [
        [True, False, False],
        [False, True, False],
    ]
    assert [row[2].tone for row in table.cells()] == ["", "bad"]


def test_a_number_is_named_by_the_table_the_row_and_the_column():
    table = a_table(
        [{"network": "CNN", "level": 3, "j": 1}],
        words("network", form=str),
        Column("energy", "j", str, macro="energy"),
        Column("own", "j", str, macro=lambda row: (row["network"], "own")),
        key="table-i",
        names=("network", "level"),
    )
    (row,) = table.cells()
    assert [cell.name for cell in row] == [
        (),
        ("table-i", "CNN", "3", "energy"),
        ("table-i", "CNN", "own"),
    ]


def test_a_cell_among_the_rows_stands_as_it_is_with_its_name_below_that_of_the_table():
    ready = Cell("1,674 J", bold=True, tone="good", name=("E+", "energy"))
    table = a_table([], Column("a"), Column("b"), key="v", shown=[{"a": ready, "b": Cell("x")}])
    ((first, second),) = table.cells()
    assert first == Cell("1,674 J", bold=True, tone="good", name=("v", "E+", "energy"))
    assert second == Cell("x")


def test_neighbours_with_one_heading_above_them_are_one_group():
    columns = [Column("a"), Column("b", group="x"), Column("c", group="x"), Column("d", group="y")]
    assert a_table([], *columns).groups() == [("", 1), ("x", 2), ("y", 1)]
    assert a_table([]).groups() == []


def test_missing_values_are_dashes():
    rows = [{"v": value} for value in (None, float("nan"), pd.NA, pd.NaT, 0, False)]
    cells = Table(rows, [Column("v")]).cells()
    assert [cell.text for (cell,) in cells] == [*4 * [formats.DASH], "0", "off"]
