"""``joulelab live``, and ``--live`` of ``run``, ``tune`` and ``watch``: pages in a browser."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from joulelab.cli.output import say
from joulelab.cli.signals import end_on_sigterm
from joulelab.errors import UsageError
from joulelab.optional import require

if TYPE_CHECKING:
    from joulelab.cli.study_commands import Live
    from joulelab.energy.measurement import Measurement

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class PagePlace:
    """Where a page is asked for.

    Attributes:
        host: address or name of an interface.
        port: 0 for a free one.
    """

    host: str
    port: int


def asked_place(host: str | None, port: int | None, *, live: bool, user: str) -> PagePlace | None:
    """Where a page is asked for; ``None`` if none is.

    Args:
        host: as given.
        port: as given.
        live: whether ``--live`` is given.
        user: the command, for the message.

    Raises:
        MissingDependencyError: a page needs libraries that are not installed.
        UsageError: an address is given, but no page is asked for.
    """
    if not live:
        for name, given in (("--host", host), ("--port", port)):
            if given is not None:
                raise UsageError(f"{name} needs --live", f"add --live, or leave out {name}")
        return None
    require("starlette", "uvicorn", user=user)
    return PagePlace(host or LOOPBACK, port or 0)


def run_live(asked: Live) -> int:
    """Show a results folder in a browser until Ctrl-C.

    Args:
        asked: the options of the command.
    """
    from joulelab.live.access import address, listen, new_token
    from joulelab.live.server import Server
    from joulelab.live.study_source import StudySource
    from joulelab.study.store_reading import is_running

    source = StudySource(asked.folder)
    source.check()
    place = PagePlace(asked.host or LOOPBACK, asked.port or 0)
    listening, token = listen(place.host, place.port), new_token()
    end_on_sigterm()
    _warn(place)
    print(address(place.host, listening, token), flush=True)
    goes_on = "; the study goes on" if is_running(asked.folder) else ""
    say(f"Ctrl-C ends the page{goes_on}", "dim")
    with suppress(KeyboardInterrupt):
        Server(source, token, place.host, listening).serve_page()
    return 0


@contextmanager
def shown_beside(folder: Path, place: PagePlace | None, kinds: Collection[str]) -> Iterator[None]:
    """Show a study while this process runs it; the page is served by another process.

    Args:
        folder: its results folder.
        place: of the page; ``None`` for none.
        kinds: of its experiments.
    """
    if place is None:
        yield
        return
    from joulelab.live.beside import page_beside

    with page_beside(folder, place.host, place.port, list(kinds)) as url:
        _warn(place)
        say(f"live page: {url}")
        yield


@contextmanager
def watched_page(place: PagePlace | None) -> Iterator[Callable[[Measurement], None]]:
    """A page that shows power; yields what takes a measurement.

    Args:
        place: of the page; ``None`` for none.
    """
    if place is None:
        yield lambda _: None
        return
    from joulelab.live.beside import page_in_thread
    from joulelab.live.watch_source import WatchSource

    source = WatchSource()
    with page_in_thread(source, place.host, place.port) as url:
        _warn(place)
        say(f"live page: {url}")
        yield source.add


def _warn(place: PagePlace) -> None:
    """Say that others can reach a page."""
    with suppress(ValueError):
        if ipaddress.ip_address(place.host).is_loopback:
            return
    if place.host != "localhost":
        say("others who know the address can see the page; it is not encrypted", "yellow")
