"""The serving loop: what the server does between the start of a window and the last answer.

::

    receive ──> somebody waits? ──no──> ended? ──yes──> done
      ▲              │ yes               │ no
      │              ▼                   ▼
      │         ask the policy ──0──> sleep until the next arrival, or until its patience ends
      │              │ n
      └── answer <── prepare n images, oldest first
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch

from joulelab.serving.images import CHANNELS, UnreadableImageError, prepare
from joulelab.serving.policies import SHORTEST_PATIENCE_S, Policy, ask
from joulelab.serving.queue import ReceivingEnd, Request
from joulelab.serving.queue_memory import SharedMemory
from joulelab.serving.results import Answers, BatchRecord
from joulelab.serving.served_model import ServedModel
from joulelab.serving.tasks import ImageSource


class BatchBuffer:
    """Host memory in which batches are put together, made once.

    Args:
        largest: images in the largest batch.
        images: their size, and whether they come prepared.
        pinned: memory from which a GPU can copy by itself.
    """

    def __init__(self, largest: int, images: ImageSource, *, pinned: bool) -> None:
        shape = (largest, CHANNELS, images.crop, images.crop)
        self.images = torch.empty(shape, pin_memory=pinned)
        self._rows = self.images.numpy()
        self._source = images

    def fill(self, row: int, payload: memoryview | bytes, *, prepared: bool) -> None:
        """Write an image into a row.

        Args:
            row: of the batch.
            payload: the bytes of a file, or a prepared image.
            prepared: which of the two.

        Raises:
            UnreadableImageError: the bytes cannot be decoded.
        """
        out = self._rows[row]
        if prepared:
            out[:] = np.frombuffer(payload, np.float32).reshape(out.shape)
        else:
            prepare(bytes(payload), self._source.resize, self._source.crop, out)


class ServingWindow:
    """One window of the server.

    Args:
        queue: that the producer fills.
        policy: how many requests are served together.
        model: that answers.
        buffer: with room for the largest batch.
        prepared: requests carry prepared images.
        memory: where the number of answered requests is shown.
    """

    def __init__(
        self,
        queue: ReceivingEnd,
        policy: Policy,
        model: ServedModel,
        buffer: BatchBuffer,
        memory: SharedMemory,
        *,
        prepared: bool,
    ) -> None:
        self._queue, self._policy, self._model, self._buffer = queue, policy, model, buffer
        self._memory, self._prepared = memory, prepared
        self._batches: list[BatchRecord] = []
        self._unreadable: dict[int, str] = {}

    def serve(self) -> Answers:
        """Serve until every request of the window is answered."""
        queue = self._queue
        while True:
            queue.receive()
            count, patience_s = self._next()
            if count:
                self._answer(count)
            elif queue.ended and not len(queue):
                remarks = tuple(self._model.remarks)
                return Answers(self._batches, self._unreadable, remarks)
            else:
                queue.wait(patience_s)

    def _next(self) -> tuple[int, float]:
        """How many requests to serve now; where none, after how long to ask again."""
        waiting = len(self._queue)
        if not waiting:
            return 0, math.inf
        if self._queue.ended:
            return min(waiting, self._policy.largest), 0.0
        oldest_wait_s = time.monotonic() - self._queue.oldest_sent_s
        count = ask(self._policy, waiting, oldest_wait_s)
        if count:
            return count, 0.0
        patience_s = self._policy.patience_s(waiting, oldest_wait_s)
        return 0, max(patience_s, SHORTEST_PATIENCE_S)

    def _answer(self, count: int) -> None:
        started_s, waiting = time.monotonic(), len(self._queue)
        readable = self._prepare(self._queue.take(count))
        self._queue.release(count)
        prepare_s = time.monotonic() - started_s
        done = 0
        for part in self._model.answer(self._buffer.images[: len(readable)]):
            numbers = readable[done : done + part.size]
            record = BatchRecord(
                numbers, started_s, part.answered_s, waiting, part.model_s, prepare_s
            )
            self._batches.append(record)
            done += part.size
            # What did not fit with the first part is a batch of its own.
            started_s, waiting, prepare_s = part.answered_s, waiting - part.size, 0.0
        self._memory.done += count

    def _prepare(self, requests: Sequence[Request]) -> list[int]:
        """Numbers of the requests whose images now lie in the buffer, in its order."""
        readable: list[int] = []
        for request in requests:
            payload = self._queue.payload(request)
            try:
                self._buffer.fill(len(readable), payload, prepared=self._prepared)
            except UnreadableImageError as error:
                self._unreadable[request.number] = error.message
            else:
                readable.append(request.number)
        return readable
