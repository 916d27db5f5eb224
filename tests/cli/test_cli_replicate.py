"""``joulelab replicate`` as its users call it."""

import json
import re
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from raw_files import architecture_rows, tuning_rows, write, write_pair

from joulelab.cli.replicating import conclusion, notes
from joulelab.present.terminal import to_text
from joulelab.replication.published import Comparison, Published, Recomputed

KEYS = ["table", "dataset", "cell", "published", "recomputed", "agrees", "note"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"), "cifar10")


def compared(cell, text, value, note="", dataset="cifar10"):
    return Comparison(Published("Table I", dataset, cell, text), Recomputed(value, note))


def test_json_is_a_bare_list_on_standard_output_and_nothing_else_is(joulelab, tmp_path):
    rows = [row | {"accuracy": 100 * row["accuracy"]} for row in architecture_rows()]
    write(tmp_path / "architecture-cifar10.csv", rows)
    code, out, err = joulelab("replicate", "yarally2023", "--data", tmp_path, "--json")
    assert code == 0, err
    found = json.loads(out, parse_constant=pytest.fail)
    assert isinstance(found, list)
    assert all(list(row) == KEYS for row in found)
    by_cell = {row["cell"]: row for row in found if row["table"] == "Table V"}
    assert by_cell["E+.mean_energy_j"]["published"] == 4588
    assert by_cell["E+.mean_energy_j"]["recomputed"] == pytest.approx(1557.5)
    assert by_cell["E+.mean_energy_j"]["agrees"] is False
    assert by_cell["E+.max_accuracy"]["recomputed"] == pytest.approx(0.855)
    assert "in per cent" in by_cell["E+.max_accuracy"]["note"]
    assert err == "architecture-cifar10.csv: accuracies in the file are in per cent\n"


def test_the_tables_fit_into_80_columns_and_begin_with_the_count(joulelab, pair):
    code, out, err = joulelab("replicate", "yarally2023", "--data", pair)
    assert code == 0, err
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert err == ""
    for title in ("Table I, cifar10", "Table III, cifar10", "Section VI-B, cifar10"):
        assert title in out
    assert "Table IV, fashion-mnist" not in out
    (row,) = [line for line in out.splitlines() if "E-.mean_energy_j " in line]
    assert row.split() == ["E-.mean_energy_j", "2758", "557.5", "no"]
    first, *rest = out.splitlines()
    assert first.endswith("of 81 published numbers agree.")
    assert "The others" in rest[1]
    assert "Table I, cifar10" in "".join(rest[2:8])


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["replicate", "yaraly2023", "--data", "."], "did you mean 'yarally2023'?"),
        (["replicate", "yarally2023", "--data", "EMPTY"], "architecture-DATASET.csv"),
        (["replicate", "yarally2023"], "--data"),
    ],
    ids=["unknown study", "folder without files", "no folder"],
)
def test_wrong_usage_says_what_is_wrong_and_ends_with_2(joulelab, tmp_path, arguments, what):
    code, out, err = joulelab(*[str(tmp_path) if one == "EMPTY" else one for one in arguments])
    assert code == 2
    assert out == ""
    assert what in err
    assert "Traceback" not in err


def test_a_mistake_in_a_file_is_two_lines_with_file_column_and_line(joulelab, tmp_path):
    rows = tuning_rows()
    rows[0]["accuracy"] = "?"
    path = write(tmp_path / "tuning-cifar10.csv", rows)
    code, out, err = joulelab("replicate", "yarally2023", "--data", tmp_path, "--json")
    assert code == 1
    assert out == ""
    assert err.splitlines() == [
        f"error: {path}, line 2, column accuracy: '?' is not a number",
        "write 12.5; units are optional",
    ]


def test_help_names_the_files_and_their_columns(joulelab):
    text = " ".join(joulelab("replicate", "--help")[1].split())
    for word in ("architecture-DATASET.csv", "tuning-DATASET.csv", "relu_layers", "strategy"):
        assert word in text


class Refused:
    """A finder that refuses some libraries."""

    def __init__(self, *names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        assert name not in self.names, f"{name} is imported"


def test_neither_torch_nor_a_plotting_library_is_loaded(pair, joulelab, monkeypatch):
    refused = ("torch", "matplotlib", "seaborn", "sklearn")
    monkeypatch.setattr(sys, "meta_path", [Refused(*refused), *sys.meta_path])
    with patch.dict(sys.modules):
        for name in list(sys.modules):
            if name.partition(".")[0] in {"joulelab", *refused}:
                del sys.modules[name]
        code, out, err = joulelab("replicate", "yarally2023", "--data", pair)
    assert (code, err) == (0, "")
    assert "published numbers agree" in out


def test_an_unknown_study_is_found_out_before_the_folder_is_looked_at(joulelab, tmp_path):
    code, _, err = joulelab("replicate", "xu2032", "--data", tmp_path / "nowhere")
    assert code == 2
    assert "did you mean 'xu2023'?" in err


def test_a_note_that_several_cells_share_is_printed_once():
    same = [compared(cell, "1", 1, "a cause") for cell in ("a", "b")]
    assert notes([*same, compared("c", "1", 1)]) == ["a, b: a cause"]


def test_the_conclusion_counts_what_agrees_and_names_the_rest():
    lines = (
        compared("right", "0.5", 0.5),
        compared("wrong", "0.5", 0.4),
        compared("also", "0.5", 0.3),
        compared("hours", "85", None, "no times", dataset="all"),
    )
    count, others = conclusion(lines)
    assert count == "1 of 4 published numbers agrees."
    assert [one.split() for one in to_text(others).splitlines()[3:]] == [
        ["Table", "I,", "cifar10", "wrong,", "also", "differs"],
        ["Table", "I,", "all", "hours", "cannot", "be", "recomputed"],
    ]
    assert conclusion(lines[:1]) == ["1 of 1 published number agrees."]


def test_the_document_shows_what_the_authors_data_give(data_dir, joulelab):
    folder = data_dir / "yarally2023"
    if not (folder / "architecture-fashion-mnist.csv").is_file():
        pytest.skip(f"no published measurements in {folder}")
    document = (Path(__file__).parents[2] / "docs" / "replication.md").read_text()
    fences = re.findall(r"^```text\n(.*?)^```", document, re.S | re.M)
    (shown,) = [one for one in fences if "Table IV, fashion-mnist" in one]
    _, out, _ = joulelab("replicate", "yarally2023", "--data", folder)
    printed = [line.rstrip() for line in out.splitlines()]
    first = printed.index("Table IV, fashion-mnist")
    assert printed[first : first + len(shown.splitlines())] == shown.splitlines()
    counts = re.findall(r"(\d+ of \d+ published numbers agree)", document)
    assert any(line.startswith(count) for line in printed for count in counts)
