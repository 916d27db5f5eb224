"""The interface of engines: they start workers, and carry lines. They know nothing of studies."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from joulelab.execution.relay import Line
from joulelab.registry import Registry
from joulelab.study.spec import ExecutionSpec

TAIL_BYTES = 4096


class Worker(ABC):
    """A worker as the runner sees it.

    Attributes:
        name: for people: ``"node3"``, ``"worker 2"``.
    """

    name: str

    @abstractmethod
    def send(self, line: Line) -> None:
        """Send a line; nothing happens where the worker has ended."""

    @abstractmethod
    def receive(self) -> list[Line]:
        """The lines that have come since the last call, without waiting."""

    @abstractmethod
    def ended(self) -> str | None:
        """Why it has ended: an exit code, a signal, what the scheduler says; None while it lives.

        Its last lines may still come.
        """

    @abstractmethod
    def waiting(self) -> str:
        """What it waits for before it begins, in the words of the scheduler; empty once it has."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once."""

    def last_words(self) -> str:
        """The last line of its output, which may say why it has ended; empty if there is none."""
        return ""


def last_line(log: Path, but: tuple[str, ...] = ()) -> str:
    """The last line of a log that is not empty.

    Args:
        log: need not exist.
        but: beginnings of lines that do not count.
    """
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
        return next((one.strip() for one in reversed(lines) if one and not one.startswith(but)), "")
    return ""


class Engine(ABC):
    """Starts workers somewhere.

    Args:
        address: what follows the name: ``"2"`` in ``local:2``; may be empty.
        settings: of the study.

    Attributes:
        workers: number of workers that it starts at most.

    Raises:
        JoulelabError: the address is not valid, or the engine cannot be used here.
    """

    workers: int

    @abstractmethod
    def __init__(self, address: str, settings: ExecutionSpec) -> None: ...

    @abstractmethod
    def start(self, number: int, folder: Path) -> Worker:
        """Start a worker.

        Args:
            number: of the worker, from 0; each has a device of its own where there are several.
            folder: of results; logs go below it.

        Raises:
            JoulelabError: it cannot be started.
        """

    @abstractmethod
    def wait(self, seconds: float) -> None:
        """Wait until a line has come from any worker, at most so long."""

    @classmethod
    def most_workers(cls, address: str, settings: ExecutionSpec) -> int:
        """Number of workers at most, without using the engine.

        Args:
            address: what follows the name.
            settings: of the study.

        Raises:
            UsageError: the address is not valid.
        """
        return settings.workers

    @classmethod
    def at_once(cls, address: str, settings: ExecutionSpec, devices: Sequence[str]) -> int:
        """Number of workers whose runs go on together: those on one node share its sensors.

        Args:
            address: what follows the name.
            settings: of the study.
            devices: whose sensors a run has for itself, as on this machine.
        """
        return cls.most_workers(address, settings)

    @classmethod
    def check(cls, address: str, settings: ExecutionSpec) -> None:
        """Refuse what cannot work here, before anything is created.

        Args:
            address: what follows the name.
            settings: of the study.

        Raises:
            JoulelabError: the address is not valid, or the engine cannot be used here.
        """
        cls.most_workers(address, settings)

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Release what was held."""


def engine_of(on: str) -> tuple[type[Engine], str]:
    """The engine that is named, and its address.

    Args:
        on: ``"local:2"``, ``"slurm"``.

    Raises:
        UnknownNameError: there is no such engine.
    """
    name, _, address = on.partition(":")
    return execution_engines.get(name), address


execution_engines: Registry[type[Engine]] = Registry(
    "engine",
    "joulelab.execution_engines",
    {
        "local": ("joulelab.execution.local:LocalEngine", "worker processes on this machine"),
        "ray": ("joulelab.execution.ray:RayEngine", "actors of Ray core"),
        "slurm": ("joulelab.execution.slurm:SlurmEngine", "jobs on a SLURM cluster"),
    },
)
