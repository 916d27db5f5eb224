"""One HTTP question to a device on the local network, bounded in time and in size.

The usual clients bound only the time between two bytes, so that a device that drips holds them for
ever. Here a question has one deadline, from the connecting to the last byte; an answer has at most
64 KiB; nothing is sent on to another address, and no proxy is asked. Every question has a
connection of its own: a device that was away, or has started anew, needs no special case.
"""

from __future__ import annotations

import html
import io
import ipaddress
import json
import re
import socket
import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, cast
from urllib.parse import quote, quote_plus

from joulelab.errors import MeterError

HTTP_PORT = 80
LONGEST_ANSWER = 64 * 1024
EXCERPT = 60
SUCCESSES = range(200, 300)
REDIRECTIONS = range(300, 400)
_HOST = re.compile(r"(?:http://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?/?")
NOT_THE_PLUG = "is this the address of the plug?"
_LAST_PORT = 65535


@dataclass(frozen=True)
class Address:
    """Where a device is reached: a name or number, and a port."""

    host: str
    port: int = HTTP_PORT

    @classmethod
    def parse(cls, text: str) -> Address | None:
        """Read ``host``, ``host:port`` or ``[IPv6]:port``, with or without ``http://``.

        Returns:
            ``None`` where it is something else.
        """
        match = _HOST.fullmatch(text.strip())
        if match is None or not 0 < int(match[2] or HTTP_PORT) <= _LAST_PORT:
            return None
        host = match[1].strip("[]")
        if match[1].startswith("["):
            try:
                ipaddress.IPv6Address(host)
            except ValueError:
                return None
        return cls(host, int(match[2] or HTTP_PORT))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTP_PORT else f"{host}:{self.port}"


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the ``WWW-Authenticate`` headers, and the text."""

    status: int
    challenges: tuple[str, ...]
    text: str


class PlugHttpClient:
    """Asks one device.

    Args:
        address: of the device.
        timeout_s: how long a question may take in all, in seconds. Looking up the address of a
            name is not bounded by it but by the system.
        secret: what no message may show, even where the device repeats it.
    """

    def __init__(self, address: Address, timeout_s: float, secret: str = "") -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._secret = secret
        self._guard = threading.Lock()
        self._socket: socket.socket | None = None
        self._interrupted = False

    def deadline_s(self) -> float:
        """When a question that is asked now must be answered, on the monotonic clock."""
        return time.monotonic() + self.timeout_s

    def get(self, path: str, deadline_s: float, authorization: str = "") -> Answer:
        """Ask once.

        Args:
            path: with the query.
            deadline_s: as `deadline_s` gave it; several requests may share one.
            authorization: the header of that name.

        Raises:
            MeterError: there is no answer in time, or it is no HTTP.
        """
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {self.address}\r\nConnection: close\r\n"
            "Accept: application/json\r\nUser-Agent: joulelab\r\n"
        )
        if authorization:
            request += f"Authorization: {authorization}\r\n"
        try:
            return self._exchange(f"{request}\r\n".encode("latin-1"), deadline_s)
        except TimeoutError:
            raise MeterError(
                f"{self.address}: no answer within {self.timeout_s:g} s",
                "is it in reach, and is the address right? timeout_s gives it longer",
            ) from None
        except OSError as error:  # a connection that was closed without an answer is one, too
            why = error.strerror or str(error) or type(error).__name__
            raise MeterError(
                f"{self.address} cannot be reached: {why}",
                "is the plug in its socket and in the network, and is the address right?",
            ) from None
        except (HTTPException, _TooLongError) as error:
            what = {
                IncompleteRead: "its answer breaks off",
                _TooLongError: "its answer is too long",
            }
            default = "it answered with something that is no HTTP"
            raise MeterError(
                f"{self.address}: {what.get(type(error), default)}", NOT_THE_PLUG
            ) from None

    def excerpt(self, text: str) -> str:
        """The beginning of what the device said, safe to print and without the secret."""
        if self._secret:
            for written in (partial(quote, safe=""), quote_plus, html.escape, str):
                text = text.replace(written(self._secret), "***")
        text = " ".join(text.split())
        return repr(text if len(text) <= EXCERPT else f"{text[:EXCERPT]}...")

    def table(self, answer: Answer) -> dict[str, Any]:
        """The JSON object in an answer; numbers with a point are Decimal, with all their digits.

        Raises:
            MeterError: it is not that, or its status is none of success.
        """
        said = self.excerpt(answer.text)
        if answer.status in REDIRECTIONS:
            raise MeterError(
                f"{self.address}: it sends on to another address (HTTP {answer.status})",
                "name the address where the plug itself answers",
            )
        if answer.status not in SUCCESSES:
            raise MeterError(
                f"{self.address}: HTTP status {answer.status}: {said}",
                NOT_THE_PLUG,
            )
        try:
            table = json.loads(answer.text, parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError):
            raise MeterError(
                f"{self.address}: it answered with something that is no JSON: {said}",
                NOT_THE_PLUG,
            ) from None
        if not isinstance(table, dict):
            raise MeterError(
                f"{self.address}: it answered with something that is no JSON object: {said}",
                NOT_THE_PLUG,
            )
        return table

    def interrupt(self) -> None:
        """End the question that is under way, and all later ones; from any thread."""
        with self._guard:
            self._interrupted = True
            if self._socket is not None:
                _shut(self._socket)

    def _exchange(self, request: bytes, deadline_s: float) -> Answer:
        connection = self._connect(deadline_s)
        try:
            connection.settimeout(_left_s(deadline_s))
            connection.sendall(request)
            response = HTTPResponse(cast(socket.socket, _Incoming(connection, deadline_s)))
            try:
                response.begin()
                text = response.read().decode("utf-8", "replace")
                challenges = response.headers.get_all("WWW-Authenticate") or []
                return Answer(response.status, tuple(map(str, challenges)), text)
            finally:
                response.close()
        finally:
            self._release(connection)

    def _connect(self, deadline_s: float) -> socket.socket:
        failure = OSError("it has no address")
        host, port = self.address.host, self.address.port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise OSError("there can be no such name") from None
        for family, kind, protocol, _, where in found:
            connection = socket.socket(family, kind, protocol)
            try:
                self._hold(connection)
                connection.settimeout(_left_s(deadline_s))
                connection.connect(where)
            except OSError as error:
                self._release(connection)
                failure = error
            else:
                return connection
        raise failure

    def _hold(self, connection: socket.socket) -> None:
        with self._guard:
            self._socket = connection
            if self._interrupted:
                raise OSError("closed")

    def _release(self, connection: socket.socket) -> None:
        with self._guard:
            self._socket = None
            connection.close()


class _TooLongError(Exception):
    """A device that says more than any plug has to say."""


class _Incoming(io.RawIOBase):
    """The bytes that come in, up to a deadline and a size; stands for a socket that is read."""

    def __init__(self, connection: socket.socket, deadline_s: float) -> None:
        self._connection = connection
        self._deadline_s = deadline_s
        self._left = LONGEST_ANSWER

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - typeshed has no name for a buffer here
        self._connection.settimeout(_left_s(self._deadline_s))
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise _TooLongError
        return count


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _shut(connection: socket.socket) -> None:
    """Wake whoever waits for the connection; closing it alone would not."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it was not connected yet, or is not any more
