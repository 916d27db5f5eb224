"""``joulelab places``: a study's energy at other places and at other hours."""

import json
import shutil
import sqlite3

import pytest

from joulelab.study.results import Results

NOON = 1714564800.0  # 2024-05-01T12:00Z
GRID = """time,g_per_kwh
2024-05-01T12:00Z,400
2024-05-01T13:00Z,200
2024-05-01T14:00Z,
2024-05-01T15:00Z,300
"""


@pytest.fixture(autouse=True)
def no_settings(tmp_path, monkeypatch):
    """No place of the user's own."""
    path = tmp_path / "settings.toml"
    path.write_text("")
    monkeypatch.setenv("JOULELAB_SETTINGS", str(path))
    monkeypatch.delenv("JOULELAB_CARBON", raising=False)


@pytest.fixture(scope="module")
def study(finished, tmp_path_factory):
    """A finished study whose energies and times are known, since they are written into it."""
    folder = tmp_path_factory.mktemp("places") / "out"
    shutil.copytree(finished, folder)
    with sqlite3.connect(folder / "runs.sqlite") as store:
        rows = store.execute("SELECT rowid FROM runs ORDER BY position").fetchall()
        for number, (row,) in enumerate(rows):
            store.execute(
                "UPDATE runs SET energy_gross_j = ?, started_at = ?, duration_s = 60 "
                "WHERE rowid = ?",
                (3.6e6 * (1 + number % 3), NOON + 60 * number, row),
            )
        store.execute("UPDATE ledger SET energy_gross_j = 2000.0 * duration_s")
    store.close()
    return folder


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.csv"
    path.write_text(GRID)
    return path


def asked(joulelab, *arguments):
    code, out, err = joulelab("places", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out, parse_constant=pytest.fail)


def test_every_configuration_has_its_grams_at_every_place(study, joulelab):
    data = asked(joulelab, study, "--place", "NLD", "--place", "412", "--pue", "1.5")
    runs = Results.open(study).to_frame()
    tuning = runs[runs["experiment"] == "tuning"]
    rows = data["tables"]["co2e-tuning"]["rows"]
    assert len(rows) == 2 * tuning["configuration"].nunique()
    for row in rows:
        energy_j = tuning[tuning["configuration"] == row["configuration"]]["energy_gross_j"]
        g_per_kwh = {"412 g/kWh": 412, "Netherlands": 267.622}[row["place"]]
        assert row["co2e_g"] == pytest.approx(energy_j.mean() / 3.6e6 * 1.5 * g_per_kwh)
        assert row["low_g"] < row["co2e_g"] < row["high_g"]
        assert row["n"] == len(energy_j)
    places = {row["place"]: row for row in data["tables"]["places"]["rows"]}
    assert places["Netherlands"]["year"] == 2023
    assert "codecarbon" in places["Netherlands"]["source"]
    assert places["412 g/kWh"]["year"] is None


def test_the_ratio_of_places_is_that_of_their_intensities(study, joulelab):
    data = asked(joulelab, study, "--place", "100", "--place", "300", "--place", "200")
    place, configuration, runs = data["tables"]["effects-architecture"]["rows"]
    assert place["ratio"] == pytest.approx(3)
    assert (place["least"], place["most"]) == ("100 g/kWh", "300 g/kWh")
    shares = [part["eta_squared"] for part in (place, configuration, runs)]
    assert sum(shares) == pytest.approx(1)
    assert runs["ratio"] is None


def test_levels_of_a_factor_can_be_compared(study, joulelab):
    data = asked(joulelab, study, "--by", "relu", "--place", "100", "--place", "300")
    assert [row["relu"] for row in data["tables"]["co2e-architecture"]["rows"]] == (
        ["off", "off", "on", "on"]
    )
    assert "co2e-tuning" not in data["tables"], "it has no such factor"


def test_over_a_series_each_run_meets_the_intensity_of_its_hour(study, joulelab, grid):
    data = asked(joulelab, study, "--place", grid, "--place", "100")
    rows = [row for row in data["tables"]["co2e-tuning"]["rows"] if row["place"] == "grid.csv"]
    runs = Results.open(study).to_frame()
    for row in rows:
        energy_j = runs[runs["configuration"] == row["configuration"]]["energy_gross_j"]
        assert row["co2e_g"] == pytest.approx(energy_j.mean() / 3.6e6 * 400)
    assert len(data["tables"]["effects-tuning"]["rows"]) == 4, "with that of the hour"


