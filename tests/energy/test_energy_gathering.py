"""The sum over ranks and nodes, with real processes and simulated GPUs; nothing waits for ever."""

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from nvml_stub import stub_variables

from joulelab.energy import gathering as module
from joulelab.energy.carbon.footprint import Footprint
from joulelab.energy.gathering import SharedFolder
from joulelab.energy.measurement import Measurement
from joulelab.energy.node_sum import Share, sum_over_nodes
from joulelab.energy.ranks import Rank
from joulelab.energy.reading import Reading, Status

JOB = """
import multiprocessing, signal
import joulelab
from joulelab.energy import gathering
FORK = multiprocessing.get_context("fork")
gathering.LATE_S = gathering.UNHEARD_S = 60.0

def job(work, nodes=2, local=2, named=True, only=None):
    ends = []
    for number in range(nodes * local):
        node = number // local
        variables = {
            "RANK": number, "LOCAL_RANK": number % local, "WORLD_SIZE": nodes * local,
            "LOCAL_WORLD_SIZE": local, "GROUP_RANK": node, "GROUP_WORLD_SIZE": nodes,
            "TORCHELASTIC_RUN_ID": "night", "MASTER_ADDR": "localhost", "MASTER_PORT": "1",
        }
        if named:
            variables |= {"JOULELAB_NODE": "ab"[node], "JOULELAB_LOCK_DIR": os.environ["LOCKS"]}
        received, sent = FORK.Pipe(False)
        def run():
            os.environ.update({name: str(value) for name, value in variables.items()})
            sent.send(work(number))
        process = FORK.Process(target=run)
        process.start()
        sent.close()
        ends.append(received)
    answers = []
    for end in ends:
        try:
            answers.append(end.recv())
        except EOFError:
            answers.append(None)
    return answers

def told(m):
    result = getattr(m, "result", m)
    return {
        "energy_j": m.energy_j, "status": result.total.status,
        "domains": list(result.total.domains),
        "nodes": [[one.name, one.ranks, one.duration_s, one.energy_j, one.reason]
                  for one in m.nodes],
        "reasons": [one.reason for one in result.readings], "text": str(m),
    }

def measured(number, seconds=0.3):
    with joulelab.measure("epoch", meters=["nvml"]) as m:
        time.sleep(seconds)
    return told(m)
"""
GPUS = {"GPUS": 2, "TRACE": "constant", "HIGH_MW": 300000, "TICK_MS": 1, "NAME": "H100"}
MEASURE = [sys.executable, "-m", "joulelab", "measure", "--meter", "estimate", "--json", "--"]
WATTS = 300 + 600
"""Of both GPUs together."""


@pytest.fixture
def job(scenario, tmp_path, monkeypatch):
    """Runs a program with a `job` of several processes; gives what it left in ``out``."""
    locks, shared = tmp_path / "locks", tmp_path / "shared"
    locks.mkdir()
    shared.mkdir()
    monkeypatch.setenv("LOCKS", str(locks))
    monkeypatch.setenv("JOULELAB_RANKS_DIR", str(shared))

    def run(program, **answers):
        return scenario(JOB + program, **(GPUS | answers))["job"]

    return run


def test_the_sum_over_four_ranks_on_two_nodes_is_that_of_the_counters(job, tmp_path):
    first, second, third, fourth = job('out["job"] = job(measured)')
    counters_j = [WATTS * seconds for _, _, seconds, _, _ in first["nodes"]]
    assert first["energy_j"] == pytest.approx(sum(counters_j), rel=0.01)
    assert [node[3] for node in first["nodes"]] == pytest.approx(counters_j, rel=0.01)
    assert [node[:2] for node in first["nodes"]] == [["a", 2], ["b", 2]]
    assert first["domains"] == ["a/gpu:0", "a/gpu:1", "b/gpu:0", "b/gpu:1"]
    assert first["status"] == "measured"
    assert "2 nodes; measured" in first["text"]
    assert third["energy_j"] == pytest.approx(counters_j[1], rel=0.01)
    assert [node[0] for node in third["nodes"]] == ["b"]
    for other, recorder in ((second, "rank 0"), (fourth, "rank 2")):
        assert other["energy_j"] is None
        assert other["reasons"] == [f"measured by {recorder}, the first of this node"]
        assert other["nodes"] == []
    assert not list((tmp_path / "shared").iterdir())  # nothing is left behind


def test_two_launchers_on_one_machine_are_not_two_energies(job):
    (first, _) = job('out["job"] = job(measured, local=1, named=False)')
    (_, _, seconds, energy_j, _), (_, _, _, again_j, why) = first["nodes"]
    assert first["energy_j"] == energy_j == pytest.approx(WATTS * seconds, rel=0.01)
    assert again_j == 0
    assert why == "on the machine of an earlier node, counted there"


