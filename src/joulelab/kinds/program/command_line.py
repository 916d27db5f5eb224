"""A command with placeholders: split into arguments first, then filled in.

::

    command = "python train.py --width {width} --lr {lr:g} --seed {seed}"
    width = "1; rm -rf ~"      is one argument, whatever is in it

A level can therefore hold spaces, quotes, semicolons and newlines. Where a shell is asked for, the
levels are quoted for it.
"""

from __future__ import annotations

import shlex
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from joulelab.errors import UsageError, quoted

_formatter = string.Formatter()


def split(command: str | Sequence[str]) -> list[str]:
    """The arguments of a command, as a shell splits them; a list is split already.

    Raises:
        UsageError: a quotation is not closed, or the command is empty.
    """
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as error:
        reason = str(error).lower()
        raise UsageError(
            f"the command {quoted(command)} cannot be split into arguments: {reason}",
            "close the quotation, or give the arguments as a list",
        ) from None
    if not words or not words[0]:
        raise UsageError("the command is empty", 'for instance "python train.py --width {width}"')
    return words


def placeholders(text: str) -> list[str]:
    """Names of the placeholders in a text, in order.

    Raises:
        UsageError: a brace has no partner, or a placeholder is not just a name.
    """
    try:
        fields = [name for _, name, _, _ in _formatter.parse(text) if name is not None]
    except ValueError:
        fields = [""]
    for name in fields:
        if not name or not name.replace("-", "_").isidentifier():
            raise UsageError(
                f"{quoted(text)}: a brace begins or ends a placeholder such as {{width}}",
                "write a brace of your own twice: {{ and }}",
            )
    return fields


def fill(text: str, values: Mapping[str, Any], *, quote: bool = False) -> str:
    """The text with its placeholders filled in.

    Args:
        text: with placeholders, all in `values`.
        values: by name.
        quote: quote the values for a shell.

    Raises:
        UsageError: a value does not have the format of its placeholder.

    >>> fill("--lr {lr:.2f} {{}} {name}", {"lr": 0.5, "name": "a b"})
    '--lr 0.50 {} a b'
    """
    made = []
    for literal, name, form, _ in _formatter.parse(text):
        made.append(literal)
        if name is None:
            continue
        value = values[name]
        try:
            word = format(value, form) if form else in_words(value)
        except (TypeError, ValueError):
            raise UsageError(
                f"{name} = {quoted(value)} does not have the format {form!r} of {{{name}:{form}}}",
                "use a format that all levels have, or none",
            ) from None
        made.append(shlex.quote(word) if quote else word)
    return "".join(made)


def in_words(value: object) -> str:
    """A level as an argument: ``true``, ``0.1``, or the text itself."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_placeholders(texts: Iterable[str], factors: Sequence[str], given: Sequence[str]) -> None:
    """Check that every placeholder has a value, and every factor a placeholder.

    Args:
        texts: of the command and its environment.
        factors: names of the factors.
        given: names of the other values.

    Raises:
        UsageError: names the one that has not.
    """
    used = {name for text in texts for name in placeholders(text)}
    for name in sorted(used - {*factors, *given}):
        raise UsageError(
            f"{{{name}}} is not a factor",
            f"add {name} to vary, or use one of {', '.join([*factors, *given])}; a brace of your "
            "own is written twice",
        )
    for name in factors:
        if name not in used:
            raise UsageError(
                f"the factor {quoted(name)} does not appear in the command",
                f"add {{{name}}} to the command or to its environment",
            )
