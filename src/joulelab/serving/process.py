"""A process of a serving session: how it is started, spoken to, and how its end is noticed.

::

    session                                  process
      Child(...)   ── starts ──────────────>  makes an object of the class that was named
      request()    ── name, arguments ─────>    calls its method of that name
      receive()    <─ result or error ──────    what the method returns or raises
      close()      ── the connection ends ─>  returns

The process is a fresh interpreter with the module path of this one, and it does not import the
user's program again. It is in a process group of its own, so that Ctrl-C reaches the session alone,
which then ends it; it ends by itself once the process that has started it is gone.
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

from joulelab.errors import JoulelabError, ServingError, UsageError

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
        noun: what it is called in messages, for instance ``"server"``.
        made: ``module:class``; called with the descriptors in the process. The public methods of
            what it makes are the requests.
        descriptors: of open files that the process takes over.

    Attributes:
        doing: what it is at, for messages: ``"while it loaded ..."``.

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
        """Its number."""
        return self._process.pid

    def request(self, name: str, *arguments: object) -> None:
        """Tell it what to do.

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
        """Let it return; where it does not, end it."""
        self.connection.close()
        try:
            self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once. There is nothing in it to save."""
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
    """An exception that was not foreseen, and where it was raised; sent in place of a result."""


def begin(made: str, parent: str, connection: str, *descriptors: str) -> None:
    """What a process does first; see `Child`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    make = pkgutil.resolve_name(made)
    # As low numbers, since `select` takes no others and the session may have many files open.
    lowest = [os.dup(int(descriptor)) for descriptor in descriptors]
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        carry_out(Connection(int(connection)), make(*lowest))
    sys.stderr.flush()
    os._exit(0)  # libraries that are torn down take a second, and some complain meanwhile


def carry_out(connection: Connection, made: object) -> None:
    """Carry out what comes through the connection, until it ends.

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
        except UsageError as error:  # as a class that the session knows, whatever plug-in raised it
            result = UsageError(error.message, error.hint)
        except JoulelabError as error:
            result = ServingError(error.message, error.hint)
        except Exception as error:  # of a user's policy or arrival process
            where = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"
            result = Unforeseen(f"{what} ({where.filename}:{where.lineno})")
        connection.send(result)


def _end_with(parent: int) -> None:
    """End this process once its parent is gone, whatever else it is doing."""
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
