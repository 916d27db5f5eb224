"""A user who interrupts, and a session whose process is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

HERE = Path(__file__).parent
GONE_S = 20


def gone(pids):
    """Whether all of them have ended, waiting for it."""
    until_s = time.monotonic() + GONE_S
    while any(lives(pid) for pid in pids):
        if time.monotonic() > until_s:
            return False
        time.sleep(0.05)
    return True


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


PROGRAM = """
import sys
import time
from joulelab.serving.session import ServingSession
from joulelab.serving.tasks import ImageSource, ModelSource, ServingTask

model = ModelSource("serving_models:printing", path=(sys.argv[1],))
images = ImageSource((sys.argv[2],), 32, 24)
task = ServingTask(model, "greedy(8)", "poisson(50)", 5000, images, seed=1, capacity=64)
show = lambda done, of: print("serving", done, *session.pids, flush=True)
with ServingSession() as session:
    session.load(task)
    try:
        session.serve(task, show)
    except KeyboardInterrupt:
        print("interrupted", *session.pids, flush=True)
    session.load(task)
    session.serve(task, show)
"""


def serving_pids(program):
    """Wait until a program serves; the numbers of its processes. It prints nothing else, although
    its model does."""
    for line in program.stdout:
        word, done, *pids = line.split()
        assert word == "serving", line
        if int(done):
            return [int(pid) for pid in pids]
    raise AssertionError("the program has ended")


def test_neither_an_interrupt_nor_a_killed_parent_leaves_processes(photographs):
    """The first is sent to the whole process group, as a terminal does."""
    command = [sys.executable, "-c", PROGRAM, str(HERE), photographs.files[0]]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        try:
            first = serving_pids(program)
            os.killpg(program.pid, signal.SIGINT)
            for line in program.stdout:
                if line.split()[0] == "interrupted":
                    break
            assert line.split() == ["interrupted"]
            assert gone(first)
            second = serving_pids(program)
            assert len(second) == 2
            assert not set(first) & set(second)
        finally:
            program.kill()
    assert gone(second)
