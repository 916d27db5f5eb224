"""A results folder from somebody else: reading it, and learning from it, runs none of his code."""

import io
import json
import os
import py_compile
import shutil
import sqlite3
import sys
from contextlib import closing

import pytest

from joulelab.errors import UntrustedCodeError
from joulelab.forecast.history import read_history
from joulelab.study.study import Study


def leaves_a_trace(folder):
    """A program that nobody has run yet: no two are the same."""
    return f"from pathlib import Path\nPath({str(folder / 'it-ran')!r}).touch()\n"


@pytest.fixture(autouse=True)
def nothing_approved(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULELAB_APPROVED", str(tmp_path / "approved"))


@pytest.fixture
def stranger(trained, tmp_path):
    """A folder whose study names a plug-in, and things that only this plug-in knows."""
    folder = tmp_path / "sent" / "layers"
    shutil.copytree(trained, folder)
    (folder / "parts.py").write_text(leaves_a_trace(folder))
    study = folder / "study.toml"
    text = study.read_text().replace("plugins = []", 'plugins = ["parts.py"]')
    text = text.replace('strategy = "random"', 'strategy = "his-own"')
    study.write_text(text.replace('meters = [\n    "estimate",\n]', 'meters = ["his-meter"]'))
    assert "his-own" in study.read_text()
    assert "his-meter" in study.read_text()
    return folder


def interrupt(stranger):
    """A run is left, so that there is something to plan."""
    with closing(sqlite3.connect(stranger / "runs.sqlite")) as connection, connection:
        connection.execute("UPDATE runs SET state = 'planned' WHERE position = 0")


def ran(stranger):
    return (stranger / "it-ran").exists()


@pytest.mark.parametrize("command", ["status", "report", "export", "compare", "places"])
def test_reading_runs_none_of_his_code(joulelab, unpictured, stranger, trained, command):
    more = {"compare": [trained], "places": ["--place", "412"]}.get(command, [])
    code, _, said = joulelab(command, stranger, *more)
    assert code == 0, said
    assert not ran(stranger)


def test_all_of_his_runs_are_learnt_from_and_none_of_his_code_runs(joulelab, stranger, trained):
    ours, his = read_history([trained]), read_history([stranger])
    assert len(his.runs) == 16
    assert his.runs.equals(ours.runs)
    code, printed, said = joulelab(
        "plan", trained, "--from", stranger.parent, "--untimed", "--device", "auto", "--json"
    )
    assert code == 0, said
    assert json.loads(printed)["stored_runs"]["runs"] == 16
    assert not ran(stranger)


def test_runs_of_a_network_of_his_own_are_left_out_with_the_reason(stranger):
    study = stranger / "study.toml"
    text = study.read_text().replace('network = "SimpleCNN"', 'network = "his-net"')
    study.write_text(text)
    (reason,) = read_history([stranger]).left_out
    assert "his-net comes from a plug-in" in reason
    assert not ran(stranger)


def test_a_function_that_his_study_names_is_not_imported_for_its_runs(stranger, monkeypatch):
    (stranger / "evil nets.py").write_text(leaves_a_trace(stranger))
    monkeypatch.chdir(stranger)
    study = stranger / "study.toml"
    text = study.read_text().replace('network = "SimpleCNN"', 'network = "factory"')
    options = "[experiment.layers.network_options]\n"
    assert options in text
    study.write_text(text.replace(options, f'{options}factory = "evil nets:small"\n'))
    (reason,) = read_history([stranger]).left_out
    assert "evil nets:small" in reason
    assert str(stranger / "evil nets.py") in reason
    with pytest.raises(UntrustedCodeError, match="evil nets:small"):
        Study.load(stranger, plugins=[stranger / "parts.py"])
    assert not ran(stranger)


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("name", ["", "study.toml"])
def test_running_on_his_folder_names_his_code_and_runs_nothing(joulelab, stranger, command, name):
    interrupt(stranger)
    before = {path: path.stat().st_mtime_ns for path in stranger.rglob("*")}
    code, printed, said = joulelab(command, stranger / name)
    assert (code, printed) == (2, "")
    assert "parts.py" in said
    assert "--trust" in said
    assert "--plugin" in said
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path.name for path in {*stranger.rglob("*")} - {*before}} <= {
        "runs.sqlite-shm",
        "runs.sqlite-wal",
    }


