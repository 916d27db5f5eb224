"""Anybody's table of runs: what becomes a factor, a round, a missing value, and what is refused."""

import itertools

import numpy as np
import pandas as pd
import pytest

from joulelab.errors import DatasetError, JoulelabError, UsageError
from joulelab.replication.runs_table import read_runs
from joulelab.report.experiment import experiment_of_table


@pytest.fixture
def table(tmp_path):
    """Writes a CSV file from rows or from text."""

    def write(rows, name="runs.csv", **settings):
        path = tmp_path / name
        if isinstance(rows, str):
            path.write_text(rows)
        else:
            pd.DataFrame(rows).to_csv(path, index=False, **settings)
        return path

    return write


def trainings(width=(1, 2), sets=((0.1, 0.9), (0.2, 0.8)), repetitions=2):
    """A row a training: a factor, hyperparameters, energy and accuracy."""
    return [
        {
            "width": w,
            "learning_rate": a,
            "beta1": b,
            "energy_j": 100.0 * number + repetition + 1,
            "accuracy": 0.8,
        }
        for number, (w, (a, b), repetition) in enumerate(
            itertools.product(width, sets, range(repetitions))
        )
    ]


def searched(rounds=3):
    return [
        {"strategy": s, "network": n, "round": r, "accuracy": 0.5 + 0.1 * r, "energy_j": 5.0}
        for s in ("grid", "random")
        for n in ("CNN", "MLP")
        for r in range(rounds)
    ]


def test_columns_that_are_nothing_else_are_the_factors(table):
    rows = [
        row | {"repetition": 1, "configuration": "a", "duration_s": 2, "flops": 3, "pooling": "max"}
        for row in trainings()
    ]
    rows[0]["pooling"] = "mean"
    found = read_runs(table(rows), "architecture")
    assert found.factors == ("width", "pooling")
    assert found.energy == "energy_j"
    assert found.remarks == ()
    assert list(found.frame["duration_s"]) == [2.0] * 8


def test_with_factors_named_only_these_are(table):
    rows = [row | {"pooling": "max" if n % 2 else "mean"} for n, row in enumerate(trainings())]
    assert read_runs(table(rows), "architecture", ["Pooling", "pooling"]).factors == ("pooling",)


def test_a_hyperparameter_that_is_named_is_a_factor_and_makes_no_rounds(table):
    found = read_runs(table(trainings()), "architecture", ["width", "learning_rate"])
    assert found.factors == ("width", "learning_rate")
    assert list(found.frame["learning_rate"][:4]) == [0.1, 0.1, 0.2, 0.2]
    # What is left tells the rounds: one set of beta1 a configuration.
    assert set(found.frame["round"]) == {0}


@pytest.mark.parametrize("name", ["accuracy", "round", "energy_j"])
def test_what_is_measured_is_no_factor(table, name):
    path = table([row | {"round": 0} for row in trainings()])
    with pytest.raises(UsageError, match="is not a factor"):
        read_runs(path, "architecture", [name])


def test_a_factor_that_is_not_there_is_wrong_usage_and_the_nearest_is_suggested(table):
    with pytest.raises(UsageError) as caught:
        read_runs(table(trainings()), "architecture", ["widht"])
    assert "has no column 'widht'" in caught.value.message
    assert "did you mean 'width'?" in caught.value.hint


def test_levels_are_numbers_truth_values_or_words(table):
    path = table(
        "width,relu,dropout,network,energy_j,accuracy\n"
        "1.0,true,0.5,SimpleCNN,10,0.8\n"
        "2,FALSE,0.25,none,11,0.8\n"
        "1e1,True,0,007,12,0.8\n"
    )
    frame = read_runs(path, "architecture").frame
    assert list(frame["width"]) == [1, 2, 10]
    assert list(frame["relu"]) == [True, False, True]
    assert list(frame["dropout"]) == [0.5, 0.25, 0]
    assert list(frame["network"]) == ["SimpleCNN", "none", 7]


@pytest.mark.parametrize("missing", ["", "-", "NA", "n/a", "NaN", "null"])
def test_rows_without_a_level_are_left_out_and_counted(table, missing):
    rows = trainings()
    rows[3]["width"] = missing
    found = read_runs(table(rows), "architecture")
    assert len(found.frame) == 7
    assert set(found.frame["width"]) == {1, 2}
    assert found.remarks == ("1 row without a level of every factor left out.",)


