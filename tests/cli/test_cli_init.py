"""`joulelab init`: a study file to begin with, for a command or a function."""

import json
import stat
import sys

import pytest

from joulelab.study.study_file import load_spec

FUNCTION = """
def train(width=32, *, rate=0.1, wide=False, model="svm", device="cpu", depth, seed=0, out=None):
    return {"accuracy": 0.5}

def nothing(*numbers):
    return 1
"""
WORK = "import sys\nprint('{\"accuracy\": 0.5}')\n"
QUICK = [
    "--set=energy.idle_s=0",
    "--set=energy.cool_down_s=0",
    '--set=energy.meters=["estimate"]',
    "--set=experiment.study.repetitions=1",
]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(file):
    """The only experiment of a file."""
    (one,) = load_spec(file).experiments().values()
    return one


def test_the_file_runs_as_it_is_written(tmp_path, joulelab, unpictured):
    (tmp_path / "work.py").write_text(WORK)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(stat.S_IRWXU)
    code, out, _ = joulelab("init", "--command", f"{python} work.py {{width}} {{mode}}")
    assert code == 0
    assert "run joulelab plan study.toml" in out
    text = (tmp_path / "study.toml").read_text()
    assert text.count("#") > 5
    code, *_ = joulelab("run", "study.toml", *QUICK, "--out", "out")
    assert code == 0
    _, out, _ = joulelab("export", "out")
    heading, *rows = out.strip().splitlines()
    assert {"width", "mode", "accuracy", "energy_gross_j", "duration_s"} <= set(heading.split(","))
    assert len(rows) == 6


def test_the_commented_keys_are_valid_too(tmp_path, joulelab):
    joulelab("init")
    text = (tmp_path / "study.toml").read_text()
    for key in ("timeout_s", "claims"):
        assert f"# {key}" in text
        text = text.replace(f"# {key}", key)
    (tmp_path / "study.toml").write_text(text)
    assert table("study.toml").claims == ["width moves energy"]


def test_the_parameters_of_a_function_are_its_factors(tmp_path, joulelab):
    (tmp_path / "work.py").write_text(FUNCTION)
    code, out, _ = joulelab("init", "mine.toml", "--function", "work.py:train", "--json")
    assert code == 0
    assert json.loads(out)["file"] == "mine.toml"
    assert table("mine.toml").vary == {
        "width": [32, 64],
        "rate": [0.1, 0.2],
        "wide": [False, True],
        "model": ["svm"],
        "depth": [1, 2],
    }


@pytest.mark.parametrize("file", ["my study.toml", "naïve.toml", "_.toml", "no-ending", "a.b.toml"])
def test_whatever_the_file_is_called_it_is_a_study(joulelab, file):
    code, out, _ = joulelab("init", file)
    assert code == 0
    assert load_spec(file).name
    assert "run joulelab plan 'my study.toml'" in " ".join(out.split()) or " " not in file


@pytest.mark.parametrize("level", ['"', "'", "\\", "#", "ä"])
def test_a_command_keeps_its_quotes(joulelab, level):
    command = ["python", "work.py", f"--text={level}", "{width}"]
    line = " ".join([*command[:2], f'"--text={level}"' if level == "'" else f"'--text={level}'"])
    code, *_ = joulelab("init", "--command", f"{line} {{width}}")
    assert code == 0
    assert table("study.toml").texts == command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["work.py"], "work.py exists already"),
        (["no/such/folder/study.toml"], "No such file or directory"),
        (["--command", "a {b}", "--function", "work.py:train"], "leave out one of them"),
        (["--command", "train 'a {b}"], "cannot be split"),
        (["--command", "train {a b}"], "a brace begins or ends a placeholder"),
        (["--command", "train --seed {seed}"], "write a level as {width}"),
        (["--function", "work.py:nothing"], "give the function a parameter"),
        (["--function", "work.py:no"], "its functions: train, nothing"),
        (["--function", "none.py:train"], "none.py does not exist"),
        (["--function", "train"], "'train' is not a function in a file: it names no file"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(tmp_path, joulelab, arguments, said):
    (tmp_path / "work.py").write_text(FUNCTION)
    code, _, err = joulelab("init", *arguments)
    assert code == 2
    assert said in " ".join(err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["work.py"]
