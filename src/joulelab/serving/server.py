"""The server process: holds a model between tasks, and serves windows and single batches."""

from __future__ import annotations

import gc
import time
from multiprocessing.connection import Connection

import torch

from joulelab.serving.batches import run_batches
from joulelab.serving.images import load_decoders
from joulelab.serving.process import serve_commands
from joulelab.serving.queue import ReceivingEnd
from joulelab.serving.queue_memory import HEADER_BYTES, Geometry, SharedMemory
from joulelab.serving.results import Answers, Batches
from joulelab.serving.served_model import ServedModel, usable_device
from joulelab.serving.tasks import BatchTask, Loaded, ServingTask
from joulelab.serving.window import BatchBuffer, ServingWindow


def run(connection: Connection, memory: int, bell: int) -> None:
    """Carry out commands until the session ends.

    Args:
        connection: to the session.
        memory: descriptor of the queue's memory.
        bell: descriptor of the pipe that wakes the server.
    """
    server = Server(memory, bell)
    serve_commands(
        connection,
        {
            "use": server.use,
            "load": server.load,
            "serve": server.serve,
            "load_batches": server.load_batches,
            "run_batches": server.run_batches,
        },
    )


class Server:
    """What the server process holds between commands.

    Args:
        memory: descriptor of the queue's memory.
        bell: descriptor of the pipe that wakes the server.
    """

    def __init__(self, memory: int, bell: int) -> None:
        self._descriptor, self._bell = memory, bell
        self._memory = SharedMemory(memory)
        self._model: ServedModel | None = None
        self._buffer: BatchBuffer | None = None

    def use(self, device: str, threads: int) -> None:
        """Fix the device and the number of torch's threads.

        Raises:
            UsageError: there is no such device.
        """
        load_decoders()
        torch.set_num_threads(threads)
        self._device = usable_device(device)

    def load(self, task: ServingTask, geometry: Geometry) -> Loaded:
        """Make model and queue of a window ready."""
        policy = task.parsed_policy()
        self._buffer = None
        self._map(geometry.total_bytes)
        largest = min(policy.largest, task.capacity)
        self._buffer = BatchBuffer(largest, task.images, pinned=self._device.type == "cuda")
        self._task, self._policy, self._geometry = task, policy, geometry
        return self._ready(task, task.warm_up_size)

    def serve(self) -> Answers:
        """Serve one window."""
        assert self._model is not None, "load comes before serve"
        assert self._buffer is not None, "load comes before serve"
        self._model.clear_remarks()
        queue = ReceivingEnd(self._memory, self._geometry, self._bell)
        window = ServingWindow(
            queue,
            self._policy,
            self._model,
            self._buffer,
            self._memory,
            prepared=self._task.images.prepare == "producer",
        )
        return window.serve()

    def load_batches(self, task: BatchTask) -> Loaded:
        """Make the model ready for batches without a queue."""
        self._buffer = None
        self._map(HEADER_BYTES)
        self._batch_task = task
        return self._ready(task, task.size)

    def run_batches(self) -> Batches:
        """Answer batches of one size, one after the other."""
        assert self._model is not None, "load_batches comes before run_batches"
        return run_batches(self._batch_task, self._model, self._device, self._memory)

    def _map(self, size_bytes: int) -> None:
        self._memory.close()
        self._memory = SharedMemory(self._descriptor, size_bytes)

    def _ready(self, task: ServingTask | BatchTask, warm_up_size: int) -> Loaded:
        started_s = time.monotonic()
        kept = self._model is not None and self._model.source == task.model
        if self._model is None or not kept:
            self._model = None  # let go of the memory before the next one takes its own
            gc.unfreeze()
            gc.collect()
            self._model = ServedModel(task.model, self._device)
        model, built_s = self._model, time.monotonic()
        model.clear_remarks()
        model.warm_up(task.warm_up_batches, warm_up_size, task.images.crop)
        gc.collect()
        gc.freeze()  # what is there stays there: a collection in a window looks at nothing else
        load_s = 0.0 if kept else built_s - started_s
        warm_up_s = time.monotonic() - built_s
        return Loaded(kept, load_s, warm_up_s, model.parameters, model.limit, tuple(model.remarks))
