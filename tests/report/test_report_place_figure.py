"""The figure of CO2e by place, what it says, and places that are not known."""

import itertools

import numpy as np
import pandas as pd
import pytest
from joulelab.report.place_picture import MOST_NAMED, co2e_picture, place_figure, place_finding
from joulelab.report.tables import Omitted
from matplotlib.text import Annotation

from joulelab.energy.carbon.intensity import Intensity
from joulelab.errors import UsageError
from joulelab.report.places import Booked, Place, known_places

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
    picture = co2e_picture({"": booked({"small": 1.0, "large": 2.0})})
    (axes,) = picture.figure.axes
    ticks = [tick.get_text() for tick in axes.get_xticklabels()]
    assert ticks == ["Sweden", "Netherlands", "Poland"]
    assert axes.get_yscale() == "log", "grams differ thirtyfold"
    assert axes.get_ylabel() == "CO2e of a run, kg (measured)"
    assert "41.4 g (small, Sweden)" in picture.alt


def test_grams_that_differ_little_stand_on_an_axis_from_0():
    here = (Place("A", Intensity(100, "A", "t")), Place("B", Intensity(300, "B", "t")))
    (axes,) = co2e_picture({"": booked({"small": 1.0, "large": 2.0}, here)}).figure.axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] == 0


@pytest.mark.parametrize(("count", "several"), [(3, 3), (12, 10)])
def test_every_network_has_its_name_and_no_name_covers_another(count, several):
    places = tuple(
        Place(f"Somewhere {n} far away", Intensity(41 + 60 * n, "", "t")) for n in range(several)
    )
    figure = co2e_picture({"": booked(networks(count), places)}).figure
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
    picture = co2e_picture({"": booked(networks(MOST_NAMED + 1))})
    (axes,) = picture.figure.axes
    assert {text.get_text() for text in names(axes)} == {"network_0", f"network_{MOST_NAMED}"}
    assert "Named: the lines of least and of most grams" in picture.note


def test_whiskers_are_the_interval_of_the_table():
    rows = pd.DataFrame(
        {"level": "a", "place": ["X"], "co2e_g": [10.0], "low_g": [8.0], "high_g": [13.0]}
    )
    (axes,) = place_figure({"": rows}, "{unit}").axes
    ((_, (low, high)),) = [
        tuple(np.array(segment).T)
        for bars in axes.containers
        for segment in bars[2][0].get_segments()
    ]
    assert (low, high) == (8.0, 13.0)


def test_a_place_of_unknown_or_no_grams_is_not_drawn_and_named():
    one = booked({"small": 1.0, "large": 2.0})
    grams = one.grams.copy()
    grams[:, 0] = np.nan
    holed = Booked(one.name, one.by, one.levels, grams, PLACES, ("a hole", "", ""), "measured", ())
    picture = co2e_picture({"": holed})
    assert "unknown or 0: Poland." in picture.note
    ticks = [tick.get_text() for tick in picture.figure.axes[0].get_xticklabels()]
    assert ticks == ["Sweden", "Netherlands"]


def test_nothing_known_is_said_in_place_of_a_figure():
    one = booked({"small": 1.0})
    unknown = Booked("x", "network", one.levels, one.grams * np.nan, PLACES, ("",) * 3, "", ())
    assert isinstance(co2e_picture({"": unknown}), Omitted)
    with pytest.raises(UsageError):
        place_figure({"": pd.DataFrame(columns=["level", "place", "co2e_g"])}, "{unit}")


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
    assert "named twice" in said[1]
