"""Every published number of Yarally et al., from files with known answers and from their own."""

import math
import random

import pytest
from raw_files import OPTIMA, architecture_rows, tuning_rows, write, write_pair
from scipy import stats

from joulelab.errors import UsageError
from joulelab.replication.published import Replication, find_files, printed
from joulelab.replication.yarally2023 import ARCHITECTURE, TUNING, WANTED, dataset_of, replicate
from joulelab.replication.yarally2023_architecture import recompute_architecture
from joulelab.replication.yarally2023_data import read_architecture

DATASETS = ("fashion-mnist", "cifar10")
# Blocks of ranks of 48 runs: R of the lower level is 300, 444, 516; of the upper 876, 732, 660.
H = {
    factor: 12 / (48 * 49) * (low**2 + high**2) / 24 - 3 * 49
    for factor, low, high in (
        ("conv_layers", 300, 876),
        ("linear_layers", 444, 732),
        ("relu", 516, 660),
    )
}
STD = math.sqrt(3.5)  # of 0, 1, 2, 3, 4, 5
MEANS = [
    500 + conv + linear + relu + 2.5 for conv in (0, 1e3) for linear in (0, 100) for relu in (0, 10)
]
CVS = [STD / mean for mean in MEANS]

EXPECTED = {
    ("Table I", "configurations"): 18,
    ("Table I", "rounds"): 8,
    ("Table I", "repetitions"): 4,
    ("Table I", "trainings_per_configuration"): 32,
    ("Table II", "configurations"): 8,
    ("Table II", "rounds"): 2,
    ("Table II", "repetitions"): 3,
    ("Table II", "trainings"): 48,
    ("Section IV-D", "cv.limit"): max(CVS),
    ("Section VI-A", "random_beats_grid.settings"): 4,
    ("Section VI-A", "bayesian.overtaken_by_grid.settings"): 1,
    ("Section VI-A", "bayesian.matched_by_random.settings"): 2,
    ("Section VI-A", "bayesian.mean_round"): 3.5,
    ("Section VI-A", "bayesian.outliers"): 0,
    ("Section VI-B", "cv.mean"): sum(CVS) / 8,
    ("Section VI-B", "cv.max"): max(CVS),
    ("Section VI-B", "relu.mean_increase_pct"): 100 * 10 / 1052.5,
    ("Section VI-B", "linear_layers.mean_increase_pct"): 100 * 100 / 1007.5,
    ("Section VI-B", "conv_layers.mean_increase_pct"): 100 * 1000 / 557.5,
    # Groups d places apart: z = 6 d / sqrt(48 * 49 / 12 * 2 / 6) = 0.742 d; Holm leaves the one
    # pair with d = 7, the two with 6 and the three with 5 (23 * .0002 < .05), not 4 (22 * .003).
    ("Section VI-B", "post_hoc.significant_pairs"): "6 of 28",
    ("Section VI-B", "gap.mean_accuracy_points"): 5.0,
    ("Section VI-B", "gap.max_accuracy_points"): 5.0,
    ("Section VII-B", "conv_layers.mean_increase_pct.rounded"): 100 * 1000 / 557.5,
    ("Table V", "E+.mean_energy_j"): 1557.5,
    ("Table V", "E-.mean_energy_j"): 557.5,
    ("Table V", "E+.mean_accuracy"): 0.8525,
    ("Table V", "E-.mean_accuracy"): 0.8025,
    ("Table V", "E+.max_accuracy"): 0.855,
    ("Table V", "E-.max_accuracy"): 0.805,
    # 24 accuracies of 4 x {0 ... 5} thousandths
    ("Table V", "E+.std_accuracy"): 0.001 * math.sqrt(4 * 17.5 / 23),
    ("Table V", "E-.std_accuracy"): 0.001 * math.sqrt(4 * 17.5 / 23),
    **{("Table IV", f"{factor}.H"): h for factor, h in H.items()},
    **{("Table IV", f"{factor}.p"): stats.chi2.sf(h, 1) for factor, h in H.items()},
    **{("Table IV", f"{factor}.eta_squared"): (h - 1) / 46 for factor, h in H.items()},
    **{("Table IV", f"{factor}.eta_squared_k8"): (h - 7) / 40 for factor, h in H.items()},
    ("Table IV", "conv_layers.magnitude"): "large",
    ("Table IV", "linear_layers.magnitude"): "large",
    ("Table IV", "relu.magnitude"): "small",
    **{
        ("Table III", f"{network}.{strategy}.{count}.{what}"): value
        for (network, strategy, count), pair in OPTIMA.items()
        for what, value in zip(("accuracy", "round"), pair, strict=True)
    },
}
TOGETHER = {
    ("Table I", "trainings"): 2 * 18 * 32,
    ("Table II", "trainings"): 96,
    ("Section VI-A", "bayesian.overtaken_by_grid.settings"): 2,
    ("Section VI-A", "bayesian.matched_by_random.settings"): 4,
    ("Section VI-A", "bayesian.mean_round"): 3.5,
    ("Section VI-A", "bayesian.outliers"): 0,
    ("Section VI-B", "cv.mean"): sum(CVS) / 8,
    ("Section VI-B", "cv.max"): max(CVS),
    ("Section VI-A", "runtime_h"): None,
    ("Section VI-B", "runtime_h"): None,
    ("Section VII-C", "gpu_load_pct"): None,
}


