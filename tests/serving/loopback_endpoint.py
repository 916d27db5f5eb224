"""A server on a loopback port that behaves as it is told, well or badly."""

import asyncio
import threading
from contextlib import contextmanager

JSON = b'{"class": 3}'


class Endpoint:
    """Its port, and what it has seen.

    Args:
        behave: ``async behave(endpoint, reader, writer)``, called for each connection.
        tls: an SSL context of a server.
    """

    def __init__(self, behave, tls=None):
        self.connections = 0
        self.requests = []
        self._behave = behave
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks = set()
        self._call(self._start())

    @property
    def url(self):
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}/classify?k=1"

    async def request(self, reader):
        """The next request, head and body; raises `asyncio.IncompleteReadError` at the end."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((lines[0], headers, body))
        return len(self.requests)

    async def vanish(self):
        """Stop to listen and drop every connection, as a process does that is killed."""
        self._server.close()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    def close(self):
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self):
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self):
        for _ in range(3):  # a connection that has just been accepted has not begun yet
            await self.vanish()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)

    async def _connected(self, reader, writer):
        self.connections += 1
        self._tasks.add(asyncio.current_task())
        try:
            await self._behave(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(asyncio.current_task())


@contextmanager
def endpoint(behave, tls=None):
    """An `Endpoint` for as long as the block lasts."""
    server = Endpoint(behave, tls)
    try:
        yield server
    finally:
        server.close()


def answer(body=JSON, status="200 OK", headers=""):
    """The bytes of an answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def saying(reply, delay_s=0.0):
    """Answers every request with the same bytes."""

    async def behave(server, reader, writer):
        while True:
            await server.request(reader)
            await asyncio.sleep(delay_s)
            writer.write(reply)

    return behave


def closing_after(reply):
    """Answers once on each connection, and closes it unannounced."""

    async def behave(server, reader, writer):
        await server.request(reader)
        writer.write(reply)
        await writer.drain()

    return behave


async def silent(server, reader, writer):
    """Reads and never answers."""
    while True:
        await server.request(reader)


async def endless(server, reader, writer):
    """Begins an answer that has no end."""
    await server.request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 1000)
        await writer.drain()
        await asyncio.sleep(0.01)


def vanishing_after(count):
    """Answers so many requests and is gone."""

    async def behave(server, reader, writer):
        while await server.request(reader) < count:
            writer.write(answer())
        await server.vanish()

    return behave


def all_at_once(count):
    """Answers nobody until so many requests are there, and then everybody."""
    everybody = asyncio.Event()

    async def behave(server, reader, writer):
        while True:
            if await server.request(reader) == count:
                everybody.set()
            await everybody.wait()
            writer.write(answer())

    return behave
