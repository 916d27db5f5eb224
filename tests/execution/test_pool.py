"""Studies over worker processes: the same results, whatever ends, and every joule in the ledger."""

import json
import math
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from simulated import WATTS, SimulatedEngine, energy

from joulelab.cli.inspecting import status
from joulelab.errors import JoulelabError, StoreMismatchError, UnknownNameError, UsageError
from joulelab.execution.local import Process
from joulelab.execution.pool import Pool, PoolError
from joulelab.execution.relay import Receiver
from joulelab.execution.waiting import makespan_s, workers_of
from joulelab.kinds.program.workload import CommandWorkload
from joulelab.kinds.training.engine_choice import check_same_engine
from joulelab.present import terminal
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import study_view
from joulelab.study.code_copies import code_copies
from joulelab.study.listener import Listener
from joulelab.study.now import announced
from joulelab.study.prediction import Estimate, Prediction
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


def study(folder, command, execution=None, energy=ENERGY, **table):
    """A study of one experiment with the factor ``a``, in a folder."""
    full = {"kind": "command", "repetitions": 2, "vary": {"a": [1, 2, 3]}, "cwd": str(folder)}
    experiment = {"e": full | {"command": command} | table}
    plain = {"name": "s", "energy": energy, "execution": execution or {}, "experiment": experiment}
    return Study(check_spec(plain))


def script(folder, text):
    """A program in a folder: the command that runs it with the level of ``a``."""
    (folder / "work.py").write_text(f"{IMPORTS}\na = sys.argv[1]\n{text}\n")
    return f"{sys.executable} -S work.py {{a}}"


def workers():
    """The worker processes of this process."""
    mine = psutil.Process().children()
    return [one for one in mine if "joulelab.execution.worker" in one.cmdline()]


def kill_busy(begun):
    """Kill the worker whose run has made a file."""
    until(begun.exists)
    next(filter(carries_out, workers())).kill()


def carries_out(worker):
    for one in worker.children():
        with suppress(psutil.Error):  # it has ended meanwhile
            if "work.py" in one.cmdline():
                return True
    return False


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
    command = script(tmp_path, "print(json.dumps({'twice': 2 * int(a), 'where': os.getcwd()}))")
    alone = study(tmp_path, command).run(tmp_path / "alone")
    listener = OnFirst(None)
    together = study(tmp_path, command).run(tmp_path / "together", listener, on="local:2")
    assert not any("is measuring on" in one for one in listener.said)  # it is one of the study
    names = ["run_id", "position", "block", "seed", "state", "twice", "where", "attempts"]
    assert together.to_frame()[names].equals(alone.to_frame()[names])
    ledger = together.ledger_frame()
    assert set(ledger["state"]) == {"finished"}
    assert {"setup", "idle", "between", "run"} <= set(ledger["kind"])
    sessions = json.loads((tmp_path / "together" / "manifest.json").read_text())["sessions"]
    assert {one["session"] for one in sessions} == set(ledger["session"])
    assert all(one["ended_at"] for one in sessions)
    assert not workers()


def test_a_worker_that_is_killed_loses_no_run_and_its_attempt_stays_in_the_ledger(tmp_path):
    first = "try: open('first', 'x'); time.sleep(600)\nexcept FileExistsError: pass"
    command = script(tmp_path, first)
    listener = OnFirst(lambda: kill_busy(tmp_path / "first"))
    results = study(tmp_path, command).run(tmp_path / "out", listener, on="local:2")
    assert set(results.to_frame()["state"]) == {"finished"}
    ledger = results.ledger_frame()
    attempts = Counter(one for runs in ledger["runs"] for one in json.loads(runs))
    assert dict(results.to_frame().set_index("run_id")["attempts"]) == attempts
    lost = ledger[ledger["state"] == "interrupted"]
    assert len(lost) == 1
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


