"""Studies over worker processes: the same results, whatever ends, and every joule in the ledger."""

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from simulated import WATTS, SimulatedEngine

from joulelab.cli.inspecting import status
from joulelab.errors import JoulelabError, UnknownNameError, UsageError
from joulelab.execution.local import Process
from joulelab.execution.pool import Pool, PoolError
from joulelab.execution.waiting import workers_of
from joulelab.present import terminal
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import study_view
from joulelab.study.code_copies import code_copies
from joulelab.study.listener import Listener
from joulelab.study.results import Results
from joulelab.study.spec import ExecutionSpec
from joulelab.study.store import Store
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

IMPORTS = "import sys, json, os, time, signal"
ENERGY = {"meters": ["estimate"], "idle_s": 0, "cool_down_s": 0, "interval_s": 0.02}


@pytest.fixture(autouse=True)
def locks(tmp_path, monkeypatch):
    """Locks of this test alone: other tests that measure do not keep its workers waiting."""
    folder = tmp_path / "locks"
    folder.mkdir()
    monkeypatch.setenv("JOULELAB_LOCK_DIR", str(folder))


def study(folder, command, **table):
    """A study of one experiment with the factor ``a``, in a folder."""
    full = {"kind": "command", "repetitions": 2, "vary": {"a": [1, 2, 3]}, "cwd": str(folder)}
    experiment = {"e": full | {"command": command} | table}
    return Study(check_spec({"name": "s", "energy": ENERGY, "experiment": experiment}))


def script(folder, text):
    """A program in a folder: the command that runs it with the level of ``a``."""
    (folder / "work.py").write_text(f"{IMPORTS}\na = sys.argv[1]\n{text}\n")
    return f"{sys.executable} -S work.py {{a}}"


def workers():
    """The worker processes of this process."""
    mine = psutil.Process().children()
    return [one for one in mine if "joulelab.execution.worker" in one.cmdline()]


def kill_one():
    workers()[0].kill()


class OnFirst(Listener):
    """Does something when the first run has begun."""

    def __init__(self, what):
        self.what, self.said = what, []

    def started(self, runs):
        if self.what is not None:
            self.what, what = None, self.what
            what()

    def doing(self, what):
        self.said.append(what)


def test_workers_give_the_table_of_one_process(tmp_path):
    command = script(tmp_path, "print(json.dumps({'twice': 2 * int(a)}))")
    alone = study(tmp_path, command).run(tmp_path / "alone")
    listener = OnFirst(None)
    together = study(tmp_path, command).run(tmp_path / "together", listener, on="local:2")
    assert not any("is measuring on" in one for one in listener.said)  # it is one of the study
    names = ["run_id", "position", "block", "seed", "state", "twice", "attempts"]
    assert together.to_frame()[names].equals(alone.to_frame()[names])
    ledger = together.ledger_frame()
    assert set(ledger["state"]) == {"finished"}
    assert {"setup", "idle", "between", "run"} <= set(ledger["kind"])
    sessions = json.loads((tmp_path / "together" / "manifest.json").read_text())["sessions"]
    assert {one["session"] for one in sessions} == set(ledger["session"])
    assert all(one["ended_at"] for one in sessions)
    assert not workers()


def test_a_worker_that_is_killed_loses_no_run_and_its_attempt_stays_in_the_ledger(tmp_path):
    command = script(tmp_path, "time.sleep(0.3)")
    listener = OnFirst(kill_one)
    results = study(tmp_path, command).run(tmp_path / "out", listener, on="local:2")
    assert set(results.to_frame()["state"]) == {"finished"}
    ledger = results.ledger_frame()
    attempts = Counter(one for runs in ledger["runs"] for one in json.loads(runs))
    assert dict(results.to_frame().set_index("run_id")["attempts"]) == attempts
    lost = ledger[ledger["state"] == "interrupted"]
    assert lost["error"].str.contains("signal SIGKILL").all()
    assert any("signal SIGKILL" in one for one in listener.said)


@pytest.mark.long
def test_a_run_that_ends_its_worker_is_given_up_after_three(tmp_path):
    end = "os.kill(os.getppid(), signal.SIGKILL) if a == '2' else None"
    command = script(tmp_path, end)
    with pytest.raises(PoolError, match=r"a=2.*3 workers have ended with it.*SIGKILL"):
        study(tmp_path, command).run(tmp_path / "out", on="local:2")
    frame = Results.open(tmp_path / "out").to_frame()
    assert "running" not in set(frame["state"])
    assert not workers()