def test_gpus_that_any_rank_can_use_count_once_and_no_others(job):
    first, second = job(
        """
begun = FORK.Event()
def work(number):
    os.environ["CUDA_VISIBLE_DEVICES"] = str(number)
    with joulelab.measure(meters=["nvml"]) as m:
        begun.set() if number else begun.wait()
    return told(m)
out["job"] = job(work, nodes=1)
""",
        GPUS=3,
    )
    assert first["domains"] == ["gpu:0", "gpu:1"]
    assert first["nodes"][0][:2] == ["a", 2]
    assert second["energy_j"] is None


def test_a_node_that_never_measures_is_missed_and_not_waited_for(job):
    first, other = job(
        """
gathering.UNHEARD_S = 0.1
out["job"] = job(lambda number: number or measured(number), local=1)
"""
    )
    assert other == 1
    assert first["energy_j"] is None
    assert first["nodes"][0][3] > 0
    assert first["nodes"][1][3] is None
    assert first["nodes"][1][4].startswith("nothing was heard of it: it did not measure 'epoch'")
    assert "node 1: nothing was heard of it" in first["text"].replace("\n", " ")


def test_a_node_that_is_killed_is_missed(job):
    first, other = job(
        """
gathering.LATE_S = 0.2
begun = FORK.Event()
def work(number):
    with joulelab.measure("epoch", meters=["nvml"]) as m:
        if number:
            begun.set()
            os.kill(os.getpid(), signal.SIGKILL)
        begun.wait()
    return told(m)
out["job"] = job(work, local=1)
"""
    )
    assert other is None
    assert first["energy_j"] is None
    assert first["nodes"][0][3] > 0
    assert first["nodes"][1][0] == "b"
    assert first["nodes"][1][4] == "it began and sent nothing in 0.20 s after rank 0 had ended"


