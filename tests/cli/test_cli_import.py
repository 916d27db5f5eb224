"""``joulelab import codecarbon`` as its users call it."""

import io
import json

import pandas as pd
import pytest

# The second row holds the first training too, and the fourth counts a processor backwards.
ROWS = """\
timestamp,project_name,run_id,duration,emissions,cpu_energy,energy_consumed
2024-03-01T10:01:00,mine,0a1b2c3d-tracker,60,0.02,0.01,0.1
2024-03-01T10:02:00,mine,0a1b2c3d-tracker,120,0.06,0.03,0.3
2024-03-01T10:03:00,mine,ffffffff-tracker,60,0.02,0.01,0.1
2024-03-01T10:04:00,mine,ffffffff-tracker,120,0.04,0.005,0.2
"""


@pytest.fixture
def emissions(tmp_path):
    path = tmp_path / "emissions.csv"
    path.write_text(ROWS)
    return path


def test_the_table_has_the_energy_of_each_training(joulelab, emissions):
    code, out, _ = joulelab("import", "codecarbon", emissions)

    lines = [line.split() for line in out.splitlines() if "2024" in line]
    assert code == 0
    assert [line[2:4] for line in lines] == [
        ["0a1b2c3d", "1"],
        ["0a1b2c3d", "2"],
        ["ffffffff", "1"],
        ["ffffffff", "2"],
    ]
    assert out.split("2024")[0].split().count("(kJ)") == 2
    assert [line[6] for line in lines] == ["360", "720", "360", "360"]


def test_the_rule_of_a_row_can_be_read_where_the_table_is_narrow(joulelab, tmp_path):
    columns = "timestamp,run_id,duration,emissions,cpu_energy,gpu_energy,ram_energy,energy_consumed"
    first = "2022-05-22T22:33:20,47a7b232-1006,1674.8,.0077,.0197,.0330,.0027,.0555"
    second = "2022-05-22T23:03:14,47a7b232-1006,3468.5,.0161,.0409,.0701,.0056,.1167"
    path = tmp_path / "emissions.csv"
    path.write_text(f"{columns}\n{first}\n{second}\n")
    out = joulelab("import", "codecarbon", path)[1]
    assert max(map(len, out.splitlines())) <= 80
    assert "goes on" in out
    assert "…" not in out


def test_the_trap_and_impossible_energies_are_said_on_standard_error(joulelab, emissions):
    _, out, err = joulelab("import", "codecarbon", emissions)

    # As they stand 0.1 + 0.3 + 0.1 + 0.2 = 0.7 kWh; the trainings took 0.5.
    assert "1.40 times the 1.80 MJ actually used" in err
    assert "0a1b2c3d-tracker (2 rows) and ffffffff-tracker (2 rows)" in err
    assert "line 5 (ffffffff-tracker), cpu_energy_j" in err
    assert "1.40" not in out


def test_csv_has_the_differences_and_no_reading_as_it_stands(joulelab, emissions):
    _, out, _ = joulelab("import", "codecarbon", emissions, "--csv")

    table = pd.read_csv(io.StringIO(out))
    assert table["energy_j"].to_list() == pytest.approx([3.6e5, 7.2e5, 3.6e5, 3.6e5])
    assert table["rule"].to_list() == ["first", "goes on"] * 2
    assert table["impossible"].to_list() == [False, False, False, True]
    assert not any(name.startswith("cumulative") for name in table)


def test_json_has_the_trainings_and_the_trap(joulelab, emissions):
    _, out, _ = joulelab("import", "codecarbon", emissions, "--json")

    answer = json.loads(out)
    assert answer["schema_version"] == 1
    assert answer["cumulative_run_ids"] == {"0a1b2c3d-tracker": 2, "ffffffff-tracker": 2}
    assert answer["energy_j"] == pytest.approx(1.8e6)
    assert answer["naive_energy_j"] == pytest.approx(2.52e6)
    assert [one["place"] for one in answer["trainings"]] == [1, 2, 1, 2]
    assert answer["impossible"][0]["column"] == "cpu_energy_j"


def test_a_file_of_something_else_and_an_unknown_tool_are_errors(joulelab, emissions, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")

    code, _, err = joulelab("import", "codecarbon", other)
    assert code == 1
    assert f"{other}: no column 'timestamp'" in err
    code, _, err = joulelab("import", "abacus", emissions)
    assert code == 2
    assert "abacus" in err