def test_an_empty_column_is_no_factor(table):
    found = read_runs(table([row | {"error": ""} for row in trainings()]), "architecture")
    assert found.factors == ("width",)
    assert len(found.frame) == 8


def test_columns_with_many_numbers_or_a_name_for_every_row_are_left_alone_and_named(table):
    rows = trainings(repetitions=6)
    rows = [row | {"seed": 17 * n, "id": f"run-{n}"} for n, row in enumerate(rows)]
    found = read_runs(table(rows), "architecture")
    assert found.factors == ("width",)
    assert found.remarks == (
        "Not treated as factors: seed (24 different values) and id (24 different values); "
        "--factor overrides this.",
    )
    assert read_runs(table(rows), "architecture", ["id"]).factors == ("id",)
    few = read_runs(table(rows[:20]), "architecture")
    assert few.factors == ("width", "id"), "20 different words may be levels"
    assert few.remarks == ("Treated as results: seed; --factor overrides this.",)


def test_a_factor_with_one_level_is_said_to_be_without_effect(table):
    found = read_runs(table([row | {"pooling": "max"} for row in trainings()]), "architecture")
    assert found.remarks == ("Constant, so without effect: pooling.",)
    alone = read_runs(table(trainings(width=[1])), "architecture")
    assert alone.remarks == ("Constant, so without effect: width.",)


def test_a_table_without_a_factor_is_wrong_usage(table):
    rows = [{k: v for k, v in row.items() if k != "width"} for row in trainings()]
    with pytest.raises(UsageError, match=r"no column of .* is a factor"):
        read_runs(table(rows), "architecture")


# The number of ReLU layers.


def with_relu_layers(*cells):
    return [row | {"relu_layers": c} for row, c in zip(trainings(), cells, strict=True)]


def test_a_number_of_relu_layers_that_may_be_0_becomes_off_and_on(table):
    found = read_runs(table(with_relu_layers(0, 2, 5, 0, 0, 2, 5, "")), "architecture")
    assert found.factors == ("width", "relu")
    assert list(found.frame["relu"]) == [False, True, True, False, False, True, True]
    assert "1 row without a level of every factor left out." in found.remarks


@pytest.mark.parametrize("cells", [[1, 2] * 4, [0] * 8, [0, "many"] * 4])
def test_relu_layers_stay_what_they_are_where_none_or_all_are_0_or_some_are_words(table, cells):
    assert "relu_layers" in read_runs(table(with_relu_layers(*cells)), "architecture").factors


def test_relu_layers_stay_where_there_is_a_column_relu(table):
    rows = [row | {"relu": bool(row["relu_layers"])} for row in with_relu_layers(*[0, 2] * 4)]
    assert read_runs(table(rows), "architecture").factors == ("width", "relu_layers", "relu")


# Rounds.


def rounds_of(found):
    return found.frame.groupby("width", sort=False)["round"].apply(list).tolist()


def test_the_same_hyperparameters_are_a_round_in_the_order_of_their_first_appearance(table):
    assert rounds_of(read_runs(table(trainings()), "architecture")) == [[0, 0, 1, 1]] * 2


def test_the_same_sets_in_another_order_are_the_same_rounds(table):
    rows = trainings()
    turned = [*rows[:4], *rows[6:], *rows[4:6]]
    assert rounds_of(read_runs(table(turned), "architecture")) == [[0, 0, 1, 1], [1, 1, 0, 0]]


def test_configurations_with_sets_of_their_own_count_their_rounds_themselves(table):
    rows = trainings()
    for row in rows[4:]:
        row["learning_rate"] += 0.5
    assert rounds_of(read_runs(table(rows), "architecture")) == [[0, 0, 1, 1]] * 2


def test_without_hyperparameters_all_rows_are_one_round(table):
    rows = [
        {k: v for k, v in row.items() if k not in {"learning_rate", "beta1"}} for row in trainings()
    ]
    assert rounds_of(read_runs(table(rows), "architecture")) == [[0] * 4] * 2
    empty = [row | {"learning_rate": "", "beta1": "NA"} for row in trainings()]
    assert rounds_of(read_runs(table(empty), "architecture")) == [[0] * 4] * 2


@pytest.mark.parametrize("first", [0, 1])
def test_rounds_count_from_0_or_from_1_in_the_file(table, first):
    rows = [row | {"round": row["round"] + first} for row in searched()]
    assert set(read_runs(table(rows), "tuning").frame["round"]) == {0, 1, 2}


