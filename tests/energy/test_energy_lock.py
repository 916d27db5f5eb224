"""The lock of a device: exclusive, and free when its holder dies."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from joulelab.energy.lock import DeviceLock
from joulelab.errors import DeviceBusyError

HOLD = """
import time
from joulelab.energy.lock import DeviceLock
lock = DeviceLock("gpu:7", "the epochs of another")
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def lock_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULELAB_LOCK_DIR", str(tmp_path / "locks"))


@pytest.fixture
def holder(lock_folder):
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_held_device_is_refused_with_the_holder(holder):
    with pytest.raises(DeviceBusyError, match=f"process {holder.pid} .the epochs of another. is"):
        DeviceLock("gpu:7").acquire(wait=False)


def test_another_device_is_free(holder):
    with DeviceLock("gpu:6") as lock:
        lock.acquire(wait=False)


def test_the_lock_of_a_holder_killed_with_9_is_free_for_the_one_who_waits(holder):
    said = []

    def on_wait(what):
        said.append(what)
        os.kill(holder.pid, signal.SIGKILL)

    with DeviceLock("gpu:7") as lock:
        lock.acquire(wait=True, on_wait=on_wait)
        assert f"process {holder.pid}" in said[0]


def test_a_released_lock_can_be_taken_again():
    for _ in range(2):
        with DeviceLock("cpu") as lock:
            lock.acquire(wait=False)


def test_one_process_holds_it_once_however_often_it_asks():
    first, second = DeviceLock("cpu"), DeviceLock("cpu")
    first.acquire(wait=False)
    second.acquire(wait=False)
    first.release()
    assert refused_elsewhere("cpu")
    second.release()
    assert not refused_elsewhere("cpu")


def test_any_thread_may_give_it_back():
    lock = DeviceLock("cpu")
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert not refused_elsewhere("cpu")


def test_a_program_started_by_the_holder_does_not_wait_for_it():
    with DeviceLock("cpu") as lock:
        lock.acquire()
        inner = "from joulelab.energy.lock import DeviceLock; DeviceLock('cpu').acquire(wait=False)"
        assert subprocess.run([sys.executable, "-c", inner], check=False).returncode == 0
        # What it started gave nothing back that was not its own.
        assert refused_elsewhere("cpu")


GREEDY = """
import time
from joulelab.energy.lock import DeviceLock
print("begun", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    with DeviceLock("gpu:7") as lock:
        lock.acquire()
        time.sleep(0.05)
"""


def test_who_takes_it_again_and_again_lets_the_others_in():
    with subprocess.Popen([sys.executable, "-c", GREEDY], stdout=subprocess.PIPE) as greedy:
        assert greedy.stdout.readline() == b"begun\n"
        time.sleep(0.2)
        for _ in range(3):
            with DeviceLock("gpu:7") as lock:
                lock.acquire()
        assert greedy.poll() is None, "the other is still at it"
        greedy.kill()


def refused_elsewhere(device):
    """Whether a process that is no descendant of this one finds the device busy."""
    program = f"""
import os
from joulelab.energy import lock
lock._ancestors = set  # as if it had been started elsewhere
from joulelab.errors import DeviceBusyError
try:
    lock.DeviceLock({device!r}).acquire(wait=False)
except DeviceBusyError:
    os._exit(3)
os._exit(0)
"""
    return subprocess.run([sys.executable, "-c", program], check=False).returncode == 3
