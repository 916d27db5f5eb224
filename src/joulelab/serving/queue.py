"""The queue between producer and server: a ring of places in memory that both processes map.

::

    memory   | sent | freed | ended | done | place 0 | place 1 | ... | place capacity-1 |
    place    | number, bytes, sent_s | what the request carries |

    producer ── writes place `sent % capacity`, raises `sent`, rings the bell ──> server
    server   ── serves the oldest first, raises `freed` ──> producer

Each of the four counts is written by one process and read by others; `done` is the server's
progress. The bell is a pipe: after reading from it, a process reads `sent` and sees every place
written before. A full pipe means that the bell has already rung, so the producer never waits for
the server: if `sent - freed` equals the capacity, the queue is full and the request is dropped.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import struct
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from joulelab.errors import UsageError

_SENT, _FREED, _ENDED, _DONE = range(4)
_LABEL = struct.Struct("qqd")

HEADER_BYTES = mmap.PAGESIZE
MEMORY_SHARE = 0.5
"""Share of the free memory of the machine that a queue may take."""

_CACHE_LINE = 64
_CELL = _CACHE_LINE // 8
_MEBI = 2**20
_BELL_BYTES = 65536
_FOREVER_S = 1e6


@dataclass(frozen=True)
class Geometry:
    """How large a queue is.

    Attributes:
        capacity: places.
        payload_bytes: largest payload of a request.
    """

    capacity: int
    payload_bytes: int

    @property
    def place_bytes(self) -> int:
        """Bytes of one place, whole cache lines."""
        return -(-(_LABEL.size + self.payload_bytes) // _CACHE_LINE) * _CACHE_LINE

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole memory."""
        return HEADER_BYTES + self.capacity * self.place_bytes

    def offset(self, position: int) -> int:
        """Offset of a request's place in the memory.

        Args:
            position: of the request among all that have entered.
        """
        return HEADER_BYTES + position % self.capacity * self.place_bytes

    def check(self, available_bytes: int) -> None:
        """Refuse a queue that does not fit into memory.

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
                "memory is free",
                f"set capacity to at most {max(0, room // self.place_bytes):,}",
            )


class SharedMemory:
    """The memory of a queue as one process sees it.

    Args:
        descriptor: of a file that is large enough.
        size_bytes: how much of it to map.
    """

    def __init__(self, descriptor: int, size_bytes: int = HEADER_BYTES) -> None:
        self._map = mmap.mmap(descriptor, size_bytes)
        self.bytes = memoryview(self._map)
        # As native integers, which are read and written atomically.
        self._cells = self.bytes[:HEADER_BYTES].cast("q")

    def __getitem__(self, count: int) -> int:
        return self._cells[count * _CELL]

    def __setitem__(self, count: int, value: int) -> None:
        self._cells[count * _CELL] = value

    @property
    def done(self) -> int:
        """Progress of the server: requests, or batches."""
        return self[_DONE]

    @done.setter
    def done(self, number: int) -> None:
        self[_DONE] = number

    def reset(self) -> None:
        """Start a window: nothing was sent."""
        for count in (_SENT, _FREED, _ENDED, _DONE):
            self[count] = 0

    def close(self) -> None:
        """Unmap the memory."""
        self._cells.release()
        self.bytes.release()
        self._map.close()


class QueueFiles:
    """The open files of a queue, created by the session and inherited by its processes.

    Attributes:
        memory: descriptor of an anonymous file, which disappears with the last process that has it
            open.
        ear: the end of the bell that the server listens at; reading does not block.
        bell: the end that the producer rings; writing does not block.
        header: the counts of the memory, as the session sees them.
    """

    def __init__(self) -> None:
        self.memory = _new_memory()
        self.ear, self.bell = os.pipe()
        os.set_blocking(self.ear, False)
        os.set_blocking(self.bell, False)
        self.resize(HEADER_BYTES)
        self.header = SharedMemory(self.memory)

    def resize(self, size_bytes: int) -> None:
        """Free all memory and resize; at least `HEADER_BYTES`."""
        os.ftruncate(self.memory, HEADER_BYTES)
        os.ftruncate(self.memory, size_bytes)

    def close(self) -> None:
        """Unmap the memory and close the files."""
        self.header.close()
        for descriptor in (self.memory, self.ear, self.bell):
            os.close(descriptor)


def _new_memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("joulelab-queue")
    with tempfile.TemporaryFile() as file:  # not available on every system
        return os.dup(file.fileno())


class Request(NamedTuple):
    """A request that waits in the queue.

    Attributes:
        number: from 0, in the order in which requests are due.
        payload_bytes: how much it carries.
        sent_s: time of entering the queue, on the monotonic clock.
        offset: offset of its place in the memory.
    """

    number: int
    payload_bytes: int
    sent_s: float
    offset: int


class SendingEnd:
    """The producer's end of the queue.

    Args:
        memory: with room for the geometry.
        geometry: of the queue.
        bell: a pipe to write to, which does not block.
    """

    def __init__(self, memory: SharedMemory, geometry: Geometry, bell: int) -> None:
        self._memory, self._geometry, self._bell = memory, geometry, bell
        self._sent = 0

    def place(self, payload: bytes | memoryview) -> bool:
        """Write the next request's payload to its place, so that sending is fast.

        Args:
            payload: at most as long as the geometry says.

        Returns:
            Whether there was a place.
        """
        if self._sent - self._memory[_FREED] >= self._geometry.capacity:
            return False
        start = self._geometry.offset(self._sent) + _LABEL.size
        self._memory.bytes[start : start + len(payload)] = payload
        return True

    def send(self, number: int, payload_bytes: int) -> float:
        """Send the request whose payload was placed last.

        Returns:
            The time on the monotonic clock.
        """
        sent_s = time.monotonic()
        offset = self._geometry.offset(self._sent)
        _LABEL.pack_into(self._memory.bytes, offset, number, payload_bytes, sent_s)
        self._sent += 1
        self._memory[_SENT] = self._sent
        self._ring()
        return sent_s

    def end(self) -> None:
        """Mark the end of requests."""
        self._memory[_ENDED] = 1
        self._ring()

    def _ring(self) -> None:
        # If the pipe is full, the server will look anyway.
        with contextlib.suppress(BlockingIOError):
            os.write(self._bell, b"\0")


class ReceivingEnd:
    """The server's end of the queue.

    Args:
        memory: with room for the geometry.
        geometry: of the queue.
        bell: a pipe to read from, which does not block.

    Attributes:
        ended: no further requests will come.
    """

    def __init__(self, memory: SharedMemory, geometry: Geometry, bell: int) -> None:
        self._memory, self._geometry, self._bell = memory, geometry, bell
        self._received = self._freed = 0
        self._requests: deque[Request] = deque()
        self.ended = False

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._requests)

    @property
    def oldest_sent_s(self) -> float:
        """When the oldest of them entered the queue, on the monotonic clock."""
        return self._requests[0].sent_s

    def receive(self) -> None:
        """Check for arrivals."""
        try:
            os.read(self._bell, _BELL_BYTES)
        except BlockingIOError:
            return
        self.ended = bool(self._memory[_ENDED])  # before `sent`, which is then final
        sent = self._memory[_SENT]
        for position in range(self._received, sent):
            offset = self._geometry.offset(position)
            number, payload_bytes, sent_s = _LABEL.unpack_from(self._memory.bytes, offset)
            self._requests.append(Request(number, payload_bytes, sent_s, offset))
        self._received = sent

    def wait(self, timeout_s: float) -> None:
        """Sleep until something arrives.

        Args:
            timeout_s: longest wait; may be infinite.
        """
        finite = timeout_s < _FOREVER_S
        select.select((self._bell,), (), (), max(0.0, timeout_s) if finite else None)

    def take(self, count: int) -> list[Request]:
        """Take the oldest requests; their places stay reserved until released."""
        return [self._requests.popleft() for _ in range(count)]

    def payload(self, request: Request) -> memoryview:
        """The payload of a request, valid until its place is released."""
        start = request.offset + _LABEL.size
        return self._memory.bytes[start : start + request.payload_bytes]

    def release(self, count: int) -> None:
        """Release the places of the oldest taken requests to the producer."""
        self._freed += count
        self._memory[_FREED] = self._freed

    def answered(self, count: int) -> None:
        """Update the number of answered requests."""
        self._memory.done += count