def test_where_the_folder_cannot_be_written_each_node_keeps_its_own(job, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JOULELAB_RANKS_DIR", str(tmp_path / "file"))
    first, second = job('gathering.UNHEARD_S = 0.1; out["job"] = job(measured, local=1)')
    assert first["energy_j"] is None
    assert str(tmp_path / "file") in first["nodes"][1][4]
    assert second["energy_j"] > 0


def test_without_gathering_each_node_has_its_own_at_once(job):
    first, second = job(
        """
def work(number):
    @joulelab.measured(meters=["nvml"])
    def epoch():
        time.sleep(0.05)
    epoch()
    with joulelab.measure(meters=["nvml"], gather=False) as m:
        time.sleep(0.05)
    return [told(m), epoch.measurements[-1].energy_j]
out["job"] = job(work, local=1)
"""
    )
    for (own, call_j), name in ((first, "a"), (second, "b")):
        assert [node[0] for node in own["nodes"]] == [name]
        assert min(own["energy_j"], call_j) > 0


def test_a_loop_is_measured_by_the_first_and_followed_by_all(job):
    first, second, third = job(
        """
def work(number):
    loop = joulelab.track(range(3), meters=["nvml"], budget="1 h", to="run.csv")
    for _ in loop:
        time.sleep(0.02)
    return [loop.steps, told(loop.result), sorted(loop.phases), len(loop.predictions)]
os.chdir(os.environ["LOCKS"])
out["job"] = job(work, local=2)[:3]
"""
    )
    assert [one[0] for one in (first, second, third)] == [3, 3, 3]
    assert [node[0] for node in first[1]["nodes"]] == ["a", "b"]
    assert first[1]["energy_j"] == pytest.approx(
        sum(WATTS * node[2] for node in first[1]["nodes"]), rel=0.01
    )
    assert second[1]["energy_j"] is None
    assert third[1]["energy_j"] > 0


def test_files_of_an_earlier_start_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULELAB_RANKS_DIR", str(tmp_path))
    folder = SharedFolder(Rank(ranks=2, nodes=2, meeting="m"))
    folder.put("old", "{}")
    folder.put("new", "{}")
    (path,) = tmp_path.glob("*/old.json")
    os.utime(path, (1, 1))
    folder.look()
    assert folder.get("old") is None
    assert folder.get("new") == "{}"
    assert folder.get("none") is None


def test_what_never_answers_is_given_up():
    answer = threading.Event()
    assert module._within(0.05, answer.wait) == "no answer in 50.0 ms"
    answer.set()


def whole(energy_j, seconds=10.0, footprint=None):
    reading = Reading("gpu:0", "nvml-counter", Status.MEASURED, energy_j, 1.0, 5.0, seconds)
    return Measurement("x", 1.0, seconds, (reading,), 9, 0.1, ("a flag",), None, footprint)


def added(*shares):
    return sum_over_nodes(Rank(ranks=len(shares), nodes=len(shares), job="7"), shares)


def test_the_sum_has_co2e_flags_idle_energy_and_its_own_form_as_data():
    grams = [Footprint(one, 0.1, 268.0, 1.0, "NLD", "codecarbon") for one in (2.0, 3.0)]
    found = added(
        Share(0, "a", "a", 1, whole(100.0, footprint=grams[0])),
        Share(1, "a", "b", 1, whole(150.0, footprint=grams[1])),
    )
    assert found.energy_j == 250
    assert found.total.net_j == 150
    assert found.co2e_g == 5
    assert found.job.id == "7"
    assert found.flags == ("a:0: a flag", "a:1: a flag")  # two machines of one name
    assert Measurement.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert "job" not in whole(1.0).to_dict()


def test_nodes_that_measured_unlike_times_are_mentioned():
    found = added(Share(0, "a", "a", 1, whole(1.0)), Share(1, "b", "b", 1, whole(1.0, 20.0)))
    assert found.duration_s == 20
    assert found.flags[-1] == "b measured 20.0 s and a measured 10.0 s: are these the same work?"


def test_a_node_without_a_known_energy_makes_the_sum_unknown():
    unknown = replace(whole(None).readings[0], status=Status.MISSING, reason="no sensor")
    blind = replace(whole(1.0), readings=(unknown,))
    footprint = Footprint(2.0, 0.1, 268.0, 1.0, "NLD", "codecarbon")
    found = added(
        Share(0, "a", "a", 1, whole(1.0, footprint=footprint)), Share(1, "b", "b", 1, blind)
    )
    assert found.energy_j is None
    assert found.co2e_g is None
    assert found.footprint.reason == "the energy of b is unknown"
    assert [one.domain for one in found.lost] == ["b"]


def test_the_command_measures_once_a_node_and_rank_0_says_the_sum(tmp_path):
    begun = "while sys.argv[1] == '0' and not glob.glob('*/*-began.json'): time.sleep(0.02)"
    program = f"import glob, sys, time\n{begun}\nprint('rank', sys.argv[1])"
    processes = []
    for rank, node, local in ((0, 0, 0), (1, 0, 1), (2, 1, 0)):
        variables = {
            "SLURM_JOB_ID": "4711",
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": rank,
            "SLURM_NODEID": node,
            "SLURM_LOCALID": local,
            "SLURM_STEP_NUM_TASKS": 3,
            "SLURM_STEP_NUM_NODES": 2,
            "SLURM_STEP_TASKS_PER_NODE": "2,1",
            "JOULELAB_NODE": "ab"[node],
        }
        processes.append(
            subprocess.Popen(
                [*MEASURE, sys.executable, "-S", "-c", program, str(rank)],
                env=os.environ | {name: str(value) for name, value in variables.items()},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [f"rank {n}" in error for n, (_, error) in enumerate(answers)] == [True] * 3
    assert [said for said, _ in answers[1:]] == ["", ""]
    found = json.loads(answers[0][0])["measurement"]
    assert found["job"]["id"] == "4711"
    assert [[one["name"], one["ranks"]] for one in found["job"]["nodes"]] == [["a", 2], ["b", 1]]
    energies = [one["energy_j"] for one in found["job"]["nodes"]]
    assert found["total"]["gross_j"] == pytest.approx(sum(energies))
    assert not list(tmp_path.iterdir())


TRAINING = """
import json, os, time, pynvml, torch
import joulelab

pynvml.nvmlInit()
cards = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
torch.distributed.init_process_group("gloo")
shared = torch.zeros(2)
torch.distributed.barrier()
with joulelab.measure("training", meters=["nvml"]) as m:
    before_mj = sum(map(pynvml.nvmlDeviceGetTotalEnergyConsumption, cards))
    for _ in range(40):
        torch.distributed.all_reduce(torch.ones(1000))
        time.sleep(0.05)
    after_mj = sum(map(pynvml.nvmlDeviceGetTotalEnergyConsumption, cards))
if int(os.environ["LOCAL_RANK"]) == 0:
    shared[int(os.environ["GROUP_RANK"])] = (after_mj - before_mj) / 1000
torch.distributed.all_reduce(shared)
if torch.distributed.get_rank() == 0:
    nodes = [[one.name, one.ranks, one.energy_j] for one in m.nodes]
    print(json.dumps([m.energy_j, shared.tolist(), nodes, m.result.job.ranks, str(m.status)]))
else:
    assert (m.energy_j is None) == (int(os.environ["LOCAL_RANK"]) > 0)
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.long
def test_torchrun_with_gloo_on_two_nodes_of_two_ranks(nvml_library, tmp_path):
    pytest.importorskip("torch")
    program = tmp_path / "training.py"
    program.write_text(TRAINING)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launchers = []
    for node in range(2):
        line = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
        line += ["--node-rank", str(node), "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
        line += ["--master-port", str(port), str(program)]
        stub = {f"STUB_{name}": str(answer) for name, answer in GPUS.items()}
        own = {"JOULELAB_NODE": "ab"[node], "JOULELAB_LOCK_DIR": str(tmp_path)}
        environment = os.environ | stub_variables(nvml_library) | stub | own
        launchers.append(
            subprocess.Popen(line, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        )
    answers = [launcher.communicate(timeout=300)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0]
    energy_j, counters_j, nodes, ranks, status = json.loads(answers[0].splitlines()[-1])
    print(energy_j, counters_j, energy_j / sum(counters_j))
    assert energy_j == pytest.approx(sum(counters_j), rel=0.01)
    assert [node[:2] for node in nodes] == [["a", 2], ["b", 2]]
    assert (ranks, status) == (4, "measured")
