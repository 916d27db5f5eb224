"""HTTP requests to one device on the local network, bounded in time and in size, with digest login.

Common clients limit only the time between two bytes, so a slow device can block them forever. Here
a request has one deadline from connecting to the last byte, an answer has at most 64 KiB if not
said otherwise, redirects are refused, and no proxy is used. Every request opens its own connection,
so a device that was offline or restarted needs no special case. With HTTPS, the
system's certificates are trusted, or those in the file that ``SSL_CERT_FILE`` names.

Digest authentication uses SHA-256, as RFC 7616 defines it and Shelly's plugs require it::

    response = H(H(user:realm:password) : nonce : nc : cnonce : auth : H(method:path))

A nonce is reused with an increasing count until the plug calls it stale: firmware 2 keeps only a
few and refuses, with status 429, a client that requests a new one every time.
"""

from __future__ import annotations

import hashlib
import html
import io
import ipaddress
import json
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, cast
from urllib.parse import quote, quote_plus

from joulelab.errors import MeterError

HTTP_PORT, HTTPS_PORT = 80, 443
LONGEST_ANSWER = 64 * 1024
EXCERPT = 60
SUCCESSES = range(200, 300)
REDIRECTIONS = range(300, 400)
_HOST = re.compile(r"(?:http://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?/?")
_LAST_PORT = 65535
_FIELD = re.compile(r'(\w+)\s*=\s*(?:"([^"\\\x00-\x1f]*)"|([^\s,"]+))')


@dataclass(frozen=True)
class Address:
    """The address of a device: host and port, and whether it speaks HTTPS there."""

    host: str
    port: int = HTTP_PORT
    tls: bool = False

    @classmethod
    def parse(cls, text: str, *, tls: bool = False) -> Address | None:
        """Read ``host``, ``host:port`` or ``[IPv6]:port``, with or without ``http://``.

        Args:
            text: as the user wrote it.
            tls: whether to speak HTTPS there.

        Returns:
            ``None`` if it is something else.
        """
        match = _HOST.fullmatch(text.strip())
        usual = HTTPS_PORT if tls else HTTP_PORT
        if match is None or not 0 < int(match[2] or usual) <= _LAST_PORT:
            return None
        host = match[1].strip("[]")
        if match[1].startswith("["):
            try:
                ipaddress.IPv6Address(host)
            except ValueError:
                return None
        return cls(host, int(match[2] or usual), tls)

    @property
    def url(self) -> str:
        """The same with its scheme: ``https://box:9400``."""
        return f"{'https' if self.tls else 'http'}://{self}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = HTTPS_PORT if self.tls else HTTP_PORT
        return host if self.port == usual else f"{host}:{self.port}"


@dataclass(frozen=True)
class Answer:
    """An answer: status, ``WWW-Authenticate`` headers, and text."""

    status: int
    challenges: tuple[str, ...]
    text: str


