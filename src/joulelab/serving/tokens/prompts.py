"""What is asked of a language model: prompts from a file, or lengths from a trace or drawn.

::

    {"prompt": "Why is the sky blue?", "max_tokens": 64}      a file of JSON lines
    {"messages": [{"role": "user", "content": "Why?"}]}

    TIMESTAMP,ContextTokens,GeneratedTokens                   Azure's trace of LLM inference
    Timestamp,Model,Request tokens,Response tokens,...        BurstGPT
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from joulelab import formats
from joulelab.errors import UsageError
from joulelab.serving.tokens.lengths import Counts
from joulelab.serving.trace import Trace
from joulelab.tabular.reader import decode, read_bytes

INPUT_COLUMNS = (
    "ContextTokens",
    "Request tokens",
    "input_tokens",
    "prompt_tokens",
    "input_length",
    "num_prefill_tokens",
)
OUTPUT_COLUMNS = (
    "GeneratedTokens",
    "Response tokens",
    "output_tokens",
    "completion_tokens",
    "output_length",
    "num_decode_tokens",
)
EXAMPLE = (
    'write {"prompt": "...", "max_tokens": 64} or {"messages": [{"role": ..., "content": ...}]}'
)

Content = str | list[dict[str, Any]]


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        content: a text, or the messages of a chat.
        max_tokens: of the answer; ``None`` where the server decides.
    """

    content: Content
    max_tokens: int | None = None


def read_prompts(path: Path, *, chat: bool) -> list[Prompt]:
    """The prompts in a file of JSON lines, which may be gzipped; empty lines are left out.

    Args:
        path: of the file.
        chat: whether they are for the chat endpoint, which alone takes messages.

    Raises:
        UsageError: the file cannot be read, has no prompt, or a line of it is broken; names it.
    """
    text, remarks = decode(path, read_bytes(path, UsageError, EXAMPLE), UsageError)
    if remarks:
        raise UsageError(f"{path} is damaged or not UTF-8: {remarks[0]}", "write it as UTF-8")
    prompts = [
        _prompt(path, number, line, chat=chat)
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip()
    ]
    if not prompts:
        raise UsageError(f"{path} has no prompt", EXAMPLE)
    return prompts


def _prompt(path: Path, number: int, line: str, *, chat: bool) -> Prompt:
    def broken(why: str) -> UsageError:
        return UsageError(f"{path}, line {number}: {why}", EXAMPLE)

    try:
        read = json.loads(line, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise broken(f"not JSON: {error}") from error
    if not isinstance(read, dict):
        raise broken("not an object")
    prompt, messages, most = read.get("prompt"), read.get("messages"), read.get("max_tokens")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        raise broken(f"max_tokens must be a whole number of at least 1, not {most!r}")
    if (prompt is None) == (messages is None):
        raise broken("needs either prompt or messages")
    if prompt is not None:
        if not isinstance(prompt, str) or not prompt:
            raise broken("prompt must be a text that is not empty")
        return Prompt(prompt, most)
    if (
        not isinstance(messages, list)
        or not messages
        or not all(isinstance(one, dict) and "role" in one for one in messages)
    ):
        raise broken("messages must be a list of objects with role and content")
    if not chat:
        raise broken("messages need the chat endpoint; this load is for completions")
    return Prompt(messages, most)


def _not_json(constant: str) -> None:
    """Refuse NaN and Infinity, which Python reads and other parsers do not."""
    raise ValueError(f"{constant} is no number of JSON")


def in_turn(count: int, known: int, rng: np.random.Generator) -> Counts:
    """(count,) which of some prompts each request sends: all equally often, in a random order."""
    rounds = [rng.permutation(known) for _ in range(-(-count // known))]
    return np.concatenate(rounds)[:count] if rounds else np.zeros(0, np.int64)


@dataclass(frozen=True)
class TraceLengths:
    """Token counts of the requests in a trace, in the order of their arrival.

    Attributes:
        input_tokens: (n,) of the prompts, at least 1.
        output_tokens: (n,) of the answers, at least 1.
        remarks: assumptions, in sentences.
    """

    input_tokens: Counts
    output_tokens: Counts
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, trace: Trace, count: int) -> TraceLengths | None:
        """The counts of the first arrivals; ``None`` if the file has no columns of tokens.

        Args:
            trace: the arrivals.
            count: how many.

        Raises:
            UsageError: a count is missing or not a whole number; with its line.
        """
        table = trace.table()
        names = [table.column(*usual) for usual in (INPUT_COLUMNS, OUTPUT_COLUMNS)]
        if names[0] is None or names[1] is None:
            return None
        columns: list[Counts] = []
        remarks = []
        for name, noun in zip(filter(None, names), ("prompt", "answer"), strict=True):
            values = table.bounded(name, 0, whole=True)[:count]
            unknown = np.flatnonzero(np.isnan(values))
            if len(unknown):
                raise table.error(
                    "a number of tokens is missing", "remove the row", int(unknown[0]), name
                )
            none = int((values == 0).sum())
            if none:
                said = f"{formats.count(none, noun)} of 0 tokens in the trace"
                remarks.append(f"{said}: counted as 1 token")
            columns.append(values.clip(1).astype(np.int64))
        return cls(columns[0], columns[1], tuple(remarks))


def repeats(prompts: Sequence[Prompt], count: int) -> str:
    """A remark if a file has fewer prompts than are sent; else empty."""
    if len(prompts) >= count:
        return ""
    return (
        f"{formats.count(len(prompts), 'prompt')} for {formats.count(count, 'request')}: prompts "
        "are repeated, which a server with a prefix cache answers sooner"
    )
