"""Energy booked at places: what counts as one measurement, and the figure of CO2e by place."""

import itertools
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Annotation

from joulelab.energy.carbon.intensity import Intensity, IntensitySeries
from joulelab.errors import UsageError
from joulelab.report.experiment import EnergyBasis, Experiment, experiments
from joulelab.report.places import (
    MOST_NAMED,
    Booked,
    Place,
    book,
    co2e_figure,
    co2e_table,
    effect_table,
    known_places,
    named_places,
    place_finding,
)
from joulelab.study.results import Results
from joulelab.study.trust import STUDY, approve, code_in
from shown import reason, seen

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
    first, second = co2e_table(booked).frame.to_dict("records")
    assert np.isnan(first["co2e_g"])
    assert "no intensity" in first["reason"]
    assert second["co2e_g"] == pytest.approx(150), "half in each hour"


def test_configurations_with_one_run_each_have_no_interval_and_that_is_said():
    runs = experiment(configuration=["a", "b"], energy_gross_j=[KWH, 2 * KWH])
    booked = book(runs, [HERE, THERE], 1.0, "configuration")
    assert seen(co2e_table(booked))["95 % interval"].unique() == ["no interval"]
    effects = effect_table(booked)
    assert list(effects.frame["eta_squared"]) == pytest.approx([0.8, 0.2, 0])
    assert "Each configuration has one run" in effects.note


def test_a_place_of_0_g_is_shown_and_left_out_of_the_shares():
    none = Place("0 g/kWh", Intensity(0.0, "", "test"))
    runs = experiment(configuration=["a", "b"], energy_gross_j=[KWH, 2 * KWH])
    booked = book(runs, [none, HERE, THERE], 1.0, "configuration")
    assert co2e_table(booked).frame["co2e_g"].iloc[0] == 0
    assert "unknown or 0: 0 g/kWh." in effect_table(booked).note


def test_an_experiment_without_runs_is_left_out_with_a_reason():
    empty = experiment(configuration=[], energy_gross_j=[])
    booked = book(empty, [HERE, THERE], 1.0, "configuration")
    assert booked.status == "missing"
    for make in (co2e_table, effect_table):
        assert "energy above 0" in reason(make, booked)


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


def test_whether_a_study_is_the_users_own_is_known_by_its_folder_and_file(finished_study, tmp_path):
    own = finished_study("architecture")
    approve([code_in(own / STUDY)])
    assert [one.own for one in experiments(Results.open(own))] == [True]
    sent = shutil.copytree(own, tmp_path / "sent")
    assert [one.own for one in experiments(Results.open(sent))] == [False]


INTENSITIES = {"Poland": 662.0, "Sweden": 41.0, "Netherlands": 268.0}
PLACES = tuple(Place(name, Intensity(g, name, "test")) for name, g in INTENSITIES.items())


def booked(energies_kwh, places=PLACES, by="network", repetitions=3):
    """Runs of some levels, of which each repetition takes a little more."""
    levels = [name for name in energies_kwh for _ in range(repetitions)]
    kwh = [e * (1 + i / 100) for e in energies_kwh.values() for i in range(repetitions)]
    grams = np.outer(kwh, [place.intensity.g_per_kwh for place in places])
    reasons = ("",) * len(places)
    return Booked("made up", by, tuple(levels), grams, places, reasons, "measured", ())


def names(axes):
    return [text for text in axes.texts if isinstance(text, Annotation)]


def networks(count):
    return {f"network_{number}": 0.01 * 1.02**number for number in range(count)}


def test_places_stand_in_the_order_of_their_grams():
    picture = co2e_figure({"": booked({"small": 1.0, "large": 2.0})})
    (axes,) = picture.draw("screen").axes
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert ticks == ["Sweden", "Netherlands", "Poland"]
    assert axes.get_yscale() == "log", "grams differ thirtyfold"
    assert axes.get_ylabel() == "CO2e of a run, kg (measured)"
    assert "41.4 g (small, Sweden)" in picture.alt


def test_grams_that_differ_little_stand_on_an_axis_from_0():
    here = (Place("A", Intensity(100, "A", "t")), Place("B", Intensity(300, "B", "t")))
    (axes,) = co2e_figure({"": booked({"small": 1.0, "large": 2.0}, here)}).draw("screen").axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] == 0


@pytest.mark.parametrize(("count", "several"), [(3, 3), (12, 10)])
def test_every_network_has_its_name_and_no_name_covers_another(count, several):
    places = tuple(
        Place(f"Somewhere {n} far away", Intensity(41 + 60 * n, "", "t")) for n in range(several)
    )
    figure = co2e_figure({"": booked(networks(count), places)}).draw("screen")
    figure.draw_without_rendering()
    written = names(figure.axes[0])
    assert {text.get_text() for text in written} == set(networks(count))
    boxes = [super(Annotation, text).get_window_extent() for text in written]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    whole = figure.bbox
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in boxes)
    ticks = [tick.get_window_extent() for tick in figure.axes[0].get_xticklabels()]
    assert all(whole.y0 <= box.y0 for box in ticks)


def test_of_many_lines_only_the_ends_are_named_and_that_is_said():
    picture = co2e_figure({"": booked(networks(MOST_NAMED + 1))})
    (axes,) = picture.draw("screen").axes
    assert {text.get_text() for text in names(axes)} == {"network_0", f"network_{MOST_NAMED}"}
    assert "Named: the lines of least and of most grams" in picture.note


def test_whiskers_are_the_interval_of_the_table():
    made = booked({"small": 1.0}, PLACES[2:])
    (axes,) = co2e_figure({"": made}).draw("screen").axes
    ((_, ends),) = [
        tuple(np.array(segment).T)
        for bars in axes.containers
        for segment in bars[2][0].get_segments()
    ]
    (row,) = co2e_table(made).frame.to_dict("records")
    assert tuple(ends) == pytest.approx((row["low_g"], row["high_g"]))


def test_a_place_of_unknown_or_no_grams_is_not_drawn_and_named():
    one = booked({"small": 1.0, "large": 2.0})
    grams = one.grams.copy()
    grams[:, 0] = np.nan
    holed = Booked(one.name, one.by, one.levels, grams, PLACES, ("a hole", "", ""), "measured", ())
    picture = co2e_figure({"": holed})
    assert "unknown or 0: Poland." in picture.note
    ticks = [tick.get_text() for tick in picture.draw("screen").axes[0].get_xticklabels()]
    assert ticks == ["Sweden", "Netherlands"]


def test_nothing_known_is_said_in_place_of_a_figure():
    one = booked({"small": 1.0})
    unknown = Booked("x", "network", one.levels, one.grams * np.nan, PLACES, ("",) * 3, "", ())
    assert "no run has an energy above 0" in reason(co2e_figure, {"": unknown})


def test_place_against_network_in_a_sentence():
    said = place_finding(booked({"small": 1.0, "large": 2.1}))
    assert said == (
        "Place moves CO2e 16.1 times (Poland over Sweden), network 2.10 times (large over small)."
    )
    assert not place_finding(booked({"small": 1.0})), "one network is nothing to compare"


def test_a_place_that_is_not_known_any_more_is_said_and_the_others_are_booked():
    places, said = known_places(["100", "NLDX", "300", "100"])
    assert [place.name for place in places] == ["100 g/kWh", "300 g/kWh"]
    assert len(said) == 2
    assert said[0] == "Nothing is booked at NLDX: unknown place 'NLDX'."
    assert "is named twice" in said[1]
