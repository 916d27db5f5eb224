"""Clients for streamed answers side by side: our own on h11, aiohttp and httpx.

    python benchmarks/streaming.py [--seconds 10] [--repeats 3] [--rate 100] [--tokens 16]

All of them send the same requests at the same times, set by the same thread (`Pacer`), and read the
answers into the same `TokenStream`, so that only the client differs. The server, a process of its
own, waits instead of computing. A request is late from due until the client begins it, and until
the server has it, by the clock of the server; processor time is that of the whole client process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import aiohttp
import httpx
import numpy as np
from figures import machine, spread, table, verdict, versions
from streaming_server import MODEL

from joulelab.serving.http_load import LEAD_S, HttpLoad, Limits, Pacer
from joulelab.serving.http_target import Content
from joulelab.serving.tokens.endpoint import TokenEndpoint
from joulelab.serving.tokens.prompts import Prompt
from joulelab.serving.tokens.stream import TokenStream

CLIENTS = ("joulelab", "aiohttp", "httpx")
LATE_P99_S = 2e-3
LATE = ("begun_p50_s", "begun_p99_s", "arrived_p50_s", "arrived_p99_s")
CONNECTIONS = 256
Figures = dict[str, list[float]]
Send = Callable[[int, bytes, TokenStream], Awaitable[None]]


def main() -> None:
    """Measure the clients in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each window")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second")
    parser.add_argument("--tokens", type=int, default=16, help="of each answer")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    args = parser.parse_args()
    where = f"{machine()}; {versions()}, aiohttp {aiohttp.__version__}, httpx {httpx.__version__}"
    print(f"{where}\n")
    figures: dict[str, Figures] = {name: {} for name in CLIENTS}
    count = max(20, int(args.rate * args.seconds))
    with waiting_server() as url:
        for repeat in range(args.repeats):
            for name in CLIENTS[repeat % len(CLIENTS) :] + CLIENTS[: repeat % len(CLIENTS)]:
                for key, value in measured(name, url, count, args.rate, args.tokens).items():
                    figures[name].setdefault(key, []).append(value)
    print(f"### {count} requests of {args.tokens} tokens, {args.rate:g}/s, {args.repeats} times\n")
    rows = [
        [
            name,
            *(spread([1e3 * s for s in of[key]], ".2f") for key in LATE),
            verdict(max(of["arrived_p99_s"]), LATE_P99_S),
            spread([1e6 * s for s in of["processor_s"]], ".0f"),
            spread([1e3 * s for s in of["first_off_s"]], ".2f"),
        ]
        for name, of in figures.items()
    ]
    head = ["client", "begun late, p50, ms", "p99, ms", "at the server late, p50, ms", "p99, ms"]
    head.append("p99 under 2 ms")
    head += ["processor time per request, us", "first token seen after it was written, p50, ms"]
    print(table(head, rows))
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"schema_version": 1, "machine": where, **figures}))


