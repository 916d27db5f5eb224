"""The memory of a queue, which producer, server and session map.

::

    | sent | freed | ended | done | place 0 | place 1 | ... | place capacity-1 |

Four counts, each written by one process and read by another, and the places of the requests. The
memory is a file without a name: it is gone with the last process that has it open.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass

from joulelab.errors import UsageError

SENT, FREED, ENDED, _DONE = range(4)
"""Counts: requests that have entered, places that were given back, whether all were sent."""

LABEL_BYTES = 24
"""What a place holds beside the payload."""

HEADER_BYTES = mmap.PAGESIZE
MEMORY_SHARE = 0.5
"""Share of the free memory of the machine that a queue may take."""

_CACHE_LINE = 64
_CELL = _CACHE_LINE // 8
_MEBI = 2**20


@dataclass(frozen=True)
class Geometry:
    """How large a queue is.

    Attributes:
        capacity: places.
        payload_bytes: what a request carries at most.
    """

    capacity: int
    payload_bytes: int

    @property
    def place_bytes(self) -> int:
        """Bytes of one place, whole cache lines."""
        return -(-(LABEL_BYTES + self.payload_bytes) // _CACHE_LINE) * _CACHE_LINE

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole memory."""
        return HEADER_BYTES + self.capacity * self.place_bytes

    def check(self, available_bytes: int) -> None:
        """Refuse a queue that does not fit.

        Args:
            available_bytes: free memory of the machine.

        Raises:
            UsageError: says how much the queue would take.
        """
        room = int(MEMORY_SHARE * available_bytes)
        if self.total_bytes > room:
            raise UsageError(
                f"a queue of {self.capacity:,} places of {self.place_bytes / _MEBI:.3g} MiB takes "
                f"{self.total_bytes / _MEBI:,.0f} MiB, and {available_bytes / _MEBI:,.0f} MiB of "
                "memory are free",
                f"give it at most {max(0, room // self.place_bytes):,} places (capacity)",
            )


def new_memory() -> int:
    """A file without a name, for `SharedMemory`; its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("joulelab-queue")
    with tempfile.TemporaryFile() as file:  # not every system has the other
        return os.dup(file.fileno())


def resize_memory(descriptor: int, size_bytes: int) -> None:
    """Give all memory back, and make room for so much.

    Args:
        descriptor: of `new_memory`.
        size_bytes: at least `HEADER_BYTES`.
    """
    os.ftruncate(descriptor, HEADER_BYTES)
    os.ftruncate(descriptor, size_bytes)


class SharedMemory:
    """The memory of a queue as one process sees it.

    Args:
        descriptor: of a file that is large enough.
        size_bytes: how much of it to map.
    """

    def __init__(self, descriptor: int, size_bytes: int = HEADER_BYTES) -> None:
        self._map = mmap.mmap(descriptor, size_bytes)
        self.bytes = memoryview(self._map)
        # As native whole numbers, because only those are read and written in one piece.
        self._cells = self.bytes[:HEADER_BYTES].cast("q")

    def __getitem__(self, count: int) -> int:
        return self._cells[count * _CELL]

    def __setitem__(self, count: int, value: int) -> None:
        self._cells[count * _CELL] = value

    @property
    def done(self) -> int:
        """How far the server is, for whoever watches: requests, or batches."""
        return self[_DONE]

    @done.setter
    def done(self, number: int) -> None:
        self[_DONE] = number

    def reset(self) -> None:
        """Begin a window: nothing was sent."""
        for count in (SENT, FREED, ENDED, _DONE):
            self[count] = 0

    def close(self) -> None:
        """Unmap the memory."""
        self._cells.release()
        self.bytes.release()
        self._map.close()
