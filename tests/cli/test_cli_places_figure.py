"""``joulelab places --plot``: the figure of a study at several places."""

import json

import pytest

HERE = ("--place", "100", "--place", "300", "--place", "900")


def test_the_figure_is_written_in_the_format_of_its_name(finished, joulelab, tmp_path):
    path = tmp_path / "x.SVG"
    code, out, err = joulelab("places", finished, *HERE, "--plot", path, "--json")
    assert (code, err) == (0, "")
    assert path.read_bytes().startswith(b"<?xml")
    data = json.loads(out)
    assert data["plot"] == str(path)
    assert len(data["findings"]) == 2, "a sentence an experiment"
    assert "Place moves CO2e 9.00 times (900 g/kWh over 100 g/kWh)" in data["findings"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*HERE, "--plot", "x.gif"], "end the name in .png, .svg, .pdf"),
        ([*HERE, "--plot", "/nowhere/x.png"], "no folder /nowhere"),
    ],
)
def test_a_figure_that_cannot_be_written_is_refused(finished, joulelab, arguments, said):
    code, out, err = joulelab("places", finished, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_a_figure_without_a_place_is_refused(finished, joulelab, tmp_path):
    series = tmp_path / "grid.csv"
    series.write_text("time,g_per_kwh\n2024-05-01T12:00Z,400\n2024-05-03T12:00Z,200\n")
    code, _, err = joulelab(
        "places", finished, "--start", series, "--plot", tmp_path / "x.png", "--duration", "1h"
    )
    assert code == 2
    assert "no place is named" in err