@pytest.mark.parametrize(("answer", "runs"), [("n\n", False), ("y\n", True)])
def test_on_a_terminal_the_user_is_asked(joulelab, stranger, monkeypatch, answer, runs):
    (stranger / "parts.py").write_text(
        f"{leaves_a_trace(stranger)}raise OSError('no more is needed')\n"
    )
    interrupt(stranger)
    asked = io.StringIO(answer)
    asked.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", asked)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, _, said = joulelab("plan", stranger)
    assert code == 2
    assert str(stranger / "parts.py") in said
    assert ran(stranger) is runs
    assert ("no more is needed" in said) is runs


def with_plugin(trained, folder):
    """The study of a results folder, with a plug-in beside it that leaves a trace."""
    folder.mkdir()
    (folder / "parts.py").write_text(leaves_a_trace(folder))
    text = (trained / "study.toml").read_text()
    (folder / "study.toml").write_text(text.replace("plugins = []", 'plugins = ["parts.py"]'))
    return folder


@pytest.mark.parametrize("said", [{"trust": True}, {"plugins": ["parts.py"]}])
def test_what_the_user_has_named_or_trusted_runs_and_is_not_asked_about_again(
    trained, tmp_path, monkeypatch, said
):
    sent = with_plugin(trained, tmp_path / "sent")
    monkeypatch.chdir(sent)
    with pytest.raises(UntrustedCodeError):
        Study.load(sent)
    assert not ran(sent)
    loaded = Study.load(sent, **said)
    assert loaded.spec.plugins == [str(sent / "parts.py")]
    assert ran(sent)
    assert Study.load(sent) == loaded
    (sent / "parts.py").write_text("changed = True\n")
    with pytest.raises(UntrustedCodeError, match=r"parts\.py"):
        Study.load(sent)


def test_a_plug_in_that_is_gone_is_said_to_be_gone(trained, tmp_path):
    sent = with_plugin(trained, tmp_path / "sent")
    (sent / "parts.py").unlink()
    with pytest.raises(UntrustedCodeError, match=r"does not exist or cannot be read: .*parts\.py"):
        Study.load(sent)


def test_a_study_file_of_ones_own_runs_and_so_does_the_folder_of_its_results(trained, tmp_path):
    own = with_plugin(trained, tmp_path / "own")
    study = (own / "study.toml").rename(own / "mine.toml")
    loaded = Study.load(study)
    assert ran(own)
    results = tmp_path / "results"
    results.mkdir()
    (results / "study.toml").write_text(loaded.spec.to_toml())
    assert Study.load(results) == loaded


def test_what_runs_is_the_file_that_was_shown_and_no_compiled_one_beside_it(trained, tmp_path):
    sent = with_plugin(trained, tmp_path / "sent")
    plugin = sent / "parts.py"
    about = plugin.stat()
    py_compile.compile(str(plugin))
    plugin.write_text("# as it reads: nothing".ljust(about.st_size))
    os.utime(plugin, ns=(about.st_atime_ns, about.st_mtime_ns))
    Study.load(sent, trust=True)
    assert not ran(sent)


def test_a_meter_at_an_address_is_asked_about_too(trained, tmp_path):
    folder = tmp_path / "sent"
    shutil.copytree(trained, folder)
    study = folder / "study.toml"
    study.write_text(study.read_text().replace('"estimate"', '"shelly:evil.example"'))
    with pytest.raises(UntrustedCodeError, match=r"shelly:evil\.example"):
        Study.load(folder)


def test_names_in_a_study_cannot_draw_on_the_screen(trained, tmp_path):
    folder = tmp_path / "sent"
    shutil.copytree(trained, folder)
    study = folder / "study.toml"
    study.write_text(study.read_text().replace("plugins = []", 'plugins = ["\\u001b[2Ja.py"]'))
    with pytest.raises(UntrustedCodeError) as refused:
        Study.load(folder)
    assert str(refused.value).isprintable() or "\x1b" not in str(refused.value)
