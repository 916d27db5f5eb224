"""Scripted servers of the OpenAI protocol on loopback, that behave well and badly."""

import asyncio
import json

from loopback_endpoint import answer, endpoint


def event(payload):
    """A server-sent event."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return f"data: {text}\n\n".encode()


def chat(text=None, finish=None, **delta):
    """A chunk of a chat."""
    delta = delta if text is None else {"content": text, **delta}
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def completion(text, finish=None):
    """A chunk of a completion."""
    return event({"choices": [{"index": 0, "text": text, "finish_reason": finish}]})


def usage(prompt, output):
    """The chunk with the counts."""
    counts = {"prompt_tokens": prompt, "completion_tokens": output}
    return event({"choices": [], "usage": counts})


DONE = event("[DONE]")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def framed(data):
    """As a chunk of HTTP."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def refusing(status, message="", headers=""):
    """An answer that refuses."""
    body = json.dumps({"error": {"message": message}}).encode() if message else b""
    return answer(body, status, headers)


def listing(*names):
    """The list of models."""
    return answer(json.dumps({"data": [{"id": name} for name in names]}).encode())


class Script:
    """A server of a model that streams tokens, one word each, and counts words.

    Args:
        reply: ``async reply(script, asked, writer)`` answers a request whose body is `asked`.
        models: names that it lists; none for a server without a list.
    """

    def __init__(self, reply=None, models=("tiny",)):
        self.asked = []
        self.heads = []
        self._reply = reply or tokens()
        self._models = models

    async def __call__(self, server, reader, writer):
        while True:
            await server.request(reader)
            line, headers, body = server.requests[-1]
            if line.startswith("GET"):
                writer.write(listing(*self._models) if self._models else refusing("404 No"))
                continue
            self.heads.append((line, headers))
            self.asked.append(json.loads(body))
            await self._reply(self, self.asked[-1], writer)

    @property
    def count(self):
        """Number of the request that is being answered, from 1, with those of the probe."""
        return len(self.asked)


def prompt_words(asked):
    """Words of a prompt."""
    if "prompt" in asked:
        return len(asked["prompt"].split())
    return 3 + sum(len(one["content"].split()) for one in asked["messages"])


def tokens(delay_s=0.0, counted=True, **refused):
    """Streams as many words as `max_tokens` says; refuses fields by name with a message."""

    async def reply(script, asked, writer):
        for name, message in refused.items():
            if name in asked:
                writer.write(refusing("400 Bad Request", message))
                return
        make = chat if "messages" in asked else completion
        number = asked.get("max_tokens") or asked.get("max_completion_tokens") or 5
        writer.write(HEAD)
        for _ in range(number):
            writer.write(framed(make("word ")))
            await asyncio.sleep(delay_s)
        writer.write(framed(make("", "length")))
        if counted and asked.get("stream_options", {}).get("include_usage"):
            writer.write(framed(usage(prompt_words(asked), number)))
        writer.write(framed(DONE) + b"0\r\n\r\n")

    return reply


def after_probe(*parts, probes=2, close=False, wait_s=0.0):
    """Answers the probe well, and then with these parts of a stream, each a chunk of HTTP."""
    well = tokens()

    async def reply(script, asked, writer):
        if script.count <= probes:
            await well(script, asked, writer)
            return
        writer.write(HEAD)
        for part in parts:
            writer.write(framed(part))
            await asyncio.sleep(wait_s)
        if close:
            await writer.drain()
            writer.transport.abort()
        else:
            writer.write(b"0\r\n\r\n")

    return reply


def raw_after_probe(reply_bytes, probes=2):
    """Answers the probe well, and then with these bytes."""
    well = tokens()

    async def reply(script, asked, writer):
        if script.count <= probes:
            await well(script, asked, writer)
        else:
            writer.write(reply_bytes)

    return reply


__all__ = ["Script", "endpoint"]
