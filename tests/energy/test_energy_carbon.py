"""Carbon dioxide equivalent: places, numbers, series, and what codecarbon itself says."""

import importlib.util
import json
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from codecarbon.core.emissions import Emissions
from codecarbon.core.units import Energy
from codecarbon.external.geography import CloudMetadata, GeoMetadata
from codecarbon.input import DataSource

from joulelab import formats
from joulelab.energy.carbon import places as carbon_tables
from joulelab.energy.carbon.footprint import (
    Footprint,
    carbon_intensity,
    default_place,
    default_pue,
    footprint,
    in_zone,
)
from joulelab.energy.carbon.intensity import Intensity, IntensitySeries, mean_intensity
from joulelab.energy.carbon.places import cloud_regions, countries, regions
from joulelab.errors import (
    MissingDependencyError,
    SettingsError,
    UnknownNameError,
    UsageError,
)

HOUR = 3600.0
KWH = 3.6e6
NOON = 1714564800.0  # 2024-05-01T12:00Z
FLAT = Intensity(500.0, "Here", "test", 2020)


@pytest.fixture
def emissions():
    """The code of codecarbon itself."""
    return Emissions(DataSource())


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Writes a settings file for joulelab, and clears the environment."""
    path = tmp_path / "settings.toml"
    monkeypatch.setenv("JOULELAB_SETTINGS", str(path))
    monkeypatch.delenv("JOULELAB_CARBON", raising=False)
    path.write_text("")
    return path.write_text


def series(*values, step_s=HOUR, start_s=NOON):
    times = tuple(start_s + step_s * row for row in range(len(values)))
    return IntensitySeries(times, values, "Here", "test.csv")


def csv_file(tmp_path, text, name="grid.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


# Places


def test_every_country_is_as_codecarbon_has_it(emissions):
    kwh = Energy.from_energy(kWh=1)
    for code, country in countries().items():
        theirs_kg = emissions.get_private_infra_emissions(kwh, GeoMetadata(code))
        assert country.intensity.g_per_kwh == pytest.approx(1000 * theirs_kg), code


@pytest.mark.parametrize("country", ["USA", "CAN", "CHN", "SWE", "NOR", "FIN"])
def test_every_region_is_as_codecarbon_has_it(emissions, country):
    kwh = Energy.from_energy(kWh=1)
    assert regions(country)
    for region in regions(country):
        geo = GeoMetadata(country, region=region.names[0])
        theirs_kg = emissions.get_region_emissions(kwh, geo)
        assert region.intensity.g_per_kwh == pytest.approx(1000 * theirs_kg), region.names


def test_every_cloud_region_is_as_codecarbon_has_it(emissions):
    for region in cloud_regions()["gcp"]:
        name = region.names[0].replace("me-central1", "me-cenrtal1")  # as codecarbon writes it
        theirs_kg = emissions.get_cloud_emissions(
            Energy.from_energy(kWh=1), CloudMetadata("gcp", name)
        )
        assert region.intensity.g_per_kwh == pytest.approx(1000 * theirs_kg), name


def test_the_result_of_a_place_has_its_year_and_source():
    found = carbon_intensity("NLD")
    row = DataSource().get_global_energy_mix_data()["NLD"]
    assert found.g_per_kwh == row["carbon_intensity"]
    assert found.year == row["year"]
    assert found.place == "Netherlands"
    assert found.source.startswith("codecarbon 3.")
    assert "Our World in Data" in found.source


def test_a_state_is_in_grams_and_not_in_pounds():
    found = carbon_intensity("USA-CA")
    pounds_in_mwh = DataSource().get_country_emissions_data("usa")["california"]["emissions"]
    assert found.g_per_kwh == pytest.approx(pounds_in_mwh * 0.45359237)
    assert found.year == 2023
    assert "direct emissions" in found.remark


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("nld", "Netherlands"),
        ("NL", "Netherlands"),
        (" netherlands ", "Netherlands"),
        ("UK", "United Kingdom"),
        ("Viet Nam", "Vietnam"),
        ("guinea bissau", "Guinea-Bissau"),
        ("GEO", "Georgia"),
        ("USA/Georgia", "Georgia, USA"),
        ("USA/new-york", "New York, USA"),
        ("US-TX", "Texas, USA"),
        ("CAN/Québec", "Quebec, Canada"),
        ("CA-ON", "Ontario, Canada"),
        ("CN-BJ", "Beijing, China"),
        ("China/Nei Mongol", "Inner Mongolia, China"),
        ("SE3", "bidding zone SE3"),
        ("NO-NO4", "bidding zone NO4"),
        ("FI", "Finland"),
        ("gcp:europe-west4", "gcp:europe-west4 (Eemshaven)"),
        ("GCP:me-central1", "gcp:me-central1 (Doha)"),
    ],
)
def test_a_place_may_be_written_in_several_ways(text, place):
    assert carbon_intensity(text).place == place


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("Nederland", "unknown place 'Nederland'", "did you mean 'Netherlands'?"),
        ("Atlantis", "unknown place 'Atlantis'", ""),
        ("xqzw", "unknown place 'xqzw'", "write a country (NLD, Netherlands)"),
        ("", "unknown place ''", "write a country"),
        ("USA-Texsa", "unknown part of United States 'Texsa'", "did you mean 'Texas'?"),
        ("gcp:europe-west44", "unknown region of gcp", "did you mean 'europe-west4'?"),
    ],
)
def test_an_unknown_place_is_refused_with_a_near_name(text, message, hint):
    with pytest.raises(UnknownNameError) as caught:
        carbon_intensity(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LIE", "no figure for Liechtenstein (LIE)"),
        ("DE-BY", "no figure for the parts of Germany"),
        ("aws:eu-west-1", "no figure for the cloud 'aws', only for gcp"),
    ],
)
def test_a_place_without_a_figure_is_not_given_the_average_of_the_world(text, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        carbon_intensity(text)


def test_a_zero_that_comes_from_rounding_is_no_figure():
    assert DataSource().get_global_energy_mix_data()["CAF"]["carbon_intensity"] == 0
    with pytest.raises(UsageError, match="only a 0"):
        carbon_intensity("CAF")


def test_without_codecarbon_a_place_is_an_error_and_a_number_is_not(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install codecarbon"):
        carbon_intensity("NLD")
    assert carbon_intensity("412").g_per_kwh == 412


def test_a_table_in_another_unit_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "private_infra" / "2031"
    folder.mkdir(parents=True)
    table = {"_unit": {"emissions": "kg/MWh"}, "texas": {"emissions": 1.0, "regionCode": "TX"}}
    (folder / "usa_emissions.json").write_text(json.dumps(table))
    monkeypatch.setattr(carbon_tables, "_data", lambda: tmp_path)
    with pytest.raises(UsageError, match="'kg/MWh', not in lbs/MWh"):
        regions("USA")


def test_a_place_needs_neither_the_network_nor_codecarbon_nor_pandas():
    code = (
        "import socket, sys\n"
        "def refused(*_): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refused\n"
        "from joulelab.energy.carbon.footprint import carbon_intensity\n"
        "for place in ('NL', 'USA-CA', 'SE3', 'gcp:europe-west4'): carbon_intensity(place)\n"
        "print([m for m in ('codecarbon', 'pandas', 'numpy', 'requests') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Numbers


@pytest.mark.parametrize(
    ("given", "g_per_kwh"),
    [
        (412, 412),
        (0.0, 0),
        ("412", 412),
        ("412 g/kWh", 412),
        ("412.5gCO2e/kWh", 412.5),
        ("412 gCO₂eq/kWh", 412),
        ("0.412 kg/kWh", 412),
        ("0.5 g/kWh", 0.5),
        ("4e2", 400),
    ],
)
def test_a_number_of_the_user_is_taken_as_it_is(given, g_per_kwh):
    found = carbon_intensity(given)
    assert found.g_per_kwh == pytest.approx(g_per_kwh)
    assert found.source == "given by the user"
    assert found.year is None


@pytest.mark.parametrize(
    "given", [-1, float("nan"), float("inf"), "-5", "412 lb/MWh", "412 Wh", True, "4 12"]
)
def test_an_impossible_number_is_refused(given):
    with pytest.raises(UsageError):
        carbon_intensity(given)


@pytest.mark.parametrize("given", [0.412, "0.412"])
def test_a_bare_number_that_looks_like_kilograms_is_asked_about(given):
    with pytest.raises(UsageError, match=r"write 0\.412 kg/kWh"):
        carbon_intensity(given)


# Series


def test_a_row_stands_until_the_next_one():
    grid = series(100.0, 200.0, 300.0)
    assert [grid.at(NOON + minutes * 60) for minutes in (0, 59, 60, 179)] == [100, 100, 200, 300]


def test_outside_its_rows_a_series_knows_nothing():
    grid = series(100.0, 200.0)
    assert grid.at(NOON - 1) is None
    assert grid.at(NOON + 2 * HOUR) is None


def test_a_hole_stays_a_hole_after_two_steps():
    times = tuple(NOON + hour * HOUR for hour in (0, 1, 2, 6, 7))
    grid = IntensitySeries(times, (1.0, 2.0, 3.0, 4.0, 5.0), "", "test")
    assert grid.at(NOON + 4 * HOUR - 1) == 3
    assert grid.at(NOON + 4 * HOUR) is None
    assert grid.at(NOON + 6 * HOUR) == 4
    spans = grid.spans(NOON + 2.5 * HOUR, NOON + 6.5 * HOUR)
    assert [((s.end_s - s.start_s) / HOUR, s.g_per_kwh) for s in spans] == [
        (1.5, 3.0),
        (2.0, None),
        (0.5, 4.0),
    ]


def test_spans_cover_a_window_without_a_hole_between_them():
    spans = series(1.0, None, 3.0).spans(NOON - 100, NOON + 5 * HOUR)
    assert spans[0].start_s == NOON - 100
    assert spans[-1].end_s == NOON + 5 * HOUR
    assert all(a.end_s == b.start_s for a, b in pairwise(spans))
    assert [span.g_per_kwh for span in spans] == [None, 1.0, None, 3.0, None]


@pytest.mark.parametrize(
    ("times", "values"),
    [((0.0,), (1.0,)), ((1.0, 1.0), (1.0, 2.0)), ((0.0, 1.0), (1.0, -2.0)), ((0.0, 1.0), (1.0,))],
)
def test_an_impossible_series_is_refused(times, values):
    with pytest.raises(UsageError):
        IntensitySeries(times, values, "", "test")


# Series from a file


def test_a_file_of_ours_is_read(tmp_path):
    path = csv_file(
        tmp_path,
        "time,g_per_kwh\n2024-05-01T14:00+02:00,100\n2024-05-01T13:00Z,\n2024-05-01T14:00Z,300\n",
    )
    grid = carbon_intensity(str(path))
    assert grid.times_s == (NOON, NOON + HOUR, NOON + 2 * HOUR)
    assert grid.g_per_kwh == (100, None, 300)
    assert grid.place == "grid"
    assert grid.source == "grid.csv, column 'g_per_kwh'"


def test_a_time_without_an_offset_is_utc_and_the_source_says_so(tmp_path):
    path = csv_file(tmp_path, "time,g_per_kwh\n2024-05-01 12:00,1\n2024-05-01 13:00,2\n")
    grid = carbon_intensity(path)
    assert grid.times_s[0] == NOON
    assert "times without an offset taken as UTC" in grid.source


def test_an_export_of_electricity_maps_is_read_by_its_life_cycle_column(tmp_path):
    path = csv_file(
        tmp_path,
        "\ufeffDatetime (UTC),Country,Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct),"
        "Carbon intensity gCO₂eq/kWh (Life cycle),Data source\n"
        "2024-05-01 12:00:00,Sweden,South Sweden,SE-SE4,2.54,30.02,svk.se\n"
        "2024-05-01 13:00:00,Sweden,South Sweden,SE-SE4,2.61,31.5,svk.se\n",
    )
    grid = carbon_intensity(path)
    assert grid.g_per_kwh == (30.02, 31.5)
    assert grid.times_s[0] == NOON
    assert grid.place == "South Sweden"
    assert "Life cycle" in grid.source
    assert "taken as" not in grid.source


def test_an_export_of_great_britain_is_read(tmp_path):
    path = csv_file(
        tmp_path,
        '"Datetime (UTC)","Actual Carbon Intensity (gCO2/kWh)",'
        '"Forecast Carbon Intensity (gCO2/kWh)","Index"\n'
        "2024-05-01T12:00Z,90,95,low\n2024-05-01T12:30Z,92,96,low\n",
    )
    assert carbon_intensity(path).g_per_kwh == (90, 92)


def test_rows_may_stand_in_any_order(tmp_path):
    path = csv_file(tmp_path, "time,g_per_kwh\n2024-05-01T13:00Z,2\n2024-05-01T12:00Z,1\n")
    assert carbon_intensity(path).g_per_kwh == (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("time,power\n1,2\n", "no column of carbon intensities; there are time, power"),
        ("hour,g_per_kwh\n1,2\n", "no column of times; there are hour, g_per_kwh"),
        ("time,g_per_kwh\n", "a header but no rows"),
        ("time,g_per_kwh\n2024-05-01,\n", "no row with a carbon intensity"),
        ("time,g_per_kwh\n2024-05-01,1\nnoon,2\n", "line 3, column time: 'noon' is neither"),
        ("time,g_per_kwh\n2024-05-01,1\n2024-05-02,-2\n", "line 3, column g_per_kwh: -2 g/kWh"),
        ("time,g_per_kwh\n2024-05-01,1\n\n2024-05-02,low\n", "line 4, column g_per_kwh: 'low'"),
        ("time,g_per_kwh\n2024-05-01,1\n", "a series needs at least two rows"),
        ("time,g_per_kwh\n2024-05-01,9\n,8\n", "line 3: the time is missing"),
        ("time,g_per_kwh\n20240501,1\n", "line 2, column time: '20240501' is not a time of this"),
        (
            "time,g_per_kwh\n45413.5,1\n45413.54,1\n",
            "'45413.5' is not a time of this century",
        ),
        (
            "time,g_per_kwh\n2024-05-01T12:00Z,1\n2024-05-01T14:00+02:00,1\n",
            "line 2 and line 3: both have the time 2024-05-01T12:00:00",
        ),
        ("time,zone id,g_per_kwh\n2024-05-01,NL,1\n2024-05-02,BE,1\n", "has 2 zones"),
    ],
)
def test_a_mistake_in_a_file_is_said_with_its_line(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        carbon_intensity(csv_file(tmp_path, text))
    assert message in caught.value.message


def test_a_file_that_is_not_there_is_a_mistake_of_the_user(tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv does not exist"):
        carbon_intensity(str(tmp_path / "none.csv"))


HOURS = ("2024-05-01T12:00Z", "2024-05-01T13:00Z")


@pytest.mark.parametrize(
    ("heading", "values", "g_per_kwh"),
    [
        ("g_per_kwh", ("231,5", "214,5"), (231.5, 214.5)),
        ("carbon_intensity (kg/kWh)", ("0.231", "0.214"), (231, 214)),
        ("carbon_intensity [kg CO2e/MWh]", ("231", "214"), (231, 214)),
        ("Carbon Intensity (tCO₂/MWh)", ("0.231", "0.214"), (231, 214)),
        ("co2_kg_per_kwh", ("0.231", "0.214"), (231, 214)),
        ("Emission rate (lb/MWh)", ("1000", "500"), (453.59, 226.8)),
        ("Emission factor gCO2/MWh", ("231000", "214000"), (231, 214)),
        ("emissions_intensity_gco2_kwh", ("231", "214"), (231, 214)),
        ("MOER", ("912.0", "915.0"), (413.68, 415.04)),
        ("MOER (kg/MWh)", ("413.7", "415"), (413.7, 415)),
        ("avg_CI", ("367.450", "363.434"), (367.45, 363.434)),
        ("carbon_intensity", ("0.231 kg/kWh", "214 g/kWh"), (231, 214)),
    ],
)
def test_a_unit_in_the_heading_counts(tmp_path, heading, values, g_per_kwh):
    rows = "".join(f"{time};{value}\n" for time, value in zip(HOURS, values, strict=True))
    grid = carbon_intensity(csv_file(tmp_path, f"time;{heading}\n{rows}"))
    assert grid.g_per_kwh == pytest.approx(g_per_kwh, abs=0.01)
    assert ("marginal" in grid.source) == ("MOER" in heading)


@pytest.mark.parametrize(
    ("heading", "values", "message"),
    [
        ("carbon_intensity", ("0.231", "0.25"), "at most 0.25 g/kWh.*probably kg/kWh"),
        ("carbon_intensity", ("231000", "214000"), "line 2.*231,000 g/kWh is more than any"),
        ("carbon_intensity (oz/kWh)", ("231", "214"), "the unit of .* is not known"),
    ],
)
def test_values_that_cannot_be_in_their_unit_are_refused(tmp_path, heading, values, message):
    rows = "".join(f"{time},{value}\n" for time, value in zip(HOURS, values, strict=True))
    with pytest.raises(UsageError, match=f"(?s){message}"):
        carbon_intensity(csv_file(tmp_path, f"time,{heading}\n{rows}"))


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("MTU (CET/CEST),Carbon intensity\n{} - 01.05.2024 15:00,231\n", "01.05.2024 14:00"),
        ("MTU (UTC),Carbon intensity\n{} - 01/05/2024 19:00:00,231\n", "01/05/2024 12:00:00"),
        ("UTC time,carbon_intensity,coal\n{},231,1\n", "2024-05-01 12:00:00"),
        ("from,to,actual carbon intensity\n{},x,231\n", "2024-05-01T12:00Z"),
        ("Datetime (UTC),Carbon intensity\n{},231\n", "2024-05-01 12:00:00"),
        ("timestamp,carbon_intensity\n{},231\n", "1714564800"),
        ("timestamp,carbon_intensity\n{},231\n", "202405011200"),
        ("Date,Time,carbon_intensity\n{},231\n", "2024-05-01,12:00"),
        ("date,hour,carbon_intensity\n{},231\n", "20240501,12"),
        ("timestamp,carbon_intensity\n{},231\n", "1714564800000"),
    ],
)
def test_whoever_wrote_it_the_times_are_the_same(tmp_path, text, starts):
    header, row = text.splitlines()
    later = (
        starts.replace(",12", ",13")
        .replace("0112", "0113")
        .replace("14:00", "15:00")
        .replace("12:00", "13:00")
        .replace("45648", "45684")
    )
    grid = carbon_intensity(
        csv_file(tmp_path, "\n".join((header, row.format(starts), row.format(later), "")))
    )
    assert grid.times_s == (NOON, NOON + HOUR)


@pytest.mark.parametrize(
    ("loaded", "g_per_kwh"),
    [
        (
            {
                "data": [
                    {"from": HOURS[0], "to": "", "intensity": {"forecast": 266, "actual": 263}},
                    {"from": HOURS[1], "to": "", "intensity": {"forecast": 270, "actual": None}},
                ]
            },
            (263, 270),
        ),
        (
            {
                "zone": "DE",
                "history": [
                    {"datetime": HOURS[0], "carbonIntensity": 302, "isEstimated": False},
                    {"datetime": HOURS[1], "carbonIntensity": 310, "isEstimated": True},
                ],
            },
            (302, 310),
        ),
        (
            {
                "data": [{"point_time": time, "value": 870.0} for time in HOURS],
                "meta": {"units": "lbs_co2_per_mwh", "signal_type": "co2_moer", "region": "CAISO"},
            },
            (394.6, 394.6),
        ),
        (
            [
                {"point_time": time, "value": 870.0, "datatype": "MOER", "x": "lbs"}
                for time in HOURS
            ],
            (394.6, 394.6),
        ),
    ],
)
def test_answers_of_an_interface_in_json_are_read(tmp_path, loaded, g_per_kwh):
    grid = carbon_intensity(str(csv_file(tmp_path, json.dumps(loaded), "grid.json")))
    assert grid.times_s == (NOON, NOON + HOUR)
    assert grid.g_per_kwh == pytest.approx(g_per_kwh, abs=0.1)
    half = grid.estimated_share(NOON, NOON + 2 * HOUR)
    assert half == ("lbs" not in str(loaded)) / 2


def test_the_share_of_a_window_whose_intensity_was_estimated_is_said(tmp_path):
    path = csv_file(
        tmp_path,
        "Datetime (UTC),Carbon intensity gCO₂eq/kWh (Life cycle),Data estimated,"
        "Data estimation method\n"
        "2024-05-01 12:00:00,30,false,\n2024-05-01 13:00:00,31,true,TIME_SLICER_AVERAGE\n",
    )
    found = footprint(3.6e6, None, NOON, 2 * HOUR, carbon_intensity(path))
    assert "estimated there for 50 % of the window" in str(found)
    assert "estimated" not in str(footprint(3.6e6, None, NOON, HOUR, carbon_intensity(path)))


def test_times_without_an_offset_are_of_the_zone_that_is_named(tmp_path):
    path = csv_file(tmp_path, "time,g_per_kwh\n2024-05-01 14:00,1\n2024-05-01 15:00,2\n")
    grid = carbon_intensity(in_zone(str(path), "Europe/Berlin"))
    assert grid.times_s[0] == NOON
    assert "UTC" not in grid.source
    with pytest.raises(UsageError, match="unknown time zone 'Mars'"):
        in_zone(str(path), "Mars")
    with pytest.raises(UsageError, match="needs a file with carbon intensity"):
        in_zone("NLD", "UTC")


@pytest.mark.parametrize(
    "hours", [("00:00", "01:00", "03:00", "04:00"), ("00:30", "01:30", "03:30", "04:30")]
)
def test_a_jump_of_summer_time_shows_that_times_are_not_utc(tmp_path, hours):
    rows = "".join(f"2024-03-31 {hour},100\n" for hour in hours)
    path = csv_file(tmp_path, f"time,g_per_kwh\n{rows}")
    with pytest.raises(UsageError, match=r"summer time begins.*they are not UTC"):
        carbon_intensity(path)
    times_s = carbon_intensity(in_zone(str(path), "Europe/Berlin")).times_s
    assert np.diff(times_s).tolist() == [HOUR] * 3


def test_the_hour_that_comes_twice_in_a_zone_is_read_in_order(tmp_path):
    hours = ("01:00", "02:00", "02:00", "03:00")
    path = csv_file(
        tmp_path, "time,g_per_kwh\n" + "".join(f"2024-10-27 {hour},100\n" for hour in hours)
    )
    with pytest.raises(UsageError, match=r"--place grid.csv\?timezone=Europe"):
        carbon_intensity(path)
    times_s = carbon_intensity(in_zone(str(path), "Europe/Berlin")).times_s
    assert np.diff(times_s).tolist() == [HOUR] * 3


def test_two_columns_that_may_be_meant_are_refused(tmp_path):
    path = csv_file(tmp_path, "time,emission rate a,emission rate b\n2024-05-01,1,2\n")
    with pytest.raises(UsageError, match="2 columns that may hold the carbon intensity"):
        carbon_intensity(path)


# Footprints


def test_a_kilowatt_hour_has_the_grams_of_its_intensity():
    found = footprint(KWH, KWH / 10, None, 60.0, FLAT)
    assert found.grams == pytest.approx(500)
    assert found.error_g == pytest.approx(50)
    assert (found.place, found.source, found.year, found.pue) == ("Here", "test", 2020, 1.0)


def test_pue_multiplies_the_energy():
    found = footprint(KWH, KWH / 10, None, 60.0, FLAT, pue=1.5)
    assert found.grams == pytest.approx(750)
    assert found.error_g == pytest.approx(75)
    assert found.g_per_kwh == 500


@pytest.mark.parametrize("pue", [0.99, 0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_pue_is_refused(pue):
    with pytest.raises(UsageError, match="PUE"):
        footprint(1.0, None, None, 1.0, FLAT, pue=pue)


def test_unknown_energy_has_unknown_grams():
    found = footprint(None, None, None, 60.0, FLAT)
    assert found.grams is None
    assert found.error_g is None
    assert "energy is unknown" in found.reason
    assert str(found) == "CO2e unknown: the energy is unknown"


def test_an_energy_without_a_bound_has_no_bound_in_grams():
    found = footprint(KWH, None, None, 60.0, FLAT)
    assert found.grams == pytest.approx(500)
    assert found.error_g is None


def test_energy_over_a_series_is_spread_evenly_without_a_profile():
    # A quarter of an hour at 100, a whole one at 200, three quarters at 400.
    found = footprint(KWH, None, NOON + 0.75 * HOUR, 2 * HOUR, series(100.0, 200.0, 400.0))
    assert found.g_per_kwh == pytest.approx((0.25 * 100 + 200 + 0.75 * 400) / 2)
    assert found.grams == pytest.approx(found.g_per_kwh)
    assert found.year == 2024
    assert "evenly" in found.remark


def test_energy_over_a_series_counts_when_it_was_used():
    # 30 J in the first half hour at 100 g/kWh, none until the hour, 10 J in the second at 500.
    profile = ([0.0, 0.5 * HOUR, HOUR, 2 * HOUR], [5.0, 35.0, 35.0, 45.0])
    found = footprint(KWH, None, NOON, 2 * HOUR, series(100.0, 500.0), profile=profile)
    assert found.grams == pytest.approx(0.75 * 100 + 0.25 * 500)
    assert "evenly" not in found.remark


def test_a_profile_agrees_with_a_fine_sum_over_the_trace():
    rng = np.random.default_rng(3)
    times_s = np.sort(rng.uniform(0, 5 * HOUR, 400))
    energy_j = np.cumsum(rng.uniform(0, 100, 400))
    grid = series(*rng.uniform(0, 800, 6))
    fine_s = np.linspace(times_s[0], times_s[-1], 400_001)
    drawn = np.diff(np.interp(fine_s, times_s, energy_j))
    hour = ((fine_s[:-1] + fine_s[1:]) / 2 // HOUR).astype(int)
    expected = (drawn * np.array(grid.g_per_kwh)[hour]).sum() / drawn.sum()
    mean, _ = mean_intensity(grid, NOON, 5 * HOUR, (times_s, energy_j))
    assert mean == pytest.approx(expected, rel=1e-5)


def test_a_profile_of_no_energy_is_taken_as_even():
    mean, _ = mean_intensity(series(100.0, 300.0), NOON, 2 * HOUR, ([0.0, 10.0], [7.0, 7.0]))
    assert mean == pytest.approx(200)


@pytest.mark.parametrize("profile", [([0.0, 1.0], [0.0]), ([], []), ([0.0, 1.0], [5.0, 4.0])])
def test_a_profile_that_cannot_be_is_refused(profile):
    with pytest.raises(ValueError, match="profile"):
        mean_intensity(series(1.0, 2.0), NOON, HOUR, profile)


def test_a_window_of_no_length_has_the_intensity_of_its_moment():
    assert mean_intensity(series(100.0, 300.0), NOON + HOUR, 0.0) == (300.0, "")


@pytest.mark.parametrize(
    ("start_s", "reason"),
    [
        (NOON - HOUR, "it reaches from 2024-05-01 12:00 UTC to 2024-05-01 15:00 UTC"),
        (NOON + 2.5 * HOUR, "no intensity for 2024-05-01 15:00 UTC; it reaches"),
        (NOON + 0.5 * HOUR, "no intensity for 2024-05-01 13:00 UTC; it has a gap"),
    ],
)
def test_a_window_that_a_series_does_not_cover_has_unknown_grams(start_s, reason):
    found = footprint(KWH, 1.0, start_s, HOUR, series(100.0, None, 300.0))
    assert found.grams is None
    assert found.g_per_kwh is None
    assert reason in found.reason


def test_a_hole_in_which_nothing_was_used_does_not_matter():
    profile = ([0.0, HOUR, 2 * HOUR, 3 * HOUR], [0.0, 1.0, 1.0, 2.0])
    found = footprint(KWH, 1.0, NOON, 3 * HOUR, series(100.0, None, 300.0), profile=profile)
    assert found.grams == pytest.approx(200)


def test_a_series_needs_to_know_when():
    found = footprint(KWH, 1.0, None, HOUR, series(100.0, 200.0))
    assert found.grams is None
    assert "the time of the energy use" in found.reason


def test_a_footprint_survives_the_store():
    for found in (
        footprint(KWH, 1.0, None, 60.0, FLAT, pue=1.2),
        footprint(None, None, NOON, 60.0, series(1.0, 2.0)),
    ):
        assert Footprint.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_footprint_in_words():
    assert str(footprint(KWH / 1000, 1.0, None, 60.0, FLAT, pue=1.2)) == (
        "600 mg CO2e (Here, 2020: 500 g/kWh, PUE 1.2; test)"
    )
    assert str(footprint(KWH, 1.0, None, 60.0, carbon_intensity(412))) == (
        "412 g CO2e (412 g/kWh, PUE 1.0; given by the user)"
    )


def test_grams_in_words():
    values = (0.0, 1e-7, 0.000638, 0.0638, 1.24, 999.0, 12_400, 3_420_000, None, float("nan"))
    assert [formats.grams(value) for value in values] == [
        "0.00 mg",
        "0.0001 mg",
        "0.638 mg",
        "63.8 mg",
        "1.24 g",
        "999 g",
        "12.4 kg",
        "3.42 t",
        "unknown",
        "unknown",
    ]


# What the user has set


def test_nothing_set_means_no_place(settings):
    assert default_place() is None
    assert default_pue() == 1.0


def test_the_settings_file_says_where(settings):
    settings('[carbon]\nplace = "NLD"\npue = 1.2\n')
    assert default_place() == "NLD"
    assert default_pue() == 1.2


def test_the_environment_comes_before_the_settings_file(settings, monkeypatch):
    settings('[carbon]\nplace = "NLD"\npue = 1.2\n')
    monkeypatch.setenv("JOULELAB_CARBON", "412 g/kWh")
    assert carbon_intensity(default_place()).g_per_kwh == 412
    assert default_pue() == 1.2


def test_a_file_of_intensity_lies_beside_the_settings(settings, tmp_path):
    settings('[carbon]\nplace = "grid.csv"\n')
    csv_file(tmp_path, "time,g_per_kwh\n2024-05-01,1\n2024-05-02,2\n")
    assert carbon_intensity(default_place()).g_per_kwh == (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plaec = 'NLD'", "did you mean 'place'?"),
        ("place = true", "place cannot be True"),
        ("place = ['NLD']", "place cannot be"),
        ("pue = '1.2'", "pue cannot be '1.2'"),
        ("pue = 0.8", "a PUE of 0.8 is not possible"),
    ],
)
def test_a_mistake_in_the_settings_is_refused(settings, text, message):
    settings(f"[carbon]\n{text}\n")
    with pytest.raises(SettingsError) as caught:
        default_place()
    assert message in str(caught.value)
