"""BLAS with one thread while a strategy thinks: its matrices are small, and threads only wait.

threadpoolctl looks for the libraries of this process in the map of its memory, which takes
milliseconds in a process that has imported torch: as long as many proposals. Here it looks again
only when something was imported meanwhile.
"""

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[Any]:
    """A context in which BLAS computes with one thread."""
    limited: AbstractContextManager[Any] = _libraries(len(sys.modules)).limit(
        limits=1, user_api="blas"
    )
    return limited


@lru_cache(maxsize=1)
def _libraries(imported: int) -> ThreadpoolController:
    """The libraries that are loaded when so many modules are imported."""
    return ThreadpoolController()
