"""Windows that overlap on a device are all told so, of threads, tasks and processes."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_meter import FakeMeter, channel

import joulelab
from joulelab.energy.meter import Detector, meters
from joulelab.energy.monitor import Monitor
from joulelab.energy.overlap import Presence
from joulelab.energy.recorder import Recorder
from joulelab.energy.shared_meters import close_shared
from joulelab.study.executor import Executor


class Gpus(Detector):
    """A steady power on each of two devices."""

    automatic = False

    def detect(self):
        return [FakeMeter(*((channel(f"gpu:{n}", "power"), lambda: 50.0) for n in (0, 1)))], []


@pytest.fixture(autouse=True)
def two_gpus():
    meters.register("two-gpus")(Gpus)
    yield
    close_shared()


def window(label, **options):
    return joulelab.measure(label, meters=["two-gpus"], **options)


def told(measuring):
    """The remarks on windows that share their energy with others."""
    return [flag for flag in measuring.result.flags if "add them up" in flag or "add up" in flag]


def beside(*labels):
    names = ", ".join(map(repr, labels))
    return (
        f"overlaps {names} on gpu:0, gpu:1: the energy of that time is in each of them: do not add "
        "them up"
    )


def within(*labels):
    names = ", ".join(map(repr, labels))
    return f"{names} within it overlap: do not add up their energies"


def test_one_within_another_is_no_fault():
    with window("outer") as outer, window("inner") as inner, window("innermost") as innermost:
        pass
    with window("next") as later:
        pass
    assert [told(one) for one in (outer, inner, innermost, later)] == [[], [], [], []]


def test_windows_one_after_the_other_within_a_third_are_no_fault():
    with window("outer") as outer:
        with window("a") as a:
            pass
        with window("b") as b:
            pass
    assert [told(one) for one in (outer, a, b)] == [[], [], []]


def test_windows_that_cross_are_both_told_and_so_is_the_one_around_them():
    first, second = window("first"), window("second")
    with window("outer") as outer:
        first.start()
        second.start()
        first.stop()
        second.stop()
    assert told(first) == [beside("second")]
    assert told(second) == [beside("first")]
    assert told(outer) == [within("first", "second")]


def test_windows_of_threads_overlap_even_where_one_lies_within_the_other():
    opened, done = threading.Event(), threading.Event()

    def work():
        with window("long") as long:
            opened.set()
            done.wait(30)
        kept.append(long)

    kept = []
    thread = threading.Thread(target=work)
    thread.start()
    opened.wait(30)
    with window("short") as short:
        pass
    done.set()
    thread.join()
    assert told(kept[0]) == [beside("short")]
    assert told(short) == [beside("long")]


def test_tasks_within_a_block_overlap_each_other_and_not_the_block():
    async def task(label):
        with window(label) as measuring:
            await asyncio.sleep(0.01)
        return measuring

    async def together():
        with window("all") as outer:
            return outer, await asyncio.gather(task("a"), task("b"))

    outer, (a, b) = asyncio.run(together())
    assert told(a) == [beside("b")]
    assert told(b) == [beside("a")]
    assert told(outer) == [within("b", "a")]


def test_an_open_window_says_so_before_it_closes():
    first, second = window("first"), window("second")
    first.start()
    thread = threading.Thread(target=second.start)
    thread.start()
    thread.join()
    assert any("overlaps 'second'" in flag for flag in first.so_far().flags)
    first.stop()
    second.stop()


def test_windows_on_two_devices_do_not_overlap():
    one, other = window("one", domains=["gpu:0"]), window("other", domains=["gpu:1"])
    both = window("both")
    for start in (one.start, other.start, both.start):
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
    for measuring in (one, other, both):
        measuring.stop()
    assert told(one) == [beside("both").replace("gpu:0, gpu:1", "gpu:0")]
    assert told(other) == [beside("both").replace("gpu:0, gpu:1", "gpu:1")]
    assert told(both) == [beside("one", "other")]


def test_many_others_are_counted():
    first, *others = (window(f"{number}") for number in range(6))
    for measuring in (first, *others):
        thread = threading.Thread(target=measuring.start)
        thread.start()
        thread.join()
    for measuring in (first, *others):
        measuring.stop()
    assert told(first)[0].startswith("overlaps '1', '2', '3' and 2 more on ")


OTHER = """
import json, sys
import joulelab
with joulelab.measure(sys.argv[1], meters=["estimate"]) as m:
    print("on", flush=True)
    sys.stdin.readline()