def cells(source, dataset):
    """The comparisons of a data set, by table and cell, of a folder or of what it gave."""
    replication = source if isinstance(source, Replication) else replicate(source)
    return {
        (one.published.table, one.published.cell): one
        for one in replication.comparisons
        if one.published.dataset == dataset
    }


def values(source, dataset):
    return {key: one.value for key, one in cells(source, dataset).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of both data sets."""
    folder = tmp_path_factory.mktemp("yarally2023")
    return write_pair(write_pair(folder, "fashion-mnist"), "cifar10")


@pytest.fixture(scope="module")
def both(folder):
    """What these files give."""
    return replicate(folder)


# The conclusion repeats one number, and only of Fashion-MNIST.
ONLY_FASHION = {("Section VII-B", "conv_layers.mean_increase_pct.rounded")}


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_number_of_a_data_set_is_the_one_computed_by_hand(both, dataset):
    found = values(both, dataset)
    assert set(found) == set(EXPECTED) - (ONLY_FASHION if dataset == "cifar10" else set())
    for key in found:
        expected = EXPECTED[key]
        assert found[key] == (expected if isinstance(expected, str) else pytest.approx(expected)), (
            key
        )


def test_every_number_over_both_data_sets_is_the_one_computed_by_hand(both):
    found = cells(both, "all")
    assert set(found) == set(TOGETHER)
    for key, expected in TOGETHER.items():
        assert found[key].value == (None if expected is None else pytest.approx(expected)), key
        assert found[key].agrees is None or isinstance(found[key].agrees, bool)
    unknown = [one for one in found.values() if one.value is None]
    assert all(one.agrees is None and "the raw data contain no" in one.note for one in unknown)


def test_with_both_pairs_every_printed_number_has_a_line_and_only_one(both):
    lines = [one.published for one in both.comparisons]
    assert lines == printed("yarally2023")
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("kind", ["architecture", "tuning"])
def test_one_file_alone_gives_the_numbers_of_its_experiment(tmp_path, kind):
    rows = architecture_rows() if kind == "architecture" else tuning_rows()
    write(tmp_path / f"{kind}-cifar10.csv", rows)
    lines = replicate(tmp_path).comparisons
    assert {one.published.dataset for one in lines} == {"cifar10"}
    tables = {one.published.table for one in lines}
    wanted = (
        {"Table II", "Table IV", "Table V"} if kind == "architecture" else {"Table I", "Table III"}
    )
    assert {table for table in tables if table.startswith("Table")} == wanted


def test_the_order_of_rows_and_columns_does_not_matter(both, tmp_path):
    draw = random.Random(1)
    for kind, rows in (("architecture", architecture_rows()), ("tuning", tuning_rows())):
        names = list(rows[0])
        draw.shuffle(rows)
        draw.shuffle(names)
        mixed = [{"extra": 1, **{name: row[name] for name in names}} for row in rows]
        write(tmp_path / f"{kind}-cifar10.csv", mixed)
    assert values(tmp_path, "cifar10") == pytest.approx(values(both, "cifar10"))


def test_eta_squared_that_fits_only_the_papers_k_says_so(folder):
    raw = read_architecture(folder / "architecture-cifar10.csv")
    texts = {("Table IV", f"{factor}.eta_squared"): "0.707" for factor in H}
    found = recompute_architecture(raw, texts)
    # (35.265 - 7) / 40 = 0.707 for convolutions, and nothing of the kind for linear layers
    assert found["Table IV", "conv_layers.eta_squared"].note == (
        "k is the number of levels, 2; the paper used the 8 configurations"
    )
    assert found["Table IV", "linear_layers.eta_squared"].note == ""
    assert "k = 8" in found["Table IV", "conv_layers.eta_squared_k8"].note


def test_another_number_of_rounds_than_the_papers_is_noted(both):
    one = cells(both, "cifar10")["Table II", "rounds"]
    assert one.note == (
        "the paper says 8 rounds; in the data each configuration has 2 hyperparameter sets"
    )


def test_the_papers_number_of_rounds_needs_no_note(tmp_path):
    rows = [
        row | {"beta1": row["beta1"] + step / 10}
        for row in architecture_rows()
        for step in range(4)
    ]
    write(tmp_path / "architecture-cifar10.csv", rows)
    one = cells(tmp_path, "cifar10")["Table II", "rounds"]
    assert (one.value, one.agrees, one.note) == (8, True, "")


def test_an_optimum_after_the_printed_round_says_what_was_reached_by_then(tmp_path):
    # Printed for CIFAR-10: round 4, accuracy 0.37.
    rows = tuning_rows()
    for row in rows:
        if (row["network"], row["strategy"], row["hyperparameters"]) == (
            "DenseLinearNN",
            "bayesian",
            5,
        ):
            row["accuracy"] = [0.1, 0.366, 0.2, 0.3, 0.2, 0.371, 0.3, 0.2][row["round"]]
    write(tmp_path / "tuning-cifar10.csv", rows)
    one = cells(tmp_path, "cifar10")["Table III", "DenseLinearNN.bayesian.5.round"]
    assert (one.value, one.agrees) == (6, False)
    assert one.note == (
        "the maximum, 0.371000, is first reached in round 6; by round 4 the best is 0.366000, "
        "reached in round 2, the same at the printed precision"
    )


def test_an_optimum_before_the_printed_round_says_that_it_was_not_raised(tmp_path):
    write(tmp_path / "tuning-cifar10.csv", tuning_rows(rounds=28))
    found = cells(tmp_path, "cifar10")
    # Printed: 27 and 63; planted: 5 and 8.
    raised = found["Table III", "DensePolyNN.bayesian.5.round"]
    absent = found["Table III", "DenseLinearNN.random.3.round"]
    assert raised.note.endswith("first reached in round 5; round 27 does not raise it")
    assert absent.note.endswith("the file has no round 63")


def test_a_logged_best_accuracy_that_is_not_the_running_best_is_noted(tmp_path):
    rows = tuning_rows()
    for row in rows:
        if (row["network"], row["strategy"], row["hyperparameters"], row["round"]) == (
            "SimpleCNN",
            "grid",
            3,
            2,
        ):
            row["best_accuracy"] = 0.9
    write(tmp_path / "tuning-cifar10.csv", rows)
    found = cells(tmp_path, "cifar10")
    assert found["Table III", "SimpleCNN.grid.3.accuracy"].note.endswith(
        "best_accuracy in the file is not the running best in 1 round, "
        "first in round 3: 0.900000 for 0.750025"
    )
    assert "best_accuracy" not in found["Table III", "SimpleCNN.grid.5.accuracy"].note


def test_late_bayesian_optima_are_counted_and_named(tmp_path):
    optima = OPTIMA | {("SimpleCNN", "bayesian", 5): (0.887025, 30)}
    write(tmp_path / "tuning-cifar10.csv", tuning_rows(optima, rounds=32))
    one = cells(tmp_path, "cifar10")["Section VI-A", "bayesian.outliers"]
    assert one.value == 1
    assert one.note.endswith("SimpleCNN 5 in round 30")


def test_a_search_that_is_not_in_the_file_has_no_number_but_a_reason(tmp_path):
    rows = [row for row in tuning_rows() if row["network"] != "SimpleCNN"]
    write(tmp_path / "tuning-cifar10.csv", rows)
    found = cells(tmp_path, "cifar10")
    one = found["Table III", "SimpleCNN.grid.5.round"]
    assert (one.value, one.agrees, one.note) == (None, None, "the file has no such search")
    assert found["Section VI-A", "random_beats_grid.settings"].value == 2
    assert found["Table I", "configurations"].value == 12


def test_without_a_strategy_what_compares_it_has_no_number(tmp_path):
    rows = [row for row in tuning_rows() if row["strategy"] == "grid"]
    write(tmp_path / "tuning-cifar10.csv", rows)
    found = cells(tmp_path, "cifar10")
    for cell in ("random_beats_grid.settings", "bayesian.mean_round", "bayesian.outliers"):
        one = found["Section VI-A", cell]
        assert one.value is None
        assert one.note


def test_a_factor_with_a_single_level_has_no_number_but_a_reason(tmp_path):
    rows = [row for row in architecture_rows() if row["conv_layers"] == 1]
    write(tmp_path / "architecture-cifar10.csv", rows)
    found = cells(tmp_path, "cifar10")
    for key in (
        ("Table IV", "conv_layers.H"),
        ("Table IV", "conv_layers.magnitude"),
        ("Table V", "E+.mean_energy_j"),
        ("Section VI-B", "gap.mean_accuracy_points"),
        ("Section VI-B", "conv_layers.mean_increase_pct"),
    ):
        assert found[key].value is None, key
        assert found[key].note, key
    assert found["Table IV", "linear_layers.H"].value > 0


def test_rows_without_an_energy_are_left_out_and_counted(tmp_path):
    rows = architecture_rows()
    for row in rows[:2]:
        row["energy_j"] = "n/a"
    write(tmp_path / "architecture-cifar10.csv", rows)
    found = cells(tmp_path, "cifar10")
    for key in (
        ("Table IV", "relu.H"),
        ("Table V", "E-.mean_energy_j"),
        ("Section VI-B", "cv.mean"),
    ):
        assert "2 rows without a value left out" in found[key].note, key
    # Of 557.5 x 24 the energies 500 and 501 are gone.
    mean = found["Table V", "E-.mean_energy_j"].value
    assert mean == pytest.approx((557.5 * 24 - 500 - 501) / 22)


def test_without_hyperparameters_there_are_no_rounds_but_all_else(tmp_path):
    rows = [row | {"beta1": ""} for row in architecture_rows()]
    write(tmp_path / "architecture-cifar10.csv", rows)
    found = cells(tmp_path, "cifar10")
    for cell in ("rounds", "repetitions"):
        one = found["Table II", cell]
        assert one.value is None
        assert "rounds cannot be identified" in one.note
    assert found["Table IV", "relu.H"].value == pytest.approx(H["relu"])


@pytest.mark.parametrize("column", ["energy_j", "accuracy"])
def test_without_any_value_what_needs_it_has_no_number_but_a_reason(tmp_path, column):
    for kind, rows in (("architecture", architecture_rows()), ("tuning", tuning_rows())):
        write(tmp_path / f"{kind}-cifar10.csv", [row | {column: "NA"} for row in rows])
    found = cells(tmp_path, "cifar10")
    needs = {
        "energy_j": [("Table IV", "relu.H"), ("Table V", "E+.mean_energy_j")],
        "accuracy": [("Table III", "SimpleCNN.grid.5.round"), ("Table V", "E+.max_accuracy")],
    }
    for key in needs[column]:
        assert (found[key].value, found[key].agrees) == (None, None)
        assert found[key].note


def test_accuracies_that_are_rounded_do_not_tell_the_repetitions(tmp_path):
    rows = [row | {"accuracy": round(row["accuracy"], 3)} for row in tuning_rows()]
    write(tmp_path / "tuning-cifar10.csv", rows)
    one = cells(tmp_path, "cifar10")["Table I", "trainings_per_configuration"]
    assert (one.value, one.agrees) == (None, None)
    assert "do not show" in one.note


def test_a_row_a_repetition_is_averaged(tmp_path, both):
    rows = [
        row | {"accuracy": row["accuracy"] + step}
        for row in tuning_rows()
        for step in (-0.01, 0.01)
    ]
    write(tmp_path / "tuning-cifar10.csv", rows)
    alone = replicate(tmp_path)
    found, single = values(alone, "cifar10"), values(both, "cifar10")
    for key in single:
        if key[0] == "Table III":
            assert found[key] == pytest.approx(single[key]), key
    assert found["Table I", "repetitions"] == 2
    assert any("treated as its repetitions" in remark for remark in alone.remarks)


@pytest.mark.parametrize("name", ["CIFAR-10", "Cifar_10", "cifar10"])
def test_a_data_set_is_known_by_its_letters(tmp_path, name):
    write(tmp_path / f"Architecture-{name}.CSV", architecture_rows()[:1])
    files, _ = find_files(tmp_path, (ARCHITECTURE, TUNING), dataset_of, WANTED)
    assert list(files) == [(ARCHITECTURE, "cifar10")]


def test_a_data_set_the_paper_does_not_have_is_left_out_and_named(tmp_path):
    for name in ("mnist", "cifar10"):
        write(tmp_path / f"tuning-{name}.csv", tuning_rows())
    assert replicate(tmp_path).remarks == (
        "tuning-mnist.csv is left out: the paper has no data set 'mnist'",
    )


def test_a_folder_without_the_files_names_what_was_looked_for(tmp_path):
    with pytest.raises(UsageError) as caught:
        replicate(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "architecture-DATASET.csv and tuning-DATASET.csv" in caught.value.hint
    assert "fashion-mnist or cifar10" in caught.value.hint


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        replicate(tmp_path / "nowhere")


def test_the_same_table_twice_is_wrong_usage(tmp_path):
    for name in ("cifar10", "cifar-10"):
        write(tmp_path / f"tuning-{name}.csv", tuning_rows())
    with pytest.raises(UsageError, match="the same table of cifar10"):
        replicate(tmp_path)


# What the published Fashion-MNIST data do not give as printed, and why.
DIFFER = {
    ("Table II", "rounds"): "16 hyperparameter sets",
    ("Table II", "trainings"): "3,072 for both data sets",
    ("Table III", "DenseLinearNN.grid.3.round"): "round 52; round 54 does not raise it",
    ("Table III", "DenseLinearNN.bayesian.3.round"): "round 48; by round 47 the best is 0.845250",
    ("Table IV", "linear_layers.eta_squared"): "number of levels, 2",
    ("Table IV", "conv_layers.eta_squared"): "number of levels, 2",
    ("Table IV", "relu.eta_squared"): "number of levels, 2",
    ("Section IV-D", "cv.limit"): "the paper's own maximum is 0.018",
    ("Section VI-A", "bayesian.matched_by_random.settings"): "does not define near",
    ("Section VI-A", "bayesian.mean_round"): "over both data sets",
    ("Section VI-A", "bayesian.outliers"): "does not say how far",
    ("Section VI-B", "cv.mean"): "over both data sets",
    ("Section VI-B", "cv.max"): "over both data sets",
}


def test_the_authors_own_data_give_what_is_printed_but_for_what_is_known(data_dir):
    folder = data_dir / "yarally2023"
    if not (folder / "architecture-fashion-mnist.csv").is_file():
        pytest.skip(f"no published measurements in {folder}")
    found = cells(folder, "fashion-mnist")
    assert len(found) == 82
    assert {key for key, one in found.items() if one.agrees is not True} == set(DIFFER)
    for key, reason in DIFFER.items():
        assert reason in found[key].note, key
    for cell in ("DensePolyNN.random.5.accuracy", "SimpleCNN.bayesian.3.accuracy"):
        assert "truncated, not rounded" in found["Table III", cell].note
    assert found["Table III", "DenseLinearNN.grid.3.round"].value == 52
    assert found["Table III", "DenseLinearNN.bayesian.3.round"].value == 48
    assert found["Table IV", "conv_layers.eta_squared"].value == pytest.approx(0.7499, abs=5e-5)
    assert found["Table I", "repetitions"].value == 8
