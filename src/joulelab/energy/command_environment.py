"""The environment that a command gives to what it starts, as far as its words say it.

::

    env A=1 python train.py             A is 1
    nice -n 5 env -u A python train.py  A is not set
    A=1 python train.py                 of a shell: A is 1
    export A=1; python train.py         A is 1
    A=1 python x.py && python y.py      two environments
    sh -c "A=1 python train.py"         as the line

What a script sets within itself is not seen.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from string import Template

SHELLS = {"sh", "bash", "dash", "zsh", "ksh"}
STARTERS = {
    *("chrt", "exec", "ionice", "nice", "nohup", "numactl", "setsid", "srun", "stdbuf", "sudo"),
    *("taskset", "time", "timeout"),
}
"""Programs that start the one in their arguments."""
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_WITH_VALUE = {"-u", "--unset", "-C", "--chdir"}
_SEPARATORS = set("();<>|&")
BUILT_IN = {
    *("[", ":", "cd", "echo", "exit", "false", "printf", "pwd", "set", "test", "true", "ulimit"),
    *("umask", "wait"),
}
"""What a shell does by itself."""
SMALL = {
    *("awk", "cat", "cp", "cut", "date", "grep", "head", "ls", "mkdir", "mv", "rm", "sed", "sleep"),
    *("sort", "tail", "tee", "touch", "tr", "uniq", "wc"),
}
"""Programs that use no GPU: beside others in a line their environment matters to nobody."""

Environment = Mapping[str, str]


def environments_of(
    command: str | Sequence[str], environment: Environment | None = None
) -> list[Environment]:
    """The environments of the programs that a command starts; one where they are all the same.

    Args:
        command: a line for the shell, or a program with its arguments.
        environment: in which it is started; that of this process where not given.
    """
    given = dict(os.environ) if environment is None else dict(environment)
    found = _of_line(command, given) if isinstance(command, str) else _of_words(command, given)
    return found or [given]


def _of_line(line: str, environment: Environment) -> list[Environment]:
    """What the simple commands of a line are given, in order; exported variables last."""
    if "$(" in line or "`" in line:  # only the shell knows what comes of it
        return [{name: own for name, own in environment.items() if f"{name}=" not in line}]
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return []  # an open quotation: the shell will refuse it
    exported, variables = dict(environment), dict(environment)
    found: list[Environment] = []
    small: list[Environment] = []
    for simple in _split(words):
        own, rest = _assigned(simple, exported, variables)
        if not rest:
            variables |= own
            exported |= {name: own[name] for name in own if name in exported}
        elif rest[0] == "export":
            own, names = _assigned(rest[1:], exported, variables)
            exported = own | {name: variables[name] for name in names if name in variables}
            variables |= exported
        elif rest[0] == "unset":
            exported = {name: value for name, value in exported.items() if name not in rest[1:]}
        elif rest[0] not in BUILT_IN:
            kind = small if PurePath(rest[0]).name in SMALL else found
            kind += [one for one in _of_words(rest, own) if one not in kind]
    return found or small


def _of_words(words: Sequence[str], environment: Environment) -> list[Environment]:
    """What a program is given, through the programs that only start another one."""
    for position, word in enumerate(words):
        name = PurePath(word).name
        if name == "env":
            own, rest = _through_env(list(words[position + 1 :]), environment)
            return _of_words(rest, own)
        if name in SHELLS:
            after = list(words[position + 1 :])
            lines = [n for n, one in enumerate(after[:-1]) if re.fullmatch(r"-[a-z]*c", one)]
            return _of_line(after[lines[0] + 1], environment) if lines else [environment]
        if position == 0 and name not in STARTERS:
            break
    return [environment]


def _through_env(words: list[str], environment: Environment) -> tuple[Environment, list[str]]:
    """The environment that env makes, and the program that it starts."""
    own = dict(environment)
    while words:
        word = words.pop(0)
        if word in ("-i", "-", "--ignore-environment"):
            own = {}
        elif word in _WITH_VALUE and words:
            value = words.pop(0)
            if word in ("-u", "--unset"):
                own.pop(value, None)
        elif word.startswith("--unset="):
            own.pop(word.removeprefix("--unset="), None)
        elif word.startswith("-u") and word != "-u":
            own.pop(word.removeprefix("-u"), None)
        elif match := _ASSIGNMENT.fullmatch(word):
            own[match[1]] = match[2]
        elif not word.startswith("-"):
            return own, [word, *words]
    return own, []


def _assigned(
    words: Sequence[str], environment: Environment, variables: Environment
) -> tuple[dict[str, str], list[str]]:
    """The environment with the assignments before a command, and the command.

    One whose value only the shell knows is taken away: nothing is known of it.
    """
    own, rest = dict(environment), list(words)
    while rest and (match := _ASSIGNMENT.fullmatch(rest[0])):
        rest.pop(0)
        value = Template(match[2]).safe_substitute(variables)
        if "$" in value or "`" in value:
            own.pop(match[1], None)
        else:
            own[match[1]] = value
    return own, rest


def _split(words: Iterable[str]) -> list[list[str]]:
    """The simple commands between the separators of a shell, without files that it opens."""
    commands: list[list[str]] = [[]]
    opens = False
    for word in words:
        separates = set(word) <= _SEPARATORS
        if separates and not set(word) & set("<>"):
            commands.append([])
        elif not separates and not opens:
            commands[-1].append(word)
        opens = separates and bool(set(word) & set("<>"))
    return [one for one in commands if one]
