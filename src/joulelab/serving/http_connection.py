"""Connections to an HTTP server, kept alive: a request, its answer, the next request.

::

    idle ---exchange---> waiting ---answer complete---> idle     the server keeps it open
      |                     |             `-----------> closed   it does not, or says too much
      `---server closes-----+---closed, nonsense, aborted------> closed

Responses are parsed by h11, a strict HTTP/1.1 parser; what becomes of a body is up to a
`joulelab.serving.http_body.Body`.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import h11

from joulelab.errors import ServingError
from joulelab.serving.http_body import CLOSED, SUCCESS, Body
from joulelab.serving.http_target import Request, Target

MOST_HEADER_BYTES = 64 * 1024
FIRST_WORD = b"HTTP/"
REDIRECT = range(300, 400)
SETTLE_S = 0.01
"""Time for the event loop to read the end of idle connections."""

TIMED_OUT = "timed out"
NOT_HTTP = "not an HTTP answer"


class ExchangeError(Exception):
    """A request got no usable answer; the text is a normalised reason."""


@dataclass(frozen=True)
class Answer:
    """The answer of a server.

    Attributes:
        status: of HTTP.
        at_s: when its last byte was read, on the clock of the event loop.
        location: redirect target, if any.
        wrong: why a successful answer is not as expected; empty if it is.
        detail: what the server said about a failure; empty if nothing.
    """

    status: int
    at_s: float
    location: str = ""
    wrong: str = ""
    detail: str = ""

    @property
    def failure(self) -> str:
        """Why this answer does not count; empty if it does."""
        if self.status in SUCCESS:
            return self.wrong
        if self.status in REDIRECT:
            return f"HTTP {self.status}, a redirect, not followed"
        return f"HTTP {self.status}"


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time.

    Attributes:
        sent_s: time when the last request was passed to the system, on the event loop's clock.
    """

    def __init__(self) -> None:
        self.sent_s = math.nan
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEADER_BYTES)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._response: h11.Response | None = None
        self._first = b""
        self._body = Body()
        self._heard_s = math.nan
        self._silence: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether the next request can be sent on it."""
        transport = self._transport
        return (
            transport is not None
            and not transport.is_closing()
            and self._waiter is None
            and self._http.our_state is h11.IDLE
        )

    async def exchange(self, request: Request, body: Body, silence_s: float = math.inf) -> Answer:
        """Send a request and wait for the whole answer; the caller sets a timeout.

        Args:
            request: to send.
            body: takes that of the answer.
            silence_s: longest time without a byte of the answer.

        Raises:
            ExchangeError: the server closed the connection, or did not speak HTTP.
        """
        self.sent_s = math.nan
        if self._transport is None or not self.usable:
            raise ExchangeError(CLOSED)
        self._waiter = self._loop.create_future()
        self._response, self._first, self._body = None, b"", body
        parts = [self._http.send(request.head)]
        if request.body:
            parts.append(self._http.send(h11.Data(data=request.body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        self._transport.write(b"".join(part for part in parts if part))
        self.sent_s = self._heard_s = self._loop.time()
        self._listen(silence_s)
        try:
            return await self._waiter
        finally:
            self._waiter = None
            if self._silence is not None:
                self._silence.cancel()

    def abort(self) -> None:
        """Close at once; nothing more is sent or read."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._waiter is None or self._waiter.done():
            self.abort()  # an unsolicited answer: the next one could not be assigned
            return
        self._heard_s = self._loop.time()
        if len(self._first) < len(FIRST_WORD):
            # h11 would wait for the end of a line that may never come.
            self._first = (self._first + data)[: len(FIRST_WORD)]
            if not FIRST_WORD.startswith(self._first):
                self._fail(NOT_HTTP)
                return
        self._read(data, NOT_HTTP)

    def eof_received(self) -> None:
        """Called by the event loop."""
        if self._waiter is not None and not self._waiter.done():
            # The end of the connection may be the end of the body.
            self._read(b"", CLOSED)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self._fail(CLOSED)

    def _read(self, data: bytes, otherwise: str) -> None:
        try:
            self._http.receive_data(data)
            while not isinstance(event := self._http.next_event(), type):
                if isinstance(event, h11.Data):
                    self._body.receive(bytes(event.data), self._heard_s)
                elif isinstance(event, h11.Response):
                    self._response = event
                    self._body.begin(event.status_code, dict(event.headers))
                elif isinstance(event, h11.EndOfMessage):
                    self._finish()
                    return
                elif isinstance(event, h11.ConnectionClosed):
                    self._fail(otherwise)
                    return
        except h11.RemoteProtocolError:
            self._fail(otherwise)

    def _finish(self) -> None:
        assert self._response is not None
        location = dict(self._response.headers).get(b"location", b"").decode("ascii", "replace")
        status = self._response.status_code
        wrong = self._body.end()
        kept = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        if kept and not self._http.trailing_data[0]:
            self._http.start_next_cycle()
        else:
            self.abort()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(
                Answer(status, self._loop.time(), location, wrong, self._body.detail)
            )

    def _listen(self, silence_s: float) -> None:
        """End the exchange if the server has been silent for too long, or look again later.

        One timer for an answer: moving it at each of its chunks would cost more than reading them.
        """
        if math.isinf(silence_s):
            return
        left_s = self._heard_s + silence_s - self._loop.time()
        if left_s <= 0:
            self._fail(f"{TIMED_OUT}: nothing for {silence_s:g} s")
        else:
            self._silence = self._loop.call_later(left_s, self._listen, silence_s)

    def _fail(self, reason: str) -> None:
        self.abort()
        if reason == CLOSED and self._response is not None:
            reason = self._body.cut_short
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ExchangeError(reason))


