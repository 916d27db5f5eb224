"""What the documents show is run: Python, study files, and the commands' options."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from joulelab.cli import app
from joulelab.study.study import Study
from joulelab.study.study_file import load_spec, shipped_studies

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FEW = {"quickstart": ["experiment.tuning.rounds=2", "experiment.architecture.rounds=1"]}
"""A study in an example has fewer runs, for it is run for what it shows and not for results."""
# These have tests of their own, which also hold them to their length.
GUIDES = {"own-network.md", "own-data-set.md", "own-strategy.md", "own-policy.md", "planner.md"}


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
    if "ServingSession" in code:
        request.getfixturevalue("in_threads")
    load = Study.load
    monkeypatch.setattr(Study, "load", lambda name, keys=(): load(name, [*keys, *FEW[name]]))
    exec(compile(code, "example", "exec"), {})


@pytest.mark.parametrize("text", list(fences("toml", [ROOT / "docs" / "study-files.md"])))
def test_a_study_file_is_valid(text, tmp_path):
    path = tmp_path / "example.toml"
    path.write_text(text)
    assert load_spec(path).experiments()


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
        own = rest.partition(" -- ")[0]
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
