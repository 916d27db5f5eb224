"""CodeCarbon's cumulative rows, and Xu et al.: made-up files with known answers, and their own."""

import csv
import datetime
import json

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from joulelab.cli import app
from joulelab.errors import DatasetError, UsageError
from joulelab.replication.codecarbon_rows import read_emissions
from joulelab.replication.published import find_files
from joulelab.replication.xu2023 import ARCHITECTURES, data_of, replicate

START = datetime.datetime(2022, 5, 22, 22, 0, 0)
KWH = 3.6e6
INTENSITY = {"oregon": 0.139, "south-carolina": 0.286, "taipei": 0.533}
DURATIONS = [1700, 1790, 1690, 1800, 1830, 1820, 2520, 2380, 2300]
TOGETHER = [3, 6]
"""VGG16 under a run_id of its own, VGG19 and ResNet50 under one."""


def cumulative_rows(energies_kwh, durations=None, trackers=None, intensity=0.139):
    """Rows as CodeCarbon writes them, from the energy and the seconds of each training."""
    durations = durations or DURATIONS[: len(energies_kwh)]
    trackers = trackers or TOGETHER
    rows, now, training = [], START, 0
    for tracker, trainings in enumerate(trackers):
        energy = duration = 0.0
        for _ in range(trainings):
            energy += energies_kwh[training]
            duration += durations[training]
            now += datetime.timedelta(seconds=durations[training])
            rows.append(
                {
                    "timestamp": now.isoformat(),
                    "project_name": "codecarbon",
                    "run_id": f"tracker-{tracker}",
                    "duration": duration,
                    "emissions": intensity * energy,
                    "cpu_energy": 0.25 * energy,
                    "energy_consumed": energy,
                    "region": "anywhere",
                }
            )
            training += 1
    return rows


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def instruments_rows():
    return [
        {
            "dataset": "CIFAR10",
            "architecture": architecture,
            "repetition": repetition,
            "codecarbon_cpu_kwh": -0.06 if (architecture, repetition) == ("VGG16", 1) else 0.02,
            "codecarbon_energy_kwh": ratio * wall,
            "wattmeter_energy_j": wall * KWH,
        }
        for architecture, wall in (("VGG16", 1.5), ("ResNet50", 1.8))
        for repetition, ratio in ((1, 0.51), (2, 0.55), (3, 0.59))
    ]


def energies(seed):
    """Nine energies in kWh, none the same as another."""
    return [round(float(one), 6) for one in np.random.default_rng(seed).uniform(0.04, 0.1, 9)]


@pytest.fixture
def study(tmp_path):
    """Two data sets and two regions, and the energies of the trainings."""
    known = {}
    for seed, (dataset, region) in enumerate(
        [("cifar10", "oregon"), ("cifar10", "taipei"), ("mnist", "oregon")]
    ):
        known[dataset, region] = [(1 + (dataset == "mnist")) * one for one in energies(seed)]
        rows = cumulative_rows(known[dataset, region], intensity=INTENSITY[region])
        write(tmp_path / f"kaggle-{dataset}-{region}.csv", rows)
    return tmp_path, known


def cells(folder, table):
    return {
        one.published.cell: one
        for one in replicate(folder).comparisons
        if one.published.table == table
    }


def test_differences_within_a_run_id_are_the_energies_of_the_trainings(tmp_path):
    known = energies(0)
    read = read_emissions(write(tmp_path / "emissions.csv", cumulative_rows(known)))

    assert read.trainings["energy_j"].to_numpy() == pytest.approx(KWH * np.array(known))
    assert read.trainings["emissions_g"].to_numpy() == pytest.approx(139 * np.array(known))
    assert read.trainings["duration_s"].to_list() == pytest.approx(DURATIONS)
    assert read.trainings["cpu_energy_j"].to_numpy() == pytest.approx(KWH / 4 * np.array(known))
    assert read.trainings["place"].to_list() == [1, 2, 3, 1, 2, 3, 4, 5, 6]
    assert not len(read.impossible)


