"""What the documents show is run: Python, study files, and the commands' options."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from joulelab.cli.app import app
from joulelab.study.study_file import load_spec, shipped_studies

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
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
def test_a_python_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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
    """Of a command, or of all commands of a group."""
    own = {option for parameter in command.params for option in parameter.opts}
    return own.union(*(options(one) for one in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_options_exist(path):
    known = {name: options(command) for name, command in get_command(app).commands.items()}
    names = "|".join(known)
    for name, rest in re.findall(rf"\bjoulelab ({names})\b([^\n`]*)", path.read_text()):
        own = rest.partition(" -- ")[0]
        assert set(re.findall(r"--[a-z0-9-]+", own)) <= known[name] | {"--help"}, rest


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
