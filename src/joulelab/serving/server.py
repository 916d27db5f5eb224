"""The server process: holds a model between tasks, and serves windows and single batches.

::

    receive ──> requests wait? ──no──> ended? ──yes──> done           a window
      ▲              │ yes               │ no
      │              ▼                   ▼
      │         ask the policy ──0──> sleep until the next arrival, or until its patience ends
      │              │ n
      └── answer <── prepare n images, oldest first

Batches without a queue run back to back, one size after the other, to measure a batch alone.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Sequence

import numpy as np
import torch

from joulelab.errors import ServingError
from joulelab.serving.generation.generator import GenerationWindow, Generator
from joulelab.serving.generation.tasks import Generated, GenerationTask
from joulelab.serving.images import (
    CHANNELS,
    ImageFiles,
    UnreadableImageError,
    load_decoders,
    prepare,
)
from joulelab.serving.policies import SHORTEST_PATIENCE_S, Policy, ask
from joulelab.serving.queue import HEADER_BYTES, Geometry, ReceivingEnd, Request, SharedMemory
from joulelab.serving.results import Answers, Batches, BatchRecord
from joulelab.serving.served_model import ServedModel, usable_device
from joulelab.serving.tasks import BatchTask, ImageSource, Loaded, ServingTask


class Server:
    """What the server process holds between requests of the session.

    Args:
        memory: descriptor of the queue's memory.
        bell: descriptor of the pipe that wakes the server.
    """

    def __init__(self, memory: int, bell: int) -> None:
        self._descriptor, self._bell = memory, bell
        self._memory = SharedMemory(memory)
        self._model: ServedModel | None = None
        self._generator: Generator | None = None
        self._generation: GenerationWindow | None = None
        self._buffer: BatchBuffer | None = None

    def use(self, device: str, threads: int) -> None:
        """Fix the device and the number of torch's threads.

        Raises:
            UsageError: the device does not exist.
        """
        load_decoders()
        torch.set_num_threads(threads)
        self._device = usable_device(device)

    def load(self, task: ServingTask, geometry: Geometry) -> Loaded:
        """Prepare model and queue of a window."""
        policy = task.parsed_policy()
        self._buffer = None  # free the memory before the next one allocates
        self._map(geometry.total_bytes)
        largest = min(policy.largest, task.capacity)
        self._buffer = BatchBuffer(largest, task.images, self._device)
        self._policy, self._geometry = policy, geometry
        return self._ready(task, task.warm_up_size)

    def serve(self) -> Answers:
        """Serve one window."""
        assert self._model is not None, "call load before serve"
        assert self._buffer is not None, "call load before serve"
        self._model.clear_remarks()
        queue = ReceivingEnd(self._memory, self._geometry, self._bell)
        return ServingWindow(queue, self._policy, self._model, self._buffer).serve()

    def load_batches(self, task: BatchTask) -> Loaded:
        """Make the model ready for batches without a queue."""
        self._buffer = None
        self._map(HEADER_BYTES)
        self._batch_task = task
        return self._ready(task, task.size)

    def run_batches(self) -> Batches:
        """Answer batches of one size, one after the other."""
        assert self._model is not None, "call load_batches before run_batches"
        return run_batches(self._batch_task, self._model, self._device, self._memory)

    def load_generation(self, task: GenerationTask) -> Loaded:
        """Make a causal model ready for the parts of a task."""
        self._buffer = None
        self._map(HEADER_BYTES)
        started_s, one = time.monotonic(), self._generator
        kept = one is not None and (one.source, one.precision) == (task.model, task.precision)
        if one is None or not kept:
            self._forget()
            one = self._generator = Generator(task.model, task.precision, self._device)
        built_s = time.monotonic()
        one.check(task)
        self._generation = GenerationWindow(one, task, self._device)
        self._generation.prepare()
        _settle()
        load_s = 0.0 if kept else built_s - started_s
        return Loaded(kept, load_s, time.monotonic() - built_s, one.parameters)

    def generate(self) -> Generated:
        """Carry out the parts of a task."""

        def show(done: int) -> None:
            self._memory.done = done

        assert self._generation is not None, "call load_generation before generate"
        return self._generation.run(show)

    def _map(self, size_bytes: int) -> None:
        self._memory.close()
        self._memory = SharedMemory(self._descriptor, size_bytes)

    def _ready(self, task: ServingTask | BatchTask, warm_up_size: int) -> Loaded:
        started_s = time.monotonic()
        kept = self._model is not None and self._model.source == task.model
        if self._model is None or not kept:
            self._forget()
            self._model = ServedModel(task.model, self._device)
        model, built_s = self._model, time.monotonic()
        model.clear_remarks()
        model.warm_up(task.warm_up_batches, warm_up_size, task.images.crop)
        _settle()
        load_s = 0.0 if kept else built_s - started_s
        warm_up_s = time.monotonic() - built_s
        return Loaded(kept, load_s, warm_up_s, model.parameters, model.limit, tuple(model.remarks))

    def _forget(self) -> None:
        """Free the memory of the previous model before the next one allocates."""
        self._model = self._generator = self._generation = None
        gc.unfreeze()
        gc.collect()


def _settle() -> None:
    """Existing objects stay: garbage collection in a window skips them."""
    gc.collect()
    gc.freeze()


class BatchBuffer:
    """Host memory in which batches are put together, made once.

    Args:
        largest: images in the largest batch.
        images: their size, and where they are prepared.
        device: of the model; a GPU can copy from this memory directly.
    """

    def __init__(self, largest: int, images: ImageSource, device: torch.device) -> None:
        shape = (largest, CHANNELS, images.crop, images.crop)
        self.images = torch.empty(shape, pin_memory=device.type == "cuda")
        self._rows = self.images.numpy()
        self._source = images

    def receive(self, row: int, payload: memoryview) -> None:
        """Write a request's payload into a row: a prepared image, or a file to be prepared.

        Raises:
            UnreadableImageError: the bytes cannot be decoded.
        """
        if self._source.prepare == "producer":
            out = self._rows[row]
            out[:] = np.frombuffer(payload, np.float32).reshape(out.shape)
        else:
            self.prepare(row, bytes(payload))

    def prepare(self, row: int, encoded: bytes) -> None:
        """Prepare the image in the bytes of a file in a row.

        Raises:
            UnreadableImageError: the bytes cannot be decoded.
        """
        prepare(encoded, self._source.resize, self._source.crop, self._rows[row])


class ServingWindow:
    """One window of the server.

    Args:
        queue: that the producer fills.
        policy: how many requests are served together.
        model: that answers.
        buffer: with room for the largest batch.
    """

    def __init__(
        self, queue: ReceivingEnd, policy: Policy, model: ServedModel, buffer: BatchBuffer
    ) -> None:
        self._queue, self._policy, self._model, self._buffer = queue, policy, model, buffer
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
                return Answers(self._batches, self._unreadable, tuple(self._model.remarks))
            else:
                queue.wait(patience_s)

    def _next(self) -> tuple[int, float]:
        """Number of requests to serve now or, if none, the time until asking again."""
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
            # The rest that did not fit is a separate batch.
            started_s, waiting, prepare_s = part.answered_s, waiting - part.size, 0.0
        self._queue.answered(count)

    def _prepare(self, requests: Sequence[Request]) -> list[int]:
        """Numbers of the requests whose images are in the buffer, in order."""
        readable: list[int] = []
        for request in requests:
            try:
                self._buffer.receive(len(readable), self._queue.payload(request))
            except UnreadableImageError as error:
                self._unreadable[request.number] = error.message
            else:
                readable.append(request.number)
        return readable


def run_batches(
    task: BatchTask, model: ServedModel, device: torch.device, memory: SharedMemory
) -> Batches:
    """Answer batches until the time is over.

    Args:
        task: the task; a batch that does not fit in memory is halved, and earlier measurements are
            discarded.
        model: that answers.
        device: of the model.
        memory: memory that shows the number of batches.

    Raises:
        ServingError: the model fails, or none of the images can be read.
    """
    model.clear_remarks()
    batches = _Batches(task, device)
    rows: list[tuple[float, float, float]] = []
    began_s, size = time.monotonic(), model.largest_of(task.size)
    while not _enough(task, len(rows), time.monotonic() - began_s):
        started_s = time.monotonic()
        images = batches.make(size)
        prepare_s = time.monotonic() - started_s
        parts = list(model.answer(images))
        if len(parts) == 1:
            rows.append((parts[0].answered_s - started_s, parts[0].model_s, prepare_s))
            memory.done = len(rows)
            time.sleep(rows[-1][0] * (1 / task.load - 1))
        else:
            rows.clear()
            began_s, size = time.monotonic(), model.largest_of(task.size)
    durations_s, model_s, prepared_s = np.array(rows).T
    remarks = tuple(model.remarks)
    return Batches(size, task.size, durations_s, model_s, prepared_s, batches.unreadable, remarks)


def _enough(task: BatchTask, batches: int, elapsed_s: float) -> bool:
    if batches < task.least_batches:
        return False
    return batches >= task.most_batches or elapsed_s >= task.seconds


class _Batches:
    """Batches of freshly drawn and prepared images, or of prepared random numbers.

    Attributes:
        unreadable: images that could not be read; another one took the place of each.
    """

    def __init__(self, task: BatchTask, device: torch.device) -> None:
        self.unreadable = 0
        self._ready: torch.Tensor | None = None
        if not task.with_images:
            side = task.images.crop
            self._ready = torch.rand(task.size, CHANNELS, side, side, device=device)
            return
        self._buffer = BatchBuffer(task.size, task.images, device)
        self._read = ImageFiles(task.images.files).read
        self._generator = task.images.generator(task.seed)
        self._readable = list(range(len(task.images.files)))

    def make(self, size: int) -> torch.Tensor:
        """A batch of (size, 3, S, S)."""
        if self._ready is not None:
            return self._ready[:size]
        row = 0
        while row < size:
            if not self._readable:
                raise ServingError("none of the images can be read", "give image files")
            position = self._readable[int(self._generator.integers(len(self._readable)))]
            try:
                self._buffer.prepare(row, self._read(position))
            except UnreadableImageError:
                self._readable.remove(position)
                self.unreadable += 1
            else:
                row += 1
        return self._buffer.images[:size]
