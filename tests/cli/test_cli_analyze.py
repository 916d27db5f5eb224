"""``joulelab analyze``: the statistics of a study on anybody's table."""

import json

import pandas as pd
import pytest

from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import report_data
from joulelab.study.results import Results

ENERGY_TABLES = (
    "assumptions",
    "kruskal",
    "increase",
    "dominance",
    "interactions",
    "clusters",
    "variation",
    "time-energy",
    "flops",
)


@pytest.fixture
def exported(finished, tmp_path, joulelab):
    """The runs of the study as ``joulelab export`` writes them."""
    path = tmp_path / "runs.csv"
    code, _, _ = joulelab("export", finished, "--out", path)
    assert code == 0
    return path


@pytest.fixture(scope="module")
def reported(finished):
    """What ``joulelab report --json`` says of the study."""
    return report_data(ReportedStudy(Results.open(finished)))


def rows_of(tables, key):
    """The rows of a table; configurations have other names in a table from elsewhere."""
    one = tables[key]
    if "omitted" in one:
        return one["omitted"]
    named = {"configuration", "first", "second", "faster", "slower"}
    return [{k: v for k, v in row.items() if k not in named} for row in one["rows"]]


@pytest.fixture
def table(tmp_path):
    """A table of layers with two factors, energies and accuracies."""
    rows = [
        {
            "depth": depth,
            "pooling": pooling,
            "round": number,
            "energy_j": 100.0 * depth + 7 * number + (3 if pooling == "max" else 0),
            "accuracy": 0.80 + 0.01 * depth + 0.001 * number,
        }
        for depth in (1, 2, 4)
        for pooling in ("max", "mean")
        for number in range(4)
    ]
    path = tmp_path / "layers.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("named", [True, False])
def test_an_export_gives_the_statistics_of_the_report(exported, reported, joulelab, named):
    factors = ["--factor", "conv_layers", "--factor", "relu"] if named else []
    energy = ["--energy", "energy_net_j"] if named else []
    code, out, err = joulelab("analyze", "architecture", exported, *factors, *energy, "--json")
    assert (code, err) == (0, "")
    data = json.loads(out, parse_constant=pytest.fail)
    expected = reported["experiments"]["architecture"]["tables"]
    assert data["factors"] == ["conv_layers", "relu"]
    assert data["rows"] == 8
    assert isinstance(rows_of(expected, "kruskal"), list)
    for key in ENERGY_TABLES:
        assert rows_of(data["tables"], key) == rows_of(expected, key), key
    claims = [claim for claim in reported["claims"] if "architecture" in claim["scope"]]
    assert [one | {"scope": ""} for one in data["claims"]] == [
        one | {"scope": ""} for one in claims
    ]


def test_a_search_in_an_export_gives_the_statistics_of_the_report(exported, reported, joulelab):
    code, out, _ = joulelab("analyze", "tuning", exported, "--json")
    assert code == 0
    data = json.loads(out, parse_constant=pytest.fail)
    expected = reported["experiments"]["tuning"]["tables"]
    assert set(data["factors"]) == {"strategy", "network", "hyperparameters"}
    assert len(rows_of(data["tables"], "optima")) == 3
    for key in ("optima", "optimum-uncertainty", "ranks", "kruskal"):
        assert rows_of(data["tables"], key) == rows_of(expected, key), key
    assert "18 runs" not in str(data["remarks"])


def test_json_has_a_schema_version_and_says_what_was_understood(table, joulelab):
    code, out, err = joulelab("analyze", "architecture", table, "--json")
    assert (code, err) == (0, "")
    data = json.loads(out, parse_constant=pytest.fail)
    assert data["schema_version"] == 1
    assert (data["kind"], data["rows"], data["energy"]) == ("architecture", 24, "energy_j")
    assert data["factors"] == ["depth", "pooling"]
    assert "report" not in data
    kruskal = {row["factor"]: row for row in data["tables"]["kruskal"]["rows"]}
    assert kruskal["depth"]["k"] == 3
    assert kruskal["depth"]["p"] < 0.001
    assert data["tables"]["utilisation"]["omitted"]
    assert data["claims"][0]["claim"] == "hyperparameters-do-not-move-energy"


def test_the_output_fits_into_80_columns_and_has_tables_and_claims(table, joulelab):
    code, out, err = joulelab("analyze", "architecture", table)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    assert out.startswith("layers.csv: 24 rows, factors depth and pooling\n")
    for words in ("Kruskal-Wallis (Table IV)", "Claims, architecture on layers", "of unknown"):
        assert words in out
    assert "Dunn's test" in out


def test_a_table_without_energy_says_why_and_has_the_search(tmp_path, joulelab):
    rows = [
        {"strategy": s, "network": n, "round": r, "accuracy": 50 + 3 * r + len(s + n)}
        for s in ("grid", "random")
        for n in ("CNN", "MLP")
        for r in range(4)
    ]
    path = tmp_path / "search.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    code, out, _ = joulelab("analyze", "tuning", path)
    assert code == 0
    text = " ".join(out.split())
    assert "No energy is known: the table has none." in text
    assert "Accuracies in the file are assumed to be in per cent." in text
    assert "left out: Accuracies" not in text
    assert "Optimum accuracy and round of each strategy" in text


