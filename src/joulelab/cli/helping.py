"""``joulelab help``: the guides, which are installed with joulelab, and the help of commands."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab.cli.output import data_console, show
from joulelab.errors import UsageError, quoted, suggestion
from joulelab.present import Facts, View

if TYPE_CHECKING:
    from joulelab.cli.help_commands import Help

_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def run_help(asked: Help) -> None:
    """List the guides, or show one, or the help of a command.

    Args:
        asked: the options of the command.

    Raises:
        UsageError: there is neither a guide nor a command of that name.
    """
    from typer.main import get_command

    found = guides()
    if not asked.topic:
        heading = "joulelab help TOPIC shows a guide; joulelab COMMAND --help, a command:"
        show(
            View([heading, Facts([*found_titles(found).items()])], found_titles(found)),
            as_json=False,
        )
        return
    topic = " ".join(asked.topic).removesuffix(".md").removeprefix("joulelab ")
    if topic in found:
        _show_guide(found[topic].read_text("utf-8"))
        return
    from joulelab.cli import app

    known = list(_commands(get_command(app)))
    if topic not in known:
        raise UsageError(
            f"there is no topic {quoted(topic)}",
            suggestion(topic, [*found, *known]) or "`joulelab help` lists them",
        )
    app([*topic.split(), "--help"], prog_name="joulelab", standalone_mode=False)


def guides() -> dict[str, Any]:
    """The guides by topic: in the installed package, or in a checkout."""
    installed = resources.files("joulelab") / "guides"
    folder = installed if installed.is_dir() else Path(__file__).parents[3] / "docs"
    if not folder.is_dir():
        return {}
    named = {one.name.removesuffix(".md"): one for one in folder.iterdir()}
    return {name: one for name, one in sorted(named.items()) if one.name.endswith(".md")}


def found_titles(found: Mapping[str, Any]) -> dict[str, str]:
    """The heading of each guide."""
    titles = {}
    for name, path in found.items():
        with path.open(encoding="utf-8") as lines:
            titles[name] = next(lines, "").lstrip("# ").strip()
    return titles


def _commands(group: Any, above: str = "") -> Iterator[str]:  # noqa: ANN401 - of click
    """The words of every command, also of those of two: ``predict step``."""
    for name, command in group.commands.items():
        yield f"{above}{name}"
        if hasattr(command, "commands"):
            yield from _commands(command, f"{above}{name} ")


def _show_guide(text: str) -> None:
    """A guide, drawn on a terminal through its pager, elsewhere as Markdown."""
    if not sys.stdout.isatty():
        sys.stdout.write(text)
        return
    from rich.markdown import Markdown

    console = data_console()
    with console.pager(styles=True):
        console.print(Markdown(_LINK.sub(_link, text)))


def _link(found: re.Match[str]) -> str:
    """A link to another guide, as the command that shows it."""
    guide = re.fullmatch(r"([\w-]+)\.md(?:#.*)?", found[2])
    return f"{found[1]} (`joulelab help {guide[1]}`)" if guide else found[1]
