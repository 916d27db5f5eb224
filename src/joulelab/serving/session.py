"""A serving session: a server process and a producer process, kept between tasks.

::

    with ServingSession("cpu") as session:
        session.load(task)              # builds and warms up the model; not measured
        served = session.serve(task)    # the window: returns at the last answer

    session ── load, serve ──> server  <── bell, memory ── producer <── load, send ── session
            <─ Answers ──────                                       ── Sendings ────>

Requests to the processes are the public methods of `server.Server` and `producer.Producer`.

After an error, and after Ctrl-C, both processes are gone; the next `load` starts new ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, Self

import psutil

from joulelab.errors import JoulelabError, UsageError
from joulelab.serving.generation.tasks import Generated, GenerationTask
from joulelab.serving.images import prepared_bytes
from joulelab.serving.process import Child
from joulelab.serving.queue import HEADER_BYTES, Geometry, QueueFiles
from joulelab.serving.results import Batches, Served, served
from joulelab.serving.tasks import BatchTask, Loaded, ServingTask

Progress = Callable[[int, int], None]
"""Called from time to time with the numbers done and in total."""

LEAD_S = 0.01
"""Time from the call to the start of the window, for the processes to wake up."""

_LOOK_S = 0.25
Task = ServingTask | BatchTask | GenerationTask
_SERVER = "joulelab.serving.server:Server"
_PRODUCER = "joulelab.serving.producer:Producer"


def _silent(_done: int, _of: int) -> None:
    """No progress is shown."""


class ServingSession:
    """Serves windows, runs batches and generates text on one device.

    Args:
        device: where models run: ``cpu``, ``cuda:0``.
        threads: threads of torch in the server.

    Raises:
        UsageError: the number of threads is impossible, or the system is not POSIX.
    """

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        if threads < 1:
            raise UsageError(f"threads = {threads} is impossible", "give 1 or more")
        if os.name != "posix":
            raise UsageError("the queue needs Linux or macOS", "run it there or in WSL")
        self.device = device
        self.threads = threads
        self._server: Child | None = None
        self._producer: Child | None = None
        self._files: QueueFiles | None = None
        self._loaded: Task | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of server and producer."""
        children = (self._server, self._producer)
        return tuple(child.pid for child in children if child is not None)

    def load(self, task: Task) -> Loaded:
        """Prepare a task: processes, model, queue, warm-up.

        The model of the previous task is kept if it is the same.

        Raises:
            UsageError: the task cannot be carried out as it is written.
            ServingError: the model cannot be built or fails, or a process dies.
        """
        task.check()
        self._loaded = None
        with self._processes_ended_by_errors(sparing=UsageError):
            loaded = self._load_window(task) if isinstance(task, ServingTask) else self._load(task)
        self._loaded = task
        return loaded

    def serve(self, task: ServingTask, progress: Progress = _silent) -> Served:
        """Serve a window; it starts now and ends with the last answer.

        Args:
            task: the one that was loaded.
            progress: called with the number of answered requests and of all.

        Raises:
            UsageError: another task was loaded, or a user's policy misbehaves.
            ServingError: the model fails, or a process dies.
        """
        self._check_loaded(task)
        server, producer = self._server, self._producer
        assert server is not None, "created by load"
        assert producer is not None, "created by load"
        with self._processes_ended_by_errors():
            start_s = time.monotonic() + LEAD_S
            answers, sendings = self._ask(
                f"while {task.model} was served by {task.policy}",
                {server: ("serve",), producer: ("send", start_s)},
                lambda done: progress(done, task.requests),
            )
        drawn = task.images.drawn(task.requests, task.seed).tolist()
        return served(sendings, answers, start_s, [task.images.name(image) for image in drawn])

    def run_batches(self, task: BatchTask, progress: Progress = _silent) -> Batches:
        """Run batches of one size without a queue.

        Args:
            task: the one that was loaded.
            progress: called with the number of batches, and the approximate total.

        Raises:
            UsageError: another task was loaded.
            ServingError: the model fails, or the process dies.
        """
        self._check_loaded(task)
        assert self._server is not None, "created by load"
        began_s = time.monotonic()

        def show(done: int) -> None:
            elapsed_s = time.monotonic() - began_s
            likely = int(done * max(1.0, task.seconds / elapsed_s))
            progress(done, min(max(likely, task.least_batches), task.most_batches))

        with self._processes_ended_by_errors():
            doing = f"while {task.model} ran batches of {task.size}"
            batches: Batches = self._ask(doing, {self._server: ("run_batches",)}, show)[0]
        return batches

    def generate(self, task: GenerationTask, progress: Progress = _silent) -> Generated:
        """Carry out the parts of a generation.

        Args:
            task: the one that was loaded.
            progress: called with the number of pieces of work, and the approximate total.

        Raises:
            UsageError: another task was loaded.
            ServingError: the model fails, or the process dies.
        """
        self._check_loaded(task)
        assert self._server is not None, "created by load"
        seconds = sum(part.seconds for part in task.parts)
        least = sum(part.least for part in task.parts)
        began_s = time.monotonic()

        def show(done: int) -> None:
            elapsed_s = time.monotonic() - began_s
            progress(done, max(int(done * max(1.0, seconds / elapsed_s)), least))

        with self._processes_ended_by_errors():
            doing = f"while {task.model} generated text"
            generated: Generated = self._ask(doing, {self._server: ("generate",)}, show)[0]
        return generated

    def close(self) -> None:
        """End both processes. A second call has no effect."""
        self._end(Child.close)

    def _load_window(self, task: ServingTask) -> Loaded:
        server, files = self._started_server()
        if self._producer is None:
            self._producer = Child("producer", _PRODUCER, (files.memory, files.bell))
        prepared = task.images.prepare == "producer"
        payload_bytes = (
            prepared_bytes(task.images.crop) if prepared else task.images.largest_file_bytes()
        )
        geometry = Geometry(task.capacity, payload_bytes)
        files.resize(HEADER_BYTES)
        geometry.check(psutil.virtual_memory().available)
        files.resize(geometry.total_bytes)
        load = ("load", task, geometry)
        doing = f"while {task.model} was loaded"
        loaded: Loaded = self._ask(doing, {server: load, self._producer: load})[0]
        return loaded

    def _load(self, task: BatchTask | GenerationTask) -> Loaded:
        server, files = self._started_server()
        files.resize(HEADER_BYTES)
        doing = f"while {task.model} was loaded"
        name = "load_batches" if isinstance(task, BatchTask) else "load_generation"
        loaded: Loaded = self._ask(doing, {server: (name, task)})[0]
        return loaded

    def _started_server(self) -> tuple[Child, QueueFiles]:
        if self._server is None or self._files is None:
            files = self._files = QueueFiles()
            self._server = Child("server", _SERVER, (files.memory, files.ear))
            try:
                self._ask("while it started", {self._server: ("use", self.device, self.threads)})
            except UsageError:
                self._end(Child.kill)
                raise
        return self._server, self._files

    def _ask(
        self,
        doing: str,
        requests: Mapping[Child, tuple[Any, ...]],
        show: Callable[[int], None] | None = None,
    ) -> list[Any]:
        """The result of each child; raises when one of them fails or dies.

        Args:
            doing: activity, for messages.
            requests: the name of a method and its arguments, by child.
            show: progress callback of a window or of batches; an error of one child ends it.
                Without it an error waits for the results of the others.
        """
        assert self._files is not None, "created with the server"
        if show is not None:
            self._files.header.reset()
        for child, (name, *arguments) in requests.items():
            child.doing = doing
            child.request(name, *arguments)
        results: dict[Child, Any] = {}
        errors: list[UsageError] = []
        pending = list(requests)
        while pending:
            ready = wait([child.connection for child in pending], _LOOK_S)
            for child in [one for one in pending if one.connection in ready]:
                pending.remove(child)
                try:
                    results[child] = child.receive()
                except UsageError as error:
                    errors.append(error)
            if show is not None and not errors:
                show(self._files.header.done)
            if errors and (show is not None or not pending):
                raise errors[0]
        return [results[child] for child in requests]

    def _check_loaded(self, task: Task) -> None:
        if self._loaded is None or self._loaded != task:
            raise UsageError("this task is not loaded", "call load with the same task first")

    @contextmanager
    def _processes_ended_by_errors(
        self, sparing: type[JoulelabError] | tuple[()] = ()
    ) -> Iterator[None]:
        """End both processes where an error, or Ctrl-C, interrupts their work.

        Args:
            sparing: an error type after which they stay usable.
        """
        try:
            yield
        except BaseException as error:
            if not isinstance(error, sparing):
                self._end(Child.kill)
            raise

    def _end(self, how: Callable[[Child], None]) -> None:
        for child in (self._producer, self._server):
            if child is not None:
                how(child)
        self._server = self._producer = self._loaded = None
        if self._files is not None:
            self._files.close()
            self._files = None
