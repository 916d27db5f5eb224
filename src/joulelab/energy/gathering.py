"""The sum over the nodes of a job: every node's recorder sends its share, rank 0 adds them up.

::

    node 0, rank 0    began ────── window ────── closes ── waits ── sum
    node 1, rank 4    began ────── window ────── closes, sends, goes on

Nothing here is a collective call, and only rank 0 waits, after its own window has closed: `LATE_S`
at most for a node that has begun the same window, `UNHEARD_S` for one of which nothing is heard
(`SURE_S` where the window is a command, which all ranks run).
What a node fails to send is missing, and the sum is then unknown.

Shares go through the key-value store of ``torch.distributed`` where it is initialised, else through
files in `FOLDER` or the working directory, which all nodes must see. Windows belong together if
they have the same label and are the n-th with it. Durations are of each node's own clock.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from joulelab import formats
from joulelab.energy.job import Job
from joulelab.energy.measurement import LONGEST_LABEL, Measurement
from joulelab.energy.node_sum import Share, node_of, sum_over_nodes
from joulelab.energy.rank_notes import records
from joulelab.energy.ranks import Rank, machine, node_name
from joulelab.files import write_whole

FOLDER = "JOULELAB_RANKS_DIR"
"""Variable with the folder for shares, where torch.distributed is not used."""
LATE_S = 60.0
UNHEARD_S, SURE_S = 2.0, 15.0
SENDING_S = 5.0
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.5
STALE_S = 60.0
ATTEMPTS = 5
BEGAN, SHARE = "began", "share"

log = logging.getLogger(__name__)


class Channel(Protocol):
    """Carries texts between the nodes of a job."""

    name: str

    def put(self, key: str, text: str) -> None:
        """Leave a text under a key."""

    def get(self, key: str) -> str | None:
        """The text of a key; None if there is none yet."""

    def look(self) -> None:
        """Prepare to see what others have left."""

    def clear(self, window: str) -> None:
        """Remove what has been left for a window; only rank 0 calls it, at its end."""


class TorchStore:
    """The key-value store of an initialised ``torch.distributed``; no collective is involved."""

    name = "the store of torch.distributed"

    def __init__(self, store: Any) -> None:  # noqa: ANN401 - torch is not imported here
        self._store = store
        self._seen: list[str] = []

    def put(self, key: str, text: str) -> None:
        """Leave a text under a key."""
        self._store.set(key, text)

    def get(self, key: str) -> str | None:
        """The text of a key; None if there is none yet."""
        if not self._store.check([key]):
            return None
        self._seen.append(key)
        return bytes(self._store.get(key)).decode()

    def wait(self, key: str, limit_s: float) -> None:
        """Wait for a key; raises what torch raises if none comes in time."""
        self._store.wait([key], timedelta(seconds=limit_s))

    def remove(self, key: str) -> None:
        """Remove a key."""
        with suppress(Exception):  # a store that cannot delete
            self._store.delete_key(key)

    def look(self) -> None:
        """Nothing is cached."""

    def clear(self, window: str) -> None:
        """Remove what has been read."""
        for key in self._seen:
            self.remove(key)


class SharedFolder:
    """Files in a folder that all nodes see.

    Args:
        rank: of this process.
    """

    def __init__(self, rank: Rank) -> None:
        base = Path(os.environ.get(FOLDER) or Path.cwd())
        self._path = base / f"joulelab-ranks-{rank.meeting}"
        self.name = str(base)
        self._since_s: float | None = None
        self._look_at = self._path / f"look-{rank.number}"

    def put(self, key: str, text: str) -> None:
        """Leave a text under a key."""
        for attempt in range(ATTEMPTS):
            self._path.mkdir(parents=True, exist_ok=True)
            try:
                write_whole(self._path / f"{key}.json", text)
            except FileNotFoundError:  # rank 0 has just removed the folder
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return

    def get(self, key: str) -> str | None:
        """The text of a key; None if there is none yet, or only one of an earlier start."""
        path = self._path / f"{key}.json"
        try:
            if self._since_s is not None and path.stat().st_mtime < self._since_s - STALE_S:
                return None
            return path.read_text("utf-8")
        except OSError:
            return None

    def look(self) -> None:
        """Change the folder, so that a network file system looks at it again."""
        with suppress(OSError):
            self._path.mkdir(parents=True, exist_ok=True)
            self._look_at.write_bytes(b"")
            if self._since_s is None:  # by the clock of the file system, as the files of others
                self._since_s = self._look_at.stat().st_mtime
            self._look_at.unlink()

    def clear(self, window: str) -> None:
        """Remove the files of a window, and the folder if it is empty then."""
        with suppress(OSError):
            for path in self._path.glob(f"{window}-*"):
                path.unlink(missing_ok=True)
            self._path.rmdir()


class Gathering:
    """Brings one window of this process together with those of the other nodes.

    Args:
        rank: of this process, which records.
        label: of the window.
        gather: whether to; else every node has its own.
        sure: whether all nodes measure this window: then one of which nothing is heard may be late.
    """

    def __init__(self, rank: Rank, label: str, *, gather: bool = True, sure: bool = False) -> None:
        self.rank = rank
        self._label = label
        self._sure = sure
        self._gathers = gather and rank.nodes > 1
        self._key = ""
        self._folder: SharedFolder | None = None

    def begin(self) -> None:
        """The window opens: let rank 0 know that a share will come. Does not wait for others."""
        if not self._gathers:
            return
        self._key = window_key(self._label)
        store = torch_store()
        self._folder = None if store is not None else SharedFolder(self.rank)
        channel: Channel = store or SharedFolder(self.rank)
        if not self.rank.number:
            _within(SENDING_S, channel.look)
        else:
            self._send([channel], BEGAN, {"name": node_name()})

    def end(self, measurement: Measurement, devices: dict[str, str]) -> Measurement:
        """The window has closed: send the share of this node, or add all up.

        Args:
            measurement: of this node.
            devices: UUIDs of its GPUs, by domain.

        Returns:
            On rank 0 the sum over nodes; else that of this node. Both with the job.
        """
        rank = self.rank
        own = Share(rank.node, node_name(), machine(), rank.local_ranks, measurement, devices)
        alone = replace(measurement, job=Job(rank.job, rank.ranks, (node_of(own),)))
        if not self._gathers or not self._key:
            return alone
        both = (torch_store(), self._folder)
        channels: list[Channel] = [one for one in both if one is not None] or [SharedFolder(rank)]
        if rank.number:
            self._send(channels[:1], SHARE, own.to_dict())
            return alone
        shares = self._collect(channels)
        for channel in channels:
            _within(SENDING_S, partial(channel.clear, self._key))
        return sum_over_nodes(rank, [own, *shares])

    def _send(self, channels: list[Channel], what: str, content: dict[str, Any]) -> None:
        """Send something; what fails is logged, and rank 0 misses it."""
        key, text = f"{self._key}-{self.rank.node}-{what}", json.dumps(content)
        for channel in channels:
            error = _within(SENDING_S, partial(channel.put, key, text))
            if error:
                log.warning("the energy of this node does not reach rank 0: %s", error)

    def _collect(self, channels: list[Channel]) -> list[Share]:
        """What the other nodes have sent, waiting for as long as the module says."""
        others = set(range(self.rank.nodes)) - {self.rank.node}
        waiting = {node: Share(node, f"node {node}") for node in others}
        found: dict[int, Share] = {}
        began: dict[int, str] = {}

        def look() -> None:
            for channel in channels:
                channel.look()
                for node in sorted(set(waiting) - set(found)):
                    if text := channel.get(f"{self._key}-{node}-{SHARE}"):
                        found[node] = Share.from_dict(json.loads(text))
                    elif node not in began and (text := channel.get(f"{self._key}-{node}-{BEGAN}")):
                        began[node] = str(json.loads(text)["name"])

        closed_s, pause_s, error = time.monotonic(), SHORTEST_PAUSE_S, ""
        while not error:
            error = _within(SENDING_S, look)
            missing = set(waiting) - set(found)
            unheard_s = SURE_S if self._sure else UNHEARD_S
            limit_s = LATE_S if missing & set(began) else unheard_s
            if not missing or time.monotonic() - closed_s > limit_s:
                break
            time.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        where = " and ".join(channel.name for channel in channels)
        for node in set(waiting) - set(found):
            if error:
                reason = f"{where}: {error}"
            elif node in began:
                waited = formats.duration(LATE_S)
                reason = f"it began and sent nothing in {waited} after rank 0 had ended"
            else:
                label = textwrap.shorten(self._label, LONGEST_LABEL, placeholder=" ...")
                reason = f"nothing was heard of it: it did not measure {label!r}"
                reason += f", or does not see {where}"
                if isinstance(channels[-1], SharedFolder):
                    reason += f" ({FOLDER} names another folder)"
            name = began.get(node, waiting[node].name)
            found[node] = replace(waiting[node], name=name, reason=reason)
        return [found[node] for node in sorted(found)]


def window_key(label: str) -> str:
    """A name that the n-th window with a label has in common on all ranks."""
    _WINDOWS[label] += 1
    named = sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{named}-{_WINDOWS[label]}"


def gathering(
    rank: Rank, label: str, *, gather: bool = True, sure: bool = False
) -> Gathering | None:
    """What brings a window together with those of other nodes; None for a program of one process.

    Args:
        rank: of this process.
        label: of the window.
        gather: as of `Gathering`.
        sure: likewise.
    """
    if not rank.of_several and rank.nodes == 1:
        return None
    if rank.records:
        records(rank)
    return Gathering(rank, label, gather=gather, sure=sure)


def torch_store() -> TorchStore | None:
    """The store of ``torch.distributed``, where that is initialised.

    torch is not imported for this.
    """
    distributed = sys.modules.get("torch.distributed")
    internal: Any = sys.modules.get("torch.distributed.distributed_c10d")
    if distributed is None or internal is None or not distributed.is_available():
        return None
    try:
        if not distributed.is_initialized():
            return None
        group = internal._get_default_store()
        if group not in _STORES:
            own = group
            with suppress(Exception):  # a connection of our own does not wait for others
                own = group.clone()
            _STORES.clear()
            _STORES[group] = distributed.PrefixStore("joulelab", own)
        return TorchStore(_STORES[group])
    except Exception as error:  # another version of torch
        log.debug("no store of torch.distributed: %s", error)
        return None


def _within(limit_s: float, work: Callable[[], object]) -> str:
    """Do something that may wait for ever for at most this long; returns what failed, in words."""
    failures: list[str] = []

    def run() -> None:
        try:
            work()
        except Exception as error:  # whatever a network or a file system raises
            failures.append(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")

    thread = threading.Thread(target=run, name="joulelab-ranks", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        return f"no answer in {formats.duration(limit_s)}"
    return failures[0] if failures else ""


_WINDOWS: Counter[str] = Counter()
_STORES: dict[Any, Any] = {}


def _forget_after_fork() -> None:
    """A forked process has no connection of its parent's."""
    _STORES.clear()
    _WINDOWS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