def test_a_study_that_cannot_be_run_says_why(tmp_path):
    with pytest.raises(JoulelabError, match="no-such-program"):
        study(tmp_path, "no-such-program {a}").run(tmp_path / "out", on="local:1")


@pytest.mark.parametrize("on", ["local", "local:none", "local:0"])
def test_a_number_of_workers_is_asked_for(tmp_path, on):
    with pytest.raises(UsageError, match="local:2"):
        study(tmp_path, "true {a}").run(tmp_path / "out", on=on)


def test_an_unknown_engine_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="local"):
        study(tmp_path, "true {a}").run(tmp_path / "out", on="locl:2")
    assert not (tmp_path / "out").exists()


RUNNER = """
import sys
from joulelab.study.study import Study
Study.load(sys.argv[1]).run(sys.argv[2], on="local:2")
"""


def test_workers_end_with_their_runner_and_the_study_goes_on(tmp_path):
    begun = tmp_path / "begun"
    wait = f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)"
    slow = script(tmp_path, f"open({str(begun)!r}, 'a').write(a)\n{wait}")
    (tmp_path / "s.toml").write_text(study(tmp_path, slow).spec.to_toml())
    line = [sys.executable, "-c", RUNNER, tmp_path / "s.toml", tmp_path / "out"]
    with subprocess.Popen(line) as runner:
        until(begun.exists)
        below = psutil.Process(runner.pid).children(recursive=True)
        assert len(below) >= 3
        runner.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive
    (tmp_path / "go").touch()
    frame = Study.load(tmp_path / "out").run(tmp_path / "out", on="local:1").to_frame()
    assert set(frame["state"]) == {"finished"}
    assert frame["attempts"].max() == 2


