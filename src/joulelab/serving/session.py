"""A serving session: a server process and a producer process, kept between tasks.

::

    with ServingSession("cpu") as session:
        session.load(task)              # builds and warms up the model; not measured
        served = session.serve(task)    # the window: returns at the last answer

    session ── load, serve ──> server  <── bell, memory ── producer <── load, send ── session
            <─ Answers ──────                                       ── Sendings ────>

After an error, and after Ctrl-C, both processes are gone; the next `load` starts new ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any, Self

import psutil

from joulelab.errors import UsageError
from joulelab.serving.images import prepared_bytes
from joulelab.serving.process import Child
from joulelab.serving.queue_memory import (
    HEADER_BYTES,
    Geometry,
    SharedMemory,
    new_memory,
    resize_memory,
)
from joulelab.serving.results import Batches, Served, served
from joulelab.serving.tasks import BatchTask, Loaded, ServingTask

Progress = Callable[[int, int], None]
"""Called now and then with how many are done, and of how many."""

LEAD_S = 0.01
"""From the call to the start of the window: as long as the processes need to wake up."""

_LOOK_S = 0.25


def _silent(_done: int, _of: int) -> None:
    """No progress is shown."""


class ServingSession:
    """Serves windows and runs batches on one device.

    Args:
        device: where models run: ``cpu``, ``cuda:0``.
        threads: that torch may use in the server.

    Raises:
        UsageError: the number of threads is impossible, or the system is not POSIX.
    """

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        if threads < 1:
            raise UsageError(f"threads = {threads} is impossible", "give 1 or more")
        if os.name != "posix":
            raise UsageError("the queue needs Linux or macOS", "run it there, or in WSL")
        self.device = device
        self.threads = threads
        self._server: Child | None = None
        self._producer: Child | None = None
        self._descriptors: tuple[int, ...] = ()
        self._memory: SharedMemory | None = None
        self._loaded: ServingTask | BatchTask | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes that run now: the server's, and the producer's."""
        children = (self._server, self._producer)
        return tuple(child.pid for child in children if child is not None)

    def load(self, task: ServingTask | BatchTask) -> Loaded:
        """Make everything ready for a task: processes, model, queue, warm-up.

        A model is kept from the task before where it is the same.

        Raises:
            UsageError: the task cannot be carried out as it is written.
            ServingError: the model cannot be built or fails, or a process dies.
        """
        task.check()
        self._loaded = None
        try:
            loaded = self._load_window(task) if isinstance(task, ServingTask) else self._load(task)
        except UsageError:
            raise  # the processes are well
        except BaseException:
            self._kill()
            raise
        self._loaded = task
        return loaded

    def serve(self, task: ServingTask, progress: Progress = _silent) -> Served:
        """Serve a window; it begins now and ends with the last answer.

        Args:
            task: the one that was loaded.
            progress: called with the number of answered requests and of all.

        Raises:
            UsageError: another task was loaded, or a policy of one's own misbehaves.
            ServingError: the model fails, or a process dies.
        """
        self._check_loaded(task)
        server, producer, memory = self._server, self._producer, self._memory
        assert server is not None, "made by load"
        assert producer is not None, "made by load"
        assert memory is not None, "made by load"
        server.doing = producer.doing = f"while {task.model} was served by {task.policy}"
        try:
            memory.reset()
            start_s = time.monotonic() + LEAD_S
            server.request("serve")
            producer.request("send", start_s)
            answers, sendings = self._results(
                (server, producer), lambda done: progress(done, task.requests)
            )
        except BaseException:
            self._kill()
            raise
        drawn = task.images.drawn(task.requests, task.seed).tolist()
        return served(sendings, answers, start_s, [task.images.name(image) for image in drawn])

    def run_batches(self, task: BatchTask, progress: Progress = _silent) -> Batches:
        """Run batches of one size without a queue.

        Args:
            task: the one that was loaded.
            progress: called with the number of batches, and how many there will be about.

        Raises:
            UsageError: another task was loaded.
            ServingError: the model fails, or the process dies.
        """
        self._check_loaded(task)
        assert self._server is not None, "made by load"
        assert self._memory is not None, "made by load"
        self._server.doing = f"while {task.model} ran batches of {task.size}"
        began_s = time.monotonic()

        def show(done: int) -> None:
            elapsed_s = time.monotonic() - began_s
            likely = int(done * max(1.0, task.seconds / elapsed_s))
            progress(done, min(max(likely, task.least_batches), task.most_batches))

        try:
            self._memory.reset()
            self._server.request("run_batches")
            batches: Batches = self._results((self._server,), show)[0]
        except BaseException:
            self._kill()
            raise
        return batches

    def close(self) -> None:
        """End both processes. A second call does nothing."""
        for child in (self._producer, self._server):
            if child is not None:
                child.close()
        self._forget()

    def _load_window(self, task: ServingTask) -> Loaded:
        server = self._started_server()
        producer = self._started_producer()
        server.doing = producer.doing = f"while {task.model} was loaded"
        payload = (
            prepared_bytes(task.images.crop)
            if task.images.prepare == "producer"
            else task.images.largest_file_bytes()
        )
        geometry = Geometry(task.capacity, payload)
        resize_memory(self._descriptors[0], HEADER_BYTES)
        geometry.check(psutil.virtual_memory().available)
        resize_memory(self._descriptors[0], geometry.total_bytes)
        server.request("load", task, geometry)
        producer.request("load", task, geometry)
        loaded: Loaded = self._results((server, producer))[0]
        return loaded

    def _load(self, task: BatchTask) -> Loaded:
        server = self._started_server()
        server.doing = f"while {task.model} was loaded"
        resize_memory(self._descriptors[0], HEADER_BYTES)
        server.request("load_batches", task)
        loaded: Loaded = server.receive()
        return loaded

    def _results(
        self, children: Sequence[Child], show: Callable[[int], None] | None = None
    ) -> list[Any]:
        """What each child answers; raises once one of them fails or dies."""
        assert self._memory is not None, "made by load"
        results: dict[Child, Any] = {}
        errors: list[UsageError] = []
        pending = list(children)
        while pending:
            ready = wait([child.connection for child in pending], _LOOK_S)
            for child in [one for one in pending if one.connection in ready]:
                pending.remove(child)
                try:
                    results[child] = child.receive()
                except UsageError as error:
                    errors.append(error)
            if show is not None:
                if errors:
                    raise errors[0]
                show(self._memory.done)
        if errors:
            raise errors[0]  # only now: what the others have answered is no longer under way
        return [results[child] for child in children]

    def _started_server(self) -> Child:
        if self._server is None:
            self._make_memory()
            memory, ear, _ = self._descriptors
            self._server = Child("server", "joulelab.serving.server", (memory, ear))
            self._server.doing = "while it started"
            self._server.request("use", self.device, self.threads)
            try:
                self._server.receive()
            except UsageError:
                self._kill()
                raise
        return self._server

    def _started_producer(self) -> Child:
        if self._producer is None:
            memory, _, bell = self._descriptors
            self._producer = Child("producer", "joulelab.serving.producer", (memory, bell))
        return self._producer

    def _make_memory(self) -> None:
        ear, bell = os.pipe()
        os.set_blocking(ear, False)
        os.set_blocking(bell, False)
        self._descriptors = (new_memory(), ear, bell)
        resize_memory(self._descriptors[0], HEADER_BYTES)
        self._memory = SharedMemory(self._descriptors[0])

    def _check_loaded(self, task: ServingTask | BatchTask) -> None:
        if self._loaded is None or self._loaded != task:
            raise UsageError("this task is not loaded", "call load with the same task before")

    def _kill(self) -> None:
        for child in (self._producer, self._server):
            if child is not None:
                child.kill()
        self._forget()

    def _forget(self) -> None:
        self._server = self._producer = self._loaded = None
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()