def test_a_row_without_a_round_is_left_out_and_counted(table):
    rows = searched()
    rows[0]["round"] = ""
    found = read_runs(table(rows), "tuning")
    assert len(found.frame) == 11
    assert found.remarks == ("1 row without a round left out.",)


# Searches.


def test_the_strategy_is_a_factor_of_a_search_also_where_others_are_named(table):
    assert read_runs(table(searched()), "tuning").factors == ("strategy", "network")
    assert read_runs(table(searched()), "tuning", ["network"]).factors == ("strategy", "network")


def test_a_search_needs_no_energy(table):
    rows = [{k: v for k, v in row.items() if k != "energy_j"} for row in searched()]
    assert read_runs(table(rows), "tuning").energy is None


# Energy and accuracy.


def test_the_first_energy_that_is_there_counts_unless_one_is_named(table):
    rows = [row | {"energy_gross_j": 1.0, "Joules used": 2.0} for row in trainings()]
    found = read_runs(table(rows), "architecture", ["width"])
    assert found.energy == "energy_j"
    named = read_runs(table(rows), "architecture", ["width"], "Joules used")
    assert named.energy == "joules_used"
    assert set(named.frame["joules_used"]) == {2.0}
    by_itself = read_runs(table(rows), "architecture", [], "joules-used")
    assert by_itself.factors == ("width",)


def test_without_an_energy_an_architecture_cannot_be_analysed(table):
    rows = [{k: v for k, v in row.items() if k != "energy_j"} for row in trainings()]
    with pytest.raises(UsageError, match="no column with an energy") as caught:
        read_runs(table(rows), "architecture")
    assert "--energy" in caught.value.hint
    with pytest.raises(UsageError, match="no column 'watts'"):
        read_runs(table(rows), "architecture", [], "watts")


def test_missing_energies_and_accuracies_stay_missing_and_are_counted(table):
    rows = trainings()
    rows[0]["energy_j"], rows[1]["energy_j"], rows[2]["accuracy"] = "", "n/a", "-"
    found = read_runs(table(rows), "architecture")
    assert len(found.frame) == 8
    assert np.isnan(found.frame["energy_j"][:2]).all()
    assert np.isnan(found.frame["accuracy"][2])
    assert found.remarks == (
        "1 row without accuracy left out where it is needed.",
        "2 rows without energy_j left out where it is needed.",
    )


def test_accuracies_of_which_most_are_above_1_are_in_per_cent(table):
    rows = [row | {"accuracy": 0.9 if n == 0 else 85.5} for n, row in enumerate(trainings())]
    found = read_runs(table(rows), "architecture")
    assert found.frame["accuracy"].tolist() == pytest.approx([0.009, *[0.855] * 7])
    assert found.remarks == ("Accuracies in the file are assumed to be in per cent.",)


def test_one_accuracy_above_1_is_a_mistake_with_its_line(table):
    rows = trainings()
    rows[2]["accuracy"] = 8.7
    with pytest.raises(DatasetError, match="line 4, column accuracy: above 1"):
        read_runs(table(rows), "architecture")


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("energy_j", "about 5", "line 3, column energy_j: 'about 5' is not a number"),
        ("accuracy", "-0.1", "line 3, column accuracy: '-0.1' is not a number from 0 to 100"),
        ("learning_rate", "small", "line 3, column learning_rate: 'small' is not a number"),
        ("round", "-1", "line 3, column round: '-1' is not a whole number from 0"),
        ("round", "1.5", "line 3, column round: '1.5' is not a whole number from 0"),
    ],
)
def test_a_cell_that_is_not_what_it_should_be_is_named(table, column, cell, said):
    rows = [row | {"round": 0} for row in trainings()]
    rows[1][column] = cell
    with pytest.raises(DatasetError) as caught:
        read_runs(table(rows), "architecture")
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("width,energy_j,accuracy\n", "has a header but no rows"),
        ("width,energy_j\n1,2\n", "no column 'accuracy'"),
        ("width,energy_j,accuracy\n1,2\n3,4,1\n", "line 2: 2 values for 3 columns"),
        ("width,width,energy_j,accuracy\n1,3,2,0.5\n", "the column 'width' occurs twice"),
    ],
)
def test_a_file_that_is_no_table_of_runs_is_refused(table, text, said):
    with pytest.raises(DatasetError) as caught:
        read_runs(table(text), "architecture")
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DatasetError, match="does not exist") as caught:
        read_runs(tmp_path / "nowhere.csv", "architecture")
    assert "file" in caught.value.hint