def test_pages_are_written_where_they_are_wanted(table, tmp_path, joulelab, unpictured):
    out = tmp_path / "pages"
    code, printed, _ = joulelab("analyze", "architecture", table, "--out", out)
    assert code == 0
    assert printed.splitlines()[-1] == f"report  {out / 'paper.html'}"
    for name in ("paper.html", "paper.md", "claims.html", "claims.md", "paper/tables.tex"):
        assert (out / name).stat().st_size > 0
    assert "layers.csv" in (out / "paper.html").read_text("utf-8")


def test_ties_and_unequal_groups_are_analysed(tmp_path, joulelab):
    path = tmp_path / "ties.csv"
    rows = ["1,10,0.8"] * 5 + ["2,10,0.8"] * 3 + ["2,12,0.9"] * 4
    path.write_text("depth,energy_j,accuracy\n" + "\n".join(rows) + "\n")
    code, out, _ = joulelab("analyze", "architecture", path, "--json")
    assert code == 0
    (row,) = json.loads(out)["tables"]["kruskal"]["rows"]
    assert row["n"] == 12
    assert 0 < row["p"] < 1


def test_energies_that_are_all_the_same_are_no_mistake(tmp_path, joulelab):
    path = tmp_path / "same.csv"
    rows = [f"{depth},{relu},10,0.8" for depth in (1, 2) for relu in (0, 1)] * 3
    path.write_text("depth,relu,energy_j,accuracy\n" + "\n".join(rows) + "\n")
    code, out, err = joulelab("analyze", "architecture", path)
    assert (code, err) == (0, "")
    assert "all values are the same" in " ".join(out.split())
    assert "nan" not in out


def test_a_factor_with_one_level_leaves_out_what_needs_two(tmp_path, joulelab):
    path = tmp_path / "one.csv"
    path.write_text("depth,energy_j,accuracy\n1,10,0.8\n1,11,0.8\n1,12,0.8\n")
    code, out, err = joulelab("analyze", "architecture", path)
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    assert "Constant, so without effect: depth." in text
    assert "Effect of each factor on energy: Kruskal-Wallis (Table IV)" in text
    assert "left out: no factor has two levels." in text


@pytest.mark.parametrize(
    ("text", "options", "code", "said"),
    [
        (None, [], 1, "does not exist"),
        ("", [], 1, "is empty"),
        ("depth,energy_j\n1,2\n", [], 1, "no column 'accuracy'"),
        ("depth,energy_j,accuracy\n1,much,0.5\n", [], 1, "line 2, column energy_j: 'much'"),
        ("depth,energy_j,accuracy\n1,2,-0.5\n", [], 1, "line 2, column accuracy: '-0.5'"),
        ("depth,energy_j,accuracy\n1,2,0.5\n", ["--factor", "dept"], 2, "did you mean 'depth'?"),
        ("depth,energy_j,accuracy\n1,2,0.5\n", ["--energy", "watt"], 2, "no column 'watt'"),
        ("depth,joules,accuracy\n1,2,0.5\n", [], 2, "name it with --energy"),
        ("energy_j,accuracy\n2,0.5\n", [], 2, "no column of"),
        ("depth,energy_j,accuracy\n,2,0.5\n", ["--factor", "depth"], 2, "no row of"),
    ],
)
def test_a_mistake_is_two_lines_and_an_exit_code(tmp_path, joulelab, text, options, code, said):
    path = tmp_path / "table.csv"
    if text is not None:
        path.write_text(text)
    found, out, err = joulelab("analyze", "architecture", path, *options)
    assert (found, out) == (code, "")
    assert err.startswith(f"error: {path}") or err.startswith("error: no ")
    assert said in err
    assert len(err.splitlines()) == 2, "what and where, and what to do"


def test_an_unknown_kind_is_wrong_usage(table, joulelab):
    code, _, err = joulelab("analyze", "serving", table)
    assert code == 2
    assert "'architecture', 'tuning'" in err


def test_help_names_the_columns(joulelab):
    code, out, _ = joulelab("analyze", "--help")
    assert code == 0
    for word in ("energy_j", "accuracy", "strategy", "round", "--factor", "--energy", "--out"):
        assert word in out


def test_the_authors_own_tables_give_the_papers_numbers(data_dir, joulelab):
    folder = data_dir / "yarally2023"
    if not (folder / "architecture-fashion-mnist.csv").is_file():
        pytest.skip(f"no published measurements in {folder}")
    code, out, _ = joulelab(
        "analyze", "architecture", folder / "architecture-fashion-mnist.csv", "--json"
    )
    assert code == 0
    data = json.loads(out)
    assert data["factors"] == ["linear_layers", "conv_layers", "relu"]
    effects = {row["factor"]: row["eta_squared"] for row in data["tables"]["kruskal"]["rows"]}
    assert effects == pytest.approx(
        {"linear_layers": 0.157, "conv_layers": 0.750, "relu": 0.057}, abs=5e-4
    )
    assert [claim["verdict"] for claim in data["claims"]] == [
        "cannot be decided",
        "holds",
        "holds",
        "holds",
    ]
    code, out, _ = joulelab("analyze", "tuning", folder / "tuning-fashion-mnist.csv", "--json")
    claims = json.loads(out)["claims"]
    assert {(claim["verdict"], claim["n"]) for claim in claims} == {("cannot be decided", 6)}
