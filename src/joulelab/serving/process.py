"""Processes of a serving session: start, communication, and detection of their end.

::

    session                                  process
      Child(...)   ── starts ──────────────>  creates an object of the given class
      request()    ── name, arguments ─────>    calls its method of that name
      receive()    <─ result or error ──────    what the method returns or raises
      close()      ── the connection ends ─>  returns

The process is a new interpreter with the module path of this one; it does not import the user's
program again. It has its own process group, so Ctrl-C reaches only the session, which then ends it;
it ends by itself when its parent is gone.
"""

from __future__ import annotations

import contextlib
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from joulelab.errors import JoulelabError, ServingError, UsageError, one_line

_BOOT = (
    "import sys; sys.path[:] = sys.argv[1].split(':'); "
    "from joulelab.serving.process import begin; begin(*sys.argv[2:])"
)
_FAREWELL_S = 3.0
_DEATH_S = 5.0
_LOOK_S = 0.5


class Child:
    """A process that carries out requests.

    Args:
        noun: noun for messages, for instance ``"server"``.
        made: ``module:class``; called with the descriptors in the process. The public methods of
            the object are the requests.
        descriptors: of open files that the process takes over.

    Attributes:
        doing: activity, for messages: ``"while it loaded ..."``.

    Raises:
        ServingError: the process cannot be started.
    """

    def __init__(self, noun: str, made: str, descriptors: Sequence[int]) -> None:
        self.noun = noun
        self.doing = ""
        self.connection, theirs = Pipe()
        inherited = (theirs.fileno(), *descriptors)
        command = [sys.executable, "-P", "-c", _BOOT, ":".join(sys.path), made, str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                [*command, *map(str, inherited)],
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output is for the data of the command that runs the session
                pass_fds=inherited,
                process_group=0,
            )
        except OSError as error:
            self.connection.close()
            raise ServingError(
                f"the {noun} process cannot be started: {error}",
                "check the system's memory and process limits",
            ) from error
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def request(self, name: str, *arguments: object) -> None:
        """Send a request.

        Raises:
            ServingError: it has died.
        """
        try:
            self.connection.send((name, arguments))
        except OSError:
            raise self._death() from None

    def receive(self) -> Any:  # noqa: ANN401 - each request has a result of its own
        """Wait for the result of a request.

        Raises:
            UsageError: the request is at fault, not the process.
            ServingError: the process could not do it, or has died.
        """
        try:
            result = self.connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        if isinstance(result, JoulelabError):
            raise result
        if isinstance(result, Unforeseen):
            failed = f"the {self.noun} process failed {self.doing}: {result}"
            raise ServingError(failed, "fix it if it is your code; else report it")
        return result

    def close(self) -> None:
        """Let it return; if it does not, kill it."""
        self.connection.close()
        try:
            self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill it at once; it has nothing to save."""
        self._process.kill()
        self._process.wait()
        self.connection.close()

    def _death(self) -> ServingError:
        try:
            status = self._process.wait(_DEATH_S)
        except subprocess.TimeoutExpired:
            how, hint = "no longer answers", "try again"
        else:
            how, hint = _how_it_ended(status)
        return ServingError(f"the {self.noun} process {how} {self.doing}".strip(), hint)


class Unforeseen(Exception):  # noqa: N818 - it is sent and never raised
    """An unexpected exception with its location, sent instead of a result."""


def begin(made: str, parent: str, connection: str, *descriptors: str) -> None:
    """Entry point of a process; see `Child`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    make = pkgutil.resolve_name(made)
    # Low file descriptors, because `select` needs them and the session may have many open files.
    lowest = [os.dup(int(descriptor)) for descriptor in descriptors]
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        carry_out(Connection(int(connection)), make(*lowest))
    sys.stderr.flush()
    os._exit(0)  # tearing down libraries takes a second, and some print errors


def carry_out(connection: Connection, made: object) -> None:
    """Carry out requests from the connection until it ends.

    Args:
        connection: to the session.
        made: a request is the name of one of its methods.
    """
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            return
        result: Any
        try:
            result = getattr(made, name)(*arguments)
        except UsageError as error:  # as a class known to the session, even if raised by a plug-in
            result = UsageError(error.message, error.hint)
        except JoulelabError as error:
            result = ServingError(error.message, error.hint)
        except Exception as error:  # of a user's policy or arrival process
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {one_line(error)}"
            result = Unforeseen(f"{what} ({where.filename}:{where.lineno})")
        connection.send(result)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, whatever it is doing."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def _how_it_ended(status: int) -> tuple[str, str]:
    if status >= 0:
        return f"ended with status {status}", "see its messages above"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = "see its messages above"
    if name == "SIGKILL":
        hint = "unless someone killed it, memory ran out: try smaller batches"
    return f"was killed by {name}", hint
