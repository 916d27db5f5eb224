"""The results folder of a user's program is whole: moved, read, continued, and nothing changed."""

import json
import shutil
import tomllib

import pytest

from joulelab.errors import StoreMismatchError, UntrustedCodeError
from joulelab.kinds.program.own_files import command_files, imported_files
from joulelab.study.listener import Listener
from joulelab.study.results import Results
from joulelab.study.study import Study

WORK = """
import json, os, sys
import nets.model
with open("data.txt") as data:
    print(json.dumps({"score": nets.model.size(int(sys.argv[1])), "where": os.getcwd()}))
"""
TRAIN = """
import os

def train(width):
    import helper
    return {"score": helper.twice(width), "where": os.getcwd()}
"""
STUDY = """
name = "own"
[energy]
meters = ["estimate"]
interval_s = 0.02
idle_s = 0
cool_down_s = 0
[experiment.command]
kind = "command"
command = "python work.py {width} settings.json"
repetitions = 2
metrics = { score = "max" }
[experiment.command.vary]
width = [1, 2]
[experiment.function]
kind = "function"
function = "train.py:train"
repetitions = 1
metrics = { score = "max" }
[experiment.function.vary]
width = [1, 2]
"""
FILES = {
    "work.py": WORK,
    "nets/model.py": "from .parts import one\n\ndef size(width):\n    return width * one\n",
    "nets/parts.py": "one = 1\n",
    "train.py": TRAIN,
    "helper.py": "def twice(n):\n    return 2 * n\n",
    "settings.json": "{}",
    "data.txt": "here",
    "own.toml": STUDY,
}
CODE = ["helper.py", "nets/model.py", "nets/parts.py", "train.py", "work.py"]
RUNS = 6


