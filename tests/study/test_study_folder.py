"""Plug-in files of a study: copied into its results folder, moved with it, given anew."""

import json
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w

from joulelab.errors import PluginError, StoreMismatchError, StoreWriteError, UntrustedCodeError
from joulelab.study.listener import Listener
from joulelab.study.results import Results
from joulelab.study.spec import kinds
from joulelab.study.study import Study
from joulelab.study.trust import Code

PLUGIN = '''
from typing import Literal
from joulelab.kinds import CallWorkload
from joulelab.study.design import Factor
from joulelab.study.spec import ExperimentSpec, Kind, register

class Spec(ExperimentSpec):
    """Counting: numbers."""

    kind: Literal["counting"]
    numbers: list[int]

    def factors(self):
        return [Factor("number", tuple(self.numbers))]

class Workload(CallWorkload):
    def prepare(self, levels, seed):
        return lambda: {"counted": levels["number"]}

register("counting")(Kind(Spec, Workload))
'''
STUDY = """
plugins = ["parts/own_kind.py"]
[energy]
meters = ["estimate"]
interval_s = 0.02
idle_s = 0
cool_down_s = 0
[experiment.e]
kind = "counting"
numbers = [1, 2, 3]
repetitions = 1
"""


class InterruptAtOnce(Listener):
    """Ends the session after one run."""

    def finished(self, rows, total):
        raise KeyboardInterrupt