class PlugHttpClient:
    """HTTP client for one device.

    Args:
        address: of the device.
        timeout_s: total time of a request in seconds. The system limits name lookups, not this
            timeout.
        secret: a secret that no message shows, even if the device repeats it.
        what: the device, for hints.
        accept: the kind of answer that is wanted.
        longest: the size of the longest answer in bytes.
    """

    def __init__(
        self,
        address: Address,
        timeout_s: float,
        secret: str = "",
        *,
        what: str = "the plug",
        accept: str = "application/json",
        longest: int = LONGEST_ANSWER,
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.secret = secret
        self.what = what
        self._accept = accept
        self._longest = longest
        self._tls = ssl.create_default_context() if address.tls else None
        self._guard = threading.Lock()
        self._socket: socket.socket | None = None
        self._interrupted = False

    def deadline_s(self) -> float:
        """Deadline of a request that starts now, on the monotonic clock."""
        return time.monotonic() + self.timeout_s

    def get(self, path: str, deadline_s: float, authorization: str = "") -> Answer:
        """Send one request.

        Args:
            path: with the query.
            deadline_s: from `deadline_s`; several requests may share one.
            authorization: the header of that name.

        Raises:
            MeterError: no answer in time, or it is not HTTP.
        """
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {self.address}\r\nConnection: close\r\n"
            f"Accept: {self._accept}\r\nUser-Agent: joulelab\r\n"
        )
        if authorization:
            request += f"Authorization: {authorization}\r\n"
        try:
            return self._exchange(f"{request}\r\n".encode("latin-1"), deadline_s)
        except TimeoutError:
            raise MeterError(
                f"{self.address}: no answer within {self.timeout_s:g} s",
                "check the network and the address; a higher timeout_s waits longer",
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise MeterError(
                f"{self.address}: its certificate is not trusted: {error.verify_message}",
                "set SSL_CERT_FILE to the file with the certificate to trust",
            ) from None
        except ssl.SSLError as error:
            raise MeterError(
                f"{self.address}: TLS connection failed: {error.reason or error.strerror}",
                f"check that {self.what} uses https on this port",
            ) from None
        except OSError as error:  # so is a connection closed without an answer
            why = error.strerror or str(error) or type(error).__name__
            raise MeterError(
                f"{self.address} cannot be reached: {why}",
                f"check that {self.what} has power, is in the network and has this address",
            ) from None
        except (HTTPException, _TooLongError) as error:
            what = {
                IncompleteRead: "its answer breaks off",
                _TooLongError: "its answer is too long",
            }
            default = "it answered with something that is not HTTP"
            raise MeterError(
                f"{self.address}: {what.get(type(error), default)}", self._not_it
            ) from None

    def excerpt(self, text: str) -> str:
        """The beginning of an answer, safe to print and without the secret."""
        if self.secret:
            for written in (partial(quote, safe=""), quote_plus, html.escape, str):
                text = text.replace(written(self.secret), "***")
        text = " ".join(text.split())
        return repr(text if len(text) <= EXCERPT else f"{text[:EXCERPT]}...")

    @property
    def _not_it(self) -> str:
        return f"check that this is the address of {self.what}"

    def check_success(self, answer: Answer) -> None:
        """Refuse an answer whose status is not a success.

        Raises:
            MeterError: it is a redirection, which is not followed, or an error.
        """
        if answer.status in REDIRECTIONS:
            raise MeterError(
                f"{self.address}: it redirects to another address (HTTP {answer.status})",
                f"use the address at which {self.what} itself answers",
            )
        if answer.status not in SUCCESSES:
            said = self.excerpt(answer.text)
            raise MeterError(f"{self.address}: HTTP status {answer.status}: {said}", self._not_it)

    def table(self, answer: Answer) -> dict[str, Any]:
        """The JSON object in an answer; numbers with a point are Decimal, with all their digits.

        Raises:
            MeterError: it is not that, or its status is not a success.
        """
        self.check_success(answer)
        said = self.excerpt(answer.text)
        try:
            table = json.loads(answer.text, parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError):
            raise MeterError(
                f"{self.address}: it answered with something that is not JSON: {said}", self._not_it
            ) from None
        if not isinstance(table, dict):
            raise MeterError(
                f"{self.address}: it answered with something that is not a JSON object: {said}",
                self._not_it,
            )
        return table

    def interrupt(self) -> None:
        """Abort the current request and all later ones; callable from any thread."""
        with self._guard:
            self._interrupted = True
            if self._socket is not None:
                _shut(self._socket)

    def _exchange(self, request: bytes, deadline_s: float) -> Answer:
        connection = self._connect(deadline_s)
        try:
            if self._tls is not None:
                connection = self._secured(connection, self._tls, deadline_s)
            connection.settimeout(_left_s(deadline_s))
            connection.sendall(request)
            response = HTTPResponse(
                cast(socket.socket, _Incoming(connection, deadline_s, self._longest))
            )
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
            raise OSError("such a name is not possible") from None
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

    def _secured(
        self, connection: socket.socket, tls: ssl.SSLContext, deadline_s: float
    ) -> socket.socket:
        secured = tls.wrap_socket(
            connection, do_handshake_on_connect=False, server_hostname=self.address.host
        )
        try:
            self._hold(secured)
            secured.settimeout(_left_s(deadline_s))
            secured.do_handshake()
        except BaseException:
            self._release(secured)
            raise
        return secured

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
    """The answer is longer than that of any plug."""


class _Incoming(io.RawIOBase):
    """Reads from a socket up to a deadline and a size; file-like."""

    def __init__(self, connection: socket.socket, deadline_s: float, longest: int) -> None:
        self._connection = connection
        self._deadline_s = deadline_s
        self._left = longest

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
    """Wake threads that wait for the connection; closing it alone would not."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # not yet or no longer connected


class Digest:
    """Digest authentication for one server.

    Args:
        user: user name at the server.
        password: never shown in messages or reprs.
    """

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._challenge: dict[str, str] = {}
        self._count = 0

    def accept(self, challenges: Sequence[str]) -> bool:
        """Take a new challenge.

        Args:
            challenges: the ``WWW-Authenticate`` headers.

        Returns:
            Whether one of them is a digest by SHA-256.
        """
        self.forget()
        for text in challenges:
            fields = {key.lower(): one or other for key, one, other in _FIELD.findall(text)}
            sha = fields.get("algorithm", "").upper() == "SHA-256"
            auth = "auth" in re.split(r"[\s,]+", fields.get("qop", ""))
            if sha and auth and {"realm", "nonce"} <= fields.keys():
                self._challenge = fields
                return True
        return False

    def forget(self) -> None:
        """Forget the challenge until there is a new one."""
        self._challenge, self._count = {}, 0

    def header(self, path: str, method: str = "GET") -> str:
        """The ``Authorization`` header of the next request; empty without a challenge.

        Args:
            path: of the request, with its query.
            method: of the request.
        """
        if not self._challenge:
            return ""
        self._count += 1
        realm, nonce = self._challenge["realm"], self._challenge["nonce"]
        count, own = f"{self._count:08x}", secrets.token_hex(8)
        account = _sha256(f"{self._user}:{realm}:{self._password}")
        request = _sha256(f"{method}:{path}")
        response = _sha256(f"{account}:{nonce}:{count}:{own}:auth:{request}")
        text = (
            f'Digest username="{self._user}", realm="{realm}", nonce="{nonce}", uri="{path}", '
            f'response="{response}", algorithm=SHA-256, qop=auth, nc={count}, cnonce="{own}"'
        )
        if "opaque" in self._challenge:  # an empty value must be returned too
            text += f', opaque="{self._challenge["opaque"]}"'
        return text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
