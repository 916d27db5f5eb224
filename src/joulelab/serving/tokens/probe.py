"""Questions to a server before the load: its models, the fields it takes, the length of its words.

::

    GET /v1/models          a remark, or the explanation of a refusal, if the model is not listed
    a request               refused (400, 422)? again without the fields that it may not know
    a longer request        only where prompts are drawn: tokens of a word, and of the template
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np

from joulelab import formats
from joulelab.errors import ServingError
from joulelab.serving.http_body import SUCCESS, Body
from joulelab.serving.http_load import HttpLoad
from joulelab.serving.tokens.endpoint import (
    LENGTH_FIELDS,
    LIMIT_FIELDS,
    USAGE_FIELD,
    TokenEndpoint,
)
from joulelab.serving.tokens.prompts import Prompt
from joulelab.serving.tokens.stream import MOST_KEPT_BYTES, TokenStream
from joulelab.serving.tokens.texts import ExactWriter, WordWriter, Writer, words

REFUSED = (400, 422)
UNAUTHORIZED = (401, 403)
SHORT_WORDS, LONG_WORDS = 4, 44
PROBE_TOKENS = 2
_MOST_LISTED = 8


@dataclass(frozen=True)
class Probed:
    """What the server answered.

    Attributes:
        endpoint: the same, with the fields that the server takes.
        writer: writes prompts of a given length; ``None`` if none was asked for.
        remarks: in sentences.
    """

    endpoint: TokenEndpoint
    writer: Writer | None
    remarks: tuple[str, ...]


class _Kept(Body):
    """The body of the list of models."""

    def __init__(self) -> None:
        self.content = bytearray()

    def receive(self, data: bytes, at_s: float) -> None:
        if len(self.content) <= MOST_KEPT_BYTES:
            self.content += data


class Probe:
    """Asks a server.

    Args:
        http: an open load; its limits hold for the questions too.
        endpoint: of the server.
        keep_length: whether answers are to have exactly the length that is asked for.
        tokenizer: of the model, as a writer without overhead; ``None`` without one.
        seed: of the words.
    """

    def __init__(
        self,
        http: HttpLoad,
        endpoint: TokenEndpoint,
        *,
        keep_length: bool,
        tokenizer: ExactWriter | None = None,
        seed: int = 0,
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._keep_length = keep_length
        self._tokenizer = tokenizer
        self._rng = np.random.default_rng((seed, 4))
        self._remarks: list[str] = []

    def run(self, *, drawn: bool) -> Probed:
        """Ask.

        Args:
            drawn: whether prompts of given lengths are to be written.

        Raises:
            ServingError: the server refuses every request, has no such model, or speaks another
                protocol.
            KeyboardInterrupt: Ctrl-C.
        """
        listed = self._models()
        text = words(SHORT_WORDS, self._rng)
        answer = self._accepted(text, listed)
        if listed and self._endpoint.model not in listed:
            self._remarks.append(
                f"the server answers as {self._endpoint.model!r}, but does not list this model: it "
                f"lists {_listed(listed)}"
            )
        self._remarks += _uncounted(answer)
        if not answer.streamed:
            self._remarks.append(
                "the server does not stream: the time to the first token is unknown"
            )
        writer = self._writer(text, answer) if drawn else None
        return Probed(self._endpoint, writer, tuple(self._remarks))

    def _models(self) -> list[str]:
        """The names of the models that the server lists; empty where it has no list."""
        body = _Kept()
        exchanges = self._http.ask(self._endpoint.models_request(), body)
        _stop_if_interrupted(exchanges.reasons)
        if exchanges.status[0] not in SUCCESS:
            return []
        try:
            listed = json.loads(body.content)["data"]
            return [one["id"] for one in listed if isinstance(one["id"], str)]
        except (ValueError, RecursionError, TypeError, KeyError):
            return []

    def _accepted(self, text: str, listed: list[str]) -> TokenStream:
        """The answer to a request, with as many fields as the server takes."""
        first = self._endpoint.fields
        if not self._keep_length:
            first = replace(first, optional=first.optional.difference(LENGTH_FIELDS))
        fields = first
        while True:
            self._endpoint = replace(self._endpoint, fields=fields)
            answer, status, reason = self._ask(text)
            if not reason:
                break
            fewer = fields.without(answer.detail) if status in REFUSED else None
            if fewer is None:
                raise self._refused(status, reason, answer.detail, listed)
            fields = fewer
        dropped = first.optional - fields.optional
        if dropped.intersection(LENGTH_FIELDS):
            names = formats.listing([name for name in LENGTH_FIELDS if name in dropped])
            self._remarks.append(
                f"the server takes no {names}: an answer may end before its max_tokens"
            )
        if USAGE_FIELD in dropped:
            self._remarks.append(f"the server takes no {USAGE_FIELD}")
        if fields.limit != LIMIT_FIELDS[0]:
            self._remarks.append(f"the server takes {fields.limit} instead of {LIMIT_FIELDS[0]}")
        return answer

    def _ask(self, text: str) -> tuple[TokenStream, int, str]:
        """An answer, its status, and why it does not count; empty if it does."""
        answer = TokenStream(self._endpoint.key)
        request = self._endpoint.request(Prompt(text, PROBE_TOKENS), keep_length=self._keep_length)
        exchanges = self._http.ask(request, answer)
        _stop_if_interrupted(exchanges.reasons)
        return answer, int(exchanges.status[0]), next(iter(exchanges.reasons), "")

    def _refused(self, status: int, reason: str, said: str, listed: list[str]) -> ServingError:
        url, model = self._endpoint.target.url, self._endpoint.model
        if status in UNAUTHORIZED:
            hint = "put your key into the environment variable OPENAI_API_KEY, or name another "
            hint += "with --key-env"
        elif listed and model not in listed:
            return ServingError(
                f"{url} has no such model: it serves {_listed(listed)}, not {model!r}",
                f"--model {listed[0]}",
            )
        elif status == 404:  # noqa: PLR2004
            hint = "check --model and --endpoint, and that the server speaks the OpenAI protocol"
        else:
            hint = "try one request by hand first, for instance with curl"
        return ServingError(f"{url}: {reason}" + (f": {said}" if said else ""), hint)

    def _writer(self, text: str, answer: TokenStream) -> Writer:
        """What writes prompts of given lengths."""
        if self._tokenizer is not None:
            if answer.prompt_tokens is None:
                return self._tokenizer
            added = answer.prompt_tokens - self._tokenizer.count(text)
            return self._tokenizer.with_overhead(added)
        if answer.prompt_tokens is None:
            self._remarks.append(
                "lengths of prompts are in words, as the server counts no prompt tokens: "
                "--tokenizer would make them exact"
            )
            return WordWriter()
        longer, _, reason = self._ask(words(LONG_WORDS, self._rng))
        if reason or longer.prompt_tokens is None:
            return WordWriter(answer.prompt_tokens - SHORT_WORDS)
        return WordWriter.between(
            (SHORT_WORDS, answer.prompt_tokens), (LONG_WORDS, longer.prompt_tokens)
        )


def _uncounted(answer: TokenStream) -> list[str]:
    """A remark if the server does not count all tokens."""
    output = "chunks with text are counted as output tokens"
    if not answer.streamed:
        output = "output tokens are unknown"
    if answer.output_tokens is None and answer.prompt_tokens is None:
        return [f"the server gives no usage: {output}, and prompt tokens are unknown"]
    if answer.output_tokens is None:
        return [f"the server counts no output tokens: {output}"]
    if answer.prompt_tokens is None:
        return ["the server counts no prompt tokens: they are unknown"]
    return []


def _stop_if_interrupted(reasons: dict[str, int]) -> None:
    if "interrupted" in reasons:
        raise KeyboardInterrupt


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_LISTED])
    return shown if len(names) <= _MOST_LISTED else f"{shown} and {len(names) - _MOST_LISTED} more"
