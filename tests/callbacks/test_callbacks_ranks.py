"""Callbacks in several processes: ranks, forked and spawned workers, copies, a callback twice."""

import copy
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import joulelab
from joulelab.callbacks import Followed
from joulelab.energy import agreement
from joulelab.energy.gathering import TorchStore
from joulelab.energy.ranks import Rank

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # of forking a process that has threads
FORK = multiprocessing.get_context("fork")
PROGRAMS = Path(__file__).parent / "programs"


def in_processes(work, number, *arguments):
    """What a function returns in each of some forked processes."""
    results = FORK.Queue()

    def run(rank):
        results.put((rank, work(rank, *arguments)))

    processes = [FORK.Process(target=run, args=(rank,)) for rank in range(number)]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    return [found[rank] for rank in range(number)]


def steps_of(rank, store):
    """The epochs after which a rank of two stops; only the first measures."""
    os.environ["LOCAL_RANK"] = str(rank)
    distributed = torch.distributed
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    followed = Followed(budget="0.2 s")
    followed.begin(None)
    epoch = 0
    while not followed.over_anywhere:
        epoch += 1
        followed.epoch_done(epoch)
    followed.end()
    measured = followed.measurement is not None
    distributed.destroy_process_group()
    return epoch, measured


def test_ranks_stop_together_and_one_of_them_measures(tmp_path):
    (first, measured), (second, not_measured) = in_processes(steps_of, 2, tmp_path / "store")
    assert first == second > 0
    assert measured
    assert not not_measured


def as_rank(rank, store):
    """Take a place in a process group of gloo, as torchrun would give it."""
    os.environ |= {"LOCAL_RANK": "0", "RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "2", "GROUP_RANK": str(rank)}
    os.environ |= {"JOULELAB_NODE": "ab"[rank]}
    distributed = torch.distributed
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    return distributed


def tracked(rank, store):
    """A loop that ends at its budget in both, and one that rank 0 follows alone."""
    distributed = as_rank(rank, store)
    loop = joulelab.track(range(10**9), budget="0.1 s" if rank else "1 h", quiet=True)
    for _ in loop:
        distributed.all_reduce(torch.zeros(1))
    if not rank:
        alone = joulelab.track(range(3), budget="1 h", quiet=True, gather=False)
        assert list(alone) == [0, 1, 2]
    distributed.barrier()
    distributed.destroy_process_group()
    return loop.steps, loop.over, [node.name for node in loop.result.nodes], loop.result.energy_j


def test_a_loop_ends_in_all_ranks_and_its_sum_comes_through_their_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = in_processes(tracked, 2, tmp_path / "store")
    assert first[:2] == second[:2]
    assert first[0] > 0
    assert first[1]
    assert (first[2], second[2]) == (["a", "b"], ["b"])
    assert first[3] > second[3]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_rank_that_hears_nothing_goes_on_alone(monkeypatch, caplog):
    store = TorchStore(torch.distributed.HashStore())
    monkeypatch.setattr(agreement, "torch_store", lambda: store)
    monkeypatch.setattr(agreement, "LIMIT_S", 0.05)
    first, second = (agreement.Agreement(Rank(n, n, 0, 2, 2), "loop") for n in range(2))
    second._key = first._key  # each process counts its own loops
    assert first.any_over(False) is False
    assert second.any_over(False) is False
    assert not caplog.records
    assert second.any_over(False) is False
    assert second.any_over(True) is True
    (said,) = caplog.records
    assert said.getMessage().startswith("rank 1 goes on alone: ")


def begun():
    followed = Followed(budget="1 h")
    followed.begin(3)
    followed.epoch_done(0)
    return followed


def in_child(_, followed):
    """What a forked process makes of the callback of its parent."""
    before = followed.epoch_done(1), followed.follower.steps
    followed.begin(3)  # a training of its own
    followed.epoch_done(0)
    followed.end()
    return before, followed.measurement.duration_s > 0


def test_a_forked_process_leaves_its_parents_training_alone():
    followed = begun()
    (((looked, steps), measured),) = in_processes(in_child, 1, followed)
    assert (looked, steps, measured) == (False, 1, True)
    assert followed.epoch_done(1) in (True, False)
    followed.end()
    assert followed.follower.steps == 2
    assert followed.measurement.duration_s > 0


def test_data_loaders_may_fork_while_it_measures():
    followed = begun()
    data = torch.utils.data.TensorDataset(torch.zeros(8, 2))
    loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=1)
    assert len(list(loader)) == 2
    followed.epoch_done(1)
    followed.end()
    assert followed.measurement.energy_j > 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_what_has_ended_and_nothing_that_runs(copied, tmp_path):
    followed = Followed(on_wait=print, to=str(tmp_path / "run.csv"))
    assert copied(followed).measurement is None
    followed.begin(2)
    running = copied(followed)
    assert running.measurement is None
    followed.epoch_done(0)
    followed.end()
    assert copied(followed).measurement == followed.measurement
    assert copied(followed).follower.steps == 1
    running.begin(2)  # measures by itself
    running.end()
    assert running.measurement.duration_s > 0


FAILING = """
import sys
from joulelab.callbacks import Followed
kept = Followed(to="run.jsonl", meters=["estimate"])
kept.begin(3)
kept.epoch_done(0)
if sys.argv[1] == "collected":
    del kept
    print(open("run.jsonl").read().splitlines()[-1])
raise RuntimeError("the training has failed")
"""


@pytest.mark.parametrize("how", ["collected", "with the program"])
def test_a_training_that_has_failed_ends_with_its_callback(how, tmp_path):
    command = [sys.executable, "-c", FAILING, how]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("the training has failed")
    written = (tmp_path / "run.jsonl").read_text().splitlines()[-1]
    last = json.loads(done.stdout if how == "collected" else written)
    assert last["state"] == "failed"
    assert last["step"] == 1
    assert "the training did not come to its end" in last["measurement"]["flags"]


def test_a_callback_that_is_given_twice_counts_each_epoch_once():
    followed = Followed()
    for _ in "ab":
        followed.begin(3)
    for epoch in range(3):
        for _ in "ab":
            followed.epoch_done(epoch)
    for _ in "ab":
        followed.end()
    assert followed.follower.steps == 3


def test_a_logger_that_raises_is_mentioned_once(caplog):
    def refuses(values):
        raise ConnectionError("the server is down")

    followed, kept = begun(), {}
    for _ in range(2):
        followed.tell(refuses)
    followed.tell(kept.update)
    followed.end()
    assert [one.getMessage() for one in caplog.records] == [
        "the logger refuses energy: ConnectionError: the server is down"
    ]
    assert kept["energy_j"] >= 0


@pytest.mark.long
@pytest.mark.parametrize("framework", ["transformers", "lightning", "xgboost"])
def test_a_training_in_two_processes_ends_in_both(framework, tmp_path):
    pytest.importorskip(framework)
    program = PROGRAMS / f"{framework}_in_ranks.py"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"told-{n}.json").read_text()) for n in range(2))
    assert first["steps"] == second["steps"] > 0
    assert first["measured_s"] < 10
    assert second["measured_s"] is None
