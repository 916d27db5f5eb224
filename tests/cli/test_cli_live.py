"""Live pages from the command line: the address, what is refused, and the end."""

import re
import socket
import urllib.error
import urllib.request

import pytest

from joulelab.cli import live_pages
from joulelab.files import FileLock
from joulelab.live.server import Server

STUDY = """\
name = "nothing"
[energy]
meters = ["estimate"]
idle_s = 0
cool_down_s = 0
[experiment.nothing]
kind = "command"
command = "true {width}"
repetitions = 1
[experiment.nothing.vary]
width = [1, 2]
"""
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/([\w-]{32})/")


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "nothing.toml"
    path.write_text(STUDY)
    return path


def status_of(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def answers(monkeypatch):
    """Asks each page as soon as its address is said, and then with a wrong token."""
    answers, say = [], live_pages.say

    def asked(text, *style):
        say(text, *style)
        url = text.removeprefix("live page: ")
        answers.extend(map(status_of, (url, f"{url[:-3]}no/")))

    monkeypatch.setattr(live_pages, "say", asked)
    return answers


def test_a_search_is_shown_while_it_runs(joulelab, tmp_path, monkeypatch, answers):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def loss(trial):\n    return trial.suggest_float('x', 0, 1)")
    options = ("--budget", "3evaluations", "--confirm", 0, "--meter", "estimate", "--live")
    code, _, err = joulelab("tune", "mine.py:loss", *options)
    assert code == 0, err
    assert answers == [200, 403]
    assert (tmp_path / "joulelab-out" / "tune-loss" / "study.toml").exists()


def test_a_study_is_shown_while_it_runs_and_no_longer(
    study, joulelab, tmp_path, answers, undrawn, unpictured
):
    code, out, err = joulelab("run", study, "--out", tmp_path / "out", "--live")
    assert code == 0
    assert answers == [200, 403]
    address = ADDRESS.search(err)
    assert address[0] not in out
    with socket.socket() as trying:
        assert trying.connect_ex(("127.0.0.1", int(address[1]))) != 0
    assert not (tmp_path / "out" / "now.json").exists()


def test_a_folder_is_shown_until_it_is_ended(finished_study, joulelab, monkeypatch):
    served = []

    def serve(server):
        served.append(server)
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_page", serve)
    folder = finished_study("instruments")
    code, out, err = joulelab("live", folder)
    assert code == 0
    assert ADDRESS.fullmatch(out.strip())
    assert err == "Ctrl-C ends the page\n"
    with FileLock(folder / ".lock"):  # somebody runs it
        _, _, err = joulelab("live", folder)
    assert err == "Ctrl-C ends the page; the study goes on\n"
    assert served
    for one in served:
        one._listening.close()


def test_watch_is_shown_in_a_browser_too(joulelab):
    code, out, err = joulelab("watch", "--live", "--for", "0.1", "--meter", "estimate")
    assert code == 0
    assert ADDRESS.search(err)
    assert "cpu:0" in out


def test_a_port_in_use_is_refused_before_anything_is_done(study, joulelab, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = joulelab("run", study, "--out", tmp_path / "o", "--live", "--port", port)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: port {port} of 127.0.0.1 cannot be used: ")
    assert len(err.splitlines()) == 2
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "command", [["live", "DIR"], ["run", "DIR", "--live"], ["watch", "--live"]]
)
def test_a_missing_library_is_said_before_anything_is_done(
    command, joulelab, tmp_path, monkeypatch
):
    find = "joulelab.optional.importlib.util.find_spec"
    monkeypatch.setattr(find, lambda name: None if name == "starlette" else object())
    code, out, err = joulelab(*[str(tmp_path) if word == "DIR" else word for word in command])
    assert (code, out) == (1, "")
    name = " ".join(word for word in command if word != "DIR")
    assert err == (
        f"error: joulelab {name} needs starlette: it is not installed\n"
        'pip install "joulelab[serve]"\n'
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["live", "."], "does not hold a study"),
        (["run", "quickstart", "--port", "8000"], "--port needs --live"),
        (["watch", "--host", "0.0.0.0"], "--host needs --live"),
        (["tune", "mine.py:loss", "--port", "8000"], "--port needs --live"),
        (["run", "quickstart", "--live", "--port", "70000"], "--port 70000 is not possible"),
    ],
)
def test_what_is_impossible_is_said(words, said, joulelab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = joulelab(*words)
    assert code in {1, 2}
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 2
