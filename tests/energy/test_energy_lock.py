"""The lock of a device: exclusive, free when its holder dies, and no danger to other files."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from joulelab.energy import lock as device_locks
from joulelab.energy.lock import DeviceLock
from joulelab.errors import DeviceBusyError, MeterError

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
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o700)
    return tmp_path / "locks"


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


PLANTED = {
    "symbolic link": lambda path, victim: path.symlink_to(victim),
    "link to nothing": lambda path, victim: path.symlink_to(victim.with_name("made")),
    "second name": lambda path, victim: path.hardlink_to(victim),
    "pipe": lambda path, victim: os.mkfifo(path),
    "folder": lambda path, victim: path.mkdir(),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_what_lies_in_the_place_of_a_lock_is_left_alone_and_the_lock_is_elsewhere(
    plant, lock_folder, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(device_locks, "_SAID", set())
    victim = tmp_path / "victim"
    victim.write_text("of root")
    lock_folder.mkdir()
    for end in ("lock", "next", "pid", "waiting"):
        plant(lock_folder / f"joulelab-cpu.{end}", victim)
    with caplog.at_level(logging.WARNING), DeviceLock("cpu") as lock:
        lock.acquire(wait=False)
        assert refused_elsewhere("cpu"), "it is locked all the same"
    assert victim.read_text() == "of root"
    assert not victim.with_name("made").exists()
    (said,) = caplog.messages
    assert f"{lock_folder}/joulelab-cpu.lock" in said
    assert f"{tmp_path}/run/joulelab-locks" in said


def test_where_nothing_can_be_locked_the_error_says_why(lock_folder, tmp_path, monkeypatch):
    lock_folder.write_text("no folder")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(lock_folder))
    with pytest.raises(MeterError, match=r"cpu cannot be locked: .*locks") as refused:
        DeviceLock("cpu").acquire()
    assert "JOULELAB_LOCK_DIR" in refused.value.hint


def test_a_folder_of_ones_own_that_others_may_write_to_is_not_used(lock_folder, tmp_path):
    lock_folder.write_text("no folder")
    own = tmp_path / "run" / "joulelab-locks"
    own.mkdir()
    own.chmod(0o777)
    with pytest.raises(MeterError, match="only you can write to"):
        DeviceLock("cpu").acquire()


@pytest.mark.parametrize(("mode", "shared"), [(0o1777, True), (0o777, False), (0o755, False)])
def test_only_a_folder_with_the_sticky_bit_is_shared(tmp_path, mode, shared):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    assert device_locks._is_shared(folder) is (shared and folder.stat().st_uid == 0)


def test_who_writes_the_name_of_an_ancestor_into_the_lock_holds_it_against_him_too(
    holder, lock_folder
):
    (lock_folder / "joulelab-gpu-7.lock").write_text(f"{os.getppid()}\n\x1b[2Jyours")
    (lock_folder / "joulelab-gpu-7.pid").write_text(f"{os.getppid()}\nyours")
    with pytest.raises(DeviceBusyError, match=f"process {holder.pid} is measuring"):
        DeviceLock("gpu:7").acquire(wait=False)


def test_a_child_that_is_forked_does_not_keep_the_lock_of_a_dead_parent(lock_folder):
    forking = HOLD.replace("print(", "os.fork() or time.sleep(60)\nprint(").replace(
        "import time", "import os, time"
    )
    with subprocess.Popen([sys.executable, "-c", forking], stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"held\n"
        (child,) = psutil.Process(parent.pid).children()
        try:
            assert refused_elsewhere("gpu:7")
            parent.kill()
            parent.wait()
            assert child.is_running()
            with DeviceLock("gpu:7") as lock:
                lock.acquire(wait=False)
        finally:
            child.kill()


@pytest.mark.parametrize("name", ["x" * 300, "file"])
def test_a_folder_that_cannot_be_is_none_for_others(name, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JOULELAB_LOCK_DIR", str(tmp_path / name))
    assert device_locks.shared_folder() is None
    with DeviceLock("gpu:7") as held:
        assert held.device == "gpu:7"
