"""What a study does at this moment, for whoever watches its folder: ``now.json``.

The store has what has ended and what runs; this file has what is waited for, and how far a run is.
It is written at most every other second (every second where there are workers) and at each wait,
never for each run, and it is removed at the end of a session. A file that a killed session has left
is replaced by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from joulelab.files import write_whole
from joulelab.plain import PlainDataError, is_there, parse_json, read_text
from joulelab.study.listener import Listener, Listeners, WorkerNow

if TYPE_CHECKING:
    from joulelab.energy.reading import Total
    from joulelab.study.executor import Heartbeat
    from joulelab.study.plan import Plan
    from joulelab.study.planned_run import PlannedRun
    from joulelab.study.spec import StudySpec

NOW = "now.json"
MOST_BYTES = 10_000_000
SEARCH_EVERY_S = 1.0


@dataclass(frozen=True)
class Now:
    """What a session does.

    Attributes:
        pid: its process.
        doing: work other than a run, or what is waited for, in words; empty if neither.
        since: when that began, seconds since the epoch.
        done: epochs of the running training, requests of the window ...
        of: their number in all; 0 where unknown.
        search: how far a search has come, in words.
        search_j: joules that it has spent; ``None`` where unknown.
        workers: what each does, where there are some; `done` and `of` are then theirs.
        waiting: runs that have not been given to a worker.
    """

    pid: int
    doing: str = ""
    since: float = 0.0
    done: int = 0
    of: int = 0
    search: str = ""
    search_j: float | None = None
    workers: tuple[WorkerNow, ...] = ()
    waiting: int = 0


_STORED = TypeAdapter(Now)


def read_now(folder: Path) -> Now | None:
    """What the session in a folder does; ``None`` if it has not said so.

    Args:
        folder: with results.
    """
    path = folder / NOW
    if not is_there(path) or path.is_symlink() or not path.is_file():
        return None
    with contextlib.suppress(PlainDataError, ValidationError, OSError):
        return _STORED.validate_python(parse_json(read_text(path, MOST_BYTES)))
    return None


@contextlib.contextmanager
def announced(heard: Listener, folder: Path) -> Iterator[Listener]:
    """A listener that passes everything on, and writes ``now.json`` until it is left.

    Args:
        heard: the listener.
        folder: with results.
    """
    announcer = _Announcer(folder)
    try:
        yield Listeners(announcer, heard)
    finally:
        announcer.close()


class _Announcer(Listener):
    def __init__(self, folder: Path) -> None:
        self._path = folder / NOW
        self._writing = threading.Lock()
        self._now = Now(os.getpid())
        self._searched_s = -SEARCH_EVERY_S
        self._sign: Mapping[str, float] = {}
        self._running: Sequence[PlannedRun] = ()
        self._write()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def laid_out(self, spec: StudySpec, plan: Plan, states: Mapping[str, str]) -> None:
        self._sign = {name: getattr(one, "sign", 1.0) for name, one in spec.experiments().items()}

    def doing(self, what: str) -> None:
        self._write(doing=what, since=time.time())

    def waiting(self, what: str) -> None:
        self._write(doing=what, since=time.time())

    def started(self, runs: Sequence[PlannedRun]) -> None:
        self._running = runs
        before = self._now
        self._now = replace(before, done=0, of=0, search="", search_j=None)
        # Else not written: the store says which run it is, and short runs would pay for the file.
        if before.search:
            self._write()

    def workers(self, workers: Sequence[WorkerNow], waiting: int) -> None:
        self._write(doing="", workers=tuple(workers), waiting=waiting)

    def progress(self, heartbeat: Heartbeat, total: Total) -> None:
        if self._now.workers:  # they say themselves how far they are
            return
        self._write(doing="", done=heartbeat.done, of=heartbeat.of)

    def searching(self, so_far: Any) -> None:  # noqa: ANN401 - as of `Listener`
        if time.monotonic() - self._searched_s >= SEARCH_EVERY_S:
            self._searched_s = time.monotonic()
            sign = self._sign.get(self._running[0].experiment, 1.0)
            self._write(search=so_far.words(sign), search_j=so_far.joules)

    def _write(self, **changes: Any) -> None:  # noqa: ANN401 - fields of `Now`
        with self._writing:
            self._now = replace(self._now, **changes)
            # Nothing of the study depends on it.
            with contextlib.suppress(OSError):
                write_whole(self._path, json.dumps(asdict(self._now)))