print(json.dumps(m.result.flags), flush=True)
sys.stdin.readline()
"""


@contextmanager
def another(label):
    """Another process with an open window, started from this one."""
    command = [sys.executable, "-c", OTHER, label]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "on\n"
        yield process
        process.stdin.close()
        process.wait(60)


def flags_of(process):
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def test_children_that_measure_at_the_same_time_are_told_and_so_is_their_parent():
    with Monitor(meters=["estimate"]) as monitor:
        with monitor.measure("parent") as parent, another("a") as a, another("b") as b:
            of_b, of_a = flags_of(b), flags_of(a)
        (flag,) = parent.result.flags
    assert of_a == [f"process {b.pid} (b) is measuring on cpu as well"]
    assert of_b == [f"process {a.pid} (a) is measuring on cpu as well"]
    assert flag.startswith(f"processes {min(a.pid, b.pid)}, {max(a.pid, b.pid)} within it")


def test_a_child_that_measures_by_itself_is_no_fault():
    with Monitor(meters=["estimate"]) as monitor:
        with monitor.measure("parent") as parent, another("a") as a:
            assert flags_of(a) == []
        assert parent.result.flags == ()


def stay(**said):
    """What a process that this one has not started says of itself."""
    about = {"pid": 4711, "started_by": [1], "label": "x", "devices": ["gpu:0"], **said}
    path = Path(os.environ["JOULELAB_LOCK_DIR"], f"joulelab-window-{about['pid']}-0.json")
    path.write_text(json.dumps(about))
    return path


@pytest.fixture
def locks(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULELAB_LOCK_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("said", "flagged"),
    [
        ({"began_s": -5, "ended_s": 1}, True),  # it was there first
        ({"began_s": 1, "ended_s": 2}, True),  # it came later, and has gone
        ({"began_s": 1, "pid": os.getppid()}, False),  # it has started this process
        ({"began_s": 1, "pid": 1, "started_by": []}, False),
        ({"began_s": 1, "started_by": [os.getpid()]}, False),  # a child
        ({"began_s": -5, "ended_s": -1}, False),  # before
        ({"began_s": -5}, False),  # it died, nobody knows when
        ({"began_s": 1}, True),  # it died, after it began
        ({"began_s": 1e9}, False),  # before the machine was started
        ({"began_s": 1, "ended_s": 2, "devices": ["gpu:1"]}, False),
        ({"began_s": "now"}, False),
    ],
)
def test_who_else_measures_is_told_at_the_end(locks, monkeypatch, said, flagged):
    now_s = 1000.0
    monkeypatch.setattr("joulelab.energy.overlap.time.monotonic", lambda: now_s)
    monkeypatch.setattr("joulelab.energy.overlap.psutil.pid_exists", lambda pid: pid < 4000)
    moments = {
        key: now_s + value if isinstance(value, int | float) else value
        for key, value in said.items()
        if key.endswith("_s")
    }
    presence = Presence(["gpu:0"], "mine")
    presence.enter()
    now_s += 10
    stay(**{**said, **moments})
    found = presence.flags(since_s=1000.0)
    presence.leave()
    expected = "process 4711 (x) is measuring on gpu:0 as well"
    assert found == ([expected] if flagged else [])


def test_who_began_first_is_told_of_one_that_has_come_and_gone(locks):
    with Monitor(meters=["two-gpus"]) as monitor, monitor.measure("mine") as mine:
        moment_s = time.monotonic()
        stay(began_s=moment_s, ended_s=moment_s)
    assert mine.result.flags == ("process 4711 (x) is measuring on gpu:0 as well",)


def test_a_run_of_a_study_is_told_of_who_shares_its_device(locks):
    class Work(Executor):
        def _prepare(self, job):
            return False

        def _carry_out(self, job, progress):
            stay(began_s=time.monotonic(), ended_s=time.monotonic())

    with Recorder(Gpus().detect()[0]) as recorder:
        done = Work(recorder, "gpu:0", 0.0, print).run(SimpleNamespace(label="run"), print)
    assert done.measurement.flags == ("process 4711 (x) is measuring on gpu:0 as well",)


def test_files_are_cleared_away_and_links_are_not_followed(locks):
    (locks / "precious").write_text("kept")
    presence = Presence(["cpu"], "mine")
    for number in range(50):
        (locks / f"joulelab-window-{os.getpid()}-{number}.json").symlink_to(locks / "precious")
    dead = stay(pid=2**22 + 1, began_s=1.0)
    presence.enter()
    presence.leave()
    assert (locks / "precious").read_text() == "kept"
    assert not dead.exists()
    left = [one for one in locks.iterdir() if not one.is_symlink()]
    assert left == [locks / "precious"]