def test_a_place_without_intensity_for_the_runs_is_unknown_and_left_out(study, joulelab, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("time,g_per_kwh\n2020-01-01T00:00Z,1\n2020-01-01T01:00Z,2\n")
    data = asked(joulelab, study, "--place", other, "--place", "100", "--place", "200")
    rows = [row for row in data["tables"]["co2e-tuning"]["rows"] if row["place"] == "other.csv"]
    assert {row["co2e_g"] for row in rows} == {None}
    assert all("no intensity for 2024-05-01" in row["reason"] for row in rows)
    effects = data["tables"]["effects-tuning"]
    assert effects["rows"][0]["ratio"] == pytest.approx(2)
    assert "Left out, for grams that are unknown or 0: other.csv" in effects["note"]


def test_runs_without_an_energy_above_0_are_counted_and_left_out(study, joulelab, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(study, folder)
    with sqlite3.connect(folder / "runs.sqlite") as store:
        store.execute("UPDATE runs SET energy_gross_j = -1 WHERE experiment = 'architecture'")
        store.execute("UPDATE runs SET energy_gross_j = NULL WHERE position = 0")
    store.close()
    data = asked(joulelab, folder, "--place", "100", "--place", "200")
    assert data["tables"]["co2e-architecture"]["omitted"]
    assert data["tables"]["effects-architecture"]["omitted"]
    assert any("1 run without a figure of energy" in remark for remark in data["remarks"])
    assert any("with an energy of 0 or below" in remark for remark in data["remarks"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--place", "NLDX"], "did you mean 'NLD'?"),
        (["--place", "NLD", "--place", "Netherlands"], "is named twice"),
        (["--place", "NLD", "--by", "netwrok"], "did you mean 'network'?"),
        (["--place", "NLD", "--pue", "0.5"], "PUE"),
        (["--place", "NLD", "--within", "6h"], "--start intensity.csv"),
        ([], "no place is named"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_to_do(study, joulelab, arguments, said):
    code, out, err = joulelab("places", study, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_one_place_only_is_said(study, joulelab):
    code, out, _ = joulelab("places", study, "--place", "412")
    assert code == 0
    assert "only one place" in out


def test_the_best_hour_to_start_and_what_it_saves(study, joulelab, grid):
    data = asked(joulelab, study, "--start", grid, "--duration", "1h", "--within", "2h")
    start = data["start"]
    assert data["tables"] == {}
    assert start["start"] == "2024-05-01T13:00:00+00:00"
    assert start["saved"] == pytest.approx(0.5)
    assert start["power_w"] == pytest.approx(2000)
    assert (start["co2e_g"], start["at_once_co2e_g"]) == pytest.approx((400, 800))
    assert start["deadline_beyond_series_s"] == 0


def test_a_first_start_may_be_given_and_is_utc(study, joulelab, grid):
    more = ["--duration", "30min", "--from", "2024-05-01T15:00", "--within", "1d"]
    code, out, err = joulelab("places", study, "--start", grid, *more)
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    assert "2024-05-01 15:00 UTC, 300 g/kWh on average" in words
    assert "The deadline lies beyond the series, which ends 2024-05-01 16:00 UTC." in words
    assert "of the starts reach into a time of unknown intensity" in words


def test_a_zone_is_that_of_the_series_and_of_the_first_start(study, joulelab, grid):
    grid.write_text(GRID.replace("Z", ""))
    more = ["--duration", "30min", "--from", "2024-05-01T15:00", "--timezone", "Europe/Berlin"]
    start = asked(joulelab, study, "--start", grid, *more)["start"]
    assert start["earliest_s"] == NOON + 3600
    assert start["source"] == "grid.csv, column 'g_per_kwh'"


def test_without_a_duration_it_is_the_study_s_own(study, joulelab, grid):
    ledger = Results.open(study).ledger_frame()
    start = asked(joulelab, study, "--start", grid)["start"]
    assert start["duration_s"] == pytest.approx(ledger["duration_s"].sum())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--duration", "6"], "--duration '6' is not a time"),
        (["--duration", "6h", "--within", "2h"], "does not finish within 7,200 s"),
        (["--duration", "1h", "--from", "noon"], "--from 'noon' is not a time"),
        (["--duration", "1h", "--from", "2030-01-01"], "ends 2024-05-01 16:00 UTC"),
    ],
)
def test_an_impossible_time_is_refused(study, joulelab, grid, more, said):
    code, out, err = joulelab("places", study, "--start", grid, *more)
    assert (code, out) == (2, "")
    assert said in err


def test_the_tables_fit_into_80_columns(study, joulelab):
    _, out, _ = joulelab("places", study, "--place", "USA-CA", "--place", "NLD", "--place", "412")
    assert max(map(len, out.splitlines())) <= 80
    assert "They do not all count the same" in out
