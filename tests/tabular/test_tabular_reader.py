"""One reader for tables that others have written."""

import codecs
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from joulelab.errors import DatasetError
from joulelab.tabular.moments import read_moments
from joulelab.tabular.reader import CUT, parse_table, read_table
from joulelab.tabular.table import MISSING

PLAIN = "time,power [W]\n0,12.5\n1,13.5\n"
WATTS = {"w": 1.0, "mw": 1e-3, "mwatts": 1e-3}


def parse(text, encoding="utf-8"):
    content = text if isinstance(text, bytes) else text.encode(encoding)
    return parse_table(Path("log.csv"), content, DatasetError)


def powers(table):
    return table.numbers(table.require("power")[0], WATTS).values.tolist()


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        codecs.BOM_UTF8 + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", ";").replace(".", ",").encode(),
        PLAIN.replace(",", "\t").replace(".", ",").encode(),
        PLAIN.replace(",", "|").encode(),
        PLAIN.replace(",", " , ").encode(),
        b"\n\n" + PLAIN.encode() + b"\n\n",
        b"# a comment, with a comma\n" + PLAIN.encode(),
        b"Recorded by something\n" + PLAIN.encode(),
        b"sep=;\n" + PLAIN.replace(",", ";").encode(),
        PLAIN.replace("\n1", "\ntime,power [W]\n1").encode(),
        b"# time power\n# s W\n  0  12.5\n  1  13.5\n",
        b'"time","power [W]"\n"0","12,5"\n"1","13,5"\n',
        b"time,power [mW]\n0,12500\n1,13500\n",
        b"time,power_mw,power\n0,1,12.5 W\n1,1,13500 mW\n",
        "time,power (W),°C\n0,12.5,40\n1,13.5,41\n".encode("cp1252"),
    ],
)
def test_however_it_is_written_the_table_is_the_same(content):
    assert powers(parse(content)) == [12.5, 13.5]


def test_a_parquet_file_is_a_table_too(tmp_path):
    path = tmp_path / "log"
    pd.DataFrame({"time": [0, 1], "power (W)": [12.5, 13.5]}).to_parquet(path)
    assert powers(read_table(path, DatasetError)) == [12.5, 13.5]


def test_what_was_left_out_is_said():
    read = parse("Linux 6.1\ntime,power\n0,1\ntime,power\n1,2\n2")
    assert len(read) == 2
    assert read.remarks == (
        "1 line before the header left out",
        "1 repeated header line left out",
        CUT,
    )


@pytest.mark.parametrize("after", [b"", b"2,14.5\n"])
@pytest.mark.parametrize("half", [b"", b"2,1"])
def test_what_a_crash_leaves_behind_is_left_out_with_half_a_line(half, after):
    table = parse(PLAIN.encode() + half + b"\0" * 512 + after)
    assert powers(table) == [12.5, 13.5, 14.5][: 3 if after else 2]
    assert any("crash" in remark for remark in table.remarks)


def test_a_row_keeps_the_line_on_which_it_stands():
    read = parse('# x\ntime,power,note\n0,1,"two\nlines"\n\n1,watts?1,b\n')
    with pytest.raises(DatasetError, match=r"log.csv, line 6, column power: 'watts\?1' is no"):
        read.numbers("power")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,b\n1,2\n3\n4,5\n", "line 3: 1 value for 2 columns"),
        ("a,b\n1,2\n3,4,5\n4,5\n", "line 3: 3 values for 2 columns"),
        ("a,b\n1,2\n3,4,5,6\n4,5\n", "line 3: 4 values for 2 columns"),
        ("a,b\n", "a header but no rows"),
        ("\n \n", "log.csv has no row"),
        (b"\x1f\x8b\x08\x00\x00", "neither Parquet nor text"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(text, complaint):
    with pytest.raises(DatasetError, match=complaint):
        parse(text)


def test_an_empty_file_and_no_file_are_told_apart(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DatasetError, match="is empty"):
        read_table(tmp_path / "empty.csv", DatasetError)
    with pytest.raises(DatasetError, match="does not exist"):
        read_table(tmp_path / "absent.csv", DatasetError)


def test_a_number_that_can_be_read_in_two_ways_is_refused():
    with pytest.raises(DatasetError, match=r"'1,234' is ambiguous"):
        parse("a\tpower\n1\t1,234\n2\t2,345\n").rows([0, 1]).numbers("power")


def test_marks_between_thousands_are_left_out_where_the_column_shows_them():
    assert parse("a\tpower\n1\t1,234.5\n2\t2,345.5\n").numbers("power").values.tolist() == [
        1234.5,
        2345.5,
    ]
    assert parse("a;power\n1;1.234,5\n2;2,5\n").numbers("power").values.tolist() == [1234.5, 2.5]


def test_an_unreadable_sensor_is_no_number_and_says_why():
    read = parse("t, power [W]\n0, [N/A]\n1, 3.5 W\n2, [Unknown Error]\n").numbers(
        "power [W]", WATTS
    )
    assert np.isnan(read.values).tolist() == [True, False, True]
    assert read.unreadable == "[Unknown Error]"


def test_where_missing_cells_are_named_any_other_word_is_refused():
    read = parse("a,power\n1,2\n2,n/a\n3,low\n")
    assert np.isnan(read.rows([0, 1]).numbers("power", missing=MISSING).values).tolist() == [0, 1]
    with pytest.raises(DatasetError, match=r"line 4, column power: 'low' is not a number"):
        read.numbers("power", missing=MISSING)
    with pytest.raises(DatasetError, match=r"line 2, column power: '12.5 kW' is not a number"):
        parse("a,power\n1,12.5 kW\n").numbers("power", missing=MISSING)


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("-1", "'-1' is not a number from 0 to 9"),
        ("9.5", "'9.5' is no"),
        ("low", "'low' is not a number"),
    ],
)
def test_numbers_may_have_bounds(cell, complaint):
    read = parse(f"a,n\n1,3.0\n2,n/a\n3,{cell}\n")
    assert np.isnan(read.rows([0, 1]).bounded("n", 0, 9, whole=True)).tolist() == [False, True]
    with pytest.raises(DatasetError, match=f"line 4, column n: {complaint}"):
        read.bounded("n", 0, 9)


