"""Ctrl-C and ends at a bad moment: lines stay whole, and what was under way is in the ledger."""

import json
import os
import queue
import signal
import sys
import threading

import pytest

from joulelab.cli.inspecting import status
from joulelab.execution import worker
from joulelab.execution.connections import Pipes, Sending
from joulelab.execution.interrupts import held_back
from joulelab.execution.pool import Pool
from joulelab.study import working
from joulelab.study.listener import Listener
from joulelab.study.results import Results
from joulelab.study.store import Store
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

LONG = 1 << 21
"""More than a pipe holds."""


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_line_is_sent_whole():
    ours, theirs = os.pipe()
    pipes = Pipes(os.open(os.devnull, os.O_RDONLY), theirs)
    interrupted = threading.Event()
    got = []

    def read():
        with os.fdopen(ours, "rb") as lines:
            first = lines.read(1)  # the line is under way
            interrupt()
            interrupted.wait(60)
            got.extend((first + lines.read()).splitlines())

    reading = threading.Thread(target=read)
    with Sending(pipes) as sending:
        reading.start()
        with pytest.raises(KeyboardInterrupt):
            sending.send({"long": "x" * LONG})
        interrupted.set()
        sending.send({"failed": "interrupted"})
    os.close(theirs)
    pipes._lines.close()
    reading.join()
    assert [list(json.loads(line)) for line in got] == [["long"], ["failed"]]


def test_what_cannot_be_sent_is_raised_where_it_was_sent():
    class Full:
        def send(self, line):
            raise OSError(28, "No space left on device")

    with Sending(Full()) as sending, pytest.raises(OSError, match="No space left"):
        sending.send({"a": 1})


def test_an_interrupt_waits_for_the_end_of_a_block():
    done = []

    def block():
        with held_back():
            interrupt()
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done


def study(folder, text, **energy):
    (folder / "work.py").write_text(f"import os, sys, time\na = sys.argv[1]\n{text}\n")
    table = {
        "kind": "command",
        "command": f"{sys.executable} -S work.py {{a}}",
        "repetitions": 1,
        "vary": {"a": [1, 2]},
        "cwd": str(folder),
    }
    meters = {"meters": ["estimate"], "idle_s": 0, "cool_down_s": 0, "interval_s": 0.02}
    return Study(check_spec({"name": "s", "energy": meters | energy, "experiment": {"e": table}}))


class Twice(Listener):
    """Ctrl-C when the first run has begun, and again while the workers are waited for."""

    def __init__(self, monkeypatch):
        self.patch = monkeypatch

    def started(self, runs):
        end = Pool._end

        def end_and_interrupt(pool):
            wait = pool._engine.wait
            pool._engine.wait = lambda seconds: (wait(seconds), interrupt())
            end(pool)

        self.patch.setattr(Pool, "_end", end_and_interrupt)
        interrupt()


def test_two_interrupts_leave_nothing_that_seems_to_run(tmp_path, monkeypatch):
    asked = study(tmp_path, "time.sleep(600)")
    with pytest.raises(KeyboardInterrupt):
        asked.run(tmp_path / "out", Twice(monkeypatch), on="local:1")
    results = Results.open(tmp_path / "out")
    assert set(results.to_frame()["state"]) == {"planned"}
    ledger = results.ledger_frame()
    assert list(ledger[ledger["kind"] == "run"]["state"]) == ["interrupted"]
    assert "running" not in set(ledger["state"])
    assert status(tmp_path / "out").data["interrupted_attempts"] == 1


def test_an_interrupted_session_in_one_process_leaves_nothing_that_seems_to_run(tmp_path):
    """It waits for the device, whose entry is begun already."""
    asked = study(tmp_path, "")
    with Store.open(tmp_path / "out", asked.spec.to_toml()) as store:
        store.plan(asked.plan().runs)
        store.begin(1, "run", 1.0, asked.plan().runs[:1])
    ledger = Results.open(tmp_path / "out").ledger_frame()
    assert list(ledger["state"]) == ["interrupted"]


def test_a_killed_session_does_not_seem_to_run(tmp_path):
    """Its folder is as it was left: the next session will note it, the status says so before."""
    asked = study(tmp_path, "")
    store = Store.open(tmp_path / "out", asked.spec.to_toml())
    store.plan(asked.plan().runs)
    store.begin(1, "run", 1.0, asked.plan().runs[:1])
    store.close()  # without leaving a block, as after kill -9
    data = status(tmp_path / "out").data
    assert data["runs"]["e"] == {"planned": 2, "running": 0, "finished": 0, "failed": 0}
    assert data["interrupted_attempts"] == 1


class Hearing:
    """A runner in this process: it gives out nothing, and ends once it has heard enough."""

    def __init__(self, asked, enough):
        self.lines, self.enough = [], enough
        self._answers = queue.Queue()
        self._answers.put({"study": asked})

    def send(self, line):
        self.lines.append(line)
        if self.enough(self.lines):
            self.enough = lambda _: False
            self._answers.put({"stop": True})

    def receive(self):
        return self._answers.get()


def has_told_between_runs(lines):
    """Whether a worker has told what it does while it waits for a run."""
    told = [one for one in lines if next(iter(one.values())) == "so_far"]
    return any(one["kind"] == "between" for one in told)


def test_a_worker_tells_what_it_does_beside_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(working, "HEARTBEAT_INTERVAL_S", 0.01)
    monkeypatch.setenv(worker.VARIABLE, "")
    before = signal.getsignal(signal.SIGTERM)
    study(tmp_path, "").run(tmp_path / "out")
    asked = {"folder": str(tmp_path / "out"), "data_dir": None, "session": 7, "code": {}}
    hearing = Hearing(asked, has_told_between_runs)
    try:
        assert worker.work(hearing) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    entered = [one for one in hearing.lines if "enter" in one]
    begun = {
        one["measurement"]["started_at"]: one["kind"] for one in entered if one["enter"] == "book"
    }
    so_far = [one for one in entered if one["enter"] == "so_far"]
    assert "between" in {one["kind"] for one in so_far}
    for one in so_far:
        assert begun[one["measurement"]["started_at"]] == one["kind"]