@pytest.mark.parametrize(
    ("on", "error", "match"),
    [
        ("local", UsageError, "local:2"),
        ("local:none", UsageError, "local:2"),
        ("local:0", UsageError, "local:2"),
        ("locl:2", UnknownNameError, "local"),
        ("slurm", JoulelabError, "no sbatch"),
        (
            "ray:127.0.0.1:1",
            JoulelabError,
            "joulelab\\[ray\\]|cannot be reached|cannot be imported",
        ),
    ],
)
def test_an_engine_that_cannot_work_here_is_refused_before_anything_is_made(
    tmp_path, on, error, match, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))  # without sbatch
    with pytest.raises(error, match=match):
        study(tmp_path, "true {a}").run(tmp_path / "out", on=on)
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
    planned = study(folder, "true {a}", {"mix": mix}, vary=vary, repetitions=repetitions)
    plan, out = planned.plan(), folder / "out"
    copies = code_copies(planned.spec, out)
    with Store.open(out, copies.toml) as store:
        copies.write(begun=bool(store.manifest()))
        store.plan(plan.runs)
        Pool(engine, planned, plan, store, copies, listener or Listener()).run()
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


def test_workers_with_different_software_are_refused(tmp_path):
    engine = SimulatedEngine(["A", "A"])
    for node, torch in enumerate(("2.10.0", "2.11.0")):
        engine.conditions[node] = {"python": "3.11.7", "libraries": {"torch": torch}}
    with pytest.raises(
        PoolError, match=r"node 1 .* has torch 2\.11\.0, and node 0 .* has 2\.10\.0"
    ):
        simulated(tmp_path, engine)


ENGINES = {"fast": {"engines": {"used": ["fast"], "precision": "fp32", "remark": None}}}
ENGINES["reference"] = {"engines": {**ENGINES["fast"]["engines"], "used": ["reference"]}}


def test_a_worker_whose_engine_is_not_that_of_another_is_refused(tmp_path, monkeypatch):
    check = classmethod(lambda cls, begun, now: check_same_engine(begun, now["engines"]))
    monkeypatch.setattr(CommandWorkload, "check_unchanged", check)
    engine = SimulatedEngine(["A", "A"])
    engine.conditions = {0: ENGINES["fast"], 1: ENGINES["reference"]}
    match = "trained by the fast engine, fp32, but the rest would be trained by the reference"
    with pytest.raises(StoreMismatchError, match=match):
        simulated(tmp_path, engine)


def test_a_worker_with_another_version_is_refused(tmp_path):
    engine = SimulatedEngine(["A"])
    engine.says = {"joulelab": "9.9"}
    with pytest.raises(PoolError, match=r"node 0 \(node 0\) has joulelab 9\.9, this is"):
        simulated(tmp_path, engine)


def test_a_worker_with_another_commit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("joulelab.execution.member.source_commit", lambda: "abc")
    engine = SimulatedEngine(["A"])
    engine.says = {"commit": "def"}
    with pytest.raises(PoolError, match=r"\(def\), this is .* \(abc\)"):
        simulated(tmp_path, engine)
    engine = SimulatedEngine(["A"])
    engine.says = {"commit": None}  # installed from a package, or without git
    assert set(simulated(tmp_path, engine).to_frame()["state"]) == {"finished"}


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
    results = simulated(tmp_path, engine, levels=2, repetitions=3)
    assert set(results.to_frame()["state"]) == {"finished"}
    assert beside_runs(results, "between") == [WATTS / 2] * number


def beside_runs(results, kind):
    """Joules of what was interrupted beside runs, as far as they were heard of."""
    ledger = results.ledger_frame()
    found = ledger[(ledger["kind"] == kind) & (ledger["state"] == "interrupted")]
    return list(found["energy_gross_j"])


def test_what_a_worker_did_before_it_was_ready_is_booked_when_it_is_killed(tmp_path):
    engine = SimulatedEngine(["A"])
    engine.killed_loading = 1
    results = simulated(tmp_path, engine)
    assert set(results.to_frame()["state"]) == {"finished"}
    assert beside_runs(results, "setup") == [WATTS]


