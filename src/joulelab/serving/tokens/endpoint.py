"""A server that speaks the OpenAI protocol: where it is asked, and with which fields.

::

    http://host:8000                      base   -> /v1/chat/completions, /v1/models
    http://host:8000/v1                   base
    http://host:8000/v1/completions       the endpoint itself
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import h11

from joulelab.errors import UsageError
from joulelab.serving.http_target import Content, Request, Target
from joulelab.serving.tokens.prompts import Prompt

KEY_VARIABLE = "OPENAI_API_KEY"
LENGTH_FIELDS = ("ignore_eos", "min_tokens")
"""With them an answer is as long as asked; vLLM, SGLang and others take them."""
USAGE_FIELD = "stream_options"
LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")


class Endpoint(StrEnum):
    """The two forms of the protocol."""

    CHAT = "chat"
    COMPLETIONS = "completions"


_ENDS = {Endpoint.CHAT: "/chat/completions", Endpoint.COMPLETIONS: "/completions"}


@dataclass(frozen=True)
class Fields:
    """Fields of a request that some servers refuse.

    Attributes:
        optional: of `LENGTH_FIELDS` and `USAGE_FIELD` those to send.
        limit: name of the field that limits the answer.
    """

    optional: frozenset[str] = frozenset((*LENGTH_FIELDS, USAGE_FIELD))
    limit: str = LIMIT_FIELDS[0]

    def without(self, said: str) -> Fields | None:
        """Fewer, after a refusal; ``None`` if nothing is left to leave out.

        Args:
            said: what the server said; the fields that it names go first.
        """
        named = {name for name in self.optional if name in said}
        if not named and LIMIT_FIELDS[1] in said and self.limit == LIMIT_FIELDS[0]:
            return replace(self, limit=LIMIT_FIELDS[1])
        if not named:
            named = set(self.optional.intersection(LENGTH_FIELDS)) or set(self.optional)
        return replace(self, optional=self.optional - named) if named else None


@dataclass(frozen=True)
class TokenEndpoint:
    """An endpoint and a model behind it.

    Attributes:
        target: the endpoint itself.
        models: path of the list of models.
        kind: chat or completions.
        model: name of the model.
        key: secret of the user; empty for none. It is in no text that is shown.
        headers: additional headers.
        fields: that the server takes.
    """

    target: Target
    models: str
    kind: Endpoint
    model: str
    key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    fields: Fields = Fields()

    @classmethod
    def parse(
        cls,
        url: str,
        model: str,
        kind: Endpoint | None = None,
        key: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> TokenEndpoint:
        """Read a URL.

        Args:
            url: base of a server, with or without ``/v1``, or the endpoint itself.
            model: name of the model.
            kind: default: that of the URL, else chat.
            key: secret, sent as a bearer token.
            headers: additional headers.

        Raises:
            UsageError: it is not a URL, or the endpoint of the other kind.
        """
        Target.parse(url)
        scheme, host, path, query, _ = urlsplit(url)
        path = path.rstrip("/")
        named = next((one for one, end in _ENDS.items() if path.endswith(end)), None)
        if named is not None and kind not in (None, named):
            raise UsageError(
                f"{url} is the endpoint for {named}, not for {kind}",
                f"remove --endpoint {kind}, or write the URL of the server alone",
            )
        kind = named or kind or Endpoint.CHAT
        base = path.removesuffix(_ENDS[kind]) if named else path
        if named is None and base.rpartition("/")[2] not in ("v1", "v2", "v3", "v4"):
            base += "/v1"
        target = Target.parse(urlunsplit((scheme, host, base + _ENDS[kind], query, "")))
        models = f"{base}/models" + (f"?{query}" if query else "")
        return cls(target, models, kind, model, key, dict(headers or {}))

    @property
    def chat(self) -> bool:
        """Whether prompts are messages."""
        return self.kind is Endpoint.CHAT

    def request(self, prompt: Prompt, *, keep_length: bool = False) -> Request:
        """An encoded request.

        Args:
            prompt: what is asked.
            keep_length: whether the answer is to have all of its `max_tokens`.
        """
        asked: dict[str, Any] = {"model": self.model, "stream": True}
        if not self.chat:
            asked["prompt"] = prompt.content
        elif isinstance(prompt.content, str):
            asked["messages"] = [{"role": "user", "content": prompt.content}]
        else:
            asked["messages"] = prompt.content
        taken = self.fields.optional
        if USAGE_FIELD in taken:
            asked[USAGE_FIELD] = {"include_usage": True}
        if prompt.max_tokens is not None:
            asked[self.fields.limit] = prompt.max_tokens
            values = {"ignore_eos": True, "min_tokens": prompt.max_tokens}
            if keep_length:
                asked |= {name: values[name] for name in LENGTH_FIELDS if name in taken}
        body = json.dumps(asked, separators=(",", ":")).encode()
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        content = Content(headers=headers | self._headers)
        return content.with_body(self.target, body)

    def models_request(self) -> Request:
        """Ask for the list of models."""
        one = Content(method="GET", headers=self._headers).prepared(self.target)[0]
        head = h11.Request(method="GET", target=self.models, headers=one.head.headers)
        return Request(head, b"")

    @property
    def _headers(self) -> dict[str, str]:
        secret = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return secret | dict(self.headers)


def key_from(variable: str) -> str:
    """The secret of the user, from the environment only; empty if there is none.

    Args:
        variable: name of the variable.

    Raises:
        UsageError: another variable than the usual one was named and is not set, or the key has
            characters that no header takes.
    """
    key = os.environ.get(variable, "").strip()
    if not key and variable != KEY_VARIABLE:
        raise UsageError(
            f"--key-env {variable}: this environment variable is not set", f"export {variable}=..."
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(f"the key in {variable} has characters that no key has", "set it again")
    return key
