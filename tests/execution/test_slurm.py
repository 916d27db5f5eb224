"""Studies on a real SLURM cluster of three nodes; ``make test-cluster``."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from slurm_cluster import SlurmCluster

from joulelab.errors import JoulelabError
from joulelab.study.listener import Listener
from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

pytestmark = pytest.mark.cluster
ENERGY = {"meters": ["estimate"], "idle_s": 0, "cool_down_s": 0, "interval_s": 0.02}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    os.environ["SLURM_CONF"] = str(made.configuration)
    yield made
    made.close()
    del os.environ["SLURM_CONF"]


def study(folder, text, **execution):
    (folder / "work.py").write_text(f"import os, sys, time, signal\na = sys.argv[1]\n{text}\n")
    table = {
        "kind": "command",
        "repetitions": 2,
        "vary": {"a": [1, 2, 3]},
        "cwd": str(folder),
        "command": f"{sys.executable} -S work.py {{a}}",
    }
    asked = {"on": "slurm", "workers": 2, "slurm": {"time": "10:00"}} | execution
    return Study(
        check_spec({"name": "s", "energy": ENERGY, "execution": asked, "experiment": {"e": table}})
    )


class Hearing(Listener):
    """Keeps what it hears, and does something when a run begins."""

    def __init__(self, at=None):
        self.at, self.said, self.begun = at, [], 0

    def doing(self, what):
        self.said.append(what)

    def started(self, runs):
        self.begun += 1
        if self.at and self.begun == 1:
            self.at()


def jobs():
    line = ["squeue", "--noheader", "--format=%A %T"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


def test_a_study_runs_on_the_nodes_and_its_table_names_them(cluster, tmp_path):
    results = study(tmp_path, "").run(tmp_path / "out")
    frame = results.to_frame()
    assert set(frame["state"]) == {"finished"}
    assert frame["node"].notna().all()
    until(lambda: not jobs())
    for log in (tmp_path / "out" / "workers").glob("*/*.out"):
        assert "Traceback" not in log.read_text()
    # Of submitit's own signal the job would end without having booked what it did.
    for job in (tmp_path / "out" / "workers").glob("*/*.sh"):
        assert "--signal=TERM@30" in job.read_text()


def test_a_cancelled_job_books_what_it_did_and_another_goes_on(cluster, tmp_path):
    def cancel():
        running = [one.split()[0] for one in jobs() if "RUNNING" in one]
        subprocess.run(["scancel", running[0]], check=True)

    listener = Hearing(cancel)
    results = study(tmp_path, "time.sleep(1)").run(tmp_path / "out", listener)
    assert set(results.to_frame()["state"]) == {"finished"}
    ledger = results.ledger_frame()
    attempts = [one for runs in ledger["runs"] for one in json.loads(runs)]
    assert results.to_frame()["attempts"].sum() == len(attempts) >= 6
    assert any("interrupted" in one or "ended" in one for one in listener.said)


def test_a_killed_worker_is_noticed_through_its_job(cluster, tmp_path):
    def kill():
        for one in psutil.process_iter(["cmdline"]):
            words = one.info["cmdline"] or ()  # none of a process that ends
            if "files" in words and str(tmp_path) in " ".join(words):
                one.kill()
                return

    listener = Hearing(kill)
    results = study(tmp_path, "time.sleep(0.5)").run(tmp_path / "out", listener)
    assert set(results.to_frame()["state"]) == {"finished"}
    assert any("the job is" in one for one in listener.said), listener.said


def test_a_node_that_dies_costs_no_run(cluster, tmp_path):
    listener = Hearing(lambda: cluster.kill_node(node_at_work(tmp_path)))
    results = study(tmp_path, "time.sleep(0.5)").run(tmp_path / "out", listener)
    assert set(results.to_frame()["state"]) == {"finished"}
    assert "interrupted" in set(results.ledger_frame()["state"])
    assert any("the job is" in one for one in listener.said), listener.said


def node_at_work(folder):
    """The node on which a run is carried out."""
    found = []

    def look():
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if "work.py" in one.cmdline() and one.cwd() == str(folder):
                    found.append(one.environ()["SLURMD_NODENAME"])
        return found

    until(look)
    return found[0]


def test_a_job_that_cannot_begin_says_the_reason_of_the_scheduler(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("joulelab.execution.pool.PATIENCE_S", 0.0)
    listener = Hearing()

    def doing(what):
        listener.said.append(what)
        if "has not begun" in what:
            raise KeyboardInterrupt

    listener.doing = doing
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path, "", slurm={"directives": {"begin": "now+1hour"}}).run(
            tmp_path / "out", listener
        )
    assert any("BeginTime" in one for one in listener.said)
    until(lambda: not jobs())


def test_a_wrong_partition_is_refused_in_the_words_of_slurm(cluster, tmp_path):
    with pytest.raises(JoulelabError, match="Invalid partition name"):
        study(tmp_path, "").run(tmp_path / "out", on="slurm:nope")
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_does_not_answer_is_said_before_anything_is_made(
    cluster, tmp_path, monkeypatch
):
    lines = cluster.configuration.read_text().replace("SlurmctldPort=", "SlurmctldPort=1#")
    (tmp_path / "slurm.conf").write_text(f"{lines}MessageTimeout=1\n")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    with pytest.raises(JoulelabError, match="Unable to contact slurm controller"):
        study(tmp_path, "").run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_sbatch_it_is_said_at_once(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JoulelabError, match="no sbatch"):
        study(tmp_path, "").run(tmp_path / "out")


def test_a_runner_that_is_killed_is_missed_by_its_workers(cluster, tmp_path):
    text = f"open({str(tmp_path / 'begun')!r}, 'a').write('.')\ntime.sleep(300)"
    (tmp_path / "s.toml").write_text(study(tmp_path, text).spec.to_toml())
    code = (
        "import sys; import joulelab.execution.connections as c; from joulelab.study.study import "
        "Study; Study.load(sys.argv[1]).run(sys.argv[2])"
    )
    line = [sys.executable, "-c", code, tmp_path / "s.toml", tmp_path / "out"]
    environment = os.environ | {"JOULELAB_LOST_S": "3"}
    with subprocess.Popen(line, env=environment) as runner:
        until((tmp_path / "begun").exists)
        runner.kill()
    until(lambda: not jobs())
    assert set(Results.open(tmp_path / "out").to_frame()["state"]) <= {"running", "planned"}


def until(condition, patience_s=90):
    """Wait for a condition."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
