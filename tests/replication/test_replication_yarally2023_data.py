"""Files in other spellings are understood; files with mistakes are refused where the mistake is."""

import os

import pandas as pd
import pytest
from raw_files import architecture_rows, tuning_rows, write

from joulelab.errors import DatasetError
from joulelab.replication.yarally2023_data import CONFIGURATION, read_architecture, read_tuning
from joulelab.tabular.reader import CUT


@pytest.fixture
def architecture(tmp_path):
    return lambda rows=None, **how: write(
        tmp_path / "architecture-cifar10.csv", rows or architecture_rows(), **how
    )


@pytest.fixture
def tuning(tmp_path):
    return lambda rows=None, **how: write(
        tmp_path / "tuning-cifar10.csv", rows or tuning_rows(), **how
    )


def changed(rows, column, value, row=3):
    """The rows with one other cell; row 3 stands on line 5."""
    rows = [dict(one) for one in rows]
    rows[row][column] = value
    return rows


def refused(read, path):
    with pytest.raises(DatasetError) as caught:
        read(path)
    assert caught.value.hint
    assert str(path) in caught.value.message
    return caught.value.message.removeprefix(str(path))


@pytest.mark.parametrize(
    "how",
    [
        {"encoding": "utf-8-sig"},
        {"end": "\r\n"},
        {"delimiter": ";"},
        {"delimiter": "\t"},
        {"end": "\n\n"},
    ],
    ids=["byte order mark", "CRLF", "semicolons", "tabs", "blank lines"],
)
def test_a_file_may_be_written_in_other_ways(architecture, how):
    expected = read_architecture(architecture()).frame
    pd.testing.assert_frame_equal(read_architecture(architecture(**how)).frame, expected)


def test_names_of_columns_may_be_spelt_otherwise(architecture):
    expected = read_architecture(architecture()).frame
    rows = [
        {name.title().replace("_", " "): row[name] for name in row} for row in architecture_rows()
    ]
    pd.testing.assert_frame_equal(read_architecture(architecture(rows)).frame, expected)


@pytest.mark.parametrize(
    ("off", "on"), [("0", "4"), ("0", "1"), ("false", "TRUE"), ("off", "on"), ("0.0", "1.0")]
)
def test_relu_layers_may_be_a_number_or_a_truth_value(architecture, off, on):
    rows = [row | {"relu_layers": on if row["relu_layers"] else off} for row in architecture_rows()]
    expected = [row["relu_layers"] > 0 for row in architecture_rows()]
    assert read_architecture(architecture(rows)).frame["relu"].tolist() == expected


def test_rounds_are_hyperparameter_sets_in_order_of_first_appearance(architecture):
    rows = [row | {"beta2": 0.95} for row in architecture_rows()][::-1]
    frame = read_architecture(architecture(rows)).frame
    assert frame["round"].tolist() == [0, 0, 0, 1, 1, 1] * 8
    assert (frame.groupby(CONFIGURATION)["round"].nunique() == 2).all()


def test_accuracies_in_per_cent_become_shares_and_it_is_said(architecture, tuning):
    rows = [row | {"accuracy": 100 * row["accuracy"]} for row in architecture_rows()]
    raw = read_architecture(architecture(rows))
    assert raw.frame["accuracy"].max() == pytest.approx(0.855)
    assert raw.remarks == ("architecture-cifar10.csv: accuracies in the file are in per cent",)
    rows = [
        row | {name: 100 * row[name] for name in ("accuracy", "best_accuracy")}
        for row in tuning_rows()
    ]
    frame = read_tuning(tuning(rows)).frame
    assert frame["accuracy"].max() == frame["best_accuracy"].max() == pytest.approx(0.890025)


def test_rounds_from_1_are_the_rounds_from_0_and_it_is_said(tuning):
    expected = read_tuning(tuning()).frame["round"].tolist()
    raw = read_tuning(tuning([row | {"round": row["round"] + 1} for row in tuning_rows()]))
    assert raw.frame["round"].tolist() == expected
    assert raw.remarks == ("tuning-cifar10.csv: rounds are counted from 1 in the file",)


@pytest.mark.parametrize(
    ("column", "spelling", "name"),
    [
        ("strategy", "Bayesian", "bayesian"),
        ("strategy", "bayesian-pi", "bayesian"),
        ("strategy", "Random search", "random"),
        ("strategy", "GRID", "grid"),
        ("network", "densepolynn", "DensePolyNN"),
        ("network", "dense_linear", "DenseLinearNN"),
        ("network", "Simple CNN", "SimpleCNN"),
    ],
)
def test_strategies_and_networks_are_known_by_several_spellings(tuning, column, spelling, name):
    rows = [
        row | {column: spelling if row[column] == name else row[column]} for row in tuning_rows()
    ]
    pd.testing.assert_frame_equal(read_tuning(tuning(rows)).frame, read_tuning(tuning()).frame)


def test_what_is_not_needed_may_be_absent(tuning):
    kept = ["network", "strategy", "hyperparameters", "round", "accuracy"]
    frame = read_tuning(tuning([{name: row[name] for name in kept} for row in tuning_rows()])).frame
    assert len(frame) == 18 * 8
    assert frame[["best_accuracy", "energy_j"]].isna().all(axis=None)


