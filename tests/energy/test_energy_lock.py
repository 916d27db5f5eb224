"""The lock of a device: exclusive, and free when its holder dies."""

import os
import signal
import subprocess
import sys

import pytest

from joulelab.energy.lock import DeviceLock
from joulelab.errors import DeviceBusyError

HOLD = """
import time
from joulelab.energy.lock import DeviceLock
lock = DeviceLock("gpu:7")
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
    with pytest.raises(DeviceBusyError, match=f"process {holder.pid} is measuring on gpu:7"):
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