def test_the_trap_says_what_a_naive_reading_would_have_made_of_it(tmp_path):
    rows = cumulative_rows([0.1, 0.1, 0.2], [60, 60, 60], trackers=[2, 1])
    trap = read_emissions(write(tmp_path / "emissions.csv", rows)).trap

    assert trap.shared == {"tracker-0": 2}
    assert trap.energy_j == pytest.approx(0.4 * KWH)
    assert trap.naive_energy_j == pytest.approx(0.5 * KWH)
    assert trap.overstated == pytest.approx(1.25)
    assert "3 rows under 2 run_ids" in str(trap)
    assert "1.25 times the 1.44 MJ" in str(trap)


def test_a_tracker_of_its_own_for_each_training_is_left_as_it_stands(tmp_path):
    known = [0.05, 0.06, 0.04]
    rows = cumulative_rows(known, trackers=[1, 1, 1])
    read = read_emissions(write(tmp_path / "emissions.csv", rows))

    assert read.trap.shared == {}
    assert read.trap.overstated == 1
    assert "none of them cumulative" in str(read.trap)
    assert read.trainings["energy_j"].to_numpy() == pytest.approx(KWH * np.array(known))


def test_rows_of_one_run_id_that_each_start_anew_are_not_taken_apart(tmp_path):
    known = [0.04, 0.05, 0.06]
    rows = cumulative_rows(known, [100, 110, 120], trackers=[1, 1, 1])
    for row in rows:
        row["run_id"] = "the-same"
    read = read_emissions(write(tmp_path / "emissions.csv", rows))

    assert read.trap.shared == {}
    assert read.trainings["energy_j"].to_numpy() == pytest.approx(KWH * np.array(known))


def test_a_difference_below_zero_is_named_and_the_training_left_out(tmp_path):
    known = energies(2)
    rows = cumulative_rows(known)
    rows[4]["cpu_energy"] = rows[3]["cpu_energy"] - 0.001
    rows[7]["energy_consumed"] = rows[6]["energy_consumed"]
    read = read_emissions(write(tmp_path / "kaggle-cifar10-oregon.csv", rows))

    assert read.impossible[["run", "column"]].to_numpy().tolist() == [
        ["line 6 (tracker-1)", "cpu_energy_j"],
        ["line 9 (tracker-1)", "energy_j"],
    ]
    per_training = cells(tmp_path, "Readings per training")["energy.architecture.H"]
    assert "1 impossible training left out" in per_training.note


def test_a_tracker_that_saw_no_energy_at_all_is_named_and_divides_nothing(tmp_path):
    rows = cumulative_rows([0.0, 0.0], [60, 60], trackers=[2])
    read = read_emissions(write(tmp_path / "emissions.csv", rows))
    assert read.trap.overstated == 1
    assert read.impossible["column"].to_list() == ["emissions_g", "energy_j"] * 2


def test_version_1_calls_the_run_id_experiment_id_and_has_no_parts(tmp_path):
    rows = cumulative_rows([0.1, 0.2], [60, 60], trackers=[2])
    old = [
        {
            "timestamp": row["timestamp"],
            "experiment_id": row["run_id"],
            "duration": row["duration"],
            "emissions": row["emissions"],
            "energy_consumed": row["energy_consumed"],
        }
        for row in rows
    ]
    read = read_emissions(write(tmp_path / "emissions.csv", old))
    assert read.trainings["energy_j"].to_numpy() == pytest.approx([0.1 * KWH, 0.2 * KWH])
    assert "cpu_energy_j" not in read.trainings


@pytest.mark.parametrize("column", ["timestamp", "duration", "energy_consumed"])
def test_a_missing_column_is_named_with_the_file(tmp_path, column):
    rows = [{k: v for k, v in row.items() if k != column} for row in cumulative_rows(energies(0))]
    path = write(tmp_path / "emissions.csv", rows)
    with pytest.raises(DatasetError, match=f"emissions.csv: no column '{column}'"):
        read_emissions(path)


