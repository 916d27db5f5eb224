"""What the documents show is run: Python, study files, and the commands' options."""

import os
import re
import runpy
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from joulelab.cli import app
from joulelab.cli.helping import guides
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec, load_spec, shipped_studies

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FEW = {"quickstart": ["experiment.tuning.rounds=2", "experiment.architecture.rounds=1"]}
"""A study in an example has fewer runs, for it is run for what it shows and not for results."""
# These have tests of their own, which also hold them to their length.
GUIDES = {"own-network.md", "own-data-set.md", "own-strategy.md", "own-policy.md", "planner.md"}


STUDY_FILES = ("study-files.md", "cluster.md")


def fences(language, documents=DOCUMENTS):
    """Each fenced block of a language, with where it stands."""
    for path in documents:
        text = path.read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.S | re.M):
            line = text[: match.start()].count("\n") + 1
            yield pytest.param(match[1], id=f"{path.name}:{line}")


@pytest.mark.parametrize(
    "code", list(fences("python", [d for d in DOCUMENTS if d.name not in GUIDES]))
)
def test_a_python_example_runs(code, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if "import optuna" in code or 'strategy="tpe"' in code:
        pytest.importorskip("optuna")
    if "ServingSession" in code:
        request.getfixturevalue("in_threads")
    load = Study.load
    monkeypatch.setattr(Study, "load", lambda name, keys=(): load(name, [*keys, *FEW[name]]))
    exec(compile(code, "example", "exec"), {})


@pytest.mark.parametrize(
    "text", list(fences("toml", [ROOT / "docs" / name for name in STUDY_FILES]))
)
def test_a_study_file_is_valid(text, tmp_path):
    path = tmp_path / "example.toml"
    path.write_text(text)
    assert load_spec(path).experiments()


OWN_PROGRAM = ROOT / "docs" / "own-program.md"
QUICK = ["energy.idle_s=0", "energy.cool_down_s=0", "energy.interval_s=0.02"]


@pytest.fixture
def own_program(tmp_path, monkeypatch):
    """The folder with the files of the guide to one's own programs."""
    named = re.findall(r"^```\w+ (\S+\.\w+)\n(.*?)^```", OWN_PROGRAM.read_text(), re.S | re.M)
    for name, text in named:
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    yield tmp_path
    sys.modules.pop("training", None)


@pytest.mark.parametrize(("study", "runs"), [("study", 6), ("training", 4)])
def test_the_studies_of_the_guide_run(own_program, study, runs):
    few = [*QUICK, 'energy.meters=["estimate"]', f"experiment.{study}.repetitions=1"]
    frame = Study.load(own_program / f"{study}.toml", few).run(own_program / "out").to_frame()
    assert list(frame["state"]) == ["finished"] * runs
    assert frame["loss"].between(0, 2).all()


def test_the_script_of_the_guide_runs(own_program, capsys):
    runpy.run_path(str(own_program / "script.py"), run_name="__main__")
    assert "width=64, rate=0.1" in capsys.readouterr().out


def test_the_file_that_the_guide_writes_is_the_one_that_it_shows(own_program, joulelab):
    lines = re.findall(r"^joulelab (init .*)$", OWN_PROGRAM.read_text(), re.M)
    lines.append(re.search(r"`joulelab (init --function [^`]*)`", OWN_PROGRAM.read_text())[1])
    for line, name in zip(lines, ["study", "training"], strict=True):
        shown = tomllib.loads((own_program / f"{name}.toml").read_text())
        (own_program / f"{name}.toml").unlink()
        words = shlex.split(line)
        code, *_ = joulelab(*words, *([] if "study.toml" in words else [f"{name}.toml"]))
        assert code == 0
        written = tomllib.loads((own_program / f"{name}.toml").read_text())
        edited = {"vary", "metrics", "fresh_process"}
        for one in (shown, written):
            assert set(one["experiment"][name].pop("vary")) >= {"width"}
            for key in edited:
                one["experiment"][name].pop(key, None)
        assert written == shown


@pytest.mark.parametrize("text", list(fences("toml", [OWN_PROGRAM])))
def test_the_keys_that_the_guide_shows_are_valid(text):
    """They are added to the study of the guide."""
    study = re.search(r"^```toml study.toml\n(.*?)^```", OWN_PROGRAM.read_text(), re.S | re.M)
    table = tomllib.loads(study[1])
    added = tomllib.loads(text)
    own = added.pop("experiment", {}).get("study", {})
    energy = added.pop("energy", None)
    table["experiment"]["study"] |= added | own
    assert check_spec(table | ({"energy": energy} if energy else {}))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    missing = [t for t in targets if "://" not in t and not (path.parent / t).exists()]
    assert not missing


def options(command):
    """Options and arguments of a command, or of all commands of a group."""
    own = {option for parameter in command.params for option in parameter.opts}
    return own.union(*(options(one) for one in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_options_exist(path):
    known = {name: options(command) for name, command in get_command(app).commands.items()}
    names = "|".join(known)
    for name, rest in re.findall(rf"\bjoulelab ({names})\b([^\n`]*)", path.read_text()):
        own = re.sub('"[^"]*"', "", rest.partition(" -- ")[0])
        assert set(re.findall(r"--[a-z0-9-]+", own)) <= known[name] | {"--help"}, rest


def commands(command, path="joulelab"):
    """Each command that can be run, by its full name."""
    if not hasattr(command, "commands"):
        yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, f"{path} {name}")


COMMANDS = dict(commands(get_command(app)))
UNCLEAR = re.compile(
    r"\b(?:is|are) no \b|one's own|\bnobody\b|\blies? (?:here|ready|there)|\bth(?:at|ose) of\b"
    r"|told apart|\bOf it\b|to be had|as it stands|\banew\b|all the same"
)
"""Phrases that a reader has to puzzle out."""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_lists_exactly_the_options_of_a_command(name):
    sections = re.split(r"^## ", (ROOT / "docs" / "command-line.md").read_text(), flags=re.M)
    section = next((one for one in sections if one.startswith(f"{name}\n")), "")
    listed = re.findall(r"^\| `(--[a-z0-9-]+)`", section, re.M)
    assert sorted(listed) == sorted(one for one in options(COMMANDS[name]) if one[:2] == "--")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_plain_and_complete(name):
    command = COMMANDS[name]
    helped = {parameter.name: getattr(parameter, "help", "") for parameter in command.params}
    assert command.help
    assert all(helped.values()), helped
    texts = [command.help, *helped.values()]
    assert not [text for text in texts if UNCLEAR.search(" ".join(text.split()))]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_of_a_command_is_accepted_and_in_the_reference(name):
    command = COMMANDS[name]
    *_, example = command.epilog.splitlines()
    assert f"Example: `{example.strip()}`" in (ROOT / "docs" / "command-line.md").read_text()
    assert example.strip().startswith(f"{name} ") or example.strip() == name
    arguments = shlex.split(example)[len(name.split()) :]
    assert command.make_context(name, arguments).params


def test_what_the_package_says_leads_to_guides_and_not_into_the_repository():
    named = set()
    for path in (ROOT / "src" / "joulelab").rglob("*"):
        if path.suffix in {".py", ".toml", ".html", ".js"}:
            text = path.read_text()
            assert not re.search(r"\bdocs/[\w-]+\.md", text), path
            named |= set(re.findall(r"joulelab help ([a-z0-9-]+)", text))
    known = {*guides(), *get_command(app).commands}
    assert {"own-program", "study-files"} <= named <= known


def test_every_environment_variable_is_documented():
    code = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    read = set(re.findall(r"\bJOULELAB_[A-Z_]*[A-Z]\b", code))
    reference = (ROOT / "docs" / "command-line.md").read_text()
    assert len(read) >= 10
    assert not [one for one in read if f"`{one}`" not in reference]


def test_overrides_in_the_documents_are_accepted():
    """Of the study that the command names; in a sentence, of the quickstart."""
    asked: set[tuple[str, str]] = set()
    for line in "\n".join(path.read_text() for path in DOCUMENTS).splitlines():
        named = re.search(r"joulelab (?:run|plan) (\S+)", line)
        study = named[1] if named and named[1] in shipped_studies() else "quickstart"
        for first, second in re.findall(r"--set (?:'([^']+)'|([^\s'`]+))", line):
            if "=" in (first or second) and not (first or second).startswith(("key=", "KEY=")):
                asked.add((study, first or second))
    # The guides' own parts are not registered here.
    built_in = {one for one in asked if not re.search("wide-mlp|rings|closing-in", one[1])}
    assert len(built_in) >= 8
    for study, override in sorted(built_in):
        assert load_spec(study, [override])