def test_whole_numbers_are_told_from_others():
    with pytest.raises(DatasetError, match=r"line 3, column n: '3.5' is not a whole number from 0"):
        parse("a,n\n1,3.0\n2,3.5\n").bounded("n", 0, whole=True)


def test_a_unit_that_nobody_knows_is_refused():
    with pytest.raises(DatasetError, match="power is in 'BTU/h'"):
        parse("t,power [BTU/h]\n0,1\n1,2\n").numbers("power [BTU/h]", WATTS)


def test_a_table_without_a_header_has_numbered_columns():
    read = parse("0.25\n0.5\n")
    assert not read.has_header
    assert read.numbers("1").values.tolist() == [0.25, 0.5]


def test_a_column_of_moments_alone_is_one_column():
    read = parse("2026-03-05 10:00:00\n2026-03-05 10:00:01\n")
    assert read_moments(read, "1").seconds.tolist() == [0, 1]


def test_a_name_that_stands_there_twice_is_refused_where_the_cells_differ():
    assert parse("a,p,p\n1,2,2\n").column("p") == "p"
    with pytest.raises(DatasetError, match="occurs twice"):
        parse("a,p,p\n1,2,3\n").column("p")


def test_a_name_is_found_however_it_is_spelt_and_a_wrong_one_gets_a_suggestion():
    read = parse("Learning Rate,energy-J (J)\n1,2\n")
    assert read.column("learning_rate", "lr") == "Learning Rate"
    assert read.column("energy_j") == "energy-J (J)"
    with pytest.raises(DatasetError, match=r"no column 'enrgy_j'"):
        read.require("enrgy_j")


def test_words_of_a_program_between_the_rows_are_left_out_where_that_was_asked_for():
    text = "time,power\n0,1\nUnable to determine the handle: lost\nReboot it\n1,2\n2,3\n"
    read = parse_table(Path("log.csv"), text.encode(), DatasetError, messages=True)
    assert read.numbers("power").values.tolist() == [1, 2, 3]
    assert read.lines == [2, 5, 6]
    assert read.remarks == (
        "line 3 and 1 more line left out, not a row: 'Unable to determine the handle: lost'",
    )
    with pytest.raises(DatasetError, match="line 3: 1 value for 2 columns"):
        parse(text)


@pytest.mark.parametrize("second", ["time,gpu,power", "time,watts", "Time , energy"])
def test_a_second_header_with_other_columns_is_refused(second):
    with pytest.raises(DatasetError, match="line 4: a second header, with other columns"):
        parse(f"time,power\n0,1\n1,2\n{second}\n2,3\n")


def test_a_first_line_that_begins_with_a_moment_is_no_header():
    read = parse("2026/03/05 10:00:00.123, 0, 400.00 W\n2026/03/05 10:00:01.123, 0, 60.00 W\n")
    assert not read.has_header
    assert len(read) == 2


@pytest.mark.parametrize("name", [None, "when"])
def test_moments_in_the_index_of_a_frame_are_a_column(tmp_path, name):
    moments = pd.date_range("2026-03-05", periods=3, freq="s", tz="UTC", name=name)
    pd.DataFrame({"power_w": [1.0, 2.0, 3.0]}, index=moments).to_parquet(tmp_path / "x.parquet")
    read = read_table(tmp_path / "x.parquet", DatasetError)
    assert read_moments(read, name or "timestamp").seconds.tolist() == [0, 1, 2]
