"""Requests to a process, and what comes back; how its end is noticed, and whose end ends it."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread

import psutil
import pytest

from joulelab.errors import DatasetError, ServingError, UsageError
from joulelab.serving import process
from joulelab.serving.process import Child, Unforeseen, carry_out

GONE_S = 60


class OfAPluginError(UsageError):
    """One that the session does not know."""


class Twelve:
    def divide(self, by):
        return 12 / by

    def refuse(self):
        raise OfAPluginError("twelve cannot be refused", "ask for eleven")

    def give_up(self):
        raise DatasetError("no more")


@pytest.fixture
def ask():
    """Asks a thread that carries out requests."""
    ours, theirs = Pipe()
    thread = Thread(target=carry_out, args=(theirs, Twelve()))
    thread.start()

    def ask(name, *arguments):
        ours.send((name, arguments))
        return ours.recv()

    yield ask
    ours.close()
    thread.join()
    theirs.close()


@pytest.fixture
def child():
    """A process of its own, and the end of a pipe that it was handed the other end of."""
    ours, theirs = os.pipe()
    child = Child("target", "child_target:Target", (theirs,))
    os.close(theirs)
    child.doing = "while it was tested"
    yield child, ours
    child.kill()
    os.close(ours)


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_results_and_errors_come_back_one_after_the_other(ask):
    assert ask("divide", 4) == 3
    refused, gave_up = ask("refuse"), ask("give_up")
    assert type(refused) is UsageError
    assert refused.args == ("twelve cannot be refused", "ask for eleven")
    assert type(gave_up) is ServingError
    assert gave_up.args == ("no more", "")
    assert ask("divide", 6) == 2


def test_what_nobody_foresaw_is_told_with_its_place(ask):
    failure = ask("divide", 0)
    assert type(failure) is Unforeseen
    line = Twelve.divide.__code__.co_firstlineno + 1
    assert str(failure) == f"ZeroDivisionError: division by zero ({__file__}:{line})"


def test_a_process_takes_files_over_prints_no_data_and_ignores_an_interrupt(child, capfd):
    target, pipe = child
    target.request("send_bytes", b"from the child")
    assert target.receive() is None
    assert os.read(pipe, 100) == b"from the child"
    target.request("print_a_line")
    target.receive()
    target.request("be_interrupted")
    assert target.receive() == "still here"
    target.request("sleep", 1)
    with pytest.raises(ServingError, match="target process failed while it was tested: TypeError"):
        target.receive()
    assert capfd.readouterr().out == ""


def test_a_process_that_leaves_is_told_with_its_status(child):
    target, _ = child
    target.request("leave", 7)
    with pytest.raises(ServingError, match="target process ended with status 7 while it was test"):
        target.receive()


def test_a_process_that_is_killed_is_told(child):
    target, _ = child
    target.request("sleep")
    os.kill(target.pid, signal.SIGKILL)
    with pytest.raises(ServingError, match="target process was killed by SIGKILL") as raised:
        target.receive()
    assert "memory ran out" in raised.value.hint
    with pytest.raises(ServingError, match="target process was killed by SIGKILL"):
        target.request("sleep")


def test_a_process_that_does_not_return_is_ended(child, monkeypatch):
    target, _ = child
    target.request("sleep")
    monkeypatch.setattr(process, "_FAREWELL_S", 0.05)
    target.close()
    assert not lives(target.pid)


PROGRAM = """
import time
from joulelab.serving.process import Child

child = Child("target", "child_target:Target", ())
child.request("sleep")
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_process_ends_with_the_one_that_has_started_it():
    where = os.pathsep.join((str(Path(__file__).parent), *filter(None, sys.path)))
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": where},
    ) as program:
        try:
            pid = int(program.stdout.readline())
            assert lives(pid)
        finally:
            program.kill()
    until_s = time.monotonic() + GONE_S
    while lives(pid) and time.monotonic() < until_s:
        time.sleep(0.02)
    assert not lives(pid)
