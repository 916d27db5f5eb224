"""Energy booked at places: what counts as one measurement, and thousands of runs."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
from joulelab.report.place_tables import co2e_table, effect_table
from joulelab.report.tables import Omitted
from tiny_study import layers_only, tiny

from joulelab.energy.carbon.intensity import Intensity, IntensitySeries
from joulelab.errors import UsageError
from joulelab.report.experiment import EnergyBasis, Experiment, experiments
from joulelab.report.places import Place, book, known_places, named_places
from joulelab.study.results import Results

NOON = 1714564800.0  # 2024-05-01T12:00Z
KWH = 3.6e6
HERE = Place("Here", Intensity(100.0, "Here", "test"))
THERE = Place("There", Intensity(400.0, "There", "test"))


def experiment(**columns):
    runs = pd.DataFrame(columns)
    defaults = {"started_at": NOON, "duration_s": 3600.0, "group_size": 1}
    for name, value in {**defaults, "energy_status": "measured"}.items():
        if name not in runs:
            runs[name] = value
    energy = EnergyBasis("energy_gross_j", "measured", ())
    return Experiment("made up", "kind", "", (), runs, len(runs), 0, "mean", energy)


def test_runs_trained_together_are_one_measurement():
    together = experiment(
        configuration=["a", "a", "a", "b"],
        started_at=[NOON, NOON, NOON + 60, NOON],
        group_size=[2, 2, 1, 1],
        energy_gross_j=[KWH, KWH, 4 * KWH, KWH],
    )
    booked = book(together, [HERE], 1.0, "configuration")
    assert booked.levels == ("a", "a", "b")
    assert list(booked.grams[:, 0]) == pytest.approx([100, 400, 100])
    assert "4 became 3" in booked.remarks[0]


def test_a_mean_is_unknown_where_one_of_its_runs_is_and_only_there():
    series = Place("grid", IntensitySeries((NOON, NOON + 3600), (100.0, 200.0), "x", "x.csv"))
    runs = experiment(
        configuration=["a", "a", "b"],
        started_at=[NOON, NOON + 9e5, NOON + 1800],
        energy_gross_j=[KWH] * 3,
    )
    booked = book(runs, [series], 1.0, "configuration")
    first, second = co2e_table(booked).raw.to_dict("records")
    assert np.isnan(first["co2e_g"])
    assert "no intensity" in first["reason"]
    assert second["co2e_g"] == pytest.approx(150), "half in each hour"


def test_configurations_with_one_run_each_have_no_interval_and_that_is_said():
    runs = experiment(configuration=["a", "b"], energy_gross_j=[KWH, 2 * KWH])
    booked = book(runs, [HERE, THERE], 1.0, "configuration")
    assert co2e_table(booked).shown["95 % interval"].unique() == ["no interval"]
    effects = effect_table(booked)
    assert list(effects.raw["eta_squared"]) == pytest.approx([0.8, 0.2, 0])
    assert "Each configuration has one run" in effects.note


def test_a_place_of_0_g_is_shown_and_left_out_of_the_shares():
    none = Place("0 g/kWh", Intensity(0.0, "", "test"))
    runs = experiment(configuration=["a", "b"], energy_gross_j=[KWH, 2 * KWH])
    booked = book(runs, [none, HERE, THERE], 1.0, "configuration")
    assert co2e_table(booked).raw["co2e_g"].iloc[0] == 0
    assert "unknown or 0: 0 g/kWh." in effect_table(booked).note


def test_an_experiment_without_runs_is_left_out_with_a_reason():
    empty = experiment(configuration=[], energy_gross_j=[])
    booked = book(empty, [HERE, THERE], 1.0, "configuration")
    assert booked.status == "missing"
    for table in (co2e_table(booked), effect_table(booked)):
        assert isinstance(table, Omitted)
        assert "energy above 0" in table.reason


def test_two_files_of_one_name_cannot_be_told_apart(tmp_path):
    paths = [tmp_path / name / "grid.csv" for name in ("one", "other")]
    for path in paths:
        path.parent.mkdir()
        path.write_text("time,g_per_kwh\n2024-05-01T12:00Z,1\n2024-05-01T13:00Z,2\n")
    with pytest.raises(UsageError, match=r"grid\.csv is named twice"):
        named_places(list(map(str, paths)))


@pytest.mark.parametrize("file", ["grid.csv", "grid.json", "grid.csv?timezone=UTC"])
def test_a_file_that_a_stranger_has_named_is_not_read(file, tmp_path):
    os.mkfifo(tmp_path / file.partition("?")[0])  # whoever opened it would wait for ever
    named = [412, f" {tmp_path / file} "]
    places, (unknown,) = known_places(named, files=False)
    assert [place.name for place in places] == ["412 g/kWh"]
    assert f"Nothing is booked at  {tmp_path}/{file}" in unknown


def test_whether_a_study_is_the_users_own_is_known_by_its_folder_and_file(tmp_path):
    experiment = layers_only(repetitions=1, vary={"conv_layers": [1]})
    own = tiny(experiment=experiment).run(tmp_path / "own")
    assert [one.own for one in experiments(own)] == [True]
    sent = shutil.copytree(own.folder, tmp_path / "sent")
    assert [one.own for one in experiments(Results.open(sent))] == [False]
