"""The answer of a language model, read as it arrives: when its text came, and how many tokens.

::

    chat         data: {"choices": [{"delta": {"content": "Hel"}}]}
    completions  data: {"choices": [{"text": "Hel", "finish_reason": null}]}
    both         data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 64}}
                 data: [DONE]

A chunk carries text if it has content, reasoning, or a part of a call of a tool. A stream is
complete if it says why it finished or ends in ``[DONE]``. An answer that is not a stream but JSON
is accepted: when its first token came is unknown.

Source: OpenAI, API reference, "Chat" and "Completions" (legacy), streaming.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping
from typing import Any

from joulelab.serving.http_body import SUCCESS, Body
from joulelab.serving.tokens.events import EventParser, EventTooLongError
from joulelab.serving.tokens.lengths import MOST_TOKENS

DONE = b"[DONE]"
STOPPED = "the stream stopped before its end"
NO_CHUNK = "no chunk in the stream: this is not the OpenAI protocol"
BAD_CHUNK = "a chunk of the stream is not a JSON object"
BAD_ANSWER = "the answer is JSON, but not of the OpenAI protocol"
LONG_CHUNK = "a chunk of the stream has no end"
ERROR = "the server reported an error in mid-stream"
MOST_KEPT_BYTES = 4 * 1024 * 1024
LONGEST_DETAIL = 300
_TEXTS = ("content", "text", "reasoning_content", "reasoning")


class TokenStream(Body):
    """One answer.

    Args:
        secret: left out of what the server says.

    Attributes:
        chunk_s: arrival of each chunk with text, seconds on the clock of the event loop.
        streamed: whether the answer was a stream of events.
        prompt_tokens: by the server's ``usage``; ``None`` without one.
        output_tokens: likewise.
        retry_after: the header ``Retry-After`` of a refusal; empty without one.
    """

    cut_short = STOPPED

    def __init__(self, secret: str = "") -> None:
        self.chunk_s = array("d")
        self.streamed = False
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None
        self.retry_after = ""
        self.detail = ""
        self._secret = secret
        self._wrong = ""
        self._success = True
        self._kind = ""
        self._understood = self._finished = False
        self._events = EventParser()
        self._kept = bytearray()

    @property
    def first_s(self) -> float:
        """When the first text came; NaN if none did."""
        return self.chunk_s[0] if self.chunk_s else math.nan

    @property
    def last_s(self) -> float:
        """When the last text came; NaN if none did."""
        return self.chunk_s[-1] if self.chunk_s else math.nan

    @property
    def tokens(self) -> float:
        """Tokens of the output: by ``usage``, else the chunks with text; NaN if unknown."""
        if self.output_tokens is not None:
            return self.output_tokens
        return len(self.chunk_s) if self.streamed else math.nan

    def begin(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """A stream of events, or something else."""
        self._success = status in SUCCESS
        self._kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()
        self.streamed = self._success and self._kind.lower() in ("", "text/event-stream")
        self.retry_after = headers.get(b"retry-after", b"").decode("latin-1").strip()

    def receive(self, data: bytes, at_s: float) -> None:
        """Read the chunks that are complete."""
        if not self.streamed:
            if len(self._kept) <= MOST_KEPT_BYTES:
                self._kept += data
            return
        try:
            for event in self._events.feed(data):
                self._read(event, at_s)
        except EventTooLongError:
            self._wrong = self._wrong or LONG_CHUNK

    def end(self) -> str:
        """Whether the answer was complete."""
        if not self._success:
            self.detail = self._refusal()
            return ""
        if not self.streamed:
            return self._whole()
        for event in self._events.end():
            self._read(event, self.last_s)
        if self._wrong:
            return self._wrong
        if not self._understood:
            return NO_CHUNK
        return "" if self._finished else STOPPED

    def _read(self, event: bytes, at_s: float) -> None:
        if event == DONE:
            self._finished = True
            return
        try:
            chunk = json.loads(event)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            self._wrong = self._wrong or BAD_CHUNK
            return
        if chunk.get("error") or chunk.get("object") == "error":
            self._wrong = self._wrong or ERROR
            self.detail = self.detail or self._shown(_message(chunk))
            return
        choice = _first_choice(chunk)
        self._understood |= choice is not None or isinstance(chunk.get("usage"), dict)
        self._count(chunk.get("usage"))
        if choice is None:
            return
        delta = choice.get("delta")
        if _has_text(delta if isinstance(delta, dict) else choice):
            self.chunk_s.append(at_s)
        self._finished |= bool(choice.get("finish_reason"))

    def _whole(self) -> str:
        """Read an answer that is not a stream."""
        try:
            answer = json.loads(self._kept)
        except (ValueError, RecursionError):
            return f"neither a stream of events nor JSON, but {self._kind[:40] or 'unknown'}"
        if isinstance(answer, dict) and answer.get("error"):
            self.detail = self._shown(_message(answer))
        choice = _first_choice(answer) if isinstance(answer, dict) else None
        if choice is None:
            return BAD_ANSWER
        self._count(answer.get("usage"))
        return ""

    def _count(self, usage: object) -> None:
        if not isinstance(usage, dict):
            return
        prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens")
        self.prompt_tokens = prompt if _is_count(prompt) else self.prompt_tokens
        self.output_tokens = output if _is_count(output) else self.output_tokens

    def _refusal(self) -> str:
        """What the server says about a refused request."""
        try:
            answer = json.loads(self._kept)
        except (ValueError, RecursionError):
            answer = {}
        said = _message(answer) if isinstance(answer, dict) else ""
        wait = f"Retry-After: {self.retry_after}" if self.retry_after else ""
        return self._shown("; ".join(filter(None, (wait, said))))

    def _shown(self, said: str) -> str:
        """As it may be shown: in one line, short, and without the key."""
        if self._secret:
            said = said.replace(self._secret, "***")
        line = " ".join(said.split())
        return line if len(line) <= LONGEST_DETAIL else f"{line[: LONGEST_DETAIL - 3]}..."


def _first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = answer.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return None


def _has_text(part: Mapping[str, Any]) -> bool:
    """Whether a chunk has content, reasoning, or a part of a call of a tool."""
    if any(part.get(name) for name in _TEXTS):
        return True
    calls = part.get("tool_calls")
    functions = [
        call.get("function")
        for call in (calls if isinstance(calls, list) else ())
        if isinstance(call, dict)
    ]
    return any(
        isinstance(one, dict) and bool(one.get("name") or one.get("arguments")) for one in functions
    )


def _message(answer: Mapping[str, Any]) -> str:
    """The words of an error: OpenAI's form, FastAPI's, or a plain text."""
    error = answer.get("error") or answer.get("detail") or answer.get("message") or ""
    if isinstance(error, dict):
        error = error.get("message") or json.dumps(error)
    return error if isinstance(error, str) else json.dumps(error)


def _is_count(value: object) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    )  # more is no count, and too much for a float