class Pool:
    """Connections to one endpoint; the one that was used last is used first.

    Args:
        target: the endpoint.
        addresses: of its host; the first reachable one is used.
    """

    def __init__(self, target: Target, addresses: Sequence[str]) -> None:
        self._target = target
        self._addresses = list(addresses)
        self._tls = ssl.create_default_context() if target.scheme == "https" else None
        self._idle: list[Connection] = []

    async def probe(self, timeout_s: float) -> None:
        """Ensure that a connection is open, and drop those that the server has closed.

        Args:
            timeout_s: for each address.

        Raises:
            ServingError: no address can be reached; with the reason of the last.
        """
        await asyncio.sleep(SETTLE_S)
        self._idle = [connection for connection in self._idle if connection.usable]
        if self._idle:
            return
        error: OSError = ConnectionError("it has no address")
        for address in self._addresses:
            try:
                async with asyncio.timeout(timeout_s):
                    self._idle.append(await self._open(address))
            except OSError as raised:
                error = raised
                continue
            self._addresses = [address]
            return
        raise ServingError(f"{self._target.url}: {reason(error)}", _advice(error)) from error

    async def take(self) -> Connection:
        """A connection that is open and idle, or a new one.

        Raises:
            OSError: there is none; see `reason`.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.abort()
        return await self._open(self._addresses[0])

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, or close it if unusable."""
        if connection.usable:
            self._idle.append(connection)
        else:
            connection.abort()

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().abort()

    async def _open(self, address: str) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection,
            address,
            self._target.port,
            ssl=self._tls,
            server_hostname=self._target.host if self._tls else None,
        )
        return connection


def reason(error: OSError) -> str:
    """Why the connection failed, as a normalised text.

    Args:
        error: of the attempt.
    """
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS connection failed: {error.reason or error.strerror}"
    return f"connection failed: {error.strerror or error}"


def _advice(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "set SSL_CERT_FILE to the file with the certificate to trust"
    if isinstance(error, ssl.SSLError):
        return "check that the server uses https on this port"
    return "start the server first, and check the host and port of the URL"
