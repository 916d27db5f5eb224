"""A server of OpenAI's protocol that waits instead of computing, and knows when it did what.

    python benchmarks/streaming_server.py [--first 0.05] [--gap 0.01] [--port 8000]

The first token comes after `--first` seconds, each other `--gap` later; there are ``max_tokens``.
``GET /truth`` gives, for each request since the last such question, the times on the monotonic
clock at which it arrived and at which its first and last token were written.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n"
EVENTS, JSON = b"text/event-stream", b"application/json"
MODEL = "waiting"


class Server:
    """What it does, and what it has done."""

    def __init__(self, first_s: float, gap_s: float) -> None:
        self._first_s, self._gap_s = first_s, gap_s
        self._done: list[dict[str, float]] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection, one after the other."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                lines = head.split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                arrived_s = loop.time()
                if lines[0].startswith("post"):
                    number = int(headers.get("x-number", -1))
                    await self._complete(writer, json.loads(body), arrived_s, number)
                else:
                    writer.write(HEAD % JSON + framed(self._told(lines[0])) + framed(b""))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()

    def _told(self, line: str) -> bytes:
        if "/truth" in line:
            done, self._done = self._done, []
            return json.dumps(done).encode()
        return json.dumps({"object": "list", "data": [{"id": MODEL}]}).encode()

    async def _complete(
        self, writer: asyncio.StreamWriter, asked: dict[str, Any], arrived_s: float, number: int
    ) -> None:
        loop = asyncio.get_running_loop()
        count = asked.get("max_tokens") or asked.get("max_completion_tokens") or 16
        chat = "messages" in asked
        tokens = len(prompt_of(asked).split())
        writer.write(HEAD % EVENTS)
        times_s = []
        for one in range(count):
            # Each wait ends at a time fixed beforehand: what one is late, the next is not.
            due_s = arrived_s + self._first_s + one * self._gap_s
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            writer.write(framed(chunk(chat, "word ")))
            times_s.append(loop.time())
        usage = {"prompt_tokens": tokens, "completion_tokens": count}
        usage["total_tokens"] = tokens + count
        last = chunk(chat, "", "length") + event({"choices": [], "usage": usage})
        writer.write(framed(last + b"data: [DONE]\n\n") + framed(b""))
        truth = {"arrived_s": arrived_s, "first_s": times_s[0], "last_s": times_s[-1]}
        self._done.append(truth | {"prompt": tokens, "tokens": count, "number": number})


def prompt_of(asked: dict[str, Any]) -> str:
    """The text of a prompt, or of all messages, which may come in parts."""
    if "prompt" in asked:
        return str(asked["prompt"])
    contents = [one["content"] for one in asked["messages"]]
    parts = [part for one in contents for part in ([one] if isinstance(one, str) else one)]
    return " ".join(part if isinstance(part, str) else part.get("text", "") for part in parts)


def chunk(chat: bool, text: str, finish: str | None = None) -> bytes:
    """A chunk of a chat or of a completion."""
    said = {"delta": {"content": text}} if chat else {"text": text}
    return event({"choices": [{"index": 0, **said, "finish_reason": finish}]})


def event(said: dict[str, object]) -> bytes:
    """A server-sent event, with what real servers repeat in each."""
    head = {"id": "cmpl-7ff37f55f710", "object": "chunk", "created": 1796066178, "model": MODEL}
    return f"data: {json.dumps({**head, **said})}\n\n".encode()


def framed(data: bytes) -> bytes:
    """As a chunk of HTTP; an empty one ends the answer."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve(first_s: float, gap_s: float, port: int) -> None:
    """Serve until stopped; the port stands on the first line."""
    server = await asyncio.start_server(Server(first_s, gap_s).connected, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=float, default=0.05, help="seconds to the first token")
    parser.add_argument("--gap", type=float, default=0.01, help="seconds between tokens")
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    asyncio.run(serve(args.first, args.gap, args.port))


if __name__ == "__main__":
    main()
