"""A sink that keeps what it is given, and blocks that last until it has something."""

import threading
import time
from contextlib import contextmanager

import joulelab
from joulelab.sinks.sink import Sink

METERS = ["rapl"]


class Kept(Sink):
    """Keeps all that it is given."""

    name = "kept"
    live = True
    every_s = 0.0

    def __init__(self):
        self.seen = []
        self.closed = threading.Event()

    def put(self, seen):
        self.seen.append(seen)

    def close(self):
        self.closed.set()


def until(condition):
    """Wait for other threads."""
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


@contextmanager
def measuring(*sinks, label="training", **options):
    """A block that lasts until a sink of its own, which keeps what it gets, has known values."""
    kept = Kept()
    with joulelab.measure(label, meters=METERS, to=[kept, *sinks], **options) as measured:
        until(lambda: len(kept.seen) > 2 and "energy_j" in kept.seen[-1].values)
        yield measured, kept