def test_a_search_needs_strategy_and_round(table):
    with pytest.raises(DatasetError, match="no column 'strategy'"):
        read_runs(table(trainings()), "tuning")


def test_no_complete_row_is_said_with_the_reasons(table):
    rows = [row | {"depth": "" if row["width"] == 1 else 3} for row in trainings()]
    for row in rows[4:]:
        row["width"] = ""
    with pytest.raises(UsageError) as caught:
        read_runs(table(rows), "architecture")
    assert "8 rows without a level of every factor left out" in caught.value.message


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_and_names_are_understood(table, separator):
    text = "Conv Layers,Energy-J,ACCURACY\n1,10,0.8\n4,20,0.9\n".replace(",", separator)
    found = read_runs(table(text), "architecture")
    assert found.factors == ("conv_layers",)
    assert found.frame["energy_j"].tolist() == [10.0, 20.0]


def test_groups_of_unequal_size_are_kept_whole(table):
    rows = [*trainings(width=(1, 2, 3)), *trainings(width=[2], repetitions=5)]
    found = read_runs(table(rows), "architecture")
    assert found.frame["width"].value_counts().to_dict() == {2: 14, 1: 4, 3: 4}


# Tables of other programs.

RUN_TABLE = """\
__run_id,__done,quantization,task,batch_size,Inference Time,CPU Energy,Accuracy,Memory Usage
run_0_repetition_0,DONE,awq,SA,8,1660.3,537.9,0.81,7197.25
run_0_repetition_1,DONE,awq,SA,8,1647.8,396.3,0.71,7197.25
run_1_repetition_0,DONE,awq,NLI,16,1656.0,482.8,0.71,7197.25
run_1_repetition_1,DONE,awq,NLI,16,1602.2,-32.9,0.80,7197.25
run_2_repetition_0,DONE,fp16,SA,8,1597.9,inf,0.70,7213.25
run_2_repetition_1,DONE,fp16,SA,8,1607.4,0,0.70,7213.25
run_3_repetition_0,DONE,fp16,NLI,16,4305.1,468.2,0.76,7213.25
run_3_repetition_1,TODO,fp16,NLI,16,,,,
"""


def test_a_run_table_of_experiment_runner_has_factors_and_results_and_unfinished_runs(table):
    found = read_runs(table(RUN_TABLE), "architecture", energy="CPU Energy")
    assert found.factors == ("quantization", "task", "batch_size")
    assert len(found.frame) == 7
    assert found.remarks == (
        "1 unfinished run left out (__done is not DONE).",
        "CPU Energy is assumed to be in joules; --unit overrides this.",
        "Treated as results: inference_time and memory_usage; --factor overrides this.",
    )
    with pytest.raises(UsageError, match=r"no row of .* is DONE"):
        read_runs(table(RUN_TABLE.replace("DONE", "TODO")), "architecture", energy="CPU Energy")


def test_sizes_that_come_once_each_are_levels_where_nothing_else_is_set(table):
    rows = "".join(f"A,{2**n},{n + 1}.5,0.9\n" for n in range(9))
    found = read_runs(table(f"model,batch_size,energy_j,accuracy\n{rows}"), "architecture")
    assert found.factors == ("model", "batch_size")


def test_energies_that_cannot_be_are_left_out_of_every_statistic_and_said(table):
    found = read_runs(table(RUN_TABLE), "architecture", ["quantization"], "CPU Energy")
    made = experiment_of_table(
        found.frame, name="a", kind="architecture", dataset="x", factors=found.factors,
        energy=found.energy, remarks=found.remarks,
    )  # fmt: skip
    known = made.measured["cpu_energy"].dropna()
    assert sorted(known) == [396.3, 468.2, 482.8, 537.9]
    (said,) = [remark for remark in made.energy.remarks if "impossible" in remark]
    assert said.startswith("3 impossible energies: quantization=awq")