def until(condition, patience_s=60):
    """Wait for a condition."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def simulated(folder, engine, levels=3, repetitions=2, mix="refuse", listener=None):
    """A study carried out on simulated nodes: its results."""
    vary = {"a": list(range(levels))}
    planned = study(folder, "true {a}", vary=vary, repetitions=repetitions)
    plan, out = planned.plan(), folder / "out"
    copies = code_copies(planned.spec, out)
    with Store.open(out, copies.toml) as store:
        copies.write(begun=bool(store.manifest()))
        store.plan(plan.runs)
        settings = ExecutionSpec(mix=mix)
        Pool(engine, plan, store, copies, listener or Listener(), None, settings, 0.0).run()
    return Results.open(out)


def test_a_second_kind_of_machine_is_refused(tmp_path):
    with pytest.raises(PoolError, match="is on V100, and the study has begun on A100"):
        simulated(tmp_path, SimulatedEngine(["A100", "V100"]))


def test_a_block_stays_on_one_kind_of_machine(tmp_path):
    engine = SimulatedEngine(["A100", "V100", "A100"], lambda chance: chance.random() / 50)
    frame = simulated(tmp_path, engine, levels=6, repetitions=8, mix="block").to_frame()
    assert set(frame["machine"]) == {"A100", "V100"}
    assert (frame.groupby("block")["machine"].nunique() == 1).all()
    assert frame.groupby("block")["node"].nunique().max() == 2


def test_blocks_of_a_machine_that_is_gone_wait_for_it(tmp_path):
    first = SimulatedEngine(["A100"])
    first.stops_after = 1
    with pytest.raises(PoolError):
        simulated(tmp_path, first, levels=2, mix="block")
    with pytest.raises(PoolError, match=r"begun on another kind of machine \(A100, V100\)"):
        simulated(tmp_path, SimulatedEngine(["V100", "V100"]), levels=2, mix="block")
    frame = simulated(tmp_path, SimulatedEngine(["V100", "A100"]), levels=2, mix="block").to_frame()
    assert set(frame["state"]) == {"finished"}
    assert (frame.groupby("block")["machine"].nunique() == 1).all()


def test_of_killed_workers_nothing_is_lost_and_no_meter_reads_two_runs(tmp_path):
    engine = SimulatedEngine(["A"] * 4, lambda chance: chance.random() / 100, killed=0.05, seed=3)
    results = simulated(tmp_path, engine, levels=20, repetitions=5)
    frame, ledger = results.to_frame(), results.ledger_frame()
    assert set(frame["state"]) == {"finished"}
    assert engine.started > 4
    lost = ledger[ledger["state"] == "interrupted"]
    assert len(lost) == engine.kills
    assert lost["energy_gross_j"].eq(WATTS).all()  # as far as it was heard of
    assert frame["attempts"].sum() == 100 + len(lost)
    for windows in engine.windows.values():
        assert all(end <= begin for (_, end), (begin, _) in pairwise(sorted(windows)))
    # The rounds of a configuration in order, whoever carried them out.
    runs = ledger[ledger["state"] == "finished"]
    assert (runs.groupby("configuration")["round"].diff().dropna() >= 0).all()


def test_a_worker_with_another_version_is_refused(tmp_path):
    engine = SimulatedEngine(["A"])
    engine.says = {"joulelab": "9.9"}
    with pytest.raises(PoolError, match=r"node 0 \(node 0\) has joulelab 9\.9, this is"):
        simulated(tmp_path, engine)


def test_a_worker_that_is_interrupted_while_it_loads_is_replaced(tmp_path):
    engine = SimulatedEngine(["A"])
    engine.interrupted_loading = 1
    frame = simulated(tmp_path, engine).to_frame()
    assert set(frame["state"]) == {"finished"}
    assert engine.started == 2


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_group_goes_to_a_worker_that_has_ended_between_two(tmp_path, number):
    engine = SimulatedEngine(["A", "A"])
    engine.end_between = number
    frame = simulated(tmp_path, engine, levels=2, repetitions=3).to_frame()
    assert set(frame["state"]) == {"finished"}


def test_a_worker_has_ended_although_a_process_that_it_left_holds_its_pipe(tmp_path):
    worker = Process(0, tmp_path / "log")
    (ours,) = workers()
    pipe = Path(f"/proc/{ours.pid}/fd/{ours.cmdline()[-1]}")
    with pipe.open("wb"):
        ours.kill()
        until(lambda: worker.ended() is not None, patience_s=10)
    assert worker.ended() == "signal SIGKILL"


@pytest.mark.parametrize("on", ["local", "local:none", "local:0", "local:257"])
def test_a_plan_refuses_what_is_no_number_of_workers(on):
    with pytest.raises(UsageError, match="local:2"):
        workers_of(on, None)


def test_a_plan_refuses_an_unknown_engine():
    with pytest.raises(UnknownNameError, match="local"):
        workers_of("locl:2", None)


def test_the_name_of_a_partition_is_no_number_of_workers():
    assert workers_of("slurm:16", ExecutionSpec(workers=3)) == 3


def test_a_clock_that_is_off_is_said(tmp_path):
    engine = SimulatedEngine(["A"])
    engine.says = {"time": time.time() + 3600}
    listener = OnFirst(None)
    simulated(tmp_path, engine, listener=listener)
    assert any("its clock is +36" in one for one in listener.said)


def test_workers_that_keep_ending_end_the_study(tmp_path):
    with pytest.raises(PoolError, match=r"workers have ended with it|in a row have ended"):
        simulated(tmp_path, SimulatedEngine(["A"], killed=1.0))
    assert "running" not in set(Results.open(tmp_path / "out").ledger_frame()["state"])


def test_machines_are_no_effects_and_what_acts_differently_on_them_is_said(tmp_path):
    """On one kind of machine everything takes three times as long, and ``a`` twice as much more."""

    def took(engine, node, run):
        slow = engine.nodes[node] == "V100"
        level = int(run.split("a=")[1].split("/")[0])
        return 0.001 * (3 if slow else 1) * (1 + level * (1.0 if slow else 0.1))

    engine = SimulatedEngine(["A100", "V100"], lambda chance: 0.0)
    engine.took = took
    results = simulated(tmp_path, engine, levels=2, repetitions=16, mix="block")
    text = terminal.to_text(*study_view(ReportedStudy(results)).parts)
    assert "Machines" in text
    assert "a acts differently on the machines" in text
    assert "factors are tested among runs of the same" in " ".join(text.split())


def test_the_status_names_sessions_and_the_node_of_a_failure(tmp_path):
    engine = SimulatedEngine(["A", "A"], lambda chance: 0.01)
    engine.fails = {"e/a=1/0/0"}
    simulated(tmp_path, engine, levels=4)
    text = " ".join(terminal.to_text(*status(tmp_path / "out").parts).split())
    assert re.search(r"failed: e/a=1/0/0 on node [01]: out of memory", text)
    assert re.search(r"Sessions .* node 0 A \d .* node 1 A \d", text)
