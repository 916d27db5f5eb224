"""Worker threads that each compute on one core.

torch gives up the interpreter's lock while it computes, so threads serve as well as processes, and
share the images. Each sets torch's number of threads to 1, which holds for itself alone: two
trainings on a core each are faster than one training on two, which has to wait for the slower half
of every layer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class _StoppedError(Exception):
    """Another worker has failed, or the user has interrupted."""


class Workers:
    """Some threads of one core each; with one worker, the calling thread and all its cores.

    Args:
        count: of the workers.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ThreadPoolExecutor | None = None
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        if self._count > 1:
            self._pool = ThreadPoolExecutor(
                self._count, "joulelab-worker", lambda: torch.set_num_threads(1)
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """The function of each item, in order.

        Raises:
            BaseException: what the first call that failed raised; the others have been stopped.
        """
        if self._pool is None:
            return [function(item) for item in items]
        futures = [self._pool.submit(function, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = [future.exception() for future in done if future.exception() is not None]
        except BaseException:
            self._stop.set()
            raise
        if failed:
            self._stop.set()
            wait(futures)
            assert failed[0] is not None
            raise failed[0]
        return [future.result() for future in futures]

    def check(self) -> None:
        """Called by the function between steps: gives up where another has failed."""
        if self._stop.is_set():
            raise _StoppedError