@pytest.mark.parametrize(
    ("heading", "unit", "joules"),
    [
        ("energy_j", None, 12.5),
        ("energy_kwh", None, 12.5 * 3.6e6),
        ("Energy (Wh)", None, 12.5 * 3600),
        ("energy [kJ]", None, 12.5e3),
        ("energy (mJ)", None, 12.5e-3),
        ("energy (MJ)", None, 12.5e6),
        ("energy (joules)", None, 12.5),
        ("energy", "kWh", 12.5 * 3.6e6),
        ("energy", "mJ", 12.5e-3),
        ("energy_mj", "MJ", 12.5e6),
        ("pkg_energy_uj", None, 12.5e-6),
        ("energy (\N{MICRO SIGN}J)", None, 12.5e-6),
        ("Energy consumption (J)", None, 12.5),
        ("energy_consumed;emissions", None, 12.5 * 3.6e6),
    ],
)
def test_an_energy_may_be_in_any_unit(table, heading, unit, joules):
    more = ";1" * heading.count(";")
    text = f"model;{heading};accuracy\nA;12,5{more};0,91\nB;12,5{more};0,92\n"
    named = "energy_consumed" if more else None
    found = read_runs(table(text), "architecture", energy=named, unit=unit)
    assert found.factors[0] == "model"
    assert not [name for name in found.factors if "energy" in name]
    assert found.frame[found.energy].tolist() == pytest.approx([joules] * 2)
    assert found.frame["accuracy"].tolist() == [0.91, 0.92]


@pytest.mark.parametrize(
    ("heading", "unit", "said"),
    [
        ("energy_mj", None, "its unit may be mJ or MJ"),
        ("energy_mwh", None, "its unit may be mWh or MWh"),
        ("energy (BTU)", None, "'BTU' is not a unit of energy"),
        ("energy_wh,gpu_energy_wh", None, "several columns with an energy"),
        ("energy_j,Energy-J", None, "have the same name"),
        ("energy_kwh", "kJ", "--unit kJ, and the column 'energy_kwh' says kWh"),
    ],
)
def test_a_unit_that_cannot_be_told_is_refused(table, heading, unit, said):
    more = ",1" * heading.count(",")
    text = f"model,{heading},accuracy\nA,12.5{more},0.91\nB,20.5{more},0.92\n"
    with pytest.raises(JoulelabError) as caught:
        read_runs(table(text), "architecture", unit=unit)
    assert said in caught.value.message


# An export of joulelab.


def test_only_finished_runs_of_an_export_count(table):
    states = ["finished"] * 5 + ["failed", "planned", "running"]
    rows = [row | {"state": s} for row, s in zip(trainings(), states, strict=True)]
    found = read_runs(table(rows), "architecture", ["width"])
    assert len(found.frame) == 5
    assert found.remarks[0] == "3 runs that did not finish left out."


def test_a_state_that_is_not_one_of_a_run_is_a_factor(table):
    rows = [row | {"state": "Iowa" if n % 2 else "Ohio"} for n, row in enumerate(trainings())]
    found = read_runs(table(rows), "architecture")
    assert found.factors == ("width", "state")
    assert len(found.frame) == 8


def test_runs_that_were_measured_together_are_known_as_such(table):
    rows = [row | {"group_size": 2, "started_at": n // 2} for n, row in enumerate(trainings())]
    found = read_runs(table(rows), "architecture")
    assert found.factors == ("width",)
    assert list(found.frame["group_size"]) == [2.0] * 8
    assert found.frame["started_at"].nunique() == 4


def exported(rows):
    head = "run_id,position,block,experiment,kind,configuration,strategy,relu,round,state,accuracy"
    return "\n".join([f"{head},energy_net_j", *rows, ""])


def test_the_factors_of_an_export_are_known_and_rows_of_another_kind_are_left_out(tmp_path):
    file = tmp_path / "runs.csv"
    layers = [
        f"l/{relu}/{n},{n},0,layers,architecture,{relu},,{relu},{n},finished,0.{8 + relu},{n}.5"
        for relu in (0, 1)
        for n in range(3)
    ]
    search = ["t/0,9,1,tuning,tuning,grid,grid,,0,finished,0.5,7.0"]
    file.write_text(exported([*layers, *search]))
    found = read_runs(file, "architecture")
    assert (found.factors, found.energy, len(found.frame)) == (("relu",), "energy_net_j", 6)
    assert found.remarks == ("1 run of another kind of experiment left out.",)
    of_search = read_runs(file, "tuning")
    assert (of_search.factors[0], len(of_search.frame)) == ("strategy", 1)


def test_an_export_without_runs_of_that_kind_is_wrong_usage(tmp_path):
    file = tmp_path / "runs.csv"
    file.write_text(exported(["t/0,9,1,tuning,tuning,grid,grid,,0,finished,0.5,7.0"]))
    with pytest.raises(UsageError, match="no run of kind 'architecture'"):
        read_runs(file, "architecture")
