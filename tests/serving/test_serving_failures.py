"""What goes wrong in a session: models that fail, processes that die, a user who interrupts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from joulelab.errors import ServingError

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


OWN_POLICY = """
from joulelab.serving.policies import Policy, policies

@policies.register("divides-by-what-comes")
class Divides(Policy):
    largest = 8

    def take(self, waiting, oldest_wait_s):
        return waiting // (waiting - 1)

    def __str__(self):
        return "divides-by-what-comes"
"""


def test_a_model_that_fails_ends_the_window_and_the_session_goes_on(session, serving_task):
    task = serving_task("Failing", {"after": 4})
    session.load(task)
    with pytest.raises(
        ServingError, match=r"serving_models:Failing\(after=4\) failed .*: the weights are missing"
    ):
        session.serve(task)
    session.load(serving_task())
    assert session.serve(serving_task()).answered == 60


def test_a_policy_of_ones_own_that_raises_is_told_with_its_line(session, serving_task, tmp_path):
    plugin = tmp_path / "divides.py"
    plugin.write_text(OWN_POLICY)
    task = serving_task(policy="divides-by-what-comes", plugins=(str(plugin),))
    session.load(task)
    words = r"the server process failed while .* ZeroDivisionError: .*divides\.py:9\)"
    with pytest.raises(ServingError, match=words):
        session.serve(task)


def test_a_server_that_leaves_is_told_with_its_status(session, serving_task):
    task = serving_task("Failing", {"after": 3, "status": 7})
    session.load(task)
    with pytest.raises(
        ServingError, match=r"server process ended with status 7 while .*Failing.* greedy\(8\)"
    ):
        session.serve(task)
    assert session.pids == ()


@pytest.mark.parametrize(("which", "noun"), [(0, "server"), (1, "producer")])
def test_a_process_that_is_killed_is_told_and_the_other_is_ended(
    session, serving_task, which, noun
):
    task = serving_task(arrivals="uniform-jitter(20)", requests=200)
    session.load(task)
    pids = session.pids
    words = f"the {noun} process was killed by SIGKILL while"
    with pytest.raises(ServingError, match=words):
        session.serve(task, lambda done, of: os.kill(pids[which], signal.SIGKILL))
    assert gone(pids)
    assert session.pids == ()


PROGRAM = """
import sys
import time
from joulelab.serving.session import ServingSession
from joulelab.serving.tasks import ImageSource, ServingTask
from joulelab.serving.model_source import ModelSource

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


def test_the_producer_needs_neither_torch_nor_pandas():
    code = (
        "import sys, joulelab.serving.producer, joulelab.serving.arrivals, "
        "joulelab.serving.policies, joulelab.serving.trace\n"
        "print([name for name in ('torch', 'pandas', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
