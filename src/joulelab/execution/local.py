"""Worker processes on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from joulelab.errors import UsageError
from joulelab.execution.engine import Engine, Worker, last_line
from joulelab.execution.relay import Line, encoded
from joulelab.study.spec import ExecutionSpec

READ_BYTES = 1 << 20
MOST_WORKERS = 256
PROCESSOR = "cpu"
"""The device of all sensors of the node that are not of a GPU."""


class LocalEngine(Engine):
    """Worker processes here: ``local:2``.

    Args:
        address: number of workers.
        settings: not used.
    """

    def __init__(self, address: str, settings: ExecutionSpec) -> None:
        self.workers = self.most_workers(address, settings)
        self._selector = selectors.DefaultSelector()
        self._devices: dict[int, Process] = {}

    def start(self, number: int, folder: Path) -> Worker:
        """Start a process; its output goes to ``workers/<number>.log``."""
        log = folder / "workers" / f"{number + 1}.log"
        log.parent.mkdir(exist_ok=True)
        used = {device for device, one in self._devices.items() if one.ended() is None}
        device = min(set(range(len(used) + 1)) - used)
        self._devices[device] = worker = Process(number, log, device)
        self._selector.register(worker.lines, selectors.EVENT_READ)
        worker.when_closed = self._selector.unregister
        return worker

    @classmethod
    def most_workers(cls, address: str, settings: ExecutionSpec) -> int:
        """As `Engine.most_workers`: the address."""
        if not address.isdecimal() or not 0 < int(address) <= MOST_WORKERS:
            raise UsageError(
                f"--on local:{address} names no number of workers from 1 to {MOST_WORKERS}",
                "write --on local:2",
            )
        return int(address)

    @classmethod
    def at_once(cls, address: str, settings: ExecutionSpec, devices: Sequence[str]) -> int:
        """As `Engine.at_once`: one where the processor's sensors count, else one for each GPU."""
        workers = cls.most_workers(address, settings)
        return 1 if PROCESSOR in devices else min(workers, max(1, len(_gpus())))

    def wait(self, seconds: float) -> None:
        """Wait for a line."""
        self._selector.select(seconds)

    def close(self) -> None:
        """Close the selector."""
        self._selector.close()


class Process(Worker):
    """A worker process on this machine.

    Args:
        number: of the worker.
        log: file for its output.
        device: number of the GPU that it gets, where there are several; None for all.
    """

    def __init__(self, number: int, log: Path, device: int | None = None) -> None:
        self.name = f"worker {number + 1}"
        theirs, ours = os.pipe()
        self.lines, written = os.pipe()
        os.set_blocking(self.lines, False)
        self.when_closed: Callable[[int], object] = lambda _: None
        self._log = log
        self._ours: int | None = ours
        self._text = b""
        self._open = True
        command = [sys.executable, "-m", "joulelab.execution.worker", "pipes"]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, str(theirs), str(written)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs, written),
                start_new_session=True,  # Ctrl-C is for the runner, which tells the workers
                env=os.environ | ({} if device is None else _device(device)),
            )
        os.close(theirs)
        os.close(written)

    def send(self, line: Line) -> None:
        """Send a line."""
        content = memoryview(encoded(line).encode("utf-8"))
        with contextlib.suppress(OSError):  # it has ended
            while content and self._ours is not None:
                content = content[os.write(self._ours, content) :]

    def receive(self) -> list[Line]:
        """The lines that have come."""
        self._read()
        *whole, self._text = self._text.split(b"\n")
        return [json.loads(line) for line in whole]

    def _read(self) -> None:
        while self._open:
            try:
                part = os.read(self.lines, READ_BYTES)
            except BlockingIOError:
                break
            if not part:
                self._open = False
                self.when_closed(self.lines)
                os.close(self.lines)
            self._text += part

    def ended(self) -> str | None:
        """Its exit code or signal."""
        code = self._process.poll()
        if code is None:
            return None
        self._read()  # what it has left running may hold the pipe: its end is not waited for
        self._close()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def waiting(self) -> str:
        """It begins at once."""
        return ""

    def wait(self, seconds: float) -> None:
        """Wait for a line, at most so long."""
        if self._open:
            select.select([self.lines], [], [], seconds)

    def kill(self) -> None:
        """Kill it, and what is in its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close()

    def last_words(self) -> str:
        """The last line of its log."""
        return last_line(self._log)

    def _close(self) -> None:
        """Close the pipes; a second call has no effect."""
        if self._open:
            self._open = False
            self.when_closed(self.lines)
            os.close(self.lines)
        if self._ours is not None:
            os.close(self._ours)
            self._ours = None


def _device(number: int) -> dict[str, str]:
    """The environment that leaves a worker one of the GPUs that the runner sees, if any."""
    names = _gpus()
    return {"CUDA_VISIBLE_DEVICES": names[number % len(names)]} if names else {}


def _gpus() -> list[str]:
    """The GPUs that the runner sees, as CUDA_VISIBLE_DEVICES names them."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is None:
        return [str(one) for one in range(_cards())]
    return [one for one in seen.split(",") if one.strip()]


def _cards() -> int:
    """Number of NVIDIA cards; 0 where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()
