"""Who may see a page: whoever has its address, from a browser that asks for this machine.

The address has a random token. A page of another site that makes its name point to this machine
(DNS rebinding) does not know it; that the browser asks for that name is refused as well. Without
the token everything is 403, whatever the path, and nothing is said.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import ipaddress
import secrets
import socket
from base64 import b64encode
from collections.abc import Iterable
from functools import cache

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from joulelab.errors import UsageError

LOOPBACK = "127.0.0.1"
TOKEN_BYTES = 24
BACKLOG = 64
MOST_PORT = 65535
EVERYWHERE = {"", "0.0.0.0", "::"}
"""Addresses of all interfaces."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: address or name of an interface.
        port: 0 for a free one.

    Raises:
        UsageError: the port is in use or not permitted, or the host is not of this machine.
    """
    if not 0 <= port <= MOST_PORT:
        raise UsageError(f"--port {port} is not possible", f"give 0 to {MOST_PORT}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"--host {host!r} cannot be used: {error}", f"give {LOOPBACK}, or an own address"
        ) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(
                f"--host {host!r} is not an address of this machine",
                f"give {LOOPBACK}, or an own address",
            ) from error
        raise UsageError(
            f"port {port} of {host} cannot be used: {error.strerror or error}",
            "choose another --port, or leave it out for a free one",
        ) from error
    listening.setblocking(False)
    return listening


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def address(host: str, listening: socket.socket, token: str) -> str:
    """The address of a page.

    Args:
        host: as asked for.
        listening: its socket.
        token: of the page.
    """
    name = socket.gethostname() if host in EVERYWHERE else host
    return f"http://{f'[{name}]' if ':' in name else name}:{listening.getsockname()[1]}/{token}/"


class Guard:
    """Lets only those pass who have the token, and adds the headers that keep a page to itself.

    Args:
        app: behind it; sees paths without the token.
        token: of the page.
        host: that the server was asked to listen at.
        inline: the texts of the page's own style and script.
    """

    def __init__(self, app: ASGIApp, token: str, host: str, inline: Iterable[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._names = {"localhost", host.casefold(), *_own_names()} - EVERYWHERE
        hashes = " ".join(_hash(text) for text in inline)
        self._headers = {
            "content-security-policy": f"default-src 'none'; style-src {hashes}; "
            f"script-src {hashes}; connect-src 'self'; img-src data:; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'",
            "cache-control": "no-store",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            return
        token, slash, rest = scope["path"].removeprefix("/").partition("/")
        known = hmac.compare_digest(token.encode("utf-8", "replace"), self._token)
        if not (known and slash and self._is_for_this_machine(scope)):
            await Response(status_code=403)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), text.encode()) for name, text in self._headers.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        inner = {**scope, "path": f"/{rest}", "raw_path": b"", "root_path": ""}
        await self._app(inner, receive, send_with_headers)

    def _is_for_this_machine(self, scope: Scope) -> bool:
        """Whether the browser asks for an address, or a name of this machine, and not for a site.

        Another site can make its own name point here, but an address is not a name.
        """
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return False
        text: str = hosts[0].decode("latin-1").casefold()
        name = text.partition("]")[0].removeprefix("[")
        name = name if text.startswith("[") else text.rpartition(":")[0] or text
        if name.rstrip(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


@cache
def _own_names() -> frozenset[str]:
    name = socket.gethostname().casefold()
    return frozenset({name, name.partition(".")[0]} - {""})


def _hash(text: str) -> str:
    digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
