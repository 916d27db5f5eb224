"""Workers as jobs on a SLURM cluster, through submitit.

::

    DIR/workers/3/    to.jsonl  from.jsonl  <job>_0_log.out  <job>_submission.sh

A worker is one job, which works until no group is left or its time is up. The results folder has
to be on a file system that the nodes share with this machine. Nothing is requeued by SLURM: an
attempt that nobody has noted would be energy that nobody has counted.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from joulelab.errors import JoulelabError
from joulelab.execution.connections import POLL_S, Mailbox
from joulelab.execution.engine import Engine, Worker, last_line
from joulelab.execution.relay import Line
from joulelab.optional import optional
from joulelab.study.spec import ExecutionSpec, SlurmSpec

LOOK_S = 5.0
"""Time between two questions to the scheduler."""
ASKED_S = 60.0
"""Longest time for an answer of it."""
RUNNING = "RUNNING"
WAITING = {"PENDING", "CONFIGURING"}
ENDING = {"COMPLETING"}
USER = "--on slurm"
LAST_CALL = "TERM@30"
"""Before its time is up a worker is asked to book what it does; submitit would end it at once."""
FINAL = ("invalid", "unable to contact", "denied", "not permitted")
"""In what sbatch says where no job would be taken; else, as with nodes that are down, it may be."""
SCHEDULERS = ("srun", "slurmstepd", "submitit")
"""Who writes into the log of a job beside its program."""


class SlurmEngine(Engine):
    """Jobs of a SLURM cluster: ``slurm`` or ``slurm:PARTITION``.

    Args:
        address: of the partition; default: that of the study, or the cluster's.
        settings: of the study.

    Raises:
        JoulelabError: there is no ``sbatch`` here.
        MissingDependencyError: submitit is not installed.
    """

    def __init__(self, address: str, settings: ExecutionSpec) -> None:
        self.check(address, settings)
        self.workers = settings.workers
        self._submitit = optional("submitit", USER)
        self._asked = settings.slurm
        self._partition = address or settings.slurm.partition
        self._queue = _Queue()

    @classmethod
    def check(cls, address: str, settings: ExecutionSpec) -> None:
        """Ask SLURM whether it would take a job; nothing is submitted."""
        if shutil.which("sbatch") is None:
            raise JoulelabError(
                f"{USER}: there is no sbatch on this machine", "run it on the cluster's login node"
            )
        optional("submitit", USER)
        asked = parameters(settings.slurm, address or settings.slurm.partition)
        line = ["sbatch", "--test-only", "--wrap=true", *_options(asked)]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # it is busy: then later
            found = subprocess.run(
                line, capture_output=True, text=True, timeout=ASKED_S, check=False
            )
            if found.returncode and any(one in found.stderr.lower() for one in FINAL):
                raise _refused("a job", found.stderr)

    def start(self, number: int, folder: Path) -> Worker:
        """Submit a job.

        Raises:
            JoulelabError: SLURM refuses it; says why.
        """
        place = folder.absolute() / "workers" / str(number + 1)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        command = [sys.executable, "-m", "joulelab.execution.worker", "files", str(place)]
        executor = self._submitit.SlurmExecutor(folder=place, max_num_timeout=0)
        executor.update_parameters(**parameters(self._asked, self._partition))
        try:
            job = executor.submit(self._submitit.helpers.CommandFunction(command))
        except Exception as error:  # submitit's own, of several versions
            raise _refused(f"the job of worker {number + 1}", str(error)) from error
        return _Job(number, str(job.job_id), place, self._queue)

    def wait(self, seconds: float) -> None:
        """Wait; files in a shared folder do not say when a line has come."""
        time.sleep(min(POLL_S, seconds))


def parameters(asked: SlurmSpec, partition: str | None) -> dict[str, Any]:
    """What submitit is told.

    Args:
        asked: of the study.
        partition: of the jobs.
    """
    named = {
        "partition": partition,
        "account": asked.account,
        "time": asked.time,
        "gpus_per_node": asked.gpus or None,
        "cpus_per_task": asked.cpus,
        "exclusive": True if asked.exclusive else None,
    }
    return {
        **{name: value for name, value in named.items() if value is not None},
        "job_name": "joulelab",
        "nodes": 1,
        "ntasks_per_node": 1,
        "setup": list(asked.setup) or None,
        "additional_parameters": {"no_requeue": True, "signal": LAST_CALL, **asked.directives},
    }


class _Queue:
    """The states of jobs, asked for at most every few seconds for all of them together."""

    def __init__(self) -> None:
        self.jobs: set[str] = set()
        self._asked_s = 0.0
        self._states: dict[str, tuple[str, str]] = {}

    def state(self, job: str) -> tuple[str, str]:
        """State and reason of a job, in SLURM's words; empty where the queue no longer has it."""
        if time.monotonic() - self._asked_s > LOOK_S:
            self._ask()
        return self._states.get(job, ("PENDING", ""))

    def _ask(self) -> None:
        listed = ",".join(sorted(self.jobs))
        line = ["squeue", "--noheader", "--states=all", f"--jobs={listed}", "--format=%A|%T|%r"]
        try:
            found = subprocess.run(
                line, capture_output=True, text=True, timeout=ASKED_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return  # the scheduler is busy: ask again
        finally:
            self._asked_s = time.monotonic()
        gone = found.returncode != 0 and "nvalid job id" in found.stderr
        if found.returncode != 0 and not gone:
            return
        states = dict.fromkeys(self.jobs, ("", ""))
        for text in found.stdout.splitlines():
            job, state, reason = [*text.split("|"), "", ""][:3]
            states[job] = (state, reason)
        self._states = states


class _Job(Worker):
    def __init__(self, number: int, job: str, place: Path, queue: _Queue) -> None:
        self.name = f"worker {number + 1}, job {job}"
        self._job = job
        self._queue = queue
        self._place = place
        self._mailbox = Mailbox(place / "from.jsonl", place / "to.jsonl")
        self._begun = False
        self._last = ""
        queue.jobs.add(job)

    def send(self, line: Line) -> None:
        with self._noted():
            self._mailbox.post(line)

    def receive(self) -> list[Line]:
        lines: list[Line] = []
        with self._noted():
            lines = self._mailbox.look()
        for line in lines:
            self._begun = True
            if "failed" in line or "ended" in line:
                self._last = "it has ended"
        return lines

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """A worker that cannot be written to has ended."""
        try:
            yield
        except OSError as error:
            if not self._last:
                self._last = f"{error.filename} cannot be written: {error.strerror}"
                self.kill()

    def ended(self) -> str | None:
        if self._last:
            self._queue.jobs.discard(self._job)
            return self._last
        state, reason = self._queue.state(self._job)
        if state in {RUNNING, *ENDING} and self._begun and self._mailbox.lost:
            self.kill()
            return "no sign of life for two minutes"
        if state in {RUNNING, *WAITING, *ENDING}:
            return None
        self._queue.jobs.discard(self._job)
        told = "" if reason in {"", "None"} else f" ({reason})"
        return f"the job is {state.lower() or 'no longer known'}{told}"

    def waiting(self) -> str:
        if self._begun:
            return ""
        state, reason = self._queue.state(self._job)
        return f"{state.lower()}, {reason}" if state in WAITING else ""

    def last_words(self) -> str:
        return last_line(self._place / f"{self._job}_0_log.err", SCHEDULERS)

    def kill(self) -> None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["scancel", self._job], capture_output=True, timeout=ASKED_S, check=False
            )


def _options(asked: dict[str, Any]) -> list[str]:
    """What submitit is told, as options of sbatch."""
    told = {**asked, **asked["additional_parameters"]}
    del told["setup"], told["additional_parameters"]
    return [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
        for name, value in told.items()
        if value is not False
    ]


def _refused(what: str, said: str) -> JoulelabError:
    """The error for what sbatch has said, without submitit's frame."""
    lines = [line.strip() for line in said.splitlines() if "error:" in line or "failure:" in line]
    told = (lines or said.strip().splitlines() or ["it does not say why"])[-1]
    reason = told.rpartition("error: ")[2].rpartition("failure: ")[2]
    return JoulelabError(
        f"SLURM refuses {what}: {reason}",
        "change [execution.slurm] in the study file; sinfo lists partitions",
    )