@pytest.mark.parametrize(
    ("column", "cell", "what"),
    [
        ("energy_consumed", "much", "'much' is not a number"),
        ("energy_consumed", "", "the value is missing"),
        ("timestamp", "yesterday or so", "neither seconds nor a date and time"),
        ("run_id", "", "the value is missing"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(tmp_path, column, cell, what):
    rows = cumulative_rows(energies(0))
    rows[2][column] = cell
    path = write(tmp_path / "emissions.csv", rows)
    with pytest.raises(DatasetError, match=f"line 4, column {column}: .*{what}"):
        read_emissions(path)


def test_the_statistics_are_those_of_the_trainings_and_beside_them_of_the_rows(study):
    folder, known = study
    per_training = np.concatenate(list(known.values()))
    rows = np.concatenate(
        [np.concatenate([np.cumsum(one[:3]), np.cumsum(one[3:])]) for one in known.values()]
    )
    intensity = np.repeat([INTENSITY[region] for _, region in known], 9)
    is_cifar = np.repeat([dataset == "cifar10" for dataset, _ in known], 9)
    for table, values in (
        ("Readings as they stand", rows),
        ("Readings per training", per_training),
    ):
        found = cells(folder, table)
        for name, of in (("energy", values), ("emissions", intensity * values)):
            by_architecture = stats.kruskal(
                *(of.reshape(3, 3, 3)[:, place].ravel() for place in range(3))
            )
            by_region = stats.kruskal(*(of[intensity == one] for one in np.unique(intensity)))
            r = stats.pointbiserialr(is_cifar, of)
            assert found[f"{name}.architecture.H"].value == pytest.approx(by_architecture.statistic)
            assert found[f"{name}.architecture.p"].value == pytest.approx(by_architecture.pvalue)
            assert found[f"{name}.region.H"].value == pytest.approx(by_region.statistic)
            assert found[f"{name}.region.p"].value == pytest.approx(by_region.pvalue)
            assert found[f"{name}.dataset.point_biserial"].value == pytest.approx(r.statistic)
        assert "of 27 trainings; the printed number is for 45" in found["energy.region.H"].note


def test_intensities_of_the_regions_that_are_there(study):
    found = cells(study[0], "Carbon intensity, kg/kWh")
    assert {cell: (one.value, one.agrees) for cell, one in found.items()} == {
        "oregon": (pytest.approx(0.139), True),
        "taipei": (pytest.approx(0.533), True),
    }


def test_mean_energies_are_of_trainings_also_the_first_after_another_architecture(study):
    folder, known = study
    found = cells(folder, "Mean energy of a training, kWh")
    for place, architecture in enumerate(ARCHITECTURES):
        of = known["cifar10", "taipei"][3 * place : 3 * place + 3]
        assert found[f"taipei.{architecture}"].value == pytest.approx(np.mean(of))
    assert "includes all of VGG19" in found["taipei.ResNet50"].note
    assert set(found) == {f"{r}.{a}" for r in ("oregon", "taipei") for a in ARCHITECTURES}


def test_one_region_and_one_data_set_leave_statistics_undefined_and_say_why(tmp_path):
    write(tmp_path / "kaggle-cifar10-oregon.csv", cumulative_rows(energies(0)))
    found = cells(tmp_path, "Readings per training")

    assert found["energy.architecture.H"].value is not None
    assert found["energy.region.H"].value is None
    assert found["energy.region.H"].agrees is None
    assert "single level" in found["energy.region.H"].note
    assert "only one data set" in found["energy.dataset.point_biserial"].note


def test_a_run_id_that_architectures_share_is_reported(study):
    remarks = replicate(study[0]).remarks
    assert any(
        "kaggle-mnist-oregon.csv: run_id tracker-1 is shared by VGG19 and ResNet50" in one
        for one in remarks
    )


def test_rows_whose_places_do_not_tell_the_architecture_are_refused(tmp_path):
    path = tmp_path / "kaggle-cifar10-oregon.csv"
    write(path, cumulative_rows(energies(0)[:8], trackers=[3, 5]))
    with pytest.raises(DatasetError, match="8 rows, not 3 architectures"):
        replicate(tmp_path)

    write(path, cumulative_rows(energies(0), trackers=[2, 7]))
    with pytest.raises(DatasetError, match=r"line 4: the run_id changes within .* of VGG16"):
        replicate(tmp_path)

    write(path, cumulative_rows(energies(0), DURATIONS[::-1]))
    with pytest.raises(DatasetError, match="at the position of ResNet50 is shorter"):
        replicate(tmp_path)


def test_a_resnet_that_is_not_the_slowest_is_doubted(tmp_path):
    path = tmp_path / "kaggle-cifar10-oregon.csv"
    durations = [*DURATIONS[:6], 1790, 1815, 1900]
    write(path, cumulative_rows(energies(0), durations, trackers=[3, 3, 3]))
    remarks = replicate(tmp_path).remarks
    assert any("their architecture is doubtful" in one for one in remarks)


def test_ratios_of_every_training_and_what_is_left_without_impossible_readings(tmp_path):
    write(tmp_path / "instruments-cifar10.csv", instruments_rows())
    found, sound = (
        cells(tmp_path, table)
        for table in ("CodeCarbon / wattmeter", "CodeCarbon / wattmeter, sound readings")
    )

    assert found["ratio.cifar10.VGG16.1"].value == pytest.approx(0.51)
    assert "codecarbon_cpu_j" in found["ratio.cifar10.VGG16.1"].note
    assert found["ratio.mean"].value == pytest.approx(0.55)
    assert sound["ratio.mean"].value == pytest.approx((0.55 * 2 + 0.51 + 0.59 * 2) / 5)
    assert "without 1 training with an impossible reading" in sound["r"].note
    logs = np.log([0.51, 0.55, 0.59] * 2)
    assert found["ratio.limit_of_agreement.upper"].value == pytest.approx(
        np.exp(logs.mean() + 1.959964 * logs.std(ddof=1))
    )
    assert found["concordance"].to_dict()["published"] is None
    assert found["concordance"].agrees is None
    remarks = replicate(tmp_path).remarks
    assert any("cifar10.VGG16.1, codecarbon_cpu_j" in one for one in remarks)


def test_a_ratio_outside_of_the_printed_range_does_not_agree(tmp_path):
    rows = instruments_rows()
    rows[0]["codecarbon_energy_kwh"] = 0.7 * 1.5
    write(tmp_path / "instruments-cifar10.csv", rows)
    found = cells(tmp_path, "CodeCarbon / wattmeter")
    assert found["ratio.cifar10.VGG16.1"].agrees is False
    assert found["ratio.cifar10.VGG16.2"].agrees is True


def test_one_training_has_a_ratio_and_no_statistics(tmp_path):
    write(tmp_path / "instruments-mnist.csv", instruments_rows()[1:2])
    found = cells(tmp_path, "CodeCarbon / wattmeter")
    assert found["ratio.mnist.VGG16.2"].value == pytest.approx(0.55)
    assert found["r"].value is None
    assert "one run: a ratio, and no statistics" in found["r"].note


def test_a_wattmeter_in_watt_hours_gives_the_same(tmp_path):
    rows = instruments_rows()
    for row in rows:
        row["wattmeter_energy_wh"] = row.pop("wattmeter_energy_j") / 3600
    write(tmp_path / "instruments-cifar10.csv", rows)
    assert cells(tmp_path, "CodeCarbon / wattmeter")["ratio.mean"].value == pytest.approx(0.55)


def test_files_without_a_column_of_the_instruments_are_refused_with_its_name(tmp_path):
    rows = instruments_rows()
    for row in rows:
        del row["codecarbon_energy_kwh"]
    write(tmp_path / "instruments-cifar10.csv", rows)
    with pytest.raises(DatasetError, match="no column 'codecarbon_energy_kwh'"):
        replicate(tmp_path)


def found_files(folder):
    return find_files(folder, ("kaggle", "instruments"), data_of, "files")


def test_names_of_files_may_be_written_in_several_ways(tmp_path):
    for name in (
        "kaggle-CIFAR-10-South_Carolina.csv",
        "kaggle_mnist_taipei city.csv",
        "instruments-MNIST.csv",
        "kaggle-imagenet-oregon.csv",
        "notes.csv",
    ):
        (tmp_path / name).touch()
    files, remarks = found_files(tmp_path)
    assert set(files) == {
        ("kaggle", "cifar10", "south-carolina"),
        ("kaggle", "mnist", "taipei"),
        ("instruments", "mnist"),
    }
    assert len(remarks) == 1
    assert "kaggle-imagenet-oregon.csv" in remarks[0]


def test_a_folder_without_the_files_or_with_one_twice_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no data of this study"):
        found_files(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        found_files(tmp_path / "nowhere")
    (tmp_path / "kaggle-mnist-oregon.csv").touch()
    (tmp_path / "kaggle-mnist_oregon.csv").touch()
    with pytest.raises(UsageError, match="the same table of mnist in oregon"):
        found_files(tmp_path)


def test_the_command_prints_every_number_as_json(study):
    write(study[0] / "instruments-cifar10.csv", instruments_rows())
    result = CliRunner().invoke(app, ["replicate", "xu2023", "--data", str(study[0]), "--json"])
    assert result.exit_code == 0
    lines = json.loads(result.stdout)
    assert {tuple(line) for line in lines} == {
        ("table", "dataset", "cell", "published", "recomputed", "agrees", "note")
    }
    keys = [(line["table"], line["dataset"], line["cell"]) for line in lines]
    assert len(set(keys)) == len(keys)
    assert {line["table"] for line in lines} == {
        "Readings as they stand",
        "Readings per training",
        "Mean energy of a training, kWh",
        "Carbon intensity, kg/kWh",
        "CodeCarbon / wattmeter",
        "CodeCarbon / wattmeter, sound readings",
    }


def test_the_published_rows_go_on_counting_and_give_the_architectures(data_dir):
    folder = data_dir / "xu2023"
    paths = sorted(folder.glob("kaggle-*.csv"))
    if not paths:
        pytest.skip(f"no published rows in {folder}")
    for path in paths:
        read = read_emissions(path)
        assert sorted(read.trap.shared.values()) == [3, 6]
        assert read.trap.overstated > 2.5
        assert not len(read.impossible)
        median = read.trainings["duration_s"].groupby(np.repeat(ARCHITECTURES, 3)).median()
        assert median.idxmax() == "ResNet50"
    assert not any("doubtful" in one for one in replicate(folder).remarks)


def test_the_published_mean_energies_agree_but_for_resnet_which_holds_vgg19(data_dir):
    if not list((data_dir / "xu2023").glob("kaggle-*.csv")):
        pytest.skip(f"no published rows in {data_dir / 'xu2023'}")
    means = [
        one
        for one in replicate(data_dir / "xu2023").comparisons
        if one.published.table == "Mean energy of a training, kWh"
    ]
    assert means
    for one in means:
        resnet = one.published.cell.endswith("ResNet50")
        assert one.agrees is not resnet, one.published.cell
        if resnet:
            assert one.value < 0.6 * one.published.value


def test_the_published_instruments(data_dir):
    folder = data_dir / "xu2023"
    if not (folder / "instruments-cifar10.csv").is_file():
        pytest.skip(f"no published instruments in {folder}")
    found = {
        (one.published.table, one.published.dataset, one.published.cell): one
        for one in replicate(folder).comparisons
    }
    ratios = [
        one
        for (table, dataset, _), one in found.items()
        if table == "CodeCarbon / wattmeter" and dataset == "cifar10"
    ]
    assert len(ratios) == 9
    assert all(one.agrees for one in ratios)
    flawed = found["CodeCarbon / wattmeter", "cifar10", "ratio.cifar10.VGG16.1"]
    assert "codecarbon_cpu_j" in flawed.note


def test_with_all_five_published_files_every_statistic_as_they_stand_agrees(data_dir):
    folder = data_dir / "xu2023"
    count = len(list(folder.glob("kaggle-*.csv")))
    if count < 5:
        pytest.skip(f"{count} of the 5 published files of rows in {folder}")
    assert all(one.agrees for one in cells(folder, "Readings as they stand").values())
    corrected = cells(folder, "Readings per training")
    assert corrected["energy.architecture.H"].value == pytest.approx(0.50, abs=0.005)
    assert corrected["emissions.region.H"].value == pytest.approx(34.9, abs=0.05)
