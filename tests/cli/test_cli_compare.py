"""``joulelab compare``, and ``joulelab report`` of several studies."""

import json
import re

import pytest


def test_a_study_against_itself_agrees_in_everything(finished, joulelab):
    code, out, err = joulelab("compare", finished, finished, "--json")
    assert (code, err) == (0, "")
    data = json.loads(out, parse_constant=pytest.fail)
    assert data["schema_version"] == 1
    assert (data["a"], data["b"]) == (str(finished), str(finished))
    assert data["tables"]["conditions"]["omitted"]
    assert data["remarks"] == []
    layers = data["tables"]["compared-architecture"]["rows"]
    assert len(layers) == 4
    known = [row["ratio"] for row in layers if row["ratio"] is not None]
    assert known == pytest.approx([1] * len(known))
    assert [row["difference"] for row in layers] == [0] * 4
    assert {row["ratio_low"] for row in layers} == {None}, "one round has no interval"
    assert len(data["tables"]["compared-tuning"]["rows"]) == 3
    claims = data["tables"]["claims"]["rows"]
    assert len(claims) == 6
    assert {row["agree"] for row in claims} <= {True, None}, "undecided is not agreement"
    assert data["findings"][-1].startswith("Of 6 claims, ")


def test_the_tables_fit_into_80_columns(finished, joulelab):
    code, out, _ = joulelab("compare", finished, finished)
    assert code == 0
    assert out.startswith("tuning: "), "the answer on energy first"
    answer, named, tables = out.partition(f"A: {finished}\nB: {finished}\n")
    assert named
    assert answer.splitlines()[-1].startswith("Of 6 claims, ")
    for experiment in ("tuning", "architecture"):
        found = (
            f"^{experiment}: (over . configurations B takes 1.000 times the|no ratio of energies)"
        )
        assert re.search(found, answer, re.M)
    assert max(map(len, tables.splitlines())) <= 80
    words = tables.split()
    for word in ("DensePolyNN,", "bayesian-pi", "conv_layers=2,", "relu=off", "configuration"):
        assert word in words, "not broken"


def test_a_folder_without_a_study_is_an_error_that_names_it(finished, tmp_path, joulelab):
    code, out, err = joulelab("compare", finished, tmp_path)
    assert (code, out) == (1, "")
    assert f"{tmp_path} does not hold a study" in err


def test_one_folder_is_wrong_usage(finished, joulelab):
    code, _, err = joulelab("compare", finished)
    assert code == 2
    assert "DIR_B" in err


@pytest.mark.usefixtures("unpictured")
def test_a_report_of_several_studies_is_written_beside_those_of_each(finished, tmp_path, joulelab):
    out = tmp_path / "together"
    code, printed, err = joulelab("report", finished, finished, "--out", out)
    assert (code, err) == (0, "")
    own = finished / "report" / "index.html"
    assert printed.splitlines()[-3:] == [
        f"report  {own}",
        f"report  {own}",
        f"report  {out / 'paper.html'}",
    ]
    assert "Claims, tuning on digits (1)" in printed
    assert max(map(len, printed.split("report  ")[0].splitlines())) <= 80
    assert "digits (2)" in (out / "paper.html").read_text("utf-8")


@pytest.mark.usefixtures("unpictured")
def test_the_claims_of_several_studies_are_plain_data(finished, tmp_path, joulelab):
    code, printed, _ = joulelab("report", finished, "--out", tmp_path / "one", "--json")
    assert code == 0
    data = json.loads(printed, parse_constant=pytest.fail)
    assert data["report"] == str(tmp_path / "one" / "paper.html")
    assert data["reports"] == [str(finished / "report" / "index.html")]
    assert len(data["claims"]) == 6


@pytest.mark.usefixtures("unpictured")
def test_a_folder_that_cannot_be_written_is_said(finished, tmp_path, joulelab):
    (tmp_path / "file").write_text("in the way")
    code, _, err = joulelab("report", finished, "--out", tmp_path / "file")
    assert code == 1
    assert "cannot be written" in err
