"""What goes wrong in a session: models that fail, policies that raise, processes that die."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from joulelab.errors import ServingError

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


def test_a_process_that_is_killed_is_told_and_the_other_is_ended(session, serving_task):
    task = serving_task(arrivals="uniform-jitter(20)", requests=200)
    session.load(task)
    pids = session.pids
    words = r"the producer process was killed by SIGKILL while .*null.* greedy\(8\)"
    with pytest.raises(ServingError, match=words):
        session.serve(task, lambda done, of: os.kill(pids[1], signal.SIGKILL))
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert session.pids == ()


PROGRAM = """
import sys
from joulelab.serving.session import ServingSession
from joulelab.serving.tasks import ImageSource, ModelSource, ServingTask

model = ModelSource("serving_models:printing", path=(sys.argv[1],))
images = ImageSource((sys.argv[2],), 32, 24)
task = ServingTask(model, "greedy(8)", "poisson(50)", 100_000, images, seed=1, capacity=64)
with ServingSession() as session:
    session.load(task)
    try:
        session.serve(task, lambda done, of: print("serving", done, *session.pids, flush=True))
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
            for line in program.stdout:
                word, done, *pids = line.split()
                assert word == "serving", "the model printed to standard output"
                if int(done):
                    break
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
