"""Connections to one endpoint that are kept alive between requests."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from joulelab.errors import ServingError
from joulelab.serving.http_connection import Connection
from joulelab.serving.http_exchanges import TIMED_OUT
from joulelab.serving.http_target import Target

SETTLE_S = 0.01
"""How long the event loop is given to read the ends of connections that lay idle."""


class Pool:
    """Connections to one endpoint; the one that was used last is used first.

    Args:
        target: the endpoint.
        addresses: of its host; the first that can be reached is kept to.
        json_expected: as for `Connection`.
    """

    def __init__(self, target: Target, addresses: Sequence[str], *, json_expected: bool) -> None:
        self._target = target
        self._addresses = list(addresses)
        self._json_expected = json_expected
        self._tls = ssl.create_default_context() if target.scheme == "https" else None
        self._idle: list[Connection] = []

    async def probe(self, timeout_s: float) -> None:
        """See to it that a connection is open, and forget those that the server has closed.

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
        """Keep a connection for the next request, or close it where it cannot be used."""
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
            lambda: Connection(json_expected=self._json_expected),
            address,
            self._target.port,
            ssl=self._tls,
            server_hostname=self._target.host if self._tls else None,
        )
        return connection


def reason(error: OSError) -> str:
    """Why there is no connection, in words that are the same for all alike.

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
        return f"no TLS connection: {error.reason or error.strerror}"
    return f"no connection: {error.strerror or error}"


def _advice(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "have SSL_CERT_FILE name the file with the certificate to trust"
    if isinstance(error, ssl.SSLError):
        return "does the server speak https at this port?"
    return "start the server first, and look at the host and port of the URL"
