"""Schedules: how the members of a group are trained on this machine, found by trial and stored.

A schedule says how many members make a stack, how many stacks are trained at the same time, each by
a worker thread, and how layers compute. With N members and T threads:

===========  ==================  =======================  ===============
arrangement  members of a stack  stacks at the same time  threads of each
===========  ==================  =======================  ===============
together     N                   1                        T
in-turn      1                   1                        T
workers      1                   T                        1
shares       N / T, rounded up   T                        1
===========  ==================  =======================  ===============

On a GPU only the first two are tried, since the host only queues work there.

First the arithmetic is chosen, with one member and one thread, then the arrangement. Candidates are
timed for a few steps each, in two rounds to reduce the effect of disturbances; the faster time
counts. The choice is stored in a file by its conditions: processor or GPU, threads, versions,
layers, images, batch and precision.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch

import joulelab
from joulelab.files import FileLock, write_whole
from joulelab.learning.engine import Precision
from joulelab.learning.fast.hardware import processor
from joulelab.learning.fast.kernels import onednn_available
from joulelab.learning.fast.layers import Arithmetic, Convolution, Linear
from joulelab.learning.fast.stacking import StackedNetwork

log = logging.getLogger("joulelab")

VARIABLE = "JOULELAB_SCHEDULES"
"""Path of the file with stored schedules; empty for none."""


class Arrangement(StrEnum):
    """How members share the machine; see the table above."""

    TOGETHER = "together"
    IN_TURN = "in-turn"
    WORKERS = "workers"
    SHARES = "shares"


@dataclass(frozen=True)
class Schedule:
    """How a group is trained.

    Attributes:
        arrangement: how members share the machine.
        onednn: float32 products of linear layers go to oneDNN.
        channels_last: images are kept with their channels side by side; on the CPU with
            joulelab's own BatchNorm and pooling.
        wide_convolutions: convolutions stay in float32 under bf16, because that is faster.
        largest_stack: largest stack that fits into memory.
    """

    arrangement: Arrangement = Arrangement.TOGETHER
    onednn: bool = False
    channels_last: bool = False
    wide_convolutions: bool = False
    largest_stack: int | None = None

    def __str__(self) -> str:
        words = [
            str(self.arrangement),
            "oneDNN" if self.onednn else "",
            "channels last" if self.channels_last else "",
            "convolutions in fp32" if self.wide_convolutions else "",
            f"at most {self.largest_stack} in a stack" if self.largest_stack else "",
        ]
        return ", ".join(filter(None, words))

    def arithmetic(self, precision: str, device: torch.device) -> Arithmetic:
        """How layers compute under this schedule."""
        dtype = torch.bfloat16 if precision == Precision.BF16 else torch.float32
        return Arithmetic(
            dtype,
            torch.float32 if self.wide_convolutions else dtype,
            onednn=self.onednn,
            own_kernels=self.channels_last and device.type == "cpu",
            channels_last=self.channels_last,
        )

    def stack_size(self, members: int, threads: int) -> int:
        """Members of a stack."""
        size = {
            Arrangement.TOGETHER: members,
            Arrangement.IN_TURN: 1,
            Arrangement.WORKERS: 1,
            Arrangement.SHARES: math.ceil(members / threads),
        }[self.arrangement]
        return min(size, self.largest_stack or members)

    def workers(self, members: int, threads: int) -> int:
        """Number of stacks trained at the same time."""
        if self.arrangement in {Arrangement.TOGETHER, Arrangement.IN_TURN}:
            return 1
        return min(threads, math.ceil(members / self.stack_size(members, threads)))

    def halved(self, members: int, threads: int) -> Schedule | None:
        """The same with stacks of half the size; ``None`` if they have one member."""
        size = self.stack_size(members, threads)
        return replace(self, largest_stack=math.ceil(size / 2)) if size > 1 else None


def arithmetics(network: StackedNetwork, precision: str, device: torch.device) -> list[Schedule]:
    """The ways in which the layers of a network can compute."""
    kinds = {type(step.layer) for step in network.steps}
    on_cpu = device.type == "cpu"
    products = [False]
    if on_cpu and precision == Precision.FP32 and Linear in kinds and onednn_available():
        products.append(True)
    layouts = [False, True] if Convolution in kinds else [False]
    # oneDNN has no fast kernels in bfloat16 for images of one channel.
    widths = [False, True] if layouts[1:] and on_cpu and precision == Precision.BF16 else [False]
    return [
        Schedule(onednn=product, channels_last=layout, wide_convolutions=width)
        for product in products
        for layout in layouts
        for width in widths
    ]


def arrangements(members: int, threads: int, device: torch.device) -> list[Arrangement]:
    """The distinct arrangements for a number of members and threads."""
    if members == 1:
        return [Arrangement.TOGETHER]
    if device.type != "cpu" or threads == 1:
        return [Arrangement.TOGETHER, Arrangement.IN_TURN]
    # Large stacks last: if slow they are very slow, and then quickly rejected.
    shares = [Arrangement.SHARES] if members > threads else []
    return [Arrangement.IN_TURN, Arrangement.WORKERS, *shares, Arrangement.TOGETHER]


def circumstances(
    network: StackedNetwork, images: Sequence[int], batch: int, precision: str, device: torch.device
) -> str:
    """The conditions of the best schedule, except the number of members, as a key."""
    on_cpu = device.type == "cpu"
    facts: dict[str, Any] = {
        "device": processor() if on_cpu else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads() if on_cpu else 0,
        "torch": torch.__version__,
        "joulelab": joulelab.__version__,
        "network": network.signature(),
        "images": list(images),
        "batch": batch,
        "precision": precision,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


class ScheduleFile:
    """Stores schedules between processes. An unusable file counts as empty.

    Args:
        path: of the file, or ``None`` to store nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @classmethod
    def of_user(cls) -> ScheduleFile:
        """The path in `VARIABLE`, else ``~/.cache/joulelab/schedules.json``."""
        own = os.environ.get(VARIABLE)
        if own is not None:
            return cls(Path(own).expanduser() if own else None)
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(Path(cache) / "joulelab" / "schedules.json")

    def get(self, key: str, members: int) -> Schedule | None:
        """The stored schedule for a number of members under these conditions."""
        entry: Any = self._read().get(f"{key} {members}")
        try:
            schedule = Schedule(**{**entry, "arrangement": Arrangement(entry["arrangement"])})
        except (TypeError, ValueError, KeyError):
            return None
        largest = schedule.largest_stack
        sound = largest is None or (isinstance(largest, int) and largest > 0)
        return schedule if sound else None

    def put(self, key: str, members: int, schedule: Schedule) -> None:
        """Store a schedule; a failure to write is logged, not raised."""
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f"{self.path.name}.lock")):
                entries = {**self._read(), f"{key} {members}": asdict(schedule)}
                write_whole(self.path, json.dumps(entries, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            log.info("%s cannot be written: %s", self.path, error)

    def _read(self) -> Mapping[str, Any]:
        if self.path is None:
            return {}
        try:
            entries = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}
