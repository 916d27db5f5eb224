"""Serving processes as threads of the test's process, which has imported torch already."""

import os
import pkgutil
from multiprocessing import Pipe
from threading import Thread

from joulelab.serving.process import Child, carry_out


class ThreadedChild(Child):
    """Carries out the requests of a session in a thread.

    What a process of its own adds (its start, its death, its signals) has tests of its own.
    """

    def __init__(self, noun, made, descriptors):
        self.noun, self.doing = noun, ""
        self.connection, theirs = Pipe()
        parts = (theirs, pkgutil.resolve_name(made)(*map(os.dup, descriptors)))
        self._thread = Thread(target=carry_out, args=parts)
        self._thread.start()

    @property
    def pid(self):
        return os.getpid()

    def close(self):
        self.connection.close()
        self._thread.join()

    kill = close
