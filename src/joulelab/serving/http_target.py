"""HTTP targets and encoded requests: URL, addresses, requests ready to send.

::

    URL  --parse-->  Target  --addresses-->  192.0.2.7, ... resolved once, before the first
    files + method + headers  --prepared-->  Request, ...       encoded once, sent many times
"""

from __future__ import annotations

import ipaddress
import mimetypes
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import h11
import psutil

from joulelab.errors import ServingError, UsageError

PORTS = {"http": 80, "https": 443}
WITH_BODY = ("POST", "PUT", "PATCH")
METHODS = ("GET", *WITH_BODY)
MOST_BYTES = 512 * 1024 * 1024
"""Total size of files, which are kept in memory so that no request waits for the disk."""


@dataclass(frozen=True)
class Target:
    """An HTTP endpoint.

    Attributes:
        url: as the user wrote it.
        scheme: ``http`` or ``https``.
        host: name or address.
        port: of its server.
        path: with the query, unchanged in the first line of a request.
    """

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Read a URL.

        Raises:
            UsageError: it is not a valid HTTP URL, or contains a password.
        """
        example = "write it as http://127.0.0.1:8000/classify"
        try:
            parts = urlsplit(url)
            port = parts.port
            host = (parts.hostname or "").encode("idna").decode("ascii")
        except ValueError as error:
            raise UsageError(f"{url!r} is not a URL: {error}", example) from error
        if parts.scheme not in PORTS or not host:
            raise UsageError(f"{url!r} is not an http:// or https:// URL", example)
        if parts.username is not None or parts.password is not None:
            hint = "send it with --header 'Authorization=...'"
            raise UsageError("a password in the URL would be visible to others", hint)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not path.isascii() or any(character.isspace() for character in path):
            raise UsageError(f"{url!r} has characters that need escaping", "write %20 for a space")
        return cls(url, parts.scheme, host, port or PORTS[parts.scheme], path)

    @property
    def authority(self) -> str:
        """Host and port for the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def addresses(self) -> list[str]:
        """The host's addresses in order of preference.

        Raises:
            ServingError: the host is unknown.
        """
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ServingError(
                f"{self.url}: the host {self.host!r} is unknown ({error.strerror})",
                "check the spelling, or use the IP address",
            ) from error
        return list(dict.fromkeys(str(place[4][0]) for place in found))


def is_this_machine(addresses: Sequence[str]) -> bool:
    """Whether every address belongs to this machine: its loopback, or one of its interfaces.

    Args:
        addresses: of one host.
    """
    bare = [one.partition("%")[0] for one in addresses]
    interfaces = psutil.net_if_addrs().values()
    own = {place.address.partition("%")[0] for places in interfaces for place in places}
    return all(one in own or ipaddress.ip_address(one).is_loopback for one in bare)


@dataclass(frozen=True)
class Request:
    """An encoded request, reusable.

    Attributes:
        head: first line and headers.
        body: may be empty.
    """

    head: h11.Request
    body: bytes


@dataclass(frozen=True)
class Content:
    """Contents of requests: method, headers, files.

    Attributes:
        files: each is a body; none for a request without one.
        method: one of `METHODS`.
        field: name of the form field that carries the file (multipart/form-data); empty to send the
            file as the body.
        headers: additional headers by name; they override the defaults.
    """

    files: tuple[Path, ...] = ()
    method: str = "POST"
    field: str = ""
    headers: Mapping[str, str] | None = None

    def prepared(self, target: Target) -> list[Request]:
        """The requests, one for each file.

        Args:
            target: where they go.

        Raises:
            UsageError: a file cannot be read, all together are too large, or a header is malformed.
        """
        if self.method not in METHODS:
            raise UsageError(f"unknown method {self.method!r}", f"one of {', '.join(METHODS)}")
        if self.method not in WITH_BODY:
            return [self._request(target, b"", "")]
        bodies = [self._body(path, content) for path, content in _contents(self.files)]
        return [self._request(target, body, kind) for body, kind in bodies or [(b"", "")]]

    def with_body(self, target: Target, body: bytes) -> Request:
        """The request with a body made by the program; its type is among the headers.

        Args:
            target: where it goes.
            body: of the request.

        Raises:
            UsageError: a header is malformed.
        """
        return self._request(target, body, "")

    def _body(self, path: Path, content: bytes) -> tuple[bytes, str]:
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if not self.field:
            return content, kind
        boundary = f"joulelab-{secrets.token_hex(16)}"
        name, field = (text.replace('"', "%22") for text in (path.name, self.field))
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; '
            f'filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'
        )
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        return body, f"multipart/form-data; boundary={boundary}"

    def _request(self, target: Target, body: bytes, kind: str) -> Request:
        headers = {"host": target.authority, "user-agent": "joulelab", "accept": "*/*"}
        if self.method in WITH_BODY:
            headers |= {"content-type": kind} if kind else {}
            headers["content-length"] = str(len(body))
        for name, value in (self.headers or {}).items():
            if name.lower() in ("content-length", "transfer-encoding"):
                raise UsageError(f"the header {name} is set from the body", "remove it")
            headers[name.lower()] = value
        try:
            head = h11.Request(
                method=self.method, target=target.path, headers=list(headers.items())
            )
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            hint = "write it as --header 'Name=value'"
            raise UsageError(f"a header is malformed: {error}", hint) from error
        return Request(head, body)


def _contents(files: Sequence[Path]) -> list[tuple[Path, bytes]]:
    read, size = [], 0
    for path in files:
        try:
            size += path.stat().st_size
            if size > MOST_BYTES:
                raise UsageError(
                    f"{len(files)} files exceed {MOST_BYTES >> 20} MiB together",
                    "they are kept in memory: send fewer",
                )
            read.append((path, path.read_bytes()))
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", "name another") from error
    return read
