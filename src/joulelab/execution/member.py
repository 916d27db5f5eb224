"""A worker of a pool: what is known of it, what it does, and with whom it may work."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import joulelab
from joulelab.errors import JoulelabError
from joulelab.execution.engine import Worker
from joulelab.execution.relay import Line, Receiver
from joulelab.study.listener import WorkerNow
from joulelab.study.manifest import source_commit

CLOCKS_S = 60.0
"""Difference between clocks that is said."""
SAME = ("torch", "numpy")
"""Libraries of which all workers have the same version."""


class PoolError(JoulelabError):
    """The workers cannot carry out the study."""


@dataclass
class Member:
    """A worker and what it does.

    Attributes:
        worker: of the engine.
        session: its number.
        receiver: enters its lines.
        group: that it carries out; None between.
        ready: it has loaded the study.
        stopping: it was told to stop.
        failed: why it cannot work.
        interrupted: another may work in its place: its time was up, or it was told to end.
        identity: in the environment of every process that it starts; empty before it has begun.
        pid: its process.
        host: name of its node.
        node: what tells its node from others.
        kind: of machine.
        devices: whose sensors are in the energy of its runs.
        conditions: of its session.
        configurations: of which it has had a group.
        said: what it waits for, as far as that was said.
        started_s: on the monotonic clock.
    """

    worker: Worker
    session: int
    receiver: Receiver
    group: int | None = None
    ready: bool = False
    stopping: bool = False
    failed: JoulelabError | None = None
    interrupted: bool = False
    identity: str = ""
    pid: int = 0
    host: str = ""
    node: str = ""
    kind: str = ""
    devices: frozenset[str] = frozenset()
    conditions: Mapping[str, Any] = field(default_factory=dict)
    configurations: set[tuple[str, str]] = field(default_factory=set)
    said: str = ""
    started_s: float = field(default_factory=time.monotonic)
    _doing: str = ""
    _since: float = field(default_factory=time.time)
    _runs: tuple[str, ...] = ()
    _far: tuple[int, int] = (0, 0)

    @property
    def works(self) -> bool:
        """Whether it carries out a group."""
        return self.group is not None

    def does(self, what: str, runs: Sequence[str] | None = None) -> None:
        """Note what it does.

        Args:
            what: in words; empty for its runs alone.
            runs: ids of those under way; default: as before.
        """
        self._doing, self._since = what, time.time()
        if runs is not None:
            self._runs, self._far = tuple(runs), (0, 0)

    def is_at(self, done: int, of: int) -> None:
        """Note how far its runs are."""
        self._doing, self._far = "", (done, of)

    def now(self) -> WorkerNow:
        """What it does now."""
        doing = self._doing
        if not self.identity:
            doing = self.worker.waiting() or "beginning"
        elif not self._runs and not doing:
            doing = "between two runs" if self.works else "idle" if self.ready else "loading"
        if self.stopping:
            doing = "ending"
        about = (self.session, self.worker.name, self.host, doing, self._since)
        return WorkerNow(*about, self._runs, *self._far)

    def greeted(self, hello: Line) -> str:
        """Take what a worker says of itself first.

        Args:
            hello: as `joulelab.execution.worker.hello` gives it.

        Returns:
            What has to be said of it; empty if nothing.

        Raises:
            PoolError: it has another version.
        """
        self.identity, self.host = hello["worker"], hello["host"]
        theirs = (hello["joulelab"], hello.get("commit", "older"))
        ours = (joulelab.__version__, source_commit())
        commits = {(one or "").rstrip("+") for one in (theirs[1], ours[1])} - {""}
        if theirs[0] != ours[0] or len(commits) > 1:
            raise PoolError(
                f"{self.place} has joulelab {_version(*theirs)}, this is {_version(*ours)}",
                "install the same version there",
            )
        self.pid, self.node = hello["pid"], hello.get("node", self.host)
        apart_s = hello["time"] - time.time()
        if abs(apart_s) > CLOCKS_S:
            return f"{self.place}: its clock is {apart_s:+.0f} s from this one"
        return ""

    @property
    def place(self) -> str:
        """Its name, and that of its node."""
        return f"{self.worker.name} ({self.host})"

    def check_software(self, others: Sequence[Member]) -> None:
        """Refuse a worker whose Python or libraries are not those of another that is at work.

        Args:
            others: that are ready.

        Raises:
            PoolError: names both versions.
        """
        mine = software(self.conditions)
        for other in others:
            for name, version in software(other.conditions).items():
                if mine.get(name) != version:
                    raise PoolError(
                        f"{self.place} has {name} {mine.get(name) or 'missing'}, and {other.place} "
                        f"has {version or 'none'}: differences of software would pass for effects",
                        "use the same environment on all nodes",
                    )

    def shares(self, others: Sequence[Member]) -> str:
        """Say which sensors it shares with others of its node; empty if none.

        Args:
            others: that are ready.
        """
        mates = [one for one in others if one.node == self.node and one.devices & self.devices]
        if not mates:
            return ""
        names = ", ".join(one.worker.name for one in (*mates, self))
        common = sorted(self.devices.intersection(*(one.devices for one in mates)))
        what = "the processor's sensors" if common == ["cpu"] else f"sensors of {', '.join(common)}"
        return f"{names} share {what or 'sensors'}: their runs take turns"

    def waits(self, what: str, others: Sequence[Member]) -> bool:
        """Note what it waits for.

        Args:
            what: in the words of the lock, or others.
            others: workers.

        Returns:
            Whether it is a process that is no worker of this study.
        """
        for one in others:
            if one.node == self.node and what.startswith(f"process {one.pid} "):
                self.does(f"waiting for {one.worker.name}")
                return False
        self.does(what)
        return what.startswith("process ")


def _version(release: str, commit: str | None) -> str:
    return release if commit is None else f"{release} ({commit})"


def software(conditions: Mapping[str, Any]) -> dict[str, str | None]:
    """Versions that all workers have in common.

    Args:
        conditions: of a session.
    """
    python = str(conditions.get("python", "")).rpartition(".")[0]
    libraries = conditions.get("libraries", {})
    return {"Python": python, **{name: libraries.get(name) for name in SAME}}
