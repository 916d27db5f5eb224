"""Parts with arguments, written as a call: ``fixed(32, wait_ms=50)``, ``trace(arrivals.csv)``.

::

    text        NAME | NAME ( argument , argument ... )
    argument    value | PARAMETER = value
    value       a whole number, a number, or any other text; text with a comma, a quote, or a
                ``=`` after a word goes in quotes; where a rate is wanted, 50/min is 50 in a minute

`parse_call` parses the text, `build` looks up the class in a registry and calls it with arguments
converted to its signature. Nothing is evaluated: a value is a number or text.
"""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from joulelab.errors import JoulelabError, PluginError, UsageError, quoted, suggestion
from joulelab.registry import Registry

Value = int | float | str
T = TypeVar("T")

_CALL = re.compile(r"\s*([A-Za-z][\w.-]*)\s*(?:\((.*)\)\s*)?", re.DOTALL)
_KEYWORD = re.compile(r"([A-Za-z_]\w*)\s*=\s*(.*)", re.DOTALL)
_WHOLE = re.compile(r"[-+]?\d+")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_PLAIN = re.compile(r"[^\s,'\"=](?:[^,'\"=]*[^\s,'\"=])?")
_ALWAYS_EXACT = 2**53
_RATES = ("f", "rate", "rate_per_s")
"""Parameters that are rates, in requests per second."""
SECONDS = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("min", "minute"), 60.0),
    **dict.fromkeys(("h", "hr", "hour"), 3600.0),
    **dict.fromkeys(("d", "day"), 86_400.0),
    **dict.fromkeys(("week",), 604_800.0),
}
_RATE = re.compile(
    rf"((?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(?:req(?:uest)?s?)?\s*"
    rf"(?:/|\bper\b)\s*({'|'.join(SECONDS)})",
    re.IGNORECASE,
)
_NAMES: Mapping[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
}


@dataclass(frozen=True)
class Call:
    """A name and its arguments, as written."""

    name: str
    positional: tuple[Value, ...] = ()
    keywords: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        """The call in canonical form: single spaces, quotes only where needed."""
        return call_text(self.name, *self.positional, **self.keywords)


class BuiltFromCall:
    """Base of the parts that `build` makes: their ``str`` is the call that named them."""

    _call: Call | None = None

    def __str__(self) -> str:
        return type(self).__name__ if self._call is None else str(self._call)


def call_text(name: str, *positional: Value, **keywords: Value) -> str:
    """The text of a call, which `parse_call` reads back.

    Args:
        name: of the part.
        positional: arguments without a name.
        keywords: arguments with one.
    """
    words = [_value_text(value) for value in positional]
    words += [f"{key}={_value_text(value)}" for key, value in keywords.items()]
    return f"{name}({', '.join(words)})" if words else name


def parse_call(text: str, noun: str) -> Call:
    """Parse a call.

    Args:
        text: for instance ``fixed(32, wait_ms=50)``; a bare name is a call without arguments.
        noun: noun for messages: ``"policy"``.

    Raises:
        UsageError: it is not a call; the message quotes the text.
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise UsageError(f"not a valid {noun}: {quoted(text)}", "write NAME or NAME(argument, ...)")
    positional: list[Value] = []
    keywords: dict[str, Value] = {}
    for word in _arguments(match[2] or "", text):
        named = _KEYWORD.fullmatch(word)
        if named is None:
            if keywords:
                raise UsageError(
                    f"{text}: {word} is a positional argument after a named one",
                    "put positional arguments first",
                )
            positional.append(_value(word, text))
        elif named[1] in keywords:
            raise UsageError(f"{text}: {named[1]} is given twice", "remove one of them")
        else:
            keywords[named[1]] = _value(named[2], text)
    return Call(match[1], tuple(positional), keywords)


def build(registry: Registry[type[T]], text: str, **given: object) -> T:
    """Create the part described by a text.

    Args:
        registry: registry of the parts.
        text: a call.
        given: arguments set by the program; passed to classes with such parameters, and not allowed
            in texts.

    Raises:
        UnknownNameError: unknown name; the message suggests the closest.
        UsageError: the arguments do not fit the class, or it refuses them.
        PluginError: the class raises something else.
    """
    call = parse_call(text, registry.noun)
    made = registry.get(call.name)
    shown = str(call)
    parameters = inspect.signature(made).parameters
    own = [parameter for name, parameter in parameters.items() if name not in given]
    arguments = _bound(call, inspect.Signature(own))
    hints = _hints(made)
    checked = {name: _fitting(hints.get(name), v, name, shown) for name, v in arguments.items()}
    known = {name: value for name, value in given.items() if name in parameters}
    try:
        part = made(**checked, **known)
    except JoulelabError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(f"{shown}: {error}", _signature_text(call.name, parameters)) from error
    except Exception as error:
        raise PluginError(
            f"{shown} cannot be created: {type(error).__name__}: {error}",
            f"fix the class of the {registry.noun}",
        ) from error
    if isinstance(part, BuiltFromCall):
        # Frozen parts cannot be changed otherwise.
        object.__setattr__(part, "_call", call)
    return part


def require(holds: bool, part: object, rule: str, hint: str = "") -> None:
    """Refuse a part with impossible numbers.

    Args:
        holds: whether they are possible.
        part: the part; its text starts the message.
        rule: the requirement, with the parameter's name.
        hint: what to write instead.

    Raises:
        UsageError: it does not hold.
    """
    if not holds:
        raise UsageError(f"{part}: {rule}", hint)


def parse_rate(text: str) -> float | None:
    """Requests per second from a text; ``None`` if it is not a rate.

    >>> parse_rate("50"), parse_rate("3/h") * 3600, parse_rate("86400 per day"), parse_rate("much")
    (50.0, 3.0, 1.0, None)
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _RATE.fullmatch(text)
    return float(found[1]) / SECONDS[found[2].casefold()] if found else None