class InterruptAfter(Listener):
    """Ends the session after some runs."""

    def __init__(self, count):
        self.left = count

    def finished(self, rows, total):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A project with its results, of which a run is left for the function and one is done."""
    folder = tmp_path_factory.mktemp("user") / "project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(KeyboardInterrupt):
        Study.load(folder / "own.toml").run(folder / "out", InterruptAfter(RUNS - 1))
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    return folder, kept


@pytest.fixture
def project(begun):
    """The project as it was after the interruption, in the place where it was."""
    folder, kept = begun
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept, folder)
    return folder


@pytest.fixture
def moved(project, tmp_path):
    """The results folder in another place; the project does not exist any more."""
    folder = tmp_path / "moved"
    shutil.move(project / "out", folder)
    shutil.rmtree(project)
    return folder


def whole(folder):
    """Where each run was, after all have finished."""
    frame = Results.open(folder).to_frame()
    assert list(frame["state"]) == ["finished"] * RUNS, list(frame["error"])
    by_experiment = frame.groupby("experiment")["score"].apply(lambda one: sorted(one.astype(int)))
    assert dict(by_experiment) == {"command": [1, 1, 2, 2], "function": [2, 4]}
    return list(frame["where"])


def changed_ns(folder):
    """When each file was changed, but for those that reading the database makes."""
    files = [path for path in folder.rglob("*") if not path.name.endswith(("-shm", "-wal"))]
    return {path: path.stat().st_mtime_ns for path in files if path.is_file()}


def test_code_is_copied_and_named_by_relative_paths(project):
    out = project / "out"
    study = tomllib.loads((out / "study.toml").read_text())["experiment"]
    assert (study["command"]["cwd"], study["function"]["cwd"]) == ("code", "code")
    assert study["command"]["command"] == "python work.py {width} settings.json"
    assert study["function"]["function"] == "train.py:train"
    manifest = json.loads((out / "manifest.json").read_text())
    assert sorted(manifest["code"]["files"]) == CODE
    for name in (*CODE, "settings.json"):
        assert (out / "code" / name).read_text() == FILES[name]
    assert not (out / "code" / "data.txt").exists()


def test_a_moved_folder_is_read_without_its_code_and_goes_on_with_its_copies(
    moved, tmp_path, joulelab, unpictured
):
    shutil.copytree(moved, tmp_path / "other")
    for command in ("status", "report", "export"):
        code, out, said = joulelab(command, moved)
        assert code == 0, said
        assert out
    code, out, said = joulelab("compare", moved, tmp_path / "other")
    assert code == 0, said
    code, out, said = joulelab("plan", moved, "--trust", "--json")
    assert code == 0, said
    assert (json.loads(out)["runs"], json.loads(out)["done"]) == (1, RUNS - 1)
    code, _, said = joulelab("run", moved, "--trust")
    assert code == 0, said
    assert whole(moved)[-1] == str(moved / "code")
    code, out, _ = joulelab("plan", moved)
    assert code == 0
    assert out.startswith(f"finished: {RUNS} of {RUNS} runs")


def test_the_code_of_a_folder_that_was_moved_here_runs_only_if_the_user_says_so(moved, joulelab):
    before = changed_ns(moved)
    for command in ("plan", "run"):
        code, out, said = joulelab(command, moved)
        assert (code, out) == (2, "")
        for name in CODE:
            assert f"code/{name}" in said
        assert "python work.py {width}" in said
    assert changed_ns(moved) == before


def test_a_module_beside_the_copies_is_named_before_it_runs(moved):
    (moved / "code" / "helper.py").write_text("raise SystemExit('it ran')\n")
    with pytest.raises(UntrustedCodeError, match=r"helper\.py"):
        Study.load(moved)


@pytest.mark.parametrize("by", ["own.toml", "out"])
def test_the_study_goes_on_in_its_working_folder_by_its_file_or_by_its_folder(project, by):
    Study.load(project / by).run(project / "out")
    assert whole(project / "out")[-1] == str(project)


@pytest.mark.parametrize("by", ["own.toml", "out"])
def test_a_project_that_is_moved_with_its_results_is_found_from_them(project, tmp_path, by):
    elsewhere = shutil.move(project, tmp_path / "elsewhere")
    Study.load(elsewhere / by, trust=True).run(elsewhere / "out")
    assert whole(elsewhere / "out")[-1] == str(elsewhere)


@pytest.mark.parametrize("name", CODE)
def test_changed_code_is_refused_and_the_folder_goes_on_with_the_copies(project, name):
    out = project / "out"
    (project / name).write_text(f"{FILES[name]}\n# changed\n")
    with pytest.raises(StoreMismatchError) as refused:
        Study.load(project / "own.toml").run(out)
    assert f"{project / name} has changed since the study began" in str(refused.value)
    assert f"restore it from {out / 'code' / name}, or choose another folder" in refused.value.hint
    if name in {"train.py", "work.py"}:
        Study.load(out).run(out)
        assert whole(out)[-1] == str(out / "code")


@pytest.mark.parametrize("change", ["changed", "deleted"])
def test_a_changed_copy_is_refused_and_a_given_file_takes_the_place_of_a_lost_one(
    moved, change, tmp_path
):
    copy = moved / "code" / "helper.py"
    copy.write_text("changed = True\n") if change == "changed" else copy.unlink()
    study = Study.load(moved, trust=True)
    for does in (study.predict, lambda: study.run(moved)):
        with pytest.raises(StoreMismatchError, match=r"helper\.py has changed") as refused:
            does()
        assert refused.value.hint == "restore it, or choose another folder with --out"
    if change == "deleted":
        given = tmp_path / "of another name.py"
        given.write_text(FILES["helper.py"])
        Study.load(moved, plugins=[given], trust=True).run(moved)
        whole(moved)


def test_a_data_file_that_the_program_may_have_written_can_change(project):
    (project / "settings.json").write_text('{"changed": true}')
    Study.load(project / "own.toml").run(project / "out")
    whole(project / "out")


def test_absolute_paths_and_files_above_the_working_folder_keep_their_layout(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "work.py").write_text("print('{\"a\": 1}')")
    (tmp_path / "tool.py").write_text("print('{\"a\": 1}')")
    (tmp_path / "study").mkdir()
    text = STUDY.partition("[experiment.command]")[0] + "".join(
        f'[experiment.{name}]\nkind = "command"\ncommand = "python {path} {{width}}"\n'
        f"repetitions = 1\n[experiment.{name}.vary]\nwidth = [1]\n"
        for name, path in {"above": "../src/work.py", "absolute": tmp_path / "tool.py"}.items()
    )
    (tmp_path / "study" / "own.toml").write_text(text)
    out = tmp_path / "out"
    Study.load(tmp_path / "study" / "own.toml").run(out)
    stored = tomllib.loads((out / "study.toml").read_text())["experiment"]
    assert {table["cwd"] for table in stored.values()} == {"code/study"}
    assert stored["above"]["command"] == "python ../src/work.py {width}"
    assert stored["absolute"]["command"] == "python ../tool.py {width}"
    Study.load(tmp_path / "study" / "own.toml").run(out)
    for name in ("src", "tool.py", "study"):
        (tmp_path / name).rename(tmp_path / f"{name}-gone")
    again = Study.load(out, trust=True).run(tmp_path / "again").to_frame()
    assert list(again["state"]) == ["finished"] * 2


def test_files_are_found_by_levels_modules_and_imports(tmp_path):
    for name in ("a.py", "b.py", "pack/__init__.py", "pack/__main__.py", "pack/inner/deep.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "a.py").write_text("def f():\n    from pack.inner import deep\n")
    (tmp_path / "pack" / "__main__.py").write_text("import json, missing\nfrom .. import b\n")

    def found(command, **levels):
        files = command_files(command, tmp_path, levels)
        assert all(files.values())
        return sorted(str(path.relative_to(tmp_path)) for path in files)

    both = ["a.py", "b.py", "pack/__init__.py", "pack/inner/deep.py"]
    assert found("python {which}.py {seed}", which=["a", "b", "c"]) == both
    assert found("python -m pack") == ["b.py", "pack/__init__.py", "pack/__main__.py"]
    assert found("true a.txt '' ~nobody/x") == []
    (tmp_path / "broken.py").write_text("import (")
    assert imported_files([tmp_path / "broken.py", tmp_path / "none.py"]) == []


def test_a_study_whose_code_changes_while_it_runs_stops(project):
    class Edit(Listener):
        def finished(self, rows, total):
            (project / "helper.py").write_text("changed = True\n")

    shutil.rmtree(project / "out")
    with pytest.raises(StoreMismatchError, match=r"helper\.py has changed"):
        Study.load(project / "own.toml").run(project / "out", Edit())
    states = list(Results.open(project / "out").to_frame()["state"])
    assert states == ["finished"] + ["planned"] * (RUNS - 1)


def test_what_a_command_writes_is_not_its_code(tmp_path):
    contents = {"a.c": b"", "a.out": b"\x7fELF", "run": b"#!/bin/sh\n", "log.csv": b"a,b\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    def code(command, **how):
        files = command_files(command, tmp_path, {}, **how)
        return {path.name for path, is_code in files.items() if is_code}

    assert code("gcc a.c -o a.out && ./a.out > log.csv", shell=True) == {"a.c"}
    assert code("taskset 1 ./a.out log.csv") == {"a.out"}
    assert code("./run -o a.out log.csv") == {"run"}
