"""What the recorder of a node knows of the other ranks on it: their processes and their GPUs.

::

    rank 1, 2    leave a note: process, CUDA_VISIBLE_DEVICES       when they ask for a measurement
    rank 3       never asks: the variables are read with which its launcher has started it
    rank 0       counts the GPUs that any of them can use, each once

Notes are in the folder of the device locks. The recorder removes them when its process ends; if it
was killed, the next one does.
"""

from __future__ import annotations

import atexit
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from joulelab.energy.lock import shared_folder
from joulelab.energy.ranks import Environment, Rank, here

GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
PREFIX, SUFFIX = "joulelab-rank-", ".json"
LONGEST = 65536
DRIVER_GPUS = Path("/proc/driver/nvidia/gpus")
"""All NVIDIA GPUs of the machine, whatever a control group hides."""
_LEFT: list[object] = []
"""What the note of this process says."""


def leave_note(rank: Rank, environments: Sequence[Environment]) -> None:
    """Tell the recorder of this node which GPUs this rank can use.

    Args:
        rank: of this process, which does not measure.
        environments: of its programs.
    """
    folder = shared_folder()
    if folder is None:
        return
    given = [{name: one[name] for name in GPU_VARIABLES if name in one} for one in environments]
    if [os.getpid(), rank.meeting, given] == _LEFT:
        return
    note = {
        "meeting": [rank.meeting, rank.node],
        "local": rank.local,
        "gpus": given,
        "at_s": time.monotonic(),
    }
    path = folder / f"{PREFIX}{os.getpid()}{SUFFIX}"
    with suppress(OSError):
        path.unlink(missing_ok=True)  # of an earlier window, or of a dead process with the same pid
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        file = os.open(path, flags, 0o644)
        try:
            os.write(file, json.dumps(note).encode())
        finally:
            os.close(file)
        _LEFT[:] = [os.getpid(), rank.meeting, given]


def other_environments(rank: Rank) -> list[Environment]:
    """What the other ranks of this node say about their GPUs.

    Args:
        rank: of this process, which measures.

    Returns:
        The variables of `GPU_VARIABLES`; empty where this rank can use all GPUs anyway.
    """
    if not rank.of_several or rank.local_ranks == 1 or GPU_VARIABLES[0] not in os.environ:
        return []
    notes = {local: gpus for _, local, _, gpus in _notes(rank)}
    found: list[Environment] = [one for own in notes.values() for one in own]
    wanted = None if rank.local_ranks is None else rank.local_ranks - 1
    if wanted is None or len(notes) < wanted:
        found += [_gpu_variables(own) for local, _, own in siblings(rank) if local not in notes]
    return found


def other_processes(rank: Rank) -> list[psutil.Process]:
    """The processes of the other ranks on this node, as far as they are known.

    Args:
        rank: of this process.
    """
    if not rank.of_several or rank.local_ranks == 1:
        return []
    found = {process.pid: process for _, process, _ in siblings(rank)}
    for _, _, pid, _ in _notes(rank):
        with suppress(psutil.Error):
            found.setdefault(pid, psutil.Process(pid))
    return list(found.values())


def _notes(rank: Rank) -> Iterator[tuple[Path, int, int, list[dict[str, str]]]]:
    """The notes of the other ranks: file, local number, process, GPUs.

    Those that dead processes have left are removed.
    """
    folder = shared_folder()
    if folder is None or not hasattr(os, "getuid"):
        return
    began_s = _began_s()
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            if path.lstat().st_uid != os.getuid():
                continue
            file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK)
            try:
                note: Any = json.loads(os.read(file, LONGEST))
            finally:
                os.close(file)
            pid = int(path.name[len(PREFIX) : -len(SUFFIX)])
            lives = psutil.pid_exists(pid)
            ours = note["meeting"] == [rank.meeting, rank.node]
            if not lives and (not ours or note["at_s"] < began_s):
                path.unlink()
            elif ours and note["local"] != rank.local:
                gpus = [_gpu_variables(one) for one in note["gpus"]]
                yield path, int(note["local"]), pid, gpus


def unread_gpus(rank: Rank, read: int) -> list[str]:
    """A remark on GPUs of this machine that its recorder cannot read, although other ranks may.

    A control group may show each rank its own GPU alone (``srun --gpus-per-task``).

    Args:
        rank: of this process, which measures.
        read: how many GPUs it reads.
    """
    if not rank.of_several or rank.local_ranks == 1 or not read:
        return []
    unread = len(list(DRIVER_GPUS.glob("*"))) - read
    if unread <= 0:
        return []
    what = "GPU of this machine is" if unread == 1 else "GPUs of this machine are"
    return [f"{unread} {what} hidden from rank {rank.number}: not counted if other ranks use them"]


def beside_recorder(rank: Rank) -> list[str]:
    """A remark on a rank that measures although another one on its node is there for that.

    Args:
        rank: of this process, which measures.
    """
    if rank.records:
        return []
    return [f"rank {rank.number} reads what {rank.recorder}, may read as well: do not add them up"]


def siblings(rank: Rank) -> Iterator[tuple[int, psutil.Process, Environment]]:
    """The other ranks that the same launcher has started on this node.

    Args:
        rank: of this process.

    Yields:
        The local number, the process, and the variables with which it was started.
    """
    if not rank.of_several or rank.local_ranks == 1:
        return
    with suppress(psutil.Error):
        parent = psutil.Process().parent()
        for process in parent.children() if parent else []:
            with suppress(psutil.Error):
                variables = process.environ()
                other = here(variables)
                same = (other.meeting, other.node) == (rank.meeting, rank.node)
                if same and other.local != rank.local:
                    yield other.local, process, variables


def _gpu_variables(variables: Environment) -> dict[str, str]:
    return {name: str(variables[name]) for name in GPU_VARIABLES if name in variables}


@cache
def _began_s() -> float:
    """When this process was started, on the monotonic clock."""
    return time.monotonic() - max(0.0, time.time() - psutil.Process().create_time()) - 1.0


_RECORDS: dict[Rank, int] = {}
"""Ranks of this process that record, each with its process id."""


def records(rank: Rank) -> None:
    """This process records: the notes of other ranks are removed when it ends.

    Args:
        rank: of this process.
    """
    if rank.local_ranks != 1:
        _RECORDS[rank] = os.getpid()


@atexit.register
def _remove_notes() -> None:
    for rank, pid in _RECORDS.items():
        if pid == os.getpid():
            for path, _, _, _ in _notes(rank):
                with suppress(OSError):
                    path.unlink()
