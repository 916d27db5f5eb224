"""Ranks of a distributed program: who measures, on which node, and which GPUs count."""

import os
import subprocess
import sys

import pytest

import joulelab
from joulelab.energy import rank_notes
from joulelab.energy.monitor import Monitor
from joulelab.energy.ranks import here, job_id, nodes_started
from joulelab.forecast.training_forecast import TrainingForecast

TORCHRUN = {
    "LOCAL_RANK": "1",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2",
    "TORCHELASTIC_RUN_ID": "none",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "29500",
}
STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_STEP_NUM_TASKS": "11",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2),3",
}
BATCH = {
    "SLURM_JOB_ID": "4711",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS": "8",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}


@pytest.mark.parametrize(
    ("variables", "number", "local", "node", "of"),
    [
        (TORCHRUN, 5, 1, 1, (8, 4, 2)),
        (STEP, 9, 1, 2, (11, 3, 3)),
        (OPEN_MPI, 3, 1, 1, (4, 2, 2)),
        (BATCH | OPEN_MPI, 3, 1, 1, (4, 2, 2)),  # mpirun in the script of a job
        (STEP | TORCHRUN, 5, 1, 1, (8, 4, 2)),  # torchrun as the task of a step
        (STEP | {"LOCAL_RANK": "1", "RANK": "9"}, 9, 1, 2, (11, 3, 3)),  # set by a script
        (BATCH, 0, 0, 0, (1, 1, 1)),
        ({"SLURM_LOCALID": "1"}, 1, 1, 0, (2, 2, 1)),
        ({"LOCAL_RANK": "2"}, 2, 2, 0, (3, 3, 1)),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1", "WORLD_SIZE": "4"}, 1, 0, 1, (4, None, 2)),
        ({"LOCAL_RANK": "first", "RANK": "-1"}, 0, 0, 0, (1, 1, 1)),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "nine"}, 0, 0, 0, (1, 1, 1)),
        ({}, 0, 0, 0, (1, 1, 1)),
    ],
)
def test_a_rank_is_what_the_innermost_launcher_says(variables, number, local, node, of):
    rank = here(variables)
    assert (rank.number, rank.local, rank.node) == (number, local, node)
    assert (rank.ranks, rank.local_ranks, rank.nodes) == of
    assert rank.records == (local == 0)


def test_who_measures_is_named_where_ranks_are_dealt_in_blocks():
    assert here(TORCHRUN).recorder == "rank 4, the first of this node"
    dealt_in_turn = TORCHRUN | {"RANK": "3"}
    assert here(dealt_in_turn).recorder == "the first rank of this node"


