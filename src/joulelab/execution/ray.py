"""Workers on a Ray cluster: actors of Ray core that pass lines to a process each.

::

    runner ── send, receive ──► actor ── pipes ──► worker process
                                  └ resource meter: 1 on each node

Ray's own restarts and retries are off: they hide joules. Nodes are started with
``ray start --resources '{"meter": 1}'``, so that two workers never share a meter; the lock of the
meter holds without it as well. The results folder has to be visible on every node.
"""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Any

from joulelab.errors import JoulelabError
from joulelab.execution.engine import Engine, Worker
from joulelab.execution.local import Process
from joulelab.execution.relay import Line, encoded
from joulelab.optional import missing
from joulelab.study.spec import ExecutionSpec

METER = "meter"
USER = "--on ray"
CONNECT_S = 10.0
LISTEN_S = 5.0
"""How long an actor waits for lines of its worker before it answers that there are none."""


class RayEngine(Engine):
    """Actors of Ray core: ``ray`` begins a cluster here, ``ray:ADDRESS`` uses one.

    Args:
        address: as for ``ray.init``.
        settings: of the study.

    Raises:
        JoulelabError: the cluster cannot be reached; says why.
        MissingDependencyError: Ray is not installed.
    """

    def __init__(self, address: str, settings: ExecutionSpec) -> None:
        self.check(address, settings)
        self._ray = _ray()
        self.workers = settings.workers
        self._begun = not self._ray.is_initialized()
        if self._begun:
            self._connect(address)
        resources = dict(settings.ray)
        self._cpus = resources.pop("CPU", 1.0)
        self._gpus = resources.pop("GPU", 0.0)
        has_meters = METER in self._ray.cluster_resources()
        self._resources = ({METER: 1.0} if has_meters else {}) | resources
        self._pending: dict[Any, _Actor] = {}

    @classmethod
    def check(cls, address: str, settings: ExecutionSpec) -> None:
        """See whether Ray is there, and its cluster answers."""
        _ray()
        try:
            _reach(address)
        except OSError as error:
            raise _unreachable(address, error) from error

    def start(self, number: int, folder: Path) -> Worker:
        """Start an actor, on a node whose meter is free."""
        made = self._ray.remote(_Relay).options(
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            resources=self._resources,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=2,  # it listens to its worker and to the runner
        )
        log = folder.absolute() / "workers" / f"{number + 1}.log"
        log.parent.mkdir(exist_ok=True)
        wanted = {"CPU": self._cpus, "GPU": self._gpus, **self._resources}
        return _Actor(self._ray, number, made.remote(str(log)), wanted, self._pending)

    def wait(self, seconds: float) -> None:
        """Wait for a line."""
        if self._pending:
            self._ray.wait(list(self._pending), num_returns=1, timeout=seconds)

    def close(self) -> None:
        """Leave the cluster; one that was begun here ends."""
        if self._begun:
            self._ray.shutdown()

    def _connect(self, address: str) -> None:
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
        try:
            if address:
                quiet.pop("include_dashboard")
                self._ray.init(address=address, **quiet)
            else:
                self._ray.init(resources={METER: 1}, **quiet)
        except Exception as error:  # of several kinds, by version and cause
            raise _unreachable(address, error) from error


def _reach(address: str) -> None:
    """Connect to a cluster's head: Ray itself would try for minutes.

    Raises:
        OSError: nothing answers there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()


def _unreachable(address: str, error: Exception) -> JoulelabError:
    said = str(error).strip().partition("\n")[0]
    return JoulelabError(
        f"Ray cannot be reached{f' at {address}' if address else ''}: {said}",
        "ray status says what runs; --on ray without an address begins one here",
    )


def _ray() -> Any:  # noqa: ANN401 - an untyped library
    try:
        import ray
    except ImportError as error:
        raise missing("ray", USER, str(error)) from error
    except Exception as error:
        raise JoulelabError(
            f"{USER}: Ray cannot be imported: {type(error).__name__}: {error}",
            "a library of a GPU without its driver may be the reason: pip uninstall amdsmi",
        ) from error
    return ray


class _Relay:
    """The actor: passes lines between the runner and a worker process on its node.

    Args:
        log: file for the output of the worker.
    """

    def __init__(self, log: str) -> None:
        self._process = Process(0, Path(log))

    def send(self, text: str) -> None:
        self._process.send(json.loads(text))

    def receive(self) -> tuple[list[str], str | None]:
        """Lines of the worker, after waiting for some, and why it has ended, if it has."""
        self._process.wait(LISTEN_S)
        lines = self._process.receive()
        ended = self._process.ended()
        if ended is not None:
            lines += self._process.receive()
        return [encoded(line) for line in lines], ended


class _Actor(Worker):
    def __init__(
        self,
        ray: Any,  # noqa: ANN401 - an untyped library
        number: int,
        actor: Any,  # noqa: ANN401
        wanted: dict[str, float],
        pending: dict[Any, _Actor],
    ) -> None:
        self.name = f"worker {number + 1}"
        self._ray = ray
        self._actor = actor
        self._wanted = wanted
        self._pending = pending
        self._begun = False
        self._why: str | None = None
        self._ask()

    def send(self, line: Line) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._actor.send.remote(encoded(line))

    def receive(self) -> list[Line]:
        if self._why is not None or not self._ray.wait([self._asked], timeout=0)[0]:
            return []
        del self._pending[self._asked]
        try:
            lines, self._why = self._ray.get(self._asked)
        except self._ray.exceptions.RayError as error:
            self._why = _reason(error)
            return []
        self._begun = True
        if self._why is None:
            self._ask()
        else:
            self._ray.kill(self._actor)
        return [json.loads(line) for line in lines]

    def ended(self) -> str | None:
        return self._why

    def waiting(self) -> str:
        if self._begun:
            return ""
        wanted = ", ".join(f"{name} {amount:g}" for name, amount in self._wanted.items() if amount)
        return f"no node has free {wanted}"

    def kill(self) -> None:
        self._ray.kill(self._actor)

    def _ask(self) -> None:
        self._asked = self._actor.receive.remote()
        self._pending[self._asked] = self


def _reason(error: Exception) -> str:
    """Why an actor is gone, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if "node" in line.lower() or "died" in line.lower()]
    return (causes or lines or [type(error).__name__])[0]