def forget():
    """As in a process that has not loaded the plug-in."""
    kinds._registered.pop("counting", None)
    for name in [name for name in sys.modules if name.startswith("joulelab_plugin_")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A project with a study of which one run is done."""
    folder = tmp_path_factory.mktemp("user") / "project"
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "own_kind.py").write_text(PLUGIN)
    (folder / "counting.toml").write_text(STUDY)
    with pytest.raises(KeyboardInterrupt):
        Study.load(folder / "counting.toml").run(folder / "out", InterruptAtOnce())
    yield folder
    forget()


@pytest.fixture
def project(begun, tmp_path):
    """A copy of it, in which the plug-in is not loaded yet."""
    forget()
    return shutil.copytree(begun, tmp_path / "project")


@pytest.fixture(params=["new", "old"])
def moved(request, project, tmp_path):
    """The results folder in another place, without the original; also one of an older joulelab."""
    folder = tmp_path / "moved"
    shutil.move(project / "out", folder)
    if request.param == "old":
        as_of_old(folder, project / "parts" / "own_kind.py")
    (project / "parts" / "own_kind.py").unlink()
    return folder


def as_of_old(folder, plugin):
    """Without copies, the original named by its absolute path."""
    study, path = tomllib.loads((folder / "study.toml").read_text()), folder / "manifest.json"
    (folder / "study.toml").write_text(tomli_w.dumps({**study, "plugins": [str(plugin)]}))
    manifest = json.loads(path.read_text())
    (digest,) = manifest["plugins"].values()
    del manifest["code"]
    path.write_text(json.dumps({**manifest, "plugins": {str(plugin): digest}}))
    shutil.rmtree(folder / "code")


def finished(folder):
    frame = Results.open(folder).to_frame()
    return sorted(frame["counted"].dropna()) == [1, 2, 3]


def test_a_plugin_is_copied_and_named_by_a_relative_path(project):
    out = project / "out"
    assert tomllib.loads((out / "study.toml").read_text())["plugins"] == ["code/own_kind.py"]
    assert (out / "code" / "own_kind.py").read_text() == PLUGIN
    assert list(json.loads((out / "manifest.json").read_text())["plugins"]) == ["code/own_kind.py"]


def test_the_study_goes_on_by_its_file_by_its_folder_and_from_another_place(project, begun):
    for study in (project / "counting.toml", project / "out"):
        Study.load(study, trust=True).run(project / "out")
        assert finished(project / "out")


@pytest.mark.parametrize("command", ["status", "report", "export", "compare"])
def test_reading_a_moved_folder_needs_no_plugin(moved, command, joulelab, unpictured):
    code, _, said = joulelab(command, *([moved] * (2 if command == "compare" else 1)))
    assert code == 0, said
    assert "counting" not in kinds.names()


def test_the_plugin_can_be_given_anew_where_its_content_is_the_same(moved, tmp_path):
    given, other = tmp_path / "renamed.py", tmp_path / "own_kind.py"
    given.write_text(PLUGIN)
    other.write_text(f"{PLUGIN}# changed\n")
    with pytest.raises(StoreMismatchError) as refused:
        Study.load(moved, plugins=[other])
    assert f"{other} is not a plug-in of the study in {moved}, or has changed" in str(refused.value)
    assert "its plug-ins: own_kind.py" in str(refused.value)
    study = Study.load(moved, plugins=[given])
    assert len(study.plan().left(study.states())) == 2
    study.run(moved)
    assert finished(moved)
    given.unlink()
    # From now on the folder has a copy, whoever began it.
    assert (moved / "code" / "own_kind.py").read_text() == PLUGIN
    assert tomllib.loads((moved / "study.toml").read_text())["plugins"] == ["code/own_kind.py"]
    assert Study.load(moved, trust=True).spec.plugins == [str(moved / "code" / "own_kind.py")]


def test_a_folder_whose_plugin_is_lost_says_so(project):
    as_of_old(project / "out", project / "parts" / "own_kind.py")
    (project / "parts" / "own_kind.py").unlink()
    with pytest.raises(PluginError, match="cannot be read"):
        Study.load(project / "out", trust=True)


def test_a_changed_plugin_is_refused_with_the_place_of_the_copy(project):
    plugin = project / "parts" / "own_kind.py"
    plugin.write_text(f"{PLUGIN}# changed\n")
    with pytest.raises(StoreMismatchError) as refused:
        Study.load(project / "counting.toml").run(project / "out")
    assert f"the plug-in {plugin} has changed since the study began" in str(refused.value)
    assert f"restore it from {project / 'out' / 'code' / 'own_kind.py'}" in refused.value.hint
    forget()
    (project / "out" / "code" / "own_kind.py").write_text(f"{PLUGIN}# changed\n")
    with pytest.raises(UntrustedCodeError):
        Study.load(project / "out")
    with pytest.raises(StoreMismatchError, match="has changed since"):
        Study.load(project / "out", trust=True).predict()


def test_copies_are_not_written_through_links(project, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(project / "out" / "code")
    (project / "out" / "code").symlink_to(elsewhere)
    with pytest.raises(StoreWriteError, match="is a link"):
        Study.load(project / "counting.toml").run(project / "out")
    assert not list(elsewhere.iterdir())


def test_a_plan_of_a_folder_is_about_what_is_left(project, joulelab):
    code, out, said = joulelab("plan", project / "out", "--trust", "--json")
    assert code == 0, said
    told = json.loads(out)
    assert (told["runs"], told["done"], len(told["order"])) == (2, 1, 2)
    assert len(told["configurations"]) == 2
    Study.load(project / "out", trust=True).run(project / "out")
    forget()
    code, out, said = joulelab("plan", project / "out")
    assert code == 0, said
    assert out.startswith("finished: 3 of 3 runs; ended 20")
    assert "J gross in all" in out
    assert "counting" not in kinds.names()
    code, out, _ = joulelab("plan", project / "out", "--json")
    told = json.loads(out)
    assert (code, told["runs"], told["done"], told["failed"]) == (0, 0, 3, 0)


def test_code_is_named_from_a_folder_that_is_given_in_any_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "code" / "code" / "work.py"
    refused = UntrustedCodeError(Path("code/study.toml"), [Code(str(file), file, "0")])
    assert "run yet: code/work.py" in str(refused)
    assert "--plugin" in refused.hint
    named = Code(f"'work.py:train in {file.parent}'", None, "0")
    assert "--plugin" not in UntrustedCodeError(Path("code/study.toml"), [named]).hint
