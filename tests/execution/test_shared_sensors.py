"""Workers of one node: no sensor is in two runs, and ledgers add up to the joules of the node."""

import json
import os
import subprocess
import sys
from itertools import pairwise

import pytest
from node_meter import WATTS, install
from nvml_stub import build_stub, stub_variables

from joulelab import registry
from joulelab.execution.waiting import at_once
from joulelab.study.listener import Listener
from joulelab.study.spec import ExecutionSpec
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

GPUS = {"GPUS": 2, "TRACE": "constant", "HIGH_MW": 300000, "TICK_MS": 1, "NAME": "H100"}
GPU_WATTS = {"gpu:0": 300.0, "gpu:1": 600.0}
"""Of the stand-in."""
EXACT = 0.02


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node with a sensor of its own, seen by this process and the workers."""
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    paths = [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    (tmp_path / "locks").mkdir()
    monkeypatch.setenv("JOULELAB_LOCK_DIR", str(tmp_path / "locks"))
    registry._installed.cache_clear()
    yield tmp_path
    registry._installed.cache_clear()


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """Two GPUs of constant power, of which each worker gets one."""
    library = build_stub(tmp_path)
    if library is None:
        pytest.skip("no C compiler to build the stand-in for libnvidia-ml.so.1")
    answers = {f"STUB_{name}": str(answer) for name, answer in GPUS.items()}
    for name, value in {
        **stub_variables(library),
        **answers,
        "CUDA_VISIBLE_DEVICES": "0,1",
    }.items():
        monkeypatch.setenv(name, value)


class Said(Listener):
    def __init__(self):
        self.said = []

    def doing(self, what):
        self.said.append(what)


def study(folder, meters, text, levels=2, repetitions=2, idle_s=0.0):
    (folder / "work.py").write_text(f"import glob, sys, time\na = sys.argv[1]\n{text}\n")
    table = {
        "kind": "command",
        "command": f"{sys.executable} -S work.py {{a}}",
        "repetitions": repetitions,
        "vary": {"a": list(range(levels))},
        "cwd": str(folder),
    }
    energy = {"meters": meters, "idle_s": idle_s, "cool_down_s": 0, "interval_s": 0.05}
    return Study(check_spec({"name": "s", "energy": energy, "experiment": {"e": table}}))


def spans(results):
    """Begin and end of the windows of all runs, in order."""
    runs = results.to_frame()
    return sorted(zip(runs["started_at"], runs["started_at"] + runs["duration_s"], strict=True))


def lasted_s(ledger):
    """From the first reading of a session to the last."""
    return (ledger["started_at"] + ledger["duration_s"]).max() - ledger["started_at"].min()


def of_gpus_j(results):
    """What the GPU of each session has used from its first reading to its last."""
    frame, ledger = results.to_frame(), results.ledger_frame()
    of = dict(zip(frame["session"], frame["energy_domains"].str.slice(0, 5), strict=True))
    return {
        session: GPU_WATTS[gpu] * lasted_s(ledger[ledger["session"] == session])
        for session, gpu in of.items()
    }


def test_the_ledgers_of_two_workers_add_up_to_what_the_node_has_used(node):
    asked = study(node, ["node"], "time.sleep(0.1)", levels=4, idle_s=0.3)
    ledger = asked.run(node / "out", on="local:2").ledger_frame()
    assert ledger["session"].nunique() == 2
    assert ledger["energy_gross_j"].sum() == pytest.approx(WATTS * lasted_s(ledger), rel=EXACT)
    assert ledger["energy_status"].eq("measured").all()


def test_runs_on_two_gpus_take_turns_where_the_processor_counts(node, gpus):
    said = Said()
    asked = study(node, ["nvml", "node"], "time.sleep(0.1)")
    results = asked.run(node / "out", said, on="local:2")
    assert set(results.to_frame()["energy_domains"]) == {"gpu:0+cpu:0", "gpu:1+cpu:0"}
    ledger = results.ledger_frame()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans(results)))
    used_j = WATTS * lasted_s(ledger) + sum(of_gpus_j(results).values())
    assert ledger["energy_gross_j"].sum() == pytest.approx(used_j, rel=EXACT)
    assert any("share the processor's sensors: their runs take turns" in one for one in said.said)


MEET = """
open(f"here-{a}", "w").close()
end = time.monotonic() + 60
while len(glob.glob("here-*")) < 2 and time.monotonic() < end:
    time.sleep(0.01)
"""
"""A run that ends once another one has begun."""


def test_runs_on_two_gpus_go_on_together_where_only_these_count(node, gpus):
    results = study(node, ["nvml"], MEET, repetitions=1).run(node / "out", on="local:2")
    frame, ledger = results.to_frame(), results.ledger_frame()
    ((_, first_end), (second_begin, _)) = spans(results)
    assert second_begin < first_end
    assert set(frame["energy_domains"]) == set(GPU_WATTS)
    used_j = of_gpus_j(results)
    assert len(used_j) == len(GPU_WATTS)
    booked_j = ledger.groupby("session")["energy_gross_j"].sum()
    assert booked_j.to_dict() == pytest.approx(used_j, rel=EXACT)


@pytest.mark.parametrize(("meters", "together"), [(["nvml", "node"], 1), (["nvml"], 2)])
def test_a_plan_knows_how_many_runs_go_on_together(node, gpus, meters, together):
    """The processor's sensors are one, the GPUs are two."""
    asked = study(node, meters, "time.sleep(0.1)", levels=1)
    (node / "s.toml").write_text(asked.spec.to_toml())
    line = [sys.executable, "-m", "joulelab", "plan", node / "s.toml", "--on", "local:3", "--json"]
    plan = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
    assert (plan["workers"], plan["at_once"]) == (3, together)


def test_workers_on_nodes_of_their_own_go_on_together():
    assert at_once("slurm", ExecutionSpec(workers=5), ["cpu"]) == 5