@pytest.mark.parametrize("empty", ["", "NA", "nan", "-"])
def test_a_row_without_its_configuration_is_left_out_and_counted(architecture, tuning, empty):
    raw = read_architecture(architecture(changed(architecture_rows(), "conv_layers", empty)))
    assert len(raw.frame) == 47
    assert raw.remarks == ("architecture-cifar10.csv: 1 row without conv_layers left out",)
    raw = read_tuning(tuning(changed(tuning_rows(), "strategy", empty)))
    assert len(raw.frame) == 143
    assert raw.remarks == ("tuning-cifar10.csv: 1 row without strategy left out",)


def test_a_file_without_any_configuration_is_refused(architecture, tuning):
    path = architecture([row | {"relu_layers": ""} for row in architecture_rows()])
    assert refused(read_architecture, path) == (
        ": no row has a value in each of linear_layers, conv_layers and relu_layers"
    )
    path = tuning([row | {"round": "NA"} for row in tuning_rows()])
    assert refused(read_tuning, path).startswith(": no row has a value in each of network")


def test_a_row_without_a_hyperparameter_keeps_its_energy_and_has_no_round(architecture):
    raw = read_architecture(architecture(changed(architecture_rows(), "beta1", "")))
    assert raw.frame["round"].isna().sum() == 1
    assert raw.frame["energy_j"].notna().all()
    assert raw.remarks == (
        "architecture-cifar10.csv: 1 row without a hyperparameter, so the round is unknown",
    )


@pytest.mark.parametrize(
    ("column", "cell", "what"),
    [
        ("energy_j", "829,5 J", "'829,5 J' is not a number"),
        ("energy_j", "inf", "'inf' is not a number"),
        ("accuracy", "good", "'good' is not a number"),
        ("accuracy", "-0.1", "'-0.1' is not a number from 0 to 100"),
        ("accuracy", "1.7", "1.7 is above 1, but most accuracies are shares of 1"),
        ("linear_layers", "3.5", "'3.5' is not a whole number from 0"),
        ("conv_layers", "-1", "'-1' is not a whole number from 0"),
        ("relu_layers", "perhaps", "'perhaps' is not a number of layers"),
    ],
)
def test_a_wrong_cell_of_the_architecture_table_is_named(architecture, column, cell, what):
    path = architecture(changed(architecture_rows(), column, cell))
    assert refused(read_architecture, path) == f", line 5, column {column}: {what}"


@pytest.mark.parametrize(
    ("column", "cell", "what"),
    [
        ("strategy", "hyperband", "'hyperband' is not a strategy of the study"),
        ("network", "ResNet", "'ResNet' is not a network of the study"),
        ("hyperparameters", "all", "'all' is not a number"),
        ("round", "first", "'first' is not a number"),
        ("best_accuracy", "x", "'x' is not a number"),
        ("round", 0, "round 0 of this configuration has other hyperparameters on line 2"),
    ],
)
def test_a_wrong_cell_of_the_tuning_table_is_named(tuning, column, cell, what):
    path = tuning(changed(tuning_rows(), column, cell))
    assert refused(read_tuning, path).startswith(f", line 5, column {column}: {what}")


def test_lines_are_counted_as_an_editor_counts_them(architecture):
    path = architecture(changed(architecture_rows(), "energy_j", "x"), end="\n\n")
    assert refused(read_architecture, path).startswith(", line 9, column energy_j")


def test_a_missing_column_is_named_and_the_nearest_suggested(architecture):
    rows = [
        {("energy" if name == "energy_j" else name): row[name] for name in row}
        for row in architecture_rows()
    ]
    path = architecture(rows)
    with pytest.raises(DatasetError, match="did you mean 'energy'") as caught:
        read_architecture(path)
    assert caught.value.message == f"{path}: no column 'energy_j'"


def test_a_column_that_occurs_twice_is_refused(architecture):
    path = architecture()
    path.write_text(path.read_text().replace("beta2", "beta1"))
    assert refused(read_architecture, path).startswith(": the column 'beta1' occurs twice")


@pytest.mark.parametrize(
    ("line", "what"),
    [("7,4,4,0.001", "4 values for 8 columns"), ("3,1,0,1,1,1,1,1,9", "9 values for 8 columns")],
)
def test_a_line_of_another_length_is_named(architecture, line, what):
    path = architecture()
    path.write_text(path.read_text() + line + "\n")
    assert refused(read_architecture, path) == f", line 50: {what}"


def test_half_a_line_at_the_end_is_left_out_and_said(architecture):
    path = architecture()
    path.write_text(path.read_text() + "7,4,4,0.001")
    assert f"{path.name}: {CUT}" in read_architecture(path).remarks


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", " is empty"),
        (b"\n\n", " is empty"),
        (b"linear_layers,conv_layers\n", " has a header but no rows"),
        (b"\x89PNG\x00", " is neither Parquet nor text"),
        (b"PAR1\x00\x9c", " cannot be read: Parquet file size is 6 bytes"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, content, what):
    path = tmp_path / "architecture-cifar10.csv"
    path.write_bytes(content)
    assert refused(read_architecture, path).startswith(what)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    path = tmp_path / "architecture-cifar10.csv"
    path.mkdir()
    assert "cannot be read" in refused(read_architecture, path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_nobody_may_read_is_refused(architecture):
    path = architecture()
    path.chmod(0)
    assert "cannot be read" in refused(read_architecture, path)
