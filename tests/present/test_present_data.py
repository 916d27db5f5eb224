"""Tables and views for programs: unrounded, and nothing that JSON does not have."""

import json

import numpy as np
import pandas as pd

from joulelab.present import Column, Omitted, Section, Table, View, data, words

ROWS = [{"name": "a", "j": 1234567.000125}, {"name": "b", "j": float("nan")}]
COLUMNS = [words("name", form=str), Column("j")]
TABLE = Table(ROWS, COLUMNS, key="energy", title="Energy")


def test_numbers_are_not_rounded_and_what_is_not_finite_is_null():
    for rows in (ROWS, pd.DataFrame(ROWS)):
        found = data.rows_data(Table(rows, COLUMNS))
        assert found == [{"name": "a", "j": 1234567.000125}, {"name": "b", "j": None}]
    assert data.plain({1: (float("inf"), [-float("inf"), 2])}) == {"1": [None, [None, 2]]}


def test_scalars_of_numpy_and_other_objects_are_plain():
    row = {
        "i": np.int64(3),
        "f": np.float64("nan"),
        "b": np.bool_(True),
        "at": pd.Timestamp("2020-01-01"),
        "no": [pd.NaT, pd.NA],
        "c": 1 + 2j,
    }
    plain = {"i": 3, "f": None, "b": True, "at": "2020-01-01T00:00:00", "no": [None, None]}
    (found,) = data.rows_data(Table([row], []))
    assert json.loads(data.to_json(found)) == {**plain, "c": "(1+2j)"}
    (found,) = data.rows_data(Table(pd.DataFrame([{"i": 1, "c": {1, 2}}]), []))
    assert json.loads(data.to_json(found))["i"] == 1


def test_columns_that_nobody_sees_are_in_the_data_and_what_is_only_shown_is_not():
    table = Table([{"a": 1, "hidden": 2}], [Column("a", form=str)], shown=[{"a": "one"}])
    assert data.rows_data(table) == [{"a": 1, "hidden": 2}]


def test_tables_are_by_their_keys_and_what_is_left_out_says_why():
    made = [TABLE, Omitted("flops", "FLOPs", "they are unknown.")]
    assert data.tables_data(made) == {
        "energy": {"title": "Energy", "rows": data.rows_data(TABLE)},
        "flops": {"title": "FLOPs", "omitted": "they are unknown."},
    }


def test_a_view_has_its_version_first_and_its_tables_where_it_says_nothing_else():
    view = View(["said", Section("Inner", [TABLE, Table(ROWS, COLUMNS)])])
    found = data.view_data(view)
    assert list(found) == ["schema_version", "tables"]
    assert found["schema_version"] == data.SCHEMA_VERSION
    assert list(found["tables"]) == ["energy"], "one without a key is for people alone"


def test_data_of_a_view_may_be_made_when_they_are_asked_for():
    made = []
    view = View(["said"], lambda: made.append(1) or {"j": float("nan")})
    assert made == []
    assert data.view_data(view) == {"schema_version": 1, "j": None}
    assert data.view_data(View([], {"j": 2.0})) == {"schema_version": 1, "j": 2.0}


def test_json_is_indented_and_csv_has_a_line_of_headings():
    text = data.to_json({"a": [1]})
    assert json.loads(text) == {"a": [1]}
    assert len(text.splitlines()) == 5
    assert data.to_csv(ROWS).splitlines() == ["name,j", "a,1234567.000125", "b,"]
