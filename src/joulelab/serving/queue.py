"""The queue between producer and server: a ring of places in memory that both processes map.

::

    place    | number, bytes, sent_s | what the request carries |

    producer ── writes place `sent % capacity`, raises `sent`, rings the bell ──> server
    server   ── serves the oldest first, raises `freed` ──> producer

The bell is a pipe: whoever has heard it reads `sent`, and sees every place that was written before
it rang. A bell that is full has rung already, so the producer never waits for the server: where
`sent - freed` is the capacity, the queue is full and the request is dropped.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import time
from collections import deque
from typing import NamedTuple

from joulelab.serving.queue_memory import (
    ENDED,
    FREED,
    HEADER_BYTES,
    LABEL_BYTES,
    SENT,
    Geometry,
    SharedMemory,
)

_LABEL = struct.Struct("qqd")
_EARS = 65536
_FOREVER_S = 1e6


class Request(NamedTuple):
    """One that waits in the queue.

    Attributes:
        number: from 0, in the order in which requests are due.
        payload_bytes: how much it carries.
        sent_s: when it entered the queue, on the monotonic clock.
        place: where it lies.
    """

    number: int
    payload_bytes: int
    sent_s: float
    place: int


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
        """Put what the next request carries into its place, so that sending takes no time.

        Args:
            payload: at most as long as the geometry says.

        Returns:
            Whether there was a place.
        """
        if self._sent - self._memory[FREED] >= self._geometry.capacity:
            return False
        start = self._offset() + LABEL_BYTES
        self._memory.bytes[start : start + len(payload)] = payload
        return True

    def send(self, number: int, payload_bytes: int) -> float:
        """Let the request whose payload was placed last enter the queue.

        Returns:
            The time on the monotonic clock.
        """
        sent_s = time.monotonic()
        _LABEL.pack_into(self._memory.bytes, self._offset(), number, payload_bytes, sent_s)
        self._sent += 1
        self._memory[SENT] = self._sent
        self._ring()
        return sent_s

    def end(self) -> None:
        """Say that there will be no more requests."""
        self._memory[ENDED] = 1
        self._ring()

    def _offset(self) -> int:
        place = self._sent % self._geometry.capacity
        return HEADER_BYTES + place * self._geometry.place_bytes

    def _ring(self) -> None:
        # A bell that is full has rung so often that the server will look in any case.
        with contextlib.suppress(BlockingIOError):
            os.write(self._bell, b"\0")


class ReceivingEnd:
    """The server's end of the queue.

    Args:
        memory: with room for the geometry.
        geometry: of the queue.
        bell: a pipe to read from, which does not block.

    Attributes:
        ended: there will be no further request than those that have been received.
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
        """Look at what has arrived."""
        try:
            os.read(self._bell, _EARS)
        except BlockingIOError:
            return
        self.ended = bool(self._memory[ENDED])  # before `sent`, which then is the last word
        sent, capacity = self._memory[SENT], self._geometry.capacity
        for position in range(self._received, sent):
            place = position % capacity
            offset = HEADER_BYTES + place * self._geometry.place_bytes
            number, payload_bytes, sent_s = _LABEL.unpack_from(self._memory.bytes, offset)
            self._requests.append(Request(number, payload_bytes, sent_s, place))
        self._received = sent

    def wait(self, timeout_s: float) -> None:
        """Sleep until something arrives.

        Args:
            timeout_s: or until so much time has gone by; may be infinite.
        """
        finite = timeout_s < _FOREVER_S
        select.select((self._bell,), (), (), max(0.0, timeout_s) if finite else None)

    def take(self, count: int) -> list[Request]:
        """Take the oldest requests; their places stay theirs until they are released."""
        return [self._requests.popleft() for _ in range(count)]

    def payload(self, request: Request) -> memoryview:
        """What a request carries, as long as its place is not released."""
        start = HEADER_BYTES + request.place * self._geometry.place_bytes + LABEL_BYTES
        return self._memory.bytes[start : start + request.payload_bytes]

    def release(self, count: int) -> None:
        """Give the places of the oldest requests that were taken back to the producer."""
        self._freed += count
        self._memory[FREED] = self._freed
