"""Serve a page: its document, and a stream of what changes, while somebody looks.

::

    GET /TOKEN/          the document, which never contains content of a study
    GET /TOKEN/events    server-sent events; ``Last-Event-ID`` or ``?seen=`` names the last one seen

Without a viewer nothing is read. With any number of them the source looks for changes once a
second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
from collections.abc import AsyncIterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from joulelab.live.access import Guard
from joulelab.live.document import document_of
from joulelab.live.source import Source

if TYPE_CHECKING:
    from starlette.types import ASGIApp

EVERY_S = 1.0
"""Time between two looks."""
BEAT_S = 10.0
"""Time after which a silent stream says that it is alive."""
GRACE_S = 1


class Hub:
    """Looks for changes while there are viewers, and tells them.

    Args:
        source: what is shown.
        every_s: time between two looks, at least.
    """

    def __init__(self, source: Source, every_s: float = EVERY_S) -> None:
        self.source = source
        self.looks = 0
        self._wrong = ""
        self._every_s = every_s
        self._viewers = 0
        self._ending = False
        self._looking: asyncio.Task[None] | None = None
        self._looked = asyncio.Condition()

    async def stream(self, seen: str) -> AsyncIterator[str]:
        """What a viewer gets, as the text of server-sent events.

        Args:
            seen: ``id`` of the last message that it got; empty if it got none.
        """
        self._viewers += 1
        silent, wrong = 0, ""
        look = self.looks - 1  # what another viewer sees, at once
        if self._looking is None or self._looking.done():
            self._looking, look = asyncio.create_task(self._look()), self.looks
        try:
            while True:
                async with self._looked:
                    while self.looks <= look and not self._ending:
                        await self._looked.wait()
                    look = self.looks
                message = self.source.message(seen)
                silent += 1
                if message is not None:
                    seen, silent = message["id"], 0
                    yield event("change", message, seen)
                elif silent * self._every_s >= BEAT_S:
                    silent = 0
                    yield event("beat", {})
                if self._wrong != wrong:
                    wrong = self._wrong
                    yield event("wrong", {"text": wrong})
                if self._ending:
                    yield event("end", {})
                    return
        finally:
            self._viewers -= 1

    async def end(self) -> None:
        """Tell all viewers what has changed last, and that it is over."""
        if self._viewers:
            with contextlib.suppress(Exception):  # `_look` has told viewers
                await asyncio.to_thread(self.source.update)
        self._ending = True
        async with self._looked:
            self._looked.notify_all()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while self._viewers and not self._ending:
            began_s = loop.time()
            try:
                await asyncio.to_thread(self.source.update)
                self._wrong = ""
            except Exception as error:  # viewers are told, and it may work the next time
                self._wrong = f"{type(error).__name__}: {error}"
            async with self._looked:
                self.looks += 1
                self._looked.notify_all()
            await asyncio.sleep(max(self._every_s - (loop.time() - began_s), 0.0))


def event(name: str, data: Mapping[str, Any], identity: str = "") -> str:
    """A server-sent event.

    Args:
        name: of the event.
        data: plain data.
        identity: that a viewer names when it comes back.
    """
    text = json.dumps(_finite(data), separators=(",", ":"), allow_nan=False)
    return f"event: {name}\n{f'id: {identity}{chr(10)}' if identity else ''}data: {text}\n\n"


def _finite(data: Any) -> Any:  # noqa: ANN401 - plain data
    """The same with ``null`` for numbers that JSON does not have."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data


def application(hub: Hub, token: str, host: str) -> ASGIApp:
    """The page as an ASGI application.

    Args:
        hub: with what is shown.
        token: of the page.
        host: that it is served at.
    """
    document, inline = document_of(hub.source.page)

    async def page(_: Request) -> Response:
        return HTMLResponse(document)

    async def events(request: Request) -> Response:
        seen = request.headers.get("last-event-id") or request.query_params.get("seen", "")
        return StreamingResponse(
            hub.stream(seen), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )

    return Guard(
        Starlette(routes=[Route("/", page), Route("/events", events)]), token, host, inline
    )


class Server(uvicorn.Server):
    """Serves a page until it is told to stop.

    Args:
        source: what is shown.
        token: of the page.
        host: that it is served at.
        listening: its socket.
    """

    def __init__(self, source: Source, token: str, host: str, listening: socket.socket) -> None:
        self._hub = Hub(source)
        self._listening = listening
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(
            uvicorn.Config(
                application(self._hub, token, host),
                log_config=None,
                log_level="critical",
                access_log=False,  # addresses have the token in them
                server_header=False,
                date_header=False,
                lifespan="off",
                http="h11",
                ws="none",
                interface="asgi3",
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    def serve_page(self) -> None:
        """Serve until `stop`, Ctrl-C or SIGTERM."""
        self.run(sockets=[self._listening])

    def stop(self) -> None:
        """Stop soon; viewers are told. For any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has stopped already
                self._loop.call_soon_threadsafe(self._stopping.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at a signal."""
        super().handle_exit(sig, frame)
        self.stop()

    async def main_loop(self) -> None:
        """Wait; uvicorn's own loop looks ten times a second whether it is to stop."""
        self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._stopping.wait()
        await self._hub.end()
