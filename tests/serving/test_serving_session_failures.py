"""Processes of a session that die or are interrupted, with a server that starts without torch."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from joulelab.errors import ServingError
from joulelab.serving.session import ServingSession


def test_a_process_that_is_killed_is_told_and_the_other_is_ended(serving_task, monkeypatch):
    monkeypatch.setattr("joulelab.serving.session._SERVER", "child_target:IdleServer")
    task = serving_task(arrivals="uniform-jitter(20)", requests=200)
    with ServingSession() as session:
        session.load(task)
        pids = session.pids
        words = r"the producer process was killed by SIGKILL while .*null.* greedy\(8\)"
        with pytest.raises(ServingError, match=words):
            session.serve(task, lambda done, of: os.kill(pids[1], signal.SIGKILL))
        assert not [pid for pid in pids if psutil.pid_exists(pid)]
        assert session.pids == ()


PROGRAM = """
import sys
from joulelab.serving import session as sessions
from joulelab.serving.tasks import ImageSource, ModelSource, ServingTask

sessions._SERVER = "child_target:IdleServer"
model = ModelSource("serving_models:null", path=(sys.argv[1],))
images = ImageSource((sys.argv[2],), 32, 24)
task = ServingTask(model, "greedy(8)", "poisson(50)", 100_000, images, seed=1, capacity=64)
sys.path.append(sys.argv[1])
with sessions.ServingSession() as session:
    session.load(task)
    try:
        session.serve(task, lambda done, of: print("serving", *session.pids, flush=True))
    except KeyboardInterrupt:
        print("interrupted", *session.pids, flush=True)
"""


def test_an_interrupt_ends_both_processes(photographs):
    """It is sent to the whole process group, as a terminal does."""
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), photographs.files[0]]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        try:
            word, *pids = program.stdout.readline().split()
            assert word == "serving"
            os.killpg(program.pid, signal.SIGINT)
            said = [line for line in program.stdout if not line.startswith("serving")]
        finally:
            program.kill()
    assert said == ["interrupted\n"]
    assert len(pids) == 2
    assert not [pid for pid in pids if psutil.pid_exists(int(pid))]


def test_the_producer_needs_neither_torch_nor_pandas():
    code = (
        "import sys, joulelab.serving.producer, joulelab.serving.arrivals, "
        "joulelab.serving.policies, joulelab.serving.trace\n"
        "print([name for name in ('torch', 'pandas', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
