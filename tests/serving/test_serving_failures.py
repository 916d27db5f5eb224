"""What goes wrong in a session: models that fail, policies that raise, processes that die."""

import os
import signal
import subprocess
import sys

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
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert session.pids == ()


def test_the_producer_needs_neither_torch_nor_pandas():
    code = (
        "import sys, joulelab.serving.producer, joulelab.serving.arrivals, "
        "joulelab.serving.policies, joulelab.serving.trace\n"
        "print([name for name in ('torch', 'pandas', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
