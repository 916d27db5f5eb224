"""Commands whose options are the fields of a dataclass, and how options are read."""

import os
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
import typer
from typer.testing import CliRunner

from joulelab.cli.options import (
    Json,
    Plugins,
    argument,
    command,
    option,
    parse_duration_s,
    parse_pairs,
)
from joulelab.cli.output import check_file
from joulelab.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Shared:
    json: Json = False
    plugin: Plugins = None


@pytest.fixture
def greeting(monkeypatch):
    """A command, and what it was run with."""
    commands, runs = typer.Typer(), []
    module = ModuleType("greetings")
    module.greet = lambda asked: runs.append(asked) or asked.times
    monkeypatch.setitem(sys.modules, "greetings", module)

    @command(commands, "greet", "greetings:greet", example="greet Ada")
    @dataclass(frozen=True, kw_only=True)
    class Greet(Shared):
        """Greet somebody."""

        name: str = argument(..., "Who.")
        times: int = option(1, "How often.", "N", min=0)
        from_: str | None = option(None, "Who greets.")
        loud_: bool = option(False, "Shout.")

    def run(*arguments):
        return CliRunner().invoke(commands, list(map(str, arguments))), runs

    return run


def test_options_are_called_as_their_fields_and_the_function_gives_the_exit_code(greeting):
    done, (asked,) = greeting("Ada", "--times", 3, "--from", "Charles", "--loud", "--json")
    assert done.exit_code == 3
    assert (asked.name, asked.times, asked.from_, asked.loud_) == ("Ada", 3, "Charles", True)
    assert asked.json


def test_what_must_be_given_and_limits_are_those_of_the_fields(greeting):
    assert greeting()[0].exit_code == 2
    assert greeting("Ada", "--times", -1)[0].exit_code == 2
    assert greeting("Ada", "--no-loud")[0].exit_code == 2
    done, runs = greeting("Ada", "--times", 0)
    assert (done.exit_code, runs[-1].from_, runs[-1].loud_) == (0, None, False)


def test_the_help_is_the_docstring_with_inherited_options_last(greeting):
    shown = greeting("--help")[0].stdout
    assert "Greet somebody." in shown
    places = [shown.index(name) for name in ("--times", "--from", "--loud", "--json", "--plugin")]
    assert places == sorted(places)


def test_plug_ins_are_loaded_before_the_command_runs(greeting, tmp_path):
    plugin = tmp_path / "broken.py"
    plugin.write_text("raise RuntimeError('loaded')")
    done, runs = greeting("Ada", "--plugin", plugin)
    assert "loaded" in str(done.exception)
    assert not runs


def test_times_have_a_unit():
    assert parse_duration_s(" 200ms", "--p99") == pytest.approx(0.2)
    assert parse_duration_s("1.5 h", "--duration") == 5400
    for text in ("200", "ms", "0s", "-1s", "1e999s", "1.2.3s", "1 week"):
        with pytest.raises(UsageError, match="is not a time"):
            parse_duration_s(text, "--p99")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["watch", "--every", 0], "--every 0 is not possible"),
        (["watch", "--for", 0], "--for 0 is not possible"),
        (["record", "--out", "r.csv", "--for", -1], "--for -1 is not possible"),
        (["measure", "--idle", -1, "--", "true"], "--idle -1 is not possible\ngive 0 or more"),
        (["measure", "--cool-down", "nan", "--", "true"], "--cool-down nan is not possible"),
        (["import", "codecarbon", "e.csv", "--csv", "--json"], "--csv and --json are both given"),
        (["doctor", "--meter", "nosuch"], "error: unknown meter 'nosuch'"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_done(joulelab, arguments, complaint):
    code, out, err = joulelab(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert complaint in err


def test_pairs_have_a_name_and_a_value():
    assert parse_pairs(["a = 1=2", "b="], "--header") == {"a": "1=2", "b": ""}
    assert parse_pairs(None, "--header") == {}
    for text in ("a", "=1", " =1"):
        with pytest.raises(UsageError, match=r"--header '.*' has no name or no value"):
            parse_pairs([text], "--header")


def test_a_file_needs_its_folder(tmp_path):
    check_file(tmp_path / "a.csv")
    with pytest.raises(UsageError, match="no folder"):
        check_file(tmp_path / "none" / "a.csv")
    with pytest.raises(UsageError, match="is a folder"):
        check_file(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_pipe_can_be_written_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_file(pipe)
    with pytest.raises(UsageError, match="not a regular file"):
        check_file(pipe, replaced=True)


def test_a_file_that_is_checked_stays_as_it_is(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("mine")
    check_file(path)
    check_file(path, replaced=True)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "arguments",
    [
        "measure --trace file/x.csv -- touch begun",
        "measure --plot file/x.png -- touch begun",
        "measure --to file/x.csv -- touch begun",
        "profile --html file/x.html -- begin.py",
        "profile --speedscope file/x.json -- begin.py",
        "record --out file/x.csv",
        "watch --to file/x.jsonl",
        "trace none.csv --plot file/x.png",
        "load http://127.0.0.1:1 --arrivals poisson(5) --requests 9 --out file/x.csv",
        "batch resnet18 --rate 50 --save file/x.json",
        "card none --format spdx --out file/x.json",
        "places none --plot file/x.svg",
        "instruments none --plot file/x.svg",
        "export none --out file/x.csv",
        "report none --out file/x",
        "analyze tuning none.csv --out file/x",
        "run quickstart --out file/x",
        "tune begin.py:objective --budget 20kJ --out file/x",
    ],
)
def test_output_that_cannot_be_written_is_refused_before_anything_is_done(
    joulelab, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "begin.py").write_text("open('begun', 'w')")
    code, out, err = joulelab(*arguments.split())
    assert (code, out) == (1 if arguments.endswith("file/x") else 2, "")
    assert "cannot be written: Not a directory\ngive another" in err
    assert not (tmp_path / "begun").exists()
