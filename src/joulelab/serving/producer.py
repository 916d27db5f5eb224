"""The producer process: sends each request when due, independent of the server.

::

    due_0          due_1          due_2              fixed before the window begins
      | sent_0       |      sent_2| |                delay of the system's timer
      |<-- next payload placed -->| sleeps |

It is an open loop: a late request is sent at once and does not delay later ones. The payload is
placed in the queue before the request is due. This module does not import torch.
"""

from __future__ import annotations

import gc
import time

import numpy as np

from joulelab.errors import UsageError
from joulelab.serving.images import (
    CHANNELS,
    ImageFiles,
    UnreadableImageError,
    load_decoders,
    prepare,
)
from joulelab.serving.queue import Geometry, SendingEnd, SharedMemory
from joulelab.serving.results import Sendings
from joulelab.serving.tasks import ServingTask


class Producer:
    """What the producer process holds between requests of the session.

    Args:
        memory: descriptor of the queue's memory.
        bell: descriptor of the pipe that wakes the server.
    """

    def __init__(self, memory: int, bell: int) -> None:
        self._descriptor, self._bell = memory, bell
        self._memory: SharedMemory | None = None

    def load(self, task: ServingTask, geometry: Geometry) -> None:
        """Fix due times and payloads of requests.

        Raises:
            UsageError: the arrival process has too few arrivals.
        """
        if self._memory is not None:
            self._memory.close()
        self._memory = SharedMemory(self._descriptor, geometry.total_bytes)
        self._geometry = geometry
        self._due_s = np.asarray(task.due_s(), np.float64)
        if self._due_s.shape != (task.requests,) or (np.diff(self._due_s, prepend=0.0) < 0).any():
            raise UsageError(
                f"{task.arrivals} does not return {task.requests} increasing times",
                "joulelab.serving.conformance.check_arrivals shows why",
            )
        self._images = task.images.drawn(task.requests, task.seed)
        self._source, self._read = task.images, ImageFiles(task.images.files).read
        self._prepared = np.empty((CHANNELS, task.images.crop, task.images.crop), np.float32)
        load_decoders()
        gc.collect()
        gc.freeze()

    def send(self, start_s: float) -> Sendings:
        """Send every request of the window.

        Args:
            start_s: the start of the window on the monotonic clock.

        Returns:
            The sending times, in seconds from the start.
        """
        assert self._memory is not None, "call load before send"
        queue = SendingEnd(self._memory, self._geometry, self._bell)
        sent_s = np.full(len(self._due_s), np.nan)
        unreadable: dict[int, str] = {}
        pairs = zip(self._due_s.tolist(), self._images.tolist(), strict=True)
        for number, (due_s, image) in enumerate(pairs):
            payload: memoryview | bytes | None = None
            try:
                payload = self._payload(image)
            except UnreadableImageError as error:
                unreadable[number] = error.message
            placed = payload is not None and queue.place(payload)
            time.sleep(max(0.0, start_s + due_s - time.monotonic()))
            if payload is not None and (placed or queue.place(payload)):
                sent_s[number] = queue.send(number, len(payload)) - start_s
        queue.end()
        return Sendings(self._due_s, sent_s, unreadable)

    def _payload(self, image: int) -> memoryview | bytes:
        """The bytes of a file, or the image prepared for the model; valid until the next call."""
        source, encoded = self._source, self._read(image)
        if source.prepare == "producer":
            prepare(encoded, source.resize, source.crop, self._prepared)
            return self._prepared.data.cast("B")
        if len(encoded) > self._geometry.payload_bytes:
            raise UnreadableImageError("the file has grown since the queue was created")
        return encoded