def test_a_second_start_of_a_job_is_another_one():
    first = here(TORCHRUN)
    assert here(TORCHRUN | {"RANK": "4", "LOCAL_RANK": "0"}).meeting == first.meeting
    assert here(TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1"}).meeting != first.meeting
    assert here(STEP | {"MASTER_PORT": "9"}).meeting == here(STEP).meeting  # set by a script
    assert here(STEP | {"SLURM_STEP_ID": "1"}).meeting != here(STEP).meeting


def test_the_job_is_named_by_its_scheduler():
    assert job_id(TORCHRUN) == ""
    assert job_id(TORCHRUN | {"SLURM_JOB_ID": "4711"}) == "4711"
    assert job_id({"TORCHELASTIC_RUN_ID": "night"}) == "night"


@pytest.mark.parametrize(
    ("command", "nodes"),
    [
        ("srun python train.py", 2),
        ("python train.py", 1),
        ("torchrun --nnodes 3 train.py", 3),
        ("python -m torch.distributed.run --nnodes=1:4 train.py", 4),
        ("accelerate launch --num_machines 2 train.py", 2),
        ("accelerate launch --num-machines=2 train.py", 2),
        ("python train.py --nnodes 3", 1),
        ("torchrun --nnodes=all train.py", 1),
        ("", 1),
    ],
)
def test_a_command_says_on_how_many_nodes_it_runs(command, nodes):
    assert nodes_started(command.split(), BATCH) == nodes


@pytest.fixture
def on_node(monkeypatch, tmp_path):
    """Rank 0 of three on a node, with its notes in a folder."""
    monkeypatch.setenv("JOULELAB_LOCK_DIR", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    variables = TORCHRUN | {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "GROUP_WORLD_SIZE": "1"}
    variables |= {"GROUP_RANK": "0"}

    def rank(local):
        return here(variables | {"LOCAL_RANK": str(local), "RANK": str(local)})

    return rank, variables


def gpus(rank):
    return sorted(
        one.get("CUDA_VISIBLE_DEVICES", "all") for one in rank_notes.other_environments(rank)
    )


def test_the_gpus_of_another_rank_are_in_its_note(on_node, tmp_path):
    rank, _ = on_node
    rank_notes.leave_note(rank(1), [{"CUDA_VISIBLE_DEVICES": "1", "TOKEN": "secret"}])
    (note,) = tmp_path.iterdir()
    assert "secret" not in note.read_text()
    assert gpus(rank(0)) == ["1"]
    rank_notes.leave_note(rank(1), [{}])
    assert gpus(rank(0)) == ["all"]


def test_without_a_note_they_are_those_with_which_it_was_started(on_node):
    _, variables = on_node
    program = "from joulelab.energy.rank_notes import *; print(other_environments(here()))"
    launcher = f"""
        LOCAL_RANK=2 RANK=2 CUDA_VISIBLE_DEVICES=2 sleep 60 &
        LOCAL_RANK=2 RANK=2 CUDA_VISIBLE_DEVICES=3 MASTER_PORT=1 sleep 60 &
        LOCAL_RANK=0 RANK=0 '{sys.executable}' -c '{program}'
        kill %1 %2
    """
    done = subprocess.run(
        ["bash", "-c", launcher],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[{'CUDA_VISIBLE_DEVICES': '2'}]\n", done.stderr


@pytest.mark.parametrize("left", ["", "[]", "{}", '{"meeting": 1}', "\0", '{"gpus": [[]]}'])
def test_a_note_that_is_none_is_skipped(on_node, tmp_path, left):
    rank, _ = on_node
    (tmp_path / f"joulelab-rank-{os.getpid()}.json").write_text(left)
    (tmp_path / "joulelab-rank-x.json").symlink_to("/etc/hostname")
    assert gpus(rank(0)) == []


def test_notes_of_the_dead_are_removed(on_node, tmp_path):
    rank, _ = on_node
    rank_notes.leave_note(here(TORCHRUN | {"MASTER_PORT": "1"}), [{}])
    (note,) = tmp_path.iterdir()
    note.rename(tmp_path / "joulelab-rank-999999999.json")
    assert gpus(rank(0)) == []
    assert not list(tmp_path.iterdir())


def test_gpus_that_only_other_ranks_can_see_are_mentioned(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_notes, "DRIVER_GPUS", tmp_path)
    for bus in "abc":
        (tmp_path / bus).mkdir()
    first = here(TORCHRUN | {"RANK": "4", "LOCAL_RANK": "0"})
    assert rank_notes.unread_gpus(first, 1) == [
        "2 GPUs of this machine are hidden from rank 4: not counted if other ranks use them"
    ]
    assert rank_notes.unread_gpus(first, 3) == []
    assert rank_notes.unread_gpus(here({}), 1) == []


def test_where_all_gpus_are_visible_nobody_is_asked(on_node, monkeypatch):
    rank, _ = on_node
    rank_notes.leave_note(rank(1), [{"CUDA_VISIBLE_DEVICES": "1"}])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus(rank(0)) == []


OTHER_RANK = {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture
def other_rank(monkeypatch):
    """This process is the second rank of its node."""
    for name, value in OTHER_RANK.items():
        monkeypatch.setenv(name, value)


def test_a_forecast_on_another_rank_opens_no_meter(other_rank, monkeypatch):
    def opened(**_):
        raise AssertionError("a meter was opened")

    monkeypatch.setattr("joulelab.forecast.training_forecast.shared_meters", opened)
    with TrainingForecast(epochs=2) as forecast:
        assert "measured by rank 0" in str(forecast.epoch_done())
        forecast.epoch_done()
    assert forecast.result.energy_j is None
    assert forecast.result.duration_s > 0
    assert forecast.measurement.energy_j is None


def test_an_estimator_is_fitted_on_another_rank_and_measured_on_none(other_rank, monkeypatch):
    sklearn = pytest.importorskip("sklearn.linear_model")
    from joulelab.callbacks.sklearn import MeasuredEstimator

    fitted = MeasuredEstimator(sklearn.LinearRegression()).fit([[0.0], [1.0]], [0.0, 1.0])
    assert fitted.predict([[2.0]]) == pytest.approx([2.0])
    assert fitted.measurement_.energy_j is None
    assert "measured by rank 0" in fitted.measurement_.readings[0].reason


def test_what_another_rank_measures_all_the_same_is_not_to_be_added_up(other_rank):
    with Monitor(meters=["estimate"]) as monitor, monitor.measure() as block:
        pass
    with joulelab.profile(meters=["estimate"]) as profile:
        pass
    for one in (block.result, profile.measurement):
        assert any("rank 0, the first of this node, may read as well" in flag for flag in one.flags)
