"""``joulelab trace`` and ``joulelab predict step`` on tables that name their columns otherwise."""

import json

import pytest

ROWS = [f"2026-03-05 10:00:{second:02d};{100 * (1 + rail)};{rail}" for second in range(60)
        for rail in (0, 1)]  # fmt: skip
TABLE = "\n".join(("wann;Leistung;Karte", *ROWS, ""))
NAMED = ("--time", "wann", "--power", "Leistung", "--device", "Karte")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(TABLE)
    return path


def test_columns_are_named_by_choice(joulelab, table):
    code, out, said = joulelab("trace", table, *NAMED, "--timezone", "Europe/Berlin", "--json")
    assert code == 0, said
    measurement = json.loads(out)["measurement"]
    found = {one["domain"]: one["gross_j"] for one in measurement["readings"]}
    assert found == {"gpu:0": 5900, "gpu:1": 11800}
    assert measurement["started_at"] == 1772701200
    assert measurement["flags"] == []


def test_a_prediction_takes_the_same_names(joulelab, table):
    code, out, said = joulelab("predict", "step", table, *NAMED, "--duration", 590, "--json")
    assert code == 0, said
    whole = {one["domain"]: one["energy_j"] for one in json.loads(out)["predictions"]}
    assert whole == pytest.approx({"gpu:0": 59_000, "gpu:1": 118_000})
    assert any("local time" in flag for flag in json.loads(out)["flags"])


@pytest.mark.parametrize("command", [["trace"], ["predict", "step", "--duration", 590]])
def test_what_is_not_named_is_asked_for_by_the_options_that_there_are(joulelab, table, command):
    command = [*command, table]
    code, _, said = joulelab(*command)
    assert code == 1
    assert "name it by --time COLUMN" in said
    assert "wann, Leistung, Karte" in said
    code, _, said = joulelab(*command, "--time", "wann")
    assert code == 1
    assert "name it by --power COLUMN" in said
    code, _, said = joulelab(*command, "--time", "wann", "--power", "Leistung")
    assert code == 1
    assert "name the column with --device COLUMN" in said


def test_the_zone_that_was_assumed_is_said(joulelab, table, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    code, out, _ = joulelab("trace", table, *NAMED)
    assert code == 0
    assert "read as local time (Asia/Tokyo); --timezone names another" in " ".join(out.split())


def test_a_counter_counts_from_its_first_value_in_a_prediction(joulelab, tmp_path):
    path = tmp_path / "joules.csv"
    path.write_text("t_s,energy_j\n" + "".join(f"{n},{1000 + 50 * n}\n" for n in range(61)))
    code, out, said = joulelab("predict", "step", path, "--duration", 600, "--json")
    assert code == 0, said
    (one,) = json.loads(out)["predictions"]
    assert one["seen_j"] == pytest.approx(3000)
    assert one["energy_j"] == pytest.approx(30_000)