@contextmanager
def waiting_server() -> Iterator[str]:
    """The server in a process of its own; gives its URL."""
    command = [sys.executable, str(Path(__file__).with_name("streaming_server.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def truth(url: str) -> list[dict[str, float]]:
    """What the server has done since the last question, a row for each request."""
    with urllib.request.urlopen(f"{url}/truth") as answer:
        return list(json.load(answer))


def measured(name: str, url: str, count: int, rate: float, tokens: int) -> dict[str, float]:
    """One window of one client."""
    rng = np.random.default_rng(1)
    due_s = np.cumsum(rng.uniform(0.8, 1.2, count)) / rate
    due_s -= due_s[0]
    endpoint = TokenEndpoint.parse(url, MODEL)
    body = endpoint.request(Prompt("one two three four", tokens)).body
    send = ours if name == "joulelab" else others
    send(name, url, body, due_s[: count // 10])  # connections, imports, caches
    truth(url)
    start_s, begun_s, streams, processor_s = send(name, url, body, due_s)
    known = {int(one["number"]): one for one in truth(url)}
    if len(known) != count or any(one.end() for one in streams):
        raise SystemExit(f"{name}: not every request was answered")
    begun_late_s = begun_s - start_s - due_s
    arrived_s = np.array([known[at]["arrived_s"] for at in range(count)]) - start_s - due_s
    first_s = np.array([one.first_s - known[at]["first_s"] for at, one in enumerate(streams)])
    return {
        "begun_p50_s": float(np.quantile(begun_late_s, 0.5)),
        "begun_p99_s": float(np.quantile(begun_late_s, 0.99)),
        "arrived_p50_s": float(np.quantile(arrived_s, 0.5)),
        "arrived_p99_s": float(np.quantile(arrived_s, 0.99)),
        "processor_s": processor_s / count,
        "first_off_s": float(np.quantile(first_s, 0.5)),
    }


Window = tuple[float, np.ndarray, list[TokenStream], float]
"""The start, the beginning of each request, the answers, and the processor time."""


def ours(_: str, url: str, body: bytes, due_s: np.ndarray) -> Window:
    """A window of joulelab's client."""
    target = TokenEndpoint.parse(url, MODEL).target
    headers = {"content-type": "application/json"}
    requests = [
        Content(headers=headers | {"x-number": str(number)}).with_body(target, body)
        for number in range(len(due_s))
    ]
    streams = [TokenStream() for _ in due_s]
    limits = Limits(60.0, CONNECTIONS, silence_s=60.0)
    with HttpLoad(target, target.addresses(), requests, limits) as load:
        load.connect()
        began_s = time.process_time()
        exchanges = load.send(due_s, np.arange(len(due_s)), bodies=lambda number: streams[number])
        processor_s = time.process_time() - began_s
    return exchanges.start_s, exchanges.start_s + exchanges.begun_s, streams, processor_s


def others(name: str, url: str, body: bytes, due_s: np.ndarray) -> Window:
    """The same with aiohttp or httpx."""
    return asyncio.run(sent(name, f"{url}/v1/chat/completions", body, due_s))


async def sent(name: str, url: str, body: bytes, due_s: np.ndarray) -> Window:
    """Send with a client that keeps its connections."""
    loop, streams = asyncio.get_running_loop(), [TokenStream() for _ in due_s]
    tasks: list[asyncio.Task[None]] = []
    begun_s: list[float] = []
    async with AsyncExitStack() as stack:
        make = with_aiohttp if name == "aiohttp" else with_httpx
        exchange = await make(stack, url)
        began_s, start_s = time.process_time(), loop.time() + LEAD_S

        def begin(number: int) -> None:
            begun_s.append(loop.time())
            tasks.append(loop.create_task(exchange(number, body, streams[number])))

        with Pacer(due_s, start_s, begin):
            while len(tasks) < len(due_s):
                await asyncio.sleep(0.1)
        await asyncio.gather(*tasks)
        return start_s, np.array(begun_s), streams, time.process_time() - began_s


def headers_of(number: int) -> dict[str, str]:
    """The headers of a request."""
    return {"content-type": "application/json", "x-number": str(number)}


async def with_aiohttp(stack: AsyncExitStack, url: str) -> Send:
    """An exchange with aiohttp."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))

    async def exchange(number: int, body: bytes, stream: TokenStream) -> None:
        async with session.post(url, data=body, headers=headers_of(number)) as answer:
            kind = answer.headers["content-type"].encode()
            stream.begin(answer.status, {b"content-type": kind})
            async for data in answer.content.iter_any():
                stream.receive(data, time.monotonic())

    return exchange


async def with_httpx(stack: AsyncExitStack, url: str) -> Send:
    """An exchange with httpx."""
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    client = await stack.enter_async_context(httpx.AsyncClient(limits=limits, timeout=60.0))

    async def exchange(number: int, body: bytes, stream: TokenStream) -> None:
        headers = headers_of(number)
        async with client.stream("POST", url, content=body, headers=headers) as answer:
            kind = answer.headers["content-type"].encode()
            stream.begin(answer.status_code, {b"content-type": kind})
            async for data in answer.aiter_raw():
                stream.receive(data, time.monotonic())

    return exchange


if __name__ == "__main__":
    main()
