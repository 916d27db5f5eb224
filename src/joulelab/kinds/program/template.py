"""A commented study file to begin with, for a command or a function of the user."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit

from joulelab.errors import UsageError, quoted
from joulelab.kinds.program.command_line import placeholders, split
from joulelab.kinds.program.spec import GIVEN, TAKEN

EXAMPLE = "python work.py --width {width} --mode {mode} --seed {seed}"
LEVELS: Mapping[str, Sequence[Any]] = {"width": [16, 32, 64], "mode": ["a", "b"]}
"""Of the factors of the example."""
UNKNOWN = [1, 2]
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
TEXT = """\
# Joulelab runs every combination of the levels below {repetitions} times, in random order, and
# measures the energy of each run:
#
#     joulelab plan {file}          what will run, and how long it will take
#     joulelab run {file}           run it, or go on with it; the report is in the results folder
#
# `joulelab help own-program` explains every key.
name = {title}

[experiment.{name}]
{program}
repetitions = {repetitions}
# {metrics_note}
# For each metric, which direction is better:
metrics = {{ accuracy = "max" }}
# timeout_s = 3600                  # end runs that take longer
# claims = [{claim}]    # decided in the report

# The factors with the levels to compare:
[experiment.{name}.vary]
{factors}
"""
COMMAND = """\
kind = "command"
# {{width}} stands for a level of the factor width; {{seed}} for the seed of a run, {{out}} for a
# folder of its own. No shell is involved, unless you add shell = true.
command = {command}"""
FUNCTION = """\
kind = "function"
# It is called with a level of each factor, and with seed and out if it has such parameters.
function = {function}
fresh_process = true                # false: one process makes all runs, which is faster"""
PRINTS = 'The last line that the program prints has its metrics: {"accuracy": 0.9}'
RETURNS = 'The function returns its metrics: {"accuracy": 0.9}'


def study_text(file: Path, command: str = "", function: str = "") -> str:
    """The text of a study file.

    Args:
        file: where it will be; its name is that of the study.
        command: with placeholders for the factors; an example if neither is given.
        function: ``"file.py:name"``; its parameters become the factors.

    Raises:
        UsageError: the command cannot be split, the function is not found in its file, or there is
            no factor.
    """
    if function:
        factors = parameters(function, file.parent)
        program = FUNCTION.format(function=_toml(function))
    else:
        command = command or EXAMPLE
        names = [name for text in split(command) for name in placeholders(text)]
        factors = {name: LEVELS.get(name, UNKNOWN) for name in names if name not in GIVEN}
        program = COMMAND.format(command=_toml(command))
    if not factors:
        raise UsageError(
            f"{quoted(function or command)} has no factor",
            "give the function a parameter" if function else "write a level as {width}",
        )
    name = NOT_IN_NAMES.sub("-", file.stem).strip("-._") or "study"
    return TEXT.format(
        file=shlex.quote(file.name),
        title=_toml(name),
        name=_key(name),
        program=program,
        repetitions=5,
        metrics_note=RETURNS if function else PRINTS,
        claim=_toml(f"{next(iter(factors))} moves energy"),
        factors="\n".join(f"{_key(name)} = {_toml(list(of))}" for name, of in factors.items()),
    )


def parameters(function: str, folder: Path) -> dict[str, Sequence[Any]]:
    """The parameters of a function with levels to begin with, read without running its file.

    Args:
        function: ``"file.py:name"`` or ``"module:name"``.
        folder: of the file.

    Raises:
        UsageError: the file or the function does not exist.
    """
    place, _, name = function.rpartition(":")
    path = folder / (place if place.endswith(".py") else f"{place.replace('.', '/')}.py")
    if not place or not path.is_file():
        why = f"{path} does not exist" if place else "it names no file"
        raise UsageError(
            f"{quoted(function)} is not a function in a file: {why}", "give file.py:function"
        )
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not Python: {error}", "fix the file") from None
    defined = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    found = next((node for node in defined if node.name == name), None)
    if found is None:
        known = ", ".join(node.name for node in defined) or "none"
        raise UsageError(f"{path} has no function {quoted(name)}", f"its functions: {known}")
    of = found.args
    positional = [*of.posonlyargs, *of.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(of.defaults))
    defaults += of.defaults
    pairs = [
        *zip(positional, defaults, strict=True),
        *zip(of.kwonlyargs, of.kw_defaults, strict=True),
    ]
    # One that cannot be a factor keeps its default.
    return {
        one.arg: _levels(default)
        for one, default in pairs
        if one.arg not in GIVEN and (default is None or one.arg not in TAKEN)
    }


def _levels(default: ast.expr | None) -> Sequence[Any]:
    """Levels about the default of a parameter."""
    try:
        value = None if default is None else ast.literal_eval(default)
    except ValueError:
        value = None
    if isinstance(value, bool):
        return [False, True]
    if isinstance(value, int | float) and value:
        return [value, 2 * value]
    return [value] if isinstance(value, str) else UNKNOWN


def _toml(value: Any) -> str:  # noqa: ANN401 - a plain value
    return str(tomlkit.item(value).as_string())


def _key(name: str) -> str:
    return str(tomlkit.key(name).as_string())
