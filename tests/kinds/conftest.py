"""One server for the studies that serve, in a process that need not import torch again."""

import gc
import importlib
import multiprocessing
import os
import subprocess
from multiprocessing import Pipe
from pathlib import Path

import pytest

from joulelab.kinds.inference import executor
from joulelab.serving import session as serving_session
from joulelab.serving.process import Child, begin
from joulelab.serving.session import ServingSession


class Fork:
    """A forked process with the methods of `subprocess.Popen` that a `Child` calls."""

    def __init__(self, target, kept):
        self._process = multiprocessing.get_context("fork").Process(
            target=_only_with, args=(target, kept), daemon=True
        )
        self._process.start()
        self.pid = self._process.pid

    def kill(self):
        self._process.kill()

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the forked process", timeout)
        return self._process.exitcode


def _only_with(target, kept):
    """Call a function with standard error and these descriptors; a new interpreter has no more."""
    os.setpgid(0, 0)
    os.dup2(2, 1)
    others = {int(one.name) for one in Path("/dev/fd").iterdir()} - {0, 1, 2, *kept}
    for one in others:
        os.closerange(one, one + 1)
    # Collecting garbage among everything that the tests have imported takes a second each time.
    gc.freeze()
    gc.unfreeze = lambda: None
    target()


class ForkedChild(Child):
    """A child that has what this process has imported; `tests/serving` starts interpreters."""

    def __init__(self, noun, made, descriptors):
        self.noun, self.doing = noun, ""
        self.connection, theirs = Pipe()
        inherited, parent = (theirs.fileno(), *descriptors), str(os.getpid())
        self._process = Fork(lambda: begin(made, parent, *map(str, inherited)), inherited)
        theirs.close()


class KeptSession(ServingSession):
    """A session whose processes outlive a study; after an error they start anew, as usual."""

    def close(self):
        """Keep the processes for the next study."""

    def end(self):
        """End the processes."""
        super().close()


@pytest.fixture(scope="session")
def kept_session():
    """On the processor, with one thread."""
    importlib.import_module("joulelab.serving.server")  # with torch, once for all forks
    session = KeptSession("cpu", 1)
    yield session
    session.end()


@pytest.fixture(scope="module")
def one_server(kept_session):
    """Studies and batch tables of a module are served by the same processes."""

    def session(device, threads):
        assert (device, threads) == ("cpu", 1)
        return kept_session

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(executor, "ServingSession", session)
        patched.setattr(serving_session, "Child", ForkedChild)
        yield