def test_a_window_that_was_heard_of_and_then_booked_is_booked_once(tmp_path):
    with Store.open(tmp_path / "out", study(tmp_path, "true {a}").spec.to_toml()) as store:
        receiver = Receiver(store, 1, {})
        part, whole = energy(1.0), energy(2.0)
        receiver.enter({"enter": "so_far", "kind": "idle", **part})
        receiver.enter({"enter": "book", "kind": "idle", "state": "finished", **whole})
        receiver.enter({"enter": "so_far", "kind": "idle", **part})  # sent before, and overtaken
        receiver.give_up("it was killed")
        receiver.time.settle(math.inf)
        booked = store._query("SELECT state, energy_gross_j FROM ledger")
    assert booked == [("finished", 2 * WATTS)]


def test_a_worker_has_ended_although_a_process_that_it_left_holds_its_pipe(tmp_path):
    worker = Process(0, tmp_path / "log")
    until(workers)  # the command line of a new process is known a moment after it has begun
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


def test_a_plan_on_workers_takes_the_time_of_whoever_is_free_next(tmp_path):
    """Configurations of 1, 2 and 3 s with two runs each, which stay in order."""
    planned = study(tmp_path, "true {a}").plan()
    estimates = {
        one.name: Estimate.unknown(float(one.levels["a"])) for one in planned.configurations
    }
    predicted = Prediction({one.key: one.name for one in planned.configurations}, estimates, 0.0)
    pending = {run.run_id for run in planned.runs}
    spans = [makespan_s(planned, predicted, pending, workers) for workers in (1, 2, 3, 9)]
    assert spans[0] == pytest.approx(12)
    assert 6 <= spans[1] <= 9
    assert spans[2:] == pytest.approx([6, 6])


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


class Looking(Listener):
    """Looks at the status when workers give an account; their runs go on once it has seen them.

    The second node works on its first run until the first node has done all that it may.
    """

    def __init__(self, folder, engine):
        self.folder, self.engine = folder, engine
        self.seen, self.waiting, self.texts = set(), [], set()

    def workers(self, workers, waiting):
        view = status(self.folder)
        self.seen |= {one["doing"] for one in view.data["sessions"]}
        self.texts.add(" ".join(terminal.to_text(*view.parts).split()))
        self.waiting.append(waiting)
        has_idled = "node 0: idle" in self.seen
        if has_idled or all(one.runs for one in workers):
            self.engine.finish(0)
        if has_idled:
            self.engine.finish(1)


def test_the_status_has_what_each_worker_does_and_what_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("joulelab.execution.pool.TELL_S", 0.0)
    engine = SimulatedEngine(["A", "A"], lambda chance: 3600.0)
    engine.queued = 1
    looking = Looking(tmp_path / "out", engine)
    with announced(looking, tmp_path / "out") as hears:
        simulated(tmp_path, engine, levels=3, listener=hears)
    assert {"node 1: pending, Resources", "node 0: idle"} <= looking.seen
    assert any(re.fullmatch(r"node 0: e/a=\d/0/0, 3 of 5", one) for one in looking.seen)
    assert any("running now; 4 runs not given to a worker" in one for one in looking.texts)
    assert looking.waiting[-1] == 0


def test_the_status_names_sessions_and_the_node_of_a_failure(tmp_path):
    engine = SimulatedEngine(["A", "A"], lambda chance: 0.01)
    engine.fails = {"e/a=1/0/0"}
    simulated(tmp_path, engine, levels=4)
    text = " ".join(terminal.to_text(*status(tmp_path / "out").parts).split())
    assert re.search(r"failed: e/a=1/0/0 on node [01]: out of memory", text)
    assert re.search(r"Sessions .* node 0 A \d .* node 1 A \d", text)