def _arguments(inside: str, text: str) -> list[str]:
    """The parts between commas that are not in quotes."""
    if not inside.strip():
        return []
    words, word, quote = [], "", ""
    for character in inside:
        if character in "'\"" and quote in ("", character):
            quote = "" if quote else character
        if character == "," and not quote:
            words.append(word.strip())
            word = ""
        else:
            word += character
    words.append(word.strip())
    if quote:
        raise UsageError(f"{text}: a quote is not closed", f"end the text with {quote}")
    if not all(words):
        raise UsageError(f"{text}: an argument is empty", "remove one comma")
    return words


def _value(word: str, text: str) -> Value:
    in_quotes = word[:1] in ("'", '"')
    if in_quotes and len(word) > 1 and word[-1] == word[0]:
        return word[1:-1]
    if in_quotes or not word:
        raise UsageError(f"{text}: {quoted(word)} is not a value", "write a number, or text")
    if _WHOLE.fullmatch(word):
        return int(word)
    return float(word) if _NUMBER.fullmatch(word) else word


def _value_text(value: Value) -> str:
    if isinstance(value, str):
        # Text that looks like a number, or would end too early, needs quotes.
        plain = _PLAIN.fullmatch(value) and not _NUMBER.fullmatch(value)
        quote = "'" if '"' in value else '"'
        return value if plain else f"{quote}{value}{quote}"
    whole = math.isfinite(value) and value == int(value) and abs(value) < _ALWAYS_EXACT
    return repr(int(value)) if whole else repr(value)


def _bound(call: Call, signature: inspect.Signature) -> dict[str, Value]:
    """The arguments by the name of their parameter."""
    names = list(signature.parameters)
    hint = _signature_text(call.name, signature.parameters)
    for name in call.keywords:
        if name not in names:
            raise UsageError(
                f"{call}: has no parameter {quoted(name)}", suggestion(name, names) or hint
            )
    try:
        return signature.bind(*call.positional, **call.keywords).arguments
    except TypeError as error:
        raise UsageError(f"{call}: {error}", hint) from error


def _signature_text(name: str, parameters: Mapping[str, inspect.Parameter]) -> str:
    words = [
        one.name if one.default in (inspect.Parameter.empty, None) else f"{one.name}={one.default}"
        for one in parameters.values()
    ]
    return f"write {name}({', '.join(words)})" if words else f"write {name}"


def _hints(made: object) -> dict[str, object]:
    """The types of the parameters; empty if an annotation cannot be resolved."""
    try:
        return typing.get_type_hints(getattr(made, "__init__", made))
    except (AttributeError, NameError, TypeError):
        return {}


def _fitting(hint: object, value: Value, name: str, shown: str) -> Value | bool:
    """The value converted to its parameter's type; unchanged for other types."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    kinds = [kind for kind in (typing.get_args(hint) if union else (hint,)) if kind in _NAMES]
    if not kinds or type(value) in kinds:
        return value
    if isinstance(value, int) and float in kinds:
        return float(value)
    if bool in kinds and value in ("true", "false"):
        return value == "true"
    if name in _RATES and isinstance(value, str) and (rate := parse_rate(value)) is not None:
        return rate
    wanted = " or ".join(_NAMES[kind] for kind in kinds)
    hint_text = "put text that looks like a number in quotes" if str in kinds else ""
    raise UsageError(f"{shown}: {name} must be {wanted}, not {quoted(value)}", hint_text)
